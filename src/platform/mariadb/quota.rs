//! What the account may do in an hour (`MAX_QUERIES_PER_HOUR`, `MAX_CONNECTIONS_PER_HOUR`), and how slowly a run goes
//! so that it stays within its half: the other half is the site's, which uses the same account.
//!
//! The server does not say how much of the hour's allowance the site has used, so only our own use is counted. A
//! refused login counts at the server as well. Nothing here holds up a change.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::health::Moment;

/// The allowance is given for so long.
const HOUR: Duration = Duration::from_secs(3600);
/// The longest pause between two samples or logins while something of our half is left: a gate of a minute still sees
/// enough of them.
const LONG: Duration = Duration::from_secs(10);
/// The pause when nothing is.
const LONGEST: Duration = Duration::from_secs(30);

/// What the grants say of an account: statements and logins an hour; 0 = no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_QUERIES_PER_HOUR`. A server-side block counts as one, a ping as none.
    pub statements: u64,
    /// `MAX_CONNECTIONS_PER_HOUR`.
    pub logins: u64,
}

impl Limits {
    /// Reads the first line of `SHOW GRANTS`. Its other contents, the password's hash among them, are not kept.
    pub fn read(grant: &str) -> Self {
        // A quote after it would make it part of a name.
        let tail =
            grant.rsplit_once(" WITH ").map(|(_, tail)| tail).filter(|tail| !tail.contains(['`', '\'']));
        let words: Vec<&str> = tail.unwrap_or_default().split_ascii_whitespace().collect();
        let of = |name: &str| {
            let figure = words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
            figure.and_then(|figure| figure.parse().ok()).unwrap_or(0)
        };
        Self { statements: of("MAX_QUERIES_PER_HOUR"), logins: of("MAX_CONNECTIONS_PER_HOUR") }
    }
}

/// One allowance of the hour.
#[derive(Debug, Default)]
struct Allowance {
    limit: u64,
    used: u64,
    began: Option<Moment>,
    /// The server has refused more.
    spent: bool,
    told: bool,
}

impl Allowance {
    fn spend(&mut self, now: Moment, number: u64) {
        let began = *self.began.get_or_insert(now);
        if now.since(began) >= HOUR {
            (self.began, self.used, self.spent) = (Some(now), 0, false);
        }
        self.used += number;
    }

    /// Our half of it.
    const fn ours(&self) -> u64 {
        self.limit / 2
    }

    /// The least time between two uses: none until half of our half is used, then what is left of it is spread over
    /// what is left of the hour.
    fn pause(&self, now: Moment) -> Duration {
        let gone = self.began.map_or(Duration::ZERO, |began| now.since(began));
        if gone >= HOUR || (!self.spent && (self.limit == 0 || self.used < self.ours() / 2)) {
            return Duration::ZERO;
        }
        let left = if self.spent { 0 } else { self.ours().saturating_sub(self.used) };
        let Some(left) = u32::try_from(left).ok().filter(|left| *left > 0) else {
            return LONGEST;
        };
        (HOUR.saturating_sub(gone) / left).min(LONG)
    }

    /// Whether our half is used up.
    const fn is_over(&self) -> bool {
        self.spent || (self.limit > 0 && self.used >= self.ours())
    }

    /// What is left to the account at most, in words.
    fn left(&self) -> String {
        if self.spent {
            "none are left".to_owned()
        } else {
            format!("{} are left at most", self.limit.saturating_sub(self.used))
        }
    }
}

/// Both allowances of an account, as far as they are known.
#[derive(Debug, Default)]
pub struct Quota(Mutex<(Allowance, Allowance)>);

impl Quota {
    fn with<T>(&self, act: impl FnOnce(&mut Allowance, &mut Allowance) -> T) -> T {
        let (statements, logins) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(statements, logins)
    }

    /// Takes what the grants say.
    pub fn learn(&self, limits: Limits) {
        self.with(|statements, logins| (statements.limit, logins.limit) = (limits.statements, limits.logins));
    }

    /// So many statements are put.
    pub fn statements(&self, now: Moment, number: u64) {
        self.with(|statements, _| statements.spend(now, number));
    }

    /// A login is tried.
    pub fn login(&self, now: Moment) {
        self.with(|_, logins| logins.spend(now, 1));
    }

    /// The server has refused a statement for the hour's allowance.
    pub fn statements_are_spent(&self) {
        self.with(|statements, _| statements.spent = true);
    }

    /// The server has refused a login for the hour's allowance. Gives what is to be said of it, once.
    pub fn logins_are_spent(&self, now: Moment) -> Option<String> {
        self.with(|_, logins| {
            logins.began.get_or_insert(now);
            logins.spent = true;
        });
        self.knock(now, false).1
    }

    /// The time between two samples where `wanted` is wished, and what is to be said of it, once.
    pub fn interval(&self, now: Moment, wanted: Duration) -> (Duration, Option<String>) {
        self.with(|statements, _| {
            let pause = statements.pause(now).max(wanted);
let tell = pause > wanted && !std::mem::replace(&mut statements.told, true);
            let said = tell.then(|| {
                format!(
                    "the database account may put {} statements an hour, the site's included; {} were this run's, {}. \
                     A sample is taken every {:.1} s from now on; changes are not held back",
                    known(statements.limit),
                    statements.used,
                    statements.left(),
                    pause.as_secs_f64()
                )
            });
            (pause, said)
        })
    }

    /// The least time before the next login after one that was refused, and what is to be said of it, once. Somebody
    /// who `waits` for a slot to make a change is held up only when our half is used up: more would lock the site out.
    pub fn knock(&self, now: Moment, waits: bool) -> (Duration, Option<String>) {
        self.with(|_, logins| {
            let pause = if waits && !logins.is_over() { Duration::ZERO } else { logins.pause(now) };
            let tell = !pause.is_zero() && !std::mem::replace(&mut logins.told, true);
            let said = tell.then(|| {
                format!(
                    "the database account may log in {} times an hour, the site and refused logins included; {} tries \
                     were this run's, {}. The next ones are {:.1} s apart",
                    known(logins.limit),
                    logins.used,
                    logins.left(),
                    pause.as_secs_f64()
                )
            });
            (pause, said)
        })
    }
}

fn known(limit: u64) -> String {
    if limit == 0 { "only so many".to_owned() } else { limit.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_grants_are_read_whatever_the_account_is_called() {
        let read = |tail: &str| {
            Limits::read(&format!("GRANT USAGE ON *.* TO `app`@`%` IDENTIFIED BY PASSWORD '*5C60'{tail}"))
        };
        let limits = |statements, logins| Limits { statements, logins };
        assert_eq!(read(" WITH MAX_QUERIES_PER_HOUR 3600 MAX_UPDATES_PER_HOUR 7"), limits(3600, 0));
        assert_eq!(
            read(
                " WITH GRANT OPTION MAX_QUERIES_PER_HOUR 20 MAX_CONNECTIONS_PER_HOUR 8 MAX_USER_CONNECTIONS 5"
            ),
            limits(20, 8)
        );
        assert_eq!(read(""), limits(0, 0));
        assert_eq!(read(" WITH MAX_QUERIES_PER_HOUR"), limits(0, 0));
        assert_eq!(Limits::read("GRANT USAGE ON *.* TO `x WITH MAX_QUERIES_PER_HOUR 5 `@`%`"), limits(0, 0));
    }

    /// Samples an hour long, one statement each; gives their number and the longest pause.
    fn sampled(limit: u64) -> (u64, Duration) {
        let quota = Quota::default();
        quota.learn(Limits { statements: limit, logins: 0 });
        let (mut now, mut number, mut longest) = (Moment(0), 0, Duration::ZERO);
        while now < Moment(3_600_000) {
            quota.statements(now, 1);
            number += 1;
            let (pause, _) = quota.interval(now, SECOND);
            longest = longest.max(pause);
            now = now.plus(pause);
        }
        (number, longest)
    }

    #[test]
    fn a_run_stays_within_its_half_of_the_hour() {
        assert_eq!(sampled(0), (3600, SECOND), "without a limit");
        assert_eq!(sampled(20_000), (3600, SECOND), "far from it");
        let (number, longest) = sampled(3600);
        assert!((1700..=1800).contains(&number) && longest < 4 * SECOND, "{number} {longest:?}");
        let (number, longest) = sampled(1400);
        assert!((680..=700).contains(&number) && longest < LONG, "{number} {longest:?}");
        // Where that would blind a run its half is soon used up; then it looks twice a minute.
        let (number, longest) = sampled(50);
        assert!(number < 150 && longest == LONGEST, "{number}");
    }

    #[test]
    fn it_is_said_once_with_what_is_left_and_a_new_hour_is_a_new_allowance() {
        let quota = Quota::default();
        quota.learn(Limits { statements: 3600, logins: 0 });
        quota.statements(Moment(0), 899);
        assert_eq!(quota.interval(Moment(900_000), SECOND), (SECOND, None));
        quota.statements(Moment(900_000), 1);
        let (pause, said) = quota.interval(Moment(900_000), SECOND);
        assert_eq!(pause, 3 * SECOND);
        let said = said.unwrap();
        assert!(said.contains("3600 statements an hour") && said.contains("2700 are left at most"), "{said}");
        assert!(said.contains("every 3.0 s") && said.contains("not held back"), "{said}");
        assert_eq!(quota.interval(Moment(901_000), SECOND).1, None);
        assert_eq!(quota.interval(Moment(3_600_000), SECOND).0, SECOND);
        quota.statements(Moment(3_600_000), 1);
        assert_eq!(quota.interval(Moment(3_601_000), SECOND).0, SECOND);
        // What the server refuses is spent, whatever was counted, also where the limit is not known.
        let quota = Quota::default();
        quota.statements(Moment(0), 1);
        quota.statements_are_spent();
        let (pause, said) = quota.interval(Moment(0), SECOND);
        assert_eq!(pause, LONGEST);
        assert!(said.unwrap().contains("none are left"));
    }

    #[test]
    fn logins_are_spared_and_a_change_waits_only_when_our_half_is_used_up() {
        let quota = Quota::default();
        quota.learn(Limits { statements: 0, logins: 100 });
        let tries = |number: u64| (0..number).for_each(|_| quota.login(Moment(0)));
        tries(24);
        assert_eq!(quota.knock(Moment(0), false), (Duration::ZERO, None));
        tries(1);
        assert_eq!(quota.knock(Moment(0), true), (Duration::ZERO, None), "a change is not held up");
        let (pause, said) = quota.knock(Moment(0), false);
        assert_eq!(pause, LONG);
        assert!(said.unwrap().contains("75 are left at most"));
        tries(25);
        assert_eq!(quota.knock(Moment(0), true), (LONGEST, None), "more would lock the site out");
    }
}
