//! Who holds the slots: groups, ages, statements, transactions, and MediaWiki's job queue. Each question is capped
//! at 500 ms by the server, and what may not be seen is left out, never guessed.

use std::collections::HashMap;

use super::digest::digest;
use super::fault::StatementFault;
use super::row::Cells;
use super::session::Session;
use super::sql::CAP;
use super::text::escape_short;
use crate::platform::facts::{Census, CensusGroup, Statement, Transaction};

/// Daemons and replication are no clients.
const CLIENTS: &str = "command NOT IN ('Daemon','Binlog Dump','Slave_IO','Slave_SQL')";

/// Jobs are counted up to this many: what matters is "none", "some", "very many".
const JOBS_COUNTED: u32 = 100_000;
/// Job tables that are looked at: wikis may share a schema, each with a prefix of its own.
const JOB_TABLES: u32 = 8;

impl Session {
    /// Who holds the slots, as far as this account can see.
    pub fn census(&mut self) -> Result<Census, StatementFault> {
        Ok(Census {
            groups: self.groups()?,
            sleeper_ages: self.sleeper_ages()?,
            statements: self.statements()?,
            transactions: if self.facts.sees_transactions { visible(self.transactions())? } else { None },
            jobs: visible(self.jobs())?.flatten(),
        })
    }

    fn groups(&mut self) -> Result<Vec<CensusGroup>, StatementFault> {
        self.rows(&format!(
            "{CAP}SELECT user, SUBSTRING_INDEX(host,':',1) peer, db, command, COUNT(*) n, MAX(time_ms) oldest \
             FROM information_schema.processlist WHERE {CLIENTS} AND id<>CONNECTION_ID() \
             GROUP BY 1,2,3,4 ORDER BY n DESC, oldest DESC LIMIT 200"
        ))?
        .into_iter()
        .map(|row| {
            let row = Cells(row);
            Ok(CensusGroup {
                user: escape_short(&row.words("user")?, 160),
                host: escape_short(&row.words("peer")?, 160),
                db: row.text("db")?.map(|db| escape_short(&db, 160)),
                command: escape_short(&row.words("command")?, 40),
                count: row.count("n")?,
                oldest_ms: row.number("oldest")?,
            })
        })
        .collect()
    }

    fn sleeper_ages(&mut self) -> Result<[u64; 6], StatementFault> {
        let row = Cells(self.row(&format!(
            "{CAP}SELECT SUM(time_ms<1000) a, SUM(time_ms>=1000 AND time_ms<10000) b, \
             SUM(time_ms>=10000 AND time_ms<60000) c, SUM(time_ms>=60000 AND time_ms<300000) d, \
             SUM(time_ms>=300000 AND time_ms<1800000) e, SUM(time_ms>=1800000) f \
             FROM information_schema.processlist WHERE command='Sleep' AND {CLIENTS}"
        ))?);
        let mut ages = [0; 6];
        for (age, name) in ages.iter_mut().zip(["a", "b", "c", "d", "e", "f"]) {
            *age = row.count(name)?;
        }
        Ok(ages)
    }

    fn statements(&mut self) -> Result<Vec<Statement>, StatementFault> {
        let rows = self.rows(&format!(
            "{CAP}SELECT LEFT(info,2000) text, state, time_ms FROM information_schema.processlist \
             WHERE command IN ('Query','Execute') AND info IS NOT NULL AND id<>CONNECTION_ID() \
             ORDER BY time_ms DESC LIMIT 500"
        ))?;
        let mut order = Vec::<Statement>::new();
        let mut places = HashMap::<(String, String), usize>::new();
        for row in rows {
            let row = Cells(row);
            let (text, state) = (digest(&row.words("text")?), escape_short(&row.words("state")?, 80));
            let longest_ms = row.number("time_ms")?;
            let place = *places.entry((text.clone(), state.clone())).or_insert(order.len());
            match order.get_mut(place) {
                Some(known) => known.count += 1,
                None => order.push(Statement { digest: text, state, count: 1, longest_ms }),
            }
        }
        order.truncate(50);
        Ok(order)
    }

    fn transactions(&mut self) -> Result<Vec<Transaction>, StatementFault> {
        self.rows(&format!(
            "{CAP}SELECT t.trx_mysql_thread_id id, COALESCE(p.user,'') user, \
             TIMESTAMPDIFF(SECOND,t.trx_started,NOW()) age, t.trx_rows_modified rows_modified, t.trx_state state, \
             COALESCE(p.command='Sleep',0) sleeping, t.trx_state='LOCK WAIT' waits, \
             (SELECT COUNT(DISTINCT w.requesting_trx_id) FROM information_schema.innodb_lock_waits w \
              WHERE w.blocking_trx_id=t.trx_id) blocks \
             FROM information_schema.innodb_trx t \
             LEFT JOIN information_schema.processlist p ON p.id=t.trx_mysql_thread_id \
             ORDER BY t.trx_started, t.trx_mysql_thread_id LIMIT 200"
        ))?
        .into_iter()
        .map(|row| {
            let row = Cells(row);
            Ok(Transaction {
                id: row.count("id")?,
                user: escape_short(&row.words("user")?, 160),
                age_s: row.count("age")?,
                rows_modified: row.count("rows_modified")?,
                state: escape_short(&row.words("state")?, 40),
                sleeping: row.count("sleeping")? == 1,
                blocks: row.count("blocks")?,
                waits: row.count("waits")? == 1,
            })
        })
        .collect()
    }

    /// Jobs that wait, in all of the schema's job tables; `None` when there is none that can be read.
    pub fn jobs(&mut self) -> Result<Option<u64>, StatementFault> {
        if self.job_tables.is_none() {
            self.job_tables = Some(self.find_job_tables()?);
        }
        let tables = self.job_tables.clone().unwrap_or_default();
        let mut jobs = None;
        for table in tables {
            let row = self.row(&format!(
                "{CAP}SELECT COUNT(*) n FROM (SELECT 1 FROM `{}` LIMIT {JOBS_COUNTED}) j",
                table.replace('`', "``")
            ))?;
            jobs = Some(jobs.unwrap_or(0) + Cells(row).count("n")?);
        }
        Ok(jobs)
    }

    /// Tables that look like `MediaWiki`'s `job`, whatever prefix the wiki has.
    fn find_job_tables(&mut self) -> Result<Vec<String>, StatementFault> {
        let rows = self.rows(&format!(
            "{CAP}SELECT table_name name FROM information_schema.columns \
             WHERE table_schema=DATABASE() AND table_name LIKE '%job' AND column_name IN ('job_cmd','job_token') \
             GROUP BY table_name HAVING COUNT(*)=2 ORDER BY table_name LIMIT {JOB_TABLES}"
        ))?;
        rows.into_iter().map(|row| Cells(row).words("name")).collect()
    }
}

/// What a statement refused by the server means here: not visible. A lost connection stays a fault.
fn visible<T>(answer: Result<T, StatementFault>) -> Result<Option<T>, StatementFault> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(fault @ StatementFault::Lost(_)) => Err(fault),
        Err(_) => Ok(None),
    }
}
