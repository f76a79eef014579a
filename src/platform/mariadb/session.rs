//! An open connection and what may be asked of it. Owned by one thread.
//!
//! After [`StatementFault::Lost`] the owner must drop it: the next answer might belong to the last question.

use std::sync::Arc;
use std::time::Duration;

use mysql::Row;
use mysql::prelude::Queryable;

use super::connect::{Dialer, Line};
use super::fault::{LoginFault, StatementFault};
use super::kill::{plan_statement, read_plan};
use super::lock::{Hold, Standing};
use super::quota::Limits;
use super::row::Cells;
use super::sql::{self, CAP};
use super::text::escape_short;
use crate::health::{DatabaseSample, Moment, TransactionReading};
use crate::platform::change::KillRule;
use crate::platform::clock::Clock;
use crate::platform::facts::{DatabaseFacts, IdleSession};

/// The sample of the opening block serves as the answer to a question asked within this time.
const FRESH: Duration = Duration::from_millis(200);

/// What a connection is opened for.
#[derive(Clone, Default)]
pub struct Terms {
    /// The named lock whose holder is never killed.
    pub lock: String,
    /// The lock that it is to hold; none before a plan was agreed to.
    pub hold: Option<Hold>,
    /// The server ends it after so long without a word from us.
    pub silence: Duration,
    /// The connections that it replaces, by their ids: lost here, which the server may not know yet.
    pub lost: Vec<u64>,
    /// The kill that waits to be planned, if one does.
    pub plan: Option<KillRule>,
}

/// An open connection, opened up: settings made, capabilities known.
pub struct Session {
    conn: mysql::Conn,
    clock: Arc<dyn Clock>,
    dialer: Arc<Dialer>,
    /// What the server is and what our account may see.
    pub facts: DatabaseFacts,
    /// Server-side blocks are accepted (else: plain statements).
    pub blocks: bool,
    /// The named lock whose holder is never killed.
    pub lock: String,
    /// Connections of ours that were lost before this one.
    pub(super) lost: Vec<u64>,
    /// What became of the app's lock when this connection last asked for it.
    pub(super) standing: Standing,
    first: Option<(Moment, DatabaseSample)>,
    planned: Option<(Moment, KillRule, Vec<IdleSession>)>,
    reconnected: bool,
    /// The schema's job tables, once they were looked for.
    pub(super) job_tables: Option<Vec<String>>,
}

/// What the opening block answered.
struct Opening {
    facts: DatabaseFacts,
    got_lock: bool,
    shown: u64,
    sample: DatabaseSample,
    plan: Vec<IdleSession>,
    limits: Limits,
}

/// Statements that the opening block counts for at the server, and those that opening without it takes.
const OPENING: u64 = 2;
const PLAINLY: u64 = 10;

impl Session {
    /// Asks everything a fresh connection is asked, in one round trip where the server permits blocks.
    pub fn open(
        line: Line,
        clock: Arc<dyn Clock>,
        dialer: Arc<Dialer>,
        terms: Terms,
    ) -> Result<Self, LoginFault> {
        let Line { mut conn, protection, private } = line;
        let begun = clock.now();
        let (facts, opening, blocks) = match open_by_block(&mut conn, &terms, private) {
            Ok(opening) => (opening.facts.clone(), Some(opening), true),
            Err(fault) if fault.is_form() => (open_plainly(&mut conn, terms.silence)?, None, false),
            // An overloaded server is no reason to stay outside: the sample is asked for again, with its own cap.
            Err(fault) if fault.is_cap() => (open_plainly(&mut conn, terms.silence)?, None, true),
            Err(fault) => return Err(as_login(fault)),
        };
        let now = clock.now();
        let (counted, limits) = match &opening {
            Some(opening) => (OPENING, opening.limits),
            None if private => (PLAINLY, grants(&mut conn)?),
            None => (PLAINLY, Limits::default()),
        };
        dialer.quota.learn(limits);
        dialer.quota.statements(begun, counted);
        let mut session = Self {
            conn,
            clock,
            dialer,
            facts: DatabaseFacts { protection: protection.to_owned(), ..facts },
            blocks,
            lock: terms.lock,
            standing: Standing::default(),
            first: None,
            planned: None,
            reconnected: !terms.lost.is_empty(),
            job_tables: None,
            lost: terms.lost,
        };
        let asked = opening.is_some();
        if let Some(opening) = opening {
            let sample = DatabaseSample { took_ms: millis(now.since(begun)), ..opening.sample };
            session.first = Some((now, sample));
            session.planned = terms.plan.map(|rule| (now, rule, opening.plan));
            if let Some(hold) = &terms.hold {
                session.standing = Standing::of(opening.got_lock, opening.shown == hold.set());
            }
        }
        if let Some(hold) = &terms.hold
            && !session.standing.is_held()
            && (!asked || session.reconnected)
        {
            // What else it is refused for is said to whoever asks for the lock.
            if let Err(fault @ StatementFault::Lost(_)) = session.lock(hold) {
                return Err(as_login(fault));
            }
        }
        Ok(session)
    }

    /// One sample, in one round trip.
    pub fn sample(&mut self) -> Result<DatabaseSample, StatementFault> {
        let now = self.clock.now();
        let mut sample = match self.first.take() {
            Some((at, sample)) if now.since(at) <= FRESH => sample,
            _ => {
                let row = self.row(&format!("{CAP}{}", sql::sample(self.facts.sees_transactions)))?;
                let mut sample = read_sample(&Cells(row), self.facts.sees_transactions)?;
                sample.took_ms = millis(self.clock.now().since(now));
                sample
            }
        };
        sample.own_refused = self.dialer.tally.of_ours(sample.aborted_connects, sample.denied);
        sample.reconnected = std::mem::take(&mut self.reconnected);
        self.facts.server_limit = sample.server_limit;
        self.facts.account_limit = sample.account_limit;
        Ok(sample)
    }

    /// The plan that the opening brought along, if it is this one's and fresh.
    pub fn take_planned(&mut self, rule: &KillRule) -> Option<Vec<IdleSession>> {
        let (at, planned, sessions) = self.planned.take()?;
        (planned == *rule && self.clock.now().since(at) <= FRESH).then_some(sessions)
    }

    /// Keeps the session from ending by its own `wait_timeout`.
    pub fn touch(&mut self) -> Result<(), StatementFault> {
        self.conn.ping().map_err(|error| StatementFault::from_driver(&error))
    }

    /// The one row of a statement.
    pub fn row(&mut self, statement: &str) -> Result<Row, StatementFault> {
        self.rows(statement)?.into_iter().next().ok_or_else(|| StatementFault::Odd("no row".to_owned()))
    }

    /// The rows of a statement's last result set.
    pub fn rows(&mut self, statement: &str) -> Result<Vec<Row>, StatementFault> {
        self.dialer.quota.statements(self.clock.now(), 1);
        let answer = result_sets(&mut self.conn, statement);
        if answer.as_ref().is_err_and(StatementFault::is_quota) {
            self.dialer.quota.statements_are_spent();
        }
        Ok(answer?.pop().unwrap_or_default())
    }
}

/// Every result set of a statement, in order, the empty ones left out.
fn result_sets(conn: &mut mysql::Conn, statement: &str) -> Result<Vec<Vec<Row>>, StatementFault> {
    let lost = |error: mysql::Error| StatementFault::from_driver(&error);
    let mut answer = conn.query_iter(statement).map_err(lost)?;
    let mut sets = Vec::new();
    while let Some(set) = answer.iter() {
        if set.columns().as_ref().is_empty() {
            continue;
        }
        sets.push(set.collect::<Result<Vec<Row>, _>>().map_err(lost)?);
    }
    Ok(sets)
}

fn open_by_block(conn: &mut mysql::Conn, terms: &Terms, private: bool) -> Result<Opening, StatementFault> {
    let hold = terms.hold.as_ref();
    let statement = match &terms.plan {
        None => sql::opening(terms.silence, hold, None, private),
        Some(rule) => sql::opening(
            terms.silence,
            hold,
            Some(&|sight| plan_statement(rule, &terms.lock, sight)),
            private,
        ),
    };
    let mut sets = result_sets(conn, &statement)?.into_iter();
    let mut next = || {
        sets.next()
            .and_then(|rows| rows.into_iter().next())
            .map(Cells)
            .ok_or_else(|| StatementFault::Odd("the opening block answered too little".to_owned()))
    };
    let facts_row = next()?;
    let sees_transactions = facts_row.count("trx_ok")? == 1;
    let sees_locks = facts_row.count("mdl_ok")? == 1;
    let facts = read_facts(&facts_row, sees_transactions, sees_locks)?;
    let sample = read_sample(&next()?, sees_transactions)?;
    let plan = terms.plan.as_ref().and_then(|_| sets.next()).map_or_else(|| Ok(Vec::new()), read_plan)?;
    let limits = read_limits(sets.next());
    let (got_lock, shown) = (facts_row.count("got")? == 1, facts_row.count("shown")?);
    Ok(Opening { facts, got_lock, shown, sample, plan, limits })
}

/// The same as the block, statement by statement; also finds out whether the server is MariaDB at all.
fn open_plainly(conn: &mut mysql::Conn, silence: Duration) -> Result<DatabaseFacts, LoginFault> {
    let version =
        result_sets(conn, "SELECT VERSION() version, @@version_comment comment").map_err(as_login)?;
    let row = version.into_iter().flatten().next().map(Cells);
    let (version, comment) = match &row {
        Some(row) => (row.words("version").map_err(as_login)?, row.words("comment").map_err(as_login)?),
        None => (String::new(), String::new()),
    };
    if !format!("{version} {comment}").to_ascii_lowercase().contains("mariadb") {
        let named = escape_short(&format!("{comment} {version}"), 80);
        return Err(LoginFault::Unsupported(format!("the server is not MariaDB but {}", named.trim())));
    }
    for setting in sql::settings(silence) {
        optional(conn, &setting)?;
    }
    let sees_transactions = optional(conn, &format!("{CAP}{}", sql::SEES_TRANSACTIONS))?;
    let sees_locks = optional(conn, &format!("{CAP}{}", sql::SEES_LOCKS))?;
    let facts = result_sets(conn, sql::FACTS).map_err(as_login)?;
    let row = facts
        .into_iter()
        .flatten()
        .next()
        .ok_or_else(|| LoginFault::Unsupported("the server answered no row to what it is".to_owned()))?;
    read_facts(&Cells(row), sees_transactions, sees_locks).map_err(as_login)
}

/// The account's hourly limits, where they can be read.
fn grants(conn: &mut mysql::Conn) -> Result<Limits, LoginFault> {
    match result_sets(conn, sql::GRANTS) {
        Ok(mut sets) => Ok(read_limits(sets.pop())),
        Err(fault @ StatementFault::Lost(_)) => Err(as_login(fault)),
        Err(_) => Ok(Limits::default()),
    }
}

fn read_limits(grants: Option<Vec<Row>>) -> Limits {
    let first = grants.into_iter().flatten().next().and_then(|row| row.get_opt::<String, _>(0));
    first.and_then(Result::ok).map_or_else(Limits::default, |first| Limits::read(&first))
}

/// Whether the server accepted a statement that it may refuse.
fn optional(conn: &mut mysql::Conn, statement: &str) -> Result<bool, LoginFault> {
    match result_sets(conn, statement) {
        Ok(_) => Ok(true),
        Err(fault @ StatementFault::Lost(_)) => Err(as_login(fault)),
        Err(_) => Ok(false),
    }
}

fn as_login(fault: StatementFault) -> LoginFault {
    match fault {
        StatementFault::Lost(message) => LoginFault::Network(message),
        StatementFault::Refused { code, message } => match LoginFault::from_code(code, &message) {
            LoginFault::Unsupported(_) => LoginFault::Unsupported(format!(
                "the first statement was answered by error {code}: {message}"
            )),
            known => known,
        },
        StatementFault::KeptOut => LoginFault::Unsupported(fault.to_string()),
        StatementFault::Odd(message) => {
            LoginFault::Unsupported(format!("the first answer was not understood: {message}"))
        }
    }
}

fn read_facts(
    row: &Cells,
    sees_transactions: bool,
    sees_locks: bool,
) -> Result<DatabaseFacts, StatementFault> {
    Ok(DatabaseFacts {
        version: escape_short(&row.words("version")?, 80),
        account: escape_short(&row.words("account")?, 160),
        connection_id: row.count("connection_id")?,
        server_limit: row.count("server_limit")?,
        account_limit: row.count("account_limit")?,
        sees_transactions,
        sees_locks,
        wait_timeout: row.count("wait_timeout")?,
        idle_transaction_timeout: row.count("idle_transaction_timeout")?,
        protection: String::new(),
    })
}

fn read_sample(row: &Cells, transactions: bool) -> Result<DatabaseSample, StatementFault> {
    // `Threads_running` counts the sampler itself, and the event scheduler where there is one.
    let aside = 1 + row.count("scheduler")?;
    Ok(DatabaseSample {
        connected: row.count("connected")?,
        running: row.count("running")?.saturating_sub(aside),
        server_limit: row.count("server_limit")?,
        account_limit: row.count("account_limit")?,
        own: row.count("own")?,
        visible: row.count("visible")?,
        sleeping: row.count("sleeping")?,
        sleeping_at_least: [row.count("sl1")?, row.count("sl10")?, row.count("sl60")?, row.count("sl300")?],
        oldest_sleep_ms: row.number("oldest_sleep_ms")?,
        longest_query_ms: row.number("longest_query_ms")?,
        lock_waiters: row.count("mdl_waiters")?,
        dying: row.count("dying")?,
        connections_total: row.count("connections_total")?,
        aborted_connects: row.count("aborted_connects")?,
        denied: row.count("denied")?,
        aborted_clients: row.count("aborted_clients")?,
        refused_early: row.count("refused_early")?,
        uptime: row.count("uptime")?,
        own_refused: 0,
        reconnected: false,
        took_ms: 0.0,
        transactions: if transactions {
            Some(TransactionReading {
                open: row.count("trx")?,
                row_waits: row.count("row_waits")?,
                idle: row.count("idle_in_trx")?,
                oldest_s: row.count("oldest_trx")?,
            })
        } else {
            None
        },
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
