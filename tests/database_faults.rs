//! What can go wrong with the database in the middle of a run, each against a real server: what is said of it, within
//! what time, and that the run goes on when it is over, with its lock.

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
use runbook::health::{DatabaseFaultKind, DatabaseReading, DatabaseSample, refused_between};
use runbook::platform::mariadb::{Database, DatabaseOptions, DatabaseUrl, lock_name};
use runbook::platform::{Card, DatabaseReads, FaultKind, KillRule, LockState, SystemClock};

/// What a person in an incident waits for one reading at most; the bound is 950 ms, the rest is a busy machine's.
const SOON: Duration = Duration::from_millis(1500);

/// A run in the middle: connected, with its lock.
fn run_at(url: &str) -> Arc<Database> {
    let database = new_at(url);
    let since = jiff::Timestamp::UNIX_EPOCH;
    let card = Card { who: "kim@laptop".into(), runbook: "emergency".into(), run: "r".into(), since };
    until("it holds its lock", || database.hold(&card) == LockState::Held);
    until_measured(&database);
    database
}

fn new_at(url: &str) -> Arc<Database> {
    let url = DatabaseUrl::parse(url).expect("a URL");
    let mut options = DatabaseOptions::new(url, "wizzypedia", Arc::new(SystemClock::start()));
    options.answer_timeout = Duration::from_secs(2);
    Database::start(options).expect("a thread")
}

#[track_caller]
fn until_measured(database: &Database) -> DatabaseSample {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        match database.sample() {
            DatabaseReading::Measured(row) => return row,
            other => assert!(Instant::now() < end, "never measured: {other:?}"),
        }
    }
}

/// One reading, in time.
#[track_caller]
fn reading(database: &Database) -> DatabaseReading {
    let begun = Instant::now();
    let reading = database.sample();
    assert!(begun.elapsed() < SOON, "{reading:?} after {:?}", begun.elapsed());
    reading
}

/// Why there is no lock, in time.
#[track_caller]
fn unreachable(database: &Database) -> String {
    let begun = Instant::now();
    let state = database.lock();
    assert!(begun.elapsed() < SOON, "{state:?} after {:?}", begun.elapsed());
    match state {
        LockState::Unreachable(why) => why,
        other => panic!("{other:?}"),
    }
}

/// Readings until one says that the connection is gone.
#[track_caller]
fn until_lost(database: &Database, kind: DatabaseFaultKind) -> String {
    let mut said = None;
    until("the loss is seen", || {
        if let DatabaseReading::Failed(fault) = reading(database)
            && fault.kind == kind
        {
            said = Some(fault.message);
        }
        said.is_some()
    });
    said.expect("just seen")
}

fn own_id(database: &Database) -> u64 {
    database.facts().expect("facts").connection_id
}

fn rule() -> KillRule {
    KillRule { idle: Duration::from_secs(60), at_most: 10, protect: Vec::new() }
}

/// The connection is lost, and its slot is taken before it is back: every login is refused with `code`, which is said
/// in `words`; when a slot appears, it is taken, and the lock with it.
fn full(server: &Server, others: &str, number: usize, code: u16, words: &str) {
    let run = run_at(&server.url("app"));
    let mut held = server.sessions(others, number);
    server.order(&format!("KILL {}", own_id(&run)));
    until("another has the slot", || server.try_session(others).map(|conn| held.push(conn)).is_ok());
    until("it is refused", || matches!(reading(&run), DatabaseReading::Refused { .. }));
    match reading(&run) {
        DatabaseReading::Refused { code: said, attempts } => assert!(said == code && attempts > 0),
        other => panic!("{other:?}"),
    }
    assert_eq!(unreachable(&run), format!("the database is full (error {code}: {words})"));
    let fault = run.idle_sessions(&rule()).expect_err("full");
    assert_eq!(fault.kind, FaultKind::Full, "{fault:?}");
    assert!(
        fault.why.contains(&code.to_string()) && fault.hints[0].contains("restart the dynos"),
        "{fault:?}"
    );
    held.pop();
    assert!(until_measured(&run).reconnected);
    assert_eq!(run.lock(), LockState::Held);
}

#[test]
fn error_1040_the_server_is_full() {
    full(&Server::start(12, &["--skip-ssl"]), "monitor", 11, 1040, "too many connections");
}

#[test]
fn error_1203_the_limit_per_user_is_reached() {
    let server = Server::start(40, &["--skip-ssl", "--max-user-connections=6"]);
    full(&server, "app", 5, 1203, "the limit of connections per user is reached");
}

#[test]
fn error_1226_the_accounts_own_limit_is_reached() {
    let server = Server::start(40, &["--skip-ssl"]);
    server.order("GRANT USAGE ON *.* TO app@'%' WITH MAX_USER_CONNECTIONS 6");
    full(&server, "app", 5, 1226, "this account's own limit of connections is reached");
}

#[test]
fn access_denied_after_the_password_was_rotated() {
    let server = Server::start(20, &["--skip-ssl"]);
    let run = run_at(&server.url("app"));
    server.order("ALTER USER app@'%' IDENTIFIED BY 'rotated'");
    assert!(matches!(reading(&run), DatabaseReading::Measured(_)), "who is in stays in");
    server.order(&format!("KILL {}", own_id(&run)));
    let said = until_lost(&run, DatabaseFaultKind::Password);
    assert!(said.contains("1045") && !said.contains("app-word"), "{said}");
    assert!(unreachable(&run).contains("1045"));
    let fault = run.census().expect_err("no login");
    assert_eq!(fault.kind, FaultKind::Credentials);
    assert!(fault.hints[0].contains("rotated"), "{fault:?}");
    // An account that is locked after so many wrong passwords is locked for the site as well.
    let logins = run.logins();
    for _ in 0..50 {
        assert!(matches!(reading(&run), DatabaseReading::Failed(_)));
    }
    assert!(run.logins() <= logins + 1, "{} more logins", run.logins() - logins);
    server.order("ALTER USER app@'%' IDENTIFIED BY 'app-word'");
    until_measured(&run);
    assert_eq!(run.lock(), LockState::Held);
}

#[test]
fn the_own_connection_is_killed_again_and_again() {
    let server = Server::start(20, &["--skip-ssl"]);
    let run = run_at(&server.url("app"));
    for _ in 0..10 {
        let own = own_id(&run);
        server.order(&format!("KILL {own}"));
        assert!(matches!(reading(&run), DatabaseReading::Measured(row) if row.reconnected));
        assert_eq!(run.lock(), LockState::Held);
        assert_ne!(own_id(&run), own);
    }
}

#[test]
fn the_server_crashes_and_comes_back() {
    let mut server = Server::start(20, &["--skip-ssl"]);
    let run = run_at(&server.url("app"));
    let before = until_measured(&run);
    server.crash();
    let said = until_lost(&run, DatabaseFaultKind::Network);
    assert!(said.contains("nothing listens there"), "{said}");
    assert!(unreachable(&run).contains("nothing listens there"));
    assert_eq!(run.idle_sessions(&rule()).expect_err("down").kind, FaultKind::Network);
    server.again();
    let after = until_measured(&run);
    assert!(after.reconnected);
    assert_eq!(refused_between(&before, &after), None, "counters that began anew are no pair");
    assert_eq!(run.lock(), LockState::Held);
}

#[test]
fn the_server_hangs() {
    let server = Server::start(20, &["--skip-ssl"]);
    let run = run_at(&server.url("app"));
    let own = own_id(&run);
    server.hang(true);
    let said = until_lost(&run, DatabaseFaultKind::Network);
    assert!(said.contains("no answer within 950 ms"), "{said}");
    assert!(unreachable(&run).contains("no answer within 950 ms"));
    server.hang(false);
    let back = until_measured(&run);
    assert!(back.own <= 3, "what it did while it hung is not piled up: {back:?}");
    until("it holds its lock again", || run.lock() == LockState::Held);
    until("the old connection is gone", || {
        server.count(&format!("SELECT COUNT(*) FROM information_schema.processlist WHERE id={own}")) == 0
            || own_id(&run) == own
    });
}

#[test]
fn a_statement_that_hangs_is_ended_by_the_server_and_the_connection_lives() {
    let server = Server::start(20, &["--skip-ssl"]);
    server.order("CREATE TABLE wiki.job (job_id INT PRIMARY KEY, job_cmd VARBINARY(60), job_token VARBINARY(32)) ENGINE=InnoDB");
    let run = run_at(&server.url("app"));
    assert_eq!(run.census().expect("a census").jobs, Some(0));
    let own = own_id(&run);
    let mut other = server.session("app");
    other.query_drop("LOCK TABLES job WRITE").expect("locked");
    let begun = Instant::now();
    assert_eq!(run.census().expect("the rest of it").jobs, None, "what cannot be read is left out");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(matches!(reading(&run), DatabaseReading::Measured(_)));
    assert_eq!((run.lock(), own_id(&run)), (LockState::Held, own), "the same connection, and its lock");
}

#[test]
fn a_proxy_that_adds_200_ms() {
    let server = Server::start(20, &["--skip-ssl"]);
    let wire = Wire { delay: Duration::from_millis(100), ..Wire::default() };
    let run = run_at(&Server::url_at("app", wire.before(server.port)));
    for _ in 0..5 {
        let row = match reading(&run) {
            DatabaseReading::Measured(row) => row,
            other => panic!("{other:?}"),
        };
        assert!(row.took_ms >= 200.0, "{row:?}");
    }
    assert_eq!(run.lock(), LockState::Held);
    assert!(run.idle_sessions(&rule()).expect("a list").is_empty());
    // Full is seen from there as well.
    let mut held = server.sessions("monitor", 19);
    server.order(&format!("KILL {}", own_id(&run)));
    until("another has the slot", || server.try_session("monitor").map(|conn| held.push(conn)).is_ok());
    until("it is refused", || matches!(reading(&run), DatabaseReading::Refused { code: 1040, .. }));
    drop(held);
    until_measured(&run);
    until("it holds its lock again", || run.lock() == LockState::Held);
}

#[test]
fn a_proxy_that_swallows_packets() {
    let server = Server::start(20, &["--skip-ssl"]);
    let wire = Wire::default();
    let url = Server::url_at("app", wire.before(server.port));
    let run = run_at(&url);
    let own = own_id(&run);
    wire.swallow(true);
    let said = until_lost(&run, DatabaseFaultKind::Network);
    assert!(said.contains("no answer within 950 ms"), "{said}");
    assert!(unreachable(&run).contains("no answer"));
    let fault = new_at(&url).facts().expect_err("nothing comes back");
    assert_eq!(fault.kind, FaultKind::Network, "{fault:?}");
    assert!(fault.hints[0].contains("--no-database"), "{fault:?}");
    wire.swallow(false);
    // The next answer belongs to the next question: the connection that owes one is not used again.
    until_measured(&run);
    assert_ne!(own_id(&run), own);
    // The server knows nothing of the end of the old one, which holds the lock still: nobody else's run, but our own.
    assert_eq!(run.lock(), LockState::Held);
    let holder = server.count(&format!("SELECT IS_USED_LOCK('{}')", lock_name("wiki", "wizzypedia")));
    assert_eq!(holder, own_id(&run));
}
