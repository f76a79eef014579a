//! Names in the database that look like SQL, on a real MariaDB: whatever an account, a database, an app or a protected
//! user is called, it stays a name.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and has its own door to the server it started"
)]

#[path = "support/mariadb.rs"]
mod mariadb;

use std::sync::Arc;
use std::time::Duration;

use mariadb::{Server, until};
use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use runbook::health::DatabaseReading;
use runbook::platform::mariadb::{Database, DatabaseOptions, DatabaseUrl};
use runbook::platform::{Card, DatabaseReads, KillRule, LockState, SystemClock, Victim};
use runbook::source::hides;

const NAMES: [&str; 8] = [
    "x' OR '1'='1",
    "x'; DROP DATABASE wiki; -- x",
    "back\\slash\\'",
    "tick`\"quote",
    "esc\u{1b}]0;x\u{7}\u{202e}",
    "%_",
    "--app",
    "ünïcode é",
];

/// As SQL reads it whatever it holds.
fn hex(text: &str) -> String {
    let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("CONVERT(X'{digits}' USING utf8mb4)")
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// An account and a database of that name.
fn settle(server: &Server, name: &str) {
    let quoted = name.replace('`', "``");
    let account = format!("'{}'@'%'", name.replace('\\', "\\\\").replace('\'', "\\'"));
    server.order(&format!("CREATE DATABASE `{quoted}`"));
    server.order(&format!("CREATE USER {account} IDENTIFIED BY 'a-word'"));
    // A pattern in a GRANT would be one for other databases, too.
    let pattern = quoted.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%");
    server.order(&format!("GRANT ALL ON `{pattern}`.* TO {account}"));
    server.order(&format!("GRANT PROCESS ON *.* TO {account}"));
}

fn session(server: &Server, name: &str) -> Conn {
    let url = server.url("app");
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).expect("a port");
    let options = OptsBuilder::new()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(port.parse().expect("a port"))
        .prefer_socket(false)
        .user(Some(name))
        .pass(Some("a-word"));
    Conn::new(options).expect("a session")
}

#[test]
fn a_name_stays_a_name_in_every_statement() {
    let server = Server::start(80, &[]);
    for name in NAMES {
        settle(&server, name);
        let other = format!("{}2", name.chars().take(60).collect::<String>());
        let sleepers: Vec<Conn> = (0..3).map(|_| session(&server, name)).collect();
        let asleep = format!(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE CAST(user AS BINARY)=CAST({} AS BINARY) \
             AND command='Sleep' AND time_ms>=100",
            hex(name)
        );
        until("they sleep", || server.count(&asleep) == 3);

        let url = server.url("app");
        let place = url.split('@').nth(1).and_then(|rest| rest.split('/').next()).expect("host and port");
        let url = format!("mysql://{}:a-word@{place}/{}", encoded(name), encoded(name));
        let url = DatabaseUrl::parse(&url).expect("a URL");
        assert!(!url.name().contains(hides), "{}", url.name());
        let options = DatabaseOptions::new(url, name, Arc::new(SystemClock::start()));
        let database = Database::start(options).expect("a thread");
        let reading = database.sample();
        assert!(matches!(reading, DatabaseReading::Measured(_)), "{name}: {reading:?}");
        database.facts().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        database.census().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let seen = database.sessions().unwrap_or_else(|fault| panic!("{name}: {fault}"));
        let shown = serde_json::to_string(&seen).expect("JSON");
        assert!(!shown.contains("\\u001b") && !shown.contains(hides), "{shown}");

        // Its own sessions are found; whoever is protected by that name is not, and by another name is.
        let rule = |protect: &[&str]| KillRule {
            idle: Duration::from_millis(100),
            at_most: 10,
            protect: protect.iter().map(|user| (*user).to_owned()).collect(),
        };
        let found = |protect: &[&str]| {
            let found = database.idle_sessions(&rule(protect));
            found.unwrap_or_else(|fault| panic!("{name}: {fault}")).len()
        };
        assert_eq!((found(&[]), found(&[name]), found(&[&other])), (3, 0, 3), "{name}");
        assert_eq!(
            found(&NAMES.iter().copied().filter(|known| *known != name).collect::<Vec<_>>()),
            3,
            "{name}"
        );
        let sql = database.kill_sql(&[Victim { id: 1, query_id: 1 }], &rule(&[name]));
        assert!(!sql.contains(hides) || !sql.replace('\n', "").contains(hides), "{sql:?}");

        // The lock of an app and a database of that name, with its holder's card.
        let card = Card {
            who: format!("{name}@{name}"),
            runbook: name.to_owned(),
            run: name.to_owned(),
            since: jiff::Timestamp::UNIX_EPOCH,
        };
        assert_eq!(database.hold(&card), LockState::Held, "{name}");
        assert_eq!(database.lock(), LockState::Held, "{name}");
        database.shutdown();
        drop(sleepers);
    }
    assert_eq!(server.count("SELECT COUNT(*) FROM wiki.page"), 3, "nothing was dropped");
    let databases = "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name NOT IN \
                     ('mysql','sys','performance_schema','information_schema','wiki')";
    assert_eq!(server.count(databases), NAMES.len() as u64);
}

#[test]
fn what_the_server_says_of_such_a_name_is_escaped() {
    let server = Server::start(20, &[]);
    let url = server.url("app");
    let (before, _) = url.rsplit_once('/').expect("a database");
    for name in NAMES {
        let url = DatabaseUrl::parse(&format!("{before}/{}", encoded(name))).expect("a URL");
        let database =
            Database::start(DatabaseOptions::new(url, "wizzypedia", Arc::new(SystemClock::start())))
                .expect("a thread");
        let fault = database.facts().expect_err("it may not");
        let told = format!("{fault} {} {}", fault.hints.join(" "), database.name());
        assert!(!told.contains(hides), "{told:?}");
        assert!(told.contains("1044") || told.contains("1049"), "the server's own words: {told}");
        database.shutdown();
    }
    drop(server.session("app").query_drop("SELECT 1"));
}
