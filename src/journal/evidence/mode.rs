//! Puts the wait for evidence before the first destructive change of a live run: on the thread of the change, so that
//! samples and signals are taken in meanwhile.

use std::time::Duration;

use super::{Evidence, PATIENCE};
use crate::engine::Performance;
use crate::engine::driver::Mode;
use crate::platform::Change;

/// A run's mode behind its evidence.
#[derive(Debug)]
pub struct AfterEvidence<M> {
    mode: M,
    evidence: Evidence,
}

impl<M> AfterEvidence<M> {
    /// `mode` performs; `evidence` is waited for once, before its first destructive change.
    pub const fn new(mode: M, evidence: Evidence) -> Self {
        Self { mode, evidence }
    }
}

impl<M: Mode> Mode for AfterEvidence<M> {
    fn perform(&self, change: &Change, timeout: Duration, lines: &(dyn Fn(&str) + Sync)) -> Performance {
        if change.is_destructive()
            && let Some(said) = self.evidence.before_change(PATIENCE)
        {
            lines(&said);
        }
        self.mode.perform(change, timeout, lines)
    }
}
