//! Read authority and write authority, as types. Nothing a dry run holds leads to an [`Actuator`].

use std::sync::Arc;
use std::time::Duration;

use crate::health::{LogReading, Moment, Reading};

use super::addons::Addon;
use super::change::{Change, Effect};
use super::clock::Clock;
use super::error::{ChangeError, Fault, FaultKind};
use super::facts::{Dyno, Formation, Release, Running};
use super::log_watch::{LogTally, LogWatch};
use super::pages::{PageAnswer, PageDesk, PageRound};
use super::reads::{DatabaseReads, GitReads, HerokuReads};
use super::watch::{AppWatch, Seen};
use super::writes::{CommandWrites, DatabaseWrites, GitWrites, HerokuWrites, Lines};

/// Read authority: named questions only.
#[derive(Clone)]
pub struct Observer {
    pub(in crate::platform) heroku: Arc<dyn HerokuReads>,
    pub(in crate::platform) database: Option<Arc<dyn DatabaseReads>>,
    pub(in crate::platform) git: Arc<dyn GitReads>,
    pub(in crate::platform) clock: Arc<dyn Clock>,
    watch: Arc<AppWatch>,
    pages: Arc<PageDesk>,
    log: Arc<LogWatch>,
}

impl Observer {
    /// Joins the reading halves.
    pub(in crate::platform) fn new(
        heroku: Arc<dyn HerokuReads>,
        database: Option<Arc<dyn DatabaseReads>>,
        git: Arc<dyn GitReads>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            heroku,
            database,
            git,
            clock,
            watch: Arc::default(),
            pages: Arc::default(),
            log: Arc::default(),
        }
    }

    /// From here on the app's log may be followed: the run was agreed to. A dry run never says so.
    pub fn allow_log(&self) {
        self.log.allow();
    }

    /// Follows the app's log from now on, unless it is followed already; `false` when that is not allowed.
    pub fn follow_log(&self) -> bool {
        self.log.begin(&self.heroku, &self.clock)
    }

    /// What the app's log said since it was asked last, for the sampler.
    pub(in crate::platform) fn log_reading(&self) -> Reading<LogReading> {
        self.log.reading()
    }

    /// Counts what the log has kept and its stream has not brought; nothing unless it is followed.
    pub fn check_log(&self) {
        self.log.check(&*self.heroku, &*self.clock);
    }

    /// What the app's log said since `since`, to the second; nothing unless it is followed.
    pub fn log_tally(&self, since: Moment) -> LogTally {
        self.log.tally(since)
    }

    /// The dynos as seen about a second ago at most, or as last seen when the read budget is spent: for waiting.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn dynos(&self) -> Result<Seen<Vec<Dyno>>, Fault> {
        self.watch.dynos(&*self.heroku, self.clock.now())
    }

    /// The formation, read after `since` if the read budget allows: for waiting.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn formation(&self, since: Moment) -> Result<Seen<Vec<Formation>>, Fault> {
        self.watch.formation(&*self.heroku, self.clock.now(), since)
    }

    /// The newest releases, newest first, read after `since` if the read budget allows: for waiting on one newer than
    /// version `known`.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn releases(&self, since: Moment, known: u64) -> Result<Seen<Vec<Release>>, Fault> {
        self.watch.releases(&*self.heroku, self.clock.now(), since, known)
    }

    /// The newest releases, newest first. Of those after version `known` the commit is told as well, where Heroku does.
    /// Read anew each time.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn releases_since(&self, newest: usize, known: u64) -> Result<Vec<(Release, Option<String>)>, Fault> {
        let mut told = Vec::new();
        for release in self.heroku.releases(newest)? {
            let commit = match release.slug.as_deref().filter(|_| release.version > known) {
                Some(slug) => self.commit_of(slug)?,
                None => None,
            };
            told.push((release, commit));
        }
        Ok(told)
    }

    /// The commit that a slug was built from; asked once, since a slug never changes.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn commit_of(&self, slug: &str) -> Result<Option<String>, Fault> {
        self.watch.commit(&*self.heroku, slug)
    }

    /// An add-on as seen about five seconds ago at most, if the read budget allows: for waiting.
    ///
    /// # Errors
    /// When Heroku could not be asked, or there is no such add-on.
    pub fn addon(&self, name: &str) -> Result<Seen<Addon>, Fault> {
        self.watch.addon(&*self.heroku, self.clock.now(), name)
    }

    /// Processes of a web dyno (`WEB_CONCURRENCY`), as set when the plan was made: for forecasts.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn processes(&self) -> Result<Option<u64>, Fault> {
        self.watch.processes(&*self.heroku, self.clock.now())
    }

    /// What has been answered so far of a round of pages, and asks on, one page at a time and beside the caller, until
    /// `due` of them are answered. Never waits: to be called again.
    pub fn pages(&self, round: &PageRound, due: usize) -> Vec<PageAnswer> {
        self.pages.ask(&self.heroku, &*self.clock, round, due)
    }

    /// Whether preboot is on, as when the plan was made: for forecasts.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn preboot(&self) -> Result<bool, Fault> {
        self.watch.preboot(&*self.heroku)
    }

    /// What runs now. Read anew each time: for plans and before changes, not for waiting.
    ///
    /// # Errors
    /// When Heroku could not be asked.
    pub fn running(&self) -> Result<Running, Fault> {
        let mut releases = self.heroku.releases(10)?;
        let newest = releases.first().map(|release| release.version);
        if releases.len() == 10 && !releases.iter().any(|release| release.current) {
            // Many failed ones in a row.
            releases = self.heroku.releases(200)?;
        }
        let release = releases.into_iter().find(|release| release.current);
        let commit = match release.as_ref().and_then(|release| release.slug.as_deref()) {
            Some(slug) => self.commit_of(slug)?,
            None => None,
        };
        Ok(Running { newest, release, commit })
    }

    /// Heroku's side.
    pub fn heroku(&self) -> &dyn HerokuReads {
        &*self.heroku
    }

    /// The database's side; `None` with `--no-database`.
    pub fn database(&self) -> Option<&dyn DatabaseReads> {
        self.database.as_deref()
    }

    /// The working tree and its remote.
    pub fn git(&self) -> &dyn GitReads {
        &*self.git
    }

    /// Time.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// The writing halves of the world, as the platform holds them.
pub(in crate::platform) struct Writers {
    pub(in crate::platform) heroku: Arc<dyn HerokuWrites>,
    pub(in crate::platform) database: Option<Arc<dyn DatabaseWrites>>,
    pub(in crate::platform) git: Arc<dyn GitWrites>,
    pub(in crate::platform) commands: Arc<dyn CommandWrites>,
}

/// Write authority at rest. It cannot act; it is consumed to give an [`Actuator`], and cannot be copied or built
/// outside the platform.
pub struct Sealed {
    pub(in crate::platform) writers: Writers,
}

/// Proof that a plan was shown and confirmed: names the plan by its id.
pub struct Permit {
    plan: String,
}

impl Sealed {
    /// Binds the authority to the plan that was confirmed (by a person's yes, or by `--yes`).
    pub fn permit(&self, plan: &str, confirmed: bool) -> Option<Permit> {
        let _ = &self.writers;
        confirmed.then(|| Permit { plan: plan.to_owned() })
    }

    /// Opens it: from here on changes are possible.
    pub fn open(self, permit: Permit) -> Actuator {
        Actuator { writers: self.writers, plan: permit.plan }
    }
}

/// Write authority, opened for one confirmed plan.
pub struct Actuator {
    writers: Writers,
    plan: String,
}

impl Actuator {
    /// The plan it was opened for.
    pub fn plan(&self) -> &str {
        &self.plan
    }

    /// Performs one change, once. `timeout` bounds a push or a program; an API request has its own 30 s.
    ///
    /// # Errors
    /// [`ChangeError`] says whether the change may have happened all the same.
    pub fn perform(
        &self,
        change: &Change,
        timeout: Duration,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError> {
        match change {
            Change::Restart { scope } => self.writers.heroku.restart(scope),
            Change::OneOff(wish) => self.writers.heroku.one_off(wish, timeout, lines),
            Change::Scale { kind, quantity } => self.writers.heroku.scale(kind, *quantity),
            Change::Maintenance { on } => self.writers.heroku.maintenance(*on),
            Change::Config { vars } => self.writers.heroku.configure(vars),
            Change::CreateAddon { plan, name } => self.writers.heroku.create_addon(plan, name.as_deref()),
            Change::ChangePlan { addon, plan } => self.writers.heroku.change_plan(addon, plan),
            Change::Rollback { release, .. } => self.writers.heroku.rollback(release),
            Change::Promote { slug, commit } => {
                self.writers.heroku.promote(slug, &format!("Deploy {}", commit.get(..8).unwrap_or(commit)))
            }
            Change::Kill { victims, rule } => match &self.writers.database {
                Some(database) => database.kill(victims, rule),
                None => Err(ChangeError::nothing_changed(Fault::new(
                    FaultKind::Unsupported,
                    "killing idle sessions",
                    "the run was told not to use the database (--no-database)",
                ))),
            },
            Change::Edit { path, from, to, hunks } => self.writers.git.edit(path, from, to, hunks),
            Change::Commit { paths, message } => self.writers.git.commit(paths, message),
            Change::Revert { commit } => self.writers.git.revert(commit),
            Change::Push { commit, branch } => self.writers.git.push(commit, branch, timeout, lines),
            Change::Command { argv, prints } => self.writers.commands.run(argv, prints, timeout, lines),
        }
    }
}
