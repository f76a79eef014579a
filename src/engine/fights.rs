//! Whether somebody else is at work on the app: before each change the releases, the formation and the dynos are
//! compared with what the run last saw. What the run itself has done is no difference. Pure; it must never call a
//! crash or the daily cycling of a dyno a person.

use std::time::Duration;

use crate::action::Made;
use crate::platform::{Change, Dyno, Effect, Formation, Release, short};

/// Heroku replaces every dyno about once a day by itself.
const CYCLE: Duration = Duration::from_secs(24 * 3600);

/// What the run saw of the app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// The dynos.
    pub dynos: Vec<Dyno>,
    /// The formation.
    pub formation: Vec<Formation>,
    /// The newest releases, newest first; each with the commit it was built from.
    pub releases: Vec<(Release, Option<String>)>,
}

impl Sight {
    /// Version of the newest release in it; 0 without one.
    pub(super) fn newest(&self) -> u64 {
        self.releases.iter().map(|(release, _)| release.version).max().unwrap_or(0)
    }
}

/// What others have done between two looks, each in a sentence. `own` are the changes that this run has made since
/// `before`.
pub fn differences(before: &Sight, now: &Sight, own: &[Made], wall: jiff::Timestamp) -> Vec<String> {
    let mut found = Vec::new();
    let known = before.newest();
    let ours: Vec<_> = own.iter().map(|made| (&made.change, &made.effect)).collect();
    found.extend(foreign_releases(known, &now.releases, &ours));
    for row in &now.formation {
        let Some(was) = before.formation.iter().find(|was| was.kind == row.kind) else { continue };
        let ours = own.iter().rev().find_map(|made| match &made.change {
            Change::Scale { kind, quantity } if *kind == row.kind => Some(*quantity),
            _ => None,
        });
        let expected = ours.unwrap_or(was.quantity);
        if row.quantity != expected {
            found.push(format!("{} is scaled to {}, and was at {expected}", clean(&row.kind), row.quantity));
        }
        if row.size != was.size {
            found.push(format!(
                "{} runs on {}, and was on {}",
                clean(&row.kind),
                clean(&row.size),
                clean(&was.size)
            ));
        }
    }
    let restarted_by_us = own.iter().any(|made| {
        !made.change.is_local() && !matches!(made.change, Change::Kill { .. } | Change::Maintenance { .. })
    });
    // A release and a new quantity start dynos: they are named already.
    if found.is_empty() && !restarted_by_us && restarted(before, now, wall) {
        found.push("every dyno was restarted".to_owned());
    }
    found
}

/// Releases newer than version `known` that none of `own` has made, oldest first, each in words.
pub fn foreign_releases(
    known: u64,
    releases: &[(Release, Option<String>)],
    own: &[(&Change, &Effect)],
) -> Vec<String> {
    let foreign = releases
        .iter()
        .filter(|(release, _)| release.version > known)
        .filter(|(release, commit)| !own.iter().any(|made| made_it(*made, release, commit.as_deref())));
    let told = foreign.map(|(release, _)| {
        format!(
            "release v{} ({}) by {} at {}",
            release.version,
            clean(&release.description),
            clean(&release.user),
            clean(&release.created_at)
        )
    });
    told.collect::<Vec<_>>().into_iter().rev().collect()
}

/// Whether every dyno that ran quietly was replaced, none of them by a crash or by the daily cycling.
fn restarted(before: &Sight, now: &Sight, wall: jiff::Timestamp) -> bool {
    let mut quiet = before
        .dynos
        .iter()
        .filter(|dyno| dyno.belongs_to(&before.formation) && dyno.state == "up" && !is_old(dyno, wall))
        .peekable();
    if quiet.peek().is_none() {
        return false;
    }
    quiet.all(|old| {
        now.dynos.iter().any(|new| {
            new.name == old.name
                && new.id != old.id
                && new.created_at != old.created_at
                && new.state != "crashed"
        })
    })
}

fn is_old(dyno: &Dyno, wall: jiff::Timestamp) -> bool {
    dyno.created_at
        .parse::<jiff::Timestamp>()
        .is_ok_and(|created| wall.duration_since(created).unsigned_abs() >= CYCLE)
}

/// Whether this change of ours made the release.
fn made_it(made: (&Change, &Effect), release: &Release, commit: Option<&str>) -> bool {
    match made {
        (_, Effect::Released { version }) => *version == release.version,
        (Change::Push { commit: pushed, .. }, _) => {
            commit == Some(pushed.as_str()) || release.description.contains(short(pushed))
        }
        // Read back after a lost answer: which version it became was not said.
        (Change::Rollback { version, .. }, Effect::FoundDone) => {
            release.description == format!("Rollback to v{version}")
        }
        (Change::Promote { commit: promoted, .. }, Effect::FoundDone) => commit == Some(promoted.as_str()),
        _ => made.0.is_told_by(made.1, &release.description),
    }
}

fn clean(text: &str) -> String {
    crate::source::escape_controls(text).chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Moment;
    use crate::platform::{Before, DynoScope, ReleaseStatus};

    /// What it is, what was seen, what is seen, what we did, and what is to be named.
    type Case<'a> = (&'a str, &'a Sight, Sight, Vec<Made>, &'a [&'a str]);

    const NOW: &str = "2026-01-02T03:00:00Z";

    fn dyno(name: &str, id: &str, state: &str, created: &str) -> Dyno {
        Dyno {
            id: id.into(),
            name: name.into(),
            kind: "web".into(),
            state: state.into(),
            size: "Standard-1X".into(),
            release: 12,
            created_at: created.into(),
            updated_at: created.into(),
            command: String::new(),
        }
    }

    fn release(version: u64, description: &str, commit: &str) -> (Release, Option<String>) {
        let release = Release {
            id: format!("r{version}"),
            version,
            status: ReleaseStatus::Succeeded,
            current: true,
            eligible_for_rollback: true,
            description: description.into(),
            slug: Some(format!("s{version}")),
            user: "kim@example.com".into(),
            created_at: NOW.into(),
            output_stream_url: None,
        };
        (release, Some(commit.into()))
    }

    fn sight(dynos: &[&Dyno], web: u64, releases: &[&(Release, Option<String>)]) -> Sight {
        let row = Formation {
            kind: "web".into(),
            quantity: web,
            size: "Standard-1X".into(),
            command: String::new(),
        };
        Sight {
            dynos: dynos.iter().copied().cloned().collect(),
            formation: vec![row],
            releases: releases.iter().copied().cloned().collect(),
        }
    }

    fn made(change: Change, effect: Effect) -> Made {
        Made { change, before: Before::default(), effect, at: Moment(0) }
    }

    #[test]
    fn what_others_did_is_named_and_what_we_did_is_not() {
        let recent = "2026-01-02T01:00:00Z";
        let later = "2026-01-02T02:59:00Z";
        let a = dyno("web.1", "a", "up", recent);
        let b = dyno("web.1", "b", "up", later);
        let crashed = dyno("web.1", "c", "crashed", later);
        let old = dyno("web.1", "o", "up", "2026-01-01T02:00:00Z");
        let (v12, v13) =
            (release(12, "Deploy 11111111", "1111111111"), release(13, "Deploy 22222222", "2222222222"));
        let base = sight(&[&a], 1, &[&v12]);
        let push = made(
            Change::Push { commit: "2222222222".into(), branch: "master".into() },
            Effect::Pushed { up_to_date: false },
        );
        let restart = made(Change::Restart { scope: DynoScope::All }, Effect::Accepted);
        let scale = made(Change::Scale { kind: "web".into(), quantity: 2 }, Effect::Accepted);
        let rolled =
            made(Change::Promote { slug: "s".into(), commit: "x".into() }, Effect::Released { version: 13 });
        let v14 = release(14, "Set X config vars", "2222222223");
        let cases: [Case<'_>; 12] = [
            ("nothing", &base, base.clone(), vec![], &[]),
            ("a foreign release", &base, sight(&[&b], 1, &[&v13, &v12]), vec![], &["v13"]),
            ("our push", &base, sight(&[&b], 1, &[&v13, &v12]), vec![push.clone()], &[]),
            ("our promotion", &base, sight(&[&b], 1, &[&v13, &v12]), vec![rolled], &[]),
            (
                "our push, and another",
                &base,
                sight(&[&b], 1, &[&v14, &v13, &v12]),
                vec![push],
                &["v14 (Set X config vars) by kim@example.com"],
            ),
            ("a foreign scale", &base, sight(&[&a], 3, &[&v12]), vec![], &["scaled to 3, and was at 1"]),
            ("our scale", &base, sight(&[&a], 2, &[&v12]), vec![scale.clone()], &[]),
            (
                "our scale, undone",
                &base,
                sight(&[&a], 1, &[&v12]),
                vec![scale],
                &["scaled to 1, and was at 2"],
            ),
            ("a foreign restart", &base, sight(&[&b], 1, &[&v12]), vec![], &["every dyno was restarted"]),
            ("our restart", &base, sight(&[&b], 1, &[&v12]), vec![restart], &[]),
            ("a crash", &base, sight(&[&crashed], 1, &[&v12]), vec![], &[]),
            ("the daily cycling", &sight(&[&old], 1, &[&v12]), sight(&[&b], 1, &[&v12]), vec![], &[]),
        ];
        for (what, before, now, own, wanted) in cases {
            let found = differences(before, &now, &own, NOW.parse().unwrap());
            assert_eq!(found.len(), wanted.len(), "{what}: {found:?}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(found.contains(wanted), "{what}: {found}");
            }
        }
    }
}
