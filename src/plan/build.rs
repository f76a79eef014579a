//! From a runbook's text and a record to a plan. Pure, and the same record always gives the same plan.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::model::{Bound, Plan, PlanRecord, Selection};
use super::select::select;
use super::steps::Builder;
use crate::source::{Diagnostic, Severity, Source};
use crate::spec::{Runbook, read_leniently};

/// A runbook that was checked without a target.
#[derive(Debug)]
pub struct Checked {
    /// As read.
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
        inputs: inputs.collect(),
        selection: Selection::default(),
        target: super::model::Target::default(),
        deadline_ms: None,
    };
    let plan = assemble(&runbook, record, &mut faults);
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(faults);
    }
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
    let plan = assemble(&runbook, record, &mut faults);
    if faults.iter().any(|fault| fault.severity == Severity::Error) { Err(faults) } else { Ok(plan) }
}

/// The plan's id: a hash of everything that makes it.
fn id_of(record: &PlanRecord) -> String {
    let canonical = serde_json::to_vec(record).unwrap_or_default();
    let digest = Sha256::digest(&canonical);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assemble(runbook: &Runbook, record: PlanRecord, faults: &mut Vec<Diagnostic>) -> Plan {
    let mut builder = Builder::new(runbook, &record, faults);
    let every = builder.interval(runbook);
    let healthy = builder.healthy(runbook);
    let told = builder.deadline(runbook);
    let mut steps = builder.steps(&runbook.steps);
    let when_shut = runbook.when_shut.iter().map(|text| builder.fixed_text(text)).collect();
    builder.unused(runbook);
    // A step that is repeated repeats its faults.
    let mut told_already: Vec<Diagnostic> = Vec::new();
    faults.retain(|fault| {
        let new = !told_already.contains(fault);
        if new {
            told_already.push(fault.clone());
        }
        new
    });
    select(&mut steps, &record.selection);
    let asked = record.deadline_ms.map(Duration::from_millis);
    let deadline = [told, asked].into_iter().flatten().min();
    Plan {
        id: id_of(&record),
        summary: runbook.summary.clone(),
        every,
        healthy: Arc::new(healthy),
        steps,
        deadline,
        when_shut,
        record,
    }
}
