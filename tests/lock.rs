//! One run per app, by the database's own lock, against a real MariaDB server: taken, refused with the holder's card,
//! lost and taken again, and never in the way of getting in.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and has its own door to the server it started"
)]

#[path = "support/mariadb.rs"]
mod mariadb;

use std::sync::Arc;
use std::time::{Duration, Instant};

use mariadb::{Server, Wire, until};
use mysql::prelude::Queryable;
use runbook::platform::mariadb::{Database, DatabaseOptions, DatabaseUrl, lock_name};
use runbook::platform::{Card, DatabaseReads, LockHolder, LockState, SystemClock};

fn options(url: &str) -> DatabaseOptions {
    let url = DatabaseUrl::parse(url).expect("a URL");
    DatabaseOptions::new(url, "wizzypedia", Arc::new(SystemClock::start()))
}

fn database(url: &str) -> Arc<Database> {
    Database::start(options(url)).expect("a thread")
}

fn card(who: &str) -> Card {
    Card {
        who: who.to_owned(),
        runbook: "emergency".to_owned(),
        run: "20261125-031205-abcd".to_owned(),
        since: jiff::Timestamp::from_second(1_795_576_325).expect("a time"),
    }
}

#[track_caller]
fn elsewhere(state: LockState) -> LockHolder {
    match state {
        LockState::Elsewhere(holder) => holder,
        other => panic!("not held elsewhere: {other:?}"),
    }
}

/// The connection that holds the lock, as the server says it; 0 = nobody.
fn holder(server: &Server) -> u64 {
    server.count(&format!("SELECT COALESCE(IS_USED_LOCK('{}'),0)", lock_name("wiki", "wizzypedia")))
}

#[test]
fn a_second_run_is_kept_out_and_told_by_whom_and_since_when() {
    let server = Server::start(40, &[]);
    let (first, second) = (database(&server.url("app")), database(&server.url("app")));
    let own = first.facts().expect("facts").connection_id;
    assert_eq!((first.lock(), holder(&server)), (LockState::Unasked, 0), "reading takes no lock");
    assert_eq!((first.hold(&card("kim@laptop")), holder(&server)), (LockState::Held, own));
    assert_eq!(first.lock(), LockState::Held);
    let told = elsewhere(second.hold(&card("lee@desk")));
    assert_eq!((told.connection, told.card.as_ref()), (own, Some(&card("kim@laptop"))));
    assert_eq!(told.peer.as_deref(), Some("app from 127.0.0.1"));
    assert_eq!(
        told.to_string(),
        "kim@laptop with `emergency` since 2026-11-25 03:12:05 UTC, run 20261125-031205-abcd"
    );
    // Another account sees the card, though not the connection.
    let stranger = database(&server.url("ops").replace("ops:ops-word", "other:other-word"));
    server.order("CREATE USER other@'%' IDENTIFIED BY 'other-word'");
    server.order("GRANT ALL ON wiki.* TO other@'%'");
    let told = elsewhere(stranger.hold(&card("lee@desk")));
    assert_eq!((told.card, told.peer), (Some(card("kim@laptop")), None));
    // Another app's run is its own affair.
    let mut other = options(&server.url("app"));
    other.app = "another".into();
    assert_eq!(Database::start(other).expect("a thread").hold(&card("lee@desk")), LockState::Held);
    // It is free as soon as its holder closes, and the next in line gets it.
    let begun = Instant::now();
    first.shutdown();
    until("it is free", || holder(&server) == 0);
    println!("free {:?} after the end", begun.elapsed());
    assert_eq!(second.lock(), LockState::Held);
    assert_eq!(elsewhere(stranger.lock()).card, Some(card("lee@desk")));
}

#[test]
fn a_lost_connection_is_a_lost_lock_and_is_noticed() {
    let server = Server::start(40, &[]);
    let first = database(&server.url("app"));
    assert_eq!(first.hold(&card("kim@laptop")), LockState::Held);
    let own = holder(&server);
    server.order(&format!("KILL {own}"));
    until("it is free", || holder(&server) != own);
    assert_eq!(first.lock(), LockState::Held, "taken again with the new connection");
    let again = holder(&server);
    assert!(again != own && again != 0);
    assert_eq!(first.facts().expect("facts").connection_id, again);
    // A reconnection takes it in its first round trip, whatever was asked.
    server.order(&format!("KILL {again}"));
    until("a new connection holds it", || {
        first.sample();
        ![0, again].contains(&holder(&server))
    });
    let third = holder(&server);
    let told = elsewhere(database(&server.url("app")).hold(&card("lee@desk")));
    assert_eq!((told.connection, told.card), (third, Some(card("kim@laptop"))), "card and all");
    // Another is quicker.
    let mut thief = server.session("app");
    let name = lock_name("wiki", "wizzypedia");
    let waiting = std::thread::spawn(move || {
        let got = thief.query_first::<u64, _>(format!("SELECT GET_LOCK('{name}',10)"));
        (thief, got)
    });
    until("the other waits", || {
        server.count("SELECT COUNT(*) FROM information_schema.processlist WHERE state='User lock'") == 1
    });
    server.order(&format!("KILL {third}"));
    let (thief, got) = waiting.join().expect("no panic");
    assert_eq!(got.expect("an answer"), Some(1));
    let told = elsewhere(first.lock());
    assert_eq!(told.connection, u64::from(thief.connection_id()));
    assert_eq!((told.card.clone(), told.peer.as_deref()), (None, Some("app from 127.0.0.1")));
    assert!(told.to_string().starts_with("app from 127.0.0.1, connection "), "{told}");
    drop(thief);
    until("it is ours again", || first.lock() == LockState::Held);
}

#[test]
fn where_blocks_are_refused_the_lock_is_taken_all_the_same() {
    let server = Server::start(40, &["--skip-ssl"]);
    let wire = Wire { refused: &["BEGIN NOT ATOMIC"], ..Wire::default() };
    let first = database(&Server::url_at("app", wire.before(server.port)));
    assert_eq!(first.hold(&card("kim@laptop")), LockState::Held);
    let told = elsewhere(database(&server.url("app")).hold(&card("lee@desk")));
    assert_eq!(told.card, Some(card("kim@laptop")));
    server.order(&format!("KILL {}", told.connection));
    until("a new connection holds it", || {
        first.sample();
        ![0, told.connection].contains(&holder(&server))
    });
}

#[test]
fn of_many_at_once_one_holds_it() {
    let server = Server::start(40, &["--skip-ssl"]);
    for _ in 0..5 {
        let runs: Vec<_> = (0..6).map(|_| database(&server.url("app"))).collect();
        let asked: Vec<_> = runs
            .iter()
            .zip(1..)
            .map(|(run, number)| {
                let run = Arc::clone(run);
                std::thread::spawn(move || run.hold(&card(&format!("run{number}@host"))))
            })
            .collect();
        let states: Vec<_> = asked.into_iter().map(|asked| asked.join().expect("no panic")).collect();
        assert_eq!(states.iter().filter(|state| **state == LockState::Held).count(), 1, "{states:?}");
        let winner = states.iter().position(|state| *state == LockState::Held).expect("one");
        for (number, run) in runs.iter().enumerate().filter(|(number, _)| *number != winner) {
            let told = elsewhere(run.lock());
            assert_eq!(told.card.map(|card| card.who), Some(format!("run{}@host", winner + 1)), "{number}");
        }
    }
}

#[test]
fn while_the_database_is_full_nobody_waits_for_the_lock_and_the_first_slot_takes_it() {
    let server = Server::start(20, &["--skip-ssl"]);
    let mut held = server.sessions("app", 20);
    let first = database(&server.url("app"));
    let mut longest = Duration::ZERO;
    for number in 0..20 {
        let begun = Instant::now();
        match if number == 0 { first.hold(&card("kim@laptop")) } else { first.lock() } {
            LockState::Unreachable(why) => {
                assert_eq!(why, "the database is full (error 1040: too many connections)");
            }
            other => panic!("{other:?}"),
        }
        longest = longest.max(begun.elapsed());
        first.sample();
    }
    println!("full: said after {longest:?} at most");
    assert!(longest < Duration::from_millis(1500), "{longest:?}");
    assert_eq!(holder(&server), 0);
    // Nobody asks for the lock: samples alone find the slot, and with it the lock.
    held.pop();
    until("the lock is taken with the slot", || {
        first.sample();
        holder(&server) != 0
    });
    assert_eq!(first.lock(), LockState::Held);
    assert_eq!(holder(&server), first.facts().expect("facts").connection_id);
}

#[test]
fn a_server_that_is_not_reached_is_said_within_a_second() {
    let server = Server::start(20, &["--skip-ssl"]);
    let wire = Wire::default();
    let first = database(&Server::url_at("app", wire.before(server.port)));
    assert_eq!(first.hold(&card("kim@laptop")), LockState::Held);
    wire.freeze(true);
    for _ in 0..3 {
        let begun = Instant::now();
        let said = first.lock();
        assert!(matches!(&said, LockState::Unreachable(why) if why.contains("no answer")), "{said:?}");
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    }
    wire.freeze(false);
    until("it is held again", || first.lock() == LockState::Held);
    // The server is not there any more.
    drop(server);
    until("it is said", || matches!(first.lock(), LockState::Unreachable(_)));
    first.shutdown();
    assert_eq!(first.lock(), LockState::Unreachable("the connection was closed".to_owned()));
}

#[test]
fn a_machine_that_vanished_frees_the_lock_and_one_that_has_nothing_to_say_keeps_it() {
    let server = Server::start(20, &["--skip-ssl"]);
    let wire = Wire::default();
    let mut options = options(&Server::url_at("app", wire.before(server.port)));
    options.silence = Duration::from_secs(1);
    let first = Database::start(options).expect("a thread");
    assert_eq!(first.hold(&card("kim@laptop")), LockState::Held);
    let own = holder(&server);
    // Nobody asks anything for three times the silence that ends a connection.
    let begun = Instant::now();
    until("three silences are over", || begun.elapsed() > Duration::from_secs(3));
    assert_eq!(holder(&server), own, "it was touched");
    assert_eq!(first.lock(), LockState::Held);
    // Its machine is gone: the server hears nothing, not even a goodbye.
    wire.freeze(true);
    until("the lock is free", || holder(&server) == 0);
    let second = database(&server.url("app"));
    assert_eq!(second.hold(&card("lee@desk")), LockState::Held);
    // It wakes up: what it thought its own is another's.
    wire.freeze(false);
    until("it is told", || matches!(first.lock(), LockState::Elsewhere(_)));
    assert_eq!(elsewhere(first.lock()).card, Some(card("lee@desk")));
}

#[test]
fn the_lock_costs_no_round_trip_of_its_own() {
    let server = Server::start(40, &["--skip-ssl"]);
    for delay in [0, 10] {
        let wire = Wire { delay: Duration::from_millis(delay), ..Wire::default() };
        let url = Server::url_at("app", wire.before(server.port));
        let timed = |free: bool, act: &dyn Fn()| {
            let mut times: Vec<_> = (0..9)
                .map(|_| {
                    until("the one before is gone", || !free || holder(&server) == 0);
                    let begun = Instant::now();
                    act();
                    begun.elapsed()
                })
                .collect();
            times.sort_unstable();
            times[4]
        };
        let plain = timed(true, &|| drop(database(&url).sample()));
        let before = wire.statements();
        // One statement opens, holds and shows; the other proves.
        let holding = timed(true, &|| assert_eq!(database(&url).hold(&card("kim@laptop")), LockState::Held));
        assert_eq!(wire.statements() - before, 18, "two statements each");
        let first = database(&url);
        until("it is held", || first.hold(&card("kim@laptop")) == LockState::Held);
        let before = wire.statements();
        let proof = timed(false, &|| assert_eq!(first.lock(), LockState::Held));
        assert_eq!(wire.statements() - before, 9);
        let second = database(&url);
        elsewhere(second.hold(&card("lee@desk")));
        let before = wire.statements();
        let reading = timed(false, &|| drop(elsewhere(second.lock())));
        assert_eq!(wire.statements() - before, 18, "asked for, and who has it");
        println!(
            "{} ms away: first sample {plain:?}, with lock, card and proof {holding:?}, proof {proof:?}, \
             refusal with card {reading:?}",
            2 * delay
        );
    }
}
