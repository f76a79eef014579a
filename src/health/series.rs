//! A window of samples, and what is derived from it: usage, refusals, growth, time to full, pages, live.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::curve::Curve;
use super::latency::percentile;
use super::slope::slope;
use super::{DatabaseReading, DatabaseSample, Metric, Moment, Sample, Value};

/// Samples kept at most, whatever the interval: memory stays constant over a long run.
const AT_MOST: usize = 600;
/// Usage from which the server's refusal counters count: below it they are scanners and strangers.
const REFUSALS_COUNT_FROM: f64 = 0.90;
/// Share of page probes that must be answered for `live`.
const PAGES_OK: f64 = 0.95;

/// A sample and the metrics known from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// As taken.
    pub sample: Sample,
    /// Metrics known in this interval; a missing one is unknown.
    pub metrics: BTreeMap<Metric, Value>,
}

/// A bounded window of samples.
#[derive(Debug, Clone)]
pub struct Series {
    window: Duration,
    pages_window: Duration,
    pages_measured: bool,
    samples: VecDeque<Sample>,
    /// Start of what belongs to the app that now runs: a restart ends what was before.
    app_from: Moment,
    /// Start of what the slope may look at: a kill or a restart ends what was before.
    slope_from: Moment,
    last_usage: Option<f64>,
    /// Of the whole run.
    curve: Curve,
}

impl Series {
    /// A series that looks back over `window` for slopes, and over ten seconds for pages. `pages_measured` says
    /// whether pages are probed at all in this run.
    pub fn new(window: Duration, pages_measured: bool) -> Self {
        Self {
            window,
            pages_window: Duration::from_secs(10),
            pages_measured,
            samples: VecDeque::new(),
            app_from: Moment::default(),
            slope_from: Moment::default(),
            last_usage: None,
            curve: Curve::default(),
        }
    }

    /// The curve since the run began.
    pub const fn curve(&self) -> &Curve {
        &self.curve
    }

    /// The samples of the window, oldest first; those of an app that was replaced since do not belong to it.
    pub fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.at >= self.app_from)
    }

    /// Forgets what slopes and pages are reckoned from: after a restart another app runs.
    pub fn reset_window(&mut self) {
        if let Some(last) = self.samples.back() {
            self.app_from = last.at.plus(Duration::from_millis(1));
            self.slope_from = self.slope_from.max(self.app_from);
        }
    }

    /// Forgets what slopes are reckoned from, `now`: sessions were ended, and the fall that made would hide for a whole
    /// window that others come after them.
    pub fn reset_slope(&mut self, now: Moment) {
        self.slope_from = self.slope_from.max(now);
    }

    /// Takes in a sample and derives what is known from it and its window.
    pub fn push(&mut self, sample: Sample) -> Measured {
        let mut metrics = BTreeMap::new();
        match &sample.database {
            DatabaseReading::Measured(row) => {
                if self.samples.iter().rev().find_map(measured).is_some_and(|last| row.uptime < last.uptime) {
                    self.reset_slope(sample.at); // another server process: nothing is continued
                }
                let (used, limit) = tighter(row);
                // A login in the reserve slot, or a limit lowered since, makes more than all: full is full.
                let usage = (used / limit.max(1.0)).min(1.0);
                let mut count = |metric, number: u64| metrics.insert(metric, Value::Count(number as f64));
                count(Metric::Running, row.running);
                count(Metric::Sleeping, row.sleeping);
                count(Metric::Idle, row.sleeping_at_least[2]);
                metrics.insert(Metric::Usage, Value::Ratio(usage));
                metrics.insert(Metric::Used, Value::Count(used));
                metrics.insert(Metric::Limit, Value::Count(limit));
                metrics.insert(Metric::OldestIdle, Value::Duration(Some(row.oldest_sleep_ms / 1000.0)));
                if let Some(refused) = self.refused(row, usage) {
                    metrics.insert(Metric::Refused, Value::Count(refused));
                }
                self.last_usage = Some(usage);
            }
            DatabaseReading::Refused { .. } => {
                // The attempts were our own; that one was turned away is what is known.
                metrics.insert(Metric::Usage, Value::Ratio(1.0));
                metrics.insert(Metric::Refused, Value::Count(1.0));
                self.last_usage = Some(1.0);
            }
            DatabaseReading::Failed(_) | DatabaseReading::Unknown(_) => {}
        }
        if let Some(dynos) = sample.dynos.measured() {
            metrics.insert(Metric::DynosUp, Value::Count(dynos.up as f64));
            metrics.insert(Metric::DynosWanted, Value::Count(dynos.wanted as f64));
            metrics.insert(Metric::DynosCrashed, Value::Count(dynos.crashed as f64));
        }
        let at = sample.at;
        self.samples.push_back(sample.clone());
        while self.samples.len() > AT_MOST
            || self.samples.front().is_some_and(|first| at.since(first.at) > self.window)
        {
            self.samples.pop_front();
        }
        self.derive_growth(&mut metrics);
        self.derive_pages(at, &mut metrics);
        self.derive_logs(at, &sample, &mut metrics);
        if let Some(jobs) = sample.jobs.measured() {
            metrics.insert(Metric::JobsQueued, Value::Count(*jobs as f64));
        }
        if let Some(live) = self.live(&sample, &metrics) {
            metrics.insert(Metric::Live, Value::Truth(live));
        }
        self.curve.push(&sample, &metrics);
        Measured { sample, metrics }
    }

    /// Logins refused since the sample before, our own excluded. Without a pair it is known only where the counters do
    /// not count anyway.
    fn refused(&self, row: &DatabaseSample, usage: f64) -> Option<f64> {
        let counts =
            usage >= REFUSALS_COUNT_FROM || self.last_usage.is_some_and(|last| last >= REFUSALS_COUNT_FROM);
        if !counts {
            return Some(0.0);
        }
        refused_between(self.samples.iter().rev().find_map(measured)?, row)
    }

    fn derive_growth(&self, metrics: &mut BTreeMap<Metric, Value>) {
        if !metrics.contains_key(&Metric::Used) {
            return;
        }
        let points: Vec<(f64, f64)> = self
            .samples
            .iter()
            .filter(|sample| sample.at >= self.slope_from)
            .filter_map(|sample| measured(sample).map(|row| (sample.at.0 as f64 / 1000.0, tighter(row).0)))
            .collect();
        let Some(growth) = slope(&points) else { return };
        metrics.insert(Metric::Growth, Value::Rate(growth));
        let (Some(Value::Count(used)), Some(Value::Count(limit))) =
            (metrics.get(&Metric::Used), metrics.get(&Metric::Limit))
        else {
            return;
        };
        // What is full already is not full in an infinite time because it grows no more.
        let left = (limit - used).max(0.0);
        let seconds = if left == 0.0 { Some(0.0) } else { (growth > 0.0).then(|| left / growth) };
        metrics.insert(Metric::TimeToFull, Value::Duration(seconds));
    }

    fn derive_pages(&self, now: Moment, metrics: &mut BTreeMap<Metric, Value>) {
        let mut latencies = Vec::new();
        let mut failed = 0;
        for sample in self.samples.iter().filter(|sample| now.since(sample.at) <= self.pages_window) {
            if let Some(pages) = sample.pages.measured()
                && sample.at >= self.app_from
            {
                latencies.extend_from_slice(&pages.ok_ms);
                failed += pages.failed;
            }
        }
        let total = latencies.len() as f64 + failed as f64;
        if total > 0.0 {
            metrics.insert(Metric::PagesOk, Value::Ratio(latencies.len() as f64 / total));
        }
        if let Some(p95) = percentile(&latencies, 0.95) {
            metrics.insert(Metric::PagesP95, Value::Duration(Some(p95 / 1000.0)));
        }
    }

    /// Lines that were lost could be errors: then it is not known how many there were.
    fn derive_logs(&self, now: Moment, sample: &Sample, metrics: &mut BTreeMap<Metric, Value>) {
        if sample.logs.is_unknown() {
            return;
        }
        let within = self.samples.iter().filter(|sample| now.since(sample.at) <= self.pages_window);
        let of_app = within.filter(|sample| sample.at >= self.app_from);
        let (mut errors, mut lost) = (0, 0);
        for logs in of_app.filter_map(|sample| sample.logs.measured()) {
            errors += logs.errors;
            lost += logs.lost;
        }
        if lost == 0 {
            metrics.insert(Metric::LogsErrors, Value::Count(errors as f64));
        }
    }

    /// Every wanted dyno up, none crashed, and pages answered where they are measured.
    fn live(&self, sample: &Sample, metrics: &BTreeMap<Metric, Value>) -> Option<bool> {
        let dynos = sample.dynos.measured()?;
        if dynos.wanted == 0 || dynos.up < dynos.wanted || dynos.crashed > 0 {
            return Some(false);
        }
        if !self.pages_measured {
            return Some(true);
        }
        match metrics.get(&Metric::PagesOk) {
            Some(Value::Ratio(ok)) => Some(*ok >= PAGES_OK),
            _ => None,
        }
    }
}

pub(super) fn measured(sample: &Sample) -> Option<&DatabaseSample> {
    match &sample.database {
        DatabaseReading::Measured(row) => Some(row),
        _ => None,
    }
}

/// Whether usage between two readings was such that the server's counters of refusals mean our app: below it they are
/// scanners and strangers.
pub fn refusals_count(before: &DatabaseSample, after: &DatabaseSample) -> bool {
    [before, after].into_iter().any(|row| {
        let (used, limit) = tighter(row);
        used >= REFUSALS_COUNT_FROM * limit
    })
}

/// Logins that the server refused between two readings, for want of a slot and our own excluded; `None` when its
/// counters began anew in between.
pub fn refused_between(before: &DatabaseSample, after: &DatabaseSample) -> Option<f64> {
    if after.uptime < before.uptime {
        return None;
    }
    let aborted = after.aborted_connects.checked_sub(before.aborted_connects)?;
    let denied = after.denied.checked_sub(before.denied)?;
    Some((aborted as f64 - denied as f64 - after.own_refused as f64).max(0.0))
}

/// Used and limit, of the server or of the account, whichever is closer to full.
pub fn tighter(row: &DatabaseSample) -> (f64, f64) {
    let server = (row.connected as f64, row.server_limit as f64);
    let account = (row.own as f64, row.account_limit as f64);
    if row.account_limit > 0 && account.0 * server.1 > server.0 * account.1 { account } else { server }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{DynoReading, LogReading, PageReading, Reading};

    fn row(connected: u64) -> DatabaseSample {
        DatabaseSample {
            connected,
            own: connected,
            server_limit: 150,
            uptime: 100,
            ..DatabaseSample::default()
        }
    }

    fn sample(number: u64, database: DatabaseReading) -> Sample {
        Sample {
            number,
            at: Moment(number * 1000),
            database,
            dynos: Reading::Measured(DynoReading { up: 2, wanted: 2, ..DynoReading::default() }),
            pages: Reading::Unknown(String::new()),
            logs: Reading::not_asked(),
            jobs: Reading::not_asked(),
        }
    }

    fn series() -> Series {
        Series::new(Duration::from_secs(60), false)
    }

    fn get(measured: &Measured, metric: Metric) -> Option<f64> {
        match measured.metrics.get(&metric)? {
            Value::Ratio(v) | Value::Count(v) | Value::Rate(v) => Some(*v),
            Value::Duration(v) => Some(v.unwrap_or(f64::INFINITY)),
            Value::Truth(v) => Some(f64::from(u8::from(*v))),
            Value::Text(_) => None,
        }
    }

    #[test]
    fn errors_of_the_log_count_for_ten_seconds_and_lost_lines_make_them_unknown() {
        let mut series = series();
        let mut at = |number: u64, logs: Reading<LogReading>| {
            let mut sample = sample(number, DatabaseReading::Unknown(String::new()));
            (sample.logs, sample.jobs) = (logs, Reading::Measured(number));
            let seen = series.push(sample);
            assert_eq!(get(&seen, Metric::JobsQueued), Some(number as f64));
            get(&seen, Metric::LogsErrors)
        };
        let read = |errors, lost| Reading::Measured(LogReading { lines: 5, errors, lost });
        assert_eq!(at(1, Reading::not_asked()), None, "not followed");
        assert_eq!(at(2, read(0, 0)), Some(0.0), "silence is known");
        assert_eq!(at(3, read(2, 0)), Some(2.0));
        assert_eq!(at(4, Reading::Unknown("being reopened".into())), None);
        assert_eq!(at(13, read(1, 0)), Some(3.0));
        assert_eq!(at(14, read(0, 0)), Some(1.0));
        assert_eq!(at(15, read(0, 7)), None, "lost lines may have been errors");
        assert_eq!(at(26, read(0, 0)), Some(0.0));
    }

    #[test]
    fn usage_is_the_tighter_of_server_and_account() {
        let mut limited = row(30);
        limited.own = 9;
        limited.account_limit = 10;
        let seen = series().push(sample(1, DatabaseReading::Measured(limited)));
        assert_eq!(get(&seen, Metric::Usage), Some(0.9));
        assert_eq!((get(&seen, Metric::Used), get(&seen, Metric::Limit)), (Some(9.0), Some(10.0)));
    }

    #[test]
    fn a_refused_login_is_full_and_the_rest_unknown() {
        let seen = series().push(sample(1, DatabaseReading::Refused { code: 1040, attempts: 4 }));
        assert_eq!(get(&seen, Metric::Usage), Some(1.0));
        assert_eq!(get(&seen, Metric::Refused), Some(1.0), "our own attempts do not count");
        assert_eq!(get(&seen, Metric::Used), None);
        assert_eq!(get(&seen, Metric::Growth), None);
    }

    #[test]
    fn strangers_count_as_refused_only_when_it_is_full() {
        let mut quiet = series();
        quiet.push(sample(1, DatabaseReading::Measured(row(20))));
        let scanned = DatabaseSample { aborted_connects: 50, ..row(20) };
        assert_eq!(
            get(&quiet.push(sample(2, DatabaseReading::Measured(scanned))), Metric::Refused),
            Some(0.0)
        );

        let mut full = series();
        let first = full.push(sample(1, DatabaseReading::Measured(row(149))));
        assert_eq!(get(&first, Metric::Refused), None, "no pair yet");
        let later = DatabaseSample { aborted_connects: 50, denied: 5, own_refused: 3, ..row(149) };
        assert_eq!(get(&full.push(sample(2, DatabaseReading::Measured(later))), Metric::Refused), Some(42.0));
        let restarted = DatabaseSample { uptime: 1, ..row(149) };
        assert_eq!(get(&full.push(sample(3, DatabaseReading::Measured(restarted))), Metric::Refused), None);
    }

    #[test]
    fn a_leak_grows_and_noise_does_not() {
        let mut leaking = series();
        let mut last = None;
        for number in 1..=20 {
            last = Some(leaking.push(sample(number, DatabaseReading::Measured(row(20 + 2 * number)))));
        }
        let last = last.unwrap();
        assert_eq!(get(&last, Metric::Growth), Some(2.0));
        assert_eq!(get(&last, Metric::TimeToFull), Some(45.0));

        let mut noisy = series();
        let mut last = None;
        for number in 1..=20 {
            last = Some(noisy.push(sample(number, DatabaseReading::Measured(row(20 + number % 3)))));
        }
        let last = last.unwrap();
        assert_eq!(get(&last, Metric::Growth), Some(0.0));
        assert_eq!(get(&last, Metric::TimeToFull), Some(f64::INFINITY));
    }

    #[test]
    fn what_is_full_takes_no_time_to_get_full() {
        let mut full = series();
        let mut last = None;
        for number in 1..=20 {
            last = Some(full.push(sample(number, DatabaseReading::Measured(row(150)))));
        }
        assert_eq!(get(&last.unwrap(), Metric::TimeToFull), Some(0.0));
    }

    #[test]
    fn a_restart_ends_the_slope() {
        let mut series = series();
        for number in 1..=10 {
            series.push(sample(number, DatabaseReading::Measured(row(100 + number))));
        }
        series.reset_window();
        let after = series.push(sample(11, DatabaseReading::Measured(row(5))));
        assert_eq!(get(&after, Metric::Growth), None, "one sample is no slope");
    }

    #[test]
    fn a_kill_does_not_hide_that_the_leak_refills() {
        let mut leaking = series();
        for number in 1..=30 {
            leaking.push(sample(number, DatabaseReading::Measured(row(140))));
        }
        let mut hidden = leaking.clone();
        leaking.reset_slope(Moment(30_500));
        let (mut told, mut untold) = (None, None);
        for number in 31..=38 {
            let refilled = DatabaseReading::Measured(row(10 + 2 * (number - 30)));
            told = Some(leaking.push(sample(number, refilled.clone())));
            untold = Some(hidden.push(sample(number, refilled)));
        }
        assert_eq!(get(&told.unwrap(), Metric::Growth), Some(2.0));
        assert!(get(&untold.unwrap(), Metric::Growth).unwrap() <= 0.0, "what the reset is for");
    }

    #[test]
    fn a_restarted_server_continues_nothing() {
        let mut series = series();
        for number in 1..=10 {
            series.push(sample(number, DatabaseReading::Measured(row(100))));
        }
        let young = DatabaseSample { uptime: 1, ..row(5) };
        let after = series.push(sample(11, DatabaseReading::Measured(young)));
        assert_eq!(get(&after, Metric::Growth), None);
        assert_eq!(get(&after, Metric::Refused), Some(0.0), "neither sample was near full");
    }

    #[test]
    fn more_than_all_is_full() {
        let mut over = row(151);
        over.own = 3;
        let seen = series().push(sample(1, DatabaseReading::Measured(over)));
        assert_eq!((get(&seen, Metric::Usage), get(&seen, Metric::Used)), (Some(1.0), Some(151.0)));
    }

    #[test]
    fn counters_that_fall_void_the_pair() {
        let at = |aborted_connects, denied, uptime| DatabaseSample {
            aborted_connects,
            denied,
            uptime,
            own_refused: 2,
            ..row(150)
        };
        assert_eq!(refused_between(&at(10, 1, 5), &at(20, 4, 6)), Some(5.0));
        assert_eq!(refused_between(&at(10, 1, 5), &at(9, 1, 6)), None, "flushed");
        assert_eq!(refused_between(&at(10, 1, 5), &at(20, 0, 6)), None);
        assert_eq!(refused_between(&at(10, 1, 5), &at(20, 1, 1)), None, "restarted");
    }

    #[test]
    fn a_dead_site_is_not_live() {
        let mut dead = sample(1, DatabaseReading::Measured(row(0)));
        dead.dynos = Reading::Measured(DynoReading { up: 0, wanted: 2, crashed: 2, starting: 0 });
        assert_eq!(get(&series().push(dead), Metric::Live), Some(0.0));
        let mut scaled_to_nothing = sample(1, DatabaseReading::Measured(row(0)));
        scaled_to_nothing.dynos = Reading::Measured(DynoReading::default());
        assert_eq!(get(&series().push(scaled_to_nothing), Metric::Live), Some(0.0));
        let mut unseen = sample(1, DatabaseReading::Measured(row(0)));
        unseen.dynos = Reading::Unknown("no answer".into());
        assert_eq!(get(&series().push(unseen), Metric::Live), None);
    }

    #[test]
    fn pages_belong_to_live_where_they_are_measured() {
        let mut series = Series::new(Duration::from_secs(60), true);
        let unprobed = series.push(sample(1, DatabaseReading::Measured(row(5))));
        assert_eq!(get(&unprobed, Metric::Live), None, "pages are asked for and not known");
        let mut probed = sample(2, DatabaseReading::Measured(row(5)));
        let pages = PageReading { ok_ms: (1..=19).map(f64::from).collect(), failed: 1, database_errors: 1 };
        probed.pages = Reading::Measured(pages);
        let probed = series.push(probed);
        assert_eq!(get(&probed, Metric::PagesOk), Some(0.95));
        assert_eq!(get(&probed, Metric::PagesP95), Some(0.019));
        assert_eq!(get(&probed, Metric::Live), Some(1.0));
    }

    #[test]
    fn memory_stays_constant() {
        let mut series = Series::new(Duration::from_secs(1_000_000), false);
        for number in 1..=5000 {
            series.push(sample(number, DatabaseReading::Measured(row(10))));
        }
        assert_eq!(series.samples().count(), AT_MOST);
    }
}
