//! What a step is expected to do to the number of connections, said before it. It must never claim more than it can
//! reckon: what is not known stays `None`, and the basis says so.

use super::param::whole;
use super::scene::Scene;
use super::verb::Forecast;
use crate::health::{Metric, Value};

fn count(scene: &Scene<'_>, metric: Metric) -> Option<u64> {
    match scene.metrics.get(&metric) {
        Some(Value::Count(number)) => Some(whole(*number)),
        _ => None,
    }
}

/// `146 now`, or that every login is refused.
fn now(scene: &Scene<'_>) -> String {
    match (count(scene, Metric::Used), scene.metrics.get(&Metric::Usage)) {
        (Some(used), _) => format!("{used} now"),
        (None, Some(Value::Ratio(_))) => "full now".to_owned(),
        (None, _) => "not measured now".to_owned(),
    }
}

/// A step that starts every dyno anew while the old ones may still run. `None` when the app has no dynos, or the
/// database is not used.
pub(crate) fn overlap(scene: &Scene<'_>) -> Option<Forecast> {
    overlap_of(scene, scene.observer.processes().ok().flatten())
}

/// The same, where the new dynos run this many processes each.
pub(crate) fn overlap_of(scene: &Scene<'_>, processes: Option<u64>) -> Option<Forecast> {
    scene.observer.database()?;
    let dynos = count(scene, Metric::DynosWanted).filter(|dynos| *dynos > 0)?;
    let limit = count(scene, Metric::Limit);
    let now = now(scene);
    let Some(processes) = processes else {
        let basis = format!(
            "{now}; old and new dynos overlap for up to 30 s; WEB_CONCURRENCY is not set, so the new share is measured when reached"
        );
        return Some(Forecast { during: None, after: None, limit, basis });
    };
    let new = dynos * processes;
    Some(Forecast {
        during: count(scene, Metric::Used).map(|used| used + new),
        after: Some(new),
        limit,
        basis: format!(
            "{now}, and up to {dynos} dynos × {processes} processes (WEB_CONCURRENCY) starting beside the old ones; one connection a process, a leak opens more"
        ),
    })
}

/// A one-off dyno beside those that run: a script opens one connection, as a rule.
pub(crate) fn one_off(scene: &Scene<'_>) -> Option<Forecast> {
    scene.observer.database()?;
    let used = count(scene, Metric::Used);
    Some(Forecast {
        during: used.map(|used| used + 1),
        after: used,
        limit: count(scene, Metric::Limit),
        basis: format!("{}, and one of the one-off dyno while it runs; a script may open more", now(scene)),
    })
}

/// A step that ends `victims` sessions.
pub(crate) fn kill(scene: &Scene<'_>, victims: usize) -> Option<Forecast> {
    let used = count(scene, Metric::Used)?;
    let victims = u64::try_from(victims).unwrap_or(u64::MAX);
    Some(Forecast {
        during: Some(used),
        after: Some(used.saturating_sub(victims)),
        limit: count(scene, Metric::Limit),
        basis: format!("{used} now, {victims} of them ended; a leak refills what is freed"),
    })
}

/// A step that changes the number of dynos of a type from `from` to `to`.
pub(crate) fn scaled(scene: &Scene<'_>, from: u64, to: u64) -> Option<Forecast> {
    let used = count(scene, Metric::Used)?;
    let limit = count(scene, Metric::Limit);
    let now = now(scene);
    if to >= from {
        let processes = scene.observer.processes().ok().flatten();
        let more = processes.map(|processes| used + (to - from) * processes);
        let basis = match processes {
            Some(processes) => format!("{now}, and up to {} dynos × {processes} processes more", to - from),
            None => format!("{now}; WEB_CONCURRENCY is not set, so the new share is measured when reached"),
        };
        return Some(Forecast { during: more, after: more, limit, basis });
    }
    let basis = format!(
        "{now}, shared by {from} dynos; what a stopped dyno leaves open stays until the server notices or it is ended"
    );
    Some(Forecast { during: Some(used), after: Some(used * to / from.max(1)), limit, basis })
}
