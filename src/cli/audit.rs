//! Why a run is begun: flags of every command that changes things, for the audit.

use crate::engine::Event;
use crate::journal::Recorded;
use crate::source::escape_controls;

/// Longest text of these flags, in characters.
const LONGEST: usize = 300;

/// What the person says about the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(super) struct AuditArgs {
    /// The incident this belongs to, such as INC-42: kept with the run and shown wherever it is.
    #[arg(long, value_name = "ID", value_parser = line)]
    pub(super) incident: Option<String>,
    /// Why it is run, in your words: kept with the run.
    #[arg(long, value_name = "TEXT", value_parser = line)]
    pub(super) reason: Option<String>,
}

impl AuditArgs {
    /// The same for a run that follows another, such as its undo: of the same incident, unless another is named.
    pub(super) fn following(&self, other: &Recorded) -> Self {
        let theirs = other.entries.iter().find_map(|entry| match &entry.event {
            Event::RunStarted { incident, .. } => Some(incident.clone()),
            _ => None,
        });
        Self { incident: self.incident.clone().or_else(|| theirs.flatten()), reason: self.reason.clone() }
    }
}

/// One line of plain text, as long as a person reads.
fn line(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if escape_controls(text) != text {
        return Err("it holds control characters: write one line of text".to_owned());
    }
    match text.chars().count() {
        ..=LONGEST => Ok(text.to_owned()),
        many => Err(format!("it has {many} characters, more than {LONGEST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Entry, Head};

    #[test]
    fn an_undo_belongs_to_the_incident_of_its_run_unless_another_is_named() {
        let started = serde_json::json!({
            "type": "run_started", "run": "r", "plan": "p", "mode": "live", "by": "b", "incident": "INC-1",
            "record": {
                "tool": "t", "runbook": "r", "source": "s", "text": "", "inputs": {}, "deadline_ms": null,
                "selection": { "from": null, "only": [], "skip": [] },
                "target": {
                    "app": "", "app_id": "", "api_url": "", "database": null, "git_remote": "", "folder": "",
                    "pages": null,
                },
            },
        });
        let event = serde_json::from_value(started).unwrap();
        let entries = vec![Entry { seq: 1, at: jiff::Timestamp::UNIX_EPOCH, emergency: None, event }];
        let head = Head::Crc32(0);
        let run = Recorded { entries, torn: false, heads: vec![head], head, length: 0 };
        let named = |incident: Option<&str>| AuditArgs {
            incident: incident.map(str::to_owned),
            reason: Some("too wide".to_owned()),
        };
        assert_eq!(named(None).following(&run), named(Some("INC-1")));
        assert_eq!(named(Some("INC-2")).following(&run), named(Some("INC-2")));
    }

    #[test]
    fn one_line_of_text_and_nothing_else() {
        assert_eq!(line("  INC-42 "), Ok("INC-42".to_owned()));
        for bad in ["", "  ", "a\nb", "a\u{1b}[31m", "a\u{202e}b", &"x".repeat(301)] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
    }
}
