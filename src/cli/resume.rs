//! `runbook resume [RUN]`: goes on with a run that was paused, or whose process died.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use super::audit::AuditArgs;
use super::guardrails::{self, GuardArgs};
use super::manner::MannerArgs;
use super::output::{Stop, talk};
use super::past::Past;
use super::run::{check_terminal, lead, target_of};
use super::runs::open_store;
use super::session::Session;
use super::show::say_handed_over;
use super::signals::Ending;
use super::target::{TargetArgs, app_of, open_target};
use crate::plan::build;
use crate::platform::{Clock, SystemClock};
use crate::source::{Source, render};

#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    /// The run: its id, a unique beginning of it, or its last letters [default: the app's newest that can be resumed].
    run: Option<String>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    manner: MannerArgs,
    /// Go on although this has changed since.
    #[arg(long, value_name = "WHAT")]
    accept_changed: Vec<Accept>,
    /// Folder of runbooks in which the run's is looked for.
    #[arg(long, value_name = "DIR")]
    runbooks: Option<PathBuf>,
    #[command(flatten)]
    guardrails: GuardArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Accept {
    /// The runbook's text: the run goes on with the new one.
    Runbook,
    /// The app, its database, its remote or the working tree.
    Target,
}

pub(super) fn run(args: &ResumeArgs) -> u8 {
    lead(args.manner.json, |ending| attempt(args, ending))
}

fn attempt(args: &ResumeArgs, ending: &Arc<Ending>) -> Result<u8, Stop> {
    let store = open_store()?;
    let mut past = match &args.run {
        Some(run) => Past::find(&store, run)?,
        None => Past::newest(&store, &app_of(&args.target)?)?,
    };
    say_handed_over(&past.folder);
    let (text, target) =
        (args.accept_changed.contains(&Accept::Runbook), args.accept_changed.contains(&Accept::Target));
    if let Some((change, now)) = past.text_change(args.runbooks.as_deref()) {
        if !text {
            let text = format!(
                "error: the runbook has changed since run {}:\n{change}\n  nothing was changed\n  hint: `--accept-changed runbook` goes on with it as it is now; steps that are over stay over",
                past.run
            );
            return Err(Stop::new(9, text));
        }
        if let Some(now) = now {
            past.record.text = now;
            past.changed = true;
        } else {
            talk(&format!("note: {change}; going on with the text as it was recorded"));
        }
    }
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    check_terminal(args.manner.yes, terminal)?;
    let target_args = args.target.for_run(&past.record.target);
    let age = past.age(SystemClock::start().wall());
    let clock = Arc::new(SystemClock::resumed(age));
    let (opened, app) = open_target(&target_args, clock, Arc::new(|text: &str| talk(text)))?;
    let now = target_of(&target_args, &opened, &app)?;
    past.changed |= past.check_target(&now, target)?;
    past.record.target = now;
    let fresh = guardrails::load(&args.guardrails, args.runbooks.as_deref(), &target_args.folder)?;
    let rails = past.record.guardrails.renewed(fresh);
    if rails != past.record.guardrails {
        past.record.guardrails = rails;
        past.changed = true;
    }
    let source = Source::new(past.record.source.as_str(), past.record.text.as_str());
    let plan = build(past.record.clone()).map_err(|faults| {
        Stop::new(3, render(&source, &faults, console::colors_enabled_stderr()).trim_end().to_owned())
    })?;
    // Incident and reason are those that the run began with.
    let manner = args.manner.manner(target_args.no_database, AuditArgs::default())?;
    Session::begin(manner, opened, Arc::new(plan), terminal, Arc::clone(ending)).resumed(&store, past)
}
