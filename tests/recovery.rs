//! What a run leaves open, and how it is gone on with or taken back: signals, resume, undo, the lock, others at work.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::process::{Child, Command};
use std::time::Duration;

use mysql::prelude::Queryable;
use serde_json::{Value as Json, json};
use support::shared::Shared;
use support::{Lab, Ran, until};

const HEAD: &str = "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\n";

/// A runbook of the test's own; gives the arguments of its run.
fn own(lab: &Lab, steps: &str) -> Vec<String> {
    let folder = lab.runbook("own", &format!("{HEAD}steps:\n{steps}"));
    ["run", "own", "--yes", "--runbooks", &folder].map(str::to_owned).to_vec()
}

fn run(lab: &Lab, arguments: &[String]) -> Ran {
    lab.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Starts one in the background; its journal is the newest when this returns.
fn start(lab: &Lab, arguments: &[String]) -> Child {
    let earlier = runs(lab).len();
    let child = lab.start(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    until("the run", Duration::from_secs(60), || runs(lab).len() > earlier);
    child
}

/// The runs of the lab's state directory, newest first.
fn runs(lab: &Lab) -> Vec<Json> {
    let listed = lab.run(&["runs", "--json"]).expect(0);
    listed.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn newest(lab: &Lab) -> String {
    runs(lab)[0]["run"].as_str().expect("an id").to_owned()
}

/// Waits until the newest run waits in step `step`, after `earlier` runs.
fn reached(lab: &Lab, step: &str) {
    let began = format!(r#""type":"step_started","step":"{step}""#);
    until(&format!("step {step}"), Duration::from_secs(60), || lab.journal().contains(&began));
}

#[expect(clippy::disallowed_methods, reason = "signals a process that the test has started, by pid")]
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn web(lab: &Lab) -> u64 {
    let formation = lab.app("GET", "/formation", &Json::Null).expect(200).json();
    let row = formation.as_array().expect("a list").iter().find(|row| row["type"] == "web");
    row.expect("a row")["quantity"].as_u64().expect("a count")
}

const NARROW: &str = "  - { id: narrow, scale: { to: 1 }, gate: { until: live, within: 30s } }
  - { id: hold, wait: { until: dynos.up == 1, for: 1500ms, within: 30s } }
  - { id: long, when: steps.narrow.from == 2, wait: { until: dynos.wanted == 9, within: 2s }, on_failure: continue }
  - { id: widen, always: true, scale: { to: 2 }, gate: { until: live, within: 30s } }
";

#[test]
fn each_signal_pauses_the_run_with_what_always_runs_and_resume_does_anew_what_that_reversed() {
    let lab = Shared::take();
    for name in ["INT", "TERM", "HUP"] {
        let arguments = own(&lab, NARROW);
        let mut child = start(&lab, &arguments);
        until("the first step's change", Duration::from_secs(60), || lab.journal().contains("\"done\""));
        reached(&lab, "hold");
        signal(&child, name);
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{name}");
        assert_eq!(web(&lab), 2, "{name}: what always runs has run");
        let run_id = newest(&lab);
        let told = lab.run(&["show", &run_id]).expect(0).stdout;
        for said in [
            &format!("{name}: stopping"),
            "interrupted",
            "heroku ps:scale web=2",
            &format!("`runbook resume {run_id}`"),
        ] {
            assert!(told.contains(said), "{name}: {said}\n{told}");
        }
        // The lock and the lease are free: the run goes on at once, narrow again, and wide at its end.
        let resumed = lab.run(&["resume", "--yes"]).expect(0);
        assert!(
            resumed.stderr.contains("done anew, since the pause had reversed it: narrow"),
            "{}",
            resumed.stderr
        );
        assert_eq!(web(&lab), 2, "{name}");
        assert_eq!(lab.journal().matches(r#""type":"run_started""#).count(), 1, "the same run");
        assert!(lab.journal().contains(&run_id), "under its id");
        let again = lab.run(&["resume", &run_id, "--yes"]).expect(9);
        assert!(again.stderr.contains("it is done"), "{}", again.stderr);
    }
}

#[test]
fn a_changed_runbook_or_target_is_shown_and_goes_on_only_when_that_is_accepted() {
    let lab = Shared::take();
    let arguments = own(
        &lab,
        "  - { id: first, diagnose: }\n  - { id: long, wait: { until: dynos.up == 9, within: 60s } }\n",
    );
    let mut child = start(&lab, &arguments);
    reached(&lab, "long");
    signal(&child, "KILL");
    child.wait().expect("it is gone");
    own(
        &lab,
        "  - { id: first, diagnose: }\n  - { id: long, wait: { until: dynos.up == 2, within: 60s } }\n",
    );
    let folder = arguments[4].as_str();
    let refused = lab.run(&["resume", "--yes", "--runbooks", folder]).expect(9);
    for said in [
        "the runbook has changed",
        "-  - { id: long, wait: { until: dynos.up == 9",
        "+  - { id: long, wait: { until: dynos.up == 2",
        "--accept-changed runbook",
    ] {
        assert!(refused.stderr.contains(said), "{said}\n{}", refused.stderr);
    }
    let elsewhere = tempfile::tempdir().expect("a folder");
    support::git(elsewhere.path(), &["clone", "-q", &lab.wiki.display().to_string(), "wiki"]);
    let other = elsewhere.path().join("wiki").display().to_string();
    let refused = lab
        .run(&["resume", "--yes", "--accept-changed", "runbook", "--runbooks", folder, "-C", &other])
        .expect(9);
    assert!(refused.stderr.contains("working tree: was"), "{}", refused.stderr);
    let gone_on =
        lab.run(&["resume", "--yes", "--accept-changed", "runbook", "--runbooks", folder]).expect(0);
    assert!(!gone_on.stderr.contains("▶ step first"), "what is over stays over: {}", gone_on.stderr);
    let once_more = lab.run(&["show", &newest(&lab)]).expect(0).stdout;
    assert!(once_more.contains("taken up again by"), "{once_more}");
}

#[test]
fn a_run_is_undone_once_and_somebody_elses_number_is_not() {
    let lab = Shared::take();
    let three = own(&lab, "  - { id: more, scale: { to: 3 }, gate: { until: live, within: 40s } }\n");
    run(&lab, &three).expect(0);
    let run_id = newest(&lab);
    let before = lab.traces().mutating;
    let preview = lab.run(&["undo", &run_id, "--dry-run"]).expect(0);
    assert!(preview.stdout.contains("web back to 2"), "{}", preview.stdout);
    assert_eq!((lab.traces().mutating, web(&lab)), (before, 3), "a preview changes nothing");
    // Somebody scales meanwhile: not ours to put back.
    let update = |to: u64| json!({ "updates": [{ "type": "web", "quantity": to }] });
    lab.app("PATCH", "/formation", &update(1)).expect(200);
    let refused = lab.run(&["undo", &run_id, "--yes"]).expect(9);
    assert!(refused.stderr.contains("somebody else has scaled it since"), "{}", refused.stderr);
    lab.app("PATCH", "/formation", &update(3)).expect(200);
    let undone = lab.run(&["undo", &run_id, "--yes"]).expect(0);
    assert!(undone.stdout.contains("heroku ps:scale web=3"), "{}", undone.stdout);
    assert_eq!(web(&lab), 2);
    let twice = lab.run(&["undo", &run_id, "--yes"]).expect(6);
    assert!(twice.stderr.contains("nothing is done twice"), "{}", twice.stderr);
    let nothing = own(&lab, "  - { id: look, diagnose: }\n");
    run(&lab, &nothing).expect(0);
    let said = lab.run(&["undo", &newest(&lab), "--yes"]).expect(0);
    assert!(said.stdout.contains("can be taken back"), "{}", said.stdout);
}

#[test]
fn a_second_run_from_anywhere_is_refused_by_name_and_the_lock_dies_with_its_holder() {
    let lab = Shared::take();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let state = elsewhere.path().join("state").display().to_string();
    let long = own(&lab, "  - { id: long, wait: { until: dynos.up == 9, within: 60s } }\n");
    let mut holder = start(&lab, &long);
    reached(&lab, "long");
    let holder_run = newest(&lab);
    let other = |arguments: &[&str]| lab.run_in(&[("RUNBOOK_STATE_DIR", state.as_str())], arguments);
    let brief = lab.runbook(
        "brief",
        &format!("{}steps:\n  - {{ id: look, diagnose: }}\n", HEAD.replace("own", "brief")),
    );
    let refused = other(&["run", "brief", "--yes", "--runbooks", &brief]).expect(8);
    for said in [
        "another run holds wizzypedia",
        "@",
        "with `own` since",
        &holder_run,
        "nothing was changed",
        "--wait-lock",
    ] {
        assert!(refused.stderr.contains(said), "{said}\n{}", refused.stderr);
    }
    // It cannot outlive its holder.
    signal(&holder, "KILL");
    holder.wait().expect("it is gone");
    other(&["run", "brief", "--yes", "--runbooks", &brief, "--wait-lock", "10s"]).expect(0);
    // Who waits for the lock gets it when its holder has ended.
    let mut holder =
        start(&lab, &own(&lab, "  - { id: long, wait: { until: dynos.up == 2, for: 4s, within: 60s } }\n"));
    reached(&lab, "long");
    let waited = other(&["run", "brief", "--yes", "--runbooks", &brief, "--wait-lock", "60s"]).expect(0);
    assert!(waited.stderr.contains("waiting for its end"), "{}", waited.stderr);
    assert_eq!(holder.wait().expect("it ends").code(), Some(0));
}

/// What it is, how it is done, and how it is named.
type Deed = (&'static str, fn(&Lab), &'static str);

#[test]
fn a_lock_that_is_found_held_when_the_full_database_lets_the_run_in_stops_it_before_its_next_change() {
    let lab = Shared::take();
    let mut other = lab.session();
    let taken: Option<u64> =
        other.query_first("SELECT GET_LOCK('runbook:wiki:wizzypedia', 0)").expect("a statement");
    assert_eq!(taken, Some(1), "the test holds the app's lock, as a run on another machine does");
    let mut overseer = lab.overseer();
    let limit: u64 = overseer.query_first("SELECT @@max_connections").expect("a statement").expect("a row");
    overseer.query_drop("SET GLOBAL max_connections = 10").expect("a statement");
    let fill: Vec<_> = (0..12).filter_map(|_| lab.try_session()).collect();
    let steps = "  - { id: look, wait: { until: usage < 80%, within: 60s } }
  - { id: restart, restart: all, gate: { until: live, within: 40s } }
";
    let retired = lab.retired();
    let mut child = start(&lab, &own(&lab, steps));
    reached(&lab, "look");
    drop(fill);
    overseer.query_drop(format!("SET GLOBAL max_connections = {limit}")).expect("a statement");
    assert_eq!(child.wait().expect("it ends").code(), Some(8));
    let told = lab.run(&["show", &newest(&lab)]).expect(0).stdout;
    assert!(told.contains("another run holds this app"), "{told}");
    assert!(told.contains("changed: nothing."), "{told}");
    assert_eq!(lab.retired(), retired);
    drop(other);
    lab.run(&["resume", "--yes"]).expect(0);
    assert_eq!(lab.retired(), retired + 2, "with the lock free the run goes on");
}

#[test]
fn somebody_else_at_work_pauses_the_run_before_its_next_change_and_is_named() {
    let lab = Shared::take();
    let steps = "  - { id: look, wait: { until: live, for: 4s, within: 60s } }
  - { id: restart, restart: all, gate: { until: live, within: 40s } }
";
    let deeds: [Deed; 3] = [
        (
            "a release",
            |lab| {
                let releases = lab.app("GET", "/releases", &Json::Null).expect(200).json();
                let current = releases.as_array().expect("a list").iter().find(|row| row["current"] == true);
                let body = json!({ "release": current.expect("one")["id"] });
                lab.app("POST", "/releases", &body).expect(201);
            },
            "release v",
        ),
        (
            "a scale",
            |lab| {
                let body = json!({ "updates": [{ "type": "web", "quantity": 3 }] });
                lab.app("PATCH", "/formation", &body).expect(200);
            },
            "web is scaled to 3, and was at 2",
        ),
        (
            "a restart",
            |lab| {
                lab.app("DELETE", "/dynos", &Json::Null).expect(202);
            },
            "every dyno was restarted",
        ),
    ];
    for (what, deed, named) in deeds {
        let mut child = start(&lab, &own(&lab, steps));
        reached(&lab, "look");
        let retired = lab.retired();
        deed(&lab);
        assert_eq!(child.wait().expect("it ends").code(), Some(6), "{what}");
        let told = lab.run(&["show", &newest(&lab)]).expect(0).stdout;
        assert!(
            told.contains("Somebody else is at work on this app") && told.contains(named),
            "{what}: {told}"
        );
        assert!(told.contains("changed: nothing."), "{what}: {told}");
        // A person has looked: the run is taken up again, from what is there now.
        let body = json!({ "updates": [{ "type": "web", "quantity": 2 }] });
        lab.app("PATCH", "/formation", &body).expect(200);
        until("the dynos", Duration::from_secs(30), || {
            let dynos = lab.app("GET", "/dynos", &Json::Null).expect(200).json();
            let dynos = dynos.as_array().expect("a list");
            dynos.len() == 2 && dynos.iter().all(|dyno| dyno["state"] == "up")
        });
        lab.run(&["resume", "--yes"]).expect(0);
        assert!(lab.retired() >= retired + 2, "{what}: the restart that was held back is made");
    }
}

/// What is included is a part of the run: it is shown, gone on with and taken back without the other file.
#[test]
fn a_run_that_includes_another_goes_on_and_is_undone_when_that_file_is_gone() {
    let lab = Shared::take();
    let part = "runbook: 1\nname: part\nsummary: a part\ninputs:\n  to: { type: count, default: 2 }\nsteps:
  - { id: narrow, scale: { to: '${{ inputs.to }}' }, gate: { until: live, within: 30s } }
  - { id: told, check: steps.narrow.to == 1 }\n";
    let folder = lab.runbook("part", part);
    let steps = "  - { id: less, include: { runbook: part, with: { to: 1 } } }
  - { id: many, check: steps.less-narrow.from == 2 and sleeping >= 20 }\n";
    let arguments = own(&lab, steps);
    let shown = lab.run(&["run", "own", "--dry-run", "--runbooks", &folder]).expect(0);
    assert!(shown.stdout.contains("less-narrow") && shown.stdout.contains("from 2 to 1"), "{}", shown.stdout);
    let ran = run(&lab, &arguments).expect(4);
    assert!(ran.all().contains("less-told: done") && web(&lab) == 1, "{}", ran.all());
    std::fs::remove_file(std::path::Path::new(&folder).join("part.yaml")).expect("it was there");
    let asleep: Vec<_> = (0..20).map(|_| lab.session()).collect();
    let id = newest(&lab);
    let resumed = lab.run(&["resume", &id, "--yes"]).expect(0);
    assert!(resumed.all().contains("many: done"), "{}", resumed.all());
    drop(asleep);
    lab.run(&["undo", &id, "--yes"]).expect(0);
    assert_eq!(web(&lab), 2, "as before");
}
