//! The closed vocabulary of what may be changed. A verb states changes; only the actuator performs them.
//!
//! A change is data: it is shown in the plan, journalled as the intention, and compared with the world after a crash.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{self, ConfigVars};
use super::one_off::{Attach, OneOff};
use crate::edit::Hunk;
use crate::health::{Unit, Value};

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
    /// Switch maintenance mode: while it is on, the router answers every page with 503. No release, no restart.
    Maintenance {
        /// On, or off.
        on: bool,
    },
    /// Set or remove config vars: one release, which restarts every dyno.
    Config {
        /// What each is to be.
        vars: ConfigVars,
    },
    /// Create an add-on.
    CreateAddon {
        /// `service:plan`.
        plan: String,
        /// Its own name; Heroku makes one up without.
        name: Option<String>,
    },
    /// Change the plan of an add-on.
    ChangePlan {
        /// The add-on's name.
        addon: String,
        /// `service:plan`.
        plan: String,
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
    /// Edit a file of the working tree.
    Edit {
        /// Relative to the tree's top.
        path: String,
        /// SHA-256 of the file before.
        from: String,
        /// SHA-256 of the file after.
        to: String,
        /// The edited places, and nothing of what stands around them.
        hunks: Vec<Hunk>,
    },
    /// Commit paths of the working tree, nothing else.
    Commit {
        /// Paths relative to the tree's top, already expanded.
        paths: Vec<String>,
        /// The message.
        message: String,
    },
    /// Commit the reverse of `commit`, which is `HEAD` or before it.
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
    /// Run a command in a one-off dyno.
    OneOff(OneOff),
    /// Run a local program, without the tool's credentials in its environment.
    Command {
        /// Program and arguments; never a shell's.
        argv: Vec<String>,
        /// What it prints for later steps, by name: then its stdout is one JSON object.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        prints: BTreeMap<String, Unit>,
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
    /// Maintenance mode was on, for a change of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<bool>,
    /// Ids of the app's add-ons, for a new one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addons: Vec<String>,
    /// The add-on's plan, for a change of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// The measured limit of connections, for a change of plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Version of the newest release, for a rollback, promotion or push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// Version of the release that was live, for a push, rollback or promotion: what to go back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_release: Option<u64>,
    /// The live commit, for a push, rollback or promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_commit: Option<String>,
    /// Preboot was on, for a push, rollback or promotion: old dynos serve on, unseen, for about three minutes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preboot: bool,
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
        /// Of the killed, how many still held their slot when last looked at (they roll back); `None` when it could
        /// not be looked at.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dying: Option<u64>,
    },
    /// A file was edited.
    Edited,
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
        /// What it printed for later steps.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        printed: BTreeMap<String, Value>,
    },
    /// An add-on was created, or its plan changed.
    Addon {
        /// Its name.
        name: String,
        /// Its plan now.
        plan: String,
    },
    /// A one-off dyno is over.
    OneOff {
        /// `run.1234`.
        dyno: String,
        /// Its output came through rendezvous, not through the log.
        attached: bool,
        /// The command's exit code; `None` = unknown.
        exit: Option<i64>,
        /// It ended with a code other than 0, which got lost.
        crashed: bool,
        /// Last lines of its output, escaped.
        output: Vec<String>,
    },
    /// Read back after a lost answer: it had happened.
    FoundDone,
}

/// The one thing of the app that a change sets to a value: a later change of the same subject replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The quantity of a process type.
    Quantity(String),
    /// Maintenance mode.
    Maintenance,
    /// The plan of an add-on.
    Plan(String),
    /// Config vars, by their names.
    Config(Vec<String>),
}

/// How long a request to Heroku may still land whose sender has gone: an HTTP change's own timeout.
const HTTP_SETTLE: Duration = Duration::from_secs(30);
/// A push that was cut may have begun a build, which shows itself within this time.
pub(in crate::platform) const PUSH_SETTLE: Duration = Duration::from_secs(60);
/// A statement is executed within the cap of its block, whoever waits for it.
const STATEMENT_SETTLE: Duration = Duration::from_secs(5);

impl Change {
    /// Whether it ends, replaces or overwrites what serves or is connected now, so that what was there before can be
    /// looked at no more. A commit is local, and can be taken back.
    pub const fn is_destructive(&self) -> bool {
        match self {
            Self::Restart { .. }
            | Self::Scale { .. }
            | Self::Rollback { .. }
            | Self::Promote { .. }
            | Self::Kill { .. }
            | Self::Push { .. }
            | Self::Config { .. }
            | Self::CreateAddon { .. }
            | Self::ChangePlan { .. }
            | Self::OneOff(_)
            | Self::Command { .. } => true,
            // It ends what visitors do; what it was like can still be looked at once it is off.
            Self::Maintenance { on } => *on,
            Self::Edit { .. } | Self::Commit { .. } | Self::Revert { .. } => false,
        }
    }

    /// How long after its intention this change may still take effect when its process has died: what the settle rule
    /// waits before it believes that it did not happen. Local programs end before a run is taken up again: they hold its
    /// lease as long as they live.
    pub const fn settle(&self) -> Duration {
        match self {
            Self::Restart { .. }
            | Self::Scale { .. }
            | Self::Maintenance { .. }
            | Self::Config { .. }
            | Self::CreateAddon { .. }
            | Self::ChangePlan { .. }
            | Self::Rollback { .. }
            | Self::Promote { .. }
            | Self::OneOff(_) => HTTP_SETTLE,
            Self::Push { .. } => PUSH_SETTLE,
            Self::Kill { .. } => STATEMENT_SETTLE,
            Self::Edit { .. } | Self::Commit { .. } | Self::Revert { .. } | Self::Command { .. } => {
                Duration::ZERO
            }
        }
    }

    /// Whether it has made a release: a push that found nothing new has not.
    pub const fn has_released(&self, effect: &Effect) -> bool {
        match self {
            Self::Push { .. } => !matches!(effect, Effect::Pushed { up_to_date: true }),
            Self::Rollback { .. } | Self::Promote { .. } | Self::Config { .. } => true,
            Self::Restart { .. }
            | Self::Scale { .. }
            | Self::Maintenance { .. }
            // Released when the provider is ready, if at all.
            | Self::CreateAddon { .. }
            | Self::ChangePlan { .. }
            | Self::Kill { .. }
            | Self::Edit { .. }
            | Self::Commit { .. }
            | Self::Revert { .. }
            | Self::OneOff(_)
            | Self::Command { .. } => false,
        }
    }

    /// Whether its release is one of other code: going back to the release before it takes it back.
    pub const fn has_released_code(&self, effect: &Effect) -> bool {
        self.has_released(effect) && !matches!(self, Self::Config { .. })
    }

    /// Whether a release of this description is one that this change makes, where only its description tells.
    pub fn is_told_by(&self, effect: &Effect, description: &str) -> bool {
        let named = |plan: &str| plan.split(':').next().is_some_and(|service| description.contains(service));
        match (self, effect) {
            (Self::Config { vars }, _) => config::describes(description, vars),
            (Self::CreateAddon { plan, .. } | Self::ChangePlan { plan, .. }, Effect::Addon { name, .. }) => {
                description.contains(name.as_str()) || named(plan)
            }
            (Self::CreateAddon { plan, .. } | Self::ChangePlan { plan, .. }, _) => named(plan),
            _ => false,
        }
    }

    /// Whether it happens on this machine, and not at the app.
    pub const fn is_local(&self) -> bool {
        matches!(self, Self::Edit { .. } | Self::Commit { .. } | Self::Revert { .. } | Self::Command { .. })
    }

    /// Whether processes of the app begin anew with it: they warm up, and what is measured meanwhile says little.
    pub const fn starts_processes(&self) -> bool {
        !self.is_local() && !matches!(self, Self::Kill { .. })
    }

    /// What it sets to a value; `None` when it does no such thing, so that nothing can reverse it.
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::Scale { kind, .. } => Some(Subject::Quantity(kind.clone())),
            Self::Maintenance { .. } => Some(Subject::Maintenance),
            Self::ChangePlan { addon, .. } => Some(Subject::Plan(addon.clone())),
            Self::Config { vars } => Some(Subject::Config(vars.keys().cloned().collect())),
            Self::Restart { .. }
            | Self::CreateAddon { .. }
            | Self::Rollback { .. }
            | Self::Promote { .. }
            | Self::Kill { .. }
            | Self::Edit { .. }
            | Self::Commit { .. }
            | Self::Revert { .. }
            | Self::Push { .. }
            | Self::OneOff(_)
            | Self::Command { .. } => None,
        }
    }

    /// The exact request or command, for the plan, the journal and the person on call. Long lists are shortened.
    pub fn request(&self, app: &str) -> String {
        match self {
            Self::Restart { scope: DynoScope::All } => format!("DELETE /apps/{app}/dynos"),
            Self::Restart { scope: DynoScope::Kind(kind) } => format!("DELETE /apps/{app}/formations/{kind}"),
            Self::Restart { scope: DynoScope::One(name) } => format!("DELETE /apps/{app}/dynos/{name}"),
            Self::Scale { kind, quantity } => {
                format!(
                    r#"PATCH /apps/{app}/formation {{"updates":[{{"type":"{kind}","quantity":{quantity}}}]}}"#
                )
            }
            Self::Maintenance { on } => format!(r#"PATCH /apps/{app} {{"maintenance":{on}}}"#),
            Self::Config { vars } => format!("PATCH /apps/{app}/config-vars {}", config::shown(vars)),
            Self::CreateAddon { plan, name } => {
                let name = name.as_ref().map_or(String::new(), |name| format!(r#","name":"{name}""#));
                format!(r#"POST /apps/{app}/addons {{"plan":"{plan}"{name}}}"#)
            }
            Self::ChangePlan { addon, plan } => {
                format!(r#"PATCH /apps/{app}/addons/{addon} {{"plan":"{plan}"}}"#)
            }
            Self::Rollback { release, version } => {
                format!(r#"POST /apps/{app}/releases {{"release":"{release}"}} (v{version})"#)
            }
            Self::Promote { slug, commit } => {
                format!(r#"POST /apps/{app}/releases {{"slug":"{slug}"}} (commit {})"#, short(commit))
            }
            Self::Kill { victims, rule } => format!(
                "KILL SOFT of up to {} sessions that have slept {} s or more, re-checked on the server",
                (victims.len() as u64).min(rule.at_most),
                rule.idle.as_secs()
            ),
            Self::Edit { path, hunks, .. } => format!("edit {} ({})", quoted(path), lines_of(hunks)),
            Self::Commit { paths, message } => {
                format!("git commit -m {} -- {}", quoted(message), words(paths))
            }
            Self::Revert { commit } => format!("git revert --no-edit {}", short(commit)),
            Self::Push { commit, branch } => format!("git push heroku {}:{branch}", short(commit)),
            Self::Command { argv, .. } => words(argv),
            Self::OneOff(wish) => {
                let attach = wish.attach != Attach::Never;
                format!(
                    r#"POST /apps/{app}/dynos {{"command":{},"attach":{attach}}}"#,
                    json_text(&wish.command)
                )
            }
        }
    }

    /// What it has changed, in the past tense, for the summary.
    pub fn past(&self, effect: &Effect) -> String {
        match self {
            Self::Push { commit, branch } if matches!(effect, Effect::Pushed { up_to_date: true }) => {
                format!("pushed nothing: {branch} held {} already", short(commit))
            }
            Self::Restart { scope: DynoScope::All } => "asked Heroku to restart every dyno".to_owned(),
            Self::Restart { scope: DynoScope::Kind(kind) } => {
                format!("asked Heroku to restart the {kind} dynos")
            }
            Self::Restart { scope: DynoScope::One(name) } => format!("asked Heroku to restart {name}"),
            Self::Scale { kind, quantity } => format!("scaled {kind} to {quantity}"),
            Self::Maintenance { on: true } => "switched maintenance mode ON".to_owned(),
            Self::Maintenance { on: false } => "switched maintenance mode off".to_owned(),
            Self::Config { vars } => format!("changed the config vars {}", config::names(vars)),
            Self::CreateAddon { plan, .. } => match effect {
                Effect::Addon { name, .. } => format!("created the add-on {name} ({plan})"),
                _ => format!("created an add-on of {plan}"),
            },
            Self::ChangePlan { addon, plan } => format!("changed the plan of {addon} to {plan}"),
            Self::Rollback { version, .. } => format!("made a release from v{version}"),
            Self::Promote { commit, .. } => format!("made a release from the slug of {}", short(commit)),
            Self::Kill { victims, .. } => format!("killed idle sessions ({} planned)", victims.len()),
            Self::Edit { path, hunks, .. } => format!("edited {} ({})", quoted(path), lines_of(hunks)),
            Self::Commit { paths, .. } => format!("committed {}", words(paths)),
            Self::Revert { commit } => format!("committed the reverse of {}", short(commit)),
            Self::Push { commit, branch } => format!("pushed {} to {branch}", short(commit)),
            Self::Command { argv, .. } => format!("ran {}", words(argv)),
            Self::OneOff(wish) => match effect {
                Effect::OneOff { dyno, exit: Some(code), .. } => {
                    format!("ran `{}` in {dyno} (exit code {code})", wish.command)
                }
                Effect::OneOff { dyno, .. } => {
                    format!("ran `{}` in {dyno} (exit code unknown)", wish.command)
                }
                _ => format!("ran `{}` in a one-off dyno (exit code unknown)", wish.command),
            },
        }
    }

    /// Whether `runbook undo` can take it back: what it set has a value from before.
    pub const fn can_be_undone(&self, effect: &Effect) -> bool {
        self.has_released(effect)
            || matches!(
                self,
                Self::Scale { .. }
                    | Self::Maintenance { .. }
                    | Self::ChangePlan { .. }
                    | Self::Edit { .. }
                    | Self::Commit { .. }
                    | Self::Revert { .. }
            )
    }

    /// How to go back by hand, given what was before; `None` with the reason in [`Self::past`] when nothing can.
    pub fn way_back(&self, app: &str, before: &Before, effect: &Effect) -> String {
        match self {
            Self::Restart { .. } => "a restart cannot be undone, and need not be".to_owned(),
            Self::Kill { .. } => "a killed session cannot be brought back; the app opens new ones".to_owned(),
            Self::Scale { kind, .. } => match before.quantity {
                Some(quantity) => format!("heroku ps:scale {kind}={quantity} --app {app}"),
                None => format!("heroku ps:scale {kind}=N --app {app} (the number before was not readable)"),
            },
            Self::Maintenance { on } if before.maintenance == Some(*on) => "it was so before".to_owned(),
            Self::Maintenance { on } => {
                format!("heroku maintenance:{} --app {app}", if *on { "off" } else { "on" })
            }
            Self::Config { .. } => match before.live_release {
                // What they were is a secret, and Heroku keeps it.
                Some(version) => {
                    format!("heroku releases:rollback v{version} --app {app} (its config vars included)")
                }
                None => format!("heroku releases --app {app} lists them, each with its config vars"),
            },
            Self::CreateAddon { .. } => {
                let name = if let Effect::Addon { name, .. } = effect { name } else { "NAME" };
                format!("by hand only, since its data goes with it: heroku addons:destroy {name} --app {app}")
            }
            Self::ChangePlan { addon, .. } => match &before.plan {
                Some(plan) => format!("heroku addons:upgrade {addon} {plan} --app {app}"),
                None => format!(
                    "heroku addons:upgrade {addon} PLAN --app {app} (the plan before was not readable)"
                ),
            },
            Self::Rollback { .. } | Self::Promote { .. } => match before.live_release {
                Some(version) => format!("heroku releases:rollback v{version} --app {app}"),
                None => format!("heroku releases --app {app}, then releases:rollback"),
            },
            Self::Edit { path, .. } => {
                format!("runbook undo puts the lines back; `git diff -- {}` shows them", quoted(path))
            }
            Self::Commit { .. } | Self::Revert { .. } => match effect {
                Effect::Committed { commit } => format!("git revert --no-edit {}", short(commit)),
                _ => "git revert --no-edit HEAD".to_owned(),
            },
            Self::Push { .. } if matches!(effect, Effect::Pushed { up_to_date: true }) => {
                "nothing to take back".to_owned()
            }
            Self::Push { .. } => match before.live_release {
                Some(version) => {
                    format!("runbook run rollback, or heroku releases:rollback v{version} --app {app}")
                }
                None => "runbook run rollback".to_owned(),
            },
            Self::OneOff(_) | Self::Command { .. } => {
                "what the program changed is known to it alone".to_owned()
            }
        }
    }
}

/// The first eight digits of a commit, as people say it.
pub fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// A text as JSON has it.
fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A word for a shell, as a person would paste it.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,:@%+=".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let shown = crate::source::escape_controls(text);
    if shown == text {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        format!("$'{}'", shown.replace('\'', r"\'"))
    }
}

/// The lines that were edited, as they are numbered now.
fn lines_of(hunks: &[Hunk]) -> String {
    let mut lines: Vec<usize> = hunks.iter().map(|hunk| hunk.now_line).collect();
    lines.dedup();
    let more = lines.len().saturating_sub(12);
    lines.truncate(12);
    let words: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("line{} {}{more}", if words.len() == 1 { "" } else { "s" }, words.join(", "))
}

/// Words for a shell, in a row.
fn words(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn names_are_shown_as_a_shell_takes_them() {
        for (name, shown) in [
            ("LocalSettings.php", "LocalSettings.php"),
            ("it's here.php", r"'it'\''s here.php'"),
            ("a\nb", r"$'a\x0ab'"),
            ("größe.php", "größe.php"),
            ("", "''"),
        ] {
            assert_eq!(quoted(name), shown);
        }
    }
}
