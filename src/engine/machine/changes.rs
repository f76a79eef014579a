//! One change after another: decided, intended, performed, and in doubt read back. It must never repeat a change that may have happened.

use std::sync::Arc;
use std::time::Duration;

use super::super::event::{Event, GateKind, Outcome, StepStatus};
use super::super::request::Performance;
use super::{Machine, PREBOOT_OVERLAP, Phase, UNKNOWN_PATIENCE};
use crate::action::{Done, Failure, Made, Next};
use crate::expr::Expr;
use crate::health::{Moment, show_seconds};
use crate::plan::{AfterGate, Body, Gate};
use crate::platform::{Before, Certainty, Change, Effect, Fault, FaultKind, Reconciled};

/// How soon a verb looks again when it could not be told how its change ended.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// The other side did not answer, which says nothing about what is there.
const fn blind(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Network | FaultKind::Broken | FaultKind::Limited)
}

impl Machine {
    /// The verb has spoken.
    pub(super) fn decided(&mut self, now: Moment, word: Result<Next, Failure>, events: &mut Vec<Event>) {
        match word {
            Err(failure) => self.could_not_decide(now, failure, events),
            Ok(Next::Change { change, before }) => {
                self.nonces += 1;
                let nonce = format!("{}-{}", self.config.run, self.nonces);
                let Some(frame) = self.frames.last_mut() else {
                    return;
                };
                let request = change.request(&self.plan.record.target.app);
                if !self.config.dry {
                    self.touched = true;
                    events.push(Event::Intended {
                        step: frame.step.id.clone(),
                        change: change.clone(),
                        before: before.clone(),
                        nonce: nonce.clone(),
                        request,
                    });
                }
                frame.phase = Phase::Performing { change, before, nonce };
            }
            Ok(Next::Wait { awaited, again }) => self.pause(now, awaited, again, events),
            // A dry run asks nobody.
            Ok(Next::Ask { .. }) if self.config.dry => self.finish_frame(now, StepStatus::WouldRun, events),
            Ok(Next::Ask { question, assent }) => self.set_phase(Phase::Asking { question, assent }),
            Ok(Next::Done(done)) => self.action_done(now, done, events),
        }
    }

    /// Waits and looks again, within the step's time.
    fn pause(&mut self, now: Moment, awaited: String, again: Duration, events: &mut Vec<Event>) {
        if self.config.dry {
            self.finish_frame(now, StepStatus::WouldRun, events);
            return;
        }
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let spent = now.since(frame.progress.began);
        if spent >= frame.step.timeout {
            let failure = Failure::from(
                Fault::new(
                    FaultKind::Network,
                    format!("waiting for {awaited}"),
                    format!("not seen within the step's {}", show_seconds(frame.step.timeout.as_secs_f64())),
                )
                .hint("look at `heroku ps` and `heroku releases`; a longer `timeout:` on the step gives it more time"),
            );
            self.action_failed(now, failure, events);
            return;
        }
        if frame.awaited.as_ref() != Some(&awaited) {
            frame.awaited = Some(awaited.clone());
            events.push(Event::Awaiting { step: frame.step.id.clone(), awaited: awaited.clone() });
        }
        let until = now.plus(again.min(frame.step.timeout.saturating_sub(spent)));
        frame.phase = Phase::Pausing { until, awaited };
    }

    /// The verb could not look, or saw that it failed. After a change an API that does not answer is waited for: the
    /// change is made, and only its proof is missing.
    fn could_not_decide(&mut self, now: Moment, failure: Failure, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if self.config.dry {
            // What the steps before would have changed is not there: not knowing is no failure of a dry run.
            let summary = format!("cannot be told before it is reached: {failure}");
            frame.done = Some(Done { summary, ..Done::default() });
            self.finish_frame(now, StepStatus::WouldRun, events);
            return;
        }
        let spent = now.since(frame.progress.began);
        if blind(&failure.fault) && !frame.progress.made.is_empty() && spent < frame.step.timeout {
            self.pause(now, format!("an answer, to prove the change ({failure})"), LOOK_AGAIN, events);
            return;
        }
        self.action_failed(now, failure, events);
    }

    pub(super) fn action_done(&mut self, now: Moment, done: Done, events: &mut Vec<Event>) {
        let dry = self.config.dry;
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let step = Arc::clone(&frame.step);
        if done.replaced_all {
            self.facts.replaced = Some(crate::action::Replacement { step: step.id.clone(), at: now });
        }
        for (name, value) in &done.outputs {
            self.outputs.insert(format!("{}.{name}", step.id), value.clone());
        }
        let (changed, released) = (frame.changed, frame.released);
        frame.done = Some(done);
        let awaited = match &step.body {
            Body::Verb(action) => action.awaits(),
            Body::Ladder(_) => None,
        };
        if changed {
            self.counts_from = self.counts_from.max(now);
        }
        if released && self.config.preboot {
            self.counts_from = now.plus(PREBOOT_OVERLAP);
            let awaited = "the old dynos to go: with preboot they go on serving for about 3 minutes, and only samples after that count".to_owned();
            events.push(Event::Awaiting { step: step.id.clone(), awaited });
        }
        if let Some(awaits) = awaited {
            let Ok(until) = Expr::parse(awaits.until) else {
                return;
            };
            let (kind, within) = match awaits.within {
                Some(within) => (GateKind::Wait, within),
                None => (GateKind::Check, UNKNOWN_PATIENCE),
            };
            let gate = Gate { until: Arc::new(until), hold: awaits.hold, within };
            let watch = self.fresh_watch(gate, kind, now);
            self.set_phase(Phase::GateAfter(watch));
            return;
        }
        let watch = match &step.after {
            AfterGate::IfChanged(_) if !changed => None,
            AfterGate::Own(gate) | AfterGate::IfChanged(gate) => {
                Some(self.fresh_watch(gate.clone(), GateKind::After, now))
            }
            AfterGate::Default(within) if changed || dry => self.default_gate(*within, now),
            AfterGate::Default(_) | AfterGate::None(_) | AfterGate::NotNeeded => None,
        };
        match watch {
            Some(watch) => self.set_phase(Phase::GateAfter(watch)),
            None => self.complete(now, events),
        }
    }

    pub(super) fn performed(&mut self, now: Moment, performance: Performance, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let phase = std::mem::replace(&mut frame.phase, Phase::Acting);
        let Phase::Performing { change, before, nonce } = phase else {
            frame.phase = phase;
            return;
        };
        let step = frame.step.id.clone();
        match performance {
            Performance::WouldRun => self.action_done(now, Done::default(), events),
            Performance::Done(effect) => self.change_done(now, change, before, nonce, effect, events),
            Performance::Failed(error) => {
                events.push(Event::ChangeFailed { step, nonce: nonce.clone(), error: error.clone() });
                match error.certainty {
                    Certainty::InDoubt => {
                        let until = now.plus(Duration::from_millis(error.settle_ms));
                        frame.phase = Phase::Settling { until, change, before, nonce, error };
                    }
                    Certainty::NothingChanged => self.action_failed(now, error.fault.into(), events),
                    Certainty::Partial => {
                        // Nothing partial is repeated: what it did is not known exactly.
                        frame.attempt = u32::MAX;
                        frame.changed = true;
                        self.action_failed(now, error.fault.into(), events);
                    }
                }
            }
        }
    }

    pub(super) fn change_done(
        &mut self,
        now: Moment,
        change: Change,
        before: Before,
        nonce: String,
        effect: Effect,
        events: &mut Vec<Event>,
    ) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        events.push(Event::Done { step: frame.step.id.clone(), nonce, effect: effect.clone() });
        self.tally.changes += 1;
        match (&change, &effect) {
            (Change::Rollback { .. } | Change::Revert { .. }, _) => self.facts.rolled_back = true,
            (_, Effect::Released { version }) => self.facts.releases.push(*version),
            _ => {}
        }
        frame.changed = true;
        frame.released |= match (&change, &effect) {
            (Change::Push { .. }, Effect::Pushed { up_to_date }) => !up_to_date,
            (Change::Push { .. } | Change::Promote { .. } | Change::Rollback { .. }, _) => true,
            _ => false,
        };
        self.counts_from = self.counts_from.max(now);
        let made = Made { change, before, effect, at: now };
        frame.progress.made.push(made.clone());
        frame.phase = Phase::Acting;
        self.made.push(made);
    }

    pub(super) fn reconciled(
        &mut self,
        now: Moment,
        finding: Result<Reconciled, Fault>,
        events: &mut Vec<Event>,
    ) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let phase = std::mem::replace(&mut frame.phase, Phase::Acting);
        let Phase::Reconciling { change, before, nonce, error } = phase else {
            frame.phase = phase;
            return;
        };
        let step = frame.step.id.clone();
        let mut settled = |finding: &str, why: Option<String>| {
            events.push(Event::Settled {
                step: step.clone(),
                nonce: nonce.clone(),
                finding: finding.to_owned(),
                why,
            });
        };
        match finding {
            Ok(Reconciled::Happened(effect)) => {
                settled("happened", None);
                self.change_done(now, change, before, nonce, effect, events);
            }
            Ok(Reconciled::DidNotHappen) => {
                settled("did_not_happen", None);
                // Proven not to have happened and past its time: one repeat under a new intention is safe.
                if frame.repeats == 0 {
                    frame.repeats = 1;
                    frame.phase = Phase::Acting;
                } else {
                    self.action_failed(now, error.fault.into(), events);
                }
            }
            Ok(Reconciled::CannotTell(why)) => {
                settled("cannot_tell", Some(why.clone()));
                self.doubt(now, &change, &why, events);
            }
            // Whoever does not answer now may in a moment: a doubt is settled by looking, not by giving up at once.
            Err(fault)
                if blind(&fault)
                    && !self.interrupted
                    && now.since(frame.progress.began) < frame.step.timeout =>
            {
                let awaited = format!("an answer, to read back what became of the change ({fault})");
                if frame.awaited.as_ref() != Some(&awaited) {
                    frame.awaited = Some(awaited.clone());
                    events.push(Event::Awaiting { step, awaited });
                }
                frame.phase = Phase::Settling { until: now.plus(LOOK_AGAIN), change, before, nonce, error };
            }
            Err(fault) => {
                settled("cannot_tell", Some(fault.to_string()));
                self.doubt(now, &change, &fault.to_string(), events);
            }
        }
    }

    pub(super) fn doubt(&mut self, now: Moment, change: &Change, why: &str, events: &mut Vec<Event>) {
        let request = change.request(&self.plan.record.target.app);
        let why = format!("it cannot be told whether this happened: {request} ({why})");
        self.finish_all(now, &StepStatus::InDoubt { why: why.clone() }, events);
        self.end(Outcome::InDoubt, Some(why));
    }

    pub(super) fn answered(
        &mut self,
        now: Moment,
        answer: Option<bool>,
        by: String,
        events: &mut Vec<Event>,
    ) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let (Phase::Asking { question, .. } | Phase::Stepping { question }) = &frame.phase else {
            return;
        };
        let (question, stepping) = (question.clone(), matches!(frame.phase, Phase::Stepping { .. }));
        let step = Arc::clone(&frame.step);
        if let Some(answer) = answer {
            events.push(Event::Asked { step: step.id.clone(), question: question.clone(), answer, by });
            if stepping {
                let phase = self.entry_phase(now, &step);
                self.set_phase(phase);
            } else {
                frame.progress.answers.insert(question.clone(), answer);
                frame.phase = Phase::Acting;
            }
        }
        if answer != Some(true) {
            let why = match answer {
                Some(_) => format!("answered no: {question}"),
                None => format!("nobody could be asked: {question}"),
            };
            self.finish_all(now, &StepStatus::Declined { question }, events);
            self.end(Outcome::Declined, Some(why));
        }
    }
}
