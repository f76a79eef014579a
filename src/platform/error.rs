//! What can go wrong at the door, as data.

use serde::{Deserialize, Serialize};

/// Why a read, or the preparation of a change, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Fault {
    /// The class: decides exit codes and retries.
    pub kind: FaultKind,
    /// What was tried, on what: `reading the dynos of wizzypedia`.
    pub what: String,
    /// Why it failed, as the other side said it (escaped, without secrets), with its error id.
    pub why: String,
    /// What to do now, each a sentence.
    pub hints: Vec<String>,
    /// Heroku's request ids, for support.
    pub request_ids: Vec<String>,
}

impl Fault {
    /// A fault of `kind` while doing `what`. Both may quote what came from outside: they are escaped here.
    pub fn new(kind: FaultKind, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { kind, what: shown(what), why: shown(why), hints: Vec::new(), request_ids: Vec::new() }
    }

    /// Adds what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(shown(hint));
        self
    }
}

fn shown(text: impl Into<String>) -> String {
    let text = text.into();
    match crate::source::escape_controls(&text) {
        std::borrow::Cow::Borrowed(_) => text,
        std::borrow::Cow::Owned(safe) => safe,
    }
}

/// The classes of [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Wrong, expired or missing credentials (401, git authentication, MariaDB 1045).
    Credentials,
    /// Known, but not allowed (403, 402, two_factor, suspended, SQL 1095/1227).
    Forbidden,
    /// The app, release, file, commit or program is not there (404 included: what one may not see).
    Missing,
    /// The request was understood and refused (409, 422, non-fast-forward, a dirty index, a detached HEAD).
    Refused,
    /// Rate limit (429) or an hourly quota.
    Limited,
    /// The other side is broken (5xx, HTML, truncated or malformed answers).
    Broken,
    /// Not reached, cut, or timed out.
    Network,
    /// TLS failed.
    Tls,
    /// The database has no room for a login.
    Full,
    /// Not supported by us (MySQL instead of MariaDB, a Fir app's one-offs).
    Unsupported,
    /// A dyno crashed.
    Crashed,
    /// The process started here failed or could not be started.
    Process,
    /// Our own files: state directory, journal, temporary index.
    Local,
    /// Stopped by a person's signal.
    Interrupted,
}

/// Whether a failed change may have taken effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// The other side refused it, or it was never sent: nothing changed.
    NothingChanged,
    /// It was sent and the answer was lost: it may have taken effect, or may still.
    InDoubt,
    /// It took effect in part; what did is said in the fault.
    Partial,
}

/// Why a change failed, and whether it may have happened all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{fault}")]
pub struct ChangeError {
    /// Whether it may have taken effect.
    pub certainty: Certainty,
    /// Why.
    pub fault: Fault,
    /// How long a lost request may still land: its own timeout, in milliseconds. The settle rule waits this long.
    pub settle_ms: u64,
}

impl ChangeError {
    /// A change that certainly did not happen.
    pub const fn nothing_changed(fault: Fault) -> Self {
        Self { certainty: Certainty::NothingChanged, fault, settle_ms: 0 }
    }

    /// A change whose answer was lost.
    pub const fn in_doubt(fault: Fault, settle_ms: u64) -> Self {
        Self { certainty: Certainty::InDoubt, fault, settle_ms }
    }
}
