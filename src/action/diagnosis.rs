//! What is wrong with the connections: leak, load, lock pile-up, churn, or not ours. Pure: figures in, verdict out.

use crate::health::{DatabaseReading, DatabaseSample, Sample};
use crate::platform::{Census, DatabaseFacts};

/// Usage from which a verdict other than "healthy" is looked for.
const DEGRADED: f64 = 0.80;
/// Share of used slots asleep that makes a leak.
const ASLEEP: f64 = 0.6;
/// Share of used slots at work that makes a load.
const AT_WORK: f64 = 0.4;

/// Full within this many seconds at the present growth is no health.
const FILLING: f64 = 3600.0;

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Usage is low and nobody is refused.
    Healthy,
    /// Sessions are left asleep.
    Leak,
    /// Sessions are at work.
    Load,
    /// Sessions wait for locks.
    Locks,
    /// Sessions come and go faster than the server can take.
    Churn,
    /// The slots are held by others.
    NotOurs,
    /// The figures fit none of them.
    Unclear,
    /// The database could not be asked.
    Unknown,
}

impl Verdict {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Leak => "leak",
            Self::Load => "load",
            Self::Locks => "lock pile-up",
            Self::Churn => "churn",
            Self::NotOurs => "not ours",
            Self::Unclear => "unclear",
            Self::Unknown => "unknown",
        }
    }

    /// The runbook to run next.
    pub(crate) const fn recommends(self) -> &'static str {
        match self {
            Self::Healthy => "none",
            Self::Leak | Self::Churn => "deploy-fix",
            Self::Load => "emergency",
            Self::Locks | Self::NotOurs | Self::Unclear | Self::Unknown => "a person",
        }
    }

    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Healthy => "usage is low and nobody is refused",
            Self::Leak => {
                "most slots are held by sleeping sessions: connections are opened and not closed. Killing idle ones helps until they are back; only the fix cures it"
            }
            Self::Load => {
                "most slots are at work: killing idle sessions will not help. Fewer workers, or slower traffic, does"
            }
            Self::Locks => {
                "the sessions at work wait for a lock: end what holds it (the oldest blocker), not those that wait"
            }
            Self::Churn => {
                "sessions come and go at a high rate and few sleep: connections should be kept for a request's length and no longer, and opened less often"
            }
            Self::NotOurs => {
                "other accounts hold the server's slots: killing one's own sessions cannot cure that"
            }
            Self::Unclear => "the figures fit no known pattern: look at the groups above",
            Self::Unknown => "the database could not be asked, so only the platform's side is known",
        }
    }
}

/// The figures of a window and what they say.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Diagnosis {
    pub(crate) verdict: Verdict,
    /// The figures behind it, each a line.
    pub(crate) figures: Vec<String>,
}

/// Judges a window of samples, oldest first.
pub(crate) fn judge(
    window: &[Sample],
    census: Option<&Census>,
    facts: Option<&DatabaseFacts>,
    time_to_full: Option<f64>,
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
    let Some((_, last)) = measured.last() else {
        let figures =
            vec![format!("{refused} of {} samples were refused logins; none was measured", window.len())];
        return Diagnosis { verdict: Verdict::Unknown, figures };
    };
    let used = median(measured.iter().map(|(_, row)| row.connected as f64));
    let limit = last.server_limit.max(1) as f64;
    let running = median(measured.iter().map(|(_, row)| row.running as f64));
    let asleep = median(measured.iter().map(|(_, row)| row.sleeping_at_least[0] as f64));
    let own = last.own as f64;
    let waiters = median(measured.iter().map(|(_, row)| row.lock_waiters as f64));
    let row_waits = census
        .and_then(|census| census.transactions.as_ref())
        .map_or(0.0, |open| open.iter().filter(|transaction| transaction.waits).count() as f64);
    let (new_per_s, refused_per_s) = rates(&measured);
    let mut figures = vec![
        format!("{used:.0} of {limit:.0} slots used ({:.0} %), {own:.0} of them ours", 100.0 * used / limit),
        format!(
            "{asleep:.0} asleep for 1 s or more, {running:.0} at work, {:.0} waiting for a lock",
            waiters + row_waits
        ),
        format!("{new_per_s:.1} new sessions a second, {refused_per_s:.1} logins refused a second"),
    ];
    if let Some(facts) = facts {
        figures.push(format!(
            "wait_timeout {} s: a session left asleep lives that long; limit {} for the server{}",
            facts.wait_timeout,
            facts.server_limit,
            if facts.account_limit > 0 {
                format!(", {} for the account", facts.account_limit)
            } else {
                String::new()
            }
        ));
        if !facts.sees_transactions {
            figures.push(format!("{} sees its own sessions only, and no transactions", facts.account));
        }
    }
    let account_full = last.account_limit > 0 && own >= 0.95 * last.account_limit as f64;
    let usage =
        (used / limit).max(if last.account_limit > 0 { own / last.account_limit as f64 } else { 0.0 });
    if let Some(seconds) = time_to_full {
        figures.push(format!("growing: full in {} if it goes on", crate::health::show_seconds(seconds)));
    }
    let verdict = if usage < DEGRADED && refused_per_s == 0.0 && refused == 0 {
        // Low, but rising by sessions that nobody closes: the incident before it is one.
        let filling = time_to_full.is_some_and(|seconds| seconds < FILLING);
        if new_per_s > 2.0 * limit {
            Verdict::Churn
        } else if filling && asleep >= ASLEEP * used && running <= 0.1 * used.max(1.0) {
            Verdict::Leak
        } else {
            Verdict::Healthy
        }
    } else if !account_full && own < 0.5 * used {
        Verdict::NotOurs
    } else if asleep >= ASLEEP * used && running <= 0.1 * used.max(1.0) {
        Verdict::Leak
    } else if running >= AT_WORK * used && (waiters + row_waits) >= 0.5 * running {
        Verdict::Locks
    } else if running >= AT_WORK * used && new_per_s <= 2.0 * limit {
        Verdict::Load
    } else if new_per_s > 2.0 * limit || (refused_per_s > limit && asleep < 0.2 * used) {
        Verdict::Churn
    } else if asleep >= ASLEEP * used {
        Verdict::Leak
    } else {
        Verdict::Unclear
    };
    Diagnosis { verdict, figures }
}

/// New sessions and refusals a second over the window; pairs across a server restart are left out.
fn rates(measured: &[(&Sample, &DatabaseSample)]) -> (f64, f64) {
    let (mut new, mut refused, mut time) = (0.0, 0.0, 0.0);
    for pair in measured.windows(2) {
        let [(earlier, a), (later, b)] = pair else { continue };
        if b.uptime < a.uptime
            || b.connections_total < a.connections_total
            || b.aborted_connects < a.aborted_connects
        {
            continue;
        }
        time += later.at.since(earlier.at).as_secs_f64();
        let aborted = (b.aborted_connects - a.aborted_connects) as f64;
        let denied = b.denied.saturating_sub(a.denied) as f64;
        let ours = b.own_refused as f64;
        let gone = (aborted - denied - ours).max(0.0);
        refused += gone;
        new += ((b.connections_total - a.connections_total) as f64 - aborted).max(0.0);
    }
    if time > 0.0 { (new / time, refused / time) } else { (0.0, 0.0) }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
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
    fn sleepers_are_a_leak() {
        let seen = window(|n| DatabaseSample {
            running: 3,
            sleeping: 147,
            sleeping_at_least: [140, 90, 0, 0],
            ..full(n)
        });
        let diagnosis = judge(&seen, None, None, None);
        assert_eq!(diagnosis.verdict, Verdict::Leak, "{diagnosis:?}");
        assert_eq!(diagnosis.verdict.recommends(), "deploy-fix");
    }

    #[test]
    fn workers_are_a_load_and_waiters_a_lock_pile_up() {
        let busy = window(|n| DatabaseSample { running: 120, sleeping_at_least: [2, 0, 0, 0], ..full(n) });
        assert_eq!(judge(&busy, None, None, None).verdict, Verdict::Load);
        let stuck = window(|n| DatabaseSample { running: 120, lock_waiters: 110, ..full(n) });
        assert_eq!(judge(&stuck, None, None, None).verdict, Verdict::Locks);
    }

    #[test]
    fn others_slots_are_not_ours_unless_our_own_limit_is_reached() {
        let others =
            window(|n| DatabaseSample { own: 12, running: 3, sleeping_at_least: [9, 0, 0, 0], ..full(n) });
        assert_eq!(judge(&others, None, None, None).verdict, Verdict::NotOurs);
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
        assert_eq!(judge(&churn, None, None, None).verdict, Verdict::Churn);
    }

    #[test]
    fn quiet_is_healthy_and_refused_logins_alone_are_unknown() {
        let quiet = window(|n| DatabaseSample { connected: 20, own: 20, aborted_connects: 10, ..full(n) });
        assert_eq!(judge(&quiet, None, None, None).verdict, Verdict::Healthy);
        let mut refused = window(full);
        for sample in &mut refused {
            sample.database = DatabaseReading::Refused { code: 1040, attempts: 3 };
        }
        assert_eq!(judge(&refused, None, None, None).verdict, Verdict::Unknown);
    }
}
