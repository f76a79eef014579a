//! The journal of real runs: what cannot be written down is not done, one run an app, an end after every signal.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]
#![expect(clippy::disallowed_methods, reason = "runs that are to be interrupted, or to write to a full disk")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value as Json, json};
use support::Lab;

const HEAD: &str = "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\n";

/// `runbook run own --yes --json` in the background; `before` are shell commands of its own.
fn start(lab: &Lab, own: &str, before: &str) -> Child {
    let line =
        format!("{before} exec '{}' run own --runbooks '{own}' --yes --json", support::binary().display());
    Command::new("sh")
        .args(["-c", &line])
        .current_dir(&lab.wiki)
        .envs(&lab.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

fn send(child: &Child, signal: Signal) {
    let id = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("an id")).expect("an id");
    rustix::process::kill_process(id, signal).expect("sent");
}

/// Exit code, events, talk.
fn end(child: Child) -> (Option<i32>, Vec<Json>, String) {
    let output = child.wait_with_output().expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = told.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    (output.status.code(), events, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn restarts(lab: &Lab) -> usize {
    lab.requests().iter().filter(|request| request["method"] == "DELETE").count()
}

/// The newest run's journal.
fn journal(lab: &Lab) -> String {
    let runs = std::path::Path::new(&lab.environment["RUNBOOK_STATE_DIR"]).join("runs");
    let mut folders: Vec<_> =
        std::fs::read_dir(runs).expect("runs").filter_map(Result::ok).map(|entry| entry.path()).collect();
    folders.sort();
    std::fs::read_to_string(folders.last().expect("a run").join("journal.jsonl")).expect("its journal")
}

#[test]
fn an_intention_that_cannot_be_written_is_not_carried_out() {
    let lab = Lab::up(&["--scenario=quiet", "--dynos=6"]);
    // A long comment: the journal is longer than the samples, which share the limit, get in the time of the test.
    let padding = "# padding\n".repeat(12_000);
    let text =
        format!("{HEAD}{padding}steps:\n  - id: restart\n    restart: all\n    gate: {{ none: a test }}\n");
    let own = lab.runbook("own", &text);
    lab.run(&["run", "own", "--runbooks", &own, "--yes"]).expect(0);
    assert_eq!(restarts(&lab), 1, "with room on the disk it restarts");

    // Now the disk is full in the middle of the intention's line: files may grow up to there.
    let whole = journal(&lab);
    let line = whole.lines().position(|line| line.contains("\"type\":\"intended\"")).expect("an intention");
    let begins: usize = whole.lines().take(line).map(|line| line.len() + 1).sum();
    let blocks = (begins + 64).div_ceil(512);
    assert!(
        blocks * 512 + 64 < begins + whole.lines().nth(line).expect("the line").len(),
        "it falls into the line"
    );
    let (code, events, talk) = end(start(&lab, &own, &format!("trap '' XFSZ; ulimit -f {blocks};")));
    assert_eq!(code, Some(9), "{talk}");
    assert_eq!(restarts(&lab), 1, "nothing was done");
    let last = events.last().expect("a last line");
    assert_eq!((&last["type"], &last["outcome"]), (&json!("run_finished"), &json!("unusable")));
    assert_eq!(last["run"], events[0]["run"], "of the run that had begun");
    let numbers: Vec<_> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert!(talk.contains("writing the journal") && talk.contains("changed: nothing"), "{talk}");

    // What is there can still be read: the torn line is dropped, and said.
    let run = last["run"].as_str().expect("an id");
    let told = lab.run(&["show", run]).expect(0);
    assert!(told.stderr.contains("torn") && told.stdout.contains("nothing was changed"), "{}", told.all());
}

#[test]
fn one_run_an_app_and_a_term_signal_ends_it_with_130() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook(
        "own",
        &format!("{HEAD}steps:\n  - id: wait\n    wait: {{ until: usage > 99%, within: 60s }}\n"),
    );
    let first = start(&lab, &own, "");
    support::until("it runs", Duration::from_secs(30), || lab.state().contains("step_started"));
    let second = lab.run(&["run", "own", "--runbooks", &own, "--yes", "--json"]).expect(8);
    assert!(second.stderr.contains("another run holds wizzypedia"), "{}", second.stderr);
    let last = second.events().pop().expect("the last line always comes");
    assert_eq!(
        (&last["run"], &last["outcome"], &last["exit_code"]),
        (&Json::Null, &json!("locked"), &json!(8))
    );
    let other = lab.run(&["run", "own", "--runbooks", &own, "--dry-run"]).expect(0);
    assert!(other.stdout.contains("no lock was taken"), "a dry run needs none: {}", other.stdout);
    send(&first, Signal::TERM);
    let (code, events, _) = end(first);
    assert_eq!(code, Some(130));
    let last = events.last().expect("a last line");
    assert_eq!((&last["outcome"], &last["exit_code"]), (&json!("interrupted"), &json!(130)));
    let runs = lab.run(&["runs", "--json"]).expect(0);
    let row: Json =
        serde_json::from_str(runs.stdout.lines().next().expect("one object a line")).expect("JSON");
    assert_eq!((&row["run"], &row["outcome"]), (&last["run"], &json!("interrupted")));
}

#[test]
fn the_first_signal_waits_for_the_change_in_hand_and_the_second_leaves_at_once() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook(
        "own",
        &format!("{HEAD}steps:\n  - id: slow\n    run: [sleep, \"20\"]\n    gate: {{ none: a test }}\n"),
    );
    let child = start(&lab, &own, "");
    support::until("the change is in hand", Duration::from_secs(30), || lab.state().contains("\"intended\""));
    send(&child, Signal::INT);
    support::until("it is told", Duration::from_secs(10), || lab.state().contains("\"interrupted\""));
    send(&child, Signal::INT);
    let begun = std::time::Instant::now();
    let (code, events, talk) = end(child);
    assert_eq!(code, Some(130));
    assert!(begun.elapsed() < Duration::from_secs(10), "at once");
    let last = events.last().expect("the last line comes all the same");
    assert_eq!((&last["type"], &last["outcome"]), (&json!("run_finished"), &json!("interrupted")));
    assert!(talk.contains("left at once"), "{talk}");
    let told = lab.run(&["show", last["run"].as_str().expect("an id")]).expect(0);
    assert!(told.stdout.contains("in doubt: sleep 20"), "{}", told.stdout);
}

#[test]
fn a_reader_that_leaves_or_never_reads_is_no_reason_to_stop() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook("own", &format!("{HEAD}steps:\n  - id: restart\n    restart: all\n    gate: {{ until: live, for: 2s, within: 60s }}\n"));
    let mut child = start(&lab, &own, "");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert!(line.contains("run_started"), "{line}");
    let mut talk = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut talk).expect("readable");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{talk}");
    assert!(!talk.contains("panicked"), "{talk}");

    // Output that nobody reads: its pipe is full before the run is over, as the long comment is in its first line.
    let padding = "# padding\n".repeat(12_000);
    let own = lab.runbook("own", &format!("{HEAD}{padding}steps:\n  - id: restart\n    restart: all\n    gate: {{ until: live, for: 2s, within: 60s }}\n"));
    let mut child = start(&lab, &own, "");
    support::until("it ends all the same", Duration::from_secs(90), || {
        matches!(child.try_wait(), Ok(Some(_)))
    });
    assert_eq!(child.wait().expect("it ended").code(), Some(0));
    assert!(journal(&lab).contains("run_finished"));
}
