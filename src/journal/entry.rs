//! One line of a journal.

use serde::{Deserialize, Serialize};

use super::chain::{FORMAT, Head};
use crate::engine::Event;

/// One event as stored: its place, its time, and a checksum chained to the line before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 in the run.
    pub seq: u64,
    /// Wall clock.
    pub at: jiff::Timestamp,
    /// Why the run was an emergency, on every entry of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<String>,
    /// What happened.
    pub event: Event,
}

/// Writes a line: checksum first, so that a torn line is seen at once.
pub(super) fn encode(before: &Head, entry: &Entry) -> Result<(String, Head), serde_json::Error> {
    let body = serde_json::to_string(entry)?;
    // Somebody will look at the file itself.
    let body = crate::source::escape_json(&body);
    let head = before.after(&body);
    Ok((format!("{} {body}\n", head.short()), head))
}

/// What can be wrong with a stored journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read.
    #[error("reading the journal {path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// A line that is not the last is damaged, or was changed.
    #[error("the journal {path} is damaged at line {line}: {why}. Nothing after it can be trusted")]
    Damaged {
        /// The file.
        path: String,
        /// Counts from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A format that this version does not read.
    #[error(
        "the journal {path} is of format {found}; this tool reads formats 1 to {FORMAT}. Use the version that wrote it"
    )]
    Format {
        /// The file.
        path: String,
        /// What it says.
        found: String,
    },
    /// It holds no event.
    #[error("the journal {path} is empty: the run ended before anything was recorded, so nothing was done")]
    Empty {
        /// The file.
        path: String,
    },
}
