//! `diagnose`: who holds the slots, and why. It reads only, works when the database is full, and never fails a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{measure, sql};
use super::diagnosis::{Asked, Growth, Report, gather, is_enough};
use super::param::Bindings;
use super::scene::{Failure, Progress, Scene};
use super::shape::{Reading, Shape};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Sample, Unit, Value};

/// How long the window of a verdict is waited for.
const WINDOW_PATIENCE: Duration = Duration::from_secs(15);

/// Say who holds the slots, and why.
#[derive(Debug)]
pub struct Diagnose;

impl Verb for Diagnose {
    const NAME: &'static str = "diagnose";
    const ABOUT: &'static str = "Say who holds the connections and why: leak, load, lock pile-up, churn or not ours. Reads only; never fails a run.";
    const SHAPE: &'static Shape =
        &Shape { name: "diagnose", fields: &[], short: None, empty: true, open: false };
    const OUTPUTS: &'static [Output] = &[
        Output {
            name: "verdict",
            unit: Unit::Text,
            about: "leak, load, lock pile-up, churn, not ours, healthy, unclear, full (every login refused), unknown",
        },
        Output {
            name: "recommends",
            unit: Unit::Text,
            about: "the runbook to run next; `none`, or `a person` when none comes first",
        },
        Output { name: "confidence", unit: Unit::Ratio, about: "how sure the verdict is" },
        Output {
            name: "suspect",
            unit: Unit::Text,
            about: "the release or change that it began with, when one lines up",
        },
    ];

    fn read(_: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self)
    }
}

impl Action for Diagnose {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        false
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        let mut lines = measure(crate::health::Metric::Usage, app);
        lines.push(sql("SELECT user, SUBSTRING_INDEX(host, ':', 1) host, command, state, COUNT(*) sessions, MAX(time) oldest_s FROM information_schema.processlist GROUP BY 1, 2, 3, 4 ORDER BY sessions DESC LIMIT 20"));
        lines.push("# sleepers that grow: a leak; running statements: load; one state for all: a lock; other users: not ours".to_owned());
        lines
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let _ = scene;
        Ok(Preview {
            summary: "say who holds the slots, and why (reads only)".to_owned(),
            ..Preview::default()
        })
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        // A verdict needs a window, unless it does not come.
        let window: Vec<Sample> = scene.series.samples().cloned().collect();
        if !is_enough(&window) && progress.since_last(scene.now) < WINDOW_PATIENCE {
            return Ok(Next::Wait {
                awaited: "enough samples for a verdict".to_owned(),
                again: Duration::from_millis(500),
            });
        }
        let asked = Asked { window, growth: Growth::of(scene.metrics), ..Asked::default() };
        let found = gather(scene.observer, asked);
        let report = Report::of(&found);
        let recommends = report.recommends();
        let mut notes: Vec<String> = Vec::new();
        for (label, lines) in report.sections(scene.observer.clock().wall()) {
            notes.extend(lines.into_iter().map(|line| format!("{label}: {line}")));
        }
        notes.push(format!("verdict: {} — {}", report.verdict.name(), report.verdict.meaning()));
        notes.push(match recommends {
            "none" => "recommends: nothing to do".to_owned(),
            "a person" => "recommends: a person should look before anything is changed".to_owned(),
            runbook => format!("recommends: `runbook run {runbook}`"),
        });
        let mut outputs = BTreeMap::from([
            ("verdict".to_owned(), Value::Text(report.verdict.name().to_owned())),
            ("recommends".to_owned(), Value::Text(recommends.to_owned())),
        ]);
        outputs.extend(report.confidence.map(|sure| ("confidence".to_owned(), Value::Ratio(sure))));
        outputs.extend(
            report
                .changes
                .suspect
                .as_ref()
                .map(|suspect| ("suspect".to_owned(), Value::Text(suspect.what.clone()))),
        );
        Ok(Next::Done(Done {
            status: Status::Acted,
            summary: format!("{}; recommends {recommends}", report.headline()),
            outputs,
            notes,
            ..Done::default()
        }))
    }
}
