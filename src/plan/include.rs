//! `include`: another runbook's steps, bound to their own inputs, in the place of one step.
//!
//! It must never look for a file: the texts are part of the record, so that a resumed run includes what it included.

use std::collections::BTreeMap;
use std::time::Duration;

use super::build::unique;
use super::inputs::bind_inputs;
use super::library::EMBEDDED;
use super::model::{Bound, PlanRecord, Step};
use super::steps::Builder;
use crate::guard::Guardrails;
use crate::source::{Diagnostic, Severity, Source, Span, did_you_mean};
use crate::spec::{BodySpec, IncludeSpec, Runbook, StepSpec, read_leniently, read_within};

/// How deep runbooks may include one another: who reads the plan must still be able to follow it.
const DEEPEST: usize = 4;

/// What an included runbook brings along besides its steps.
#[derive(Debug, Default)]
pub(super) struct Along {
    /// The tightest of their deadlines.
    pub(super) deadline: Option<Duration>,
    /// What to do when a gate stays shut.
    pub(super) when_shut: Vec<String>,
    /// Its steps as read, called as the plan calls them.
    pub(super) specs: Vec<StepSpec>,
}

/// The text called `name`: one that was given, or one in the binary.
fn text_of<'t>(name: &str, library: &'t BTreeMap<String, String>) -> Option<&'t str> {
    let embedded = || EMBEDDED.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
    library.get(name).map(String::as_str).or_else(embedded)
}

/// The guardrails of everything that `runbook` includes: whatever one of them forbids is forbidden in the whole run.
pub(super) fn guardrails_within(
    runbook: &Runbook,
    library: &BTreeMap<String, String>,
    depth: usize,
) -> Guardrails {
    let mut all = Guardrails::default();
    for step in &runbook.steps {
        let BodySpec::Include(include) = &step.body else { continue };
        let Some(text) = text_of(&include.runbook, library).filter(|_| depth < DEEPEST) else { continue };
        let source = Source::new(include.runbook.as_str(), text);
        if let (Some(inner), _) = read_leniently(&source) {
            let within = guardrails_within(&inner, library, depth + 1);
            all = all.joined(inner.guardrails).joined(within);
        }
    }
    all
}

impl Builder<'_> {
    /// The steps that stand in the place of `spec`.
    pub(super) fn include(&mut self, spec: &StepSpec, include: &IncludeSpec) -> Vec<Step> {
        let name = &include.runbook;
        if self.chain.contains(&name.value) || self.chain.len() > DEEPEST {
            let chain = self.chain.iter().chain([&name.value]).map(String::as_str).collect::<Vec<_>>();
            let text = if self.chain.contains(&name.value) {
                "a runbook cannot include itself".to_owned()
            } else {
                format!("runbooks include one another at most {DEEPEST} deep")
            };
            self.faults.push(Diagnostic::error(name.span, text).help(chain.join(" → ")));
            return Vec::new();
        }
        let Some(text) = text_of(name, &self.library).map(str::to_owned) else {
            let told = crate::source::escape_controls(name);
            let known =
                self.library.keys().map(String::as_str).chain(EMBEDDED.iter().map(|(known, _)| *known));
            let fault = Diagnostic::error(name.span, format!("there is no runbook `{told}` to include"));
            self.faults.push(match did_you_mean(name, known) {
                Some(near) => fault.help(format!("did you mean `{near}`?")),
                None => fault.help("it is found as `runbook run` finds it: `runbook list` shows them"),
            });
            return Vec::new();
        };
        let source = Source::new(name.as_str(), text);
        let (runbook, faults) = read_within(&source, &spec.id.value);
        let Some(runbook) = runbook.filter(|_| faults.is_empty()) else {
            self.within(spec, name.span, &source, faults);
            return Vec::new();
        };
        let set: Vec<(String, String)> =
            include.with.iter().map(|(key, value)| (key.value.clone(), self.fixed_text(value))).collect();
        let inputs = match bind_inputs(&runbook.inputs, &set) {
            Ok(inputs) => inputs,
            Err(whys) => {
                for why in whys {
                    let of = |key: &str| why.starts_with(&format!("--set {key}:"));
                    let place =
                        include.with.iter().find(|(key, _)| of(key)).map_or(name.span, |(key, _)| key.span);
                    let why = why.replace("--set ", "with ");
                    self.faults.push(Diagnostic::error(place, format!("`{}`: {why}", name.value)));
                }
                return Vec::new();
            }
        };
        self.built(spec, include, &source, runbook, inputs)
    }

    /// Builds the steps of `runbook`, and takes over what its steps give and what comes along.
    fn built(
        &mut self,
        spec: &StepSpec,
        include: &IncludeSpec,
        source: &Source,
        runbook: Runbook,
        inputs: BTreeMap<String, Bound>,
    ) -> Vec<Step> {
        let record = PlanRecord { inputs, included: self.library.clone(), ..PlanRecord::default() };
        let mut faults = Vec::new();
        let mut inner = Builder::new(&runbook, &record, self.bindings.kills.clone(), &mut faults);
        inner.chain = self.chain.iter().chain([&include.runbook.value]).cloned().collect();
        inner.without_database = self.without_database;
        inner.only_looks |= self.only_looks;
        // Samples come as the including runbook says.
        inner.every = self.every;
        let deadline = inner.deadline(&runbook);
        let mut steps = inner.steps(&runbook.steps);
        let when_shut: Vec<String> = runbook.when_shut.iter().map(|text| inner.fixed_text(text)).collect();
        let (names, along, ids) = (inner.names, inner.along, inner.ids);
        self.names.adopt(&names, &format!("steps.{}-", spec.id.value));
        for id in ids.into_keys() {
            self.take_id(&id, include.at);
        }
        self.along.deadline = [self.along.deadline, along.deadline, deadline].into_iter().flatten().min();
        for line in when_shut.into_iter().chain(along.when_shut) {
            if !self.along.when_shut.contains(&line) {
                self.along.when_shut.push(line);
            }
        }
        self.along.specs.extend(runbook.steps);
        self.along.specs.extend(along.specs);
        faults.retain(|fault| fault.severity == Severity::Error);
        unique(&mut faults);
        self.within(spec, include.runbook.span, source, faults);
        for step in &mut steps {
            step.repeats.get_or_insert_with(|| spec.id.value.clone());
        }
        steps
    }

    /// Faults of an included runbook, each with its place there.
    fn within(&mut self, spec: &StepSpec, at: Span, source: &Source, faults: Vec<Diagnostic>) {
        // As its file names them.
        let prefix = format!("steps.{}-", spec.id.value);
        for fault in faults {
            let (line, column) = source.place(fault.span.start);
            let message = fault.message.replace(&prefix, "steps.");
            let mut told = Diagnostic::error(at, format!("{}:{line}:{column}: {message}", source.name));
            told.help = fault.help.iter().map(|help| help.replace(&prefix, "steps.")).collect();
            self.faults.push(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Body, check_among};
    use crate::source::render;

    const INNER: &str = "runbook: 1
name: inner
summary: s
inputs:
  most: { type: count, default: 50, max: 100 }
deadline: 5m
when_shut: [look at the inner one]
guardrails: { kills: { per_run: 20 } }
steps:
  - id: free
    kill_idle: { idle: 60s, at_most: '${{ inputs.most }}' }
  - id: told
    when: steps.free.killed > 0
    confirm: '${{ steps.free.killed }} are gone. Go on?'
";

    fn outer(steps: &str) -> Source {
        Source::new(
            "outer.yaml",
            format!(
                "runbook: 1\nname: outer\nsummary: s\ninputs:\n  n: {{ type: count, default: 7 }}\nsteps:\n{steps}"
            ),
        )
    }

    fn told(steps: &str) -> String {
        let library = BTreeMap::from([("inner".to_owned(), INNER.to_owned())]);
        let source = outer(steps);
        match check_among(&source, &library) {
            Ok(_) => String::new(),
            Err(faults) => render(&source, &faults, false),
        }
    }

    #[test]
    fn its_steps_stand_in_its_place_with_their_own_inputs_and_names() {
        let library = BTreeMap::from([("inner".to_owned(), INNER.to_owned())]);
        let source = outer(
            "  - id: room\n    include: { runbook: inner, with: { most: '${{ inputs.n }}' } }\n  - id: after\n    check: steps.room-free.killed >= 0\n",
        );
        let plan = check_among(&source, &library)
            .unwrap_or_else(|faults| panic!("{}", render(&source, &faults, false)))
            .plan;
        let ids: Vec<_> = plan.steps.iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["room-free", "room-told", "after"]);
        let when = plan.steps[1].when.as_ref().map(ToString::to_string);
        assert_eq!(when.as_deref(), Some("steps.room-free.killed > 0"));
        let Body::Verb(ask) = &plan.steps[1].body else { panic!("a verb") };
        assert!(ask.texts()[0].contains("steps.room-free.killed"), "{:?}", ask.texts());
        assert_eq!(plan.steps[0].bindings.values["inputs.most"], crate::health::Value::Count(7.0));
        assert!(plan.steps.iter().take(2).all(|step| step.repeats.as_deref() == Some("room")));
        assert_eq!(plan.deadline, Some(Duration::from_secs(300)), "the tighter one counts");
        assert_eq!(plan.when_shut, ["look at the inner one"]);
        assert!(!plan.guardrails.is_empty(), "its guardrails bind the whole run");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_what_to_do() {
        for (steps, wanted) in [
            ("  - include: inne\n", "did you mean `inner`?"),
            ("  - include: outer\n", "outer → outer"),
            ("  - include: { runbook: inner, with: { mots: 3 } }\n", "did you mean `most`?"),
            ("  - include: { runbook: inner, with: { most: 300 } }\n", "too large"),
            ("  - include: inner\n    when: usage > 80%\n", "no meaning for `include`"),
            ("  - include: inner\n  - include: inner\n", "two steps are called"),
            ("  - include: inner\n  - check: steps.free.killed > 0\n", "steps.free"),
        ] {
            let said = told(steps);
            assert!(said.contains(wanted) && said.contains("outer.yaml:"), "{steps}: {said}");
        }
    }

    #[test]
    fn a_fault_of_the_other_runbook_is_told_at_its_place_there() {
        let broken = INNER.replace("steps.free.killed > 0", "steps.free.kiled > 0");
        let library = BTreeMap::from([("inner".to_owned(), broken)]);
        let source = outer("  - include: inner\n");
        let faults = check_among(&source, &library).unwrap_err();
        let said = render(&source, &faults, false);
        assert!(
            said.contains("inner:13:11: there is no `steps.free.kiled`") && said.contains("outer.yaml:7:"),
            "{said}"
        );
    }
}
