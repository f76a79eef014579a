//! The local lease: one run per app on this machine. Held by the file's lock, so it cannot outlive its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::store::StoreError;

/// Who holds a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Run id.
    pub run: String,
    /// Local user.
    pub user: String,
    /// Host.
    pub host: String,
    /// Process id.
    pub pid: u32,
    /// Runbook.
    pub runbook: String,
    /// Since when.
    pub since: jiff::Timestamp,
}

/// A held lease; dropping it frees it.
#[derive(Debug)]
pub struct Lease {
    // Held, not used: its lock is the lease.
    #[cfg_attr(not(test), expect(dead_code, reason = "held for its lock"))]
    own: File,
    children: File,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another run holds it.
    #[error("another run holds {app}: {}", describe(.holder.as_ref()))]
    Held {
        /// The app.
        app: String,
        /// Who, when it can be read.
        holder: Option<Holder>,
    },
    /// The process of a run has died, and a program that it had started still runs.
    #[error(
        "a program that {} had started still runs, although the run's process is gone",
        describe(.holder.as_ref())
    )]
    Lingering {
        /// Which run, when it can be read.
        holder: Option<Holder>,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn describe(holder: Option<&Holder>) -> String {
    holder.map_or_else(
        || "who it is could not be read".to_owned(),
        |holder| {
            format!(
                "run {} of `{}` by {}@{} (pid {}) since {}",
                holder.run, holder.runbook, holder.user, holder.host, holder.pid, holder.since
            )
        },
    )
}

impl Lease {
    /// Takes the lease of an app, or says who holds it.
    ///
    /// # Errors
    /// Another holder, or an unusable directory.
    pub fn take(locks: &Path, app: &str, holder: &Holder) -> Result<Self, LeaseError> {
        let safe: String =
            app.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
        let path = locks.join(format!("{safe}.lock"));
        let mut file = open(&path)?;
        if !lock(&file, &path)? {
            return Err(LeaseError::Held { app: app.to_owned(), holder: read(&mut file) });
        }
        // Children inherit this one, and the lock with it: it is free when the last of them has ended.
        let children_path = locks.join(format!("{safe}.children"));
        let children = open(&children_path)?;
        if !lock(&children, &children_path)? {
            return Err(LeaseError::Lingering { holder: read(&mut file) });
        }
        let text = serde_json::to_string(holder).unwrap_or_default();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|error| StoreError::new(&path, "writing to", &error))?;
        Ok(Self { own: file, children })
    }

    /// What a run's children hold open as long as they live: an empty file.
    ///
    /// # Errors
    /// When the system has no more handles.
    pub fn for_children(&self) -> std::io::Result<File> {
        self.children.try_clone()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A run that came to its end answers for what it has left running: the lock is not kept by that.
        let _ = self.children.unlock();
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::new(path, "opening", &error))
}

/// Whether the lock was free, and is ours now.
fn lock(file: &File, path: &Path) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(StoreError::new(path, "locking", &error)),
    }
}

fn read(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(runbook: &str) -> Holder {
        Holder {
            run: "20260101-000000-aaaa".into(),
            user: "kim".into(),
            host: "laptop".into(),
            pid: 7,
            runbook: runbook.into(),
            since: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_second_run_is_refused_with_the_holders_name_and_a_freed_lease_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let holder = holder("emergency");
        let first = Lease::take(folder.path(), "wiki", &holder).unwrap();
        let refused = Lease::take(folder.path(), "wiki", &holder).unwrap_err().to_string();
        assert!(refused.contains("kim@laptop") && refused.contains("emergency"), "{refused}");
        Lease::take(folder.path(), "other", &holder).unwrap();
        drop(first);
        Lease::take(folder.path(), "wiki", &holder).unwrap();
    }

    #[test]
    fn a_child_that_outlives_its_run_is_noticed_and_one_left_behind_on_purpose_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let holder = holder("deploy-fix");
        let lease = Lease::take(folder.path(), "wiki", &holder).unwrap();
        let child = lease.for_children().unwrap();
        // The process dies: its own handles are closed, and nothing is unlocked.
        let dead = std::mem::ManuallyDrop::new(lease);
        dead.own.unlock().unwrap();
        let refused = Lease::take(folder.path(), "wiki", &holder).unwrap_err();
        assert!(matches!(refused, LeaseError::Lingering { holder: Some(_) }), "{refused}");
        assert!(refused.to_string().contains("deploy-fix"), "{refused}");
        child.unlock().unwrap();
        let lease = Lease::take(folder.path(), "wiki", &holder).unwrap();
        let left_behind = lease.for_children().unwrap();
        drop(lease);
        Lease::take(folder.path(), "wiki", &holder).unwrap();
        drop(left_behind);
    }
}
