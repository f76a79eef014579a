//! What an edit would do to the app that reads the file: no edit adds what keeps it from starting.

use super::fleet::CommitFiles;
use super::scene::Scene;
use crate::lint::{Files, Finding, Text, look};

/// Files that decide with others how the app starts: taken as they are in the working tree.
const TOGETHER: [&str; 2] = ["Procfile", "composer.json"];

/// What is fatal in the app's files before the edit.
pub(super) struct Crashes<'s> {
    scene: &'s Scene<'s>,
    path: String,
    added: Vec<String>,
    known: Vec<Finding>,
}

/// The app's files with one of them edited.
struct Edited<'f> {
    files: CommitFiles<'f>,
    path: &'f str,
    text: &'f [u8],
}

impl Files for Edited<'_> {
    fn text(&self, path: &str) -> Text {
        if path == self.path {
            return Text::There(String::from_utf8_lossy(self.text).into_owned());
        }
        self.files.text(path)
    }

    fn children(&self, folder: &str) -> Option<Vec<String>> {
        self.files.children(folder)
    }
}

impl<'s> Crashes<'s> {
    /// Looks at the working tree with `text` as the file at `path`.
    pub(super) fn before(scene: &'s Scene<'s>, path: &str, text: &[u8]) -> Self {
        let added = TOGETHER.into_iter().chain([path]).map(str::to_owned).collect();
        let mut crashes = Self { scene, path: path.to_owned(), added, known: Vec::new() };
        crashes.known = crashes.fatal(text);
        crashes
    }

    fn fatal(&self, text: &[u8]) -> Vec<Finding> {
        let files = CommitFiles::new(self.scene.observer.git(), "HEAD", &self.added);
        let edited = Edited { files, path: &self.path, text };
        look(&edited).findings.into_iter().filter(Finding::is_fatal).collect()
    }

    /// What an edited text would add.
    pub(super) fn added(&self, text: &[u8]) -> Option<String> {
        let fatal = self.fatal(text);
        fatal.iter().find(|found| !self.known.iter().any(|known| known.is_like(found))).map(Finding::line)
    }

    /// What stands in the file already, with its remedy.
    pub(super) fn known(&self) -> Vec<String> {
        let here = self.known.iter().filter(|finding| *finding.source.name == *self.path);
        here.map(|finding| match finding.remedy() {
            Some(remedy) => format!("{} — {remedy}", finding.line()),
            None => finding.line(),
        })
        .collect()
    }
}
