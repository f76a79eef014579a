//! A run taken up again: its journal's events are folded into the machine they left behind. Pure, and it must never
//! forget an intention: what was intended and has no outcome is in doubt, and is read back before anything else.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::event::{Event, GateKind, Measurements, Outcome, StepStatus};
use super::super::vigil::Vigil;
use super::super::watch::Watch;
use super::care::cared;
use super::{Config, Doubt, Ending, Frame, Machine, Phase, Stage, WARM_UP};
use crate::action::{Done, Failure, Progress};
use crate::health::Moment;
use crate::plan::{Body, Plan, Step};
use crate::platform::{Certainty, Change, ChangeError, Fault, FaultKind};

/// Why a run cannot be taken up again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresumable {
    /// It ended well.
    #[error("it is done: every step ran and every gate held")]
    Done,
    /// Its release was taken back.
    #[error("it failed and took its release back: what it did is undone, so begin a new run")]
    TakenBack,
    /// The journal names a step that the plan does not have.
    #[error("it has begun step `{0}`, which the runbook no longer has")]
    MissingStep(String),
}

/// Where a run that is taken up again stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// The step it goes on with; `None` when only its end is left.
    pub at: Option<String>,
    /// Steps that are over.
    pub over: BTreeSet<String>,
    /// Steps in hand that have changed something, or perhaps have: they are not begun anew.
    pub in_hand: BTreeSet<String>,
    /// Requests in doubt.
    pub in_doubt: Vec<String>,
    /// Steps done anew, since a step that always runs had reversed them.
    pub again: Vec<String>,
}

/// What only a run that was taken up again has.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// The step, and above it the rung, that the pause ended; the lowest first.
    suspended: Vec<Frame>,
    /// Steps to be done anew before them.
    again: VecDeque<Arc<Step>>,
    /// The process died within the steps that run at a pause: when they are over, the run goes on.
    finishing_pause: bool,
    /// A change that failed, with the step's end not yet written down.
    failed: Option<Failure>,
    /// Time of the sessions before.
    worked: Duration,
    /// Top-level steps that have begun, and those of `always` since the last pause.
    begun: BTreeSet<String>,
    begun_always: BTreeSet<String>,
    over: BTreeSet<String>,
    session_began: Moment,
    last: Moment,
    ended: Option<Outcome>,
    /// It failed for good: a step failed, and nobody has asked to try it again.
    failing: bool,
    /// The step that takes its release back, when it did not come to its end.
    remedy: Option<Box<Frame>>,
    taken_back: bool,
}

impl Machine {
    /// The machine that `history` left behind, ready to go on; begin it with `Input::Begin`. Moments count from the
    /// start of the run, pauses included.
    ///
    /// # Errors
    /// When there is nothing to go on with, or the plan does not fit the history.
    pub fn resume(plan: Arc<Plan>, config: Config, history: &[(Moment, Event)]) -> Result<Self, Unresumable> {
        let mut machine = Self::new(plan, config);
        machine.queue = machine.main_steps();
        machine.resumed = Some(Resumed::default());
        for (at, event) in history {
            machine.replay(*at, event)?;
        }
        let resumed = machine.past();
        match resumed.ended {
            None => resumed.worked += resumed.last.since(resumed.session_began),
            Some(Outcome::Done) => return Err(Unresumable::Done),
            Some(_) if resumed.taken_back => return Err(Unresumable::TakenBack),
            Some(_) => machine.after_its_end(),
        }
        machine.stand();
        Ok(machine)
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let Some(resumed) = &self.resumed else { return Standing::default() };
        let app = &self.plan.record.target.app;
        let frames = || resumed.suspended.iter().chain(&self.frames);
        let in_doubt = frames().filter_map(|frame| match &frame.phase {
            Phase::Doubt(doubt) => Some(doubt.change.request(app)),
            _ => None,
        });
        let next = || resumed.again.front().or(self.queue.front()).map(|step| step.id.clone());
        let suspended = resumed.suspended.last().filter(|_| resumed.again.is_empty());
        let in_hand = frames()
            .filter(|frame| frame.changed || matches!(frame.phase, Phase::Doubt(_)))
            .map(|frame| frame.step.id.clone());
        Standing {
            in_hand: in_hand.collect(),
            at: self.frames.last().or(suspended).map(|frame| frame.step.id.clone()).or_else(next),
            over: resumed.over.clone(),
            in_doubt: in_doubt.collect(),
            again: resumed.again.iter().map(|step| step.id.clone()).collect(),
        }
    }

    /// Time spent on the run before this session.
    pub(super) fn worked_before(&self) -> Duration {
        self.resumed.as_ref().map_or(Duration::ZERO, |resumed| resumed.worked)
    }

    fn past(&mut self) -> &mut Resumed {
        self.resumed.get_or_insert_default()
    }

    fn replay(&mut self, at: Moment, event: &Event) -> Result<(), Unresumable> {
        self.past().last = at;
        match event {
            Event::Resumed { .. } => self.taken_up_then(at),
            Event::StepStarted { step, ladder, before, .. } => {
                return self.step_began(at, step, ladder.clone(), before);
            }
            Event::Intended { step, change, before, nonce, .. } => {
                self.restore(step);
                self.touched = true;
                self.nonces += 1;
                let error = died(change);
                let lands_until = at.plus(change.settle());
                self.set_phase(Phase::Doubt(Box::new(Doubt {
                    change: change.clone(),
                    before: before.clone(),
                    nonce: nonce.clone(),
                    error,
                    lands_until,
                    look: at,
                    since: at,
                })));
            }
            Event::Done { step, effect, .. } => {
                self.restore(step);
                if let Some(doubt) = self.take_doubt() {
                    let mut unheard = Vec::new();
                    let effect = effect.clone();
                    self.change_done(at, doubt.change, doubt.before, doubt.nonce, effect, &mut unheard);
                }
            }
            Event::ChangeFailed { step, error, .. } => {
                self.restore(step);
                self.change_failed_then(at, error);
            }
            Event::Settled { step, finding, .. } => {
                self.restore(step);
                if finding == "did_not_happen"
                    && let Some(doubt) = self.take_doubt()
                    && let Some(frame) = self.frames.last_mut()
                {
                    if frame.repeats == 0 {
                        frame.repeats = 1;
                    } else {
                        self.past().failed = Some(doubt.error.fault.into());
                    }
                }
            }
            Event::Retrying { step, attempt, delay_ms, .. } => {
                self.restore(step);
                self.past().failed = None;
                if let Some(frame) = self.frames.last_mut() {
                    let until = at.plus(Duration::from_millis(*delay_ms));
                    frame.attempt = *attempt;
                    frame.repeats = 0;
                    frame.progress = Progress { began: until, ..Progress::default() };
                    frame.phase = Phase::RetryPause { until };
                }
            }
            Event::Asked { step, question, answer, .. } if !answer.declines() => {
                self.restore(step);
                if let Some(frame) = self.frames.last_mut() {
                    frame.progress.answers.insert(question.clone(), answer.clone());
                }
            }
            Event::Verdict { step, gate: GateKind::Ladder, open: true, .. } => {
                self.restore(step);
                if let Some(frame) = self.frames.last()
                    && let (Some(_), Phase::Climbing { rung: Some(rung), .. }) =
                        (cared(&frame.step), &frame.phase)
                {
                    let spent = rung + 1;
                    self.watch_anew(at, spent);
                }
            }
            Event::StepFinished { step, status, done, .. } => {
                self.restore(step);
                return self.step_ended(at, step, status, done.as_ref());
            }
            Event::RunFinished { outcome, before, .. } => {
                let past = self.past();
                past.ended = Some(*outcome);
                past.worked += at.since(past.session_began);
                self.first.get_or_insert_with(|| before.clone());
            }
            _ => {}
        }
        Ok(())
    }

    fn step_began(
        &mut self,
        at: Moment,
        id: &str,
        ladder: Option<String>,
        before: &Measurements,
    ) -> Result<(), Unresumable> {
        let step = find(&self.plan, id).ok_or_else(|| Unresumable::MissingStep(id.to_owned()))?;
        if !self.touched {
            self.first
                .get_or_insert_default()
                .extend(before.iter().map(|(metric, value)| (*metric, value.clone())));
        }
        if ladder.is_some() {
            if let Some(parent) = self.frames.last_mut()
                && let Body::Ladder(ladder) = &parent.step.body
                && let Some(rung) = ladder.rungs.iter().position(|rung| rung.id == id)
            {
                parent.phase = Phase::OnRung { rung };
            }
        } else {
            if step.always {
                self.stage = Stage::Always;
                self.past().begun_always.insert(id.to_owned());
            } else if !self.is_remedy(id) {
                if self.stage == Stage::Always {
                    self.reopen();
                }
                let past = self.past();
                past.begun.insert(id.to_owned());
                past.again.retain(|again| again.id != id);
            }
            self.queue.retain(|waiting| waiting.id != id);
        }
        self.frames.push(Frame::begun(at, step, ladder, before.clone(), Phase::Acting));
        Ok(())
    }

    fn change_failed_then(&mut self, at: Moment, error: &ChangeError) {
        let Some(mut doubt) = self.take_doubt() else { return };
        match error.certainty {
            Certainty::InDoubt => {
                doubt.lands_until = at.plus(Duration::from_millis(error.settle_ms));
                doubt.error = error.clone();
                self.set_phase(Phase::Doubt(doubt));
            }
            Certainty::NothingChanged => self.past().failed = Some(error.fault.clone().into()),
            Certainty::Partial => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.attempt = u32::MAX;
                    frame.changed = true;
                }
                self.past().failed = Some(error.fault.clone().into());
            }
        }
    }

    fn step_ended(
        &mut self,
        at: Moment,
        id: &str,
        status: &StepStatus,
        done: Option<&Done>,
    ) -> Result<(), Unresumable> {
        self.past().failed = None;
        self.count(status);
        let known = self.frames.last().is_some_and(|frame| frame.step.id == id);
        let Some(frame) = self.frames.pop_if(|_| known) else {
            // Left out: it never began.
            let step = find(&self.plan, id).ok_or_else(|| Unresumable::MissingStep(id.to_owned()))?;
            if self.plan.steps.iter().any(|top| top.id == id) {
                let past = self.past();
                if step.always {
                    past.begun_always.insert(id.to_owned())
                } else {
                    past.begun.insert(id.to_owned())
                };
                self.queue.retain(|waiting| waiting.id != id);
            } else {
                self.rung_passed(at);
            }
            return Ok(());
        };
        if let Some(done) = done {
            self.learn(at, id, done);
        }
        if self.is_remedy(id) {
            match status {
                StepStatus::Done | StepStatus::Unneeded | StepStatus::Skipped { .. } => {
                    self.past().taken_back = true;
                }
                _ => self.past().remedy = Some(Box::new(frame)),
            }
            return Ok(());
        }
        if let (Body::Ladder(ladder), None) = (&frame.step.body, cared(&frame.step)) {
            let tried = match (status, &frame.phase) {
                (StepStatus::GateShut { .. }, _) => ladder.rungs.len(),
                (_, Phase::Climbing { rung: Some(rung), .. }) => rung + 1,
                _ => 0,
            };
            self.spent.insert(id.to_owned(), tried);
        }
        let on_ladder = frame.ladder.is_some();
        match status {
            StepStatus::Done if on_ladder => self.rung_over(at),
            StepStatus::Unneeded if on_ladder && frame.changed => self.rung_over(at),
            StepStatus::Unneeded | StepStatus::NotHealed { .. } | StepStatus::Skipped { .. } if on_ladder => {
                self.rung_passed(at);
            }
            StepStatus::Failed { tolerated: false, .. } | StepStatus::GateShut { tolerated: false, .. } => {
                self.failed_then(frame, status);
            }
            StepStatus::Declined { .. }
            | StepStatus::InDoubt { .. }
            | StepStatus::Held { .. }
            | StepStatus::Interrupted
                if self.stage == Stage::Main =>
            {
                self.past().suspended.insert(0, frame);
            }
            // A doubt among the steps that always run is not over with them: it is settled before anything else.
            StepStatus::InDoubt { .. } => self.frames.push(frame),
            _ => {
                self.past().over.insert(id.to_owned());
            }
        }
        Ok(())
    }

    /// A step failed, and with it the run: it ends, unless somebody takes it up to try the step again.
    fn failed_then(&mut self, mut frame: Frame, status: &StepStatus) {
        let id = &frame.step.id;
        let (outcome, why) = match status {
            StepStatus::Failed { failure, .. } => (Outcome::Failed, format!("step {id} failed: {failure}")),
            StepStatus::GateShut { why, .. } => (Outcome::GateShut, format!("step {id}: {why}")),
            _ => return,
        };
        if self.ending.is_none() {
            self.ending = Some(Ending { outcome, why: Some(why) });
        }
        if self.stage == Stage::Always {
            return;
        }
        self.past().failing = true;
        let remedy = frame.remedy();
        if let Some((_, care)) = cared(&frame.step) {
            // Whoever takes it up again wants it tried again: it is watched first.
            frame.phase = Phase::Caring(Box::new(Vigil::new(care, 0, frame.began)));
        } else if let Body::Ladder(ladder) = &frame.step.body {
            let watch = Watch::new(ladder.gate.clone(), GateKind::Ladder, frame.began);
            frame.phase = Phase::Climbing { rung: None, watch };
        }
        (frame.attempt, frame.repeats) = (0, 0);
        self.queue.clear();
        self.queue.extend(remedy);
        self.past().suspended.insert(0, frame);
    }

    fn is_remedy(&self, id: &str) -> bool {
        self.plan.steps.iter().any(|step| step.remedy.as_ref().is_some_and(|remedy| remedy.id == id))
    }

    /// What was suspended goes on when its first event shows it.
    fn restore(&mut self, step: &str) {
        if self.frames.is_empty()
            && self.past().suspended.iter().any(|frame| frame.step.id == step)
            && self.past().ended.is_none()
        {
            if self.stage == Stage::Always {
                self.reopen();
            }
            self.frames = std::mem::take(&mut self.past().suspended);
        }
    }

    fn take_doubt(&mut self) -> Option<Box<Doubt>> {
        let frame = self.frames.last_mut()?;
        match std::mem::replace(&mut frame.phase, Phase::Acting) {
            Phase::Doubt(doubt) => Some(doubt),
            other => {
                frame.phase = other;
                None
            }
        }
    }

    /// It had been taken up at this point of its history.
    fn taken_up_then(&mut self, at: Moment) {
        let past = self.past();
        if past.ended.take().is_some() {
            self.after_its_end();
        } else {
            past.worked += past.last.since(past.session_began);
        }
        self.stand();
        self.past().session_began = at;
    }

    /// It had come to its end, or to a pause: it goes on, once what is in doubt among the steps at the pause is settled.
    fn after_its_end(&mut self) {
        if self.frames.is_empty() {
            self.reopen();
        } else {
            self.past().failing = false;
            self.ending = None;
        }
    }

    /// A pause is over: the steps that are left, and those done anew that steps at the pause had reversed.
    fn reopen(&mut self) {
        self.stage = Stage::Main;
        if let Some(remedy) = self.past().remedy.take() {
            // What is left of a run that failed: its release is taken back, and no more.
            self.frames = vec![*remedy];
            self.queue.clear();
            return;
        }
        self.ending = None;
        let mut again = self.reversed();
        let queue = self.main_steps();
        let past = self.past();
        past.failing = false;
        past.finishing_pause = false;
        past.begun_always.clear();
        again.retain(|step| {
            let held = past.suspended.iter_mut().find(|frame| frame.step.id == step.id);
            let anew = held.is_none();
            if let Some(frame) = held {
                // Goes on anyway: without what it had made, which is no more.
                frame.progress.made.clear();
            }
            anew
        });
        past.again = again.into();
        let begun = past.begun.clone();
        self.queue = queue.into_iter().filter(|step| !begun.contains(&step.id)).collect();
    }

    /// Steps whose setting a step that always runs has put back since, oldest first.
    fn reversed(&self) -> Vec<Arc<Step>> {
        let mut again: Vec<Arc<Step>> = Vec::new();
        for (index, (step, made)) in self.makers.iter().zip(&self.made).enumerate() {
            let Some(subject) = made.change.subject().filter(|_| !step.always) else { continue };
            let later = self.makers.iter().zip(&self.made).skip(index + 1);
            let later: Vec<_> =
                later.filter(|(_, other)| other.change.subject().as_ref() == Some(&subject)).collect();
            let reversed = later.iter().all(|(step, _)| step.always)
                && later.last().is_some_and(|(_, last)| last.change != made.change);
            if reversed && !again.iter().any(|known| known.id == step.id) {
                // What let it run then lets it run again: it is put back, not decided anew.
                again.push(Arc::new(Step { when: None, before: None, ..(**step).clone() }));
            }
        }
        again
    }

    /// Where a process that died had been: its queue, as far as the events tell.
    fn stand(&mut self) {
        if self.stage != Stage::Always {
            return;
        }
        let main = self.main_steps();
        let always = self.always_steps();
        let past = self.past();
        let left = main.iter().any(|step| !past.begun.contains(&step.id));
        past.finishing_pause = !past.failing && (left || !past.suspended.is_empty());
        let begun = past.begun_always.clone();
        self.queue = always.into_iter().filter(|step| !begun.contains(&step.id)).collect();
    }

    /// The first move after the resume: everything that waits begins to wait anew, and counts only what is measured
    /// from now on.
    pub(super) fn take_up(&mut self, now: Moment, events: &mut Vec<Event>) {
        self.counts_from = self.counts_from.max(now);
        // Whether what it had begun has warmed up meanwhile is not known.
        if self.made.iter().any(|made| made.change.starts_processes()) {
            self.warm_from = self.counts_from.plus(WARM_UP);
        }
        for index in 0..self.frames.len() {
            self.rouse(now, index);
        }
        if let Some(failure) = self.past().failed.take() {
            self.action_failed(now, failure, events);
        }
    }

    /// Before the next step: steps done anew, then what the pause had ended.
    pub(super) fn stand_up(&mut self, now: Moment, events: &mut Vec<Event>) -> bool {
        let Some(resumed) = &mut self.resumed else { return false };
        if self.ending.is_some() || self.stage != Stage::Main {
            return false;
        }
        if let Some(step) = resumed.again.pop_front() {
            self.begin_step(now, step, None, events);
            return true;
        }
        if resumed.suspended.is_empty() {
            return false;
        }
        self.frames = std::mem::take(&mut resumed.suspended);
        for index in 0..self.frames.len() {
            self.rouse(now, index);
        }
        true
    }

    /// The steps that run at a pause are over, and the pause with them, when the process had died among them.
    pub(super) fn pause_is_over(&mut self) -> bool {
        let ended = self.ending.is_some();
        let past = self.past();
        if ended || !std::mem::take(&mut past.finishing_pause) {
            return false;
        }
        self.reopen();
        true
    }

    /// A signal while the pause is being completed: the run stays paused. Says whether that was so.
    pub(super) fn stay_paused(&mut self) -> bool {
        self.resumed.as_mut().is_some_and(|past| std::mem::take(&mut past.finishing_pause))
    }

    /// A frame of the past goes on now.
    fn rouse(&mut self, now: Moment, index: usize) {
        let top = index + 1 == self.frames.len();
        let fresh = {
            let frame = &self.frames[index];
            frame.progress.made.is_empty() && !frame.changed
        };
        let step = Arc::clone(&self.frames[index].step);
        let first = self.opening_phase(now, &step);
        let climbed = match &step.body {
            Body::Ladder(ladder) => Some(self.watch(ladder.gate.clone(), GateKind::Ladder, now)),
            Body::Verb(_) => None,
        };
        let frame = &mut self.frames[index];
        frame.abort_hits = 0;
        frame.awaited = None;
        match &mut frame.phase {
            Phase::Doubt(doubt) => {
                doubt.look = now;
                doubt.since = now;
            }
            Phase::Climbing { watch, .. } => {
                *watch = climbed.unwrap_or_else(|| Watch::new(watch.gate.clone(), GateKind::Ladder, now));
            }
            Phase::Caring(vigil) => **vigil = vigil.anew(now),
            Phase::OnRung { .. } | Phase::RetryPause { .. } => {}
            phase if fresh && top => *phase = first,
            phase => *phase = Phase::Acting,
        }
        if !matches!(frame.phase, Phase::RetryPause { .. }) {
            frame.progress.began = now;
        }
    }
}

/// The process ended with this change in hand.
fn died(change: &Change) -> ChangeError {
    let settle_ms = u64::try_from(change.settle().as_millis()).unwrap_or(u64::MAX);
    let fault = Fault::new(
        FaultKind::Interrupted,
        "making the change that was in hand when the process ended",
        "it did not happen, and once more it did not",
    );
    ChangeError::in_doubt(fault, settle_ms)
}

/// A step of the plan, rungs and remedies included.
fn find(plan: &Plan, id: &str) -> Option<Arc<Step>> {
    fn within(step: &Step, id: &str) -> Option<Arc<Step>> {
        if step.id == id {
            return Some(Arc::new(step.clone()));
        }
        let remedy = step.remedy.as_deref().and_then(|remedy| within(remedy, id));
        remedy.or_else(|| match &step.body {
            Body::Ladder(ladder) => ladder.rungs.iter().find_map(|rung| within(rung, id)),
            Body::Verb(_) => None,
        })
    }
    plan.steps.iter().find_map(|step| within(step, id))
}
