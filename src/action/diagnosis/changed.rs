//! What changed: when it began, what was released, configured, scaled or restarted around then, and which of it is
//! suspect. Pure.
//!
//! It names a suspect with its confidence, or says that nothing lines up. A restart hides what was before it, and so is
//! never the suspect of a leak itself.

use jiff::Timestamp;
use serde::Serialize;

use super::verdict::Verdict;
use crate::health::{Exhaustion, show_seconds};
use crate::platform::{Dyno, Formation, LogLine, Release, ReleaseStatus};

/// Events older than this have nothing to do with it, in seconds.
const LOOK_BACK: f64 = 72.0 * 3600.0;
/// What began so shortly before a change was noted may be its doing: boots and clocks, in seconds.
const CLOCKS: f64 = 20.0;
/// Releases are stamped in whole seconds.
const STAMPS: f64 = 1.0;
/// Dynos that start within this of each other are one restart, in seconds.
const TOGETHER: f64 = 90.0;
/// Sessions that a beginning is read from, at least.
const ENOUGH: usize = 10;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// New code.
    Deploy,
    /// Config vars or an add-on.
    Config,
    /// A release that went back.
    Rollback,
    /// More or fewer dynos.
    Formation,
    /// Dynos started.
    Restart,
    /// The database server started.
    Database,
    /// A run of ours saw health.
    Healthy,
    /// Something else that was released.
    Release,
    /// It began here.
    Began,
}

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Happened {
    pub(crate) at: Timestamp,
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

/// What is suspected.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Suspect {
    pub(crate) at: Timestamp,
    pub(crate) kind: Kind,
    pub(crate) what: String,
    /// 0 to 1.
    pub(crate) confidence: f64,
    pub(crate) why: String,
}

/// What changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Changes {
    /// When it began, as far as it can be seen.
    pub(crate) began: Option<Timestamp>,
    /// How that is known; or why it is not.
    pub(crate) basis: String,
    /// What happened around then, oldest first.
    pub(crate) events: Vec<Happened>,
    /// The suspect; `None` = nothing lines up.
    pub(crate) suspect: Option<Suspect>,
}

/// What it is read from.
#[derive(Debug, Clone, Default)]
pub(super) struct Traces<'a> {
    /// Ages of the sleepers that were left, in seconds.
    pub(super) ages: Vec<f64>,
    /// Since when the database server runs, in seconds.
    pub(super) uptime_s: Option<f64>,
    pub(super) releases: &'a [Release],
    pub(super) dynos: &'a [Dyno],
    pub(super) formation: &'a [Formation],
    pub(super) logs: &'a [LogLine],
    /// The last time that a run on this machine saw low usage, and which run.
    pub(super) healthy: Option<(Timestamp, String)>,
}

/// Lines it up.
pub(super) fn changed(now: Timestamp, verdict: Verdict, traces: &Traces<'_>) -> Changes {
    let mut events = released(traces.releases);
    events.extend(scaled(traces.logs));
    events.extend(started(traces));
    events.extend(traces.uptime_s.and_then(|uptime| before(now, uptime)).map(|at| Happened {
        at,
        kind: Kind::Database,
        what: "the database server started".to_owned(),
    }));
    events.extend(traces.healthy.iter().map(|(at, run)| Happened {
        at: *at,
        kind: Kind::Healthy,
        what: format!("usage was low, as run {run} saw"),
    }));
    let (began, basis) = beginning(now, verdict, traces);
    events.retain(|event| since(event.at, now) <= LOOK_BACK && since(event.at, now) >= -CLOCKS);
    let suspect = began.and_then(|began| suspect(began, verdict, &events, traces));
    events.extend(began.map(|at| Happened { at, kind: Kind::Began, what: basis.clone() }));
    events.sort_by_key(|event| event.at);
    Changes { began, basis, events, suspect }
}

/// Seconds from `earlier` to `later`.
pub(super) fn since(earlier: Timestamp, later: Timestamp) -> f64 {
    later.duration_since(earlier).as_secs_f64()
}

fn before(now: Timestamp, seconds: f64) -> Option<Timestamp> {
    now.checked_sub(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn released(releases: &[Release]) -> Vec<Happened> {
    // Oldest first, also where several were made within one second.
    releases
        .iter()
        .rev()
        .filter_map(|release| {
            let text = release.description.to_ascii_lowercase();
            let kind = if text.starts_with("deploy") || text.starts_with("promote") {
                Kind::Deploy
            } else if text.starts_with("rollback") {
                Kind::Rollback
            } else if text.contains("config var")
                || text.starts_with("set ")
                || text.starts_with("unset ")
                || text.contains("add-on")
                || text.starts_with("attach")
                || text.starts_with("detach")
                || text.starts_with("update ")
                || text.starts_with("remove ")
            {
                Kind::Config
            } else {
                Kind::Release
            };
            let failed = match release.status {
                ReleaseStatus::Failed => ", which failed",
                ReleaseStatus::Pending => ", still pending",
                _ => "",
            };
            let by = if release.user.is_empty() { String::new() } else { format!(" by {}", release.user) };
            let what = format!("v{} {}{by}{failed}", release.version, release.description);
            Some(Happened { at: time(&release.created_at)?, kind, what })
        })
        .collect()
}

/// Changes of the formation make no release: only the log tells them.
fn scaled(logs: &[LogLine]) -> Vec<Happened> {
    let of_api = |line: &&LogLine| line.process == "api" && line.message.starts_with("Scaled to ");
    logs.iter()
        .filter(of_api)
        .filter_map(|line| {
            Some(Happened { at: time(&line.at)?, kind: Kind::Formation, what: line.message.clone() })
        })
        .collect()
}

/// Dynos by when they started; those that started together are one line.
fn started(traces: &Traces<'_>) -> Vec<Happened> {
    let mut starts: Vec<(Timestamp, &Dyno)> = traces
        .dynos
        .iter()
        .filter(|dyno| dyno.belongs_to(traces.formation))
        .filter_map(|dyno| Some((time(&dyno.created_at)?, dyno)))
        .collect();
    starts.sort_by_key(|(at, dyno)| (*at, dyno.name.clone()));
    let mut told: Vec<Happened> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    let mut last: Option<(Timestamp, u64)> = None;
    for (at, dyno) in starts {
        let joins =
            last.is_some_and(|(first, release)| since(first, at) <= TOGETHER && release == dyno.release);
        if !joins {
            names.clear();
            told.push(Happened { at, kind: Kind::Restart, what: String::new() });
        }
        names.push(dyno.name.clone());
        last = Some((at, dyno.release));
        if let Some(event) = told.last_mut() {
            event.what = format!("{} started, of v{}", names.join(", "), dyno.release);
        }
    }
    told
}

/// When it began, as far as it can be seen, and how that is known: the earlier of what the sessions and the log tell.
fn beginning(now: Timestamp, verdict: Verdict, traces: &Traces<'_>) -> (Option<Timestamp>, String) {
    if verdict == Verdict::Healthy {
        return (None, "nothing is wrong now".to_owned());
    }
    let left = if verdict == Verdict::Leak { oldest_left(now, &traces.ages) } else { None };
    match (left, first_full(traces.logs)) {
        (Some(left), Some(full)) => {
            let (at, basis) = if full.0 < left.0 { full } else { left };
            (Some(at), basis)
        }
        (Some((at, basis)), None) | (None, Some((at, basis))) => (Some(at), basis),
        (None, None) => (None, "when it began cannot be seen from here".to_owned()),
    }
}

/// When the oldest of the sessions that sleep was left.
fn oldest_left(now: Timestamp, ages: &[f64]) -> Option<(Timestamp, String)> {
    if ages.len() < ENOUGH {
        return None;
    }
    let mut ages = ages.to_vec();
    ages.sort_by(f64::total_cmp);
    // A few that are older than all the rest are none of the leak's.
    let oldest = ages[(ages.len() - 1) * 95 / 100];
    let basis = format!("the oldest of {} sessions that sleep was left asleep", ages.len());
    before(now, oldest).map(|at| (at, basis))
}

/// When the log shows a full database for the first time.
fn first_full(logs: &[LogLine]) -> Option<(Timestamp, String)> {
    let at = time(&logs.iter().find(|line| shows_full(line))?.at)?;
    let begins = logs.first().and_then(|line| time(&line.at));
    // The log may just not reach further back.
    let basis = if begins.is_some_and(|begins| since(begins, at) < 2.0) {
        "the log shows a full database from its first line on: it began then or before"
    } else {
        "the log shows a full database for the first time"
    };
    Some((at, basis.to_owned()))
}

fn shows_full(line: &LogLine) -> bool {
    Exhaustion::shown_by_line(&line.source, &line.process, &line.message).is_some()
}

/// The newest change before it began that can have done it.
fn suspect(began: Timestamp, verdict: Verdict, events: &[Happened], traces: &Traces<'_>) -> Option<Suspect> {
    let may = |kind: Kind| match kind {
        Kind::Deploy | Kind::Config | Kind::Rollback | Kind::Release => true,
        Kind::Formation => !matches!(verdict, Verdict::Leak | Verdict::NotOurs),
        Kind::Restart | Kind::Database | Kind::Healthy | Kind::Began => false,
    };
    let culprit = events
        .iter()
        .filter(|event| may(event.kind) && !event.what.ends_with("which failed"))
        .filter(|event| since(event.at, began) >= -CLOCKS)
        .max_by_key(|event| event.at)?;
    let lag = since(culprit.at, began).max(0.0);
    // How soon after it: what a release breaks shows when its dynos serve.
    let soon = match lag {
        0.0..=180.0 => 0.8,
        180.0..=900.0 => 0.65,
        900.0..=7200.0 => 0.45,
        _ => 0.25,
    };
    // A restart ends every session: what sleeps now cannot tell of before it.
    let hidden = events
        .iter()
        .filter(|event| event.kind == Kind::Restart && since(event.at, began) >= -CLOCKS)
        .map(|event| event.at)
        .max();
    // The release restarts the dynos by itself: only a restart long after it is another one.
    let own_restart = hidden.is_some_and(|at| (-CLOCKS..=600.0).contains(&since(culprit.at, at)));
    let healthy_before =
        traces.healthy.as_ref().is_some_and(|(at, _)| (-STAMPS..LOOK_BACK).contains(&since(*at, culprit.at)));
    let quiet_before = traces.logs.first().and_then(|line| time(&line.at)).is_some_and(|first| {
        let earlier = |line: &&LogLine| time(&line.at).is_none_or(|at| at < culprit.at);
        since(first, culprit.at) >= 60.0 && !traces.logs.iter().take_while(earlier).any(shows_full)
    });
    let mut why = if since(culprit.at, began) < 0.0 {
        "it began as this was made".to_owned()
    } else {
        format!("it began {} after it", show_seconds(lag.round()))
    };
    let mut confidence: f64 = soon;
    if healthy_before {
        confidence += 0.15;
        why.push_str("; usage was low before it");
    } else if quiet_before {
        confidence += 0.1;
        why.push_str("; the log shows no full database before it");
    } else if verdict == Verdict::Leak && own_restart {
        confidence *= 0.7;
        why.push_str("; its restart ended every older session, so it may have leaked before, too");
    } else if verdict == Verdict::Leak && hidden.is_some_and(|at| since(culprit.at, at) > 600.0) {
        confidence = confidence.min(0.35);
        why.push_str("; a later restart hides when the leak itself began");
    }
    Some(Suspect {
        at: culprit.at,
        kind: culprit.kind,
        what: culprit.what.clone(),
        confidence: (confidence.min(0.95) * 100.0).round() / 100.0,
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn release(version: u64, description: &str, seconds: i64) -> Release {
        Release {
            id: format!("r{version}"),
            version,
            status: ReleaseStatus::Succeeded,
            current: false,
            eligible_for_rollback: true,
            description: description.into(),
            slug: None,
            user: "ops@example.com".into(),
            created_at: at(seconds).to_string(),
            output_stream_url: None,
        }
    }

    fn dyno(name: &str, release: u64, seconds: i64) -> Dyno {
        Dyno {
            id: name.into(),
            name: name.into(),
            kind: "web".into(),
            state: "up".into(),
            size: "Basic".into(),
            release,
            created_at: at(seconds).to_string(),
            updated_at: at(seconds).to_string(),
            command: String::new(),
        }
    }

    fn line(seconds: i64, process: &str, message: &str) -> LogLine {
        let source = if process == "router" { "heroku" } else { "app" };
        LogLine {
            at: at(seconds).to_string(),
            source: source.into(),
            process: process.into(),
            message: message.into(),
        }
    }

    fn web() -> Vec<Formation> {
        vec![Formation { kind: "web".into(), quantity: 2, size: "Basic".into(), command: String::new() }]
    }

    const FULL: &str = "SQLSTATE[HY000] [1040] Too many connections";

    #[test]
    fn a_leak_that_begins_with_a_release_makes_it_the_suspect() {
        let (releases, dynos, formation) = (
            [release(12, "Deploy 60883d9e", 1000), release(11, "Set X config vars", 100)],
            [dyno("web.1", 12, 1004), dyno("web.2", 12, 1010)],
            web(),
        );
        let mut traces = Traces {
            ages: (1..=100).map(|n| f64::from(n) * 5.9).collect(),
            releases: &releases,
            dynos: &dynos,
            formation: &formation,
            ..Traces::default()
        };
        let told = changed(at(1600), Verdict::Leak, &traces);
        let suspect = told.suspect.clone().unwrap();
        assert_eq!(
            (suspect.kind, suspect.what.as_str()),
            (Kind::Deploy, "v12 Deploy 60883d9e by ops@example.com")
        );
        assert!(suspect.confidence < 0.6 && suspect.why.contains("may have leaked before"), "{suspect:?}");
        let kinds: Vec<_> = told.events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, [Kind::Config, Kind::Deploy, Kind::Restart, Kind::Began]);
        assert_eq!(told.events[2].what, "web.1, web.2 started, of v12");

        traces.healthy = Some((at(900), "20261125-x".into()));
        let sure = changed(at(1600), Verdict::Leak, &traces).suspect.unwrap();
        assert!(sure.confidence > 0.9 && sure.why.contains("usage was low before it"), "{sure:?}");
        traces.healthy = None;
        let logs = [line(800, "web.1", "GET /"), line(1050, "web.1", FULL)];
        traces.logs = &logs;
        let quiet = changed(at(1600), Verdict::Leak, &traces).suspect.unwrap();
        assert!(quiet.confidence > 0.8 && quiet.why.contains("log shows no full database"), "{quiet:?}");
    }

    #[test]
    fn a_later_restart_hides_the_beginning_and_is_no_suspect() {
        let (releases, dynos, formation) =
            ([release(12, "Deploy 60883d9e", 1000)], [dyno("web.1", 12, 80_000)], web());
        let traces = Traces {
            ages: (1..=100).map(|n| f64::from(n) * 10.0).collect(),
            releases: &releases,
            dynos: &dynos,
            formation: &formation,
            ..Traces::default()
        };
        let suspect = changed(at(81_000), Verdict::Leak, &traces).suspect.unwrap();
        assert_eq!(suspect.kind, Kind::Deploy);
        assert!(suspect.confidence <= 0.35 && suspect.why.contains("hides when"), "{suspect:?}");
    }

    #[test]
    fn what_came_after_it_began_and_what_failed_is_no_suspect() {
        let mut failed = release(13, "Deploy f00", 900);
        failed.status = ReleaseStatus::Failed;
        let releases = [release(14, "Rollback to v11", 1200), failed];
        let traces = Traces {
            ages: (1..=50).map(|n| f64::from(n) * 12.0).collect(),
            releases: &releases,
            ..Traces::default()
        };
        let told = changed(at(1600), Verdict::Leak, &traces);
        assert!(told.began.is_some_and(|began| since(at(1000), began).abs() < 60.0), "{told:?}");
        assert_eq!(told.suspect, None);
    }

    #[test]
    fn more_dynos_are_the_suspect_of_a_load_and_the_log_tells_when() {
        let logs = [
            line(0, "web.1", "GET /"),
            line(500, "api", "Scaled to web@6:Standard-1X by user ops@example.com"),
            line(560, "web.3", FULL),
            line(570, "web.4", FULL),
        ];
        let traces = Traces { logs: &logs, ..Traces::default() };
        let told = changed(at(700), Verdict::Load, &traces);
        assert_eq!(told.began, Some(at(560)));
        let suspect = told.suspect.unwrap();
        assert_eq!(suspect.kind, Kind::Formation);
        assert!(suspect.confidence > 0.8, "{suspect:?}");
        let leak = changed(at(700), Verdict::Leak, &traces);
        assert_eq!(leak.suspect, None, "more dynos open more, they do not leave more asleep");
        let from_start = Traces { logs: &logs[2..], ..Traces::default() };
        assert!(changed(at(700), Verdict::Load, &from_start).basis.contains("then or before"));
    }

    #[test]
    fn nothing_is_told_of_what_is_not_known() {
        let quiet = changed(at(0), Verdict::Healthy, &Traces::default());
        assert_eq!((quiet.began, quiet.suspect), (None, None));
        let blind = changed(at(0), Verdict::Full, &Traces::default());
        assert_eq!((blind.began, blind.basis.as_str()), (None, "when it began cannot be seen from here"));
        let old = [release(2, "Deploy a", -400_000)];
        let traces = Traces { releases: &old, uptime_s: Some(50.0), ..Traces::default() };
        let kinds: Vec<_> = changed(at(0), Verdict::Full, &traces).events.iter().map(|e| e.kind).collect();
        assert_eq!(kinds, [Kind::Database], "what is days old is left out");
    }
}
