//! The curve of a run: a few numbers of each sample since it began, for what is proven over a time longer than the
//! window of slopes. Memory is bounded. Pure; it must never count what was not measured as well.

use std::collections::BTreeMap;
use std::time::Duration;

use super::series::measured;
use super::slope::{median, slope};
use super::{Metric, Moment, Sample, Value};

/// Points kept: two hours at one a second. Beyond that every two neighbours become one.
const AT_MOST: usize = 7200;
/// A change of the connections in use that cannot be told from noise.
const NOISE: f64 = 2.0;

/// What is kept of one sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Point {
    at: Moment,
    /// Samples that it stands for.
    samples: u64,
    unknown: u64,
    /// Share in use, the lowest and the highest.
    usage: Option<(f64, f64)>,
    used: Option<f64>,
    limit: Option<f64>,
    refused: f64,
    dead: u64,
    pages_ok: u64,
    pages_failed: u64,
    exhausted: u64,
    log_errors: Option<f64>,
    log_missed: u64,
    /// Logins since the server's start.
    logins: Option<u64>,
}

/// The curve.
#[derive(Debug, Clone, Default)]
pub struct Curve {
    points: Vec<Point>,
}

/// What happened over a stretch of the curve.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stretch {
    /// From its first sample to its last.
    pub took: Duration,
    /// Samples taken.
    pub samples: u64,
    /// Of these, how many told no usage.
    pub unknown: u64,
    /// Usage: lowest, middle, highest; `None` when never known.
    pub usage: Option<(f64, f64, f64)>,
    /// Samples in a row, and at most, at or above the limit that was asked about.
    pub above_in_a_row: u64,
    /// Logins refused, our own excluded, in the samples that told.
    pub refused: f64,
    /// Samples in which the site was known not to be live, in a row and at most.
    pub dead_in_a_row: u64,
    /// The same, all of them.
    pub dead: u64,
    /// Page probes answered.
    pub pages_ok: u64,
    /// Page probes that failed.
    pub pages_failed: u64,
    /// Of these, how many showed an exhausted database.
    pub exhausted: u64,
    /// Errors of that kind in the app's log; `None` when the log was never followed.
    pub log_errors: Option<f64>,
    /// Lines of the log that are known to be lost, and samples in which its stream did not stand.
    pub log_missed: u64,
    /// Connections a second (Theil–Sen), zero unless beyond the noise; `None` of too few samples.
    pub growth: Option<f64>,
    /// Connections in use when last known, and the limit.
    pub used: Option<(f64, f64)>,
    /// New sessions a second: the traffic, where the app keeps no connections.
    pub logins: Option<f64>,
}

impl Stretch {
    /// Time to full at this growth, in seconds; `None` inside = no end.
    pub fn time_to_full(&self) -> Option<Option<f64>> {
        let (growth, (used, limit)) = (self.growth?, self.used?);
        let left = (limit - used).max(0.0);
        Some(if left == 0.0 { Some(0.0) } else { (growth > 0.0).then(|| left / growth) })
    }

    /// Growth that would not show in so short a time, in connections a second.
    pub fn blind_below(&self) -> f64 {
        NOISE / self.took.as_secs_f64().max(1.0)
    }
}

impl Curve {
    /// Takes in a sample with what was derived from it.
    pub(super) fn push(&mut self, sample: &Sample, metrics: &BTreeMap<Metric, Value>) {
        let number = |name: Metric| match metrics.get(&name) {
            Some(Value::Count(number) | Value::Ratio(number)) => Some(*number),
            _ => None,
        };
        let pages = sample.pages.measured();
        let usage = number(Metric::Usage);
        let logs = sample.logs.measured();
        self.points.push(Point {
            at: sample.at,
            samples: 1,
            unknown: u64::from(usage.is_none()),
            usage: usage.map(|usage| (usage, usage)),
            used: number(Metric::Used),
            limit: number(Metric::Limit),
            refused: number(Metric::Refused).unwrap_or(0.0),
            dead: u64::from(metrics.get(&Metric::Live) == Some(&Value::Truth(false))),
            pages_ok: pages.map_or(0, |pages| pages.ok_ms.len() as u64),
            pages_failed: pages.map_or(0, |pages| pages.failed),
            exhausted: pages.map_or(0, |pages| pages.database_errors),
            log_errors: logs.map(|logs| logs.errors as f64),
            log_missed: logs.map_or(1, |logs| logs.lost),
            logins: measured(sample).map(|row| row.connections_total),
        });
        if self.points.len() > AT_MOST {
            self.points = self.points.chunks(2).map(merged).collect();
        }
    }

    /// What happened since `from`; `limit` is a usage that is asked about.
    pub fn since(&self, from: Moment, limit: f64) -> Stretch {
        let points: Vec<&Point> = self.points.iter().filter(|point| point.at >= from).collect();
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Stretch::default() };
        let mut stretch = Stretch { took: last.at.since(first.at), ..Stretch::default() };
        let (mut above, mut dead) = (0, 0);
        let (mut lows, mut highs) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut middles = Vec::new();
        for point in &points {
            stretch.samples += point.samples;
            stretch.unknown += point.unknown;
            stretch.refused += point.refused;
            stretch.dead += point.dead;
            stretch.pages_ok += point.pages_ok;
            stretch.pages_failed += point.pages_failed;
            stretch.exhausted += point.exhausted;
            stretch.log_missed += point.log_missed;
            if let Some(errors) = point.log_errors {
                *stretch.log_errors.get_or_insert(0.0) += errors;
            }
            if let Some((low, high)) = point.usage {
                lows = lows.min(low);
                highs = highs.max(high);
                middles.push(f64::midpoint(low, high));
            }
            above = match point.usage {
                Some((low, _)) if low >= limit => above + point.samples,
                // One of those that were merged into it, and not its neighbour.
                Some((_, high)) if high >= limit => 1,
                _ => 0,
            };
            dead = match point.dead {
                0 => 0,
                some if some == point.samples => dead + some,
                _ => 1,
            };
            stretch.above_in_a_row = stretch.above_in_a_row.max(above);
            stretch.dead_in_a_row = stretch.dead_in_a_row.max(dead);
            if let (Some(used), Some(limit)) = (point.used, point.limit) {
                stretch.used = Some((used, limit));
            }
        }
        stretch.usage = median(&mut middles).map(|middle| (lows, middle, highs));
        let used: Vec<(f64, f64)> =
            points.iter().filter_map(|point| Some((point.at.0 as f64 / 1000.0, point.used?))).collect();
        stretch.growth = slope(&used);
        let logins: Vec<(Moment, u64)> =
            points.iter().filter_map(|point| Some((point.at, point.logins?))).collect();
        if let (Some((begin, first)), Some((end, last))) = (logins.first(), logins.last())
            && last >= first
            && end > begin
        {
            stretch.logins = Some((last - first) as f64 / end.since(*begin).as_secs_f64());
        }
        stretch
    }
}

/// Neighbours as one: the later's figures, the extremes and the sums of both.
fn merged(points: &[Point]) -> Point {
    let mut points = points.iter().copied();
    let first = points.next().unwrap_or_default();
    points.fold(first, |a, b| Point {
        at: b.at,
        samples: a.samples + b.samples,
        unknown: a.unknown + b.unknown,
        usage: match (a.usage, b.usage) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => b.or(a),
        },
        used: b.used.or(a.used),
        limit: b.limit.or(a.limit),
        refused: a.refused + b.refused,
        dead: a.dead + b.dead,
        pages_ok: a.pages_ok + b.pages_ok,
        pages_failed: a.pages_failed + b.pages_failed,
        exhausted: a.exhausted + b.exhausted,
        log_errors: match (a.log_errors, b.log_errors) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => b.or(a),
        },
        log_missed: a.log_missed + b.log_missed,
        logins: b.logins.or(a.logins),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{
        DatabaseReading, DatabaseSample, DynoReading, LogReading, PageReading, Reading, Series,
    };

    fn series(used: &[Option<u64>]) -> Series {
        let mut series = Series::new(Duration::from_secs(60), true);
        for (index, used) in used.iter().enumerate() {
            let number = index as u64 + 1;
            let row = |connected| DatabaseSample {
                connected,
                server_limit: 150,
                uptime: 100 + number,
                connections_total: 10 * number,
                ..DatabaseSample::default()
            };
            series.push(Sample {
                number,
                at: Moment(number * 1000),
                database: used.map_or_else(
                    || DatabaseReading::Unknown("no answer".into()),
                    |used| DatabaseReading::Measured(row(used)),
                ),
                dynos: Reading::Measured(DynoReading { up: 2, wanted: 2, ..DynoReading::default() }),
                pages: Reading::Measured(PageReading { ok_ms: vec![20.0], ..PageReading::default() }),
                logs: if number == 1 {
                    Reading::not_asked()
                } else {
                    Reading::Measured(LogReading { lines: 9, errors: u64::from(number == 5), lost: 0 })
                },
                jobs: Reading::not_asked(),
            });
        }
        series
    }

    #[test]
    fn a_stretch_knows_extremes_gaps_slope_and_traffic() {
        let level = series(&[Some(150), Some(12), Some(15), None, Some(12), Some(13), Some(12)]);
        let seen = level.curve().since(Moment(2000), 0.4);
        assert_eq!((seen.samples, seen.unknown, seen.above_in_a_row), (6, 1, 0));
        assert_eq!(seen.usage, Some((0.08, 0.08, 0.1)));
        assert_eq!((seen.growth, seen.time_to_full()), (Some(0.0), Some(None)));
        assert_eq!((seen.logins, seen.pages_ok, seen.log_errors), (Some(10.0), 6, Some(1.0)));
        assert_eq!((seen.log_missed, level.curve().since(Moment(0), 0.4).log_missed), (0, 1));
        assert_eq!(level.curve().since(Moment(0), 0.4).above_in_a_row, 1);

        let leak: Vec<_> = (0..20).map(|index| Some(10 + 2 * index)).collect();
        let seen = series(&leak).curve().since(Moment(0), 0.2);
        assert_eq!(seen.growth, Some(2.0));
        assert_eq!(seen.time_to_full(), Some(Some(51.0)));
        assert_eq!(seen.above_in_a_row, 10);

        assert_eq!(series(&[Some(1), Some(1)]).curve().since(Moment(0), 0.4).growth, None, "too few");
        assert_eq!(series(&[]).curve().since(Moment(0), 0.4), Stretch::default());
    }

    #[test]
    fn memory_is_bounded_and_nothing_is_lost_from_the_sums() {
        let mut used = vec![Some(12); 20_000];
        used[3] = Some(149);
        let series = series(&used);
        assert!(series.curve().points.len() <= AT_MOST);
        let seen = series.curve().since(Moment(0), 0.4);
        assert_eq!((seen.samples, seen.pages_ok), (20_000, 20_000));
        assert_eq!(seen.usage.map(|usage| usage.2), Some(149.0 / 150.0));
        assert_eq!(seen.above_in_a_row, 1, "one is not two in a row");
    }
}
