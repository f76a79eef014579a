//! What an account may do in an hour: statements and logins at a real MariaDB server. A run slows down before the limit
//! is reached, says so once, and holds back no change.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and has its own door to the server it started"
)]

#[path = "support/mariadb.rs"]
mod mariadb;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mariadb::{Server, Wire, until};
use runbook::health::{DatabaseFaultKind, DatabaseReading};
use runbook::platform::mariadb::{Database, DatabaseOptions, DatabaseUrl};
use runbook::platform::{DatabaseReads, FaultKind, KillRule, SystemClock};

const SECOND: Duration = Duration::from_secs(1);

type Said = Arc<Mutex<Vec<String>>>;

fn database(url: &str) -> (Arc<Database>, Said) {
    let url = DatabaseUrl::parse(url).expect("a URL");
    let mut options = DatabaseOptions::new(url, "wizzypedia", Arc::new(SystemClock::start()));
    let said = Said::default();
    let listener = Arc::clone(&said);
    options.notice = Arc::new(move |text| listener.lock().expect("a list").push(text.to_owned()));
    (Database::start(options).expect("a thread"), said)
}

fn limit(server: &Server, limits: &str) {
    server.order(&format!("ALTER USER app@'%' WITH {limits}"));
    server.order("FLUSH USER_RESOURCES");
}

#[test]
fn samples_come_less_often_before_the_hours_statements_are_used_up_and_it_is_said_once() {
    let server = Server::start(20, &["--skip-ssl"]);
    limit(&server, "MAX_QUERIES_PER_HOUR 100");
    for refused in [&[][..], &["BEGIN NOT ATOMIC"][..]] {
        server.order("FLUSH USER_RESOURCES");
        let wire = Wire { refused, ..Wire::default() };
        let (database, said) = database(&Server::url_at("app", wire.before(server.port)));
        let measured = || matches!(database.sample(), DatabaseReading::Measured(_));
        assert!(measured());
        assert_eq!(database.interval(SECOND), SECOND);
        let (mut samples, mut slowed) = (1, None);
        while measured() {
            samples += 1;
            assert!(samples <= 100, "the server counts");
            if database.interval(SECOND) > SECOND {
                slowed.get_or_insert(samples);
            }
        }
        println!("{samples} samples of 100 statements, slower from number {slowed:?}");
        assert!(slowed.is_some_and(|at| (10..=26).contains(&at)), "at a quarter of the limit: {slowed:?}");
        // The first came with the opening.
        assert!((85..=99).contains(&samples), "{samples}");
        match database.sample() {
            DatabaseReading::Failed(fault) => assert_eq!(fault.kind, DatabaseFaultKind::Quota, "{fault:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(database.interval(SECOND), Duration::from_secs(30));
        let said = said.lock().expect("a list");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("100 statements an hour, the site's included"), "{said:?}");
        assert!(said[0].contains("are left at most") && said[0].contains("not held back"), "{said:?}");
        assert_eq!(database.census().expect_err("refused").kind, FaultKind::Limited);
    }
}

#[test]
fn an_account_without_limits_is_not_slowed_and_its_hash_is_kept_nowhere() {
    let server = Server::start(20, &["--skip-ssl"]);
    let (free, said) = database(&server.url("app"));
    for _ in 0..200 {
        free.sample();
    }
    assert_eq!(free.interval(SECOND), SECOND);
    assert!(said.lock().expect("a list").is_empty());
    // The answer holds the hash of the password.
    assert!(server.log().contains("SHOW GRANTS"));
    assert!(!format!("{:?}", free.facts()).contains('*'));
}

#[test]
fn while_full_a_limit_of_logins_is_not_used_up_and_the_sites_half_of_it_stays() {
    let server = Server::start(20, &["--skip-ssl"]);
    limit(&server, "MAX_CONNECTIONS_PER_HOUR 40");
    let (database, said) = database(&server.url("app"));
    assert!(matches!(database.sample(), DatabaseReading::Measured(_)));
    // The connection is lost while everybody else's are there.
    let held = server.sessions("monitor", 19);
    let own = database.facts().expect("facts").connection_id;
    server.order(&format!("KILL {own}"));
    let more = {
        let mut more = None;
        until("another has the slot", || {
            more = server.try_session("monitor").ok();
            more.is_some()
        });
        more
    };
    until("it is refused", || matches!(database.sample(), DatabaseReading::Refused { code: 1040, .. }));
    until("logins are put off", || matches!(database.sample(), DatabaseReading::Unknown(_)));
    let spared = database.logins();
    match database.sample() {
        DatabaseReading::Unknown(why) => assert!(why.contains("so many an hour"), "{why}"),
        other => panic!("an old refusal is no reading: {other:?}"),
    }
    assert!(spared < 20, "{spared} logins");
    {
        let said = said.lock().expect("a list");
        assert!(said.len() == 1 && said[0].contains("log in 40 times an hour"), "{said:?}");
    }
    // Who would make a change is not held back, as far as our half goes.
    let begun = Instant::now();
    let rule = KillRule { idle: Duration::from_secs(60), at_most: 10, protect: Vec::new() };
    assert_eq!(database.idle_sessions(&rule).expect_err("full").kind, FaultKind::Full);
    println!("{spared} logins until they were spared, {} after a change was tried", database.logins());
    assert!(database.logins() > spared && begun.elapsed() < Duration::from_secs(5));
    assert!(database.logins() <= 23, "the site's half: {}", database.logins());
    drop((held, more));
    assert!(server.try_session("app").is_ok(), "the site still gets in");
}
