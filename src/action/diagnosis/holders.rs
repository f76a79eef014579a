//! Who holds the slots: by client address, as far as the server tells; whether one dyno stands out; what dynos that are
//! gone have left; and whether it looks like persistent connections. Pure.
//!
//! Heroku does not tell the address of a dyno, so an address is never called by a dyno's name.

use std::collections::BTreeMap;

use serde::Serialize;

use super::judge::median;
use crate::platform::DatabaseSession;

/// Commands of sessions that are no clients.
const SERVANTS: [&str; 4] = ["Daemon", "Binlog Dump", "Slave_IO", "Slave_SQL"];
/// A sleeper younger than this may be a page between two queries, in seconds.
const LEFT: f64 = 1.0;
/// A sleeper older than this is none of a page's, in seconds.
const OLD: f64 = 60.0;
/// Clocks of the server and the platform may differ by this, in seconds.
const CLOCKS: f64 = 5.0;

/// The sessions that come from one address.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Address {
    /// As the server names it, without port.
    pub(crate) host: String,
    /// Its sessions.
    pub(crate) sessions: u64,
    /// Of them asleep for a second or more.
    pub(crate) asleep: u64,
    /// Age of the oldest sleeper, in seconds.
    pub(crate) oldest_s: f64,
}

/// Who holds the slots.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Holders {
    /// By address, the one with most sleepers first.
    pub(crate) addresses: Vec<Address>,
    /// What the addresses say beside the dynos, each a sentence.
    pub(crate) attribution: Vec<String>,
    /// Sleepers older than every dyno that runs: left by dynos that are gone.
    pub(crate) orphans: u64,
    /// Sleepers of a minute or more: what ending idle sessions would free.
    pub(crate) idle: u64,
    /// How many a second were left asleep, at least: sleepers by the age of the oldest.
    pub(crate) left_per_s: Option<f64>,
    /// It looks like persistent connections: as many sleepers as processes, old, hardly any new ones.
    pub(crate) persistent: Option<String>,
}

/// What is known beside the sessions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beside {
    /// Our own connection.
    pub(super) own: Option<u64>,
    /// Dynos that run.
    pub(super) dynos: u64,
    /// Age of the oldest of them, in seconds.
    pub(super) oldest_dyno_s: Option<f64>,
    /// PHP processes of a dyno.
    pub(super) processes: Option<u64>,
    /// New sessions a second.
    pub(super) new_per_s: f64,
}

/// Reads them off the list of sessions.
pub(super) fn holders(sessions: &[DatabaseSession], beside: &Beside) -> Holders {
    let clients: Vec<&DatabaseSession> = sessions
        .iter()
        .filter(|session| Some(session.id) != beside.own && !SERVANTS.contains(&session.command.as_str()))
        .collect();
    let ages: Vec<f64> = clients.iter().filter_map(|session| left_asleep(session)).collect();
    let mut addresses = addresses(&clients);
    addresses
        .sort_by(|a, b| b.asleep.cmp(&a.asleep).then(b.sessions.cmp(&a.sessions)).then(a.host.cmp(&b.host)));
    let oldest = ages.iter().copied().fold(0.0, f64::max);
    let older = |than: f64| ages.iter().filter(|age| **age >= than).count() as u64;
    let orphans = beside.oldest_dyno_s.map_or(0, |dyno| older(dyno + CLOCKS));
    Holders {
        attribution: attribution(&addresses, ages.len() as u64, orphans, beside),
        orphans,
        idle: older(OLD),
        left_per_s: (ages.len() >= 5 && oldest > 0.0).then(|| ages.len() as f64 / oldest),
        persistent: persistent(&ages, beside),
        addresses,
    }
}

/// How long a session has been left asleep, in seconds; `None` = it is at work, or between two queries.
pub(super) fn left_asleep(session: &DatabaseSession) -> Option<f64> {
    let age = session.time_ms / 1000.0;
    (session.command == "Sleep" && age >= LEFT).then_some(age)
}

fn addresses(clients: &[&DatabaseSession]) -> Vec<Address> {
    let mut by_host: BTreeMap<&str, Address> = BTreeMap::new();
    for session in clients {
        let row = by_host.entry(&session.host).or_insert_with(|| Address {
            host: session.host.clone(),
            sessions: 0,
            asleep: 0,
            oldest_s: 0.0,
        });
        row.sessions += 1;
        if let Some(age) = left_asleep(session) {
            row.asleep += 1;
            row.oldest_s = row.oldest_s.max(age);
        }
    }
    by_host.into_values().collect()
}

fn attribution(addresses: &[Address], asleep: u64, orphans: u64, beside: &Beside) -> Vec<String> {
    let mut told = Vec::new();
    let dynos = beside.dynos;
    let (first, count) = (addresses.first(), addresses.len() as u64);
    if let Some(first) = first.filter(|_| asleep >= 10) {
        let share = first.asleep as f64 / asleep as f64;
        if count == 1 {
            if dynos > 1 {
                told.push(format!(
                    "all come from {}: {dynos} dynos behind one address, which of them leaks cannot be told",
                    first.host
                ));
            }
        } else if share >= 0.6 && share * count as f64 >= 1.5 {
            told.push(format!(
                "{} holds {:.0} % of the sleepers, {} other addresses the rest: one dyno leaks more than the others{}",
                first.host,
                100.0 * share,
                count - 1,
                if dynos > count { ", or several share that address" } else { "" }
            ));
        } else {
            told.push(format!(
                "the sleepers come from {count} addresses about evenly: every dyno leaves them"
            ));
        }
        if dynos > 0 && count > dynos {
            told.push(format!(
                "{count} addresses for {dynos} dynos: one-off dynos, other apps or people connect too, or dynos that are gone"
            ));
        }
    }
    if orphans > 0 {
        told.push(format!(
            "{orphans} sleepers are older than every dyno that runs: dynos that are gone have left them, another restart does not end them, ending idle sessions does"
        ));
    }
    told
}

/// As many sleepers as PHP processes, old, and hardly any new sessions.
fn persistent(ages: &[f64], beside: &Beside) -> Option<String> {
    let processes = beside.processes? * beside.dynos;
    let asleep = ages.len() as f64;
    let near = processes > 0 && (0.7..=1.2).contains(&(asleep / processes as f64));
    let old = median(ages.iter().copied());
    (near && asleep >= 5.0 && old >= 30.0 && beside.new_per_s <= 0.02 * asleep).then(|| {
        format!(
            "{asleep:.0} sleepers for {processes} PHP processes, half of them older than {old:.0} s, {:.2} new sessions a second: persistent connections look like that (`DBO_PERSISTENT` in `$wgDBservers`, `mysqli.allow_persistent`), one a process, used or not",
            beside.new_per_s
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn session(id: u64, host: &str, command: &str, seconds: f64) -> DatabaseSession {
        DatabaseSession {
            id,
            user: "wiki".into(),
            host: host.into(),
            db: Some("wiki".into()),
            command: command.into(),
            time_ms: seconds * 1000.0,
            state: String::new(),
            digest: String::new(),
        }
    }

    fn asleep(hosts: &[(&str, u64)]) -> Vec<DatabaseSession> {
        let each = hosts.iter().flat_map(|(host, count)| (0..*count).map(move |number| (host, number)));
        each.map(|(host, number)| session(number + 10, host, "Sleep", 2.0 + number as f64)).collect()
    }

    const TWO: Beside =
        Beside { own: Some(1), dynos: 2, oldest_dyno_s: Some(600.0), processes: None, new_per_s: 3.0 };

    #[test]
    fn one_address_that_stands_out_is_one_dyno() {
        let told = holders(&asleep(&[("10.0.0.1", 90), ("10.0.0.2", 10)]), &TWO);
        assert_eq!((told.addresses[0].host.as_str(), told.addresses[0].asleep), ("10.0.0.1", 90));
        assert!(told.attribution[0].starts_with("10.0.0.1 holds 90 % of the sleepers"), "{told:?}");
        let even = holders(&asleep(&[("10.0.0.1", 52), ("10.0.0.2", 48)]), &TWO);
        assert!(even.attribution[0].contains("about evenly"), "{even:?}");
        let nat = holders(&asleep(&[("10.0.0.1", 90)]), &TWO);
        assert!(nat.attribution[0].contains("2 dynos behind one address"), "{nat:?}");
        let more = holders(&asleep(&[("a", 40), ("b", 40), ("c", 40)]), &TWO);
        assert!(more.attribution[1].contains("3 addresses for 2 dynos"), "{more:?}");
        assert!(holders(&asleep(&[("a", 3)]), &TWO).attribution.is_empty(), "three are no sign");
    }

    #[test]
    fn what_dynos_that_are_gone_have_left_is_told_apart() {
        let mut sessions = asleep(&[("a", 20)]);
        sessions.extend((0..7).map(|number| session(100 + number, "b", "Sleep", 900.0)));
        let told = holders(&sessions, &TWO);
        assert_eq!((told.orphans, told.idle), (7, 7));
        assert!(told.attribution.last().unwrap().starts_with("7 sleepers are older"), "{told:?}");
        let unknown = Beside { oldest_dyno_s: None, ..TWO };
        assert_eq!(holders(&sessions, &unknown).orphans, 0);
    }

    #[test]
    fn ourselves_servants_and_pages_between_two_queries_hold_nothing() {
        let mut sessions = vec![session(1, "me", "Sleep", 90.0), session(2, "x", "Daemon", 9999.0)];
        sessions.push(session(3, "a", "Sleep", 0.2));
        sessions.push(session(4, "a", "Query", 4.0));
        let told = holders(&sessions, &TWO);
        assert_eq!(told.addresses.len(), 1, "{told:?}");
        assert_eq!((told.addresses[0].sessions, told.addresses[0].asleep, told.left_per_s), (2, 0, None));
    }

    #[test]
    fn as_many_old_sleepers_as_processes_are_persistent_connections() {
        let still = Beside { processes: Some(10), new_per_s: 0.0, ..TWO };
        let old = |count| (0..count).map(|n| session(n + 10, "a", "Sleep", 100.0)).collect::<Vec<_>>();
        assert!(
            holders(&old(20), &still).persistent.unwrap().starts_with("20 sleepers for 20 PHP processes")
        );
        assert_eq!(holders(&old(60), &still).persistent, None, "three a process are a leak");
        assert_eq!(
            holders(&old(20), &Beside { new_per_s: 3.0, ..still }).persistent,
            None,
            "they come and go"
        );
        assert_eq!(holders(&old(20), &TWO).persistent, None, "how many processes there are is not known");
    }
}
