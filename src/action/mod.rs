//! Verbs: what a step may do, one file each, and the one list of them.
//!
//! A verb only *states* what it wants: given what it may observe and what it has done so far, it names the next change,
//! asks to be called again later, or says that it is done. The engine performs changes. A verb must never hold an
//! actuator, print, wait, or know which runbook it stands in.

mod addon;
mod by_hand;
mod check;
mod config;
mod confirm;
mod cost;
mod deploy;
mod deploy_files;
mod diagnose;
pub(crate) mod diagnosis;
mod edit;
mod edit_lint;
mod edit_operation;
mod edit_undo;
mod fleet;
mod forecast;
mod http;
mod input;
mod kill_idle;
mod kill_limits;
mod logs;
mod maintenance;
mod manual;
mod notify;
mod one_off;
mod outputs;
mod param;
mod promises;
mod proof;
mod question;
mod restart;
mod revert;
mod rollback;
mod run;
mod scale;
mod scene;
mod shape;
mod sql;
mod verb;
mod verify;
mod wait;

pub use by_hand::{measure, preamble};
pub use diagnosis::NAMED as RECOMMENDED;
pub use fleet::budget_of;
pub(crate) use input::INPUT;
pub use input::{InputKind, InputSpec};
pub use kill_limits::KillLimits;
pub use param::{Bindings, Param, Ratio, Scalar, sole_template};
pub use question::{Answer, Deed, Question, Takes};
pub use rollback::Rollback;
pub use scene::{Failure, Made, Progress, Replacement, RunFacts, Scene};
pub use shape::{EARLY, Field, Kind, Reading, Shape, optional, required};
pub use verb::{
    Action, Awaits, Consent, Declared, Done, Forecast, Next, Output, Preview, Status, Verb, VerbEntry,
};

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
    verify::Verify,
    http::Http,
    sql::Sql,
    kill_idle::KillIdle,
    scale::Scale,
    rollback::Rollback,
    revert::Revert,
    edit::Edit,
    run::Run,
    maintenance::Maintenance,
    config::Config,
    addon::Addon,
    logs::Logs,
    one_off::OneOff,
    confirm::Confirm,
    manual::Manual,
    notify::Notify,
];
