//! Stands before each change: is the app's lock ours, and what have others done meanwhile. Bounded in time, and it must
//! never hold up a cure because it could not look.

use std::sync::mpsc::channel;
use std::time::Duration;

use super::driver::{Guard, Wanted};
use super::event::Outcome;
use super::fights::{Sight, differences};
use super::request::Clearance;
use crate::platform::{Fault, LockState, Observer};

/// How long looking at what others do may take.
const LOOK: Duration = Duration::from_secs(3);
/// Releases looked at.
const RELEASES: usize = 10;

/// Proves before each change that no other run holds the app's lock at its database.
pub struct LockGuard {
    observer: Observer,
    /// What was told last: whether the lock is held.
    held: bool,
    notices: Vec<String>,
}

impl LockGuard {
    /// `held`: what was known of the lock when the run began.
    pub const fn new(observer: Observer, held: bool) -> Self {
        Self { observer, held, notices: Vec::new() }
    }

    fn tell(&mut self, held: bool, text: String) {
        if std::mem::replace(&mut self.held, held) != held {
            self.notices.push(text);
        }
    }
}

impl Guard for LockGuard {
    fn clear(&mut self, _: &Wanted<'_>) -> Clearance {
        let Some(database) = self.observer.database() else { return Clearance::Clear };
        match database.lock() {
            LockState::Unasked => {}
            LockState::Held => self.tell(true, "the app's lock at the database is held now".to_owned()),
            LockState::Unreachable(why) => self.tell(
                false,
                format!("the app's lock at the database is not held ({why}): until it is, only this machine's lease keeps other runs out"),
            ),
            LockState::Elsewhere(holder) => {
                let why = format!("another run holds this app: {holder}");
                return Clearance::Refused { outcome: Outcome::Locked, why };
            }
        }
        Clearance::Clear
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }
}

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
        Self { observer: observer.clone(), seen: look(observer, u64::MAX), known: made, asked: false }
    }
}

impl Guard for FightGuard {
    fn clear(&mut self, wanted: &Wanted<'_>) -> Clearance {
        // What happens in the working tree fights with nobody.
        if wanted.change.is_local() {
            return Clearance::Clear;
        }
        let known = self.seen.as_ref().map_or(u64::MAX, Sight::newest);
        let Some(now) = look(&self.observer, known) else { return Clearance::Clear };
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
            self.seen = look(&self.observer, u64::MAX);
        }
    }
}

/// The app now; `None` when Heroku does not answer in time: the change itself will say so, or does not need Heroku.
///
/// Releases up to version `known` were seen before: nobody asks what they were built from.
fn look(observer: &Observer, known: u64) -> Option<Sight> {
    let (done, seen) = channel();
    let reader = observer.clone();
    // On a thread of its own: an answer that hangs is not waited for.
    std::thread::spawn(move || drop(done.send(read(&reader, known))));
    seen.recv_timeout(LOOK).ok()?.ok()
}

fn read(observer: &Observer, known: u64) -> Result<Sight, Fault> {
    let heroku = observer.heroku();
    let (dynos, formation) = (heroku.dynos()?, heroku.formation()?);
    Ok(Sight { dynos, formation, releases: observer.releases_since(RELEASES, known)? })
}
