//! The machine: decides what comes next in a run. Pure: time enters through its inputs, the world through samples, and
//! it knows no driver. It must never perform IO, read a clock, or name a verb.
//!
//! A run is a stack of frames: a step, and above a ladder the rung that is being tried. Each frame is in one phase:
//!
//! ```text
//! When → GateBefore → Acting ⇄ Performing → GateAfter → finished
//!                       ⇅          ↓
//!                    Pausing   Settling → Reconciling
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::env::Readings;
use super::event::{Event, GateKind, Measurements, Outcome, StepStatus, Tally};
use super::request::{Input, Live, Performance, Request};
use super::watch::{GateState, Watch};
use crate::action::{Done, Failure, Made, Next, Progress, RunFacts, Status};
use crate::expr::{Evaluation, Expr, Truth};
use crate::health::{Metric, Moment, Value};
use crate::plan::{AfterGate, Body, Gate, IfUnknown, OnFailure, Plan, Step};
use crate::platform::{Before, Certainty, Change, ChangeError, Effect, Fault, FaultKind, Reconciled};

/// How long an unknown `when` is waited for.
const UNKNOWN_PATIENCE: Duration = Duration::from_secs(10);
/// The default gate's patience with preboot, where two sets of dynos run for about three minutes.
const PREBOOT_PATIENCE: Duration = Duration::from_secs(300);
/// Usage from which a database counts as full for the default gate.
const FULL: f64 = 0.95;
/// By how much usage may be above what it was, for the default gate.
const SLACK: f64 = 0.02;

/// What the machine must know of the run besides its plan.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The run's id; nonces derive from it.
    pub run: String,
    /// A dry run: gates are read once and never waited for.
    pub dry: bool,
    /// Preboot is on.
    pub preboot: bool,
    /// The database is not asked (`--no-database`): the default gate is `live`.
    pub no_database: bool,
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

#[derive(Debug)]
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
    Performing {
        change: Change,
        before: Before,
        nonce: String,
    },
    Settling {
        until: Moment,
        change: Change,
        before: Before,
        nonce: String,
        error: ChangeError,
    },
    Reconciling {
        change: Change,
        before: Before,
        nonce: String,
        error: ChangeError,
    },
    RetryPause {
        until: Moment,
    },
    Asking {
        question: String,
        assent: bool,
    },
    GateAfter(Watch),
    /// A ladder: watches its gate before the first rung (`rung` is `None`) and after each.
    Climbing {
        rung: Option<usize>,
        watch: Watch,
    },
    /// A ladder whose rung is the frame above.
    OnRung {
        rung: usize,
    },
}

#[derive(Debug)]
struct Frame {
    step: Arc<Step>,
    ladder: Option<String>,
    began: Moment,
    before: Measurements,
    phase: Phase,
    progress: Progress,
    attempt: u32,
    repeats: u32,
    abort_hits: u32,
    done: Option<Done>,
    /// What was said to be awaited: said once, not at each look.
    awaited: Option<String>,
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
    began: Moment,
    ending: Option<Ending>,
    interrupted: bool,
    nonces: u64,
    tally: Tally,
    made: Vec<Made>,
    finished: bool,
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
            began: Moment::default(),
            ending: None,
            interrupted: false,
            nonces: 0,
            tally: Tally::default(),
            made: Vec::new(),
            finished: false,
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

    /// Every change made so far, oldest first.
    pub fn made(&self) -> &[Made] {
        &self.made
    }

    /// The step whose action or gate is being worked on.
    pub fn current_step(&self) -> Option<&str> {
        self.frames.last().map(|frame| frame.step.id.as_str())
    }

    /// A person asked the run to stop: taken up as soon as no change is in flight.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Takes in a sample. May be called at any time, also while a change is in flight.
    pub fn observe(&mut self, number: u64, at: Moment, metrics: &Measurements) {
        self.tally.samples += 1;
        if self.touched {
            // What is measured from here on is no longer the state before the run.
        } else if let Some(first) = &mut self.first {
            for (metric, value) in metrics {
                first.entry(*metric).or_insert_with(|| value.clone());
            }
        } else {
            self.first = Some(metrics.clone());
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
                self.queue =
                    self.plan.steps.iter().filter(|step| !step.always).cloned().map(Arc::new).collect();
            }
            Input::Tick => {}
            Input::Decided(word) => self.decided(now, word, &mut events),
            Input::Performed(performance) => self.performed(now, performance, &mut events),
            Input::Reconciled(finding) => self.reconciled(now, finding, &mut events),
            Input::Answered { answer, by } => self.answered(now, answer, by, &mut events),
        }
        let request = self.settle(now, &mut events);
        Move { events, request }
    }

    /// Moves on until the driver is needed.
    fn settle(&mut self, now: Moment, events: &mut Vec<Event>) -> Request {
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
                Phase::Settling { until, .. } if now < *until => Some(Request::Wait {
                    until: *until,
                    live: self.live(now, Some("a lost request to land, or not".to_owned())),
                }),
                Phase::Performing { change, .. } => {
                    let spent = now.since(frame.progress.began);
                    Some(Request::Perform {
                        step: id,
                        change: change.clone(),
                        timeout: frame.step.timeout.saturating_sub(spent).max(Duration::from_secs(1)),
                    })
                }
                Phase::Asking { question, assent } => {
                    Some(Request::Ask { step: id, question: question.clone(), assent: *assent })
                }
                Phase::Reconciling { change, before, .. } => {
                    Some(Request::Reconcile { change: change.clone(), before: before.clone() })
                }
                Phase::Pausing { .. } | Phase::RetryPause { .. } | Phase::Settling { .. } => {
                    self.leave_pause();
                    None
                }
            };
            if let Some(request) = request {
                return request;
            }
        }
    }

    fn leave_pause(&mut self) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        frame.phase = match std::mem::replace(&mut frame.phase, Phase::Acting) {
            Phase::Settling { change, before, nonce, error, .. } => {
                Phase::Reconciling { change, before, nonce, error }
            }
            _ => Phase::Acting,
        };
    }

    /// Signals, `abort_when` and the overall deadline end what is being waited for, never a change in flight.
    fn give_up_if_told(&mut self, now: Moment, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last() else { return };
        if matches!(
            frame.phase,
            Phase::Performing { .. }
                | Phase::Settling { .. }
                | Phase::Reconciling { .. }
                | Phase::OnRung { .. }
        ) {
            return;
        }
        if self.interrupted && self.stage != Stage::Always {
            self.finish_all(now, &StepStatus::Interrupted, events);
            self.end(Outcome::Interrupted, Some("interrupted; what was in hand was finished".to_owned()));
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
                };
                self.verdict(now, decision, events);
                self.shut(now, format!("abort_when held twice in a row: {abort}"), events);
            }
            return;
        }
        if self.stage == Stage::Main && self.plan.deadline.is_some_and(|limit| now.since(self.began) >= limit)
        {
            let why = "the run's deadline passed".to_owned();
            self.finish_all(now, &StepStatus::GateShut { why: why.clone(), tolerated: false }, events);
            self.end(Outcome::GateShut, Some(why));
        }
    }

    /// Takes the next step of the queue, or the next stage, or finishes.
    fn next_step(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        if self.finished {
            return Some(Request::Finish);
        }
        if self.interrupted && self.stage == Stage::Main && self.ending.is_none() {
            self.end(Outcome::Interrupted, Some("interrupted between two steps".to_owned()));
        }
        if let Some(step) = self.queue.pop_front() {
            self.begin_step(now, step, None, events);
            return None;
        }
        if self.stage != Stage::Always {
            self.stage = Stage::Always;
            self.queue = self.plan.steps.iter().filter(|step| step.always).cloned().map(Arc::new).collect();
            return None;
        }
        self.finished = true;
        let ending = self.ending.clone().unwrap_or(Ending { outcome: Outcome::Done, why: None });
        let mut next = Vec::new();
        if ending.outcome == Outcome::GateShut {
            next.extend(self.plan.when_shut.iter().cloned());
        }
        events.push(Event::RunFinished {
            outcome: ending.outcome,
            exit_code: ending.outcome.exit_code(),
            why: ending.why,
            before: self.first.clone().unwrap_or_default(),
            after: self.measurements(),
            took_ms: millis(now.since(self.began)),
            tally: self.tally,
            next,
        });
        Some(Request::Finish)
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
        let phase =
            if step.when.is_some() { Phase::When { since: now } } else { self.entry_phase(now, &step) };
        self.frames.push(Frame {
            before: self.measurements(),
            began: now,
            phase,
            progress: Progress { began: now, ..Progress::default() },
            attempt: 0,
            repeats: 0,
            abort_hits: 0,
            done: None,
            awaited: None,
            ladder,
            step,
        });
    }

    /// The phase after `when`.
    fn entry_phase(&self, now: Moment, step: &Step) -> Phase {
        if let Some(gate) = &step.before {
            return Phase::GateBefore(self.fresh_watch(gate.clone(), GateKind::Before, now));
        }
        self.action_phase(now, step)
    }

    /// The phase after the gate before.
    fn action_phase(&self, now: Moment, step: &Step) -> Phase {
        match &step.body {
            Body::Ladder(ladder) => Phase::Climbing {
                rung: None,
                watch: self.fresh_watch(ladder.gate.clone(), GateKind::Ladder, now),
            },
            Body::Verb(_) => Phase::Acting,
        }
    }

    /// A watch on a condition that nothing has changed since the latest sample: that sample counts too.
    fn fresh_watch(&self, gate: Gate, kind: GateKind, now: Moment) -> Watch {
        let mut watch = Watch::new(gate, kind, now);
        if let Some(latest) = &self.latest {
            watch = watch.counting_from(latest.at);
            let env = Readings { metrics: &latest.metrics, plan: &self.plan, outputs: &self.outputs };
            watch.observe(latest.at, latest.number, &env);
        }
        watch
    }

    fn decide_when(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        let frame = self.frames.last()?;
        let Phase::When { since } = frame.phase else {
            return None;
        };
        let step = Arc::clone(&frame.step);
        let when = step.when.clone()?;
        let evaluation = self.evaluate(&when);
        let truth = evaluation.truth;
        let late = now.since(since) >= UNKNOWN_PATIENCE;
        if truth == Truth::Unknown && !late && !self.config.dry {
            return Some(Request::Wait {
                until: since.plus(UNKNOWN_PATIENCE),
                live: Live {
                    gate: Some(evaluation),
                    ..self.live(now, Some(format!("`when: {when}` to be known")))
                },
            });
        }
        let runs = match (truth, step.if_unknown) {
            (Truth::True, _) | (Truth::Unknown, IfUnknown::Run) => true,
            (Truth::False, _) | (Truth::Unknown, IfUnknown::Skip) => false,
            (Truth::Unknown, IfUnknown::Stop) => self.config.dry,
        };
        let why = (truth == Truth::Unknown).then(|| match step.if_unknown {
            IfUnknown::Run => "unknown: run all the same (if_unknown: run)".to_owned(),
            IfUnknown::Skip => "unknown: skipped (if_unknown: skip)".to_owned(),
            IfUnknown::Stop => "unknown for 10 s".to_owned(),
        });
        let decision = Decision { gate: GateKind::When, open: runs, evaluation, since, sample: None, why };
        self.verdict(now, decision, events);
        if runs || self.config.dry {
            let phase = self.entry_phase(now, &step);
            self.set_phase(phase);
        } else if truth == Truth::Unknown && step.if_unknown == IfUnknown::Stop {
            self.shut(now, format!("`when: {when}` was unknown for 10 s"), events);
        } else {
            self.finish_frame(now, StepStatus::Skipped { why: format!("`when: {when}` is not so") }, events);
        }
        None
    }

    fn watch_gate(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        let dry = self.config.dry;
        let frame = self.frames.last()?;
        let (Phase::GateBefore(watch) | Phase::GateAfter(watch)) = &frame.phase else {
            return None;
        };
        let state = if dry { GateState::Open } else { watch.state(now) };
        if state == GateState::Waiting {
            // `check` judges the first sample that counts; it is not waited for longer than that.
            let check_failed = watch.kind == GateKind::Check && watch.reads_false();
            if !check_failed {
                return Some(Request::Wait { until: watch.ends(), live: self.live(now, None) });
            }
        }
        let watch = watch.clone();
        let evaluation = watch.last.clone().unwrap_or_else(|| self.evaluate(&watch.gate.until));
        let held = evaluation.truth == Truth::True;
        let open = state == GateState::Open && (!dry || held);
        let why =
            (!open && watch.last.is_none()).then(|| "no sample was taken while it was waited for".to_owned());
        let decision = Decision {
            gate: watch.kind,
            open,
            evaluation,
            since: watch.began,
            sample: watch.last_sample,
            why,
        };
        self.verdict(now, decision, events);
        if state == GateState::Open {
            if watch.kind == GateKind::Before {
                let step = Arc::clone(&self.frames.last()?.step);
                let phase = self.action_phase(now, &step);
                if let Some(frame) = self.frames.last_mut() {
                    frame.progress.began = now;
                    frame.phase = phase;
                }
            } else {
                self.complete(now, events);
            }
        } else {
            let why = match watch.kind {
                GateKind::Check => format!("the check is false: {}", watch.gate.until),
                _ => format!("{} did not hold within {}", watch.gate.until, seconds(watch.gate.within)),
            };
            self.shut(now, why, events);
        }
        None
    }

    /// A ladder between two rungs.
    fn climb(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
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
        if state == GateState::Waiting {
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
            _ => None,
        };
        let decision = Decision {
            gate: GateKind::Ladder,
            open,
            evaluation,
            since: watch.began,
            sample: watch.last_sample,
            why,
        };
        self.verdict(now, decision, events);
        if open {
            if let Some(frame) = self.frames.last_mut() {
                let summary = match rung {
                    Some(rung) => format!("healed by rung {} of {count}", rung + 1),
                    None => "healthy before the first rung".to_owned(),
                };
                let status = if rung.is_some() { Status::Acted } else { Status::NothingToDo };
                frame.done = Some(Done { status, summary, ..Done::default() });
            }
            let status = if rung.is_some() { StepStatus::Done } else { StepStatus::Unneeded };
            self.finish_frame(now, status, events);
            return None;
        }
        let next = rung.map_or(0, |rung| rung + 1);
        if next < count {
            let frame = self.frames.last_mut()?;
            let Body::Ladder(ladder) = &frame.step.body else {
                return None;
            };
            let step = Arc::new(ladder.rungs[next].clone());
            frame.phase = Phase::OnRung { rung: next };
            let depth = self.frames.len();
            self.begin_step(now, step, Some(step_id), events);
            if self.frames.len() == depth {
                self.rung_passed(now); // left out
            }
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

    /// The rung above is over: watch the ladder's gate again.
    fn rung_over(&mut self, now: Moment) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let Phase::OnRung { rung } = frame.phase else {
            return;
        };
        let Body::Ladder(ladder) = &frame.step.body else {
            return;
        };
        frame.phase = Phase::Climbing {
            rung: Some(rung),
            watch: Watch::new(ladder.gate.clone(), GateKind::Ladder, now),
        };
    }

    /// The rung above changed nothing: on to the next at once, with no patience for the gate.
    fn rung_passed(&mut self, now: Moment) {
        self.rung_over(now);
        if let Some(Frame { phase: Phase::Climbing { watch, .. }, .. }) = self.frames.last_mut() {
            watch.gate.within = Duration::ZERO;
        }
    }

    /// The verb has spoken.
    fn decided(&mut self, now: Moment, word: Result<Next, Failure>, events: &mut Vec<Event>) {
        match word {
            Err(failure) => self.action_failed(now, failure, events),
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
            Ok(Next::Wait { awaited, again }) => {
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
                            format!("not seen within the step's {}", seconds(frame.step.timeout)),
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
            Ok(Next::Ask { question, assent }) => self.set_phase(Phase::Asking { question, assent }),
            Ok(Next::Done(done)) => self.action_done(now, done, events),
        }
    }

    fn action_done(&mut self, now: Moment, done: Done, events: &mut Vec<Event>) {
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
        let changed = !frame.progress.made.is_empty();
        frame.done = Some(done);
        let awaited = match &step.body {
            Body::Verb(action) => action.awaits(),
            Body::Ladder(_) => None,
        };
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
            AfterGate::Own(gate) if changed => Some(Watch::new(gate.clone(), GateKind::After, now)),
            AfterGate::Own(gate) => Some(self.fresh_watch(gate.clone(), GateKind::After, now)),
            AfterGate::Default(within) if changed || dry => self.default_gate(*within, now),
            AfterGate::Default(_) | AfterGate::None(_) | AfterGate::NotNeeded => None,
        };
        match watch {
            Some(watch) => self.set_phase(Phase::GateAfter(watch)),
            None => self.complete(now, events),
        }
    }

    /// The gate of a mutating step that sets none: usage known, and not above what it was.
    fn default_gate(&self, within: Duration, now: Moment) -> Option<Watch> {
        let text = if self.config.no_database {
            "live".to_owned()
        } else {
            match self.frames.last().and_then(|frame| frame.before.get(&Metric::Usage)) {
                Some(Value::Ratio(before)) if *before < FULL => {
                    format!("usage <= {:.1}%", (before + SLACK) * 100.0)
                }
                _ => format!("usage < {:.0}%", FULL * 100.0),
            }
        };
        let until = Arc::new(Expr::parse(&text).ok()?);
        let within = if self.config.preboot { within.max(PREBOOT_PATIENCE) } else { within };
        Some(Watch::new(Gate { until, hold: Duration::ZERO, within }, GateKind::Default, now))
    }

    fn performed(&mut self, now: Moment, performance: Performance, events: &mut Vec<Event>) {
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
                        self.action_failed(now, error.fault.into(), events);
                    }
                }
            }
        }
    }

    fn change_done(
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
        let made = Made { change, before, effect, at: now };
        frame.progress.made.push(made.clone());
        frame.phase = Phase::Acting;
        self.made.push(made);
    }

    fn reconciled(&mut self, now: Moment, finding: Result<Reconciled, Fault>, events: &mut Vec<Event>) {
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
            Err(fault) => {
                settled("cannot_tell", Some(fault.to_string()));
                self.doubt(now, &change, &fault.to_string(), events);
            }
        }
    }

    fn doubt(&mut self, now: Moment, change: &Change, why: &str, events: &mut Vec<Event>) {
        let request = change.request(&self.plan.record.target.app);
        let why = format!("it cannot be told whether this happened: {request} ({why})");
        self.finish_all(now, &StepStatus::InDoubt { why: why.clone() }, events);
        self.end(Outcome::InDoubt, Some(why));
    }

    fn answered(&mut self, now: Moment, answer: Option<bool>, by: String, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last_mut() else {
            return;
        };
        let Phase::Asking { question, .. } = &frame.phase else {
            return;
        };
        let question = question.clone();
        if let Some(answer) = answer {
            let step = frame.step.id.clone();
            events.push(Event::Asked { step, question: question.clone(), answer, by });
            frame.progress.answers.insert(question.clone(), answer);
            frame.phase = Phase::Acting;
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

    /// The action failed: try again, pass to the next rung, or end.
    fn action_failed(&mut self, now: Moment, failure: Failure, events: &mut Vec<Event>) {
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
    fn shut(&mut self, now: Moment, why: String, events: &mut Vec<Event>) {
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
    fn close(
        &mut self,
        now: Moment,
        status: StepStatus,
        tolerated: bool,
        outcome: Outcome,
        why: String,
        events: &mut Vec<Event>,
    ) {
        let Some(frame) = self.frames.last() else { return };
        let released = frame
            .progress
            .made
            .iter()
            .any(|made| matches!(made.change, Change::Push { .. } | Change::Promote { .. }));
        let remedy = (frame.step.on_failure == OnFailure::Rollback && released)
            .then(|| frame.step.remedy.clone())
            .flatten();
        self.finish_frame(now, status, events);
        if tolerated {
            self.tally.tolerated += 1;
            return;
        }
        self.end(outcome, Some(why));
        if let Some(remedy) = remedy {
            self.queue.push_back(Arc::new(*remedy));
        }
    }

    /// The step is through, its gate included.
    fn complete(&mut self, now: Moment, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last() else { return };
        let on_ladder = frame.ladder.is_some();
        let changed = !frame.progress.made.is_empty();
        let would = match &frame.step.body {
            Body::Verb(action) => self.config.dry && (action.mutates() || action.awaits().is_some()),
            Body::Ladder(_) => self.config.dry,
        };
        let status = match frame.done.as_ref().map(|done| done.status) {
            _ if would => StepStatus::WouldRun,
            Some(Status::NothingToDo | Status::AlreadySo) => StepStatus::Unneeded,
            _ => StepStatus::Done,
        };
        let nothing = status == StepStatus::Unneeded && !changed;
        self.finish_frame(now, status, events);
        if on_ladder {
            if nothing {
                self.rung_passed(now);
            } else {
                self.rung_over(now);
            }
        }
    }

    /// Pops the top frame and says how it ended.
    fn finish_frame(&mut self, now: Moment, status: StepStatus, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.pop() else { return };
        match &status {
            StepStatus::Done | StepStatus::Unneeded => self.tally.steps_done += 1,
            StepStatus::Skipped { .. } | StepStatus::WouldRun => self.tally.steps_skipped += 1,
            _ => self.tally.steps_failed += 1,
        }
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

    /// Ends the rung and its ladder alike.
    fn finish_all(&mut self, now: Moment, status: &StepStatus, events: &mut Vec<Event>) {
        while !self.frames.is_empty() {
            self.finish_frame(now, status.clone(), events);
        }
    }

    /// Ends the rung above the frame at `index`.
    fn finish_above(&mut self, now: Moment, index: usize, why: &str, events: &mut Vec<Event>) {
        while self.frames.len() > index + 1 {
            self.finish_frame(now, StepStatus::NotHealed { why: why.to_owned() }, events);
        }
    }

    /// The run ends this way; the first reason counts. What is left of the queue is not run.
    fn end(&mut self, outcome: Outcome, why: Option<String>) {
        if self.ending.is_none() {
            self.ending = Some(Ending { outcome, why });
        }
        if self.stage == Stage::Main {
            self.queue.clear();
        }
    }

    fn set_phase(&mut self, phase: Phase) {
        if let Some(frame) = self.frames.last_mut() {
            frame.phase = phase;
        }
    }

    fn measurements(&self) -> Measurements {
        self.latest.as_ref().map(|latest| latest.metrics.clone()).unwrap_or_default()
    }

    fn evaluate(&self, expr: &Expr) -> Evaluation {
        let metrics = self.measurements();
        expr.evaluate(&Readings { metrics: &metrics, plan: &self.plan, outputs: &self.outputs })
    }

    /// What the display shows of the frame in hand.
    fn live(&self, now: Moment, awaited: Option<String>) -> Live {
        let Some(frame) = self.frames.last() else {
            return Live::default();
        };
        let mut live = Live { step: frame.step.id.clone(), awaited, ..Live::default() };
        if let Phase::GateBefore(watch) | Phase::GateAfter(watch) | Phase::Climbing { watch, .. } =
            &frame.phase
        {
            live.gate.clone_from(&watch.last);
            live.held = watch.held(now);
            live.hold = watch.gate.hold;
            live.left = watch.gate.within.saturating_sub(now.since(watch.began));
        }
        live
    }

    fn verdict(&self, now: Moment, decision: Decision, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last() else { return };
        events.push(Event::Verdict {
            step: frame.step.id.clone(),
            gate: decision.gate,
            open: decision.open,
            evaluation: decision.evaluation,
            sample: decision.sample.or_else(|| self.latest.as_ref().map(|latest| latest.number)),
            waited_ms: millis(now.since(decision.since)),
            why: decision.why,
        });
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
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if time.subsec_millis() == 0 { format!("{} s", time.as_secs()) } else { format!("{seconds:.1} s") }
}
