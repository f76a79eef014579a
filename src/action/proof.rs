//! Proofs that several verbs share: that a release is the one that runs, and that dynos were really replaced.
//!
//! `state == up` alone proves nothing: right after a restart the list still shows the old dynos.

use std::time::Duration;

use super::scene::{Failure, Scene};
use super::verb::Next;
use crate::health::Moment;
use crate::platform::{Before, Dyno, DynoTriple, Fault, FaultKind, Formation, Release, ReleaseStatus, short};

/// How often dynos are looked at while a replacement is awaited; the observer keeps the read budget.
const LOOK: Duration = Duration::from_secs(1);
/// How often releases are looked at.
const LOOK_RELEASES: Duration = Duration::from_secs(3);
/// How long a release may take to appear in the list.
const RELEASE_PATIENCE: Duration = Duration::from_secs(60);
/// How long old dynos serve on behind preboot, unseen by the list of dynos.
const PREBOOT: Duration = Duration::from_secs(180);

/// How long going back to an earlier release takes: a request, and a boot.
pub(crate) const RELEASE_TAKES: Duration = Duration::from_secs(30);

/// An answer, or what to do while Heroku's API does not give one: what was changed goes on without it.
pub(crate) fn patient<T>(answer: Result<T, Fault>) -> Result<Result<T, Next>, Failure> {
    let again = match answer {
        Ok(value) => return Ok(Ok(value)),
        Err(Fault { kind: FaultKind::Network | FaultKind::Broken, .. }) => LOOK_RELEASES,
        Err(Fault { kind: FaultKind::Limited, .. }) => Duration::from_secs(10),
        Err(fault) => return Err(fault.into()),
    };
    let awaited =
        answer.err().map_or(String::new(), |fault| format!("Heroku's API to answer again ({fault})"));
    Ok(Err(Next::Wait { awaited, again }))
}

/// Identity of each dyno of the formation, as it is now.
pub(crate) fn triples(dynos: &[Dyno], formation: &[Formation]) -> Vec<DynoTriple> {
    dynos
        .iter()
        .filter(|dyno| dyno.belongs_to(formation))
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

impl Wanted<'_> {
    /// How many dynos it is about.
    pub(crate) fn number(&self) -> u64 {
        let rows = self.formation.iter().filter(|row| row.runs());
        let rows = rows.filter(|row| self.kind.is_none_or(|only| only == row.kind));
        if self.name.is_some() { 1 } else { rows.map(|row| row.quantity).sum() }
    }
}

/// Whether nothing has happened to a dyno since: same incarnation, same last change of state.
pub(crate) fn is_same(was: &DynoTriple, now: &Dyno) -> bool {
    was.id == now.id && was.created_at == now.created_at && was.updated_at == now.updated_at
}

/// Compares the dynos now with those noted before a change.
pub(crate) fn replacing(before: &[DynoTriple], now: &[Dyno], wanted: Wanted<'_>) -> Replacing {
    let concerns = |kind: &str, name: &str| {
        wanted.kind.is_none_or(|only| only == kind) && wanted.name.is_none_or(|only| only == name)
    };
    let number = wanted.number();
    let mut up = 0;
    let mut crashed = Vec::new();
    let mut old = 0;
    for dyno in now.iter().filter(|dyno| concerns(&dyno.kind, &dyno.name)) {
        let was = before.iter().any(|triple| is_same(triple, dyno));
        // One-offs do not count; an old dyno does, even of a process type that is no more.
        if !was && !dyno.belongs_to(wanted.formation) {
            continue;
        }
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
    let seen = match patient(scene.observer.dynos())? {
        Ok(seen) => seen,
        Err(wait) => return Ok(Err(wait)),
    };
    if seen.at < changed {
        return wait("Heroku to list the new dynos".to_owned());
    }
    let formation = match patient(scene.observer.formation(changed))? {
        Ok(formation) => formation.value,
        Err(wait) => return Ok(Err(wait)),
    };
    let wanted = Wanted { formation: &formation, kind, name, release };
    match replacing(&before.dynos, &seen.value, wanted) {
        Replacing::Done(_) if release.is_some() && before.preboot && scene.now.since(changed) < PREBOOT => {
            wait("the old dynos to go: with preboot they serve on, unlisted, for about 3 minutes".to_owned())
        }
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

/// What is noted before a push or a release.
pub(crate) fn before_release(scene: &Scene<'_>) -> Result<Before, Failure> {
    let running = scene.observer.running()?;
    let dynos = scene.observer.heroku().dynos()?;
    let formation = scene.observer.heroku().formation()?;
    Ok(Before {
        dynos: triples(&dynos, &formation),
        release: running.newest,
        live_release: running.release.map(|release| release.version),
        live_commit: running.commit,
        preboot: scene.observer.heroku().preboot().unwrap_or_default(),
        ..Before::default()
    })
}

/// What became of a release that is awaited.
pub(crate) enum Released {
    /// It is current and succeeded.
    Live(Release),
    /// Not yet.
    Wait(Next),
    /// No newer release is there.
    Missing,
}

/// A release newer than `before`: `commit` must be what it was built from, where it is known that one is to be.
pub(crate) fn await_release(
    scene: &Scene<'_>,
    before: &Before,
    changed: Moment,
    commit: Option<&str>,
) -> Result<Released, Failure> {
    let known = before.release.unwrap_or(0);
    let wait = |awaited: String| Ok(Released::Wait(Next::Wait { awaited, again: LOOK_RELEASES }));
    let seen = match patient(scene.observer.releases(changed, known))? {
        Ok(seen) => seen,
        Err(next) => return Ok(Released::Wait(next)),
    };
    if seen.at < changed {
        return wait("Heroku to list the new release".to_owned());
    }
    let Some(newest) = seen.value.into_iter().find(|release| release.version > known) else {
        return Ok(Released::Missing);
    };
    let what = format!("proving release v{} of {}", newest.version, scene.app);
    match &newest.status {
        ReleaseStatus::Pending => {
            wait(format!("release v{} to succeed (its release phase runs)", newest.version))
        }
        ReleaseStatus::Failed | ReleaseStatus::Expired => {
            let why = "its release phase failed; the release before it stays live";
            let output = "`heroku releases:output` shows what the release phase printed";
            let fault = match commit {
                Some(_) => Fault::new(FaultKind::Refused, what, format!("{why}, although git has the commit"))
                    .hint(output)
                    .hint("after the cause is mended, run this again: a push alone would say \"Everything up-to-date\""),
                None => Fault::new(FaultKind::Refused, what, why).hint(output),
            };
            Err(Failure { evidence: release_log(scene), fault })
        }
        ReleaseStatus::Other(word) => {
            wait(format!("release v{} to leave the state `{word}`", newest.version))
        }
        ReleaseStatus::Succeeded if !newest.current => {
            wait(format!("release v{} to become current", newest.version))
        }
        ReleaseStatus::Succeeded => {
            let Some(commit) = commit else { return Ok(Released::Live(newest)) };
            let slug = newest.slug.as_deref().map(|slug| patient(scene.observer.commit_of(slug)));
            let built = match slug.transpose()? {
                Some(Err(next)) => return Ok(Released::Wait(next)),
                Some(Ok(built)) => built.or_else(|| described(&newest, commit)),
                None => described(&newest, commit),
            };
            let why = match built {
                Some(built) if built == commit => return Ok(Released::Live(newest)),
                Some(built) => format!("it runs commit {}, not {}", short(&built), short(commit)),
                None => format!("Heroku does not say which commit it runs; {} was pushed", short(commit)),
            };
            Err(Fault::new(FaultKind::Refused, what, why)
                .hint("somebody else deployed at the same time? Look at `heroku releases`")
                .into())
        }
    }
}

/// The commit, when a slug does not name its own but the release's description does: `Deploy 60883d9e`.
fn described(release: &Release, commit: &str) -> Option<String> {
    let told = release.description.strip_prefix("Deploy ")?.trim();
    (told.len() >= 7 && commit.starts_with(told)).then(|| commit.to_owned())
}

/// What to do while no new release is there: a little patience, then a failure that says so.
pub(crate) fn missing_release(scene: &Scene<'_>, what: String, changed: Moment) -> Result<Next, Failure> {
    if scene.now.since(changed) <= RELEASE_PATIENCE {
        let awaited = "the new release to appear".to_owned();
        return Ok(Next::Wait { awaited, again: Duration::from_secs(2) });
    }
    Err(Fault::new(FaultKind::Broken, what, "it was accepted, but no new release has appeared")
        .hint("look at `heroku releases` and at the app's activity page")
        .into())
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
            command: String::new(),
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
    fn a_kept_id_counts_by_its_times_and_idle_is_up() {
        // The facts promise no new id on a restart: another time is another life.
        let mut again = [dyno("web.1", "a", "up", 7), dyno("web.2", "b", "idle", 7)];
        again[0].updated_at = "later".to_owned();
        again[1].created_at = "later".to_owned();
        assert_eq!(look(&again, None), Replacing::Done(2));
        again[1].state = "provisioning".to_owned();
        assert!(matches!(look(&again, None), Replacing::NotYet(_)), "a state unknown to us is not up");
    }

    #[test]
    fn the_dyno_of_a_release_phase_belongs_to_nobody_though_its_type_has_a_row() {
        let row = |kind: &str, quantity| Formation {
            kind: kind.to_owned(),
            quantity,
            size: "Basic".to_owned(),
            command: String::new(),
        };
        let formation = [row("release", 1), row("web", 1), row("worker", 0)];
        let now = [
            dyno("release.1234", "r", "crashed", 8),
            dyno("scheduler.7", "s", "crashed", 7),
            dyno("web.1", "c", "up", 8),
        ];
        let old = triples(&[dyno("web.1", "a", "up", 7), dyno("release.1", "z", "up", 7)], &formation);
        assert_eq!(old.len(), 1);
        let wanted = Wanted { formation: &formation, kind: None, name: None, release: Some(8) };
        assert_eq!(replacing(&old, &now, wanted), Replacing::Done(1));
        let none = Wanted { kind: Some("worker"), ..wanted };
        assert_eq!(none.number(), 0);
    }

    #[test]
    fn an_old_dyno_of_a_type_that_is_no_more_is_still_there() {
        let two = [web(1), vec![Formation { kind: "worker".into(), ..web(1)[0].clone() }]].concat();
        let old = triples(&[dyno("web.1", "a", "up", 7), dyno("worker.1", "w", "up", 7)], &two);
        let one = web(1);
        let wanted = Wanted { formation: &one, kind: None, name: None, release: Some(8) };
        let now = [dyno("web.1", "c", "up", 8), dyno("worker.1", "w", "up", 7)];
        assert!(matches!(replacing(&old, &now, wanted), Replacing::NotYet(_)));
        assert_eq!(replacing(&old, &now[..1], wanted), Replacing::Done(1));
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
