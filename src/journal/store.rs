//! The state directory: a folder a run, ids that can be said aloud, unique prefixes.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::reader::read_run;
use crate::engine::{Event, Outcome};
use crate::source::escape_controls;

/// Why the state directory cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{doing} {path}: {why}. `RUNBOOK_STATE_DIR` names another place")]
pub struct StoreError {
    /// What was tried.
    pub doing: String,
    /// On what.
    pub path: String,
    /// Why it failed.
    pub why: String,
}

impl StoreError {
    pub(super) fn new(path: &Path, doing: &str, error: &std::io::Error) -> Self {
        Self {
            doing: doing.to_owned(),
            path: escape_controls(&path.display().to_string()).into_owned(),
            why: error.to_string(),
        }
    }
}

/// The runs on this machine.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// One run, for lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: String,
    /// When it began.
    pub began: Option<jiff::Timestamp>,
    /// The runbook's name.
    pub runbook: String,
    /// The app.
    pub app: String,
    /// Who began it, `user@host`.
    pub by: String,
    /// The account whose token it used.
    pub account: Option<String>,
    /// The incident it belongs to.
    pub incident: Option<String>,
    /// Why it was begun.
    pub reason: Option<String>,
    /// How it ended; `None` = it has not ended, or died.
    pub outcome: Option<Outcome>,
    /// Changes made.
    pub changes: u64,
    /// Why it could not be read.
    pub fault: Option<String>,
}

impl Store {
    /// Opens the state directory, making it (0700) where it is not there.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned() };
        for folder in [store.root.clone(), store.root.join("runs"), store.root.join("locks")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(|error| StoreError::new(&folder, "creating", &error))?;
            // One that was there already may be open to others.
            fs::metadata(&folder)
                .and_then(|about| {
                    let mode = about.permissions().mode() & 0o777;
                    let own = mode & 0o700;
                    if mode == own {
                        Ok(())
                    } else {
                        fs::set_permissions(&folder, Permissions::from_mode(own))
                    }
                })
                .map_err(|error| StoreError::new(&folder, "protecting", &error))?;
        }
        let probe = store.root.join(format!(".probe-{}", std::process::id()));
        // With a byte in it: a full disk still makes empty files.
        fs::write(&probe, b"?")
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|error| StoreError::new(&store.root, "writing to", &error))?;
        Ok(store)
    }

    /// The state directory for reading only: nothing is made, nothing is tried.
    pub fn reading(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where local leases stand.
    pub fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// A new run id: start time and four letters that are hard to mishear.
    pub fn new_id(&self, now: jiff::Timestamp) -> String {
        const LETTERS: &[u8] = b"abcdefghjkmnpqrstvwxyz23456789";
        let letters: String = (0..4).map(|_| char::from(LETTERS[fastrand::usize(..LETTERS.len())])).collect();
        format!("{}-{letters}", now.strftime("%Y%m%d-%H%M%S"))
    }

    /// Makes the folder of a run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_run(&self, id: &str) -> Result<PathBuf, StoreError> {
        let folder = self.root.join("runs").join(id);
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .and_then(|()| fs::File::open(self.root.join("runs"))?.sync_all())
            .map_err(|error| StoreError::new(&folder, "creating", &error))?;
        Ok(folder)
    }

    /// Where the folder of a run is, or would be.
    pub fn run_folder(&self, id: &str) -> PathBuf {
        self.root.join("runs").join(id)
    }

    /// A place beside the runs, for a folder that is not a run yet.
    pub(super) fn aside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Ids of all runs, newest first.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn ids(&self) -> Result<Vec<String>, StoreError> {
        let runs = self.root.join("runs");
        let listed = match fs::read_dir(&runs) {
            Ok(listed) => listed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::new(&runs, "listing", &error)),
        };
        let mut ids: Vec<String> = listed
            .filter_map(Result::ok)
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids)
    }

    /// The run that `wanted` names: an id, a unique beginning of one, or its last letters.
    ///
    /// # Errors
    /// A sentence: no such run, or several.
    pub fn find(&self, wanted: &str) -> Result<(String, PathBuf), String> {
        let ids = self.ids().map_err(|error| error.to_string())?;
        let shown = escape_controls(wanted);
        let fits: Vec<&String> = ids
            .iter()
            .filter(|id| *id == wanted || id.starts_with(wanted) || id.ends_with(&format!("-{wanted}")))
            .collect();
        match fits.as_slice() {
            [one] => Ok(((*one).clone(), self.root.join("runs").join(one.as_str()))),
            [] => Err(format!("there is no run `{shown}`: `runbook runs` lists them")),
            many => {
                let some: Vec<_> = many.iter().take(5).map(|id| id.as_str()).collect();
                Err(format!("`{shown}` could be {} runs: {}", many.len(), some.join(", ")))
            }
        }
    }

    /// A run's folder, and when its journal was last written; `None` when there is no journal.
    pub fn last_written(&self, id: &str) -> Option<(PathBuf, std::time::SystemTime)> {
        let folder = self.root.join("runs").join(id);
        let told = fs::metadata(folder.join("journal.jsonl")).ok()?;
        told.modified().ok().map(|at| (folder, at))
    }

    /// One run for a list.
    pub fn summary(&self, id: &str) -> RunSummary {
        let mut summary = RunSummary {
            id: id.to_owned(),
            began: None,
            runbook: String::new(),
            app: String::new(),
            by: String::new(),
            account: None,
            incident: None,
            reason: None,
            outcome: None,
            changes: 0,
            fault: None,
        };
        match read_run(&self.root.join("runs").join(id)) {
            Err(error) => summary.fault = Some(error.to_string()),
            Ok(recorded) => {
                for entry in recorded.entries {
                    match entry.event {
                        Event::RunStarted { record, by, account, incident, reason, .. } => {
                            (summary.by, summary.account) = (by, account);
                            (summary.incident, summary.reason) = (incident, reason);
                            summary.began = Some(entry.at);
                            summary.runbook = record.runbook;
                            summary.app = record.target.app;
                        }
                        Event::Done { .. } => summary.changes += 1,
                        Event::RunFinished { outcome, .. } => summary.outcome = Some(outcome),
                        _ => {}
                    }
                }
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_private_and_found_by_beginning_or_letters() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state")).unwrap();
        for id in ["20260101-000000-aaaa", "20260101-000001-bbbb"] {
            store.create_run(id).unwrap();
        }
        let mode = fs::metadata(folder.path().join("state")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(store.ids().unwrap()[0], "20260101-000001-bbbb");
        assert_eq!(store.find("aaaa").unwrap().0, "20260101-000000-aaaa");
        assert_eq!(store.find("20260101-000001").unwrap().0, "20260101-000001-bbbb");
        assert!(store.find("20260101").unwrap_err().contains("could be 2 runs"));
        assert!(store.find("zzzz").unwrap_err().contains("there is no run"));
    }

    #[test]
    fn a_file_in_the_way_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(&path, "a file").unwrap();
        let error = Store::open(&path).unwrap_err().to_string();
        assert!(error.contains("RUNBOOK_STATE_DIR"), "{error}");
    }
}
