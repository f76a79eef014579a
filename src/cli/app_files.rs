//! `runbook check -C DIR`: the app's files, and how many connections the app may hold.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use super::output::{Stop, data, page_width, talk};
use super::target::{TargetArgs, open_target};
use crate::action::budget_of;
use crate::health::{Budget, DatabaseReading, How, Reckoned, Share, tighter};
use crate::lint::{Files, Finding, Looked, Text, Wiki, look, processes_of};
use crate::platform::SystemClock;
use crate::reporter::budget_view;
use crate::source::render;

/// A file of the app that is looked into has at most this many bytes.
const TEXT_AT_MOST: u64 = 1024 * 1024;

/// Figures of the app that are not read from it.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct BudgetArgs {
    /// Dynos of a process type, as `heroku ps:scale` takes them [default: those of the app, with `-a`].
    #[arg(long, value_name = "TYPE=N[:SIZE]")]
    dynos: Vec<String>,
    /// Connections that the database grants [default: what the server says, with `-a`].
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// `WEB_CONCURRENCY` [default: the app's config var, with `-a`; else what the buildpack would reckon].
    #[arg(long, value_name = "N")]
    concurrency: Option<u64>,
}

/// Files of a folder.
struct Folder(PathBuf);

impl Files for Folder {
    fn text(&self, path: &str) -> Text {
        match std::fs::metadata(self.0.join(path)) {
            Ok(told) if told.is_file() && told.len() <= TEXT_AT_MOST => {}
            Ok(told) if told.is_dir() => return Text::Absent,
            Err(error) if is_absent(&error) => return Text::Absent,
            Ok(_) | Err(_) => return Text::Unknown,
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::open(self.0.join(path))
            .and_then(|file| file.take(TEXT_AT_MOST).read_to_end(&mut bytes));
        match read {
            Ok(_) => Text::There(String::from_utf8_lossy(&bytes).into_owned()),
            Err(_) => Text::Unknown,
        }
    }

    fn children(&self, folder: &str) -> Option<Vec<String>> {
        match std::fs::read_dir(self.0.join(folder)) {
            Ok(entries) => Some(
                entries
                    .filter_map(Result::ok)
                    .map(|entry| entry.file_name().to_string_lossy().into_owned())
                    .collect(),
            ),
            Err(error) if is_absent(&error) => Some(Vec::new()),
            Err(_) => None,
        }
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Looks at the app's files and says what there is to say; the exit code is 3 when a finding would crash every dyno.
pub(super) fn check(target: &TargetArgs, args: &BudgetArgs, json: bool) -> Result<u8, Stop> {
    if !target.folder.is_dir() {
        let shown = super::output::shown(&target.folder);
        return Err(Stop::new(2, format!("error: -C {shown}: there is no such folder")));
    }
    let files = Folder(target.folder.clone());
    let looked = look(&files);
    let shown = super::output::shown(&target.folder);
    if json {
        for finding in &looked.findings {
            data(&format!("{}\n", as_json(finding)));
        }
    } else {
        say(&looked, &files, &shown);
    }
    let budget = if target.names_app() {
        Some(live(target, args, &files, looked.wiki.as_ref())?)
    } else {
        offline(args, &files, &looked)?
    };
    match budget {
        Some(budget) if json => data(&format!("{}\n", budget_json(&budget))),
        Some(budget) => data(&budget_view(&budget, page_width())),
        None if json => {}
        None => talk(
            "connections: not reckoned (`-a APP` reads the app; or say `--dynos web=2:Standard-1X --limit 150`)",
        ),
    }
    Ok(if looked.findings.iter().any(Finding::is_fatal) { 3 } else { 0 })
}

/// Findings, file by file, as a runbook's faults are told.
fn say(looked: &Looked, files: &dyn Files, folder: &str) {
    let mut told: Vec<&str> = Vec::new();
    for finding in &looked.findings {
        let name = &*finding.source.name;
        if told.contains(&name) {
            continue;
        }
        told.push(name);
        let faults: Vec<_> = looked
            .findings
            .iter()
            .filter(|other| other.source.name == finding.source.name)
            .map(|other| other.fault.clone())
            .collect();
        talk(render(&finding.source, &faults, console::colors_enabled_stderr()).trim_end());
    }
    if files.text("Procfile") == Text::Absent {
        talk(&format!("{folder}: no Procfile: what starts the app's web server is not known"));
    } else if !looked.findings.iter().any(Finding::is_fatal) {
        talk(&format!("{folder}: nothing in the app's files keeps a dyno from starting"));
    }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let (line, column) = finding.source.place(finding.fault.span.start);
    serde_json::json!({
        "file": &*finding.source.name, "line": line, "column": column,
        "severity": if finding.is_fatal() { "error" } else { "warning" },
        "code": finding.code, "message": finding.fault.message, "help": finding.fault.help,
    })
}

fn budget_json(budget: &Budget) -> serde_json::Value {
    serde_json::json!({ "budget": budget, "most": budget.most(), "passes_limit": budget.passes_limit() })
}

/// By the live app.
fn live(
    target: &TargetArgs,
    args: &BudgetArgs,
    files: &dyn Files,
    wiki: Option<&Wiki>,
) -> Result<Budget, Stop> {
    let (mut opened, app) =
        open_target(target, Arc::new(SystemClock::start()), Arc::new(|text: &str| talk(text)))?;
    // Nothing is changed here: the write authority is given away at once.
    drop(opened.sealed.take());
    let sample = opened.observer.database().map(crate::platform::DatabaseReads::sample);
    let (used, limit) = match &sample {
        Some(DatabaseReading::Measured(row)) => {
            let (used, limit) = tighter(row);
            (Some(used), Some(limit))
        }
        _ => (None, None),
    };
    let limit = match (args.limit, limit) {
        (Some(limit), _) => Some(Reckoned::new(limit, How::Told, "--limit")),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of connections")]
        (None, Some(limit)) => {
            Some(Reckoned::new(limit as u64, How::Told, "the server, or the account's own"))
        }
        (None, None) => None,
    };
    let budget = budget_of(&opened.observer, files, wiki, limit, used);
    opened.close();
    budget.map_err(|fault| Stop::unusable(&fault)).map(|mut budget| {
        for share in &mut budget.shares {
            share.dynos.basis = format!("{} of {app}", share.dynos.basis);
        }
        budget
    })
}

/// By the files and the flags alone; nothing when the flags say no dynos.
fn offline(args: &BudgetArgs, files: &dyn Files, looked: &Looked) -> Result<Option<Budget>, Stop> {
    if args.dynos.is_empty() {
        return Ok(None);
    }
    let mut shares = Vec::new();
    for text in &args.dynos {
        let parsed = text.split_once('=').and_then(|(kind, rest)| {
            let (number, size) = rest.split_once(':').map_or((rest, None), |(n, size)| (n, Some(size)));
            Some((kind, number.parse::<u64>().ok()?, size))
        });
        let Some((kind, number, size)) = parsed else {
            let text = crate::source::escape_controls(text);
            return Err(Stop::new(
                2,
                format!("error: --dynos {text}: write TYPE=N or TYPE=N:SIZE, as web=2:Standard-1X"),
            ));
        };
        let Some((_, command)) = looked.commands.iter().find(|(known, _)| known == kind) else {
            let known: Vec<_> = looked.commands.iter().map(|(known, _)| known.as_str()).collect();
            let (kind, known) = (crate::source::escape_controls(kind), known.join(", "));
            let why =
                if known.is_empty() { "there is no Procfile".to_owned() } else { format!("it has: {known}") };
            return Err(Stop::new(
                2,
                format!("error: --dynos {kind}: the Procfile has no such process type; {why}"),
            ));
        };
        let mut processes = processes_of(kind, command, size, args.concurrency, files);
        if let Some(processes) = &mut processes
            && args.concurrency.is_some()
        {
            processes.basis = processes.basis.replace("config var WEB_CONCURRENCY", "--concurrency");
        }
        shares.push(Share {
            kind: kind.to_owned(),
            dynos: Reckoned::new(number, How::Told, "--dynos"),
            processes,
        });
    }
    let limit = args.limit.map(|limit| Reckoned::new(limit, How::Told, "--limit"));
    Ok(Some(Budget { shares, links: Wiki::links(looked.wiki.as_ref()), limit }))
}
