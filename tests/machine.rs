//! The machine as a table of situations: a simulated world answers its requests, time is a number, nothing sleeps.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use runbook::action::{Answer, Deed, Done, Failure, Next, Progress, Question, Status, Takes};
use runbook::engine::{
    Clearance, Config, Event, GateKind, Input, Machine, Outcome, Performance, Request, StepStatus,
};
use runbook::health::{Metric, Moment, Value};
use runbook::plan::{Plan, PlanRecord, Selection, Target, build};
use runbook::platform::{
    Before, Certainty, Change, ChangeError, DynoScope, Effect, Fault, FaultKind, KillRule, Reconciled,
};

type Sampled = BTreeMap<Metric, Value>;
type Read<'w> = Box<dyn Fn(&World<'_>, u64) -> Sampled + 'w>;
type Decide<'w> = Box<dyn FnMut(&str, &Progress) -> Option<Result<Next, Failure>> + 'w>;
type Answering<'w, T> = Box<dyn FnMut() -> T + 'w>;

/// A world: what each sample reads, and how requests are answered.
struct World<'w> {
    sample: Read<'w>,
    perform: Box<dyn FnMut(&Change) -> Performance + 'w>,
    reconcile: Answering<'w, Result<Reconciled, Fault>>,
    clear: Box<dyn FnMut(&str) -> Clearance + 'w>,
    /// Seconds of the changes performed.
    changed_at: Vec<u64>,
    interrupt_at: Option<u64>,
    config: Config,
    /// What a verb says instead of what the table has it say.
    decide: Decide<'w>,
    /// What a person answers.
    answer: Option<Answer>,
}

struct Told {
    events: Vec<Event>,
    changes: usize,
    intended: usize,
    seconds: u64,
}

impl Told {
    fn outcome(&self) -> Outcome {
        match self.events.last() {
            Some(Event::RunFinished { outcome, .. }) => *outcome,
            other => panic!("the last event ends the run: {other:?}"),
        }
    }

    fn status(&self, wanted: &str) -> Option<&StepStatus> {
        self.events.iter().find_map(|event| match event {
            Event::StepFinished { step, status, .. } if step == wanted => Some(status),
            _ => None,
        })
    }
}

fn usage(share: f64) -> Sampled {
    BTreeMap::from([
        (Metric::Usage, Value::Ratio(share)),
        (Metric::Refused, Value::Count(0.0)),
        (Metric::Live, Value::Truth(true)),
        (Metric::PagesOk, Value::Ratio(1.0)),
    ])
}

impl<'w> World<'w> {
    fn at(sample: impl Fn(&World<'_>, u64) -> Sampled + 'w) -> Self {
        Self {
            sample: Box::new(sample),
            perform: Box::new(|_| Performance::Done(Effect::Accepted)),
            reconcile: Box::new(|| Ok(Reconciled::DidNotHappen)),
            clear: Box::new(|_| Clearance::Clear),
            changed_at: Vec::new(),
            interrupt_at: None,
            config: Config { run: "r".into(), ..Config::default() },
            decide: Box::new(|_, _| None),
            answer: Some(Answer::Said(true)),
        }
    }

    fn run(self, steps: &str) -> Told {
        self.run_with("", steps)
    }

    /// With further parts of the runbook before its steps.
    fn run_with(mut self, parts: &str, steps: &str) -> Told {
        let plan = plan(parts, steps);
        let mut machine = Machine::new(Arc::new(plan), self.config.clone());
        let mut told = Told { events: Vec::new(), changes: 0, intended: 0, seconds: 0 };
        let (mut now, mut number, mut input) = (0_u64, 0, Input::Begin);
        for _ in 0..20_000 {
            if self.interrupt_at.is_some_and(|at| now >= at * 1000) {
                machine.interrupt();
            }
            while number * 1000 <= now {
                let metrics = (self.sample)(&self, number);
                number += 1;
                machine.observe(number, Moment((number - 1) * 1000), &metrics);
            }
            let next = machine.advance(Moment(now), input);
            for event in next.events {
                told.intended += usize::from(matches!(event, Event::Intended { .. }));
                told.events.push(event);
            }
            input = match next.request {
                Request::Finish => {
                    told.changes = self.changed_at.len();
                    told.seconds = now / 1000;
                    return told;
                }
                Request::Decide { step, progress } => Input::Decided(
                    (self.decide)(&step, &progress).unwrap_or_else(|| decide(&step, &progress)),
                ),
                Request::Perform { .. } if self.config.dry => Input::Performed(Performance::WouldRun),
                Request::Perform { change, .. } => {
                    assert_eq!(told.intended, self.changed_at.len() + 1, "written down before it is done");
                    now += 100;
                    self.changed_at.push(now / 1000);
                    Input::Performed((self.perform)(&change))
                }
                Request::Clear { step, .. } if step.ends_with("barred") => {
                    Input::Cleared(Clearance::Barred("a guardrail forbids it".into()))
                }
                Request::Clear { step, .. } => Input::Cleared((self.clear)(&step)),
                Request::Reconcile { .. } => Input::Reconciled((self.reconcile)()),
                Request::Wait { until, .. } => {
                    now = until.0.min(number * 1000).max(now + 1);
                    Input::Tick
                }
                Request::Ask { until, .. } => {
                    if let (None, Some(until)) = (&self.answer, until) {
                        now = until.0;
                    }
                    Input::Answered { answer: self.answer.clone(), by: "test".into() }
                }
            };
        }
        panic!("the run does not end: {:?}", told.events.last());
    }
}

/// Verbs of the table: `restart` changes something once, the rest are done at once.
fn decide(step: &str, progress: &Progress) -> Result<Next, Failure> {
    if step.starts_with("fails") {
        return Err(Failure::from(Fault::new(FaultKind::Refused, "a step of the test", "it is to fail")));
    }
    if step.starts_with("nothing") {
        return Ok(Next::Done(Done { status: Status::NothingToDo, ..Done::default() }));
    }
    if step.starts_with("change") && progress.made.is_empty() {
        return Ok(Next::Change {
            change: Change::Restart { scope: DynoScope::All },
            before: Before::default(),
        });
    }
    Ok(Next::Done(Done { status: Status::Acted, ..Done::default() }))
}

fn plan(parts: &str, steps: &str) -> Plan {
    let text = format!(
        "runbook: 1\nname: t\nsummary: t\nhealth:\n  healthy: usage < 40% and refused == 0 and live\n{parts}steps:\n{steps}"
    );
    build(PlanRecord {
        tool: "test".into(),
        runbook: "t".into(),
        source: "t.yaml".into(),
        text,
        inputs: BTreeMap::new(),
        selection: Selection::default(),
        target: Target {
            app: "app".into(),
            app_id: String::new(),
            api_url: String::new(),
            database: Some("u@h/d".into()),
            git_remote: String::new(),
            folder: String::new(),
            pages: Some("http://127.0.0.1".into()),
        },
        ..PlanRecord::default()
    })
    .unwrap_or_else(|faults| panic!("{faults:#?}"))
}

const GATED: &str = "  - id: change\n    restart: all\n    gate: { until: usage < 40%, for: 3s, within: 30s }\n  - id: after\n    diagnose:\n";

#[test]
fn a_gate_opens_the_moment_it_has_held_and_not_before() {
    let told = World::at(|_, second| usage(if second < 10 { 0.9 } else { 0.1 })).run(GATED);
    assert_eq!(told.outcome(), Outcome::Done);
    assert_eq!(told.seconds, 13, "three seconds of it, not thirty");
}

#[test]
fn a_gate_may_name_what_was_measured_when_its_step_began() {
    let steps = "  - id: change\n    restart: all\n    gate: { until: usage < before.usage, within: 30s }\n";
    let falls = World::at(|_, second| usage(if second < 10 { 0.9 } else { 0.899 })).run(steps);
    assert_eq!((falls.outcome(), falls.seconds), (Outcome::Done, 10));
    let same = World::at(|_, _| usage(0.9)).run(steps);
    assert_eq!(same.outcome(), Outcome::GateShut);
    let StepStatus::GateShut { why, .. } = same.status("change").expect("it began") else { panic!("shut") };
    assert!(why.contains("usage < 90%"), "shown with its value: {why}");
    let unknown = World::at(|_, second| if second == 0 { Sampled::new() } else { usage(0.1) }).run(steps);
    assert_eq!(unknown.outcome(), Outcome::GateShut, "what was not measured then never passes");
}

#[test]
fn a_false_or_an_unknown_sample_begins_the_hold_anew() {
    for blip in [usage(0.9), Sampled::new()] {
        let told = World::at(move |_, second| if second == 2 { blip.clone() } else { usage(0.1) }).run(GATED);
        assert_eq!(
            (told.outcome(), told.seconds),
            (Outcome::Done, 6),
            "{blip:?}",
            blip = told.status("change")
        );
    }
}

#[test]
fn unknown_never_passes() {
    let told = World::at(|_, _| Sampled::new()).run(GATED);
    assert_eq!(told.outcome(), Outcome::GateShut);
    assert!(told.status("after").is_none_or(|status| matches!(status, StepStatus::Skipped { .. })));
    assert!((27..=28).contains(&told.seconds), "until three seconds no longer fit: {}", told.seconds);
}

#[test]
fn the_default_gate_wants_usage_no_worse_than_before() {
    let steps = "  - id: change\n    restart: all\n";
    let well = World::at(|world, second| {
        usage(if world.changed_at.is_empty() { 0.5 } else { 0.5 + 0.02 * f64::from(u8::from(second > 1)) })
    })
    .run(steps);
    assert_eq!(well.outcome(), Outcome::Done, "two points above are within the noise");
    let worse = World::at(|world, _| usage(if world.changed_at.is_empty() { 0.5 } else { 0.6 })).run(steps);
    assert_eq!(worse.outcome(), Outcome::GateShut);
    assert!((118..=122).contains(&worse.seconds), "within 120 s: {}", worse.seconds);
    let was_full =
        World::at(|world, _| usage(if world.changed_at.is_empty() { 1.0 } else { 0.94 })).run(steps);
    assert_eq!(was_full.outcome(), Outcome::Done, "it was full, and is below 95 %");
    let still_full = World::at(|_, _| usage(1.0)).run(steps);
    assert_eq!(still_full.outcome(), Outcome::GateShut);
}

#[test]
fn when_decides_on_what_is_known_and_waits_ten_seconds_for_it() {
    let steps = |word: &str| {
        format!(
            "  - id: change\n    when: usage >= 80%\n    if_unknown: {word}\n    restart: all\n    gate: {{ none: a test }}\n"
        )
    };
    let high = World::at(|_, _| usage(0.9)).run(&steps("stop"));
    assert_eq!((high.outcome(), high.changes), (Outcome::Done, 1));
    let low = World::at(|_, _| usage(0.1)).run(&steps("stop"));
    assert_eq!((low.outcome(), low.changes), (Outcome::Done, 0));
    let late =
        World::at(|_, second| if second < 5 { Sampled::new() } else { usage(0.9) }).run(&steps("stop"));
    assert_eq!((late.outcome(), late.changes), (Outcome::Done, 1));
    for (word, outcome, changes) in
        [("run", Outcome::Done, 1), ("skip", Outcome::Done, 0), ("stop", Outcome::GateShut, 0)]
    {
        let told = World::at(|_, _| Sampled::new()).run(&steps(word));
        assert_eq!((told.outcome(), told.changes), (outcome, changes), "if_unknown: {word}");
        assert!((10..=12).contains(&told.seconds), "{word}: {}", told.seconds);
    }
}

#[test]
fn failures_stop_or_are_tolerated_and_always_steps_run() {
    let steps = |word: &str| {
        format!(
            "  - id: fails\n    restart: all\n    on_failure: {word}\n  - id: later\n    diagnose:\n  - id: end\n    always: true\n    diagnose:\n"
        )
    };
    let stopped = World::at(|_, _| usage(0.1)).run(&steps("stop"));
    assert_eq!(stopped.outcome(), Outcome::Failed);
    assert!(stopped.status("later").is_none_or(|status| matches!(status, StepStatus::Skipped { .. })));
    assert_eq!(stopped.status("end"), Some(&StepStatus::Done));
    let tolerated = World::at(|_, _| usage(0.1)).run(&steps("continue"));
    assert_eq!(tolerated.outcome(), Outcome::Done);
    assert_eq!(tolerated.status("later"), Some(&StepStatus::Done));
    assert!(matches!(tolerated.status("fails"), Some(StepStatus::Failed { tolerated: true, .. })));
}

const LADDER: &str = "  - id: climb\n    ladder:\n      until: healthy\n      for: 5s\n      within: 20s\n      rungs:\n        - id: nothing\n          kill_idle: { idle: 60s }\n        - id: change-1\n          restart: all\n        - id: change-2\n          scale: { type: web, to: 1 }\n";

#[test]
fn a_ladder_stops_at_the_first_rung_that_heals_and_an_empty_one_passes_at_once() {
    let told = World::at(|world, _| usage(if world.changed_at.is_empty() { 1.0 } else { 0.1 })).run(LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1));
    assert!(told.seconds <= 8, "the empty rung took no patience: {}", told.seconds);
}

#[test]
fn two_good_seconds_before_the_leak_refills_do_not_heal() {
    let told = World::at(|world, second| match world.changed_at.last() {
        Some(at) if second <= at + 2 => usage(0.1),
        _ => usage(1.0),
    })
    .run(LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::GateShut, 2), "every rung was tried");
}

/// A leak of `speed` connections a second that a kill empties to 30, and a restart after it to 15 for good.
fn leaking<'w>(speed: u64) -> World<'w> {
    let mut world = World::at(move |world, second| {
        let used = match world.changed_at.as_slice() {
            [] => 150,
            [killed] => (30 + speed * second.saturating_sub(*killed)).min(150),
            _ => 15,
        };
        let mut sampled = usage(used as f64 / 150.0);
        sampled.insert(Metric::Used, Value::Count(used as f64));
        sampled
    });
    world.perform = Box::new(|change| {
        let killed = Effect::Killed { killed: vec![1], spared: vec![], one_by_one: false, dying: Some(0) };
        Performance::Done(if matches!(change, Change::Kill { .. }) { killed } else { Effect::Accepted })
    });
    world.decide = Box::new(|step, progress| {
        let rule = KillRule { idle: Duration::from_secs(60), at_most: 9, protect: Vec::new() };
        let change = Change::Kill { victims: Vec::new(), rule };
        (step.starts_with("kill") && progress.made.is_empty())
            .then(|| Ok(Next::Change { change, before: Before::default() }))
    });
    world
}

fn early(told: &Told) -> Vec<String> {
    let told = told.events.iter().filter_map(|event| match event {
        Event::Verdict { early: true, open: false, why, .. } => why.clone(),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_rung_that_the_leak_outruns_is_left_when_its_trend_says_so() {
    let steps = |early: &str| {
        format!(
            "  - id: climb\n    ladder:\n      until: healthy\n      for: 20s\n      within: 75s\n{early}      rungs:\n        - id: kill\n          kill_idle: {{ idle: 60s }}\n        - id: change\n          restart: all\n"
        )
    };
    for (speed, words) in [
        (5, "by its trend it cannot be met in time: usage rises by 3.3 points a second"),
        (40, "full for 15s"),
    ] {
        let told = leaking(speed).run(&steps(""));
        assert_eq!((told.outcome(), told.changes), (Outcome::Done, 2));
        assert!(matches!(early(&told).as_slice(), [one] if one.contains(words)), "{:?}", early(&told));
        assert!((36..=41).contains(&told.seconds), "15 s of evidence, and 20 s to heal: {}", told.seconds);
        let patient = leaking(speed).run(&steps("      early: false\n"));
        assert_eq!((patient.outcome(), early(&patient)), (Outcome::Done, Vec::new()));
        assert!(patient.seconds >= 95, "{}", patient.seconds);
    }
}

#[test]
fn a_gate_and_a_wait_say_at_once_that_their_trend_leads_away() {
    let rising = |from: f64| {
        World::at(move |_, second| {
            let used = second as f64 + from;
            let mut sampled = usage(used / 150.0);
            sampled.insert(Metric::Used, Value::Count(used));
            sampled
        })
    };
    let wait = "  - id: wait\n    wait: { until: usage < 40%, within: 60s }\n";
    let told = rising(70.0).run(wait);
    assert_eq!(told.outcome(), Outcome::GateShut);
    assert_eq!((early(&told).len(), told.seconds), (1, 12), "a fifth of its patience");
    let Some(StepStatus::GateShut { why, .. }) = told.status("wait") else { panic!("{:?}", told.events) };
    assert!(why.starts_with("usage < 40% will not hold within 1m: by its trend"), "{why}");

    // What a restart begins warms up first: fifteen seconds of it say nothing.
    let gate = "  - id: change\n    restart: all\n    gate: { until: usage < 40%, within: 60s }\n";
    let told = rising(70.0).run(gate);
    assert_eq!((told.outcome(), early(&told).len()), (Outcome::GateShut, 1));
    assert!((27..=29).contains(&told.seconds), "{}", told.seconds);
}

const WATCHED: &str = "after_care:\n  for: 60s\n  again: climb\n";

/// What the after-care found, each time: whether it held, and why it says so.
fn watched(told: &Told) -> Vec<(bool, String)> {
    let told = told.events.iter().filter_map(|event| match event {
        Event::Verdict { gate: GateKind::AfterCare, open, why, .. } => {
            Some((*open, why.clone().unwrap_or_default()))
        }
        _ => None,
    });
    told.collect()
}

/// Healed by the first change until `falls`, and for good by the second.
fn relapsing<'w>(falls: impl Fn(u64) -> Sampled + 'w) -> World<'w> {
    World::at(move |world, second| match world.changed_at.len() {
        0 => usage(1.0),
        1 => falls(second),
        _ => usage(0.1),
    })
}

#[test]
fn after_success_it_is_watched_and_the_next_rung_is_climbed_when_health_falls() {
    let told = relapsing(|_| usage(0.1)).run_with(WATCHED, LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1));
    assert!((65..=67).contains(&told.seconds), "{}", told.seconds);
    assert!(
        matches!(watched(&told).as_slice(), [(true, why)] if why.contains("of 60 samples")),
        "{:?}",
        watched(&told)
    );

    let told = relapsing(|second| usage(if second < 30 { 0.1 } else { 0.9 })).run_with(WATCHED, LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 2), "{:?}", told.events);
    let found = watched(&told);
    assert!(
        matches!(found.as_slice(), [(false, fell), (true, _)] if fell == "not so for 10s: to rung change-2"),
        "{found:?}"
    );
    assert!((105..=108).contains(&told.seconds), "watched anew for as long: {}", told.seconds);
    let rung = |event: &&Event| matches!(event, Event::StepStarted { step, ladder: Some(ladder), .. } if step == "change-2" && ladder == "after-care");
    assert_eq!(told.events.iter().filter(rung).count(), 1);
    assert_eq!(told.status("after-care"), Some(&StepStatus::Done));
    // A fall of nine seconds is none.
    let told = relapsing(|second| usage(if (30..39).contains(&second) { 0.9 } else { 0.1 }))
        .run_with(WATCHED, LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1));
}

#[test]
fn after_care_ends_with_4_when_no_rung_is_left_and_without_a_ladder_it_only_says_so() {
    let world = || {
        World::at(|world, second| {
            usage(match world.changed_at.last() {
                Some(at) if second < at + 20 => 0.1,
                _ => 0.9,
            })
        })
    };
    let told = world().run_with(WATCHED, LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::GateShut, 2), "each rung once");
    assert_eq!(watched(&told).last(), Some(&(false, "health fell, and no rung is left".to_owned())));
    let steps = "  - id: change\n    restart: all\n    gate: { until: live, within: 5s }\n";
    let told = world().run_with("after_care: { for: 5m, unhealthy_for: 4s }\n", steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::GateShut, 1));
    assert!((24..=26).contains(&told.seconds), "{}", told.seconds);
    let own = "after_care:\n  for: 1m\n  ladder:\n    until: healthy\n    for: 5s\n    within: 20s\n    rungs:\n      - { id: change-more, restart: all }\n";
    let told = relapsing(|second| usage(if second < 30 { 0.1 } else { 0.9 })).run_with(own, steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 2), "a ladder of its own");
    let off = world().run_with("after_care: { for: 0s, again: climb }\n", LADDER);
    assert_eq!((off.outcome(), watched(&off)), (Outcome::Done, Vec::new()));
}

#[test]
fn what_is_not_measured_is_no_fall_and_no_health() {
    let told =
        relapsing(|second| if second < 30 { usage(0.1) } else { Sampled::new() }).run_with(WATCHED, LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::GateShut, 1), "nothing is changed for it");
    assert_eq!(watched(&told), [(false, "it could not be measured".to_owned())]);
    assert!((75..=78).contains(&told.seconds), "{}", told.seconds);
    let back = |second| if (30..50).contains(&second) { Sampled::new() } else { usage(0.1) };
    let told = relapsing(back).run_with(WATCHED, LADDER);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1));
    assert!(watched(&told)[0].1.ends_with("20 unknown"), "{:?}", watched(&told));
}

#[test]
fn a_watch_is_ended_by_a_signal_and_by_the_deadline() {
    let mut world = relapsing(|_| usage(0.1));
    world.interrupt_at = Some(30);
    let told = world.run_with(WATCHED, LADDER);
    assert_eq!(told.outcome(), Outcome::Interrupted);
    let Some(Event::RunFinished { why: Some(why), .. }) = told.events.last() else { panic!("no end") };
    assert!(why.contains("every step had succeeded"), "{why}");
    let told = relapsing(|_| usage(0.1)).run_with(&format!("{WATCHED}deadline: 40s\n"), LADDER);
    assert_eq!((told.outcome(), told.seconds), (Outcome::GateShut, 40));
    let mut dry = relapsing(|_| usage(0.1));
    dry.config.dry = true;
    let told = dry.run_with(WATCHED, LADDER);
    assert_eq!(
        (told.outcome(), told.changes, told.status("after-care")),
        (Outcome::Done, 0, Some(&StepStatus::WouldRun))
    );
}

#[test]
fn a_lost_answer_is_read_back_after_it_can_no_longer_land() {
    let lost = || {
        Performance::Failed(ChangeError {
            certainty: Certainty::InDoubt,
            fault: Fault::new(FaultKind::Network, "a request", "no answer"),
            settle_ms: 7000,
        })
    };
    let steps = "  - id: change\n    restart: all\n    gate: { none: a test }\n";
    let mut happened = World::at(|_, _| usage(0.1));
    happened.perform = Box::new(move |_| lost());
    happened.reconcile = Box::new(|| Ok(Reconciled::Happened(Effect::Accepted)));
    let told = happened.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1), "found done, not repeated");
    assert!(told.seconds < 7, "that it happened is certain at once: {}", told.seconds);

    // It lands after it was looked for: what has not happened yet may happen.
    let mut looks = 0;
    let mut late = World::at(|_, _| usage(0.1));
    late.perform = Box::new(move |_| lost());
    late.reconcile = Box::new(move || {
        looks += 1;
        Ok(if looks < 3 { Reconciled::DidNotHappen } else { Reconciled::Happened(Effect::Accepted) })
    });
    let told = late.run(steps);
    assert_eq!(
        (told.outcome(), told.changes),
        (Outcome::Done, 1),
        "looked for until it could no longer land"
    );

    // It never lands: it is repeated once, and not before it could no longer land.
    let mut sent = 0;
    let mut never = World::at(|_, _| usage(0.1));
    never.perform = Box::new(move |_| {
        sent += 1;
        if sent == 1 { lost() } else { Performance::Done(Effect::Accepted) }
    });
    let told = never.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 2), "proven not to have happened");
    assert!(told.seconds >= 7, "not before: {}", told.seconds);

    // The API is down when it is to be read back: it is asked again until it answers.
    let mut looks = 0;
    let mut down = World::at(|_, _| usage(0.1));
    down.perform = Box::new(move |_| lost());
    down.reconcile = Box::new(move || {
        looks += 1;
        if looks < 4 {
            return Err(Fault::new(FaultKind::Broken, "reading the dynos", "503"));
        }
        Ok(Reconciled::Happened(Effect::Accepted))
    });
    let told = down.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1), "settled, not repeated");

    let mut unclear = World::at(|_, _| usage(0.1));
    unclear.perform = Box::new(move |_| lost());
    unclear.reconcile = Box::new(|| Ok(Reconciled::CannotTell("nobody knows".into())));
    unclear.answer = None;
    let told = unclear.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::InDoubt, 1), "in doubt is not repeated");

    let mut told_by_a_person = World::at(|_, _| usage(0.1));
    told_by_a_person.perform = Box::new(move |_| lost());
    told_by_a_person.reconcile = Box::new(|| Ok(Reconciled::CannotTell("nobody knows".into())));
    told_by_a_person.answer = Some(Answer::Said(true));
    let told = told_by_a_person.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1), "a person's word settles it");
}

#[test]
fn a_change_that_may_not_be_made_now_is_not_made_and_ends_the_run_what_always_runs_included() {
    let steps = "  - id: change-a\n    restart: all\n    gate: { none: a test }\n  - id: change-b\n    restart: all\n    gate: { none: a test }\n  - id: change-c\n    always: true\n    restart: all\n    gate: { none: a test }\n";
    let mut world = World::at(|_, _| usage(0.1));
    world.clear = Box::new(|step| match step {
        "change-a" => Clearance::Clear,
        _ => Clearance::Refused { outcome: Outcome::Locked, why: "another run holds it".into() },
    });
    let told = world.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::Locked, 1));
    assert!(matches!(told.status("change-b"), Some(StepStatus::Held { .. })), "{:?}", told.events);
    assert!(matches!(told.status("change-c"), Some(StepStatus::Held { .. })), "{:?}", told.events);

    // Somebody else is at work: a person's word lets it go on, and nobody's does not.
    for (answer, wanted) in [(Some(true), (Outcome::Done, 3)), (None, (Outcome::Declined, 0))] {
        let mut world = World::at(|_, _| usage(0.1));
        world.clear = Box::new(|_| Clearance::Ask("go on?".into()));
        world.answer = answer.map(Answer::Said);
        let told = world.run(steps);
        assert_eq!((told.outcome(), told.changes), wanted);
    }
}

#[test]
fn abort_when_needs_two_samples_in_a_row() {
    let steps = "  - id: wait\n    abort_when: usage > 95%\n    wait: { until: usage < 10%, within: 30s }\n";
    let once = World::at(|_, second| usage(if second == 3 { 1.0 } else { 0.5 })).run(steps);
    assert_eq!(once.outcome(), Outcome::GateShut);
    assert!(once.seconds >= 29, "one bad sample aborts nothing: {}", once.seconds);
    let twice = World::at(|_, second| usage(if second >= 3 { 1.0 } else { 0.5 })).run(steps);
    assert_eq!(twice.outcome(), Outcome::GateShut);
    assert!(twice.seconds <= 5, "{}", twice.seconds);
}

#[test]
fn an_interruption_ends_waiting_at_once_and_later_steps_do_not_run() {
    let mut world = World::at(|_, _| usage(0.9));
    world.interrupt_at = Some(5);
    let told = world.run(GATED);
    assert_eq!(told.outcome(), Outcome::Interrupted);
    assert!(told.seconds <= 6, "{}", told.seconds);
    assert_ne!(told.status("after"), Some(&StepStatus::Done));
}

#[test]
fn a_dry_run_performs_nothing_and_waits_for_nothing() {
    let mut world = World::at(|_, _| usage(0.9));
    world.config.dry = true;
    world.perform = Box::new(|_| panic!("a dry run performs nothing"));
    let told = world.run(GATED);
    assert_eq!(told.outcome(), Outcome::Done);
    assert!(told.seconds <= 1, "{}", told.seconds);
}

#[test]
fn a_retry_is_an_event_and_a_new_intention() {
    let failures = std::cell::Cell::new(2);
    let mut world = World::at(|_, _| usage(0.1));
    world.perform = Box::new(|_| {
        if failures.get() == 0 {
            return Performance::Done(Effect::Accepted);
        }
        failures.set(failures.get() - 1);
        Performance::Failed(ChangeError::nothing_changed(Fault::new(
            FaultKind::Refused,
            "a request",
            "not now",
        )))
    });
    let steps =
        "  - id: change\n    restart: all\n    retry: { times: 3, delay: 2s }\n    gate: { none: a test }\n";
    let told = world.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 3));
    let retries = told.events.iter().filter(|event| matches!(event, Event::Retrying { .. })).count();
    assert_eq!((retries, told.intended), (2, 3));
    assert!(told.seconds >= 4, "with its delays: {}", told.seconds);
}

/// Low until the change, high after it.
fn worse_after_the_change<'w>() -> World<'w> {
    World::at(|world, _| usage(if world.changed_at.is_empty() { 0.05 } else { 0.9 }))
}

#[test]
fn what_was_measured_before_the_last_change_counts_for_nothing_after_it() {
    let wait = "  - id: change\n    restart: all\n    gate: { none: a test }\n  - id: wait\n    wait: { until: usage < 10%, within: 5s }\n";
    assert_eq!(worse_after_the_change().run(wait).outcome(), Outcome::GateShut);
    let check = "  - id: change\n    restart: all\n    gate: { none: a test }\n  - id: check\n    check: usage < 10%\n";
    assert_eq!(worse_after_the_change().run(check).outcome(), Outcome::GateShut);
    let when = "  - id: change\n    restart: all\n    gate: { none: a test }\n  - id: change-2\n    when: usage < 10%\n    restart: all\n    gate: { none: a test }\n";
    let told = worse_after_the_change().run(when);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1), "decided on a sample of after the change");
}

#[test]
fn a_change_of_an_attempt_that_failed_is_gated_all_the_same() {
    let steps = "  - id: change\n    restart: all\n    retry: { times: 1, delay: 1s }\n";
    let mut attempts = 0;
    let mut world = worse_after_the_change();
    world.decide = Box::new(move |_, progress| match (attempts, progress.made.len()) {
        (0, 0) => None,
        (0, _) => {
            attempts = 1;
            Some(Err(Fault::new(FaultKind::Crashed, "a dyno of the test", "it crashed").into()))
        }
        _ => Some(Ok(Next::Done(Done { status: Status::NothingToDo, ..Done::default() }))),
    });
    let told = world.run(steps);
    assert_eq!((told.outcome(), told.changes), (Outcome::GateShut, 1));
}

#[test]
fn an_api_that_is_down_after_the_change_is_waited_for_and_no_longer_than_the_step_may_take() {
    let steps = "  - id: change\n    restart: all\n    timeout: 30s\n    gate: { none: a test }\n";
    let blind = |answers_again_after: u32| {
        let mut looks = 0;
        let mut world = World::at(|_, _| usage(0.1));
        world.decide = Box::new(move |_, progress| {
            looks += u32::from(!progress.made.is_empty());
            (1..=answers_again_after)
                .contains(&looks)
                .then(|| Err(Fault::new(FaultKind::Broken, "reading the dynos", "503").into()))
        });
        world.run(steps)
    };
    let told = blind(4);
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1));
    assert!(told.seconds >= 9, "{}", told.seconds);
    let told = blind(1000);
    assert_eq!((told.outcome(), told.changes), (Outcome::Failed, 1), "done once, and never proved");
    assert!((29..=34).contains(&told.seconds), "{}", told.seconds);
}

const SHIP: &str = "  - id: ship\n    deploy: { add: [a], message: m, branch: master }\n    gate: { until: live, for: 2s, within: 60s }\n    on_failure: rollback\n";

fn shipping<'w>(live: impl Fn(u64) -> bool + 'w) -> World<'w> {
    let mut world = World::at(move |_, second| {
        let mut sampled = usage(0.1);
        sampled.insert(Metric::Live, Value::Truth(live(second)));
        sampled
    });
    world.perform = Box::new(|change| {
        Performance::Done(match change {
            Change::Push { .. } => Effect::Pushed { up_to_date: false },
            _ => Effect::Released { version: 9 },
        })
    });
    world.decide = Box::new(|step, progress| {
        let change = match step {
            "ship" => Change::Push { commit: "c".into(), branch: "master".into() },
            _ => Change::Rollback { release: "r".into(), version: 7 },
        };
        progress.made.is_empty().then(|| Ok(Next::Change { change, before: Before::default() }))
    });
    world
}

#[test]
fn the_deadline_ends_a_deploy_and_does_not_keep_it_from_being_taken_back() {
    let told = shipping(|_| false).run_with("deadline: 40s\n", SHIP);
    assert_eq!((told.outcome(), told.changes), (Outcome::GateShut, 2), "pushed, and taken back");
    assert!(told.status("ship-rollback").is_some(), "{:?}", told.events.last());
}

#[test]
fn what_the_deadline_leaves_no_time_to_take_back_is_not_begun() {
    let told = shipping(|_| false).run_with("deadline: 10s\n", SHIP);
    assert_eq!((told.outcome(), told.changes), (Outcome::GateShut, 0), "not begun");
    let Some(StepStatus::GateShut { why, .. }) = told.status("ship") else { panic!("{:?}", told.events) };
    assert!(why.starts_with("not begun: 10s are left of the run's deadline"), "{why}");
}

#[test]
fn with_preboot_only_samples_count_that_the_old_dynos_no_longer_served() {
    let mut world = shipping(|second| second < 170);
    world.config.preboot = true;
    assert_eq!(world.run(SHIP).outcome(), Outcome::GateShut, "live was the old release");
    let mut world = shipping(|second| second >= 170);
    world.config.preboot = true;
    let told = world.run(SHIP);
    assert_eq!(told.outcome(), Outcome::Done);
    assert!((182..=184).contains(&told.seconds), "{}", told.seconds);
    let told = shipping(|second| second < 170).run(SHIP);
    assert_eq!(told.outcome(), Outcome::Done);
    assert!(told.seconds <= 4, "without preboot at once: {}", told.seconds);
}

#[test]
fn step_by_step_each_step_is_asked_about_and_a_no_ends_the_run() {
    let asked = |told: &Told| told.events.iter().filter(|event| matches!(event, Event::Asked { .. })).count();
    let mut world = World::at(|_, _| usage(0.1));
    world.config.stepwise = true;
    let told = world.run(GATED);
    assert_eq!((told.outcome(), told.changes, asked(&told)), (Outcome::Done, 1, 2));
    let mut world = World::at(|_, _| usage(0.1));
    world.config.stepwise = true;
    world.answer = Some(Answer::Said(false));
    let told = world.run(GATED);
    assert_eq!((told.outcome(), told.changes, asked(&told)), (Outcome::Declined, 0, 1));
    let mut world = World::at(|world, _| usage(if world.changed_at.len() < 2 { 1.0 } else { 0.1 }));
    world.config.stepwise = true;
    let told = world.run(LADDER);
    assert_eq!((told.outcome(), asked(&told)), (Outcome::Done, 3), "each rung, and not the ladder");
}

#[test]
fn patience_is_bounded_for_every_kind_of_wait() {
    let told = World::at(|_, _| usage(0.5))
        .run("  - id: wait\n    wait: { until: usage < 10%, for: 2s, within: 12s }\n");
    assert_eq!(told.outcome(), Outcome::GateShut);
    assert!(Duration::from_secs(told.seconds) <= Duration::from_secs(13));
}

#[test]
fn what_a_guardrail_bars_is_not_done_and_a_ladder_goes_on_without_it() {
    let told = World::at(|_, _| usage(0.1)).run(
        "  - id: change\n    restart: all\n    gate: { until: usage < 40%, within: 9s }\n  - id: change-barred\n    restart: all\n    gate: { until: usage < 40%, within: 9s }\n  - id: change-after\n    restart: all\n    gate: { none: a test }\n",
    );
    assert_eq!((told.outcome(), told.changes), (Outcome::Declined, 1), "{:?}", told.events);

    let told = World::at(|world, _| usage(if world.changed_at.is_empty() { 0.9 } else { 0.1 })).run(
        "  - id: climb\n    ladder:\n      until: usage < 40%\n      for: 2s\n      within: 9s\n      rungs:\n        - { id: change-barred, restart: all }\n        - { id: change, restart: all }\n",
    );
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1), "{:?}", told.events);
    let status = told.status("change-barred");
    assert!(matches!(status, Some(StepStatus::NotHealed { why }) if why.contains("guardrail")), "{status:?}");
}

/// A step that has a person do something, and one after it that reads what they said.
const BY_HAND: &str = "  - id: hand
    manual: { instructions: look, answer: { type: count }, deadline: 20s, default: skip }
  - id: change
    when: steps.hand.answer > 3
    if_unknown: skip
    restart: all
    gate: { none: a test }
  - id: change-undone
    when: not steps.hand.done
    restart: all
    gate: { none: a test }
";

fn by_hand(answer: Option<Answer>, config: Config) -> Told {
    let mut world = World::at(|_, _| usage(0.1));
    world.answer = answer;
    world.config = config;
    world.decide = Box::new(|step, progress| {
        if step != "hand" {
            return None;
        }
        let value = match progress.answers.get("how many?") {
            None => {
                return Some(Ok(Next::Ask(Question {
                    takes: Takes::Deed,
                    otherwise: Some(Answer::Deed(Deed::Skip)),
                    within: Some(Duration::from_secs(20)),
                    ..Question::yes_or_no("how many?")
                })));
            }
            Some(Answer::Value(value)) => Some(value.clone()),
            Some(_) => None,
        };
        let mut outputs = BTreeMap::from([("done".to_owned(), Value::Truth(value.is_some()))]);
        let status = if value.is_some() { Status::Acted } else { Status::Skipped };
        outputs.extend(value.map(|value| ("answer".to_owned(), value)));
        Some(Ok(Next::Done(Done { status, outputs, summary: "as told".into(), ..Done::default() })))
    });
    world.run(BY_HAND)
}

#[test]
fn an_answer_is_read_by_later_steps_and_without_one_the_stated_default_stands() {
    let value = |number: f64| Some(Answer::Value(Value::Count(number)));
    let config = || Config { run: "r".into(), ..Config::default() };
    let told = by_hand(value(7.0), config());
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 1), "{:?}", told.events);
    assert_eq!(told.status("change"), Some(&StepStatus::Done));
    let told = by_hand(value(2.0), config());
    assert_eq!((told.outcome(), told.changes), (Outcome::Done, 0), "{:?}", told.events);

    // Nobody answers: after its time the default stands, which is skip here; what needs the answer does not run.
    let told = by_hand(None, config());
    assert_eq!((told.outcome(), told.changes, told.seconds), (Outcome::Done, 1, 20), "{:?}", told.events);
    assert_eq!(told.status("hand"), Some(&StepStatus::Skipped { why: "as told".into() }));
    assert_eq!(told.status("change-undone"), Some(&StepStatus::Done));
    let by = told.events.iter().find_map(|event| match event {
        Event::Asked { answer, by, .. } => Some((answer.clone(), by.clone())),
        _ => None,
    });
    assert_eq!(by, Some((Answer::Deed(Deed::Skip), "default: test".into())));

    let told = by_hand(Some(Answer::Deed(Deed::Stop)), config());
    assert_eq!((told.outcome(), told.changes), (Outcome::Declined, 0), "{:?}", told.events);
    let dry = by_hand(None, Config { dry: true, ..config() });
    assert_eq!((dry.outcome(), dry.changes), (Outcome::Done, 0), "a dry run asks nobody");
}

#[test]
fn an_answer_given_before_a_crash_is_not_asked_for_again_and_a_stop_is() {
    let config = || Config { run: "r".into(), ..Config::default() };
    for (answer, asks) in [(Answer::Value(Value::Count(7.0)), false), (Answer::Deed(Deed::Stop), true)] {
        let told = by_hand(Some(answer), config());
        let asked = told.events.iter().position(|event| matches!(event, Event::Asked { .. })).expect("asked");
        let history: Vec<_> = told.events[..=asked].iter().map(|event| (Moment(0), event.clone())).collect();
        let plan = Arc::new(plan("", BY_HAND));
        let mut machine = Machine::resume(plan, config(), &history).expect("it can be resumed");
        machine.observe(1, Moment(0), &usage(0.1));
        let Request::Decide { step, progress } = machine.advance(Moment(0), Input::Begin).request else {
            panic!("it goes on at its step")
        };
        assert_eq!((step.as_str(), progress.answers.is_empty()), ("hand", asks));
    }
}
