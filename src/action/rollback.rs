//! `rollback`: back to what ran before, by git or by Heroku's own release rollback. At most once a run.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{heroku, quoted};
use super::deploy::stat_line;
use super::forecast;
use super::param::{Bindings, Param};
use super::proof::{RELEASE_TAKES, Released, await_release, await_replaced, before_release, missing_release};
use super::scene::{Failure, Made, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Consent, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{
    Before, Change, CommitFact, Effect, Fault, FaultKind, Release, ReleaseStatus, Running, short,
};
use crate::source::Diagnostic;

/// How to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// `git revert` of what is live, and a push.
    Revert,
    /// A new release from an earlier one, without git.
    Release,
}

/// A release that is named is looked for among this many.
const NAMED_AMONG: usize = 200;
const METHODS: &[&str] = &["revert", "release"];

/// Go back to what ran before.
#[derive(Debug)]
pub struct Rollback {
    method: Param<String>,
    branch: Param<String>,
    again: Option<Param<bool>>,
    /// The release to go back to.
    to: Option<Param<u64>>,
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
            optional(
                "again",
                Kind::Truth,
                "Also revert what is itself a revert, which brings the change back. Default: false, it is asked about.",
            ),
            optional(
                "to",
                Kind::Count,
                "With `method: release`: the version of the release to go back to. Default: the newest that has other code.",
            ),
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
        let (again, to) = (reading.param("again"), reading.param("to"));
        Some(Self { method, branch, again, to, only_own: false })
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

    fn undo_takes(&self) -> Duration {
        RELEASE_TAKES
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.method.bind(bindings, &mut faults);
        super::param::bind_branch(&mut self.branch, bindings, &mut faults);
        super::param::bind_some(&mut self.again, bindings, &mut faults);
        let method = self.method.or("revert".to_owned());
        if !METHODS.contains(&method.as_str()) {
            let fault =
                Diagnostic::error(self.method.text.span, format!("`{method}` is no way to roll back"));
            faults.push(fault.help("`revert` or `release`"));
        }
        if let Some(to) = &mut self.to {
            to.bind_within(bindings, &(1..=u64::MAX), &mut faults);
            if method == "revert" {
                let fault =
                    Diagnostic::error(to.text.span, "`to` names a release, and `revert` goes back by git");
                faults.push(fault.help("add `method: release`"));
            }
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        if self.method.or("revert".to_owned()) == "release" {
            let to = self.to.as_ref().map_or(String::new(), |to| format!(" v{}", to.or(0)));
            return vec![heroku(app, "releases"), heroku(app, &format!("releases:rollback{to}"))];
        }
        let branch = self.branch.or("master".to_owned());
        vec![
            "git revert --no-edit HEAD   # HEAD is to be the commit that is live".to_owned(),
            format!("git push heroku HEAD:{}", quoted(&branch)),
            heroku(app, "ps:wait"),
        ]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let mut preview = match self.method() {
            Method::Revert => self.preview_revert(scene)?,
            Method::Release => self.preview_release(scene)?,
        };
        if !preview.nothing_to_do {
            preview.forecast = forecast::overlap(scene);
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
            again: None,
            to: None,
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
        if let Some(why) = tree.staged_beside(&[])
            && !git.half_reverted(&tree.head)?
        {
            return Err(Fault::new(FaultKind::Refused, what(), why)
                .hint("commit them or `git restore --staged` them first")
                .into());
        }
        match scene.observer.running()?.commit {
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
        git.committer()?;
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

    /// What must be agreed to when what is live is a revert already: a second rollback would bring the trouble back.
    fn reverts_a_revert(&self, commit: &CommitFact) -> Option<Consent> {
        let again = self.again.as_ref().is_some_and(|again| again.or(false));
        let is_revert = commit.subject.starts_with("Revert \"") || commit.subject.starts_with("Reapply \"");
        (is_revert && !again).then(|| Consent {
            question: format!(
                "what is live ({} {}) is a rollback already: reverting it brings back what it took away",
                short(&commit.sha),
                commit.subject
            ),
            otherwise: "again: true".to_owned(),
        })
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
        preview.consents.extend(self.reverts_a_revert(&commit));
        preview.details.push(format!("the live tree will be that of {}:", short(&parent)));
        let changes = git.changes_between(&head, &parent)?;
        preview.details.extend(changes.iter().take(20).map(|change| format!("  {}", stat_line(change))));
        if changes.len() > 20 {
            preview.details.push(format!("  and {} more", changes.len() - 20));
        }
        preview.details.push(format!("committed as {}", git.committer()?.name));
        git.push_check(&head, &self.branch.or("master".to_owned()))?;
        preview.unknown.push("the build's outcome and the release's version: known when reached".to_owned());
        Ok(preview)
    }

    fn next_revert(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let Some(last) = progress.made.last() else {
            let head = Self::revertible(scene)?;
            if let Some(consent) = self.reverts_a_revert(&scene.observer.git().commit(&head)?)
                && !scene.run.consents.contains(&consent.question)
            {
                let what = format!("rolling {} back by git revert", scene.app);
                return Err(Fault::new(FaultKind::Refused, what, consent.question)
                    .hint("`--set method=release` goes back further by Heroku's own releases")
                    .hint(format!("write `{}` in the step to allow it", consent.otherwise))
                    .into());
            }
            let before =
                Before { head: Some(head.clone()), live_commit: Some(head.clone()), ..Before::default() };
            return Ok(Next::Change { change: Change::Revert { commit: head }, before });
        };
        if matches!(last.change, Change::Revert { .. }) {
            // What this step committed is shipped, and nothing that somebody put on top of it since.
            let commit = match &last.effect {
                Effect::Committed { commit } => commit.clone(),
                _ => scene.observer.git().tree()?.head,
            };
            let before = before_release(scene)?;
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
    fn earlier(&self, scene: &Scene<'_>) -> Result<(Release, Release), Failure> {
        let what = || format!("rolling {} back", scene.app);
        let named = self.to.as_ref().map(|to| to.or(0));
        let releases = scene.observer.heroku().releases(if named.is_some() { NAMED_AMONG } else { 20 })?;
        let Some(current) = releases.iter().find(|release| release.current) else {
            return Err(Fault::new(FaultKind::Missing, what(), "no release is current").into());
        };
        if let Some(version) = named {
            return match releases.iter().find(|release| release.version == version) {
                Some(target) if target.eligible_for_rollback || target.version == current.version => {
                    Ok((target.clone(), current.clone()))
                }
                Some(_) => Err(Fault::new(
                    FaultKind::Refused,
                    what(),
                    format!("Heroku does not roll back to v{version}: it failed, or has expired"),
                )
                .hint("`heroku releases` lists those that are eligible")
                .into()),
                None => Err(Fault::new(
                    FaultKind::Missing,
                    what(),
                    format!("v{version} is not among the newest {NAMED_AMONG} releases"),
                )
                .into()),
            };
        }
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

    /// The release to go back to after a failed deploy of this run: one of what was live when the run began.
    fn as_at_start(&self, scene: &Scene<'_>) -> Result<(Release, Release), Failure> {
        let what = || format!("taking this run's release of {} back", scene.app);
        let Running { release: Some(current), commit: now, .. } = scene.observer.running()? else {
            return Err(Fault::new(FaultKind::Missing, what(), "no release is current").into());
        };
        let Some(wanted) = scene.run.live_at_start.as_deref() else { return self.earlier(scene) };
        // This run deploys HEAD: anything else is somebody else's work.
        let head = scene.observer.git().tree().ok().map(|tree| tree.head);
        if let (Some(now), Some(head)) = (&now, &head)
            && now != head
        {
            let why = format!("what is live ({}) was not deployed by this run", short(now));
            return Err(Fault::new(FaultKind::Refused, what(), why)
                .hint("somebody else has deployed meanwhile: look at `heroku releases`")
                .into());
        }
        for release in scene.observer.heroku().releases(20)? {
            let fits = release.version < current.version
                && release.status == ReleaseStatus::Succeeded
                && release.eligible_for_rollback;
            if let Some(slug) = release.slug.as_deref().filter(|_| fits)
                && scene.observer.commit_of(slug)?.as_deref() == Some(wanted)
            {
                return Ok((release, current));
            }
        }
        let why = format!("no eligible release of what was live before ({}) was found", short(wanted));
        Err(Fault::new(FaultKind::Missing, what(), why)
            .hint("`heroku releases` lists them; `runbook run rollback` goes back by git")
            .into())
    }

    /// Whether the release that was named is what runs: itself, or the newest rollback to it.
    fn is_there(&self, target: &Release, current: &Release) -> bool {
        self.to.is_some()
            && (target.version == current.version
                || (target.slug == current.slug
                    && current.description == format!("Rollback to v{}", target.version)))
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
        Ok(scene.observer.running()?.commit == scene.run.live_at_start)
    }

    fn preview_release(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        if self.only_own {
            return Ok(Preview {
                summary: "go back to the release that is live now".to_owned(),
                ..Preview::default()
            });
        }
        let (target, current) = self.earlier(scene)?;
        if self.is_there(&target, &current) {
            return Ok(Preview {
                summary: format!("nothing: v{} runs what v{} is", current.version, target.version),
                nothing_to_do: true,
                ..Preview::default()
            });
        }
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
            let (target, current) =
                if self.only_own { self.as_at_start(scene)? } else { self.earlier(scene)? };
            if self.is_there(&target, &current) {
                return Ok(Next::Done(Done {
                    status: Status::AlreadySo,
                    summary: format!(
                        "nothing to do: v{} runs the code and config of v{}",
                        current.version, target.version
                    ),
                    ..Done::default()
                }));
            }
            Self::config(scene, &target)?;
            let before = before_release(scene)?;
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
        let release = match await_release(scene, &last.before, last.at, commit)? {
            Released::Live(release) => release,
            Released::Wait(wait) => return Ok(wait),
            Released::Missing => {
                return missing_release(scene, format!("proving the rollback of {}", scene.app), last.at);
            }
        };
        match await_replaced(scene, &last.before, last.at, None, None, Some(release.version))? {
            Err(wait) => Ok(wait),
            Ok(dynos) => {
                let commit = match &release.slug {
                    Some(slug) => scene.observer.commit_of(slug).ok().flatten().unwrap_or_default(),
                    None => String::new(),
                };
                let told = if commit.is_empty() { "unknown" } else { short(&commit) };
                Ok(Next::Done(Done {
                    status: Status::Acted,
                    summary: format!("v{} is live: commit {told}, {dynos} dynos replaced", release.version),
                    outputs: BTreeMap::from([
                        ("release".to_owned(), Value::Count(release.version as f64)),
                        ("commit".to_owned(), Value::Text(commit)),
                    ]),
                    notes: vec![note],
                    replaced_all: true,
                    ..Done::default()
                }))
            }
        }
    }
}
