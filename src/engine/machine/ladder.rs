//! Ladders: rung after rung until the gate holds. It must never call a rung healing because it ran.

use std::sync::Arc;
use std::time::Duration;

use super::super::event::{Event, GateKind, StepStatus};
use super::super::request::Request;
use super::super::watch::GateState;
use super::care::cared;
use super::{Decision, Frame, Machine, Phase};
use crate::action::{Done, Status};
use crate::health::Moment;
use crate::plan::Body;

impl Machine {
    /// A ladder between two rungs.
    pub(super) fn climb(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        let dry = self.config.dry;
        let frame = self.frames.last()?;
        let Phase::Climbing { rung, watch } = &frame.phase else {
            return None;
        };
        let (rung, watch) = (*rung, watch.clone());
        let Body::Ladder(ladder) = &frame.step.body else {
            return None;
        };
        let (count, step_id) = (ladder.rungs.len(), frame.step.id.clone());
        let state = if dry { GateState::Shut } else { watch.state(now) };
        // Before the first rung nothing is lost by looking, but nothing is waited for either: the first sample that is
        // not true sends it up at once.
        let state = match state {
            GateState::Waiting if rung.is_none() && watch.reads_false() => GateState::Shut,
            other => other,
        };
        let hopeless = if state == GateState::Waiting { self.hopeless(&watch) } else { None };
        if state == GateState::Waiting && hopeless.is_none() {
            let until = if rung.is_none() && watch.last.is_none() {
                now.plus(Duration::from_secs(2))
            } else {
                watch.ends()
            };
            if rung.is_none() && watch.last.is_none() && now.since(watch.began) >= Duration::from_secs(2) {
                // no sample came: do not stand at the foot of the ladder
            } else {
                return Some(Request::Wait { until: until.min(watch.ends()), live: self.live(now, None) });
            }
        }
        let evaluation = watch.last.clone().unwrap_or_else(|| self.evaluate(&watch.gate.until));
        let open = state == GateState::Open;
        let why = match (rung, open) {
            (None, true) => Some("held before the first rung: nothing to do".to_owned()),
            _ => hopeless.clone(),
        };
        let decision = Decision {
            gate: GateKind::Ladder,
            open,
            evaluation,
            since: watch.began,
            sample: watch.last_sample,
            why,
            early: hopeless.is_some(),
        };
        self.verdict(now, decision, events);
        let care = self.frames.last().is_some_and(|frame| cared(&frame.step).is_some());
        if !dry && !care {
            self.spent.insert(step_id, rung.map_or(0, |rung| if open { rung + 1 } else { count }));
        }
        if open {
            let summary = match rung {
                Some(rung) => format!("healed by rung {} of {count}", rung + 1),
                None => "healthy before the first rung".to_owned(),
            };
            if let (true, Some(rung)) = (care, rung) {
                self.watch_anew(now, rung + 1);
                return None;
            }
            if let Some(frame) = self.frames.last_mut() {
                let status = if rung.is_some() { Status::Acted } else { Status::NothingToDo };
                frame.done = Some(Done { status, summary, ..Done::default() });
            }
            let status = if rung.is_some() { StepStatus::Done } else { StepStatus::Unneeded };
            self.finish_frame(now, status, events);
            return None;
        }
        let next = rung.map_or(0, |rung| rung + 1);
        if next < count {
            self.try_rung(now, next, events);
        } else if dry {
            self.finish_frame(now, StepStatus::WouldRun, events);
        } else {
            self.shut(
                now,
                format!("no rung healed: {} did not hold after any of {count}", watch.gate.until),
                events,
            );
        }
        None
    }

    /// Begins a rung of the ladder in hand.
    pub(super) fn try_rung(&mut self, now: Moment, next: usize, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else { return };
        let Body::Ladder(ladder) = &frame.step.body else { return };
        let Some(step) = ladder.rungs.get(next).cloned().map(Arc::new) else { return };
        let ladder = frame.step.id.clone();
        frame.phase = Phase::OnRung { rung: next };
        let depth = self.frames.len();
        self.begin_step(now, step, Some(ladder), events);
        if self.frames.len() == depth {
            self.rung_passed(now); // left out
        }
    }

    /// The rung above is over: watch the ladder's gate again.
    pub(super) fn rung_over(&mut self, now: Moment) {
        let Some(frame) = self.frames.last() else {
            return;
        };
        let Phase::OnRung { rung } = frame.phase else {
            return;
        };
        let Body::Ladder(ladder) = &frame.step.body else {
            return;
        };
        let gate = ladder.gate.clone();
        let watch = self.watch(gate, GateKind::Ladder, now.max(self.counts_from));
        self.set_phase(Phase::Climbing { rung: Some(rung), watch });
    }

    /// The rung above changed nothing: on to the next at once, with no patience for the gate.
    pub(super) fn rung_passed(&mut self, now: Moment) {
        self.rung_over(now);
        if let Some(Frame { phase: Phase::Climbing { watch, .. }, .. }) = self.frames.last_mut() {
            watch.gate.within = Duration::ZERO;
        }
    }
}
