//! The index of a run's evidence: what was saved and when, what is missing and why.

use serde::{Deserialize, Serialize};

/// `evidence.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Version of this file's form.
    pub format: u32,
    /// When gathering began.
    pub began: jiff::Timestamp,
    /// When the first destructive change was let through; `None` = there was none.
    pub first_change: Option<jiff::Timestamp>,
    /// Its parts.
    pub parts: Vec<Row>,
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its name.
    pub part: String,
    /// What became of it.
    #[serde(flatten)]
    pub state: RowState,
}

/// What became of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RowState {
    /// It is being read, or waits for its turn.
    Awaited,
    /// It was saved.
    Saved {
        /// The file beside the index.
        file: String,
        /// When its reading began.
        begun: jiff::Timestamp,
        /// How long it took, in milliseconds.
        took_ms: u64,
        /// How many entries it has.
        entries: usize,
        /// It came when the first change had been let through: it may show the world after it.
        late: bool,
    },
    /// The database had no room for a login: that is the evidence.
    Refused {
        /// As it was said.
        why: String,
    },
    /// It could not be had.
    Missing {
        /// Why.
        why: String,
    },
}

impl Row {
    pub(super) fn awaited(part: &str) -> Self {
        Self { part: part.to_owned(), state: RowState::Awaited }
    }
}

impl Index {
    pub(super) fn is_awaited(&self) -> bool {
        self.parts.iter().any(|row| row.state == RowState::Awaited)
    }

    /// What there is, in words: for the run's own record.
    pub fn sentence(&self) -> String {
        let named = |wanted: fn(&RowState) -> bool| -> Vec<&str> {
            self.parts.iter().filter(|row| wanted(&row.state)).map(|row| row.part.as_str()).collect()
        };
        let saved = named(|state| matches!(state, RowState::Saved { .. }));
        let mut text =
            format!("evidence before the first change: {} of {} parts", saved.len(), self.parts.len());
        for (what, names) in [
            ("refused by the full database", named(|state| matches!(state, RowState::Refused { .. }))),
            ("missing", named(|state| matches!(state, RowState::Missing { .. }))),
            ("not here yet, and not waited for", named(|state| *state == RowState::Awaited)),
        ] {
            if !names.is_empty() {
                text.push_str(&format!("; {what}: {}", names.join(", ")));
            }
        }
        text
    }
}
