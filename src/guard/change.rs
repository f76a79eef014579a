//! A change judged just before it is intended: what the plan could not know, and what no resume may forget.

use std::time::Duration;

use super::plan::below;
use super::rails::{Guardrails, Limit, Place, Subject};
use crate::action::Made;
use crate::health::Moment;
use crate::platform::{Before, Change, Effect};

/// The window of `per_minute`.
const MINUTE: Duration = Duration::from_secs(60);

/// Whether a change may be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It may.
    Allowed,
    /// It may not.
    Refused {
        /// Why, with the rule's place.
        why: String,
    },
}

/// Sessions that a change has ended: those counted, or all that were planned when the answer was lost.
fn killed(made: &Made) -> u64 {
    match (&made.change, &made.effect) {
        (_, Effect::Killed { killed, .. }) => killed.len() as u64,
        (Change::Kill { victims, .. }, _) => victims.len() as u64,
        _ => 0,
    }
}

impl Guardrails {
    /// Judges one change. `made` is what this run has changed already, before it was taken up again too.
    pub fn judge_change(
        &self,
        subject: &Subject,
        change: &Change,
        before: &Before,
        made: &[Made],
        now: Moment,
    ) -> Judgement {
        for rule in &self.rules {
            let why = match &rule.limit {
                Limit::ProtectedApp { app } if subject.is(app) => Some(rule.limit.to_string()),
                Limit::ProtectedApp { app }
                    if matches!(change, Change::Kill { .. })
                        && subject.shared_with.iter().any(|other| other.eq_ignore_ascii_case(app)) =>
                {
                    Some(format!("{app} is never changed, and shares the database"))
                }
                // Up from fewer still is no loss.
                Limit::MinimumDynos { kind, least } => below(change, kind, *least)
                    .filter(|_| !matches!((change, before.quantity), (Change::Scale { quantity, .. }, Some(from)) if from < *quantity)),
                Limit::ProtectedUser { user } => match change {
                    Change::Kill { rule, .. } if !rule.protect.contains(user) => {
                        Some(format!("sessions of {user} are never killed, and this kill does not spare them"))
                    }
                    _ => None,
                },
                _ => None,
            };
            if let Some(why) = why {
                return refused(&rule.place, &why);
            }
        }
        self.judge_kill(change, made, now)
    }

    fn judge_kill(&self, change: &Change, made: &[Made], now: Moment) -> Judgement {
        let Change::Kill { victims, rule } = change else { return Judgement::Allowed };
        let planned = (victims.len() as u64).min(rule.at_most);
        let ended = |within: Option<Duration>| -> u64 {
            let counts = |at: Moment| within.is_none_or(|within| now.since(at) < within);
            made.iter().filter(|made| counts(made.at)).map(killed).sum()
        };
        let run = self.tightest(|limit| match limit {
            Limit::KillsPerRun { most } => Some(*most),
            _ => None,
        });
        let minute = self.tightest(|limit| match limit {
            Limit::KillsPerMinute { most } => Some(*most),
            _ => None,
        });
        for (bound, within, told) in [(run, None, "in a run"), (minute, Some(MINUTE), "within a minute")] {
            let already = ended(within);
            if let Some((place, most)) = bound
                && already + planned > most
            {
                let why = format!(
                    "at most {most} sessions are killed {told}; {already} were, and this would be up to {planned} more"
                );
                return refused(place, &why);
            }
        }
        Judgement::Allowed
    }
}

fn refused(place: &Place, why: &str) -> Judgement {
    Judgement::Refused { why: format!("{why} ({place})") }
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::rails;
    use super::*;
    use crate::platform::{DynoScope, KillRule, Victim};

    fn kill(number: u64, protect: &[&str]) -> Change {
        Change::Kill {
            victims: (1..=number).map(|id| Victim { id, query_id: id }).collect(),
            rule: KillRule {
                idle: MINUTE,
                at_most: 100,
                protect: protect.iter().map(|user| (*user).to_owned()).collect(),
            },
        }
    }

    fn scale(quantity: u64) -> Change {
        Change::Scale { kind: "web".into(), quantity }
    }

    fn done(at: u64, planned: u64, killed: u64) -> Made {
        let killed = (1..=killed).collect();
        let effect = Effect::Killed { killed, spared: Vec::new(), one_by_one: false, dying: None };
        Made { change: kill(planned, &[]), before: Before::default(), effect, at: Moment(at) }
    }

    fn judge(rules: &str, change: &Change, from: Option<u64>, made: &[Made]) -> String {
        let subject = Subject { names: vec!["wiki".into()], shared_with: vec!["archive".into()] };
        let before = Before { quantity: from, ..Before::default() };
        let rails = rails(&format!("guardrails: 1\n{rules}\n"));
        match rails.judge_change(&subject, change, &before, made, Moment(100_000)) {
            Judgement::Allowed => "allowed".to_owned(),
            Judgement::Refused { why } => why,
        }
    }

    #[test]
    fn kills_are_counted_over_the_run_and_over_the_last_minute() {
        let run = "kills: { per_run: 30 }";
        assert_eq!(judge(run, &kill(30, &[]), None, &[]), "allowed");
        let told = judge(run, &kill(11, &[]), None, &[done(1, 90, 20)]);
        assert_eq!(
            told,
            "at most 30 sessions are killed in a run; 20 were, and this would be up to 11 more (t.yaml:2)"
        );
        assert_eq!(judge(run, &kill(10, &[]), None, &[done(1, 90, 20)]), "allowed");
        let lost = Made { effect: Effect::FoundDone, ..done(1, 25, 0) };
        assert!(judge(run, &kill(6, &[]), None, &[lost]).contains("25 were"), "a lost answer counts in full");

        let minute = "kills: { per_minute: 30 }";
        assert_eq!(judge(minute, &kill(30, &[]), None, &[done(40_000, 30, 30)]), "allowed");
        assert!(judge(minute, &kill(1, &[]), None, &[done(40_001, 30, 30)]).contains("within a minute"));
        let many = [done(50_000, 10, 10), done(60_000, 10, 10)];
        assert!(judge(minute, &kill(11, &[]), None, &many).contains("20 were"));
        assert_eq!(judge(minute, &scale(1), None, &many), "allowed", "no kill is no kill");
        assert_eq!(
            judge("kills: { per_run: 100 }", &kill(500, &[]), None, &[]),
            "allowed",
            "the rule bounds it"
        );
    }

    #[test]
    fn a_kill_that_does_not_spare_the_protected_is_refused() {
        let rules = "protected_users: [backup]";
        assert!(judge(rules, &kill(1, &["other"]), None, &[]).contains("sessions of backup"));
        assert_eq!(judge(rules, &kill(1, &["other", "backup"]), None, &[]), "allowed");
    }

    #[test]
    fn no_scale_goes_below_the_minimum_but_up_is_no_loss() {
        let rules = "minimum_dynos: { web: 3, worker: 9 }";
        assert!(judge(rules, &scale(2), Some(3), &[]).contains("fewer than 3 dynos, and this would leave 2"));
        assert!(judge(rules, &scale(2), None, &[]).contains("fewer than 3"), "from an unknown number");
        assert_eq!(judge(rules, &scale(2), Some(1), &[]), "allowed");
        assert_eq!(judge(rules, &scale(3), Some(5), &[]), "allowed");
    }

    #[test]
    fn protected_apps_are_not_touched_not_even_through_a_shared_database() {
        let restart = Change::Restart { scope: DynoScope::All };
        assert!(judge("protected_apps: [wiki]", &restart, None, &[]).contains("never changed"));
        assert!(judge("protected_apps: [archive]", &kill(1, &[]), None, &[]).contains("shares the database"));
        assert_eq!(judge("protected_apps: [archive]", &restart, None, &[]), "allowed");
    }
}
