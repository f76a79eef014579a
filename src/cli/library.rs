//! Finds runbooks: files first, then those inside the binary.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::output::{Stop, shown};
use crate::plan::EMBEDDED;
use crate::source::yaml::SIZE;
use crate::source::{Source, did_you_mean};
use crate::spec::included_names;

/// A runbook that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its name.
    pub(super) name: String,
    /// Its text, named by its path or `embedded`; or why it cannot be read, which is a fault only of who asks for it.
    pub(super) source: Result<Source, Stop>,
    /// A file that stands before an embedded one of the same name.
    pub(super) shadows: bool,
}

fn folder(dir: Option<&Path>) -> PathBuf {
    dir.map_or_else(|| PathBuf::from("runbooks"), Path::to_owned)
}

/// Every runbook, by name.
pub(super) fn all(dir: Option<&Path>) -> Result<Vec<Found>, Stop> {
    let mut found: Vec<Found> = Vec::new();
    let folder = folder(dir);
    match std::fs::read_dir(&folder) {
        Ok(entries) => {
            let mut paths: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                if super::guardrails::is_named_so(&path) {
                    continue;
                }
                let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
                let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| yaml) else {
                    continue;
                };
                if let Some(twin) = found.iter_mut().find(|known| known.name == name) {
                    let text =
                        format!("error: {name}.yaml and {name}.yml are both there: delete one of them");
                    twin.source = Err(Stop::new(3, text));
                    continue;
                }
                let shadows = EMBEDDED.iter().any(|(known, _)| *known == name);
                found.push(Found { name: name.to_owned(), source: read(&path), shadows });
            }
        }
        Err(error) if dir.is_some() => {
            return Err(Stop::new(2, format!("error: --runbooks {}: {error}", shown(&folder))));
        }
        Err(_) => {}
    }
    for (name, text) in EMBEDDED {
        if !found.iter().any(|known| known.name == *name) {
            found.push(Found {
                name: (*name).to_owned(),
                source: Ok(Source::new("embedded", *text)),
                shadows: false,
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Reads a runbook's file: a plain file, UTF-8, and no larger than a runbook can be.
pub(super) fn read(path: &Path) -> Result<Source, Stop> {
    let shown = shown(path);
    let unreadable = |error: &std::io::Error| Stop::new(2, format!("error: reading {shown}: {error}"));
    let told = std::fs::metadata(path).map_err(|error| unreadable(&error))?;
    if !told.is_file() {
        return Err(Stop::new(2, format!("error: reading {shown}: it is no plain file")));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(SIZE as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() > SIZE {
        let text = format!(
            "error: {shown} has {} bytes; a runbook may have {SIZE}\n  hint: runbooks are read by people under pressure: split it",
            told.len()
        );
        return Err(Stop::new(3, text));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let valid = String::from_utf8_lossy(valid);
        let line = valid.matches('\n').count() + 1;
        let column = valid.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        let text =
            format!("error: {shown}:{line}:{column}: this is not UTF-8 text\n  hint: save the file as UTF-8");
        Stop::new(3, text)
    })?;
    Ok(Source::new(shown, text))
}

/// The runbook called `name`. Unattended, a file that shadows an embedded one is refused unless its folder was named.
pub(super) fn find(name: &str, dir: Option<&Path>, unattended: bool) -> Result<(String, Source), Stop> {
    find_among(&all(dir)?, name, dir, unattended)
}

fn find_among(
    all: &[Found],
    name: &str,
    dir: Option<&Path>,
    unattended: bool,
) -> Result<(String, Source), Stop> {
    let known: Vec<&str> = all.iter().map(|found| found.name.as_str()).collect();
    let Some(found) = all.iter().find(|found| found.name == name) else {
        let near = did_you_mean(name, known.iter().copied())
            .map_or(String::new(), |near| format!("\n  did you mean `{near}`?"));
        let name = crate::source::escape_controls(name);
        return Err(Stop::new(
            2,
            format!("error: there is no runbook `{name}`{near}\n  known: {}", known.join(", ")),
        ));
    };
    let source = found.source.clone()?;
    if found.shadows && unattended && dir.is_none() {
        return Err(Stop::new(
            6,
            format!(
                "error: {} stands before the embedded runbook `{name}`, and --yes would run it unread\n  hint: `--runbooks runbooks` says that it is meant",
                source.name
            ),
        ));
    }
    Ok((found.name.clone(), source))
}

/// Texts of every runbook that `source` includes, and of those that they include, by name. Unattended, one that stands
/// before an embedded one is refused as if it were run itself. What is not found is a fault of the runbook, told by its
/// check.
pub(super) fn included(
    source: &Source,
    dir: Option<&Path>,
    unattended: bool,
) -> Result<BTreeMap<String, String>, Stop> {
    let mut texts = BTreeMap::new();
    let mut open = included_names(source);
    let all = if open.is_empty() { Vec::new() } else { all(dir)? };
    while let Some(name) = open.pop() {
        if texts.contains_key(&name) || !all.iter().any(|found| found.name == name) {
            continue;
        }
        let (_, found) = find_among(&all, &name, dir, unattended)?;
        open.extend(included_names(&found));
        texts.insert(name, found.text.to_string());
    }
    Ok(texts)
}
