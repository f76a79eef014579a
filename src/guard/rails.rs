//! The rules, each with the place that it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Freeze;
use crate::action::KillLimits;
use crate::source::{Source, Span, escape_controls};

/// Where a rule stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as messages call it.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
}

impl Place {
    /// The place of `span` in `source`.
    pub fn of(source: &Source, span: Span) -> Self {
        let before = source.text.get(..span.start).unwrap_or_default();
        Self { file: source.name.to_string(), line: before.matches('\n').count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", escape_controls(&self.file), self.line)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Where it stands.
    pub place: Place,
    /// What it forbids.
    pub limit: Limit,
}

/// What a rule forbids, or demands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Limit {
    /// Every run that changes something.
    Off {
        /// Why.
        reason: String,
    },
    /// Killing a session of this database user.
    ProtectedUser {
        /// The user, without its host.
        user: String,
    },
    /// Changing this app in any way.
    ProtectedApp {
        /// Its name.
        app: String,
    },
    /// Scaling a process type down below this many dynos.
    MinimumDynos {
        /// The process type.
        kind: String,
        /// Least quantity.
        least: u64,
    },
    /// Killing more sessions in one run.
    KillsPerRun {
        /// At most.
        most: u64,
    },
    /// Killing more sessions within sixty seconds.
    KillsPerMinute {
        /// At most.
        most: u64,
    },
    /// Runs that change something, at these times.
    Freeze(Freeze),
    /// Runs of people, or of runbooks, that are not named.
    Allow {
        /// Local user, account e-mail or `*`, and the runbooks (or `*`) that they may run.
        who: BTreeMap<String, Vec<String>>,
    },
    /// A run that changes this app (or any, `*`) without a person typing the app's name.
    TypeTheName {
        /// The app.
        app: String,
    },
    /// A runbook (or any, `*`) again on the same app before this time has passed.
    CoolDown {
        /// The runbook.
        runbook: String,
        /// For so long, in milliseconds, after the last run of it that changed something has ended.
        time_ms: u64,
    },
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off { reason } => write!(f, "runs that change something are switched off: {reason}"),
            Self::ProtectedUser { user } => write!(f, "sessions of {user} are never killed"),
            Self::ProtectedApp { app } => write!(f, "the app {app} is never changed"),
            Self::MinimumDynos { kind, least } => write!(f, "{kind} never has fewer than {least} dynos"),
            Self::KillsPerRun { most } => write!(f, "at most {most} sessions are killed in a run"),
            Self::KillsPerMinute { most } => write!(f, "at most {most} sessions are killed within a minute"),
            Self::Freeze(freeze) => write!(f, "nothing is changed: {}", freeze.why),
            Self::Allow { .. } => f.write_str("only those who are named may run it"),
            Self::TypeTheName { app } => write!(f, "a person types the name of {app}"),
            Self::CoolDown { runbook, time_ms } => {
                let time = crate::expr::units::write_duration(Duration::from_millis(*time_ms).as_secs_f64());
                write!(f, "{runbook} rests for {time} after it has changed something")
            }
        }
    }
}

/// What a run acts on, as rules name it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The app: its name first, then whatever else it may be called (its uuid).
    pub names: Vec<String>,
    /// Other apps with the same database: a kill hits them too.
    pub shared_with: Vec<String>,
}

impl Subject {
    /// The app's name.
    pub(super) fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Whether a rule about `app` is about this one. Heroku's names have no case.
    pub(super) fn is(&self, app: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(app))
    }
}

/// Rules of any number of files. They only add up: each of them must be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guardrails {
    /// The files that they were read from, those that hold no rule among them.
    pub files: Vec<String>,
    /// The rules.
    pub rules: Vec<Rule>,
}

impl Guardrails {
    /// These and `others`: whatever either forbids is forbidden.
    #[must_use]
    pub fn joined(mut self, others: Self) -> Self {
        for file in others.files {
            if !self.files.contains(&file) {
                self.files.push(file);
            }
        }
        for rule in others.rules {
            if !self.rules.contains(&rule) {
                self.rules.push(rule);
            }
        }
        self
    }

    /// These, as they are after their files were read again: a file that was found again says what it says now, and the
    /// rules of one that was not (from another folder, say) stand as they were recorded.
    #[must_use]
    pub fn renewed(&self, fresh: Self) -> Self {
        let gone = |file: &String| !fresh.files.contains(file);
        let kept = Self {
            files: self.files.iter().filter(|file| gone(file)).cloned().collect(),
            rules: self.rules.iter().filter(|rule| gone(&rule.place.file)).cloned().collect(),
        };
        fresh.joined(kept)
    }

    /// Whether there is neither a rule nor a file.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.rules.is_empty()
    }

    /// Users whose sessions are never killed.
    pub(super) fn protected_users(&self) -> impl Iterator<Item = (&Place, &str)> {
        self.rules.iter().filter_map(|rule| match &rule.limit {
            Limit::ProtectedUser { user } => Some((&rule.place, user.as_str())),
            _ => None,
        })
    }

    /// The tightest of the bounds that `bound` picks.
    pub(super) fn tightest(&self, bound: impl Fn(&Limit) -> Option<u64>) -> Option<(&Place, u64)> {
        let bounds = self.rules.iter().filter_map(|rule| bound(&rule.limit).map(|most| (&rule.place, most)));
        bounds.min_by_key(|(_, most)| *most)
    }

    /// What they leave of every kill; given to the plan, so that whoever is protected is never chosen.
    pub fn kill_limits(&self) -> KillLimits {
        let mut protect: Vec<String> = Vec::new();
        for (_, user) in self.protected_users() {
            if !protect.iter().any(|known| known == user) {
                protect.push(user.to_owned());
            }
        }
        let most = self.tightest(|limit| match limit {
            Limit::KillsPerRun { most } | Limit::KillsPerMinute { most } => Some(*most),
            _ => None,
        });
        KillLimits { protect, at_most: most.map(|(_, most)| most) }
    }

    /// The longest time that must have passed since `runbook` last changed something on the same app.
    pub fn cool_down(&self, runbook: &str) -> Option<(&Place, Duration)> {
        let times = self.rules.iter().filter_map(|rule| match &rule.limit {
            Limit::CoolDown { runbook: named, time_ms } if named == "*" || named == runbook => {
                Some((&rule.place, Duration::from_millis(*time_ms)))
            }
            _ => None,
        });
        times.max_by_key(|(_, time)| *time)
    }

    /// Whether a rule protects apps: whoever judges by them needs to know which apps share the database.
    pub fn protects_apps(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.limit, Limit::ProtectedApp { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::{read, tests::rails};
    use super::*;

    #[test]
    fn rules_of_several_files_add_up_and_the_strictest_wins() {
        let far = rails("guardrails: 1\nprotected_users: [backup]\nkills: { per_run: 50 }\n");
        let near = rails("guardrails: 1\nprotected_users: [replica, backup]\nkills: { per_run: 500 }\n");
        let both = far.joined(near);
        let limits = both.kill_limits();
        assert_eq!(limits.protect, ["backup", "replica"]);
        assert_eq!(limits.at_most, Some(50), "a nearer file cannot loosen");
        assert_eq!(rails("guardrails: 1\n").kill_limits(), KillLimits::default());
    }

    #[test]
    fn the_longest_cool_down_counts() {
        let rails = rails("guardrails: 1\ncool_down: { '*': 5m, emergency: 15m }\n");
        let minutes = |name| rails.cool_down(name).map(|(place, time)| (place.line, time.as_secs() / 60));
        assert_eq!((minutes("emergency"), minutes("other")), (Some((2, 15)), Some((2, 5))));
    }

    #[test]
    fn rules_read_again_count_as_they_are_now_and_those_not_found_again_stay() {
        let text = |most: u64| format!("guardrails: 1\nkills: {{ per_run: {most} }}\n");
        let named = |name: &str, most| read(&Source::new(name, text(most))).unwrap();
        let recorded = named("a.yaml", 5).joined(named("b.yaml", 9));
        let most = |rails: Guardrails| rails.kill_limits().at_most;
        assert_eq!(most(recorded.renewed(named("a.yaml", 50))), Some(9), "a.yaml was loosened by the team");
        assert_eq!(most(recorded.renewed(Guardrails::default())), Some(5), "another folder loosens nothing");
        assert_eq!(recorded.renewed(named("a.yaml", 5).joined(named("b.yaml", 9))), recorded);
    }

    #[test]
    fn rules_survive_the_journal() {
        let rails = rails(
            "guardrails: 1\noff: a test\nallow: { '*': [a] }\nfreeze: [{ days: [fri], from: '16:00', zone: UTC, why: weekend }]\n",
        );
        let text = serde_json::to_string(&rails).unwrap();
        assert_eq!(serde_json::from_str::<Guardrails>(&text).unwrap(), rails, "{text}");
    }
}
