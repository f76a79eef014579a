//! Changes in the repository and on Heroku's git.

use std::ffi::OsString;
use std::time::Duration;

use super::reads::{literal, refuse_options, verdict};
use super::tree::{LOCAL, Tree};
use crate::edit::Hunk;
use crate::platform::change::{Effect, PUSH_SETTLE, short};
use crate::platform::error::{Certainty, ChangeError, Fault, FaultKind};
use crate::platform::process::Ended;
use crate::platform::reads::GitReads;
use crate::platform::writes::{GitWrites, Lines};

/// Bound of a commit: the user's own hooks run in it.
const COMMIT: Duration = Duration::from_secs(300);

impl Tree {
    fn head(&self) -> Result<String, Fault> {
        self.line(&["rev-parse", "--verify", "HEAD^{commit}"], "reading HEAD")
    }

    /// Takes the paths out of the index again; the files themselves are not touched.
    fn unstage(&self, top: &str, paths: &[String]) -> &'static str {
        let mut args: Vec<OsString> = ["reset", "--quiet", "--"].into_iter().map(OsString::from).collect();
        args.extend(paths.iter().map(|path| literal(path)));
        let mut child = self.git(args, LOCAL);
        child.folder = top.into();
        match self.ask(child, "putting the index back") {
            Ok(_) => "the index was put back; the files are as they were",
            Err(_) => "the files are as they were, but still staged: `git restore --staged` them",
        }
    }

    /// Only `allowed` may be staged: those files are committed whole, whoever has staged them.
    fn refuse_dirty_index(&self, what: &str, allowed: &[String]) -> Result<(), ChangeError> {
        let tree = self.tree().map_err(ChangeError::nothing_changed)?;
        match tree.staged_beside(allowed) {
            None => Ok(()),
            Some(why) => Err(ChangeError::nothing_changed(Fault::new(FaultKind::Refused, what, why))),
        }
    }

    /// The arguments of a push: this commit to this branch, and nothing that a configuration would add. The `pre-push`
    /// hook does not run: it would inherit the token.
    pub(super) fn push_args(&self, commit: &str, branch: &str, dry: bool) -> Vec<String> {
        let mut args = vec!["push", "--porcelain", "--no-verify", "--no-follow-tags", "--no-signed"];
        args.extend(["--recurse-submodules=no", "--no-force-with-lease"]);
        if dry {
            args.push("--dry-run");
        }
        args.extend(["--", self.options.remote_url.as_str()]);
        let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        args.push(format!("{commit}:refs/heads/{branch}"));
        args
    }
}

impl GitWrites for Tree {
    fn edit(&self, path: &str, from: &str, to: &str, hunks: &[Hunk]) -> Result<Effect, ChangeError> {
        self.edit_file(path, from, to, hunks)
    }

    fn commit(&self, paths: &[String], message: &str) -> Result<Effect, ChangeError> {
        let what = "committing the step's files";
        self.refuse_dirty_index(what, paths)?;
        let top = self.line(&["rev-parse", "--show-toplevel"], what).map_err(ChangeError::nothing_changed)?;
        let before = self.head().map_err(ChangeError::nothing_changed)?;
        let mut add: Vec<OsString> = ["add", "--all", "--"].into_iter().map(OsString::from).collect();
        add.extend(paths.iter().map(|path| literal(path)));
        let mut child = self.git(add, LOCAL);
        child.folder = top.clone().into();
        if let Err(fault) = self.ask(child, what) {
            let hint = self.unstage(&top, paths);
            return Err(ChangeError::nothing_changed(fault.hint(hint)));
        }
        // The index held nothing else, so this commits exactly these files.
        let args = ["commit", "--quiet", "--cleanup=whitespace", "--no-gpg-sign", "-m", message];
        let ended = self.run(self.git(args, COMMIT), &|_| {}).map_err(ChangeError::nothing_changed)?;
        let after = self.head().map_err(|fault| ChangeError::in_doubt(fault, 0))?;
        if after != before {
            self.only_these(&before, &after, paths)?;
            return Ok(Effect::Committed { commit: after });
        }
        let hint = self.unstage(&top, paths);
        let told = String::from_utf8_lossy(&ended.stdout);
        let mut fault = Self::failed(what, &ended);
        if told.contains("nothing to commit") || told.contains("no changes added") {
            fault = Fault::new(FaultKind::Refused, what, "there is nothing to commit");
        } else if fault.why.contains("user.email") || fault.why.contains("tell me who you are") {
            fault = fault.hint("git does not know you: `git config user.name` and `user.email`");
        }
        Err(ChangeError::nothing_changed(fault.hint(hint)))
    }

    fn revert(&self, commit: &str) -> Result<Effect, ChangeError> {
        let what = format!("reverting {}", short(commit));
        refuse_options(&what, &[commit]).map_err(ChangeError::nothing_changed)?;
        // Cut off between staging and committing, by the death of an earlier process: only the commit is left to do.
        let half = self.half_reverted(commit).map_err(ChangeError::nothing_changed)?;
        if !half {
            self.refuse_dirty_index(&what, &[])?;
        }
        let head = self.head().map_err(ChangeError::nothing_changed)?;
        if head != commit
            && self.ask(self.git(["merge-base", "--is-ancestor", commit, &head], LOCAL), &what).is_err()
        {
            let why = format!("HEAD is {} by now, which does not hold it", short(&head));
            return Err(ChangeError::nothing_changed(Fault::new(FaultKind::Refused, what, why)));
        }
        let parents = self.parents(commit).map_err(ChangeError::nothing_changed)?;
        let message;
        let mut args = vec!["revert", "--no-edit", "--no-gpg-sign", "--cleanup=whitespace"];
        if half {
            let fact = GitReads::commit(self, commit).map_err(ChangeError::nothing_changed)?;
            message = format!("Revert \"{}\"\n\nThis reverts commit {commit}.", fact.subject);
            args = vec!["commit", "--quiet", "--no-gpg-sign", "--cleanup=whitespace", "-m", &message];
        } else {
            if parents.len() > 1 {
                args.extend(["-m", "1"]);
            }
            args.push(commit);
        }
        let ended = self.run(self.git(args, COMMIT), &|_| {}).map_err(ChangeError::nothing_changed)?;
        let now = self.head().map_err(|fault| ChangeError::in_doubt(fault, 0))?;
        if now != head {
            return Ok(Effect::Committed { commit: now });
        }
        // Fails when nothing is under way, which is as good: the tree is looked at afterwards.
        let _ = self.ask(self.git(["revert", "--abort"], LOCAL), "aborting the revert");
        let fault = Self::failed(&what, &ended);
        Err(ChangeError::nothing_changed(match self.tree() {
            Ok(tree) if tree.staged.is_empty() => {
                fault.hint("the tree is as it was; local changes to the same files? `git stash` them first")
            }
            _ => fault.hint("the revert is still under way: `git revert --abort` puts the tree back"),
        }))
    }

    fn push(
        &self,
        commit: &str,
        branch: &str,
        timeout: Duration,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError> {
        let what = format!("pushing {} to {}", short(commit), self.options.remote_url);
        // A `+` would make it a forced push.
        refuse_options(&what, &[commit, branch]).map_err(ChangeError::nothing_changed)?;
        let child = self.remote(self.push_args(commit, branch, false), timeout);
        let ended = self.run(child, lines).map_err(ChangeError::nothing_changed)?;
        match verdict(&ended) {
            Some(('=', _)) if ended.code == Some(0) => Ok(Effect::Pushed { up_to_date: true }),
            Some((' ' | '*' | '+', _)) if ended.code == Some(0) => Ok(Effect::Pushed { up_to_date: false }),
            // `remote failure`: the pack was sent, and no verdict came back.
            Some(('!', line)) if !line.contains("[remote failure]") => {
                Err(ChangeError::nothing_changed(refused(&what, &line, &ended)))
            }
            _ => Err(Self::unfinished(&what, &ended)),
        }
    }
}

impl Tree {
    /// A hook may have put more into the commit: what was not announced is not shipped.
    fn only_these(&self, before: &str, after: &str, paths: &[String]) -> Result<(), ChangeError> {
        let changed = self.changes_between(before, after).map_err(|fault| ChangeError::in_doubt(fault, 0))?;
        let more: Vec<String> = changed
            .into_iter()
            .filter(|change| !paths.contains(&change.path))
            .map(|change| crate::source::escape_controls(&change.path).into_owned())
            .collect();
        if more.is_empty() {
            return Ok(());
        }
        let why =
            format!("the commit {} also holds what was not announced: {}", short(after), more.join(", "));
        Err(ChangeError {
            certainty: Certainty::Partial,
            fault: Fault::new(FaultKind::Refused, "committing the step's files", why)
                .hint("a hook added it; nothing was pushed: `git reset --soft HEAD~1` takes the commit back"),
            settle_ms: 0,
        })
    }

    /// A push that ended without a verdict: refused before anything was sent, or cut.
    fn unfinished(what: &str, ended: &Ended) -> ChangeError {
        let told = ended.lines.join("\n");
        let fault = Self::failed(what, ended);
        // The question for the refs comes first, and fails in these words; the pack's own failures are an RPC's.
        let asked_only = told.contains("unable to access")
            || told.contains("Authentication failed")
            || told.contains("could not read Username")
            || told.contains("could not read Password")
            || (told.contains("repository '") && told.contains("not found"));
        let sent = told.contains("RPC failed")
            || told.contains("send-pack")
            || told.contains("hung up")
            || ended.timed_out;
        let limited = fault.kind == FaultKind::Limited && !ended.timed_out;
        // The pack itself was answered with a refusal (a token that was revoked meanwhile): it was not taken.
        let refused = told.contains("The requested URL returned error: 4") && !ended.timed_out;
        if limited || refused || (asked_only && !sent) {
            return ChangeError::nothing_changed(fault);
        }
        ChangeError {
            certainty: Certainty::InDoubt,
            fault: fault.hint("a build that has begun goes on at Heroku although the connection is gone"),
            settle_ms: u64::try_from(PUSH_SETTLE.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// The remote said no: the ref was not moved.
pub(super) fn refused(what: &str, status: &str, ended: &Ended) -> Fault {
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
        fault.hint(
            "somebody else has pushed what HEAD does not hold: `git fetch` and look before you push over it",
        )
    } else if why.contains("pre-receive hook declined") {
        fault.hint(
            "the build failed or the push was refused, so nothing was released: the lines above say why",
        )
    } else if why.contains("shallow") {
        fault.hint("`git fetch --unshallow` first")
    } else {
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i32, stdout: &str, lines: &[&str]) -> Ended {
        Ended {
            code: Some(code),
            stdout: stdout.as_bytes().to_vec(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            timed_out: false,
        }
    }

    /// What a push without a good verdict means: whether it may have happened, and the class of its fault.
    #[track_caller]
    fn means(lines: &[&str], certainty: Certainty, kind: FaultKind) {
        let error = Tree::unfinished("pushing", &ended(128, "", lines));
        assert_eq!((error.certainty, error.fault.kind), (certainty, kind), "{lines:?}");
        assert_eq!(error.settle_ms > 0, certainty == Certainty::InDoubt, "{lines:?}");
    }

    #[test]
    fn what_failed_before_anything_was_sent_changed_nothing() {
        let none = Certainty::NothingChanged;
        let access = |why: &str| format!("fatal: unable to access 'https://git.heroku.com/wiki.git/': {why}");
        means(
            &[
                "remote: !  WARNING: Do not authenticate with username and password using git.",
                "fatal: Authentication failed for 'https://git.heroku.com/wiki.git/'",
            ],
            none,
            FaultKind::Credentials,
        );
        means(&[&access("Could not resolve host: git.heroku.com")], none, FaultKind::Network);
        means(&[&access("The requested URL returned error: 503")], none, FaultKind::Network);
        means(&[&access("The requested URL returned error: 403")], none, FaultKind::Forbidden);
        means(&[&access("The requested URL returned error: 429")], none, FaultKind::Limited);
        means(&[&access("SSL certificate problem: self-signed certificate")], none, FaultKind::Tls);
        means(&["fatal: repository 'https://git.heroku.com/wiki.git/' not found"], none, FaultKind::Missing);
        let pack = "error: RPC failed; HTTP 401 curl 22 The requested URL returned error: 401";
        means(&[pack, "fatal: the remote end hung up unexpectedly"], none, FaultKind::Credentials);
    }

    #[test]
    fn what_broke_after_the_pack_was_sent_is_in_doubt() {
        for lines in [
            &["error: RPC failed; curl 56 Recv failure: Connection reset by peer"][..],
            &["error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503"],
            &["remote: -----> PHP app detected", "fatal: the remote end hung up unexpectedly"],
            &[],
        ] {
            let error = Tree::unfinished("pushing", &ended(128, "", lines));
            assert_eq!(error.certainty, Certainty::InDoubt, "{lines:?}");
        }
        let timed_out = Ended { timed_out: true, ..ended(1, "", &["remote: -----> PHP app detected"]) };
        assert_eq!(Tree::unfinished("pushing", &timed_out).certainty, Certainty::InDoubt);
    }

    #[test]
    fn the_verdict_is_the_one_refs_line() {
        let up = "To https://git.heroku.com/wiki.git\n=\tabc:refs/heads/master\t[up to date]\nDone\n";
        assert_eq!(verdict(&ended(0, up, &[])).unwrap().0, '=');
        let no = "!\tabc:refs/heads/master\t[remote rejected] (pre-receive hook declined)\nDone\n";
        let (flag, line) = verdict(&ended(1, no, &[])).unwrap();
        let fault =
            refused("pushing", &line, &ended(1, no, &["remote:  !     Push rejected, failed to compile"]));
        assert_eq!((flag, fault.kind), ('!', FaultKind::Refused));
        assert!(
            fault.why.contains("failed to compile") && fault.hints[0].contains("the build failed"),
            "{fault}"
        );
        assert_eq!(verdict(&ended(128, "", &[])), None);
    }
}
