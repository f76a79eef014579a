//! `runbook run emergency`: works while every login is refused, climbs, and says honestly whether it healed.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use support::Lab;

#[test]
fn with_every_login_refused_it_restarts_and_against_the_leak_it_ends_with_4() {
    let lab = Lab::up(&["--scenario=full"]);
    let before = lab.traces();
    let dry = lab.run(&["run", "emergency", "--dry-run"]).expect(0);
    assert_eq!(lab.traces(), before, "a dry run leaves no trace");
    assert!(dry.stdout.contains("every login is refused"), "{}", dry.stdout);
    let ran = lab.run(&["run", "emergency", "--yes", "--set=hold=6s", "--set=within=15s"]);
    assert!(lab.traces().mutating > before.mutating);
    if ran.code == 0 {
        // Healed is only what is healed from outside.
        assert!(lab.used() * 100 < 60 * 150, "{}", lab.look());
    } else {
        let ran = ran.expect(4);
        for wanted in ["no rung healed", "runbook run deploy-fix", "leak", "scaled web"] {
            assert!(ran.all().contains(wanted), "{wanted}:\n{}", ran.all());
        }
        assert_eq!(lab.look()["dynos"].as_array().expect("dynos").len(), 1, "scaled to one");
    }
}

#[test]
fn a_slow_leak_is_healed_by_the_restart_when_no_login_gets_in() {
    let lab = Lab::up(&["--scenario=slow-leak"]);
    let ran = lab.run(&["run", "emergency", "--yes", "--json"]).expect(0);
    assert!(lab.used() * 100 < 60 * 150, "{}", lab.look());
    let text = ran.stdout;
    assert!(text.contains("healed by rung"), "{text}");
    assert!(!text.contains("\"step\":\"scale-down\""), "it stops at the first rung that heals");
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
