//! The engine: a pure machine that decides, and a driver that does.

mod awake;
#[cfg(test)]
mod crash_tests;
pub mod driver;
mod env;
mod event;
mod fights;
mod guard;
mod ledger;
mod machine;
mod outlook;
mod rails;
mod request;
mod vigil;
mod watch;

pub use awake::Awake;
pub use event::{Event, GateKind, Measurements, Outcome, StepStatus, Tally};
pub use fights::foreign_releases;
pub use guard::{FightGuard, LockGuard};
pub use ledger::Ledger;
pub use machine::{Config, Machine, Move, Standing, Unresumable};
pub use rails::RailGuard;
pub use request::{Clearance, Input, Live, Performance, Request};
