//! The trait that every verb implements, and what it answers with.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::param::Bindings;
use super::question::Question;
use super::scene::{Failure, Progress, Scene};
use super::shape::{Reading, Shape};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change};
use crate::source::{Diagnostic, Node, Span, Spanned};

/// A verb: the action of one step.
pub trait Action: std::fmt::Debug + Send + Sync {
    /// Its name in the file.
    fn verb(&self) -> &'static str;

    /// Whether it may change anything. A mutating step is always gated.
    fn mutates(&self) -> bool;

    /// Whether it only looks: it never wants a change, not even one that it says changes nothing (a program). A run of
    /// such steps alone takes no lock and needs no agreement.
    fn only_looks(&self) -> bool {
        false
    }

    /// Whether what it changes is on this machine alone, so that nothing measured can tell of it: such a step needs no gate.
    fn is_local(&self) -> bool {
        false
    }

    /// Texts that may hold `${{ }}` templates, for checking before the run.
    fn texts(&self) -> Vec<&Spanned<String>> {
        Vec::new()
    }

    /// Binds parameters; every fault at once. Bounds that depend on nothing but the values are checked here.
    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let _ = bindings;
        Vec::new()
    }

    /// `wait` and `check`: the condition that is the action's whole work. The engine evaluates it.
    fn awaits(&self) -> Option<Awaits<'_>> {
        None
    }

    /// `wait` and `check`: takes the condition as it was bound, for everything that shows or evaluates it.
    fn settle_condition(&mut self, bound: String) {
        let _ = bound;
    }

    /// The earlier step whose outputs it builds on, and one of these: a plan without such a step is refused.
    fn builds_on(&self) -> Option<(&Spanned<String>, &'static str)> {
        None
    }

    /// The condition of its default gate, where usage cannot judge it; a literal of the condition language.
    fn own_gate(&self) -> Option<&'static str> {
        None
    }

    /// How long the action may take when the step sets no `timeout`.
    fn patience(&self) -> Duration {
        Duration::from_secs(300)
    }

    /// How long taking it back takes, when it can be taken back: it is not begun when the run's deadline leaves less.
    fn undo_takes(&self) -> Duration {
        Duration::ZERO
    }

    /// What a person types instead, each line a command or a remark (`# …`); a condition that is the whole action is
    /// written by whoever asks. Values that are bound stand in place, secrets as `$VARIABLES`.
    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = (app, bindings);
        Vec::new()
    }

    /// What the step would do, from live state, without changing anything. Doubles as the preflight of a real run: a
    /// failure here ends the run before any change (exit 9).
    ///
    /// # Errors
    /// What makes the step impossible, found before anything happens.
    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure>;

    /// What comes next. Called again after every change, wait and answer, until it says [`Next::Done`].
    ///
    /// # Errors
    /// What failed; changes already made are in `progress`.
    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure>;
}

/// What a verb is as a part of the language: its name, its shape, how it is read.
pub trait Verb: Action + Sized + 'static {
    /// Its name in the file.
    const NAME: &'static str;
    /// What it does, one sentence.
    const ABOUT: &'static str;
    /// Its parameters.
    const SHAPE: &'static Shape;
    /// Typed outputs that later conditions and messages may read as `steps.ID.NAME`.
    const OUTPUTS: &'static [Output] = &[];
    /// Outputs that a step of this verb declares itself, in its parameters; what is wrong with them [`Verb::read`] says.
    fn declared(parameters: &Node) -> Vec<Declared> {
        let _ = parameters;
        Vec::new()
    }

    /// Reads it; faults are collected in `reading`.
    fn read(reading: &mut Reading<'_, '_>) -> Option<Self>;
}

/// Reads a verb's parameters; `at` is where a missing one is shown.
type ReadVerb = fn(&Node, Span, &mut Vec<Diagnostic>) -> Option<Box<dyn Action>>;

/// A row of the table of verbs.
#[derive(Debug, Clone, Copy)]
pub struct VerbEntry {
    /// Its name in the file.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Its parameters.
    pub shape: &'static Shape,
    /// Its outputs.
    pub outputs: &'static [Output],
    /// Outputs that a step declares itself.
    declared: fn(&Node) -> Vec<Declared>,
    /// How it is read.
    pub read: ReadVerb,
}

impl VerbEntry {
    /// The row of a verb.
    pub const fn of<V: Verb>() -> Self {
        Self {
            name: V::NAME,
            about: V::ABOUT,
            shape: V::SHAPE,
            outputs: V::OUTPUTS,
            declared: V::declared,
            read: read::<V>,
        }
    }

    /// The outputs of a step with these parameters: the verb's, and those that it declares.
    pub fn outputs_of(&self, parameters: &Node) -> Vec<Declared> {
        let own =
            self.outputs.iter().map(|output| Declared { name: output.name.to_owned(), unit: output.unit });
        own.chain((self.declared)(parameters)).collect()
    }
}

fn read<V: Verb>(node: &Node, at: Span, faults: &mut Vec<Diagnostic>) -> Option<Box<dyn Action>> {
    let mut reading = Reading::begin(node, V::SHAPE, at, faults)?;
    V::read(&mut reading).map(|verb| Box::new(verb) as Box<dyn Action>)
}

/// What a verb wants now.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Intend and perform this change.
    Change {
        /// The change.
        change: Change,
        /// The world before it, read just now.
        before: Before,
    },
    /// Call again in `again`: something is awaited that only observation tells.
    Wait {
        /// What is awaited, for the display: `release v13 to succeed`.
        awaited: String,
        /// When to look again.
        again: Duration,
    },
    /// Ask a person; the answer comes back in `Progress::answers`, unless it ends the run.
    Ask(Question),
    /// The action is over.
    Done(Done),
}

/// How an action ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Whether anything was changed.
    pub status: Status,
    /// One line for people: `killed 112 idle sessions`.
    pub summary: String,
    /// Typed outputs.
    pub outputs: BTreeMap<String, Value>,
    /// More lines for people: a diagnosis, what git still holds.
    pub notes: Vec<String>,
    /// Every dyno was proven replaced.
    pub replaced_all: bool,
    /// What those are told whom the runbook's `notify` section names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tell: Option<String>,
    /// What did not hold of that which the step demands (a promise, an expectation): it is a shut gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet: Option<String>,
}

/// Whether an action changed anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It changed something, or did what a reading verb does.
    #[default]
    Acted,
    /// It found nothing to do, which is success; in a ladder it passes to the next rung at once.
    NothingToDo,
    /// What it would do was done already in this run or before it.
    AlreadySo,
    /// It was left undone on purpose; the summary says by whom.
    Skipped,
}

/// One typed output of a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// What it is.
    pub about: &'static str,
}

/// An output of one step, as later conditions may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
}

/// The condition that is the whole work of `wait` or `check`.
#[derive(Debug, Clone, Copy)]
pub struct Awaits<'a> {
    /// The condition's text.
    pub until: &'a Spanned<String>,
    /// What is said when it does not hold.
    pub message: Option<&'a Spanned<String>>,
    /// It must hold this long.
    pub hold: Duration,
    /// Patience; `None` = it must hold now.
    pub within: Option<Duration>,
    /// It may be shut before, when its trend says that it cannot be met in time.
    pub early: bool,
}

/// What a step would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    /// One line: `restart every dyno of wizzypedia`.
    pub summary: String,
    /// The exact requests, git commands and SQL.
    pub requests: Vec<String>,
    /// Diff stat, commits, victims by age, config keys that would change.
    pub details: Vec<String>,
    /// A file that would be edited, as a unified diff: shown whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<String>,
    /// Connections during and after the step.
    pub forecast: Option<Forecast>,
    /// What cannot be known before the step is reached.
    pub unknown: Vec<String>,
    /// What a person must agree to besides the plan; unattended without it, the run is declined.
    pub consents: Vec<Consent>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// It would find nothing to do now.
    pub nothing_to_do: bool,
    /// Changes that are known exactly before the run and may be refused then: a scale, an edit. (What a kill may do is bounded
    /// in its rule.)
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// Something that a person must agree to, or that the runbook must say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consent {
    /// The question, whole.
    pub question: String,
    /// What to write in the runbook to be allowed unattended: `include_commits: true`.
    pub otherwise: String,
}

/// Connections expected during and after a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// At its peak: old and new dynos together.
    pub during: Option<u64>,
    /// When the old ones are gone.
    pub after: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// How it was reckoned, and what it leaves out.
    pub basis: String,
    /// The peak passes the limit: some logins will be refused for that time.
    #[serde(default)]
    pub passes_limit: bool,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}
