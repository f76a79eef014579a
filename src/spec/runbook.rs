//! A whole runbook.

use std::time::Duration;

use super::after_care::{AFTER_CARE, AfterCareSpec};
use super::notify::{SINK, SinkSpec};
use super::step::StepSpec;
use crate::action::{INPUT, InputSpec, Kind, Param, Reading, Shape, optional, required};
use crate::guard::{self, Guardrails};
use crate::source::{Diagnostic, Source, Span, Spanned, yaml};

/// The version of the format that this tool reads.
const FORMAT: &str = "1";

/// A runbook as its file says it.
#[derive(Debug)]
pub struct Runbook {
    /// Its name.
    pub name: Spanned<String>,
    /// One line for `list`.
    pub summary: String,
    /// More, for `explain`.
    pub about: Option<String>,
    /// Inputs.
    pub inputs: Vec<InputSpec>,
    /// Interval of samples.
    pub every: Option<Param<Duration>>,
    /// What healthy means.
    pub healthy: Option<Spanned<String>>,
    /// It says that its steps only look.
    pub only_looks: bool,
    /// Overall deadline.
    pub deadline: Option<Param<Duration>>,
    /// What to do when a gate stayed shut.
    pub when_shut: Vec<Spanned<String>>,
    /// What it tightens besides the team's guardrails.
    pub guardrails: Guardrails,
    /// Who is told of a run.
    pub notify: Vec<SinkSpec>,
    /// Its steps.
    pub steps: Vec<StepSpec>,
    /// What it keeps watching for after them.
    pub after_care: Option<AfterCareSpec>,
}

/// The health section.
pub(super) const HEALTH: Shape = Shape {
    name: "health",
    fields: &[
        optional("every", Kind::Duration, "Interval of samples, 200ms to 60s. Default: 1s."),
        optional(
            "healthy",
            Kind::Condition,
            "What `healthy` means in this runbook; `live` is always part of it. Default: `usage < 40% and refused == 0`.",
        ),
    ],
    short: None,
    empty: true,
    open: false,
};

/// The file's shape.
pub(super) const RUNBOOK: Shape = Shape {
    name: "runbook",
    fields: &[
        required("runbook", Kind::Word(&[FORMAT]), "Version of the format."),
        required("name", Kind::Text, "The name that `runbook run NAME` takes; also the file's name."),
        required("summary", Kind::Text, "One line for `runbook list`."),
        optional("about", Kind::Text, "More, for `runbook explain`."),
        optional("inputs", Kind::Named(&INPUT), "Typed inputs, set with `--set name=value`."),
        optional("health", Kind::Map(&HEALTH), "How health is sampled and what it means."),
        optional(
            "only_looks",
            Kind::Flag,
            "Its steps only look: a run takes no lock, so that it never stands in the way of a cure, and needs no agreement. A step that could change anything is refused. Default: false.",
        ),
        optional("deadline", Kind::Duration, "The whole run's deadline; `--deadline` may tighten it."),
        optional(
            "when_shut",
            Kind::Texts,
            "What to do next when the run ends with a gate shut (exit 4), each a line.",
        ),
        optional(
            "guardrails",
            Kind::Map(&guard::RUNBOOK_PART),
            "Bounds of its own, besides the team's (see docs/guardrails.md): it may tighten, never loosen.",
        ),
        optional(
            "notify",
            Kind::Maps(&SINK),
            "Who is told of a run, and of what. Secrets are named by their variables (see docs/notify.md).",
        ),
        required("steps", Kind::Steps, "The steps, in order."),
        optional(
            "after_care",
            Kind::Map(&AFTER_CARE),
            "What is watched when every step has succeeded, and what is done when health falls (see docs/gates.md).",
        ),
    ],
    short: None,
    empty: false,
    open: false,
};

/// Reads a runbook's text. Every fault of its shape is reported, each with its place.
///
/// # Errors
/// The faults.
pub fn read(source: &Source) -> Result<Runbook, Vec<Diagnostic>> {
    let node = yaml::read(source)?;
    let mut faults = Vec::new();
    let runbook = read_tree(source, &node, &mut faults);
    match runbook {
        Some(runbook) if faults.is_empty() => Ok(runbook),
        _ => Err(faults),
    }
}

/// As [`read`], but gives what could be read beside the faults, so that faults of meaning are found in the same go.
pub(crate) fn read_leniently(source: &Source) -> (Option<Runbook>, Vec<Diagnostic>) {
    match yaml::read(source) {
        Ok(node) => {
            let mut faults = Vec::new();
            let runbook = read_tree(source, &node, &mut faults);
            (runbook, faults)
        }
        Err(faults) => (None, faults),
    }
}

pub(super) fn read_tree(
    source: &Source,
    node: &crate::source::Node,
    faults: &mut Vec<Diagnostic>,
) -> Option<Runbook> {
    let head = node.map("a runbook").map_or(Span::default(), |map| map.head());
    let mut reading = Reading::begin(node, &RUNBOOK, head, faults)?;
    if let Some(version) = reading.text("runbook")
        && version.value != FORMAT
    {
        let fault =
            Diagnostic::error(version.span, format!("format version `{}` is not known", version.value));
        reading.faults().push(fault.help(format!(
            "this tool reads version {FORMAT}: write `runbook: {FORMAT}`, or use a newer tool"
        )));
        return None;
    }
    let name = reading.text("name").unwrap_or_default();
    let summary = reading.text("summary").unwrap_or_default();
    if summary.trim().contains('\n') {
        let fault = Diagnostic::error(summary.span, "the summary is one line");
        reading.faults().push(fault.help("`about` may be longer; `runbook explain` shows it"));
    }
    let summary = summary.value.trim().to_owned();
    let about = reading.text("about").map(|text| text.value);
    let deadline = reading.param("deadline");
    let only_looks = reading.node("only_looks").is_some() && reading.truth("only_looks").unwrap_or(false);
    let when_shut = reading.texts("when_shut");
    let (inputs, health, steps) = (reading.node("inputs"), reading.node("health"), reading.node("steps"));
    let guardrails = reading.node("guardrails");
    let after_care = reading.node("after_care");
    let sinks = reading.node("notify");
    let mut read_inputs = Vec::new();
    match inputs.map(|node| node.map("a map of inputs")) {
        Some(Ok(map)) => {
            read_inputs =
                map.entries().iter().filter_map(|(name, node)| InputSpec::read(name, node, faults)).collect();
        }
        Some(Err(fault)) => faults.push(fault),
        None => {}
    }
    let guardrails =
        guardrails.map_or_else(Guardrails::default, |node| guard::read_part(source, node, faults));
    let (mut every, mut healthy) = (None, None);
    if let Some(mut reading) = health.and_then(|node| Reading::begin(node, &HEALTH, node.span, faults)) {
        every = reading.param("every");
        healthy = reading.text("healthy");
    }
    let notify = match sinks.map(|node| node.list("a list of sinks")) {
        Some(Ok(items)) => items.iter().filter_map(|item| SinkSpec::read(item, faults)).collect(),
        Some(Err(fault)) => {
            faults.push(fault.help("write `notify: [{ slack: RUNBOOK_SECRET_SLACK }]`"));
            Vec::new()
        }
        None => Vec::new(),
    };
    let mut read_steps = Vec::new();
    match steps.map(|node| node.list("a list of steps")) {
        Some(Ok([])) => faults.push(Diagnostic::error(head, "a runbook needs a step")),
        Some(Ok(items)) => {
            read_steps = items.iter().filter_map(|item| StepSpec::read(item, false, faults)).collect();
        }
        Some(Err(fault)) => faults.push(fault),
        None => {}
    }
    let after_care = after_care.and_then(|node| AfterCareSpec::read(node, faults));
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.is_empty() && (!name.chars().all(good) || name.starts_with('-')) {
        let fault = Diagnostic::error(name.span, format!("`{}` is no name for a runbook", name.value));
        faults.push(fault.help("use small letters, digits and `-`"));
    }
    Some(Runbook {
        name,
        summary,
        about,
        inputs: read_inputs,
        every,
        healthy,
        only_looks,
        deadline,
        when_shut,
        guardrails,
        notify,
        steps: read_steps,
        after_care,
    })
}
