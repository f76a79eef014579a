//! Files of the working tree: read whole, replaced whole. Never through a symbolic link, never outside of the tree, and
//! never a file that is not the one that was looked at.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::tree::Tree;
use crate::edit::{Hunk, apply, digest};
use crate::platform::change::Effect;
use crate::platform::error::{ChangeError, Fault, FaultKind};

/// Largest file that is read to be edited.
const LARGEST: u64 = 4 << 20;

/// A file as it was found.
struct Found {
    path: PathBuf,
    about: Metadata,
    bytes: Vec<u8>,
}

impl Tree {
    /// The file at `path` below the tree's top; `None` when there is none.
    fn find(&self, path: &str, what: &str) -> Result<Option<Found>, Fault> {
        let refuse = |why: String| Fault::new(FaultKind::Refused, what, why);
        let failed = |error: &std::io::Error| Fault::new(FaultKind::Local, what, error.to_string());
        let plain = Path::new(path).components().all(|part| match part {
            Component::Normal(name) => !name.eq_ignore_ascii_case(".git"),
            Component::CurDir => true,
            _ => false,
        });
        if !plain || path.is_empty() {
            return Err(refuse("it is no path within the working tree".to_owned()));
        }
        let top = fs::canonicalize(self.top()?).map_err(|error| failed(&error))?;
        let whole = top.join(path);
        let parent = match whole.parent().map(fs::canonicalize) {
            Some(Ok(parent)) => parent,
            Some(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Some(Err(error)) => return Err(failed(&error)),
            None => return Err(refuse("it names no file".to_owned())),
        };
        let inside = parent.strip_prefix(&top).is_ok_and(|inside| !inside.starts_with(".git"));
        let (true, Some(name)) = (inside, whole.file_name()) else {
            return Err(refuse("a symbolic link leads out of the working tree".to_owned()));
        };
        let path = parent.join(name);
        let about = match fs::symlink_metadata(&path) {
            Ok(about) => about,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        if about.is_symlink() {
            return Err(refuse("it is a symbolic link".to_owned()).hint("name the file that it leads to"));
        }
        if !about.is_file() {
            return Err(refuse("it is no file".to_owned()));
        }
        if about.len() > LARGEST {
            return Err(refuse(format!(
                "it has {} bytes, and more than {LARGEST} are not edited",
                about.len()
            )));
        }
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        read.map_err(|error| failed(&error))?;
        Ok(Some(Found { path, about, bytes }))
    }

    pub(super) fn read_file(&self, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.find(path, &format!("reading {path}"))?.map(|found| found.bytes))
    }

    /// Replaces the file by its edited text, in one step, if it is still the one that was looked at.
    pub(super) fn edit_file(
        &self,
        path: &str,
        from: &str,
        to: &str,
        hunks: &[Hunk],
    ) -> Result<Effect, ChangeError> {
        let what = format!("editing {path}");
        let refuse = |why: &str| {
            let fault = Fault::new(FaultKind::Refused, what.as_str(), why);
            ChangeError::nothing_changed(
                fault.hint("run it again: it then shows what it would do to the file as it is"),
            )
        };
        let found = self.find(path, &what).map_err(ChangeError::nothing_changed)?;
        let Some(found) = found.filter(|found| digest(&found.bytes) == from) else {
            return Err(refuse("the file has been changed since it was looked at"));
        };
        let text = apply(&found.bytes, hunks).map_err(|why| refuse(&why))?;
        if digest(&text) != to {
            return Err(refuse("the edited text would not be the one that was announced"));
        }
        let unchanged = || {
            let again = self.find(path, &what);
            matches!(again, Ok(Some(again)) if again.bytes == found.bytes)
        };
        replace(&found, &text, unchanged)
            .map_err(|error| {
                let fault = Fault::new(FaultKind::Local, what.as_str(), error.to_string());
                ChangeError::nothing_changed(fault.hint("the file is as it was"))
            })
            .and_then(|made| {
                if made { Ok(Effect::Edited) } else { Err(refuse("the file was changed this very moment")) }
            })
    }
}

/// Writes the text beside the file, with its mode and owner, and puts it in the file's place; `false` when `unchanged`
/// says no at the last moment.
fn replace(found: &Found, text: &[u8], unchanged: impl Fn() -> bool) -> std::io::Result<bool> {
    let folder = found.path.parent().unwrap_or(Path::new("."));
    // Hidden, and of no ending that a glob would commit.
    let mut beside = tempfile::Builder::new().prefix(".runbook-").suffix(".tmp").tempfile_in(folder)?;
    beside.write_all(text)?;
    let made = beside.as_file().metadata()?;
    if (made.uid(), made.gid()) != (found.about.uid(), found.about.gid()) {
        std::os::unix::fs::fchown(beside.as_file(), Some(found.about.uid()), Some(found.about.gid()))?;
    }
    let mode = found.about.permissions().mode() & 0o7777;
    beside.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    beside.as_file().sync_all()?;
    if !unchanged() {
        return Ok(false);
    }
    beside.persist(&found.path).map_err(|error| error.error)?;
    // The file is in place whether or not its folder is on the disk yet.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(true)
}
