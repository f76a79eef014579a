//! After-care as a step: the last of a run, with a ladder that is climbed when health falls.

use std::sync::Arc;
use std::time::Duration;

use super::model::{AFTER_CARE, AfterGate, Body, Care, Gate, IfUnknown, Ladder, OnFailure, Step};
use super::steps::Builder;
use crate::expr::Expr;
use crate::source::{Diagnostic, did_you_mean};
use crate::spec::AfterCareSpec;

/// How long health must be false before anything is done, when the file says nothing.
const PATIENCE: Duration = Duration::from_secs(10);

impl Builder<'_> {
    /// The step that watches; `None` when it is watched for no time at all.
    pub(super) fn after_care(
        &mut self,
        spec: &AfterCareSpec,
        steps: &[Step],
        healthy: &Expr,
    ) -> Option<Step> {
        self.take_id(AFTER_CARE, spec.at);
        let watch = self.duration(Some(spec.watch.clone()), Duration::ZERO);
        let place = spec.unhealthy_for.as_ref().map_or(spec.at, |param| param.text.span);
        let patience = self.duration(spec.unhealthy_for.clone(), PATIENCE);
        if patience.is_zero() {
            let fault =
                Diagnostic::error(place, "health must be false for some time before anything is done");
            self.faults.push(fault.help("one bad sample is no fall: `unhealthy_for: 10s`"));
        }
        let names = self.names.clone();
        let until =
            spec.healthy.as_ref().and_then(|text| self.gating(text, &names, "name something measured"));
        let until = until.unwrap_or_else(|| healthy.clone());
        let mut ladder = match (&spec.ladder, &spec.again) {
            (Some(ladder), _) => self.ladder(ladder),
            (None, Some(again)) => {
                let ladders = || {
                    steps.iter().filter_map(|step| match &step.body {
                        Body::Ladder(ladder) => Some((step.id.as_str(), ladder)),
                        Body::Verb(_) => None,
                    })
                };
                if let Some((_, ladder)) = ladders().find(|(id, _)| *id == again.value) {
                    ladder.clone()
                } else {
                    let fault = Diagnostic::error(again.span, "this is no step with a ladder");
                    let near = did_you_mean(&again.value, ladders().map(|(id, _)| id));
                    self.faults.push(match near {
                        Some(near) => fault.help(format!("did you mean `{near}`?")),
                        None => fault.help("name the `id` of a ladder, or give it a `ladder` of its own"),
                    });
                    nothing(&until)
                }
            }
            (None, None) => nothing(&until),
        };
        let again = spec.again.as_ref().map(|again| again.value.clone());
        ladder.care = Some(Care { until: Arc::new(until), watch, patience, again });
        (!watch.is_zero()).then(|| Step {
            id: AFTER_CARE.to_owned(),
            repeats: None,
            name: "keep watching, and climb if health falls".to_owned(),
            when: None,
            if_unknown: IfUnknown::default(),
            before: None,
            after: AfterGate::NotNeeded,
            abort_when: None,
            timeout: Duration::MAX,
            retry: None,
            on_failure: OnFailure::Stop,
            remedy: None,
            always: false,
            cure: false,
            left_out: None,
            bindings: Arc::new(self.bindings.clone()),
            body: Body::Ladder(ladder),
        })
    }
}

/// It only watches: there is no rung.
fn nothing(until: &Expr) -> Ladder {
    let until = Arc::new(until.clone());
    let gate = Gate { until, hold: Duration::ZERO, within: Duration::ZERO, early: false };
    Ladder { gate, rungs: Vec::new(), care: None }
}
