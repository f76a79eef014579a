//! The app's log as Logplex keeps it: 1500 lines, lossy, with sessions that are claimable for some minutes (facts §4).

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::super::door;

/// Lines kept (facts §2, Log sessions).
const KEPT: usize = 1500;
/// How long a session's URL can be claimed.
const CLAIMABLE: Duration = Duration::from_secs(360);

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    pub number: u64,
    pub source: &'static str,
    pub process: String,
    pub text: String,
}

/// A session that was asked for.
#[derive(Debug, Clone)]
pub struct Session {
    pub dyno: Option<String>,
    pub source: Option<String>,
    pub lines: usize,
    pub tail: bool,
    made: Instant,
}

#[derive(Default)]
struct Kept {
    next: u64,
    lines: VecDeque<Line>,
    sessions: HashMap<String, Session>,
}

/// The log.
#[derive(Default)]
pub struct Logs {
    kept: Mutex<Kept>,
}

impl Logs {
    /// Adds what a process said, line by line.
    pub fn add(&self, source: &'static str, process: &str, text: &str) {
        let Ok(mut kept) = self.kept.lock() else { return };
        for line in text.lines() {
            let number = kept.next;
            kept.next += 1;
            let text = format!("{} {source}[{process}]: {line}", door::fine_stamp());
            kept.lines.push_back(Line { number, source, process: process.to_owned(), text });
            if kept.lines.len() > KEPT {
                kept.lines.pop_front();
            }
        }
    }

    /// Opens a session and gives its secret.
    pub fn open(&self, dyno: Option<String>, source: Option<String>, lines: usize, tail: bool) -> String {
        let id = door::uuid();
        if let Ok(mut kept) = self.kept.lock() {
            kept.sessions.retain(|_, session| session.made.elapsed() < CLAIMABLE);
            kept.sessions.insert(id.clone(), Session { dyno, source, lines, tail, made: door::now() });
        }
        id
    }

    /// The session of a secret, while it can be claimed.
    pub fn session(&self, id: &str) -> Option<Session> {
        let kept = self.kept.lock().ok()?;
        kept.sessions.get(id).filter(|session| session.made.elapsed() < CLAIMABLE).cloned()
    }

    /// The newest lines of a session, or all after `after`.
    pub fn read(&self, session: &Session, after: Option<u64>) -> Vec<Line> {
        let Ok(kept) = self.kept.lock() else { return Vec::new() };
        let wanted = |line: &&Line| {
            session.source.as_ref().is_none_or(|source| source == line.source)
                && session.dyno.as_ref().is_none_or(|dyno| {
                    line.process == *dyno || line.process.split('.').next() == Some(dyno.as_str())
                })
        };
        if let Some(after) = after {
            return kept.lines.iter().filter(|line| line.number > after).filter(wanted).cloned().collect();
        }
        let mut lines: Vec<Line> =
            kept.lines.iter().rev().filter(wanted).take(session.lines).cloned().collect();
        lines.reverse();
        lines
    }
}

impl Session {
    /// Everything of one process.
    pub fn of(process: &str) -> Self {
        Self { dyno: Some(process.to_owned()), source: None, lines: KEPT, tail: false, made: door::now() }
    }
}
