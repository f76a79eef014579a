//! Real kills: the process of a run is killed with SIGKILL in the midst of a change, the run is resumed, and what is
//! there at the end is what an uninterrupted run leaves, each change made once. Its rows stand in `docs/reliability.md`.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
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
            Self::Lost => "intended; it is lost",
            Self::Late => "intended; it takes effect 5 s later",
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
    /// How it is held up.
    hold: Hold,
}

/// How a change is held up in its midst.
#[derive(Debug, Clone, Copy)]
enum Hold {
    /// Its request to the platform goes wrong: the order's door, method and path.
    Request(fn() -> Json),
    /// A hook of git's waits, before or after the commit.
    Hook,
    /// The wire to the database holds the statement, or its answer.
    Wire,
}

const PREPARED: &[&str] = &["--scenario=quiet", "--fix=prepared", "--time-scale=20"];
const DEPLOYED: &[&str] = &["--scenario=quiet", "--fix=deployed", "--time-scale=20"];
const LEAK: &[&str] = &["--scenario=leak", "--time-scale=20"];
const DEPLOY: &[&str] = &["run", "deploy-fix", "--yes", "--set", "soak=3s"];
const REVERT: &[&str] = &["run", "rollback", "--yes"];
const RELEASE: &[&str] = &["run", "rollback", "--yes", "--set", "method=release"];
const EMERGENCY: &[&str] =
    &["run", "emergency", "--yes", "--set", "hold=2s", "--set", "within=4s", "--set", "dynos=1"];

/// The same, with sessions idle from one second on: the first rung has somebody to kill.
const KILL: &[&str] = &[
    "run",
    "emergency",
    "--yes",
    "--set",
    "hold=2s",
    "--set",
    "within=4s",
    "--set",
    "dynos=1",
    "--set",
    "idle=1s",
];

fn push() -> Json {
    json!({ "door": "git", "method": "POST", "path": "git-receive-pack" })
}

fn release() -> Json {
    json!({ "method": "POST", "path": "/releases" })
}

fn restart() -> Json {
    json!({ "method": "DELETE", "path": "/dynos" })
}

fn scale() -> Json {
    json!({ "method": "PATCH", "path": "/formation" })
}

fn stories() -> Vec<Story> {
    let story = |name, lab, run, change, hold| Story { name, lab, run, change, hold };
    vec![
        story("deploy-fix: commit", PREPARED, DEPLOY, "commit", Hold::Hook),
        story("deploy-fix: push", PREPARED, DEPLOY, "push", Hold::Request(push)),
        story("rollback by git: revert", DEPLOYED, REVERT, "revert", Hold::Hook),
        story("rollback by git: push", DEPLOYED, REVERT, "push", Hold::Request(push)),
        story("rollback by release", DEPLOYED, RELEASE, "rollback", Hold::Request(release)),
        story("emergency: kill", LEAK, KILL, "kill", Hold::Wire),
        story("emergency: restart", LEAK, EMERGENCY, "restart", Hold::Request(restart)),
        story("emergency: scale", LEAK, EMERGENCY, "scale", Hold::Request(scale)),
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
        pushed: git(&lab.bare(), &["log", "--format=%T", "refs/heads/master"]),
        releases: rows(list("/releases")).iter().map(described).collect(),
        formation: rows(list("/formation"))
            .iter()
            .map(|row| (text(&row["type"]), row["quantity"].as_u64().unwrap_or_default()))
            .collect(),
        retired: lab.retired(),
    }
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

/// Has the change go wrong at `point`; what it gives says that the moment of the kill has come.
fn hold_up<'l>(lab: &'l Lab, wire: &'l Wire, hold: Hold, point: Point) -> Box<dyn Fn() -> bool + 'l> {
    if point == Point::Done {
        return Box::new(|| true);
    }
    match hold {
        Hold::Request(order) => {
            let mut order = order();
            order["fault"] = json!("silence");
            match point {
                // Long after anything is over.
                Point::Lost => order["lands_after_ms"] = json!(3_600_000),
                Point::Late => order["lands_after_ms"] = json!(5_000),
                Point::Unheard | Point::Done => {}
            }
            lab.fault(&order);
            Box::new(|| lab.faults()["hit"].as_u64() == Some(1))
        }
        Hold::Wire => {
            wire.hold(point);
            Box::new(|| wire.held())
        }
        Hold::Hook => {
            let there = lab.wiki.parent().expect("a parent").join("hook-runs");
            let seconds = if point == Point::Late { 5 } else { 600 };
            let text = format!("#!/bin/sh\n: >'{}'; sleep {seconds}; exit 0\n", there.display());
            fs::write(hook(lab, point), text).expect("written");
            fs::set_permissions(hook(lab, point), fs::Permissions::from_mode(0o755)).expect("executable");
            Box::new(move || there.exists())
        }
    }
}

fn hook(lab: &Lab, point: Point) -> PathBuf {
    let name = if point == Point::Unheard { "post-commit" } else { "prepare-commit-msg" };
    lab.wiki.join(".git/hooks").join(name)
}

/// Kills a run in the midst of its change, resumes it, and gives what is left.
fn killed(story: &Story, point: Point) -> Left {
    let mut lab = Lab::up(story.lab);
    fs::create_dir_all(lab.wiki.join(".git/hooks")).expect("a folder");
    let wire = Wire::to(lab.status["database_url"].as_str().expect("a URL"));
    lab.environment.insert("RUNBOOK_DATABASE_URL".to_owned(), wire.url.clone());
    let lab = lab;
    let held_up = hold_up(&lab, &wire, story.hold, point);
    let mut child = lab.start(story.run);
    let intended = format!(r#""change":"{}""#, story.change);
    until("the moment of the kill", Duration::from_secs(120), || {
        let told = lab.journal();
        let mine = |line: &str| line.contains("\"type\":\"intended\"") && line.contains(&intended);
        let Some(at) = told.lines().position(mine) else { return false };
        held_up()
            && (point != Point::Done || told.lines().skip(at).any(|line| line.contains("\"type\":\"done\"")))
    });
    if matches!((story.hold, point), (Hold::Hook, Point::Late)) {
        // Git lives on, and comes to its end later.
        child.kill().expect("killed");
        child.wait().expect("it is gone");
    } else {
        kill(&mut child);
    }
    let _ = fs::remove_file(hook(&lab, point));
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

/// A wire to the database that can hold a kill, or its answer.
struct Wire {
    url: String,
    state: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    /// When the next kill is to be held.
    at: Option<Point>,
    held: bool,
}

impl Wire {
    fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = listener.local_addr().expect("an address");
        let (head, rest) = url.rsplit_once('@').expect("user and host");
        let (server, schema) = rest.split_once('/').expect("host and schema");
        let (server, state) = (server.to_owned(), Arc::<Mutex<Held>>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let silent = Arc::new(AtomicBool::new(false));
                let pair = |stream: &TcpStream| stream.try_clone().expect("a handle");
                let (from, to) = (pair(&client), pair(&server));
                let (state, mute) = (Arc::clone(&shared), Arc::clone(&silent));
                std::thread::spawn(move || there(from, to, &state, &mute));
                std::thread::spawn(move || back(server, client, &silent));
            }
        });
        Self { url: format!("{head}@{own}/{schema}"), state }
    }

    fn hold(&self, point: Point) {
        self.state.lock().expect("whole").at = Some(point);
    }

    fn held(&self) -> bool {
        self.state.lock().expect("whole").held
    }
}

/// From the tool to the server, piece by piece; the kill in it is held.
#[expect(clippy::disallowed_methods, reason = "a wire that is slow on purpose")]
fn there(mut from: TcpStream, mut to: TcpStream, state: &Mutex<Held>, silent: &AtomicBool) {
    let mut piece = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        let kills = piece[..length].windows(9).any(|text| text == b"KILL SOFT");
        let point = if kills { state.lock().expect("whole").at.take() } else { None };
        if point.is_some() {
            silent.store(true, Ordering::SeqCst);
            state.lock().expect("whole").held = true;
        }
        match point {
            Some(Point::Lost) => continue,
            Some(Point::Late) => std::thread::sleep(Duration::from_secs(5)),
            _ => {}
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    // The tool has gone, and its connection with it.
    let _ = to.shutdown(Shutdown::Both);
}

fn back(mut from: TcpStream, mut to: TcpStream, silent: &AtomicBool) {
    let mut piece = vec![0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if !silent.load(Ordering::SeqCst) && to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
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
fn a_commit_that_git_makes_after_its_run_has_died_is_waited_for_and_not_made_twice() {
    check(&story("deploy-fix: commit"), &[Point::Late]);
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

/// `make crash-matrix`: every change of the three main runbooks, at every point; ten minutes of real kills.
mod every_point {
    use super::{Point, check, story};

    macro_rules! killed_at_every_point {
        ($($test:ident: $story:literal;)+) => {
            $(#[test]
            #[ignore = "`make crash-matrix`"]
            fn $test() {
                check(&story($story), &Point::ALL);
            })+

            #[test]
            fn every_story_is_told() {
                let told = [$($story),+];
                assert!(super::stories().iter().map(|story| story.name).eq(told));
            }
        };
    }

    killed_at_every_point! {
        deploy_commit: "deploy-fix: commit";
        deploy_push: "deploy-fix: push";
        rollback_revert: "rollback by git: revert";
        rollback_push: "rollback by git: push";
        rollback_release: "rollback by release";
        emergency_kill: "emergency: kill";
        emergency_restart: "emergency: restart";
        emergency_scale: "emergency: scale";
    }
}
