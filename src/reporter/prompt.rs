//! Asking a person, or refusing to guess.

use dialoguer::{Confirm, Input};
use indicatif::MultiProgress;

use super::entry::{Entry, typed_answer};
use crate::action::Question;
use crate::engine::driver::{Asking, Prompt, Reply};

/// Whether a person agreed before a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nobody can be asked.
    Nobody,
    /// Ctrl-C at the question.
    Interrupted,
}

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

    /// Asks for a name to be typed. Nothing answers for the person.
    pub fn typed(&self, question: &str, wanted: &str) -> Agreement {
        let question = crate::source::escape_controls(question).into_owned();
        let input = Input::<String>::new().with_prompt(question).allow_empty(true);
        let answer = self.bars.suspend(|| input.interact_text());
        forget_what_is_typed_ahead();
        agreement(answer.map(|typed| typed.trim() == wanted))
    }

    /// Asks for a yes before a run. The answer is one key; nothing answers for the person.
    pub fn agree(&self, question: &str) -> Agreement {
        let question = crate::source::escape_controls(question).into_owned();
        let answer = self.bars.suspend(|| Confirm::new().with_prompt(question).default(false).interact());
        forget_what_is_typed_ahead();
        agreement(answer)
    }
}

/// What was typed behind an answer (`es`, Enter) must not answer the next question.
pub(super) fn forget_what_is_typed_ahead() {
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
}

fn agreement(answer: dialoguer::Result<bool>) -> Agreement {
    match answer {
        Ok(true) => Agreement::Yes,
        Ok(false) => Agreement::No,
        Err(dialoguer::Error::IO(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
            Agreement::Interrupted
        }
        Err(_) => Agreement::Nobody,
    }
}

impl Prompt for Terminal {
    fn asks(&self, question: &Question) -> bool {
        !(self.yes && question.assent.is_some())
    }

    fn ask(&self, question: &Question, asking: &Asking) -> (Reply, String) {
        if let (true, Some(answer)) = (self.yes, &question.assent) {
            return (Reply::Answer(answer.clone()), "--yes".to_owned());
        }
        let entry = self.bars.suspend(|| typed_answer(question, asking));
        match entry {
            Entry::Answer(answer) => (Reply::Answer(answer), "person".to_owned()),
            Entry::Withdrawn => (Reply::Withdrawn, "nobody".to_owned()),
            Entry::Gone => (Reply::Nobody, "the terminal is gone".to_owned()),
        }
    }
}

/// Nobody is there: `--yes` assents where it may, everything else is not answered.
#[derive(Debug, Clone, Copy)]
pub struct Unattended {
    /// `--yes` was given.
    pub yes: bool,
}

impl Prompt for Unattended {
    fn asks(&self, _: &Question) -> bool {
        false
    }

    fn ask(&self, question: &Question, _: &Asking) -> (Reply, String) {
        match &question.assent {
            Some(answer) if self.yes => (Reply::Answer(answer.clone()), "--yes".to_owned()),
            _ => (Reply::Nobody, "nobody is there to ask".to_owned()),
        }
    }
}
