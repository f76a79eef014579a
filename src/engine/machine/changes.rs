//! One change after another: decided, intended, performed, and in doubt read back. It must never repeat a change that may have happened.

use std::sync::Arc;
use std::time::Duration;

use super::super::event::{Event, GateKind, Outcome, StepStatus};
use super::super::request::{Clearance, Performance};
use super::{Doubt, Machine, PREBOOT_OVERLAP, Phase, UNKNOWN_PATIENCE, WARM_UP};
use crate::action::{Answer, Done, Failure, Made, Next, Question, Replacement};
use crate::expr::Expr;
use crate::health::{Moment, show_seconds};
use crate::plan::{AfterGate, Body, Gate};
use crate::platform::{Before, Certainty, Change, ChangeError, Effect, Fault, FaultKind, Reconciled};

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
            // A dry run changes nothing, so nothing is to be cleared.
            Ok(Next::Change { change, before }) if self.config.dry => {
                self.set_phase(Phase::Performing { change, before, nonce: String::new() });
            }
            Ok(Next::Change { change, before }) => match self.too_late(now) {
                Some(why) => self.shut(now, why, events),
                None => self.set_phase(Phase::Clearing { change, before }),
            },
            Ok(Next::Wait { awaited, again }) => self.pause(now, awaited, again, events),
            // A dry run asks nobody.
            Ok(Next::Ask(_)) if self.config.dry => self.finish_frame(now, StepStatus::WouldRun, events),
            Ok(Next::Ask(question)) => {
                let until = question.within.map(|within| now.plus(within));
                self.set_phase(Phase::Asking { question: Box::new(question), until });
            }
            Ok(Next::Done(done)) => self.action_done(now, done, events),
        }
    }

    /// Why a step's first change is not begun any more: what is left of the deadline could not take it back.
    fn too_late(&self, now: Moment) -> Option<String> {
        let frame = self.frames.last()?;
        let (Body::Verb(action), true, true) =
            (&frame.step.body, self.deadline_counts(), frame.progress.made.is_empty())
        else {
            return None;
        };
        let left = self.plan.deadline?.saturating_sub(now.since(self.began));
        let needed = action.undo_takes();
        (left < needed).then(|| {
            format!(
                "not begun: {} are left of the run's deadline, and taking it back would need {}",
                show_seconds(left.as_secs_f64().floor()),
                show_seconds(needed.as_secs_f64())
            )
        })
    }

    /// The change may be made, or not, or a person must agree first.
    pub(super) fn cleared(&mut self, now: Moment, clearance: Clearance, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let phase = std::mem::replace(&mut frame.phase, Phase::Acting);
        let Phase::Clearing { change, before } = phase else {
            frame.phase = phase;
            return;
        };
        match clearance {
            Clearance::Ask(question)
                if frame.progress.answers.get(&question) != Some(&Answer::Said(true)) =>
            {
                let question = Box::new(Question::yes_or_no(question));
                frame.phase = Phase::Asking { question, until: None };
            }
            Clearance::Clear | Clearance::Ask(_) => {
                self.nonces += 1;
                self.touched = true;
                let nonce = format!("{}-{}", self.config.run, self.nonces);
                events.push(Event::Intended {
                    step: frame.step.id.clone(),
                    change: change.clone(),
                    before: before.clone(),
                    nonce: nonce.clone(),
                    request: change.request(&self.plan.record.target.app),
                });
                frame.phase = Phase::Performing { change, before, nonce };
            }
            Clearance::Barred(why) if frame.ladder.is_some() => {
                self.finish_frame(now, StepStatus::NotHealed { why }, events);
                self.rung_passed(now);
            }
            Clearance::Barred(why) => {
                self.finish_all(now, &StepStatus::Held { why: why.clone() }, events);
                self.end(Outcome::Declined, Some(why));
            }
            Clearance::Refused { outcome, why } => {
                self.finish_all(now, &StepStatus::Held { why: why.clone() }, events);
                self.end(outcome, Some(why));
            }
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
        let until = now.plus(again.min(frame.step.timeout.saturating_sub(spent)));
        frame.phase = Phase::Pausing { until, awaited: awaited.clone() };
        self.await_once(awaited, events);
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
        let (changed, released) = (frame.changed, frame.released);
        self.learn(now, &step.id, &done);
        let unmet = done.unmet.clone();
        if let Some(frame) = self.frames.last_mut() {
            frame.done = Some(done);
        }
        if let Some(why) = unmet {
            self.shut(now, why, events);
            return;
        }
        let awaited = match &step.body {
            Body::Verb(action) => action.awaits(),
            Body::Ladder(_) => None,
        };
        if changed {
            self.counts_from = self.counts_from.max(now);
        }
        let begun = self
            .frames
            .last()
            .is_some_and(|frame| frame.progress.made.iter().any(|made| made.change.starts_processes()));
        if released && self.config.preboot {
            self.counts_from = now.plus(PREBOOT_OVERLAP);
            let awaited = "the old dynos to go: with preboot they go on serving for about 3 minutes, and only samples after that count".to_owned();
            events.push(Event::Awaiting { step: step.id.clone(), awaited });
        }
        if begun {
            self.warm_from = self.counts_from.plus(WARM_UP);
        }
        if let Some(awaits) = awaited {
            let Ok(until) = Expr::parse(awaits.until) else {
                return;
            };
            let early = awaits.early;
            let (kind, within) = match awaits.within {
                Some(within) => (GateKind::Wait, within),
                None => (GateKind::Check, UNKNOWN_PATIENCE),
            };
            let gate = Gate { until: Arc::new(until), hold: awaits.hold, within, early };
            let watch = self.fresh_watch(gate, kind, now);
            self.set_phase(Phase::GateAfter(watch));
            return;
        }
        let watch = match &step.after {
            AfterGate::IfChanged(_) if !changed => None,
            AfterGate::Own(gate) | AfterGate::IfChanged(gate) => {
                let gate = self.with_before(gate);
                Some(self.fresh_watch(gate, GateKind::After, now))
            }
            AfterGate::Default(within) if changed || dry => self.default_gate(*within, now),
            AfterGate::Default(_) | AfterGate::None(_) | AfterGate::NotNeeded => None,
        };
        match watch {
            Some(watch) => self.set_phase(Phase::GateAfter(watch)),
            None => self.complete(now, events),
        }
    }

    /// What an action that is over has established for the steps after it.
    pub(super) fn learn(&mut self, at: Moment, step: &str, done: &Done) {
        if done.replaced_all {
            self.facts.replaced = Some(Replacement { step: step.to_owned(), at });
        }
        for (name, value) in &done.outputs {
            self.outputs.insert(format!("{step}.{name}"), value.clone());
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
                        let lands_until = now.plus(Duration::from_millis(error.settle_ms));
                        let doubt =
                            Doubt { change, before, nonce, error, lands_until, look: now, since: now };
                        frame.phase = Phase::Doubt(Box::new(doubt));
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
        self.makers.push(Arc::clone(&frame.step));
        frame.changed = true;
        frame.released |= change.has_released(&effect);
        self.counts_from = self.counts_from.max(now);
        if change.starts_processes() {
            self.warm_from = self.counts_from.plus(WARM_UP);
        }
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
        let Phase::Doubt(doubt) = phase else {
            frame.phase = phase;
            return;
        };
        let (step, nonce) = (frame.step.id.clone(), doubt.nonce.clone());
        let settled = |finding: &str, why: Option<String>| Event::Settled {
            step: step.clone(),
            nonce: nonce.clone(),
            finding: finding.to_owned(),
            why,
        };
        let landed = now >= doubt.lands_until;
        let patient = self.interrupted.is_none() && now.since(doubt.since) < frame.step.timeout;
        match finding {
            Ok(Reconciled::Happened(effect)) => {
                events.push(settled("happened", None));
                self.change_done(now, doubt.change, doubt.before, doubt.nonce, effect, events);
            }
            // What has not happened may happen yet, and what is not clear may become so.
            Ok(Reconciled::DidNotHappen | Reconciled::CannotTell(_)) if !landed => {
                let awaited =
                    "what became of it: a lost request may still take effect, so it is not repeated yet";
                self.await_once(awaited.to_owned(), events);
                self.look_again(now, doubt);
            }
            Ok(Reconciled::DidNotHappen) => {
                events.push(settled("did_not_happen", None));
                self.did_not_happen(now, doubt.error, events);
            }
            Ok(Reconciled::Underway(awaited)) if !landed || patient => {
                self.await_once(format!("the end of what may be ours: {awaited}"), events);
                self.look_again(now, doubt);
            }
            // Whoever does not answer now may in a moment: a doubt is settled by looking, not by giving up at once.
            Err(fault) if blind(&fault) && patient => {
                let awaited = format!("an answer, to read back what became of the change ({fault})");
                self.await_once(awaited, events);
                self.look_again(now, doubt);
            }
            Ok(Reconciled::CannotTell(why) | Reconciled::Underway(why)) => {
                events.push(settled("cannot_tell", Some(why.clone())));
                self.ask_about(doubt, why);
            }
            Err(fault) => {
                events.push(settled("cannot_tell", Some(fault.to_string())));
                self.ask_about(doubt, fault.to_string());
            }
        }
    }

    /// Reads back again in a moment, and surely when a lost request can no longer land.
    fn look_again(&mut self, now: Moment, mut doubt: Box<Doubt>) {
        let soon = now.plus(LOOK_AGAIN);
        doubt.look = if now < doubt.lands_until { soon.min(doubt.lands_until) } else { soon };
        self.set_phase(Phase::Doubt(doubt));
    }

    /// Says what is awaited, once.
    pub(super) fn await_once(&mut self, awaited: String, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else { return };
        if frame.awaited.as_ref() != Some(&awaited) {
            frame.awaited = Some(awaited.clone());
            events.push(Event::Awaiting { step: frame.step.id.clone(), awaited });
        }
    }

    /// Proven not to have happened and past its time: one repeat under a new intention is safe.
    fn did_not_happen(&mut self, now: Moment, error: ChangeError, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else { return };
        frame.phase = Phase::Acting;
        if frame.repeats == 0 {
            frame.repeats = 1;
        } else {
            self.action_failed(now, error.fault.into(), events);
        }
    }

    /// Only a person can tell.
    fn ask_about(&mut self, doubt: Box<Doubt>, why: String) {
        let request = doubt.change.request(&self.plan.record.target.app);
        let question = format!("Did this take effect: {request}? ({why}; yes = go on, no = do it again)");
        self.set_phase(Phase::AskingDoubt { question: Question::yes_or_no(question), why, doubt });
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
        answer: Option<Answer>,
        by: String,
        events: &mut Vec<Event>,
    ) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        if let Phase::AskingDoubt { question, why, doubt } = &frame.phase {
            let (question, why, doubt) = (question.clone(), why.clone(), doubt.clone());
            let step = frame.step.id.clone();
            let Some(answer) = answer else {
                self.doubt(now, &doubt.change, &why, events);
                return;
            };
            let happened = !answer.declines();
            events.push(Event::Asked { step: step.clone(), question: question.text, answer, by: by.clone() });
            let finding = if happened { "happened" } else { "did_not_happen" };
            events.push(Event::Settled {
                step,
                nonce: doubt.nonce.clone(),
                finding: finding.to_owned(),
                why: Some(format!("said by {by}")),
            });
            if happened {
                self.change_done(now, doubt.change, doubt.before, doubt.nonce, Effect::FoundDone, events);
            } else {
                self.did_not_happen(now, doubt.error, events);
            }
            return;
        }
        let (question, stepping) = match &frame.phase {
            Phase::Asking { question, .. } => ((**question).clone(), false),
            Phase::Stepping { question } => (question.clone(), true),
            _ => return,
        };
        let (answer, by) = match (answer, question.otherwise) {
            (None, Some(otherwise)) => (Some(otherwise), format!("default: {by}")),
            (answer, _) => (answer, by),
        };
        let (question, step) = (question.text, Arc::clone(&frame.step));
        let why = match &answer {
            Some(answer) if !answer.declines() => {
                let (question, answer) = (question.clone(), answer.clone());
                if stepping {
                    let phase = self.entry_phase(now, &step);
                    self.set_phase(phase);
                } else {
                    frame.progress.answers.insert(question.clone(), answer.clone());
                    frame.phase = Phase::Acting;
                }
                events.push(Event::Asked { step: step.id.clone(), question, answer, by });
                return;
            }
            Some(answer) => format!("answered {answer}: {question} ({by})"),
            None => format!("nobody could be asked: {question}"),
        };
        if let Some(answer) = answer {
            events.push(Event::Asked { step: step.id.clone(), question: question.clone(), answer, by });
        }
        self.finish_all(now, &StepStatus::Declined { question }, events);
        self.end(Outcome::Declined, Some(why));
    }
}
