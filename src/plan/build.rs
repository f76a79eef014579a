//! From a runbook's text and a record to a plan. Pure, and the same record always gives the same plan.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::emergency::lift;
use super::include::guardrails_within;
use super::model::{Bound, Plan, PlanRecord, Selection};
use super::select::select;
use super::steps::Builder;
use crate::source::{Diagnostic, Severity, Source};
use crate::spec::{BodySpec, Runbook, StepSpec, read_leniently};

/// A runbook that was checked without a target.
#[derive(Debug)]
pub struct Checked {
    /// As read; the steps of the runbooks that it includes stand behind its own.
    pub runbook: Runbook,
    /// Its steps, bound to defaults.
    pub plan: Plan,
    /// What is not wrong, but should be known.
    pub warnings: Vec<Diagnostic>,
}

/// Checks a runbook without a target; every fault at once.
///
/// # Errors
/// The faults, warnings among them.
pub fn check(source: &Source) -> Result<Checked, Vec<Diagnostic>> {
    check_among(source, &BTreeMap::new())
}

/// As [`check`], where `included` are the texts of runbooks that it includes, by name; those in the binary are known
/// without.
///
/// # Errors
/// The faults, warnings among them.
pub fn check_among(source: &Source, included: &BTreeMap<String, String>) -> Result<Checked, Vec<Diagnostic>> {
    let (runbook, mut faults) = read_leniently(source);
    let Some(runbook) = runbook else { return Err(faults) };
    let inputs = runbook.inputs.iter().map(|input| {
        (input.name.value.clone(), Bound { value: input.specimen(), origin: "specimen".to_owned() })
    });
    let record = PlanRecord {
        tool: String::new(),
        runbook: runbook.name.value.clone(),
        source: source.name.to_string(),
        text: source.text.to_string(),
        included: included.clone(),
        inputs: inputs.collect(),
        selection: Selection::default(),
        target: super::model::Target::default(),
        ..PlanRecord::default()
    };
    let (plan, included) = assemble(&runbook, record, &mut faults);
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(faults);
    }
    let mut runbook = runbook;
    runbook.steps.extend(included);
    Ok(Checked { runbook, plan, warnings: faults })
}

/// Builds the plan of a record.
///
/// # Errors
/// Every fault of the text, each with its place.
pub fn build(record: PlanRecord) -> Result<Plan, Vec<Diagnostic>> {
    let source = Source::new(record.source.as_str(), record.text.as_str());
    let (runbook, mut faults) = read_leniently(&source);
    let Some(runbook) = runbook else { return Err(faults) };
    let (plan, _) = assemble(&runbook, record, &mut faults);
    if faults.iter().any(|fault| fault.severity == Severity::Error) { Err(faults) } else { Ok(plan) }
}

/// The plan's id: a hash of everything that makes it.
fn id_of(record: &PlanRecord) -> String {
    let canonical = serde_json::to_vec(record).unwrap_or_default();
    let digest = Sha256::digest(&canonical);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A step that is repeated repeats its faults: each is told once.
pub(super) fn unique(faults: &mut Vec<Diagnostic>) {
    let mut told_already: Vec<Diagnostic> = Vec::new();
    faults.retain(|fault| {
        let new = !told_already.contains(fault);
        if new {
            told_already.push(fault.clone());
        }
        new
    });
}

/// The plan, and the steps as read of what it includes.
fn assemble(runbook: &Runbook, record: PlanRecord, faults: &mut Vec<Diagnostic>) -> (Plan, Vec<StepSpec>) {
    let included = guardrails_within(runbook, &record.included, 0);
    let guardrails = record.guardrails.clone().joined(runbook.guardrails.clone()).joined(included);
    let mut builder = Builder::new(runbook, &record, guardrails.kill_limits(), faults);
    let every = builder.interval(runbook);
    let healthy = builder.healthy(runbook);
    let told = builder.deadline(runbook);
    let mut steps = builder.steps(&runbook.steps);
    if let Some(care) = &runbook.after_care {
        let watch = builder.after_care(care, &steps, &healthy);
        // After what the plan sets out to do, before what always runs.
        let at = steps.iter().rposition(|step| !step.always).map_or(0, |last| last + 1);
        if let Some(step) = watch {
            steps.insert(at, step);
        }
    }
    let mut when_shut: Vec<String> = runbook.when_shut.iter().map(|text| builder.fixed_text(text)).collect();
    builder.unused(runbook);
    let along = builder.along;
    when_shut.extend(
        along.when_shut.into_iter().filter(|line| !runbook.when_shut.iter().any(|own| own.value == *line)),
    );
    if runbook.notify.is_empty() {
        let said = runbook
            .steps
            .iter()
            .filter(|step| matches!(&step.body, BodySpec::Verb(verb) if verb.entry.name == "notify"));
        let nobody = |step: &StepSpec| {
            let fault =
                Diagnostic::error(step.span, "the `notify` section names nobody who would be told").warning();
            fault.help("write `notify: [{ slack: RUNBOOK_SECRET_SLACK }]` before the steps")
        };
        faults.extend(said.map(nobody));
    }
    unique(faults);
    select(&mut steps, &record.selection);
    if let Some(emergency) = &record.emergency {
        lift(&mut steps, emergency);
    }
    let asked = record.deadline_ms.map(Duration::from_millis);
    let deadline = [told, asked, along.deadline].into_iter().flatten().min();
    let plan = Plan {
        id: id_of(&record),
        summary: runbook.summary.clone(),
        every,
        healthy: Arc::new(healthy),
        steps,
        only_looks: runbook.only_looks,
        deadline,
        notify: runbook.notify.clone(),
        guardrails,
        when_shut,
        record,
    };
    (plan, along.specs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::{Body, EMBEDDED, Step, Target};
    use crate::source::render;

    fn plan(text: &str, target: Target) -> Plan {
        let source = Source::new("t", text);
        let (runbook, _) = read_leniently(&source);
        let inputs = runbook.iter().flat_map(|runbook| &runbook.inputs).map(|input| {
            (input.name.value.clone(), Bound { value: input.specimen(), origin: "default".to_owned() })
        });
        let record = PlanRecord {
            tool: String::new(),
            runbook: String::new(),
            source: "t".to_owned(),
            text: text.to_owned(),
            inputs: inputs.collect(),
            selection: Selection::default(),
            target,
            ..PlanRecord::default()
        };
        build(record).unwrap_or_else(|faults| panic!("{}", render(&source, &faults, false)))
    }

    fn gate(step: &Step) -> String {
        match (&step.after, &step.body) {
            (crate::plan::AfterGate::Own(gate), _) => gate.until.to_string(),
            (_, Body::Ladder(ladder)) => ladder.gate.until.to_string(),
            (_, Body::Verb(action)) => {
                action.awaits().map(|awaits| awaits.until.value.clone()).unwrap_or_default()
            }
        }
    }

    #[test]
    fn live_is_always_part_of_healthy() {
        for (healthy, whole) in [
            ("usage < 40%", "usage < 40% and live"),
            ("live or usage < 40%", "(live or usage < 40%) and live"),
            ("live and refused == 0", "live and refused == 0"),
            ("not live", "not live and live"),
        ] {
            let text = format!(
                "runbook: 1\nname: x\nsummary: s\nhealth: {{ healthy: '{healthy}' }}\nsteps:\n  - diagnose:\n"
            );
            assert_eq!(plan(&text, Target::default()).healthy.to_string(), whole);
        }
    }

    #[test]
    fn without_the_database_platform_and_pages_alone_gate() {
        let target = Target { app: "wiki".to_owned(), ..Target::default() };
        for (name, text) in EMBEDDED {
            let plan = plan(text, target.clone());
            for condition in plan.steps.iter().map(gate).chain([plan.healthy.to_string()]) {
                for database in ["usage", "refused", "growth", "time_to_full"] {
                    assert!(!condition.contains(database), "{name}: {condition}");
                }
            }
            assert!(plan.healthy.to_string().contains("live"), "{name}");
        }
        let with = Target { database: Some("u@h:3306/d".to_owned()), ..target };
        let (_, fix) = EMBEDDED.iter().find(|(name, _)| *name == "deploy-fix").unwrap();
        assert!(plan(fix, with).healthy.to_string().contains("usage < 40%"));
    }

    #[test]
    fn repeated_steps_are_called_by_one_name() {
        let text = "runbook: 1\nname: x\nsummary: s\nsteps:\n  - { id: each, restart: 'web.${{ item }}', for_each: [1, 2] }\n  - diagnose:\n";
        let checked = check(&Source::new("t", text)).unwrap();
        let ids: Vec<_> = checked.plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["each-1", "each-2", "diagnose"]);
        let told = |selection: &Selection| {
            let mut steps = checked.plan.steps.clone();
            select(&mut steps, selection);
            steps.into_iter().map(|step| step.left_out.is_none()).collect::<Vec<_>>()
        };
        let named = |id: &str| vec![id.to_owned()];
        assert_eq!(told(&Selection { skip: named("each"), ..Selection::default() }), [false, false, true]);
        assert_eq!(told(&Selection { only: named("each-2"), ..Selection::default() }), [false, true, false]);
        assert_eq!(
            told(&Selection { from: Some("each-2".to_owned()), ..Selection::default() }),
            [false, true, true]
        );
    }

    #[test]
    fn the_same_record_gives_the_same_plan() {
        let (one, other) = (plan(EMBEDDED[1].1, Target::default()), plan(EMBEDDED[1].1, Target::default()));
        assert_eq!((one.id.as_str(), one.id.len()), (other.id.as_str(), 64));
        let app = Target { app: "other".to_owned(), ..Target::default() };
        assert_ne!(one.id, plan(EMBEDDED[1].1, app).id);
    }

    proptest! {
        /// A runbook with anything done to it gives a plan or faults with places in it, never a panic.
        #[test]
        fn a_damaged_runbook_gives_faults_and_never_a_panic(
            which in 0..EMBEDDED.len(),
            edits in proptest::collection::vec((0.0..1.0_f64, 0_usize..6, "[a-z0-9%:{}\\[\\],\"'$ \n-]{0,4}"), 1..6),
        ) {
            let mut text = EMBEDDED[which].1.to_owned();
            for (place, length, with) in edits {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
                let mut from = (text.len() as f64 * place) as usize;
                while !text.is_char_boundary(from) {
                    from -= 1;
                }
                let to = text[from..].char_indices().nth(length).map_or(text.len(), |(at, _)| from + at);
                text.replace_range(from..to, &with);
            }
            let source = Source::new("t", text.as_str());
            if let Err(faults) = check(&source) {
                prop_assert!(!faults.is_empty());
                for fault in &faults {
                    prop_assert!(fault.span.end <= text.len() && fault.span.start <= fault.span.end, "{fault:?}");
                }
                prop_assert!(render(&source, &faults, false).contains("t:"));
            }
        }
    }
}
