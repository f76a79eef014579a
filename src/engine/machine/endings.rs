//! How steps and the run end: failures, shut gates, the steps that run whatever happened. It must never turn a failure into a success.

use super::super::event::{Event, Outcome, StepStatus};
use super::{Ending, Machine, Phase, Stage, millis};
use crate::action::{Failure, Progress, Status};
use crate::health::Moment;
use crate::plan::{Body, OnFailure};
use crate::platform::FaultKind;

impl Machine {
    /// The action failed: try again, pass to the next rung, or end.
    pub(super) fn action_failed(&mut self, now: Moment, failure: Failure, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if let Some(retry) = frame.step.retry
            && frame.attempt < retry.times
            && failure.fault.kind != FaultKind::Interrupted
        {
            frame.attempt += 1;
            let factor = retry.backoff.powi(i32::try_from(frame.attempt).unwrap_or(i32::MAX) - 1);
            let delay = retry.delay.mul_f64(factor.clamp(1.0, 100.0));
            events.push(Event::Retrying {
                step: frame.step.id.clone(),
                attempt: frame.attempt,
                delay_ms: millis(delay),
                why: failure.to_string(),
            });
            let until = now.plus(delay);
            frame.progress = Progress { began: until, ..Progress::default() };
            frame.repeats = 0;
            frame.phase = Phase::RetryPause { until };
            return;
        }
        if frame.ladder.is_some() {
            let why = failure.to_string();
            self.finish_frame(now, StepStatus::NotHealed { why }, events);
            self.rung_passed(now);
            return;
        }
        let tolerated = frame.step.on_failure == OnFailure::Continue;
        let why = format!("step {} failed: {failure}", frame.step.id);
        self.close(now, StepStatus::Failed { failure, tolerated }, tolerated, Outcome::Failed, why, events);
    }

    /// A condition did not hold: pass to the next rung, or end.
    pub(super) fn shut(&mut self, now: Moment, why: String, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if frame.ladder.is_some() {
            self.finish_frame(now, StepStatus::NotHealed { why }, events);
            self.rung_passed(now);
            return;
        }
        let tolerated = frame.step.on_failure == OnFailure::Continue;
        let told = format!("step {}: {why}", frame.step.id);
        self.close(now, StepStatus::GateShut { why, tolerated }, tolerated, Outcome::GateShut, told, events);
    }

    /// Ends a top-level step that did not succeed, by its `on_failure`.
    pub(super) fn close(
        &mut self,
        now: Moment,
        status: StepStatus,
        tolerated: bool,
        outcome: Outcome,
        why: String,
        events: &mut Vec<Event>,
    ) {
        let Some(frame) = self.frames.last() else { return };
        let remedy = frame.remedy();
        self.finish_frame(now, status, events);
        if tolerated {
            self.tally.tolerated += 1;
            return;
        }
        self.end(outcome, Some(why));
        self.queue.extend(remedy);
    }

    /// The step is through, its gate included.
    pub(super) fn complete(&mut self, now: Moment, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last() else { return };
        let on_ladder = frame.ladder.is_some();
        let changed = frame.changed;
        let would = match &frame.step.body {
            Body::Verb(action) => self.config.dry && (action.mutates() || action.awaits().is_some()),
            Body::Ladder(_) => self.config.dry,
        };
        let status = match frame.done.as_ref().map(|done| done.status) {
            _ if would => StepStatus::WouldRun,
            Some(Status::NothingToDo | Status::AlreadySo) => StepStatus::Unneeded,
            Some(Status::Skipped) => StepStatus::Skipped {
                why: frame.done.as_ref().map(|done| done.summary.clone()).unwrap_or_default(),
            },
            _ => StepStatus::Done,
        };
        let nothing = status == StepStatus::Unneeded && !changed;
        let skipped = matches!(status, StepStatus::Skipped { .. });
        self.finish_frame(now, status, events);
        // A rung that is skipped has sent its ladder on already.
        if on_ladder && !skipped {
            if nothing {
                self.rung_passed(now);
            } else {
                self.rung_over(now);
            }
        }
    }

    /// Pops the top frame and says how it ended.
    pub(super) fn finish_frame(&mut self, now: Moment, status: StepStatus, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.pop() else { return };
        self.count(&status);
        let skipped_rung = frame.ladder.is_some() && matches!(status, StepStatus::Skipped { .. });
        events.push(Event::StepFinished {
            step: frame.step.id.clone(),
            status,
            done: frame.done,
            before: frame.before,
            after: self.measurements(),
            took_ms: millis(now.since(frame.began)),
        });
        if skipped_rung {
            self.rung_passed(now);
        }
    }

    pub(super) const fn count(&mut self, status: &StepStatus) {
        match status {
            StepStatus::Done | StepStatus::Unneeded => self.tally.steps_done += 1,
            StepStatus::Skipped { .. } | StepStatus::WouldRun => self.tally.steps_skipped += 1,
            _ => self.tally.steps_failed += 1,
        }
    }

    /// Ends the rung and its ladder alike.
    pub(super) fn finish_all(&mut self, now: Moment, status: &StepStatus, events: &mut Vec<Event>) {
        while !self.frames.is_empty() {
            self.finish_frame(now, status.clone(), events);
        }
    }

    /// Ends the rung above the frame at `index`.
    pub(super) fn finish_above(&mut self, now: Moment, index: usize, why: &str, events: &mut Vec<Event>) {
        while self.frames.len() > index + 1 {
            self.finish_frame(now, StepStatus::NotHealed { why: why.to_owned() }, events);
        }
    }

    /// The run ends this way; the first reason counts, unless a doubt is left: whoever comes next must know of it first.
    /// What is left of the queue is not run.
    pub(super) fn end(&mut self, outcome: Outcome, why: Option<String>) {
        if self.ending.is_none() || outcome == Outcome::InDoubt {
            self.ending = Some(Ending { outcome, why });
        }
        if self.stage == Stage::Main {
            self.queue.clear();
        }
    }
}
