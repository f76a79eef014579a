//! A runbook bound to a target: no variables left, hashed. What was shown is what was confirmed is what runs.
//!
//! It must never perform anything, nor read the environment.

mod model;

pub use model::{
    AfterGate, Body, Bound, Gate, IfUnknown, Ladder, OnFailure, Plan, PlanRecord, Retry, Selection, Step,
    Target,
};
