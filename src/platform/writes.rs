//! The changes that may be made, by the part of the world they touch. Reached through the actuator only.

use std::collections::BTreeMap;
use std::time::Duration;

use super::change::{DynoScope, Effect, KillRule, Victim};
use super::config::ConfigVars;
use super::error::ChangeError;
use super::one_off::OneOff;
use crate::edit::Hunk;
use crate::health::Unit;

/// Receives lines of output while a change runs (git's `remote:` lines, a program's output), already escaped.
pub type Lines<'a> = dyn Fn(&str) + Sync + 'a;

/// Changes at Heroku. Each is one request, sent once, with a 30 s timeout; a lost answer is `InDoubt`.
pub trait HerokuWrites: Send + Sync {
    /// `DELETE /apps/A/dynos`, `…/dynos/NAME`, `…/formations/TYPE`.
    fn restart(&self, scope: &DynoScope) -> Result<Effect, ChangeError>;
    /// `POST /apps/A/dynos`, and the dyno's life to its end, output streamed; stopped after `timeout`. An exit code that
    /// stays unknown is `InDoubt`, unless the wish takes it.
    fn one_off(&self, wish: &OneOff, timeout: Duration, lines: &Lines<'_>) -> Result<Effect, ChangeError>;
    /// `PATCH /apps/A/formation`.
    fn scale(&self, kind: &str, quantity: u64) -> Result<Effect, ChangeError>;
    /// `PATCH /apps/A` with `maintenance`.
    fn maintenance(&self, on: bool) -> Result<Effect, ChangeError>;
    /// `PATCH /apps/A/config-vars`.
    fn configure(&self, vars: &ConfigVars) -> Result<Effect, ChangeError>;
    /// `POST /apps/A/addons`.
    fn create_addon(&self, plan: &str, name: Option<&str>) -> Result<Effect, ChangeError>;
    /// `PATCH /apps/A/addons/NAME` with `plan`.
    fn change_plan(&self, addon: &str, plan: &str) -> Result<Effect, ChangeError>;
    /// `POST /apps/A/releases` with a release's id.
    fn rollback(&self, release: &str) -> Result<Effect, ChangeError>;
    /// `POST /apps/A/releases` with a slug's id.
    fn promote(&self, slug: &str, description: &str) -> Result<Effect, ChangeError>;
}

/// Changes at the database.
pub trait DatabaseWrites: Send + Sync {
    /// Re-checks and kills in one server-side block; falls back to single kills when the block is refused.
    fn kill(&self, victims: &[Victim], rule: &KillRule) -> Result<Effect, ChangeError>;
}

/// Changes in the working tree's repository and on Heroku's git.
pub trait GitWrites: Send + Sync {
    /// Edits a file of the working tree whose SHA-256 is `from`, so that it is `to` afterwards.
    fn edit(&self, path: &str, from: &str, to: &str, hunks: &[Hunk]) -> Result<Effect, ChangeError>;
    /// Commits exactly `paths`.
    fn commit(&self, paths: &[String], message: &str) -> Result<Effect, ChangeError>;
    /// Commits the reverse of `commit`; leaves the tree as it was when that conflicts.
    fn revert(&self, commit: &str) -> Result<Effect, ChangeError>;
    /// Pushes `commit` to `branch`, output streamed. Ended, whole process group, after `timeout`.
    fn push(
        &self,
        commit: &str,
        branch: &str,
        timeout: Duration,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError>;
}

/// Local programs.
pub trait CommandWrites: Send + Sync {
    /// Runs `argv` in the working tree's folder, without the tool's credentials in its environment, in its own
    /// process group, ended whole after `timeout`. Where it `prints` values for later steps, they must be as declared.
    fn run(
        &self,
        argv: &[String],
        prints: &BTreeMap<String, Unit>,
        timeout: Duration,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError>;
}
