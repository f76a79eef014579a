//! The questions that may be asked of the world. None of them changes anything.

use std::time::Duration;

use super::addons::{Addon, AddonPlan};
use super::change::KillRule;
use super::config::{ConfigDifference, ConfigVars};
use super::error::{Fault, FaultKind};
use super::facts::{
    App, Build, BuildOrigin, Census, CommitFact, Committer, ConfigChange, DatabaseFacts, Dyno, Formation,
    IdleSession, LogLine, Release, Slug, TreeChange, TreeState,
};
use super::inventory::{Answer, DatabaseSession, Figure, NamedQuery};
use super::lock::LockState;
use super::log_watch::LogStream;
use super::pages::PageAnswer;
use crate::health::{DatabaseReading, PageReading, Reading};

/// Questions to Heroku. GET only, except `recent_logs` and `open_log` (a log session is a POST that changes nothing in the app; a
/// dry run does not ask it).
pub trait HerokuReads: Send + Sync {
    /// The app (`GET /apps/A`).
    fn app(&self) -> Result<App, Fault>;
    /// Whether preboot is on: old dynos serve on, unseen, for about three minutes after a release.
    fn preboot(&self) -> Result<bool, Fault>;
    /// Who deploys it: a push is overwritten by the next deploy from GitHub or promotion in a pipeline.
    fn origin(&self) -> Result<BuildOrigin, Fault>;
    /// The newest builds, newest first.
    fn builds(&self, newest: usize) -> Result<Vec<Build>, Fault>;
    /// Every dyno, one-offs included.
    fn dynos(&self) -> Result<Vec<Dyno>, Fault>;
    /// The formation.
    fn formation(&self) -> Result<Vec<Formation>, Fault>;
    /// The newest releases, newest first.
    fn releases(&self, newest: usize) -> Result<Vec<Release>, Fault>;
    /// One slug.
    fn slug(&self, id: &str) -> Result<Slug, Fault>;
    /// Which config keys would change if `release` became current.
    fn config_changes(&self, release: &str) -> Result<Vec<ConfigChange>, Fault>;
    /// Other apps that share the database add-on: a kill hits them too.
    fn sharing_apps(&self) -> Result<Vec<String>, Fault>;
    /// The last lines of the app's log, of one dyno or of all.
    fn recent_logs(&self, lines: u32, dyno: Option<&str>) -> Result<Vec<LogLine>, Fault>;
    /// Follows the app's log, of one dyno, of a process type or of all, after `lines` lines of history. A dry run does not
    /// ask it: a log session is a POST.
    fn open_log(&self, dyno: Option<&str>, lines: u32) -> Result<Box<dyn LogStream>, Fault> {
        let _ = (dyno, lines);
        Err(Fault::new(FaultKind::Unsupported, "following the app's log", "there is none to follow"))
    }
    /// One page probe of `path` against the site.
    fn probe_page(&self, path: &str) -> Reading<PageReading>;
    /// Asks for one page, with GET and without credentials: a path of the site, or a whole URL. Bounded by 10 s and by
    /// 256 KiB of its body.
    fn ask_page(&self, address: &str) -> PageAnswer;
    /// Where pages are asked for, without a login; `None` when they are not measured in this run.
    fn pages_url(&self) -> Option<String>;
    /// Value of `WEB_CONCURRENCY`, when set.
    fn web_concurrency(&self) -> Result<Option<u64>, Fault>;
    /// How these config vars compare with what they are to be; no value is told that could be a secret.
    fn config_differences(&self, vars: &ConfigVars) -> Result<Vec<ConfigDifference>, Fault>;
    /// The app's add-ons.
    fn addons(&self) -> Result<Vec<Addon>, Fault>;
    /// One of them, by name or id.
    fn addon(&self, name: &str) -> Result<Addon, Fault>;
    /// A plan, `service:plan`, with its price.
    fn addon_plan(&self, name: &str) -> Result<AddonPlan, Fault>;
    /// A service's plans, cheapest first.
    fn addon_plans(&self, service: &str) -> Result<Vec<AddonPlan>, Fault>;
    /// API calls made so far.
    fn calls(&self) -> u64;
    /// API calls that the account has left, by the last answer; `None` = not told yet. Below
    /// 500 what is read while waiting is read less often.
    fn calls_left(&self) -> Option<u64> {
        None
    }
    /// The base URL of the API, for previews.
    fn api_url(&self) -> String;
}

/// Questions to the database, answered by the one thread that owns the one connection.
pub trait DatabaseReads: Send + Sync {
    /// Takes one reading now (one statement, one round trip; connects first when there is no connection). Bounded by
    /// 500 ms on the server and by the connect deadline.
    fn sample(&self) -> DatabaseReading;
    /// What the server is, from the current connection (connects if need be).
    fn facts(&self) -> Result<DatabaseFacts, Fault>;
    /// Sessions that `rule` would end now, oldest first, at most `rule.at_most`.
    fn idle_sessions(&self, rule: &KillRule) -> Result<Vec<IdleSession>, Fault>;
    /// Who holds the slots.
    fn census(&self) -> Result<Census, Fault>;
    /// Whether this run holds the app's lock, proved now: the connection lives and the server says that it is the
    /// holder. A lock that was lost with its connection, or that could not be taken before, is taken if it is free. At
    /// most about a second, also while the database is full: to be asked before each change.
    fn lock(&self) -> LockState {
        LockState::Unasked
    }
    /// Every session that the account can see, the longest first, statements digested; at most 2000.
    fn sessions(&self) -> Result<Vec<DatabaseSession>, Fault>;
    /// The server's counters of connections, statements, locks and load since it started.
    fn counters(&self) -> Result<Vec<Figure>, Fault>;
    /// The server's settings of connections, timeouts and locks.
    fn settings(&self) -> Result<Vec<Figure>, Fault>;
    /// The answer to a question that is known by name: one read-only statement, 500 ms and 20 rows at most.
    fn answer(&self, query: NamedQuery) -> Result<Answer, Fault>;
    /// The SQL that a kill of these sessions by `rule` would send, for previews.
    fn kill_sql(&self, victims: &[super::change::Victim], rule: &KillRule) -> String;
    /// The time to leave between two samples where `wanted` is wished: longer while the account's hourly limit of
    /// statements is near.
    fn interval(&self, wanted: Duration) -> Duration {
        wanted
    }
    /// Jobs that wait in `MediaWiki`'s `job` tables, of all of them together; counted up to 100 000 in each.
    fn jobs_queued(&self) -> Result<u64, Fault> {
        Err(Fault::new(FaultKind::Unsupported, "counting the jobs", "this database cannot tell"))
    }
    /// Logins attempted so far.
    fn logins(&self) -> u64;
    /// `user@host:port/db`, without the password.
    fn name(&self) -> String;
}

/// Questions to the app's git working tree, and to its remote on Heroku.
pub trait GitReads: Send + Sync {
    /// The tree's state. Refuses a detached HEAD, an unborn branch, a shallow clone, a bare repository, no repository.
    fn tree(&self) -> Result<TreeState, Fault>;
    /// Expands names and globs to the paths that exist or are tracked; an entry that matches nothing is a fault unless
    /// it is marked optional. Pairs are (pattern, optional).
    fn expand(&self, patterns: &[(String, bool)]) -> Result<Vec<String>, Fault>;
    /// What a commit of `paths` would hold, compared with `HEAD` (a temporary index; the real one is not touched).
    fn pending(&self, paths: &[String]) -> Result<Vec<TreeChange>, Fault>;
    /// Commits in `from..to`, newest first. `from` unknown here is a fault of kind `Missing`.
    fn commits_between(&self, from: &str, to: &str) -> Result<Vec<CommitFact>, Fault>;
    /// What changed between two commits.
    fn changes_between(&self, from: &str, to: &str) -> Result<Vec<TreeChange>, Fault>;
    /// One commit.
    fn commit(&self, revision: &str) -> Result<CommitFact, Fault>;
    /// Parents of a commit.
    fn parents(&self, revision: &str) -> Result<Vec<String>, Fault>;
    /// Whether the index holds exactly what `commit`'s reverse would: `commit` is HEAD, and a revert of it was cut off
    /// between staging and committing.
    fn half_reverted(&self, commit: &str) -> Result<bool, Fault>;
    /// Who would commit; refuses where git does not know, since a commit would fail.
    fn committer(&self) -> Result<Committer, Fault>;
    /// Whether Heroku's git would take a push of `commit` to `branch` (token, app, fast-forward), and whether `branch`
    /// is there already; nothing is sent but the question for its refs, and no hook runs.
    fn push_check(&self, commit: &str, branch: &str) -> Result<bool, Fault>;
    /// A file of the working tree, as text.
    fn file(&self, path: &str) -> Result<Option<String>, Fault>;
    /// A file as it is in a commit, as text; `None` when the commit has none of that path. What is no plain file, or
    /// larger than a megabyte, is a fault.
    fn file_in(&self, revision: &str, path: &str) -> Result<Option<String>, Fault>;
    /// Names of the files and folders in a folder of a commit; none where there is no such folder.
    fn names_in(&self, revision: &str, folder: &str) -> Result<Vec<String>, Fault>;
    /// The bytes of a file of the working tree, which may be edited; `None` when there is none. Refuses what leads out of
    /// the tree, and symbolic links.
    fn working_file(&self, path: &str) -> Result<Option<Vec<u8>>, Fault>;
    /// A text of the tree without the secrets in use, and escaped: before it is shown or written down.
    fn redact(&self, text: &str) -> String {
        crate::source::escape_controls(text).into_owned()
    }
    /// URL of the push target, without credentials.
    fn remote_url(&self) -> String;
}
