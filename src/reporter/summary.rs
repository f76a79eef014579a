//! The end of a run as a person reads it: before and after, what was changed and how to go back, what to do next.

use std::collections::BTreeMap;

use super::table::Table;
use super::words::{clauses, gate, reason, status, took, wrap};
use crate::action::{Forecast, Preview};
use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Ledger, Live, Measurements, Outcome, StepStatus};
use crate::expr::Evaluation;
use crate::health::{Metric, Value};
use crate::platform::{Before, Change, Effect};

/// Metrics in the before/after table.
const SHOWN: [(Metric, &str); 11] = [
    (Metric::Usage, "connection usage"),
    (Metric::Used, "connections used"),
    (Metric::Limit, "connection limit"),
    (Metric::Refused, "logins refused"),
    (Metric::Sleeping, "sleeping sessions"),
    (Metric::Idle, "asleep 60 s or more"),
    (Metric::TimeToFull, "time to full"),
    (Metric::DynosUp, "dynos up"),
    (Metric::DynosCrashed, "dynos crashed"),
    (Metric::PagesOk, "pages answered"),
    (Metric::PagesP95, "page time, p95"),
];

#[derive(Debug)]
struct StepRow {
    step: String,
    rung: bool,
    status: StepStatus,
    took_ms: u64,
    before: Measurements,
    after: Measurements,
}

/// Collects a run's events and draws its end.
#[derive(Debug, Default)]
pub struct Summary {
    app: String,
    run: Option<String>,
    emergency: Option<String>,
    /// Where its journal is kept.
    kept: Option<String>,
    /// The head of the journal's chain at its end.
    head: Option<String>,
    rungs: Vec<String>,
    steps: Vec<StepRow>,
    /// Steps of the plan, rungs included.
    planned: Vec<String>,
    /// What was forecast of steps, and the most connections seen while each of them ran: not known of a run told again.
    forecasts: Vec<(String, Forecast)>,
    peaks: BTreeMap<String, f64>,
    changes: Ledger,
    shut: Option<(String, &'static str, Evaluation)>,
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    outcome: Outcome,
    why: Option<String>,
    before: Measurements,
    after: Measurements,
    took_ms: u64,
    api_calls: u64,
    logins: u64,
    samples: u64,
    tolerated: u64,
    next: Vec<String>,
}

impl Listener for Summary {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        self.changes.note(event);
        match event {
            Event::RunStarted { run, record, .. } => {
                self.run = Some(run.clone());
                self.app.clone_from(&record.target.app);
                self.emergency = event.emergency().map(str::to_owned);
            }
            Event::Resumed { record, .. } => {
                if let Some(record) = record {
                    self.app.clone_from(&record.target.app);
                }
                self.end = None;
                self.shut = None;
            }
            Event::Plan { steps } if self.planned.is_empty() => {
                self.planned = steps.iter().map(|(step, _)| step.clone()).collect();
                let forecast =
                    |(step, preview): &(String, Preview)| Some((step.clone(), preview.forecast.clone()?));
                self.forecasts = steps.iter().filter_map(forecast).collect();
            }
            Event::StepStarted { step, ladder: Some(_), .. } => self.rungs.push(step.clone()),
            Event::Verdict { step, gate: kind, open: false, evaluation, .. } => {
                self.shut = Some((step.clone(), gate(*kind), evaluation.clone()));
            }
            Event::StepFinished { step, status, before, after, took_ms, .. } => {
                // What a pause had ended has gone on: its row is the one of its end.
                self.steps.retain(|row| row.step != *step || is_over(&row.status));
                self.steps.push(StepRow {
                    step: step.clone(),
                    rung: self.rungs.contains(step),
                    status: status.clone(),
                    took_ms: *took_ms,
                    before: before.clone(),
                    after: after.clone(),
                });
            }
            Event::RunFinished { outcome, why, before, after, took_ms, tally, next, .. } => {
                self.head.clone_from(&stamp.head);
                self.end = Some(End {
                    outcome: *outcome,
                    why: why.clone(),
                    before: before.clone(),
                    after: after.clone(),
                    took_ms: *took_ms,
                    api_calls: tally.api_calls,
                    logins: tally.database_logins,
                    samples: tally.samples,
                    tolerated: tally.tolerated,
                    next: next.clone(),
                });
            }
            _ => {}
        }
    }

    fn live(&mut self, live: &Live, metrics: &Measurements) {
        if let Some(Value::Count(used)) = metrics.get(&Metric::Used) {
            let peak = self.peaks.entry(live.step.clone()).or_default();
            *peak = peak.max(*used);
        }
    }
}

impl Summary {
    /// Says where the journal is kept, to be shown with the head of its chain.
    #[must_use]
    pub fn kept_at(mut self, journal: &std::path::Path) -> Self {
        self.kept = Some(crate::source::escape_controls(&journal.display().to_string()).into_owned());
        self
    }

    /// What was forecast of the steps that acted, and what was measured while they ran.
    fn forecasts_met(&self) -> impl Iterator<Item = String> + '_ {
        self.steps.iter().filter(|row| row.status == StepStatus::Done).filter_map(|row| {
            let (_, forecast) = self.forecasts.iter().find(|(step, _)| *step == row.step)?;
            let (during, peak) = (forecast.during?, self.peaks.get(&row.step)?);
            Some(format!("  {}: up to {during} connections forecast, at most {peak:.0} seen", row.step))
        })
    }

    /// Changes that were begun, and of which it is not known how they ended.
    fn in_doubt(&self) -> impl Iterator<Item = String> {
        self.changes.in_doubt().map(|change| change.request(&self.app))
    }

    /// What was changed, and how to go back.
    fn changed(&self) -> impl Iterator<Item = String> + '_ {
        let line = |(change, before, effect): &(Change, Before, Effect)| {
            format!("  {} — {}", change.past(effect), change.way_back(&self.app, before, effect))
        };
        self.changes.made().iter().map(line)
    }

    /// What visitors see of a run that leaves maintenance mode on.
    fn maintenance(&self) -> Option<String> {
        self.changes.leaves_maintenance_on().then(|| {
            format!(
                "MAINTENANCE MODE IS ON: every visitor gets 503. To end it: `heroku maintenance:off --app {}`",
                self.app
            )
        })
    }

    /// A run without an end: it still runs, or its process died.
    fn unended(&self, width: usize) -> String {
        let mut out = String::new();
        let mut say = |text: &str| {
            out.push_str(&wrap(text, width, 4));
            out.push('\n');
        };
        say("this run has no end: it still runs, or its process died.");
        if let Some(run) = &self.run {
            say(&format!("if it does not run any more: `runbook resume {run}` goes on with it."));
        }
        for line in self.changed() {
            say(&line);
        }
        for request in self.in_doubt() {
            say(&format!("  in doubt: {request} — it may have taken effect: look before doing it again"));
        }
        if !self.changes.has_begun() {
            say("nothing was changed.");
        }
        if let Some(line) = self.maintenance() {
            say(&line);
        }
        out
    }

    /// How it goes on, what it used, and where it is written down.
    fn record_lines(&self, end: &End) -> Vec<String> {
        let Some(run) = &self.run else { return Vec::new() };
        let mut lines = Vec::new();
        // What could not be written down before anything was done has nothing to go on with.
        if !matches!(end.outcome, Outcome::Done | Outcome::Unusable) {
            lines.push(format!("to go on: `runbook resume {run}`"));
        }
        if self.changes.made().iter().any(|(change, _, effect)| change.can_be_undone(effect)) {
            lines.push(format!("to undo it: `runbook undo {run}`"));
        }
        lines.push(format!(
            "run {run}: {} samples, {} API calls, {} database logins; `runbook show {run}` tells it again",
            end.samples, end.api_calls, end.logins
        ));
        if let (Some(kept), Some(head)) = (&self.kept, &self.head) {
            // As many digits as the journal's lines carry.
            lines.push(format!("journal: {kept}, head {}", head.get(..16).unwrap_or(head)));
        }
        lines
    }

    /// Draws it for a screen of `width`.
    pub fn draw(&self, width: usize) -> String {
        let Some(end) = &self.end else { return self.unended(width) };
        let mut out = String::new();
        let mut table = Table::new(&["", "before", "after"], &[1, 2]);
        for (key, name) in SHOWN {
            if end.before.contains_key(&key) || end.after.contains_key(&key) {
                table.row([name.to_owned(), cell(&end.before, key), cell(&end.after, key)]);
            }
        }
        out.push_str(&table.draw(width));
        if SHOWN.iter().any(|(key, _)| end.before.contains_key(key) != end.after.contains_key(key)) {
            let mut note = "  –: not measured".to_owned();
            if end.before.contains_key(&Metric::Usage) && !end.before.contains_key(&Metric::Used) {
                note.push_str(" (a refused login tells that the database is full, and nothing else)");
            }
            out.push_str(&wrap(&note, width, 4));
            out.push('\n');
        }
        out.push('\n');
        let mut steps = Table::new(&["step", "", "time", "connections"], &[2]);
        for row in &self.steps {
            let (mark, word) = status(&row.status);
            let name = if row.rung { format!("  {}", row.step) } else { row.step.clone() };
            steps.row([
                name,
                format!("{mark} {word}"),
                took(row.took_ms),
                format!("{} → {}", short_connections(&row.before), short_connections(&row.after)),
            ]);
        }
        out.push_str(&steps.draw(width));
        let mut say = |text: &str| {
            out.push_str(&wrap(text, width, 4));
            out.push('\n');
        };
        for line in self.forecasts_met() {
            say(&line);
        }
        say("");
        match end.outcome {
            Outcome::Done => say(&format!("done in {}: every gate held.", took(end.took_ms))),
            outcome => {
                let code = outcome.exit_code();
                let why = end.why.as_deref().unwrap_or("no reason was recorded");
                say(&format!("NOT done after {} (exit {code}): {why}", took(end.took_ms)));
                if let Some((step, kind, evaluation)) = &self.shut
                    && outcome == Outcome::GateShut
                {
                    say(&format!("  the {kind} of {step} last read:"));
                    for clause in clauses(evaluation) {
                        say(&format!("    {clause}"));
                    }
                }
            }
        }
        if let Some(line) = self.maintenance() {
            say(&line);
        }
        if end.tolerated > 0 {
            for row in &self.steps {
                if let StepStatus::Failed { tolerated: true, .. }
                | StepStatus::GateShut { tolerated: true, .. } = &row.status
                {
                    say(&format!("  tolerated: {}: {}", row.step, reason(&row.status).unwrap_or_default()));
                }
            }
        }
        let doubts = self.in_doubt().count();
        if self.changes.made().is_empty() && doubts == 0 {
            say("changed: nothing.");
        } else if self.changes.made().is_empty() {
            say("changed: nothing for certain.");
        } else {
            say("changed, and how to go back:");
            for line in self.changed() {
                say(&line);
            }
        }
        for request in self.in_doubt() {
            say(&format!("  perhaps: {request} — it was sent, and how it ended is not written down"));
        }
        let not_run: Vec<&str> = self
            .planned
            .iter()
            .filter(|step| !self.steps.iter().any(|row| row.step == **step))
            .map(String::as_str)
            .collect();
        if !not_run.is_empty() && end.outcome != Outcome::Done {
            say(&format!("not run: {}", not_run.join(", ")));
        }
        let emergency = self.emergency.iter().map(|reason| format!("run as an emergency: {reason}"));
        for line in emergency.chain(end.next.iter().map(|next| format!("next: {next}"))) {
            say(&line);
        }
        for line in self.record_lines(end) {
            say(&line);
        }
        out
    }
}

/// Whether a step that ended so is left alone when the run is taken up again.
const fn is_over(status: &StepStatus) -> bool {
    !matches!(
        status,
        StepStatus::Failed { tolerated: false, .. }
            | StepStatus::GateShut { tolerated: false, .. }
            | StepStatus::Declined { .. }
            | StepStatus::InDoubt { .. }
            | StepStatus::Held { .. }
            | StepStatus::Interrupted
    )
}

/// A cell of the table of measurements.
fn cell(metrics: &Measurements, key: Metric) -> String {
    metrics.get(&key).map_or_else(|| "–".to_owned(), Value::to_string)
}

fn short_connections(metrics: &Measurements) -> String {
    match (metrics.get(&Metric::Used), metrics.get(&Metric::Usage)) {
        (Some(used), Some(usage)) => format!("{used} ({usage})"),
        (None, Some(Value::Ratio(_))) => "full".to_owned(),
        _ => "–".to_owned(),
    }
}
