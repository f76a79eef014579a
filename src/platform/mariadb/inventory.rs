//! The whole process list, counters and settings, for the record. Each question is one statement, capped at 500 ms by
//! the server; statements are digested here, and settings that are not named here are never read.

use super::digest::digest;
use super::fault::StatementFault;
use super::row::Cells;
use super::session::Session;
use super::sql::CAP;
use super::text::escape_short;
use crate::platform::inventory::{DatabaseSession, Figure};

/// Sessions listed at most, the longest first.
const SESSIONS: u32 = 2000;

/// Counters of connections, statements, locks and load. A prefix ends with `_`.
const COUNTERS: [&str; 26] = [
    "aborted_",
    "access_denied_errors",
    "bytes_",
    "com_commit",
    "com_insert",
    "com_kill",
    "com_rollback",
    "com_select",
    "com_update",
    "connection_errors_",
    "connections",
    "created_tmp_",
    "innodb_buffer_pool_reads",
    "innodb_buffer_pool_wait_free",
    "innodb_row_lock_",
    "max_statement_time_exceeded",
    "max_used_connections",
    "open_files",
    "open_tables",
    "opened_tables",
    "queries",
    "questions",
    "slow_queries",
    "table_locks_",
    "threads_",
    "uptime",
];

/// Settings that decide who gets in, how long it may stay, and what it waits for.
const SETTINGS: [&str; 26] = [
    "autocommit",
    "back_log",
    "connect_timeout",
    "extra_max_connections",
    "extra_port",
    "idle_readonly_transaction_timeout",
    "idle_transaction_timeout",
    "idle_write_transaction_timeout",
    "innodb_buffer_pool_size",
    "innodb_lock_wait_timeout",
    "interactive_timeout",
    "lock_wait_timeout",
    "max_connect_errors",
    "max_connections",
    "max_password_errors",
    "max_statement_time",
    "max_user_connections",
    "net_read_timeout",
    "net_write_timeout",
    "open_files_limit",
    "skip_name_resolve",
    "table_open_cache",
    "thread_cache_size",
    "thread_handling",
    "thread_pool_max_threads",
    "version",
];

impl Session {
    /// Every session that this account can see, its own included.
    pub fn sessions(&mut self) -> Result<Vec<DatabaseSession>, StatementFault> {
        self.rows(&format!(
            "{CAP}SELECT id, user, SUBSTRING_INDEX(host,':',1) peer, db, command, time_ms, COALESCE(state,'') state, \
             COALESCE(LEFT(info,4000),'') text FROM information_schema.processlist \
             ORDER BY time_ms DESC, id LIMIT {SESSIONS}"
        ))?
        .into_iter()
        .map(|row| {
            let row = Cells(row);
            Ok(DatabaseSession {
                id: row.count("id")?,
                user: escape_short(&row.words("user")?, 160),
                host: escape_short(&row.words("peer")?, 160),
                db: row.text("db")?.map(|db| escape_short(&db, 160)),
                command: escape_short(&row.words("command")?, 40),
                time_ms: row.number("time_ms")?,
                state: escape_short(&row.words("state")?, 80),
                digest: digest(&row.words("text")?),
            })
        })
        .collect()
    }

    /// The server's counters since it started.
    pub fn counters(&mut self) -> Result<Vec<Figure>, StatementFault> {
        let named: Vec<String> = COUNTERS
            .iter()
            .map(|name| match name.strip_suffix('_') {
                Some(prefix) => format!("name LIKE '{}\\_%'", prefix.replace('_', "\\_")),
                None => format!("name='{name}'"),
            })
            .collect();
        self.figures("global_status", &named.join(" OR "))
    }

    /// The server's settings, as they are for everybody.
    pub fn settings(&mut self) -> Result<Vec<Figure>, StatementFault> {
        let named: Vec<String> = SETTINGS.iter().map(|name| format!("'{name}'")).collect();
        self.figures("global_variables", &format!("name IN ({})", named.join(",")))
    }

    fn figures(&mut self, table: &str, which: &str) -> Result<Vec<Figure>, StatementFault> {
        self.rows(&format!(
            "{CAP}SELECT name, value FROM (SELECT LOWER(variable_name) name, variable_value value \
             FROM information_schema.{table}) f WHERE {which} ORDER BY name"
        ))?
        .into_iter()
        .map(|row| {
            let row = Cells(row);
            Ok(Figure {
                name: escape_short(&row.words("name")?, 80),
                value: escape_short(&row.words("value")?, 200),
            })
        })
        .collect()
    }
}
