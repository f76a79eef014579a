//! What the samples of a watched gate say of its metrics: rising steadily, falling steadily, full again, or nothing of
//! the kind. Pure. It must never take a jump, a trough or a missing reading for a trend: a gate that is shut too early
//! is worse than one that is shut late.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::expr::{Env, Prospect, Side};
use crate::health::{Metric, Moment, Value, show_seconds, slope};

/// Evidence is asked for over this part of a gate's patience.
const PART: u32 = 5;
/// And over no less than this.
const LEAST_EVIDENCE: Duration = Duration::from_secs(5);
/// Points that a trend needs: five in each half, the middle in both.
const LEAST_POINTS: usize = 9;
/// Points that are kept of each metric, over twice the time of the evidence: what is slow takes longer to be told from
/// noise.
const KEPT: u32 = 120;
/// A fall from its height by more than this is no steady rise: connections, or percent.
const NOISE: f64 = 2.0;
/// What has come back by more than this has turned, and may again: connections, or percent.
const TURN: f64 = 10.0;
/// Percent of the limit from which a database is full.
const FULL: f64 = 95.0;
/// Percent of the limit below which it was not.
const ROOM: f64 = 90.0;

/// Where the metrics of a gate are going, from the samples that count for it.
#[derive(Debug, Clone)]
pub(crate) struct Outlook {
    evidence: Duration,
    /// Trends are looked for in samples from here on; `None` = in none.
    from: Option<Moment>,
    /// Slots that were freed last, when no process was begun since: that they are taken again says something.
    freed: Option<usize>,
    /// There was room since.
    room: bool,
    /// The latest sample is a point, and not one that measured nothing.
    current: bool,
    points: BTreeMap<Metric, VecDeque<(f64, f64)>>,
    /// Lowest and highest so far, and whether it has come down from its height, or up again from its depth.
    extremes: BTreeMap<Metric, Extremes>,
}

#[derive(Debug, Clone, Copy)]
struct Extremes {
    lowest: f64,
    highest: f64,
    came_down: bool,
    came_up: bool,
}

impl Extremes {
    const fn at(value: f64) -> Self {
        Self { lowest: value, highest: value, came_down: false, came_up: false }
    }

    fn note(&mut self, value: f64) {
        self.lowest = self.lowest.min(value);
        self.highest = self.highest.max(value);
        self.came_down |= value < self.highest - TURN;
        self.came_up |= value > self.lowest + TURN;
    }
}

impl Outlook {
    /// For a gate of this patience, nothing noted yet.
    pub(crate) fn over(within: Duration, from: Moment) -> Self {
        Self {
            evidence: (within / PART).max(LEAST_EVIDENCE),
            from: Some(from),
            freed: None,
            room: false,
            current: false,
            points: BTreeMap::new(),
            extremes: BTreeMap::new(),
        }
    }

    /// Looks for trends from `from` on; with `freed` slots, that they are taken again is one.
    pub(crate) const fn looking(&mut self, from: Option<Moment>, freed: Option<usize>) {
        self.from = from;
        self.freed = freed;
    }

    /// Takes in a sample that counts for the gate.
    pub(crate) fn note(&mut self, at: Moment, env: &dyn Env) {
        self.current = false;
        if self.from.is_none_or(|from| at < from) {
            return;
        }
        let read = |metric: Metric| env.value(metric.name()).as_ref().and_then(number);
        if in_between(&read) {
            // Dynos come or go: what was measured says nothing about when they have.
            self.points.clear();
            self.extremes.clear();
            return;
        }
        // A refused login reads as full and tells no number: it is no point of a trend.
        if read(Metric::Used).is_none() {
            return;
        }
        self.current = true;
        // Seen, or made: a leak may take within one interval what a kill has freed.
        let freed = self.freed.map_or(0.0, |freed| 100.0 * freed as f64);
        self.room |= read(Metric::Usage).is_some_and(|usage| usage < ROOM)
            || read(Metric::Limit).is_some_and(|limit| freed > (100.0 - ROOM) * limit);
        let at = at.0 as f64 / 1000.0;
        for metric in Metric::ALL.into_iter().filter(|metric| metric.has_trend()) {
            let Some(value) = read(metric) else { continue };
            self.extremes.entry(metric).or_insert_with(|| Extremes::at(value)).note(value);
            let points = self.points.entry(metric).or_default();
            let kept = 2.0 * self.evidence.as_secs_f64();
            // The newest always, those before it a distance apart.
            let apart = kept / f64::from(KEPT);
            if let [.., (before, _), (last, _)] = points.make_contiguous()
                && *last - *before < apart
            {
                points.pop_back();
            }
            points.push_back((at, value));
            while points.len() > LEAST_POINTS && points.get(1).is_some_and(|(second, _)| at - second >= kept)
            {
                points.pop_front();
            }
        }
    }

    /// The slope of a metric, a second, when it moved steadily and far enough from `side`, and its time.
    fn steadily_away(&self, metric: Metric, side: Side) -> Option<(f64, f64)> {
        let extremes = self.extremes.get(&metric)?;
        if (side == Side::Below && extremes.came_down) || (side == Side::Above && extremes.came_up) {
            return None;
        }
        let away = |value: f64| if side == Side::Below { value } else { -value };
        let points: Vec<(f64, f64)> =
            self.points.get(&metric)?.iter().map(|(at, value)| (*at, away(*value))).collect();
        let newest = points.last()?.0;
        let begins = points.iter().rposition(|(at, _)| newest - at >= self.evidence.as_secs_f64())?;
        // The last of it, with points enough; or all.
        let short = begins.min(points.len().saturating_sub(LEAST_POINTS));
        [&points[short..], &points[..]].into_iter().find_map(steady)
    }

    /// How long the database has been full since there was room, when that is long enough.
    fn full_again(&self) -> Option<f64> {
        let points = self.points.get(&Metric::Usage).filter(|_| self.freed.is_some() && self.room)?;
        let full: Vec<_> = points.iter().rev().take_while(|(_, usage)| *usage >= FULL).collect();
        let time = full.first()?.0 - full.last()?.0;
        (full.len() >= LEAST_POINTS / 2 && time >= self.evidence.as_secs_f64()).then_some(time)
    }
}

/// The slope of a steady rise, and its time: it rises in both halves, and stands at its height.
fn steady(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < LEAST_POINTS {
        return None;
    }
    let height = points.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let middle = points.len() / 2;
    let halves = [&points[..=middle], &points[middle..]];
    let rises = halves.into_iter().all(|half| slope(half).is_some_and(|slope| slope > 0.0));
    let whole = slope(points)?;
    (rises && whole > 0.0 && last.1 >= height - NOISE).then_some((whole, last.0 - first.0))
}

impl Prospect for Outlook {
    fn out_of_reach(&self, name: &str, side: Side, bound: &Value) -> Option<String> {
        let metric = Metric::named(name)?;
        let limit = number(bound)?;
        let (_, now) = *self.points.get(&metric).filter(|_| self.current)?.back()?;
        let beyond = match side {
            Side::Below => now >= limit,
            Side::Above => now <= limit,
        };
        if !beyond {
            return None;
        }
        if let Some((slope, time)) = self.steadily_away(metric, side) {
            let way = if side == Side::Below { "rises" } else { "falls" };
            let unit = if matches!(bound, Value::Ratio(_)) { " points" } else { "" };
            return Some(format!(
                "{name} {way} by {slope:.1}{unit} a second, away from {bound}, and has for {}",
                show_seconds(time.round())
            ));
        }
        let of_slots = side == Side::Below && matches!(metric, Metric::Usage | Metric::Used);
        let time = self.full_again().filter(|_| of_slots)?;
        Some(format!("what was freed is taken again: full for {}", show_seconds(time.round())))
    }
}

/// A wanted dyno is missing, or one that is not wanted is still there.
fn in_between(read: &dyn Fn(Metric) -> Option<f64>) -> bool {
    let missing = match (read(Metric::DynosUp), read(Metric::DynosWanted)) {
        (Some(up), Some(wanted)) => (up - wanted).abs() > 0.5,
        _ => false,
    };
    missing || read(Metric::DynosCrashed).is_some_and(|crashed| crashed > 0.5)
}

/// A number that noise is measured by: percent for a ratio.
const fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Ratio(ratio) => Some(*ratio * 100.0),
        Value::Count(number) | Value::Rate(number) => Some(*number),
        Value::Duration(_) | Value::Truth(_) | Value::Text(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::engine::GateKind;
    use crate::engine::watch::{GateState, Watch};
    use crate::expr::Expr;
    use crate::plan::Gate;

    /// One sample: connections of 150, dynos up of two; `None` = not measured.
    #[derive(Debug, Clone, Copy)]
    struct Seen(Option<f64>, u64);

    impl Env for Seen {
        fn value(&self, path: &str) -> Option<Value> {
            match path {
                "used" => self.0.map(|used| Value::Count(used.clamp(0.0, 150.0).round())),
                "usage" => Some(Value::Ratio(self.0.map_or(1.0, |used| (used / 150.0).clamp(0.0, 1.0)))),
                "limit" => self.0.map(|_| Value::Count(150.0)),
                "dynos.up" => Some(Value::Count(self.1 as f64)),
                "dynos.wanted" => Some(Value::Count(2.0)),
                "steps.before.used" => Some(Value::Count(60.0)),
                _ => None,
            }
        }
        fn condition(&self, _: &str) -> Option<&Expr> {
            None
        }
    }

    fn gate(until: &str, hold: u64, within: u64) -> Gate {
        let (hold, within) = (Duration::from_secs(hold), Duration::from_secs(within));
        Gate { until: Arc::new(Expr::parse(until).unwrap()), hold, within, early: true }
    }

    /// Watches a gate over a world, `every` milliseconds: when and why it was given up early, and when it opened.
    fn watched(
        gate: Gate,
        every: u64,
        killed: bool,
        world: impl Fn(f64) -> Seen,
    ) -> (Option<(f64, String)>, Option<f64>) {
        let (end, mut early) = (gate.within, None);
        let mut watch =
            Watch::new(gate, GateKind::Ladder, Moment(0)).looking(Some(Moment(0)), killed.then_some(20));
        let mut number = 0;
        while Duration::from_millis(number * every) < end {
            let at = Moment(number * every);
            let seen = world(at.0 as f64 / 1000.0);
            number += 1;
            watch.observe(at, number, &seen);
            if watch.state(at) == GateState::Open {
                return (early, Some(at.0 as f64 / 1000.0));
            }
            if early.is_none() {
                early = watch.hopeless(&seen).map(|why| (at.0 as f64 / 1000.0, why));
            }
        }
        (early, None)
    }

    /// It is given up by its trend, between these times.
    #[track_caller]
    fn given_up(
        between: std::ops::RangeInclusive<f64>,
        words: &str,
        told: &(Option<(f64, String)>, Option<f64>),
    ) {
        let (Some((at, why)), None) = told else { panic!("not given up: {told:?}") };
        assert!(between.contains(at) && why.contains(words), "at {at}: {why}");
    }

    #[test]
    fn a_leak_that_refills_is_given_up_long_before_patience_is_over() {
        for every in [500, 1000] {
            let slow = watched(gate("usage < 60%", 20, 75), every, true, |t| Seen(Some(30.0 + 5.0 * t), 2));
            given_up(
                15.0..=16.0,
                "usage rises by 3.3 points a second, away from 60%, and has for 15s",
                &slow,
            );
            // Full within seconds: where it stands still, it stands at the limit.
            let fast = watched(gate("usage < 60%", 20, 75), every, true, |t| Seen(Some(30.0 + 40.0 * t), 2));
            given_up(17.0..=19.0, "what was freed is taken again: full for 15s", &fast);
            let at_once = watched(gate("usage < 60%", 20, 75), every, true, |_| Seen(Some(150.0), 2));
            given_up(15.0..=15.0, "what was freed is taken again: full for 15s", &at_once);
            let both = "used <= 70 and (live or usage < 50%)";
            let part = watched(gate(both, 20, 100), every, true, |t| Seen(Some(30.0 + 5.0 * t), 2));
            given_up(20.0..=21.0, "used rises", &part);
        }
        let output =
            watched(gate("used < steps.before.used", 5, 30), 500, false, |t| Seen(Some(60.0 + t), 2));
        given_up(6.0..=8.0, "used rises by 1.0 a second, away from 60", &output);
        let falls = watched(gate("not usage < 60%", 0, 30), 500, false, |t| Seen(Some(80.0 - t), 2));
        given_up(6.0..=12.0, "usage falls", &falls);
    }

    #[test]
    fn what_is_no_trend_waits_for_its_time() {
        let quiet = |until: &str, world: &dyn Fn(f64) -> Seen| {
            let (early, opened) = watched(gate(until, 0, 60), 500, false, world);
            assert_eq!((early, opened), (None, None), "{until}");
        };
        quiet("usage < 60%", &|_| Seen(Some(150.0), 2)); // full all the while: the next moment may free it
        quiet("usage < 60%", &|t| Seen(Some(if t < 3.0 { 95.0 + 18.0 * t } else { 150.0 }), 2)); // no kill
        quiet("usage < 60%", &|_| Seen(None, 2)); // every login refused
        quiet("usage < 60%", &|t| Seen(Some(100.0 + t), 1)); // a dyno is still to come
        quiet("usage < 60%", &|t| Seen(Some(110.0 - 0.2 * t), 2)); // slowly towards it
        quiet("usage < 60%", &|t| Seen(Some(120.0 + 10.0 * (t / 5.0).sin()), 2)); // up and down
        quiet("live", &|t| Seen(Some(30.0 + t), 2));
        quiet("usage < 60% or live", &|t| Seen(Some(100.0 + t), 2)); // the other may come
        quiet("used != 0", &|_| Seen(None, 2));
        let mut late = gate("usage < 60%", 20, 75);
        late.early = false;
        assert_eq!(watched(late, 500, true, |t| Seen(Some(30.0 + 5.0 * t), 2)), (None, None), "as asked");
    }

    #[test]
    fn a_hold_that_no_longer_fits_is_certain_with_no_trend() {
        let told = watched(gate("usage < 60%", 20, 75), 1000, false, |_| Seen(None, 2));
        given_up(55.0..=55.0, "20s of it no longer fit into the 20s left", &told);
        // What holds is never given up, be there time enough or not.
        let late = watched(gate("usage < 60%", 20, 75), 1000, false, |t| {
            Seen(Some(if t < 54.0 { 140.0 } else { 20.0 }), 2)
        });
        assert_eq!(late, (None, Some(74.0)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]

        /// Whatever comes to hold in time by a fall, a drain, an end of a queue or a departure of old dynos is waited for.
        #[test]
        fn what_comes_in_time_is_never_given_up(
            shape in 0_u8..5,
            start in 95.0_f64..150.0,
            knee in 1.0_f64..50.0,
            speed in 0.5_f64..20.0,
            noise in 0.0_f64..2.0,
            every in prop::sample::select(vec![200_u64, 500, 1000, 2000]),
            killed: bool,
        ) {
            // What is full again after a kill is taken for lost; that is the third way, tried above.
            let killed = killed && start < 138.0;
            let world = |t: f64| {
                let wave = noise * (t * 7.3).sin();
                let (used, dynos) = match shape {
                    // It decays.
                    0 => (20.0 + (start - 20.0) * (-t / speed).exp(), 2),
                    // It stays, then drains.
                    1 => (start - (t - knee).max(0.0) * speed, 2),
                    // It stays, then falls at once.
                    2 => (if t < knee { start } else { 30.0 }, 2),
                    // It grows until the old dynos are gone, and the platform says when.
                    3 => (if t < knee { start + speed * t } else { 30.0 }, if t < knee { 1 } else { 2 }),
                    // It warms up: a queue that was waiting comes in, and is served.
                    _ => (if t < 6.0 { start * (t / 6.0).sqrt() } else { start - (t - 6.0) * speed }, 2),
                };
                Seen(Some(used.max(10.0) + wave), dynos)
            };
            let (early, opened) = watched(gate("usage < 60%", 5, 75), every, killed, world);
            if opened.is_some() {
                prop_assert!(early.is_none(), "given up: {:?}, and it opened: {:?}", early, opened);
            }
        }

        /// A leak is told, whatever its speed, once it has gone on for a fifth of the patience.
        #[test]
        fn a_leak_is_told_within_a_fifth_of_the_patience_and_its_way_up(
            from in 95.0_f64..130.0, speed in 0.6_f64..3.0, noise in 0.0_f64..1.0, within in 30_u64..120,
        ) {
            let fifth = within as f64 / 5.0;
            let rises = |t: f64| Seen(Some(from + speed * t + noise * (t * 9.1).sin()), 2);
            prop_assume!(from + speed * (fifth + 2.0) < 150.0 && speed * fifth > 8.0);
            let (early, opened) = watched(gate("usage < 60%", 5, within), 500, true, rises);
            prop_assert!(opened.is_none());
            let at = early.map_or(f64::INFINITY, |(at, _)| at);
            prop_assert!(at <= fifth + 2.0, "told at {at}, a fifth is {fifth}");
        }
    }
}
