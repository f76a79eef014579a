//! Faults of the database and of the way to it, in a whole run.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use mysql::prelude::Queryable;

use super::case::{Case, RESTART, ended};
use super::mariadb::Wire;
use super::support::{Ran, until};

/// Long enough for something to happen meanwhile.
const WATCH: &str = "steps:
  - id: watch
    wait: { until: used > 0 and live, for: 6s, within: 40s }
";

/// The app's URL, by another port.
fn url_at(case: &Case, port: u16) -> String {
    let url = case.lab.status["database_url"].as_str().expect("a URL");
    url.replace(&format!(":{}/", server_port(case)), &format!(":{port}/"))
}

fn server_port(case: &Case) -> u16 {
    let url = case.lab.status["database_url"].as_str().expect("a URL");
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next());
    port.expect("a port").parse().expect("a number")
}

/// A run over a wire.
fn over(case: &Case, wire: &Wire, steps: &str) -> Ran {
    let port = wire.before(server_port(case));
    case.run_in(&[("RUNBOOK_DATABASE_URL", &url_at(case, port))], steps)
}

/// A server that answers every login with this error, as MariaDB writes it before it knows what the client can read.
fn refusing(code: u16, message: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its number").port();
    let mut packet = vec![0, 0, 0, 0, 0xff];
    packet.extend_from_slice(&code.to_le_bytes());
    packet.extend_from_slice(message.as_bytes());
    packet[0] = u8::try_from(packet.len() - 4).expect("short");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(&packet);
        }
    });
    port
}

#[test]
fn too_many_connections() {
    let case = Case::begin("1040: every connection is taken, by sessions that stay");
    let mut overseer = case.lab.overseer();
    overseer.query_drop("SET GLOBAL max_connections = 10").expect("ten");
    let mut held = Vec::new();
    until("nobody gets in", Duration::from_secs(20), || {
        if case.lab.login_refused() == Some(1040) {
            return true;
        }
        // A page may have taken the last slot in between.
        held.extend(case.lab.try_session());
        false
    });
    let ran = case.run("steps:\n  - id: look\n    wait: { until: usage < 80%, within: 4s }\n").expect(4);
    drop(held);
    overseer.query_drop("SET GLOBAL max_connections = 150").expect("as before");
    case.end(&ran, &["refused (error 1040)", "look: gate stayed shut"]);
}

#[test]
fn too_many_connections_of_the_user() {
    let case = Case::begin("1203: the user has too many connections");
    let port = refusing(1203, "User wiki already has more than 'max_user_connections' active connections");
    let look = "steps:\n  - id: look\n    wait: { until: usage < 80%, within: 4s }\n";
    let ran = case.run_in(&[("RUNBOOK_DATABASE_URL", &url_at(&case, port))], look).expect(4);
    case.end(&ran, &["refused (this account has all", "look: gate stayed shut"]);
}

#[test]
fn the_resources_of_the_user_are_used_up() {
    let case = Case::begin("1226: the user's logins of this hour are used up");
    let port = refusing(
        1226,
        "User 'wiki' has exceeded the 'max_connections_per_hour' resource (current value: 1000)",
    );
    let ran = case.run_in(&[("RUNBOOK_DATABASE_URL", &url_at(&case, port))], RESTART).expect(9);
    case.end(&ran, &["1226"]);
}

#[test]
fn access_denied() {
    let case = Case::begin("1045: the password is wrong");
    let url = url_at(&case, server_port(&case));
    let password = case.lab.secrets().pop().expect("a password");
    let ran = case.run_in(&[("RUNBOOK_DATABASE_URL", &url.replace(&password, "wrong"))], RESTART).expect(9);
    assert_eq!(case.requests(), [""; 0]);
    case.end(&ran, &["1045"]);
}

#[test]
fn its_own_connection_is_killed() {
    let mut case = Case::begin("the tool's own connection is killed in the middle of a run");
    let run = case.start(&[], WATCH);
    case.written("step_started");
    let mut overseer = case.lab.overseer();
    // Pages come and go: the oldest session is the run's.
    let oldest = "SELECT id FROM information_schema.processlist WHERE user='wiki' ORDER BY id LIMIT 1";
    let own: u64 = overseer.query_first(oldest).expect("an answer").expect("the run's session");
    overseer.query_drop(format!("KILL {own}")).expect("killed");
    case.own_kill();
    let ran = ended(run).expect(0);
    case.end(&ran, &["watch: done"]);
}

#[test]
fn the_password_is_rotated() {
    let mut case = Case::begin("1045 in the middle of a run: the password is rotated, the connection closed");
    let steps = "steps:
  - id: watch
    wait: { until: used > 0, for: 4s, within: 10s }
";
    let run = case.start(&[], steps);
    case.written("step_started");
    let mut overseer = case.lab.overseer();
    let password = case.lab.secrets().pop().expect("a password");
    overseer.query_drop("ALTER USER wiki@'%' IDENTIFIED BY 'rotated'").expect("rotated");
    let oldest = "SELECT id FROM information_schema.processlist WHERE user='wiki' ORDER BY id LIMIT 1";
    let own: u64 = overseer.query_first(oldest).expect("an answer").expect("the run's session");
    overseer.query_drop(format!("KILL {own}")).expect("killed");
    case.own_kill();
    let ran = ended(run).expect(4);
    overseer.query_drop(format!("ALTER USER wiki@'%' IDENTIFIED BY '{password}'")).expect("as before");
    assert!(ran.stderr.contains("1045"), "the reason is said: {}", ran.stderr);
    case.end(&ran, &["connections unknown", "watch: gate stayed shut"]);
}

#[test]
fn the_server_is_restarted() {
    let case = Case::begin("the database server is restarted in the middle of a run");
    let run = case.start(&[], WATCH);
    case.written("step_started");
    case.lab.overseer().query_drop("SHUTDOWN").expect("it goes down");
    let ran = ended(run).expect(0);
    case.end(&ran, &["connections unknown", "watch: done"]);
}

#[test]
fn a_slow_way() {
    let case = Case::begin("a proxy adds 200 ms to the database each way");
    let wire = Wire { delay: Duration::from_millis(200), ..Wire::default() };
    let ran = over(&case, &wire, RESTART).expect(0);
    assert_eq!(case.requests(), ["DELETE /dynos"]);
    case.end(&ran, &["restart: done"]);
}

#[test]
fn a_way_that_swallows_everything() {
    let case = Case::begin("a proxy to the database swallows everything from the start");
    let wire = Wire::default();
    wire.freeze(true);
    let ran = over(&case, &wire, RESTART).expect(9);
    assert_eq!(case.requests(), [""; 0]);
    case.end(&ran, &["no answer in time"]);
    wire.freeze(false);
}

#[test]
fn a_way_that_falls_silent() {
    let case = Case::begin("a proxy to the database falls silent in the middle of a run");
    let wire = Wire::default();
    let port = wire.before(server_port(&case));
    let steps = "steps:
  - id: watch
    wait: { until: used > 0 and live, for: 4s, within: 12s }
";
    let run = case.start(&[("RUNBOOK_DATABASE_URL", &url_at(&case, port))], steps);
    case.written("step_started");
    wire.freeze(true);
    let ran = ended(run).expect(4);
    // The server hears now that the run is gone, and gives its lock back; else it would after a minute of silence.
    wire.freeze(false);
    let mut overseer = case.lab.overseer();
    until("the lock is free", Duration::from_secs(20), || {
        let free = overseer.query_first("SELECT IS_FREE_LOCK('runbook:wiki:wizzypedia')");
        free.expect("an answer") == Some(1)
    });
    case.end(&ran, &["connections unknown", "watch: gate stayed shut"]);
}
