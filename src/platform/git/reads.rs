//! Questions to the working tree and its remote.

use std::ffi::OsString;
use std::path::Path;

use super::tree::{LOCAL, REMOTE, Tree, split_nul};
use crate::platform::change::short;
use crate::platform::error::{Fault, FaultKind};
use crate::platform::facts::{CommitFact, Committer, TreeChange, TreeState};
use crate::platform::process::Ended;
use crate::platform::reads::GitReads;
use crate::source::escape_controls;

/// A comparison as a machine reads it, whatever the person's configuration says about those for eyes.
const DIFF: &[&str] = &["--no-renames", "--no-relative", "--no-ext-diff", "--no-textconv", "-z"];
/// What follows is a revision, whatever it looks like.
const END: &str = "--end-of-options";
/// A file of a commit that is read as a text has at most this many bytes.
const TEXT_AT_MOST: u64 = 1024 * 1024;
/// Hooks that a commit runs.
const COMMIT_HOOKS: [&str; 4] = ["pre-commit", "prepare-commit-msg", "commit-msg", "post-commit"];

/// Operations that leave files behind while they are under way.
const UNDER_WAY: [(&str, &str); 5] = [
    ("MERGE_HEAD", "merge"),
    ("REVERT_HEAD", "revert"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("rebase-merge", "rebase"),
    ("rebase-apply", "rebase"),
];

impl Tree {
    pub(super) fn top(&self) -> Result<String, Fault> {
        let what = "looking at the git working tree";
        if self.line(&["rev-parse", "--is-bare-repository"], what)? == "true" {
            return Err(Fault::new(
                FaultKind::Refused,
                what,
                "the repository is bare: it has no working tree",
            )
            .hint("clone it and run this in the clone"));
        }
        self.line(&["rev-parse", "--show-toplevel"], what)
    }

    /// A git call that writes to a scratch index and object folder: the repository is not touched.
    fn scratch(&self, folder: &Path, args: &[OsString]) -> Result<crate::platform::process::Child, Fault> {
        let objects = self.line(&["rev-parse", "--git-path", "objects"], "finding git's objects")?;
        let objects = self.options.folder.join(objects);
        let mut child = self.git(args.to_vec(), LOCAL);
        for (name, value) in [
            ("GIT_INDEX_FILE", folder.join("index")),
            ("GIT_OBJECT_DIRECTORY", folder.join("objects")),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects),
        ] {
            child.unset.retain(|unset| unset != name);
            child.set.push((name.into(), value.into()));
        }
        Ok(child)
    }
}

/// A pathspec that means this very name.
pub(super) fn literal(path: &str) -> OsString {
    format!(":(top,literal){path}").into()
}

/// For those of git's commands that cannot be told where their options end.
pub(super) fn refuse_options(what: &str, revisions: &[&str]) -> Result<(), Fault> {
    let plain = |revision: &&str| revision.starts_with(|c: char| c.is_ascii_alphanumeric());
    match revisions.iter().find(|revision| !plain(revision)) {
        Some(odd) => Err(Fault::new(FaultKind::Refused, what, format!("`{odd}` is no name of a commit"))),
        None => Ok(()),
    }
}

fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

fn local_fault(error: &std::io::Error) -> Fault {
    Fault::new(FaultKind::Local, "making a scratch folder", error.to_string())
}

impl GitReads for Tree {
    fn tree(&self) -> Result<TreeState, Fault> {
        let what = "looking at the git working tree";
        let top = self.top()?;
        let refuse = |why: &str, hint: &str| Err(Fault::new(FaultKind::Refused, what, why).hint(hint));
        if self.line(&["rev-parse", "--is-shallow-repository"], what)? == "true" {
            return refuse(
                "the clone is shallow, and Heroku refuses pushes from such",
                "`git fetch --unshallow` first",
            );
        }
        let Ok(branch) = self.line(&["symbolic-ref", "--quiet", "--short", "HEAD"], what) else {
            return refuse(
                "HEAD is detached: no branch is checked out",
                "`git switch master` (or your branch) first",
            );
        };
        let Ok(head) = self.line(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], what) else {
            return refuse("the branch has no commit yet", "commit the app first");
        };
        for (file, operation) in UNDER_WAY {
            let path = self.line(&["rev-parse", "--git-path", file], what)?;
            if self.options.folder.join(path).exists() {
                let hint = format!("finish or abort it: `git {operation} --continue` or `--abort`");
                return refuse(&format!("a {operation} is under way"), &hint);
            }
        }
        let status = self.texts(
            self.git(["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=no"], LOCAL),
            what,
        )?;
        let mut staged = Vec::new();
        for entry in status {
            let Some((marks, path)) = entry.split_at_checked(3) else { continue };
            let mut marks = marks.chars();
            let (index, tree) = (marks.next().unwrap_or(' '), marks.next().unwrap_or(' '));
            // Both added and both deleted are conflicts, too.
            if index == 'U' || tree == 'U' || (index == tree && matches!(index, 'A' | 'D')) {
                let why = format!("{} has conflicts", escape_controls(path));
                return refuse(&why, "resolve them first");
            }
            if !matches!(index, ' ' | '?' | '!') {
                staged.push(escape_controls(path).into_owned());
            }
        }
        Ok(TreeState { top, head, branch, staged })
    }

    fn expand(&self, patterns: &[(String, bool)]) -> Result<Vec<String>, Fault> {
        let what = "finding the files to commit";
        let top = self.top()?;
        let mut found = Vec::new();
        for (pattern, optional) in patterns {
            // A file that really has this name is meant before a glob of that spelling.
            let named = std::fs::symlink_metadata(Path::new(&top).join(pattern)).is_ok();
            let glob = is_glob(pattern) && !named;
            let magic = if glob { "glob" } else { "literal" };
            let spec: OsString = format!(":(top,{magic}){pattern}").into();
            // Tracked ones, deleted ones included, and untracked ones that are not ignored.
            let args: Vec<OsString> =
                ["ls-files", "-z", "--full-name", "--cached", "--others", "--exclude-standard", "--"]
                    .into_iter()
                    .map(OsString::from)
                    .chain([spec])
                    .collect();
            let mut child = self.git(args, LOCAL);
            child.folder = top.clone().into();
            let mut paths = self.texts(child, what)?;
            if glob {
                // As the shell would: hidden files are not meant unless they are named.
                paths.retain(|path| !path.starts_with('.') || pattern.starts_with('.'));
            }
            if paths.is_empty() && !optional {
                let why = if named {
                    format!("`{}` is ignored by git", escape_controls(pattern))
                } else {
                    format!("`{}` matches nothing in {top}", escape_controls(pattern))
                };
                return Err(Fault::new(FaultKind::Missing, what, why)
                    .hint("correct the step's `add`, or mark the entry `optional: true`"));
            }
            found.extend(paths);
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn pending(&self, paths: &[String]) -> Result<Vec<TreeChange>, Fault> {
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let what = "comparing the files with HEAD";
        let top = self.top()?;
        let folder = tempfile::tempdir().map_err(|error| local_fault(&error))?;
        std::fs::create_dir(folder.path().join("objects")).map_err(|error| local_fault(&error))?;
        let args = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        self.ask(self.scratch(folder.path(), &args(&["read-tree", "HEAD"]))?, what)?;
        let mut add = args(&["add", "--all", "--"]);
        add.extend(paths.iter().map(|path| literal(path)));
        let mut child = self.scratch(folder.path(), &add)?;
        child.folder = top.clone().into();
        self.ask(child, what)?;
        let status = self.scratch(
            folder.path(),
            &args(&[&["diff", "--cached", "--name-status"], DIFF, &["HEAD", "--"]].concat()),
        )?;
        let status = self.ask(status, what)?;
        let numbers = self.scratch(
            folder.path(),
            &args(&[&["diff", "--cached", "--numstat"], DIFF, &["HEAD", "--"]].concat()),
        )?;
        let numbers = self.ask(numbers, what)?;
        Ok(changes(&status, &numbers))
    }

    fn commits_between(&self, from: &str, to: &str) -> Result<Vec<CommitFact>, Fault> {
        let what = "listing the commits between what is live and HEAD";
        for revision in [from, to] {
            let object = format!("{revision}^{{commit}}");
            if self.line(&["cat-file", "-e", END, &object], what).is_err() {
                return Err(Fault::new(
                    FaultKind::Missing,
                    what,
                    format!("{} is not in this repository", escape_controls(revision)),
                )
                .hint("`git fetch` first"));
            }
        }
        let range = format!("{from}..{to}");
        let bytes = self.ask(
            self.git(
                ["log", "-z", "--no-show-signature", "--format=%H%x1f%s%x1f%an", END, &range, "--"],
                LOCAL,
            ),
            what,
        )?;
        Ok(split_nul(&bytes).iter().filter_map(|entry| commit_fact(entry)).collect())
    }

    fn changes_between(&self, from: &str, to: &str) -> Result<Vec<TreeChange>, Fault> {
        let what = "comparing two commits";
        refuse_options(what, &[from, to])?;
        let compare = |format: &str| {
            self.ask(self.git([&["diff", format], DIFF, &[from, to, "--"]].concat(), LOCAL), what)
        };
        let (status, numbers) = (compare("--name-status")?, compare("--numstat")?);
        Ok(changes(&status, &numbers))
    }

    fn commit(&self, revision: &str) -> Result<CommitFact, Fault> {
        let what = "reading a commit";
        let args = ["log", "-1", "--no-show-signature", "--format=%H%x1f%s%x1f%an", END, revision, "--"];
        let bytes = self.ask(self.git(args, LOCAL), what)?;
        let text = String::from_utf8_lossy(&bytes);
        commit_fact(text.trim_end()).ok_or_else(|| Fault::new(FaultKind::Missing, what, "git named none"))
    }

    fn parents(&self, revision: &str) -> Result<Vec<String>, Fault> {
        let text = self.line(
            &["log", "-1", "--no-show-signature", "--format=%P", END, revision, "--"],
            "reading a commit's parents",
        )?;
        Ok(text.split_whitespace().map(str::to_owned).collect())
    }

    fn half_reverted(&self, commit: &str) -> Result<bool, Fault> {
        let what = "comparing the index with the commit before";
        let head = self.line(&["rev-parse", "--verify", "HEAD^{commit}"], what)?;
        let parents = self.parents(commit)?;
        let Some(parent) = parents.first().filter(|_| head == commit) else { return Ok(false) };
        let args = ["diff-index", "--cached", "--quiet", parent, "--"];
        let ended = self.run(self.git(args, LOCAL), &|_| {})?;
        Ok(ended.code == Some(0) && !ended.timed_out)
    }

    fn committer(&self) -> Result<Committer, Fault> {
        let what = "asking git who commits";
        let mut name = String::new();
        for variable in ["GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"] {
            let ident = self.line(&["var", variable], what).map_err(|fault| {
                let why = "git does not know who you are, and refuses to commit".to_owned();
                Fault { kind: FaultKind::Refused, why, hints: Vec::new(), ..fault }
                    .hint("`git config user.name \"Your Name\"` and `git config user.email you@example.com`")
            })?;
            // The time follows the address.
            name = ident.rsplit_once('>').map_or(ident.clone(), |(name, _)| format!("{name}>"));
        }
        let signs = self.line(&["config", "--type=bool", "--get", "commit.gpgSign"], what);
        let hooks = self.line(&["rev-parse", "--git-path", "hooks"], what)?;
        let hooks = self.options.folder.join(hooks);
        let hooks = COMMIT_HOOKS
            .into_iter()
            .filter(|hook| rustix::fs::access(hooks.join(hook), rustix::fs::Access::EXEC_OK).is_ok())
            .map(str::to_owned)
            .collect();
        Ok(Committer {
            name: escape_controls(&name).into_owned(),
            would_sign: signs.is_ok_and(|signs| signs == "true"),
            hooks,
        })
    }

    fn push_check(&self, commit: &str, branch: &str) -> Result<bool, Fault> {
        let what = format!("asking Heroku's git ({}) whether it would take a push", self.options.remote_url);
        let child = self.remote(self.push_args(commit, branch, true), REMOTE);
        let ended = self.run(child, &|_| {})?;
        match verdict(&ended) {
            Some((flag @ (' ' | '*' | '+' | '='), _)) if ended.code == Some(0) => Ok(flag == '='),
            Some(('!', line)) => Err(super::writes::refused(&what, &line, &ended)),
            _ => Err(Self::failed(&what, &ended)),
        }
    }

    fn file(&self, path: &str) -> Result<Option<String>, Fault> {
        let path = Path::new(&self.top()?).join(path);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                Err(Fault::new(FaultKind::Local, format!("reading {}", path.display()), error.to_string()))
            }
        }
    }

    fn file_in(&self, revision: &str, path: &str) -> Result<Option<String>, Fault> {
        let what = format!("reading {} as it is in {}", escape_controls(path), short(revision));
        refuse_options(&what, &[revision])?;
        let entry = self
            .ask(self.git(["ls-tree", "-z", "--long", "--full-tree", revision, "--", path], LOCAL), &what)?;
        let entries = split_nul(&entry);
        let named = |entry: &&String| entry.split_once('\t').is_some_and(|(_, name)| name == path);
        let Some(entry) = entries.iter().find(named) else { return Ok(None) };
        let fields: Vec<&str> = entry.split_whitespace().collect();
        let (Some(mode), Some(object), Some(size)) = (fields.first(), fields.get(2), fields.get(3)) else {
            return Err(Fault::new(FaultKind::Missing, what, "git named no object"));
        };
        if !mode.starts_with("100") || size.parse::<u64>().is_ok_and(|size| size > TEXT_AT_MOST) {
            return Err(Fault::new(
                FaultKind::Refused,
                what,
                "it is no plain file, or larger than a megabyte",
            ));
        }
        let bytes = self.ask(self.git(["cat-file", "blob", object], LOCAL), &what)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    fn names_in(&self, revision: &str, folder: &str) -> Result<Vec<String>, Fault> {
        let what = format!("listing {} as it is in {}", escape_controls(folder), short(revision));
        refuse_options(&what, &[revision])?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut args = vec!["ls-tree", "-z", "--name-only", "--full-tree", revision, "--"];
        if !prefix.is_empty() {
            args.push(&prefix);
        }
        let names = self.texts(self.git(args, LOCAL), &what)?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(&prefix)).map(str::to_owned).collect())
    }

    fn working_file(&self, path: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.read_file(path)
    }

    fn redact(&self, text: &str) -> String {
        self.options.redactor.clean(text)
    }

    fn remote_url(&self) -> String {
        self.options.remote_url.clone()
    }
}

/// The flag and the line that `git push --porcelain` gives for the one ref.
pub(super) fn verdict(ended: &Ended) -> Option<(char, String)> {
    let report = String::from_utf8_lossy(&ended.stdout);
    let line = report.lines().find(|line| line.contains(":refs/heads/") && line.contains('\t'))?;
    Some((line.chars().next()?, line.to_owned()))
}

fn commit_fact(entry: &str) -> Option<CommitFact> {
    let mut parts = entry.trim_start_matches('\n').split('\x1f');
    let sha = parts.next()?.to_owned();
    let subject = escape_controls(parts.next()?).into_owned();
    let author = escape_controls(parts.next()?).into_owned();
    Some(CommitFact { sha, subject, author })
}

/// Joins `--name-status -z` and `--numstat -z`.
fn changes(status: &[u8], numbers: &[u8]) -> Vec<TreeChange> {
    let status = split_nul(status);
    let numbers: Vec<(String, Option<(u64, u64)>)> = split_nul(numbers)
        .iter()
        .filter_map(|entry| {
            let mut parts = entry.splitn(3, '\t');
            let (added, removed, path) = (parts.next()?, parts.next()?, parts.next()?);
            let lines = added.parse().ok().zip(removed.parse().ok());
            Some((path.to_owned(), lines))
        })
        .collect();
    status
        .chunks_exact(2)
        .map(|pair| {
            let change = match pair[0].chars().next() {
                Some('A') => "added",
                Some('D') => "deleted",
                _ => "modified",
            };
            let lines = numbers.iter().find(|(path, _)| *path == pair[1]).and_then(|(_, lines)| *lines);
            TreeChange { path: pair[1].clone(), change: change.to_owned(), lines }
        })
        .collect()
}
