//! What the conditions and texts of a runbook may name, step by step.

use std::collections::{BTreeMap, BTreeSet};

use crate::expr::Scope;
use crate::health::{Metric, Unit};

/// Names known at one place of a runbook: metrics, inputs, outputs of earlier steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    units: BTreeMap<String, Unit>,
    pub(super) metrics: bool,
    later: BTreeSet<String>,
}

impl Names {
    pub(super) fn with_metrics() -> Self {
        Self { metrics: true, ..Self::default() }
    }

    pub(super) fn add(&mut self, name: String, unit: Unit) {
        self.units.insert(name, unit);
    }

    /// A step that exists, but later: naming its outputs here is a fault of order, not of spelling.
    pub(super) fn expect(&mut self, step: &str) {
        self.later.insert(step.to_owned());
    }
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
        Metric::ALL.into_iter().find(|metric| metric.name() == path).map(Metric::unit)
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
}
