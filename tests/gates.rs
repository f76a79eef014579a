//! Gates, prompts, deadlines, interruptions and lost answers, in one quiet rehearsal each.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::time::Duration;

use serde_json::{Value as Json, json};
use support::Lab;

fn statuses(events: &[Json]) -> Vec<(String, String)> {
    let text = |json: &Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    events
        .iter()
        .filter(|event| event["type"] == "step_finished")
        .map(|event| (text(&event["step"]), text(&event["status"])))
        .collect()
}

const HEAD: &str = "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\n";

#[test]
fn a_shut_gate_ends_with_4_later_steps_do_not_run_and_always_steps_do() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook(
        "own",
        &format!(
            "{HEAD}steps:
  - id: restart
    restart: all
    gate: {{ until: usage > 90%, for: 1s, within: 4s }}
  - id: later
    run: [touch, must-not-exist]
    gate: {{ none: it only makes a file }}
  - id: in-the-end
    always: true
    run: [touch, must-exist]
    gate: {{ none: it only makes a file }}
"
        ),
    );
    let ran = lab.run(&["run", "own", "--runbooks", &own, "--yes", "--json"]).expect(4);
    let events = ran.events();
    let last = events.last().expect("a last line");
    assert_eq!((&last["type"], &last["outcome"]), (&json!("run_finished"), &json!("gate_shut")));
    assert!(!lab.wiki.join("must-not-exist").exists(), "{:?}", statuses(&events));
    assert!(lab.wiki.join("must-exist").exists(), "{:?}", statuses(&events));
    let verdict = events.iter().find(|event| event["type"] == "verdict" && event["open"] == false);
    let verdict = verdict.expect("a verdict").to_string();
    assert!(verdict.contains("usage > 90%"), "clause by clause: {verdict}");
    for event in &events {
        assert_eq!(event["run"], events[0]["run"], "each line names its run");
    }
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "seq counts the lines");

    // The journal tells it again.
    let runs = lab.run(&["runs"]).expect(0);
    assert!(runs.stdout.contains("own") && runs.stdout.contains("gate"), "{}", runs.stdout);
    let run = events[0]["run"].as_str().expect("an id");
    let told = lab.run(&["show", run]).expect(0);
    assert!(told.stdout.contains("DELETE /apps/wizzypedia/dynos"), "{}", told.stdout);
}

#[test]
fn prompts_without_a_terminal_are_refused_before_any_change() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let before = lab.traces();
    let ran = lab.run(&["run", "rollback"]).expect(6);
    assert!(ran.stderr.contains("--yes") && ran.stderr.contains("--dry-run"), "{}", ran.stderr);
    let json = lab.run(&["run", "rollback", "--json"]).expect(6);
    let last = json.events().pop().expect("the last line always comes");
    assert_eq!(
        (&last["run"], &last["outcome"], &last["exit_code"]),
        (&Json::Null, &json!("declined"), &json!(6))
    );
    assert_eq!(lab.traces(), before);

    // `--yes` answers confirm steps too, and a check that is false ends with 4.
    let own = lab.runbook(
        "own",
        &format!(
            "{HEAD}steps:
  - id: sure
    confirm: Shall it go on at ${{{{ inputs.level }}}}?
  - id: still-well
    check: usage < ${{{{ inputs.level }}}}
  - id: never
    check: usage > 99%
inputs:
  level: {{ type: ratio, default: 90%, about: a level }}
"
        ),
    );
    let ran = lab.run(&["run", "own", "--runbooks", &own, "--yes", "--json"]).expect(4);
    let events = ran.events();
    let asked = events.iter().find(|event| event["type"] == "asked").expect("it asked");
    assert!(asked["question"].as_str().expect("a text").contains("90%"), "{asked}");
    let statuses = statuses(&events);
    assert_eq!(statuses.len(), 3, "{statuses:?}");
}

#[test]
fn a_lost_answer_is_read_back_and_nothing_is_done_twice() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook("own", &format!("{HEAD}steps:\n  - id: restart\n    restart: all\n    gate: {{ until: live, for: 1s, within: 60s }}\n"));
    let retired = lab.retired();
    lab.fault(&json!({ "method": "DELETE", "path": "/dynos", "fault": "lose-answer" }));
    let ran = lab.run(&["run", "own", "--runbooks", &own, "--yes", "--json"]);
    assert!([0, 7].contains(&ran.code), "done, or honestly in doubt: {}", ran.all());
    assert_eq!(lab.retired() - retired, 2, "each dyno was replaced once: {}", ran.all());

    // A release whose answer is lost: found by reading back, not made again.
    let before = lab
        .requests()
        .iter()
        .filter(|request| {
            request["method"] == "POST"
                && request["path"].as_str().is_some_and(|path| path.ends_with("/releases"))
        })
        .count();
    lab.fault(&json!({ "method": "POST", "path": "/releases", "fault": "lose-answer" }));
    let ran = lab.run(&["run", "rollback", "--yes", "--set=method=release"]).expect(0);
    let after = lab
        .requests()
        .iter()
        .filter(|request| {
            request["method"] == "POST"
                && request["path"].as_str().is_some_and(|path| path.ends_with("/releases"))
        })
        .count();
    assert_eq!(after - before, 1, "one POST: {}", ran.all());
}

#[test]
fn the_first_interrupt_finishes_what_is_in_hand_and_exits_with_130() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook(
        "own",
        &format!("{HEAD}steps:\n  - id: wait\n    wait: {{ until: usage > 99%, within: 60s }}\n"),
    );
    let child = lab.start(&["run", "own", "--runbooks", &own, "--yes", "--json"]);
    support::until("the run is in its journal", Duration::from_secs(20), || {
        lab.state().contains("step_started")
    });
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("an id")).expect("an id");
    rustix::process::kill_process(id, rustix::process::Signal::INT).expect("sent");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last: Json = serde_json::from_str(text.lines().last().expect("a last line")).expect("JSON");
    assert_eq!((&last["type"], &last["outcome"]), (&json!("run_finished"), &json!("interrupted")));
}

#[test]
fn bad_targets_are_found_before_any_change_and_say_what_to_do() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let before = lab.traces();
    let dry = ["run", "rollback", "--dry-run"];
    let wrong_key = lab.run_with(("HEROKU_API_KEY", "HRKU-wrong"), &dry).expect(9);
    assert!(wrong_key.stderr.contains("heroku auth:token"), "{}", wrong_key.stderr);
    assert!(!wrong_key.all().contains("HRKU-wrong"));
    let unknown = lab.run(&["run", "rollback", "--dry-run", "-a", "nosuchapp"]).expect(9);
    assert!(unknown.stderr.contains("nosuchapp"), "{}", unknown.stderr);
    let none = lab.run(&["run", "rolback", "--dry-run"]).expect(2);
    assert!(none.stderr.contains("did you mean `rollback`"), "{}", none.stderr);
    lab.run(&["run", "rollback", "--dry-run", "--set=method=sideways"]).expect(2);
    let url = lab.status["database_url"].as_str().expect("a URL").to_owned();
    let other = url.replace("/wiki", "/staging");
    let other = lab.run_with(("RUNBOOK_DATABASE_URL", &other), &dry).expect(9);
    assert!(other.stderr.contains("staging"), "{}", other.stderr);
    let password = lab.secrets().pop().expect("a password");
    let wrong = lab.run_with(("RUNBOOK_DATABASE_URL", &url.replace(&password, "wrong-password")), &dry);
    assert!(wrong.all().to_lowercase().contains("password"), "{}", wrong.all());
    assert!(!wrong.all().contains("wrong-password"), "not even a wrong password is shown");
    let nowhere = lab.run_with(("HEROKU_API_URL", "http://127.0.0.1:9"), &dry).expect(9);
    assert!(nowhere.stderr.contains("127.0.0.1:9"), "{}", nowhere.stderr);
    // A second run of the same tree with a dirty index is refused before anything happens.
    lab.file("staged.php", "<?php\n");
    support::git(&lab.wiki, &["add", "staged.php"]);
    let staged = lab.run(&["run", "rollback", "--yes"]).expect(9);
    assert!(staged.stderr.contains("staged.php"), "{}", staged.stderr);
    support::git(&lab.wiki, &["rm", "-q", "--cached", "staged.php"]);
    std::fs::remove_file(lab.wiki.join("staged.php")).expect("removed");
    assert_eq!(lab.traces(), before, "nothing was changed by any of them");
}
