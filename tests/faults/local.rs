//! Faults of this machine: disks, journals, a second run.

use std::time::{Duration, Instant};

use super::case::{Case, RESTART, ended};
use super::support::until;

/// Looks, and changes nothing.
const LOOK: &str = "steps:
  - id: look
    wait: { until: live, for: 1s, within: 40s }
";

/// A run's id in what it said.
fn id(told: &str) -> String {
    let run = told.lines().find_map(|line| line.split_once("s  run ")?.1.split_once(": "));
    run.expect("a run").0.to_owned()
}

#[test]
fn a_disk_that_is_full() {
    let case = Case::begin("the disk of the state directory is full at the start");
    // Files may grow to half a kilobyte, and then the disk is full: the first line of a journal is longer.
    let ran = ended(case.start_in_shell("trap '' XFSZ; ulimit -f 1;", &[], RESTART)).expect(9);
    assert_eq!(case.requests(), [""; 0], "what cannot be written down is not done");
    let shown = case.lab.run(&["show", &id(&ran.stderr)]).expect(9);
    assert!(shown.stderr.contains("nothing was done"), "{}", shown.stderr);
    case.end_unwritten(&ran, &["NOT done"]);
}

#[test]
fn a_disk_that_fills_up() {
    let case = Case::begin("the disk of the state directory fills up after a change");
    let steps = format!(
        "{RESTART}  - id: watch\n    wait: {{ until: usage > 99%, within: 60s }}\n  - id: again\n    restart: {{ dynos: all, force: true }}\n"
    );
    // The journal has room for the restart, and for some of the samples after it.
    let ran = ended(case.start_in_shell("trap '' XFSZ; ulimit -f 64;", &[], &steps)).expect(5);
    assert_eq!(case.requests(), ["DELETE /dynos"], "nothing more is done");
    let shown = case.lab.run(&["show", &id(&ran.stderr)]).expect(0);
    assert!(shown.stdout.contains("asked Heroku to restart every dyno"), "{}", shown.stdout);
    case.end_unwritten(&ran, &["restart: done", "NOT done"]);
}

#[test]
fn a_state_directory_that_is_read_only() {
    let case = Case::begin("the state directory is read-only");
    let state = case.lab.wiki.join("read-only");
    std::fs::create_dir(&state).expect("made");
    // Root may write everywhere, unless it gives that up.
    let first = format!(
        "chmod 500 {0}; [ \"$(id -u)\" != 0 ] || exec setpriv --bounding-set=-dac_override,-dac_read_search \"$0\" run own --runbooks ../own-runbooks --yes;",
        state.display()
    );
    let state = state.display().to_string();
    let first = first.replace("../own-runbooks", &case.lab.runbook("own", ""));
    let ran = ended(case.start_in_shell(&first, &[("RUNBOOK_STATE_DIR", &state)], RESTART)).expect(9);
    assert_eq!(case.requests(), [""; 0]);
    case.end(&ran, &["Permission denied"]);
}

#[test]
fn a_journal_that_is_torn() {
    let case = Case::begin("the last line of a journal is torn");
    let ran = case.run(LOOK).expect(0);
    let journal = case.journal();
    std::fs::write(case.journal_file(), &journal[..journal.len() - 40]).expect("written");
    let shown = case.lab.run(&["show", &id(&ran.stderr)]).expect(0);
    assert!(shown.stdout.contains("this run has no end"), "{}", shown.stdout);
    let runs = case.lab.run(&["runs", "-n", "1"]).expect(0);
    assert!(runs.stdout.contains("did not end"), "{}", runs.stdout);
    case.end(&shown, &["was torn"]);
}

#[test]
fn a_journal_that_is_corrupted() {
    let case = Case::begin("a journal is corrupted in the middle");
    let ran = case.run(LOOK).expect(0);
    let journal = case.journal().replacen("step_started", "step_skipped", 1);
    std::fs::write(case.journal_file(), journal).expect("written");
    let shown = case.lab.run(&["show", &id(&ran.stderr)]).expect(9);
    case.lab.run(&["runs"]).expect(0);
    case.end(&shown, &["line "]);
}

#[test]
fn two_runs_at_once() {
    let case = Case::begin("two runs of an app at once: the second");
    let first = case.start(&[], "steps:\n  - id: wait\n    wait: { until: usage > 99%, within: 60s }\n");
    until("the first runs", Duration::from_secs(30), || case.journal().contains("step_started"));
    let second = case.run(RESTART).expect(8);
    let process = rustix::process::Pid::from_raw(i32::try_from(first.id()).expect("an id")).expect("an id");
    rustix::process::kill_process(process, rustix::process::Signal::INT).expect("sent");
    ended(first).expect(130);
    assert_eq!(case.requests(), [""; 0]);
    case.end(&second, &["another run holds wizzypedia"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it slept is the fault itself")]
fn a_machine_that_slept() {
    let case = Case::begin("the machine sleeps for more than a minute in the middle of a run");
    let asleep = case.start(&[], "steps:\n  - id: wait\n    wait: { until: usage > 99%, within: 10m }\n");
    case.written("step_started");
    let process = rustix::process::Pid::from_raw(i32::try_from(asleep.id()).expect("an id")).expect("an id");
    rustix::process::kill_process(process, rustix::process::Signal::STOP).expect("sent");
    let begun = Instant::now();
    until("longer than anything that a busy run does", Duration::from_secs(80), || {
        begun.elapsed() > Duration::from_secs(64)
    });
    rustix::process::kill_process(process, rustix::process::Signal::CONT).expect("sent");
    let ran = ended(asleep).expect(130);
    assert!(ran.stdout.contains("`runbook resume"), "{}", ran.stdout);
    assert_eq!(case.requests(), [""; 0]);
    case.end(&ran, &["the clock jumped on by"]);
}
