//! Asks for everything that a diagnosis is drawn from. It reads only; what cannot be asked becomes a note, never a
//! failure, and a full database leaves the platform's side.

use jiff::Timestamp;

use super::judge::Growth;
use crate::health::{Metric, Sample, Value};
use crate::platform::{
    Census, DatabaseFacts, DatabaseReads, DatabaseSession, Dyno, Fault, FaultKind, Figure, Formation,
    LogLine, Observer, Release,
};

/// Releases that are looked at.
const RELEASES: usize = 30;
/// Lines of the log: as many as Heroku keeps.
const LINES: u32 = 1500;

/// What the asker knows already, and what else is to be asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    /// The samples, oldest first.
    pub(crate) window: Vec<Sample>,
    /// How it grows.
    pub(crate) growth: Growth,
    /// The server's counters at the beginning of the window; empty = not read then.
    pub(crate) counters: Vec<Figure>,
    /// What ran earlier in the window.
    pub(crate) earlier: Vec<Census>,
    /// The last time that a run on this machine saw low usage.
    pub(crate) healthy: Option<(Timestamp, String)>,
    /// Whether the app's log is read, too.
    pub(crate) logs: bool,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(super) now: Timestamp,
    pub(super) window: Vec<Sample>,
    pub(super) growth: Growth,
    pub(super) counters: Vec<Figure>,
    pub(super) healthy: Option<(Timestamp, String)>,
    pub(super) facts: Option<DatabaseFacts>,
    /// What the database tells, when it lets somebody in.
    pub(super) inside: Option<Inside>,
    pub(super) dynos: Vec<Dyno>,
    pub(super) formation: Vec<Formation>,
    pub(super) releases: Vec<Release>,
    pub(super) logs: Vec<LogLine>,
    pub(super) processes: Option<u64>,
    pub(super) notes: Vec<String>,
}

/// What is seen from inside the database.
#[derive(Debug, Clone, Default)]
pub(super) struct Inside {
    pub(super) census: Census,
    pub(super) sessions: Vec<DatabaseSession>,
    pub(super) counters: Vec<Figure>,
}

impl Growth {
    /// As the latest sample's metrics tell it.
    pub(crate) fn of(metrics: &std::collections::BTreeMap<Metric, Value>) -> Self {
        Self {
            per_s: match metrics.get(&Metric::Growth) {
                Some(Value::Rate(growth)) => *growth,
                _ => 0.0,
            },
            time_to_full: match metrics.get(&Metric::TimeToFull) {
                Some(Value::Duration(Some(seconds))) => Some(*seconds),
                _ => None,
            },
        }
    }
}

/// Asks.
pub(crate) fn gather(observer: &Observer, asked: Asked) -> Found {
    let mut found = Found {
        now: observer.clock().wall(),
        window: asked.window,
        growth: asked.growth,
        counters: asked.counters,
        healthy: asked.healthy,
        ..Found::default()
    };
    match observer.database() {
        None => found.notes.push("the database is not used (--no-database)".to_owned()),
        Some(database) => found.ask_database(database, asked.earlier),
    }
    found.ask_platform(observer, asked.logs);
    found
}

impl Found {
    fn ask_database(&mut self, database: &dyn DatabaseReads, earlier: Vec<Census>) {
        match database.facts() {
            Ok(facts) => self.facts = Some(facts),
            Err(fault) if fault.kind == FaultKind::Full => {
                self.notes.push(
                    "the database is full: no login got in; what follows is the platform's side".to_owned(),
                );
                return;
            }
            Err(fault) => {
                self.notes.push(fault.to_string());
                return;
            }
        }
        let census = match database.census() {
            Ok(census) => census,
            Err(fault) => {
                self.notes.push(fault.to_string());
                return;
            }
        };
        let mut note = |fault: &Fault| self.notes.push(fault.to_string());
        let mut inside = Inside {
            sessions: database.sessions().inspect_err(&mut note).unwrap_or_default(),
            counters: database.counters().inspect_err(&mut note).unwrap_or_default(),
            census,
        };
        for before in earlier {
            inside.take_in(before);
        }
        self.inside = Some(inside);
    }

    fn ask_platform(&mut self, observer: &Observer, logs: bool) {
        let heroku = observer.heroku();
        let mut note = |fault: &Fault| self.notes.push(format!("platform: {fault}"));
        self.dynos = heroku.dynos().inspect_err(&mut note).unwrap_or_default();
        self.formation = heroku.formation().inspect_err(&mut note).unwrap_or_default();
        self.releases = heroku.releases(RELEASES).inspect_err(&mut note).unwrap_or_default();
        self.processes = observer.processes().inspect_err(&mut note).unwrap_or_default();
        if logs {
            self.logs = heroku.recent_logs(LINES, None).inspect_err(&mut note).unwrap_or_default();
        }
    }

    /// Dynos, formation and the newest release, each a line.
    pub(super) fn platform_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .formation
            .iter()
            .map(|row| {
                let states: Vec<_> = self
                    .dynos
                    .iter()
                    .filter(|dyno| dyno.kind == row.kind)
                    .map(|dyno| format!("{} {}", dyno.name, dyno.state))
                    .collect();
                format!("{}: {} × {} wanted; {}", row.kind, row.quantity, row.size, states.join(", "))
            })
            .collect();
        if let Some(newest) = self.releases.first() {
            lines.push(format!(
                "newest release: v{} ({}) at {}",
                newest.version, newest.description, newest.created_at
            ));
        }
        lines
    }
}

impl Inside {
    /// Statements that were seen earlier in the window count too: one look misses what is short.
    fn take_in(&mut self, earlier: Census) {
        for statement in earlier.statements {
            let known = self
                .census
                .statements
                .iter_mut()
                .find(|known| known.digest == statement.digest && known.state == statement.state);
            match known {
                Some(known) => {
                    known.count = known.count.max(statement.count);
                    known.longest_ms = known.longest_ms.max(statement.longest_ms);
                }
                None => self.census.statements.push(statement),
            }
        }
        self.census.statements.sort_by(|a, b| b.longest_ms.total_cmp(&a.longest_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Statement;

    #[test]
    fn what_ran_earlier_in_the_window_counts_too() {
        let statement = |digest: &str, count, longest_ms| Statement {
            digest: digest.into(),
            state: "Sending data".into(),
            count,
            longest_ms,
        };
        let census = |statements| Census { statements, ..Census::default() };
        let mut inside = Inside {
            census: census(vec![statement("a", 3, 100.0), statement("b", 1, 900.0)]),
            ..Inside::default()
        };
        inside.take_in(census(vec![statement("a", 2, 4000.0), statement("c", 7, 10.0)]));
        assert_eq!(
            inside.census.statements,
            [statement("a", 3, 4000.0), statement("b", 1, 900.0), statement("c", 7, 10.0)]
        );
    }
}
