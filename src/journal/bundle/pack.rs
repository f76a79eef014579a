//! Packs a run's folder. Follows no link, and leaves out what a reader could not take.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::{BUNDLE_BYTES, BundleError, FILE_BYTES, FILES, Header, first_line, is_plain, sum};

/// The note that a run was handed over, beside its journal.
const NOTE: &str = "handed-over.json";
/// What belongs to this machine's copy alone.
const OWN: [&str; 3] = [NOTE, "taken.json", "README.txt"];
/// Room for the lines between the files.
const MARGIN: u64 = 1 << 20;

/// A run, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The bundle.
    pub bytes: Vec<u8>,
    /// Names of its files, in order.
    pub files: Vec<String>,
    /// What was left out or cut, each a sentence.
    pub left_out: Vec<String>,
}

/// Where and when a run was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// When.
    pub at: jiff::Timestamp,
    /// By whom, `user@host`.
    pub by: String,
    /// The head of its chain then: a run that went on here has another.
    pub head: String,
}

/// Packs the run in `folder`; `readme` is its first file.
///
/// # Errors
/// A file that cannot be read, a link or a device in the folder, or more than a bundle holds.
pub fn pack(folder: &Path, header: &Header, readme: &str) -> Result<Packed, BundleError> {
    let mut left_out = Vec::new();
    let mut names = Vec::new();
    list(folder, "", &mut names, &mut left_out)?;
    // The journal first, so that the rest can be cut off a bundle that is only looked at.
    names.sort_by_key(|name| (name != "journal.jsonl", name.clone()));
    let mut files = vec![("README.txt".to_owned(), readme.as_bytes().to_vec())];
    for name in names {
        let bytes = read(&folder.join(&name), &name, &mut left_out)?;
        files.push((name, bytes));
    }
    let all: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    if files.len() > FILES || all > BUNDLE_BYTES - MARGIN {
        let why = format!("{} files with {all} bytes are more than a bundle holds", files.len());
        return Err(BundleError::unusable("packing", folder, &std::io::Error::other(why)));
    }
    let header = Header { files: files.len(), ..header.clone() };
    let header = serde_json::to_string(&header)
        .map_err(|error| BundleError::unusable("packing", folder, &std::io::Error::other(error)))?;
    let mut bytes = format!("{}\n{header}\n", first_line()).into_bytes();
    for (name, content) in &files {
        bytes.extend(format!("{name} {} {}\n", content.len(), sum(content)).into_bytes());
        bytes.extend(content);
        bytes.push(b'\n');
    }
    let end = format!("end {}\n", sum(&bytes));
    bytes.extend(end.into_bytes());
    Ok(Packed { bytes, files: files.into_iter().map(|(name, _)| name).collect(), left_out })
}

/// Names of the files below `folder`, at most one folder deep.
fn list(
    folder: &Path,
    inside: &str,
    names: &mut Vec<String>,
    left_out: &mut Vec<String>,
) -> Result<(), BundleError> {
    let unusable = |error: &std::io::Error| BundleError::unusable("listing", folder, error);
    for entry in fs::read_dir(folder).map_err(|error| unusable(&error))? {
        let entry = entry.map_err(|error| unusable(&error))?;
        let kind = entry.file_type().map_err(|error| unusable(&error))?;
        let bare = entry.file_name().to_string_lossy().into_owned();
        let name = if inside.is_empty() { bare.clone() } else { format!("{inside}/{bare}") };
        if inside.is_empty() && OWN.contains(&bare.as_str()) {
            continue;
        }
        if !kind.is_file() && !kind.is_dir() {
            let why = std::io::Error::other("it is neither a file nor a folder, and links are not followed");
            return Err(BundleError::unusable("packing", &entry.path(), &why));
        }
        if !is_plain(&name) || (kind.is_dir() && !inside.is_empty()) {
            let shown = crate::source::escape_controls(&name).into_owned();
            left_out.push(format!("{shown}: not a name that a run has"));
        } else if kind.is_dir() {
            list(&entry.path(), &bare, names, left_out)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

fn read(path: &Path, name: &str, left_out: &mut Vec<String>) -> Result<Vec<u8>, BundleError> {
    let unusable = |error: std::io::Error| BundleError::unusable("reading", path, &error);
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(no_follow).open(path).map_err(unusable)?;
    let mut bytes = Vec::new();
    // One byte more than may be there; a journal that is being written to is read up to where it was.
    let long = file.metadata().map_err(unusable)?.len();
    if long > FILE_BYTES && name == "samples.jsonl" {
        let mut file = file;
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(-(1 << 24))).map_err(unusable)?;
        file.take(1 << 24).read_to_end(&mut bytes).map_err(unusable)?;
        let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        left_out.push("samples.jsonl: only the last 16 MB of it".to_owned());
        return Ok(bytes.split_off(first));
    }
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unusable)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(unusable(std::io::Error::other(format!("it is longer than {} MB", FILE_BYTES >> 20))));
    }
    Ok(bytes)
}

/// Notes beside the journal that the run was handed over, so that it is not gone on with here by mistake.
///
/// # Errors
/// When the note cannot be written.
pub fn mark_handed_over(folder: &Path, note: &HandedOver) -> Result<(), BundleError> {
    let path = folder.join(NOTE);
    let text = serde_json::to_string(note).unwrap_or_default();
    let written =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).and_then(
            |mut file| {
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                file.write_all(format!("{text}\n").as_bytes())?;
                file.sync_all()
            },
        );
    written.map_err(|error| BundleError::unusable("writing", &path, &error))
}

/// The note that the run in `folder` was handed over, if there is one that can be read.
pub fn handed_over(folder: &Path) -> Option<HandedOver> {
    serde_json::from_slice(&fs::read(folder.join(NOTE)).ok()?).ok()
}
