//! A shared, thrifty look at the app: the sampler and every waiting step read the same lists, and together they stay
//! within the API's read budget. When it is spent, what was seen last is given again, with its time: who waits must
//! compare that time with the change that is waited for. When the account has few calls left, the budget shrinks:
//! changes, and what is read before them, come first and are not counted here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::addons::Addon;
use super::error::Fault;
use super::facts::{Dyno, Formation, Release};
use super::reads::HerokuReads;
use crate::health::Moment;

/// Below so many calls left to the account, reads while waiting are rationed: a ninth of its full bucket, ten minutes
/// of a run at full speed and then some.
pub(in crate::platform) const NEAR: u64 = 500;
/// Reads a minute while waiting, all of them together.
pub(in crate::platform) const PER_MINUTE: f64 = 30.0;
/// The same when the account has no call left: a fifth of what comes back, and enough that a view of the dynos, which
/// is unknown after 10 s, is not.
pub(in crate::platform) const LEAST_PER_MINUTE: f64 = 15.0;
/// What is kept counts as fresh so much longer while reads are rationed.
const RATIONED: u64 = 4;
/// Reads that may be made in one burst after a quiet time: the seconds after a change are when looking pays.
const BURST: f64 = 12.0;
/// Dynos younger than this are not read again, in milliseconds.
const DYNOS_FRESH_MS: u64 = 900;
/// Releases younger than this are not read again, in milliseconds, while one is awaited or being decided.
const PENDING_FRESH_MS: u64 = 2500;
/// The same when it is decided.
const RELEASES_FRESH_MS: u64 = 10_000;
/// A formation younger than this is not read again, in milliseconds; it changes only when somebody scales.
const FORMATION_FRESH_MS: u64 = 15_000;
/// An add-on younger than this is not read again, in milliseconds: providers take minutes.
const ADDON_FRESH_MS: u64 = 4900;
/// Releases looked at while waiting.
const RELEASES: usize = 10;

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
    budget: Budget,
    dynos: Option<Seen<Vec<Dyno>>>,
    formation: Option<Seen<Vec<Formation>>>,
    releases: Option<Seen<Vec<Release>>>,
    /// An add-on that is waited for, with its name.
    addon: Option<(String, Option<Seen<Addon>>)>,
    /// A slug never changes: its commit is read once.
    commits: BTreeMap<String, Option<String>>,
    /// `WEB_CONCURRENCY`, once read: config vars are secrets, and are not fetched for each step of a plan.
    processes: Option<Seen<Option<u64>>>,
    /// Whether preboot is on, once read: it is switched by hand, and a plan asks for each of its steps.
    preboot: Option<bool>,
}

/// The shared view.
#[derive(Debug, Default)]
pub(in crate::platform) struct AppWatch {
    state: Mutex<State>,
}

impl AppWatch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dynos as seen about a second ago at most, or as last seen.
    pub(in crate::platform) fn dynos(
        &self,
        heroku: &dyn HerokuReads,
        now: Moment,
    ) -> Result<Seen<Vec<Dyno>>, Fault> {
        let State { budget, dynos, .. } = &mut *self.state();
        budget.ration(heroku.calls_left());
        budget.look(dynos, DYNOS_FRESH_MS, Moment::default(), now, || heroku.dynos())
    }

    /// The formation, read after `since` if the budget allows.
    pub(in crate::platform) fn formation(
        &self,
        heroku: &dyn HerokuReads,
        now: Moment,
        since: Moment,
    ) -> Result<Seen<Vec<Formation>>, Fault> {
        let State { budget, formation, .. } = &mut *self.state();
        budget.ration(heroku.calls_left());
        budget.look(formation, FORMATION_FRESH_MS, since, now, || heroku.formation())
    }

    /// The newest releases, newest first, read after `since` if the budget allows; one newer than version `known` is
    /// awaited.
    pub(in crate::platform) fn releases(
        &self,
        heroku: &dyn HerokuReads,
        now: Moment,
        since: Moment,
        known: u64,
    ) -> Result<Seen<Vec<Release>>, Fault> {
        let State { budget, releases, .. } = &mut *self.state();
        let decided = releases
            .as_ref()
            .and_then(|seen| seen.value.first())
            .is_some_and(|newest| newest.current && newest.version > known);
        let fresh = if decided { RELEASES_FRESH_MS } else { PENDING_FRESH_MS };
        budget.ration(heroku.calls_left());
        budget.look(releases, fresh, since, now, || heroku.releases(RELEASES))
    }

    /// An add-on that is waited for.
    pub(in crate::platform) fn addon(
        &self,
        heroku: &dyn HerokuReads,
        now: Moment,
        name: &str,
    ) -> Result<Seen<Addon>, Fault> {
        let State { budget, addon, .. } = &mut *self.state();
        let kept = match addon {
            Some((known, kept)) if known == name => kept,
            other => &mut other.insert((name.to_owned(), None)).1,
        };
        budget.ration(heroku.calls_left());
        budget.look(kept, ADDON_FRESH_MS, Moment::default(), now, || heroku.addon(name))
    }

    /// Processes of a web dyno, as set when first asked.
    pub(in crate::platform) fn processes(
        &self,
        heroku: &dyn HerokuReads,
        now: Moment,
    ) -> Result<Option<u64>, Fault> {
        let mut state = self.state();
        if let Some(processes) = &state.processes {
            return Ok(processes.value);
        }
        let value = heroku.web_concurrency()?;
        state.processes = Some(Seen { value, at: now });
        Ok(value)
    }

    /// Whether preboot is on, as when first asked.
    pub(in crate::platform) fn preboot(&self, heroku: &dyn HerokuReads) -> Result<bool, Fault> {
        let mut state = self.state();
        if let Some(preboot) = state.preboot {
            return Ok(preboot);
        }
        let preboot = heroku.preboot()?;
        state.preboot = Some(preboot);
        Ok(preboot)
    }

    /// The commit that a slug was built from.
    pub(in crate::platform) fn commit(
        &self,
        heroku: &dyn HerokuReads,
        slug: &str,
    ) -> Result<Option<String>, Fault> {
        let mut state = self.state();
        if let Some(commit) = state.commits.get(slug) {
            return Ok(commit.clone());
        }
        let commit = heroku.slug(slug)?.commit;
        state.commits.insert(slug.to_owned(), commit.clone());
        Ok(commit)
    }
}

/// Reads while waiting. What is read to make a plan is not counted: it happens once.
#[derive(Debug)]
struct Budget {
    tokens: f64,
    refilled: Moment,
    /// 1 at full speed, 0 when the account has no call left.
    share: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { tokens: BURST, refilled: Moment::default(), share: 1.0 }
    }
}

impl Budget {
    /// Shrinks with what the account has left.
    fn ration(&mut self, left: Option<u64>) {
        #[expect(clippy::cast_precision_loss, reason = "NEAR at most")]
        let share = left.map_or(1.0, |left| left.min(NEAR) as f64 / NEAR as f64);
        self.share = share;
    }

    /// What was kept, when it is fresh and not older than `since` or when no read is affordable; else it is read.
    fn look<T: Clone>(
        &mut self,
        kept: &mut Option<Seen<T>>,
        fresh_ms: u64,
        since: Moment,
        now: Moment,
        read: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<Seen<T>, Fault> {
        let between = |least: f64, most: f64| least + (most - least) * self.share;
        let (per_minute, burst) = (between(LEAST_PER_MINUTE, PER_MINUTE), between(1.0, BURST));
        let fresh_ms = if self.share < 1.0 { fresh_ms * RATIONED } else { fresh_ms };
        self.tokens = (self.tokens + now.since(self.refilled).as_secs_f64() * per_minute / 60.0).min(burst);
        self.refilled = now;
        if let Some(seen) = kept {
            let fresh = now.0.saturating_sub(seen.at.0) < fresh_ms && seen.at >= since;
            if fresh || self.tokens < 1.0 {
                return Ok(seen.clone());
            }
        }
        self.tokens -= 1.0;
        let seen = Seen { value: read()?, at: now };
        *kept = Some(seen.clone());
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_gives_what_was_seen_last_and_time_fills_it() {
        let mut budget = Budget::default();
        let mut kept = None;
        let mut reads = 0;
        for tick in 0..120_u64 {
            let seen = budget
                .look(&mut kept, 900, Moment::default(), Moment(tick * 1000), || {
                    reads += 1;
                    Ok(tick)
                })
                .unwrap();
            assert!(tick - seen.value <= 2, "at most two seconds old: {tick} {seen:?}");
        }
        assert!((60..=73).contains(&reads), "a burst, then 30 a minute: {reads} in two minutes");
    }

    #[test]
    fn with_few_calls_left_less_is_read_and_never_nothing() {
        // Looked at every second for ten minutes, as a run that waits does: reads made, and the oldest that was given.
        let spent = |left| {
            let mut budget = Budget::default();
            budget.ration(left);
            let (mut kept, mut reads, mut oldest) = (None, 0, 0);
            for tick in 0..600_u64 {
                let now = Moment(tick * 1000);
                let seen = budget
                    .look(&mut kept, DYNOS_FRESH_MS, Moment::default(), now, || {
                        reads += 1;
                        Ok(tick)
                    })
                    .unwrap();
                oldest = oldest.max(tick - seen.value);
            }
            (reads, oldest)
        };
        let (full, _) = spent(Some(4500));
        assert_eq!(spent(None).0, full, "as long as nothing is known");
        assert_eq!(spent(Some(NEAR)).0, full);
        let [half, none] = [NEAR / 2, 0].map(|left| spent(Some(left)));
        assert!((300..=315).contains(&full), "30 a minute: {full}");
        assert!((145..=152).contains(&none.0), "15 a minute: {none:?}");
        assert!(none.0 < half.0 + 10 && half.0 < full, "{none:?} {half:?} {full}");
        assert!(none.1 <= 5, "the view of the dynos stays known: {none:?}");
        // A quarter of what the bucket gets back.
        assert!(none.0 < 10 * 75 / 4);
    }

    #[test]
    fn a_burst_that_was_saved_up_is_not_spent_when_few_calls_are_left() {
        let mut budget = Budget::default();
        budget.ration(Some(0));
        let mut reads = 0;
        for _ in 0..10 {
            let read = || {
                reads += 1;
                Ok(())
            };
            budget.look(&mut Some(Seen { value: (), at: Moment(0) }), 1, Moment(1), Moment(9), read).unwrap();
        }
        assert_eq!(reads, 1);
    }

    #[test]
    fn what_is_older_than_the_change_is_read_again() {
        let mut budget = Budget::default();
        let mut kept = Some(Seen { value: 1, at: Moment(1000) });
        let look = |budget: &mut Budget, kept: &mut _, since| {
            budget.look(kept, 10_000, Moment(since), Moment(2000), || Ok(2)).unwrap().value
        };
        assert_eq!(look(&mut budget, &mut kept, 500), 1);
        assert_eq!(look(&mut budget, &mut kept, 1500), 2);
    }
}
