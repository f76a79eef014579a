//! Writes a journal: what must be durable is on disk when `append` returns.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::chain::{FORMAT, Head, first_line};
use super::entry::{Entry, encode};
use super::reader::Recorded;
use super::store::StoreError;
use crate::engine::Event;
use crate::engine::driver::{Record, Stamp};
use crate::platform::{Fault, FaultKind};

/// A journal being written. After a failed write it refuses every further one.
#[derive(Debug)]
pub struct Journal {
    run: String,
    folder: PathBuf,
    file: File,
    samples: File,
    seq: u64,
    head: Head,
    broken: bool,
    emergency: Option<String>,
}

impl Journal {
    /// Begins the journal of a run in its own, existing folder.
    ///
    /// # Errors
    /// When the files cannot be made.
    pub fn create(run: &str, folder: &Path) -> Result<Self, StoreError> {
        let mut file = open(folder, "journal.jsonl", true)?;
        let samples = open(folder, "samples.jsonl", true)?;
        file.write_all(format!("{}\n", first_line(FORMAT)).as_bytes())
            .and_then(|()| file.sync_data())
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(|error| StoreError::new(folder, "writing to", &error))?;
        Ok(Self {
            run: run.to_owned(),
            folder: folder.to_owned(),
            file,
            samples,
            seq: 0,
            head: Head::fresh(),
            broken: false,
            emergency: None,
        })
    }

    /// Goes on with the journal of a run: what was `recorded` stands, a torn last line is cut off.
    ///
    /// # Errors
    /// When the files cannot be opened or written.
    pub fn resume(run: &str, folder: &Path, recorded: &Recorded) -> Result<Self, StoreError> {
        let file = open(folder, "journal.jsonl", false)?;
        let samples = open(folder, "samples.jsonl", false)?;
        file.set_len(recorded.length)
            .and_then(|()| file.sync_data())
            .map_err(|error| StoreError::new(folder, "writing to", &error))?;
        Ok(Self {
            run: run.to_owned(),
            folder: folder.to_owned(),
            file,
            samples,
            seq: recorded.entries.len() as u64,
            head: recorded.head,
            broken: false,
            emergency: recorded.entries.iter().find_map(|entry| entry.emergency.clone()),
        })
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The journal's file.
    pub fn path(&self) -> PathBuf {
        self.folder.join("journal.jsonl")
    }

    /// The head of the chain, after the last entry.
    pub const fn head(&self) -> Head {
        self.head
    }

    fn stamp(&self, at: jiff::Timestamp) -> Stamp {
        Stamp { seq: self.seq, at, run: Some(self.run.clone()), head: Some(self.head.to_string()) }
    }

    fn fault(&self, error: &std::io::Error) -> Fault {
        let hint = match error.kind() {
            std::io::ErrorKind::StorageFull => {
                "the disk is full: free space; the run stopped before its next change"
            }
            _ => "the run stopped before its next change: what cannot be written down is not done",
        };
        Fault::new(
            FaultKind::Local,
            format!("writing the journal in {}", self.folder.display()),
            error.to_string(),
        )
        .hint(hint)
    }
}

/// A file of a run's folder, to be added to; with `new`, it must not be there yet.
fn open(folder: &Path, name: &str, new: bool) -> Result<File, StoreError> {
    let path = folder.join(name);
    OpenOptions::new()
        .append(true)
        .create(true)
        .create_new(new)
        .mode(0o600)
        .open(&path)
        .map_err(|error| StoreError::new(&path, "opening", &error))
}

/// Events that must be on disk before anything else happens.
const fn must_be_durable(event: &Event) -> bool {
    matches!(
        event,
        Event::RunStarted { .. }
            | Event::Resumed { .. }
            | Event::Intended { .. }
            | Event::Done { .. }
            | Event::ChangeFailed { .. }
            | Event::Settled { .. }
            | Event::RunFinished { .. }
    )
}

impl Record for Journal {
    fn append(&mut self, event: &Event) -> Result<Stamp, Fault> {
        let at = jiff::Timestamp::now();
        if self.broken {
            return Err(Fault::new(FaultKind::Local, "writing the journal", "an earlier write had failed"));
        }
        if matches!(event, Event::Sample { .. }) {
            // Samples are many and not needed to resume: a side file, not synced.
            let line =
                serde_json::to_string(&serde_json::json!({ "at": at, "sample": event })).unwrap_or_default();
            let written = self.samples.write_all(format!("{line}\n").as_bytes());
            return match written {
                Ok(()) => Ok(self.stamp(at)),
                Err(error) => Err(self.fault(&error)),
            };
        }
        if let Some(reason) = event.emergency() {
            self.emergency = Some(reason.to_owned());
        }
        let emergency = self.emergency.clone();
        let entry = Entry { seq: self.seq + 1, at, emergency, event: event.clone() };
        let encoded = encode(&self.head, &entry)
            .map_err(|error| Fault::new(FaultKind::Local, "writing the journal", error.to_string()))?;
        let (line, head) = encoded;
        let written = self
            .file
            .write_all(line.as_bytes())
            .and_then(|()| if must_be_durable(event) { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            self.broken = true;
            return Err(self.fault(&error));
        }
        self.seq = entry.seq;
        self.head = head;
        Ok(self.stamp(at))
    }
}

/// No journal: a dry run leaves nothing behind.
#[derive(Debug, Default)]
pub struct Unrecorded {
    seq: u64,
}

impl Record for Unrecorded {
    fn append(&mut self, _: &Event) -> Result<Stamp, Fault> {
        self.seq += 1;
        Ok(Stamp { seq: self.seq, at: jiff::Timestamp::now(), run: None, head: None })
    }
}
