//! Verbs: what a step may do, one file each, and the one list of them.
//!
//! A verb only *states* what it wants: given what it may observe and what it has done so far, it names the next change,
//! asks to be called again later, or says that it is done. The engine performs changes. A verb must never hold an
//! actuator, print, wait, or know which runbook it stands in.

mod param;
mod scene;
mod verb;

pub use param::{Bindings, Param, Scalar};
pub use scene::{Failure, Made, Progress, Replacement, RunFacts, Scene};
pub use verb::{Action, Awaits, Consent, Done, Forecast, Next, Output, Preview, Status};
