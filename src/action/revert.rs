//! `revert`: commits the reverse of one commit in the working tree, and pushes nothing. It must never touch a file that
//! the commit did not change.

use std::collections::BTreeMap;

use super::by_hand::quoted;
use super::deploy::stat_line;
use super::forecast;
use super::param::{Bindings, Param};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, required};
use super::verb::{Action, Done, Next, Output, Preview, Verb};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, Effect, Fault, FaultKind, short};
use crate::source::Diagnostic;

/// Files of a difference that are listed.
const LISTED: usize = 20;

/// Commit the reverse of a commit.
#[derive(Debug)]
pub struct Revert {
    commit: Param<String>,
}

impl Verb for Revert {
    const NAME: &'static str = "revert";
    const ABOUT: &'static str = "Commit the reverse of one commit in the working tree; nothing is pushed, and the site does not change.";
    const SHAPE: &'static Shape = &Shape {
        name: "revert",
        fields: &[required("commit", Kind::Text, "The commit: HEAD or one before it on this branch.")],
        short: Some("commit"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] =
        &[Output { name: "commit", unit: Unit::Text, about: "the new commit, which reverses the other" }];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self { commit: reading.param("commit")? })
    }
}

impl Revert {
    /// The commit, and HEAD.
    fn look(&self, scene: &Scene<'_>) -> Result<(String, String), Failure> {
        let wanted = self.commit.or(String::new());
        let what = || format!("reverting {}", short(&wanted));
        let git = scene.observer.git();
        let tree = git.tree()?;
        let commit = git.commit(&wanted)?.sha;
        if let Some(why) = tree.staged_beside(&[])
            && !git.half_reverted(&commit)?
        {
            return Err(Fault::new(FaultKind::Refused, what(), why)
                .hint("commit them or `git restore --staged` them first")
                .into());
        }
        if commit != tree.head
            && git.commits_between(&tree.head, &commit).map_or(true, |more| !more.is_empty())
        {
            let why = format!("it is no part of this branch, whose HEAD is {}", short(&tree.head));
            return Err(Fault::new(FaultKind::Refused, what(), why)
                .hint("check out the branch that holds it")
                .into());
        }
        git.committer()?;
        Ok((commit, tree.head))
    }
}

impl Action for Revert {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.commit.bind(bindings, &mut faults);
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = (app, bindings);
        vec![format!("git revert --no-edit {}", quoted(&self.commit.or("HEAD".to_owned())))]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let (commit, _) = self.look(scene)?;
        let git = scene.observer.git();
        let fact = git.commit(&commit)?;
        let mut details = Vec::new();
        if let Some(parent) = git.parents(&commit)?.first() {
            let changes = git.changes_between(&commit, parent)?;
            details.extend(changes.iter().take(LISTED).map(stat_line));
            if changes.len() > LISTED {
                details.push(format!("and {} more", changes.len() - LISTED));
            }
        }
        details.push(format!("committed as {}", git.committer()?.name));
        Ok(Preview {
            summary: format!("revert {} ({}) in the working tree", short(&commit), fact.subject),
            requests: vec![Change::Revert { commit }.request(scene.app)],
            details,
            forecast: forecast::unchanged(scene, "a commit in the working tree changes nothing that runs"),
            ..Preview::default()
        })
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let Some(made) = progress.made.last() else {
            let (commit, head) = self.look(scene)?;
            let before = Before { head: Some(head), ..Before::default() };
            return Ok(Next::Change { change: Change::Revert { commit }, before });
        };
        let commit = match &made.effect {
            Effect::Committed { commit } => commit.clone(),
            _ => scene.observer.git().tree()?.head,
        };
        Ok(Next::Done(Done {
            summary: format!("{} reverses it; nothing was pushed", short(&commit)),
            outputs: BTreeMap::from([("commit".to_owned(), Value::Text(commit))]),
            ..Done::default()
        }))
    }
}
