//! A run of the past, read back from its journal to be taken up again: what was planned, what happened, and what has
//! changed since. It must never be written to before a person has agreed.

use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::library;
use super::output::{Stop, talk};
use crate::engine::{Config, Event, Ledger, Outcome, Standing};
use crate::health::{Moment, show_seconds};
use crate::journal::{Recorded, Store, read_run};
use crate::plan::{EMBEDDED, Plan, PlanRecord, Target, UNDO_OF};
use crate::reporter::wrap;
use crate::source::escape_controls;

/// Lines of a difference that are shown.
const DIFFERENCE: usize = 60;

/// A run of the past.
pub(super) struct Past {
    pub(super) run: String,
    pub(super) folder: PathBuf,
    pub(super) recorded: Recorded,
    /// What it was planned from, as accepted last.
    pub(super) record: PlanRecord,
    pub(super) config: Config,
    /// The text or the target was accepted as changed just now.
    pub(super) changed: bool,
    began: jiff::Timestamp,
}

/// Whether a run that ended so can be taken up again.
pub(super) const fn is_resumable(outcome: Option<Outcome>) -> bool {
    !matches!(outcome, Some(Outcome::Done))
}

/// The journal in a run's folder; one that cannot be read is exit 9.
pub(super) fn journal(folder: &Path) -> Result<Recorded, Stop> {
    read_run(folder).map_err(|error| Stop::new(9, format!("error: {error}")))
}

impl Past {
    /// Reads the run that `wanted` names: an id, the beginning of one, or its last letters.
    pub(super) fn find(store: &Store, wanted: &str) -> Result<Self, Stop> {
        let (run, folder) = store.find(wanted).map_err(|why| Stop::new(2, format!("error: {why}")))?;
        Self::read(run, folder)
    }

    /// The newest run of `app` that can be taken up again.
    pub(super) fn newest(store: &Store, app: &str) -> Result<Self, Stop> {
        let ids = store.ids().map_err(|error| Stop::new(9, format!("error: {error}")))?;
        for run in ids.into_iter().map(|id| store.summary(&id)) {
            if let Some(fault) = &run.fault {
                // It may have been of this app: who goes on with an older one must know.
                talk(&format!("note: run {} is not considered: {fault}", run.id));
            } else if run.app == app && is_resumable(run.outcome) {
                return Self::find(store, &run.id);
            }
        }
        let text = format!(
            "error: {app} has no run that could be resumed\n  hint: `runbook runs` lists them; a run that is done needs no resume"
        );
        Err(Stop::new(2, text))
    }

    fn read(run: String, folder: PathBuf) -> Result<Self, Stop> {
        let recorded = journal(&folder)?;
        let mut planned = None;
        for entry in &recorded.entries {
            match &entry.event {
                Event::RunStarted { record, config, .. } => {
                    planned = Some(((**record).clone(), (**config).clone(), entry.at));
                }
                Event::Resumed { record: Some(accepted), .. } => {
                    if let Some((record, _, _)) = &mut planned {
                        *record = (**accepted).clone();
                    }
                }
                _ => {}
            }
        }
        let Some((record, config, began)) = planned else {
            return Err(Stop::new(
                9,
                format!(
                    "error: run {run} ended before its plan was written down: nothing was done, so begin a new run"
                ),
            ));
        };
        Ok(Self { run, folder, recorded, record, config, changed: false, began })
    }

    /// Reads its journal anew: nobody else writes it from here on.
    pub(super) fn read_again(&mut self) -> Result<(), Stop> {
        self.recorded = journal(&self.folder)?;
        Ok(())
    }

    /// Its events with their moments on the run's clock, which goes on through pauses.
    pub(super) fn events(&self) -> Vec<(Moment, Event)> {
        let moment = |at: jiff::Timestamp| {
            Moment(u64::try_from(at.duration_since(self.began).as_millis()).unwrap_or(0))
        };
        self.recorded.entries.iter().map(|entry| (moment(entry.at), entry.event.clone())).collect()
    }

    /// What it has changed, and what of it is in doubt.
    pub(super) fn changes(&self) -> Ledger {
        Ledger::of(self.recorded.entries.iter().map(|entry| &entry.event))
    }

    /// Time since it began.
    pub(super) fn age(&self, now: jiff::Timestamp) -> std::time::Duration {
        std::time::Duration::try_from(now.duration_since(self.began)).unwrap_or_default()
    }

    /// What of the runbook's text has changed since: `None` when nothing has. The new text is given where there is one.
    pub(super) fn text_change(&self, folder: Option<&Path>) -> Option<(String, Option<String>)> {
        let record = &self.record;
        let now = if record.source == "embedded" && folder.is_none() {
            EMBEDDED.iter().find(|(name, _)| *name == record.runbook).map(|(_, text)| (*text).to_owned())
        } else if record.source.starts_with(UNDO_OF) {
            return None;
        } else {
            let named = folder.map(|folder| folder.join(format!("{}.yaml", record.runbook)));
            let path = named.unwrap_or_else(|| PathBuf::from(&record.source));
            library::read(&path).ok().map(|source| source.text.to_string())
        };
        let Some(now) = now else {
            let gone = format!("{} is not here any more (`--runbooks DIR` names its folder)", record.source);
            return Some((gone, None));
        };
        if now == record.text {
            return None;
        }
        let difference = TextDiff::from_lines(record.text.as_str(), now.as_str());
        let shown =
            difference.unified_diff().context_radius(1).header("as it was run", "as it is now").to_string();
        let lines: Vec<_> = shown.lines().collect();
        let mut text = lines[..lines.len().min(DIFFERENCE)].join("\n");
        if lines.len() > DIFFERENCE {
            text.push_str(&format!("\n… {} lines more", lines.len() - DIFFERENCE));
        }
        let clean: Vec<_> = text.lines().map(|line| escape_controls(line).into_owned()).collect();
        Some((clean.join("\n"), Some(now)))
    }

    /// What of the target has changed since, each in a line.
    fn target_changes(&self, now: &Target) -> Vec<String> {
        let was = &self.record.target;
        let none = || "not used".to_owned();
        let rows = [
            ("app", was.app.clone(), now.app.clone()),
            ("app id", was.app_id.clone(), now.app_id.clone()),
            ("API", was.api_url.clone(), now.api_url.clone()),
            (
                "database",
                was.database.clone().unwrap_or_else(none),
                now.database.clone().unwrap_or_else(none),
            ),
            ("git remote", was.git_remote.clone(), now.git_remote.clone()),
            ("working tree", was.folder.clone(), now.folder.clone()),
        ];
        rows.into_iter()
            .filter(|(_, was, now)| was != now)
            .map(|(what, was, now)| {
                format!("{what}: was {}, is {}", escape_controls(&was), escape_controls(&now))
            })
            .collect()
    }

    /// Refuses a target that is not the run's, unless that was accepted.
    pub(super) fn check_target(&self, now: &Target, accepted: bool) -> Result<bool, Stop> {
        let changes = self.target_changes(now);
        if changes.is_empty() || accepted {
            return Ok(!changes.is_empty());
        }
        let text = format!(
            "error: this is not the target of run {}:\n  {}\n  nothing was changed\n  hint: `--accept-changed target` goes on with it all the same",
            self.run,
            changes.join("\n  ")
        );
        Err(Stop::new(9, text))
    }

    /// What a person reads before agreeing: what is over, what is in doubt, where it goes on.
    pub(super) fn told(&self, standing: &Standing, plan: &Plan, width: usize) -> String {
        let mut out = String::new();
        let mut line = |text: &str| {
            out.push_str(&wrap(text, width, 10));
            out.push('\n');
        };
        let last = self.recorded.entries.last().map_or(self.began, |entry| entry.at);
        let paused =
            std::time::Duration::try_from(jiff::Timestamp::now().duration_since(last)).unwrap_or_default();
        line(&format!(
            "run {} of {} on {}: last heard of {} ago",
            self.run,
            self.record.runbook,
            self.record.target.app,
            show_seconds(paused.as_secs_f64().round())
        ));
        let over: Vec<_> =
            plan.steps.iter().map(|step| step.id.as_str()).filter(|id| standing.over.contains(*id)).collect();
        if !over.is_empty() {
            line(&format!("  over      {}", over.join(", ")));
        }
        for request in &standing.in_doubt {
            line(&format!("  in doubt  {request} (read back first)"));
        }
        if !standing.again.is_empty() {
            line(&format!("  anew      {} (the pause had reversed it)", standing.again.join(", ")));
        }
        line(&format!("  goes on   at {}", standing.at.as_deref().unwrap_or("its end")));
        if self.recorded.torn {
            line(
                "  note      the journal's last line was torn and is left out: the process or the machine died while writing it",
            );
        }
        out
    }
}
