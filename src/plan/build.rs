//! From a runbook's text and a record to a plan: binds inputs, checks every reference, fills in defaults. Pure, and the
//! same record always gives the same plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::model::{
    AfterGate, Body, Bound, Gate, IfUnknown, Ladder, OnFailure, Plan, PlanRecord, Retry, Selection, Step,
};
use super::scope::Names;
use crate::action::{Action, Bindings, Param, Rollback};
use crate::expr::{Expr, Template};
use crate::health::{Unit, Value};
use crate::source::{Diagnostic, Severity, Source, Span, Spanned, did_you_mean};
use crate::spec::{
    BodySpec, GateSpec, GateText, InputSpec, LadderSpec, Runbook, StepSpec, VerbSpec, read_leniently,
};

/// The default gate's patience.
const DEFAULT_GATE: Duration = Duration::from_secs(120);
/// What healthy means when the file says nothing; `live` is always added.
const HEALTHY: &str = "usage < 40% and refused == 0";
/// Patience of a remedy's gate.
const REMEDY_GATE: Duration = Duration::from_secs(180);

/// A runbook that was checked without a target.
#[derive(Debug)]
pub struct Checked {
    /// As read.
    pub runbook: Runbook,
    /// Its steps, bound to defaults.
    pub plan: Plan,
    /// What is not wrong, but should be known.
    pub warnings: Vec<Diagnostic>,
}

/// Checks a runbook without a target; every fault at once.
///
/// # Errors
/// The faults, warnings among them.
pub fn check(source: &Source) -> Result<Checked, Vec<Diagnostic>> {
    let (runbook, mut faults) = read_leniently(source);
    let Some(runbook) = runbook else { return Err(faults) };
    let inputs = runbook.inputs.iter().map(|input| {
        (input.name.value.clone(), Bound { value: input.specimen(), origin: "specimen".to_owned() })
    });
    let record = PlanRecord {
        tool: String::new(),
        runbook: runbook.name.value.clone(),
        source: source.name.to_string(),
        text: source.text.to_string(),
        inputs: inputs.collect(),
        selection: Selection::default(),
        target: super::model::Target::default(),
        deadline_ms: None,
    };
    let plan = assemble(&runbook, record, &mut faults);
    if faults.iter().any(|fault| fault.severity == Severity::Error) {
        return Err(faults);
    }
    Ok(Checked { runbook, plan, warnings: faults })
}

/// Builds the plan of a record.
///
/// # Errors
/// Every fault of the text, each with its place.
pub fn build(record: PlanRecord) -> Result<Plan, Vec<Diagnostic>> {
    let source = Source::new(record.source.as_str(), record.text.as_str());
    let (runbook, mut faults) = read_leniently(&source);
    let Some(runbook) = runbook else { return Err(faults) };
    let plan = assemble(&runbook, record, &mut faults);
    if faults.iter().any(|fault| fault.severity == Severity::Error) { Err(faults) } else { Ok(plan) }
}

/// The plan's id: a hash of everything that makes it.
fn id_of(record: &PlanRecord) -> String {
    let canonical = serde_json::to_vec(record).unwrap_or_default();
    let digest = Sha256::digest(&canonical);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assemble(runbook: &Runbook, record: PlanRecord, faults: &mut Vec<Diagnostic>) -> Plan {
    let mut builder = Builder::new(runbook, &record, faults);
    let healthy = builder.healthy(runbook);
    let every = builder.duration(runbook.every.clone(), Duration::from_secs(1));
    if let Some(param) = &runbook.every
        && (every < Duration::from_millis(200) || every > Duration::from_secs(60))
    {
        builder.faults.push(Diagnostic::error(param.text.span, "samples are taken every 200ms to 60s"));
    }
    let told = runbook.deadline.clone().map(|deadline| builder.duration(Some(deadline), Duration::MAX));
    let mut steps = builder.steps(&runbook.steps);
    for text in &runbook.when_shut {
        let names = builder.names.clone();
        builder.text(text, &names);
    }
    let when_shut = runbook.when_shut.iter().map(|text| builder.fill(text)).collect();
    builder.unused(runbook);
    select(&mut steps, &record.selection);
    let asked = record.deadline_ms.map(Duration::from_millis);
    let deadline = [told, asked].into_iter().flatten().min();
    Plan {
        id: id_of(&record),
        summary: runbook.summary.clone(),
        every: every.clamp(Duration::from_millis(200), Duration::from_secs(60)),
        healthy: Arc::new(healthy),
        steps,
        deadline,
        when_shut,
        record,
    }
}

struct Builder<'f> {
    names: Names,
    bindings: Bindings,
    ids: BTreeMap<String, Span>,
    used: BTreeSet<String>,
    faults: &'f mut Vec<Diagnostic>,
}

impl<'f> Builder<'f> {
    fn new(runbook: &Runbook, record: &PlanRecord, faults: &'f mut Vec<Diagnostic>) -> Self {
        let mut names = Names::with_metrics();
        let mut bindings = Bindings::default();
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        for input in &runbook.inputs {
            if let Some(first) = seen.insert(&input.name.value, input.name.span) {
                faults.push(
                    Diagnostic::error(input.name.span, "this input is declared twice")
                        .also(first, "first here"),
                );
            }
            let path = format!("inputs.{}", input.name.value);
            names.add(path.clone(), input.unit());
            if let Some(bound) = record.inputs.get(&input.name.value) {
                bindings.values.insert(path, bound.value.clone());
            }
        }
        for step in &runbook.steps {
            names.expect(&step.id.value);
        }
        Self { names, bindings, ids: BTreeMap::new(), used: BTreeSet::new(), faults }
    }

    fn healthy(&mut self, runbook: &Runbook) -> Expr {
        let live = Expr::parse("live").ok();
        let written = runbook.healthy.as_ref().and_then(|text| {
            let names = self.names.clone();
            let expr = self.condition(text, &names)?;
            if expr.names().contains(&"healthy") {
                self.faults.push(Diagnostic::error(text.span, "`healthy` cannot be explained by itself"));
            }
            Some(expr)
        });
        let expr = written.or_else(|| Expr::parse(HEALTHY).ok());
        match (expr, live) {
            (Some(expr), Some(live)) if !expr.names().contains(&"live") => expr.and(&live),
            (Some(expr), _) => expr,
            // Both texts above are constants that parse; `false` keeps a gate shut should that ever change.
            (None, Some(live)) => live,
            (None, None) => unreachable_condition(),
        }
    }

    fn steps(&mut self, specs: &[StepSpec]) -> Vec<Step> {
        let mut steps = Vec::new();
        for spec in specs {
            if spec.for_each.is_empty() {
                steps.extend(self.step(spec, None, false));
            } else {
                for (index, item) in spec.for_each.iter().enumerate() {
                    steps.extend(self.step(spec, Some((index + 1, item)), false));
                }
            }
        }
        steps
    }

    fn step(&mut self, spec: &StepSpec, item: Option<(usize, &Spanned<String>)>, rung: bool) -> Option<Step> {
        let id = match item {
            Some((number, _)) => format!("{}-{number}", spec.id.value),
            None => spec.id.value.clone(),
        };
        if item.is_none_or(|(number, _)| number == 1) {
            self.check_id(&spec.id);
        }
        self.ids.insert(id.clone(), spec.id.span);
        let names = self.names.clone();
        if let Some((_, item)) = item {
            self.names.add("item".to_owned(), Unit::Text);
            self.bindings.values.insert("item".to_owned(), Value::Text(item.value.clone()));
        }
        let step = self.step_body(spec, id, rung);
        let outputs = std::mem::replace(&mut self.names, names);
        self.bindings.values.remove("item");
        let _ = outputs;
        if let BodySpec::Verb(verb) = &spec.body {
            let id = step.as_ref().map_or(&spec.id.value, |step| &step.id);
            for output in verb.entry.outputs {
                self.names.add(format!("steps.{id}.{}", output.name), output.unit);
            }
        }
        if let BodySpec::Ladder(ladder) = &spec.body {
            for rung in &ladder.rungs {
                if let BodySpec::Verb(verb) = &rung.body {
                    for output in verb.entry.outputs {
                        self.names.add(format!("steps.{}.{}", rung.id.value, output.name), output.unit);
                    }
                }
            }
        }
        step
    }

    fn step_body(&mut self, spec: &StepSpec, id: String, rung: bool) -> Option<Step> {
        let names = self.names.clone();
        let when = spec.when.as_ref().and_then(|text| self.condition(text, &names));
        let abort_when = spec.abort_when.as_ref().and_then(|text| self.condition(text, &names));
        let if_unknown = self.if_unknown(spec);
        let on_failure = self.on_failure(spec, rung);
        let retry = self.retry(spec);
        let (body, mutates, patience, deploys) = match &spec.body {
            BodySpec::Verb(verb) => {
                let action = self.verb(verb)?;
                let (mutates, patience) = (action.mutates(), action.patience());
                (Body::Verb(Arc::from(action)), mutates, patience, verb.entry.name == "deploy")
            }
            BodySpec::Ladder(ladder) => (Body::Ladder(self.ladder(ladder)), false, Duration::MAX, false),
        };
        if on_failure == OnFailure::Rollback && !deploys {
            let place = spec.on_failure.as_ref().map_or(spec.span, |text| text.span);
            let fault = Diagnostic::error(place, "`rollback` takes a release back, and this step makes none");
            self.faults.push(fault.help("it belongs to a `deploy` step"));
        }
        let (before, after) = self.gates(spec, mutates, rung);
        let timeout = match &spec.timeout {
            Some(timeout) => self.duration(Some(timeout.clone()), patience),
            None => patience,
        };
        if let Some(param) = &spec.timeout
            && timeout.is_zero()
        {
            self.faults
                .push(Diagnostic::error(param.text.span, "a timeout of zero leaves no time for anything"));
        }
        let remedy = (on_failure == OnFailure::Rollback).then(|| Box::new(self.remedy(&id)));
        let name = match &spec.name {
            Some(name) => {
                self.text(name, &names);
                self.fill(name)
            }
            None => id.clone(),
        };
        Some(Step {
            name,
            id,
            when: when.map(Arc::new),
            if_unknown,
            before,
            after,
            abort_when: abort_when.map(Arc::new),
            timeout,
            retry,
            on_failure,
            remedy,
            always: spec.always,
            left_out: None,
            bindings: Arc::new(self.bindings.clone()),
            body,
        })
    }

    fn check_id(&mut self, id: &Spanned<String>) {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.is_empty() || !id.chars().all(good) || id.starts_with('-') {
            let fault = Diagnostic::error(id.span, format!("`{}` is no id for a step", id.value));
            self.faults.push(fault.help("use small letters, digits and `-`, not beginning with `-`"));
        }
        if let Some(first) = self.ids.get(&id.value) {
            let fault = Diagnostic::error(id.span, format!("two steps are called `{}`", id.value));
            self.faults.push(fault.also(*first, "the first").help("give this one an `id` of its own"));
        }
    }

    fn verb(&mut self, verb: &VerbSpec) -> Option<Box<dyn Action>> {
        let mut action = (verb.entry.read)(&verb.node, verb.at, self.faults)?;
        let faults = action.bind(&self.bindings);
        self.faults.extend(faults);
        self.use_templates(&verb.node);
        let names = self.names.clone();
        let texts: Vec<Spanned<String>> = action.texts().into_iter().cloned().collect();
        for text in texts {
            self.text(&text, &names);
            if text.value.starts_with('-') && verb.entry.name != "run" {
                self.faults.push(Diagnostic::error(
                    text.span,
                    "a text that begins with `-` could be taken for an option",
                ));
            }
        }
        if let Some(awaits) = action.awaits() {
            let until = awaits.until.clone();
            self.condition(&until, &names);
        }
        Some(action)
    }

    /// Notes the inputs that a verb's parameters name.
    fn use_templates(&mut self, node: &crate::source::Node) {
        match &node.kind {
            crate::source::NodeKind::Text(text) => {
                if let Ok(template) = Template::parse(&text.value) {
                    self.used.extend(template.names().map(str::to_owned));
                }
            }
            crate::source::NodeKind::List(items) => items.iter().for_each(|item| self.use_templates(item)),
            crate::source::NodeKind::Map(entries) => {
                for (_, value) in entries {
                    self.use_templates(value);
                }
            }
            crate::source::NodeKind::Nothing => {}
        }
    }

    fn ladder(&mut self, spec: &LadderSpec) -> Ladder {
        let gate = self.gate(&spec.gate, Duration::from_secs(20), Duration::from_secs(60));
        let rungs = spec.rungs.iter().filter_map(|rung| self.step(rung, None, true)).collect();
        let gate = gate.unwrap_or_else(|| Gate {
            until: Arc::new(unreachable_condition()),
            hold: Duration::ZERO,
            within: Duration::ZERO,
        });
        Ladder { gate, rungs }
    }

    fn gates(&mut self, spec: &StepSpec, mutates: bool, rung: bool) -> (Option<Gate>, AfterGate) {
        let default = if mutates && !rung { AfterGate::Default(DEFAULT_GATE) } else { AfterGate::NotNeeded };
        match &spec.gate {
            GateSpec::Unsaid => (None, default),
            GateSpec::Off(reason) => {
                if reason.trim().len() < 3 {
                    let fault = Diagnostic::error(reason.span, "switching a gate off needs a reason");
                    self.faults.push(fault.help("the plan shows it to whoever confirms: write a sentence"));
                }
                (None, AfterGate::None(reason.value.clone()))
            }
            GateSpec::Set { before, after } => {
                let before = before.as_ref().and_then(|gate| self.gate(gate, Duration::ZERO, DEFAULT_GATE));
                let after = match after.as_ref().map(|gate| self.gate(gate, Duration::ZERO, DEFAULT_GATE)) {
                    Some(Some(gate)) => AfterGate::Own(gate),
                    Some(None) | None => default,
                };
                (before, after)
            }
        }
    }

    fn gate(&mut self, spec: &GateText, hold: Duration, within: Duration) -> Option<Gate> {
        let names = self.names.clone();
        let until = self.condition(&spec.until, &names);
        let hold = self.duration(spec.hold.clone(), hold);
        let patience = self.duration(spec.within.clone(), within);
        let place =
            spec.hold.as_ref().or(spec.within.as_ref()).map_or(spec.until.span, |param| param.text.span);
        if patience.is_zero() {
            self.faults.push(Diagnostic::error(place, "`within` of zero can never hold"));
        } else if hold >= patience {
            let fault =
                Diagnostic::error(place, "`for` does not fit into `within`: this can never hold in time");
            self.faults.push(fault.help("make `within` longer than `for`"));
        }
        Some(Gate { until: Arc::new(until?), hold, within: patience })
    }

    fn if_unknown(&mut self, spec: &StepSpec) -> IfUnknown {
        let Some(text) = &spec.if_unknown else { return IfUnknown::default() };
        if spec.when.is_none() {
            self.faults.push(Diagnostic::error(text.span, "`if_unknown` explains `when`, and there is none"));
        }
        match text.value.as_str() {
            "run" => IfUnknown::Run,
            "skip" => IfUnknown::Skip,
            "stop" => IfUnknown::Stop,
            _ => {
                self.faults.push(crate::source::unknown(text, crate::spec::IF_UNKNOWN, "word"));
                IfUnknown::Stop
            }
        }
    }

    fn on_failure(&mut self, spec: &StepSpec, rung: bool) -> OnFailure {
        let Some(text) = &spec.on_failure else { return OnFailure::Stop };
        if rung {
            let fault = Diagnostic::error(
                text.span,
                "a rung that fails passes to the next one: it has no `on_failure`",
            );
            self.faults.push(fault);
        }
        match text.value.as_str() {
            "stop" => OnFailure::Stop,
            "continue" => OnFailure::Continue,
            "rollback" => OnFailure::Rollback,
            _ => {
                self.faults.push(crate::source::unknown(text, crate::spec::ON_FAILURE, "word"));
                OnFailure::Stop
            }
        }
    }

    fn retry(&mut self, spec: &StepSpec) -> Option<Retry> {
        let retry = spec.retry.as_ref()?;
        let mut times = retry.times.clone();
        times.bind_within(&self.bindings, &(1..=10), self.faults);
        let backoff = match &retry.backoff {
            None => 2.0,
            Some(text) => match crate::expr::units::parse_number(text) {
                Ok(factor) if (1.0..=10.0).contains(&factor) => factor,
                _ => {
                    self.faults
                        .push(Diagnostic::error(text.span, "a back-off factor is a number from 1 to 10"));
                    2.0
                }
            },
        };
        let delay = self.duration(retry.delay.clone(), Duration::from_secs(1));
        Some(Retry { times: u32::try_from(times.or(1)).unwrap_or(1), delay, backoff })
    }

    /// The step that takes a release back: live again, or said not to be.
    fn remedy(&self, id: &str) -> Step {
        let live = Expr::parse("live").unwrap_or_else(|_| unreachable_condition());
        let action: Arc<dyn Action> = Arc::new(Rollback::remedy());
        Step {
            id: format!("{id}-rollback"),
            name: format!("take back what {id} released"),
            when: None,
            if_unknown: IfUnknown::default(),
            before: None,
            after: AfterGate::Own(Gate {
                until: Arc::new(live),
                hold: Duration::from_secs(3),
                within: REMEDY_GATE,
            }),
            abort_when: None,
            timeout: action.patience(),
            retry: None,
            on_failure: OnFailure::Stop,
            remedy: None,
            always: false,
            left_out: None,
            bindings: Arc::new(self.bindings.clone()),
            body: Body::Verb(action),
        }
    }

    fn duration(&mut self, param: Option<Param<Duration>>, default: Duration) -> Duration {
        let Some(mut param) = param else { return default };
        self.used.extend(crate::action::sole_template(&param.text).map(str::to_owned));
        param.bind(&self.bindings, self.faults);
        param.or(default)
    }

    /// Parses and checks a condition; faults are put at their place in the file.
    fn condition(&mut self, text: &Spanned<String>, names: &Names) -> Option<Expr> {
        match Expr::parse(text) {
            Ok(expr) => {
                self.used.extend(expr.names().into_iter().map(str::to_owned));
                let faults = expr.check(names);
                let good = faults.is_empty();
                self.faults.extend(faults.into_iter().map(|fault| placed(fault, text)));
                good.then(|| expr.bound(&self.bindings))
            }
            Err(faults) => {
                self.faults.extend(faults.into_iter().map(|fault| placed(fault, text)));
                None
            }
        }
    }

    /// Checks the templates of a text.
    fn text(&mut self, text: &Spanned<String>, names: &Names) {
        match Template::parse(text) {
            Ok(template) => {
                self.used.extend(template.names().map(str::to_owned));
                self.faults.extend(template.check(names).into_iter().map(|fault| placed(fault, text)));
            }
            Err(faults) => self.faults.extend(faults.into_iter().map(|fault| placed(fault, text))),
        }
    }

    fn fill(&self, text: &str) -> String {
        Template::parse(text).map_or_else(|_| text.to_owned(), |template| template.fill(&self.bindings))
    }

    fn unused(&mut self, runbook: &Runbook) {
        for input in &runbook.inputs {
            if !self.used.contains(&format!("inputs.{}", input.name.value)) {
                let fault = Diagnostic::error(
                    input.name.span,
                    format!("nothing uses the input `{}`", input.name.value),
                );
                self.faults.push(fault.warning());
            }
        }
    }
}

/// A fault inside a text, put at its place in the file; when the text is not there letter by letter, at the whole.
fn placed(mut fault: Diagnostic, text: &Spanned<String>) -> Diagnostic {
    let verbatim = text.span.end.saturating_sub(text.span.start) == text.value.len();
    let place = |span: Span| if verbatim { span.shifted(text.span.start) } else { text.span };
    fault.span = place(fault.span);
    for (span, _) in &mut fault.also {
        *span = place(*span);
    }
    fault
}

/// A condition that never holds: stands where a faulty one was, in a plan that is never used.
fn unreachable_condition() -> Expr {
    Expr::never()
}

/// Marks the steps that a selection leaves out.
fn select(steps: &mut [Step], selection: &Selection) {
    let mut reached = selection.from.is_none();
    for step in steps.iter_mut() {
        reached = reached || selection.from.as_ref() == Some(&step.id);
        let why = if selection.skip.contains(&step.id) {
            Some("--skip".to_owned())
        } else if !reached && !step.always {
            selection.from.as_ref().map(|from| format!("--from {from}"))
        } else if !selection.only.is_empty() && !selection.only.contains(&step.id) && !step.always {
            Some("--only names others".to_owned())
        } else {
            None
        };
        step.left_out = why;
        if let Body::Ladder(ladder) = &mut step.body {
            for rung in &mut ladder.rungs {
                rung.left_out = selection.skip.contains(&rung.id).then(|| "--skip".to_owned());
            }
        }
    }
}

/// Checks that the steps a selection names exist.
///
/// # Errors
/// The name, with a suggestion.
pub fn check_selection(plan: &Plan, selection: &Selection) -> Result<(), String> {
    let mut known: Vec<&str> = Vec::new();
    let mut rungs: Vec<&str> = Vec::new();
    for step in &plan.steps {
        known.push(&step.id);
        if let Body::Ladder(ladder) = &step.body {
            rungs.extend(ladder.rungs.iter().map(|rung| rung.id.as_str()));
        }
    }
    let named = selection.from.iter().chain(&selection.only).map(|id| (id, false));
    for (id, may_be_rung) in named.chain(selection.skip.iter().map(|id| (id, true))) {
        if known.contains(&id.as_str()) || (may_be_rung && rungs.contains(&id.as_str())) {
            continue;
        }
        let near = did_you_mean(id, known.iter().copied())
            .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(format!("the runbook has no step `{id}`{near} (steps: {})", known.join(", ")));
    }
    Ok(())
}

/// Binds the inputs: defaults, and `--set name=value`. Every fault at once.
///
/// # Errors
/// Sentences for the command line.
pub fn bind_inputs(
    specs: &[InputSpec],
    set: &[(String, String)],
) -> Result<BTreeMap<String, Bound>, Vec<String>> {
    let mut faults = Vec::new();
    let mut inputs = BTreeMap::new();
    for (name, _) in set {
        if !specs.iter().any(|spec| spec.name.value == *name) {
            let known: Vec<&str> = specs.iter().map(|spec| spec.name.value.as_str()).collect();
            let help = match did_you_mean(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("it has: {}", known.join(", ")),
            };
            faults.push(format!("--set {name}: the runbook has no such input; {help}"));
        }
    }
    for spec in specs {
        let name = &spec.name.value;
        let given = set.iter().rev().find(|(key, _)| key == name);
        let (text, origin) = match (given, &spec.default) {
            (Some((_, text)), _) => (text.clone(), "--set"),
            (None, Some(default)) => (default.value.clone(), "default"),
            (None, None) => {
                faults.push(format!("the input `{name}` must be set: --set {name}=…, {}", spec.takes()));
                continue;
            }
        };
        match spec.parse(&text) {
            Ok(value) => {
                inputs.insert(name.clone(), Bound { value, origin: origin.to_owned() });
            }
            Err(why) => faults.push(format!("--set {name}: {why}")),
        }
    }
    if faults.is_empty() { Ok(inputs) } else { Err(faults) }
}
