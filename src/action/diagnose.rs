//! `diagnose`: who holds the slots, and why. It reads only, works when the database is full, and never fails a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::diagnosis::{Growth, is_enough, judge};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Reading, Shape};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Metric, Sample, Unit, Value};
use crate::platform::{Census, FaultKind};

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
        Output { name: "recommends", unit: Unit::Text, about: "the runbook to run next" },
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
        let (mut notes, mut census, mut facts) = (Vec::new(), None, None);
        match scene.observer.database() {
            None => notes.push("the database is not used in this run (--no-database)".to_owned()),
            Some(database) => {
                match database.facts() {
                    Ok(known) => facts = Some(known),
                    Err(fault) if fault.kind == FaultKind::Full => {
                        notes.push(
                            "the database is full: no login got in; what follows is the platform's side"
                                .to_owned(),
                        );
                    }
                    Err(fault) => notes.push(fault.to_string()),
                }
                if facts.is_some() {
                    match database.census() {
                        Ok(known) => census = Some(known),
                        Err(fault) => notes.push(fault.to_string()),
                    }
                }
            }
        }
        let growth = Growth {
            per_s: match scene.metrics.get(&Metric::Growth) {
                Some(Value::Rate(growth)) => *growth,
                _ => 0.0,
            },
            time_to_full: match scene.metrics.get(&Metric::TimeToFull) {
                Some(Value::Duration(Some(seconds))) => Some(*seconds),
                _ => None,
            },
        };
        let diagnosis = judge(&window, census.as_ref(), facts.as_ref(), growth);
        notes.extend(diagnosis.figures);
        if let Some(census) = &census {
            notes.extend(describe(census));
        }
        notes.extend(platform_side(scene));
        notes.push(format!("verdict: {} — {}", diagnosis.verdict.name(), diagnosis.verdict.meaning()));
        let recommends = diagnosis.verdict.recommends();
        notes.push(match recommends {
            "none" => "recommends: nothing to do".to_owned(),
            "a person" => "recommends: a person should look before anything is changed".to_owned(),
            runbook => format!("recommends: `runbook run {runbook}`"),
        });
        Ok(Next::Done(Done {
            status: Status::Acted,
            summary: format!("{}; recommends {recommends}", diagnosis.verdict.name()),
            outputs: BTreeMap::from([
                ("verdict".to_owned(), Value::Text(diagnosis.verdict.name().to_owned())),
                ("recommends".to_owned(), Value::Text(recommends.to_owned())),
            ]),
            notes,
            ..Done::default()
        }))
    }
}

/// Who holds the slots, ages, statements, transactions, jobs: each a line.
fn describe(census: &Census) -> Vec<String> {
    let mut lines: Vec<_> = census
        .groups
        .iter()
        .take(8)
        .map(|group| {
            format!(
                "  {:>4} × {} {}@{} on {}, the oldest {:.0} s",
                group.count,
                group.command,
                group.user,
                group.host,
                group.db.as_deref().unwrap_or("no schema"),
                group.oldest_ms / 1000.0
            )
        })
        .collect();
    let ages = census.sleeper_ages;
    lines.push(format!(
        "sleepers by age: {} below 1 s, {} below 10 s, {} below 60 s, {} below 5 min, {} below 30 min, {} older",
        ages[0], ages[1], ages[2], ages[3], ages[4], ages[5]
    ));
    lines.extend(census.statements.iter().take(5).map(|statement| {
        format!(
            "  {:>4} × running {:.1} s at most: {}",
            statement.count,
            statement.longest_ms / 1000.0,
            statement.digest
        )
    }));
    match &census.transactions {
        None => lines.push("open transactions: invisible to this account".to_owned()),
        Some(open) if open.is_empty() => lines.push("open transactions: none".to_owned()),
        Some(open) => {
            lines.push(format!("open transactions: {}", open.len()));
            lines.extend(open.iter().filter(|t| t.blocks > 0 && !t.waits).take(3).map(|root| {
                format!(
                    "  root blocker: session {} of {}{} blocks {}; `KILL {}` would free them, and loses what it has not committed: for a person to decide",
                    root.id,
                    root.user,
                    if root.sleeping { ", asleep," } else { "" },
                    root.blocks,
                    root.id
                )
            }));
            for transaction in open.iter().take(5) {
                let sleeping = if transaction.sleeping { ", asleep" } else { "" };
                lines.push(format!(
                    "  transaction of {} (session {}) open {} s{sleeping}, {} rows changed, blocks {}",
                    transaction.user,
                    transaction.id,
                    transaction.age_s,
                    transaction.rows_modified,
                    transaction.blocks
                ));
            }
        }
    }
    if let Some(jobs) = census.jobs {
        lines.push(format!("MediaWiki jobs waiting: {jobs}"));
    }
    lines
}

/// What Heroku tells: dynos, formation, the newest release.
fn platform_side(scene: &Scene<'_>) -> Vec<String> {
    let heroku = scene.observer.heroku();
    let mut lines = Vec::new();
    match (scene.observer.dynos(), heroku.formation()) {
        (Ok(seen), Ok(formation)) => {
            for row in &formation {
                let states: Vec<_> = seen
                    .value
                    .iter()
                    .filter(|dyno| dyno.kind == row.kind)
                    .map(|dyno| format!("{} {}", dyno.name, dyno.state))
                    .collect();
                lines.push(format!(
                    "{}: {} × {} wanted; {}",
                    row.kind,
                    row.quantity,
                    row.size,
                    states.join(", ")
                ));
            }
        }
        (Err(fault), _) | (_, Err(fault)) => lines.push(format!("platform: {fault}")),
    }
    if let Ok(releases) = heroku.releases(1)
        && let Some(newest) = releases.first()
    {
        lines.push(format!(
            "newest release: v{} ({}) at {}",
            newest.version, newest.description, newest.created_at
        ));
    }
    lines
}
