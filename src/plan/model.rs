//! The plan's types.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::{Action, Bindings};
use crate::expr::Expr;
use crate::guard::Guardrails;
use crate::health::{Metric, Value};
use crate::spec::SinkSpec;

/// Everything that makes a plan, and nothing else: the same record always builds the same plan. It is the journal's
/// first entry, and its hash is the plan's id.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// Version of this tool.
    pub tool: String,
    /// The runbook's name.
    pub runbook: String,
    /// Where its text came from: a path, or `embedded`.
    pub source: String,
    /// Its text, whole.
    pub text: String,
    /// Texts of the runbooks that it includes, whole, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub included: BTreeMap<String, String>,
    /// Inputs, bound.
    pub inputs: BTreeMap<String, Bound>,
    /// Which steps were chosen.
    pub selection: Selection,
    /// What it acts on.
    pub target: Target,
    /// Overall deadline, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// The team's guardrails, as they were read for it.
    #[serde(default, skip_serializing_if = "Guardrails::is_empty")]
    pub guardrails: Guardrails,
    /// What `--emergency` says and lifts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
}

/// An emergency: named gates are lifted, and every later event carries the reason. Guardrails stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emergency {
    /// Why, in a person's words.
    pub reason: String,
    /// `--lift STEP` (repeatable).
    pub lift: Vec<String>,
}

/// A bound input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    /// Its value.
    pub value: Value,
    /// Where it came from: `default`, `--set`.
    pub origin: String,
}

/// Which steps a run takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// `--from STEP`.
    pub from: Option<String>,
    /// `--only STEP` (repeatable).
    pub only: Vec<String>,
    /// `--skip STEP` (repeatable).
    pub skip: Vec<String>,
}

/// What a run acts on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The app's name.
    pub app: String,
    /// Its uuid.
    pub app_id: String,
    /// Base URL of the API.
    pub api_url: String,
    /// `user@host:port/db`; `None` with `--no-database`.
    pub database: Option<String>,
    /// Where commits are pushed, without credentials.
    pub git_remote: String,
    /// The working tree's folder.
    pub folder: String,
    /// Where pages are probed; `None` = not measured.
    pub pages: Option<String>,
}

/// A runbook bound to a target.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Hash of the record: twelve hex digits for people, the whole in the journal.
    pub id: String,
    /// What it was made from.
    pub record: PlanRecord,
    /// The runbook's one-line summary.
    pub summary: String,
    /// Interval of samples.
    pub every: Duration,
    /// What `healthy` means here; `live` is always part of it.
    pub healthy: Arc<Expr>,
    /// Its steps, in order; those not selected say why.
    pub steps: Vec<Step>,
    /// Its steps only look: no lock is taken, and nobody is asked.
    pub only_looks: bool,
    /// Overall deadline.
    pub deadline: Option<Duration>,
    /// Who is told of a run.
    pub notify: Vec<SinkSpec>,
    /// What it must keep: the team's guardrails and the runbook's own.
    pub guardrails: Guardrails,
    /// What to do when the run ends with a gate shut, in the runbook's own words.
    pub when_shut: Vec<String>,
}

impl Plan {
    /// Whether a condition of the plan names this metric. What nobody names is not measured, where that costs something.
    pub fn measures(&self, metric: Metric) -> bool {
        let mut names = Vec::new();
        names.extend(self.healthy.names().into_iter().map(str::to_owned));
        self.steps.iter().for_each(|step| step.names(&mut names));
        names.iter().any(|name| name.strip_prefix("before.").unwrap_or(name) == metric.name())
    }
}

impl Step {
    /// What its conditions name, those of rungs included.
    fn names(&self, into: &mut Vec<String>) {
        let mut add = |expr: &Expr| into.extend(expr.names().into_iter().map(str::to_owned));
        self.when.iter().chain(&self.abort_when).for_each(|expr| add(expr));
        self.before.iter().for_each(|gate| add(&gate.until));
        if let AfterGate::Own(gate) | AfterGate::IfChanged(gate) = &self.after {
            add(&gate.until);
        }
        match &self.body {
            Body::Verb(action) => {
                if let Some(Ok(until)) = action.awaits().map(|awaits| Expr::parse(awaits.until)) {
                    add(&until);
                }
            }
            Body::Ladder(ladder) => {
                add(&ladder.gate.until);
                ladder.care.iter().for_each(|care| add(&care.until));
                ladder.rungs.iter().for_each(|rung| rung.names(into));
            }
        }
        if let Some(remedy) = &self.remedy {
            remedy.names(into);
        }
    }
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Unique in the plan, rungs included.
    pub id: String,
    /// With `for_each`: the id in the file, which stands for all of its repetitions on the command line.
    pub repeats: Option<String>,
    /// For people; the id when the file gives none.
    pub name: String,
    /// Run only if it holds.
    pub when: Option<Arc<Expr>>,
    /// What an unknown `when` means after 10 s.
    pub if_unknown: IfUnknown,
    /// Must hold before the action begins.
    pub before: Option<Gate>,
    /// Must hold after it.
    pub after: AfterGate,
    /// Ends the step when true in two samples in a row.
    pub abort_when: Option<Arc<Expr>>,
    /// The action's own bound.
    pub timeout: Duration,
    /// Retries of the action.
    pub retry: Option<Retry>,
    /// What a failure means.
    pub on_failure: OnFailure,
    /// With `on_failure: rollback`: the step that takes the release back.
    pub remedy: Option<Box<Step>>,
    /// Runs at the end whatever happened.
    pub always: bool,
    /// What ends the incident: whatever the forecast says, it goes out.
    pub cure: bool,
    /// Why it is not part of this run (`--skip`, `--only`, `--from`); `None` = it is.
    pub left_out: Option<String>,
    /// What its texts and parameters may name.
    pub bindings: Arc<Bindings>,
    /// What it does.
    pub body: Body,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Body {
    /// One verb.
    Verb(Arc<dyn Action>),
    /// Rungs, the first that heals ends it.
    Ladder(Ladder),
}

/// An escalation ladder.
#[derive(Debug, Clone)]
pub struct Ladder {
    /// What heals means; its `within` is the patience after each rung.
    pub gate: Gate,
    /// The rungs, mildest first.
    pub rungs: Vec<Step>,
    /// It is the after-care's: health is watched first, and it is climbed when that falls.
    pub care: Option<Care>,
}

/// What is watched when every step has succeeded.
#[derive(Debug, Clone, PartialEq)]
pub struct Care {
    /// What must stay so.
    pub until: Arc<Expr>,
    /// How long it is watched, and anew after each rung that healed.
    pub watch: Duration,
    /// How long it must be false before anything is done.
    pub patience: Duration,
    /// The step whose ladder is climbed again; `None` = a ladder of its own.
    pub again: Option<String>,
}

/// The id of the step that watches.
pub const AFTER_CARE: &str = "after-care";

/// A condition that must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The condition.
    pub until: Arc<Expr>,
    /// For how long without a break (at least three samples when not zero).
    pub hold: Duration,
    /// Patience.
    pub within: Duration,
    /// It may be shut before, when its trend says that it cannot be met in time.
    pub early: bool,
}

/// The gate after a step.
#[derive(Debug, Clone, PartialEq)]
pub enum AfterGate {
    /// Its own.
    Own(Gate),
    /// A remedy's: only what it has changed is to be proven.
    IfChanged(Gate),
    /// The default of a mutating step, within this time.
    Default(Duration),
    /// Switched off, with the reason that the file gives.
    None(String),
    /// A step that changes nothing needs none; a rung is gated by its ladder.
    NotNeeded,
}

/// What an unknown `when` means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfUnknown {
    /// Run the step.
    Run,
    /// Skip it.
    Skip,
    /// End the run (exit 4).
    #[default]
    Stop,
}

/// What a step's failure means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The run ends; `always` steps run.
    #[default]
    Stop,
    /// It is listed as tolerated and the run goes on.
    Continue,
    /// The release that this step made is taken back, then the run ends.
    Rollback,
}

/// Retries of an action.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// How many more times.
    pub times: u32,
    /// Before the first.
    pub delay: Duration,
    /// Each delay is the one before times this.
    pub backoff: f64,
}
