//! `runbook run NAME`: find, bind, open; the rest is the session's.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use super::audit::AuditArgs;
use super::environment;
use super::guardrails::{self, GuardArgs};
use super::library;
use super::manner::{Manner, MannerArgs, time};
use super::notices::Audience;
use super::output::{Stop, talk};
use super::runs::open_store;
use super::session::Session;
use super::signals::Ending;
use super::target::{TargetArgs, app_of, open_target};
use crate::engine::Outcome;
use crate::plan::{
    Emergency, Plan, PlanRecord, Selection, Target, bind_inputs, build, check_among, check_emergency,
    check_selection, emergency,
};
use crate::platform::secret::Redactor;
use crate::platform::{Opened, SystemClock};
use crate::source::{escape_controls, render};

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The runbook's name (`runbook list`).
    pub(super) name: String,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) audit: AuditArgs,
    /// Show what would be done, from live state, and change nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    #[command(flatten)]
    pub(super) manner: MannerArgs,
    /// Set an input.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(super) set: Vec<String>,
    /// Begin at this step.
    #[arg(long, value_name = "STEP")]
    pub(super) from: Option<String>,
    /// Run only these steps (and those marked `always`).
    #[arg(long, value_name = "STEP")]
    pub(super) only: Vec<String>,
    /// Leave these steps out.
    #[arg(long, value_name = "STEP")]
    pub(super) skip: Vec<String>,
    /// Write the plan with its hash to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) plan_out: Option<PathBuf>,
    /// Ends waiting after this long, such as 10m.
    #[arg(long, value_name = "TIME")]
    pub(super) deadline: Option<String>,
    /// Folder of runbooks, read before the embedded ones [default: ./runbooks].
    #[arg(long, value_name = "DIR")]
    pub(super) runbooks: Option<PathBuf>,
    /// Say that this is an emergency, and why: written beside everything that is done. Guardrails stay.
    #[arg(long, value_name = "REASON")]
    pub(super) emergency: Option<String>,
    /// In an emergency, run this step without its gates.
    #[arg(long, value_name = "STEP", requires = "emergency")]
    pub(super) lift: Vec<String>,
    #[command(flatten)]
    pub(super) guardrails: GuardArgs,
}

impl RunArgs {
    /// A run of `name` with nothing else chosen.
    pub(super) fn of(
        name: &str,
        target: TargetArgs,
        audit: AuditArgs,
        manner: MannerArgs,
        guardrails: GuardArgs,
    ) -> Self {
        Self {
            name: name.to_owned(),
            target,
            audit,
            dry_run: false,
            manner,
            set: Vec::new(),
            from: None,
            only: Vec::new(),
            skip: Vec::new(),
            plan_out: None,
            deadline: None,
            runbooks: None,
            emergency: None,
            lift: Vec::new(),
            guardrails,
        }
    }
}

pub(super) fn run(args: &RunArgs) -> u8 {
    lead(args.manner.json, |ending| attempt(args, ending))
}

/// Leads a command that carries out a run: everything that goes wrong before it, with its exit code; then the run's own.
pub(super) fn lead(json: bool, attempt: impl FnOnce(&Arc<Ending>) -> Result<u8, Stop>) -> u8 {
    let ending = match Ending::listen(json) {
        Ok(ending) => ending,
        Err(error) => {
            talk(&format!("error: listening for signals: {error}"));
            return 1;
        }
    };
    let ended = attempt(&ending);
    ending.take();
    match ended {
        Ok(code) => code,
        Err(stop) => {
            talk(&stop.text);
            ending.say(outcome_of(stop.code), stop.code, &stop.plain());
            stop.code
        }
    }
}

/// A plan must be agreed to, by `--yes` or at a terminal.
pub(super) fn check_terminal(yes: bool, terminal: bool) -> Result<(), Stop> {
    if yes || terminal {
        return Ok(());
    }
    Err(Stop::new(
        6,
        "error: the plan must be agreed to, and there is no terminal to ask at\n  hint: `--dry-run` shows it, `--yes` agrees to it",
    ))
}

/// The outcome that `--json` names for a run that did not begin.
pub(super) const fn outcome_of(code: u8) -> Outcome {
    match code {
        2 | 3 => Outcome::Invalid,
        6 => Outcome::Declined,
        8 => Outcome::Locked,
        9 => Outcome::Unusable,
        130 => Outcome::Interrupted,
        _ => Outcome::Failed,
    }
}

fn attempt(args: &RunArgs, ending: &Arc<Ending>) -> Result<u8, Stop> {
    let (name, source) =
        library::find(&args.name, args.runbooks.as_deref(), args.manner.yes && !args.dry_run)?;
    let colour = console::colors_enabled_stderr();
    let included = library::included(&source, args.runbooks.as_deref(), args.manner.yes && !args.dry_run)?;
    let checked = check_among(&source, &included)
        .map_err(|faults| Stop::new(3, render(&source, &faults, colour).trim_end().to_owned()))?;
    if checked.runbook.name.value != name {
        return Err(Stop::new(
            3,
            format!("error: {} calls itself `{}`, not `{}`", source.name, checked.runbook.name.value, name),
        ));
    }
    let inputs = bind_inputs(&checked.runbook.inputs, &pairs(&args.set)?)
        .map_err(|faults| Stop::new(2, format!("error: {}", faults.join("\nerror: "))))?;
    let selection = Selection { from: args.from.clone(), only: args.only.clone(), skip: args.skip.clone() };
    check_selection(&checked.plan, &selection)
        .map_err(|faults| Stop::new(2, format!("error: {}", faults.join("\nerror: "))))?;
    let deadline = time("--deadline", args.deadline.as_deref())?
        .map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let emergency = emergency_of(args, &checked.plan)?;
    let guardrails = guardrails::load(&args.guardrails, args.runbooks.as_deref(), &args.target.folder)?;
    let mut record = PlanRecord {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        runbook: name,
        source: source.name.to_string(),
        text: source.text.to_string(),
        included,
        inputs,
        selection,
        target: Target::default(),
        deadline_ms: deadline,
        guardrails,
        emergency,
    };
    // The runbook is valid by itself: what does not fit now came with `--set`, and needs no app to be seen.
    let looks = build(record.clone()).map_err(|faults| {
        let told = render(&source, &faults, colour);
        Stop::new(2, format!("{}\n  hint: the runbook is valid by itself: look at --set", told.trim_end()))
    })?;
    let bound = looks;
    let looks = bound.only_looks;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    check_terminal(args.manner.yes || args.dry_run || looks, terminal)?;
    // The state directory is tried before anything else happens: what cannot be written down is not done.
    let store = if args.dry_run { None } else { Some(open_store()?) };
    let opened = open_target(&args.target, Arc::new(SystemClock::start()), Arc::new(|text: &str| talk(text)));
    let (opened, app) = opened.inspect_err(|stop| {
        if !args.dry_run {
            let mut plan = bound;
            plan.record.target.app = app_of(&args.target).unwrap_or_default();
            let redactor = Redactor::default();
            let audience = Audience::gather(&plan, &redactor);
            audience.could_not_begin(&plan, &redactor, outcome_of(stop.code), stop.code, &stop.plain());
        }
    })?;
    record.target = target_of(&args.target, &opened, &app)?;
    let plan = build(record)
        .map_err(|faults| Stop::new(3, render(&source, &faults, colour).trim_end().to_owned()))?;
    let manner = Manner {
        plan_out: args.plan_out.clone(),
        ..args.manner.manner(args.target.no_database, args.audit.clone())?
    };
    let session = Session::begin(manner, opened, Arc::new(plan), terminal, Arc::clone(ending));
    match store {
        None => session.dry(),
        Some(store) => session.live(&store),
    }
}

/// `--emergency` and `--lift`, once they fit the runbook.
fn emergency_of(args: &RunArgs, plan: &Plan) -> Result<Option<Emergency>, Stop> {
    let Some(reason) = &args.emergency else { return Ok(None) };
    let told = emergency(reason, &args.lift).map_err(|why| Stop::new(2, format!("error: {why}")))?;
    check_emergency(plan, &told)
        .map_err(|faults| Stop::new(2, format!("error: {}", faults.join("\nerror: "))))?;
    Ok(Some(told))
}

/// What `--set NAME=VALUE` gives.
pub(super) fn pairs(set: &[String]) -> Result<Vec<(String, String)>, Stop> {
    set.iter()
        .map(|text| {
            text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| {
                let text = escape_controls(text);
                Stop::new(2, format!("error: --set {text}: write NAME=VALUE"))
            })
        })
        .collect()
}

/// The target as it was opened.
pub(super) fn target_of(args: &TargetArgs, opened: &Opened, app: &str) -> Result<Target, Stop> {
    let facts = opened.observer.heroku().app().map_err(|fault| Stop::unusable(&fault))?;
    Ok(Target {
        // Its name, also when `-a` gave its uuid: rules, locks and people know it by that.
        app: if facts.name.is_empty() { app.to_owned() } else { facts.name },
        app_id: facts.id,
        api_url: environment::api_url(),
        database: opened.database.clone(),
        git_remote: opened.observer.git().remote_url(),
        folder: args.folder.display().to_string(),
        pages: opened.pages.clone(),
    })
}
