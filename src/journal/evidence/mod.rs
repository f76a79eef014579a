//! Evidence before the cure: what the world was before a run's first destructive change, kept in the run's folder.
//!
//! It is read on threads of its own from the moment the plan is agreed to. The first destructive change waits for it,
//! three seconds at most; what is late is written when it comes, what does not come is said to be missing, and why. It
//! must never end a run or hold it up any longer, and it reads nothing that the run does not need to have read: a dry
//! run keeps no evidence.

mod index;
mod mode;
mod parts;

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use serde_json::Value as Json;

pub use index::{Index, Row, RowState};
pub use mode::AfterEvidence;
pub use parts::{Part, parts_of};

use crate::platform::secret::Redactor;
use crate::platform::{Fault, FaultKind};
use crate::source::{escape_controls, escape_json};

/// How long the first destructive change waits.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// A run that is resumed keeps evidence anew, beside what it kept before; this often at most.
const AGAIN_AT_MOST: u32 = 20;

/// Evidence being gathered; dropping it closes the record: what has not come by then is missing.
#[derive(Debug)]
pub struct Evidence {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    redactor: Redactor,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug)]
struct State {
    index: Index,
    closed: bool,
}

impl Evidence {
    /// Begins to gather it into `run`, the run's folder: one thread a lane, the parts of a lane one after the other.
    pub fn begin(run: &Path, redactor: &Redactor, lanes: Vec<Vec<Part>>) -> Self {
        let made = make_folder(run);
        let rows = lanes.iter().flatten().map(|part| Row::awaited(part.name)).collect();
        let index = Index { format: 1, began: jiff::Timestamp::now(), first_change: None, parts: rows };
        let shared = Arc::new(Shared {
            folder: made.as_ref().map_or_else(|_| run.join("evidence"), Clone::clone),
            redactor: redactor.clone(),
            state: Mutex::new(State { index, closed: false }),
            news: Condvar::new(),
        });
        for lane in lanes {
            let names: Vec<_> = lane.iter().map(|part| part.name).collect();
            let started = match &made {
                Ok(_) => {
                    let shared = Arc::clone(&shared);
                    let gather = move || lane.into_iter().for_each(|part| shared.gather(part));
                    std::thread::Builder::new().name("evidence".to_owned()).spawn(gather).map(drop)
                }
                Err(error) => Err(io::Error::other(error.to_string())),
            };
            if let Err(error) = started {
                for name in names {
                    shared.settle(name, RowState::Missing { why: format!("it could not be begun: {error}") });
                }
            }
        }
        Self { shared }
    }

    /// Called before every destructive change: the first waits until everything is there, or for `patience`. Gives the
    /// sentence about it once.
    pub fn before_change(&self, patience: Duration) -> Option<String> {
        let state = self.shared.lock();
        if state.index.first_change.is_some() {
            return None;
        }
        let (mut state, _) = self
            .shared
            .news
            .wait_timeout_while(state, patience, |state| state.index.is_awaited())
            .unwrap_or_else(PoisonError::into_inner);
        state.index.first_change = Some(jiff::Timestamp::now());
        self.shared.write_index(&state);
        Some(format!("{} in {}", state.index.sentence(), self.shared.shown_folder()))
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        for row in &mut state.index.parts {
            if matches!(row.state, RowState::Awaited) {
                row.state = RowState::Missing { why: "it had not come when the run ended".to_owned() };
            }
        }
        self.shared.write_index(&state);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one part and writes it down.
    fn gather(&self, part: Part) {
        {
            let state = self.lock();
            let late = state.index.first_change.is_some();
            if late || state.closed {
                drop(state);
                let why =
                    "the first change was made before its turn: what is read now is no evidence of before";
                self.settle(part.name, RowState::Missing { why: why.to_owned() });
                return;
            }
        }
        let begun = jiff::Timestamp::now();
        let read = catch_unwind(AssertUnwindSafe(part.read)).unwrap_or_else(|_| {
            Err(Fault::new(FaultKind::Local, "reading it", "the tool itself failed in this"))
        });
        let state = match read {
            Err(fault) if fault.kind == FaultKind::Full => {
                RowState::Refused { why: self.redactor.clean(&fault.to_string()) }
            }
            Err(fault) => RowState::Missing { why: self.redactor.clean(&fault.to_string()) },
            Ok(value) => self.keep(part.name, value, begun),
        };
        self.settle(part.name, state);
    }

    /// Writes a part's file; one that the end of the run has overtaken is left.
    fn keep(&self, name: &str, mut value: Json, begun: jiff::Timestamp) -> RowState {
        clean(&mut value, &self.redactor);
        let entries = match &value {
            Json::Array(items) => items.len(),
            _ => 1,
        };
        if self.lock().closed {
            return RowState::Awaited;
        }
        let file = format!("{}.json", name.replace(' ', "-"));
        let written = private_file(&self.folder.join(&file))
            .and_then(|mut to| to.write_all(escape_json(&format!("{value:#}\n")).as_bytes()));
        if let Err(error) = written {
            return RowState::Missing { why: format!("it could not be written: {error}") };
        }
        let took = jiff::Timestamp::now().duration_since(begun);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or_default();
        RowState::Saved { file, begun, took_ms, entries, late: false }
    }

    fn settle(&self, name: &str, mut with: RowState) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        if let RowState::Saved { late, .. } = &mut with {
            *late = state.index.first_change.is_some();
        }
        if let Some(row) = state.index.parts.iter_mut().find(|row| row.part == name) {
            row.state = with;
        }
        self.write_index(&state);
        drop(state);
        self.news.notify_all();
    }

    /// The index, whole and at once. That it cannot be written ends nothing: the parts are there all the same.
    fn write_index(&self, state: &State) {
        let next = self.folder.join(".index.next");
        let _ = fs::remove_file(&next);
        let _ = serde_json::to_string_pretty(&state.index)
            .map_err(io::Error::other)
            .and_then(|text| private_file(&next)?.write_all(format!("{text}\n").as_bytes()))
            .and_then(|()| fs::rename(&next, self.folder.join("evidence.json")));
    }

    fn shown_folder(&self) -> String {
        escape_controls(&self.folder.display().to_string()).into_owned()
    }
}

/// Makes `evidence` in the run's folder, or `evidence-2` and so on for a run that goes on.
fn make_folder(run: &Path) -> io::Result<PathBuf> {
    let mut made = Err(io::Error::other("too many folders of evidence"));
    for number in 1..=AGAIN_AT_MOST {
        let name = if number == 1 { "evidence".to_owned() } else { format!("evidence-{number}") };
        let folder = run.join(name);
        made = fs::DirBuilder::new().mode(0o700).create(&folder).map(|()| folder);
        if !matches!(&made, Err(error) if error.kind() == io::ErrorKind::AlreadyExists) {
            break;
        }
    }
    made
}

/// A new file that only the owner reads.
fn private_file(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Takes secrets and control characters out of every text.
fn clean(value: &mut Json, redactor: &Redactor) {
    match value {
        Json::String(text) => *text = without_named(&redactor.clean(text)),
        Json::Array(items) => items.iter_mut().for_each(|item| clean(item, redactor)),
        Json::Object(map) => map.values_mut().for_each(|item| clean(item, redactor)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// The text without values that are called a secret: in commands of the formation and lines of the log.
fn without_named(text: &str) -> String {
    const NAMES: [&str; 8] = ["password", "passwd", "pwd", "pass", "secret", "token", "apikey", "api_key"];
    let words = text.split(' ').map(|word| match word.split_once('=') {
        Some((name, value)) if !value.is_empty() => {
            let bare = name.to_ascii_lowercase().replace('-', "_");
            let secret = NAMES.iter().any(|known| bare.ends_with(known));
            if secret { format!("{name}=[redacted]") } else { word.to_owned() }
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
