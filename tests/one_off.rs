//! One-off dynos in the rehearsal lab: what goes wrong between the request and the exit code, and that a command runs once.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use mysql::prelude::Queryable;
use serde_json::json;
use support::shared::Shared;
use support::{Lab, Ran};

const HEAD: &str = "runbook: 1\nname: x\nsummary: s\nhealth: { healthy: live }\nsteps:\n";

fn queued(lab: &Lab) -> u64 {
    lab.overseer().query_first("SELECT COUNT(*) FROM wiki.job").expect("an answer").expect("a row")
}

/// Runs one job in a one-off dyno, with these keys beside its command and the step's.
#[track_caller]
fn one_job(lab: &Lab, keys: &str, step: &str) -> (Ran, u64) {
    let before = queued(lab);
    let text = format!(
        "{HEAD}  - id: job\n    one_off: {{ command: [php, maintenance/runJobs.php, --maxjobs=1]{keys} }}\n    gate: {{ none: a test }}\n{step}"
    );
    let ran = lab.run(&["run", "x", "--runbooks", &lab.runbook("x", &text), "--yes", "--json"]);
    (ran, before - queued(lab))
}

/// The exit code that the step gave, if it gave one.
fn exit_code(ran: &Ran) -> Option<f64> {
    let events = ran.events();
    let finished = events.iter().find(|event| event["type"] == "step_finished" && event["step"] == "job");
    finished.expect("the step ended")["done"]["outputs"]["exit_code"].as_f64()
}

/// Attached, detached by choice, and detached since the port is blocked: the command runs once, and its code is known.
#[test]
fn a_command_runs_once_and_its_exit_code_is_known() {
    let lab = Shared::take();
    for (keys, fault, how) in
        [("", false, "(attached)"), (", attach: never", false, "(detached)"), ("", true, "(detached)")]
    {
        if fault {
            lab.fault(&json!({ "door": "rendezvous", "fault": "blocked" }));
        }
        let (ran, done) = one_job(&lab, keys, "");
        let ran = ran.expect(0);
        assert_eq!((done, exit_code(&ran)), (1, Some(0.0)), "{how}: {}", ran.all());
        assert!(ran.all().contains(how) && ran.all().contains("1 jobs done"), "{how}: {}", ran.all());
    }
    // A release that the runtime does not know yet: nothing was started, so it is asked again.
    lab.fault(&json!({ "method": "POST", "path": "/dynos", "fault": { "refuse": [409, "conflict"] } }));
    let (ran, done) = one_job(&lab, "", "");
    assert!(ran.code == 0 && done == 1 && ran.all().contains("nothing was started"), "{}", ran.all());
    // Attached or not at all.
    lab.fault(&json!({ "door": "rendezvous", "fault": "blocked" }));
    let (ran, done) = one_job(&lab, ", attach: always", "");
    assert!(ran.code == 5 && done == 0 && ran.all().contains("may be blocked"), "{}", ran.all());
}

/// An exit code that got lost is unknown: in doubt where nobody can be asked, tolerated where the runbook says so, never 0.
#[test]
fn an_exit_code_that_got_lost_is_unknown_and_not_zero() {
    let lab = Shared::take();
    lab.fault(&json!({ "door": "rendezvous", "fault": "cut" }));
    let (ran, done) = one_job(&lab, "", "");
    assert_eq!((ran.code, done), (7, 1), "{}", ran.all());
    assert!(ran.all().contains("exit code is"), "{}", ran.all());
    lab.fault(&json!({ "door": "rendezvous", "fault": "cut" }));
    let judged = "  - { id: judge, check: steps.job.exit_code == 0 }\n";
    let (ran, done) = one_job(&lab, ", on_unknown_exit: continue", judged);
    assert_eq!((ran.code, done, exit_code(&ran)), (4, 1, None), "unknown passes no check: {}", ran.all());
}

/// A request whose answer was lost is read back from the dynos and the log, and not sent again.
#[test]
fn a_lost_answer_starts_nothing_twice() {
    let lab = Shared::take();
    lab.fault(&json!({ "method": "POST", "path": "/dynos", "fault": "lose-answer" }));
    let (ran, done) = one_job(&lab, ", attach: never", "");
    let ran = ran.expect(0);
    assert_eq!((done, exit_code(&ran)), (1, Some(0.0)), "{}", ran.all());
}

/// A command that fails, fails the step with its last words; one that does not end is stopped, and leaves no dyno.
#[test]
fn a_command_that_fails_or_does_not_end_is_said() {
    let lab = Shared::take();
    let step = |command: &str, rest: &str| {
        let text = format!("{HEAD}  - id: job\n    one_off: {command}\n    gate: {{ none: a test }}\n{rest}");
        lab.run(&["run", "x", "--runbooks", &lab.runbook("x", &text), "--yes"])
    };
    let ran = step("\"echo last words; exit 3\"", "").expect(5);
    assert!(ran.all().contains("exit code 3") && ran.all().contains("last words"), "{}", ran.all());
    let ran = step("sleep 600", "    timeout: 4s\n").expect(5);
    assert!(ran.all().contains("was stopped"), "{}", ran.all());
    let dynos = lab.app("GET", "/dynos", &serde_json::Value::Null).expect(200).json();
    let left = dynos.as_array().expect("a list").iter().filter(|dyno| dyno["type"] == "run").count();
    assert_eq!(left, 0, "{dynos}");
}

/// A dry run opens no log session and starts no dyno, whatever its conditions name.
#[test]
fn a_dry_run_follows_nothing_and_starts_nothing() {
    let lab = Shared::take();
    let text = format!(
        "{HEAD}  - {{ id: log, logs: 5s }}\n  - id: job\n    one_off: [php, x.php]\n    gate: logs.errors == 0 and jobs.queued < before.jobs.queued\n"
    );
    let from = lab.requests().len();
    let ran = lab.run(&["run", "x", "--runbooks", &lab.runbook("x", &text), "--dry-run"]).expect(0);
    for entry in &lab.requests()[from..] {
        assert_eq!(entry["method"], "GET", "{entry}");
    }
    for told in ["POST /apps/wizzypedia/dynos", "log-sessions", "connections: up to 2"] {
        assert!(ran.stdout.contains(told), "{told}: {}", ran.stdout);
    }
}
