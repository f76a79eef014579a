//! `--emergency REASON --lift STEP`: named gates are switched off for one run, and the plan shows it.
//!
//! It must never lift a guardrail, nor a condition that is a step's whole work.

use super::model::{AfterGate, Body, Emergency, Plan, Step};
use super::select::called;
use crate::source::{did_you_mean, escape_controls};

/// An emergency from the command line.
///
/// # Errors
/// A sentence, when nothing is said as the reason.
pub fn emergency(reason: &str, lift: &[String]) -> Result<Emergency, String> {
    // It is shown with every event: one line, and nothing that a terminal obeys.
    let words: Vec<&str> = reason.split_whitespace().collect();
    let reason = escape_controls(&words.join(" ")).into_owned();
    if reason.chars().count() < 3 {
        return Err("--emergency: it is written beside everything that is done: say why".to_owned());
    }
    Ok(Emergency { reason, lift: lift.to_vec() })
}

/// Switches the named gates off, with the reason.
pub(super) fn lift(steps: &mut [Step], emergency: &Emergency) {
    for step in steps {
        if emergency.lift.iter().any(|id| called(step, id)) {
            if step.before.is_some() || gated(step) {
                let why = format!("lifted in an emergency: {}", emergency.reason);
                step.after = AfterGate::None(why);
            }
            step.before = None;
        }
        if let Body::Ladder(ladder) = &mut step.body {
            lift(&mut ladder.rungs, emergency);
        }
    }
}

const fn gated(step: &Step) -> bool {
    matches!(step.after, AfterGate::Own(_) | AfterGate::Default(_) | AfterGate::IfChanged(_))
}

/// Checks that every step that `--lift` names has a gate that can be lifted. Every fault at once.
///
/// # Errors
/// Sentences for the command line.
pub fn check_emergency(plan: &Plan, emergency: &Emergency) -> Result<(), Vec<String>> {
    let mut all: Vec<&Step> = Vec::new();
    for step in &plan.steps {
        all.push(step);
        if let Body::Ladder(ladder) = &step.body {
            all.extend(&ladder.rungs);
        }
    }
    let mut faults = Vec::new();
    for id in &emergency.lift {
        let Some(step) = all.iter().find(|step| called(step, id)) else {
            let near = did_you_mean(id, all.iter().map(|step| step.id.as_str()))
                .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            faults.push(format!("--lift {}: the runbook has no such step{near}", escape_controls(id)));
            continue;
        };
        if step.before.is_some() || gated(step) {
            continue;
        }
        let why = match &step.body {
            Body::Ladder(_) => "its condition says when the ladder ends, and cannot be lifted",
            Body::Verb(action) if action.awaits().is_some() => {
                "its condition is its whole work: `--skip` leaves the step out"
            }
            Body::Verb(_) => "it has no gate",
        };
        faults.push(format!("--lift {id}: {why}"));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PlanRecord, build, check};
    use crate::source::Source;

    const BOOK: &str = "runbook: 1\nname: x\nsummary: s\nsteps:\n  - id: own\n    restart: all\n    gate: { before: { until: live }, after: { until: live, for: 3s } }\n  - id: usual\n    restart: all\n    on_failure: continue\n  - { id: each, restart: 'web.${{ item }}', for_each: [1, 2] }\n  - id: look\n    diagnose:\n  - id: sure\n    wait: { until: healthy, within: 1m }\n  - id: climb\n    ladder: { until: healthy, rungs: [{ id: rung, restart: all, gate: { before: { until: live } } }] }\n";

    fn lifted(ids: &[&str]) -> Plan {
        let ids: Vec<_> = ids.iter().map(|id| (*id).to_owned()).collect();
        let record = PlanRecord {
            source: "t".into(),
            text: BOOK.into(),
            emergency: Some(emergency("the site\nis down", &ids).unwrap()),
            ..PlanRecord::default()
        };
        build(record).unwrap()
    }

    #[test]
    fn named_gates_are_off_with_the_reason_and_no_others() {
        let plan = lifted(&["own", "each", "rung"]);
        let told: Vec<_> = plan
            .steps
            .iter()
            .map(|step| match &step.after {
                AfterGate::None(why) => why.as_str(),
                AfterGate::Default(_) => "default",
                _ => "none",
            })
            .collect();
        let off = "lifted in an emergency: the site is down";
        assert_eq!(told, [off, "default", off, off, "none", "none", "none"]);
        assert!(plan.steps[0].before.is_none());
        let Body::Ladder(ladder) = &plan.steps[6].body else { panic!("a ladder") };
        assert!(ladder.rungs[0].before.is_none());
        assert_ne!(plan.id, lifted(&["own"]).id, "it is part of what is agreed to");
    }

    #[test]
    fn what_has_no_gate_to_lift_is_said() {
        let plan = check(&Source::new("t", BOOK)).unwrap().plan;
        for (id, words) in [
            ("usaul", "did you mean `usual`"),
            ("look", "has no gate"),
            ("sure", "its whole work"),
            ("climb", "when the ladder ends"),
        ] {
            let faults = check_emergency(&plan, &emergency("a test", &[id.to_owned()]).unwrap()).unwrap_err();
            assert!(faults.len() == 1 && faults[0].contains(words), "{id}: {faults:?}");
        }
        let good = ["own", "usual", "each", "each-2", "rung"].map(str::to_owned);
        assert_eq!(check_emergency(&plan, &emergency("a test", &good).unwrap()), Ok(()));
    }

    #[test]
    fn an_emergency_has_a_reason_that_can_be_shown() {
        assert!(emergency(" \n", &[]).is_err());
        assert_eq!(emergency("all\tdown \u{1b}[2J", &[]).unwrap().reason, "all down \\x1b[2J");
    }
}
