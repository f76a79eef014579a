//! Whether a run's folder is readable by its owner alone. Looks only: it never changes a mode and follows no link.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::store::StoreError;

/// What was found in a run's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Privacy {
    /// Files that only the owner reads (0600).
    pub files: usize,
    /// Folders that only the owner opens (0700), the run's own included.
    pub folders: usize,
    /// What others may see, and what is neither file nor folder, each with what is wrong.
    pub exposed: Vec<(PathBuf, String)>,
}

/// Looks through a run's folder.
///
/// # Errors
/// When it cannot be listed.
pub fn privacy(folder: &Path) -> Result<Privacy, StoreError> {
    let mut found = Privacy::default();
    let mut ahead = vec![folder.to_owned()];
    while let Some(path) = ahead.pop() {
        let about = fs::symlink_metadata(&path).map_err(|error| StoreError::new(&path, "reading", &error))?;
        let mode = about.permissions().mode() & 0o777;
        if about.is_symlink() {
            found.exposed.push((path, "a symbolic link".to_owned()));
        } else if about.is_dir() {
            let listed = fs::read_dir(&path)
                .and_then(|listed| {
                    listed.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
                })
                .map_err(|error| StoreError::new(&path, "listing", &error))?;
            ahead.extend(listed);
            if mode & 0o077 != 0 {
                found.exposed.push((path, format!("{mode:04o} instead of 0700")));
            } else {
                found.folders += 1;
            }
        } else if !about.is_file() {
            found.exposed.push((path, "neither a file nor a folder".to_owned()));
        } else if mode & 0o177 != 0 {
            found.exposed.push((path, format!("{mode:04o} instead of 0600")));
        } else {
            found.files += 1;
        }
    }
    found.exposed.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_read_is_named_with_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
        for (name, mode) in [("private", 0o600), ("open", 0o640)] {
            fs::write(run.join(name), "x").unwrap();
            fs::set_permissions(run.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", run.join("link")).unwrap();
        let found = privacy(&run).unwrap();
        assert_eq!((found.files, found.folders), (1, 1));
        assert_eq!(
            found.exposed,
            [
                (run.join("link"), "a symbolic link".to_owned()),
                (run.join("open"), "0640 instead of 0600".to_owned())
            ]
        );
        assert!(privacy(&run.join("nowhere")).is_err());
    }
}
