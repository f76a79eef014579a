//! Proofs that several verbs share: that a release is the one that runs, and that dynos were really replaced.
//!
//! `state == up` alone proves nothing: right after a restart the list still shows the old dynos.

use std::time::Duration;

use super::scene::{Failure, Scene};
use super::verb::{Forecast, Next};
use crate::health::{Metric, Moment, Value};
use crate::platform::{Before, Dyno, DynoTriple, Fault, FaultKind, Formation, Release, ReleaseStatus, short};

/// How often dynos are looked at while a replacement is awaited; the observer keeps the read budget.
const LOOK: Duration = Duration::from_secs(1);
/// How often releases are looked at.
const LOOK_RELEASES: Duration = Duration::from_secs(3);

/// Identity of each dyno of the formation, as it is now.
pub(crate) fn triples(dynos: &[Dyno], formation: &[Formation]) -> Vec<DynoTriple> {
    dynos
        .iter()
        .filter(|dyno| formation.iter().any(|kind| kind.kind == dyno.kind))
        .map(|dyno| DynoTriple {
            name: dyno.name.clone(),
            id: dyno.id.clone(),
            created_at: dyno.created_at.clone(),
            updated_at: dyno.updated_at.clone(),
        })
        .collect()
}

/// What a look at the dynos says about a replacement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Replacing {
    /// Every wanted dyno is a new one, and up.
    Done(u64),
    /// Not yet; in words.
    NotYet(String),
    /// New ones crashed.
    Crashed(Vec<String>),
}

/// Which dynos a proof is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The formation now.
    pub(crate) formation: &'a [Formation],
    /// Only this process type.
    pub(crate) kind: Option<&'a str>,
    /// Only this dyno.
    pub(crate) name: Option<&'a str>,
    /// They must run this release or a later one.
    pub(crate) release: Option<u64>,
}

/// Compares the dynos now with those noted before a change.
pub(crate) fn replacing(before: &[DynoTriple], now: &[Dyno], wanted: Wanted<'_>) -> Replacing {
    let concerns = |kind: &str, name: &str| {
        wanted.kind.is_none_or(|only| only == kind) && wanted.name.is_none_or(|only| only == name)
    };
    let formation: Vec<_> =
        wanted.formation.iter().filter(|row| wanted.kind.is_none_or(|only| only == row.kind)).collect();
    let number = if wanted.name.is_some() { 1 } else { formation.iter().map(|row| row.quantity).sum() };
    let mut up = 0;
    let mut crashed = Vec::new();
    let mut old = 0;
    for dyno in now.iter().filter(|dyno| formation.iter().any(|row| row.kind == dyno.kind)) {
        if !concerns(&dyno.kind, &dyno.name) {
            continue;
        }
        let was = before.iter().any(|triple| {
            triple.id == dyno.id
                && triple.created_at == dyno.created_at
                && triple.updated_at == dyno.updated_at
        });
        let runs_it = wanted.release.is_none_or(|version| dyno.release >= version);
        if was || !runs_it {
            old += 1;
        } else if dyno.state == "crashed" {
            crashed.push(dyno.name.clone());
        } else if dyno.state == "up" || dyno.state == "idle" {
            up += 1;
        }
    }
    if !crashed.is_empty() {
        return Replacing::Crashed(crashed);
    }
    if up >= number && old == 0 {
        return Replacing::Done(up);
    }
    let mut words = format!("every dyno to be replaced and up ({up} of {number}");
    if old > 0 {
        words.push_str(", old ones still listed");
    }
    words.push(')');
    Replacing::NotYet(words)
}

/// Looks at the dynos since `changed`: the number replaced, or what to do meanwhile.
pub(crate) fn await_replaced(
    scene: &Scene<'_>,
    before: &Before,
    changed: Moment,
    kind: Option<&str>,
    name: Option<&str>,
    release: Option<u64>,
) -> Result<Result<u64, Next>, Failure> {
    let wait = |awaited: String| Ok(Err(Next::Wait { awaited, again: LOOK }));
    let seen = scene.observer.dynos()?;
    if seen.at < changed {
        return wait("Heroku to list the new dynos".to_owned());
    }
    let formation = scene.observer.formation(changed)?.value;
    let wanted = Wanted { formation: &formation, kind, name, release };
    match replacing(&before.dynos, &seen.value, wanted) {
        Replacing::Done(number) => Ok(Ok(number)),
        Replacing::NotYet(awaited) => wait(awaited),
        Replacing::Crashed(names) => Err(crash(scene, &names)),
    }
}

/// The failure of crashed dynos, with their last log lines.
pub(crate) fn crash(scene: &Scene<'_>, names: &[String]) -> Failure {
    let fault = Fault::new(
        FaultKind::Crashed,
        format!("starting {} of {}", names.join(", "), scene.app),
        "the new dynos crashed at boot",
    )
    .hint("`heroku logs --app` shows more than the last log lines here")
    .hint("`runbook run rollback` brings the previous release back");
    let first = names.first().map(String::as_str);
    let evidence = match scene.observer.heroku().recent_logs(30, first) {
        Ok(lines) => {
            let skip = lines.len().saturating_sub(12);
            lines
                .iter()
                .skip(skip)
                .map(|line| format!("{}[{}]: {}", line.source, line.process, line.message))
                .collect()
        }
        Err(fault) => vec![format!("(its log could not be read: {fault})")],
    };
    Failure { fault, evidence }
}

/// The release that runs, and the commit it was built from.
pub(crate) fn live(scene: &Scene<'_>) -> Result<(Option<Release>, Option<String>), Failure> {
    let releases = scene.observer.heroku().releases(10)?;
    let Some(current) = releases.iter().find(|release| release.current) else { return Ok((None, None)) };
    let commit = match &current.slug {
        Some(slug) => scene.observer.commit_of(slug)?,
        None => None,
    };
    Ok((Some(current.clone()), commit))
}

/// Version of the newest release, failed and pending ones included.
pub(crate) fn newest_version(scene: &Scene<'_>) -> Result<Option<u64>, Failure> {
    Ok(scene.observer.heroku().releases(1)?.first().map(|release| release.version))
}

/// What is noted before a push or a release.
pub(crate) fn before_release(scene: &Scene<'_>, live_commit: Option<String>) -> Result<Before, Failure> {
    let dynos = scene.observer.heroku().dynos()?;
    let formation = scene.observer.heroku().formation()?;
    Ok(Before {
        dynos: triples(&dynos, &formation),
        release: newest_version(scene)?,
        live_commit,
        ..Before::default()
    })
}

/// A release newer than `before` that is current and succeeded: its version, or what to do meanwhile. `None` when no
/// newer release is there.
pub(crate) fn await_release(
    scene: &Scene<'_>,
    before: &Before,
    changed: Moment,
    commit: Option<&str>,
) -> Result<Option<Result<Release, Next>>, Failure> {
    let known = before.release.unwrap_or(0);
    let Some(newest) =
        scene.observer.releases(changed)?.value.into_iter().find(|release| release.version > known)
    else {
        return Ok(None);
    };
    let what = format!("proving release v{} of {}", newest.version, scene.app);
    match &newest.status {
        ReleaseStatus::Pending => Ok(Some(Err(Next::Wait {
            awaited: format!("release v{} to succeed (its release phase runs)", newest.version),
            again: LOOK_RELEASES,
        }))),
        ReleaseStatus::Failed | ReleaseStatus::Expired => {
            let fault = Fault::new(
                FaultKind::Refused,
                what,
                "its release phase failed; the release before it stays live, although git has the commit",
            )
            .hint("`heroku releases:output` shows what the release phase printed")
            .hint(
                "after the cause is mended, run this again: a push alone would say \"Everything up-to-date\"",
            );
            Err(Failure { evidence: release_log(scene), fault })
        }
        ReleaseStatus::Other(word) => Ok(Some(Err(Next::Wait {
            awaited: format!("release v{} to leave the state `{word}`", newest.version),
            again: LOOK_RELEASES,
        }))),
        ReleaseStatus::Succeeded if !newest.current => Ok(Some(Err(Next::Wait {
            awaited: format!("release v{} to become current", newest.version),
            again: LOOK_RELEASES,
        }))),
        ReleaseStatus::Succeeded => {
            if let (Some(commit), Some(slug)) = (commit, &newest.slug) {
                let built = scene.observer.commit_of(slug)?;
                if let Some(built) = built.filter(|built| built != commit) {
                    let why = format!("it runs commit {}, not {}", short(&built), short(commit));
                    return Err(Fault::new(FaultKind::Refused, what, why)
                        .hint("somebody else deployed at the same time: look at `heroku releases`")
                        .into());
                }
            }
            Ok(Some(Ok(newest)))
        }
    }
}

fn release_log(scene: &Scene<'_>) -> Vec<String> {
    match scene.observer.heroku().recent_logs(60, None) {
        Ok(lines) => lines
            .iter()
            .filter(|line| line.process.starts_with("release"))
            .map(|line| format!("{}[{}]: {}", line.source, line.process, line.message))
            .collect(),
        Err(fault) => vec![format!("(its log could not be read: {fault})")],
    }
}

/// Connections during and after a step that starts `dynos` new web dynos while as many old ones may still run.
pub(crate) fn overlap(scene: &Scene<'_>) -> Option<Forecast> {
    let count = |metric| match scene.metrics.get(&metric) {
        Some(Value::Count(number)) => Some(whole(*number)),
        _ => None,
    };
    let used = count(Metric::Used)?;
    let limit = count(Metric::Limit);
    let dynos = count(Metric::DynosWanted)?;
    let processes = scene.observer.heroku().web_concurrency().ok().flatten();
    let (during, basis) = match processes {
        Some(processes) => (
            Some(used + dynos * processes),
            format!(
                "{used} now, and up to {dynos} dynos × {processes} processes (WEB_CONCURRENCY) starting beside the old ones"
            ),
        ),
        None => (
            None,
            format!(
                "{used} now; old and new dynos overlap for up to 30 s; WEB_CONCURRENCY is not set, so the new share is measured when reached"
            ),
        ),
    };
    Some(Forecast { during, after: None, limit, basis })
}

/// A count as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small and not negative"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dyno(name: &str, id: &str, state: &str, release: u64) -> Dyno {
        Dyno {
            id: id.to_owned(),
            name: name.to_owned(),
            kind: name.split('.').next().unwrap_or_default().to_owned(),
            state: state.to_owned(),
            size: "Standard-1X".to_owned(),
            release,
            created_at: format!("at-{id}"),
            updated_at: format!("at-{id}"),
        }
    }

    fn web(quantity: u64) -> Vec<Formation> {
        vec![Formation { kind: "web".into(), quantity, size: "Standard-1X".into(), command: String::new() }]
    }

    fn look(now: &[Dyno], release: Option<u64>) -> Replacing {
        let formation = web(2);
        let old = triples(&[dyno("web.1", "a", "up", 7), dyno("web.2", "b", "up", 7)], &formation);
        replacing(&old, now, Wanted { formation: &formation, kind: None, name: None, release })
    }

    #[test]
    fn up_alone_proves_nothing() {
        let stale = look(&[dyno("web.1", "a", "up", 7), dyno("web.2", "b", "up", 7)], None);
        assert!(matches!(stale, Replacing::NotYet(_)), "{stale:?}");
    }

    #[test]
    fn new_and_up_is_replaced_and_one_offs_do_not_matter() {
        let now =
            [dyno("web.1", "c", "up", 7), dyno("web.2", "d", "up", 7), dyno("run.12", "x", "crashed", 7)];
        assert_eq!(look(&now, None), Replacing::Done(2));
    }

    #[test]
    fn a_new_one_that_crashed_fails_at_once_an_old_one_does_not() {
        let now = [dyno("web.1", "c", "crashed", 7), dyno("web.2", "b", "up", 7)];
        assert_eq!(look(&now, None), Replacing::Crashed(vec!["web.1".to_owned()]));
        let formation = web(1);
        let old = triples(&[dyno("web.1", "a", "crashed", 7)], &formation);
        let wanted = Wanted { formation: &formation, kind: None, name: None, release: None };
        let still = replacing(&old, &[dyno("web.1", "a", "crashed", 7)], wanted);
        assert!(matches!(still, Replacing::NotYet(_)), "{still:?}");
    }

    #[test]
    fn a_dyno_of_the_release_before_is_old() {
        let now = [dyno("web.1", "c", "up", 7), dyno("web.2", "d", "up", 8)];
        assert!(matches!(look(&now, Some(8)), Replacing::NotYet(_)));
    }

    #[test]
    fn one_of_two_missing_is_not_yet() {
        assert!(matches!(look(&[dyno("web.1", "c", "up", 7)], None), Replacing::NotYet(_)));
    }
}
