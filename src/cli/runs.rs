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
                "changes": run.changes, "fault": run.fault,
            });
            data(&format!("{row}\n"));
        }
        return 0;
    }
    if summaries.is_empty() {
        talk("no runs yet");
        return 0;
    }
    let mut table = Table::new(&["run", "runbook", "app", "outcome", "changes"], &[4]);
    for run in summaries {
        let outcome = match (&run.fault, run.outcome) {
            (Some(_), _) => "unreadable".to_owned(),
            (None, Some(outcome)) => outcome.word().replace('_', " "),
            (None, None) => "did not end".to_owned(),
        };
        table.row([run.id, run.runbook, run.app, outcome, run.changes.to_string()]);
    }
    data(&table.draw(width()));
    0
}
