//! Plain lines, for pipes, logs and CI: one line per thing that matters, and never a flood.

use std::io::Write;

use super::words::{
    asked_for, clauses, connections, evidence_lines, failure_lines, fault_lines, gate, metric, step_line,
    without_numbers, wrap,
};
use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, GateKind, StepStatus};
use crate::health::Metric;
use crate::platform::Fault;
use crate::source::last_net;

/// Usage must move this much for a sample to be shown.
const MOVED: f64 = 0.05;
/// Or this long must have passed, in seconds.
const EVERY: f64 = 10.0;

/// Writes lines.
pub struct Plain<W> {
    out: W,
    screen: bool,
    /// The last fault that was told: it is not told again when its step ends.
    told: Option<Fault>,
    began: Option<jiff::Timestamp>,
    shown: Option<(jiff::Timestamp, Option<f64>)>,
    /// A person is typing on this screen: samples do not write into their line.
    asking: bool,
}

impl<W: Write> Plain<W> {
    /// Lines go to `out`, each whole.
    pub const fn new(out: W) -> Self {
        Self { out, screen: false, told: None, began: None, shown: None, asking: false }
    }

    /// Lines go to the terminal: ones longer than it is wide are broken between words and go on further right.
    pub const fn on_screen(out: W) -> Self {
        Self { out, screen: true, told: None, began: None, shown: None, asking: false }
    }

    fn say(&mut self, stamp: &Stamp, text: &str) {
        let began = *self.began.get_or_insert(stamp.at);
        let elapsed = stamp.at.duration_since(began).as_secs_f64();
        let width = self.screen.then(|| usize::from(console::Term::stderr().size().1).max(40));
        for line in text.lines() {
            let line = format!("{elapsed:>7.1}s  {line}");
            let line = width.map_or_else(|| line.clone(), |width| wrap(&line, width, 14));
            // A closed pipe is no reason to stop a run.
            let _ = writeln!(self.out, "{}", last_net(&line));
        }
        let _ = self.out.flush();
    }

    fn step_finished(&mut self, stamp: &Stamp, event: &Event) {
        let Event::StepFinished { step, status, done, before, after, took_ms } = event else { return };
        let summary = done.as_ref().map(|done| done.summary.as_str());
        let failure = match status {
            StepStatus::Failed { failure, .. } => Some(failure),
            _ => None,
        };
        let told = self.told.take();
        let told = failure.is_some_and(|failure| told.as_ref() == Some(&failure.fault));
        let mut text = step_line(step, status, summary, *took_ms, !told);
        if !before.is_empty() && !matches!(status, StepStatus::Skipped { .. } | StepStatus::WouldRun) {
            text.push_str(&format!(" [connections {} → {}]", connections(before), connections(after)));
        }
        for note in done.iter().flat_map(|done| &done.notes) {
            text.push_str(&format!("\n  {note}"));
        }
        if let Some(failure) = failure {
            let lines = if told { evidence_lines(failure) } else { failure_lines(failure) };
            for line in lines {
                text.push_str(&format!("\n{line}"));
            }
        }
        self.say(stamp, &text);
    }

    fn resumed(&mut self, stamp: &Stamp, event: &Event) {
        let Event::Resumed { by, at, in_doubt, again, .. } = event else { return };
        let at = at.as_deref().unwrap_or("its end");
        self.say(stamp, &format!("taken up again by {by}, at {at}"));
        for request in in_doubt {
            self.say(stamp, &format!("  in doubt, read back first: {request}"));
        }
        if !again.is_empty() {
            let again = again.join(", ");
            self.say(stamp, &format!("  done anew, since the pause had reversed it: {again}"));
        }
    }

    /// Whether it would write into the line of a person who is being asked.
    fn would_disturb(&mut self, event: &Event) -> bool {
        match event {
            Event::Asking { .. } => self.asking = self.screen,
            Event::Sample { .. } => return self.asking,
            _ => self.asking = false,
        }
        false
    }

    /// Whether a sample is worth a line.
    fn worth(&mut self, stamp: &Stamp, usage: Option<f64>) -> bool {
        let worth = match &self.shown {
            None => true,
            Some((at, last)) => {
                stamp.at.duration_since(*at).as_secs_f64() >= EVERY
                    || match (last, usage) {
                        (Some(last), Some(usage)) => (last - usage).abs() >= MOVED,
                        (None, None) => false,
                        _ => true,
                    }
            }
        };
        if worth {
            self.shown = Some((stamp.at, usage));
        }
        worth
    }
}

impl<W: Write> Listener for Plain<W> {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        if self.would_disturb(event) {
            return;
        }
        match event {
            Event::RunStarted { run, record, .. } => {
                self.say(stamp, &format!("run {run}: {} on {}", record.runbook, record.target.app));
                if let Some(why) = asked_for(event) {
                    self.say(stamp, &why);
                }
            }
            Event::Resumed { .. } => self.resumed(stamp, event),
            Event::StepStarted { step, name, ladder, before } => {
                let rung = if ladder.is_some() { "rung" } else { "step" };
                let title = if name == step { String::new() } else { format!(" — {name}") };
                let now = match before.len() {
                    0 => String::new(),
                    _ => format!(" [connections {}]", connections(before)),
                };
                self.say(stamp, &format!("▶ {rung} {step}{title}{now}"));
            }
            Event::Intended { request, .. } => self.say(stamp, &format!("  → {request}")),
            Event::ChangeFailed { error, .. } => {
                let mut text = format!("  ! {error}");
                for line in fault_lines(&error.fault) {
                    text.push_str(&format!("\n  {line}"));
                }
                self.say(stamp, &text);
                self.told = Some(error.fault.clone());
            }
            Event::Settled { finding, why, .. } => {
                let why = why.as_ref().map_or(String::new(), |why| format!(": {why}"));
                self.say(stamp, &format!("  read back: {}{why}", finding.replace('_', " ")));
            }
            Event::Retrying { attempt, delay_ms, why, .. } => {
                let told = self.told.take().is_some_and(|fault| fault.to_string() == *why);
                let why = if told { String::new() } else { format!(": {why}") };
                self.say(stamp, &format!("  retry {attempt} in {}{why}", super::words::took(*delay_ms)));
            }
            Event::Awaiting { awaited, .. } => self.say(stamp, &format!("  … {awaited}")),
            // A step that is skipped says the same in its own line.
            Event::Verdict { gate: kind, open, evaluation, waited_ms, why, .. }
                if *open || *kind != GateKind::When =>
            {
                let word = if *open { "holds" } else { "does not hold" };
                let why = why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
                let after = match waited_ms {
                    0 => String::new(),
                    waited => format!(" after {}", super::words::took(*waited)),
                };
                let read = clauses(evaluation).join("; ");
                self.say(stamp, &format!("  {} {word}{after}{why}: {read}", gate(*kind)));
            }
            Event::Asked { question, answer, by, .. } => {
                self.say(stamp, &format!("  asked: {question} {answer} ({by})"));
            }
            Event::Output { line, .. } => self.say(stamp, &format!("  | {line}")),
            Event::Sample { sample, metrics, usage } => {
                if self.worth(stamp, *usage) {
                    let read = |key| metric(metrics, key);
                    self.say(
                        stamp,
                        &format!(
                            "  · connections {}{}, refused {}, dynos up {}/{}, pages ok {}, live {}",
                            connections(metrics),
                            without_numbers(sample),
                            read(Metric::Refused),
                            read(Metric::DynosUp),
                            read(Metric::DynosWanted),
                            read(Metric::PagesOk),
                            read(Metric::Live)
                        ),
                    );
                }
            }
            Event::StepFinished { .. } => self.step_finished(stamp, event),
            Event::Interrupted { signal } => {
                self.say(
                    stamp,
                    &format!(
                        "{signal}: stopping, after the change in hand if there is one; again to leave at once"
                    ),
                );
            }
            Event::Notice { text } => self.say(stamp, text),
            // The question itself is shown by whoever asks it.
            Event::Plan { .. }
            | Event::Asking { .. }
            | Event::Notified { .. }
            | Event::Done { .. }
            | Event::Verdict { .. }
            | Event::RunFinished { .. } => {}
        }
    }
}
