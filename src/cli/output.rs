//! Words to the person: data on stdout, talk on stderr, and failures with their exit code.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::platform::{Fault, FaultKind};
use crate::reporter::wrap;
use crate::source::{escape_controls, last_net, last_net_but_colours};

/// Why a command ends early: what is said, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) code: u8,
    pub(super) text: String,
}

impl Stop {
    pub(super) fn new(code: u8, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// What is said, for a program: without colours and without the word `error:`.
    pub(super) fn plain(&self) -> String {
        let text = console::strip_ansi_codes(&self.text).into_owned();
        text.strip_prefix("error: ").map_or_else(|| text.clone(), str::to_owned)
    }

    /// The target or its credentials cannot be used (exit 9).
    pub(super) fn unusable(fault: &Fault) -> Self {
        let mut text = format!("error: {fault}");
        for hint in &fault.hints {
            text.push_str(&format!("\n  hint: {hint}"));
        }
        if !fault.request_ids.is_empty() {
            text.push_str(&format!("\n  Heroku request id: {}", fault.request_ids.join(", ")));
        }
        let code = if fault.kind == FaultKind::Interrupted { 130 } else { 9 };
        Self { code, text }
    }
}

/// Writes data to stdout. A reader that has left is no fault of ours.
pub(super) fn data(text: &str) {
    let _ = std::io::stdout().write_all(last_net(text).as_bytes());
    let _ = std::io::stdout().flush();
}

/// A path as it is told.
pub(super) fn shown(path: &Path) -> String {
    escape_controls(&path.display().to_string()).into_owned()
}

/// Writes talk to stderr.
pub(super) fn talk(text: &str) {
    let net = if console::colors_enabled_stderr() { last_net_but_colours } else { last_net };
    let _ = writeln!(std::io::stderr(), "{}", net(text));
}

/// Writes a file that only its owner reads, whatever was there before.
pub(super) fn private_file(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    file.write_all(text.as_bytes())
}

/// Width of the terminal, 80 where there is none.
pub(super) fn width() -> usize {
    let (_, columns) = console::Term::stderr().size();
    if console::user_attended_stderr() { usize::from(columns).clamp(40, 140) } else { 80 }
}

/// Width of what is written to stdout: the terminal's, 80 where there is none, so that a page reads the same in a pipe.
pub(super) fn page_width() -> usize {
    let (_, columns) = console::Term::stdout().size();
    if console::user_attended() { usize::from(columns).clamp(40, 100) } else { 80 }
}

/// A text beside its label, broken at `width`: later lines begin below the text's first letter.
pub(super) fn beside(label: &str, text: &str, indent: usize, width: usize) -> String {
    let mut out = label.to_owned();
    let wide = console::measure_text_width(label);
    if wide + 1 > indent {
        out.push('\n');
        out.push_str(&" ".repeat(indent));
    } else {
        out.push_str(&" ".repeat(indent - wide));
    }
    let broken = wrap(text, width.saturating_sub(indent).max(20), 0);
    out.push_str(&broken.replace('\n', &format!("\n{}", " ".repeat(indent))));
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_take_a_line_of_their_own() {
        assert_eq!(
            beside("  a = 1", "one two three four five six", 10, 30),
            "  a = 1   one two three four\n          five six\n"
        );
        assert_eq!(beside("  a long label", "text", 6, 30), "  a long label\n      text\n");
    }
}
