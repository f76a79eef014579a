//! The database's side of the door against a real MariaDB server: what the facts say of every account, refusal and
//! wire is tried here. Kills are tried beside their code, since write authority does not leave the platform.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and has its own door to the server it started"
)]

#[path = "support/mariadb.rs"]
mod mariadb;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mariadb::{Rush, Server, Wire, tls_file, until};
use mysql::prelude::Queryable;
use runbook::health::{
    DatabaseFaultKind, DatabaseReading, DatabaseSample, Metric, Moment, Reading, Sample, Series, Value,
    refused_between,
};
use runbook::platform::mariadb::{Database, DatabaseOptions, DatabaseUrl, TlsMode};
use runbook::platform::{DatabaseReads, FaultKind, KillRule, SystemClock, Victim};

fn options(url: &str) -> DatabaseOptions {
    DatabaseOptions::new(
        DatabaseUrl::parse(url).expect("a URL"),
        "wizzypedia",
        Arc::new(SystemClock::start()),
    )
}

fn database(url: &str) -> Arc<Database> {
    Database::start(options(url)).expect("a thread")
}

fn encrypted(url: &str, tls: TlsMode, ca: Option<PathBuf>) -> Arc<Database> {
    let mut options = options(url);
    options.tls = tls;
    options.ca = ca;
    Database::start(options).expect("a thread")
}

#[track_caller]
fn measured(reading: DatabaseReading) -> DatabaseSample {
    match reading {
        DatabaseReading::Measured(row) => row,
        other => panic!("not measured: {other:?}"),
    }
}

/// Samples until one is measured.
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

#[test]
fn a_sample_is_one_statement_and_needs_no_privilege() {
    let server = Server::start(40, &[]);
    let wire = Wire::default();
    let database = database(&Server::url_at("app", wire.before(server.port)));
    let others = server.sessions("app", 7);
    let strangers = server.sessions("monitor", 3);
    let first = measured(database.sample());
    assert_eq!(wire.statements(), 1, "the opening block brings the first sample along");
    assert_eq!((first.server_limit, first.account_limit), (40, 0));
    assert_eq!((first.connected, first.own, first.visible), (11, 8, 8), "app sees its own account only");
    assert!(first.transactions.is_none());
    until("the sample of the opening is old", || {
        measured(database.sample());
        wire.statements() > 1
    });
    let before = wire.statements();
    for _ in 0..5 {
        let row = measured(database.sample());
        assert_eq!((row.running, row.dying), (0, 0), "the sampler itself is not counted");
        assert!(row.own_refused == 0 && row.took_ms > 0.0);
    }
    assert_eq!(wire.statements(), before + 5, "one statement a sample");
    let facts = database.facts().expect("facts");
    assert!(facts.version.contains("MariaDB") && facts.account == "app@%", "{facts:?}");
    assert!(!facts.sees_transactions && facts.protection == "not encrypted", "{facts:?}");
    let counters = database.counters().expect("needs no privilege");
    let value = |name: &str| counters.iter().find(|figure| figure.name == name).map(|figure| &figure.value);
    assert!(value("threads_connected").is_some_and(|count| count == "11"), "{counters:?}");
    let settings = database.settings().expect("needs no privilege");
    assert!(settings.iter().any(|figure| figure.name == "max_connections" && figure.value == "40"));
    assert_eq!(database.logins(), 2, "one that found no TLS on offer, one that stayed; no other behind it");
    drop((others, strangers));
}

#[test]
fn with_process_everybody_and_every_transaction_is_seen() {
    let server = Server::start(40, &[]);
    let _others = server.sessions("app", 4);
    let mut holder = server.session("app");
    holder.query_drop("BEGIN").expect("done");
    holder.query_drop("UPDATE page SET n=1 WHERE id=1").expect("done");
    let mut waiter = server.session("app");
    let waiting = std::thread::spawn(move || waiter.query_drop("UPDATE page SET n='secret' WHERE id=1"));
    let database = database(&server.url("monitor"));
    let mut row = until_measured(&database);
    until("the row is waited for", || {
        row = until_measured(&database);
        row.transactions.is_some_and(|open| open.row_waits == 1)
    });
    assert_eq!((row.connected, row.visible, row.own), (7, 7, 1), "own is monitor's alone");
    assert_eq!(row.transactions.map(|open| (open.open, open.idle)), Some((2, 1)));
    let census = database.census().expect("a census");
    let open = census.transactions.expect("visible");
    let root = open.iter().find(|t| t.blocks > 0).expect("a blocker");
    assert!(root.sleeping && !root.waits && root.rows_modified == 1, "{root:?}");
    let statement = census.statements.first().expect("a statement");
    assert_eq!(statement.digest, "UPDATE page SET n=? WHERE id=?");
    assert_eq!(census.jobs, None, "there is no job table");
    let sessions = database.sessions().expect("a list");
    let waiting_one =
        sessions.iter().find(|session| session.digest.starts_with("UPDATE page")).expect("its statement");
    assert_eq!((waiting_one.user.as_str(), waiting_one.command.as_str()), ("app", "Query"));
    assert!(!format!("{sessions:?}").contains("secret"), "no literal: {sessions:?}");
    assert!(sessions.iter().filter(|session| session.user == "app").count() >= 6, "{sessions:?}");
    holder.query_drop("COMMIT").expect("done");
    let _ = waiting.join().expect("no panic");
}

#[test]
fn every_way_of_being_full_is_a_sample_and_an_hourly_quota_is_not() {
    let server = Server::start(12, &["--max-user-connections=9"]);
    let refused = |database: &Database| match database.sample() {
        DatabaseReading::Refused { code, attempts } => {
            assert!(attempts >= 1);
            code
        }
        other => panic!("not refused: {other:?}"),
    };
    // The global limit per user.
    let held = server.sessions("app", 9);
    assert_eq!(refused(&database(&server.url("app"))), 1203);
    // The server's own limit.
    let more = server.sessions("monitor", 3);
    assert_eq!(refused(&database(&server.url("monitor"))), 1040);
    drop((held, more));
    until("they are gone", || {
        server.count("SELECT COUNT(*) FROM information_schema.processlist WHERE user IN ('app','monitor')")
            == 0
    });

    // The account's own limit: it is the tighter one, in the sample as in the refusal.
    server.order("ALTER USER app@'%' WITH MAX_USER_CONNECTIONS 5");
    let inside = database(&server.url("app"));
    let held = server.sessions("app", 4);
    let row = until_measured(&inside);
    assert_eq!((row.account_limit, row.own, row.server_limit), (5, 5, 12));
    let mut series = Series::new(Duration::from_secs(60), false);
    let seen = series.push(sample(1, DatabaseReading::Measured(row)));
    assert_eq!(seen.metrics[&Metric::Usage], Value::Ratio(1.0));
    assert_eq!(seen.metrics[&Metric::Limit], Value::Count(5.0));
    assert_eq!(refused(&database(&server.url("app"))), 1226);
    inside.shutdown();
    drop(held);

    server.order("ALTER USER app@'%' WITH MAX_USER_CONNECTIONS 0 MAX_CONNECTIONS_PER_HOUR 1");
    server.order("FLUSH USER_RESOURCES");
    let first = database(&server.url("app"));
    until_measured(&first);
    let second = database(&server.url("app"));
    match second.sample() {
        DatabaseReading::Failed(fault) => {
            assert_eq!(fault.kind, DatabaseFaultKind::Quota, "{fault:?}");
            assert!(fault.message.contains("ending sessions does not help"), "{fault:?}");
        }
        other => panic!("{other:?}"),
    }
    let fault = second.facts().expect_err("no login");
    assert_eq!(fault.kind, FaultKind::Limited);
    assert!(fault.hints[0].contains("does not help"), "{fault:?}");
    let logins = second.logins();
    for _ in 0..20 {
        assert!(matches!(second.sample(), DatabaseReading::Failed(_)));
    }
    assert_eq!(second.logins(), logins, "a quota is not used up by asking for more");
}

fn sample(number: u64, database: DatabaseReading) -> Sample {
    Sample {
        number,
        at: Moment(number * 1000),
        database,
        dynos: Reading::Unknown(String::new()),
        pages: Reading::Unknown(String::new()),
        logs: Reading::not_asked(),
        jobs: Reading::not_asked(),
    }
}

#[test]
fn our_own_attempts_are_no_refusals() {
    let server = Server::start(10, &[]);
    let database = database(&server.url("app"));
    let mut held = server.sessions("app", 9);
    let before = until_measured(&database);
    // Ours is ended, and another takes its slot at once.
    let own = database.facts().expect("facts").connection_id;
    server.order(&format!("KILL {own}"));
    until("another has the slot", || server.try_session("app").map(|conn| held.push(conn)).is_ok());
    until("ours is refused", || matches!(database.sample(), DatabaseReading::Refused { code: 1040, .. }));
    let logins = database.logins();
    until("ours is refused again and again", || {
        database.sample();
        database.logins() >= logins + 10
    });
    for _ in 0..3 {
        assert!(server.try_session("app").is_err(), "three strangers are refused");
    }
    drop(held.pop());
    let after = until_measured(&database);
    assert!(after.reconnected && after.own_refused > 3, "{after:?}");
    // What the server had not counted yet is subtracted from the next pair.
    let mut settled = after.clone();
    until("the sample of the opening is old", || {
        settled = measured(database.sample());
        settled.own_refused == 0 && settled.took_ms.to_bits() != after.took_ms.to_bits()
    });
    let pairs = [(&before, &after), (&after, &settled)];
    let strangers: f64 = pairs.iter().map(|(a, b)| refused_between(a, b).expect("a pair")).sum();
    // The three and the test's own tries for the slot, less what was under way at the moment of getting in: two at most.
    assert!((1.0..=9.0).contains(&strangers), "{strangers} of {after:?} and {settled:?}");
}

#[test]
fn password_network_tls_and_kind_are_told_apart() {
    let server = Server::start(20, &["--skip-ssl"]);
    let of = |url: &str, tls| encrypted(url, tls, None).facts().expect_err("no login");
    let wrong = of(&server.url("app").replace("app-word", "other"), TlsMode::Prefer);
    assert_eq!(wrong.kind, FaultKind::Credentials, "{wrong:?}");
    assert!(wrong.why.contains("1045") && !wrong.to_string().contains("other@"), "{wrong}");
    let schema = of(&server.url("app").replace("/wiki", "/elsewhere"), TlsMode::Prefer);
    assert_eq!(schema.kind, FaultKind::Credentials);
    assert!(schema.hints[0].contains("database name"), "{schema:?}");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let nobody = of(&Server::url_at("app", port), TlsMode::Prefer);
    assert_eq!(nobody.kind, FaultKind::Network, "{nobody:?}");
    assert!(nobody.why.contains("nothing listens"), "{nobody}");
    let unknown = of("mysql://app:x@no-such-host.invalid:3306/wiki", TlsMode::Prefer);
    assert_eq!(unknown.kind, FaultKind::Network, "{unknown:?}");
    let plain = of(&server.url("app"), TlsMode::Require);
    assert_eq!(plain.kind, FaultKind::Tls, "{plain:?}");
    assert!(plain.why.contains("does not offer TLS") && plain.hints[0].contains("prefer"), "{plain:?}");
    let held = server.sessions("app", 20);
    assert_eq!(of(&server.url("app"), TlsMode::Prefer).kind, FaultKind::Full);
    drop(held);
}

#[test]
fn tls_is_used_when_offered_and_verified_when_required() {
    let (cert, key) = (tls_file("server.pem"), tls_file("server.key"));
    let server = Server::start(
        20,
        &[&format!("--ssl-cert={}", cert.display()), &format!("--ssl-key={}", key.display())],
    );
    let url = server.url("app");
    let by_name = url.replace("127.0.0.1", "localhost");
    let protection = |url: &str, tls, ca: Option<&str>| {
        encrypted(url, tls, ca.map(tls_file)).facts().map(|facts| facts.protection)
    };
    let cipher = |tls| {
        let database = encrypted(&url, tls, None);
        let id = database.facts().expect("facts").connection_id;
        let log = server.log();
        let line =
            log.lines().find(|line| line.contains(&format!("{id} CONNECT"))).expect("its login").to_owned();
        line.contains("SSL/TLS")
    };
    assert_eq!(protection(&url, TlsMode::Prefer, None).as_deref(), Ok("TLS, certificate not verified"));
    assert!(cipher(TlsMode::Prefer) && !cipher(TlsMode::Off), "as the server's own log has it");
    assert_eq!(protection(&url, TlsMode::Off, None).as_deref(), Ok("not encrypted"));
    for url in [&url, &by_name] {
        for tls in [TlsMode::Prefer, TlsMode::Require] {
            assert_eq!(protection(url, tls, Some("ca.pem")).as_deref(), Ok("TLS, certificate verified"));
        }
        // Another authority: refused where verification is required, said where it is not.
        let fault = protection(url, TlsMode::Require, Some("other-ca.pem")).expect_err("not verified");
        assert_eq!(fault.kind, FaultKind::Tls, "{fault:?}");
        assert!(fault.hints[0].contains("--database-ca"), "{fault:?}");
        assert_eq!(
            protection(url, TlsMode::Prefer, Some("other-ca.pem")).as_deref(),
            Ok("TLS, certificate not verified")
        );
    }
    let fault = protection(&url, TlsMode::Require, None).expect_err("no public authority signed it");
    assert_eq!(fault.kind, FaultKind::Tls);
    let fault = protection(&url, TlsMode::Require, Some("none.pem")).expect_err("no such file");
    assert!(fault.kind == FaultKind::Tls && fault.why.contains("cannot be read"), "{fault}");
    // Encrypted or not, full is full, and an account that must not come in plain is told so.
    server.order("SET GLOBAL require_secure_transport=ON");
    let fault = protection(&url, TlsMode::Off, None).expect_err("plain is refused");
    // MariaDB answers as to a wrong password, so both are said.
    assert!(fault.kind == FaultKind::Credentials && fault.why.contains("without TLS"), "{fault:?}");
    let held = server.sessions_encrypted("app", 20);
    let full = encrypted(&url, TlsMode::Require, Some(tls_file("ca.pem")));
    assert!(matches!(full.sample(), DatabaseReading::Refused { code: 1040, .. }));
    drop(held);
}

#[test]
fn every_address_is_tried_and_ipv6_is_understood() {
    let server = Server::start(20, &["--skip-ssl"]);
    // The server listens on 127.0.0.1 alone; where `localhost` is `::1` as well, that one is refused first.
    let by_name = server.url("app").replace("127.0.0.1", "localhost");
    measured(database(&by_name).sample());
    // A host without IPv6 has nothing to try here.
    if let Ok(port) = Wire::default().at(IpAddr::V6(Ipv6Addr::LOCALHOST), server.port) {
        measured(database(&format!("mysql://app:app-word@[::1]:{port}/wiki")).sample());
    }
}

#[test]
fn a_silent_connection_is_dropped_and_never_answers_the_next_question() {
    let server = Server::start(20, &[]);
    let wire = Wire::default();
    let mut options = options(&Server::url_at("app", wire.before(server.port)));
    options.answer_timeout = Duration::from_millis(800);
    let database = Database::start(options).expect("a thread");
    let first = database.facts().expect("facts").connection_id;
    until_measured(&database);
    wire.freeze(true);
    let mut readings = Vec::new();
    until("it is seen that nothing is answered", || {
        readings.push(database.sample());
        readings
            .iter()
            .any(|r| matches!(r, DatabaseReading::Failed(f) if f.kind == DatabaseFaultKind::Network))
    });
    // The other account's sessions are ones that the late answer cannot know.
    let others = server.sessions("app", 5);
    wire.freeze(false);
    let row = until_measured(&database);
    assert!(row.reconnected, "on a new connection: {row:?}");
    assert!(row.own >= 6, "it counts what is there now: {row:?}");
    assert_ne!(database.facts().expect("facts").connection_id, first);
    drop(others);
}

#[test]
fn a_killed_connection_is_made_again_within_the_same_question() {
    let server = Server::start(20, &[]);
    let database = database(&server.url("app"));
    let first = database.facts().expect("facts").connection_id;
    let logins = database.logins();
    measured(database.sample());
    server.order(&format!("KILL {first}"));
    let row = measured(database.sample());
    assert!(row.reconnected);
    assert!(!measured(database.sample()).reconnected, "said once");
    assert_ne!(database.facts().expect("facts").connection_id, first);
    assert_eq!(database.logins(), logins + 1);
    server.order("FLUSH STATUS");
    measured(database.sample());
}

#[test]
fn while_everybody_sleeps_the_wait_ends_early_and_the_server_is_not_stormed() {
    let server = Server::start(20, &[]);
    let mut held = server.sessions("app", 20);
    let database = database(&server.url("app"));
    let begun = Instant::now();
    let fault = database.facts().expect_err("nobody leaves");
    let took = begun.elapsed();
    assert_eq!(fault.kind, FaultKind::Full, "{fault:?}");
    assert!(fault.why.contains("nobody leaves") && fault.why.contains("1040"), "{fault}");
    assert!(took < Duration::from_secs(4), "told after {took:?}");
    let attempts = database.logins();
    println!("nobody leaves: told after {took:?} and {attempts} logins");
    assert!(attempts < 2500, "{attempts} logins");
    // The steps of a plan share that search: each is told at once.
    let begun = Instant::now();
    let rule = rule(Duration::from_secs(60), 10);
    for _ in 0..5 {
        assert_eq!(database.idle_sessions(&rule).expect_err("full").kind, FaultKind::Full);
        assert_eq!(database.census().expect_err("full").kind, FaultKind::Full);
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "ten questions took {:?}", begun.elapsed());
    // From then on it knocks: a sample a tenth of a second, and hardly more logins than samples.
    let (begun, before) = (Instant::now(), database.logins());
    let mut samples = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(matches!(database.sample(), DatabaseReading::Refused { code: 1040, .. }));
        samples += 1;
    }
    let knocks = database.logins() - before;
    println!("then {knocks} logins in 2 s, {samples} samples");
    assert!(knocks <= 30, "{knocks} logins in 2 s");
    // And takes the slot that appears.
    held.pop();
    let begun = Instant::now();
    until_measured(&database);
    println!("a slot that appeared was taken after {:?}", begun.elapsed());
}

#[test]
fn a_slot_is_won_among_thirty_workers() {
    let server = Server::start(150, &["--skip-ssl"]);
    let held = server.sessions("app", 148);
    let rush = Rush::start(&server, "app", 30);
    let mut times = Vec::new();
    let mut logins = Vec::new();
    until("it is full", || server.try_session("app").is_err());
    for _ in 0..15 {
        let database = database(&server.url("app"));
        let begun = Instant::now();
        database.facts().expect("a slot");
        times.push(begun.elapsed());
        logins.push(database.logins());
    }
    drop(rush);
    drop(held);
    times.sort();
    logins.sort_unstable();
    println!(
        "a slot among 30 workers: median {:?}, p90 {:?}, logins median {} most {}",
        times[7], times[13], logins[7], logins[14]
    );
    assert!(times[7] < Duration::from_millis(500), "{times:?}");
}

fn rule(idle: Duration, at_most: u64) -> KillRule {
    KillRule { idle, at_most, protect: Vec::new() }
}

#[test]
fn what_a_preview_asks_changes_nothing() {
    let server = Server::start(40, &[]);
    for user in ["app", "monitor", "ops"] {
        let _sleepers = server.sessions(user, 6);
        server.until_asleep(user, 6, 100);
        let kills = server.count(
            "SELECT variable_value FROM information_schema.global_status WHERE variable_name='COM_KILL'",
        );
        let database = database(&server.url(user));
        let listed = database.idle_sessions(&rule(Duration::from_millis(100), 4)).expect("a list");
        assert_eq!(listed.len(), 4, "LIMIT holds");
        assert!(listed.is_sorted_by(|a, b| a.idle_ms >= b.idle_ms), "the longest asleep first");
        assert!(listed.iter().all(|session| session.user == user), "its own account only");
        let victims: Vec<Victim> = listed.iter().map(|s| Victim { id: s.id, query_id: s.query_id }).collect();
        let shown = database.kill_sql(&victims, &rule(Duration::from_secs(60), 4));
        assert!(shown.contains("KILL SOFT") && shown.contains("LIMIT 4"), "{shown}");
        assert_eq!(shown.contains("innodb_trx"), user != "app", "what is seen is excluded: {shown}");
        database.census().expect("a census");
        measured(database.sample());
        database.facts().expect("facts");
        assert_eq!(
            kills,
            server.count(
                "SELECT variable_value FROM information_schema.global_status WHERE variable_name='COM_KILL'"
            )
        );
    }
    let log = server.log();
    assert!(!log.contains("SET GLOBAL") && !log.contains("KILL SOFT"), "nothing was changed");
}

/// Speaks just enough of MySQL 8's protocol to let anybody in and to refuse what MySQL refuses.
fn mysql_eight() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || -> Option<()> {
                let packet = |number: u8, body: &[u8]| {
                    let mut all = u32::try_from(body.len()).expect("short").to_le_bytes()[..3].to_vec();
                    all.push(number);
                    all.extend_from_slice(body);
                    all
                };
                let mut greeting = vec![10];
                greeting.extend_from_slice(b"8.0.36\0\x08\0\0\0abcdefgh\0");
                // Capabilities without TLS: protocol 41, secure connection, plugin auth, multi statements, schema.
                greeting.extend_from_slice(&0xa20f_u16.to_le_bytes());
                greeting.push(45);
                greeting.extend_from_slice(&2_u16.to_le_bytes());
                greeting.extend_from_slice(&0x000b_u16.to_le_bytes());
                greeting.push(21);
                greeting.extend_from_slice(&[0; 10]);
                greeting.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
                stream.write_all(&packet(0, &greeting)).ok()?;
                let mut buffer = vec![0; 1 << 16];
                stream.read(&mut buffer).ok().filter(|length| *length > 0)?;
                stream.write_all(&packet(2, &[0, 0, 0, 2, 0, 0, 0])).ok()?;
                loop {
                    let length = stream.read(&mut buffer).ok().filter(|length| *length > 5)?;
                    let text = String::from_utf8_lossy(&buffer[5..length]).into_owned();
                    if !text.starts_with("SELECT VERSION()") {
                        // 1193: MySQL does not know max_statement_time.
                        let mut error = vec![0xff, 0xa9, 0x04];
                        error.extend_from_slice(b"#HY000Unknown system variable 'max_statement_time'");
                        stream.write_all(&packet(1, &error)).ok()?;
                        continue;
                    }
                    let column = |name: &str| {
                        let mut body =
                            vec![3, b'd', b'e', b'f', 0, 0, 0, u8::try_from(name.len()).expect("short")];
                        body.extend_from_slice(name.as_bytes());
                        body.extend_from_slice(&[0, 12, 45, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]);
                        body
                    };
                    let mut row = vec![6];
                    row.extend_from_slice(b"8.0.36");
                    row.push(28);
                    row.extend_from_slice(b"MySQL Community Server - GPL");
                    let eof = [0xfe, 0, 0, 2, 0];
                    let all: Vec<u8> = [&[2][..], &column("version"), &column("comment"), &eof, &row, &eof]
                        .into_iter()
                        .zip(1_u8..)
                        .flat_map(|(body, number)| packet(number, body))
                        .collect();
                    stream.write_all(&all).ok()?;
                }
            });
        }
    });
    port
}

#[test]
fn a_server_that_is_mysql_is_named() {
    let url = Server::url_at("app", mysql_eight());
    let fault = database(&url).facts().expect_err("not supported");
    assert_eq!(fault.kind, FaultKind::Unsupported, "{fault:?}");
    assert!(fault.why.contains("not MariaDB") && fault.why.contains("MySQL Community Server"), "{fault}");
    assert!(fault.hints[0].contains("--no-database"), "{fault:?}");
}
