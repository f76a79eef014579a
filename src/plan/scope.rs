//! What the conditions and texts of a runbook may name, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::expr::{Expr, Scope};
use crate::health::{Metric, Unit};
use crate::source::{Diagnostic, did_you_mean};

/// Names known at one place of a runbook: metrics, inputs, outputs of earlier steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    units: BTreeMap<String, Unit>,
    metrics: bool,
    /// `before.METRIC`: what was measured when the step began.
    before: bool,
    /// Every step of the runbook with its outputs, wherever it stands: for saying why a name is not known here.
    steps: Arc<BTreeMap<String, Vec<String>>>,
}

impl Names {
    pub(super) fn with_metrics(steps: BTreeMap<String, Vec<String>>) -> Self {
        Self { metrics: true, before: false, units: BTreeMap::new(), steps: Arc::new(steps) }
    }

    /// What `others` know that begins with `start`, is known here, too.
    pub(super) fn adopt(&mut self, others: &Self, start: &str) {
        let new = others.units.iter().filter(|(name, _)| name.starts_with(start));
        self.units.extend(new.map(|(name, unit)| (name.clone(), *unit)));
    }

    pub(super) fn add(&mut self, name: String, unit: Unit) {
        self.units.insert(name, unit);
    }

    /// What was measured when the step began, too: for the gate after it.
    pub(super) fn and_before(mut self) -> Self {
        self.before = self.metrics;
        self
    }

    /// Only what is known before the run: inputs and the item.
    pub(super) fn fixed(&self) -> Self {
        let fixed = |name: &String| name.starts_with("inputs.") || name == "item";
        let units = self.units.iter().filter(|(name, _)| fixed(name));
        Self {
            metrics: false,
            before: false,
            units: units.map(|(name, unit)| (name.clone(), *unit)).collect(),
            steps: Arc::clone(&self.steps),
        }
    }
}

/// Reads a condition on measurements alone, for who has no runbook: metrics, `live` and `healthy`.
///
/// # Errors
/// What is wrong with it, each with its place in `text`.
pub fn condition(text: &str) -> Result<Expr, Vec<Diagnostic>> {
    let expr = Expr::parse(text)?;
    let mut faults = expr.check(&Names::with_metrics(BTreeMap::new()));
    if faults.is_empty() && expr.names().is_empty() {
        let whole = crate::source::Span::new(0, text.len());
        faults.push(
            Diagnostic::error(whole, "it names nothing that is measured")
                .help("such as `usage < 80% and refused == 0 and live`"),
        );
    }
    if faults.is_empty() { Ok(expr) } else { Err(faults) }
}

impl Scope for Names {
    fn unit_of(&self, path: &str) -> Option<Unit> {
        if let Some(unit) = self.units.get(path) {
            return Some(*unit);
        }
        if !self.metrics {
            return None;
        }
        if path == "healthy" {
            return Some(Unit::Truth);
        }
        let metric = path.strip_prefix("before.").filter(|_| self.before).unwrap_or(path);
        Metric::named(metric).map(Metric::unit)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        if self.metrics {
            names.extend(Metric::ALL.iter().map(|metric| metric.name().to_owned()));
            names.push("healthy".to_owned());
        }
        names.extend(self.units.keys().cloned());
        names
    }

    fn hint(&self, path: &str) -> Option<String> {
        if path == "item" {
            return Some("`item` is known in a step with `for_each`".to_owned());
        }
        if path == "none" {
            return Some("a gate is switched off by `gate: { none: REASON }`".to_owned());
        }
        if path.starts_with("before.") && !self.before {
            let hint = "what was measured when a step began is known to the gate after it, and nowhere else";
            return Some(hint.to_owned());
        }
        let rest = path.strip_prefix("steps.")?;
        if !self.metrics {
            return Some("this text is fixed before the run: it may name inputs only".to_owned());
        }
        let (step, output) = rest.split_once('.').unwrap_or((rest, ""));
        let Some(outputs) = self.steps.get(step) else {
            let known = self.steps.keys().map(String::as_str);
            return Some(match did_you_mean(step, known.clone()) {
                Some(near) => format!("there is no step `{step}`; did you mean `{near}`?"),
                None => format!("there is no step `{step}`; steps: {}", known.collect::<Vec<_>>().join(", ")),
            });
        };
        if outputs.is_empty() {
            return Some(format!("the step `{step}` has no outputs"));
        }
        if outputs.iter().any(|known| known == output) {
            return Some(format!(
                "the step `{step}` is over later than this is read: only steps before it can be named"
            ));
        }
        Some(match did_you_mean(output, outputs.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `steps.{step}.{near}`?"),
            None => format!("the step `{step}` gives: {}", outputs.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_without_a_runbook_names_measurements_only() {
        assert_eq!(condition("usage < 80% and live").unwrap().to_string(), "usage < 80% and live");
        assert!(condition("healthy").is_ok());
        for (text, fault) in [
            ("usge < 80%", "there is no `usge`"),
            ("usage < 80", "a ratio is compared with a count"),
            ("usage <", ""),
            ("inputs.x > 1", "there is no `inputs.x`"),
            ("true", "it names nothing that is measured"),
        ] {
            let faults = condition(text).unwrap_err();
            assert!(faults[0].message.contains(fault), "{text}: {faults:?}");
        }
    }
}
