//! `runbook kill-idle`: the shipped runbook of that name, with its inputs as flags. Nothing of its own: plan, question,
//! guardrails, journal and exit codes are those of any run.

use std::path::PathBuf;

use super::audit::AuditArgs;
use super::guardrails::GuardArgs;
use super::manner::MannerArgs;
use super::run::{self, RunArgs};
use super::target::TargetArgs;

#[derive(Debug, clap::Args)]
pub(super) struct KillIdleArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    audit: AuditArgs,
    /// Show who would be ended, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    manner: MannerArgs,
    /// Only sessions that have slept at least this long [default: 60s].
    #[arg(long, value_name = "TIME")]
    idle: Option<String>,
    /// At most this many, the oldest first [default: 100].
    #[arg(long, value_name = "N")]
    at_most: Option<String>,
    /// Write the plan with its hash to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    plan_out: Option<PathBuf>,
    #[command(flatten)]
    guardrails: GuardArgs,
}

pub(super) fn run(args: &KillIdleArgs) -> u8 {
    let inputs = [("idle", &args.idle), ("at_most", &args.at_most)];
    let set = inputs.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={value}")));
    run::run(&RunArgs {
        dry_run: args.dry_run,
        set: set.collect(),
        plan_out: args.plan_out.clone(),
        ..RunArgs::of(
            "kill-idle",
            args.target.clone(),
            args.audit.clone(),
            args.manner.clone(),
            args.guardrails.clone(),
        )
    })
}
