//! A step: a header round one verb, or a ladder of steps.

use std::time::Duration;

use crate::action::{EARLY, Kind, Param, Reading, Shape, VERBS, VerbEntry, optional, required};
use crate::source::{Diagnostic, Map, Node, NodeKind, Span, Spanned, did_you_mean};

/// One step as written.
#[derive(Debug)]
pub struct StepSpec {
    /// Its id; when the file gives none, the verb's name.
    pub id: Spanned<String>,
    /// For people.
    pub name: Option<Spanned<String>>,
    /// Run only if it holds.
    pub when: Option<Spanned<String>>,
    /// What an unknown `when` means.
    pub if_unknown: Option<Spanned<String>>,
    /// Its gates.
    pub gate: GateSpec,
    /// The action's bound.
    pub timeout: Option<Param<Duration>>,
    /// Retries.
    pub retry: Option<RetrySpec>,
    /// Repeats the step for each item.
    pub for_each: Vec<Spanned<String>>,
    /// What a failure means.
    pub on_failure: Option<Spanned<String>>,
    /// Runs at the end whatever happened.
    pub always: bool,
    /// It is the cure: whatever the forecast says, it goes out.
    pub cure: bool,
    /// Ends the step.
    pub abort_when: Option<Spanned<String>>,
    /// What it does.
    pub body: BodySpec,
    /// Where faults of the whole step are shown.
    pub span: Span,
}

/// What a step does.
#[derive(Debug)]
pub enum BodySpec {
    /// One verb.
    Verb(VerbSpec),
    /// An escalation ladder.
    Ladder(LadderSpec),
    /// Another runbook's steps.
    Include(IncludeSpec),
}

/// A verb and its parameters, unread: a `for_each` reads them once an item.
#[derive(Debug)]
pub struct VerbSpec {
    /// The verb.
    pub entry: &'static VerbEntry,
    /// Its parameters.
    pub node: Node,
    /// Where it is named.
    pub at: Span,
}

/// Another runbook's steps, in this place.
#[derive(Debug)]
pub struct IncludeSpec {
    /// The other runbook's name.
    pub runbook: Spanned<String>,
    /// Its inputs; a value may name this runbook's inputs.
    pub with: Vec<(Spanned<String>, Spanned<String>)>,
    /// Where it is named.
    pub at: Span,
}

/// A ladder as written.
#[derive(Debug)]
pub struct LadderSpec {
    /// What heals means.
    pub gate: GateText,
    /// Its rungs.
    pub rungs: Vec<StepSpec>,
    /// Where it is named.
    pub at: Span,
}

/// The gates of a step.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a step, and steps are few: a box would only hide the shape"
)]
pub enum GateSpec {
    /// Nothing said: a mutating step gets the default.
    Unsaid,
    /// Something said.
    Set {
        /// Before the action.
        before: Option<GateText>,
        /// After it.
        after: AfterText,
    },
}

/// What a step says about the gate after it.
#[derive(Debug)]
pub enum AfterText {
    /// Nothing: a mutating step gets the default.
    Unsaid,
    /// Its own; `None` = it could not be read.
    Own(Option<GateText>),
    /// Switched off, and why.
    Off(Spanned<String>),
}

/// A gate as written.
#[derive(Debug)]
pub struct GateText {
    /// The condition.
    pub until: Spanned<String>,
    /// For how long.
    pub hold: Option<Param<Duration>>,
    /// Patience.
    pub within: Option<Param<Duration>>,
    /// May be shut before it is over.
    pub early: bool,
}

/// Retries as written.
#[derive(Debug)]
pub struct RetrySpec {
    /// How many more times.
    pub times: Param<u64>,
    /// Pause before the first.
    pub delay: Option<Param<Duration>>,
    /// Each pause is the one before times this.
    pub backoff: Option<Spanned<String>>,
}

const ONE_GATE: &[crate::action::Field] = &[
    optional("until", Kind::Condition, "What must hold."),
    optional(
        "for",
        Kind::Duration,
        "For how long without a break (at least three samples). Default: one sample.",
    ),
    optional("within", Kind::Duration, "Patience. Default: 120s."),
    optional("early", Kind::Flag, EARLY),
];

/// A gate by itself.
pub(super) const PLAIN_GATE: Shape =
    Shape { name: "gate", fields: ONE_GATE, short: Some("until"), empty: false, open: false };

/// The gates of a step.
pub(super) const GATE: Shape = Shape {
    name: "gate",
    fields: &[
        optional("until", Kind::Condition, "What must hold after the step."),
        optional(
            "for",
            Kind::Duration,
            "For how long without a break (at least three samples). Default: one sample.",
        ),
        optional("within", Kind::Duration, "Patience. Default: 120s."),
        optional("early", Kind::Flag, EARLY),
        optional("before", Kind::Map(&PLAIN_GATE), "A gate that must hold before the action begins."),
        optional("after", Kind::Map(&PLAIN_GATE), "A gate that must hold after it."),
        optional(
            "none",
            Kind::Text,
            "Switches the gate after the step off; says why, and the plan shows it.",
        ),
    ],
    short: Some("until"),
    empty: false,
    open: false,
};

/// Retries.
pub(super) const RETRY: Shape = Shape {
    name: "retry",
    fields: &[
        required("times", Kind::Count, "How many more times, 1 to 10."),
        optional("delay", Kind::Duration, "Pause before the first. Default: 1s."),
        optional("backoff", Kind::Any, "Each pause is the one before times this, 1 to 10. Default: 2."),
    ],
    short: Some("times"),
    empty: false,
    open: false,
};

/// A ladder.
pub(super) const LADDER: Shape = Shape {
    name: "ladder",
    fields: &[
        required("until", Kind::Condition, "What heals means."),
        optional("for", Kind::Duration, "For how long it must hold. Default: 20s."),
        optional("within", Kind::Duration, "Patience after each rung. Default: 60s."),
        optional("early", Kind::Flag, EARLY),
        required(
            "rungs",
            Kind::Steps,
            "The rungs, mildest first; the first after which the gate holds ends the ladder.",
        ),
    ],
    short: None,
    empty: false,
    open: false,
};

/// Another runbook's steps.
pub(super) const INCLUDE: Shape = Shape {
    name: "include",
    fields: &[
        required("runbook", Kind::Text, "The other runbook's name, as `runbook run` takes it."),
        optional(
            "with",
            Kind::Each(&Kind::Any),
            "Its inputs by name; a value may name inputs of this runbook. Default: its own defaults.",
        ),
    ],
    short: Some("runbook"),
    empty: false,
    open: false,
};

/// What may be a step's failure policy.
pub const ON_FAILURE: &[&str] = &["stop", "continue", "rollback"];
/// What an unknown `when` may mean.
pub const IF_UNKNOWN: &[&str] = &["run", "skip", "stop"];

/// The header of a step; its one verb stands beside these keys.
pub(super) const STEP: Shape = Shape {
    name: "step",
    fields: &[
        optional("id", Kind::Text, "Unique name: small letters, digits, `-`. Default: the verb's."),
        optional("name", Kind::Text, "For people. Default: the id."),
        optional("when", Kind::Condition, "Run only if it holds."),
        optional(
            "if_unknown",
            Kind::Word(IF_UNKNOWN),
            "What an unknown `when` means after 10 s. Default: `stop` (exit 4).",
        ),
        optional(
            "gate",
            Kind::Gate,
            "What must hold before and after the step (see docs/gates.md). A mutating step without one gets the default.",
        ),
        optional(
            "timeout",
            Kind::Duration,
            "Bound of the action itself. Default: 5m, of `deploy` and `rollback` 20m. Gates have their own `within`.",
        ),
        optional(
            "retry",
            Kind::Map(&RETRY),
            "Try the action again when it failed and has certainly not happened.",
        ),
        optional(
            "for_each",
            Kind::Texts,
            "Repeat the step for each item, as `${{ item }}`: the steps are `ID-1`, `ID-2` and so on.",
        ),
        optional(
            "on_failure",
            Kind::Word(ON_FAILURE),
            "What a failure means. `stop`: the run ends. `continue`: it is listed as tolerated. `rollback` (of `deploy` only): the release is taken back. Default: `stop`.",
        ),
        optional("always", Kind::Flag, "Runs at the end whatever happened. Default: false."),
        optional(
            "cure",
            Kind::Flag,
            "The step is what ends the incident: a forecast that passes the limit says that it goes out all the same. Default: false.",
        ),
        optional("abort_when", Kind::Condition, "Ends the step when it holds in two samples in a row."),
    ],
    short: None,
    empty: false,
    open: true,
};

impl StepSpec {
    pub(super) fn read(node: &Node, rung: bool, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let map = match node.map("a step") {
            Ok(map) => map,
            Err(fault) => {
                faults.push(fault.help("a step is a map: `- deploy: { … }`"));
                return None;
            }
        };
        let at = map.head();
        let header: Vec<&str> = STEP.fields.iter().map(|field| field.name).collect();
        let mut verbs = Vec::new();
        for (key, value) in map.entries() {
            if header.contains(&key.value.as_str()) {
                continue;
            }
            if ["ladder", "include"].contains(&key.value.as_str())
                || VERBS.iter().any(|entry| entry.name == key.value)
            {
                verbs.push((key, value));
            } else {
                faults.push(unknown_key(key, &header));
            }
        }
        let (key, value) = match verbs.as_slice() {
            [one] => *one,
            [] => {
                let unknown_told = map.entries().iter().any(|(key, _)| !header.contains(&key.value.as_str()));
                if !unknown_told {
                    let names: Vec<_> =
                        VERBS.iter().map(|entry| entry.name).chain(["ladder", "include"]).collect();
                    let fault = Diagnostic::error(at, "this step does nothing: it has no verb");
                    faults.push(fault.help(format!("verbs: {}", names.join(", "))));
                }
                return None;
            }
            [first, second, ..] => {
                let fault = Diagnostic::error(second.0.span, "a step has one verb, and this is its second");
                faults.push(fault.also(first.0.span, "the first").help("make it two steps"));
                return None;
            }
        };
        let mut reading = Reading::begin(node, &STEP, at, faults)?;
        let reading_id = reading.text("id");
        let name = reading.text("name");
        let when = reading.text("when");
        let if_unknown = reading.text("if_unknown");
        let timeout = reading.param("timeout");
        let for_each = reading.texts("for_each");
        if for_each.is_empty()
            && let Some(NodeKind::List(_)) = reading.node("for_each").map(|node| &node.kind)
        {
            let place = reading.node("for_each").map_or(at, |node| node.span);
            reading.faults().push(
                Diagnostic::error(place, "`for_each` names no item").help("leave it out, or list items"),
            );
        }
        let on_failure = reading.text("on_failure");
        let always = reading.truth("always").unwrap_or(false);
        let cure = reading.truth("cure").unwrap_or(false);
        let abort_when = reading.text("abort_when");
        let (gate, retry) = (reading.node("gate"), reading.node("retry"));
        let gate = gate.map_or(GateSpec::Unsaid, |node| GateSpec::read(node, faults));
        let retry = retry.and_then(|node| RetrySpec::read(node, faults));
        let body = BodySpec::read(key, value, map, rung, faults)?;
        let id = match (&body, reading_id) {
            (_, Some(id)) => id,
            (BodySpec::Include(include), None) => include.runbook.clone(),
            (_, None) => Spanned::new(key.value.replace('_', "-"), key.span),
        };
        Some(Self {
            id,
            name,
            when,
            if_unknown,
            gate,
            timeout,
            retry,
            for_each,
            on_failure,
            always,
            cure,
            abort_when,
            body,
            span: at,
        })
    }
}

impl BodySpec {
    fn read(
        key: &Spanned<String>,
        value: &Node,
        step: Map<'_>,
        rung: bool,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        Some(if key.value == "ladder" {
            if rung {
                faults.push(Diagnostic::error(key.span, "a rung is not a ladder itself"));
                return None;
            }
            Self::Ladder(LadderSpec::read(value, key.span, faults)?)
        } else if key.value == "include" {
            if rung {
                let fault = Diagnostic::error(key.span, "a rung is one verb: it includes no runbook");
                faults.push(fault.help("write its steps as rungs"));
                return None;
            }
            IncludeSpec::refuse_header(step, faults);
            Self::Include(IncludeSpec::read(value, key.span, faults)?)
        } else {
            let entry = VERBS.iter().find(|entry| entry.name == key.value)?;
            Self::Verb(VerbSpec { entry, node: value.clone(), at: key.span })
        })
    }
}

fn unknown_key(key: &Spanned<String>, header: &[&str]) -> Diagnostic {
    let verbs = || VERBS.iter().map(|entry| entry.name).chain(["ladder", "include"]);
    let fault =
        Diagnostic::error(key.span, format!("unknown verb or key `{}`", crate::source::escape_controls(key)));
    match did_you_mean(key, verbs().chain(header.iter().copied())) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault.help(format!("verbs: {}", verbs().collect::<Vec<_>>().join(", "))),
    }
}

impl GateSpec {
    fn read(node: &Node, faults: &mut Vec<Diagnostic>) -> Self {
        let Some(mut reading) = Reading::begin(node, &GATE, node.span, faults) else { return Self::Unsaid };
        let off = reading.text("none");
        let (before, after) = (reading.node("before"), reading.node("after"));
        let plain = reading.node("until").is_some();
        let stray =
            [reading.node("for"), reading.node("within"), reading.node("early")].into_iter().flatten().next();
        let forms = [plain, after.is_some(), off.is_some()].into_iter().filter(|form| *form).count();
        if forms > 1 || (plain && before.is_some()) {
            let fault = Diagnostic::error(
                node.span,
                "a gate is one condition, or `before` and `after`, or `none` with a reason",
            );
            faults.push(fault.help("write `gate: { before: { until: … }, after: { until: … } }` for two"));
            return Self::Unsaid;
        }
        if plain {
            return Self::Set { before: None, after: AfterText::Own(GateText::read(node, faults)) };
        }
        if let Some(stray) = stray {
            let fault = Diagnostic::error(stray.span, "this belongs to a condition, and stands beside one");
            faults.push(fault.help("write it inside: `before: { until: …, for: …, within: … }`"));
        }
        if before.is_none() && forms == 0 {
            if matches!(&node.kind, NodeKind::Map(entries) if entries.is_empty()) {
                faults.push(Diagnostic::error(node.span, "this gate says nothing").help(GATE.usage()));
            }
            return Self::Unsaid;
        }
        let after = match (after, off) {
            (Some(node), _) => AfterText::Own(GateText::read(node, faults)),
            (None, Some(reason)) => AfterText::Off(reason),
            (None, None) => AfterText::Unsaid,
        };
        Self::Set { before: before.and_then(|node| GateText::read(node, faults)), after }
    }
}

impl GateText {
    fn read(node: &Node, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &PLAIN_GATE, node.span, faults)?;
        let until = reading.text("until");
        if until.is_none() && matches!(node.kind, NodeKind::Map(_)) && reading.node("until").is_none() {
            let place = reading.span;
            reading
                .faults()
                .push(Diagnostic::error(place, "the key `until` is missing here").help(PLAIN_GATE.usage()));
        }
        Some(Self {
            until: until?,
            hold: reading.param("for"),
            within: reading.param("within"),
            early: reading.truth("early").unwrap_or(true),
        })
    }
}

impl RetrySpec {
    fn read(node: &Node, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &RETRY, node.span, faults)?;
        Some(Self {
            times: reading.param("times")?,
            delay: reading.param("delay"),
            backoff: reading.text("backoff"),
        })
    }
}

impl IncludeSpec {
    /// Its steps have headers of their own.
    fn refuse_header(map: Map<'_>, faults: &mut Vec<Diagnostic>) {
        for (key, _) in map.entries() {
            if !["id", "name", "include"].contains(&key.value.as_str()) {
                let text = format!("`{}` has no meaning for `include`", key.value);
                let fault = Diagnostic::error(key.span, text);
                faults.push(
                    fault.help("the steps of the other runbook have their own; it may have an input for it"),
                );
            }
        }
    }

    fn read(node: &Node, at: Span, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &INCLUDE, at, faults)?;
        let runbook = reading.text("runbook");
        let mut with = Vec::new();
        match reading.node("with").map(|node| node.map("a map of inputs")) {
            Some(Ok(map)) => {
                for (name, value) in map.entries() {
                    match &value.kind {
                        NodeKind::Text(text) => {
                            with.push((name.clone(), Spanned::new(text.value.clone(), value.span)));
                        }
                        _ => faults.push(value.mismatch("one value")),
                    }
                }
            }
            Some(Err(fault)) => faults.push(fault),
            None => {}
        }
        Some(Self { runbook: runbook?, with, at })
    }
}

impl LadderSpec {
    pub(super) fn read(node: &Node, at: Span, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &LADDER, at, faults)?;
        let until = reading.text("until");
        let hold = reading.param("for");
        let within = reading.param("within");
        let early = reading.truth("early").unwrap_or(true);
        let rungs = reading.node("rungs");
        let items = match rungs.map(|node| node.list("a list of steps")) {
            Some(Ok(items)) => items,
            Some(Err(fault)) => {
                faults.push(fault);
                return None;
            }
            None => return None,
        };
        if items.is_empty() {
            faults.push(Diagnostic::error(at, "a ladder needs a rung"));
        }
        let rungs: Vec<_> = items.iter().filter_map(|item| StepSpec::read(item, true, faults)).collect();
        for rung in &rungs {
            if rung.always || !rung.for_each.is_empty() {
                faults.push(Diagnostic::error(rung.span, "a rung has neither `always` nor `for_each`"));
            }
            if let Some(text) = &rung.on_failure {
                let fault = Diagnostic::error(text.span, "a rung has no `on_failure`");
                faults.push(fault.help("a rung that fails passes to the next one at once"));
            }
        }
        Some(Self { gate: GateText { until: until?, hold, within, early }, rungs, at })
    }
}
