//! `kill_idle`: ends database sessions that have slept long, re-checked on the server in the same statement.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::sql;
use super::forecast;
use super::kill_limits::KillLimits;
use super::param::{Bindings, Param};
use super::scene::{Failure, Made, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, DatabaseFacts, Effect, IdleSession, KillRule, Victim};
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
    limits: KillLimits,
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
        Output {
            name: "dying",
            unit: Unit::Count,
            about: "killed sessions that roll back and hold their slot still",
        },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self {
            idle: reading.param("idle"),
            at_most: reading.param("at_most"),
            protect: reading.text_params("protect"),
            limits: KillLimits::default(),
        })
    }
}

impl KillIdle {
    fn rule(&self) -> KillRule {
        self.limits.within(KillRule {
            idle: self.idle.as_ref().map_or(CAREFUL, |idle| idle.or(CAREFUL)),
            at_most: self.at_most.as_ref().map_or(100, |at_most| at_most.or(100)),
            protect: self.protect.iter().map(|user| user.or(String::new())).collect(),
        })
    }
}

fn victim(session: &IdleSession) -> Victim {
    Victim { id: session.id, query_id: session.query_id }
}

fn outputs(known: &[(&str, u64)]) -> BTreeMap<String, Value> {
    known.iter().map(|(name, number)| ((*name).to_owned(), Value::Count(*number as f64))).collect()
}

/// What this account sees of the sessions that must not be killed: details of the plan, and what it cannot see.
fn sight(facts: &DatabaseFacts, idle: Duration) -> (Vec<String>, Vec<String>) {
    let (mut details, mut warnings) = (Vec::new(), Vec::new());
    match (facts.sees_transactions, facts.sees_locks) {
        (true, true) => {
            details.push("sessions in a transaction and sessions that hold a lock are left alone".to_owned());
        }
        (true, false) => {
            details.push("sessions in a transaction are left alone".to_owned());
            warnings.push(
                "holders of LOCK TABLES or GET_LOCK are invisible here (no metadata_lock_info plugin): only their age protects them"
                    .to_owned(),
            );
        }
        (false, true) => details.push(
            "sessions that hold a lock are left alone; a transaction that has touched a table holds one"
                .to_owned(),
        ),
        (false, false) => {
            let account = &facts.account;
            warnings.push(format!(
                "open transactions are invisible to {account}, and so are locks: a sleeper inside one cannot be told from a leak; only its age protects it"
            ));
            if idle < CAREFUL {
                warnings.push(format!(
                    "{} s is a short age for that: 60 s or more, twice the longest page, is safe",
                    idle.as_secs()
                ));
            }
        }
    }
    (details, warnings)
}

/// What became of the change, told from what was seen of it.
fn outcome(made: &Made) -> Done {
    let planned = match &made.change {
        Change::Kill { victims, .. } => victims.len() as u64,
        _ => 0,
    };
    let Effect::Killed { killed, spared, one_by_one, dying } = &made.effect else {
        // Read back after a lost answer: none of the planned sleeps on, which is all that is known.
        return Done {
            status: Status::Acted,
            summary: format!("of {planned} planned sessions none sleeps on"),
            outputs: outputs(&[("found", planned)]),
            notes: vec![
                "the answer was lost: how many of them were killed and how many woke up is not known"
                    .to_owned(),
            ],
            ..Done::default()
        };
    };
    let (killed, spared) = (killed.len() as u64, spared.len() as u64);
    let mut known = vec![("found", planned), ("killed", killed), ("spared", spared)];
    let mut notes = Vec::new();
    if *one_by_one {
        notes.push("the server refused the block: each was looked at again and killed by itself".to_owned());
    }
    match dying {
        Some(dying) => {
            known.push(("dying", *dying));
            if *dying > 0 {
                notes.push(format!(
                    "{dying} of the killed hold their slot still: they roll back a transaction, and are gone when that is done"
                ));
            }
        }
        None => notes.push("whether their slots are free could not be looked at".to_owned()),
    }
    let summary = match (killed, spared) {
        (0, spared) => format!("killed nobody: all {spared} woke up or were gone"),
        (killed, 0) => format!("killed {}", counted(killed, "idle session")),
        (killed, spared) => {
            format!("killed {}; spared {spared} that woke up or were gone", counted(killed, "idle session"))
        }
    };
    let status = if killed == 0 { Status::NothingToDo } else { Status::Acted };
    Done { status, summary, outputs: outputs(&known), notes, ..Done::default() }
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
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
        self.limits.clone_from(&bindings.kills);
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = (app, bindings);
        let KillRule { idle, at_most, protect } = self.rule();
        let idle = idle.as_secs().max(1);
        let protect = protect.iter().map(|user| format!(" AND user <> '{}'", user.replace('\'', "''")));
        let select = format!(
            "SELECT CONCAT('KILL SOFT ', id, ';') FROM information_schema.processlist WHERE command = 'Sleep' AND time >= {idle} AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1){} AND id <> CONNECTION_ID() ORDER BY time DESC LIMIT {at_most}",
            protect.collect::<String>()
        );
        vec![format!(
            "{} | database --force   # refused with 1040: restart the dynos first",
            sql(&select).replacen("database -e", "database -N -e", 1)
        )]
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
        preview.details.extend(self.limits.words());
        match database.idle_sessions(&rule) {
            Ok(sessions) => {
                let victims: Vec<_> = sessions.iter().map(victim).collect();
                if victims.is_empty() {
                    preview.details.push("no session matches now: no statement would be sent".to_owned());
                } else {
                    preview.requests.push(database.kill_sql(&victims, &rule));
                    preview.details.push(if victims.len() == 1 {
                        "1 session matches now".to_owned()
                    } else {
                        format!("{} sessions match now", victims.len())
                    });
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
                if !sessions.is_empty() {
                    preview.forecast = forecast::kill(scene, sessions.len());
                }
                preview.nothing_to_do = sessions.is_empty();
                preview.unknown.push("who is idle then: listed anew and re-checked when reached".to_owned());
            }
            Err(fault) => {
                preview.details.push(format!("now: {fault}"));
                preview.unknown.push("the sessions: listed when reached".to_owned());
            }
        }
        if let Ok(facts) = database.facts() {
            let (mut details, mut warnings) = sight(&facts, rule.idle);
            preview.details.append(&mut details);
            preview.warnings.append(&mut warnings);
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        if let Some(made) = progress.made.last() {
            return Ok(Next::Done(outcome(made)));
        }
        let rule = self.rule();
        let Some(database) = scene.observer.database() else {
            return Ok(Next::Done(Done {
                status: Status::NothingToDo,
                summary: "the database is not used in this run (--no-database)".to_owned(),
                outputs: outputs(&[("found", 0), ("killed", 0), ("spared", 0), ("dying", 0)]),
                ..Done::default()
            }));
        };
        let sessions = database.idle_sessions(&rule)?;
        if sessions.is_empty() {
            return Ok(Next::Done(Done {
                status: Status::NothingToDo,
                summary: format!("nobody has slept {} s or more", rule.idle.as_secs()),
                outputs: outputs(&[("found", 0), ("killed", 0), ("spared", 0), ("dying", 0)]),
                ..Done::default()
            }));
        }
        let victims = sessions.iter().map(victim).collect();
        Ok(Next::Change { change: Change::Kill { victims, rule }, before: Before::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Moment;

    fn made(effect: Effect) -> Made {
        let victims = (1..=3).map(|id| Victim { id, query_id: id }).collect();
        let rule = KillRule { idle: CAREFUL, at_most: 100, protect: Vec::new() };
        Made { change: Change::Kill { victims, rule }, before: Before::default(), effect, at: Moment(1) }
    }

    #[test]
    fn what_was_seen_of_a_kill_is_what_is_said_of_it() {
        let effect = |dying| Effect::Killed { killed: vec![1, 3], spared: vec![2], one_by_one: false, dying };
        let done = outcome(&made(effect(Some(0))));
        assert_eq!(done.summary, "killed 2 idle sessions; spared 1 that woke up or were gone");
        assert_eq!(done.outputs["killed"], Value::Count(2.0));
        assert!(done.notes.is_empty());
        let rolling = outcome(&made(effect(Some(1))));
        assert!(rolling.notes[0].contains("roll back"), "{:?}", rolling.notes);
        let unseen = outcome(&made(effect(None)));
        assert!(!unseen.outputs.contains_key("dying") && unseen.notes[0].contains("could not"));
        let lost = outcome(&made(Effect::FoundDone));
        assert!(!lost.outputs.contains_key("killed"), "a lost answer counts nothing");
    }

    #[test]
    fn what_is_invisible_is_said() {
        let facts = |sees_transactions, sees_locks| DatabaseFacts {
            version: String::new(),
            account: "app@%".into(),
            connection_id: 1,
            server_limit: 150,
            account_limit: 0,
            sees_transactions,
            sees_locks,
            wait_timeout: 28800,
            idle_transaction_timeout: 0,
            protection: String::new(),
        };
        let (_, blind) = sight(&facts(false, false), Duration::from_secs(10));
        assert!(blind[0].contains("transactions are invisible to app@%") && blind[1].contains("10 s"));
        assert_eq!(sight(&facts(false, false), CAREFUL).1.len(), 1);
        assert!(sight(&facts(true, false), CAREFUL).1[0].contains("GET_LOCK"));
        assert!(sight(&facts(true, true), CAREFUL).1.is_empty());
        assert!(sight(&facts(false, true), CAREFUL).1.is_empty());
    }
}
