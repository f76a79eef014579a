//! Finds runbooks: files first, then those inside the binary.

use std::path::{Path, PathBuf};

use super::output::Stop;
use crate::plan::EMBEDDED;
use crate::source::{Source, did_you_mean};

/// A runbook that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its name.
    pub(super) name: String,
    /// Its text; the source's name is its path, or `embedded`.
    pub(super) source: Source,
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
            for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
                let yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
                let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).filter(|_| yaml) else {
                    continue;
                };
                let source = read(&path)?;
                let shadows = EMBEDDED.iter().any(|(known, _)| *known == name);
                found.push(Found { name: name.to_owned(), source, shadows });
            }
        }
        Err(error) if dir.is_some() => {
            return Err(Stop::new(2, format!("error: --runbooks {}: {error}", folder.display())));
        }
        Err(_) => {}
    }
    for (name, text) in EMBEDDED {
        if !found.iter().any(|known| known.name == *name) {
            found.push(Found {
                name: (*name).to_owned(),
                source: Source::new("embedded", *text),
                shadows: false,
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Reads a runbook's file.
pub(super) fn read(path: &Path) -> Result<Source, Stop> {
    let text = std::fs::read(path)
        .map_err(|error| Stop::new(2, format!("error: reading {}: {error}", path.display())))?;
    let text = String::from_utf8(text)
        .map_err(|_| Stop::new(3, format!("error: {} is not UTF-8 text", path.display())))?;
    Ok(Source::new(path.display().to_string(), text))
}

/// The runbook called `name`. Unattended, a file that shadows an embedded one is refused unless its folder was named.
pub(super) fn find(name: &str, dir: Option<&Path>, unattended: bool) -> Result<Found, Stop> {
    let all = all(dir)?;
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
    if found.shadows && unattended && dir.is_none() {
        return Err(Stop::new(
            6,
            format!(
                "error: {} stands before the embedded runbook `{name}`, and --yes would run it unread\n  hint: `--runbooks runbooks` says that it is meant",
                found.source.name
            ),
        ));
    }
    Ok(found.clone())
}
