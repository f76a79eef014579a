//! Whether a change happened, read back from the world. Reads only, and never guesses.

use super::change::{Before, Change, DynoScope, DynoTriple, Effect};
use super::config::describes;
use super::door::Observer;
use super::error::Fault;
use super::facts::Release;
use super::one_off::{Fate, OneOff};
use crate::edit::digest;

/// Newest releases that are looked at.
const LOOKED_AT: usize = 40;

/// What reading back found.
#[derive(Debug, Clone, PartialEq)]
pub enum Reconciled {
    /// It happened.
    Happened(Effect),
    /// It did not: not yet, while the request may still land.
    DidNotHappen,
    /// It has begun and is not over, and what is awaited: look again.
    Underway(String),
    /// It cannot be told, and why.
    CannotTell(String),
}

/// Reads back whether `change` happened. That it did is certain at any time; that it did not only when a lost request
/// can no longer land (`settled`), which the caller keeps account of.
///
/// # Errors
/// When the world could not be asked.
#[expect(clippy::too_many_lines, reason = "one arm a kind of change")]
pub fn reconcile(
    change: &Change,
    before: &Before,
    settled: bool,
    observer: &Observer,
) -> Result<Reconciled, Fault> {
    let happened =
        |yes: bool| if yes { Reconciled::Happened(Effect::FoundDone) } else { Reconciled::DidNotHappen };
    Ok(match change {
        Change::Restart { scope } => {
            let now = observer.heroku().dynos()?;
            let concerned: Vec<&DynoTriple> = before
                .dynos
                .iter()
                .filter(|dyno| match scope {
                    DynoScope::All => true,
                    DynoScope::Kind(kind) => dyno.name.split('.').next() == Some(kind),
                    DynoScope::One(name) => dyno.name == *name,
                })
                .collect();
            let same = concerned.iter().filter(|old| {
                now.iter().any(|dyno| {
                    dyno.id == old.id
                        && dyno.created_at == old.created_at
                        && dyno.updated_at == old.updated_at
                })
            });
            let (all, same) = (concerned.len(), same.count());
            if same > 0 && same < all && !settled {
                // One alone may have crashed by itself.
                Reconciled::Underway(format!("{} of {all} dynos are replaced", all - same))
            } else {
                happened(same < all)
            }
        }
        Change::Scale { kind, quantity } => {
            let now = observer.heroku().formation()?;
            match now.iter().find(|row| row.kind == *kind) {
                Some(row) if row.quantity == *quantity => happened(true),
                Some(row) if Some(row.quantity) == before.quantity => happened(false),
                Some(row) => Reconciled::CannotTell(format!(
                    "{kind} is at {}: neither what it was nor what was asked for",
                    row.quantity
                )),
                None => Reconciled::CannotTell(format!("the app has no process type {kind} any more")),
            }
        }
        Change::Config { vars } => {
            let differences = observer.heroku().config_differences(vars)?;
            if differences.iter().all(|difference| difference.same) {
                let releases = newer(observer.heroku().releases(LOOKED_AT)?, before);
                let ours = releases.iter().find(|release| describes(&release.description, vars));
                Reconciled::Happened(
                    ours.map_or(Effect::FoundDone, |release| Effect::Released { version: release.version }),
                )
            } else {
                Reconciled::DidNotHappen
            }
        }
        Change::CreateAddon { plan, name } => {
            let addons = observer.heroku().addons()?;
            let made = addons.iter().find(|addon| {
                !before.addons.contains(&addon.id)
                    && addon.exists()
                    && same_plan(&addon.plan, plan)
                    && name.as_ref().is_none_or(|name| *name == addon.name)
            });
            match made {
                Some(made) => {
                    Reconciled::Happened(Effect::Addon { name: made.name.clone(), plan: made.plan.clone() })
                }
                None => Reconciled::DidNotHappen,
            }
        }
        Change::ChangePlan { addon, plan } => {
            let now = observer.heroku().addon(addon)?;
            if same_plan(&now.plan, plan) {
                Reconciled::Happened(Effect::Addon { name: now.name, plan: now.plan })
            } else if before.plan.as_ref() == Some(&now.plan) {
                Reconciled::DidNotHappen
            } else {
                Reconciled::CannotTell(format!(
                    "{addon} is on {}: neither what it was nor what was asked for",
                    now.plan
                ))
            }
        }
        Change::Maintenance { on } => happened(observer.heroku().app()?.maintenance == *on),
        Change::Rollback { version, .. } => {
            let told = format!("Rollback to v{version}");
            let releases = observer.heroku().releases(LOOKED_AT)?;
            let slug = releases.iter().find(|release| release.version == *version);
            let slug = slug.and_then(|release| release.slug.clone());
            found_release(&newer(releases, before), |release| {
                release.description == told || (slug.is_some() && release.slug == slug)
            })
        }
        Change::Promote { slug, .. } => {
            let releases = observer.heroku().releases(LOOKED_AT)?;
            found_release(&newer(releases, before), |release| release.slug.as_ref() == Some(slug))
        }
        Change::Kill { victims, rule } => {
            let Some(database) = observer.database() else {
                return Ok(Reconciled::CannotTell("the database is not used in this run".to_owned()));
            };
            let now = database.idle_sessions(rule)?;
            let left = victims
                .iter()
                .any(|victim| now.iter().any(|s| s.id == victim.id && s.query_id == victim.query_id));
            happened(!left)
        }
        Change::Edit { path, from, to, .. } => {
            let now = observer.git().working_file(path)?.map(|bytes| digest(&bytes));
            match now {
                Some(now) if now == *to => Reconciled::Happened(Effect::Edited),
                Some(now) if now == *from => Reconciled::DidNotHappen,
                Some(_) => {
                    Reconciled::CannotTell(format!("{path} is neither what it was nor what was made of it"))
                }
                None => Reconciled::CannotTell(format!("{path} is gone")),
            }
        }
        Change::Commit { .. } | Change::Revert { .. } => {
            let head = observer.git().tree()?.head;
            let Some(was) = &before.head else {
                return Ok(Reconciled::CannotTell("HEAD was not noted before".to_owned()));
            };
            if head == *was {
                Reconciled::DidNotHappen
            } else if observer.git().parents(&head)?.first() == Some(was) {
                Reconciled::Happened(Effect::Committed { commit: head })
            } else {
                Reconciled::CannotTell("HEAD has moved on: somebody else has committed".to_owned())
            }
        }
        Change::Push { commit, branch } => {
            for release in newer(observer.heroku().releases(LOOKED_AT)?, before) {
                if let Some(slug) = &release.slug
                    && observer.commit_of(slug)?.as_ref() == Some(commit)
                {
                    return Ok(Reconciled::Happened(Effect::Pushed { up_to_date: false }));
                }
            }
            if observer.git().push_check(commit, branch)? {
                return Ok(Reconciled::Happened(Effect::Pushed { up_to_date: true }));
            }
            // A cut push goes on at Heroku: its branch moves when the build has ended, which may take 15 minutes.
            if observer.heroku().builds(5)?.iter().any(|build| build.pending) {
                return Ok(Reconciled::Underway("a build is under way at Heroku".to_owned()));
            }
            Reconciled::DidNotHappen
        }
        Change::OneOff(wish) => one_off(wish, observer)?,
        Change::Command { argv, .. } => Reconciled::CannotTell(format!(
            "what `{}` did is known to it alone",
            argv.first().map(String::as_str).unwrap_or_default()
        )),
    })
}

/// A service alone stands for its default plan.
fn same_plan(now: &str, asked: &str) -> bool {
    now == asked || (!asked.contains(':') && now.split(':').next() == Some(asked))
}

/// Lines of the log that are looked at.
const LINES: u32 = 1500;

/// What became of a one-off dyno whose start or end was not heard: the list of dynos tells while it lives, then the log.
fn one_off(wish: &OneOff, observer: &Observer) -> Result<Reconciled, Fault> {
    let dynos = observer.heroku().dynos()?;
    if let Some(dyno) = dynos.iter().find(|dyno| wish.is_in(&dyno.command)) {
        return Ok(Reconciled::Underway(format!("{} runs the command", dyno.name)));
    }
    // Those of one-off dynos, and all: who answers may not know the filter.
    let heroku = observer.heroku();
    let lines = match (heroku.recent_logs(LINES, Some("run")), heroku.recent_logs(LINES, None)) {
        (Ok(ours), Ok(all)) => {
            let known = ours.iter().any(|line| wish.is_in(&line.message));
            if known { ours } else { all }
        }
        (Err(fault), _) | (_, Err(fault)) => {
            return Ok(Reconciled::CannotTell(format!(
                "no dyno of it is listed, and the log cannot be read: {fault}"
            )));
        }
    };
    let Some(begun) = lines.iter().find(|line| wish.is_in(&line.message) && line.process != "api") else {
        return Ok(match lines.iter().find(|line| wish.is_in(&line.message)) {
            Some(_) => {
                Reconciled::CannotTell("it was asked for, and the log does not tell its dyno".to_owned())
            }
            None => Reconciled::DidNotHappen,
        });
    };
    let (name, attached) = (&begun.process, begun.message.contains(&wish.attached_command()));
    let fate = Fate::of(&lines, name);
    // What an attached one says is not in the log: only that nobody attached proves that nothing has run.
    if attached && fate.unclaimed {
        return Ok(Reconciled::DidNotHappen);
    }
    // Of an attached one the shell's own code is known at most: 0 is that of what it did last, which says nothing.
    let exit = fate.code().filter(|code| !attached || *code != 0);
    let crashed = !attached && fate.completed == Some(false);
    if exit.is_none() && !crashed && !wish.unknown_exit_is_fine {
        return Ok(Reconciled::CannotTell(format!("{name} ran it and is over; its exit code is not known")));
    }
    let output = lines.iter().filter(|line| line.process == *name && line.source == "app");
    let output: Vec<String> = output.map(|line| line.message.clone()).collect();
    let output = output[output.len().saturating_sub(30)..].to_vec();
    Ok(Reconciled::Happened(Effect::OneOff { dyno: name.clone(), attached, exit, crashed, output }))
}

fn newer(releases: Vec<Release>, before: &Before) -> Vec<Release> {
    let known = before.release.unwrap_or(0);
    releases.into_iter().filter(|release| release.version > known).collect()
}

fn found_release(newer: &[Release], fits: impl Fn(&Release) -> bool) -> Reconciled {
    match newer.iter().find(|release| fits(release)) {
        Some(release) => Reconciled::Happened(Effect::Released { version: release.version }),
        None => Reconciled::DidNotHappen,
    }
}
