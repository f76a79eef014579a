//! What guardrails leave of a kill: joined into its rule before anybody is chosen, so that the preview, the kill and the
//! journal agree.
//!
//! It must never loosen a rule.

use serde::{Deserialize, Serialize};

use crate::platform::KillRule;

/// Bounds of every kill of a run, from outside the step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillLimits {
    /// Users never touched, besides those that the step protects.
    pub protect: Vec<String>,
    /// At most this many sessions; `None` = no bound.
    pub at_most: Option<u64>,
}

impl KillLimits {
    /// The rule, tightened.
    pub(super) fn within(&self, mut rule: KillRule) -> KillRule {
        for user in &self.protect {
            if !rule.protect.contains(user) {
                rule.protect.push(user.clone());
            }
        }
        rule.at_most = self.at_most.map_or(rule.at_most, |most| most.min(rule.at_most));
        rule
    }

    /// What they are, for the plan.
    pub(super) fn words(&self) -> Option<String> {
        let mut parts = Vec::new();
        parts.extend(self.at_most.map(|most| format!("at most {most} at once")));
        if !self.protect.is_empty() {
            parts.push(format!("never {}", self.protect.join(", ")));
        }
        (!parts.is_empty()).then(|| format!("guardrails: {}", parts.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn limits_tighten_a_rule_and_never_loosen_it() {
        let rule = |at_most, protect: &[&str]| KillRule {
            idle: Duration::from_secs(60),
            at_most,
            protect: protect.iter().map(|user| (*user).to_owned()).collect(),
        };
        let limits = KillLimits { protect: vec!["backup".into(), "own".into()], at_most: Some(50) };
        assert_eq!(limits.within(rule(100, &["own"])), rule(50, &["own", "backup"]));
        assert_eq!(limits.within(rule(10, &[])).at_most, 10);
        assert_eq!(KillLimits::default().within(rule(100, &["own"])), rule(100, &["own"]));
        assert_eq!(KillLimits::default().words(), None);
        assert_eq!(limits.words().as_deref(), Some("guardrails: at most 50 at once; never backup, own"));
    }
}
