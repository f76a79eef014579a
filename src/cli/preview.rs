//! Asks every step what it would do, from live state. The same for a dry run and for the plan of a real one.

use std::sync::Arc;

use crate::action::{Failure, Preview, RunFacts, Scene};
use crate::engine::Measurements;
use crate::expr::{Env, Evaluation, Expr, Truth};
use crate::health::{Metric, Moment, Series, Value};
use crate::plan::{AfterGate, Body, Plan, Step};
use crate::platform::Observer;

/// What was found.
pub(super) struct Previews {
    /// By step id, in order.
    pub(super) steps: Vec<(String, Preview)>,
    /// How conditions read now: step, which one, reading.
    pub(super) readings: Vec<(String, String, Evaluation)>,
    /// What makes a step impossible, found before anything happens.
    pub(super) failures: Vec<(String, Failure)>,
}

struct Now<'a> {
    plan: &'a Plan,
    metrics: &'a Measurements,
}

impl Env for Now<'_> {
    fn value(&self, path: &str) -> Option<Value> {
        if let Some(input) = path.strip_prefix("inputs.") {
            return self.plan.record.inputs.get(input).map(|bound| bound.value.clone());
        }
        let metric = Metric::named(path)?;
        self.metrics.get(&metric).cloned()
    }

    fn condition(&self, path: &str) -> Option<&Expr> {
        (path == "healthy").then_some(&*self.plan.healthy)
    }
}

/// Previews the steps that are to run.
pub(super) fn preview(
    plan: &Plan,
    observer: &Observer,
    facts: &RunFacts,
    series: &Series,
    metrics: &Measurements,
) -> Previews {
    let mut found = Previews { steps: Vec::new(), readings: Vec::new(), failures: Vec::new() };
    let looker = Looker { plan, observer, facts, series, metrics };
    let mut room = None;
    for step in &plan.steps {
        looker.look(step, &mut found, &mut room);
    }
    found
}

struct Looker<'a> {
    plan: &'a Plan,
    observer: &'a Observer,
    facts: &'a RunFacts,
    series: &'a Series,
    metrics: &'a Measurements,
}

impl Looker<'_> {
    /// `room`: the step before it that makes room.
    fn look(&self, step: &Step, found: &mut Previews, room: &mut Option<String>) {
        if step.left_out.is_some() {
            return;
        }
        let now = Now { plan: self.plan, metrics: self.metrics };
        let mut read = |label: &str, expr: &Arc<Expr>| {
            found.readings.push((step.id.clone(), label.to_owned(), expr.evaluate(&now)));
        };
        if let Some(when) = &step.when {
            read("when", when);
        }
        if let Some(gate) = &step.before {
            read("before", &gate.until);
        }
        if let AfterGate::Own(gate) = &step.after {
            read("gate", &gate.until);
        }
        match &step.body {
            Body::Ladder(ladder) => {
                match &ladder.care {
                    Some(care) => read("after-care", &care.until),
                    None => read("ladder", &ladder.gate.until),
                }
                // Rungs of another step's ladder are looked at there.
                let again = ladder.care.as_ref().is_some_and(|care| care.again.is_some());
                for rung in ladder.rungs.iter().filter(|_| !again) {
                    self.look(rung, found, room);
                }
            }
            Body::Verb(action) => {
                if let Some(awaits) = action.awaits()
                    && let Ok(until) = Expr::parse(awaits.until)
                {
                    read("condition", &Arc::new(until));
                }
                let outputs = std::collections::BTreeMap::new();
                let earlier = found.steps.iter().flat_map(|(_, preview)| &preview.changes);
                let planned: Vec<_> = earlier.cloned().collect();
                let scene = Scene {
                    observer: self.observer,
                    app: &self.plan.record.target.app,
                    run: self.facts,
                    planned: &planned,
                    metrics: self.metrics,
                    series: self.series,
                    outputs: &outputs,
                    bindings: &step.bindings,
                    now: self.observer.clock().now(),
                    counts_from: Moment::default(),
                    dry: true,
                    interactive: false,
                };
                match action.preview(&scene) {
                    Ok(mut preview) => {
                        if let Some(forecast) = &mut preview.forecast {
                            forecast.advise(room.as_deref(), step.cure);
                        }
                        let runs =
                            step.when.as_ref().is_none_or(|when| when.evaluate(&now).truth != Truth::False);
                        if runs && makes_room(action.verb(), &preview) {
                            room.get_or_insert_with(|| step.id.clone());
                        }
                        found.steps.push((step.id.clone(), preview));
                    }
                    Err(failure) => found.failures.push((step.id.clone(), failure)),
                }
            }
        }
    }
}

/// Whether a step frees connections: it ends sessions, or takes dynos away.
fn makes_room(verb: &str, preview: &Preview) -> bool {
    let fewer = |forecast: &crate::action::Forecast| {
        forecast.during.zip(forecast.after).is_some_and(|(during, after)| after < during)
    };
    match verb {
        "kill_idle" => !preview.nothing_to_do,
        "scale" => preview.forecast.as_ref().is_some_and(fewer),
        _ => false,
    }
}
