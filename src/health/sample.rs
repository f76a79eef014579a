//! What one tick of the sampler saw, raw: before any derivation over a window.

use serde::{Deserialize, Serialize};

use super::Moment;

/// A part of a sample: measured in this interval, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading<T> {
    /// Read in this interval.
    Measured(T),
    /// Not read in this interval, and why (a timeout, an error, not asked for).
    Unknown(String),
}

impl<T> Reading<T> {
    /// What nobody asked for.
    pub fn not_asked() -> Self {
        Self::Unknown("not asked".to_owned())
    }

    /// Whether it was not read.
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }

    /// The measured part, if any.
    pub const fn measured(&self) -> Option<&T> {
        match self {
            Self::Measured(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// One tick of the sampler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Counts from 1 within the run.
    pub number: u64,
    /// When the tick was due, on the run's clock.
    pub at: Moment,
    /// The database's part.
    pub database: DatabaseReading,
    /// The platform's part: dynos.
    pub dynos: Reading<DynoReading>,
    /// The site's part: page probes since the last sample.
    pub pages: Reading<PageReading>,
    /// The app's log since the last sample.
    #[serde(default = "Reading::not_asked", skip_serializing_if = "Reading::is_unknown")]
    pub logs: Reading<LogReading>,
    /// Jobs waiting in `MediaWiki`'s queue.
    #[serde(default = "Reading::not_asked", skip_serializing_if = "Reading::is_unknown")]
    pub jobs: Reading<u64>,
}

impl Sample {
    /// A sample of the database alone.
    pub fn new(number: u64, at: Moment, database: DatabaseReading) -> Self {
        let (dynos, pages, logs, jobs) =
            (Reading::not_asked(), Reading::not_asked(), Reading::not_asked(), Reading::not_asked());
        Self { number, at, database, dynos, pages, logs, jobs }
    }
}

impl Sample {
    /// Whether the database let us in and answered.
    pub const fn database_answered(&self) -> bool {
        matches!(self.database, DatabaseReading::Measured(_))
    }
}

/// The database's part of a sample. A refused login is a measurement, not an error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseReading {
    /// The sample statement answered.
    Measured(DatabaseSample),
    /// The server refused the login for want of a slot (1040, 1203, 1226 max_user_connections).
    Refused {
        /// MariaDB's error code.
        code: u16,
        /// How many of our own logins were refused in this interval.
        attempts: u64,
    },
    /// No answer, for another reason.
    Failed(DatabaseFault),
    /// Not asked for (`--no-database`), or the tick was missed.
    Unknown(String),
}

/// Why the database could not be asked. Network, TLS, password and "full" are four different things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFault {
    /// The class.
    pub kind: DatabaseFaultKind,
    /// What was seen, without secrets, control characters escaped.
    pub message: String,
}

/// The classes of [`DatabaseFault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DatabaseFaultKind {
    /// Name not resolved, connection refused or timed out, or cut.
    Network,
    /// The TLS handshake failed or the certificate was not accepted.
    Tls,
    /// 1045 and kin: wrong user or password, or no right to the database.
    Password,
    /// 1226 for an hourly resource: not curable by killing.
    Quota,
    /// The server is not MariaDB, or its answer was not understood.
    Unsupported,
    /// A statement was refused, or ran into the 500 ms cap.
    Statement,
}

/// One row of the sample statement: counters are absolute, since the server's start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DatabaseSample {
    /// `Threads_connected`.
    pub connected: u64,
    /// `Threads_running`, the sampler and the event scheduler subtracted.
    pub running: u64,
    /// `@@max_connections`.
    pub server_limit: u64,
    /// `@@session.max_user_connections`; 0 = none.
    pub account_limit: u64,
    /// Sessions of our own account.
    pub own: u64,
    /// Sessions visible to us (all with PROCESS, else our account's).
    pub visible: u64,
    /// Visible sessions that sleep.
    pub sleeping: u64,
    /// Sleeping at least 1 s, 10 s, 60 s, 300 s.
    pub sleeping_at_least: [u64; 4],
    /// Age of the oldest sleeper, in milliseconds.
    pub oldest_sleep_ms: f64,
    /// The longest statement now running, in milliseconds.
    pub longest_query_ms: f64,
    /// Sessions that wait for a metadata or table lock.
    pub lock_waiters: u64,
    /// Sessions killed whose slot is not free yet.
    pub dying: u64,
    /// `Connections`: login attempts, successful or not.
    pub connections_total: u64,
    /// `Aborted_connects`.
    pub aborted_connects: u64,
    /// `Access_denied_errors`.
    pub denied: u64,
    /// `Aborted_clients`.
    pub aborted_clients: u64,
    /// `Connection_errors_max_connections`.
    pub refused_early: u64,
    /// `Uptime`, in seconds; when it falls, the server was restarted and deltas are void.
    pub uptime: u64,
    /// Of the refusals counted by the server, how many were our own attempts since the last sample.
    pub own_refused: u64,
    /// Whether this sample's connection is a new one (the earlier was lost).
    pub reconnected: bool,
    /// Time of the round trip, in milliseconds.
    pub took_ms: f64,
    /// What InnoDB has open; `None` when it is invisible to our account (no PROCESS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactions: Option<TransactionReading>,
}

/// Open transactions, server-wide: part of a sample where the account may see them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionReading {
    /// How many are open.
    pub open: u64,
    /// How many wait for a row lock.
    pub row_waits: u64,
    /// How many belong to a session that sleeps.
    pub idle: u64,
    /// Age of the oldest, in seconds.
    pub oldest_s: u64,
}

/// The platform's part: the dynos of the formation (one-offs and release dynos excluded).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoReading {
    /// State `up` (or `idle`, which is how an eco dyno sleeps).
    pub up: u64,
    /// Sum of the formation's quantities.
    pub wanted: u64,
    /// State `crashed`.
    pub crashed: u64,
    /// State `starting`, and states unknown to us.
    pub starting: u64,
}

/// The site's part: page probes since the last sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PageReading {
    /// Latencies of probes answered below 500, in milliseconds.
    pub ok_ms: Vec<f64>,
    /// Probes answered with 500 or above, or not at all.
    pub failed: u64,
    /// Of the failed, how many showed a sign of an exhausted database in the body.
    pub database_errors: u64,
}

/// The log's part: lines since the last sample.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReading {
    /// All of them.
    pub lines: u64,
    /// Those that show an exhausted database.
    pub errors: u64,
    /// Lines that are known to be lost: what was counted is a lower bound.
    pub lost: u64,
}
