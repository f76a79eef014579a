//! Takes a bundle into a store: everything is checked in memory, then written to a folder of its own beside the runs,
//! which becomes the run's with one rename.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::super::reader::{Recorded, read};
use super::super::store::Store;
use super::{BUNDLE_BYTES, BundleError, FILE_BYTES, FILES, Header, first_line, is_plain, is_run_id, sum};
use crate::engine::Event;
use crate::source::escape_controls;

/// A run that was taken.
#[derive(Debug)]
pub struct Taken {
    /// Who packed it, when, and with which head.
    pub header: Header,
    /// Its folder here.
    pub folder: PathBuf,
    /// Its journal.
    pub recorded: Recorded,
}

/// A bundle whose sums all fit.
struct Opened<'b> {
    header: Header,
    files: Vec<(&'b str, &'b [u8])>,
    recorded: Recorded,
}

/// Takes a bundle; `by` is who takes it, `user@host`.
///
/// # Errors
/// A bundle that is damaged, was changed or is none; a run that is here already; a store that cannot be written to.
pub fn take(store: &Store, bytes: &[u8], by: &str) -> Result<Taken, BundleError> {
    let Opened { header, files, recorded } = open(bytes)?;
    let folder = store.run_folder(&header.run);
    if fs::symlink_metadata(&folder).is_ok() {
        return Err(BundleError::Exists(header.run));
    }
    let aside = store.aside(&format!("taking-{}-{}", header.run, std::process::id()));
    let note = serde_json::json!({ "at": jiff::Timestamp::now(), "by": by, "from": header });
    let written = write(&aside, &files, &format!("{note}\n")).and_then(|()| {
        fs::rename(&aside, &folder).map_err(|error| BundleError::unusable("making", &folder, &error))
    });
    if let Err(error) = written {
        let _ = fs::remove_dir_all(&aside);
        return Err(error);
    }
    if let Some(runs) = folder.parent() {
        fs::File::open(runs)
            .and_then(|runs| runs.sync_all())
            .map_err(|error| BundleError::unusable("writing to", runs, &error))?;
    }
    Ok(Taken { header, folder, recorded })
}

fn write(aside: &Path, files: &[(&str, &[u8])], note: &str) -> Result<(), BundleError> {
    let folder = |path: &Path| {
        let made = DirBuilder::new().mode(0o700).create(path);
        made.map_err(|error| BundleError::unusable("making", path, &error))
    };
    folder(aside)?;
    for (name, content) in files.iter().copied().chain([("taken.json", note.as_bytes())]) {
        let path = aside.join(name);
        if let Some((inside, _)) = name.split_once('/')
            && !aside.join(inside).is_dir()
        {
            folder(&aside.join(inside))?;
        }
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| {
                file.write_all(content)?;
                file.sync_all()
            })
            .map_err(|error| BundleError::unusable("writing", &path, &error))?;
    }
    fs::File::open(aside)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| BundleError::unusable("writing to", aside, &error))
}

fn refused<T>(why: impl Into<String>) -> Result<T, BundleError> {
    Err(BundleError::Refused(why.into()))
}

/// Splits the first line off.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().take(4096).position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// Reads and checks a bundle, whole.
fn open(bytes: &[u8]) -> Result<Opened<'_>, BundleError> {
    if bytes.len() as u64 > BUNDLE_BYTES {
        return refused(format!("it is longer than {} MB", BUNDLE_BYTES >> 20));
    }
    let Some((first, rest)) = line(bytes) else { return refused("its first line is missing") };
    if first != first_line() {
        return refused(if first.starts_with("runbook handoff ") {
            format!("it is of form `{}`, and this tool takes `{}`", escape_controls(first), first_line())
        } else {
            format!("it does not begin with `{}`", first_line())
        });
    }
    let header = line(rest).and_then(|(text, rest)| Some((serde_json::from_str::<Header>(text).ok()?, rest)));
    let Some((header, mut rest)) = header else { return refused("its second line is not readable") };
    if !is_run_id(&header.run) || header.files > FILES {
        return refused("its second line names no run, or too many files");
    }
    let mut files: Vec<(&str, &[u8])> = Vec::new();
    for number in 1..=header.files {
        let Some((about, after)) = line(rest) else { return refused(format!("file {number} is missing")) };
        let mut words = about.split(' ');
        let (name, length, wanted) = (words.next(), words.next(), words.next());
        let (Some(name), Some(Ok(length)), Some(wanted), None) =
            (name, length.map(str::parse::<u64>), wanted, words.next())
        else {
            return refused(format!("the line of file {number} is not readable"));
        };
        if !is_plain(name) || name == "taken.json" || name == "handed-over.json" {
            return refused(format!("`{}` is no name of a run's file", escape_controls(name)));
        }
        if files.iter().any(|(known, _)| clash(known, name)) {
            return refused(format!("{name} is there twice"));
        }
        let content = usize::try_from(length).ok().filter(|_| length <= FILE_BYTES);
        let Some((content, after)) = content.and_then(|length| after.split_at_checked(length)) else {
            return refused(format!("{name} is cut, or longer than {} MB", FILE_BYTES >> 20));
        };
        let Some(after) = after.strip_prefix(b"\n") else { return refused(format!("{name} has no end")) };
        if sum(content) != wanted {
            return refused(format!("{name} was changed: its checksum does not fit"));
        }
        files.push((name, content));
        rest = after;
    }
    let above = bytes.len() - rest.len();
    if rest != format!("end {}\n", sum(&bytes[..above])).as_bytes() {
        return refused("its end is missing, or it was changed: the checksum of the whole does not fit");
    }
    let journal = files.iter().find(|(name, _)| *name == "journal.jsonl");
    let Some((_, journal)) = journal else { return refused("it holds no journal") };
    let recorded = match read("journal.jsonl", journal) {
        Ok(recorded) => recorded,
        Err(error) => return refused(error.to_string()),
    };
    check(&header, &recorded)?;
    for (name, content) in &files {
        harmless(name, content)?;
    }
    Ok(Opened { header, files, recorded })
}

/// One name twice, in whatever case, or a file where another has its folder.
fn clash(known: &str, name: &str) -> bool {
    let (known, name) = (known.to_ascii_lowercase(), name.to_ascii_lowercase());
    known == name || known.starts_with(&format!("{name}/")) || name.starts_with(&format!("{known}/"))
}

/// The journal is the run's that the header names, up to the head that it names.
fn check(header: &Header, recorded: &Recorded) -> Result<(), BundleError> {
    let Some(Event::RunStarted { run, .. }) = recorded.entries.first().map(|entry| &entry.event) else {
        return refused("its journal does not begin with the start of a run");
    };
    if *run != header.run {
        return refused(format!("its journal is of another run, {}", escape_controls(run)));
    }
    if recorded.head.to_string() != header.head {
        return refused("its journal does not lead to the head that it names");
    }
    Ok(())
}

/// No text in it drives a terminal: what a run writes down is escaped, so what is not was put there.
fn harmless(name: &str, content: &[u8]) -> Result<(), BundleError> {
    let text = String::from_utf8_lossy(content);
    // Lines and tabs are a runbook's text, which the journal holds whole.
    let drives = |text: &str| {
        let plain = text.replace("\r\n", " ").replace(['\n', '\t'], " ");
        escape_controls(&plain) != plain
    };
    for (index, line) in text.lines().enumerate() {
        let body =
            if name == "journal.jsonl" { line.split_once(' ').map_or("", |(_, body)| body) } else { line };
        let hidden = serde_json::from_str::<Json>(body).is_ok_and(|json| any_text(&json, &drives));
        if drives(line) || hidden {
            return refused(format!("{name} holds control characters in line {}", index + 1));
        }
    }
    // A file that is one value over many lines.
    if serde_json::from_str::<Json>(&text).is_ok_and(|json| any_text(&json, &drives)) {
        return refused(format!("{name} holds control characters"));
    }
    Ok(())
}

fn any_text(json: &Json, drives: &dyn Fn(&str) -> bool) -> bool {
    match json {
        Json::String(text) => drives(text),
        Json::Array(items) => items.iter().any(|item| any_text(item, drives)),
        Json::Object(map) => map.iter().any(|(key, item)| drives(key) || any_text(item, drives)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}
