//! What a run has changed, and what of it is in doubt, as its events tell. Pure, and the one place where that is read off
//! them.

use super::event::Event;
use crate::platform::{Before, Certainty, Change, Effect};

/// The changes of a run, event by event.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    /// Intended, by attempt, and how they ended is not known.
    open: Vec<(String, Change, Before)>,
    made: Vec<(Change, Before, Effect)>,
    intended: bool,
}

impl Ledger {
    /// The changes that these events tell of.
    pub fn of<'e>(events: impl IntoIterator<Item = &'e Event>) -> Self {
        let mut ledger = Self::default();
        for event in events {
            ledger.note(event);
        }
        ledger
    }

    /// Takes in one event.
    pub fn note(&mut self, event: &Event) {
        match event {
            Event::Intended { nonce, change, before, .. } => {
                self.intended = true;
                self.open.push((nonce.clone(), change.clone(), before.clone()));
            }
            Event::Done { nonce, effect, .. } => {
                if let Some((change, before)) = self.close(nonce) {
                    self.made.push((change, before, effect.clone()));
                }
            }
            Event::ChangeFailed { nonce, error, .. } if error.certainty != Certainty::InDoubt => {
                self.close(nonce);
            }
            Event::Settled { nonce, finding, .. } if finding == "did_not_happen" => {
                self.close(nonce);
            }
            _ => {}
        }
    }

    fn close(&mut self, nonce: &str) -> Option<(Change, Before)> {
        let at = self.open.iter().position(|(known, _, _)| known == nonce)?;
        let (_, change, before) = self.open.remove(at);
        Some((change, before))
    }

    /// Changes made, oldest first.
    pub fn made(&self) -> &[(Change, Before, Effect)] {
        &self.made
    }

    /// Changes that were begun, and of which it is not known how they ended.
    pub fn in_doubt(&self) -> impl Iterator<Item = &Change> {
        self.open.iter().map(|(_, change, _)| change)
    }

    /// Whether what is known last of maintenance mode is that this run has switched it on.
    pub fn leaves_maintenance_on(&self) -> bool {
        let of_mode = |change: &Change| match change {
            Change::Maintenance { on } => Some(*on),
            _ => None,
        };
        let last = self.made.iter().rev().find_map(|(change, _, _)| of_mode(change));
        // Begun, and its end is not known: the worse is said.
        last == Some(true) || self.in_doubt().any(|change| of_mode(change) == Some(true))
    }

    /// Whether any change was begun.
    pub const fn has_begun(&self) -> bool {
        self.intended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maintenance_mode_that_is_left_on_or_may_be_is_known() {
        let step = || "s".to_owned();
        let intended = |on: bool, nonce: &str| Event::Intended {
            step: step(),
            change: Change::Maintenance { on },
            before: Before { maintenance: Some(!on), ..Before::default() },
            nonce: nonce.to_owned(),
            request: String::new(),
        };
        let done =
            |nonce: &str| Event::Done { step: step(), nonce: nonce.to_owned(), effect: Effect::Accepted };
        let events = [intended(true, "1"), done("1"), intended(false, "2"), done("2")];
        let left = |number: usize| Ledger::of(&events[..number]).leaves_maintenance_on();
        assert_eq!([0, 1, 2, 3, 4].map(left), [false, true, true, true, false]);
    }
}
