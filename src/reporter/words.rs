//! How things are said, once for every reporter.

use crate::action::Failure;
use crate::engine::{Event, GateKind, Measurements, StepStatus};
use crate::expr::{Evaluation, Truth};
use crate::health::{DatabaseReading, Metric, Sample, Value, show_seconds};
use crate::platform::Fault;

/// A time in milliseconds.
pub(crate) fn took(millis: u64) -> String {
    show_seconds(millis as f64 / 1000.0)
}

/// A metric's value, or `unknown`.
pub(crate) fn metric(metrics: &Measurements, metric: Metric) -> String {
    metrics.get(&metric).map_or_else(|| "unknown".to_owned(), Value::to_string)
}

/// `146/150 (97%)`, as far as known.
pub(crate) fn connections(metrics: &Measurements) -> String {
    match (metrics.get(&Metric::Used), metrics.get(&Metric::Limit), metrics.get(&Metric::Usage)) {
        (Some(used), Some(limit), Some(usage)) => format!("{used}/{limit} ({usage})"),
        (None, _, Some(_)) => "full: every login is refused".to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// Who began a run, with whose token, for which incident and why; `None` for another event.
pub fn asked_for(event: &Event) -> Option<String> {
    let Event::RunStarted { by, account, incident, reason, .. } = event else { return None };
    let mut text = format!("by {by}");
    if let Some(account) = account {
        text.push_str(&format!(" ({account})"));
    }
    if let Some(incident) = incident {
        text.push_str(&format!(", incident {incident}"));
    }
    if let Some(reason) = reason {
        text.push_str(&format!(": {reason}"));
    }
    Some(crate::source::escape_controls(&text).into_owned())
}

/// Why a sample has no numbers of the database: ` (no answer in time)`; empty when it has, or was not asked for any.
pub(crate) fn without_numbers(sample: &Sample) -> String {
    match &sample.database {
        DatabaseReading::Measured(_) | DatabaseReading::Unknown(_) => String::new(),
        DatabaseReading::Refused { code: 1203 | 1226, .. } => {
            " (this account has all the connections it may have)".to_owned()
        }
        DatabaseReading::Refused { code, .. } => format!(" (error {code})"),
        DatabaseReading::Failed(fault) => format!(" ({})", fault.message),
    }
}

/// A mark and a word for how a step ended: the word alone is enough.
pub(crate) fn status(status: &StepStatus) -> (&'static str, &'static str) {
    match status {
        StepStatus::Done => ("✓", "done"),
        StepStatus::Unneeded => ("✓", "nothing to do"),
        StepStatus::Skipped { .. } => ("↷", "skipped"),
        StepStatus::WouldRun => ("○", "would run"),
        StepStatus::Failed { tolerated: true, .. } => ("!", "failed, tolerated"),
        StepStatus::Failed { .. } => ("✗", "failed"),
        StepStatus::GateShut { tolerated: true, .. } => ("!", "gate shut, tolerated"),
        StepStatus::GateShut { .. } => ("✗", "gate stayed shut"),
        StepStatus::NotHealed { .. } => ("↷", "did not heal"),
        StepStatus::Declined { .. } => ("✗", "declined"),
        StepStatus::Held { .. } => ("■", "held"),
        StepStatus::InDoubt { .. } => ("?", "in doubt"),
        StepStatus::Interrupted => ("■", "interrupted"),
    }
}

/// Why a step ended so, when that is not plain.
pub(crate) fn reason(status: &StepStatus) -> Option<String> {
    match status {
        StepStatus::Skipped { why }
        | StepStatus::GateShut { why, .. }
        | StepStatus::NotHealed { why }
        | StepStatus::Held { why }
        | StepStatus::InDoubt { why } => Some(why.clone()),
        StepStatus::Declined { question } => Some(format!("not agreed to: {question}")),
        StepStatus::Failed { failure, .. } => Some(failure.to_string()),
        StepStatus::Done | StepStatus::Unneeded | StepStatus::WouldRun | StepStatus::Interrupted => None,
    }
}

/// What each condition of a step is called.
pub(crate) const fn gate(kind: GateKind) -> &'static str {
    match kind {
        GateKind::When => "when",
        GateKind::Before => "gate before",
        GateKind::After => "gate",
        GateKind::Default => "default gate",
        GateKind::Wait => "wait",
        GateKind::Check => "check",
        GateKind::Ladder => "ladder",
        GateKind::AfterCare => "after-care",
        GateKind::Abort => "abort_when",
    }
}

/// A mark for a truth.
pub const fn mark(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "yes",
        Truth::False => "no",
        Truth::Unknown => "unknown",
    }
}

/// A condition clause by clause: `usage < 40%: no (usage 97%)`.
pub fn clauses(evaluation: &Evaluation) -> Vec<String> {
    evaluation
        .clauses
        .iter()
        .map(|clause| {
            // `live: yes (live true)` says it twice.
            let plain = clause
                .reads
                .strip_prefix(&clause.text)
                .is_some_and(|rest| matches!(rest, " true" | " false"));
            let reads =
                if clause.reads.is_empty() || plain { String::new() } else { format!(" ({})", clause.reads) };
            format!("{}: {}{reads}", clause.text, mark(clause.truth))
        })
        .collect()
}

/// The line of a finished step; without its reason when that has just been told.
pub fn step_line(step: &str, ended: &StepStatus, summary: Option<&str>, millis: u64, why: bool) -> String {
    let (mark, word) = status(ended);
    let mut line = format!("{mark} {step}: {word}");
    if !matches!(ended, StepStatus::Skipped { .. } | StepStatus::WouldRun) {
        let word = if matches!(ended, StepStatus::GateShut { .. }) { "after" } else { "in" };
        line.push_str(&format!(" {word} {}", took(millis)));
    }
    match (reason(ended).filter(|_| why), summary.filter(|summary| !summary.is_empty())) {
        (Some(reason), _) => line.push_str(&format!(" — {reason}")),
        (None, Some(summary)) => line.push_str(&format!(" — {summary}")),
        (None, None) => {}
    }
    line
}

/// What a failure shows below its line: evidence, hints, request ids.
pub fn failure_lines(failure: &Failure) -> Vec<String> {
    let mut lines = evidence_lines(failure);
    lines.extend(fault_lines(&failure.fault));
    lines
}

/// The evidence of a failure alone.
pub(crate) fn evidence_lines(failure: &Failure) -> Vec<String> {
    failure.evidence.iter().map(|line| format!("  | {line}")).collect()
}

/// Hints and request ids of a fault.
pub(crate) fn fault_lines(fault: &Fault) -> Vec<String> {
    let mut lines: Vec<String> = fault.hints.iter().map(|hint| format!("  hint: {hint}")).collect();
    if !fault.request_ids.is_empty() {
        lines.push(format!("  Heroku request id: {}", fault.request_ids.join(", ")));
    }
    lines
}

/// Breaks a text into lines of `width`, later lines indented by `indent`.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for (index, word) in text.split(' ').enumerate() {
        let length = console::measure_text_width(word);
        if index > 0 && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if index > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}
