//! A runbook bound to a target: no variables left, hashed. What was shown is what was confirmed is what runs.
//!
//! It must never perform anything, nor read the environment.

mod after_care;
mod build;
mod emergency;
mod include;
mod inputs;
mod library;
mod model;
mod scope;
mod select;
mod steps;
mod undo;

pub use build::{Checked, build, check, check_among};
pub use emergency::{check_emergency, emergency};
pub use inputs::bind_inputs;
pub use library::EMBEDDED;
pub use model::{
    AFTER_CARE, AfterGate, Body, Bound, Care, Emergency, Gate, IfUnknown, Ladder, OnFailure, Plan,
    PlanRecord, Retry, Selection, Step, Target,
};
pub use scope::condition;
pub use select::check_selection;
pub use steps::healthy;
pub use undo::{UNDO_OF, Undo, undo};
