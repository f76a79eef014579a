//! `rollback`: back to what ran before, by git or by Heroku's own release rollback. At most once a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::param::{Bindings, Param};
use super::proof::{await_release, await_replaced, before_release, live, overlap};
use super::scene::{Failure, Made, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, Fault, FaultKind, Release, ReleaseStatus, short};
use crate::source::Diagnostic;

/// How to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// `git revert` of what is live, and a push.
    Revert,
    /// A new release from an earlier one, without git.
    Release,
}

const METHODS: &[&str] = &["revert", "release"];

/// Go back to what ran before.
#[derive(Debug)]
pub struct Rollback {
    method: Param<String>,
    branch: Param<String>,
    /// Only what this run has released is taken back: the remedy of `on_failure: rollback`.
    only_own: bool,
}

impl Verb for Rollback {
    const NAME: &'static str = "rollback";
    const ABOUT: &'static str = "Go back to what ran before: by `git revert` and a push, or by a release rollback at Heroku. At most once a run.";
    const SHAPE: &'static Shape = &Shape {
        name: "rollback",
        fields: &[
            optional(
                "method",
                Kind::Choice(METHODS),
                "`revert`: git revert of the live commit, which must be HEAD, and a push. `release`: Heroku's release rollback, config vars of then included. Default: `revert`.",
            ),
            optional("branch", Kind::Text, "Branch on Heroku's git: `master` or `main`. Default: `master`."),
        ],
        short: Some("method"),
        empty: true,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "release", unit: Unit::Count, about: "the new release's version" },
        Output { name: "commit", unit: Unit::Text, about: "the commit that is live" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let method = reading.param("method").unwrap_or_else(|| Param::fixed("revert".to_owned()));
        let branch = reading.param("branch").unwrap_or_else(|| Param::fixed("master".to_owned()));
        Some(Self { method, branch, only_own: false })
    }
}

impl Action for Rollback {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20 * 60)
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.method.bind(bindings, &mut faults);
        self.branch.bind(bindings, &mut faults);
        let method = self.method.or("revert".to_owned());
        if !METHODS.contains(&method.as_str()) {
            let fault =
                Diagnostic::error(self.method.text.span, format!("`{method}` is no way to roll back"));
            faults.push(fault.help("`revert` or `release`"));
        }
        let branch = self.branch.or("master".to_owned());
        if branch != "master" && branch != "main" {
            let fault = Diagnostic::error(
                self.branch.text.span,
                format!("Heroku deploys `master` and `main` only, not `{branch}`"),
            );
            faults.push(fault.help("other branches are accepted and ignored: nothing would be released"));
        }
        faults
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let mut preview = match self.method() {
            Method::Revert => self.preview_revert(scene)?,
            Method::Release => self.preview_release(scene)?,
        };
        if !preview.nothing_to_do {
            preview.forecast = overlap(scene);
        }
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        if progress.made.is_empty() && scene.run.rolled_back {
            return Err(Fault::new(
                FaultKind::Refused,
                format!("rolling {} back", scene.app),
                "this run has rolled back once already",
            )
            .hint("going back further is a person's decision: look at `heroku releases` first")
            .into());
        }
        match self.method() {
            Method::Revert => self.next_revert(scene, progress),
            Method::Release => self.next_release(scene, progress),
        }
    }
}

impl Rollback {
    /// The remedy of `on_failure: rollback`: a release rollback, and only of what this run has released.
    pub fn remedy() -> Self {
        Self {
            method: Param::fixed("release".to_owned()),
            branch: Param::fixed("master".to_owned()),
            only_own: true,
        }
    }

    fn method(&self) -> Method {
        if self.method.or("revert".to_owned()) == "release" { Method::Release } else { Method::Revert }
    }

    /// HEAD, which must be what is live.
    fn revertible(scene: &Scene<'_>) -> Result<String, Failure> {
        let what = || format!("rolling {} back by git revert", scene.app);
        let git = scene.observer.git();
        let tree = git.tree()?;
        if !tree.staged.is_empty() {
            let why = format!("the index holds staged changes: {}", tree.staged.join(", "));
            return Err(Fault::new(FaultKind::Refused, what(), why)
                .hint("commit them or `git restore --staged` them first")
                .into());
        }
        let (_, live_commit) = live(scene)?;
        match live_commit {
            Some(live) if live == tree.head => {}
            Some(live) => {
                let why = format!("what is live ({}) is not HEAD ({})", short(&live), short(&tree.head));
                return Err(Fault::new(FaultKind::Refused, what(), why)
                    .hint("check out what is live, or use `--set method=release`, which needs no git")
                    .into());
            }
            None => {
                return Err(Fault::new(FaultKind::Refused, what(), "it is not known which commit is live")
                    .hint("use `--set method=release`, which needs no git")
                    .into());
            }
        }
        if git.parents(&tree.head)?.is_empty() {
            return Err(Fault::new(
                FaultKind::Refused,
                what(),
                "HEAD is the first commit: there is nothing before it",
            )
            .into());
        }
        Ok(tree.head)
    }

    fn preview_revert(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let head = Self::revertible(scene)?;
        let git = scene.observer.git();
        let commit = git.commit(&head)?;
        let parent = git.parents(&head)?.into_iter().next().unwrap_or_default();
        let mut preview = Preview {
            summary: format!("revert {} ({}) and push that to {}", short(&head), commit.subject, scene.app),
            requests: vec![
                Change::Revert { commit: head.clone() }.request(scene.app),
                format!("git push {} HEAD:{}", git.remote_url(), self.branch.or("master".to_owned())),
            ],
            ..Preview::default()
        };
        preview.details.push(format!("the live tree will be that of {}:", short(&parent)));
        preview.details.extend(git.changes_between(&head, &parent)?.iter().take(20).map(|change| {
            match change.lines {
                Some((added, removed)) => {
                    format!("  {} {} (+{added} −{removed})", change.change, change.path)
                }
                None => format!("  {} {} (binary)", change.change, change.path),
            }
        }));
        preview.unknown.push("the build's outcome and the release's version: known when reached".to_owned());
        Ok(preview)
    }

    fn next_revert(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let Some(last) = progress.made.last() else {
            let head = Self::revertible(scene)?;
            let before =
                Before { head: Some(head.clone()), live_commit: Some(head.clone()), ..Before::default() };
            return Ok(Next::Change { change: Change::Revert { commit: head }, before });
        };
        if matches!(last.change, Change::Revert { .. }) {
            let commit = scene.observer.git().tree()?.head;
            let before = before_release(scene, last.before.live_commit.clone())?;
            return Ok(Next::Change {
                change: Change::Push { commit, branch: self.branch.or("master".to_owned()) },
                before,
            });
        }
        let Change::Push { commit, .. } = &last.change else {
            return Err(Fault::new(FaultKind::Missing, "proving the rollback", "no push is on record").into());
        };
        let note =
            "git holds the reverted commit and its reverse: `git revert` the reverse to have the change back"
                .to_owned();
        Self::prove(scene, last, Some(commit), note)
    }

    /// The release to go back to, and the one that is live.
    fn earlier(scene: &Scene<'_>) -> Result<(Release, Release), Failure> {
        let what = || format!("rolling {} back", scene.app);
        let releases = scene.observer.heroku().releases(20)?;
        let Some(current) = releases.iter().find(|release| release.current) else {
            return Err(Fault::new(FaultKind::Missing, what(), "no release is current").into());
        };
        let target = releases.iter().find(|release| {
            release.version < current.version
                && release.status == ReleaseStatus::Succeeded
                && release.eligible_for_rollback
                && release.slug.is_some()
                && release.slug != current.slug
        });
        match target {
            Some(target) => Ok((target.clone(), current.clone())),
            None => Err(Fault::new(
                FaultKind::Missing,
                what(),
                "no earlier release with other code is eligible: Heroku rolls back only to succeeded ones",
            )
            .hint("`heroku releases` lists them; `--set method=revert` goes back by git")
            .into()),
        }
    }

    /// Keys that would change with the rollback; the database's own stops it.
    fn config(scene: &Scene<'_>, target: &Release) -> Result<Vec<String>, Failure> {
        let changes = scene.observer.heroku().config_changes(&target.id)?;
        if let Some(database) = changes.iter().find(|change| change.is_database) {
            return Err(Fault::new(
                FaultKind::Refused,
                format!("rolling {} back to v{}", scene.app, target.version),
                format!(
                    "{} would be {}: the app would use another database than now",
                    database.key, database.change
                ),
            )
            .hint("`--set method=revert` takes the code back and leaves the config as it is")
            .into());
        }
        Ok(changes.into_iter().map(|change| format!("config {}: {}", change.key, change.change)).collect())
    }

    fn only_own_and_nothing_released(&self, scene: &Scene<'_>) -> Result<bool, Failure> {
        if !self.only_own {
            return Ok(false);
        }
        let (_, now) = live(scene)?;
        Ok(now == scene.run.live_at_start)
    }

    fn preview_release(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        if self.only_own {
            return Ok(Preview {
                summary: "go back to the release that is live now".to_owned(),
                ..Preview::default()
            });
        }
        let (target, current) = Self::earlier(scene)?;
        let config = Self::config(scene, &target)?;
        let change = Change::Rollback { release: target.id.clone(), version: target.version };
        let mut details = vec![
            format!("from v{} ({})", current.version, current.description),
            format!("to v{} ({}, {})", target.version, target.description, target.created_at),
        ];
        details.extend(config);
        Ok(Preview {
            summary: format!("roll {} back to v{}", scene.app, target.version),
            requests: vec![change.request(scene.app)],
            details,
            ..Preview::default()
        })
    }

    fn next_release(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let Some(last) = progress.made.last() else {
            if self.only_own_and_nothing_released(scene)? {
                return Ok(Next::Done(Done {
                    status: Status::NothingToDo,
                    summary: "nothing to take back: what was live before the run is live".to_owned(),
                    ..Done::default()
                }));
            }
            let (target, _) = Self::earlier(scene)?;
            Self::config(scene, &target)?;
            let (_, live_commit) = live(scene)?;
            let before = before_release(scene, live_commit)?;
            return Ok(Next::Change {
                change: Change::Rollback { release: target.id, version: target.version },
                before,
            });
        };
        let held = last.before.live_commit.as_deref().map_or("the commit", short);
        let note = format!(
            "git still holds {held}, in the working tree and on Heroku's remote: a push of it says \"Everything up-to-date\" and releases nothing; `runbook run deploy-fix` releases it through the API"
        );
        Self::prove(scene, last, None, note)
    }

    fn prove(scene: &Scene<'_>, last: &Made, commit: Option<&str>, note: String) -> Result<Next, Failure> {
        match await_release(scene, &last.before, last.at, commit)? {
            Some(Err(wait)) => Ok(wait),
            None => Ok(Next::Wait {
                awaited: "the new release to appear".to_owned(),
                again: Duration::from_secs(2),
            }),
            Some(Ok(release)) => {
                match await_replaced(scene, &last.before, last.at, None, None, Some(release.version))? {
                    Err(wait) => Ok(wait),
                    Ok(dynos) => {
                        let (_, live_commit) = live(scene)?;
                        let commit = live_commit.unwrap_or_default();
                        Ok(Next::Done(Done {
                            status: Status::Acted,
                            summary: format!(
                                "v{} is live: commit {}, {dynos} dynos replaced",
                                release.version,
                                short(&commit)
                            ),
                            outputs: BTreeMap::from([
                                ("release".to_owned(), Value::Count(release.version as f64)),
                                ("commit".to_owned(), Value::Text(commit)),
                            ]),
                            notes: vec![note],
                            replaced_all: true,
                        }))
                    }
                }
            }
        }
    }
}
