//! How a session is led, whichever command begins it: the flags that `run`, `resume` and `undo` share.

use std::path::PathBuf;
use std::time::Duration;

use super::audit::AuditArgs;
use super::output::Stop;
use crate::expr::units::parse_duration;

/// Flags of every command that carries out a run.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct MannerArgs {
    /// Do not ask: the plan and `confirm` steps are agreed to. What only a person can tell still needs one.
    #[arg(long, short = 'y')]
    pub(super) yes: bool,
    /// Ask before each step too.
    #[arg(long, conflicts_with = "yes")]
    step: bool,
    /// Events as JSON on stdout, one object a line.
    #[arg(long)]
    pub(super) json: bool,
    /// Waits this long for the end of another run on the app, such as 2m.
    #[arg(long, value_name = "TIME")]
    wait_lock: Option<String>,
}

impl MannerArgs {
    /// The manner that these flags ask for.
    pub(super) fn manner(&self, no_database: bool, audit: AuditArgs) -> Result<Manner, Stop> {
        Ok(Manner {
            yes: self.yes,
            step: self.step,
            json: self.json,
            plan_out: None,
            no_database,
            audit,
            wait_lock: time("--wait-lock", self.wait_lock.as_deref())?.unwrap_or_default(),
            notes: Vec::new(),
        })
    }
}

/// How a session is led.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct Manner {
    /// `--yes`.
    pub(super) yes: bool,
    /// `--step`.
    pub(super) step: bool,
    /// `--json`.
    pub(super) json: bool,
    /// `--plan-out`.
    pub(super) plan_out: Option<PathBuf>,
    /// `--no-database`.
    pub(super) no_database: bool,
    /// `--incident`, `--reason`.
    pub(super) audit: AuditArgs,
    /// `--wait-lock`.
    pub(super) wait_lock: Duration,
    /// What else the person should know before agreeing.
    pub(super) notes: Vec<String>,
}

/// A time given by a flag.
pub(super) fn time(flag: &str, text: Option<&str>) -> Result<Option<Duration>, Stop> {
    text.map(|text| {
        parse_duration(text)
            .map_err(|why| Stop::new(2, format!("error: {flag}: {}", crate::source::escape_controls(&why))))
    })
    .transpose()
}
