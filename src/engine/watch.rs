//! One gate being watched, sample by sample.

use std::time::Duration;

use super::event::GateKind;
use super::outlook::Outlook;
use crate::expr::{Env, Evaluation, Truth};
use crate::health::{Moment, show_seconds};
use crate::plan::Gate;

/// Samples that a `for` needs at least: two could be one lucky pair.
pub(crate) const HOLD_SAMPLES: u32 = 3;

/// What a watched gate says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GateState {
    /// It held, as long as asked.
    Open,
    /// Patience is over.
    Shut,
    /// Neither yet.
    Waiting,
}

/// A gate and how long it has held. Only samples taken at or after `counts_from` count.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) gate: Gate,
    pub(crate) kind: GateKind,
    pub(crate) began: Moment,
    counts_from: Moment,
    held_since: Option<Moment>,
    held_samples: u32,
    opened: bool,
    pub(crate) last: Option<Evaluation>,
    pub(crate) last_sample: Option<u64>,
    last_at: Moment,
    outlook: Outlook,
}

impl Watch {
    pub(crate) fn new(gate: Gate, kind: GateKind, now: Moment) -> Self {
        Self {
            outlook: Outlook::over(gate.within, now),
            last_at: now,
            gate,
            kind,
            began: now,
            counts_from: now,
            held_since: None,
            held_samples: 0,
            opened: false,
            last: None,
            last_sample: None,
        }
    }

    /// Also takes the sample that is there already: for a condition that nothing has changed since.
    pub(crate) fn counting_from(mut self, from: Moment) -> Self {
        self.counts_from = from;
        self
    }

    /// Looks for trends in samples from `from` on, `None` in none; with `freed` slots, that they are taken again is one.
    pub(crate) fn looking(mut self, from: Option<Moment>, freed: Option<usize>) -> Self {
        self.outlook.looking(from, freed);
        self
    }

    /// Reads one sample. A false or unknown one restarts the hold.
    pub(crate) fn observe(&mut self, at: Moment, number: u64, env: &dyn Env) {
        if at < self.counts_from || self.opened || self.last_sample == Some(number) {
            return;
        }
        let evaluation = self.gate.until.evaluate(env);
        if evaluation.truth == Truth::True {
            self.held_samples += 1;
            let since = *self.held_since.get_or_insert(at);
            let long_enough = at.since(since) >= self.gate.hold;
            let often_enough = self.gate.hold.is_zero() || self.held_samples >= HOLD_SAMPLES;
            self.opened = long_enough && often_enough;
        } else {
            self.held_since = None;
            self.held_samples = 0;
        }
        self.last = Some(evaluation);
        self.last_sample = Some(number);
        self.last_at = at;
        self.outlook.note(at, env);
    }

    /// Why it cannot be met any more in its time, when that is certain or its trend says so; `None` while it may be.
    pub(crate) fn hopeless(&self, env: &dyn Env) -> Option<String> {
        if !self.gate.early || self.opened || !self.reads_false() {
            return None;
        }
        // What does not hold now begins to after this sample at the soonest.
        let left = self.ends().since(self.last_at);
        if left <= self.gate.hold {
            let told = |time: Duration| show_seconds(time.as_secs_f64());
            return Some(format!(
                "{} of it no longer fit into the {} left",
                told(self.gate.hold),
                told(left)
            ));
        }
        let trend = self.gate.until.out_of_reach(env, &self.outlook)?;
        Some(format!("by its trend it cannot be met in time: {trend}"))
    }

    pub(crate) fn state(&self, now: Moment) -> GateState {
        if self.opened {
            GateState::Open
        } else if now.since(self.began) >= self.gate.within {
            GateState::Shut
        } else {
            GateState::Waiting
        }
    }

    /// When patience ends.
    pub(crate) fn ends(&self) -> Moment {
        self.began.plus(self.gate.within)
    }

    /// The last sample read false.
    pub(crate) fn reads_false(&self) -> bool {
        self.last.as_ref().is_some_and(|evaluation| evaluation.truth != Truth::True)
    }

    /// How long it has held, for the display.
    pub(crate) fn held(&self, now: Moment) -> Duration {
        self.held_since.map_or(Duration::ZERO, |since| now.since(since))
    }
}
