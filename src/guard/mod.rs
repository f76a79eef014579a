//! Guardrails: what a team never wants done to its apps, whoever runs whatever.
//!
//! Pure: a text becomes rules, and rules judge plain data. Rules only add up, so that the strictest wins: it must never
//! let one rule loosen another, nor read a file, a clock or the environment (but the table of time zones: the system's, or
//! where there is none the one in the binary).

mod change;
mod freeze;
mod plan;
mod rails;
mod read;
mod rules;
mod tables;

pub use change::Judgement;
pub use freeze::Freeze;
pub use plan::{Case, Demand, Finding, Intent, LastRun};
pub use rails::{Guardrails, Limit, Place, Rule, Subject};
pub use read::{is_guardrails, read, read_part};
pub use tables::{RUNBOOK_PART, guardrails_schema};
