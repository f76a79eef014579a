//! What the reads answer: plain data about the app, its dynos, its database and its git tree.

use serde::{Deserialize, Serialize};

/// The Heroku app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Its uuid.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where the router serves it.
    pub web_url: Option<String>,
    /// `cedar` or `fir`.
    pub generation: String,
    /// Stack name, `heroku-24`.
    pub stack: String,
    /// Maintenance mode.
    pub maintenance: bool,
}

/// A build, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// It is still under way.
    pub pending: bool,
    /// RFC 3339.
    pub created_at: String,
    /// Its source came from GitHub.
    pub from_github: bool,
}

/// Where the app's code comes from, as far as its newest releases and builds tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildOrigin {
    /// Pushed with git, or nothing says otherwise.
    Git,
    /// Deployed from GitHub: a push here is overwritten by the next deploy from there.
    GitHub,
    /// Promoted in a pipeline: a push here is overwritten by the next promotion.
    Pipeline,
}

/// A dyno. `id` changes when a new one takes the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dyno {
    /// Its uuid.
    pub id: String,
    /// `web.1`.
    pub name: String,
    /// Process type: `web`, `run`, `release`, `scheduler`.
    pub kind: String,
    /// `up`, `starting`, `crashed`, `down`, `idle`, or a state unknown to us.
    pub state: String,
    /// Size as the API names it: `Standard-1X`.
    pub size: String,
    /// Version of the release it runs.
    pub release: u64,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; last change of state.
    pub updated_at: String,
    /// What it runs.
    #[serde(default)]
    pub command: String,
}

/// Process types of one-off dynos: they belong to nobody's formation, whatever a Procfile lists.
const ONE_OFFS: [&str; 3] = ["run", "release", "scheduler"];

impl Dyno {
    /// Whether it is one that the formation wants: no one-off, and of a process type that is to run.
    pub fn belongs_to(&self, formation: &[Formation]) -> bool {
        formation.iter().any(|row| row.kind == self.kind && row.runs())
    }
}

impl Formation {
    /// Whether dynos of this type are to run. A Procfile's `release` has a row, and runs as a one-off only.
    pub fn runs(&self) -> bool {
        self.quantity > 0 && !ONE_OFFS.contains(&self.kind.as_str())
    }
}

/// How many dynos of one process type there are to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formation {
    /// Process type.
    pub kind: String,
    /// How many.
    pub quantity: u64,
    /// Size as the API names it.
    pub size: String,
    /// The command that each runs.
    pub command: String,
}

/// The state of a release; unknown words are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseStatus {
    /// Its release phase runs.
    Pending,
    /// Done.
    Succeeded,
    /// Its release phase failed; the one before it stays current.
    Failed,
    /// Expired.
    Expired,
    /// A word that the facts do not know.
    Other(String),
}

/// What runs now, as far as the platform tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Version of the newest release, failed and pending ones included.
    pub newest: Option<u64>,
    /// The release that runs.
    pub release: Option<Release>,
    /// The commit it was built from.
    pub commit: Option<String>,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its uuid.
    pub id: String,
    /// `v12` is 12.
    pub version: u64,
    /// Its state.
    pub status: ReleaseStatus,
    /// Whether its dynos are those that run.
    pub current: bool,
    /// Whether Heroku would roll back to it.
    pub eligible_for_rollback: bool,
    /// `Deploy 60883d9e`, `Rollback to v8`, `Set X config vars`.
    pub description: String,
    /// The slug's uuid.
    pub slug: Option<String>,
    /// Who made it: an e-mail.
    pub user: String,
    /// RFC 3339.
    pub created_at: String,
    /// Where the output of its release phase streams from (a signed URL: a secret, never shown).
    #[serde(skip)]
    pub output_stream_url: Option<String>,
}

/// A slug: which commit it was built from and what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slug {
    /// Its uuid.
    pub id: String,
    /// The git commit, full sha, where known.
    pub commit: Option<String>,
    /// Process types and their commands.
    pub process_types: Vec<(String, String)>,
}

/// A config key that differs between two releases. Values are secrets and stay behind the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// The key.
    pub key: String,
    /// `added`, `removed`, `changed`: what going to the target release would do to it.
    pub change: String,
    /// The key holds the database's URL (its own config var, or one with the same value).
    pub is_database: bool,
}

/// One line of the app's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// RFC 3339, as logged.
    pub at: String,
    /// `app` or `heroku`.
    pub source: String,
    /// `web.1`, `router`, `api`.
    pub process: String,
    /// The message, control characters escaped, URLs with secrets redacted.
    pub message: String,
}

/// What the server is and what our account may see. Read once a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// `10.11.19-MariaDB`.
    pub version: String,
    /// `CURRENT_USER()`.
    pub account: String,
    /// Our connection's id.
    pub connection_id: u64,
    /// `@@max_connections`.
    pub server_limit: u64,
    /// `@@session.max_user_connections`; 0 = none.
    pub account_limit: u64,
    /// innodb_trx is readable (PROCESS): transactions are visible, other accounts too.
    pub sees_transactions: bool,
    /// The metadata-lock plugin is installed: lock holders are visible.
    pub sees_locks: bool,
    /// `@@global.wait_timeout`, seconds.
    pub wait_timeout: u64,
    /// `@@global.idle_transaction_timeout`, seconds; 0 = none.
    pub idle_transaction_timeout: u64,
    /// How the connection is protected: `TLS, certificate verified`, `TLS, certificate not verified`, `not encrypted`.
    pub protection: String,
}

/// A session that a kill rule would end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdleSession {
    /// Connection id.
    pub id: u64,
    /// MariaDB's `QUERY_ID`: unchanged while it sleeps.
    pub query_id: u64,
    /// User name.
    pub user: String,
    /// Host without port.
    pub host: String,
    /// Schema, if any.
    pub db: Option<String>,
    /// How long it has slept, in milliseconds.
    pub idle_ms: f64,
}

/// Sessions that share user, host, schema and command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CensusGroup {
    /// User name.
    pub user: String,
    /// Host without port.
    pub host: String,
    /// Schema.
    pub db: Option<String>,
    /// `Sleep`, `Query`, …
    pub command: String,
    /// How many.
    pub count: u64,
    /// The oldest, in milliseconds.
    pub oldest_ms: f64,
}

/// A running statement, digested: literals never leave the server's side of the door.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// The text, literals replaced by `?`, control characters escaped, at most 200 characters.
    pub digest: String,
    /// State as the server says it.
    pub state: String,
    /// How many sessions run it.
    pub count: u64,
    /// The longest, in milliseconds.
    pub longest_ms: f64,
}

/// An open transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Connection id.
    pub id: u64,
    /// User name.
    pub user: String,
    /// Seconds since it began.
    pub age_s: u64,
    /// Rows it changed.
    pub rows_modified: u64,
    /// `LOCK WAIT`, `RUNNING`.
    pub state: String,
    /// The session sleeps inside it.
    pub sleeping: bool,
    /// How many transactions wait for it.
    pub blocks: u64,
    /// It waits for a lock itself.
    pub waits: bool,
}

/// Who holds the slots, as far as visible.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Census {
    /// Sessions by user, host, schema and command, the largest group first.
    pub groups: Vec<CensusGroup>,
    /// Ages of sleepers: below 1 s, 10 s, 60 s, 5 min, 30 min, and above.
    pub sleeper_ages: [u64; 6],
    /// Running statements, digested, the longest first.
    pub statements: Vec<Statement>,
    /// Open transactions, oldest first; `None` when they are invisible to our account.
    pub transactions: Option<Vec<Transaction>>,
    /// Jobs waiting in MediaWiki's `job` table; `None` when there is none or it cannot be read.
    pub jobs: Option<u64>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFact {
    /// Full sha.
    pub sha: String,
    /// First line of the message, escaped.
    pub subject: String,
    /// Author's name, escaped.
    pub author: String,
}

/// One path that a commit would take up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeChange {
    /// Path relative to the tree's top.
    pub path: String,
    /// `added`, `modified`, `deleted`.
    pub change: String,
    /// Lines added and removed (`None` for binary files).
    pub lines: Option<(u64, u64)>,
}

/// The app's git working tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeState {
    /// Top folder.
    pub top: String,
    /// `HEAD`'s commit.
    pub head: String,
    /// The branch it is on (a detached HEAD is a fault of the read).
    pub branch: String,
    /// Paths staged in the index (a deploy or a revert refuses unless empty).
    pub staged: Vec<String>,
}

impl TreeState {
    /// What stands against committing: paths that are staged and are none of `allowed`. `None` when nothing does.
    pub fn staged_beside(&self, allowed: &[String]) -> Option<String> {
        let beside: Vec<&str> =
            self.staged.iter().filter(|path| !allowed.contains(path)).map(String::as_str).collect();
        (!beside.is_empty()).then(|| format!("the index holds staged changes: {}", beside.join(", ")))
    }
}

/// Who would commit, and what git would do beside committing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committer {
    /// `Name <address>`.
    pub name: String,
    /// The configuration asks for signatures; ours are not signed, since nobody is there to unlock a key.
    pub would_sign: bool,
    /// Hooks that a commit runs.
    pub hooks: Vec<String>,
}
