//! The lab's folder: private, held by one lab at a time, removed when it ends. A lab that was killed leaves a folder
//! whose lock nobody holds; the next one recognises it, ends what still runs from it, and takes its place. It must
//! never remove a folder that is not a lab's, nor end a process that does not run from inside one.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::door;

/// Marks the folder as a lab's; the lock on it is held for as long as the lab lives.
const LOCK: &str = "lab.lock";

/// A folder that is held; dropping it removes it unless it is to be kept.
pub struct Folder {
    dir: PathBuf,
    keep: bool,
    _lock: File,
}

/// Whose folder it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// There is no lab's folder.
    Nobody,
    /// A lab that lives, perhaps one that is starting.
    Alive,
    /// A lab that died without taking its folder along.
    Dead,
}

fn lock(dir: &Path, create: bool) -> io::Result<Option<File>> {
    let file = fs::OpenOptions::new()
        .create(create)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(dir.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Who holds the folder now.
///
/// # Errors
/// It cannot be read.
pub fn holder(dir: &Path) -> io::Result<Holder> {
    match lock(dir, false) {
        Ok(Some(_)) => Ok(Holder::Dead),
        Ok(None) => Ok(Holder::Alive),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Holder::Nobody),
        Err(error) => Err(error),
    }
}

impl Folder {
    /// Makes the folder, or takes the place of a lab that died; the second value says so.
    ///
    /// # Errors
    /// A lab lives there, the folder holds other things, belongs to somebody else, or cannot be written.
    pub fn take(dir: &Path, keep: bool) -> io::Result<(Self, bool)> {
        let refuse = |why: String| Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        let mut replaced = false;
        if let Ok(known) = fs::symlink_metadata(dir) {
            if !known.is_dir() || known.uid() != rustix::process::geteuid().as_raw() {
                return refuse(format!("{} is not a folder of yours; `--dir` names another", dir.display()));
            }
            match holder(dir)? {
                Holder::Alive => {
                    return refuse(format!(
                        "a rehearsal is running in {}\n  hint: `runbook lab down` ends it, `--dir` names another folder",
                        dir.display()
                    ));
                }
                Holder::Dead => {
                    clear(dir)?;
                    replaced = true;
                }
                Holder::Nobody if fs::read_dir(dir)?.next().is_some() => {
                    return refuse(format!(
                        "{} holds other things than a rehearsal; `--dir` names another folder",
                        dir.display()
                    ));
                }
                Holder::Nobody => {}
            }
        }
        // Private: the passwords of the rehearsal are in it.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        let Some(lock) = lock(dir, true)? else {
            return refuse(format!("another rehearsal has just taken {}", dir.display()));
        };
        Ok((Self { dir: dir.to_owned(), keep, _lock: lock }, replaced))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            let _ = remove(&self.dir);
        }
    }
}

/// Removes a folder, though the last writes of what has just ended may still come in.
fn remove(dir: &Path) -> io::Result<()> {
    let mut last = Ok(());
    door::wait_until(Duration::from_secs(5), || {
        last = match fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        last.is_ok()
    });
    last
}

/// Ends what a dead lab left running, and removes its folder.
///
/// # Errors
/// The folder cannot be removed.
pub fn clear(dir: &Path) -> io::Result<()> {
    let left = left_behind(dir);
    for id in &left {
        door::end_one(*id);
    }
    door::wait_until(Duration::from_secs(5), || left_behind(dir).is_empty());
    remove(dir)
}

/// Processes that run from inside the lab's own folders: its database server and its dynos. Read from `/proc`, so
/// empty on systems without one; there the watch alone ends them.
fn left_behind(dir: &Path) -> Vec<u32> {
    let within = [dir.join("mysql"), dir.join("heroku").join("slugs")];
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    all.filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|id| {
            fs::read_link(format!("/proc/{id}/cwd"))
                .is_ok_and(|at| within.iter().any(|within| at.starts_with(within)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lab_at_a_time_and_a_dead_ones_folder_is_taken_over() {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("lab");
        let (held, replaced) = Folder::take(&dir, false).unwrap();
        assert!(!replaced);
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(holder(&dir).unwrap(), Holder::Alive);
        let told = Folder::take(&dir, false).err().unwrap().to_string();
        assert!(told.contains("runbook lab down"), "{told}");
        drop(held);
        assert!(!dir.exists());

        let (held, _) = Folder::take(&dir, true).unwrap();
        fs::write(dir.join("left"), "").unwrap();
        drop(held);
        assert_eq!(holder(&dir).unwrap(), Holder::Dead);
        let (_held, replaced) = Folder::take(&dir, false).unwrap();
        assert!(replaced && !dir.join("left").exists());
    }

    #[test]
    fn a_folder_with_other_things_is_left_alone() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("thesis.tex"), "x").unwrap();
        let told = Folder::take(outer.path(), false).err().unwrap().to_string();
        assert!(told.contains("holds other things"), "{told}");
        assert!(outer.path().join("thesis.tex").exists());
    }
}
