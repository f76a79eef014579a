//! The incidents that can be rehearsed: how pages use the database, how many visitors come, and when it has begun.

use std::collections::BTreeMap;
use std::time::Duration;

use super::repository::Fix;

/// An incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// Every page leaves connections open: full within seconds, full again within seconds after each kill. A login
    /// gets in now and then, when a PHP process has had its share of pages and is replaced.
    Leak,
    /// Few pages leave one open: after a restart it takes minutes to fill again. No login gets in.
    SlowLeak,
    /// More slow pages than the database can hold; nothing leaks.
    Load,
    /// Pages open and close connections by the dozen.
    Churn,
    /// A change of a table waits for a forgotten transaction, and every page waits behind it.
    #[value(alias = "lock")]
    LockPileUp,
    /// A healthy wiki and some visitors: no incident.
    Quiet,
    /// As a leak, and no login gets in at all: every slot is held by a session that nobody ends.
    Full,
}

/// What visitors and pages do in a scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habits {
    /// PHP processes of a dyno (`WEB_CONCURRENCY`).
    pub workers: u32,
    /// Pages after which a PHP process is replaced, on average (0 = never). What it had open ends with it.
    pub recycle: u32,
    /// Visitors are logged in: no page comes from a cache.
    pub logged_in: bool,
    /// Connections beside its own that a page opens.
    pub links: f64,
    /// What a page's query takes.
    pub slow: Duration,
    /// Connections that a page opens, and closes at its end.
    pub churn: u32,
    /// Pages a second until the incident has begun.
    pub fill_rate: f64,
    /// Pages a second then.
    pub rate: f64,
}

impl Scenario {
    /// Its habits, for a database that takes `limit` connections and this many web dynos.
    pub fn habits(self, limit: u32, dynos: u32) -> Habits {
        let leak = Habits {
            workers: 40,
            recycle: 0,
            logged_in: false,
            links: 1.0,
            slow: Duration::ZERO,
            churn: 0,
            fill_rate: 40.0,
            rate: 25.0,
        };
        let busy = Habits { links: 0.0, logged_in: true, ..leak };
        // So many processes a dyno that together they may hold this share of the limit, percent.
        let share = |percent: u32| (limit * percent).div_ceil(100 * dynos.max(1));
        match self {
            Self::Leak => Habits { recycle: 12, ..leak },
            Self::Full => leak,
            Self::SlowLeak => Habits { workers: 10, links: 0.2, fill_rate: 80.0, rate: 4.0, ..leak },
            Self::Load => {
                let rate = 0.6 * f64::from(limit);
                let slow = Duration::from_secs(2);
                Habits { workers: share(115), slow, fill_rate: rate, rate, ..busy }
            }
            Self::Quiet => Habits { links: 0.0, fill_rate: 10.0, rate: 10.0, ..leak },
            Self::Churn => {
                let slow = Duration::from_millis(50);
                Habits { churn: 20, slow, fill_rate: 30.0, rate: 30.0, ..busy }
            }
            // Every process waits, and some slots are left: what is wrong can be seen from inside.
            Self::LockPileUp => Habits { workers: share(88), fill_rate: 60.0, rate: 30.0, ..busy },
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
            ("WIKI_LOGGED_IN".to_owned(), u8::from(self.logged_in).to_string()),
            ("WIKI_RECYCLE".to_owned(), self.recycle.to_string()),
            ("WIKI_GRACE_MS".to_owned(), grace.as_millis().to_string()),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_leaves_slots_and_the_load_wants_more_than_there_are() {
        for (limit, dynos) in [(150, 2), (20, 1), (1000, 3)] {
            let held = |scenario: Scenario| scenario.habits(limit, dynos).workers * dynos;
            assert!(held(Scenario::Load) > limit);
            let locked = held(Scenario::LockPileUp);
            assert!(locked < limit && locked * 5 >= limit * 4, "{locked} of {limit}");
        }
    }
}
