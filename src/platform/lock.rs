//! One run per app: what the run that holds the database's lock shows of itself, and what is known of the lock.
//!
//! Plain data. The lock is a user lock of the database's own (`GET_LOCK`): it needs no privilege and no schema, all
//! machines see it, and it is free the moment its connection ends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who holds the lock, as it is shown to those who are kept out. Everything outside printable ASCII is shown as `?`,
/// and long names are cut: `who` after 36 bytes, `runbook` after 23, `run` after 22.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// `user@host` of the machine that the run runs on.
    pub who: String,
    /// The runbook's name.
    pub runbook: String,
    /// The run's id.
    pub run: String,
    /// When it began, to the second.
    pub since: jiff::Timestamp,
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "{} with `{}` since {since}, run {}", self.who, self.runbook, self.run)
    }
}

/// The run that holds the lock. Every text in it came from outside and is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its connection's id at the database.
    pub connection: u64,
    /// What it shows of itself; `None` when that could not be read.
    pub card: Option<Card>,
    /// Account and address of its connection (`app from 10.1.2.3`), where our account may see them.
    pub peer: Option<String>,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connection, card, peer } = self;
        match (card, peer) {
            (Some(card), _) => write!(f, "{card}"),
            (None, Some(peer)) => write!(f, "{peer}, connection {connection}, whose name could not be read"),
            (None, None) => write!(f, "connection {connection}, which our account may not see"),
        }
    }
}

/// What is known of the lock, proved at the moment of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockState {
    /// This run was never told to hold it: plans, dry runs and questions take no lock.
    Unasked,
    /// The connection lives and holds it. After a lost connection it was taken anew before this was said.
    Held,
    /// Another run holds it.
    Elsewhere(LockHolder),
    /// The database could not be asked, for this reason (full, no network, not used): only the local lease holds. The
    /// lock is taken with the next connection, in its first round trip.
    Unreachable(String),
}
