//! Where text comes from and how a fault in it is shown: sources, spans, trees, diagnostics, suggestions.
//!
//! Pure. It must never read a file, print, or know what a runbook means.

mod diagnostic;
mod escape;
mod render;
mod span;
mod suggest;
mod tree;
pub mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use escape::{escape_controls, escape_json, hides, last_net, last_net_but_colours};
pub use render::render;
pub use span::{Source, Span, Spanned};
pub use suggest::did_you_mean;
pub use tree::{Map, Node, NodeKind, Text, unknown};
