//! `runbook run emergency`: works while every login is refused, climbs, and says honestly whether it healed.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use runbook::plan::{Body, EMBEDDED, check};
use runbook::source::Source;
use support::{Lab, Ran};

/// The run healed it, as measured from outside, or it says that it did not and what to run next.
#[track_caller]
fn healed_or_honest(lab: &Lab, ran: Ran) {
    if ran.code == 0 {
        lab.healthy_below(0.60);
        return;
    }
    let ran = ran.expect(4);
    for wanted in ["no rung healed", "runbook run deploy-fix", "leak", "scaled web"] {
        assert!(ran.all().contains(wanted), "{wanted}:\n{}", ran.all());
    }
    assert!(!ran.all().contains("every gate held"), "health is not claimed: {}", ran.all());
    assert_eq!(lab.look()["dynos"].as_array().expect("dynos").len(), 1, "scaled to one");
}

/// The plan is the one question: no step asks one of its own, nor needs a consent beside the plan.
#[test]
fn none_of_its_steps_asks_anything() {
    let (_, text) = EMBEDDED.iter().find(|(name, _)| *name == "emergency").expect("it is shipped");
    let plan = check(&Source::new("emergency", *text)).expect("it is valid").plan;
    let mut verbs = Vec::new();
    for step in &plan.steps {
        match &step.body {
            Body::Verb(action) => verbs.push(action.verb()),
            Body::Ladder(ladder) => verbs.extend(ladder.rungs.iter().map(|rung| match &rung.body {
                Body::Verb(action) => action.verb(),
                Body::Ladder(_) => "ladder",
            })),
        }
    }
    // `confirm` asks; `deploy` and `rollback` may need a consent.
    assert_eq!(verbs, ["kill_idle", "restart", "scale", "diagnose"]);
}

#[test]
fn with_every_login_refused_it_restarts_and_against_the_leak_it_ends_with_4() {
    let lab = Lab::up(&["--scenario=full"]);
    assert_eq!(lab.login_refused(), Some(1040), "it begins with every login refused");
    let before = lab.traces();
    let dry = lab.run(&["run", "emergency", "--dry-run"]).expect(0);
    assert_eq!(lab.traces(), before, "a dry run leaves no trace");
    assert!(dry.stdout.contains("every login is refused"), "{}", dry.stdout);
    let retired = lab.retired();
    let ran = lab.run(&["run", "emergency", "--yes", "--set=hold=6s", "--set=within=15s"]);
    assert!(lab.retired() >= retired + 2, "slots were freed from the platform's side: {}", ran.all());
    assert!(lab.traces().mutating > before.mutating);
    // That it was full is the evidence; what the platform tells was kept before the first change.
    let state = lab.state();
    assert!(state.contains("refused by the full database: process list"), "{}", ran.all());
    assert!(state.contains("\"state\": \"refused\"") && state.contains("\"file\": \"releases.json\""));
    assert!(lab.secrets().iter().all(|secret| !state.contains(secret)), "and no secret in it");
    healed_or_honest(&lab, ran);
}

#[test]
fn against_the_leak_that_refills_after_each_kill_it_is_honest() {
    let lab = Lab::up(&["--scenario=leak"]);
    let before = lab.traces();
    let arguments = ["--set=idle=1s", "--set=hold=6s", "--set=within=15s"];
    let ran = lab.run(&[&["run", "emergency", "--yes"], &arguments[..]].concat());
    assert!(lab.traces().kills > before.kills, "idle sessions were killed, and came back: {}", ran.all());
    assert!(!ran.all().contains("healed by rung 1"), "two good seconds are not health: {}", ran.all());
    healed_or_honest(&lab, ran);
}

#[test]
fn a_slow_leak_is_healed_by_the_restart_when_no_login_gets_in() {
    let lab = Lab::up(&["--scenario=slow-leak"]);
    assert_eq!(lab.login_refused(), Some(1040), "it begins with every login refused");
    let ran = lab.run(&["run", "emergency", "--yes", "--json"]).expect(0);
    lab.healthy_below(0.60);
    let text = ran.stdout;
    assert!(text.contains("healed by rung"), "{text}");
    assert!(!text.contains("\"step\":\"scale-down\""), "it stops at the first rung that heals");
    assert_eq!(lab.look()["dynos"].as_array().expect("dynos").len(), 2, "and nothing was scaled");
}

#[test]
fn idle_sessions_are_killed_and_those_at_work_are_not() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let idle: Vec<_> = (0..100).map(|_| lab.session()).collect();
    let before = lab.traces();
    support::until("they are asleep, as the server measures it", std::time::Duration::from_secs(10), || {
        lab.sleeping(2) >= 100
    });
    let arguments =
        ["run", "emergency", "--set=idle=2s", "--set=hold=3s", "--set=within=20s", "--set=healthy_below=40%"];
    let dry = lab.run(&[&arguments[..], &["--dry-run"]].concat()).expect(0);
    assert_eq!(lab.traces(), before);
    assert!(dry.stdout.contains("KILL SOFT"), "the statement is shown:\n{}", dry.stdout);
    let ran = lab.run(&[&arguments[..], &["--yes"]].concat()).expect(0);
    let after = lab.traces();
    assert!(after.kills > before.kills, "{after:?}");
    assert!(lab.used() < 20, "{}", lab.look());
    assert!(ran.all().contains("healed by rung 1"), "{}", ran.all());
    assert_eq!(after.set_global, 0);
    drop(idle);
}
