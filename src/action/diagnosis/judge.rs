//! What is wrong with the connections: leak, load, lock pile-up, churn, or not ours. Pure: figures in, verdict out.

use std::time::Duration;

use serde::Serialize;

use super::confidence::unmeasured;
use super::verdict::Verdict;
use crate::health::{
    DatabaseReading, DatabaseSample, Sample, refusals_count, refused_between, show_seconds, tighter,
};
use crate::platform::{Census, DatabaseFacts};

/// Usage below which it is healthy, and from which it is degraded: what lies between is neither.
pub(super) const LOW: f64 = 0.40;
pub(super) const DEGRADED: f64 = 0.80;
/// New sessions a second above which sleepers come and go; below it they are persistent connections.
pub(super) const COMING: f64 = 0.1;
/// Share of used slots asleep that makes a leak.
pub(super) const ASLEEP: f64 = 0.6;
/// Share of used slots at work that makes a load.
pub(super) const AT_WORK: f64 = 0.4;

/// Full within this many seconds at the present growth is no health.
const FILLING: f64 = 3600.0;

/// The figures of a window and what they say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Diagnosis {
    pub(crate) verdict: Verdict,
    /// How sure it is, 0 to 1; `None` where there is nothing to be sure of.
    pub(crate) confidence: Option<f64>,
    /// What the confidence rests on, in a sentence.
    pub(crate) grounds: String,
    /// The figures behind it, each a line.
    pub(crate) figures: Vec<String>,
    /// The same as numbers; `None` when no sample was measured.
    pub(crate) numbers: Option<Figures>,
}

/// Samples that a verdict needs, and the time that they must span: rates of less are chance.
pub(super) const WINDOW: usize = 5;
pub(super) const WINDOW_SPAN: Duration = Duration::from_secs(10);

/// Whether a window says enough for a verdict. Refused logins have no rates to wait for, and low usage needs none.
pub(crate) fn is_enough(window: &[Sample]) -> bool {
    let [first, .., last] = window else { return false };
    let calm = window.iter().all(|sample| match &sample.database {
        DatabaseReading::Measured(row) => {
            let (used, limit) = tighter(row);
            used < LOW * limit
        }
        DatabaseReading::Refused { .. } => false,
        DatabaseReading::Failed(_) | DatabaseReading::Unknown(_) => true,
    });
    let measured = window.iter().any(|sample| matches!(sample.database, DatabaseReading::Measured(_)));
    window.len() >= WINDOW && (calm || !measured || last.at.since(first.at) >= WINDOW_SPAN)
}

/// What is known of growth: connections a second (zero within the noise), and seconds until full.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Growth {
    pub(crate) per_s: f64,
    pub(crate) time_to_full: Option<f64>,
}

/// Medians and rates over a window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figures {
    /// Used and limit, of the account where that is closer to full, else of the server.
    pub(crate) used: f64,
    pub(crate) limit: f64,
    pub(crate) of_account: bool,
    /// Sessions of our account.
    pub(crate) own: f64,
    /// Asleep for a second or more.
    pub(crate) asleep: f64,
    pub(crate) running: f64,
    pub(crate) waiting: f64,
    /// A second.
    #[serde(rename = "new_per_s")]
    pub(crate) new: f64,
    #[serde(rename = "refused_per_s")]
    pub(crate) refused: f64,
    #[serde(rename = "dropped_per_s")]
    pub(crate) dropped: f64,
    /// What was gained over the window.
    pub(crate) more_used: f64,
    pub(crate) more_asleep: f64,
    /// Samples that were measured, and the time that they span, in seconds.
    pub(crate) samples: usize,
    pub(crate) span_s: f64,
    /// The longest statement seen, in seconds.
    pub(crate) longest_query_s: f64,
}

impl Figures {
    fn of(measured: &[(&Sample, &DatabaseSample)], census: Option<&Census>) -> Option<Self> {
        let (_, first) = measured.first()?;
        let (_, last) = measured.last()?;
        let of_account =
            last.account_limit > 0 && tighter(last) == (last.own as f64, last.account_limit as f64);
        let used = |row: &DatabaseSample| if of_account { row.own } else { row.connected } as f64;
        let asleep = |row: &DatabaseSample| row.sleeping_at_least[0] as f64;
        // `Threads_running` is the whole server's; of our account at work are those at most that do not sleep.
        let running = |row: &DatabaseSample| {
            let awake = row.own.saturating_sub(row.sleeping);
            if of_account { row.running.min(awake) } else { row.running }
        };
        let row_waits = |row: &DatabaseSample| row.transactions.map_or(0, |open| open.row_waits);
        let seen_waits = census
            .and_then(|census| census.transactions.as_ref())
            .map_or(0, |open| open.iter().filter(|transaction| transaction.waits).count());
        let waiting = median(measured.iter().map(|(_, row)| (row.lock_waiters + row_waits(row)) as f64));
        let (new, refused, dropped) = rates(measured);
        Some(Self {
            used: median(measured.iter().map(|(_, row)| used(row))),
            limit: tighter(last).1.max(1.0),
            of_account,
            own: last.own as f64,
            asleep: median(measured.iter().map(|(_, row)| asleep(row))),
            running: median(measured.iter().map(|(_, row)| running(row) as f64)),
            waiting: waiting.max(seen_waits as f64),
            new,
            refused,
            dropped,
            more_used: used(last) - used(first),
            more_asleep: asleep(last) - asleep(first),
            samples: measured.len(),
            span_s: measured
                .first()
                .zip(measured.last())
                .map_or(0.0, |((a, _), (b, _))| b.at.since(a.at).as_secs_f64()),
            longest_query_s: measured.iter().map(|(_, row)| row.longest_query_ms).fold(0.0, f64::max)
                / 1000.0,
        })
    }

    fn lines(&self) -> Vec<String> {
        let Self { used, limit, own, asleep, running, waiting, new, refused, dropped, .. } = self;
        vec![
            if self.of_account {
                format!(
                    "{used:.0} of this account's {limit:.0} connections used ({:.0} %)",
                    100.0 * used / limit
                )
            } else {
                format!(
                    "{used:.0} of {limit:.0} slots used ({:.0} %), {own:.0} of them ours",
                    100.0 * used / limit
                )
            },
            format!(
                "{asleep:.0} asleep for 1 s or more, {running:.0} at work, {waiting:.0} waiting for a lock"
            ),
            format!(
                "{new:.1} new sessions a second, {refused:.1} logins refused a second, {dropped:.1} sessions dropped without goodbye a second"
            ),
            format!("over the window: used {:+.0}, asleep {:+.0}", self.more_used, self.more_asleep),
        ]
    }

    fn verdict(&self, refused_logins: usize, growth: Growth) -> Verdict {
        let Self { used, limit, asleep, running, .. } = *self;
        let usage = used / limit;
        let refusing = self.refused > 0.0 || refused_logins > 0;
        let storm = self.new > 2.0 * limit;
        let leaking = asleep >= ASLEEP * used && running <= 0.1 * used.max(1.0);
        if usage < LOW && !refusing {
            // Low, but rising by sessions that nobody closes: the incident before it is one.
            let filling = growth.time_to_full.is_some_and(|seconds| seconds < FILLING);
            return match (storm, filling && leaking) {
                (true, _) => Verdict::Churn,
                (_, true) => Verdict::Leak,
                _ => Verdict::Healthy,
            };
        }
        let degraded = usage >= DEGRADED || refusing;
        let at_work = running >= AT_WORK * used;
        if !self.of_account && self.own < 0.5 * used {
            Verdict::NotOurs
        } else if leaking && (degraded || growth.per_s > 0.0 || self.new > COMING) {
            Verdict::Leak
        } else if at_work && self.waiting >= 0.5 * running {
            Verdict::Locks
        } else if at_work && !storm {
            Verdict::Load
        } else if storm || (self.new >= used && asleep < ASLEEP * used) {
            // As many new ones a second as there are: each lives a second or less.
            Verdict::Churn
        } else if degraded && asleep >= ASLEEP * used {
            Verdict::Leak
        } else {
            Verdict::Unclear
        }
    }
}

/// Judges a window of samples, oldest first.
pub(crate) fn judge(
    window: &[Sample],
    census: Option<&Census>,
    facts: Option<&DatabaseFacts>,
    growth: Growth,
) -> Diagnosis {
    let measured: Vec<(&Sample, &DatabaseSample)> = window
        .iter()
        .filter_map(|sample| match &sample.database {
            DatabaseReading::Measured(row) => Some((sample, row)),
            _ => None,
        })
        .collect();
    let refused =
        window.iter().filter(|sample| matches!(sample.database, DatabaseReading::Refused { .. })).count();
    let turned_away = format!("{refused} of {} samples were refused logins", window.len());
    let Some(seen) = Figures::of(&measured, census) else {
        let verdict = if refused > 0 { Verdict::Full } else { Verdict::Unknown };
        let (confidence, grounds) = unmeasured(verdict, refused, window.len());
        return Diagnosis {
            verdict,
            confidence,
            grounds,
            figures: vec![format!("{turned_away}; none was measured")],
            numbers: None,
        };
    };
    let mut figures = seen.lines();
    if refused > 0 {
        figures.push(turned_away);
    }
    if let Some(seconds) = growth.time_to_full.filter(|_| growth.per_s > 0.0) {
        figures.push(format!(
            "growing by {:.1} a second: full in {} if it goes on",
            growth.per_s,
            show_seconds(seconds)
        ));
    }
    let verdict = seen.verdict(refused, growth);
    if let Some(facts) = facts {
        figures.extend(settings(facts));
        if let Some(census) = census
            && !facts.sees_transactions
        {
            figures.extend(row_waits_likely(census));
        }
    }
    let (confidence, grounds) = seen.confidence(verdict, window.len());
    Diagnosis { verdict, confidence, grounds, figures, numbers: Some(seen) }
}

/// The server's settings and our rights.
fn settings(facts: &DatabaseFacts) -> Vec<String> {
    let account = match facts.account_limit {
        0 => String::new(),
        limit => format!(", {limit} for the account"),
    };
    let mut lines = vec![format!(
        "limit {} for the server{account}; wait_timeout {} s: a session left asleep lives that long; idle_transaction_timeout {}",
        facts.server_limit,
        facts.wait_timeout,
        match facts.idle_transaction_timeout {
            0 => "off".to_owned(),
            seconds => format!("{seconds} s"),
        }
    )];
    if !facts.sees_transactions {
        lines.push(format!(
            "{} sees its own sessions only, and neither transactions nor waits for row locks",
            facts.account
        ));
    }
    lines
}

/// Where transactions are invisible, waits for row locks are too; what they look like from outside can be said.
fn row_waits_likely(census: &Census) -> Option<String> {
    let standing: u64 = census
        .statements
        .iter()
        .filter(|statement| {
            let state = statement.state.to_ascii_lowercase();
            (state == "updating" || state == "statistics") && statement.longest_ms >= 1000.0
        })
        .map(|statement| statement.count)
        .sum();
    (standing > 0).then(|| {
        format!(
            "{standing} of those at work stand in `Updating` or `Statistics`, the longest for a second or more: waits for row locks look like that, and an account with PROCESS could tell"
        )
    })
}

/// New sessions, refusals and sessions dropped without goodbye, a second; pairs across a server's restart are left
/// out, and refusals where the server has room (they are scanners).
fn rates(measured: &[(&Sample, &DatabaseSample)]) -> (f64, f64, f64) {
    let (mut new, mut refused, mut dropped, mut time) = (0.0, 0.0, 0.0, 0.0);
    for pair in measured.windows(2) {
        let [(earlier, a), (later, b)] = pair else { continue };
        let Some(gone) = refused_between(a, b) else { continue };
        let (Some(attempts), Some(clients)) = (
            b.connections_total.checked_sub(a.connections_total),
            b.aborted_clients.checked_sub(a.aborted_clients),
        ) else {
            continue;
        };
        time += later.at.since(earlier.at).as_secs_f64();
        // A login refused before its greeting is in `Aborted_connects`, and not in `Connections`.
        let aborted = b.aborted_connects - a.aborted_connects;
        let counted = aborted.saturating_sub(b.refused_early.saturating_sub(a.refused_early));
        new += attempts.saturating_sub(counted) as f64;
        refused += if refusals_count(a, b) { gone } else { 0.0 };
        dropped += clients as f64;
    }
    if time > 0.0 { (new / time, refused / time, dropped / time) } else { (0.0, 0.0, 0.0) }
}

pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Moment, Reading};

    fn window(make: impl Fn(u64) -> DatabaseSample) -> Vec<Sample> {
        (1..=12)
            .map(|number| Sample {
                number,
                at: Moment(number * 1000),
                database: DatabaseReading::Measured(make(number)),
                dynos: Reading::Unknown(String::new()),
                pages: Reading::Unknown(String::new()),
                logs: Reading::not_asked(),
                jobs: Reading::not_asked(),
            })
            .collect()
    }

    fn full(number: u64) -> DatabaseSample {
        DatabaseSample {
            connected: 150,
            server_limit: 150,
            own: 150,
            visible: 150,
            uptime: 100 + number,
            connections_total: 1000 + number * 20,
            aborted_connects: 10 + number * 5,
            ..DatabaseSample::default()
        }
    }

    #[test]
    fn low_usage_and_refusals_need_no_long_window_and_rates_do() {
        let full = window(full);
        let quiet = window(|n| DatabaseSample { connected: 20, own: 20, ..self::full(n) });
        assert!(!is_enough(&full[..10]) && is_enough(&full[..11]), "ten seconds");
        assert!(!is_enough(&quiet[..4]) && is_enough(&quiet[..5]));
        let mut refused = full;
        for sample in &mut refused {
            sample.database = DatabaseReading::Refused { code: 1040, attempts: 1 };
        }
        assert!(!is_enough(&refused[..4]) && is_enough(&refused[..5]));
    }

    #[test]
    fn sleepers_are_a_leak() {
        let seen = window(|n| DatabaseSample {
            running: 3,
            sleeping: 147,
            sleeping_at_least: [140, 90, 0, 0],
            ..full(n)
        });
        let diagnosis = judge(&seen, None, None, Growth::default());
        assert_eq!(diagnosis.verdict, Verdict::Leak, "{diagnosis:?}");
    }

    #[test]
    fn workers_are_a_load_and_waiters_a_lock_pile_up() {
        let busy = window(|n| DatabaseSample { running: 120, sleeping_at_least: [2, 0, 0, 0], ..full(n) });
        assert_eq!(judge(&busy, None, None, Growth::default()).verdict, Verdict::Load);
        let stuck = window(|n| DatabaseSample { running: 120, lock_waiters: 110, ..full(n) });
        assert_eq!(judge(&stuck, None, None, Growth::default()).verdict, Verdict::Locks);
    }

    #[test]
    fn others_slots_are_not_ours_unless_our_own_limit_is_reached() {
        let others =
            window(|n| DatabaseSample { own: 12, running: 3, sleeping_at_least: [9, 0, 0, 0], ..full(n) });
        assert_eq!(judge(&others, None, None, Growth::default()).verdict, Verdict::NotOurs);
    }

    #[test]
    fn many_short_sessions_are_churn() {
        let churn = window(|n| DatabaseSample {
            connected: 140,
            own: 140,
            running: 30,
            sleeping_at_least: [2, 0, 0, 0],
            connections_total: 1000 + n * 1500,
            ..full(n)
        });
        assert_eq!(judge(&churn, None, None, Growth::default()).verdict, Verdict::Churn);
    }

    #[test]
    fn quiet_is_healthy_and_refused_logins_alone_are_unknown() {
        let quiet = window(|n| DatabaseSample { connected: 20, own: 20, aborted_connects: 10, ..full(n) });
        assert_eq!(judge(&quiet, None, None, Growth::default()).verdict, Verdict::Healthy);
        let mut refused = window(full);
        for sample in &mut refused {
            sample.database = DatabaseReading::Refused { code: 1040, attempts: 3 };
        }
        let full = judge(&refused, None, None, Growth::default());
        assert_eq!((full.verdict, full.confidence), (Verdict::Full, Some(1.0)));
        for sample in &mut refused {
            sample.database = DatabaseReading::Unknown(String::new());
        }
        assert_eq!(judge(&refused, None, None, Growth::default()).verdict, Verdict::Unknown);
    }

    #[test]
    fn scanners_at_a_quiet_server_are_no_refusals() {
        let scanned = window(|n| DatabaseSample { connected: 20, own: 20, ..full(n) });
        let diagnosis = judge(&scanned, None, None, Growth::default());
        assert_eq!(diagnosis.verdict, Verdict::Healthy, "{diagnosis:?}");
        assert!(diagnosis.figures[2].contains("0.0 logins refused"), "{diagnosis:?}");
    }

    #[test]
    fn an_account_at_its_own_limit_is_judged_by_that() {
        let own = window(|n| DatabaseSample {
            connected: 30,
            own: 10,
            account_limit: 10,
            sleeping: 9,
            sleeping_at_least: [9, 9, 0, 0],
            running: 12,
            ..full(n)
        });
        let diagnosis = judge(&own, None, None, Growth::default());
        assert_eq!(diagnosis.verdict, Verdict::Leak, "{diagnosis:?}");
        assert!(diagnosis.figures[0].contains("10 of this account's 10"), "{diagnosis:?}");
    }

    #[test]
    fn between_low_and_degraded_nothing_is_called_healthy_and_persistent_connections_are_no_leak() {
        let half = |n, per_s| DatabaseSample {
            connected: 90,
            own: 90,
            sleeping: 85,
            sleeping_at_least: [85, 85, 80, 0],
            running: 2,
            aborted_connects: 10,
            connections_total: 1000 + n * per_s,
            ..full(n)
        };
        let persistent = window(|n| half(n, 0));
        assert_eq!(judge(&persistent, None, None, Growth::default()).verdict, Verdict::Unclear);
        let reaped = window(|n| half(n, 2));
        assert_eq!(judge(&reaped, None, None, Growth::default()).verdict, Verdict::Leak);
        let growing = Growth { per_s: 0.5, time_to_full: Some(120.0) };
        assert_eq!(judge(&persistent, None, None, growing).verdict, Verdict::Leak);
    }

    #[test]
    fn what_looks_like_row_waits_is_said_where_they_are_invisible() {
        let statement = |state: &str, count, longest_ms| crate::platform::Statement {
            digest: "UPDATE page SET n=?".into(),
            state: state.into(),
            count,
            longest_ms,
        };
        let census = |statements| Census { statements, ..Census::default() };
        let standing = census(vec![statement("Updating", 100, 4000.0), statement("Sending data", 9, 9000.0)]);
        assert!(row_waits_likely(&standing).unwrap().starts_with("100 of those"));
        assert_eq!(row_waits_likely(&census(vec![statement("Updating", 100, 20.0)])), None);
    }

    #[test]
    fn row_waits_in_the_samples_make_a_lock_pile_up() {
        let waits = crate::health::TransactionReading { open: 111, row_waits: 110, idle: 1, oldest_s: 40 };
        let stuck = window(|n| DatabaseSample { running: 112, transactions: Some(waits), ..full(n) });
        assert_eq!(judge(&stuck, None, None, Growth::default()).verdict, Verdict::Locks);
    }

    #[test]
    fn sessions_of_less_than_a_second_are_churn_at_any_rate_of_the_limit() {
        let short = window(|n| DatabaseSample {
            running: 30,
            sleeping: 110,
            sleeping_at_least: [5, 0, 0, 0],
            connections_total: 1000 + n * 200,
            ..full(n)
        });
        assert_eq!(judge(&short, None, None, Growth::default()).verdict, Verdict::Churn);
    }
}
