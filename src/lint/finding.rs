//! One finding in one of the app's files.

use crate::source::{Diagnostic, Severity, Source, Span};

/// What was found, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A short stable name of its kind, for scripts.
    pub code: &'static str,
    /// The file.
    pub source: Source,
    /// What, where in it, why, and the remedy.
    pub fault: Diagnostic,
}

impl Finding {
    /// A finding that keeps the app from starting.
    pub(super) fn fatal(code: &'static str, source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self { code, source: source.clone(), fault: Diagnostic::error(span, message) }
    }

    /// A finding that does not.
    pub(super) fn warning(
        code: &'static str,
        source: &Source,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        Self { code, source: source.clone(), fault: Diagnostic::error(span, message).warning() }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.fault = self.fault.label(label);
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.fault = self.fault.help(help);
        self
    }

    /// Whether every dyno that reads the file would crash.
    pub fn is_fatal(&self) -> bool {
        self.fault.severity == Severity::Error
    }

    /// In one line: `apache_app.conf:2: what is wrong`.
    pub fn line(&self) -> String {
        let (line, _) = self.source.place(self.fault.span.start);
        format!("{}:{line}: {}", self.source.name, self.fault.message)
    }

    /// What to do about it, first choice.
    pub fn remedy(&self) -> Option<&str> {
        self.fault.help.first().map(String::as_str)
    }

    /// Whether the other is the same fault of the same file, wherever it stands in it.
    pub fn is_like(&self, other: &Self) -> bool {
        self.code == other.code
            && self.source.name == other.source.name
            && self.fault.message == other.fault.message
    }
}
