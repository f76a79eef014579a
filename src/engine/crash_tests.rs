//! A crash at every entry of the journal of every shipped runbook, in process: the run is taken up again and must come
//! to the same end as one that was not interrupted, with each change made exactly as often.

#[path = "../../tests/support/table.rs"]
#[allow(dead_code, reason = "tests of programs use more of it")]
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::driver::action_of;
use super::{Clearance, Config, Event, Input, Ledger, Machine, Outcome, Performance, Request};
use crate::action::{Answer, Deed, Failure, Question, RunFacts, Scene, Takes};
use crate::health::{Moment, Series};
use crate::plan::{EMBEDDED, Plan, PlanRecord, Selection, Target, bind_inputs, build, check, undo};
use crate::platform::fake::{End, Leak, World};
use crate::platform::{Change, reconcile};
use crate::source::Source;

/// The matrix of `docs/reliability.md`.
const TABLE: table::Table = table::Table {
    document: "docs/reliability.md",
    name: "entries",
    columns: &["runbook, and what heals", "outcome", "entries", "crashes", "changes", "every resumed run"],
};

/// What becomes of a change in whose midst the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was never sent.
    Unsent,
    /// It took effect, and the answer was not written down.
    Unheard,
    /// It takes effect after the process has died.
    Late,
}

/// `emergency` with its after-care.
const WATCHED: &str = "emergency that watches on";
/// Inputs that a runbook needs to get anywhere.
const INPUTS: [(&str, &[(&str, &str)]); 4] = [
    (WATCHED, &[("watch", "2m")]),
    ("add-cache", &[("up_to", "5")]),
    ("scale-up", &[("to", "3"), ("room", "90%")]),
    ("upgrade-plan", &[("plan", "larger"), ("up_to", "100")]),
];
/// What a person says yes to when a plan is taken back.
const CONSENT: &str = "jawsdb-maria:leopard costs $50 a month, and jawsdb-maria:larger costs $90 a month now";

fn plan_of(name: &str, text: &str) -> Plan {
    let source = Source::new(name, text);
    let given = INPUTS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, given)| given);
    let given: Vec<_> = given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let checked = check(&source).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
    build(PlanRecord {
        tool: "test".into(),
        runbook: name.into(),
        source: "embedded".into(),
        text: text.into(),
        inputs: bind_inputs(&checked.runbook.inputs, &given).unwrap_or_else(|faults| panic!("{faults:?}")),
        selection: Selection::default(),
        target: Target { app: "wiki".into(), database: Some("wiki".into()), ..Target::default() },
        ..PlanRecord::default()
    })
    .unwrap_or_else(|faults| panic!("{name}: {faults:?}"))
}

/// What a person says who does everything they are asked.
fn answer_to(question: &Question) -> Answer {
    match &question.takes {
        Takes::YesNo => Answer::Said(true),
        Takes::Deed => Answer::Deed(Deed::Done),
        Takes::Value(spec) => Answer::Value(spec.specimen()),
    }
}

struct Play {
    world: Arc<World>,
    plan: Arc<Plan>,
    history: Vec<(Moment, Event)>,
    number: u64,
    /// A person interrupts when this many events are written.
    interrupted_at: Option<usize>,
}

impl Play {
    fn new(leak: Leak, plan: &Arc<Plan>) -> Self {
        Self {
            world: World::new(leak),
            plan: Arc::clone(plan),
            history: Vec::new(),
            number: 0,
            interrupted_at: None,
        }
    }

    fn config(&self) -> Config {
        let facts = RunFacts {
            consents: vec![CONSENT.to_owned()],
            live_at_start: self.world.observer().running().ok().and_then(|running| running.commit),
            ..RunFacts::default()
        };
        Config { run: "r".into(), facts, ..Config::default() }
    }

    /// Plays a machine until it finishes, or dies with `dies_at` events written.
    fn run(&mut self, mut machine: Machine, dies_at: Option<usize>, fate: Fate) -> Option<Outcome> {
        let observer = self.world.observer();
        let clock = || observer.clock().now();
        let mut series = Series::new(Duration::from_secs(60), true);
        let mut latest = BTreeMap::new();
        let mut input = Input::Begin;
        let mut due = clock();
        for _ in 0..20_000 {
            while due <= clock() {
                self.number += 1;
                let measured = series.push(self.world.sample(self.number));
                machine.observe(self.number, measured.sample.at, &measured.metrics);
                latest = measured.metrics;
                due = due.plus(self.plan.every);
            }
            if self.interrupted_at.is_some_and(|at| self.history.len() >= at) {
                self.interrupted_at = None;
                machine.interrupt();
            }
            let replaced = machine.facts().replaced.clone();
            let next = machine.advance(clock(), input);
            for event in next.events {
                if dies_at.is_some_and(|at| self.history.len() >= at) {
                    return None;
                }
                if let Event::RunFinished { outcome, .. } = &event {
                    let outcome = *outcome;
                    self.history.push((clock(), event));
                    return Some(outcome);
                }
                self.history.push((clock(), event));
            }
            if machine.facts().replaced != replaced {
                series.reset_window();
            }
            let dying = dies_at.is_some_and(|at| self.history.len() >= at);
            input = match next.request {
                Request::Finish => panic!("finished without saying so"),
                Request::Decide { step, progress } => {
                    let Some((action, bindings)) = action_of(&self.plan, &step) else {
                        panic!("no step {step}")
                    };
                    let scene = Scene {
                        observer: &observer,
                        app: "wiki",
                        planned: &[],
                        run: machine.facts(),
                        metrics: &latest,
                        series: &series,
                        outputs: machine.outputs(),
                        bindings,
                        now: clock(),
                        counts_from: machine.counts_from(),
                        dry: false,
                        interactive: false,
                    };
                    let decided: Result<_, Failure> = action.next(&scene, &progress);
                    Input::Decided(decided)
                }
                Request::Clear { .. } => Input::Cleared(Clearance::Clear),
                Request::Perform { change, .. } => {
                    if dying {
                        match fate {
                            Fate::Unsent => {}
                            // A local program that outlives its parent is waited for: it holds the app's lease.
                            Fate::Late if change.settle().is_zero() => drop(self.world.apply(&change)),
                            Fate::Unheard => drop(self.world.apply(&change)),
                            Fate::Late => self.world.apply_later(&change, Duration::from_secs(5)),
                        }
                        return None;
                    }
                    self.world.pass(clock().plus(Duration::from_millis(200)));
                    let effect = self.world.apply(&change);
                    if matches!(change, Change::Kill { .. }) {
                        series.reset_slope(clock());
                    }
                    Input::Performed(Performance::Done(effect))
                }
                Request::Reconcile { change, before, settled } => {
                    Input::Reconciled(reconcile(&change, &before, settled, &observer))
                }
                Request::Wait { until, .. } => {
                    let now = clock();
                    self.world.pass(until.min(due).max(now.plus(Duration::from_millis(1))));
                    Input::Tick
                }
                Request::Ask { question, .. } => {
                    Input::Answered { answer: Some(answer_to(&question)), by: "t".into() }
                }
            };
        }
        panic!("no end: {:?}", self.history.last());
    }

    fn begin(&mut self, dies_at: Option<usize>, fate: Fate) -> Option<Outcome> {
        let machine = Machine::new(Arc::clone(&self.plan), self.config());
        self.run(machine, dies_at, fate)
    }

    fn resume(&mut self, config: Config) -> Outcome {
        let machine = Machine::resume(Arc::clone(&self.plan), config, &self.history)
            .unwrap_or_else(|why| panic!("{why}: {:?}", self.history.last()));
        let standing = machine.standing();
        let now = self.world.observer().clock().now();
        self.history.push((
            now,
            Event::Resumed {
                plan: String::new(),
                record: None,
                by: "t".into(),
                account: None,
                at: standing.at,
                in_doubt: standing.in_doubt,
                again: standing.again,
            },
        ));
        let Some(outcome) = self.run(machine, None, Fate::Unsent) else { panic!("it does not die again") };
        outcome
    }
}

/// Every crash of one runbook in one world; writes its row of the matrix and gives its name.
fn crash_everywhere(name: &str, plan: &Arc<Plan>, leak: Leak, prepare: &dyn Fn(&Play)) -> String {
    let fresh = || {
        let play = Play::new(leak, plan);
        prepare(&play);
        play
    };
    let mut whole = fresh();
    let before: u64 = whole.world.end().counts.values().sum();
    let outcome = whole.begin(None, Fate::Unsent).unwrap_or_else(|| panic!("{name}: no end"));
    let (entries, end): (usize, End) = (whole.history.len(), whole.world.end());
    let mut crashes = 0;
    for dies_at in 1..entries {
        let intended = matches!(whole.history[dies_at - 1].1, Event::Intended { .. });
        let fates: &[Fate] =
            if intended { &[Fate::Unsent, Fate::Unheard, Fate::Late] } else { &[Fate::Unsent] };
        for fate in fates {
            crashes += 1;
            let mut play = fresh();
            let config = play.config();
            assert_eq!(play.begin(Some(dies_at), *fate), None, "{name}: dies at {dies_at}");
            play.world.pass(play.world.observer().clock().now().plus(Duration::from_secs(1)));
            let what = format!("{name} ({leak:?}), after entry {dies_at} of {entries}, {fate:?}");
            let resumed = play.resume(config);
            assert_eq!(resumed, outcome, "{what}: {:#?}", play.history);
            assert_eq!(play.world.end(), end, "{what}");
        }
    }
    let changes = end.counts.values().sum::<u64>() - before;
    let cells = [outcome.word().to_owned(), entries.to_string(), crashes.to_string(), changes.to_string()];
    TABLE.row(name, &[&cells[..], &["the same end; nothing twice".to_owned()]].concat());
    name.to_owned()
}

#[test]
fn a_crash_at_every_entry_of_every_shipped_runbook_comes_to_the_same_end_and_nothing_is_done_twice() {
    let mut rows = Vec::new();
    for (name, text) in EMBEDDED {
        let plan = Arc::new(plan_of(name, text));
        for (leak, world) in [
            (Leak::Once, "a kill heals"),
            (Leak::Refills, "killed sessions come back, a restart heals"),
            (Leak::Code, "only new code heals"),
        ] {
            rows.push(crash_everywhere(&format!("{name}: {world}"), &plan, leak, &|_| {}));
        }
    }
    let emergency = EMBEDDED.iter().find(|(name, _)| *name == "emergency").unwrap_or(&EMBEDDED[0]);
    let watched = Arc::new(plan_of(WATCHED, emergency.1));
    rows.push(crash_everywhere(
        &format!("{WATCHED}: a kill heals for 40 s, a restart for good"),
        &watched,
        Leak::Relapses,
        &|_| {},
    ));
    // Taking a run back.
    let undone = ["deploy-fix", "limit-workers", "scale-down", "upgrade-plan"];
    for name in undone {
        let Some((_, text)) = EMBEDDED.iter().find(|(known, _)| *known == name) else { panic!("no {name}") };
        let mut done = Play::new(Leak::Code, &Arc::new(plan_of(name, text)));
        done.begin(None, Fate::Unsent);
        let ledger = Ledger::of(done.history.iter().map(|(_, event)| event));
        let made = ledger.made();
        let text = undo("r", "wiki", made).text.unwrap_or_else(|| panic!("nothing to undo: {made:?}"));
        let plan = Arc::new(plan_of("undo", &text));
        rows.push(crash_everywhere(&format!("undo of {name}"), &plan, Leak::Code, &|play| {
            for (change, _, _) in made {
                play.world.apply(change);
            }
        }));
    }
    assert_eq!(rows.len(), EMBEDDED.len() * 3 + 1 + undone.len());
    TABLE.only(&rows.iter().map(String::as_str).collect::<Vec<_>>());
}

const PAUSED: &str = "runbook: 1
name: narrow
summary: fewer dynos for a while
steps:
  - { id: narrow, scale: { to: 1 }, gate: { none: a test } }
  - { id: hold, wait: { until: dynos.up == 1, for: 20s, within: 60s } }
  - { id: widen, always: true, scale: { to: 2 }, gate: { none: a test } }
";

#[test]
fn what_a_pause_reversed_is_done_anew_wherever_it_paused_and_died() {
    let plan = Arc::new(plan_of("narrow", PAUSED));
    let mut whole = Play::new(Leak::Once, &plan);
    assert_eq!(whole.begin(None, Fate::Unsent), Some(Outcome::Done));
    let entries = whole.history.len();
    let mut paused = 0;
    for interrupted_at in 1..entries {
        let mut play = Play::new(Leak::Once, &plan);
        let config = play.config();
        play.interrupted_at = Some(interrupted_at);
        if play.begin(None, Fate::Unsent) != Some(Outcome::Interrupted) {
            continue; // too late: it was at its end
        }
        paused += 1;
        let at_pause = play.history.len();
        let narrowed = |play: &Play| {
            let down = |event: &(Moment, Event)| {
                matches!(&event.1, Event::Intended { change: Change::Scale { quantity: 1, .. }, .. })
            };
            play.history.iter().filter(|event| down(event)).count()
        };
        let before = narrowed(&play);
        assert_eq!(play.world.end().web, 2, "the pause leaves it wide");
        assert_eq!(
            play.resume(config.clone()),
            Outcome::Done,
            "paused at {interrupted_at}: {:#?}",
            play.history
        );
        // Held while narrow, and wide at the end.
        let held = play.history[at_pause..].iter().any(|(_, event)| {
            matches!(event, Event::StepFinished { step, status: super::StepStatus::Done, .. } if step == "hold")
        });
        assert!(held, "paused at {interrupted_at}: {:#?}", play.history);
        assert_eq!((narrowed(&play), play.world.end().web), (before + 1, 2), "paused at {interrupted_at}");

        // The process dies within the steps of the pause: the pause is completed, and then the run goes on.
        for dies_at in interrupted_at + 1..at_pause {
            let mut play = Play::new(Leak::Once, &plan);
            play.interrupted_at = Some(interrupted_at);
            assert_eq!(play.begin(Some(dies_at), Fate::Unheard), None);
            let what = format!("paused at {interrupted_at}, died at {dies_at}");
            assert_eq!(play.resume(config.clone()), Outcome::Done, "{what}: {:#?}", play.history);
            assert_eq!(play.world.end().web, 2, "{what}");
        }
    }
    assert!(paused > 4, "it was paused {paused} times");
}
