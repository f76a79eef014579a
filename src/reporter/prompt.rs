//! Asking a person, or refusing to guess.

use dialoguer::Confirm;
use indicatif::MultiProgress;

use crate::engine::driver::Prompt;

/// Asks at the terminal; the live display makes room.
pub struct Terminal {
    bars: MultiProgress,
    yes: bool,
}

impl Terminal {
    /// Asks through the terminal that `bars` draws on; with `yes`, assents where that is allowed.
    pub const fn new(bars: MultiProgress, yes: bool) -> Self {
        Self { bars, yes }
    }
}

impl Prompt for Terminal {
    fn confirm(&mut self, question: &str, assent: bool) -> (Option<bool>, String) {
        if self.yes && assent {
            return (Some(true), "--yes".to_owned());
        }
        let question = crate::source::escape_controls(question).into_owned();
        let answer = self.bars.suspend(|| Confirm::new().with_prompt(question).default(false).interact());
        (answer.ok(), "person".to_owned())
    }
}

/// Nobody is there: `--yes` assents where it may, everything else is not answered.
#[derive(Debug, Clone, Copy)]
pub struct Unattended {
    /// `--yes` was given.
    pub yes: bool,
}

impl Prompt for Unattended {
    fn confirm(&mut self, _: &str, assent: bool) -> (Option<bool>, String) {
        if self.yes && assent { (Some(true), "--yes".to_owned()) } else { (None, "nobody".to_owned()) }
    }
}
