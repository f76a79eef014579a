//! A run as one file, to be handed to a colleague: packed from a run's folder, taken into another machine's store.
//!
//! The form is plain text with lengths and SHA-256 sums, the README first, so that it is read with any pager:
//!
//! ```text
//! runbook handoff 1
//! {"run":"…","packed":"…","by":"…","head":"…","files":3}
//! README.txt 1234 <sha256>
//! <1234 bytes>
//! …
//! end <sha256 of everything above>
//! ```
//!
//! It has no place for a link, a mode or a path of more than two plain names. Taking one never overwrites anything, and
//! trusts nothing in it before all of it was checked.

mod pack;
mod take;

use serde::{Deserialize, Serialize};

pub use pack::{HandedOver, Packed, handed_over, mark_handed_over, pack};
pub use take::{Taken, take};

/// Version of the bundle's form.
const FORMAT: u32 = 1;
/// Files in a bundle at most.
const FILES: usize = 256;
/// Bytes of one file at most.
const FILE_BYTES: u64 = 32 << 20;
/// Bytes of a bundle at most.
pub const BUNDLE_BYTES: u64 = 64 << 20;

/// The second line of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The run's id.
    pub run: String,
    /// When it was packed.
    pub packed: jiff::Timestamp,
    /// Who packed it, `user@host`.
    pub by: String,
    /// The head of the journal's chain.
    pub head: String,
    /// How many files follow.
    pub files: usize,
}

/// Why a run cannot be packed or a bundle not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A file or folder cannot be used.
    #[error("{doing} {path}: {why}")]
    Unusable {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        why: String,
    },
    /// It is not a bundle, or not a whole one.
    #[error("this is no bundle that can be taken: {0}. Nothing was written")]
    Refused(String),
    /// The run is here already.
    #[error("run {0} is on this machine already: nothing was written. `runbook show {0}` tells it")]
    Exists(String),
}

impl BundleError {
    fn unusable(doing: &'static str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let path = crate::source::escape_controls(&path.display().to_string()).into_owned();
        Self::Unusable { doing, path, why: error.to_string() }
    }
}

fn first_line() -> String {
    format!("runbook handoff {FORMAT}")
}

/// A name that may stand in a bundle: one plain name, or two with a slash between.
fn is_plain(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() <= 2 && parts.iter().all(|part| is_plain_part(part))
}

fn is_plain_part(part: &str) -> bool {
    (1..=80).contains(&part.len())
        && part.starts_with(|c: char| c.is_ascii_alphanumeric())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// An id as a store makes them; anything else is no name for a folder.
fn is_run_id(id: &str) -> bool {
    (1..=60).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn sum(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
