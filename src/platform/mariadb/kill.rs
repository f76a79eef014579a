//! Ending idle sessions: a plan, then one server-side block that re-checks each session and kills it.
//!
//! The window in which a session may wake is the sum of round trips, so the one statement is both the quick way and
//! the safe one. Values enter the SQL as integers and quoted literals only.

use mysql::Row;

use super::fault::StatementFault;
use super::lock::Standing;
use super::row::Cells;
use super::session::Session;
use super::sql::{CAP, OWN_USER, SYSTEM_USERS, Sight};
use super::text::{escape_short, quote};
use crate::platform::change::{KillRule, Victim};
use crate::platform::facts::IdleSession;

/// Most victims written out in a preview.
const PREVIEWED: usize = 8;

/// What a kill brought about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Killed {
    /// Ids really killed.
    pub ids: Vec<u64>,
    /// Planned and not killed: awake, gone, or not to be touched by then.
    pub spared: Vec<u64>,
    /// Single kills were used.
    pub one_by_one: bool,
    /// Why it ended early, when it did; what is in `ids` was done.
    pub cut_short: Option<StatementFault>,
}

/// The conditions that make a session a victim, each of them a line.
fn conditions(rule: &KillRule, lock: &str, sight: Sight) -> Vec<String> {
    let protected: Vec<String> =
        SYSTEM_USERS.into_iter().chain(rule.protect.iter().map(String::as_str)).map(quote).collect();
    let mut all = vec![
        "command='Sleep'".to_owned(),
        format!("time_ms >= {}", rule.idle.as_millis()),
        // Names compare without case in this table; accounts do not.
        format!("CAST(user AS BINARY) = CAST({OWN_USER} AS BINARY)"),
        format!("user NOT IN ({})", protected.join(",")),
        format!("id NOT IN (CONNECTION_ID(), COALESCE(IS_USED_LOCK({}),0))", quote(lock)),
    ];
    if sight.transactions {
        all.push("id NOT IN (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx)".to_owned());
    }
    if sight.locks {
        all.push("id NOT IN (SELECT thread_id FROM information_schema.metadata_lock_info)".to_owned());
    }
    all
}

/// The statement that lists the sessions which `rule` would end now.
pub fn plan_statement(rule: &KillRule, lock: &str, sight: Sight) -> String {
    format!(
        "SELECT id, query_id, user, SUBSTRING_INDEX(host,':',1) peer, db, time_ms \
         FROM information_schema.processlist WHERE {} ORDER BY time_ms DESC LIMIT {}",
        conditions(rule, lock, sight).join(" AND "),
        rule.at_most
    )
}

/// The block that re-checks and kills. Its handler keeps the list when a statement in it fails.
fn block(pairs: &str, most: usize, rule: &KillRule, lock: &str, sight: Sight) -> String {
    let conditions = conditions(rule, lock, sight).join("\n    AND ");
    format!(
        "BEGIN NOT ATOMIC
  DECLARE ok, gone INT DEFAULT 0; DECLARE s LONGTEXT DEFAULT '';
  DECLARE CONTINUE HANDLER FOR 1094, 1095 SET ok = 0, gone = gone + 1;
  DECLARE EXIT HANDLER FOR SQLEXCEPTION
    BEGIN GET DIAGNOSTICS CONDITION 1 @runbook_code = MYSQL_ERRNO, @runbook_text = MESSAGE_TEXT;
      SELECT s, gone, @runbook_code code, @runbook_text message; END;
  FOR r IN (SELECT id FROM information_schema.processlist WHERE {conditions}
    AND (id,query_id) IN ({pairs})
    ORDER BY time_ms DESC LIMIT {most})
  DO SET ok = 1; KILL SOFT r.id; IF ok THEN SET s = CONCAT(s, r.id, ','); END IF; END FOR;
  SELECT s, gone, 0 code, '' message;
END"
    )
}

fn pairs<'a>(victims: impl Iterator<Item = &'a Victim>) -> String {
    victims.map(|v| format!("({},{})", v.id, v.query_id)).collect::<Vec<_>>().join(",")
}

fn most(victims: &[Victim], rule: &KillRule) -> usize {
    usize::try_from(rule.at_most).unwrap_or(usize::MAX).min(victims.len())
}

/// The block as it is sent.
pub fn kill_statement(victims: &[Victim], rule: &KillRule, lock: &str, sight: Sight) -> String {
    block(&pairs(victims.iter()), most(victims, rule), rule, lock, sight)
}

/// The block for reading: as sent, but a long list of victims is cut and counted.
pub fn preview(victims: &[Victim], rule: &KillRule, lock: &str, sight: Sight) -> String {
    let mut list = pairs(victims.iter().take(PREVIEWED));
    if victims.len() > PREVIEWED {
        list.push_str(&format!(", … /* {} sessions in all */", victims.len()));
    }
    block(&list, most(victims, rule), rule, lock, sight)
}

impl Session {
    /// What this connection can see of what must not be killed.
    pub fn sight(&self) -> Sight {
        Sight { transactions: self.facts.sees_transactions, locks: self.facts.sees_locks }
    }

    /// Sessions that `rule` would end now, the longest asleep first.
    pub fn idle_sessions(&mut self, rule: &KillRule) -> Result<Vec<IdleSession>, StatementFault> {
        if let Some(planned) = self.take_planned(rule) {
            return Ok(planned);
        }
        let statement = plan_statement(rule, &self.lock, self.sight());
        read_plan(self.rows(&format!("{CAP}{statement}"))?)
    }

    /// Re-checks and kills. `more` says whether time is left; it is asked between single kills only, since the block
    /// is never cut: that would lose the list of what it did.
    pub fn kill(
        &mut self,
        victims: &[Victim],
        rule: &KillRule,
        more: &dyn Fn() -> bool,
    ) -> Result<Killed, StatementFault> {
        if self.standing == Standing::KeptOut {
            return Err(StatementFault::KeptOut);
        }
        if victims.is_empty() || rule.at_most == 0 {
            return Ok(Killed { spared: victims.iter().map(|v| v.id).collect(), ..Killed::default() });
        }
        if self.blocks {
            let statement = kill_statement(victims, rule, &self.lock, self.sight());
            match self.row(&statement) {
                Ok(row) => return read_killed(&Cells(row), victims),
                Err(fault) if fault.is_form() => self.blocks = false,
                Err(fault) => return Err(fault),
            }
        }
        self.kill_one_by_one(victims, rule, more)
    }

    /// How many of these sessions are there still.
    pub fn present(&mut self, ids: &[u64]) -> Result<u64, StatementFault> {
        let ids = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        Cells(self.row(&format!(
            "{CAP}SELECT COUNT(*) n FROM information_schema.processlist WHERE id IN ({ids})"
        ))?)
        .count("n")
    }

    /// Where blocks are refused: each session is looked at again just before its own KILL.
    fn kill_one_by_one(
        &mut self,
        victims: &[Victim],
        rule: &KillRule,
        more: &dyn Fn() -> bool,
    ) -> Result<Killed, StatementFault> {
        let conditions = conditions(rule, &self.lock, self.sight()).join(" AND ");
        let mut killed = Vec::new();
        let mut cut_short = None;
        for victim in victims {
            if killed.len() >= most(victims, rule) || !more() {
                break;
            }
            let step = self.kill_one(*victim, &conditions);
            match step {
                Ok(true) => killed.push(victim.id),
                Ok(false) => {}
                Err(fault) if killed.is_empty() && !matches!(fault, StatementFault::Lost(_)) => {
                    return Err(fault);
                }
                Err(fault) => {
                    cut_short = Some(fault);
                    break;
                }
            }
        }
        Ok(Killed {
            spared: victims.iter().map(|v| v.id).filter(|id| !killed.contains(id)).collect(),
            ids: killed,
            one_by_one: true,
            cut_short,
        })
    }

    fn kill_one(&mut self, victim: Victim, conditions: &str) -> Result<bool, StatementFault> {
        let check = format!(
            "{CAP}SELECT COUNT(*) still FROM information_schema.processlist WHERE id={} AND query_id={} AND {conditions}",
            victim.id, victim.query_id
        );
        if Cells(self.row(&check)?).count("still")? == 0 {
            return Ok(false);
        }
        let mut answer = self.rows(&format!("KILL SOFT {}", victim.id));
        if answer.as_ref().is_err_and(StatementFault::is_form) {
            answer = self.rows(&format!("KILL {}", victim.id)); // what refuses blocks may not know SOFT either
        }
        match answer {
            Ok(_) => Ok(true),
            Err(StatementFault::Refused { code: 1094 | 1095, .. }) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

/// The rows of a plan.
pub fn read_plan(rows: Vec<Row>) -> Result<Vec<IdleSession>, StatementFault> {
    rows.into_iter()
        .map(|row| {
            let row = Cells(row);
            Ok(IdleSession {
                id: row.count("id")?,
                query_id: row.count("query_id")?,
                user: escape_short(&row.words("user")?, 160),
                host: escape_short(&row.words("peer")?, 160),
                db: row.text("db")?.map(|db| escape_short(&db, 160)),
                idle_ms: row.number("time_ms")?,
            })
        })
        .collect()
}

fn read_killed(row: &Cells, victims: &[Victim]) -> Result<Killed, StatementFault> {
    let killed: Vec<u64> = row.words("s")?.split(',').filter_map(|id| id.parse().ok()).collect();
    let code = u16::try_from(row.count("code")?).unwrap_or(u16::MAX);
    let cut_short = (code != 0)
        .then_some(StatementFault::Refused { code, message: escape_short(&row.words("message")?, 300) });
    Ok(Killed {
        spared: victims.iter().map(|v| v.id).filter(|id| !killed.contains(id)).collect(),
        ids: killed,
        one_by_one: false,
        cut_short,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rule(protect: &[&str]) -> KillRule {
        KillRule {
            idle: Duration::from_secs(60),
            at_most: 100,
            protect: protect.iter().map(|p| (*p).to_owned()).collect(),
        }
    }

    const BLIND: Sight = Sight { transactions: false, locks: false };

    #[test]
    fn a_hostile_name_stays_a_literal() {
        let statement = plan_statement(&rule(&["x') OR 1=1 -- "]), "runbook:w'i:a\\p", BLIND);
        assert!(!statement.contains("OR 1=1") && !statement.contains("w'i") && !statement.contains("a\\p"));
        assert!(statement.contains("'rdsadmin'") && statement.contains("time_ms >= 60000"));
    }

    #[test]
    fn what_is_visible_is_spared() {
        let (none, both) = (
            plan_statement(&rule(&[]), "l", BLIND),
            plan_statement(&rule(&[]), "l", Sight { transactions: true, locks: true }),
        );
        assert!(!none.contains("innodb_trx") && !none.contains("metadata_lock_info"));
        assert!(both.contains("innodb_trx") && both.contains("metadata_lock_info"));
    }

    #[test]
    fn a_preview_is_what_is_sent_but_for_a_long_list() {
        let some: Vec<Victim> = (1..=3).map(|id| Victim { id, query_id: id + 100 }).collect();
        let rule = rule(&[]);
        assert_eq!(preview(&some, &rule, "l", BLIND), kill_statement(&some, &rule, "l", BLIND));
        let many: Vec<Victim> = (1..=150).map(|id| Victim { id, query_id: id }).collect();
        let shown = preview(&many, &rule, "l", BLIND);
        assert!(shown.contains("/* 150 sessions in all */") && shown.contains("LIMIT 100"));
        assert!(!shown.contains("(9,9)"));
    }
}
