//! The engine: a pure machine that decides, and a driver that does.

mod event;

pub use event::{Event, GateKind, Measurements, Outcome, StepStatus, Tally};
