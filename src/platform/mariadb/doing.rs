//! What the connection's owner is doing, told to those who wait for it. It must never be what a change is decided by.

use std::sync::atomic::{AtomicU8, Ordering};

/// What the owner is doing, for those who wait.
#[derive(Debug, Default)]
pub struct Doing(AtomicU8);

impl Doing {
    /// Nothing, or waiting for a login's answer.
    pub const NOTHING: u8 = 0;
    /// Putting a question.
    pub const ASKING: u8 = 1;
    /// Opening a new connection.
    pub const OPENING: u8 = 2;
    const SPARING: u8 = 3;

    /// From now on it is doing this.
    pub fn set(&self, what: u8) {
        self.0.store(what, Ordering::Relaxed);
    }

    /// The next login is put off, or not any more.
    pub fn spare(&self, sparing: bool) {
        let (from, to) =
            if sparing { (Self::NOTHING, Self::SPARING) } else { (Self::SPARING, Self::NOTHING) };
        // Whatever else it is doing is more than that.
        let _ = self.0.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A statement is under way.
    pub fn is_asking(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::ASKING
    }

    /// The next login is put off.
    pub fn is_sparing(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::SPARING
    }

    /// In words, for a person.
    pub fn words(&self) -> &'static str {
        match self.0.load(Ordering::Relaxed) {
            Self::ASKING => "the connection is busy with an earlier statement",
            Self::OPENING => "the first answer of a new connection is awaited",
            Self::SPARING => "the next login is put off, since the account may make only so many an hour",
            _ => "no login has been answered yet",
        }
    }
}
