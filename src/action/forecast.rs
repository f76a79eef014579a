//! What a step is expected to do to the number of connections, said before it. It must never claim more than it can
//! reckon: what is not known stays `None`, and the basis says so. It warns, and stands against nothing.

use super::fleet::{CommitFiles, budget_with};
use super::param::whole;
use super::scene::Scene;
use super::verb::Forecast;
use crate::health::{Budget, DatabaseReading, How, Metric, Share, Value, tighter};
use crate::lint::wiki_of;
use crate::platform::DynoScope;

/// The commit whose files tell how PHP is set, as far as the platform does not.
const FILES_OF: &str = "HEAD";

fn count(scene: &Scene<'_>, metric: Metric) -> Option<u64> {
    match scene.metrics.get(&metric) {
        Some(Value::Count(number)) => Some(whole(*number)),
        _ => None,
    }
}

/// Where the connections stand.
struct Now {
    /// In use; the limit while every login is refused and the limit is known.
    used: Option<u64>,
    limit: Option<u64>,
    /// Every login is refused.
    full: bool,
    /// The most that the window has seen.
    peak: Option<u64>,
    /// `146 now`, or that every login is refused.
    said: String,
}

impl Now {
    fn read(scene: &Scene<'_>) -> Self {
        let rows = || {
            scene.series.samples().filter_map(|sample| match &sample.database {
                DatabaseReading::Measured(row) => Some(tighter(row)),
                _ => None,
            })
        };
        let used = count(scene, Metric::Used);
        let full = used.is_none()
            && matches!(scene.metrics.get(&Metric::Usage), Some(Value::Ratio(usage)) if *usage >= 1.0);
        let limit = count(scene, Metric::Limit).or_else(|| rows().last().map(|(_, limit)| whole(limit)));
        let said = match used {
            Some(used) => format!("{used} now"),
            None if full => "full now".to_owned(),
            None => "not measured now".to_owned(),
        };
        let used = used.or(if full { limit } else { None });
        let peak = rows().map(|(used, _)| whole(used)).max().max(used);
        Self { used, limit, full, peak, said }
    }

    fn forecast(&self, during: Option<u64>, after: Option<u64>, basis: String) -> Forecast {
        let over = |peak: u64| self.limit.is_some_and(|limit| peak > limit);
        let passes_limit = during.map_or(self.full, over);
        Forecast { during, after, limit: self.limit, basis, passes_limit, advice: None }
    }
}

#[expect(clippy::option_option, reason = "as it is, or another value, which may be none")]
/// What runs; with `concurrency`, as it would be with that `WEB_CONCURRENCY` (`Some(None)`: unset).
fn budget(scene: &Scene<'_>, now: &Now, concurrency: Option<Option<u64>>) -> Option<Budget> {
    let files = CommitFiles::new(scene.observer.git(), FILES_OF, &[]);
    let concurrency = concurrency.unwrap_or_else(|| scene.observer.processes().ok().flatten());
    let wiki = wiki_of(&files);
    budget_with(scene.observer, &files, concurrency, wiki.as_ref(), None, now.peak).ok()
}

/// Connections that `processes` may hold, as the app's do now.
fn held(budget: &Budget, now: &Now, processes: u64) -> u64 {
    match (budget.links.how, now.peak, budget.processes()) {
        (How::Measured, Some(peak), Some(running)) if running > 0 => {
            peak.saturating_mul(processes).div_ceil(running)
        }
        _ => processes.saturating_mul(budget.links.number),
    }
}

/// `web 2 × 10 processes (config var WEB_CONCURRENCY)`.
fn words(share: &Share) -> String {
    match &share.processes {
        Some(processes) => {
            let estimated = if processes.how == How::Told { "" } else { ", estimated" };
            format!(
                "{} {} × {} processes ({}{estimated})",
                share.kind, share.dynos.number, processes.number, processes.basis
            )
        }
        None => format!("{} {} × an unknown number of processes", share.kind, share.dynos.number),
    }
}

/// Dynos of `shares` start anew while the old ones may still run, for as long as `span` says.
fn beside(
    scene: &Scene<'_>,
    now: &Now,
    running: &Budget,
    shares: &[Share],
    all: bool,
    span: &str,
) -> Option<Forecast> {
    scene.observer.database()?;
    if shares.iter().all(|share| share.dynos.number == 0) {
        return None;
    }
    let parts = shares.iter().map(words).collect::<Vec<_>>().join(", ");
    let basis = format!("{}; new beside old {span}: {parts}", now.said);
    let Some(new) = shares.iter().try_fold(0_u64, |sum, share| Some(sum.saturating_add(share.total()?)))
    else {
        let basis = format!("{basis}; the new share is measured when reached");
        return Some(now.forecast(None, None, basis));
    };
    let links = match running.links.how {
        How::Measured => format!("each may come to hold what one holds now ({})", running.links.basis),
        _ => running.links.basis.clone(),
    };
    let during = now.used.map(|used| used.saturating_add(held(running, now, new)));
    let after = all.then_some(new);
    let basis = format!("{basis}; {links}; after it one connection a process, a leak opens more");
    Some(now.forecast(during, after, basis))
}

/// How long old and new dynos overlap: on a release, and on a restart by hand.
fn span(scene: &Scene<'_>, release: bool) -> &'static str {
    match (scene.observer.preboot().unwrap_or_default(), release) {
        (false, _) => "for up to 30 s",
        (true, true) => "for about 3 min (preboot)",
        (true, false) => "for up to 30 s, with preboot perhaps for 3 min",
    }
}

/// A release, which starts every dyno anew while the old ones may still run. `None` when the app has no dynos, or the
/// database is not used.
pub(crate) fn overlap(scene: &Scene<'_>) -> Option<Forecast> {
    let now = Now::read(scene);
    let running = budget(scene, &now, None)?;
    beside(scene, &now, &running, &running.shares, true, span(scene, true))
}

/// The same, where it sets `WEB_CONCURRENCY` for the new dynos, or takes it away.
pub(crate) fn overlap_of(scene: &Scene<'_>, concurrency: Option<u64>) -> Option<Forecast> {
    let now = Now::read(scene);
    let running = budget(scene, &now, None)?;
    let wanted = budget(scene, &now, Some(concurrency))?;
    beside(scene, &now, &running, &wanted.shares, true, span(scene, true))
}

/// A restart by hand of all dynos, of one type, or of one.
pub(crate) fn restarted(scene: &Scene<'_>, scope: &DynoScope) -> Option<Forecast> {
    let now = Now::read(scene);
    let running = budget(scene, &now, None)?;
    let shares: Vec<Share> = running
        .shares
        .iter()
        .filter_map(|share| {
            let mut share = share.clone();
            match scope {
                DynoScope::All => {}
                DynoScope::Kind(kind) if *kind == share.kind => {}
                DynoScope::One(name) if name.split('.').next() == Some(share.kind.as_str()) => {
                    share.dynos.number = 1;
                }
                _ => return None,
            }
            Some(share)
        })
        .collect();
    let all = shares.len() == running.shares.len() && !matches!(scope, DynoScope::One(_));
    beside(scene, &now, &running, &shares, all, span(scene, false))
}

/// A step that ends `victims` sessions.
pub(crate) fn kill(scene: &Scene<'_>, victims: usize) -> Option<Forecast> {
    let now = Now::read(scene);
    let used = now.used?;
    let victims = u64::try_from(victims).unwrap_or(u64::MAX);
    let basis = format!("{}, {victims} of them ended; a leak refills what is freed", now.said);
    let mut forecast = now.forecast(Some(used), Some(used.saturating_sub(victims)), basis);
    forecast.passes_limit = false;
    Some(forecast)
}

/// A step that changes the number of dynos of a type.
pub(crate) fn scaled(scene: &Scene<'_>, kind: &str, from: u64, to: u64) -> Option<Forecast> {
    scene.observer.database()?;
    let now = Now::read(scene);
    let running = budget(scene, &now, None)?;
    // A type that runs nowhere yet has no share of its own.
    let processes =
        running.shares.iter().find(|share| share.kind == kind).and_then(|share| share.processes.clone());
    let each = processes.as_ref().map(|processes| processes.number);
    if to < from {
        let freed = each.zip(running.processes()).and_then(|(each, all)| {
            let all = all.max(1);
            Some(now.used?.saturating_mul(each.saturating_mul(from - to)) / all)
        });
        let after = now.used.zip(freed).map(|(used, freed)| used.saturating_sub(freed));
        let basis = format!(
            "{}, shared evenly by all processes; what a stopped dyno leaves open stays until the server notices or it is ended",
            now.said
        );
        let mut forecast = now.forecast(now.used, after, basis);
        forecast.passes_limit = false;
        return Some(forecast);
    }
    let Some(processes) = processes else {
        let basis =
            format!("{}; how many processes a dyno of {kind} runs is measured when reached", now.said);
        return Some(now.forecast(None, None, basis));
    };
    let more = held(&running, &now, (to - from).saturating_mul(processes.number));
    let total = now.used.map(|used| used.saturating_add(more));
    let basis = format!(
        "{}, and up to {more} more: {} dynos × {} processes ({}); {}",
        now.said,
        to - from,
        processes.number,
        processes.basis,
        running.links.basis
    );
    Some(now.forecast(total, total, basis))
}

/// A one-off dyno beside those that run: a script opens one connection, as a rule.
pub(crate) fn one_off(scene: &Scene<'_>) -> Option<Forecast> {
    scene.observer.database()?;
    let now = Now::read(scene);
    let during = now.used.map(|used| used.saturating_add(1));
    let basis = format!(
        "{}; a one-off dyno takes one connection while it runs, more if its command opens more",
        now.said
    );
    Some(now.forecast(during, now.used, basis))
}

/// A step that leaves dynos and database alone, and why.
pub(crate) fn unchanged(scene: &Scene<'_>, why: &str) -> Option<Forecast> {
    scene.observer.database()?;
    let now = Now::read(scene);
    let mut forecast = now.forecast(now.used, now.used, format!("{}; {why}", now.said));
    forecast.passes_limit = false;
    Some(forecast)
}

/// A step whose effect on the connections cannot be told.
pub(crate) fn unknown(scene: &Scene<'_>, why: &str) -> Option<Forecast> {
    scene.observer.database()?;
    let now = Now::read(scene);
    let mut forecast = now.forecast(None, None, format!("{}; {why}", now.said));
    forecast.passes_limit = false;
    Some(forecast)
}

impl Forecast {
    /// Says what to do about a peak that passes the limit. `room`: the earlier step of the plan that makes room; `cure`:
    /// the step is marked as the cure, and goes out whatever the forecast.
    pub fn advise(&mut self, room: Option<&str>, cure: bool) {
        if !self.passes_limit {
            self.advice = None;
            return;
        }
        let first = match (room, cure) {
            (Some(step), _) => format!("`{step}` makes room first"),
            (None, true) => "more room before it: `runbook kill-idle`".to_owned(),
            (None, false) => {
                "make room first: `runbook kill-idle`, a `kill_idle` step before this one, or fewer dynos (`runbook run scale-down`)".to_owned()
            }
        };
        self.advice =
            Some(if cure { format!("{first}; it is the cure and goes out all the same") } else { first });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::param::Bindings;
    use super::super::scene::RunFacts;
    use super::*;
    use crate::health::{Moment, Series};
    use crate::platform::fake::{Leak, World};

    /// What is asked of a scene of the fake world: two web dynos of eight processes, 150 slots, `idle` of them asleep.
    fn with_scene<T>(used_known: bool, ask: impl FnOnce(&Scene<'_>) -> T) -> T {
        let world: Arc<World> = World::new(Leak::Code);
        let observer = world.observer();
        let mut series = Series::new(Duration::from_secs(60), true);
        let mut metrics = series.push(world.sample(1)).metrics;
        if !used_known {
            metrics.retain(|metric, _| metric.name().starts_with("dynos"));
            metrics.insert(Metric::Usage, Value::Ratio(1.0));
        }
        let scene = Scene {
            observer: &observer,
            app: "wiki",
            run: &RunFacts::default(),
            planned: &[],
            metrics: &metrics,
            series: &series,
            outputs: &BTreeMap::new(),
            bindings: &Bindings::default(),
            now: Moment::default(),
            counts_from: Moment::default(),
            dry: false,
            interactive: false,
        };
        ask(&scene)
    }

    #[test]
    fn old_and_new_dynos_overlap_and_the_peak_is_told() {
        let told = with_scene(true, overlap).expect("a forecast");
        // 150 in use over 16 processes: the new ones may come to hold as many.
        assert_eq!((told.during, told.after, told.limit), (Some(300), Some(16), Some(150)), "{told:?}");
        assert!(told.passes_limit && told.basis.contains("150 now"), "{told:?}");
        for wanted in ["web 2 × 8 processes (config var WEB_CONCURRENCY)", "up to 30 s", "over 16 processes"]
        {
            assert!(told.basis.contains(wanted), "{wanted}: {}", told.basis);
        }
        // While every login is refused, the last limit seen is what is in use.
        let full = with_scene(false, overlap).expect("a forecast");
        assert!(full.during == Some(300) && full.passes_limit && full.basis.contains("full now"), "{full:?}");
        let fewer = with_scene(true, |scene| overlap_of(scene, Some(2))).expect("a forecast");
        assert_eq!((fewer.during, fewer.after), (Some(188), Some(4)), "{fewer:?}");
        let reckoned = with_scene(true, |scene| overlap_of(scene, None)).expect("a forecast");
        assert_eq!(reckoned.during, None, "what its command runs is not known: {reckoned:?}");
    }

    #[test]
    fn what_a_step_does_not_touch_is_not_counted() {
        let one = DynoScope::One("web.1".to_owned());
        let told = with_scene(true, |scene| restarted(scene, &one)).expect("a forecast");
        assert_eq!((told.during, told.after), (Some(225), None), "{told:?}");
        let other = DynoScope::Kind("worker".to_owned());
        assert_eq!(with_scene(true, |scene| restarted(scene, &other)), None);
        let kept = with_scene(true, |scene| unchanged(scene, "x")).expect("a forecast");
        assert_eq!((kept.during, kept.after, kept.passes_limit), (Some(150), Some(150), false));
        let run = with_scene(true, one_off).expect("a forecast");
        assert_eq!((run.during, run.after, run.passes_limit), (Some(151), Some(150), true));
    }

    #[test]
    fn scaling_and_killing_are_told_both_ways() {
        let up = with_scene(true, |scene| scaled(scene, "web", 2, 3)).expect("a forecast");
        assert_eq!((up.during, up.after, up.passes_limit), (Some(225), Some(225), true), "{up:?}");
        let down = with_scene(true, |scene| scaled(scene, "web", 2, 1)).expect("a forecast");
        assert_eq!((down.during, down.after, down.passes_limit), (Some(150), Some(75), false), "{down:?}");
        let killed = with_scene(true, |scene| kill(scene, 100)).expect("a forecast");
        assert_eq!((killed.during, killed.after, killed.passes_limit), (Some(150), Some(50), false));
    }

    #[test]
    fn a_peak_above_the_limit_is_advised_on_and_never_forbidden() {
        let mut told = with_scene(true, overlap).expect("a forecast");
        told.advise(None, false);
        assert!(told.advice.as_ref().is_some_and(|advice| advice.starts_with("make room first")), "{told:?}");
        told.advise(Some("make-room"), true);
        let advice = told.advice.clone().unwrap_or_default();
        assert!(advice.contains("`make-room` makes room first") && advice.contains("the cure"), "{advice}");
        told.passes_limit = false;
        told.advise(None, false);
        assert_eq!(told.advice, None);
    }
}
