//! The guide's three scripts, each a command that takes no dyno.

use std::time::Duration;

use crate::support::shared::Shared;
use crate::support::{Lab, until};

/// `check_db_connections.php`: how many connections now, in a line; and an answer for cron.
#[test]
fn check_db_connections() {
    let lab = Shared::take();
    let (traces, state) = (lab.traces(), lab.state());
    let told = lab.run(&["health"]).expect(0);
    assert_eq!(told.stdout.lines().count(), 1, "{}", told.stdout);
    for part in ["wizzypedia healthy", "usage ", "/150)", "refused 0", "dynos 2/2 up", "page"] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    assert!(told.stderr.is_empty(), "cron sends mail about every word: {}", told.stderr);
    lab.run(&["health", "--require", "usage < 80% and live"]).expect(0);
    let low = lab.run(&["health", "--require", "used > 100 and live", "--json"]).expect(4);
    assert!(low.stderr.contains("used > 100: no (used "), "{}", low.stderr);
    let [object] = &low.events()[..] else { panic!("one object: {}", low.stdout) };
    assert_eq!(
        (&object["type"], &object["run"], &object["exit_code"]),
        (&"sample".into(), &serde_json::Value::Null, &4.into())
    );
    assert_eq!((&object["outcome"], &object["require"]["holds"]), (&"gate_shut".into(), &false.into()));
    assert!(object["usage"].as_f64().is_some_and(|usage| usage > 0.0 && usage < 0.4), "{object}");
    let watched = lab
        .run(&["health", "--watch", "--json", "--for=2s", "--every=500ms", "--require=usage < 80%"])
        .expect(0);
    let lines = watched.events();
    let (last, samples) = lines.split_last().expect("lines");
    assert!(samples.len() >= 4 && samples.iter().all(|line| line["type"] == "sample"), "{}", watched.stdout);
    assert_eq!((&last["outcome"], &last["exit_code"]), (&"done".into(), &0.into()));
    let numbered: Vec<_> = lines.iter().filter_map(|line| line["seq"].as_u64()).collect();
    assert_eq!(numbered, (1..=lines.len() as u64).collect::<Vec<_>>());
    let faulty = lab.run(&["health", "--require", "usge < 80%"]).expect(2);
    assert!(
        faulty.stderr.contains("^^^^") && faulty.stderr.contains("did you mean `usage`"),
        "{}",
        faulty.stderr
    );
    lab.run_in(&[("RUNBOOK_DATABASE_URL", "mysql://other@127.0.0.1/wiki")], &["health", "--require=live"])
        .expect(9);
    assert_eq!((lab.traces(), lab.state()), (traces, state), "it changes nothing and writes nothing down");
}

/// `kill_idle_connections.php`: shown first, then ended, and told as any run.
#[test]
fn kill_idle_connections() {
    let lab = Shared::take();
    let idle: Vec<_> = (0..30).map(|_| lab.session()).collect();
    until("they are asleep", Duration::from_secs(20), || lab.sleeping(2) >= 30);
    let before = lab.traces();
    let shown = lab.run(&["kill-idle", "--idle=2s", "--at-most=20", "--dry-run"]).expect(0);
    assert!(
        shown.stdout.contains("KILL SOFT") && shown.stdout.contains("20 sessions match now"),
        "{}",
        shown.stdout
    );
    assert_eq!(lab.traces(), before, "nothing was ended");
    lab.run(&["kill-idle", "--idle=2s"]).expect(6);
    assert_eq!(lab.traces(), before, "without an answer nothing is ended");
    let ran = lab.run(&["kill-idle", "--idle=2s", "--at-most=20", "--yes", "--json"]).expect(0);
    assert_eq!(lab.traces().kills, before.kills + 20, "{}", ran.stderr);
    assert_eq!(ran.events().last().expect("a last line")["outcome"], "done");
    lab.run(&["kill-idle", "--idle=nonsense", "--dry-run"]).expect(2);
    drop(idle);
}

/// `diagnose_connections.php`: the full diagnosis, without a dyno, and without a trace.
#[test]
fn diagnose_connections() {
    let lab = Shared::take();
    let (traces, state) = (lab.traces(), lab.state());
    let told = lab.run(&["diagnose", "--for=5s"]).expect(0);
    assert!(told.stdout.starts_with("wizzypedia: healthy (confidence "), "{}", told.stdout);
    for part in ["do now", "what changed", "measured", "holders", "platform", "slots used", "web.1 up"] {
        assert!(told.stdout.contains(part), "{part}: {}", told.stdout);
    }
    assert!(told.stdout.lines().all(|line| line.chars().count() <= 80), "{}", told.stdout);
    assert_eq!((lab.traces(), lab.state()), (traces, state), "it changes nothing and writes nothing down");
}

/// Long term: the slow statement is named, and whether a replica or a larger plan is what is missing.
#[test]
fn slow_queries_replica_or_plan() {
    let lab = Lab::up(&["--scenario=load", "--time-scale=20"]);
    let told = lab.run(&["diagnose", "--json"]).expect(0);
    let [object] = &told.events()[..] else { panic!("one object: {}", told.stdout) };
    assert_eq!((&object["verdict"], &object["exit_code"]), (&"load".into(), &0.into()), "{object}");
    assert!(object["confidence"].as_f64() > Some(0.8), "{object}");
    let advice = |help: &str| {
        let all = object["advice"].as_array().expect("a list");
        let found =
            all.iter().find(|advice| advice["help"] == help).unwrap_or_else(|| panic!("{help}: {object}"));
        format!("{}: {}", found["what"], found["why"])
    };
    assert!(advice("query").contains("SELECT SLEEP(?)"), "the statement, without its literals");
    assert!(advice("replica").contains("are reads"));
    assert!(advice("plan").contains("upgrade-plan"));
    assert!(advice("runbook").contains("scale-down"), "killing sleepers does not help a load");
}

/// Support: a leak is told from a load, when it began is seen, and the change that it began with is named.
#[test]
fn leak_or_load_and_what_changed() {
    let lab = Shared::take();
    let own = lab.runbook(
        "look",
        "runbook: 1\nname: look\nsummary: sees health\nsteps:\n  - id: see\n    wait: { until: healthy, within: 30s }\n",
    );
    lab.run(&["run", "look", "--runbooks", &own, "--yes"]).expect(0);
    lab.app("PATCH", "/config-vars", &serde_json::json!({ "WIKI_FEATURE": "on" })).expect(200);
    let before = lab.used();
    let left: Vec<_> = (0..130).map(|_| lab.session()).collect();
    until("they are left asleep", Duration::from_secs(20), || lab.sleeping(1) >= 130);
    let told = lab.run(&["diagnose", "--json", "--for=10s"]).expect(0);
    let object = &told.events()[0];
    assert_eq!(object["verdict"], "leak", "{before} before: {object}");
    assert_eq!(object["recommends"], "deploy-fix");
    let suspect = &object["changes"]["suspect"];
    let what = suspect["what"].as_str().expect("a suspect");
    assert!(what.contains("Set WIKI_FEATURE config vars"), "{suspect}");
    assert!(suspect["confidence"].as_f64() >= Some(0.8), "usage was low before it: {suspect}");
    assert!(object["changes"]["began"].is_string(), "{object}");
    drop(left);
}
