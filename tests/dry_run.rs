//! A dry run cannot change anything: by type, and by what it leaves on the wire, in the server and in the repository.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::{Lab, Ran};

/// Each of these must fail to compile, and the error must say why: the parts are private, the type or trait is missing.
#[test]
fn write_authority_cannot_be_built_and_secrets_cannot_be_written_down() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}

/// Every file below `.git`, with its bytes: objects, refs, index, logs.
fn repository(lab: &Lab) -> BTreeMap<PathBuf, Vec<u8>> {
    fn walk(folder: &Path, into: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).expect("readable").filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, into);
            } else {
                let bytes = std::fs::read(&path).expect("readable");
                into.insert(path, bytes);
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(&lab.wiki.join(".git"), &mut files);
    files
}

/// Runs it dry, and proves that it left nothing behind anywhere.
#[track_caller]
fn dry(lab: &Lab, arguments: &[&str]) -> Ran {
    let (traces, files, requests) = (lab.traces(), repository(lab), lab.requests().len());
    let state = lab.state();
    let ran = lab.run(&[arguments, &["--dry-run"]].concat()).expect(0);
    assert_eq!(lab.traces(), traces, "no mutating request, no KILL, no SET GLOBAL, git as it was");
    assert_eq!(lab.state(), state, "no journal");
    for entry in &lab.requests()[requests..] {
        assert_eq!(entry["method"], "GET", "only reads on the wire: {entry}");
    }
    assert!(lab.requests().len() > requests, "and it did read");
    for (path, bytes) in repository(lab) {
        let before = files.get(&path);
        assert_eq!(before, Some(&bytes), "{} was written", path.display());
    }
    ran
}

#[track_caller]
fn says(ran: &Ran, wanted: &[&str]) {
    for wanted in wanted {
        assert!(ran.stdout.contains(wanted), "{wanted} is in the preview:\n{}", ran.stdout);
    }
}

#[test]
fn the_three_shipped_runbooks_leave_no_trace_dry_and_their_live_runs_do() {
    let lab = Lab::up(&["--scenario=quiet"]);

    // emergency: kills.
    let idle: Vec<_> = (0..100).map(|_| lab.session()).collect();
    support::until("they are asleep", Duration::from_secs(20), || lab.sleeping(2) >= 100);
    let emergency =
        ["run", "emergency", "--set=idle=2s", "--set=hold=3s", "--set=within=20s", "--set=healthy_below=40%"];
    let shown = dry(&lab, &emergency);
    says(
        &shown,
        &["would run", "KILL", "DELETE /apps/wizzypedia/dynos", "PATCH /apps/wizzypedia/formation", "[now:"],
    );
    says(&shown, &["nothing was changed"]);
    let before = lab.traces();
    lab.run(&[&emergency[..], &["--yes"]].concat()).expect(0);
    let after = lab.traces();
    assert!(after.kills >= before.kills + 100, "the counter counts: {before:?} {after:?}");
    assert_eq!(after.set_global, 0);
    drop(idle);

    // deploy-fix: a commit, a push, a release.
    lab.file("LocalSettings.php", "<?php\n# a change of this test\n");
    let shown = dry(&lab, &["run", "deploy-fix"]);
    says(
        &shown,
        &["would run", "git commit", "git push", "HEAD:master", "LocalSettings.php (+", "gate: live"],
    );
    says(&shown, &["connections: ", "measured when reached"]);
    let before = lab.traces();
    lab.run(&["run", "deploy-fix", "--yes", "--set=soak=2s"]);
    let after = lab.traces();
    assert!(after.mutating > before.mutating, "the counter counts: {before:?} {after:?}");
    assert_ne!(after.git, before.git, "the commit is seen");

    // rollback: a release from an older one.
    let rollback = ["run", "rollback", "--set=method=release"];
    let shown = dry(&lab, &rollback);
    says(&shown, &["would run", "POST /apps/wizzypedia/releases"]);
    let shown = dry(&lab, &["run", "rollback"]);
    says(&shown, &["would run", "git revert", "git push"]);
    let before = lab.traces();
    lab.run(&[&rollback[..], &["--yes"]].concat()).expect(0);
    assert!(lab.traces().mutating > before.mutating);
}

#[test]
fn a_dry_run_tells_programs_the_same_and_writes_the_plan_where_it_is_told_to() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let file = lab.wiki.parent().expect("a parent").join("plan.json");
    let out = format!("--plan-out={}", file.display());
    let ran = lab.run(&["run", "rollback", "--dry-run", "--json", &out]).expect(0);
    let events = ran.events();
    let statuses: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "step_finished")
        .map(|event| &event["status"])
        .collect();
    assert_eq!(statuses, ["would_run", "would_run"], "{statuses:?}");
    assert!(events.iter().all(|event| event["run"].is_null()), "there is no run");
    let sample = events.iter().find(|event| event["type"] == "sample").expect("a sample");
    let usage = sample["usage"].as_f64().expect("usage is known");
    assert!((0.0..=1.0).contains(&usage), "{usage}");
    assert_eq!(sample["metrics"]["usage"].as_f64(), Some(usage), "bare values");
    let last = events.last().expect("a last line");
    assert_eq!(
        (&last["type"], &last["outcome"], &last["exit_code"]),
        (&"run_finished".into(), &"done".into(), &0.into())
    );

    let plan: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&file).expect("written")).expect("JSON");
    assert_eq!(plan["plan"], events[0]["plan"], "with its hash");
    assert_eq!(plan["record"]["target"]["app"], "wizzypedia");
    assert!(plan["steps"].as_array().is_some_and(|steps| steps.len() == 2), "{plan}");
    for secret in lab.secrets() {
        assert!(!plan.to_string().contains(&secret), "a secret in the plan");
    }
    let nowhere = lab.run(&["run", "rollback", "--dry-run", "--plan-out=/nowhere/plan.json"]).expect(9);
    assert!(nowhere.stderr.contains("/nowhere/plan.json"), "{}", nowhere.stderr);
}
