//! A runbook bound to a target: no variables left, hashed. What was shown is what was confirmed is what runs.
//!
//! It must never perform anything, nor read the environment.

mod build;
mod library;
mod model;
mod scope;

pub use build::{Checked, bind_inputs, build, check, check_selection};
pub use library::EMBEDDED;
pub use model::{
    AfterGate, Body, Bound, Gate, IfUnknown, Ladder, OnFailure, Plan, PlanRecord, Retry, Selection, Step,
    Target,
};
