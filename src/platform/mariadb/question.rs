//! A question on its way to the connection's owner, and the asker's side of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::fault::{LoginFault, StatementFault};
use super::session::Session;
use crate::health::Moment;
use crate::platform::change::KillRule;

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unserved {
    /// A login was refused for want of a slot; the search goes on.
    Refused {
        /// MariaDB's code.
        code: u16,
        /// Our refused logins since the last reading.
        attempts: u64,
    },
    /// The time was up, and every login had been refused.
    NobodyLeaves {
        /// How long logins were tried.
        after: Duration,
        /// MariaDB's code.
        code: u16,
        /// Our refused logins in this search.
        attempts: u64,
    },
    /// The login failed for another reason.
    Login(LoginFault),
    /// The time was up; what was being waited for.
    NoAnswer(&'static str),
    /// The statement failed.
    Statement(StatementFault),
    /// The connection's owner has been told to leave.
    Ended,
}

/// What became of a question that was put.
pub enum Ran {
    /// It has its answer.
    Answered,
    /// The connection broke under it.
    Lost(StatementFault),
}

/// A question, as the owner sees it.
pub trait Ask: Send {
    /// When the asker stops waiting.
    fn due(&self) -> Moment;
    /// A refused login answers it.
    fn is_hasty(&self) -> bool;
    /// The kill that it plans: a connection opened for it brings the plan along.
    fn plans(&self) -> Option<&KillRule>;
    /// Takes it up; `false` when the asker has given up.
    fn claim(&self) -> bool;
    /// Whether it may be put once more after the connection broke under it.
    fn may_repeat(&mut self, now: Moment) -> bool;
    /// Puts it.
    fn run(&mut self, session: &mut Session) -> Ran;
    /// Answers it with a reason why not.
    fn fail(&mut self, why: &Unserved);
}

/// Who has the question: decides whether a change that nobody waits for any more is still made.
#[derive(Debug, Default)]
pub struct Ticket(AtomicU8);

impl Ticket {
    const WAITING: u8 = 0;
    const CLAIMED: u8 = 1;
    const ABANDONED: u8 = 2;

    fn swap(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The owner takes it up.
    fn claim(&self) -> bool {
        self.swap(Self::WAITING, Self::CLAIMED)
    }

    /// The asker gives up; `false` when it has been taken up already.
    pub fn abandon(&self) -> bool {
        self.swap(Self::WAITING, Self::ABANDONED)
    }
}

/// What is put to the connection.
pub type Work<T> = Box<dyn FnMut(&mut Session) -> Result<T, StatementFault> + Send>;

/// What is asked, and where the answer goes.
pub struct Question<T> {
    /// Puts it to the connection.
    pub work: Work<T>,
    /// Takes the answer.
    pub reply: SyncSender<Result<T, Unserved>>,
    /// Shared with the asker.
    pub ticket: Arc<Ticket>,
    /// When the asker stops waiting.
    pub due: Moment,
    /// A refused login answers it.
    pub hasty: bool,
    /// How often it may be put anew after the connection broke: never, for a change.
    pub repeats: u8,
    /// The kill that it plans.
    pub plans: Option<KillRule>,
}

impl<T: Send> Ask for Question<T> {
    fn due(&self) -> Moment {
        self.due
    }

    fn is_hasty(&self) -> bool {
        self.hasty
    }

    fn plans(&self) -> Option<&KillRule> {
        self.plans.as_ref()
    }

    fn claim(&self) -> bool {
        self.ticket.claim()
    }

    fn may_repeat(&mut self, now: Moment) -> bool {
        if self.repeats == 0 || self.due <= now {
            return false;
        }
        self.repeats -= 1;
        self.ticket.swap(Ticket::CLAIMED, Ticket::WAITING)
    }

    fn run(&mut self, session: &mut Session) -> Ran {
        let answer = match (self.work)(session) {
            Err(fault @ StatementFault::Lost(_)) => return Ran::Lost(fault),
            Err(fault) => Err(Unserved::Statement(fault)),
            Ok(value) => Ok(value),
        };
        // One place in the channel and one answer: it fails only when the asker has left.
        let _ = self.reply.try_send(answer);
        Ran::Answered
    }

    fn fail(&mut self, why: &Unserved) {
        let _ = self.reply.try_send(Err(why.clone()));
    }
}
