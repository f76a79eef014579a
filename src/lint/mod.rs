//! What the app's own files would do to it: Procfile, the web server's and PHP's configuration, `LocalSettings.php`.
//! Findings with their line and remedy, and how many PHP processes a dyno runs.
//!
//! Pure: files come through [`Files`]. It must never read a disk, judge what it could not read, or call fatal what
//! Apache or the buildpack would take (`docs/budget.md` says what was measured).

mod apache;
mod command;
mod files;
mod finding;
mod look;
mod php;
mod procfile;
mod settings;

pub use files::{Files, Text};
pub use finding::Finding;
pub use look::{Looked, look, wiki_of};
pub use php::processes_of;
pub use settings::Wiki;
