//! What to do next, in order, each with its reason: a runbook and its rung, a slow statement, a replica, a larger plan, a
//! setting, or a person. Pure.
//!
//! It proposes. It never names a runbook that is not shipped, and never ends a transaction by itself.

use serde::Serialize;

use super::changed::{Changes, Kind};
use super::holders::Holders;
use super::judge::{DEGRADED, Diagnosis};
use super::traffic::{Mix, Traffic};
use super::verdict::Verdict;
use crate::platform::{Census, DatabaseFacts, Statement};

/// The runbooks that may be named; all of them are shipped.
pub const NAMED: [&str; 9] = [
    "add-cache",
    "deploy-fix",
    "emergency",
    "kill-idle",
    "limit-workers",
    "rollback",
    "run-jobs",
    "scale-down",
    "upgrade-plan",
];

/// A statement that runs as long is slow, in milliseconds.
const SLOW: f64 = 1000.0;
/// Share of reads from which a replica takes the load off.
const READS: f64 = 0.8;
/// Share of requests from which one visitor is no crowd.
const CRAWLER: f64 = 0.3;
/// Share of the limit that all processes together may take: what is left is for overlaps, jobs and people.
const ROOM: f64 = 0.6;
/// Jobs from which a queue is long.
const MANY_JOBS: u64 = 1000;
/// Confidence from which a suspect is acted upon.
const SUSPECTED: f64 = 0.6;

/// What kind of help it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Help {
    /// A runbook.
    Runbook,
    /// A statement that should be made faster.
    Query,
    /// A replica for reads.
    Replica,
    /// A larger plan of the database.
    Plan,
    /// A setting of the app or the server.
    Setting,
    /// Something that a person must look at.
    Person,
}

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Advice {
    pub(crate) help: Help,
    /// The runbook, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runbook: Option<&'static str>,
    /// The rung or step of it that will help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rung: Option<&'static str>,
    /// What to do.
    pub(crate) what: String,
    /// Why.
    pub(crate) why: String,
}

/// What the advice is drawn from.
pub(super) struct Ground<'a> {
    pub(super) diagnosis: &'a Diagnosis,
    pub(super) holders: Option<&'a Holders>,
    pub(super) census: Option<&'a Census>,
    pub(super) facts: Option<&'a DatabaseFacts>,
    pub(super) mix: Option<Mix>,
    pub(super) traffic: Option<&'a Traffic>,
    pub(super) changes: &'a Changes,
    /// Web dynos that are to run, and PHP processes of each.
    pub(super) dynos: u64,
    pub(super) processes: Option<u64>,
}

fn run(runbook: &'static str, rung: Option<&'static str>, why: impl Into<String>) -> Advice {
    let what = match rung {
        Some(rung) => format!("`runbook run {runbook}` (its rung `{rung}`)"),
        None => format!("`runbook run {runbook}`"),
    };
    Advice { help: Help::Runbook, runbook: Some(runbook), rung, what, why: why.into() }
}

/// A runbook that is more than a cure: it costs money, or belongs to a kind of its own.
fn runs(help: Help, runbook: &'static str, why: impl Into<String>) -> Advice {
    Advice { help, ..run(runbook, None, why) }
}

fn other(help: Help, what: impl Into<String>, why: impl Into<String>) -> Advice {
    Advice { help, runbook: None, rung: None, what: what.into(), why: why.into() }
}

/// The advice, the most urgent first.
pub(super) fn advise(ground: &Ground<'_>) -> Vec<Advice> {
    let mut advice = match ground.diagnosis.verdict {
        Verdict::Healthy => Vec::new(),
        Verdict::Leak => ground.leak(),
        Verdict::Load => ground.load(),
        Verdict::Locks => ground.locks(),
        Verdict::Churn => ground.churn(),
        Verdict::NotOurs => vec![
            other(
                Help::Person,
                "ask who else uses the server (the provider, or the other apps that share the add-on)",
                "other accounts hold the slots: no runbook of this app can free them",
            ),
            runs(
                Help::Plan,
                "upgrade-plan",
                "a plan with a server of its own: on a shared one the neighbours' connections count against the same limit",
            ),
        ],
        Verdict::Full => vec![run(
            "emergency",
            Some("restart"),
            "no login gets in, so nothing can be ended from inside: the restart frees slots from the platform's side, and then the cause can be seen",
        )],
        Verdict::Unclear => ground.unclear(),
        Verdict::Unknown => vec![other(
            Help::Person,
            "look why the database cannot be asked",
            "without it only the platform's side is known",
        )],
    };
    advice.extend(ground.queue());
    advice
}

impl Ground<'_> {
    fn usage(&self) -> f64 {
        self.diagnosis.numbers.as_ref().map_or(0.0, |numbers| numbers.used / numbers.limit)
    }

    /// The suspect, where it is a release that can be gone back from.
    fn gone_back(&self) -> Option<Advice> {
        let suspect = self.changes.suspect.as_ref().filter(|suspect| suspect.confidence >= SUSPECTED)?;
        matches!(suspect.kind, Kind::Deploy | Kind::Config | Kind::Release)
            .then(|| run("rollback", None, format!("it began with {}: {}", suspect.what, suspect.why)))
    }

    fn leak(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        let none = Holders::default();
        let holders = self.holders.unwrap_or(&none);
        let numbers = self.diagnosis.numbers.as_ref();
        let asleep = numbers.map_or(0.0, |numbers| numbers.asleep);
        let pressing = self.usage() >= DEGRADED || numbers.is_some_and(|numbers| numbers.refused > 0.0);
        if holders.orphans as f64 >= 0.8 * asleep && holders.orphans > 0 {
            advice.push(run(
                "kill-idle",
                None,
                format!("{} sleepers were left by dynos that are gone: what runs now does not leak, and no restart ends them", holders.orphans),
            ));
            return advice;
        }
        advice.push(run(
            "deploy-fix",
            None,
            "sessions are opened and not closed: only the fix ends that; it makes room first",
        ));
        if pressing {
            let idle = holders.idle as f64;
            advice.push(if idle >= 0.3 * asleep {
                run(
                    "emergency",
                    Some("kill-idle"),
                    format!("until the fix is out: {idle:.0} sessions have slept a minute or more, and ending them frees their slots at once"),
                )
            } else {
                run(
                    "emergency",
                    Some("restart"),
                    format!(
                        "until the fix is out: only {idle:.0} of {asleep:.0} sleepers have slept a minute, so ending idle ones frees little, and a restart frees all{}",
                        match holders.left_per_s {
                            Some(rate) => format!("; they come back, {rate:.1} a second or more"),
                            None => String::new(),
                        }
                    ),
                )
            });
        }
        advice.extend(self.gone_back());
        if let Some(facts) = self.facts.filter(|facts| facts.wait_timeout > 300) {
            advice.push(other(
                Help::Setting,
                "`wait_timeout` of 60 to 120 s, twice the longest request",
                format!(
                    "a session left asleep lives {} s now; without SUPER the app can set it for each session when it connects (`SET SESSION wait_timeout=120`)",
                    facts.wait_timeout
                ),
            ));
        }
        advice
    }

    fn load(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        if self.dynos > 1 {
            advice.push(run(
                "scale-down",
                None,
                "the slots are at work, so ending idle sessions frees none: fewer dynos ask for less at once; visitors wait longer instead of failing",
            ));
        }
        advice.extend(self.fewer_processes());
        if let Some((visitor, share)) = self
            .traffic
            .and_then(|traffic| traffic.top_visitor.as_ref())
            .filter(|(_, share)| *share >= CRAWLER)
        {
            advice.push(other(
                Help::Person,
                format!("look at the visitor {visitor}"),
                format!("{:.0} % of the requests in the log are its: that is a crawler or an attack, to be slowed down before a larger plan is paid for", 100.0 * share),
            ));
        }
        let slow = self.slow();
        advice.extend(slow.iter().map(|statement| {
            other(
                Help::Query,
                format!("make this faster (an index, a cache, or leave it out): {}", statement.digest),
                format!(
                    "{} sessions run it, the longest for {:.1} s: each holds its slot as long",
                    statement.count,
                    statement.longest_ms / 1000.0
                ),
            )
        }));
        if let Some(mix) = self.mix.filter(|mix| mix.reads >= READS) {
            let share = format!("{:.0} % of {} statements are reads", 100.0 * mix.reads, mix.statements);
            advice.push(run("add-cache", None, format!("{share}: what a cache answers asks no database")));
            advice.push(other(
                Help::Replica,
                "a read replica (JawsDB's dashboard), named in `$wgDBservers`",
                format!("{share}: they need not go to the one server that writes"),
            ));
        }
        advice.push(runs(
            Help::Plan,
            "upgrade-plan",
            if slow.is_empty() {
                "if the traffic is legitimate: no statement is slow, so the work itself is more than the plan takes"
            } else {
                "only once the statements above are fast and it is still full: a slow statement fills a larger plan, too"
            },
        ));
        advice
    }

    /// Fewer PHP processes, where all of them together may open more than there is room for.
    fn fewer_processes(&self) -> Option<Advice> {
        let limit = self.diagnosis.numbers.as_ref()?.limit;
        let processes = self.processes.filter(|_| self.dynos > 0)?;
        let (may_open, room) = (processes * self.dynos, ROOM * limit);
        let fits = (1..processes).rev().find(|fewer| (fewer * self.dynos) as f64 <= room)?;
        (may_open as f64 > room).then(|| Advice {
            what: format!("`runbook run limit-workers --set workers={fits}`"),
            ..run(
                "limit-workers",
                None,
                format!(
                    "{} dynos with {processes} PHP processes each may open {may_open} connections, one a process, and the limit is {limit:.0}",
                    self.dynos
                ),
            )
        })
    }

    /// Statements that are slow and common enough to matter, the one that holds most first.
    fn slow(&self) -> Vec<&Statement> {
        let mut slow: Vec<&Statement> = self
            .census
            .iter()
            .flat_map(|census| &census.statements)
            .filter(|statement| statement.longest_ms >= SLOW)
            .collect();
        slow.sort_by(|a, b| {
            let held = |statement: &Statement| statement.count as f64 * statement.longest_ms;
            held(b).total_cmp(&held(a))
        });
        slow.truncate(3);
        slow
    }

    fn locks(&self) -> Vec<Advice> {
        let open = self.census.and_then(|census| census.transactions.as_ref());
        let roots = open.into_iter().flatten().filter(|t| t.blocks > 0 && !t.waits);
        let mut advice: Vec<Advice> = roots
            .take(3)
            .map(|root| {
                other(
                    Help::Person,
                    format!("decide about session {} of {}: `KILL {}` ends it", root.id, root.user, root.id),
                    format!(
                        "it{} waits for nobody, is {} s old and blocks {}; what it has not committed ({} rows) is lost with it",
                        if root.sleeping { " sleeps," } else { "" },
                        root.age_s,
                        root.blocks,
                        root.rows_modified
                    ),
                )
            })
            .collect();
        if advice.is_empty() {
            let sees = self.facts.is_some_and(|facts| facts.sees_transactions);
            advice.push(other(
                Help::Person,
                "find what holds the lock: the oldest session that waits for nobody, an ALTER, a dump or a forgotten transaction",
                if sees {
                    "those at work wait, and no open transaction blocks them: it is a lock of a table"
                } else {
                    "those at work wait; who holds the lock is invisible to this account, and visible with PROCESS"
                },
            ));
            advice.push(run(
                "emergency",
                Some("restart"),
                "when the holder is a session of the app itself, a restart ends it with the others",
            ));
        }
        advice.push(other(
            Help::Setting,
            "`idle_transaction_timeout` of 30 to 60 s and `lock_wait_timeout` of 30 s",
            "a forgotten transaction then ends by itself, and a waiting page fails before it holds a slot for minutes",
        ));
        advice
    }

    fn churn(&self) -> Vec<Advice> {
        let mut advice = vec![run(
            "deploy-fix",
            None,
            "sessions come and go by the dozen: with the fix a page opens fewer, and keeps them for its length",
        )];
        advice.extend(self.gone_back());
        advice.push(other(
            Help::Setting,
            "one connection a page: which extension opens the others?",
            "each login costs the server more than most statements; `wait_timeout` does not matter here",
        ));
        advice
    }

    fn unclear(&self) -> Vec<Advice> {
        match self.holders.and_then(|holders| holders.persistent.as_ref()) {
            Some(persistent) => vec![other(
                Help::Setting,
                "persistent connections off, or as many as the limit allows",
                persistent.clone(),
            )],
            None => vec![other(
                Help::Person,
                "look at who holds the slots, below",
                "the figures fit no known pattern",
            )],
        }
    }

    fn queue(&self) -> Option<Advice> {
        let jobs = self.census?.jobs.filter(|jobs| *jobs >= MANY_JOBS)?;
        Some(run(
            "run-jobs",
            None,
            format!(
                "{jobs} jobs wait in MediaWiki's queue: where pages run them, each page holds its connection longer; `$wgJobRunRate = 0` keeps them apart"
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::changed::Suspect;
    use super::super::judge::Figures;
    use super::*;
    use crate::platform::Transaction;

    fn diagnosis(verdict: Verdict) -> Diagnosis {
        let numbers = Figures {
            used: 148.0,
            limit: 150.0,
            of_account: false,
            own: 148.0,
            asleep: 140.0,
            running: 4.0,
            waiting: 0.0,
            new: 3.0,
            refused: 5.0,
            dropped: 0.0,
            more_used: 0.0,
            more_asleep: 0.0,
            samples: 12,
            span_s: 11.0,
            longest_query_s: 0.0,
        };
        Diagnosis {
            verdict,
            confidence: None,
            grounds: String::new(),
            figures: Vec::new(),
            numbers: Some(numbers),
        }
    }

    fn ground<'a>(diagnosis: &'a Diagnosis, changes: &'a Changes) -> Ground<'a> {
        Ground {
            diagnosis,
            holders: None,
            census: None,
            facts: None,
            mix: None,
            traffic: None,
            changes,
            dynos: 2,
            processes: None,
        }
    }

    fn told(advice: &[Advice]) -> Vec<(Help, Option<&str>, Option<&str>)> {
        advice.iter().map(|one| (one.help, one.runbook, one.rung)).collect()
    }

    #[test]
    fn a_leak_gets_the_fix_and_the_rung_that_frees_slots_until_then() {
        let (leak, changes) = (diagnosis(Verdict::Leak), Changes::default());
        let old = Holders { idle: 100, ..Holders::default() };
        let young = Holders { idle: 3, left_per_s: Some(2.5), ..Holders::default() };
        let with = |holders, changes| advise(&Ground { holders: Some(holders), ..ground(&leak, changes) });
        assert_eq!(
            told(&with(&old, &changes)),
            [
                (Help::Runbook, Some("deploy-fix"), None),
                (Help::Runbook, Some("emergency"), Some("kill-idle"))
            ]
        );
        let restart = with(&young, &changes);
        assert_eq!(restart[1].rung, Some("restart"));
        assert!(restart[1].why.contains("2.5 a second or more"), "{restart:?}");
        let orphans = Holders { orphans: 130, idle: 130, ..Holders::default() };
        assert_eq!(told(&with(&orphans, &changes)), [(Help::Runbook, Some("kill-idle"), None)]);
        let suspected = [0.9, 0.4].map(|confidence| Changes {
            suspect: Some(Suspect {
                at: jiff::Timestamp::UNIX_EPOCH,
                kind: Kind::Deploy,
                what: "v12 Deploy".into(),
                confidence,
                why: "it began 5s after it".into(),
            }),
            ..Changes::default()
        });
        assert_eq!(with(&young, &suspected[0])[2].runbook, Some("rollback"));
        assert_eq!(with(&young, &suspected[1]).len(), 2, "a weak suspicion is told, not acted upon");
    }

    #[test]
    fn a_load_gets_its_slow_statement_a_replica_and_a_larger_plan_with_reasons() {
        let (load, changes) = (diagnosis(Verdict::Load), Changes::default());
        let statement = |digest: &str, count, longest_ms| Statement {
            digest: digest.into(),
            state: String::new(),
            count,
            longest_ms,
        };
        let census = Census {
            statements: vec![statement("SELECT quick", 90, 20.0), statement("SELECT SLEEP(?)", 100, 2000.0)],
            ..Census::default()
        };
        let advice = advise(&Ground {
            census: Some(&census),
            mix: Some(Mix { reads: 0.97, statements: 5000 }),
            processes: Some(80),
            ..ground(&load, &changes)
        });
        let helps: Vec<_> = advice.iter().map(|one| one.help).collect();
        assert_eq!(
            helps,
            [Help::Runbook, Help::Runbook, Help::Query, Help::Runbook, Help::Replica, Help::Plan]
        );
        let named: Vec<_> = advice.iter().filter_map(|one| one.runbook).collect();
        assert_eq!(named, ["scale-down", "limit-workers", "add-cache", "upgrade-plan"]);
        assert!(advice[1].what.contains("--set workers=45"), "{advice:?}");
        assert!(
            advice[1].why.contains("160 connections") && advice[2].what.contains("SELECT SLEEP(?)"),
            "{advice:?}"
        );
        assert!(advice[5].why.contains("once the statements above are fast"), "{advice:?}");
        let traffic = Traffic { top_visitor: Some(("203.0.113.9".into(), 0.5)), ..Traffic::default() };
        let fast = advise(&Ground { dynos: 1, traffic: Some(&traffic), ..ground(&load, &changes) });
        assert_eq!(told(&fast), [(Help::Person, None, None), (Help::Plan, Some("upgrade-plan"), None)]);
        assert!(fast[1].why.contains("if the traffic is legitimate"), "{fast:?}");
    }

    #[test]
    fn a_lock_gets_its_root_blocker_named_and_never_ended() {
        let (locks, changes) = (diagnosis(Verdict::Locks), Changes::default());
        let transaction = |id, blocks, waits| Transaction {
            id,
            user: "wiki".into(),
            age_s: 40,
            rows_modified: 7,
            state: String::new(),
            sleeping: true,
            blocks,
            waits,
        };
        let census = Census {
            transactions: Some(vec![transaction(5, 2, false), transaction(6, 1, true)]),
            ..Census::default()
        };
        let advice = advise(&Ground { census: Some(&census), ..ground(&locks, &changes) });
        assert_eq!((advice[0].help, advice.len()), (Help::Person, 2));
        assert!(advice[0].what.contains("`KILL 5`") && advice[0].why.contains("7 rows"), "{advice:?}");
        let blind = advise(&ground(&locks, &changes));
        assert!(blind[0].why.contains("visible with PROCESS"), "{blind:?}");
    }

    #[test]
    fn every_verdict_but_health_gets_advice_and_a_long_queue_does() {
        let changes = Changes::default();
        for verdict in [
            Verdict::Leak,
            Verdict::Load,
            Verdict::Locks,
            Verdict::Churn,
            Verdict::NotOurs,
            Verdict::Unclear,
            Verdict::Full,
            Verdict::Unknown,
        ] {
            let advice = advise(&ground(&diagnosis(verdict), &changes));
            assert!(!advice.is_empty() && advice.iter().all(|one| !one.why.is_empty()), "{verdict:?}");
            for runbook in advice.iter().filter_map(|one| one.runbook) {
                assert!(NAMED.contains(&runbook), "{runbook}");
            }
        }
        assert_eq!(advise(&ground(&diagnosis(Verdict::Healthy), &changes)), []);
        let census = Census { jobs: Some(5000), ..Census::default() };
        let healthy = diagnosis(Verdict::Healthy);
        let queue = advise(&Ground { census: Some(&census), ..ground(&healthy, &changes) });
        assert!(queue[0].runbook == Some("run-jobs") && queue[0].why.contains("$wgJobRunRate"), "{queue:?}");
    }
}
