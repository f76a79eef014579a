//! What the database is read out for, whole: sessions one by one, counters and settings. Plain data, for the evidence
//! that a run keeps of the time before its first change.

use serde::{Deserialize, Serialize};

/// One session, as the process list shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseSession {
    /// Connection id.
    pub id: u64,
    /// User name.
    pub user: String,
    /// Host without port.
    pub host: String,
    /// Schema, if any.
    pub db: Option<String>,
    /// `Sleep`, `Query`, …
    pub command: String,
    /// How long it has done so, in milliseconds.
    pub time_ms: f64,
    /// State as the server says it.
    pub state: String,
    /// Its statement, literals replaced by `?`; empty while it sleeps.
    pub digest: String,
}

/// A question that is known by name: a closed list, since nobody may send SQL of their own through this door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamedQuery {
    /// Sessions by user and command.
    SessionsByUser,
    /// Sessions by host and command.
    SessionsByHost,
    /// The sessions that have slept the longest.
    OldestSleepers,
    /// Statements that run now, digested.
    RunningStatements,
    /// Sessions that wait for a lock.
    LockWaits,
    /// Open transactions, the oldest first.
    LongTransactions,
    /// MediaWiki's job queue by type.
    JobQueue,
    /// The largest tables of the schema.
    LargestTables,
    /// Limits and timeouts of connections.
    Limits,
}

impl NamedQuery {
    /// Every one, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::SessionsByUser,
        Self::SessionsByHost,
        Self::OldestSleepers,
        Self::RunningStatements,
        Self::LockWaits,
        Self::LongTransactions,
        Self::JobQueue,
        Self::LargestTables,
        Self::Limits,
    ];

    /// Its name in a runbook.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SessionsByUser => "sessions_by_user",
            Self::SessionsByHost => "sessions_by_host",
            Self::OldestSleepers => "oldest_sleepers",
            Self::RunningStatements => "running_statements",
            Self::LockWaits => "lock_waits",
            Self::LongTransactions => "long_transactions",
            Self::JobQueue => "job_queue",
            Self::LargestTables => "largest_tables",
            Self::Limits => "limits",
        }
    }

    /// What it asks, and what its value is.
    pub const fn about(self) -> &'static str {
        match self {
            Self::SessionsByUser => "sessions by user and command; value: sessions",
            Self::SessionsByHost => "sessions by host and command; value: sessions",
            Self::OldestSleepers => {
                "the sessions that have slept the longest; value: age of the oldest in seconds"
            }
            Self::RunningStatements => {
                "statements that run now, literals taken out; value: age of the oldest in seconds"
            }
            Self::LockWaits => "sessions that wait for a lock; value: how many",
            Self::LongTransactions => {
                "open transactions, the oldest first; value: age of the oldest in seconds"
            }
            Self::JobQueue => "MediaWiki's jobs by type; value: jobs waiting",
            Self::LargestTables => "the largest tables of the schema; value: megabytes of the largest",
            Self::Limits => "limits and timeouts of connections; value: `max_connections`",
        }
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|query| query.name() == name)
    }
}

/// The answer to a [`NamedQuery`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Headings.
    pub columns: Vec<String>,
    /// Rows, at most 20, escaped; statements digested.
    pub rows: Vec<Vec<String>>,
    /// The one number that it comes down to.
    pub value: f64,
}

/// A counter or a setting of the server, by its own name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// `threads_connected`.
    pub name: String,
    /// As the server writes it.
    pub value: String,
}
