//! One line of a journal.

use serde::{Deserialize, Serialize};

use crate::engine::Event;

/// Version of the stored format. A reader refuses by name what it does not know.
pub const FORMAT: u32 = 1;

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

/// The checksum of a line, over the one before and its own text.
pub(super) fn chained(before: u32, body: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&before.to_le_bytes());
    hasher.update(body.as_bytes());
    hasher.finalize()
}

/// Writes a line: checksum first, so that a torn line is seen at once.
pub(super) fn encode(before: u32, entry: &Entry) -> Result<(String, u32), serde_json::Error> {
    let body = serde_json::to_string(entry)?;
    let crc = chained(before, &body);
    Ok((format!("{crc:08x} {body}\n"), crc))
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
        "the journal {path} is of format {found}; this tool reads format {FORMAT}. Use the version that wrote it"
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
