//! What happened in a run, durable and in the past tense. The journal, the reporters, resume and the report all read
//! these and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::Config;
use crate::action::{Answer, Done, Failure, Preview};
use crate::expr::Evaluation;
use crate::health::{Metric, Sample, Value};
use crate::plan::PlanRecord;
use crate::platform::{Before, Change, ChangeError, Effect};

/// Metrics by name; a missing one was unknown.
pub type Measurements = BTreeMap<Metric, Value>;

/// One event. `type` in JSON is the variant's name in snake case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// The run's id.
        run: String,
        /// Plan id.
        plan: String,
        /// What the plan was made from.
        record: Box<PlanRecord>,
        /// `live`, or `dry` for a dry run.
        mode: String,
        /// Local user and host, `user@host`, for the audit.
        by: String,
        /// How the machine was set up: what resuming needs besides the plan.
        #[serde(default)]
        config: Box<Config>,
        /// E-mail of the account whose token is used; `None` when it may not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// The incident it belongs to (`--incident`), as the team's own records name it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        incident: Option<String>,
        /// Why it was begun (`--reason`), in a person's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The run was taken up again after a pause, or after its process died.
    Resumed {
        /// Plan id.
        plan: String,
        /// The record it goes on with, when the runbook's text or the target was accepted as changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        record: Option<Box<PlanRecord>>,
        /// Local user and host, `user@host`.
        by: String,
        /// E-mail of the account whose token is used; `None` when it may not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// The step it goes on with.
        at: Option<String>,
        /// Requests of which nobody knows whether they took effect: each is read back first.
        in_doubt: Vec<String>,
        /// Steps done anew, since a step that always runs had reversed them.
        again: Vec<String>,
    },
    /// What each step would do, as shown before the run.
    Plan {
        /// Step id and its preview, in order.
        steps: Vec<(String, Preview)>,
    },
    /// A step began.
    StepStarted {
        /// Its id.
        step: String,
        /// Its name for people.
        name: String,
        /// The ladder it is a rung of.
        ladder: Option<String>,
        /// What was measured just before.
        before: Measurements,
    },
    /// A change is about to be made. Synced to disk before the change is.
    Intended {
        /// The step.
        step: String,
        /// The change.
        change: Change,
        /// The world before it.
        before: Before,
        /// Identifies this attempt.
        nonce: String,
        /// The exact request, for people.
        request: String,
    },
    /// A change was made. Synced.
    Done {
        /// The step.
        step: String,
        /// Which attempt.
        nonce: String,
        /// What it brought about.
        effect: Effect,
    },
    /// A change failed.
    ChangeFailed {
        /// The step.
        step: String,
        /// Which attempt.
        nonce: String,
        /// Why, and whether it may have happened all the same.
        error: ChangeError,
    },
    /// A doubt was settled by reading back.
    Settled {
        /// The step.
        step: String,
        /// Which attempt.
        nonce: String,
        /// `happened`, `did_not_happen`, `cannot_tell`.
        finding: String,
        /// Why it cannot be told.
        why: Option<String>,
    },
    /// An action is tried again.
    Retrying {
        /// The step.
        step: String,
        /// Counts from 1.
        attempt: u32,
        /// The pause before it, in milliseconds.
        delay_ms: u64,
        /// What failed.
        why: String,
    },
    /// Something is awaited by observation.
    Awaiting {
        /// The step.
        step: String,
        /// What.
        awaited: String,
    },
    /// A condition was decided.
    Verdict {
        /// The step.
        step: String,
        /// Which condition of it.
        gate: GateKind,
        /// Open: it held; otherwise it stayed shut (or was found false).
        open: bool,
        /// How it read at the deciding sample.
        evaluation: Evaluation,
        /// The deciding sample's number.
        sample: Option<u64>,
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
        /// Why, in words, when it is not plain (`unknown for 10 s`).
        why: Option<String>,
        /// Shut before its time was over, since it could not be met in what was left; `why` says how that is known.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        early: bool,
    },
    /// A person is being asked, and the run waits.
    Asking {
        /// The step.
        step: String,
        /// The question.
        question: String,
        /// What the person reads before it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<String>,
        /// What it takes for an answer, in words.
        takes: String,
        /// For how long an answer is waited for, in milliseconds; `None` = as long as it takes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within_ms: Option<u64>,
        /// What stands then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        otherwise: Option<Answer>,
    },
    /// A person was asked.
    Asked {
        /// The step.
        step: String,
        /// The question.
        question: String,
        /// The answer.
        answer: Answer,
        /// `person`, `--yes`; `default` when nobody has answered, and why.
        by: String,
    },
    /// A line of output of a child or of the platform.
    Output {
        /// The step.
        step: String,
        /// The line, escaped and redacted.
        line: String,
    },
    /// A sample was taken. Kept in a side file.
    Sample {
        /// Raw.
        sample: Box<Sample>,
        /// Derived.
        metrics: Measurements,
        /// Usage, 0–1, when known.
        usage: Option<f64>,
    },
    /// A step ended.
    StepFinished {
        /// Its id.
        step: String,
        /// How.
        status: StepStatus,
        /// What its action said.
        done: Option<Done>,
        /// What was measured just before and after it.
        before: Measurements,
        /// See `before`.
        after: Measurements,
        /// Time it took, in milliseconds.
        took_ms: u64,
    },
    /// A signal was received.
    Interrupted {
        /// `INT`, `TERM`, `HUP`.
        signal: String,
    },
    /// The run's thread has begun at one of those who are told of it.
    Notified {
        /// The variable that names the sink's secret.
        sink: String,
        /// The thread.
        thread: String,
    },
    /// Something a person should know that belongs to no step.
    Notice {
        /// Text.
        text: String,
    },
    /// The run ended, or was paused.
    RunFinished {
        /// How.
        outcome: Outcome,
        /// The process's exit code.
        exit_code: u8,
        /// Why, in words, when it is not `done`.
        why: Option<String>,
        /// What was measured last before the first change.
        before: Measurements,
        /// What is measured now.
        after: Measurements,
        /// Time it took, in milliseconds.
        took_ms: u64,
        /// Counts.
        tally: Tally,
        /// What to do next, each a sentence or a command.
        next: Vec<String>,
    },
}

impl Event {
    /// The reason of an emergency, in the event that begins its run: it is written beside every later one.
    pub fn emergency(&self) -> Option<&str> {
        match self {
            Self::RunStarted { record, .. } => {
                record.emergency.as_ref().map(|emergency| emergency.reason.as_str())
            }
            _ => None,
        }
    }
}

/// Which condition of a step a verdict is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// `when`.
    When,
    /// `gate.before`.
    Before,
    /// `gate.after`, or the one gate.
    After,
    /// The default gate of a mutating step.
    Default,
    /// `wait`.
    Wait,
    /// `check`.
    Check,
    /// A ladder's `until`.
    Ladder,
    /// What the after-care watches.
    AfterCare,
    /// `abort_when`.
    Abort,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "as", rename_all = "snake_case")]
pub enum StepStatus {
    /// Done, and its gate held.
    Done,
    /// Nothing to do, or already so.
    Unneeded,
    /// Not run, and why.
    Skipped {
        /// Why.
        why: String,
    },
    /// A dry run: it would run.
    WouldRun,
    /// Its action failed.
    Failed {
        /// What, why, what now.
        failure: Failure,
        /// `on_failure: continue`.
        tolerated: bool,
    },
    /// Its gate stayed shut, its check was false, a deadline or `abort_when` ended it.
    GateShut {
        /// In words.
        why: String,
        /// `on_failure: continue`.
        tolerated: bool,
    },
    /// A rung that did not heal; the ladder goes on.
    NotHealed {
        /// In words.
        why: String,
    },
    /// A person said no.
    Declined {
        /// The question.
        question: String,
    },
    /// It stopped before a change that may not be made now.
    Held {
        /// In words.
        why: String,
    },
    /// It cannot be told whether a change happened.
    InDoubt {
        /// Which, and how to find out.
        why: String,
    },
    /// Ended by a signal.
    Interrupted,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// 0.
    Done,
    /// 4.
    GateShut,
    /// 5.
    Failed,
    /// 6.
    Declined,
    /// 7.
    InDoubt,
    /// 8.
    Locked,
    /// 9.
    Unusable,
    /// 3.
    Invalid,
    /// 130.
    Interrupted,
}

impl Outcome {
    /// Its name in `--json`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::GateShut => "gate_shut",
            Self::Failed => "failed",
            Self::Declined => "declined",
            Self::InDoubt => "in_doubt",
            Self::Locked => "locked",
            Self::Unusable => "unusable",
            Self::Invalid => "invalid",
            Self::Interrupted => "interrupted",
        }
    }

    /// The process's exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Invalid => 3,
            Self::GateShut => 4,
            Self::Failed => 5,
            Self::Declined => 6,
            Self::InDoubt => 7,
            Self::Locked => 8,
            Self::Unusable => 9,
            Self::Interrupted => 130,
        }
    }
}

/// What a run used and did, in counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Changes made.
    pub changes: u64,
    /// Steps done, skipped, failed.
    pub steps_done: u64,
    /// See above.
    pub steps_skipped: u64,
    /// See above.
    pub steps_failed: u64,
    /// Failures tolerated by `on_failure: continue`.
    pub tolerated: u64,
    /// API calls.
    pub api_calls: u64,
    /// Database logins attempted.
    pub database_logins: u64,
    /// Samples taken.
    pub samples: u64,
}
