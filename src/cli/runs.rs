//! `runbook runs`.

use super::environment;
use super::output::{Stop, data, talk, width};
use crate::journal::Store;
use crate::reporter::Table;

#[derive(Debug, clap::Args)]
pub(super) struct RunsArgs {
    /// At most this many, newest first.
    #[arg(long, short = 'n', default_value_t = 20)]
    number: usize,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn open_store() -> Result<Store, Stop> {
    let dir = environment::state_dir().map_err(|fault| Stop::unusable(&fault))?;
    Store::open(&dir).map_err(|error| Stop::new(9, format!("error: {error}")))
}

pub(super) fn run(args: &RunsArgs) -> u8 {
    let listed = open_store().and_then(|store| {
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
        let rows: Vec<_> = summaries
            .iter()
            .map(|run| {
                serde_json::json!({
                    "run": run.id, "began": run.began, "runbook": run.runbook, "app": run.app,
                    "outcome": run.outcome, "changes": run.changes, "fault": run.fault,
                })
            })
            .collect();
        data(&format!("{}\n", serde_json::Value::Array(rows)));
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
            (None, Some(outcome)) => format!("{outcome:?}").to_lowercase(),
            (None, None) => "did not end".to_owned(),
        };
        table.row([run.id, run.runbook, run.app, outcome, run.changes.to_string()]);
    }
    data(&table.draw(width()));
    0
}
