//! Edits of a settings file: text in, text out, and what was done. Works on bytes, so that line ends, encoding and every
//! byte outside the edited places stay what they are.
//!
//! It does no IO, and must never guess: what is commented out, inside a text or under a condition is told apart from what
//! is in force, and where more than one line could be meant it refuses and names them.

mod bytes;
mod conf;
mod diff;
mod hunk;
mod lexer;
mod lines;
mod operation;
mod perform;
mod php;
mod put_back;
#[cfg(test)]
mod tests;

pub use bytes::Bytes;
pub use diff::diff;
pub use hunk::{Hunk, apply, digest};
pub use operation::{Absent, Operation, Refusal, Syntax, Which, line_fault, value_fault};
pub use perform::{Edited, Note, edit};
pub use put_back::{PutBack, put_back};
