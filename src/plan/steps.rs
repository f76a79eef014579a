//! The steps of a plan: every reference resolved, every gate that a step needs, every fault at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::include::Along;
use super::model::{AfterGate, Body, Gate, IfUnknown, Ladder, OnFailure, PlanRecord, Retry, Step};
use super::scope::Names;
use crate::action::{Action, Bindings, KillLimits, Param, Rollback};
use crate::expr::Scope;
use crate::expr::units::write_duration;
use crate::expr::{Expr, Template};
use crate::health::{Metric, Unit, Value};
use crate::source::{Diagnostic, Span, Spanned};
use crate::spec::{AfterText, BodySpec, GateSpec, GateText, LadderSpec, Runbook, StepSpec, VerbSpec};

/// The default gate's patience.
const DEFAULT_GATE: Duration = Duration::from_secs(120);
/// What healthy means when the file says nothing; `live` is always added.
const HEALTHY: &str = "usage < 40% and refused == 0";
/// Patience of a remedy's gate.
const REMEDY_GATE: Duration = Duration::from_secs(180);
/// The interval of samples when the file says nothing, and its bounds.
const EVERY: Duration = Duration::from_secs(1);
const FASTEST: Duration = Duration::from_millis(200);
const SLOWEST: Duration = Duration::from_secs(60);

/// Builds the steps of a plan, and collects every fault on the way.
pub(super) struct Builder<'f> {
    pub(super) names: Names,
    pub(super) bindings: Bindings,
    pub(super) ids: BTreeMap<String, Span>,
    used: BTreeSet<String>,
    pub(super) every: Duration,
    /// The database is not asked in this run: conditions are told by dynos and pages alone.
    pub(super) without_database: bool,
    /// The runbook says that its steps only look.
    pub(super) only_looks: bool,
    /// Texts of runbooks that may be included, by name.
    pub(super) library: BTreeMap<String, String>,
    /// The runbooks that are being read, each included by the one before it.
    pub(super) chain: Vec<String>,
    /// What comes along with what is included.
    pub(super) along: Along,
    pub(super) faults: &'f mut Vec<Diagnostic>,
}

/// Outputs by step, rungs included, as later conditions name them.
fn outputs_of(specs: &[StepSpec], into: &mut BTreeMap<String, Vec<String>>) {
    for spec in specs {
        match &spec.body {
            BodySpec::Verb(verb) => {
                let outputs = verb.entry.outputs_of(&verb.node);
                let outputs: Vec<_> = outputs.into_iter().map(|output| output.name).collect();
                for (id, _) in repetitions(spec) {
                    into.insert(id, outputs.clone());
                }
            }
            BodySpec::Ladder(ladder) => {
                into.insert(spec.id.value.clone(), Vec::new());
                outputs_of(&ladder.rungs, into);
            }
            // They are known when it has been read.
            BodySpec::Include(_) => {}
        }
    }
}

/// The ids of a step and their items: one without an item, or one for each of `for_each`.
fn repetitions(spec: &StepSpec) -> Vec<(String, Option<&Spanned<String>>)> {
    let id = &spec.id.value;
    if spec.for_each.is_empty() {
        return vec![(id.clone(), None)];
    }
    let items = spec.for_each.iter().enumerate();
    items.map(|(index, item)| (format!("{id}-{}", index + 1), Some(item))).collect()
}

impl<'f> Builder<'f> {
    pub(super) fn new(
        runbook: &Runbook,
        record: &PlanRecord,
        kills: KillLimits,
        faults: &'f mut Vec<Diagnostic>,
    ) -> Self {
        let mut outputs = BTreeMap::new();
        outputs_of(&runbook.steps, &mut outputs);
        if let Some(ladder) = runbook.after_care.as_ref().and_then(|care| care.ladder.as_ref()) {
            outputs_of(&ladder.rungs, &mut outputs);
        }
        let mut names = Names::with_metrics(outputs);
        let mut bindings = Bindings { kills, ..Bindings::default() };
        for input in &runbook.inputs {
            let path = format!("inputs.{}", input.name.value);
            names.add(path.clone(), input.unit());
            if let Some(bound) = record.inputs.get(&input.name.value) {
                bindings.values.insert(path, bound.value.clone());
            }
        }
        Self {
            names,
            bindings,
            ids: BTreeMap::new(),
            used: BTreeSet::new(),
            every: EVERY,
            without_database: record.target.database.is_none() && !record.target.app.is_empty(),
            only_looks: runbook.only_looks,
            library: record.included.clone(),
            chain: vec![runbook.name.value.clone()],
            along: Along::default(),
            faults,
        }
    }

    /// The interval of samples.
    pub(super) fn interval(&mut self, runbook: &Runbook) -> Duration {
        let every = self.duration(runbook.every.clone(), EVERY);
        if let Some(param) = &runbook.every
            && (every < FASTEST || every > SLOWEST)
        {
            self.faults.push(Diagnostic::error(param.text.span, "samples are taken every 200ms to 60s"));
        }
        self.every = every.clamp(FASTEST, SLOWEST);
        self.every
    }

    /// The overall deadline that the file sets.
    pub(super) fn deadline(&mut self, runbook: &Runbook) -> Option<Duration> {
        let param = runbook.deadline.clone()?;
        let place = param.text.span;
        let deadline = self.duration(Some(param), Duration::MAX);
        if deadline.is_zero() {
            self.faults.push(Diagnostic::error(place, "a deadline of zero leaves no time for anything"));
        }
        Some(deadline)
    }

    /// What healthy means. `live` is always part of it: a dead site uses no connections.
    pub(super) fn healthy(&mut self, runbook: &Runbook) -> Expr {
        let written = runbook.healthy.as_ref().and_then(|text| {
            let names = self.names.clone();
            let expr = self.condition(text, &names)?;
            if expr.names().contains(&"healthy") {
                self.faults.push(Diagnostic::error(text.span, "`healthy` cannot be explained by itself"));
            }
            Some(expr)
        });
        let expr = written.or_else(|| Expr::parse(HEALTHY).ok()).unwrap_or_else(Expr::never);
        let expr = self.measurable(expr);
        if expr.demands("live") { expr } else { expr.and(&live()) }
    }

    /// The steps in the order of the file. Those that run at the end are read last: they may name every other's outputs.
    pub(super) fn steps(&mut self, specs: &[StepSpec]) -> Vec<Step> {
        let mut steps: Vec<(usize, Step)> = Vec::new();
        for always in [false, true] {
            for (index, spec) in specs.iter().enumerate().filter(|(_, spec)| spec.always == always) {
                self.check_id(spec);
                if let BodySpec::Include(include) = &spec.body {
                    steps.extend(self.include(spec, include).into_iter().map(|step| (index, step)));
                    continue;
                }
                let place = spec.for_each.first().map_or(spec.span, |item| item.span);
                if matches!(spec.body, BodySpec::Ladder(_)) && !spec.for_each.is_empty() {
                    self.faults
                        .push(Diagnostic::error(place, "a ladder is not repeated: it has no `for_each`"));
                    continue;
                }
                for (id, item) in repetitions(spec) {
                    steps.extend(self.step(spec, &id, item, false).map(|step| (index, step)));
                }
            }
        }
        steps.sort_by_key(|(index, _)| *index);
        steps.into_iter().map(|(_, step)| step).collect()
    }

    fn step(
        &mut self,
        spec: &StepSpec,
        id: &str,
        item: Option<&Spanned<String>>,
        rung: bool,
    ) -> Option<Step> {
        let outside = self.names.clone();
        if let Some(item) = item {
            let value = self.fixed_text(item);
            self.names.add("item".to_owned(), Unit::Text);
            self.bindings.values.insert("item".to_owned(), Value::Text(value));
        }
        let step = self.step_body(spec, id.to_owned(), rung);
        let inside = std::mem::replace(&mut self.names, outside);
        if matches!(spec.body, BodySpec::Ladder(_)) {
            self.names = inside; // outputs of the rungs
        }
        self.bindings.values.remove("item");
        if let BodySpec::Verb(verb) = &spec.body {
            for output in verb.entry.outputs_of(&verb.node) {
                self.names.add(format!("steps.{id}.{}", output.name), output.unit);
            }
        }
        step
    }

    fn step_body(&mut self, spec: &StepSpec, id: String, rung: bool) -> Option<Step> {
        let names = self.names.clone();
        let when = spec.when.as_ref().and_then(|text| self.condition(text, &names));
        let abort_when = spec.abort_when.as_ref().and_then(|text| self.condition(text, &names));
        let if_unknown = self.if_unknown(spec);
        let on_failure = self.on_failure(spec);
        let retry = self.retry(spec);
        let timeout = self.timeout(spec);
        let name = spec.name.as_ref().map_or_else(|| id.clone(), |name| self.fixed_text(name));
        let mut own_gate = None;
        let (body, gated, patience, deploys) = match &spec.body {
            BodySpec::Verb(verb) => {
                let action = self.verb(verb)?;
                if action.awaits().is_some() {
                    self.only_waits(spec, verb.entry.name);
                }
                let (gated, patience) = (action.mutates() && !action.is_local(), action.patience());
                own_gate = action.own_gate().filter(|_| !rung).and_then(|until| Expr::parse(until).ok());
                (Body::Verb(Arc::from(action)), gated, patience, verb.entry.name == "deploy")
            }
            // Expanded before any step is read.
            BodySpec::Include(_) => return None,
            BodySpec::Ladder(ladder) => {
                self.only_waits(spec, "ladder");
                (Body::Ladder(self.ladder(ladder)), false, Duration::MAX, false)
            }
        };
        if on_failure == OnFailure::Rollback && !deploys {
            let place = spec.on_failure.as_ref().map_or(spec.span, |text| text.span);
            let fault = Diagnostic::error(place, "`rollback` takes a release back, and this step makes none");
            self.faults.push(fault.help("it belongs to a `deploy` step"));
        }
        if spec.cure && !gated {
            let fault = Diagnostic::error(spec.span, "`cure` has no meaning for a step that changes nothing");
            self.faults.push(fault.help("it belongs to the step that ends the incident"));
        }
        let (before, mut after) = self.gates(spec, gated, rung);
        if let (AfterGate::Default(within), Some(until)) = (&after, own_gate) {
            let until = Arc::new(until);
            after = AfterGate::IfChanged(Gate { until, hold: Duration::ZERO, within: *within, early: true });
        }
        let remedy = (on_failure == OnFailure::Rollback).then(|| Box::new(self.remedy(&id, spec.span)));
        Some(Step {
            name,
            id,
            repeats: (!spec.for_each.is_empty()).then(|| spec.id.value.clone()),
            when: when.map(Arc::new),
            if_unknown,
            before,
            after,
            abort_when: abort_when.map(Arc::new),
            timeout: timeout.unwrap_or(patience),
            retry,
            on_failure,
            remedy,
            always: spec.always,
            cure: spec.cure,
            left_out: None,
            bindings: Arc::new(self.bindings.clone()),
            body,
        })
    }

    /// A step that only waits for a condition has that condition's patience and no other; what would be passed over in
    /// silence is refused.
    fn only_waits(&mut self, spec: &StepSpec, verb: &str) {
        let mut refuse = |place: Span, key: &str, why: &str| {
            self.faults
                .push(Diagnostic::error(place, format!("`{key}` has no meaning for `{verb}`")).help(why));
        };
        if let GateSpec::Set {
            after: AfterText::Own(Some(GateText { until, .. })) | AfterText::Off(until),
            ..
        } = &spec.gate
        {
            refuse(
                until.span,
                "gate",
                "its own condition is the gate; `gate: { before: … }` may stand before it",
            );
        }
        if let Some(timeout) = &spec.timeout {
            refuse(timeout.text.span, "timeout", "`within` is its patience");
        }
        if let Some(retry) = &spec.retry {
            refuse(retry.times.text.span, "retry", "a condition is looked at again with every sample");
        }
    }

    fn timeout(&mut self, spec: &StepSpec) -> Option<Duration> {
        let param = spec.timeout.clone()?;
        let place = param.text.span;
        let before = self.faults.len();
        let timeout = self.duration(Some(param), Duration::ZERO);
        if timeout.is_zero() && self.faults.len() == before {
            self.faults.push(Diagnostic::error(place, "a timeout of zero leaves no time for anything"));
        }
        Some(timeout)
    }

    fn check_id(&mut self, spec: &StepSpec) {
        let id = &spec.id;
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if id.is_empty() || !id.chars().all(good) || id.starts_with('-') {
            let told = crate::source::escape_controls(id);
            let fault = Diagnostic::error(id.span, format!("`{told}` is no id for a step"));
            self.faults.push(fault.help("use small letters, digits and `-`, not beginning with `-`"));
        }
        self.take_id(&id.value, id.span);
        if !spec.for_each.is_empty() {
            for (id, _) in repetitions(spec) {
                self.take_id(&id, spec.id.span);
            }
        }
    }

    /// Ids are unique, those that repetitions and remedies get among them.
    pub(super) fn take_id(&mut self, id: &str, place: Span) {
        match self.ids.get(id) {
            Some(first) => {
                let fault = Diagnostic::error(place, format!("two steps are called `{id}`"));
                self.faults.push(fault.also(*first, "the first").help("give this one an `id` of its own"));
            }
            None => {
                self.ids.insert(id.to_owned(), place);
            }
        }
    }

    fn verb(&mut self, verb: &VerbSpec) -> Option<Box<dyn Action>> {
        let names = self.names.clone();
        let mut action = (verb.entry.read)(&verb.node, verb.at, self.faults)?;
        if self.only_looks && !action.only_looks() {
            let text = format!(
                "`{}` may change something, and this runbook says that it only looks",
                verb.entry.name
            );
            self.faults
                .push(Diagnostic::error(verb.at, text).help("take out the step, or `only_looks: true`"));
        }
        self.use_templates(&verb.node);
        let texts: Vec<Spanned<String>> = action.texts().into_iter().cloned().collect();
        for text in texts {
            self.text(&text, &names);
        }
        let faults = action.bind(&self.bindings);
        self.faults.extend(faults);
        if let Some((step, output)) = action.builds_on() {
            let path = format!("steps.{}.{output}", step.value);
            if names.unit_of(&path).is_none() {
                let told = crate::source::escape_controls(step);
                let fault = Diagnostic::error(step.span, format!("`{told}` gives nothing to build on here"));
                self.faults.push(match names.hint(&path) {
                    Some(hint) => fault.help(hint),
                    None => fault,
                });
            }
        }
        let awaited = action.awaits().map(|awaits| (awaits.until.clone(), awaits.hold, awaits.within));
        if let Some((until, hold, within)) = awaited {
            if let Some(expr) = self.gating(&until, &names, "name something measured: `usage < 40%`") {
                action.settle_condition(expr.to_string());
            }
            if let Some(within) = within {
                self.room(hold, within, until.span);
            }
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

    pub(super) fn ladder(&mut self, spec: &LadderSpec) -> Ladder {
        let names = self.names.clone();
        let gate = self.gate(&spec.gate, Duration::from_secs(20), Duration::from_secs(60), &names);
        let mut rungs = Vec::new();
        for rung in &spec.rungs {
            self.check_id(rung);
            rungs.extend(self.step(rung, &rung.id.value, None, true));
        }
        let gate = gate.unwrap_or_else(|| Gate {
            until: Arc::new(Expr::never()),
            hold: Duration::ZERO,
            within: Duration::ZERO,
            early: false,
        });
        Ladder { gate, rungs, care: None }
    }

    /// `gated`: what the step changes can be seen at the app, so that it needs a gate.
    fn gates(&mut self, spec: &StepSpec, gated: bool, rung: bool) -> (Option<Gate>, AfterGate) {
        let default = if gated && !rung { AfterGate::Default(DEFAULT_GATE) } else { AfterGate::NotNeeded };
        let GateSpec::Set { before, after } = &spec.gate else { return (None, default) };
        let names = self.names.clone();
        let before = before.as_ref().and_then(|gate| self.gate(gate, Duration::ZERO, DEFAULT_GATE, &names));
        let after = match after {
            AfterText::Own(Some(gate)) => {
                self.gate(gate, Duration::ZERO, DEFAULT_GATE, &names.and_before()).map(AfterGate::Own)
            }
            AfterText::Own(None) | AfterText::Unsaid => None,
            AfterText::Off(reason) => {
                if reason.trim().chars().count() < 3 {
                    let fault = Diagnostic::error(reason.span, "switching a gate off needs a reason");
                    self.faults.push(fault.help("the plan shows it to whoever confirms: write a sentence"));
                }
                Some(AfterGate::None(self.fixed_text(reason)))
            }
        };
        (before, after.unwrap_or(default))
    }

    fn gate(&mut self, spec: &GateText, hold: Duration, within: Duration, names: &Names) -> Option<Gate> {
        let until = self.gating(&spec.until, names, "a gate is switched off by `gate: { none: REASON }`");
        let faults = self.faults.len();
        let hold = self.duration(spec.hold.clone(), hold);
        let patience = self.duration(spec.within.clone(), within);
        if self.faults.len() == faults {
            let place = spec.hold.as_ref().or(spec.within.as_ref());
            self.room(hold, patience, place.map_or(spec.until.span, |param| param.text.span));
        }
        Some(Gate { until: Arc::new(until?), hold, within: patience, early: spec.early })
    }

    /// Whether a condition can hold in time at all: `for` needs three samples, and anything needs one.
    fn room(&mut self, hold: Duration, within: Duration, place: Span) {
        let samples = if hold.is_zero() { self.every } else { hold.max(2 * self.every) };
        if within.is_zero() {
            self.faults.push(Diagnostic::error(place, "`within` of zero can never hold"));
        } else if hold >= within {
            let fault =
                Diagnostic::error(place, "`for` does not fit into `within`: this can never hold in time");
            self.faults.push(fault.help("make `within` longer than `for`"));
        } else if samples >= within {
            let every = write_duration(self.every.as_secs_f64());
            let fault = Diagnostic::error(
                place,
                format!("`within` has no room for the samples this needs, one every {every}"),
            );
            self.faults.push(
                fault.help(
                    "`for` needs three samples; make `within` longer, or `health: { every: … }` shorter",
                ),
            );
        }
    }

    /// A condition that gates: one that reads nothing measured would gate nothing.
    pub(super) fn gating(&mut self, text: &Spanned<String>, names: &Names, remedy: &str) -> Option<Expr> {
        let expr = self.condition(text, names)?;
        if expr.names().is_empty() {
            let fault =
                Diagnostic::error(text.span, "this reads nothing that is measured, so it gates nothing");
            self.faults.push(fault.help(remedy));
            return None;
        }
        Some(self.measurable(expr))
    }

    /// Without the database, conditions are told by dynos and pages alone; where nothing is left, `live` stands in.
    fn measurable(&self, expr: Expr) -> Expr {
        if !self.without_database {
            return expr;
        }
        let dropped = |name: &str| {
            let metric = name.strip_prefix("before.").unwrap_or(name);
            Metric::named(metric).is_some_and(Metric::of_database)
        };
        expr.without(&dropped).unwrap_or_else(live)
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

    fn on_failure(&mut self, spec: &StepSpec) -> OnFailure {
        let Some(text) = &spec.on_failure else { return OnFailure::Stop };
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
    fn remedy(&mut self, deploy: &str, place: Span) -> Step {
        let id = format!("{deploy}-rollback");
        self.take_id(&id, place);
        let action: Arc<dyn Action> = Arc::new(Rollback::remedy());
        Step {
            id,
            repeats: None,
            name: format!("take back what {deploy} released"),
            when: None,
            if_unknown: IfUnknown::default(),
            before: None,
            after: AfterGate::IfChanged(Gate {
                until: Arc::new(live()),
                hold: Duration::from_secs(3),
                within: REMEDY_GATE,
                early: true,
            }),
            abort_when: None,
            timeout: action.patience(),
            retry: None,
            on_failure: OnFailure::Stop,
            remedy: None,
            always: false,
            cure: true,
            left_out: None,
            bindings: Arc::new(self.bindings.clone()),
            body: Body::Verb(action),
        }
    }

    pub(super) fn duration(&mut self, param: Option<Param<Duration>>, default: Duration) -> Duration {
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

    /// A text that is fixed before the run, filled: it may name inputs and the item.
    pub(super) fn fixed_text(&mut self, text: &Spanned<String>) -> String {
        let names = self.names.fixed();
        self.text(text, &names);
        Template::parse(text).map_or_else(|_| text.value.clone(), |template| template.fill(&self.bindings))
    }

    /// Warns of inputs that nothing uses.
    pub(super) fn unused(&mut self, runbook: &Runbook) {
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

/// What healthy means where no runbook says it; without the database, what the platform tells of it.
pub fn healthy(with_database: bool) -> Expr {
    match Expr::parse(HEALTHY) {
        Ok(expr) if with_database => expr.and(&live()),
        _ => live(),
    }
}

fn live() -> Expr {
    // It parses; `false` keeps a gate shut should that ever change.
    Expr::parse("live").unwrap_or_else(|_| Expr::never())
}
