//! The incidents that can be rehearsed: how pages use the database, how many visitors come, and when it has begun.

use std::collections::BTreeMap;
use std::time::Duration;

use super::repository::Fix;

/// An incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Every page leaves connections open: full within seconds, full again within seconds after each kill.
    Leak,
    /// Few pages leave one open: after a kill it takes more than a minute to fill again.
    SlowLeak,
    /// More slow pages than the database can hold; nothing leaks.
    Load,
    /// Pages open and close connections by the dozen.
    Churn,
    /// A forgotten transaction holds a row; pages that write it pile up.
    #[value(alias = "lock")]
    LockPileUp,
    /// A healthy wiki and some visitors: no incident.
    Quiet,
    /// As a leak, and every login has been refused for a while when the lab is ready.
    Full,
}

/// What visitors and pages do in a scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habits {
    /// PHP processes of a dyno (`WEB_CONCURRENCY`).
    pub workers: u32,
    /// Connections beside its own that a page opens.
    pub links: f64,
    /// What a page's query takes.
    pub slow: Duration,
    /// Connections that a page opens and closes.
    pub churn: u32,
    /// Pages write one common row.
    pub writes: bool,
    /// Pages a second until the incident has begun.
    pub fill_rate: f64,
    /// Pages a second then.
    pub rate: f64,
}

impl Scenario {
    /// Its habits.
    pub fn habits(self) -> Habits {
        let leak = Habits {
            workers: 40,
            links: 1.0,
            slow: Duration::ZERO,
            churn: 0,
            writes: false,
            fill_rate: 40.0,
            rate: 25.0,
        };
        match self {
            Self::Leak | Self::Full => leak,
            Self::SlowLeak => Habits { workers: 10, links: 0.2, fill_rate: 80.0, rate: 4.0, ..leak },
            Self::Load => Habits {
                workers: 90,
                links: 0.0,
                slow: Duration::from_secs(8),
                fill_rate: 80.0,
                rate: 80.0,
                ..leak
            },
            Self::Quiet => Habits { links: 0.0, fill_rate: 10.0, rate: 10.0, ..leak },
            Self::Churn => Habits { links: 0.0, churn: 30, fill_rate: 60.0, rate: 60.0, ..leak },
            Self::LockPileUp => {
                Habits { workers: 90, links: 0.0, writes: true, fill_rate: 120.0, rate: 60.0, ..leak }
            }
        }
    }

    /// What is live and what waits when the person said nothing: leaks wait for the fix, the others have it.
    pub fn fix(self) -> Fix {
        match self {
            Self::Leak | Self::SlowLeak | Self::Full => Fix::Prepared,
            Self::Load | Self::Churn | Self::LockPileUp | Self::Quiet => Fix::Deployed,
        }
    }

    /// Usage from which on the incident is there, of the limit.
    pub fn begins_at(self) -> f64 {
        match self {
            Self::Full => 1.0,
            Self::Leak | Self::SlowLeak => 0.95,
            Self::Load | Self::LockPileUp => 0.8,
            Self::Churn | Self::Quiet => 0.0,
        }
    }
}

impl Habits {
    /// As environment of the dynos.
    pub fn environment(&self, grace: Duration) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("WIKI_LINKS".to_owned(), self.links.to_string()),
            ("WIKI_SLOW_MS".to_owned(), self.slow.as_millis().to_string()),
            ("WIKI_CHURN".to_owned(), self.churn.to_string()),
            ("WIKI_WRITES".to_owned(), u8::from(self.writes).to_string()),
            ("WIKI_GRACE_MS".to_owned(), grace.as_millis().to_string()),
        ])
    }
}
