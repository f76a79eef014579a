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
#[derive(Debug)]
struct Line {
    number: u64,
    source: &'static str,
    process: String,
    text: String,
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

    /// The newest lines of a session, and the number from which later ones count.
    pub fn newest(&self, session: &Session) -> (Vec<String>, u64) {
        let Ok(kept) = self.kept.lock() else { return (Vec::new(), 0) };
        let wanted = kept.lines.iter().rev().filter(|line| session.wants(line));
        let mut lines: Vec<String> = wanted.take(session.lines).map(|line| line.text.clone()).collect();
        lines.reverse();
        (lines, kept.next)
    }

    /// The lines of a session from number `from` on, and the number from which later ones count.
    pub fn since(&self, session: &Session, from: u64) -> (Vec<String>, u64) {
        let Ok(kept) = self.kept.lock() else { return (Vec::new(), from) };
        let later = kept.lines.iter().rev().take_while(|line| line.number >= from);
        let mut lines: Vec<String> =
            later.filter(|line| session.wants(line)).map(|line| line.text.clone()).collect();
        lines.reverse();
        (lines, kept.next)
    }
}

impl Session {
    /// One dyno, or all of a process type (facts §2, Log sessions).
    fn wants(&self, line: &Line) -> bool {
        self.source.as_ref().is_none_or(|source| source == line.source)
            && self.dyno.as_ref().is_none_or(|dyno| {
                line.process == *dyno || line.process.split('.').next() == Some(dyno.as_str())
            })
    }

    /// Everything of one process.
    pub fn of(process: &str) -> Self {
        Self { dyno: Some(process.to_owned()), source: None, lines: KEPT, tail: false, made: door::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_gives_its_newest_lines_and_then_only_later_ones() {
        let logs = Logs::default();
        for text in ["one", "two", "three"] {
            logs.add("app", "web.1", text);
        }
        logs.add("heroku", "router", "at=info");
        let session = Session { lines: 2, ..Session::of("web") };
        let (lines, next) = logs.newest(&session);
        assert!(lines.len() == 2 && lines[1].ends_with("app[web.1]: three"), "{lines:?}");
        assert!(logs.since(&session, next).0.is_empty(), "nothing twice");
        logs.add("app", "web.2", "four");
        let (later, _) = logs.since(&session, next);
        assert!(later.len() == 1 && later[0].ends_with("app[web.2]: four"), "{later:?}");
        // No lines asked for: no history either.
        let silent = Session { lines: 0, tail: true, ..Session::of("web") };
        assert!(logs.newest(&silent).0.is_empty());
    }
}
