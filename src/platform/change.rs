//! The closed vocabulary of what may be changed. A verb states changes; only the actuator performs them.
//!
//! A change is data: it is shown in the plan, journalled as the intention, and compared with the world after a crash.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One change to the world outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Restart dynos.
    Restart {
        /// Which.
        scope: DynoScope,
    },
    /// Set the quantity of a process type to an absolute number.
    Scale {
        /// Process type.
        kind: String,
        /// How many.
        quantity: u64,
    },
    /// Make a new release from an earlier release (slug and config vars of then).
    Rollback {
        /// The release's uuid.
        release: String,
        /// Its version, for people.
        version: u64,
    },
    /// Make a new release from an existing slug, with today's config vars.
    Promote {
        /// The slug's uuid.
        slug: String,
        /// The commit it was built from.
        commit: String,
    },
    /// End idle database sessions: re-checked and killed in one server-side block.
    Kill {
        /// The sessions planned, by id and query id.
        victims: Vec<Victim>,
        /// What the block re-checks.
        rule: KillRule,
    },
    /// Commit paths of the working tree, nothing else.
    Commit {
        /// Paths relative to the tree's top, already expanded.
        paths: Vec<String>,
        /// The message.
        message: String,
    },
    /// Commit the reverse of `commit`, which must be `HEAD`.
    Revert {
        /// Full sha.
        commit: String,
    },
    /// Push `commit` to the app's git remote on Heroku.
    Push {
        /// Full sha.
        commit: String,
        /// Branch there.
        branch: String,
    },
    /// Run a local program, without the tool's credentials in its environment.
    Command {
        /// Program and arguments; never a shell's.
        argv: Vec<String>,
    },
}

/// Which dynos a restart means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DynoScope {
    /// Every dyno of the app.
    All,
    /// Those of one process type.
    Kind(String),
    /// One, by name.
    One(String),
}

/// A session to be killed: the pair identifies "this session, and it has run nothing since".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Victim {
    /// Connection id.
    pub id: u64,
    /// `QUERY_ID` at planning time.
    pub query_id: u64,
}

/// Which sessions may be killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KillRule {
    /// Only sessions that have slept at least this long.
    pub idle: Duration,
    /// At most this many, oldest first.
    pub at_most: u64,
    /// Users never touched, besides the built-in list of system and provider users.
    pub protect: Vec<String>,
}

/// Identity of a dyno's incarnation: a restart is proven when the triple differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DynoTriple {
    /// Name, `web.1`.
    pub name: String,
    /// Uuid.
    pub id: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
}

/// What the world was before a change, recorded with the intention: to settle a doubt, and to undo.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Before {
    /// The dynos, for a restart, release or push.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dynos: Vec<DynoTriple>,
    /// The quantity of the process type, for a scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<u64>,
    /// Version of the newest release, for a rollback, promotion or push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// The live commit, for a push, rollback or promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_commit: Option<String>,
    /// `HEAD`, for a commit or revert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// What a performed change brought about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// Accepted by the platform; proof is a matter of observation.
    Accepted,
    /// A release was made.
    Released {
        /// Its version.
        version: u64,
    },
    /// Sessions were killed.
    Killed {
        /// Ids really killed.
        killed: Vec<u64>,
        /// Planned, but awake or gone by then.
        spared: Vec<u64>,
        /// The server-side block was refused and single kills were used.
        one_by_one: bool,
    },
    /// A commit was made.
    Committed {
        /// Full sha.
        commit: String,
    },
    /// A push ended well.
    Pushed {
        /// git said that there was nothing to push: no build, no release, no restart.
        up_to_date: bool,
    },
    /// A program ended with exit code 0.
    Ran {
        /// Last lines of its output, escaped.
        output: Vec<String>,
    },
    /// Read back after a lost answer: it had happened.
    FoundDone,
}
