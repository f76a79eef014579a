//! Asking a person, or refusing to guess.

use dialoguer::{Confirm, Input};
use indicatif::MultiProgress;

use crate::engine::driver::{Prompt, Reply};

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

impl Terminal {
    /// Asks for a name to be typed. Nothing answers for the person.
    pub fn typed(&mut self, question: &str, wanted: &str) -> Reply {
        let question = crate::source::escape_controls(question).into_owned();
        let input = Input::<String>::new().with_prompt(question).allow_empty(true);
        let answer = self.bars.suspend(|| input.interact_text());
        let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
        match answer {
            Ok(typed) if typed.trim() == wanted => Reply::Yes,
            Ok(_) => Reply::No,
            Err(dialoguer::Error::IO(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
                Reply::Interrupted
            }
            Err(_) => Reply::Nobody,
        }
    }
}

impl Prompt for Terminal {
    fn confirm(&mut self, question: &str, assent: bool) -> (Reply, String) {
        if self.yes && assent {
            return (Reply::Yes, "--yes".to_owned());
        }
        let question = crate::source::escape_controls(question).into_owned();
        let answer = self.bars.suspend(|| Confirm::new().with_prompt(question).default(false).interact());
        // The answer is one key. What was typed behind it (`es`, Enter) must not answer the next question.
        let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
        let reply = match answer {
            Ok(true) => Reply::Yes,
            Ok(false) => Reply::No,
            Err(dialoguer::Error::IO(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
                Reply::Interrupted
            }
            Err(_) => Reply::Nobody,
        };
        (reply, "person".to_owned())
    }
}

/// Nobody is there: `--yes` assents where it may, everything else is not answered.
#[derive(Debug, Clone, Copy)]
pub struct Unattended {
    /// `--yes` was given.
    pub yes: bool,
}

impl Prompt for Unattended {
    fn confirm(&mut self, _: &str, assent: bool) -> (Reply, String) {
        if self.yes && assent {
            (Reply::Yes, "--yes".to_owned())
        } else {
            (Reply::Nobody, "nobody".to_owned())
        }
    }
}
