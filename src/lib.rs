//! `runbook` executes incident runbooks against a Heroku app and its MariaDB database, and gates every step on
//! measured connection health.
//!
//! Modules import only those listed before them (`tests/architecture.rs` enforces it):
//! `source` · `edit` · `health` · `expr` · `lint` · `platform` · `action` · `guard` · `spec` · `plan` · `engine` ·
//! `journal` · `reporter` · `report` · `cli`. `lab` imports `source` only, and is reached through real sockets.

pub mod action;
pub mod cli;
pub mod edit;
pub mod engine;
pub mod expr;
pub mod guard;
pub mod health;
pub mod journal;
#[cfg(feature = "lab")]
pub mod lab;
pub mod lint;
pub mod plan;
pub mod platform;
pub mod reporter;
pub mod source;
pub mod spec;
