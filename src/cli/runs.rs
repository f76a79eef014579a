//! `runbook runs`.

use super::environment;
use super::output::{Stop, data, talk, width};
use crate::engine::Outcome;
use crate::journal::Store;
use crate::reporter::Table;

#[derive(Debug, clap::Args)]
pub(super) struct RunsArgs {
    /// At most this many, newest first.
    #[arg(long, short = 'n', default_value_t = 20)]
    number: usize,
    /// As JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// The runs of this machine, to be read: also from a directory that cannot be written to.
pub(super) fn recorded() -> Result<Store, Stop> {
    let dir = environment::state_dir().map_err(|fault| Stop::unusable(&fault))?;
    Ok(Store::reading(&dir))
}

pub(super) fn open_store() -> Result<Store, Stop> {
    let dir = environment::state_dir().map_err(|fault| Stop::unusable(&fault))?;
    Store::open(&dir).map_err(|error| Stop::new(9, format!("error: {error}")))
}

pub(super) fn run(args: &RunsArgs) -> u8 {
    let listed = recorded().and_then(|store| {
        let ids = store.ids().map_err(|error| Stop::new(9, format!("error: {error}")))?;
        Ok(ids.iter().take(args.number).map(|id| store.summary(id)).collect::<Vec<_>>())
    });
    let summaries = match listed {
        Ok(summaries) => summaries,
        Err(stop) => {
            talk(&stop.text);
            return stop.code;
        }
    };
    if args.json {
        for run in &summaries {
            let row = serde_json::json!({
                "run": run.id, "began": run.began, "runbook": run.runbook, "app": run.app,
                "outcome": run.outcome, "exit_code": run.outcome.map(Outcome::exit_code),
                "changes": run.changes, "by": run.by, "account": run.account, "incident": run.incident,
                "reason": run.reason, "fault": run.fault,
            });
            data(&format!("{row}\n"));
        }
        return 0;
    }
    if summaries.is_empty() {
        talk("no runs yet");
        return 0;
    }
    // Who and for which incident: a column of incidents only where there are any.
    let incidents = summaries.iter().any(|run| run.incident.is_some());
    let mut head = vec!["run", "runbook", "app", "outcome", "changes", "by"];
    head.extend(incidents.then_some("incident"));
    let mut table = Table::new(&head, &[4]);
    for run in summaries {
        let outcome = match (&run.fault, run.outcome) {
            (Some(_), _) => "unreadable".to_owned(),
            (None, Some(outcome)) => outcome.word().replace('_', " "),
            (None, None) => "did not end".to_owned(),
        };
        let mut row = vec![run.id, run.runbook, run.app, outcome, run.changes.to_string(), run.by];
        row.extend(incidents.then(|| run.incident.unwrap_or_default()));
        table.row(row);
    }
    // A pipe cuts nothing off.
    data(&table.draw(if console::user_attended() { width() } else { usize::MAX }));
    0
}
