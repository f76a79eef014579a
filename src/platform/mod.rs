//! The only door to network, database, git, processes and clock.
//!
//! It gives an [`Observer`] (reads) and, only against a permit for a confirmed plan, an [`Actuator`] (changes). It
//! knows no runbook, and nothing outside it may open a socket, start a process or read the time.

pub mod git;
pub mod heroku;
pub mod mariadb;

mod addons;
mod change;
mod clock;
mod config;
mod door;
mod error;
mod facts;
#[cfg(test)]
pub(crate) mod fake;
mod forms;
mod inventory;
mod kept;
mod lock;
mod log_watch;
pub mod netrc;
mod one_off;
mod open;
mod pages;
mod post;
mod printed;
mod process;
mod reads;
mod reconcile;
mod sampler;
pub mod secret;
mod watch;
mod writes;

pub use addons::{Addon, AddonPlan, Price, dollars};
pub use change::{Before, Change, DynoScope, DynoTriple, Effect, KillRule, Victim, quoted, short};
pub use clock::{Clock, SystemClock};
pub use config::{
    ConfigDifference, ConfigValue, ConfigVars, SECRET_VARIABLES, is_config_name, secret_by_name,
};
pub use door::{Actuator, Observer, Permit, Sealed};
pub use error::{Certainty, ChangeError, Fault, FaultKind};
pub use facts::{
    App, Build, BuildOrigin, Census, CensusGroup, CommitFact, Committer, ConfigChange, DatabaseFacts, Dyno,
    Formation, IdleSession, LogLine, Release, ReleaseStatus, Running, Slug, Statement, Transaction,
    TreeChange, TreeState,
};
pub use inventory::{Answer, DatabaseSession, Figure, NamedQuery};
pub use kept::{Variables, from_command, from_file};
pub use lock::{Card, LockHolder, LockState};
pub use log_watch::{LogStream, LogTally, SignSeen};
pub use one_off::{Attach, OneOff};
pub use open::{Credentials, DatabaseCredentials, Opened, install_crypto, open};
pub use pages::{PageAnswer, PageRound};
pub use post::{Destination, Post};
pub use reads::{DatabaseReads, GitReads, HerokuReads};
pub use reconcile::{Reconciled, reconcile};
pub use sampler::{Sampler, SamplerOptions};
pub use watch::Seen;
pub use writes::Lines;
