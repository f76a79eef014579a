//! Where text comes from and how a fault in it is shown: sources, spans, diagnostics, suggestions.
//!
//! Pure. It must never read a file, print, or know what a runbook means.

mod diagnostic;
mod span;

pub use diagnostic::{Diagnostic, Severity};
pub use span::{Source, Span, Spanned};
