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

/// A counter or a setting of the server, by its own name in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// `threads_connected`.
    pub name: String,
    /// As the server writes it.
    pub value: String,
}
