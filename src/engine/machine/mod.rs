//! The machine: decides what comes next in a run. Pure: time enters through its inputs, the world through samples, and
//! it knows no driver. It must never perform IO, read a clock, or name a verb.
//!
//! A run is a stack of frames: a step, and above a ladder the rung that is being tried. Each frame is in one phase:
//!
//! ```text
//! When → GateBefore → Acting → Clearing → Performing → Acting … → GateAfter → finished
//!                       ⇅                     ↓
//!                    Pausing             Doubt ⇄ Asking
//! ```

mod care;
mod changes;
mod endings;
mod gates;
mod ladder;
mod resume;

pub use resume::{Standing, Unresumable};

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::env::Readings;
use super::event::{Event, GateKind, Measurements, Outcome, StepStatus, Tally};
use super::request::{Input, Request};
use super::vigil::Vigil;
use super::watch::Watch;
use crate::action::{Done, Made, Progress, Question, RunFacts};
use crate::expr::{Evaluation, Truth};
use crate::health::{Moment, Value};
use crate::plan::{OnFailure, Plan, Step};
use crate::platform::{Before, Change, ChangeError};

/// How long an unknown `when` is waited for.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(10);
/// The default gate's patience with preboot.
const PREBOOT_PATIENCE: Duration = Duration::from_secs(300);
/// With preboot the old dynos go on serving, listed nowhere, for about this long after the new ones are up: what is
/// measured meanwhile says nothing about the release.
const PREBOOT_OVERLAP: Duration = Duration::from_secs(180);
/// Usage from which a database counts as full for the default gate.
const FULL: f64 = 0.95;
/// How long processes warm up: pages are slow and connections pile up, which is no trend.
const WARM_UP: Duration = Duration::from_secs(15);
/// By how much usage may be above what it was, for the default gate.
const SLACK: f64 = 0.02;

/// What the machine must know of the run besides its plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the run")]
pub struct Config {
    /// The run's id; nonces derive from it.
    pub run: String,
    /// A dry run: gates are read once and never waited for.
    pub dry: bool,
    /// Preboot is on.
    pub preboot: bool,
    /// The database is not asked (`--no-database`): the default gate is `live`.
    pub no_database: bool,
    /// Ask before each step (`--step`).
    pub stepwise: bool,
    /// What is known before the first step.
    pub facts: RunFacts,
}

/// Events to be written, in order, and then what to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Move {
    /// Written (and, where they say so, synced) before the request is carried out.
    pub events: Vec<Event>,
    /// What the driver does next.
    pub request: Request,
}

#[derive(Debug, Clone)]
enum Phase {
    When {
        since: Moment,
    },
    GateBefore(Watch),
    Acting,
    Pausing {
        until: Moment,
        awaited: String,
    },
    /// The change is wanted; whether it may be made now is being asked.
    Clearing {
        change: Change,
        before: Before,
    },
    Performing {
        change: Change,
        before: Before,
        nonce: String,
    },
    /// The answer was lost: it is read back until it is known, or a person is asked.
    Doubt(Box<Doubt>),
    AskingDoubt {
        question: Question,
        why: String,
        doubt: Box<Doubt>,
    },
    RetryPause {
        until: Moment,
    },
    Asking {
        question: Box<Question>,
        until: Option<Moment>,
    },
    /// `--step`: a person is asked whether this step may begin.
    Stepping {
        question: Question,
    },
    GateAfter(Watch),
    /// A ladder: watches its gate before the first rung (`rung` is `None`) and after each.
    Climbing {
        rung: Option<usize>,
        watch: Watch,
    },
    /// The after-care: watches whether health stays.
    Caring(Box<Vigil>),
    /// A ladder whose rung is the frame above.
    OnRung {
        rung: usize,
    },
}

/// A change of which nobody knows whether it happened.
#[derive(Debug, Clone)]
struct Doubt {
    change: Change,
    before: Before,
    nonce: String,
    error: ChangeError,
    /// Until then the lost request may still land: what has not happened yet may happen.
    lands_until: Moment,
    /// When to read back next.
    look: Moment,
    since: Moment,
}

#[derive(Debug, Clone)]
struct Frame {
    step: Arc<Step>,
    ladder: Option<String>,
    began: Moment,
    before: Measurements,
    phase: Phase,
    progress: Progress,
    /// It has changed something, in this attempt or an earlier one.
    changed: bool,
    /// It has made a release, in this attempt or an earlier one.
    released: bool,
    attempt: u32,
    repeats: u32,
    abort_hits: u32,
    done: Option<Done>,
    /// What was said to be awaited: said once, not at each look.
    awaited: Option<String>,
}

impl Frame {
    /// The step that takes back what this one has released, when it fails and says so.
    fn remedy(&self) -> Option<Arc<Step>> {
        let wanted = self.step.on_failure == OnFailure::Rollback && self.released;
        self.step.remedy.as_deref().filter(|_| wanted).cloned().map(Arc::new)
    }

    /// A step that begins now.
    fn begun(
        now: Moment,
        step: Arc<Step>,
        ladder: Option<String>,
        before: Measurements,
        phase: Phase,
    ) -> Self {
        Self {
            step,
            ladder,
            began: now,
            before,
            phase,
            progress: Progress { began: now, ..Progress::default() },
            changed: false,
            released: false,
            attempt: 0,
            repeats: 0,
            abort_hits: 0,
            done: None,
            awaited: None,
        }
    }
}

/// Which part of the plan the queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Main,
    Always,
}

#[derive(Debug, Clone)]
struct Ending {
    outcome: Outcome,
    why: Option<String>,
}

/// One sample as the machine keeps it.
#[derive(Debug, Clone, Default)]
struct Latest {
    number: u64,
    at: Moment,
    metrics: Measurements,
}

/// The pure engine of one run.
#[derive(Debug)]
pub struct Machine {
    plan: Arc<Plan>,
    config: Config,
    stage: Stage,
    queue: VecDeque<Arc<Step>>,
    frames: Vec<Frame>,
    outputs: BTreeMap<String, Value>,
    facts: RunFacts,
    latest: Option<Latest>,
    first: Option<Measurements>,
    /// A change has been intended: what is measured since is not the state before the run.
    touched: bool,
    /// Of each ladder, how many of its rungs were used up.
    spent: BTreeMap<String, usize>,
    /// Samples count from here on: those before were taken before the last change, or while old dynos still ran.
    counts_from: Moment,
    /// Trends count from here on: processes that began have warmed up.
    warm_from: Moment,
    began: Moment,
    ending: Option<Ending>,
    /// Somebody, or something, asked the run to stop, and why.
    interrupted: Option<String>,
    nonces: u64,
    tally: Tally,
    made: Vec<Made>,
    /// The step that made each of them.
    makers: Vec<Arc<Step>>,
    finished: bool,
    /// What only a run that was taken up again has.
    resumed: Option<resume::Resumed>,
}

impl Machine {
    /// A machine at the beginning of a run.
    pub fn new(plan: Arc<Plan>, config: Config) -> Self {
        let facts = config.facts.clone();
        Self {
            plan,
            config,
            stage: Stage::Main,
            queue: VecDeque::new(),
            frames: Vec::new(),
            outputs: BTreeMap::new(),
            facts,
            latest: None,
            first: None,
            touched: false,
            spent: BTreeMap::new(),
            counts_from: Moment::default(),
            warm_from: Moment::default(),
            began: Moment::default(),
            ending: None,
            interrupted: None,
            nonces: 0,
            tally: Tally::default(),
            made: Vec::new(),
            makers: Vec::new(),
            finished: false,
            resumed: None,
        }
    }

    /// What earlier steps established.
    pub fn facts(&self) -> &RunFacts {
        &self.facts
    }

    /// Outputs of earlier steps, as `step.output`.
    pub fn outputs(&self) -> &BTreeMap<String, Value> {
        &self.outputs
    }

    /// Samples count from here on: those before were taken before the last change, or while old dynos still ran.
    pub const fn counts_from(&self) -> Moment {
        self.counts_from
    }

    /// Every change made so far, oldest first.
    pub fn made(&self) -> &[Made] {
        &self.made
    }

    /// The step whose action or gate is being worked on.
    pub fn current_step(&self) -> Option<&str> {
        self.frames.last().map(|frame| frame.step.id.as_str())
    }

    /// A person has agreed to these questions of the plan as well.
    pub fn consent(&mut self, questions: &[String]) {
        self.facts.consents.extend(questions.iter().cloned());
    }

    /// A person has agreed to the edits of these files, as they were shown with what is left of the plan.
    pub fn agree_to_edits(&mut self, files: &[(String, String)]) {
        self.facts.agreed_edits = files.to_vec();
    }

    /// A person asked the run to stop: taken up as soon as no change is in flight.
    pub fn interrupt(&mut self) {
        self.stop("interrupted; what was in hand was finished".to_owned());
    }

    /// The run is to stop like after a signal, for this reason: taken up as soon as no change is in flight.
    pub fn stop(&mut self, why: String) {
        self.interrupted = Some(why);
    }

    /// The run cannot go on, for a reason outside it (its journal cannot be written): its last event.
    pub fn broken(&mut self, now: Moment, outcome: Outcome, why: String) -> Event {
        self.finished = true;
        self.ending = Some(Ending { outcome, why: Some(why) });
        self.run_finished(now)
    }

    /// Takes in a sample. May be called at any time, also while a change is in flight.
    pub fn observe(&mut self, number: u64, at: Moment, metrics: &Measurements) {
        self.tally.samples += 1;
        if !self.touched {
            // Before the first change: of each metric what was measured last. A person may have thought long at the prompt.
            self.first
                .get_or_insert_default()
                .extend(metrics.iter().map(|(metric, value)| (*metric, value.clone())));
        }
        self.latest = Some(Latest { number, at, metrics: metrics.clone() });
        let env = Readings { metrics, plan: &self.plan, outputs: &self.outputs };
        for frame in &mut self.frames {
            if let Some(abort) = &frame.step.abort_when {
                let bad = abort.evaluate(&env).truth == Truth::True;
                frame.abort_hits = if bad { frame.abort_hits + 1 } else { 0 };
            }
            match &mut frame.phase {
                Phase::GateBefore(watch) | Phase::GateAfter(watch) | Phase::Climbing { watch, .. } => {
                    watch.observe(at, number, &env);
                }
                Phase::Caring(vigil) => vigil.observe(at, number, &env),
                _ => {}
            }
        }
    }

    /// Decides. One input, the events it caused, and the one thing to do next.
    pub fn advance(&mut self, now: Moment, input: Input) -> Move {
        let mut events = Vec::new();
        match input {
            Input::Begin => {
                self.began = now;
                if self.resumed.is_some() {
                    self.take_up(now, &mut events);
                } else {
                    self.queue = self.main_steps();
                }
            }
            Input::Tick => {}
            Input::Decided(word) => self.decided(now, word, &mut events),
            Input::Cleared(clearance) => self.cleared(now, clearance, &mut events),
            Input::Performed(performance) => self.performed(now, performance, &mut events),
            Input::Reconciled(finding) => self.reconciled(now, finding, &mut events),
            Input::Answered { answer, by } => self.answered(now, answer, by, &mut events),
        }
        let request = self.settle(now, &mut events);
        Move { events, request }
    }

    /// Moves on until the driver is needed.
    fn settle(&mut self, now: Moment, events: &mut Vec<Event>) -> Request {
        let request = self.until_needed(now, events);
        match request {
            // The overall deadline ends waiting on time, also when samples are rare.
            Request::Wait { until, live } if self.deadline_counts() => {
                let ends = self.plan.deadline.map_or(until, |limit| self.began.plus(limit));
                Request::Wait { until: until.min(ends.max(now)), live }
            }
            Request::Ask { step, question, until } if self.deadline_counts() => {
                let ends = self.plan.deadline.map(|limit| self.began.plus(limit).max(now));
                let until = [until, ends].into_iter().flatten().min();
                Request::Ask { step, question, until }
            }
            other => other,
        }
    }

    fn until_needed(&mut self, now: Moment, events: &mut Vec<Event>) -> Request {
        loop {
            self.give_up_if_told(now, events);
            let Some(frame) = self.frames.last() else {
                match self.next_step(now, events) {
                    Some(request) => return request,
                    None => continue,
                }
            };
            let id = frame.step.id.clone();
            let request = match &frame.phase {
                Phase::When { .. } => self.decide_when(now, events),
                Phase::GateBefore(_) | Phase::GateAfter(_) => self.watch_gate(now, events),
                Phase::Climbing { .. } => self.climb(now, events),
                Phase::Caring(_) => self.keep_watch(now, events),
                // The rung is the frame above. Should it be gone, its ladder looks at the gate again.
                Phase::OnRung { .. } => {
                    self.rung_over(now);
                    None
                }
                Phase::Acting => Some(Request::Decide { step: id, progress: frame.progress.clone() }),
                Phase::Pausing { until, awaited } if now < *until => {
                    Some(Request::Wait { until: *until, live: self.live(now, Some(awaited.clone())) })
                }
                Phase::RetryPause { until } if now < *until => Some(Request::Wait {
                    until: *until,
                    live: self.live(now, Some("the next attempt".to_owned())),
                }),
                Phase::Clearing { change, before } => {
                    Some(Request::Clear { step: id, change: change.clone(), before: before.clone() })
                }
                Phase::Performing { change, .. } => {
                    let spent = now.since(frame.progress.began);
                    Some(Request::Perform {
                        step: id,
                        change: change.clone(),
                        timeout: frame.step.timeout.saturating_sub(spent).max(Duration::from_secs(1)),
                    })
                }
                Phase::Asking { question, until } => {
                    Some(Request::Ask { step: id, question: (**question).clone(), until: *until })
                }
                Phase::Stepping { question } | Phase::AskingDoubt { question, .. } => {
                    Some(Request::Ask { step: id, question: question.clone(), until: None })
                }
                Phase::Doubt(doubt) if now < doubt.look => Some(Request::Wait {
                    until: doubt.look,
                    live: self.live(now, Some("a lost request to land, or not".to_owned())),
                }),
                Phase::Doubt(doubt) => Some(Request::Reconcile {
                    change: doubt.change.clone(),
                    before: doubt.before.clone(),
                    settled: now >= doubt.lands_until,
                }),
                Phase::Pausing { .. } | Phase::RetryPause { .. } => {
                    self.set_phase(Phase::Acting);
                    None
                }
            };
            if let Some(request) = request {
                return request;
            }
        }
    }

    /// Whether a person need not answer any more: the run, or the step, is to end.
    pub fn gives_up(&self, now: Moment) -> bool {
        let Some(frame) = self.frames.last() else { return false };
        if self.interrupted.is_some() {
            return true;
        }
        let overdue = || {
            self.deadline_counts() && self.plan.deadline.is_some_and(|limit| now.since(self.began) >= limit)
        };
        let in_doubt = matches!(frame.phase, Phase::AskingDoubt { .. });
        !in_doubt && (self.frames.iter().any(|frame| frame.abort_hits >= 2) || overdue())
    }

    /// Signals, `abort_when` and the overall deadline end what is being waited for, never a change in flight.
    fn give_up_if_told(&mut self, now: Moment, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last() else { return };
        if matches!(frame.phase, Phase::Performing { .. } | Phase::Doubt(_) | Phase::OnRung { .. }) {
            return;
        }
        if let Phase::AskingDoubt { why, doubt, .. } = &frame.phase {
            if self.interrupted.is_some() {
                let (change, why) = (doubt.change.clone(), why.clone());
                self.doubt(now, &change, &why, events);
            }
            return;
        }
        if let Some(why) = self.interrupted.take() {
            // The steps that always run do: whoever cannot wait for them leaves with a second signal.
            if self.stage == Stage::Main {
                let why = self.watching_words(why);
                self.finish_all(now, &StepStatus::Interrupted, events);
                self.end(Outcome::Interrupted, Some(why));
            } else if self.stay_paused() {
                self.end(Outcome::Interrupted, Some(why));
            }
            return;
        }
        if self.config.dry {
            return;
        }
        if let Some(index) = self.frames.iter().position(|frame| frame.abort_hits >= 2) {
            let abort = self.frames[index].step.abort_when.clone();
            self.frames[index].abort_hits = 0;
            let began = self.frames[index].began;
            self.finish_above(now, index, "abort_when ended the ladder", events);
            if let Some(abort) = abort {
                let evaluation = self.evaluate(&abort);
                let decision = Decision {
                    gate: GateKind::Abort,
                    open: true,
                    evaluation,
                    since: began,
                    sample: None,
                    why: None,
                    early: false,
                };
                self.verdict(now, decision, events);
                self.shut(now, format!("abort_when held twice in a row: {abort}"), events);
            }
            return;
        }
        if self.deadline_counts() && self.plan.deadline.is_some_and(|limit| now.since(self.began) >= limit) {
            let why = "the run's deadline passed".to_owned();
            self.finish_above(now, 0, &why, events);
            self.close(
                now,
                StepStatus::GateShut { why: why.clone(), tolerated: false },
                false,
                Outcome::GateShut,
                why,
                events,
            );
        }
    }

    /// The deadline ends what the plan set out to do. It does not cut off taking a release back, nor what always runs.
    fn deadline_counts(&self) -> bool {
        self.stage == Stage::Main && self.ending.is_none() && !self.config.dry
    }

    /// Takes the next step of the queue, or the next stage, or finishes.
    fn next_step(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        if self.finished {
            return Some(Request::Finish);
        }
        if self.stage == Stage::Main
            && let Some(why) = self.interrupted.take()
        {
            // Also a release that was to be taken back is left as it is: a person has taken over.
            self.queue.clear();
            self.end(Outcome::Interrupted, Some(why));
        }
        if self.stand_up(now, events) {
            return None;
        }
        if let Some(step) = self.queue.pop_front() {
            self.begin_step(now, step, None, events);
            return None;
        }
        if self.stage != Stage::Always {
            self.stage = Stage::Always;
            self.queue = self.always_steps();
            return None;
        }
        if self.pause_is_over() {
            return None;
        }
        self.finished = true;
        events.push(self.run_finished(now));
        Some(Request::Finish)
    }

    fn main_steps(&self) -> VecDeque<Arc<Step>> {
        self.plan.steps.iter().filter(|step| !step.always).cloned().map(Arc::new).collect()
    }

    fn always_steps(&self) -> VecDeque<Arc<Step>> {
        self.plan.steps.iter().filter(|step| step.always).cloned().map(Arc::new).collect()
    }

    fn run_finished(&self, now: Moment) -> Event {
        let ending = self.ending.clone().unwrap_or(Ending { outcome: Outcome::Done, why: None });
        let mut next = Vec::new();
        if ending.outcome == Outcome::GateShut {
            next.extend(self.plan.when_shut.iter().cloned());
        }
        Event::RunFinished {
            outcome: ending.outcome,
            exit_code: ending.outcome.exit_code(),
            why: ending.why,
            before: self.first.clone().unwrap_or_default(),
            after: self.measurements(),
            took_ms: millis(self.worked_before() + now.since(self.began)),
            tally: self.tally,
            next,
        }
    }

    fn begin_step(&mut self, now: Moment, step: Arc<Step>, ladder: Option<String>, events: &mut Vec<Event>) {
        if let Some(why) = step.left_out.clone() {
            self.tally.steps_skipped += 1;
            events.push(Event::StepFinished {
                step: step.id.clone(),
                status: StepStatus::Skipped { why },
                done: None,
                before: Measurements::new(),
                after: Measurements::new(),
                took_ms: 0,
            });
            return;
        }
        events.push(Event::StepStarted {
            step: step.id.clone(),
            name: step.name.clone(),
            ladder: ladder.clone(),
            before: self.measurements(),
        });
        let phase = self.opening_phase(now, &step);
        let before = self.measurements();
        self.frames.push(Frame::begun(now, step, ladder, before, phase));
    }

    fn set_phase(&mut self, phase: Phase) {
        if let Some(frame) = self.frames.last_mut() {
            frame.phase = phase;
        }
    }

    fn measurements(&self) -> Measurements {
        self.latest.as_ref().map(|latest| latest.metrics.clone()).unwrap_or_default()
    }
}

/// A condition decided.
struct Decision {
    gate: GateKind,
    open: bool,
    evaluation: Evaluation,
    since: Moment,
    sample: Option<u64>,
    why: Option<String>,
    /// Shut before its time.
    early: bool,
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
