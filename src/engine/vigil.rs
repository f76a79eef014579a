//! Health being watched after success, sample by sample. It must never take what was not measured for a fall, nor for
//! health.

use std::sync::Arc;
use std::time::Duration;

use super::watch::HOLD_SAMPLES;
use crate::expr::{Env, Evaluation, Expr, Truth};
use crate::health::Moment;
use crate::plan::Care;

/// What the watch says now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VigilState {
    /// It goes on.
    Watching,
    /// Health was false without a true sample in between, as long as is bearable.
    Fallen,
    /// The time is over, and it is healthy now.
    Over,
    /// The time is over, and whether it is healthy could not be measured.
    Blind,
}

/// One watch.
#[derive(Debug, Clone)]
pub(crate) struct Vigil {
    until: Arc<Expr>,
    watch: Duration,
    patience: Duration,
    /// Rungs that were tried.
    pub(crate) spent: usize,
    pub(crate) began: Moment,
    fallen_since: Option<Moment>,
    fallen_samples: u32,
    last_at: Moment,
    pub(crate) last: Option<Evaluation>,
    pub(crate) last_sample: Option<u64>,
    well: u64,
    unknown: u64,
    all: u64,
}

impl Vigil {
    /// From `now` on, with so many rungs tried.
    pub(crate) fn new(care: &Care, spent: usize, now: Moment) -> Self {
        Self {
            until: Arc::clone(&care.until),
            watch: care.watch,
            patience: care.patience,
            spent,
            began: now,
            fallen_since: None,
            fallen_samples: 0,
            last_at: now,
            last: None,
            last_sample: None,
            well: 0,
            unknown: 0,
            all: 0,
        }
    }

    /// The same, begun anew.
    pub(crate) fn anew(&self, now: Moment) -> Self {
        let care =
            Care { until: Arc::clone(&self.until), watch: self.watch, patience: self.patience, again: None };
        Self::new(&care, self.spent, now)
    }

    /// Reads one sample.
    pub(crate) fn observe(&mut self, at: Moment, number: u64, env: &dyn Env) {
        if at < self.began || self.last_sample == Some(number) {
            return;
        }
        let evaluation = self.until.evaluate(env);
        self.all += 1;
        match evaluation.truth {
            Truth::True => {
                self.well += 1;
                self.fallen_since = None;
                self.fallen_samples = 0;
            }
            Truth::False => {
                self.fallen_since.get_or_insert(at);
                self.fallen_samples += 1;
            }
            // Neither health nor a fall: the way to the database may be what is gone.
            Truth::Unknown => self.unknown += 1,
        }
        self.last = Some(evaluation);
        self.last_sample = Some(number);
        self.last_at = at;
    }

    /// When it is over.
    pub(crate) fn ends(&self) -> Moment {
        self.began.plus(self.watch)
    }

    /// When it is given up that health can be measured.
    fn gives_up(&self) -> Moment {
        self.ends().plus(self.patience)
    }

    /// When it is to be looked at again, if no sample comes.
    pub(crate) fn due(&self, now: Moment) -> Moment {
        let soon = now.plus(Duration::from_secs(1));
        [self.ends(), self.gives_up()].into_iter().find(|due| now < *due).unwrap_or(soon)
    }

    pub(crate) fn state(&self, now: Moment) -> VigilState {
        let truth = self.last.as_ref().map(|last| last.truth);
        let fallen = self.fallen_since.is_some_and(|since| self.last_at.since(since) >= self.patience);
        if truth == Some(Truth::False) && fallen && self.fallen_samples >= HOLD_SAMPLES {
            VigilState::Fallen
        } else if now < self.ends() {
            VigilState::Watching
        } else if truth == Some(Truth::True) {
            VigilState::Over
        } else if now >= self.gives_up() && truth != Some(Truth::False) {
            VigilState::Blind
        } else {
            VigilState::Watching
        }
    }

    /// `healthy in 42 of 43 samples, 1 unknown`.
    pub(crate) fn tally(&self) -> String {
        let unknown = match self.unknown {
            0 => String::new(),
            unknown => format!(", {unknown} unknown"),
        };
        format!("healthy in {} of {} samples{unknown}", self.well, self.all)
    }
}
