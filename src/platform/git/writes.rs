//! Changes in the repository and on Heroku's git.

use std::ffi::OsString;
use std::time::Duration;

use super::reads::literal;
use super::tree::{LOCAL, Tree};
use crate::platform::change::{Effect, short};
use crate::platform::error::{Certainty, ChangeError, Fault, FaultKind};
use crate::platform::process::Ended;
use crate::platform::reads::GitReads;
use crate::platform::writes::{GitWrites, Lines};

/// Bound of a commit: the user's own hooks run in it.
const COMMIT: Duration = Duration::from_secs(300);
/// After a cut push Heroku may go on building; that long it may still become a release.
const PUSH_SETTLE_MS: u64 = 120_000;

impl Tree {
    fn head(&self) -> Result<String, Fault> {
        self.line(&["rev-parse", "HEAD"], "reading HEAD")
    }

    fn unstage(&self) {
        // Puts the index back to HEAD; the files themselves are not touched.
        if let Err(fault) =
            self.ask(self.git(["reset", "--quiet", "--mixed"], LOCAL), "putting the index back")
        {
            let _ = fault;
        }
    }

    fn refuse_dirty_index(&self, what: &str) -> Result<(), ChangeError> {
        let tree = self.tree().map_err(ChangeError::nothing_changed)?;
        if tree.staged.is_empty() {
            return Ok(());
        }
        let why = format!("the index holds staged changes: {}", tree.staged.join(", "));
        Err(ChangeError::nothing_changed(Fault::new(FaultKind::Refused, what, why)))
    }
}

impl GitWrites for Tree {
    fn commit(&self, paths: &[String], message: &str) -> Result<Effect, ChangeError> {
        let what = "committing the step's files";
        self.refuse_dirty_index(what)?;
        let top = self.line(&["rev-parse", "--show-toplevel"], what).map_err(ChangeError::nothing_changed)?;
        let mut add: Vec<OsString> = ["add", "--all", "--"].into_iter().map(OsString::from).collect();
        add.extend(paths.iter().map(|path| literal(path)));
        let mut child = self.git(add, LOCAL);
        child.folder.clone_from(&top.into());
        if let Err(fault) = self.ask(child, what) {
            self.unstage();
            return Err(ChangeError::nothing_changed(fault));
        }
        // The index held nothing else, so this commits exactly these files.
        let before = self.head().map_err(ChangeError::nothing_changed)?;
        let child = self.git(["commit", "--quiet", "-m", message], COMMIT);
        let ended = self.run(child, &|_| {}).map_err(ChangeError::nothing_changed)?;
        let after = self.head();
        if let Ok(head) = &after
            && *head != before
        {
            return Ok(Effect::Committed { commit: head.clone() });
        }
        self.unstage();
        let told = String::from_utf8_lossy(&ended.stdout);
        let mut fault = Self::failed(what, &ended);
        if told.contains("nothing to commit") || told.contains("no changes added") {
            fault = Fault::new(FaultKind::Refused, what, "there is nothing to commit");
        } else if fault.why.contains("user.email") || fault.why.contains("tell me who you are") {
            fault = fault.hint("git does not know you: `git config user.name` and `user.email`");
        }
        Err(ChangeError::nothing_changed(fault.hint("the index was put back; the files are as they were")))
    }

    fn revert(&self, commit: &str) -> Result<Effect, ChangeError> {
        let what = format!("reverting {}", short(commit));
        self.refuse_dirty_index(&what)?;
        let head = self.head().map_err(ChangeError::nothing_changed)?;
        if head != commit {
            let why = format!("HEAD is {} by now", short(&head));
            return Err(ChangeError::nothing_changed(Fault::new(FaultKind::Refused, what, why)));
        }
        let parents = self.parents(commit).map_err(ChangeError::nothing_changed)?;
        let mut args = vec!["revert", "--no-edit"];
        if parents.len() > 1 {
            args.extend(["-m", "1"]);
        }
        args.push(commit);
        let ended = self.run(self.git(args, COMMIT), &|_| {}).map_err(ChangeError::nothing_changed)?;
        match self.head() {
            Ok(now) if now != head => Ok(Effect::Committed { commit: now }),
            _ => {
                // Fails when nothing is under way, which is as good.
                let _ = self.ask(self.git(["revert", "--abort"], LOCAL), "aborting the revert");
                let fault = Self::failed(&what, &ended);
                Err(ChangeError::nothing_changed(
                    fault.hint(
                        "the tree is as it was; local changes to the same files? `git stash` them first",
                    ),
                ))
            }
        }
    }

    fn push(
        &self,
        commit: &str,
        branch: &str,
        timeout: Duration,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError> {
        let what = format!("pushing {} to {}", short(commit), self.options.remote_url);
        let target = format!("{commit}:refs/heads/{branch}");
        let child = self.remote(["push", "--porcelain", "--", &self.options.remote_url, &target], timeout);
        let ended = self.run(child, lines).map_err(ChangeError::nothing_changed)?;
        let report = String::from_utf8_lossy(&ended.stdout).into_owned();
        let status = report.lines().find(|line| line.contains(":refs/heads/") && line.contains('\t'));
        match status.and_then(|line| line.chars().next()) {
            Some('=') if ended.code == Some(0) => Ok(Effect::Pushed { up_to_date: true }),
            Some(' ' | '*' | '+') if ended.code == Some(0) => Ok(Effect::Pushed { up_to_date: false }),
            Some('!') => {
                Err(ChangeError::nothing_changed(refused(&what, status.unwrap_or_default(), &ended)))
            }
            _ => Err(Self::unfinished(&what, &ended)),
        }
    }
}

impl Tree {
    /// A push that ended without a verdict: refused before anything was sent, or cut.
    fn unfinished(what: &str, ended: &Ended) -> ChangeError {
        let told = ended.lines.join("\n");
        let fault = Self::failed(what, ended);
        let early = matches!(fault.kind, FaultKind::Credentials)
            || told.contains("Could not resolve host")
            || told.contains("Failed to connect")
            || told.contains("Couldn't connect")
            || told.contains("error: 403")
            || told.contains("error: 404")
            || told.contains("error: 429")
            || told.contains("not found");
        if told.contains("error: 429") || told.contains("API rate limit") {
            let fault = Fault::new(FaultKind::Limited, what, "Heroku's rate limit is used up")
                .hint("wait some minutes");
            return ChangeError::nothing_changed(fault);
        }
        if early && !told.contains("remote: ") && !ended.timed_out {
            return ChangeError::nothing_changed(fault);
        }
        ChangeError {
            certainty: Certainty::InDoubt,
            fault: fault.hint("a build that has begun goes on at Heroku although the connection is gone"),
            settle_ms: PUSH_SETTLE_MS,
        }
    }
}

/// The remote said no: the ref was not moved.
fn refused(what: &str, status: &str, ended: &Ended) -> Fault {
    let why = crate::source::escape_controls(status.rsplit('\t').next().unwrap_or(status)).into_owned();
    let said: Vec<&str> = ended
        .lines
        .iter()
        .filter_map(|line| line.strip_prefix("remote:"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let tail = said[said.len().saturating_sub(6)..].join(" / ");
    let fault = Fault::new(
        FaultKind::Refused,
        what,
        if tail.is_empty() { why.clone() } else { format!("{why}: {tail}") },
    );
    if why.contains("non-fast-forward") || why.contains("fetch first") {
        fault.hint("somebody else has pushed: `git fetch` and look before you push over it")
    } else if why.contains("pre-receive hook declined") {
        fault.hint("the build failed, so nothing was released: the lines above say why")
    } else if why.contains("shallow") {
        fault.hint("`git fetch --unshallow` first")
    } else {
        fault
    }
}
