//! Stands before each change with the guardrails in hand. It must never ask anything outside: what it judges by was read
//! before the run.

use super::driver::{Guard, Wanted};
use super::request::Clearance;
use crate::guard::{Guardrails, Judgement, Subject};

/// Bars what a guardrail forbids.
#[derive(Debug, Clone)]
pub struct RailGuard {
    rails: Guardrails,
    subject: Subject,
}

impl RailGuard {
    /// Judges by these rules.
    pub const fn new(rails: Guardrails, subject: Subject) -> Self {
        Self { rails, subject }
    }
}

impl Guard for RailGuard {
    fn clear(&mut self, wanted: &Wanted<'_>) -> Clearance {
        let Wanted { change, before, made, now, .. } = *wanted;
        match self.rails.judge_change(&self.subject, change, before, made, now) {
            Judgement::Allowed => Clearance::Clear,
            Judgement::Refused { why } => Clearance::Barred(why),
        }
    }
}
