//! A plan judged before anything happens.

use std::time::Duration;

use jiff::Timestamp;

use super::rails::{Guardrails, Limit, Place, Subject};
use crate::expr::units::write_duration;
use crate::platform::Change;
use crate::source::escape_controls;

/// A run that is about to begin, in plain data.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// The runbook's name.
    pub runbook: &'a str,
    /// What it acts on.
    pub subject: &'a Subject,
    /// What the person is called: the local user, the account's e-mail.
    pub who: &'a [String],
    /// Now.
    pub now: Timestamp,
    /// Its steps that may change something, rungs included. None: nothing is refused.
    pub intents: &'a [Intent<'a>],
    /// The run of the same runbook on the same app that last changed something.
    pub last: LastRun,
}

/// A step that may change something.
#[derive(Debug, Clone, Copy)]
pub struct Intent<'a> {
    /// The step.
    pub step: &'a str,
    /// It is a rung: when it is refused, the ladder goes on.
    pub rung: bool,
    /// Its verb.
    pub verb: &'a str,
    /// Changes that are known already.
    pub changes: &'a [Change],
}

/// When a runbook last changed something on the same app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastRun {
    /// Never, or not within the cool-down.
    Never,
    /// It did.
    Ended {
        /// The run.
        run: String,
        /// When it ended (or was last heard of).
        at: Timestamp,
    },
    /// A run that may have been one, and whose journal cannot be read.
    Unreadable {
        /// The run.
        run: String,
    },
}

/// What a rule says about a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What follows from it.
    pub demand: Demand,
    /// The rule.
    pub place: Place,
    /// What it says, a sentence without its end.
    pub why: String,
    /// What now.
    pub hint: Option<String>,
}

/// What follows from a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// The run is refused (exit 6).
    Refused,
    /// This rung is refused when it is reached; the rest of the run is not.
    RefusedRung {
        /// The rung.
        step: String,
    },
    /// A person must type this name at a terminal; `--yes` is no answer.
    TypeTheName {
        /// The app's name.
        app: String,
    },
}

impl Guardrails {
    /// Judges a run before anything happens: everything that any rule has against it, in the order of the rules.
    pub fn judge_plan(&self, case: &Case<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        if case.intents.is_empty() {
            return findings;
        }
        let mut typed = false;
        for rule in &self.rules {
            let mut say = |demand, why: String, hint: Option<String>| {
                findings.push(Finding { demand, place: rule.place.clone(), why, hint });
            };
            match &rule.limit {
                Limit::Off { .. } => say(Demand::Refused, rule.limit.to_string(), None),
                Limit::ProtectedApp { app } if case.subject.is(app) => {
                    say(Demand::Refused, rule.limit.to_string(), None);
                }
                Limit::ProtectedApp { app } => {
                    let shared = case.subject.shared_with.iter().any(|other| other.eq_ignore_ascii_case(app));
                    for intent in case.intents.iter().filter(|intent| shared && intent.verb == "kill_idle") {
                        let why =
                            format!("{app} is never changed, and shares the database: a kill hits it too");
                        say(demand(intent), why, Some(left_out(intent)));
                    }
                }
                Limit::Freeze(freeze) => {
                    if let Some(why) = freeze.holds(case.runbook, case.now) {
                        let why = format!("nothing is changed now: {why}");
                        let except = (!freeze.except.is_empty())
                            .then(|| format!("{} may run all the same", freeze.except.join(", ")));
                        say(Demand::Refused, why, except);
                    }
                }
                Limit::Allow { who } => {
                    let named = |name: &String| name == "*" || name == case.runbook;
                    let me = |key: &String| key == "*" || case.who.iter().any(|who| same_person(who, key));
                    if !who.iter().any(|(key, runbooks)| me(key) && runbooks.iter().any(named)) {
                        let mut allowed: Vec<&str> = who
                            .iter()
                            .filter(|(_, list)| list.iter().any(named))
                            .map(|(key, _)| key.as_str())
                            .collect();
                        allowed.sort_unstable();
                        let hint = match allowed.as_slice() {
                            [] => "nobody may".to_owned(),
                            some => format!("{} may", some.join(", ")),
                        };
                        let me = if case.who.is_empty() {
                            "nobody known".to_owned()
                        } else {
                            escape_controls(&case.who.join(", ")).into_owned()
                        };
                        say(Demand::Refused, format!("{me} may not run {}", case.runbook), Some(hint));
                    }
                }
                Limit::TypeTheName { app } if app == "*" || case.subject.is(app) => {
                    if !std::mem::replace(&mut typed, true) {
                        let app = case.subject.name().to_owned();
                        let why = format!("a person types the name of {app} at a terminal");
                        say(Demand::TypeTheName { app }, why, None);
                    }
                }
                Limit::MinimumDynos { kind, least } => {
                    for intent in case.intents {
                        for why in intent.changes.iter().filter_map(|change| below(change, kind, *least)) {
                            say(demand(intent), why, Some(left_out(intent)));
                        }
                    }
                }
                Limit::ProtectedUser { .. }
                | Limit::KillsPerRun { .. }
                | Limit::KillsPerMinute { .. }
                | Limit::CoolDown { .. }
                | Limit::TypeTheName { .. } => {}
            }
        }
        findings.extend(self.too_soon(case));
        findings
    }

    fn too_soon(&self, case: &Case<'_>) -> Option<Finding> {
        let (place, time) = self.cool_down(case.runbook)?;
        let (app, runbook) = (case.subject.name(), case.runbook);
        let told = write_duration(time.as_secs_f64());
        let (why, hint) = match &case.last {
            LastRun::Never => return None,
            LastRun::Ended { run, at } => {
                let run = escape_controls(run);
                // A run that ended in the future: the clock was set back. Nothing says that the time has passed.
                let passed = Duration::try_from(case.now.duration_since(*at)).unwrap_or_default();
                let left = time.checked_sub(passed).filter(|left| !left.is_zero())?;
                (
                    format!("{runbook} changed {app} in run {run}, and rests for {told} after that"),
                    format!("allowed again in {}", write_duration(left.as_secs_f64().ceil())),
                )
            }
            LastRun::Unreadable { run } => (
                format!(
                    "{runbook} rests for {told} after it has changed {app}, and the journal of run {run} cannot be read"
                ),
                format!("`runbook show {run}` says why; nobody can tell whether it was one"),
            ),
        };
        Some(Finding { demand: Demand::Refused, place: place.clone(), why, hint: Some(hint) })
    }
}

fn demand(intent: &Intent<'_>) -> Demand {
    if intent.rung { Demand::RefusedRung { step: intent.step.to_owned() } } else { Demand::Refused }
}

fn left_out(intent: &Intent<'_>) -> String {
    format!("`--skip {}` leaves it out", intent.step)
}

/// E-mail addresses have no case; names of local users do.
fn same_person(who: &str, key: &str) -> bool {
    who == key || (key.contains('@') && who.eq_ignore_ascii_case(key))
}

/// What a change that scales `kind` below `least` would do.
pub(super) fn below(change: &Change, kind: &str, least: u64) -> Option<String> {
    match change {
        Change::Scale { kind: scaled, quantity } if scaled == kind && *quantity < least => {
            Some(format!("{kind} never has fewer than {least} dynos, and this would leave {quantity}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::rails;
    use super::*;

    const NOW: &str = "2026-11-27T15:30:00Z"; // a Friday

    /// What rules say of a deploy, then a ladder of a kill and a scale to one; `!` refused, `?` a rung refused, `>` typed.
    fn judged(rules: &str, change: impl FnOnce(&mut Case<'_>)) -> Vec<String> {
        let subject =
            Subject { names: vec!["wiki".into(), "0000-1111".into()], shared_with: vec!["archive".into()] };
        let scaled = [Change::Scale { kind: "web".into(), quantity: 1 }];
        let intents = [
            Intent { step: "deploy", rung: false, verb: "deploy", changes: &[] },
            Intent { step: "kill-idle", rung: true, verb: "kill_idle", changes: &[] },
            Intent { step: "scale-down", rung: true, verb: "scale", changes: &scaled },
        ];
        let who = ["anna".to_owned(), "anna@example.com".to_owned()];
        let mut case = Case {
            runbook: "own",
            subject: &subject,
            who: &who,
            now: NOW.parse().unwrap(),
            intents: &intents,
            last: LastRun::Never,
        };
        change(&mut case);
        let told = rails(&format!("guardrails: 1\n{rules}\n")).judge_plan(&case);
        told.into_iter()
            .map(|finding| {
                let mark = match finding.demand {
                    Demand::Refused => "!".to_owned(),
                    Demand::RefusedRung { step } => format!("? {step}"),
                    Demand::TypeTheName { app } => format!("> {app}"),
                };
                let hint = finding.hint.map_or(String::new(), |hint| format!(" [{hint}]"));
                format!("{mark} {}: {}{hint}", finding.place, finding.why)
            })
            .collect()
    }

    #[track_caller]
    fn check(rules: &str, wanted: &[&str]) {
        let told = judged(rules, |_| {});
        assert_eq!(told.len(), wanted.len(), "{rules}: {told:?}");
        for (told, wanted) in told.iter().zip(wanted) {
            assert!(wanted.split(" … ").all(|part| told.contains(part)), "{rules}: {told}, not {wanted}");
        }
    }

    #[test]
    fn each_rule_says_what_it_has_against_a_run_and_where_it_stands() {
        check("", &[]);
        check("off: audit until Monday", &["! t.yaml:2: runs that … off: audit until Monday"]);
        check("protected_apps: [other, WIKI]", &["! t.yaml:2: … never changed"]);
        check("protected_apps: [0000-1111]", &["never changed"]);
        check(
            "protected_apps:\n  - archive",
            &["? kill-idle t.yaml:3: … shares the database … `--skip kill-idle`"],
        );
        check("protected_apps: [other]", &[]);
        check("minimum_dynos: { web: 2 }", &["? scale-down … fewer than 2 … leave 1 … --skip scale-down"]);
        check("minimum_dynos: { web: 1, worker: 9 }", &[]);
        check(
            "freeze: [{ days: [fri], from: '16:00', zone: Europe/Berlin, why: weekend }]",
            &["! … weekend … Fri 16:30"],
        );
        check("freeze: [{ days: [fri], from: '16:00', zone: UTC, why: weekend }]", &[]);
        check("freeze: [{ zone: UTC, except: [own], why: holidays }]", &[]);
        check("type_the_name: [other]", &[]);
        check("type_the_name: ['*', wiki]", &["> wiki"]);
        check("kills: { per_run: 1 }\nprotected_users: [backup]", &[]);
    }

    #[test]
    fn who_may_run_what_is_told_by_user_account_or_everybody() {
        for (rules, allowed) in [
            ("allow: { anna: [own] }", true),
            ("allow: { Anna: [own] }", false),
            ("allow: { Anna@Example.com: ['*'] }", true),
            ("allow: { '*': [own] }", true),
            ("allow: { '*': [other], anna: [own] }", true),
            ("allow: { '*': [other] }", false),
            ("allow: { ben: ['*'] }", false),
        ] {
            let told = judged(rules, |_| {});
            assert_eq!(told.is_empty(), allowed, "{rules}: {told:?}");
        }
        let told = judged("allow: { ben: ['*'], zoe: [own] }", |_| {});
        assert!(told[0].contains("anna, anna@example.com may not run own [ben, zoe may]"), "{told:?}");
        assert!(judged("allow: { '*': [other] }", |case| case.who = &[])[0].contains("nobody known may not"));
    }

    #[test]
    fn a_plain_step_below_the_minimum_refuses_the_run() {
        let (subject, who) = (Subject::default(), []);
        let scaled = [Change::Scale { kind: "web".into(), quantity: 1 }];
        let intents = [Intent { step: "small", rung: false, verb: "scale", changes: &scaled }];
        let (now, last) = (Timestamp::UNIX_EPOCH, LastRun::Never);
        let case = Case { runbook: "own", subject: &subject, who: &who, now, intents: &intents, last };
        let told = rails("guardrails: 1\nminimum_dynos: { web: 2 }\n").judge_plan(&case);
        assert_eq!((told.len(), &told[0].demand), (1, &Demand::Refused), "{told:?}");
        assert!(told[0].why.starts_with("web never has fewer than 2"), "{told:?}");
    }

    #[test]
    fn a_run_that_changes_nothing_is_never_refused() {
        let rules = "off: a test\nallow: { ben: [x] }\ntype_the_name: ['*']\nprotected_apps: [wiki]";
        assert_eq!(judged(rules, |case| case.intents = &[]), [] as [&str; 0]);
    }

    #[test]
    fn a_repeat_waits_for_its_cool_down() {
        let rules = "cool_down: { own: 10m }";
        let ended = |at: &str| LastRun::Ended { run: "r7".into(), at: at.parse().unwrap() };
        let after = |last| judged(rules, |case| case.last = last);
        assert_eq!(after(ended("2026-11-27T15:20:00Z")), [] as [&str; 0]);
        let told = after(ended("2026-11-27T15:20:01Z"));
        assert!(told[0].contains("run r7") && told[0].contains("again in 1s"), "{told:?}");
        assert!(
            after(ended("2026-11-27T15:40:00Z"))[0].contains("again in 10m"),
            "a clock that was set back"
        );
        let unreadable = after(LastRun::Unreadable { run: "r8".into() });
        assert!(unreadable[0].contains("r8 cannot be read"), "{unreadable:?}");
    }
}
