//! A diagnosis as data: everything that was found, in the order in which it is told. Its JSON is what scripts read
//! (docs/diagnose.md).

use serde::Serialize;

use super::advice::{Advice, Ground, Help, advise};
use super::changed::{Changes, Traces, changed};
use super::gather::Found;
use super::holders::{Beside, Holders, holders, left_asleep};
use super::judge::{Figures, judge};
use super::traffic::{Mix, Traffic, mix, traffic};
use super::verdict::Verdict;
use crate::health::DatabaseReading;
use crate::platform::{Statement, Transaction};

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    /// 0 to 1; `None` where there is nothing to be sure of.
    pub(crate) confidence: Option<f64>,
    pub(crate) grounds: String,
    /// What to do, the most urgent first.
    pub(crate) advice: Vec<Advice>,
    /// When it began, what happened around then, and the suspect.
    pub(crate) changes: Changes,
    pub(crate) figures: Option<Figures>,
    pub(crate) growth_per_s: f64,
    pub(crate) time_to_full_s: Option<f64>,
    pub(crate) holders: Option<Holders>,
    /// Ages of sleepers: below 1 s, 10 s, 60 s, 5 min, 30 min, and above.
    pub(crate) sleeper_ages: Option<[u64; 6]>,
    /// What runs, digested.
    pub(crate) statements: Vec<Statement>,
    /// Open transactions; `None` = invisible to this account, or not asked.
    pub(crate) transactions: Option<Vec<Transaction>>,
    /// Jobs waiting in MediaWiki's queue.
    pub(crate) jobs: Option<u64>,
    pub(crate) mix: Option<Mix>,
    pub(crate) traffic: Option<Traffic>,
    /// The figures of the window, each a sentence.
    pub(crate) measured: Vec<String>,
    /// What the platform tells, each a line.
    pub(crate) platform: Vec<String>,
    /// What could not be asked, and why.
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Draws the conclusions from what was found.
    pub(crate) fn of(found: &Found) -> Self {
        let inside = found.inside.as_ref();
        let census = inside.map(|inside| &inside.census);
        let facts = found.facts.as_ref();
        let diagnosis = judge(&found.window, census, facts, found.growth);
        let running: Vec<_> = found.dynos.iter().filter(|dyno| dyno.belongs_to(&found.formation)).collect();
        let started = running.iter().filter_map(|dyno| dyno.created_at.parse().ok()).min();
        let holders = inside.map(|inside| {
            holders(
                &inside.sessions,
                &Beside {
                    own: facts.map(|facts| facts.connection_id),
                    dynos: running.iter().filter(|dyno| dyno.state == "up").count() as u64,
                    oldest_dyno_s: started.map(|at| super::changed::since(at, found.now)),
                    processes: found.processes,
                    new_per_s: diagnosis.numbers.as_ref().map_or(0.0, |numbers| numbers.new),
                },
            )
        });
        let uptime = found.window.iter().rev().find_map(|sample| match &sample.database {
            DatabaseReading::Measured(row) => Some(row.uptime as f64),
            _ => None,
        });
        let changes = changed(
            found.now,
            diagnosis.verdict,
            &Traces {
                ages: inside.iter().flat_map(|inside| &inside.sessions).filter_map(left_asleep).collect(),
                uptime_s: uptime,
                releases: &found.releases,
                dynos: &found.dynos,
                formation: &found.formation,
                logs: &found.logs,
                healthy: found.healthy.clone(),
            },
        );
        let traffic = traffic(&found.logs);
        let mix = inside.and_then(|inside| mix(&found.counters, &inside.counters));
        let web = found.formation.iter().filter(|row| row.kind == "web").map(|row| row.quantity).sum();
        let advice = advise(&Ground {
            diagnosis: &diagnosis,
            holders: holders.as_ref(),
            census,
            facts,
            mix,
            traffic: traffic.as_ref(),
            changes: &changes,
            dynos: web,
            processes: found.processes,
        });
        Self {
            verdict: diagnosis.verdict,
            confidence: diagnosis.confidence,
            grounds: diagnosis.grounds,
            advice,
            changes,
            figures: diagnosis.numbers,
            growth_per_s: found.growth.per_s,
            time_to_full_s: found.growth.time_to_full,
            holders,
            sleeper_ages: census.map(|census| census.sleeper_ages),
            statements: census.map(|census| census.statements.clone()).unwrap_or_default(),
            transactions: census.and_then(|census| census.transactions.clone()),
            jobs: census.and_then(|census| census.jobs),
            mix,
            traffic,
            measured: diagnosis.figures,
            platform: found.platform_lines(),
            notes: found.notes.clone(),
        }
    }

    /// The runbook to run next; `none` when all is well, `a person` when no runbook comes first.
    pub(crate) fn recommends(&self) -> &'static str {
        match (self.verdict, self.advice.first()) {
            (Verdict::Healthy, _) => "none",
            (_, Some(Advice { help: Help::Runbook, runbook: Some(runbook), .. })) => runbook,
            _ => "a person",
        }
    }
}
