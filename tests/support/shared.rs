//! Rehearsals that tests of one program share, one test at a time each: bringing one up takes longer than most faults.

use std::ops::Deref;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::{Lab, Place};

/// Those that nobody uses now.
static IDLE: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// A rehearsal, and what takes it down when this program is gone.
pub(super) struct Kept {
    lab: Lab,
    /// It reads a pipe of ours: when this program ends, however it ends, that closes.
    _reaper: Child,
}

/// A quiet rehearsal for one test; dropping it gives it to the next.
pub struct Shared(Option<Kept>);

impl Shared {
    /// One that nobody uses, or a new one.
    pub fn take() -> Self {
        Self(Some(match Place::take_unless(unused) {
            Err(kept) => kept,
            Ok(place) => {
                let lab = Lab::up_at(place, &["--scenario=quiet", "--time-scale=20"]);
                Kept { _reaper: reaper(&lab), lab }
            }
        }))
    }
}

/// A rehearsal that nobody uses now.
pub(super) fn unused() -> Option<Kept> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

/// A process that waits for the end of this one, and then takes the rehearsal down: statics are never dropped.
fn reaper(lab: &Lab) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; \"$0\" lab down --dir=\"$1\" >/dev/null 2>&1; rm -rf \"$2\""])
        .arg(super::binary())
        .arg(&lab.dir)
        .arg(lab.dir.parent().expect("a parent"))
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts")
}

impl Deref for Shared {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0.as_ref().expect("it is dropped at the end only").lab
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Some(kept) = self.0.take() else { return };
        // After a test that failed nobody knows what state it is in: down with it.
        if std::thread::panicking() {
            return;
        }
        kept.lab.no_faults();
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        // Who waits for a place may have this one, or its.
        Place::look_again();
    }
}
