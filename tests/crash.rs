//! Real kills: the process of a run is killed with SIGKILL in the midst of a change, the run is resumed, and what is
//! there at the end is what an uninterrupted run leaves, each change made once. Its rows stand in `docs/reliability.md`.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value as Json, json};
use support::table::Table;
use support::{Lab, git, runbook, until};

/// The kills of `docs/reliability.md`.
const TABLE: Table = Table {
    document: "docs/reliability.md",
    name: "kills",
    columns: &["killed", "exit of the resume", "compared with a run that nobody killed"],
};

/// When, within a change, the process is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    /// The intention is written, the request is sent and lost: it never takes effect.
    Lost,
    /// The request is lost, and takes effect five seconds after it was sent.
    Late,
    /// It took effect, and the answer has not come.
    Unheard,
    /// The change is done and written down.
    Done,
}

impl Point {
    const ALL: [Self; 4] = [Self::Lost, Self::Late, Self::Unheard, Self::Done];

    const fn words(self) -> &'static str {
        match self {
            Self::Lost => "intended; the request is lost",
            Self::Late => "intended; the request takes effect 5 s later",
            Self::Unheard => "took effect, before the answer",
            Self::Done => "done, and written down",
        }
    }
}

/// A run, and the change in whose midst it is killed.
struct Story {
    name: &'static str,
    lab: &'static [&'static str],
    run: &'static [&'static str],
    /// The change's name in the journal.
    change: &'static str,
    /// Where its request is to go wrong.
    order: fn() -> Json,
}

const PREPARED: &[&str] = &["--scenario=quiet", "--fix=prepared", "--time-scale=20"];
const DEPLOYED: &[&str] = &["--scenario=quiet", "--fix=deployed", "--time-scale=20"];
const LEAK: &[&str] = &["--scenario=leak", "--time-scale=20"];
const DEPLOY: &[&str] = &["run", "deploy-fix", "--yes", "--set", "soak=3s"];
const REVERT: &[&str] = &["run", "rollback", "--yes"];
const RELEASE: &[&str] = &["run", "rollback", "--yes", "--set", "method=release"];
const EMERGENCY: &[&str] =
    &["run", "emergency", "--yes", "--set", "hold=2s", "--set", "within=4s", "--set", "dynos=1"];

fn push() -> Json {
    json!({ "door": "git", "method": "POST", "path": "git-receive-pack" })
}

fn stories() -> Vec<Story> {
    let story = |name, lab, run, change, order| Story { name, lab, run, change, order };
    vec![
        story("deploy-fix: push", PREPARED, DEPLOY, "push", push),
        story("rollback by git: push", DEPLOYED, REVERT, "push", push),
        story(
            "rollback by release",
            DEPLOYED,
            RELEASE,
            "rollback",
            || json!({ "method": "POST", "path": "/releases" }),
        ),
        story(
            "emergency: restart",
            LEAK,
            EMERGENCY,
            "restart",
            || json!({ "method": "DELETE", "path": "/dynos" }),
        ),
        story(
            "emergency: scale",
            LEAK,
            EMERGENCY,
            "scale",
            || json!({ "method": "PATCH", "path": "/formation" }),
        ),
    ]
}

/// What a run leaves, without what differs from run to run.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    exit: i32,
    /// Trees of the working tree's commits, oldest first.
    commits: Vec<String>,
    /// Trees of what the app's git holds.
    pushed: String,
    /// Descriptions of the releases, without commits, oldest first.
    releases: Vec<String>,
    formation: Vec<(String, u64)>,
    /// Dynos that were replaced.
    retired: u64,
}

fn bare(lab: &Lab) -> PathBuf {
    lab.wiki.parent().expect("a parent").join("heroku/git/wizzypedia.git")
}

fn left(lab: &Lab, exit: i32) -> Left {
    let list = |path: &str| lab.app("GET", path, &Json::Null).expect(200).json();
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let described = |release: &Json| {
        let description = text(&release["description"]);
        description.split(' ').next().unwrap_or_default().to_owned()
    };
    let rows = |value: Json| value.as_array().cloned().unwrap_or_default();
    Left {
        exit,
        commits: git(&lab.wiki, &["log", "--reverse", "--format=%T"]).lines().map(str::to_owned).collect(),
        pushed: git(&bare(lab), &["log", "--format=%T", "refs/heads/master"]),
        releases: rows(list("/releases")).iter().map(described).collect(),
        formation: rows(list("/formation"))
            .iter()
            .map(|row| (text(&row["type"]), row["quantity"].as_u64().unwrap_or_default()))
            .collect(),
        retired: lab.retired(),
    }
}

/// The journal of the newest run.
fn journal(lab: &Lab) -> String {
    let runs = PathBuf::from(&lab.environment["RUNBOOK_STATE_DIR"]).join("runs");
    let newest = fs::read_dir(runs).into_iter().flatten().flatten().map(|entry| entry.path()).max();
    newest.and_then(|run| fs::read_to_string(run.join("journal.jsonl")).ok()).unwrap_or_default()
}

/// The process and everything that it has started: as when the machine dies.
#[expect(clippy::disallowed_methods, reason = "kills what the test has started, by pid, as the system would")]
fn kill(child: &mut Child) {
    let mut family = BTreeSet::from([child.id()]);
    loop {
        let before = family.len();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent =
                stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
            if parent.is_some_and(|parent| family.contains(&parent)) {
                family.insert(pid);
            }
        }
        if family.len() == before {
            break;
        }
    }
    for pid in family {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).output();
    }
    child.wait().expect("it is gone");
}

fn uninterrupted(story: &Story) -> Left {
    let lab = Lab::up(story.lab);
    let ran = lab.run(story.run);
    left(&lab, ran.code)
}

/// Kills a run in the midst of its change, resumes it, and gives what is left.
fn killed(story: &Story, point: Point) -> Left {
    let lab = Lab::up(story.lab);
    let mut order = (story.order)();
    order["fault"] = json!("silence");
    match point {
        // Long after anything is over.
        Point::Lost => order["lands_after_ms"] = json!(3_600_000),
        Point::Late => order["lands_after_ms"] = json!(5_000),
        Point::Unheard | Point::Done => {}
    }
    if point != Point::Done {
        lab.fault(&order);
    }
    let mut child = lab.start(story.run);
    let intended = format!(r#""change":"{}""#, story.change);
    until("the moment of the kill", Duration::from_secs(120), || {
        let told = journal(&lab);
        let Some(at) =
            told.lines().position(|line| line.contains("\"type\":\"intended\"") && line.contains(&intended))
        else {
            return false;
        };
        match point {
            Point::Done => told.lines().skip(at).any(|line| line.contains("\"type\":\"done\"")),
            _ => lab.faults()["hit"].as_u64() == Some(1),
        }
    });
    kill(&mut child);
    let resumed = runbook(&lab.wiki, &lab.environment, &["resume", "--yes"]);
    let told = resumed.all();
    let left = left(&lab, resumed.code);
    assert!(told.contains("taken up again"), "{}: {told}", story.name);
    if point != Point::Done {
        assert!(told.contains("in doubt, read back first"), "{}: {told}", story.name);
        let wanted = if point == Point::Lost { "read back: did not happen" } else { "read back: happened" };
        assert!(told.contains(wanted), "{} {point:?}: {told}", story.name);
    }
    left
}

fn check(story: &Story, points: &[Point]) {
    let whole = uninterrupted(story);
    for point in points {
        let left = killed(story, *point);
        assert_eq!(left, whole, "{}: {}", story.name, point.words());
        let name = format!("{}: {}", story.name, point.words());
        TABLE.row(&name, &[left.exit.to_string(), "the same end; each change once".to_owned()]);
    }
}

fn story(name: &str) -> Story {
    stories().into_iter().find(|story| story.name == name).expect("a story")
}

#[test]
fn a_push_whose_answer_the_dead_process_never_heard_is_not_made_twice() {
    check(&story("deploy-fix: push"), &[Point::Unheard]);
}

#[test]
fn a_release_that_lands_after_its_process_has_died_is_not_made_twice() {
    check(&story("rollback by release"), &[Point::Late]);
}

#[test]
fn a_restart_that_was_written_down_is_not_made_twice() {
    check(&story("emergency: restart"), &[Point::Done]);
}

#[test]
fn each_kill_has_its_row() {
    let names: Vec<String> = stories()
        .iter()
        .flat_map(|story| Point::ALL.map(|point| format!("{}: {}", story.name, point.words())))
        .collect();
    TABLE.only(&names.iter().map(String::as_str).collect::<Vec<_>>());
}

/// `make crash-matrix`: every change of the three main runbooks, every point.
#[test]
#[ignore = "takes half an hour: `make crash-matrix`"]
fn every_change_of_the_main_runbooks_killed_at_every_point() {
    let stories = stories();
    let (one, other) = stories.split_at(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for story in one {
                check(story, &Point::ALL);
            }
        });
        for story in other {
            check(story, &Point::ALL);
        }
    });
}
