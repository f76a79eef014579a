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
    _file: File,
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
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| StoreError::new(&path, "opening", &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let holder =
                    file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str(&text).ok());
                return Err(LeaseError::Held { app: app.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::new(&path, "locking", &error).into()),
        }
        let text = serde_json::to_string(holder).unwrap_or_default();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(|error| StoreError::new(&path, "writing to", &error))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_refused_with_the_holders_name_and_a_freed_lease_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let holder = Holder {
            run: "20260101-000000-aaaa".into(),
            user: "kim".into(),
            host: "laptop".into(),
            pid: 7,
            runbook: "emergency".into(),
            since: jiff::Timestamp::UNIX_EPOCH,
        };
        let first = Lease::take(folder.path(), "wiki", &holder).unwrap();
        let refused = Lease::take(folder.path(), "wiki", &holder).unwrap_err().to_string();
        assert!(refused.contains("kim@laptop") && refused.contains("emergency"), "{refused}");
        Lease::take(folder.path(), "other", &holder).unwrap();
        drop(first);
        Lease::take(folder.path(), "wiki", &holder).unwrap();
    }
}
