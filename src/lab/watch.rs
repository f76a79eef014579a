//! The watch: a process of its own that outlives the lab's. It is told of each group that the lab starts and ends;
//! when the lab dies without a word (SIGKILL, out of memory), it ends those groups and removes the folder. It must
//! never end a group that it was told is gone.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{door, folder};

/// The lab's end of it; dropping it says that the lab has ended everything itself.
pub struct Watch {
    told: Told,
    child: Child,
}

/// What tells the watch; cheap to clone.
#[derive(Clone)]
pub struct Told(Arc<Mutex<Option<ChildStdin>>>);

/// A group that the watch knows of, until it is dropped.
pub struct Watched {
    told: Told,
    group: u32,
}

impl Watch {
    /// Starts it.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(dir: &Path, keep: bool) -> io::Result<Self> {
        let mut command = door::command(std::env::current_exe()?);
        command.args(["lab", "watch"]).arg(format!("--dir={}", dir.display()));
        command.args(keep.then_some("--keep"));
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { told: Told(Arc::new(Mutex::new(pipe))), child })
    }

    /// What tells it.
    pub fn told(&self) -> Told {
        self.told.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Ok(mut told) = self.told.0.lock()
            && let Some(mut pipe) = told.take()
        {
            let _ = writeln!(pipe, "end");
        }
        door::stop(&mut self.child, Duration::from_secs(5));
    }
}

impl Told {
    /// Tells it of a group that has just been started.
    pub fn over(&self, group: u32) -> Watched {
        self.tell('+', group);
        Watched { told: self.clone(), group }
    }

    fn tell(&self, sign: char, group: u32) {
        if let Ok(mut told) = self.0.lock()
            && let Some(pipe) = told.as_mut()
        {
            // A watch that was ended itself watches no more; the lab goes on.
            let _ = writeln!(pipe, "{sign}{group}");
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.told.tell('-', self.group);
    }
}

/// What the process does: reads until the lab says `end` or is gone, and cleans up in the second case.
///
/// # Errors
/// The folder cannot be removed.
pub fn run(dir: &Path, keep: bool, told: impl BufRead) -> io::Result<()> {
    let mut groups = BTreeSet::new();
    for line in told.lines().map_while(Result::ok) {
        if line == "end" {
            return Ok(());
        }
        match (line.get(..1), line.get(1..).and_then(|group| group.parse::<u32>().ok())) {
            (Some("+"), Some(group)) => drop(groups.insert(group)),
            (Some("-"), Some(group)) => drop(groups.remove(&group)),
            _ => {}
        }
    }
    for group in &groups {
        door::end(*group);
    }
    door::wait_until(Duration::from_secs(5), || groups.iter().all(|group| !door::lives(*group)));
    // Only what is a dead lab's: the lock of one that lives is held.
    if !keep && folder::holder(dir)? == folder::Holder::Dead {
        folder::clear(dir)?;
    }
    Ok(())
}
