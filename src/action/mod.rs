//! Verbs: what a step may do, one file each, and the one list of them.
//!
//! A verb only *states* what it wants: given what it may observe and what it has done so far, it names the next change,
//! asks to be called again later, or says that it is done. The engine performs changes. A verb must never hold an
//! actuator, print, wait, or know which runbook it stands in.

mod check;
mod confirm;
mod deploy;
mod diagnose;
mod diagnosis;
mod forecast;
mod kill_idle;
mod kill_limits;
mod logs;
mod maintenance;
mod param;
mod proof;
mod restart;
mod revert;
mod rollback;
mod run;
mod scale;
mod scene;
mod shape;
mod verb;
mod wait;

pub use kill_limits::KillLimits;
pub use param::{Bindings, Param, Ratio, Scalar, sole_template};
pub use rollback::Rollback;
pub use scene::{Failure, Made, Progress, Replacement, RunFacts, Scene};
pub use shape::{Field, Kind, Reading, Shape, optional, required};
pub use verb::{Action, Awaits, Consent, Done, Forecast, Next, Output, Preview, Status, Verb, VerbEntry};

/// Makes the table of verbs: reading, known names, schema, documentation and dispatch all come from it.
macro_rules! verbs {
    ($($verb:ty),+ $(,)?) => {
        /// Every verb, in the order in which they are documented.
        pub const VERBS: &[VerbEntry] = &[$(VerbEntry::of::<$verb>()),+];
    };
}

verbs![
    deploy::Deploy,
    restart::Restart,
    wait::Wait,
    check::Check,
    diagnose::Diagnose,
    kill_idle::KillIdle,
    scale::Scale,
    rollback::Rollback,
    revert::Revert,
    run::Run,
    maintenance::Maintenance,
    logs::Logs,
    confirm::Confirm,
];
