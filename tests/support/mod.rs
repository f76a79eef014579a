//! What the tests share: rehearsals brought up and taken down through the binary, and runs of the binary against them.

#![allow(dead_code, reason = "each test file uses its own part")]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and starts the binary as a person does"
)]

pub mod shared;
pub mod table;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use serde_json::Value as Json;

/// Rehearsals at a time: each is a MariaDB server, dynos and visitors, and the machine may have two cores.
static FREE: (Mutex<u32>, Condvar) = (Mutex::new(2), Condvar::new());

/// A rehearsal; dropping it takes it down.
pub struct Lab {
    dir: PathBuf,
    pub wiki: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub status: Json,
    _folder: tempfile::TempDir,
    _place: Place,
}

/// One of the few places for rehearsals; dropping it frees it.
pub struct Place(());

impl Place {
    /// One that is free; else that of a shared rehearsal which nobody uses now; else the next that is given back.
    pub fn take() -> Self {
        let mut free = Self::count();
        loop {
            if *free > 0 {
                *free -= 1;
                return Self(());
            }
            if let Some(unused) = shared::unused() {
                // Down with it, outside of the lock: its place is given back as any.
                drop(free);
                drop(unused);
                free = Self::count();
            } else {
                free = FREE.1.wait(free).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// What `instead` has, else a place as soon as one is free; asked anew after each wait.
    fn take_unless<T>(instead: impl Fn() -> Option<T>) -> Result<Self, T> {
        let mut free = Self::count();
        loop {
            if let Some(other) = instead() {
                return Err(other);
            }
            if *free > 0 {
                *free -= 1;
                return Ok(Self(()));
            }
            free = FREE.1.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A count is whole whatever a test that panicked was doing.
    fn count() -> MutexGuard<'static, u32> {
        FREE.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits for a place looks again.
    fn look_again() {
        drop(Self::count());
        FREE.1.notify_all();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *Self::count() += 1;
        FREE.1.notify_all();
    }
}

/// A run of the binary.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The events of `--json`.
    pub fn events(&self) -> Vec<Json> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    pub fn all(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }
}

pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_runbook"))
}

/// Runs the binary with a clean environment.
pub fn runbook(dir: &Path, environment: &BTreeMap<String, String>, arguments: &[&str]) -> Ran {
    let begun = Instant::now();
    let output: Output = Command::new(binary())
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("HOME", dir)
        .envs(environment)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

pub fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        // Looking must not write: `status` would refresh the index.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output()
        .expect("git starts");
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a dry run must leave as it was, and a live run changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Requests that change something on the platform, pushes included. A log session is a POST, and changes nothing;
    /// that a dry run asks for none either is tried where every request of it is looked at.
    pub mutating: usize,
    /// KILL statements that the server executed.
    pub kills: u64,
    /// SET GLOBAL statements in the server's log.
    pub set_global: usize,
    /// Refs, index and working tree.
    pub git: String,
}

impl Lab {
    /// Starts one; `arguments` are those of `lab up`.
    pub fn up(arguments: &[&str]) -> Self {
        Self::up_at(Place::take(), arguments)
    }

    fn up_at(place: Place, arguments: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("rb").tempdir().expect("a folder");
        let dir = folder.path().join("lab");
        let dir_argument = format!("--dir={}", dir.display());
        let mut all = vec!["lab", "up", dir_argument.as_str()];
        all.extend(arguments);
        runbook(folder.path(), &BTreeMap::new(), &all).expect(0);
        let mut lab = Self {
            wiki: dir.join("wiki"),
            dir,
            _place: place,
            environment: BTreeMap::new(),
            status: Json::Null,
            _folder: folder,
        };
        lab.status = lab.look();
        lab.environment = lab.status["environment"]
            .as_object()
            .expect("an environment")
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect();
        lab
    }

    fn command(&self, arguments: &[&str]) -> Ran {
        let dir = format!("--dir={}", self.dir.display());
        let mut all = vec!["lab"];
        all.extend(arguments);
        all.push(&dir);
        runbook(self.dir.parent().expect("a parent"), &BTreeMap::new(), &all)
    }

    /// The state now, seen from outside.
    pub fn look(&self) -> Json {
        serde_json::from_str(&self.command(&["status", "--json"]).expect(0).stdout).expect("JSON")
    }

    pub fn rate(&self, rate: &str) {
        self.command(&["rate", rate]).expect(0);
    }

    pub fn used(&self) -> u64 {
        self.look()["database"]["used"].as_u64().expect("a count")
    }

    /// `runbook …` in the wiki's working tree.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        runbook(&self.wiki, &self.environment, arguments)
    }

    /// `runbook …` in the wiki's working tree, with more variables.
    pub fn run_in(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut environment = self.environment.clone();
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        runbook(&self.wiki, &environment, arguments)
    }

    /// `runbook …` in the wiki's working tree, in the background; its stdout is piped.
    pub fn start(&self, arguments: &[&str]) -> Child {
        Command::new(binary())
            .args(arguments)
            .current_dir(&self.wiki)
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts")
    }

    pub fn run_with(&self, variable: (&str, &str), arguments: &[&str]) -> Ran {
        let mut environment = self.environment.clone();
        environment.insert(variable.0.to_owned(), variable.1.to_owned());
        runbook(&self.wiki, &environment, arguments)
    }

    /// A runbook of the test's own, by name; the second value goes to `--runbooks`.
    pub fn runbook(&self, name: &str, text: &str) -> String {
        let folder = self.dir.parent().expect("a parent").join("own-runbooks");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{name}.yaml")), text).expect("written");
        folder.display().to_string()
    }

    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.wiki.join(name), text).expect("written");
    }

    /// Requests of the platform's log.
    pub fn requests(&self) -> Vec<Json> {
        let file = self.status["requests"].as_str().expect("a path");
        let text = std::fs::read_to_string(file).expect("readable");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    pub fn traces(&self) -> Traces {
        let log = std::fs::read(self.status["general_log"].as_str().expect("a path")).expect("readable");
        let log = String::from_utf8_lossy(&log).to_uppercase();
        Traces {
            mutating: self.requests().iter().filter(|request| changes(request)).count(),
            kills: self.look()["database"]["kills"].as_u64().expect("a count"),
            set_global: log.matches("SET GLOBAL").count(),
            git: format!(
                "{}{}{}",
                git(&self.wiki, &["show-ref"]),
                git(&self.wiki, &["status", "--porcelain=v2", "--branch"]),
                // What is staged, not the file's bytes: git keeps caches of its own in there.
                git(&self.wiki, &["ls-files", "--stage"]),
            ),
        }
    }

    /// A session of the wiki's own account, such as a dyno has.
    pub fn session(&self) -> mysql::Conn {
        self.connect("database_url")
    }

    /// The same, if the server lets it in.
    pub fn try_session(&self) -> Option<mysql::Conn> {
        self.try_connect("database_url").ok()
    }

    /// The code with which the server refuses a login of the wiki's account now.
    pub fn login_refused(&self) -> Option<u16> {
        match self.try_connect("database_url") {
            Err(mysql::Error::MySqlError(error)) => Some(error.code),
            _ => None,
        }
    }

    /// A session of the lab's own, beside the limit.
    pub fn overseer(&self) -> mysql::Conn {
        self.connect("overseer_url")
    }

    fn connect(&self, which: &str) -> mysql::Conn {
        self.try_connect(which).expect("a session")
    }

    fn try_connect(&self, which: &str) -> mysql::Result<mysql::Conn> {
        let url = self.status[which].as_str().expect("a URL");
        let opts =
            mysql::OptsBuilder::from_opts(mysql::Opts::from_url(url).expect("a URL")).prefer_socket(false);
        mysql::Conn::new(opts)
    }

    /// How many sessions of the wiki's account have slept for `seconds` or more.
    pub fn sleeping(&self, seconds: u32) -> u64 {
        self.overseer()
            .query_first(format!(
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE user='wiki' AND command='Sleep' AND time_ms >= {seconds}000"
            ))
            .expect("an answer")
            .expect("a row")
    }

    /// Orders a fault of the simulator.
    pub fn fault(&self, order: &Json) {
        self.admin("POST", "/lab/faults", &order.to_string());
    }

    /// What became of the faults that were ordered: `waiting` to hit, `hit`, and what is still to land (`landing`).
    pub fn faults(&self) -> Json {
        serde_json::from_str(&self.admin("GET", "/lab/faults", "")).expect("JSON")
    }

    /// Where the newest run's journal is; nowhere before there is a run.
    pub fn newest_journal(&self) -> PathBuf {
        let runs = PathBuf::from(&self.environment["RUNBOOK_STATE_DIR"]).join("runs");
        let newest = std::fs::read_dir(runs).into_iter().flatten().flatten().map(|entry| entry.path()).max();
        newest.unwrap_or_default().join("journal.jsonl")
    }

    /// The newest run's journal; empty before there is one.
    pub fn journal(&self) -> String {
        std::fs::read_to_string(self.newest_journal()).unwrap_or_default()
    }

    /// The app's git at the platform, as its own machine has it.
    pub fn bare(&self) -> PathBuf {
        self.wiki.parent().expect("a parent").join("heroku/git/wizzypedia.git")
    }

    /// Waits until every request that was to land later has landed.
    #[track_caller]
    pub fn landed(&self) {
        until("what was lost has landed", Duration::from_secs(60), || self.faults()["landing"] == 0);
    }

    /// Sends an authorized request about the app and goes away, as a client does that is killed.
    pub fn send_and_leave(&self, method: &str, path: &str, body: &Json) {
        let address = self.environment["HEROKU_API_URL"].trim_start_matches("http://").to_owned();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(
            stream,
            "{method} /apps/{}{path} HTTP/1.1\r\nHost: lab\r\n{}Content-Length: {}\r\n\r\n{body}",
            self.environment["HEROKU_APP"],
            self.authorized(),
            body.len()
        )
        .expect("sent");
    }

    /// Dynos replaced so far.
    pub fn retired(&self) -> u64 {
        let text = self.admin("GET", "/lab/dynos", "");
        let json: Json = serde_json::from_str(&text).expect("JSON");
        json["retired"].as_u64().expect("a count")
    }

    /// Forgets the faults that were ordered and have not hit.
    pub fn no_faults(&self) {
        self.admin("POST", "/lab/faults", "[]");
    }

    /// A request of somebody else's, to the API or to the lab's own door.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> String {
        let answer = self.ask(method, path, &self.authorized(), body);
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.body
    }

    /// The header line that the platform's API wants.
    pub fn authorized(&self) -> String {
        let key = &self.environment["HEROKU_API_KEY"];
        format!("Accept: application/vnd.heroku+json; version=3\r\nAuthorization: Bearer {key}\r\n")
    }

    /// A request to the platform's API with these header lines, each ended with CR LF.
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        http(&self.environment["HEROKU_API_URL"], method, path, headers, body)
    }

    /// An authorized request about the app.
    pub fn app(&self, method: &str, path: &str, body: &Json) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/apps/{}{path}", self.environment["HEROKU_APP"]);
        self.ask(method, &path, &self.authorized(), &body)
    }

    /// Three looks a second or more apart, from outside: usage below `share` of the limit, nobody refused, and no
    /// page failed in between. Visitors go on all the while.
    #[track_caller]
    pub fn healthy_below(&self, share: f64) {
        let first = self.look();
        let began = Instant::now();
        for round in 1..=3 {
            let pages = first["pages"]["pages"].as_u64().expect("a count");
            until("a second has passed and visitors go on", Duration::from_secs(20), || {
                began.elapsed() >= Duration::from_secs(round)
                    && self.look()["pages"]["pages"].as_u64().expect("a count") >= pages + 2 * round
            });
            let look = self.look();
            let used = look["database"]["used"].as_f64().expect("a count");
            let limit = look["database"]["limit"].as_f64().expect("a count");
            assert!(used < share * limit, "{used} of {limit}: {look}");
            assert_eq!(look["database"]["refused"], first["database"]["refused"], "a refusal: {look}");
            assert_eq!(look["pages"]["errors"], first["pages"]["errors"], "a page failed: {look}");
        }
    }

    /// Everything in the state directory, as text.
    pub fn state(&self) -> String {
        let mut text = String::new();
        let mut folders = vec![PathBuf::from(&self.environment["RUNBOOK_STATE_DIR"])];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()));
                }
            }
        }
        text
    }

    /// What must never be seen.
    pub fn secrets(&self) -> Vec<String> {
        let password = self.status["database_url"].as_str().expect("a URL");
        let password = password.split([':', '@']).nth(2).expect("a password").to_owned();
        vec![self.environment["HEROKU_API_KEY"].clone(), password]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let ran = self.command(&["down"]);
        if !std::thread::panicking() {
            assert_eq!(ran.code, 0, "the rehearsal went down: {}", ran.stderr);
            assert!(!self.dir.exists(), "its folder is gone");
        }
    }
}

/// What a request got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lines of the head.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

/// One request to a server of loopback, whole.
pub fn http(base: &str, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let address = base.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: lab\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Whether a request of the platform's log changes something there.
pub fn changes(request: &Json) -> bool {
    request["method"] != "GET"
        && !request["path"].as_str().is_some_and(|path| path.ends_with("/log-sessions"))
}

/// Waits on a condition, bounded.
#[track_caller]
pub fn until(what: &str, within: Duration, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + within;
    while !done() {
        assert!(Instant::now() < end, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
