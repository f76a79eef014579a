//! `runbook resume [RUN]`: goes on with a run that was paused, or whose process died.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use super::audit::AuditArgs;
use super::guardrails::{self, GuardArgs};
use super::output::{Stop, talk};
use super::past::Past;
use super::run::{check_terminal, lead, target_of, time};
use super::runs::open_store;
use super::session::{Manner, Session};
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
    target: TargetArgs,
    /// Do not ask whether to go on. What is in doubt and cannot be read back still needs a person.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Ask before each step too.
    #[arg(long, conflicts_with = "yes")]
    step: bool,
    /// Go on although this has changed since.
    #[arg(long, value_name = "WHAT")]
    accept_changed: Vec<Accept>,
    /// Events as JSON on stdout, one object a line.
    #[arg(long)]
    json: bool,
    /// Waits this long for the end of another run on the app, such as 2m.
    #[arg(long, value_name = "TIME")]
    wait_lock: Option<String>,
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
    lead(args.json, |ending| attempt(args, ending))
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
    check_terminal(args.yes, terminal)?;
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
    let manner = Manner {
        yes: args.yes,
        step: args.step,
        json: args.json,
        plan_out: None,
        no_database: target_args.no_database,
        // Incident and reason are those that the run began with.
        audit: AuditArgs::default(),
        wait_lock: time("--wait-lock", args.wait_lock.as_deref())?.unwrap_or_default(),
        notes: Vec::new(),
    };
    Session::begin(manner, opened, Arc::new(plan), terminal, Arc::clone(ending)).resumed(&store, &past)
}
