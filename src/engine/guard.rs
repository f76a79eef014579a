//! Stands before each change: looks at what others have done meanwhile. Reads only, bounded in time, and it must never
//! hold up a cure because it could not look.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::driver::{Guard, Wanted};
use super::fights::{Sight, differences};
use super::request::Clearance;
use crate::platform::{Change, Fault, Observer};

/// How long looking at what others do may take.
const LOOK: Duration = Duration::from_secs(3);
/// Releases looked at.
const RELEASES: usize = 10;

/// Compares the app with what the run last saw of it, before each change.
pub struct FightGuard {
    observer: Observer,
    seen: Option<Sight>,
    /// Changes of the run that were made when `seen` was seen.
    known: usize,
    /// Its question is being asked.
    asked: bool,
}

impl FightGuard {
    /// Takes the first look.
    pub fn begin(observer: &Observer, made: usize) -> Self {
        Self { observer: observer.clone(), seen: look(observer), known: made, asked: false }
    }
}

impl Guard for FightGuard {
    fn clear(&mut self, wanted: &Wanted<'_>) -> Clearance {
        // What happens in the working tree fights with nobody.
        if matches!(wanted.change, Change::Commit { .. } | Change::Revert { .. } | Change::Command { .. }) {
            return Clearance::Clear;
        }
        let Some(now) = look(&self.observer) else { return Clearance::Clear };
        let own = wanted.made.get(self.known..).unwrap_or_default();
        let found = self
            .seen
            .as_ref()
            .map(|seen| differences(seen, &now, own, self.observer.clock().wall()))
            .unwrap_or_default();
        if found.is_empty() {
            self.known = wanted.made.len();
            self.seen = Some(now);
            return Clearance::Clear;
        }
        self.asked = true;
        // What was seen stays what it was until somebody has agreed: the question is the same when it is asked again.
        Clearance::Ask(format!(
            "Somebody else is at work on this app: {}. Go on all the same?",
            found.join("; ")
        ))
    }

    fn agreed(&mut self, made: usize) {
        // Other questions are agreed to as well.
        if std::mem::take(&mut self.asked) {
            self.known = made;
            self.seen = look(&self.observer);
        }
    }
}

/// The app now; `None` when Heroku does not answer in time: the change itself will say so, or does not need Heroku.
fn look(observer: &Observer) -> Option<Sight> {
    let (done, seen) = channel();
    let reader = observer.clone();
    // On a thread of its own: an answer that hangs is not waited for.
    std::thread::spawn(move || drop(done.send(read(&reader))));
    seen.recv_timeout(LOOK).ok()?.ok()
}

fn read(observer: &Observer) -> Result<Sight, Fault> {
    let heroku = observer.heroku();
    let (dynos, formation) = (heroku.dynos()?, heroku.formation()?);
    let mut releases = Vec::new();
    for release in heroku.releases(RELEASES)? {
        let commit = match &release.slug {
            // Of older ones nobody asks.
            Some(slug) if releases.len() < 3 => observer.commit_of(slug)?,
            _ => None,
        };
        releases.push((release, commit));
    }
    Ok(Sight { dynos, formation, releases })
}
