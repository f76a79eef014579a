//! What a condition reads: the latest sample's metrics, bound inputs, outputs of earlier steps.

use std::collections::BTreeMap;

use crate::expr::{Env, Expr};
use crate::health::{Metric, Value};
use crate::plan::Plan;

/// The values behind the names of a condition, at one sample.
pub(crate) struct Readings<'a> {
    pub(crate) metrics: &'a BTreeMap<Metric, Value>,
    pub(crate) plan: &'a Plan,
    pub(crate) outputs: &'a BTreeMap<String, Value>,
}

impl Env for Readings<'_> {
    fn value(&self, path: &str) -> Option<Value> {
        if let Some(input) = path.strip_prefix("inputs.") {
            return self.plan.record.inputs.get(input).map(|bound| bound.value.clone());
        }
        if let Some(output) = path.strip_prefix("steps.") {
            return self.outputs.get(output).cloned();
        }
        let metric = Metric::named(path)?;
        self.metrics.get(&metric).cloned()
    }

    fn condition(&self, path: &str) -> Option<&Expr> {
        (path == "healthy").then_some(&*self.plan.healthy)
    }

    fn parts(&self, path: &str) -> &'static [&'static str] {
        if path == "live" { &["dynos.up", "dynos.wanted", "dynos.crashed", "pages.ok"] } else { &[] }
    }
}

/// What was measured when a step began, as `before.METRIC`.
pub(crate) struct Before<'a>(pub(crate) &'a BTreeMap<Metric, Value>);

impl Env for Before<'_> {
    fn value(&self, path: &str) -> Option<Value> {
        let metric = path.strip_prefix("before.")?;
        let metric = Metric::named(metric)?;
        self.0.get(&metric).cloned()
    }

    fn condition(&self, _: &str) -> Option<&Expr> {
        None
    }
}
