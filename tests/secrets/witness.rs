//! Sees every program that is started: a stand-in for git and hooks write down their arguments and environments, and
//! the machine's process list is looked at all the time.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::marks::Marks;
use super::world::program;

/// What an entry of the record begins with.
const ENTRY: &str = "=== entry";

pub struct Witness {
    bin: PathBuf,
    record: PathBuf,
    marks: Marks,
    over: Arc<AtomicBool>,
    looking: JoinHandle<BTreeSet<String>>,
}

impl Witness {
    pub fn begin(place: &Path, wiki: &Path, marks: Marks) -> Self {
        let (bin, record) = (place.join("bin"), place.join("record"));
        std::fs::create_dir(&bin).expect("a folder");
        let note = |kind: &str| {
            format!(
                "{{ echo '{ENTRY} {kind}'; printf 'argument %s\\n' \"$@\"; env; }} >> '{}'",
                record.display()
            )
        };
        let path = std::env::var("PATH").expect("a PATH");
        program(&bin.join("git"), &format!("{}\nPATH='{path}' exec git \"$@\"", note("git")));
        for hook in ["pre-commit", "post-commit", "pre-push", "reference-transaction", "post-index-change"] {
            program(
                &wiki.join(".git/hooks").join(hook),
                &format!("{}\ncat >/dev/null\nexit 0", note("hook")),
            );
        }
        let over = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&over);
        let looking = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !end.load(Ordering::Relaxed) {
                seen.extend(arguments());
                std::thread::sleep(Duration::from_millis(5));
            }
            seen
        });
        Self { bin, record, marks, over, looking }
    }

    /// A `PATH` with the stand-in in front.
    pub fn path(&self) -> String {
        format!("{}:{}", self.bin.display(), std::env::var("PATH").expect("a PATH"))
    }

    /// How many calls of git and how many different processes were seen, none of them with a secret where it is not
    /// needed.
    pub fn end(self) -> (usize, usize) {
        self.over.store(true, Ordering::Relaxed);
        let seen = self.looking.join().expect("no panic");
        for arguments in &seen {
            self.marks.absent("the process list", arguments);
        }
        let record = std::fs::read_to_string(&self.record).expect("git was called");
        let mut calls = 0;
        for entry in record.split(ENTRY).skip(1) {
            calls += usize::from(entry.starts_with(" git"));
            let pushes = entry.starts_with(" git") && entry.contains("\nargument push\n");
            let lines: Vec<&str> = entry
                .lines()
                // A push needs the token, and has it in this variable alone.
                .filter(|line| !(pushes && line.starts_with("RUNBOOK_GIT_PASSWORD=")))
                .collect();
            self.marks.absent("a call of git, or of a hook", &lines.join("\n"));
            let ours = ["HEROKU_API_KEY", "RUNBOOK_DATABASE_URL"];
            assert!(!lines.iter().any(|line| ours.iter().any(|name| line.starts_with(name))), "{entry}");
        }
        assert!(
            record.contains("\nargument push\n") && record.contains(" hook"),
            "pushes and hooks were seen"
        );
        assert_eq!(self.bin.metadata().expect("there").permissions().mode() & 0o100, 0o100);
        (calls, seen.len())
    }
}

/// The arguments of every process there is.
fn arguments() -> Vec<String> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "))
        .collect()
}
