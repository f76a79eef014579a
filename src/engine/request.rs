//! What the machine asks of a driver, and what a driver answers. Plain data, so that a second driver needs no second
//! engine.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::event::Outcome;
use crate::action::{Answer, Failure, Next, Progress, Question};
use crate::expr::Evaluation;
use crate::health::Moment;
use crate::platform::{Before, Change, ChangeError, Effect, Fault, Reconciled};

/// What the driver is to do next. Events that came with it are written first.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Call the verb of `step` with this progress; answer [`Input::Decided`].
    Decide {
        /// The step.
        step: String,
        /// What it has done so far.
        progress: Progress,
    },
    /// Say whether this change may be made now: lock, guardrails, what others have done meanwhile; answer
    /// [`Input::Cleared`].
    Clear {
        /// The step.
        step: String,
        /// The change that is wanted.
        change: Change,
        /// The world before it.
        before: Before,
    },
    /// Perform the change whose intention has just been written; answer [`Input::Performed`].
    Perform {
        /// The step.
        step: String,
        /// The change.
        change: Change,
        /// What is left of the step's own time.
        timeout: Duration,
    },
    /// Read back whether a change happened; answer [`Input::Reconciled`].
    Reconcile {
        /// The change.
        change: Change,
        /// The world before it.
        before: Before,
        /// A lost request can no longer land: what has not happened will not.
        settled: bool,
    },
    /// Wait for a sample or for this moment, whichever comes first; answer [`Input::Tick`].
    Wait {
        /// At the latest.
        until: Moment,
        /// What is awaited, for the display.
        live: Live,
    },
    /// Ask a person; answer [`Input::Answered`].
    Ask {
        /// The step.
        step: String,
        /// The question.
        question: Question,
        /// When nobody has answered by then, nobody will; `None` = there is no end.
        until: Option<Moment>,
    },
    /// The run is over; [`super::Event::RunFinished`] is among the events.
    Finish,
}

/// What is awaited now, for the display. Not durable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Live {
    /// The step.
    pub step: String,
    /// What is awaited in words, when it is no gate.
    pub awaited: Option<String>,
    /// The gate as it reads now.
    pub gate: Option<Evaluation>,
    /// How long it has held.
    pub held: Duration,
    /// How long it must hold.
    pub hold: Duration,
    /// What is left of the patience.
    pub left: Duration,
}

/// What the driver answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The run begins.
    Begin,
    /// Time passed, or a sample came (given before through `Machine::observe`).
    Tick,
    /// The verb's word.
    Decided(Result<Next, Failure>),
    /// Whether the change may be made.
    Cleared(Clearance),
    /// The change's result.
    Performed(Performance),
    /// What reading back found.
    Reconciled(Result<Reconciled, Fault>),
    /// A person's answer; `None` = there is none.
    Answered {
        /// The answer.
        answer: Option<Answer>,
        /// `person`, `--yes`; without an answer, why there is none.
        by: String,
    },
}

/// How a change ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Performance {
    /// Done.
    Done(Effect),
    /// Failed, or in doubt.
    Failed(ChangeError),
    /// A dry run: nothing can be performed.
    WouldRun,
}

/// Whether a change may be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clearance {
    /// Nothing stands against it.
    Clear,
    /// A person must agree first, and why; `--yes` does not.
    Ask(String),
    /// A guardrail forbids it, and why: a rung passes to the next at once; anything else pauses the run as declined.
    Barred(String),
    /// It is not made: the run is paused with this outcome.
    Refused {
        /// [`Outcome::Locked`] or [`Outcome::Declined`].
        outcome: Outcome,
        /// In words.
        why: String,
    },
}
