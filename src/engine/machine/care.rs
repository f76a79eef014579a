//! After-care: health is watched when every step has succeeded, and the ladder climbed when it falls. It must never try a
//! rung twice, nor change anything because health was not measured.

use std::sync::Arc;

use super::super::event::{Event, GateKind, StepStatus};
use super::super::request::Request;
use super::super::vigil::{Vigil, VigilState};
use super::{Decision, Machine, Phase};
use crate::action::{Done, Status};
use crate::health::{Moment, show_seconds};
use crate::plan::{Body, Care, Ladder, Step};

impl Machine {
    /// The phase in which the after-care begins, with the rungs tried that its ladder has used up already.
    pub(super) fn vigil(&self, now: Moment, care: &Care) -> Phase {
        let spent = care.again.as_ref().and_then(|step| self.spent.get(step)).copied().unwrap_or(0);
        Phase::Caring(Box::new(Vigil::new(care, spent, now.max(self.counts_from))))
    }

    /// Watches.
    pub(super) fn keep_watch(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        let frame = self.frames.last()?;
        let Phase::Caring(vigil) = &frame.phase else { return None };
        let (step, vigil) = (Arc::clone(&frame.step), vigil.clone());
        let (ladder, care) = cared(&step)?;
        if self.config.dry {
            self.finish_frame(now, StepStatus::WouldRun, events);
            return None;
        }
        let state = vigil.state(now);
        if state == VigilState::Watching {
            let due = vigil.due(now);
            let awaited = format!("health to stay ({})", vigil.tally());
            let watch = show_seconds(care.watch.as_secs_f64());
            let live = self.live(now, Some(awaited));
            self.await_once(format!("health to stay: it is watched for {watch}"), events);
            return Some(Request::Wait { until: due, live });
        }
        let count = ladder.rungs.len();
        let next = ladder.rungs.get(vigil.spent).map(|rung| rung.id.clone());
        let over = state == VigilState::Over;
        let why = match (state, &next) {
            (VigilState::Over, _) => vigil.tally(),
            (VigilState::Blind, _) => "it could not be measured".to_owned(),
            (_, Some(rung)) => {
                format!("not so for {}: to rung {rung}", show_seconds(care.patience.as_secs_f64()))
            }
            (_, None) if count == 0 => "health fell, and nothing is set to be done".to_owned(),
            (_, None) => "health fell, and no rung is left".to_owned(),
        };
        let told = if over { why.clone() } else { format!("{} did not stay so: {why}", care.until) };
        let watched = show_seconds(care.watch.as_secs_f64());
        let evaluation = vigil.last.clone().unwrap_or_else(|| self.evaluate(&care.until));
        let decision = Decision {
            gate: GateKind::AfterCare,
            open: over,
            evaluation,
            since: vigil.began,
            sample: vigil.last_sample,
            why: Some(why),
            early: false,
        };
        self.verdict(now, decision, events);
        match state {
            VigilState::Over => {
                if let Some(frame) = self.frames.last_mut() {
                    let summary = format!("stayed so for {watched}: {told}");
                    frame.done = Some(Done { status: Status::Acted, summary, ..Done::default() });
                }
                self.finish_frame(now, StepStatus::Done, events);
            }
            VigilState::Fallen if next.is_some() => self.try_rung(now, vigil.spent, events),
            _ => self.shut(now, told, events),
        }
        None
    }

    /// A rung of the after-care healed: it is watched anew.
    pub(super) fn watch_anew(&mut self, now: Moment, spent: usize) {
        let counts_from = self.counts_from;
        let Some(frame) = self.frames.last_mut() else { return };
        frame.awaited = None;
        if let Some((_, care)) = cared(&frame.step) {
            frame.phase = Phase::Caring(Box::new(Vigil::new(care, spent, now.max(counts_from))));
        }
    }

    /// What a signal is said to have ended, when every step had succeeded.
    pub(super) fn watching_words(&self, why: String) -> String {
        match self.frames.last().map(|frame| &frame.phase) {
            Some(Phase::Caring(vigil)) => {
                format!(
                    "{why}; every step had succeeded, and the watch after them was cut short ({})",
                    vigil.tally()
                )
            }
            _ => why,
        }
    }
}

/// A step's ladder and after-care, if it is one.
pub(super) const fn cared(step: &Step) -> Option<(&Ladder, &Care)> {
    match &step.body {
        Body::Ladder(ladder) => match &ladder.care {
            Some(care) => Some((ladder, care)),
            None => None,
        },
        Body::Verb(_) => None,
    }
}
