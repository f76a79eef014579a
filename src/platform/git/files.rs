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
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::{Absent, Edited, Operation, Syntax, Which, edit};
    use crate::platform::git::TreeOptions;
    use crate::platform::process::{Child, Held};
    use crate::platform::reads::GitReads;
    use crate::platform::secret::{Redactor, Secret};
    use crate::platform::writes::GitWrites;

    struct Kept {
        folder: tempfile::TempDir,
        tree: Tree,
    }

    fn kept() -> Kept {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("wiki");
        fs::create_dir_all(top.join("conf")).unwrap();
        let mut init = Child::new("git", &top, std::time::Duration::from_secs(30));
        init.args = ["init", "-q"].map(Into::into).to_vec();
        assert_eq!(init.run(&Redactor::default(), &|_| {}).unwrap().code, Some(0));
        fs::write(top.join("a.ini"), "a = 1\r\n").unwrap();
        let tree = Tree::new(TreeOptions {
            // Paths are the tree's, wherever in it the person stands.
            folder: top.join("conf"),
            remote_url: "http://127.0.0.1:1/wiki.git".into(),
            token: Secret::from("token"),
            secret_variables: Vec::new(),
            redactor: Redactor::default(),
            held: Held::default(),
        });
        Kept { folder, tree }
    }

    impl Kept {
        fn top(&self) -> PathBuf {
            self.folder.path().join("wiki")
        }

        fn edited(&self, path: &str) -> (Vec<u8>, Edited) {
            let before = self.tree.working_file(path).unwrap().unwrap();
            let operation = Operation::Set {
                name: "a".into(),
                to: "2".into(),
                instead_of: None,
                absent: Absent::Add,
                which: Which::Only,
            };
            let edited = edit(&before, Syntax::Ini, &[operation]).unwrap();
            (before, edited)
        }

        fn perform(&self, path: &str, before: &[u8], edited: &Edited) -> Result<Effect, ChangeError> {
            self.tree.edit(path, &digest(before), &digest(&edited.text), &edited.hunks)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.top()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode_and_nothing_is_left_beside_it() {
        let kept = kept();
        let path = kept.top().join("a.ini");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let names = kept.names();
        let (before, edited) = kept.edited("a.ini");
        assert_eq!(kept.perform("a.ini", &before, &edited), Ok(Effect::Edited));
        assert_eq!(fs::read(&path).unwrap(), b"a = 2\r\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        assert_eq!(kept.names(), names);
    }

    #[test]
    fn a_file_that_has_changed_since_is_not_touched() {
        let kept = kept();
        let (before, edited) = kept.edited("a.ini");
        fs::write(kept.top().join("a.ini"), "a = 1\nb = 1\n").unwrap();
        let error = kept.perform("a.ini", &before, &edited).unwrap_err();
        assert_eq!(error.certainty, crate::platform::Certainty::NothingChanged);
        assert!(error.fault.why.contains("changed since it was looked at"), "{error}");
        assert_eq!(fs::read(kept.top().join("a.ini")).unwrap(), b"a = 1\nb = 1\n");
        fs::remove_file(kept.top().join("a.ini")).unwrap();
        assert!(kept.perform("a.ini", &before, &edited).is_err() && !kept.top().join("a.ini").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_leaves_the_file_whole() {
        let kept = kept();
        let (before, edited) = kept.edited("a.ini");
        fs::set_permissions(kept.top(), fs::Permissions::from_mode(0o555)).unwrap();
        // Whoever may write everywhere does.
        if tempfile::tempfile_in(kept.top()).is_err() {
            let error = kept.perform("a.ini", &before, &edited).unwrap_err();
            assert_eq!(error.certainty, crate::platform::Certainty::NothingChanged);
            assert_eq!(fs::read(kept.top().join("a.ini")).unwrap(), before);
        }
        fs::set_permissions(kept.top(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn nothing_outside_of_the_tree_is_read_or_written() {
        let kept = kept();
        let (top, outside) = (kept.top(), kept.folder.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("a.ini"), "a = 1\n").unwrap();
        let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, top.join(name)).unwrap();
        link(&outside, "away");
        link(&outside.join("a.ini"), "away.ini");
        link(&top.join("a.ini"), "here.ini");
        link(&top.join(".git"), "git");
        for path in [
            "away/a.ini",
            "away.ini",
            "here.ini",
            "git/config",
            ".git/config",
            "../outside/a.ini",
            "/etc/passwd",
            "",
            "conf",
        ] {
            let fault = kept.tree.working_file(path).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Refused, "{path}: {fault}");
        }
        for path in ["none.ini", "none/none.ini", "a.ini/none"] {
            assert_eq!(kept.tree.working_file(path), Ok(None), "{path}");
        }
        link(&top.join("conf"), "also");
        fs::write(top.join("conf/b.ini"), "a = 1\n").unwrap();
        let (before, edited) = kept.edited("also/b.ini");
        assert_eq!(
            kept.perform("also/b.ini", &before, &edited),
            Ok(Effect::Edited),
            "a folder within the tree"
        );
        assert_eq!(fs::read(top.join("conf/b.ini")).unwrap(), b"a = 2\n");
        File::create(top.join("large.ini")).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(kept.tree.working_file("large.ini").unwrap_err().why.contains("bytes"));
    }
}
