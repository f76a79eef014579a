//! Questions that are known by name: one read-only statement each, capped at 500 ms by the server and at 20 rows. The
//! text of each stands here and nowhere else; no value from a runbook ever becomes part of one.

use super::digest::digest;
use super::fault::StatementFault;
use super::row::Cells;
use super::session::Session;
use super::sql::CAP;
use super::text::escape_short;
use crate::platform::inventory::{Answer, NamedQuery};

/// Rows shown.
const ROWS: usize = 20;
/// Daemons and replication are no clients.
const CLIENTS: &str =
    "command NOT IN ('Daemon','Binlog Dump','Slave_IO','Slave_SQL') AND id<>CONNECTION_ID()";

/// How one is asked and read.
struct Question {
    sql: String,
    /// Columns shown; those of statements are digested.
    columns: &'static [&'static str],
    /// The column whose figures make the value, and whether they are summed; else the largest counts.
    value: (&'static str, bool),
}

/// A question's text.
fn question(query: NamedQuery) -> Question {
    let sessions = |by: &str| {
        format!(
            "SELECT {by}, command, COUNT(*) sessions, ROUND(MAX(time_ms)/1000,1) oldest_s \
             FROM information_schema.processlist WHERE {CLIENTS} GROUP BY 1,2 ORDER BY sessions DESC, 1, 2"
        )
    };
    let (sql, columns, value): (String, &[&str], _) = match query {
        NamedQuery::SessionsByUser => {
            (sessions("user"), &["user", "command", "sessions", "oldest_s"], ("sessions", true))
        }
        NamedQuery::SessionsByHost => (
            sessions("SUBSTRING_INDEX(host,':',1) peer"),
            &["peer", "command", "sessions", "oldest_s"],
            ("sessions", true),
        ),
        NamedQuery::OldestSleepers => (
            format!(
                "SELECT id, user, SUBSTRING_INDEX(host,':',1) peer, ROUND(time_ms/1000,1) idle_s \
                 FROM information_schema.processlist WHERE command='Sleep' AND {CLIENTS} ORDER BY time_ms DESC, id LIMIT 20"
            ),
            &["id", "user", "peer", "idle_s"],
            ("idle_s", false),
        ),
        NamedQuery::RunningStatements => (
            format!(
                "SELECT id, user, ROUND(time_ms/1000,1) running_s, COALESCE(state,'') state, LEFT(info,4000) statement \
                 FROM information_schema.processlist WHERE command IN ('Query','Execute') AND info IS NOT NULL \
                 AND {CLIENTS} ORDER BY time_ms DESC, id LIMIT 20"
            ),
            &["id", "user", "running_s", "state", "statement"],
            ("running_s", false),
        ),
        NamedQuery::LockWaits => (
            format!(
                "SELECT id, user, ROUND(time_ms/1000,1) waits_s, state, LEFT(COALESCE(info,''),4000) statement, 1 waiting \
                 FROM information_schema.processlist WHERE state LIKE 'Waiting for%lock%' AND {CLIENTS} \
                 ORDER BY time_ms DESC, id LIMIT 500"
            ),
            &["id", "user", "waits_s", "state", "statement"],
            ("waiting", true),
        ),
        NamedQuery::LongTransactions => (
            "SELECT trx_mysql_thread_id id, trx_state state, TIMESTAMPDIFF(SECOND,trx_started,NOW()) open_s, \
             trx_rows_modified rows_changed FROM information_schema.innodb_trx ORDER BY trx_started, id LIMIT 20"
                .to_owned(),
            &["id", "state", "open_s", "rows_changed"],
            ("open_s", false),
        ),
        NamedQuery::JobQueue => (
            "SELECT job_cmd type, COUNT(*) jobs FROM (SELECT job_cmd FROM job LIMIT 100000) j \
             GROUP BY 1 ORDER BY jobs DESC, 1"
                .to_owned(),
            &["type", "jobs"],
            ("jobs", true),
        ),
        NamedQuery::LargestTables => (
            "SELECT table_name name, COALESCE(table_rows,0) rows_about, \
             ROUND((COALESCE(data_length,0)+COALESCE(index_length,0))/1048576,1) megabytes \
             FROM information_schema.tables WHERE table_schema=DATABASE() ORDER BY megabytes DESC, 1 LIMIT 20"
                .to_owned(),
            &["name", "rows_about", "megabytes"],
            ("megabytes", false),
        ),
        NamedQuery::Limits => (
            "SELECT LOWER(variable_name) name, variable_value value, \
             IF(variable_name='MAX_CONNECTIONS',variable_value,0)+0 most FROM information_schema.global_variables \
             WHERE variable_name IN ('MAX_CONNECTIONS','MAX_USER_CONNECTIONS','WAIT_TIMEOUT','INTERACTIVE_TIMEOUT',\
             'IDLE_TRANSACTION_TIMEOUT','EXTRA_MAX_CONNECTIONS','THREAD_HANDLING','CONNECT_TIMEOUT') ORDER BY 1"
                .to_owned(),
            &["name", "value"],
            ("most", false),
        ),
    };
    Question { sql: format!("{CAP}{sql}"), columns, value }
}

impl NamedQuery {
    /// Its statement, for a person who asks it by hand.
    pub fn statement(self) -> String {
        let whole = question(self).sql;
        whole.strip_prefix(CAP).unwrap_or(&whole).to_owned()
    }
}

impl Session {
    /// Puts one.
    pub fn answer(&mut self, query: NamedQuery) -> Result<Answer, StatementFault> {
        let Question { sql, columns, value: (figure, summed) } = question(query);
        let mut answer = Answer {
            columns: columns.iter().map(|name| name.replace('_', " ")).collect(),
            ..Answer::default()
        };
        for row in self.rows(&sql)? {
            let row = Cells(row);
            let number = row.number(figure)?;
            answer.value = if summed { answer.value + number } else { answer.value.max(number) };
            if answer.rows.len() == ROWS {
                continue;
            }
            let cell = |name: &&str| {
                let text = row.words(name)?;
                let text = if *name == "statement" { digest(&text) } else { text };
                Ok(escape_short(&text, if *name == "statement" { 100 } else { 40 }))
            };
            answer.rows.push(columns.iter().map(cell).collect::<Result<_, StatementFault>>()?);
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_reads_and_is_capped() {
        for query in NamedQuery::ALL {
            let Question { sql, columns, value } = question(query);
            assert!(sql.starts_with(CAP) && sql[CAP.len()..].starts_with("SELECT "), "{sql}");
            for word in [";", " INTO ", "UPDATE", "INSERT", "DELETE", "KILL", "SET GLOBAL", "FOR UPDATE"] {
                assert!(!sql[CAP.len()..].to_uppercase().contains(word), "{word}: {sql}");
            }
            for column in columns.iter().chain([&value.0]) {
                assert!(sql.contains(column), "{column}: {sql}");
            }
            assert_eq!(NamedQuery::named(query.name()), Some(query));
        }
    }
}
