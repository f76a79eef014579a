//! Option 3 once, the long term's maintenance scripts, and the log of step 4.

use mysql::prelude::Queryable;
use serde_json::json;

use crate::support::Lab;
use crate::support::shared::Shared;

fn queued(lab: &Lab) -> u64 {
    lab.overseer().query_first("SELECT COUNT(*) FROM wiki.job").expect("an answer").expect("a row")
}

/// How often the platform was asked for a one-off dyno since request `from`.
fn one_offs(lab: &Lab, from: usize) -> usize {
    let asked = |entry: &&serde_json::Value| {
        entry["method"] == "POST" && entry["path"].as_str().is_some_and(|path| path.ends_with("/dynos"))
    };
    lab.requests()[from..].iter().filter(asked).count()
}

/// Option 3, once: as many jobs as were asked for are run, in one dyno, and the queue is proved to be shorter.
#[test]
fn jobs_are_run_and_the_queue_shrinks() {
    let lab = Shared::take();
    let (before, from) = (queued(&lab), lab.requests().len());
    let ran = lab.run(&["run", "run-jobs", "--yes", "--set=maxjobs=3"]).expect(0);
    assert_eq!((queued(&lab), one_offs(&lab, from)), (before - 3, 1), "{}", ran.all());
    for told in ["3 jobs done", "exit code 0", &format!("jobs.queued < {before}")] {
        assert!(ran.all().contains(told), "{told}: {}", ran.all());
    }
}

/// The scripts run while visitors get the maintenance page, and after a script that fails they are let in all the same.
#[test]
fn scripts_run_behind_maintenance_mode() {
    let lab = Shared::take();
    let open = || lab.app("GET", "", &serde_json::Value::Null).expect(200).json()["maintenance"] == false;
    let from = lab.requests().len();
    let ran =
        lab.run(&["run", "maintenance", "--yes", "--set=first=php maintenance/runJobs.php --maxjobs=1"]);
    let ran = ran.expect(0);
    assert!(open() && one_offs(&lab, from) == 2, "{}", ran.all());
    let changes: Vec<_> = lab.requests()[from..]
        .iter()
        .filter(|entry| entry["method"] == "PATCH" || entry["method"] == "POST")
        .map(|entry| {
            entry["path"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
        })
        .filter(|what| what != "log-sessions")
        .collect();
    assert_eq!(changes, ["wizzypedia", "dynos", "dynos", "wizzypedia"], "on, two scripts, off");
    let ran = lab.run(&["run", "maintenance", "--yes", "--set=first=php maintenance/nonesuch.php"]).expect(5);
    assert!(open(), "{}", ran.all());
    assert!(
        ran.all().contains("exit code 1") && ran.all().contains("Could not open input file"),
        "{}",
        ran.all()
    );
}

/// Step 4: what the app says of a full database counts, in whatever words; a stream that breaks counts nothing twice.
#[test]
fn the_log_is_watched_for_errors() {
    let lab = Shared::take();
    let text = "runbook: 1\nname: watch\nsummary: s\nhealth: { healthy: live }\nsteps:\n  - { id: log, logs: 8s }\n  - { id: judge, check: steps.log.errors == 3 and steps.log.h12 == 0 and logs.errors > 0 }\n";
    let folder = lab.runbook("watch", text);
    lab.fault(&json!({ "door": "log", "fault": "cut" }));
    let from = lab.requests().len();
    let run = lab.start(&["run", "watch", "--runbooks", &folder, "--yes"]);
    let followed = |entry: &serde_json::Value| {
        entry["path"].as_str().is_some_and(|path| path.ends_with("/log-sessions"))
    };
    crate::support::until("the log is followed", std::time::Duration::from_secs(20), || {
        lab.requests()[from..].iter().filter(|entry| followed(entry)).count() >= 2
    });
    let says = "for x in 'SQLSTATE[HY000] [1040] Too many connections' 'OperationalError: (1040, 1)' 'code 1040' 'ER_CON_COUNT_ERROR: x'; do echo \"$x\"; done";
    lab.app("POST", "/dynos", &json!({ "command": says })).expect(201);
    let ended = run.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}
