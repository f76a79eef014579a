//! `kill_idle`: ends database sessions that have slept long, re-checked on the server in the same statement.

use std::collections::BTreeMap;
use std::time::Duration;

use super::param::{Bindings, Param};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, Effect, IdleSession, KillRule, Victim};
use crate::source::Diagnostic;

/// Victims listed in a preview.
const SHOWN: usize = 10;
/// Sleepers younger than this may be a page between two queries.
const CAREFUL: Duration = Duration::from_secs(60);

/// End idle database sessions.
#[derive(Debug)]
pub struct KillIdle {
    idle: Option<Param<Duration>>,
    at_most: Option<Param<u64>>,
    protect: Vec<Param<String>>,
}

impl Verb for KillIdle {
    const NAME: &'static str = "kill_idle";
    const ABOUT: &'static str = "End database sessions that have slept long. Finding none is success.";
    const SHAPE: &'static Shape = &Shape {
        name: "kill_idle",
        fields: &[
            optional(
                "idle",
                Kind::Duration,
                "Only sessions that have slept at least this long. Default: 60s, which is longer than a page takes.",
            ),
            optional("at_most", Kind::Count, "At most this many, oldest first, 1 to 5000. Default: 100."),
            optional("protect", Kind::Texts, "Users never touched, besides system and provider users."),
        ],
        short: None,
        empty: true,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "found", unit: Unit::Count, about: "sessions planned" },
        Output { name: "killed", unit: Unit::Count, about: "sessions really killed" },
        Output { name: "spared", unit: Unit::Count, about: "sessions that woke up or were gone" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self {
            idle: reading.param("idle"),
            at_most: reading.param("at_most"),
            protect: reading.text_params("protect"),
        })
    }
}

impl KillIdle {
    fn rule(&self) -> KillRule {
        KillRule {
            idle: self.idle.as_ref().map_or(CAREFUL, |idle| idle.or(CAREFUL)),
            at_most: self.at_most.as_ref().map_or(100, |at_most| at_most.or(100)),
            protect: self.protect.iter().map(|user| user.or(String::new())).collect(),
        }
    }
}

fn victim(session: &IdleSession) -> Victim {
    Victim { id: session.id, query_id: session.query_id }
}

fn outputs(found: u64, killed: u64, spared: u64) -> BTreeMap<String, Value> {
    [("found", found), ("killed", killed), ("spared", spared)]
        .into_iter()
        .map(|(name, number)| (name.to_owned(), Value::Count(number as f64)))
        .collect()
}

impl Action for KillIdle {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        if let Some(idle) = &mut self.idle {
            idle.bind_within(bindings, &(Duration::from_secs(1)..=Duration::from_secs(86_400)), &mut faults);
            if faults.is_empty() && idle.or(CAREFUL) < CAREFUL {
                let fault = Diagnostic::error(
                    idle.text.span,
                    "sleepers younger than 60s may be pages between two queries",
                );
                faults.push(fault.help("killing them breaks those pages: 60s or more is safe").warning());
            }
        }
        if let Some(at_most) = &mut self.at_most {
            at_most.bind_within(bindings, &(1..=5000), &mut faults);
        }
        for user in &mut self.protect {
            user.bind(bindings, &mut faults);
        }
        faults
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let rule = self.rule();
        let Some(database) = scene.observer.database() else {
            return Ok(Preview {
                summary: "nothing: the database is not used in this run (--no-database)".to_owned(),
                nothing_to_do: true,
                ..Preview::default()
            });
        };
        let mut preview = Preview {
            summary: format!(
                "end up to {} sessions that have slept {} s or more",
                rule.at_most,
                rule.idle.as_secs()
            ),
            ..Preview::default()
        };
        if rule.idle < CAREFUL {
            preview.warnings.push(format!(
                "sleepers younger than {} s may be pages between two queries: killing them breaks those pages",
                CAREFUL.as_secs()
            ));
        }
        match database.idle_sessions(&rule) {
            Ok(sessions) => {
                let victims: Vec<_> = sessions.iter().map(victim).collect();
                if victims.is_empty() {
                    preview.details.push("no session matches now: no statement would be sent".to_owned());
                } else {
                    preview.requests.push(database.kill_sql(&victims, &rule));
                    preview.details.push(format!("{} sessions match now", sessions.len()));
                }
                preview.details.extend(sessions.iter().take(SHOWN).map(|session| {
                    format!(
                        "  {} {}@{} asleep {:.0} s",
                        session.id,
                        session.user,
                        session.host,
                        session.idle_ms / 1000.0
                    )
                }));
                if sessions.len() > SHOWN {
                    preview.details.push(format!("  … and {} more, each younger", sessions.len() - SHOWN));
                }
                preview.nothing_to_do = sessions.is_empty();
                preview.unknown.push("who is idle then: listed anew and re-checked when reached".to_owned());
            }
            Err(fault) => {
                preview.details.push(format!("now: {fault}"));
                preview.unknown.push("the sessions: listed when reached".to_owned());
            }
        }
        if let Ok(facts) = database.facts()
            && !facts.sees_transactions
        {
            preview.warnings.push(format!(
                "open transactions are invisible to {}: a sleeper inside one cannot be told from a leak; only its age protects it",
                facts.account
            ));
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        if let Some(made) = progress.made.last() {
            let planned = match &made.change {
                Change::Kill { victims, .. } => victims.len() as u64,
                _ => 0,
            };
            let (killed, spared, note) = match &made.effect {
                Effect::Killed { killed, spared, one_by_one } => {
                    let note =
                        one_by_one.then(|| "the server refused the block: killed one by one".to_owned());
                    (killed.len() as u64, spared.len() as u64, note)
                }
                // Read back after a lost answer: of the planned none sleeps on.
                _ => (planned, 0, Some("the answer was lost; the sessions are gone".to_owned())),
            };
            return Ok(Next::Done(Done {
                status: Status::Acted,
                summary: format!(
                    "killed {killed} idle sessions; {spared} woke up or were gone and were spared"
                ),
                outputs: outputs(planned, killed, spared),
                notes: note.into_iter().collect(),
                ..Done::default()
            }));
        }
        let rule = self.rule();
        let Some(database) = scene.observer.database() else {
            return Ok(Next::Done(Done {
                status: Status::NothingToDo,
                summary: "the database is not used in this run (--no-database)".to_owned(),
                outputs: outputs(0, 0, 0),
                ..Done::default()
            }));
        };
        let sessions = database.idle_sessions(&rule)?;
        if sessions.is_empty() {
            return Ok(Next::Done(Done {
                status: Status::NothingToDo,
                summary: format!("nobody has slept {} s or more", rule.idle.as_secs()),
                outputs: outputs(0, 0, 0),
                ..Done::default()
            }));
        }
        let victims = sessions.iter().map(victim).collect();
        Ok(Next::Change { change: Change::Kill { victims, rule }, before: Before::default() })
    }
}
