//! The machine in any world: samples, failures, lost answers, doubts, refusals and interruptions as they come. Whatever
//! happens, nothing is done without an intention, nothing in doubt is repeated, no shut gate is passed, and there is
//! exactly one end.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use runbook::action::{Answer, Done, Failure, Next, Progress, Question, Status};
use runbook::engine::{
    Clearance, Config, Event, GateKind, Input, Machine, Outcome, Performance, Request, StepStatus,
};
use runbook::expr::Truth;
use runbook::health::{Metric, Moment, Value};
use runbook::plan::{Plan, PlanRecord, Selection, Target, build};
use runbook::platform::{
    Before, Certainty, Change, ChangeError, DynoScope, Effect, Fault, FaultKind, Reconciled,
};

const HEAD: &str =
    "runbook: 1\nname: t\nsummary: t\nhealth:\n  healthy: usage < 40% and refused == 0 and live\n";

/// Runbooks with every part of the language that the machine knows.
const RUNBOOKS: [&str; 6] = [
    "steps:\n  - id: a\n    restart: all\n  - id: b\n    restart: { dynos: web, force: true }\n    gate: { until: usage < 40%, for: 2s, within: 20s }\n",
    "steps:\n  - id: a\n    when: usage >= 80%\n    if_unknown: skip\n    restart: all\n    retry: { times: 2, delay: 1s }\n    on_failure: continue\n  - id: w\n    wait: { until: healthy, for: 3s, within: 15s }\n  - id: z\n    always: true\n    diagnose:\n",
    "deadline: 40s\nsteps:\n  - id: climb\n    abort_when: usage >= 100%\n    ladder:\n      until: healthy\n      for: 3s\n      within: 10s\n      rungs:\n        - id: r1\n          kill_idle: { idle: 60s }\n        - id: r2\n          restart: { dynos: all, force: true }\n        - id: r3\n          scale: { type: web, to: 1 }\n  - id: after\n    restart: all\n    gate: { none: a test }\n  - id: end\n    always: true\n    restart: all\n    gate: { none: a test }\n",
    "steps:\n  - id: ask\n    confirm: go on?\n  - id: c\n    check: usage < 90%\n  - id: a\n    gate: { before: { until: live, within: 5s }, after: { until: live, for: 2s, within: 9s } }\n    restart: all\n",
    "steps:\n  - id: ship\n    deploy: { add: [a], message: m, branch: master }\n    gate: { until: live, for: 2s, within: 10s }\n    on_failure: rollback\n    timeout: 20s\n  - id: later\n    restart: all\n",
    "steps:\n  - id: many\n    for_each: [web, worker]\n    restart: ${{ item }}\n    gate: { none: a test }\n  - id: seen\n    when: steps.many-1.replaced > 0\n    diagnose:\n",
];

fn plan(text: &str) -> Plan {
    build(PlanRecord {
        tool: "test".into(),
        runbook: "t".into(),
        source: "t.yaml".into(),
        text: format!("{HEAD}{text}"),
        inputs: BTreeMap::new(),
        selection: Selection::default(),
        target: Target { app: "app".into(), ..Target::default() },
        ..PlanRecord::default()
    })
    .unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// What happens next, read off a tape of bytes: shrinks to the shortest story that breaks something.
struct Tape {
    bytes: Vec<u8>,
    at: usize,
}

impl Tape {
    fn next(&mut self) -> u8 {
        self.at += 1;
        self.bytes.get(self.at - 1).copied().unwrap_or(0)
    }

    fn sample(&mut self) -> BTreeMap<Metric, Value> {
        let usage = match self.next() % 6 {
            0 | 1 => 0.1,
            2 => 0.5,
            3 => 0.9,
            4 => 1.0,
            _ => return BTreeMap::new(),
        };
        BTreeMap::from([
            (Metric::Usage, Value::Ratio(usage)),
            (Metric::Refused, Value::Count(f64::from(u8::from(usage > 0.99)))),
            (Metric::Live, Value::Truth(!self.next().is_multiple_of(5))),
        ])
    }

    fn decide(&mut self, step: &str, progress: &Progress) -> Result<Next, Failure> {
        let wanted = usize::from(step.starts_with("ship")) + 1;
        let fault = |kind| Err(Failure::from(Fault::new(kind, "a step of the test", "as the tape has it")));
        match self.next() % 12 {
            9 => return fault(FaultKind::Network),
            10 => return fault(FaultKind::Crashed),
            11 => {
                return Ok(Next::Wait {
                    awaited: "the tape".into(),
                    again: std::time::Duration::from_secs(2),
                });
            }
            8 if progress.made.is_empty() => {
                return Ok(Next::Done(Done { status: Status::NothingToDo, ..Done::default() }));
            }
            _ => {}
        }
        if matches!(step, "ask") && progress.answers.is_empty() {
            return Ok(Next::Ask(Question::yes_or_no("go on?")));
        }
        if matches!(step, "ask" | "c" | "w" | "z" | "seen") || progress.made.len() >= wanted {
            return Ok(Next::Done(Done { replaced_all: !progress.made.is_empty(), ..Done::default() }));
        }
        let change = if step.starts_with("ship") && progress.made.is_empty() {
            Change::Push { commit: "c".into(), branch: "master".into() }
        } else {
            Change::Restart { scope: DynoScope::All }
        };
        Ok(Next::Change { change, before: Before::default() })
    }

    fn perform(&mut self, change: &Change) -> Performance {
        let failed = |certainty, settle_ms| {
            let fault = Fault::new(FaultKind::Network, "a request", "as the tape has it");
            Performance::Failed(ChangeError { certainty, fault, settle_ms })
        };
        match self.next() % 8 {
            5 => failed(Certainty::NothingChanged, 0),
            6 => failed(Certainty::InDoubt, 5000),
            7 => failed(Certainty::Partial, 0),
            _ if matches!(change, Change::Push { .. }) => {
                Performance::Done(Effect::Pushed { up_to_date: false })
            }
            _ => Performance::Done(Effect::Accepted),
        }
    }

    fn clear(&mut self) -> Clearance {
        match self.next() % 10 {
            7 => Clearance::Ask("somebody else is at work: go on?".into()),
            8 => Clearance::Refused { outcome: Outcome::Locked, why: "held by another".into() },
            9 => Clearance::Barred("a guardrail forbids it".into()),
            _ => Clearance::Clear,
        }
    }

    fn reconcile(&mut self) -> Result<Reconciled, Fault> {
        match self.next() % 6 {
            5 => Ok(Reconciled::Underway("a build".into())),
            4 => Err(Fault::new(FaultKind::Network, "reading back", "as the tape has it")),
            0 => Ok(Reconciled::Happened(Effect::FoundDone)),
            1 | 2 => Ok(Reconciled::DidNotHappen),
            _ => Ok(Reconciled::CannotTell("the tape does not say".into())),
        }
    }
}

#[derive(Default)]
struct Story {
    events: Vec<Event>,
    /// Index of the event before which each change was performed.
    performed: Vec<usize>,
    seconds: u64,
}

fn tell(text: &str, bytes: Vec<u8>, config: &Config, interrupt_at: Option<u64>) -> Story {
    tell_with_deaths(text, bytes, config, interrupt_at, &[])
}

/// The same, with a process that dies after these numbers of events, each counted from the one before, and a run that
/// is taken up again.
fn tell_with_deaths(
    text: &str,
    bytes: Vec<u8>,
    config: &Config,
    interrupt_at: Option<u64>,
    deaths: &[usize],
) -> Story {
    let mut tape = Tape { bytes, at: 0 };
    let dry = config.dry;
    let plan = Arc::new(plan(text));
    let mut machine = Machine::new(Arc::clone(&plan), config.clone());
    let mut story = Story::default();
    let mut history: Vec<(Moment, Event)> = Vec::new();
    let (mut now, mut number, mut input) = (0_u64, 0_u64, Input::Begin);
    let mut interrupted = false;
    let mut deaths = deaths.iter();
    let mut dies_at = deaths.next().copied();
    for _ in 0..5_000 {
        if !interrupted && interrupt_at.is_some_and(|at| now >= at * 1000) {
            interrupted = true;
            machine.interrupt();
        }
        while number * 1000 <= now {
            let metrics = tape.sample();
            number += 1;
            machine.observe(number, Moment((number - 1) * 1000), &metrics);
        }
        let next = machine.advance(Moment(now), input);
        let mut dead = false;
        for event in next.events {
            dead = dies_at.is_some_and(|at| story.events.len() >= at);
            if dead {
                break;
            }
            history.push((Moment(now), event.clone()));
            story.events.push(event);
        }
        if dead {
            dies_at = deaths.next().map(|more| story.events.len() + more);
            now += 700;
            machine = match Machine::resume(Arc::clone(&plan), config.clone(), &history) {
                Ok(machine) => machine,
                Err(why) => panic!("{why}: {:?}", story.events),
            };
            let standing = machine.standing();
            let resumed = Event::Resumed {
                account: None,
                plan: plan.id.clone(),
                record: None,
                by: "t".into(),
                at: standing.at,
                in_doubt: standing.in_doubt,
                again: standing.again,
            };
            history.push((Moment(now), resumed.clone()));
            story.events.push(resumed);
            input = Input::Begin;
            continue;
        }
        input = match next.request {
            Request::Finish => {
                story.seconds = now / 1000;
                return story;
            }
            Request::Decide { step, progress } => Input::Decided(tape.decide(&step, &progress)),
            Request::Perform { .. } if dry => Input::Performed(Performance::WouldRun),
            Request::Perform { change, .. } => {
                story.performed.push(story.events.len());
                now += 300;
                Input::Performed(tape.perform(&change))
            }
            Request::Clear { .. } => Input::Cleared(tape.clear()),
            Request::Reconcile { .. } => Input::Reconciled(tape.reconcile()),
            Request::Wait { until, .. } => {
                now = until.0.min(number * 1000).max(now + 1);
                Input::Tick
            }
            Request::Ask { .. } => {
                let answer = match tape.next() % 4 {
                    0 => Some(Answer::Said(false)),
                    1 => None,
                    _ => Some(Answer::Said(true)),
                };
                Input::Answered { answer, by: "tape".into() }
            }
        };
    }
    panic!("no end: {:?}", story.events.last());
}

/// What must be so in every story.
fn check(text: &str, story: &Story) {
    let plan = plan(text);
    let events = &story.events;
    let ends = events.iter().filter(|event| matches!(event, Event::RunFinished { .. })).count();
    assert_eq!(ends, 1, "exactly one end");
    let Some(Event::RunFinished { outcome, exit_code, tally, .. }) = events.last() else {
        panic!("the end is last: {:?}", events.last());
    };
    assert_eq!(*exit_code, outcome.exit_code());

    // Nothing is done without an intention of its own, written down right before.
    let intended: Vec<usize> = events
        .iter()
        .enumerate()
        .filter(|(_, event)| matches!(event, Event::Intended { .. }))
        .map(|(index, _)| index + 1)
        .collect();
    assert_eq!(intended, story.performed, "each change follows its intention");

    let mut nonces = BTreeSet::new();
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    let mut done = 0;
    let mut unsettled = BTreeSet::new();
    let mut over = false;
    let mut running: Vec<&str> = Vec::new();
    for event in events {
        match event {
            Event::Intended { step, nonce, .. } => {
                assert!(nonces.insert(nonce.clone()), "an attempt has a nonce of its own");
                assert!(!open.contains_key(step), "{step} has a change in doubt or in hand");
                open.insert(step.clone(), nonce.clone());
            }
            Event::Done { step, nonce, .. } => {
                assert_eq!(open.remove(step).as_ref(), Some(nonce), "what is done was intended");
                done += 1;
            }
            Event::ChangeFailed { step, error, .. } if error.certainty != Certainty::InDoubt => {
                open.remove(step);
            }
            Event::Settled { step, nonce, finding, .. } => match finding.as_str() {
                "did_not_happen" => {
                    unsettled.remove(nonce);
                    open.remove(step);
                }
                "cannot_tell" => {
                    unsettled.insert(nonce.clone());
                }
                // Read back, or said by a person.
                _ => {
                    unsettled.remove(nonce);
                }
            },
            Event::Verdict { gate, open: true, evaluation, .. }
                if !matches!(gate, GateKind::Abort | GateKind::When) =>
            {
                assert_eq!(evaluation.truth, Truth::True, "unknown and false open nothing");
            }
            Event::StepStarted { step, ladder, .. } => {
                if over && ladder.is_none() {
                    let always = plan.steps.iter().any(|known| known.always && known.id == *step);
                    assert!(always || step.ends_with("-rollback"), "{step} ran after the run was over");
                }
                running.push(step);
            }
            Event::StepFinished { step, status, .. } => {
                assert_eq!(running.pop(), Some(step.as_str()), "steps end in the order they began");
                let top = running.is_empty();
                over |= top
                    && matches!(
                        status,
                        StepStatus::Failed { tolerated: false, .. }
                            | StepStatus::GateShut { tolerated: false, .. }
                            | StepStatus::Declined { .. }
                            | StepStatus::InDoubt { .. }
                            | StepStatus::Held { .. }
                            | StepStatus::Interrupted
                    );
            }
            _ => {}
        }
    }
    assert!(running.is_empty(), "every step that began has ended");
    assert_eq!(done, tally.changes, "changes are counted");
    assert!(unsettled.is_empty() || *outcome != Outcome::Done, "what cannot be told is not called done");
    let between_steps = *outcome == Outcome::Interrupted;
    assert!(over == (*outcome != Outcome::Done) || between_steps, "{outcome:?} says what happened");
    assert!(story.seconds < 3_600, "patience is bounded: {} s", story.seconds);
}

/// A story in few words, for whoever must find out what went wrong.
fn brief(events: &[Event]) -> String {
    let told = events.iter().map(|event| match event {
        Event::StepStarted { step, .. } => format!("began {step}"),
        Event::Intended { step, .. } => format!("  intended by {step}"),
        Event::Done { step, .. } => format!("  done by {step}"),
        Event::ChangeFailed { step, error, .. } => format!("  failed in {step}: {:?}", error.certainty),
        Event::Settled { step, finding, .. } => format!("  settled in {step}: {finding}"),
        Event::StepFinished { step, status, .. } => {
            format!("ended {step}: {}", format!("{status:?}").chars().take(40).collect::<String>())
        }
        Event::Resumed { at, again, .. } => format!("-- died, resumed at {at:?}, anew {again:?}"),
        Event::RunFinished { outcome, .. } => format!("the end: {outcome:?}"),
        Event::Verdict { step, gate, open, .. } => format!("  {gate:?} of {step}: {open}"),
        other => format!("  {}", format!("{other:?}").chars().take(60).collect::<String>()),
    });
    told.collect::<Vec<_>>().join("\n")
}

/// What must be so in a story with deaths in it.
fn check_parts(text: &str, story: &Story) {
    let events = &story.events;
    let mut nonces = BTreeSet::new();
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    let mut done = 0;
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Intended { step, nonce, .. } => {
                assert!(
                    nonces.insert(nonce.clone()),
                    "an attempt has a nonce of its own, also after a death"
                );
                assert!(!open.contains_key(step), "{step} has a change in doubt:\n{}", brief(events));
                open.insert(step.clone(), nonce.clone());
            }
            Event::Done { step, nonce, .. } => {
                assert_eq!(
                    open.remove(step).as_ref(),
                    Some(nonce),
                    "what is done was intended:\n{}",
                    brief(events)
                );
                done += 1;
            }
            Event::ChangeFailed { step, error, .. } if error.certainty != Certainty::InDoubt => {
                open.remove(step);
            }
            Event::Settled { step, finding, .. } if finding == "did_not_happen" => {
                open.remove(step);
            }
            Event::RunFinished { .. } => assert_eq!(index + 1, events.len(), "one end, and it is last"),
            _ => {}
        }
    }
    let Some(Event::RunFinished { outcome, tally, .. }) = events.last() else {
        panic!("it comes to an end: {:?}", events.last());
    };
    assert_eq!(tally.changes, done, "changes are counted, those before a death too");
    if *outcome == Outcome::Done {
        let plan = plan(text);
        for step in plan.steps {
            let ended = events
                .iter()
                .any(|event| matches!(event, Event::StepFinished { step: id, .. } if *id == step.id));
            assert!(ended, "{} is over, since the run is done:\n{}", step.id, brief(events));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_world(
        which in 0..RUNBOOKS.len(),
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        stepwise in any::<bool>(),
        preboot in any::<bool>(),
        interrupt_at in proptest::option::of(0_u64..60),
    ) {
        let config = Config { run: "r".into(), stepwise, preboot, ..Config::default() };
        check(RUNBOOKS[which], &tell(RUNBOOKS[which], bytes, &config, interrupt_at));
    }

    #[test]
    fn whoever_dies_and_wherever_nothing_is_done_twice_and_the_run_comes_to_its_end(
        which in 0..RUNBOOKS.len(),
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
        preboot in any::<bool>(),
        interrupt_at in proptest::option::of(0_u64..60),
        deaths in proptest::collection::vec(0_usize..14, 1..4),
    ) {
        let config = Config { run: "r".into(), preboot, ..Config::default() };
        let story = tell_with_deaths(RUNBOOKS[which], bytes, &config, interrupt_at, &deaths);
        check_parts(RUNBOOKS[which], &story);
    }

    #[test]
    fn a_dry_run_changes_nothing_and_is_done_in_any_world(
        which in 0..RUNBOOKS.len(),
        bytes in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let config = Config { run: "r".into(), dry: true, ..Config::default() };
        let story = tell(RUNBOOKS[which], bytes, &config, None);
        prop_assert!(story.performed.is_empty());
        let intends = story.events.iter().any(|event| matches!(event, Event::Intended { .. }));
        prop_assert!(!intends);
        let Some(Event::RunFinished { outcome, .. }) = story.events.last() else {
            panic!("the end is last");
        };
        prop_assert_eq!(*outcome, Outcome::Done);
        prop_assert!(story.seconds <= 1, "{} s", story.seconds);
    }
}
