//! One fault: what was there before it, the run, and what is there after it.

#![expect(clippy::print_stdout, reason = "what a run said is shown when its test fails")]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::support::shared::Shared;
use super::support::table::{Table, steady};
use super::support::{Lab, Ran, git, until};

/// The faults of `docs/reliability.md`.
pub const TABLE: Table = Table {
    document: "docs/reliability.md",
    name: "faults",
    columns: &["fault", "what the person saw", "exit", "changes made"],
};

/// Head of the runbooks made for these tests.
pub const HEAD: &str = "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\n";

/// Restarts every dyno.
pub const RESTART: &str = "steps:
  - id: restart
    restart: all
    gate: { until: live, for: 1s, within: 40s }
";

/// What is there, seen from outside of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    /// Dynos replaced so far.
    replaced: u64,
    releases: usize,
    /// Process types and how many of each.
    formation: Vec<(String, u64)>,
    kills: u64,
    /// What the app's git holds.
    pushed: String,
    /// Commits of the working tree's branch.
    commits: usize,
}

/// A fault being tested, with a rehearsal of its own for that time.
pub struct Case {
    name: &'static str,
    pub lab: Shared,
    before: Sight,
    /// The working tree's commit.
    head: String,
    /// The release that was live.
    live: Json,
    /// The newest journal.
    journal: PathBuf,
    /// Requests before it.
    asked: usize,
    /// Kills of the test's own.
    own_kills: u64,
}

/// What the app's branch holds there.
pub fn pushed(lab: &Lab) -> String {
    git(&lab.bare(), &["rev-parse", "refs/heads/master"]).trim().to_owned()
}

/// The release that is live: its id, and the commit of its slug.
fn live(lab: &Lab) -> Json {
    let releases = lab.app("GET", "/releases", &Json::Null).expect(200).json();
    let current = releases.as_array().expect("a list").iter().find(|release| release["current"] == true);
    let current = current.expect("one is live");
    let slug = current["slug"]["id"].as_str().expect("its slug");
    let slug = lab.app("GET", &format!("/slugs/{slug}"), &Json::Null).expect(200).json();
    json!({ "release": current["id"], "commit": slug["commit"] })
}

/// What a run in the background came to.
pub fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().expect("it ends");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: Duration::ZERO,
    }
}

/// A line without its time, its mark and the measurements at its end.
fn bare_line(line: &str) -> String {
    let line = line.trim();
    let (time, rest) = line.split_once(' ').unwrap_or_default();
    let timed = time.strip_suffix('s').is_some_and(|time| time.parse::<f64>().is_ok());
    let line = if timed { rest.trim() } else { line };
    let line = line.split(" [connections ").next().unwrap_or_default();
    // A sample: whether and why there are no numbers depends on the moment; so do the figures behind.
    let line = line.split(", refused ").next().unwrap_or_default();
    let line = if line.contains("connections unknown") { "connections unknown" } else { line };
    // What git's HTTP library says of a cut depends on its version.
    let line = line.split("; curl ").next().unwrap_or_default();
    steady(line.trim_start_matches(['!', '…', '✗', '✓', '·', '|', ' ']))
}

fn sight(lab: &Lab) -> Sight {
    let list =
        |path| lab.app("GET", path, &Json::Null).expect(200).json().as_array().expect("a list").clone();
    Sight {
        replaced: lab.retired(),
        releases: list("/releases").len(),
        formation: list("/formation")
            .iter()
            .map(|row| {
                (row["type"].as_str().unwrap_or_default().to_owned(), row["quantity"].as_u64().unwrap_or(0))
            })
            .collect(),
        kills: lab.look()["database"]["kills"].as_u64().expect("a count"),
        pushed: pushed(lab),
        commits: git(&lab.wiki, &["rev-list", "HEAD"]).lines().count(),
    }
}

impl Case {
    /// Takes a rehearsal in which all is well.
    pub fn begin(name: &'static str) -> Self {
        let lab = Shared::take();
        until("every dyno is up and pages are answered", Duration::from_secs(40), || {
            let look = lab.look();
            let up = look["dynos"].as_array().is_some_and(|dynos| dynos.iter().all(|dyno| dyno[1] == "up"));
            up && look["pages"]["recent_errors"] == 0 && look["pages"]["recent_pages"].as_u64() > Some(3)
        });
        let before = sight(&lab);
        let asked = lab.requests().len();
        let head = git(&lab.wiki, &["rev-parse", "HEAD"]).trim().to_owned();
        let live = live(&lab);
        let journal = lab.newest_journal();
        Self { name, lab, before, head, live, journal, asked, own_kills: 0 }
    }

    /// A kill of the test's own counts as nobody's change.
    pub fn own_kill(&mut self) {
        self.own_kills += 1;
    }

    /// `runbook run own --yes`, of these steps.
    pub fn run(&self, steps: &str) -> Ran {
        self.run_in(&[], steps)
    }

    /// A runbook that comes with the program, with these arguments.
    pub fn shipped(&self, name: &str, arguments: &[&str]) -> Ran {
        self.lab.run(&[&["run", name, "--yes"], arguments].concat())
    }

    /// `run own --yes` in the background; its streams are piped.
    pub fn start(&self, variables: &[(&str, &str)], steps: &str) -> Child {
        self.start_in_shell("", variables, steps)
    }

    /// The same in a shell that first does this.
    #[expect(clippy::disallowed_methods, reason = "runs that something happens to meanwhile")]
    pub fn start_in_shell(&self, first: &str, variables: &[(&str, &str)], steps: &str) -> Child {
        let own = self.lab.runbook("own", &format!("{HEAD}{steps}"));
        let run = format!("exec \"$0\" run own --runbooks '{own}' --yes");
        Command::new("sh")
            .args(["-c", &format!("{first} {run}")])
            .arg(super::support::binary())
            .current_dir(&self.lab.wiki)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .envs(&self.lab.environment)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts")
    }

    /// Waits until the newest run's journal says this.
    #[track_caller]
    pub fn written(&self, what: &str) {
        until(what, Duration::from_secs(40), || self.journal().contains(what));
    }

    /// The journal of this test's newest run, as it stands in its file; empty before there is one.
    pub fn journal(&self) -> String {
        let file = self.journal_file();
        if file == self.journal {
            return String::new();
        }
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// Where the newest journal is.
    pub fn journal_file(&self) -> PathBuf {
        self.lab.newest_journal()
    }

    /// The same with more variables.
    pub fn run_in(&self, variables: &[(&str, &str)], steps: &str) -> Ran {
        let own = self.lab.runbook("own", &format!("{HEAD}{steps}"));
        self.lab.run_in(variables, &["run", "own", "--runbooks", &own, "--yes"])
    }

    /// Requests for changes that reached the platform since the beginning: method and path.
    pub fn requests(&self) -> Vec<String> {
        let asked = self.lab.requests();
        let changes = asked.iter().skip(self.asked).filter(|request| request["changes"] == true);
        changes
            .map(|request| {
                let path = request["path"].as_str().expect("a path").trim_start_matches("/apps/wizzypedia");
                format!("{} {path}", request["method"].as_str().expect("a method"))
            })
            .collect()
    }

    /// The changes, in words.
    pub fn changes(&self) -> String {
        let now = sight(&self.lab);
        let mut words = Vec::new();
        let mut count = |number: u64, one: &str, more: &str| match number {
            0 => {}
            1 => words.push(format!("1 {one}")),
            number => words.push(format!("{number} {more}")),
        };
        count((now.commits - self.before.commits) as u64, "commit here", "commits here");
        count((now.releases - self.before.releases) as u64, "release", "releases");
        count(now.replaced - self.before.replaced, "dyno replaced", "dynos replaced");
        // A server that was restarted counts from 0.
        count(
            now.kills.saturating_sub(self.before.kills + self.own_kills),
            "session killed",
            "sessions killed",
        );
        for ((kind, was), (_, is)) in self.before.formation.iter().zip(&now.formation) {
            if was != is {
                words.push(format!("{kind} scaled from {was} to {is}"));
            }
        }
        if now.pushed != self.before.pushed {
            words.push("pushed".to_owned());
        }
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }

    /// A run as `runbook show` tells it from its journal, which is whole.
    #[track_caller]
    pub fn shown(&self, ran: &Ran) -> Option<String> {
        let run = ran.stderr.lines().find_map(|line| line.split_once("s  run ")?.1.split_once(": "))?.0;
        self.lab.run(&["show", run, "--verify"]).expect(0);
        Some(self.lab.run(&["show", run]).expect(0).stdout)
    }

    /// Brings back what was there before: dynos that are up, the tree and the branch.
    fn heal(&self) {
        self.lab.no_faults();
        self.lab.landed();
        for (kind, quantity) in &self.before.formation {
            let update = json!({ "updates": [{ "type": kind, "quantity": quantity }] });
            self.lab.app("PATCH", "/formation", &update).expect(200);
        }
        let head = git(&self.lab.wiki, &["rev-parse", "HEAD"]).trim().to_owned();
        let now = live(&self.lab);
        if now["commit"] != head.as_str() {
            git(&self.lab.bare(), &["update-ref", "refs/heads/master", &self.before.pushed]);
            git(&self.lab.wiki, &["reset", "-q", "--hard", &self.head]);
            if now["commit"] != self.live["commit"] {
                let body = json!({ "release": self.live["release"] });
                self.lab.app("POST", "/releases", &body).expect(201);
            }
        }
        git(&self.lab.wiki, &["clean", "-q", "-fd"]);
        let up = |look: &Json| {
            look["dynos"].as_array().is_some_and(|dynos| dynos.iter().all(|dyno| dyno[1] == "up"))
        };
        if !up(&self.lab.look()) {
            self.lab.app("DELETE", "/dynos", &Json::Null).expect(202);
        }
    }

    /// Ends it: the lines of the terminal that say this, the exit code and the changes are the table's row; the journal
    /// says the same, and once the fault is gone a run that only looks works at once.
    #[track_caller]
    pub fn end(self, ran: &Ran, phrases: &[&str]) {
        let shown = self.shown(ran);
        self.close(ran, phrases, shown.as_deref());
    }

    /// The same, of a run whose journal could not be written.
    #[track_caller]
    pub fn end_unwritten(self, ran: &Ran, phrases: &[&str]) {
        self.close(ran, phrases, None);
    }

    #[track_caller]
    fn close(self, ran: &Ran, phrases: &[&str], shown: Option<&str>) {
        let told = ran.all();
        println!("{}: exit {}\n{told}", self.name, ran.code);
        let mut saw = Vec::new();
        for phrase in phrases {
            // Lines as they came, before what is drawn at the end in the terminal's width.
            let drawn = ran.stdout.replace("\n    ", " ");
            let line = ran.stderr.lines().chain(drawn.lines()).find(|line| line.contains(phrase));
            let line = line.unwrap_or_else(|| panic!("no line says {phrase:?}:\n{told}"));
            saw.push(bare_line(line));
        }
        let journalled = shown.is_none_or(|shown| phrases.iter().any(|phrase| shown.contains(phrase)));
        assert!(journalled, "the journal says it too: {shown:?}");
        self.lab.no_faults();
        self.lab.landed();
        let cells = [saw.join(" <br> "), ran.code.to_string(), self.changes()];
        for secret in self.lab.secrets() {
            assert!(!told.contains(&secret), "a secret was shown: {told}");
        }
        self.heal();
        let look = "steps:\n  - id: look\n    wait: { until: live, for: 1s, within: 40s }\n";
        self.run(look).expect(0);
        TABLE.row(self.name, &cells);
    }
}
