//! What a verb sees while it decides.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::param::Bindings;
use super::question::Answer;
use crate::expr::{Env, Expr, Template};
use crate::health::{Metric, Moment, Series, Value};
use crate::platform::{Before, Change, Effect, Fault, Observer};

/// The surroundings of a verb: what it may ask and what this run knows already.
pub struct Scene<'a> {
    /// The only way to ask the world.
    pub observer: &'a Observer,
    /// The app's name.
    pub app: &'a str,
    /// What earlier steps of this run established.
    pub run: &'a RunFacts,
    /// Changes that earlier steps of the plan would make, while a plan is shown; none when a step is reached.
    pub planned: &'a [Change],
    /// The latest sample's metrics (absent = unknown).
    pub metrics: &'a BTreeMap<Metric, Value>,
    /// The window of samples, for a diagnosis.
    pub series: &'a Series,
    /// Outputs of earlier steps, by `step.output`.
    pub outputs: &'a BTreeMap<String, Value>,
    /// Bound inputs, by `inputs.NAME`.
    pub bindings: &'a Bindings,
    /// Now.
    pub now: Moment,
    /// What was measured before says nothing: since then the last change is made and every old dyno gone.
    pub counts_from: Moment,
    /// A dry run: nothing may be asked of the site for this step.
    pub dry: bool,
    /// A person may be asked: a terminal is there and `--yes` was not given.
    pub interactive: bool,
}

impl Scene<'_> {
    /// Fills the templates of a text that was checked before the run.
    pub fn fill(&self, text: &str) -> String {
        Template::parse(text).map_or_else(|_| text.to_owned(), |template| template.fill(self))
    }
}

impl Env for Scene<'_> {
    fn value(&self, path: &str) -> Option<Value> {
        if let Some(output) = path.strip_prefix("steps.") {
            return self.outputs.get(output).cloned();
        }
        if let Some(bound) = self.bindings.value(path) {
            return Some(bound);
        }
        let metric = Metric::named(path)?;
        self.metrics.get(&metric).cloned()
    }

    fn condition(&self, _: &str) -> Option<&Expr> {
        None
    }
}

/// What earlier steps of this run established, folded from its events.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// The last proven replacement of every dyno.
    pub replaced: Option<Replacement>,
    /// A rollback was made in this run: there is at most one.
    pub rolled_back: bool,
    /// Versions of the releases that this run made.
    pub releases: Vec<u64>,
    /// The commit that was live when the run began.
    pub live_at_start: Option<String>,
    /// Questions of the plan that a person said yes to.
    pub consents: Vec<String>,
    /// Files whose edits were agreed to with the plan: path, and SHA-256 of the file that was shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreed_edits: Vec<(String, String)>,
}

/// A proven replacement of every dyno.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replacement {
    /// The step that proved it.
    pub step: String,
    /// When, on the run's clock.
    pub at: Moment,
}

/// One change that this step has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// The change.
    pub change: Change,
    /// The world before it.
    pub before: Before,
    /// What it brought about.
    pub effect: Effect,
    /// When it was done.
    pub at: Moment,
}

/// What this step has done so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Its changes, oldest first.
    pub made: Vec<Made>,
    /// When its action began.
    pub began: Moment,
    /// Answers to its questions, by question.
    pub answers: BTreeMap<String, Answer>,
}

impl Progress {
    /// Time since the last change, or since the action began.
    pub fn since_last(&self, now: Moment) -> Duration {
        now.since(self.made.last().map_or(self.began, |made| made.at))
    }
}

/// Why a step's action failed, with what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{fault}")]
pub struct Failure {
    /// What, on what, why, what now.
    pub fault: Fault,
    /// Lines that show it: the last log lines of a crashed dyno, the end of a build.
    pub evidence: Vec<String>,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, evidence: Vec::new() }
    }
}
