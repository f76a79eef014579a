//! When enough was measured to say how it is, and whether what is required holds. Pure.

use std::time::Duration;

use super::super::measure::Now;
use crate::expr::{Evaluation, Expr, Truth};
use crate::health::{DatabaseReading, Measured, Metric, Moment};

/// A slope of less says nothing: what leaks one connection a second would pass as steady.
const SLOPE: Duration = Duration::from_secs(10);
/// How long what is not known yet is waited for: a page probe alone may take ten seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same where nothing depends on it.
const GLANCE: Duration = Duration::from_secs(3);
/// How long the picture may take to be whole once it is judged: what is told with the judgement should be of use.
const WHOLE: Duration = Duration::from_secs(1);
/// Samples that a condition must hold in where it must hold for a time: as in a gate.
const HELD_SAMPLES: u32 = 3;

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// Nothing was required, and what can be known is.
    Told,
    /// What is required holds.
    Holds,
    /// It does not; clause by clause.
    Fails(Evaluation),
    /// It could not be judged; clause by clause. `full`: because the database lets nobody in.
    Unknown {
        /// Clause by clause.
        evaluation: Evaluation,
        /// The database refuses logins, which no monitor may take for "cannot tell".
        full: bool,
    },
}

impl Conclusion {
    /// 0, 4 when it does not hold or the database is full, 9 when it could not be judged.
    pub(super) const fn exit_code(&self) -> u8 {
        match self {
            Self::Told | Self::Holds => 0,
            Self::Fails(_) | Self::Unknown { full: true, .. } => 4,
            Self::Unknown { .. } => 9,
        }
    }
}

/// Looks at each sample until it can be said how it is.
pub(super) struct Judge {
    require: Option<Expr>,
    healthy: Expr,
    /// It must hold this long; without a requirement, it is measured this long.
    hold: Duration,
    /// Samples younger than this do not count: a slope needs a window.
    from: Duration,
    pages: bool,
    database: bool,
    began: Option<Moment>,
    held: Option<(Moment, u32)>,
}

impl Judge {
    pub(super) fn new(require: Option<Expr>, healthy: Expr, hold: Duration) -> Self {
        let slopes = [Metric::Growth.name(), Metric::TimeToFull.name()];
        let sloped =
            require.as_ref().is_some_and(|expr| expr.names().iter().any(|name| slopes.contains(name)));
        let from = if sloped { SLOPE } else { Duration::ZERO };
        Self { require, healthy, hold, from, pages: true, database: true, began: None, held: None }
    }

    /// What is not measured at all is not waited for.
    pub(super) const fn measured(mut self, database: bool, pages: bool) -> Self {
        (self.database, self.pages) = (database, pages);
        self
    }

    /// Whether one moment is enough: then samples may come as fast as they are taken.
    pub(super) fn is_a_glance(&self) -> bool {
        let refused = |expr: &Expr| expr.names().iter().any(|name| matches!(*name, "refused" | "healthy"));
        self.hold.is_zero() && self.from.is_zero() && !self.require.as_ref().is_some_and(refused)
    }

    /// How the condition reads now.
    pub(super) fn reads(&self, measured: &Measured) -> Option<Evaluation> {
        let now = Now { metrics: &measured.metrics, healthy: &self.healthy };
        self.require.as_ref().map(|expr| expr.evaluate(&now))
    }

    /// Whether all that makes health holds.
    pub(super) fn healthy(&self, measured: &Measured) -> Truth {
        self.healthy.evaluate(&Now { metrics: &measured.metrics, healthy: &self.healthy }).truth
    }

    /// Takes in a sample; `Some` = enough is known.
    pub(super) fn look(&mut self, measured: &Measured) -> Option<Conclusion> {
        let at = measured.sample.at;
        let since = at.since(*self.began.get_or_insert(at));
        let known = self.is_known(measured);
        let Some(evaluation) = self.reads(measured) else {
            let told = since >= if known { self.hold } else { self.hold + GLANCE };
            return told.then_some(Conclusion::Told);
        };
        let whole = known || since >= WHOLE;
        let given_up = since >= self.from + self.hold + PATIENCE;
        match evaluation.truth {
            Truth::Unknown => {
                self.held = None;
                let full = matches!(measured.sample.database, DatabaseReading::Refused { .. });
                given_up.then_some(Conclusion::Unknown { evaluation, full })
            }
            _ if since < self.from => None,
            Truth::False => whole.then_some(Conclusion::Fails(evaluation)),
            Truth::True => {
                let (first, count) = self.held.map_or((at, 1), |(first, count)| (first, count + 1));
                self.held = Some((first, count));
                let enough = if self.hold.is_zero() {
                    whole
                } else {
                    at.since(first) >= self.hold && count >= HELD_SAMPLES
                };
                enough.then_some(Conclusion::Holds)
            }
        }
    }

    fn is_known(&self, measured: &Measured) -> bool {
        let database = !self.database
            || matches!(
                measured.sample.database,
                DatabaseReading::Measured(_) | DatabaseReading::Refused { .. } | DatabaseReading::Failed(_)
            );
        let known = |metric| measured.metrics.contains_key(&metric);
        database && known(Metric::DynosUp) && (!self.pages || known(Metric::PagesOk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{DatabaseSample, DynoReading, PageReading, Reading, Sample, Series};
    use crate::plan::{condition, healthy};

    fn judge(require: &str, hold: u64) -> Judge {
        let expr = (!require.is_empty()).then(|| condition(require).unwrap());
        Judge::new(expr, healthy(true), Duration::from_secs(hold))
    }

    /// One sample a second of a database that uses what `used` says; 151 = refused, 0 = no answer.
    fn ends(judge: &mut Judge, used: impl Fn(u64) -> u64) -> (u64, Conclusion) {
        let mut series = Series::new(Duration::from_secs(60), true);
        for number in 0..200 {
            let database = match used(number) {
                151 => DatabaseReading::Refused { code: 1040, attempts: 1 },
                0 => DatabaseReading::Unknown(String::new()),
                connected => DatabaseReading::Measured(DatabaseSample {
                    connected,
                    own: connected,
                    server_limit: 150,
                    uptime: 100 + number,
                    ..DatabaseSample::default()
                }),
            };
            let sample = Sample {
                number,
                at: Moment(number * 1000),
                database,
                dynos: Reading::Measured(DynoReading { up: 2, wanted: 2, ..DynoReading::default() }),
                pages: Reading::Measured(PageReading { ok_ms: vec![20.0], ..PageReading::default() }),
                logs: Reading::not_asked(),
                jobs: Reading::not_asked(),
            };
            if let Some(conclusion) = judge.look(&series.push(sample)) {
                return (number, conclusion);
            }
        }
        panic!("it never ended");
    }

    #[test]
    fn a_glance_is_one_sample_and_a_false_one_ends_it() {
        assert_eq!(ends(&mut judge("", 0), |_| 20), (0, Conclusion::Told));
        assert_eq!(ends(&mut judge("usage < 40%", 0), |_| 20), (0, Conclusion::Holds));
        let (at, fails) = ends(&mut judge("usage < 40%", 0), |_| 140);
        let Conclusion::Fails(evaluation) = &fails else { panic!("{fails:?}") };
        assert_eq!((at, fails.exit_code(), evaluation.clauses[0].reads.as_str()), (0, 4, "usage 93%"));
        assert!(judge("usage < 40% and pages.ok > 95%", 0).is_a_glance());
        assert!(!judge("refused == 0", 0).is_a_glance() && !judge("usage < 40%", 5).is_a_glance());
    }

    #[test]
    fn a_slope_is_measured_over_ten_seconds_and_refusals_over_two_samples() {
        let (at, steady) = ends(&mut judge("time_to_full > 1h", 0), |_| 60);
        assert_eq!((at, steady), (10, Conclusion::Holds));
        let (at, filling) = ends(&mut judge("time_to_full > 1h", 0), |number| 60 + number / 2);
        assert_eq!((at, filling.exit_code()), (10, 4), "half a connection a second is seen");
        assert_eq!(ends(&mut judge("refused == 0", 0), |_| 148).0, 1);
    }

    #[test]
    fn what_must_hold_for_a_time_must_hold_in_every_sample_of_it() {
        assert_eq!(ends(&mut judge("usage < 40%", 5), |_| 20), (5, Conclusion::Holds));
        assert_eq!(ends(&mut judge("usage < 40%", 1), |_| 20).0, 2, "three samples at least");
        let (at, broken) = ends(&mut judge("usage < 40%", 5), |number| if number == 3 { 100 } else { 20 });
        assert_eq!((at, broken.exit_code()), (3, 4));
        let (at, late) = ends(&mut judge("usage < 40%", 5), |number| if number == 3 { 0 } else { 20 });
        assert_eq!((at, late), (9, Conclusion::Holds), "an unknown sample starts it anew");
    }

    #[test]
    fn unknown_never_passes_and_a_full_database_is_no_doubt() {
        let (at, unknown) = ends(&mut judge("idle < 100", 0), |_| 0);
        assert_eq!((at, unknown.exit_code()), (15, 9), "it could not be told");
        let (_, full) = ends(&mut judge("idle < 100", 0), |_| 151);
        assert_eq!(full.exit_code(), 4, "who sleeps is not known, that it is full is");
        assert_eq!(ends(&mut judge("usage < 80%", 0), |_| 151).1.exit_code(), 4);
        assert_eq!(ends(&mut judge("", 0), |_| 0).0, 3, "a glance waits for little");
    }

    #[test]
    fn what_is_not_measured_is_not_waited_for() {
        let mut glance = Judge::new(None, healthy(false), Duration::ZERO).measured(false, true);
        assert_eq!(ends(&mut glance, |_| 0), (0, Conclusion::Told));
    }
}
