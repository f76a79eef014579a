//! `runbook undo RUN`: takes back what a run has changed. It is a run of its own, of a runbook written from the other's
//! journal.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;

use super::audit::AuditArgs;
use super::guardrails::{self, GuardArgs};
use super::manner::{Manner, MannerArgs};
use super::output::{Stop, data, talk};
use super::past::Past;
use super::resume::Accept;
use super::run::{check_terminal, lead, target_of};
use super::runs::{open_store, recorded};
use super::session::Session;
use super::signals::Ending;
use super::target::{TargetArgs, open_target};
use crate::engine::{Event, foreign_releases};
use crate::journal::{Store, read_run};
use crate::plan::{PlanRecord, Selection, UNDO_OF, build, undo};
use crate::platform::{Before, Change, Effect, Fault, Opened, SystemClock};
use crate::source::{Source, render};

/// Newest releases that are looked at for other people's.
const LOOKED_AT: usize = 40;

#[derive(Debug, clap::Args)]
pub(super) struct UndoArgs {
    /// The run: its id, a unique beginning of it, or its last letters.
    run: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    audit: AuditArgs,
    /// Show what would be taken back, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    manner: MannerArgs,
    /// Undo although the app, its database, its remote or the working tree is another now.
    #[arg(long, value_name = "WHAT")]
    accept_changed: Vec<Accept>,
    #[command(flatten)]
    guardrails: GuardArgs,
}

pub(super) fn run(args: &UndoArgs) -> u8 {
    lead(args.manner.json, |ending| attempt(args, ending))
}

/// The run that has undone `run` already, or has begun to.
fn undone_by(store: &Store, run: &str) -> Option<String> {
    let source = format!("{UNDO_OF}{run}");
    store.ids().ok()?.into_iter().find(|id| {
        read_run(&store.run_folder(id)).is_ok_and(|recorded| {
            let ours =
                |event: &Event| matches!(event, Event::RunStarted { record, .. } if record.source == source);
            recorded.entries.iter().any(|entry| ours(&entry.event))
                && recorded.entries.iter().any(|entry| matches!(entry.event, Event::Intended { .. }))
        })
    })
}

fn attempt(args: &UndoArgs, ending: &Arc<Ending>) -> Result<u8, Stop> {
    let store = if args.dry_run { recorded()? } else { open_store()? };
    let past = Past::find(&store, &args.run)?;
    if let Some(other) = undone_by(&store, &past.run) {
        let text = format!(
            "error: run {} was undone by run {other}: nothing is done twice\n  nothing was changed\n  hint: `runbook show {other}` tells how it ended, `runbook resume {other}` goes on with it",
            past.run
        );
        return Err(Stop::new(6, text));
    }
    let changes = past.changes();
    let (app, made) = (&past.record.target.app, changes.made());
    let in_doubt: Vec<_> = changes.in_doubt().map(|change| change.request(app)).collect();
    if !in_doubt.is_empty() {
        let text = format!(
            "error: it is not known whether this took effect: {}\n  nothing was changed\n  hint: `runbook resume {}` reads it back first",
            in_doubt.join("; "),
            past.run
        );
        return Err(Stop::new(7, text));
    }
    let told = undo(&past.run, app, made);
    let Some(text) = told.text else {
        let mut said = format!("nothing of run {} can be taken back\n", past.run);
        for cannot in &told.cannot {
            said.push_str(&format!("  {cannot}\n"));
        }
        if args.manner.json {
            talk(said.trim_end());
            ending.say(crate::engine::Outcome::Done, 0, "nothing to undo");
        } else {
            data(&said);
        }
        return Ok(0);
    };
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    check_terminal(args.manner.yes || args.dry_run, terminal)?;
    let target = args.target.for_run(&past.record.target);
    let (opened, app) =
        open_target(&target, Arc::new(SystemClock::start()), Arc::new(|text: &str| talk(text)))?;
    let now = target_of(&target, &opened, &app)?;
    past.check_target(&now, args.accept_changed.contains(&Accept::Target))?;
    let rails = guardrails::load(&args.guardrails, None, &target.folder)?;
    let others = released_since(&opened, made).map_err(|fault| Stop::unusable(&fault))?;
    if !others.is_empty() && args.manner.yes && !args.dry_run {
        let text = format!(
            "error: somebody else has released since run {}: {}; going back would take that back too\n  nothing was changed\n  hint: answer at a terminal without --yes, or `runbook run rollback`",
            past.run,
            others.join("; ")
        );
        return Err(Stop::new(6, text));
    }
    let source = Source::new(format!("{UNDO_OF}{}", past.run), text);
    let record = PlanRecord {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        runbook: "undo".to_owned(),
        source: source.name.to_string(),
        included: BTreeMap::new(),
        text: source.text.to_string(),
        inputs: BTreeMap::new(),
        selection: Selection::default(),
        target: now,
        deadline_ms: None,
        guardrails: past.record.guardrails.renewed(rails),
        emergency: None,
    };
    let plan = build(record).map_err(|faults| {
        Stop::new(1, render(&source, &faults, console::colors_enabled_stderr()).trim_end().to_owned())
    })?;
    let manner = Manner {
        notes: told
            .cannot
            .into_iter()
            .map(|cannot| format!("stays as it is: {cannot}"))
            .chain(
                others.into_iter().map(|other| format!("taken back as well, and not of that run: {other}")),
            )
            .collect(),
        ..args.manner.manner(target.no_database, args.audit.following(&past.recorded))?
    };
    let session = Session::begin(manner, opened, Arc::new(plan), terminal, Arc::clone(ending));
    if args.dry_run { session.dry() } else { session.live(&store) }
}

/// Releases that others have made since the run's first: going back to what was before it takes them back too.
fn released_since(opened: &Opened, made: &[(Change, Before, Effect)]) -> Result<Vec<String>, Fault> {
    let mut released = made.iter().filter(|(change, _, effect)| change.has_released(effect));
    let Some(known) = released.find_map(|(_, before, _)| before.release) else {
        return Ok(Vec::new());
    };
    let releases = opened.observer.releases_since(LOOKED_AT, known)?;
    let own: Vec<_> = made.iter().map(|(change, _, effect)| (change, effect)).collect();
    Ok(foreign_releases(known, &releases, &own))
}
