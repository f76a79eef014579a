//! Guardrails at the command line: where their files are, what they say of a run, and how they are answered.
//!
//! Every file that is found applies, and a file that cannot be used stops the run: it is never passed over.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::environment;
use super::library;
use super::output::{Stop, talk};
use crate::engine::Event;
use crate::guard::{Case, Demand, Finding, Guardrails, Intent, LastRun, Subject, read};
use crate::journal::Store;
use crate::plan::{Body, Plan, PlanRecord, Step};
use crate::platform::{Change, Opened};
use crate::reporter::{Agreement, Terminal};
use crate::source::render;

/// What a file of guardrails is called.
const NAMES: [&str; 2] = ["guardrails.yaml", "guardrails.yml"];

#[derive(Debug, Clone, clap::Args)]
pub(super) struct GuardArgs {
    /// Guardrails that apply besides those that are found by themselves [env: RUNBOOK_GUARDRAILS].
    #[arg(long, value_name = "FILE")]
    guardrails: Vec<PathBuf>,
}

/// Whether a file in the folder of runbooks is one of guardrails.
pub(super) fn is_named_so(path: &Path) -> bool {
    path.file_name().is_some_and(|name| NAMES.iter().any(|known| name == *known))
}

/// Reads every file of guardrails there is: those that are named, those in and beside the folder of runbooks, at the
/// working tree's top and in the user's configuration.
pub(super) fn load(args: &GuardArgs, runbooks: Option<&Path>, tree: &Path) -> Result<Guardrails, Stop> {
    let mut files: Vec<PathBuf> = args.guardrails.clone();
    files.extend(environment::text("RUNBOOK_GUARDRAILS").map(PathBuf::from));
    let runbooks = runbooks.map_or_else(|| PathBuf::from("runbooks"), Path::to_owned);
    let mut folders = vec![beside(&runbooks), runbooks, top_of(tree)];
    folders.extend(environment::config_dir());
    for file in folders.iter().flat_map(|folder| NAMES.map(|name| folder.join(name))) {
        match std::fs::symlink_metadata(&file) {
            Ok(_) => files.push(file),
            Err(error) if is_absence(&error) => {}
            // It may be there: nobody can tell.
            Err(error) => return Err(unreadable(&file, &error.to_string())),
        }
    }
    let mut known = Vec::new();
    let mut rails = Guardrails::default();
    for file in files {
        let place = file.canonicalize().unwrap_or_else(|_| file.clone());
        if known.contains(&place) {
            continue;
        }
        // By its whole name, so that a resume from another folder knows it again.
        rails = rails.joined(one(&place)?);
        known.push(place);
    }
    Ok(rails)
}

fn is_absence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

fn unreadable(file: &Path, why: &str) -> Stop {
    let shown = file.display().to_string();
    let shown = crate::source::escape_controls(&shown);
    Stop::new(
        9,
        format!(
            "error: guardrails {shown}: {why}\n  hint: without knowing them nothing is run; make the file readable, or delete it"
        ),
    )
}

fn one(file: &Path) -> Result<Guardrails, Stop> {
    let source = library::read(file).map_err(|stop| match stop.code {
        3 => stop,
        _ => unreadable(file, stop.plain().rsplit(": ").next().unwrap_or_default()),
    })?;
    read(&source).map_err(|faults| {
        let told = render(&source, &faults, console::colors_enabled_stderr());
        let hint = "guardrails with a fault stop every run: correct the file, `runbook check` reads it";
        Stop::new(3, format!("{}\n  hint: {hint}", told.trim_end()))
    })
}

/// The folder in which another one stands.
fn beside(folder: &Path) -> PathBuf {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match whole.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// The top of the working tree that a folder is in; the folder itself where there is none.
fn top_of(folder: &Path) -> PathBuf {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let top = whole.ancestors().find(|at| at.join(".git").exists());
    top.map_or_else(|| whole.clone(), Path::to_owned)
}

/// What the run acts on, as rules name it.
pub(super) fn subject(plan: &Plan, opened: &Opened) -> Result<Subject, Stop> {
    let target = &plan.record.target;
    let shared = if plan.guardrails.protects_apps() {
        opened.observer.heroku().sharing_apps().map_err(|fault| Stop::unusable(&fault))?
    } else {
        Vec::new()
    };
    Ok(Subject { names: vec![target.app.clone(), target.app_id.clone()], shared_with: shared })
}

/// Steps that may change something, rungs among them.
fn intents<'p>(plan: &'p Plan, changes: &'p [(String, crate::action::Preview)]) -> Vec<Intent<'p>> {
    fn collect<'p>(
        steps: &'p [Step],
        rung: bool,
        changes: &'p [(String, crate::action::Preview)],
        into: &mut Vec<Intent<'p>>,
    ) {
        for step in steps.iter().filter(|step| step.left_out.is_none()) {
            match &step.body {
                Body::Verb(action) if action.mutates() => {
                    let known = changes.iter().find(|(id, _)| *id == step.id);
                    let changes: &[Change] = known.map_or(&[], |(_, preview)| &preview.changes);
                    into.push(Intent { step: &step.id, rung, verb: action.verb(), changes });
                }
                Body::Verb(_) => {}
                // Each rung of a ladder that is climbed again is tried once, there or then.
                Body::Ladder(ladder) if ladder.care.as_ref().is_some_and(|care| care.again.is_some()) => {}
                Body::Ladder(ladder) => collect(&ladder.rungs, true, changes, into),
            }
        }
    }
    let mut found = Vec::new();
    collect(&plan.steps, false, changes, &mut found);
    found
}

/// Everything that the guardrails have against this run; `run` is its id when it is taken up again.
pub(super) fn judge(
    plan: &Plan,
    previews: &[(String, crate::action::Preview)],
    opened: &Opened,
    subject: &Subject,
    run: Option<&str>,
) -> Result<Vec<Finding>, Stop> {
    if plan.guardrails.rules.is_empty() {
        return Ok(Vec::new());
    }
    let (user, _) = environment::who();
    let who: Vec<String> = [user, opened.account.clone()]
        .into_iter()
        .filter(|name| !matches!(name.as_str(), "" | "unknown"))
        .collect();
    let now = opened.observer.clock().wall();
    let runbook = &plan.record.runbook;
    let last = match plan.guardrails.cool_down(runbook) {
        Some((_, time)) => last_run(&super::runs::recorded()?, &plan.record, run, time, now)?,
        None => LastRun::Never,
    };
    let intents = intents(plan, previews);
    Ok(plan.guardrails.judge_plan(&Case { runbook, subject, who: &who, now, intents: &intents, last }))
}

/// The last run of the same runbook on the same app that changed something, if it was heard of within `time`.
fn last_run(
    store: &Store,
    record: &PlanRecord,
    run: Option<&str>,
    time: Duration,
    now: jiff::Timestamp,
) -> Result<LastRun, Stop> {
    let ids = store.ids().map_err(|error| Stop::new(9, format!("error: {error}")))?;
    let mut unreadable = None;
    // A run is no repeat of itself.
    for id in ids.into_iter().filter(|id| Some(id.as_str()) != run) {
        let Some((folder, written)) = store.last_written(&id) else { continue };
        // A clock that was set back makes a journal look new: it is read, which costs little.
        let age = jiff::Timestamp::try_from(written).ok().map(|written| now.duration_since(written));
        if age.and_then(|age| Duration::try_from(age).ok()).is_some_and(|age| age > time) {
            continue;
        }
        match crate::journal::read_run(&folder) {
            Ok(recorded) => {
                let mut ours = false;
                let mut changed = false;
                for entry in &recorded.entries {
                    match &entry.event {
                        Event::RunStarted { record: other, .. } => {
                            ours = other.runbook == record.runbook
                                && other.target.app_id == record.target.app_id;
                        }
                        // An intention counts too: what became of it is read back by `resume`, not guessed here.
                        Event::Intended { .. } => changed = true,
                        _ => {}
                    }
                }
                if let Some(last) = recorded.entries.last().filter(|_| ours && changed) {
                    return Ok(LastRun::Ended { run: id, at: last.at });
                }
            }
            // It ended before anything was recorded, so nothing was done.
            Err(crate::journal::JournalError::Empty { .. }) => {}
            Err(_) => unreadable = unreadable.or(Some(id)),
        }
    }
    Ok(unreadable.map_or(LastRun::Never, |run| LastRun::Unreadable { run }))
}

/// Which files apply, for the plan.
pub(super) fn note(plan: &Plan) -> Option<String> {
    let files: Vec<_> =
        plan.record.guardrails.files.iter().map(|file| crate::source::escape_controls(file)).collect();
    (!files.is_empty()).then(|| format!("guardrails: {}", files.join(", ")))
}

fn told(finding: &Finding) -> String {
    let hint = finding.hint.as_ref().map_or(String::new(), |hint| format!("; {hint}"));
    format!("{} ({}){hint}", finding.why, finding.place)
}

/// What a dry run says of a live one.
pub(super) fn foretold(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| match &finding.demand {
        Demand::Refused => format!("a live run would be refused: {}", told(finding)),
        Demand::RefusedRung { step } => {
            format!("in a live run the rung {step} would be refused: {}", told(finding))
        }
        Demand::TypeTheName { .. } => {
            format!("a live run asks for the app's name: {}; --yes does not answer that", told(finding))
        }
    };
    findings.iter().map(line).collect()
}

/// Ends a live run that the guardrails refuse, and says of the rest what is to be known.
pub(super) fn refuse(findings: &[Finding], terminal: bool) -> Result<(), Stop> {
    let mut text = String::new();
    for finding in findings {
        match &finding.demand {
            Demand::Refused => {
                text.push_str(&format!("error: {} ({})\n", finding.why, finding.place));
                if let Some(hint) = &finding.hint {
                    text.push_str(&format!("  hint: {hint}\n"));
                }
            }
            Demand::TypeTheName { .. } if !terminal => text.push_str(&format!(
                "error: {} ({}), and there is no terminal\n  hint: --yes does not answer that\n",
                finding.why, finding.place
            )),
            Demand::RefusedRung { .. } | Demand::TypeTheName { .. } => {}
        }
    }
    if text.is_empty() {
        return Ok(());
    }
    text.push_str("refused by guardrails; nothing was changed");
    Err(Stop::new(6, text))
}

/// Says which rungs will be refused when they are reached.
pub(super) fn warn(findings: &[Finding]) {
    for finding in findings {
        if let Demand::RefusedRung { step } = &finding.demand {
            talk(&format!("warning: the rung {step} will be refused: {}", told(finding)));
        }
    }
}

/// Whether a person typed the app's name where the guardrails want it; `false` where they do not.
pub(super) fn name_typed(findings: &[Finding], prompt: &Terminal, runbook: &str) -> Result<bool, Stop> {
    let wanted = findings.iter().find_map(|finding| match &finding.demand {
        Demand::TypeTheName { app } => Some((app, &finding.place)),
        _ => None,
    });
    let Some((app, place)) = wanted else { return Ok(false) };
    match prompt.typed(&format!("To run {runbook}, type the name of the app, {app}"), app) {
        Agreement::Yes => Ok(true),
        Agreement::Interrupted => Err(Stop::new(130, "interrupted; nothing was changed")),
        Agreement::No => {
            let text = format!("declined: that is not the name of the app ({place}); nothing was changed");
            Err(Stop::new(6, text))
        }
        Agreement::Nobody => {
            Err(Stop::new(6, format!("declined: nobody typed it ({place}); nothing was changed")))
        }
    }
}
