//! A diagnosis as sections of lines, for people.

use jiff::Timestamp;

use super::changed::{Kind, since};
use super::confidence::word;
use super::report::Report;
use super::verdict::Verdict;
use crate::health::show_seconds;

/// Addresses, statements and events that are listed.
const SHOWN: usize = 6;
/// Events are listed from the newest on, as many.
const EVENTS: usize = 8;

/// A section: what it is called, and its lines.
pub(crate) type Section = (&'static str, Vec<String>);

impl Report {
    /// `leak (confidence 96 %, high)`.
    pub(crate) fn headline(&self) -> String {
        match self.confidence {
            Some(sure) => {
                format!("{} (confidence {:.0} %, {})", self.verdict.name(), 100.0 * sure, word(sure))
            }
            None => self.verdict.name().to_owned(),
        }
    }

    /// What to do, what changed, and what it is drawn from.
    pub(crate) fn sections(&self, now: Timestamp) -> Vec<Section> {
        let sections = [
            ("why", vec![self.verdict.meaning().to_owned(), self.grounds.clone()]),
            ("do now", self.to_do()),
            ("what changed", self.story(now)),
            ("measured", self.measured.clone()),
            ("holders", self.who()),
            ("statements", self.running()),
            ("transactions", self.open()),
            ("traffic", self.used_for()),
            ("platform", self.platform.clone()),
            ("not known", self.notes.clone()),
        ];
        sections.into_iter().filter(|(_, lines)| !lines.is_empty()).collect()
    }

    fn to_do(&self) -> Vec<String> {
        if self.advice.is_empty() {
            return vec!["nothing".to_owned()];
        }
        let numbered = self.advice.iter().enumerate();
        numbered.map(|(index, advice)| format!("{}. {}: {}", index + 1, advice.what, advice.why)).collect()
    }

    fn story(&self, now: Timestamp) -> Vec<String> {
        let changes = &self.changes;
        if changes.began.is_none() && changes.events.is_empty() {
            return vec![changes.basis.clone()];
        }
        // The beginning is always among them.
        let from = changes.events.len().saturating_sub(EVENTS);
        let began = changes.events.iter().position(|event| event.kind == Kind::Began).unwrap_or(from);
        let mut lines: Vec<String> = changes
            .events
            .iter()
            .skip(from.min(began.saturating_sub(2)))
            .map(|event| {
                let mark = if event.kind == Kind::Began { "→ " } else { "" };
                format!("{} ({} ago) {mark}{}", when(event.at), ago(event.at, now), event.what)
            })
            .collect();
        if self.verdict == Verdict::Healthy {
            return lines;
        }
        if changes.began.is_none() {
            lines.push(changes.basis.clone());
        }
        lines.push(match &changes.suspect {
            Some(suspect) => format!(
                "suspect: {} (confidence {:.0} %, {}): {}",
                suspect.what,
                100.0 * suspect.confidence,
                word(suspect.confidence),
                suspect.why
            ),
            None => "suspect: none; nothing that is known lines up with it".to_owned(),
        });
        lines
    }

    fn who(&self) -> Vec<String> {
        let Some(holders) = &self.holders else { return Vec::new() };
        let mut lines: Vec<String> = holders
            .addresses
            .iter()
            .take(SHOWN)
            .map(|address| {
                let oldest = if address.asleep > 0 {
                    format!(", the oldest for {}", show_seconds(address.oldest_s.round()))
                } else {
                    String::new()
                };
                format!("{} × {}, {} asleep{oldest}", address.sessions, address.host, address.asleep)
            })
            .collect();
        if lines.is_empty() {
            lines.push("nobody but us".to_owned());
        }
        if holders.addresses.len() > SHOWN {
            lines.push(format!("and {} more addresses", holders.addresses.len() - SHOWN));
        }
        lines.extend(holders.attribution.iter().cloned());
        lines.extend(holders.persistent.clone());
        if let Some(ages) = self.sleeper_ages.filter(|ages| ages.iter().sum::<u64>() > 0) {
            lines.push(format!(
                "sleepers by age: {} below 1 s, {} below 10 s, {} below 60 s, {} below 5 min, {} below 30 min, {} older",
                ages[0], ages[1], ages[2], ages[3], ages[4], ages[5]
            ));
        }
        lines
    }

    fn running(&self) -> Vec<String> {
        self.statements
            .iter()
            .take(SHOWN)
            .map(|statement| {
                format!(
                    "{} × running, {:.1} s at most: {}",
                    statement.count,
                    statement.longest_ms / 1000.0,
                    statement.digest
                )
            })
            .collect()
    }

    fn open(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match (&self.transactions, &self.holders) {
            (None, Some(_)) => lines.push("open transactions are invisible to this account".to_owned()),
            (None, None) => {}
            (Some(open), _) if open.is_empty() => lines.push("none is open".to_owned()),
            (Some(open), _) => {
                lines.extend(open.iter().filter(|t| t.blocks > 0 && !t.waits).take(3).map(|root| {
                    format!(
                        "root blocker: session {} of {}{} blocks {}; `KILL {}` would free them, and loses what it has not committed: for a person to decide",
                        root.id,
                        root.user,
                        if root.sleeping { ", asleep," } else { "" },
                        root.blocks,
                        root.id
                    )
                }));
                lines.extend(open.iter().take(SHOWN).map(|transaction| {
                    let sleeping = if transaction.sleeping { ", asleep" } else { "" };
                    format!(
                        "of {} (session {}) open {} s{sleeping}, {} rows changed, blocks {}",
                        transaction.user,
                        transaction.id,
                        transaction.age_s,
                        transaction.rows_modified,
                        transaction.blocks
                    )
                }));
                if open.len() > SHOWN {
                    lines.push(format!("and {} more", open.len() - SHOWN));
                }
            }
        }
        lines
    }

    fn used_for(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(mix) = &self.mix {
            lines.push(format!("{:.0} % of {} statements are reads", 100.0 * mix.reads, mix.statements));
        }
        if let Some(traffic) = &self.traffic {
            lines.push(format!(
                "{} requests in the log, {:.1} a second, {:.0} % of them failed",
                traffic.requests,
                traffic.per_s,
                100.0 * traffic.failed
            ));
            for (what, top) in
                [("from one visitor", &traffic.top_visitor), ("for one path", &traffic.top_path)]
            {
                if let Some((name, share)) = top {
                    lines.push(format!("{:.0} % of the requests are {what}, {name}", 100.0 * share));
                }
            }
        }
        lines.extend(self.jobs.map(|jobs| format!("MediaWiki jobs waiting: {jobs}")));
        lines
    }
}

fn when(at: Timestamp) -> String {
    at.strftime("%m-%d %H:%M:%SZ").to_string()
}

fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = since(at, now).max(0.0);
    if seconds < 172_800.0 {
        show_seconds(seconds.round())
    } else {
        format!("{:.0} days", seconds / 86_400.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::gather::{Found, Inside};
    use super::*;
    use crate::health::{DatabaseReading, DatabaseSample, Moment, Reading, Sample};
    use crate::platform::{Census, DatabaseSession, Dyno, Formation, Release, ReleaseStatus};

    fn found() -> Found {
        let now: Timestamp = "2026-11-23T10:10:00Z".parse().unwrap();
        let sample = |number: u64| Sample {
            number,
            at: Moment(number * 1000),
            database: DatabaseReading::Measured(DatabaseSample {
                connected: 148,
                own: 148,
                visible: 148,
                server_limit: 150,
                sleeping: 147,
                sleeping_at_least: [147, 140, 90, 0],
                running: 1,
                uptime: 900_000 + number,
                ..DatabaseSample::default()
            }),
            dynos: Reading::Unknown(String::new()),
            pages: Reading::Unknown(String::new()),
            logs: Reading::not_asked(),
            jobs: Reading::not_asked(),
        };
        let session = |id| DatabaseSession {
            id,
            user: "wiki".into(),
            host: "10.0.0.7".into(),
            db: None,
            command: "Sleep".into(),
            time_ms: 4000.0 * id as f64,
            state: String::new(),
            digest: String::new(),
        };
        let release = Release {
            id: "r12".into(),
            version: 12,
            status: ReleaseStatus::Succeeded,
            current: true,
            eligible_for_rollback: true,
            description: "Deploy 60883d9e".into(),
            slug: None,
            user: "ops@example.com".into(),
            created_at: "2026-11-23T10:00:00Z".into(),
            output_stream_url: None,
        };
        let dyno = Dyno {
            id: "d".into(),
            name: "web.1".into(),
            kind: "web".into(),
            state: "up".into(),
            size: "Basic".into(),
            release: 12,
            created_at: "2026-11-23T10:00:05Z".into(),
            updated_at: "2026-11-23T10:00:15Z".into(),
            command: String::new(),
        };
        Found {
            now,
            window: (1..=12).map(sample).collect(),
            inside: Some(Inside {
                census: Census { sleeper_ages: [0, 2, 13, 60, 72, 0], ..Census::default() },
                sessions: (1..=147).map(session).collect(),
                counters: Vec::new(),
            }),
            dynos: vec![dyno],
            formation: vec![Formation {
                kind: "web".into(),
                quantity: 1,
                size: "Basic".into(),
                command: String::new(),
            }],
            releases: vec![release],
            ..Found::default()
        }
    }

    #[test]
    fn a_report_says_first_what_to_do_then_what_changed_then_what_it_rests_on() {
        let found = found();
        let report = Report::of(&found);
        assert!(report.headline().starts_with("leak (confidence 9"), "{}", report.headline());
        assert_eq!(report.recommends(), "deploy-fix");
        let sections = report.sections(found.now);
        let names: Vec<_> = sections.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            ["why", "do now", "what changed", "measured", "holders", "transactions", "platform"]
        );
        assert!(sections[1].1[0].starts_with("1. `runbook run deploy-fix`"), "{sections:?}");
        let story = &sections[2].1;
        assert_eq!(story[0], "11-23 10:00:00Z (10m ago) v12 Deploy 60883d9e by ops@example.com");
        assert!(story.iter().any(|line| line.contains("→ the oldest of 147")), "{story:?}");
        assert!(story.last().unwrap().starts_with("suspect: v12 Deploy 60883d9e"), "{story:?}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["verdict"], &json["advice"][0]["runbook"]), (&"leak".into(), &"deploy-fix".into()));
        assert_eq!(json["changes"]["suspect"]["kind"], "deploy");
        assert_eq!(json["figures"]["limit"], 150.0);
    }

    #[test]
    fn without_a_way_in_it_is_the_platforms_side() {
        let mut found = Found { inside: None, ..found() };
        for sample in &mut found.window {
            sample.database = DatabaseReading::Refused { code: 1040, attempts: 3 };
        }
        let report = Report::of(&found);
        assert_eq!((report.verdict, report.recommends()), (Verdict::Full, "emergency"));
        assert_eq!(report.confidence, Some(1.0));
        let sections = report.sections(found.now);
        assert!(!sections.iter().any(|(name, _)| *name == "holders"), "{sections:?}");
    }
}
