//! The engine: a pure machine that decides, and a driver that does.

pub mod driver;
mod env;
mod event;
mod machine;
mod request;
mod watch;

pub use event::{Event, GateKind, Measurements, Outcome, StepStatus, Tally};
pub use machine::{Config, Machine, Move};
pub use request::{Input, Live, Performance, Request};
