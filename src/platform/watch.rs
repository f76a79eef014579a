//! A shared, thrifty look at the dynos: the sampler and every waiting step read the same list, and together they stay
//! within the API's read budget.

use std::sync::{Mutex, PoisonError};

use super::error::Fault;
use super::facts::Dyno;
use super::reads::HerokuReads;
use crate::health::Moment;

/// Reads a minute while waiting, all of them together.
const PER_MINUTE: f64 = 30.0;
/// Reads that may be made in one burst after a quiet time: the seconds after a change are when looking pays.
const BURST: f64 = 12.0;
/// A list younger than this is not read again, in milliseconds.
const FRESH_MS: u64 = 900;

/// Something that was read, and when the reading began.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen<T> {
    /// What was read.
    pub value: T,
    /// When the request was sent: what happened later is not in it.
    pub at: Moment,
}

#[derive(Debug, Default)]
struct State {
    tokens: Option<f64>,
    refilled: Moment,
    calls: u64,
    dynos: Option<Seen<Vec<Dyno>>>,
}

/// The shared view.
#[derive(Debug, Default)]
pub(in crate::platform) struct DynoWatch {
    state: Mutex<State>,
}

impl DynoWatch {
    /// The dynos as seen at most about a second ago, or, when the budget is spent, as last seen.
    pub(in crate::platform) fn dynos(
        &self,
        heroku: &dyn HerokuReads,
        now: Moment,
    ) -> Result<Seen<Vec<Dyno>>, Fault> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refill(now, heroku.calls());
        if let Some(seen) = &state.dynos
            && (now.0.saturating_sub(seen.at.0) < FRESH_MS || !state.affords_one())
        {
            return Ok(seen.clone());
        }
        let seen = Seen { value: heroku.dynos()?, at: now };
        state.refill(now, heroku.calls());
        state.dynos = Some(seen.clone());
        Ok(seen)
    }

    /// Whether one more read fits the budget now.
    pub(in crate::platform) fn affords_one(&self, heroku: &dyn HerokuReads, now: Moment) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refill(now, heroku.calls());
        state.affords_one()
    }
}

impl State {
    /// Adds what time has given and takes off every call made since, by whomever.
    fn refill(&mut self, now: Moment, calls: u64) {
        let gained = now.since(self.refilled).as_secs_f64() * PER_MINUTE / 60.0;
        let spent = calls.saturating_sub(self.calls) as f64;
        let level = self.tokens.map_or(BURST, |tokens| (tokens + gained).min(BURST) - spent);
        self.tokens = Some(level.max(-BURST));
        self.refilled = now;
        self.calls = calls;
    }

    fn affords_one(&self) -> bool {
        self.tokens.is_none_or(|tokens| tokens >= 1.0)
    }
}
