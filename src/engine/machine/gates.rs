//! Gates, `when` and the default gate: what is watched, and what a verdict means for the step. It must never let an unknown pass.

use std::sync::Arc;
use std::time::Duration;

use super::super::env::{Before, Readings};
use super::super::event::{Event, GateKind, StepStatus};
use super::super::request::{Live, Request};
use super::super::watch::{GateState, Watch};
use super::{Decision, FULL, Machine, PREBOOT_PATIENCE, Phase, SLACK, Stage, UNKNOWN_PATIENCE, millis};
use crate::action::{Bindings, Question};
use crate::expr::{Env, Evaluation, Expr, Template, Truth};
use crate::health::{Metric, Moment, Value, show_seconds};
use crate::plan::{Body, Gate, IfUnknown, Step};
use crate::platform::Effect;

/// What a message reads: measurements, outputs, and the item of a repeated step.
struct Told<'a> {
    readings: Readings<'a>,
    bindings: &'a Bindings,
}

impl Env for Told<'_> {
    fn value(&self, path: &str) -> Option<Value> {
        self.bindings.value(path).or_else(|| self.readings.value(path))
    }

    fn condition(&self, path: &str) -> Option<&Expr> {
        self.readings.condition(path)
    }
}

impl Machine {
    /// The phase in which a step begins.
    pub(super) fn opening_phase(&self, now: Moment, step: &Step) -> Phase {
        if step.when.is_some() { Phase::When { since: now } } else { self.first_phase(now, step) }
    }

    /// The phase after `when`: with `--step`, a question. A ladder asks on each of its rungs instead; a step that always
    /// runs and only reads is not asked about.
    pub(super) fn first_phase(&self, now: Moment, step: &Step) -> Phase {
        let asks = match &step.body {
            Body::Verb(action) => self.stage == Stage::Main || action.mutates(),
            Body::Ladder(_) => false,
        };
        if self.config.stepwise && !self.config.dry && asks {
            let name = if step.name == step.id { String::new() } else { format!(" ({})", step.name) };
            return Phase::Stepping { question: Question::yes_or_no(format!("Run step {}{name}?", step.id)) };
        }
        self.entry_phase(now, step)
    }

    /// The phase after `when` and its question.
    pub(super) fn entry_phase(&self, now: Moment, step: &Step) -> Phase {
        if let Some(gate) = &step.before {
            return Phase::GateBefore(self.fresh_watch(gate.clone(), GateKind::Before, now));
        }
        self.action_phase(now, step)
    }

    /// The phase after the gate before.
    pub(super) fn action_phase(&self, now: Moment, step: &Step) -> Phase {
        match &step.body {
            Body::Ladder(ladder) => match &ladder.care {
                // A dry run looks at the rungs of its own; those of another step are looked at there.
                Some(care) if !self.config.dry || care.again.is_some() || ladder.rungs.is_empty() => {
                    self.vigil(now, care)
                }
                _ => Phase::Climbing {
                    rung: None,
                    watch: self.fresh_watch(ladder.gate.clone(), GateKind::Ladder, now),
                },
            },
            Body::Verb(_) => Phase::Acting,
        }
    }

    /// A watch from now on. Only samples count that were taken after the last change and when every old dyno was gone;
    /// the latest one counts too, if it is such a one. Patience begins when samples count.
    pub(super) fn fresh_watch(&self, gate: Gate, kind: GateKind, now: Moment) -> Watch {
        let mut watch = self.watch(gate, kind, now.max(self.counts_from));
        if let Some(latest) = &self.latest
            && latest.at >= self.counts_from
        {
            watch = watch.counting_from(latest.at);
            let env = Readings { metrics: &latest.metrics, plan: &self.plan, outputs: &self.outputs };
            watch.observe(latest.at, latest.number, &env);
        }
        watch
    }

    /// A watch that looks for trends where there can be any: not before processes that began have warmed up, and not
    /// while killed sessions still hold their slots.
    pub(super) fn watch(&self, gate: Gate, kind: GateKind, now: Moment) -> Watch {
        let (dying, freed) = match self.made.last().map(|made| &made.effect) {
            Some(Effect::Killed { killed, dying, .. }) => (*dying != Some(0), Some(killed.len())),
            _ => (false, None),
        };
        let from = (!dying).then(|| now.max(self.warm_from));
        Watch::new(gate, kind, now).looking(from, freed)
    }

    /// Why a gate that is waited for cannot be met any more in its time.
    pub(super) fn hopeless(&self, watch: &Watch) -> Option<String> {
        let metrics = self.measurements();
        watch.hopeless(&Readings { metrics: &metrics, plan: &self.plan, outputs: &self.outputs })
    }

    pub(super) fn decide_when(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        let frame = self.frames.last()?;
        let Phase::When { since } = frame.phase else {
            return None;
        };
        let step = Arc::clone(&frame.step);
        let when = step.when.clone()?;
        // What was measured before the last change says nothing about now.
        let stale = self.latest.as_ref().is_some_and(|latest| latest.at < self.counts_from);
        let mut evaluation = self.evaluate(&when);
        let measured =
            when.names().iter().any(|name| !name.starts_with("steps.") && !name.starts_with("inputs."));
        if stale && measured {
            evaluation.truth = Truth::Unknown;
        }
        let truth = evaluation.truth;
        let since = since.max(self.counts_from);
        // Outputs of earlier steps do not become known by waiting.
        let late = !measured || now.since(since) >= UNKNOWN_PATIENCE;
        if truth == Truth::Unknown && (now < since || !late) && !self.config.dry {
            return Some(Request::Wait {
                until: since.plus(UNKNOWN_PATIENCE),
                live: Live {
                    gate: Some(evaluation),
                    ..self.live(now, Some(format!("`when: {when}` to be known")))
                },
            });
        }
        let runs = match (truth, step.if_unknown) {
            (Truth::True, _) | (Truth::Unknown, IfUnknown::Run) => true,
            (Truth::False, _) | (Truth::Unknown, IfUnknown::Skip) => false,
            (Truth::Unknown, IfUnknown::Stop) => self.config.dry,
        };
        let why = (truth == Truth::Unknown).then(|| match step.if_unknown {
            IfUnknown::Run => "unknown: run all the same (if_unknown: run)".to_owned(),
            IfUnknown::Skip => "unknown: skipped (if_unknown: skip)".to_owned(),
            IfUnknown::Stop if measured => "unknown for 10 s".to_owned(),
            IfUnknown::Stop => "unknown: the step that it names has not run".to_owned(),
        });
        let reads: Vec<_> = evaluation.clauses.iter().map(|clause| clause.reads.clone()).collect();
        let reads = if reads.is_empty() { String::new() } else { format!(" ({})", reads.join(", ")) };
        let decision =
            Decision { gate: GateKind::When, open: runs, evaluation, since, sample: None, why, early: false };
        self.verdict(now, decision, events);
        if runs {
            let phase = self.first_phase(now, &step);
            self.set_phase(phase);
        } else if truth == Truth::Unknown && step.if_unknown == IfUnknown::Stop {
            let time = if measured { " for 10 s" } else { "" };
            self.shut(now, format!("`when: {when}` was unknown{time}"), events);
        } else {
            let when_reached = if self.config.dry { " now; measured again when reached" } else { "" };
            let not = if truth == Truth::Unknown { "is unknown" } else { "is not so" };
            let why = format!("`when: {when}` {not}{when_reached}{reads}");
            self.finish_frame(now, StepStatus::Skipped { why }, events);
        }
        None
    }

    pub(super) fn watch_gate(&mut self, now: Moment, events: &mut Vec<Event>) -> Option<Request> {
        let dry = self.config.dry;
        let frame = self.frames.last()?;
        let (Phase::GateBefore(watch) | Phase::GateAfter(watch)) = &frame.phase else {
            return None;
        };
        let state = if dry { GateState::Open } else { watch.state(now) };
        let waiting = state == GateState::Waiting;
        let hopeless = if waiting { self.hopeless(watch) } else { None };
        if waiting && hopeless.is_none() {
            // `check` judges the first sample that counts; it is not waited for longer than that.
            let check_failed = watch.kind == GateKind::Check && watch.reads_false();
            if !check_failed {
                return Some(Request::Wait { until: watch.ends(), live: self.live(now, None) });
            }
        }
        let watch = watch.clone();
        let evaluation = watch.last.clone().unwrap_or_else(|| self.evaluate(&watch.gate.until));
        let held = evaluation.truth == Truth::True;
        let open = state == GateState::Open && (!dry || held);
        // A wait that proves health proves it only for what was asked of the site meanwhile.
        let idle_site =
            self.latest.as_ref().is_none_or(|latest| !latest.metrics.contains_key(&Metric::PagesOk));
        let why = if open && watch.kind == GateKind::Wait && idle_site && !dry {
            Some("not proven under load: no page was answered while it held".to_owned())
        } else if hopeless.is_some() {
            hopeless.clone()
        } else {
            (!open && watch.last.is_none()).then(|| "no sample was taken while it was waited for".to_owned())
        };
        let decision = Decision {
            gate: watch.kind,
            open,
            evaluation,
            since: watch.began,
            sample: watch.last_sample,
            why,
            early: hopeless.is_some(),
        };
        self.verdict(now, decision, events);
        if state == GateState::Open {
            if watch.kind == GateKind::Before {
                let step = Arc::clone(&self.frames.last()?.step);
                let phase = self.action_phase(now, &step);
                if let Some(frame) = self.frames.last_mut() {
                    frame.progress.began = now;
                    frame.phase = phase;
                }
            } else {
                self.complete(now, events);
            }
        } else {
            let within = show_seconds(watch.gate.within.as_secs_f64());
            let why = match hopeless {
                _ if watch.kind == GateKind::Check => self.check_words(&watch),
                Some(why) => format!("{} will not hold within {within}: {why}", watch.gate.until),
                None => format!("{} did not hold within {within}", watch.gate.until),
            };
            self.shut(now, why, events);
        }
        None
    }

    /// What is said of a check that does not hold: the runbook's own words first.
    fn check_words(&self, watch: &Watch) -> String {
        let unknown = watch.last.as_ref().is_none_or(|last| last.truth == Truth::Unknown);
        let how = if unknown { "could not be measured" } else { "is not so" };
        let told = format!("`{}` {how}", watch.gate.until);
        let message = self.frames.last().and_then(|frame| {
            let Body::Verb(action) = &frame.step.body else { return None };
            let text = action.awaits()?.message?;
            let metrics = self.measurements();
            let readings = Readings { metrics: &metrics, plan: &self.plan, outputs: &self.outputs };
            let env = Told { readings, bindings: &frame.step.bindings };
            Some(Template::parse(text).map_or_else(|_| text.value.clone(), |template| template.fill(&env)))
        });
        message.map_or(told.clone(), |message| format!("{message} ({told})"))
    }

    /// A gate after the step in hand, with what was measured when that began put in: `jobs.queued < before.jobs.queued`
    /// is judged, and shown, as `jobs.queued < 32`. What was not measured then stays unknown.
    pub(super) fn with_before(&self, gate: &Gate) -> Gate {
        let Some(frame) = self.frames.last() else { return gate.clone() };
        Gate { until: Arc::new(gate.until.bound(&Before(&frame.before))), ..gate.clone() }
    }

    /// The gate of a mutating step that sets none: usage known, and not above what it was.
    pub(super) fn default_gate(&self, within: Duration, now: Moment) -> Option<Watch> {
        let text = if self.config.no_database {
            "live".to_owned()
        } else {
            match self.frames.last().and_then(|frame| frame.before.get(&Metric::Usage)) {
                Some(Value::Ratio(before)) if *before < FULL => {
                    format!("usage <= {:.1}%", (before + SLACK) * 100.0)
                }
                _ => format!("usage < {:.0}%", FULL * 100.0),
            }
        };
        let until = Arc::new(Expr::parse(&text).ok()?);
        let within = if self.config.preboot { within.max(PREBOOT_PATIENCE) } else { within };
        let gate = Gate { until, hold: Duration::ZERO, within, early: true };
        Some(self.watch(gate, GateKind::Default, now).counting_from(now.max(self.counts_from)))
    }

    pub(super) fn evaluate(&self, expr: &Expr) -> Evaluation {
        let metrics = self.measurements();
        expr.evaluate(&Readings { metrics: &metrics, plan: &self.plan, outputs: &self.outputs })
    }

    /// What the display shows of the frame in hand.
    pub(super) fn live(&self, now: Moment, awaited: Option<String>) -> Live {
        let Some(frame) = self.frames.last() else {
            return Live::default();
        };
        let mut live = Live { step: frame.step.id.clone(), awaited, ..Live::default() };
        if let Phase::Caring(vigil) = &frame.phase {
            live.gate.clone_from(&vigil.last);
            live.left = vigil.ends().since(now);
        }
        if let Phase::GateBefore(watch) | Phase::GateAfter(watch) | Phase::Climbing { watch, .. } =
            &frame.phase
        {
            live.gate.clone_from(&watch.last);
            live.held = watch.held(now);
            live.hold = watch.gate.hold;
            live.left = watch.gate.within.saturating_sub(now.since(watch.began));
        }
        live
    }

    pub(super) fn verdict(&self, now: Moment, decision: Decision, events: &mut Vec<Event>) {
        let Some(frame) = self.frames.last() else { return };
        events.push(Event::Verdict {
            step: frame.step.id.clone(),
            gate: decision.gate,
            open: decision.open,
            evaluation: decision.evaluation,
            sample: decision.sample.or_else(|| self.latest.as_ref().map(|latest| latest.number)),
            waited_ms: millis(now.since(decision.since)),
            why: decision.why,
            early: decision.early,
        });
    }
}
