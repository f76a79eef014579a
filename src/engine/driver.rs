//! The driver: carries out what the machine asks for, with threads and blocking calls, and writes down what happened.
//!
//! It decides nothing. Everything that happens enters through one channel, in one order; an intention is on disk before
//! its change is performed, and a change in flight is never cut.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::awake::Awake;
use super::event::{Event, Measurements};
use super::machine::Machine;
use super::request::{Clearance, Input, Live, Performance, Request};
use crate::action::{Action, Answer, Bindings, Failure, Made, Question, Scene};
use crate::health::{DatabaseReading, Metric, Moment, Sample, Series, Value};
use crate::plan::{Body, Plan, Step};
use crate::platform::{
    Actuator, Before, Change, ChangeError, DatabaseReads, Fault, FaultKind, Observer, reconcile,
};

/// How often what stands beside a question is brought up to date.
const BESIDE: Duration = Duration::from_millis(500);
/// The shortest that is waited for.
const MOMENT: Duration = Duration::from_millis(1);
/// How long a request may still land whose sender has gone: an HTTP change's own timeout.
const SETTLE_MS: u64 = 30_000;

/// What reaches the driver from its surroundings.
#[derive(Debug)]
pub enum Incoming {
    /// The sampler's.
    Sample(Box<Sample>),
    /// A signal, by name.
    Signal(&'static str),
    /// A line of output of the change in flight.
    Line(String),
    /// The change in flight has ended.
    Performed(Performance),
    /// Something a person should know.
    Notice(String),
    /// The run's thread has begun at one of those who are told of it.
    Notified {
        /// The variable that names the sink's secret.
        sink: String,
        /// The thread.
        thread: String,
    },
    /// The question that was asked is answered, or not, and by whom.
    Replied(Reply, String),
}

/// Writes events down. An error means that nothing more may be done.
pub trait Record {
    /// Appends one event; durable when it returns, for the events that must be.
    ///
    /// # Errors
    /// The event is not safely on disk.
    fn append(&mut self, event: &Event) -> Result<Stamp, Fault>;
}

/// When and as what an event was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Counts from 1 in the run.
    pub seq: u64,
    /// Wall clock.
    pub at: jiff::Timestamp,
    /// The run's id; `None` before there is one, and in a dry run.
    pub run: Option<String>,
    /// The head of the journal's chain once it was written, whole; `None` when it was not.
    pub head: Option<String>,
}

/// Listens to a run: a terminal, a log, a stream of JSON.
pub trait Listener {
    /// Something happened.
    fn event(&mut self, stamp: &Stamp, event: &Event);
    /// What is awaited now and how it reads; not durable.
    fn live(&mut self, live: &Live, metrics: &Measurements) {
        let _ = (live, metrics);
    }
    /// Shows what it still holds back, within a moment: a question is about to be asked.
    fn flush(&mut self) {}
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// An answer.
    Answer(Answer),
    /// Nobody can be asked.
    Nobody,
    /// It was taken back before anybody answered.
    Withdrawn,
}

/// A question that is being asked: what stands beside it, and whether it still stands.
#[derive(Debug, Default)]
pub struct Asking {
    withdrawn: AtomicBool,
    beside: Mutex<Beside>,
}

/// What a person may want to know while they are asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    /// What is left of the time for an answer; `None` = there is no end.
    pub left: Option<Duration>,
    /// Measured now.
    pub metrics: Measurements,
}

impl Asking {
    /// Nobody needs to answer any more.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Relaxed)
    }

    /// What stands beside it now.
    pub fn beside(&self) -> Beside {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Relaxed);
    }

    fn set(&self, left: Option<Duration>, metrics: &Measurements) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        *beside = Beside { left, metrics: metrics.clone() };
    }
}

/// A change that is wanted, before it is intended.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The step.
    pub step: &'a str,
    /// The change.
    pub change: &'a Change,
    /// The world before it.
    pub before: &'a Before,
    /// Every change that the run has made, oldest first.
    pub made: &'a [Made],
    /// Now.
    pub now: Moment,
}

/// Stands between a wanted change and its intention: the lock, guardrails, what others have done meanwhile.
pub trait Guard {
    /// Whether the change may be made now. Reads only, and bounded: a cure must not wait for it.
    fn clear(&mut self, wanted: &Wanted<'_>) -> Clearance;

    /// What the person should know of what was looked at, once.
    fn notices(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// A person agreed to what the last [`Clearance::Ask`] was about; `made` changes have been made so far.
    fn agreed(&mut self, made: usize) {
        let _ = made;
    }
}

/// Several guards, asked in order; the first that is not clear is the answer.
#[derive(Default)]
pub struct Guards(pub Vec<Box<dyn Guard>>);

impl Guard for Guards {
    fn clear(&mut self, wanted: &Wanted<'_>) -> Clearance {
        let mut told = self.0.iter_mut().map(|guard| guard.clear(wanted));
        told.find(|clearance| *clearance != Clearance::Clear).unwrap_or(Clearance::Clear)
    }

    fn notices(&mut self) -> Vec<String> {
        self.0.iter_mut().flat_map(|guard| guard.notices()).collect()
    }

    fn agreed(&mut self, made: usize) {
        for guard in &mut self.0 {
            guard.agreed(made);
        }
    }
}

/// Asks a person.
pub trait Prompt: Sync {
    /// Whether a person is going to be asked this, and the run will wait for them.
    fn asks(&self, question: &Question) -> bool;

    /// The reply, and who gave it: `person`, `--yes`; when nobody did, why. Called on a thread of its own; it looks at
    /// `asking` a few times a second and returns soon after the question was withdrawn.
    fn ask(&self, question: &Question, asking: &Asking) -> (Reply, String);
}

/// How changes are performed. `Live` owns the actuator; a dry run owns nothing that could change anything.
pub trait Mode: Send + Sync {
    /// Performs one change, or says that it would.
    fn perform(&self, change: &Change, timeout: Duration, lines: &(dyn Fn(&str) + Sync)) -> Performance;
}

/// A real run.
pub struct LiveRun(Actuator);

impl LiveRun {
    /// A run that may change things.
    pub const fn new(actuator: Actuator) -> Self {
        Self(actuator)
    }
}

impl Mode for LiveRun {
    fn perform(&self, change: &Change, timeout: Duration, lines: &(dyn Fn(&str) + Sync)) -> Performance {
        match self.0.perform(change, timeout, lines) {
            Ok(effect) => Performance::Done(effect),
            Err(error) => Performance::Failed(error),
        }
    }
}

/// A dry run: it holds no write authority, so it can only answer that a change would be made.
#[derive(Debug, Clone, Copy)]
pub struct DryRun;

impl Mode for DryRun {
    fn perform(&self, _: &Change, _: Duration, _: &(dyn Fn(&str) + Sync)) -> Performance {
        Performance::WouldRun
    }
}

/// Everything a run is carried out with.
pub struct Driver<'a> {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Reads.
    pub observer: Observer,
    /// How changes are performed.
    pub mode: &'a dyn Mode,
    /// Writes events down.
    pub record: &'a mut dyn Record,
    /// Listens.
    pub listener: &'a mut dyn Listener,
    /// Asks.
    pub prompt: &'a dyn Prompt,
    /// Says whether a change may be made.
    pub guard: &'a mut dyn Guard,
    /// The window of samples.
    pub series: Series,
    /// The one channel of inputs.
    pub inbox: Receiver<Incoming>,
    /// Its other end, for the change in flight.
    pub outbox: Sender<Incoming>,
    /// The run's id; `None` in a dry run.
    pub run_id: Option<String>,
    /// A person may be asked.
    pub interactive: bool,
    /// The latest sample's metrics.
    pub latest: Measurements,
    /// A change was begun.
    pub acted: bool,
}

impl Driver<'_> {
    /// Runs the machine to its end.
    ///
    /// # Errors
    /// When an event could not be written: nothing was done after that.
    pub fn run(&mut self, machine: &mut Machine) -> Result<(), Fault> {
        let mut input = Input::Begin;
        let mut awake = Awake::default();
        loop {
            self.drain(machine)?;
            if let Some(why) = awake.look(self.observer.clock().wall(), self.plan.every) {
                machine.stop(why.clone());
                self.write(Event::Notice { text: why })?;
            }
            let replaced = machine.facts().replaced.clone();
            let next = machine.advance(self.observer.clock().now(), input);
            for event in next.events {
                self.write(self.finishing_touch(event))?;
            }
            if machine.facts().replaced != replaced {
                // The slope across a restart says nothing about the app that now runs.
                self.series.reset_window();
            }
            input = match next.request {
                Request::Finish => return Ok(()),
                Request::Decide { step, progress } => Input::Decided(self.decide(machine, &step, &progress)),
                Request::Perform { step, change, timeout } => {
                    let performed = self.perform(machine, &step, &change, timeout)?;
                    // Long, and not asleep: samples were taken in all the while.
                    awake.forget();
                    if matches!(change, Change::Kill { .. }) {
                        self.series.reset_slope(self.observer.clock().now());
                    }
                    Input::Performed(performed)
                }
                Request::Clear { step, change, before } => {
                    let now = self.observer.clock().now();
                    let (step, made) = (step.as_str(), machine.made());
                    let wanted = Wanted { step, change: &change, before: &before, made, now };
                    let clearance = self.guard.clear(&wanted);
                    for text in self.guard.notices() {
                        self.write(Event::Notice { text })?;
                    }
                    Input::Cleared(clearance)
                }
                Request::Reconcile { change, before, settled } => {
                    Input::Reconciled(reconcile(&change, &before, settled, &self.observer))
                }
                Request::Wait { until, live } => {
                    self.listener.live(&live, &self.latest);
                    let now = self.observer.clock().now();
                    match self.inbox.recv_timeout(until.since(now)) {
                        Ok(incoming) => self.take(machine, incoming)?,
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => self.observer.clock().sleep(until.since(now)),
                    }
                    Input::Tick
                }
                Request::Ask { step, question, until } => {
                    let answered = self.ask(machine, &step, &question, until)?;
                    awake.forget();
                    answered
                }
            };
        }
    }

    /// Asks on a thread of its own, so that samples go on, and signals and deadlines end it.
    fn ask(
        &mut self,
        machine: &mut Machine,
        step: &str,
        question: &Question,
        until: Option<Moment>,
    ) -> Result<Input, Fault> {
        let prompt = self.prompt;
        if prompt.asks(question) {
            self.write(Event::Asking {
                step: step.to_owned(),
                question: question.text.clone(),
                lines: question.lines.clone(),
                takes: question.takes.words(),
                within_ms: question
                    .within
                    .map(|within| u64::try_from(within.as_millis()).unwrap_or(u64::MAX)),
                otherwise: question.otherwise.clone(),
            })?;
        }
        self.listener.flush();
        let asking = Asking::default();
        let outbox = self.outbox.clone();
        let mut failed = None;
        let (reply, by) = std::thread::scope(|scope| {
            let asked = &asking;
            scope.spawn(move || {
                let asked = catch_unwind(AssertUnwindSafe(|| prompt.ask(question, asked)));
                let (reply, by) = asked
                    .unwrap_or_else(|_| (Reply::Nobody, "the tool itself failed while asking".to_owned()));
                let _ = outbox.send(Incoming::Replied(reply, by));
            });
            loop {
                let now = self.observer.clock().now();
                let left = until.map(|until| until.since(now));
                asking.set(left, &self.latest);
                if failed.is_some() || left.is_some_and(|left| left.is_zero()) || machine.gives_up(now) {
                    asking.withdraw();
                }
                match self.inbox.recv_timeout(left.map_or(BESIDE, |left| left.clamp(MOMENT, BESIDE))) {
                    Ok(Incoming::Replied(reply, by)) => return (reply, by),
                    Ok(incoming) => {
                        if let Err(fault) = self.take(machine, incoming) {
                            failed.get_or_insert(fault);
                        }
                    }
                    Err(_) => {}
                }
            }
        });
        if let Some(fault) = failed {
            return Err(fault);
        }
        let now = self.observer.clock().now();
        let answer = match reply {
            Reply::Answer(answer) => Some(answer),
            Reply::Nobody => None,
            Reply::Withdrawn if machine.gives_up(now) => return Ok(Input::Tick),
            Reply::Withdrawn if until.is_some_and(|until| now >= until) => {
                return Ok(Input::Answered { answer: None, by: "nobody answered in time".to_owned() });
            }
            Reply::Withdrawn => return Ok(Input::Tick),
        };
        if answer == Some(Answer::Said(true)) {
            self.guard.agreed(machine.made().len());
        }
        Ok(Input::Answered { answer, by })
    }

    /// Takes in whatever has arrived, without waiting.
    fn drain(&mut self, machine: &mut Machine) -> Result<(), Fault> {
        while let Ok(incoming) = self.inbox.try_recv() {
            self.take(machine, incoming)?;
        }
        Ok(())
    }

    fn take(&mut self, machine: &mut Machine, incoming: Incoming) -> Result<(), Fault> {
        match incoming {
            Incoming::Sample(sample) => self.sampled(machine, *sample),
            Incoming::Signal(signal) => {
                machine.interrupt();
                self.write(Event::Interrupted { signal: signal.to_owned() })
            }
            Incoming::Line(line) => {
                let step = machine.current_step().unwrap_or_default().to_owned();
                self.write(Event::Output { step, line })
            }
            Incoming::Notice(text) => self.write(Event::Notice { text }),
            Incoming::Notified { sink, thread } => self.write(Event::Notified { sink, thread }),
            Incoming::Performed(_) | Incoming::Replied(..) => Ok(()),
        }
    }

    /// Takes in one sample: derives its metrics, shows it to the machine, writes it down.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn sampled(&mut self, machine: &mut Machine, sample: Sample) -> Result<(), Fault> {
        let measured = self.series.push(sample);
        machine.observe(measured.sample.number, measured.sample.at, &measured.metrics);
        self.latest.clone_from(&measured.metrics);
        let usage = match measured.metrics.get(&Metric::Usage) {
            Some(Value::Ratio(usage)) => Some(*usage),
            _ => None,
        };
        let anew = matches!(&measured.sample.database, DatabaseReading::Measured(read) if read.reconnected);
        self.write(Event::Sample { sample: Box::new(measured.sample), metrics: measured.metrics, usage })?;
        if anew {
            let text = "the database connection was lost, and is made anew".to_owned();
            self.write(Event::Notice { text })?;
        }
        Ok(())
    }

    /// Writes an event down and tells it.
    ///
    /// # Errors
    /// When it could not be written.
    #[expect(clippy::needless_pass_by_value, reason = "events are made to be written: one owner")]
    pub fn write(&mut self, event: Event) -> Result<(), Fault> {
        match self.record.append(&event) {
            Ok(stamp) => {
                self.listener.event(&stamp, &event);
                Ok(())
            }
            Err(fault) => {
                // What has happened is said even when it cannot be written down. An intention has not happened.
                if !matches!(event, Event::Intended { .. }) {
                    let at = self.observer.clock().wall();
                    self.listener.event(&Stamp { seq: 0, at, run: self.run_id.clone(), head: None }, &event);
                }
                Err(fault)
            }
        }
    }

    /// The counts that the machine cannot know.
    pub fn finishing_touch(&self, mut event: Event) -> Event {
        if let Event::RunFinished { tally, .. } = &mut event {
            tally.api_calls = self.observer.heroku().calls();
            tally.database_logins = self.observer.database().map_or(0, DatabaseReads::logins);
        }
        event
    }

    fn decide(
        &self,
        machine: &Machine,
        step: &str,
        progress: &crate::action::Progress,
    ) -> Result<crate::action::Next, Failure> {
        let Some((action, bindings)) = action_of(&self.plan, step) else {
            return Err(
                Fault::new(FaultKind::Missing, format!("step {step}"), "the plan has no such step").into()
            );
        };
        let scene = Scene {
            observer: &self.observer,
            app: &self.plan.record.target.app,
            run: machine.facts(),
            planned: &[],
            metrics: &self.latest,
            series: &self.series,
            outputs: machine.outputs(),
            bindings,
            now: self.observer.clock().now(),
            counts_from: machine.counts_from(),
            dry: self.run_id.is_none(),
            interactive: self.interactive,
        };
        action.next(&scene, progress)
    }

    /// Performs a change on a thread of its own, so that samples go on; it is never cut.
    fn perform(
        &mut self,
        machine: &mut Machine,
        step: &str,
        change: &Change,
        timeout: Duration,
    ) -> Result<Performance, Fault> {
        self.acted = true;
        let mode = self.mode;
        let outbox = self.outbox.clone();
        let mut failed = None;
        let performance = std::thread::scope(|scope| {
            scope.spawn(move || {
                let lines = |line: &str| {
                    let _ = outbox.send(Incoming::Line(line.to_owned()));
                };
                // A fault of our own in there must not leave the run waiting for ever.
                let performed = catch_unwind(AssertUnwindSafe(|| mode.perform(change, timeout, &lines)));
                let performance =
                    performed.unwrap_or_else(|_| lost("the tool itself failed while performing it"));
                let _ = outbox.send(Incoming::Performed(performance));
            });
            let request = change.request(&self.plan.record.target.app);
            let awaited = Some(format!("this to end: {request}"));
            let live = Live { step: step.to_owned(), awaited, ..Live::default() };
            loop {
                self.listener.live(&live, &self.latest);
                match self.inbox.recv() {
                    Ok(Incoming::Performed(performance)) => return performance,
                    Ok(incoming) => {
                        if let Err(fault) = self.take(machine, incoming) {
                            failed.get_or_insert(fault);
                        }
                    }
                    Err(_) => return lost("its result did not come back"),
                }
            }
        });
        let Some(fault) = failed else { return Ok(performance) };
        let ended = match &performance {
            Performance::Done(_) => "it was made".to_owned(),
            Performance::Failed(error) => format!("it failed: {error}"),
            Performance::WouldRun => "it was not made".to_owned(),
        };
        let request = change.request(&self.plan.record.target.app);
        Err(fault.hint(format!("in hand meanwhile, its intention written down: {request}; {ended}")))
    }
}

/// A change whose result is not known: the machine reads it back.
fn lost(why: &str) -> Performance {
    Performance::Failed(ChangeError::in_doubt(
        Fault::new(FaultKind::Broken, "performing a change", why),
        SETTLE_MS,
    ))
}

/// The verb of a step, rungs and remedies included.
pub fn action_of<'p>(plan: &'p Plan, id: &str) -> Option<(&'p dyn Action, &'p Bindings)> {
    fn find<'p>(
        steps: &mut dyn Iterator<Item = &'p Step>,
        id: &str,
    ) -> Option<(&'p dyn Action, &'p Bindings)> {
        for step in steps {
            match &step.body {
                Body::Verb(action) if step.id == id => return Some((&**action, &*step.bindings)),
                Body::Ladder(ladder) => {
                    if let Some(action) = find(&mut ladder.rungs.iter(), id) {
                        return Some(action);
                    }
                }
                Body::Verb(_) => {}
            }
            if let Some(remedy) = &step.remedy
                && let Some(action) = find(&mut std::iter::once(&**remedy), id)
            {
                return Some(action);
            }
        }
        None
    }
    find(&mut plan.steps.iter(), id)
}
