//! `deploy`: commits the step's own files, pushes them, and proves that the release is the one that runs.
//!
//! `git push` exits 0 when the release phase fails, and "Everything up-to-date" when the commit is there but not live:
//! neither is believed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{filled, heroku};
use super::deploy_files::judge;
use super::forecast;
use super::param::{Bindings, Param};
use super::proof::{
    RELEASE_TAKES, Released, await_release, await_replaced, before_release, missing_release, patient,
};
use super::scene::{Failure, Made, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Consent, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value};
use crate::platform::{
    Before, BuildOrigin, Change, CommitFact, Effect, Fault, FaultKind, TreeChange, quoted, short,
};
use crate::source::{Diagnostic, NodeKind, Spanned};

/// Slugs looked at to find the one of a commit.
const SLUGS_AT_MOST: usize = 10;

/// Commit, push and prove.
#[derive(Debug)]
pub struct Deploy {
    add: Vec<(Param<String>, bool)>,
    message: Spanned<String>,
    branch: Param<String>,
    include_commits: Option<Param<bool>>,
    accept_findings: Option<Param<bool>>,
}

const ADD: Shape = Shape {
    name: "add entry",
    fields: &[
        required("path", Kind::Text, "A name or a glob such as `*.php`."),
        optional("optional", Kind::Flag, "It may match nothing. Default: false."),
    ],
    short: Some("path"),
    empty: false,
    open: false,
};

impl Verb for Deploy {
    const NAME: &'static str = "deploy";
    const ABOUT: &'static str = "Commit the named files, push them to Heroku, and prove that the release is live and every dyno was replaced.";
    const SHAPE: &'static Shape = &Shape {
        name: "deploy",
        fields: &[
            optional(
                "add",
                Kind::TextsOr(&ADD),
                "Names and globs to commit; one that matches nothing is an error unless `optional`. Default: nothing, push what is committed.",
            ),
            required("message", Kind::Text, "The commit's message."),
            optional("branch", Kind::Text, "Branch on Heroku's git: `master` or `main`. Default: `master`."),
            optional(
                "include_commits",
                Kind::Truth,
                "Also ship commits between what is live and HEAD. Default: false, they are asked about.",
            ),
            optional(
                "accept_findings",
                Kind::Truth,
                "Push although the app's own files would keep every dyno from starting (docs/budget.md). Default: false, the run ends before any change.",
            ),
        ],
        short: None,
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "deployed", unit: Unit::Truth, about: "something new went live" },
        Output { name: "commit", unit: Unit::Text, about: "the commit that is live" },
        Output { name: "release", unit: Unit::Count, about: "the release's version" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let mut add = Vec::new();
        let items = reading.node("add").map_or(&[][..], |node| match &node.kind {
            NodeKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        });
        for item in items {
            let mut entry = Reading::begin(item, &ADD, item.span, reading.faults())?;
            let path = entry.param("path");
            let optional = entry.truth("optional").unwrap_or(false);
            add.extend(path.map(|path| (path, optional)));
        }
        let branch = reading.param("branch").unwrap_or_else(|| Param::fixed("master".to_owned()));
        Some(Self {
            add,
            message: reading.text("message")?,
            branch,
            include_commits: reading.param("include_commits"),
            accept_findings: reading.param("accept_findings"),
        })
    }
}

impl Action for Deploy {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn texts(&self) -> Vec<&Spanned<String>> {
        vec![&self.message]
    }

    fn patience(&self) -> Duration {
        // A build may take 15 minutes, a release phase much longer: a step that needs more says so.
        Duration::from_secs(20 * 60)
    }

    fn undo_takes(&self) -> Duration {
        RELEASE_TAKES
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        super::param::bind_branch(&mut self.branch, bindings, &mut faults);
        super::param::bind_some(&mut self.include_commits, bindings, &mut faults);
        super::param::bind_some(&mut self.accept_findings, bindings, &mut faults);
        for (path, _) in &mut self.add {
            let before = faults.len();
            path.bind(bindings, &mut faults);
            let (name, place) = (path.or(String::new()), path.text.span);
            if name.starts_with('/') || name.split('/').any(|part| part == "..") {
                faults.push(Diagnostic::error(place, format!("`{name}` is outside of the working tree")));
            } else if name.is_empty() && faults.len() == before {
                faults.push(Diagnostic::error(place, "this names no file"));
            }
        }
        if self.message.trim().is_empty() {
            faults.push(Diagnostic::error(self.message.span, "the commit's message is empty"));
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let path = |(path, _): &(Param<String>, bool)| quoted(&path.or(String::new()));
        let must: Vec<_> = self.add.iter().filter(|(_, optional)| !optional).map(path).collect();
        let may = self.add.iter().filter(|(_, optional)| *optional).map(path);
        let mut lines = Vec::new();
        if !must.is_empty() {
            lines.push(format!("git add -- {}", must.join(" ")));
        }
        lines.extend(may.map(|path| format!("git add -- {path}   # there may be none")));
        if !self.add.is_empty() {
            lines.push("git diff --cached --stat   # nothing else may be staged".to_owned());
            let message = filled(&self.message, bindings);
            lines.push(format!("git commit -m {}", quoted(&message)));
        }
        lines.push(format!("git push heroku HEAD:{}", quoted(&self.branch.or("master".to_owned()))));
        lines.push(heroku(app, "ps:wait"));
        lines
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let survey = self.survey(scene)?;
        let git = scene.observer.git();
        let mut preview = Preview { forecast: forecast::overlap(scene), ..Preview::default() };
        let head = short(&survey.head);
        let files = survey.paths.len();
        if files == 0 {
            preview.summary = format!("push {head} to {} of {}", survey.branch, scene.app);
        } else {
            preview.summary = format!("commit {files} files and push them to {}", scene.app);
            let paths = survey.paths.iter().map(|path| quoted(path)).collect::<Vec<_>>().join(" ");
            preview.requests.push(format!("git add -- {paths}"));
            preview.requests.push(format!("git commit -m {} -- {paths}", quoted(&survey.message)));
            let committer = git.committer()?;
            preview.details.push(format!("committed as {}", committer.name));
            if committer.would_sign {
                preview.details.push("the commit is not signed, although `commit.gpgSign` is set".to_owned());
            }
            if !committer.hooks.is_empty() {
                preview.details.push(format!("hooks that run with it: {}", committer.hooks.join(", ")));
            }
        }
        preview.requests.push(format!("git push {} HEAD:{}", git.remote_url(), survey.branch));
        preview.details.extend(survey.pending.iter().map(stat_line));
        let edited =
            survey.planned.iter().map(|path| format!("{path}, as an earlier step of this plan edits it"));
        preview.details.extend(edited);
        match &survey.live_commit {
            Some(live) => preview.details.push(format!("live now: {}", short(live))),
            None => preview.details.push("live now: no commit is known of the current release".to_owned()),
        }
        if let Some(since) = &survey.unknown_since {
            preview.warnings.push(since.clone());
        }
        if survey.already_live() {
            preview.nothing_to_do = true;
            preview.summary = format!("nothing: {head} is live already and nothing has changed");
            preview.requests.clear();
            preview.forecast = None;
            return Ok(preview);
        }
        preview.warnings.extend(self.app_files(scene, &survey)?);
        // Token, app and fast-forward, asked of Heroku's git before anything happens.
        git.push_check(&survey.head, &survey.branch)?;
        if !survey.own.is_empty() {
            preview
                .details
                .push("ships too, by its message this deploy's own of an earlier attempt:".to_owned());
            preview.details.extend(listed(&survey.own));
        }
        if !survey.foreign.is_empty() {
            preview
                .details
                .push(format!("{} other commits between what is live and HEAD:", survey.foreign.len()));
            preview.details.extend(listed(&survey.foreign));
            if !self.include_commits() {
                preview.consents.push(survey.consent(scene.app));
            }
        }
        preview.warnings.extend(origin_warning(scene));
        preview.unknown.push("the build's outcome and the release's version: known when reached".to_owned());
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let made = |want: fn(&Change) -> bool| progress.made.iter().find(|made| want(&made.change));
        if let Some(pushed) = made(|change| matches!(change, Change::Push { .. })) {
            let promoted = made(|change| matches!(change, Change::Promote { .. }));
            return Self::prove(scene, promoted.unwrap_or(pushed), pushed);
        }
        // What this step committed is shipped, and nothing that somebody put on top of it since.
        if let Some(Made { effect: Effect::Committed { commit }, .. }) =
            made(|change| matches!(change, Change::Commit { .. }))
        {
            let change = Change::Push { commit: commit.clone(), branch: self.branch.or("master".to_owned()) };
            return Ok(Next::Change { change, before: before_release(scene)? });
        }
        let survey = self.survey(scene)?;
        if !survey.foreign.is_empty() && !self.include_commits() {
            let consent = survey.consent(scene.app);
            if !scene.run.consents.contains(&consent.question) {
                let what = format!("deploying {}", scene.app);
                return Err(Fault::new(FaultKind::Refused, what, consent.question)
                    .hint(format!("write `{}` in the step to allow it", consent.otherwise))
                    .into());
            }
        }
        if !survey.already_live() {
            self.app_files(scene, &survey)?;
        }
        if !survey.pending.is_empty() {
            scene.observer.git().committer()?;
            let before = Before {
                head: Some(survey.head.clone()),
                live_commit: survey.live_commit.clone(),
                ..Before::default()
            };
            let change = Change::Commit { paths: survey.paths, message: survey.message };
            return Ok(Next::Change { change, before });
        }
        if survey.already_live() {
            return Ok(Next::Done(Done {
                status: Status::AlreadySo,
                summary: format!("already deployed: {} is live", short(&survey.head)),
                outputs: outputs(None, false, &survey.head),
                ..Done::default()
            }));
        }
        let before = before_release(scene)?;
        Ok(Next::Change { change: Change::Push { commit: survey.head, branch: survey.branch }, before })
    }
}

/// Commits as the plan lists them.
fn listed(commits: &[CommitFact]) -> impl Iterator<Item = String> + '_ {
    commits.iter().take(10).map(|c| format!("  {} {} ({})", short(&c.sha), c.subject, c.author))
}

/// What a deploy finds before it does anything.
struct Survey {
    head: String,
    branch: String,
    message: String,
    paths: Vec<String>,
    pending: Vec<TreeChange>,
    /// Files that earlier steps of the plan would edit, while a plan is shown.
    planned: Vec<String>,
    live_commit: Option<String>,
    foreign: Vec<CommitFact>,
    /// Commits of this deploy's own, made in earlier attempts and not live.
    own: Vec<CommitFact>,
    /// Said when it is not known what is live, so that nothing can be listed.
    unknown_since: Option<String>,
}

impl Survey {
    fn already_live(&self) -> bool {
        self.paths.is_empty() && self.live_commit.as_deref() == Some(self.head.as_str())
    }

    fn consent(&self, app: &str) -> Consent {
        let list: Vec<_> =
            self.foreign.iter().take(5).map(|c| format!("{} {}", short(&c.sha), c.subject)).collect();
        Consent {
            question: format!(
                "{} would also get {} commits that this deploy did not make: {}",
                app,
                self.foreign.len(),
                list.join("; ")
            ),
            otherwise: "include_commits: true".to_owned(),
        }
    }
}

impl Deploy {
    fn include_commits(&self) -> bool {
        self.include_commits.as_ref().is_some_and(|include| include.or(false))
    }

    /// What the app's files would do to it, as warnings; what would keep every dyno from starting ends it here.
    fn app_files(&self, scene: &Scene<'_>, survey: &Survey) -> Result<Vec<String>, Failure> {
        let judged = judge(scene, &survey.head, &survey.paths, survey.live_commit.as_deref());
        if self.accept_findings.as_ref().is_some_and(|accept| accept.or(false)) {
            return Ok(judged.accepted());
        }
        judged.refuse(scene.app)
    }

    /// Reads the tree, what is live and what lies between, and refuses what must not be begun.
    fn survey(&self, scene: &Scene<'_>) -> Result<Survey, Failure> {
        let git = scene.observer.git();
        let tree = git.tree()?;
        let paths = git.expand(&patterns(&self.add))?;
        // The step's own files are committed whole, whoever has staged them: perhaps this step, before its process died.
        if let Some(why) = tree.staged_beside(&paths) {
            return Err(Fault::new(FaultKind::Refused, format!("deploying {}", scene.app), why)
                .hint(
                    "commit them or `git restore --staged` them: only the step's own files are to be shipped",
                )
                .into());
        }
        let pending = git.pending(&paths)?;
        let running = scene.observer.running()?;
        let (current, live_commit) = (running.release, running.commit);
        let (foreign, unknown_since) = match &live_commit {
            Some(live) if *live != tree.head => match git.commits_between(live, &tree.head) {
                Ok(commits) => {
                    if commits.is_empty() {
                        return Err(behind(scene, live, &tree.head).into());
                    }
                    let lost = git.commits_between(&tree.head, live)?;
                    if !lost.is_empty() {
                        return Err(diverged(scene, live, &tree.head, &lost).into());
                    }
                    (commits, None)
                }
                Err(fault) if fault.kind == FaultKind::Missing => {
                    return Err(unknown_live(scene, live).into());
                }
                Err(fault) => return Err(fault.into()),
            },
            None if current.as_ref().is_some_and(|release| release.slug.is_some()) => {
                let said =
                    "Heroku does not say which commit is live: what lies between it and HEAD is not known";
                (Vec::new(), Some(said.to_owned()))
            }
            _ => (Vec::new(), None),
        };
        // Commits that this runbook made in earlier, failed attempts are its own: same message.
        let message = scene.fill(&self.message);
        let subject = message.lines().next().unwrap_or_default();
        let (own, foreign) = foreign.into_iter().partition(|commit| commit.subject == subject);
        let edited = scene.planned.iter().filter_map(|change| match change {
            Change::Edit { path, .. } if paths.contains(path) => Some(path.clone()),
            _ => None,
        });
        let planned: Vec<String> = edited.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let mut paths: Vec<String> = pending.iter().map(|change| change.path.clone()).collect();
        paths.extend(
            planned.iter().filter(|path| !pending.iter().any(|change| change.path == **path)).cloned(),
        );
        Ok(Survey {
            head: tree.head,
            branch: self.branch.or("master".to_owned()),
            message,
            paths,
            pending,
            planned,
            live_commit,
            foreign,
            own,
            unknown_since,
        })
    }

    /// After the push: the release that it made, or one made through the API, must be the one that runs.
    fn prove(scene: &Scene<'_>, last: &Made, pushed: &Made) -> Result<Next, Failure> {
        let Change::Push { commit, .. } = &pushed.change else {
            return Err(Fault::new(FaultKind::Missing, "proving the deploy", "no push is on record").into());
        };
        let release = match await_release(scene, &last.before, last.at, Some(commit))? {
            Released::Live(release) => release,
            Released::Wait(wait) => return Ok(wait),
            Released::Missing
                if matches!(pushed.effect, Effect::Pushed { up_to_date: true })
                    && matches!(last.change, Change::Push { .. }) =>
            {
                return Self::promote(scene, commit);
            }
            Released::Missing => {
                return missing_release(scene, format!("proving the deploy of {}", short(commit)), last.at);
            }
        };
        match await_replaced(scene, &last.before, last.at, None, None, Some(release.version))? {
            Err(wait) => Ok(wait),
            Ok(dynos) => Ok(Next::Done(Done {
                status: Status::Acted,
                summary: format!(
                    "v{} is live: commit {}, {dynos} dynos replaced",
                    release.version,
                    short(commit)
                ),
                outputs: outputs(Some(release.version), true, commit),
                replaced_all: true,
                ..Done::default()
            })),
        }
    }

    /// Git has the commit, but it is not live (after a release rollback, or a failed release phase): release the slug
    /// that was built from it.
    fn promote(scene: &Scene<'_>, commit: &str) -> Result<Next, Failure> {
        let releases = match patient(scene.observer.heroku().releases(40))? {
            Ok(releases) => releases,
            Err(wait) => return Ok(wait),
        };
        let mut seen = Vec::new();
        for release in releases {
            let Some(slug) = release.slug else { continue };
            if seen.contains(&slug) || seen.len() >= SLUGS_AT_MOST {
                continue;
            }
            let built = match patient(scene.observer.commit_of(&slug))? {
                Ok(built) => built,
                Err(wait) => return Ok(wait),
            };
            if built.as_deref() == Some(commit) {
                let change = Change::Promote { slug, commit: commit.to_owned() };
                let before = before_release(scene)?;
                return Ok(Next::Change { change, before });
            }
            seen.push(slug);
        }
        Err(Fault::new(
            FaultKind::Missing,
            format!("releasing {}", short(commit)),
            "git says \"Everything up-to-date\", the commit is not live, and no slug of it was found",
        )
        .hint("`git commit --allow-empty -m redeploy` and run this again: the push then builds it anew")
        .into())
    }
}

fn behind(scene: &Scene<'_>, live: &str, head: &str) -> Fault {
    Fault::new(
        FaultKind::Refused,
        format!("deploying {}", scene.app),
        format!(
            "what is live ({}) is newer than HEAD ({}): this would take changes back",
            short(live),
            short(head)
        ),
    )
    .hint("`git fetch` and fast-forward first, or use `runbook run rollback` to go back on purpose")
}

fn diverged(scene: &Scene<'_>, live: &str, head: &str, lost: &[CommitFact]) -> Fault {
    let list: Vec<_> = lost.iter().take(5).map(|c| format!("{} {}", short(&c.sha), c.subject)).collect();
    Fault::new(
        FaultKind::Refused,
        format!("deploying {}", scene.app),
        format!(
            "HEAD ({}) lacks {} commits of what is live ({}): {}",
            short(head),
            lost.len(),
            short(live),
            list.join("; ")
        ),
    )
    .hint("`git fetch` and merge or rebase first: this would take those changes back")
}

fn unknown_live(scene: &Scene<'_>, live: &str) -> Fault {
    Fault::new(
        FaultKind::Refused,
        format!("deploying {}", scene.app),
        format!("what is live ({}) is not in this repository: somebody else deployed it", short(live)),
    )
    .hint("`git fetch` first, so that nobody's work is taken back unseen")
}

/// What a push is overwritten by. An app whose origin cannot be read is deployed all the same, and that is said.
fn origin_warning(scene: &Scene<'_>) -> Option<String> {
    match scene.observer.heroku().origin() {
        Ok(BuildOrigin::Git) => None,
        Ok(BuildOrigin::GitHub) => {
            Some("the app is deployed from GitHub: the next deploy from there replaces this push".to_owned())
        }
        Ok(BuildOrigin::Pipeline) => {
            Some("the app is in a pipeline: the next promotion replaces this push".to_owned())
        }
        Err(fault) => Some(format!("it is not known who else deploys the app ({fault})")),
    }
}

/// One line of a diff stat.
pub(super) fn stat_line(change: &TreeChange) -> String {
    let path = crate::source::escape_controls(&change.path);
    match change.lines {
        Some((added, removed)) => format!("{} {path} (+{added} −{removed})", change.change),
        None => format!("{} {path} (binary)", change.change),
    }
}

fn outputs(release: Option<u64>, deployed: bool, commit: &str) -> BTreeMap<String, Value> {
    let mut outputs = BTreeMap::from([
        ("deployed".to_owned(), Value::Truth(deployed)),
        ("commit".to_owned(), Value::Text(commit.to_owned())),
    ]);
    if let Some(version) = release {
        outputs.insert("release".to_owned(), Value::Count(version as f64));
    }
    outputs
}

fn patterns(add: &[(Param<String>, bool)]) -> Vec<(String, bool)> {
    add.iter().map(|(path, optional)| (path.or(String::new()), *optional)).collect()
}
