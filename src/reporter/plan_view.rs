//! The plan as a person reads it before saying yes; a dry run prints the same.

use super::words::{clauses, connections, mark, wrap};
use crate::action::Preview;
use crate::engine::Measurements;
use crate::expr::{Evaluation, Truth};
use crate::health::show_seconds;
use crate::plan::{AfterGate, Body, Care, Gate, Ladder, OnFailure, Plan, Step};
use crate::source::escape_controls;

/// Lines of detail shown of one step.
const DETAILS: usize = 24;

/// Lines shown of one step's diff.
const DIFF: usize = 300;

/// What is shown beside the plan itself.
pub struct PlanView<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Previews by step id.
    pub previews: &'a [(String, Preview)],
    /// How each step's conditions read now, by step id: (label, evaluation).
    pub readings: &'a [(String, String, Evaluation)],
    /// Measured now.
    pub now: &'a Measurements,
    /// Things to know about the target.
    pub notes: &'a [String],
    /// A dry run: steps say `would run`.
    pub dry: bool,
    /// Width of the screen.
    pub width: usize,
}

/// Draws it.
pub fn plan_view(view: &PlanView<'_>) -> String {
    let plan = view.plan;
    let target = &plan.record.target;
    let mut out = String::new();
    let mut line = |indent: usize, text: &str| {
        out.push_str(&" ".repeat(indent));
        // Names of the target and of what was given may be anybody's.
        let text: Vec<_> = text.split('\n').map(escape_controls).collect();
        out.push_str(&wrap(&text.join("\n"), view.width.saturating_sub(indent).max(30), indent + 2));
        out.push('\n');
    };
    line(0, &format!("{}: {}", plan.record.runbook, plan.summary));
    line(2, &format!("app       {}", target.app));
    line(
        2,
        &format!(
            "database  {}",
            target.database.as_deref().unwrap_or(
                "not used (--no-database): conditions on it are left out, dynos and pages alone gate"
            )
        ),
    );
    line(2, &format!("pages     {}", target.pages.as_deref().unwrap_or("not measured")));
    line(2, &format!("git       {}", target.git_remote));
    line(
        2,
        &format!(
            "plan      {} (runbook from {})",
            &plan.id.get(..12).unwrap_or(&plan.id),
            plan.record.source
        ),
    );
    let set: Vec<String> = plan
        .record
        .inputs
        .iter()
        .map(|(name, bound)| {
            let origin = if bound.origin == "default" { "" } else { " (--set)" };
            format!("{name}={}{origin}", bound.value)
        })
        .collect();
    if !set.is_empty() {
        line(2, &format!("inputs    {}", set.join(", ")));
    }
    line(2, &format!("healthy   {}", plan.healthy));
    line(2, &format!("now       connections {}", connections(view.now)));
    if let Some(deadline) = plan.deadline {
        line(2, &format!("deadline  {}", show_seconds(deadline.as_secs_f64())));
    }
    if let Some(emergency) = &plan.record.emergency {
        line(2, &format!("emergency {}", emergency.reason));
    }
    for note in view.notes {
        line(2, &format!("note      {note}"));
    }
    out.push('\n');
    for (index, step) in plan.steps.iter().enumerate() {
        step_view(&mut out, view, step, &format!("{}.", index + 1), 0);
    }
    out
}

fn step_view(out: &mut String, view: &PlanView<'_>, step: &Step, number: &str, indent: usize) {
    let mut line = |indent: usize, text: &str| {
        out.push_str(&" ".repeat(indent));
        // Names of the target and of what was given may be anybody's.
        let text: Vec<_> = text.split('\n').map(escape_controls).collect();
        out.push_str(&wrap(&text.join("\n"), view.width.saturating_sub(indent).max(30), indent + 2));
        out.push('\n');
    };
    let inner = indent + 4;
    if let Some(why) = &step.left_out {
        line(indent, &format!("{number} {} — left out ({why})", step.id));
        return;
    }
    let preview = view.previews.iter().find(|(id, _)| *id == step.id).map(|(_, preview)| preview);
    let what = preview.map_or(step.name.as_str(), |preview| preview.summary.as_str());
    let reads = view.readings.iter().find(|(id, kind, _)| *id == step.id && kind == "when");
    let mode = match (reads.map(|(_, _, evaluation)| evaluation.truth), preview) {
        (Some(Truth::False), _) => " (skipped, as it reads now)",
        (_, Some(preview)) if preview.nothing_to_do => " (nothing to do now)",
        _ if view.dry => " (would run)",
        _ => "",
    };
    line(indent, &format!("{number} {}{mode}: {what}", step.id));
    if step.name != step.id && preview.is_some() {
        line(inner, &step.name);
    }
    if step.always {
        line(inner, "always: runs at the end whatever happened");
    }
    if step.cure {
        line(inner, "the cure: it goes out whatever the forecast says");
    }
    if let Some(when) = &step.when {
        line(inner, &format!("when {when}{}", reading(view, &step.id, "when")));
    }
    if let Some(gate) = &step.before {
        line(inner, &format!("before: {}{}", gate_words(gate), reading(view, &step.id, "before")));
    }
    if let Some(preview) = preview {
        preview_view(&mut line, inner, preview);
    }
    if let Body::Verb(action) = &step.body
        && let Some(awaits) = action.awaits()
    {
        let within = awaits.within.map_or("in one sample".to_owned(), |within| {
            format!("within {}", show_seconds(within.as_secs_f64()))
        });
        let until = &awaits.until.value;
        line(inner, &format!("must hold {within}: {until}{}", reading(view, &step.id, "condition")));
    }
    match &step.after {
        AfterGate::Own(gate) | AfterGate::IfChanged(gate) => {
            line(inner, &format!("gate: {}{}", gate_words(gate), reading(view, &step.id, "gate")));
        }
        AfterGate::Default(within) if view.plan.record.target.database.is_none() => {
            line(inner, &format!("default gate: live, within {}", show_seconds(within.as_secs_f64())));
        }
        AfterGate::Default(within) => line(
            inner,
            &format!(
                "default gate: usage known and at most 2 points above what it was (below 95% if it was full), within {}",
                show_seconds(within.as_secs_f64())
            ),
        ),
        AfterGate::None(reason) => line(inner, &format!("no gate: {reason}")),
        AfterGate::NotNeeded => {}
    }
    if let Some(abort) = &step.abort_when {
        line(inner, &format!("ends when {abort} in two samples in a row"));
    }
    match step.on_failure {
        OnFailure::Stop => {}
        OnFailure::Continue => line(inner, "a failure is tolerated: the run goes on"),
        OnFailure::Rollback => {
            line(
                inner,
                "a failure after the release takes it back (Heroku's release rollback), then the run ends",
            );
        }
    }
    if let Body::Ladder(ladder) = &step.body
        && let Some(care) = &ladder.care
    {
        care_view(&mut line, inner, care, ladder, &reading(view, &step.id, "after-care"));
        if care.again.is_some() || ladder.rungs.is_empty() {
            return;
        }
    }
    if let Body::Ladder(ladder) = &step.body {
        line(
            inner,
            &format!(
                "the first rung after which this holds ends it: {}{}",
                gate_words(&ladder.gate),
                reading(view, &step.id, "ladder")
            ),
        );
        for (index, rung) in ladder.rungs.iter().enumerate() {
            step_view(out, view, rung, &format!("{number}{}", index + 1), inner);
        }
    }
}

/// What is watched after success, and what is done when it falls.
fn care_view(line: &mut impl FnMut(usize, &str), inner: usize, care: &Care, ladder: &Ladder, reads: &str) {
    let then = match (&care.again, ladder.rungs.is_empty()) {
        (_, true) => "the run ends as with a shut gate".to_owned(),
        (Some(again), _) => format!("{again} is climbed again, from the rung after the one that had healed"),
        (None, _) => "these rungs are climbed".to_owned(),
    };
    let watch = show_seconds(care.watch.as_secs_f64());
    line(inner, &format!("watches for {watch} that this stays: {}{reads}", care.until));
    line(inner, &format!("false for {}: {then}", show_seconds(care.patience.as_secs_f64())));
    line(inner, "the app stays locked meanwhile; Ctrl-C ends the watch (exit 130)");
}

fn gate_words(gate: &Gate) -> String {
    let hold = if gate.hold.is_zero() {
        String::new()
    } else {
        format!(" for {}", show_seconds(gate.hold.as_secs_f64()))
    };
    let whole = if gate.early { "" } else { ", waited for to its end" };
    format!("{}{hold} within {}{whole}", gate.until, show_seconds(gate.within.as_secs_f64()))
}

/// How a condition reads now.
fn reading(view: &PlanView<'_>, step: &str, label: &str) -> String {
    view.readings.iter().find(|(id, kind, _)| id == step && kind == label).map_or(
        String::new(),
        |(_, _, evaluation)| match evaluation.clauses.as_slice() {
            [one] => format!(" [now: {}, {}]", mark(one.truth), one.reads),
            _ => format!(" [now: {}]", clauses(evaluation).join("; ")),
        },
    )
}

/// What a step would do: requests, details, the forecast, what stays unknown.
fn preview_view(line: &mut impl FnMut(usize, &str), inner: usize, preview: &Preview) {
    for request in &preview.requests {
        for (index, part) in request.lines().enumerate() {
            line(inner, &format!("{}{part}", if index == 0 { "→ " } else { "  " }));
        }
    }
    for detail in preview.details.iter().take(DETAILS) {
        line(inner, detail);
    }
    if preview.details.len() > DETAILS {
        line(inner, &format!("… and {} lines more", preview.details.len() - DETAILS));
    }
    for shown in preview.diff.iter().take(DIFF) {
        line(inner, shown);
    }
    if preview.diff.len() > DIFF {
        line(inner, &format!("… and {} lines more of the diff", preview.diff.len() - DIFF));
    }
    if let Some(forecast) = &preview.forecast {
        let mut parts = Vec::new();
        parts.extend(forecast.during.map(|during| format!("up to {during} during it")));
        parts.extend(forecast.after.map(|after| format!("about {after} after it")));
        let known = if parts.is_empty() { "not known before it".to_owned() } else { parts.join(", ") };
        let mut text = format!("connections: {known}");
        if let Some(limit) = forecast.limit {
            text.push_str(&format!(", limit {limit}"));
        }
        line(inner, &format!("{text} ({})", forecast.basis));
        if forecast.passes_limit {
            let advice = forecast.advice.as_deref().map(|advice| format!("; {advice}")).unwrap_or_default();
            line(
                inner,
                &format!(
                    "warning: the peak passes the limit: some logins will be refused for that time{advice}"
                ),
            );
        }
    }
    for unknown in &preview.unknown {
        line(inner, &format!("measured when reached: {unknown}"));
    }
    for warning in &preview.warnings {
        line(inner, &format!("warning: {warning}"));
    }
    for consent in &preview.consents {
        line(inner, &format!("asks: {}", consent.question));
    }
}
