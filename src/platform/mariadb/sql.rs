//! The statements that measure. Each is one round trip and needs no privilege, except where it says so.

use std::time::Duration;

use super::lock::Hold;

/// What a connection can see of what must not be killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Transactions are visible.
    pub transactions: bool,
    /// Lock holders are visible.
    pub locks: bool,
}

/// Seconds after which the server ends a reading statement.
pub const CAP: &str = "SET STATEMENT max_statement_time=0.5 FOR ";

/// Users that are never touched, besides those a rule names: the server's own, backups', and those of providers.
pub const SYSTEM_USERS: [&str; 12] = [
    "system user",
    "event_scheduler",
    "unauthenticated user",
    "mariadb.sys",
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "rdsadmin",
    "rdsrepladmin",
    "mariabackup",
    "mariadb-backup",
    "debian-sys-maint",
];

/// The login name of our own account: what stands before the last `@`.
pub const OWN_USER: &str =
    "LEFT(CURRENT_USER(),CHAR_LENGTH(CURRENT_USER())-CHAR_LENGTH(SUBSTRING_INDEX(CURRENT_USER(),'@',-1))-1)";

/// Settings of our session: it may not outlive us by more than `silence`, waits for no lock, leaves no transaction
/// open, and reads in no surprising dialect. No cap for all statements: a kill that is cut loses the list of what it
/// did.
pub fn settings(silence: Duration) -> [String; 5] {
    [
        format!("SET SESSION wait_timeout={}", silence.as_secs().max(1)),
        "SET SESSION autocommit=1".to_owned(),
        "SET SESSION sql_mode=''".to_owned(),
        "SET SESSION lock_wait_timeout=1, innodb_lock_wait_timeout=1".to_owned(),
        "SET SESSION max_statement_time=0".to_owned(),
    ]
}

/// What the server is.
pub const FACTS: &str = "SELECT CURRENT_USER() account, CONNECTION_ID() connection_id, VERSION() version, \
     @@version_comment comment, @@max_connections server_limit, @@session.max_user_connections account_limit, \
     @@global.wait_timeout wait_timeout, @@global.idle_transaction_timeout idle_transaction_timeout";

/// Fails with 1227 where transactions are invisible.
pub const SEES_TRANSACTIONS: &str = "SELECT COUNT(*) FROM information_schema.innodb_trx";

/// Fails with 1109 where the metadata-lock plugin is missing.
pub const SEES_LOCKS: &str = "SELECT COUNT(*) FROM information_schema.metadata_lock_info";

/// What our account may do, its hourly limits in the first line. That line holds the password's hash too, by which
/// somebody who reads along could log in: asked on private lines only.
pub const GRANTS: &str = "SHOW GRANTS FOR CURRENT_USER";

/// The sample; with `transactions` (needs PROCESS) also what InnoDB has open.
pub fn sample(transactions: bool) -> String {
    let (columns, table) = if transactions {
        (
            ", t.*",
            ",\n(SELECT COUNT(*) trx, SUM(i.trx_state='LOCK WAIT') row_waits, SUM(q.command='Sleep') idle_in_trx, \
             MAX(TIMESTAMPDIFF(SECOND,i.trx_started,NOW())) oldest_trx \
             FROM information_schema.innodb_trx i LEFT JOIN information_schema.processlist q ON q.id=i.trx_mysql_thread_id) t",
        )
    } else {
        ("", "")
    };
    format!(
        "SELECT g.*, p.*{columns}, @@max_connections server_limit, @@session.max_user_connections account_limit, \
@@global.event_scheduler='ON' scheduler FROM
(SELECT MAX(IF(variable_name='THREADS_CONNECTED',variable_value,0))+0 connected, \
MAX(IF(variable_name='THREADS_RUNNING',variable_value,0))+0 running, \
MAX(IF(variable_name='CONNECTIONS',variable_value,0))+0 connections_total, \
MAX(IF(variable_name='ABORTED_CONNECTS',variable_value,0))+0 aborted_connects, \
MAX(IF(variable_name='ACCESS_DENIED_ERRORS',variable_value,0))+0 denied, \
MAX(IF(variable_name='ABORTED_CLIENTS',variable_value,0))+0 aborted_clients, \
MAX(IF(variable_name='CONNECTION_ERRORS_MAX_CONNECTIONS',variable_value,0))+0 refused_early, \
MAX(IF(variable_name='UPTIME',variable_value,0))+0 uptime \
FROM information_schema.global_status WHERE variable_name IN ('THREADS_CONNECTED','THREADS_RUNNING','CONNECTIONS',\
'ABORTED_CONNECTS','ACCESS_DENIED_ERRORS','ABORTED_CLIENTS','CONNECTION_ERRORS_MAX_CONNECTIONS','UPTIME')) g,
(SELECT COUNT(*) visible, SUM(CAST(user AS BINARY)=CAST({OWN_USER} AS BINARY)) own, SUM(command='Sleep') sleeping, \
SUM(command='Sleep' AND time_ms>=1000) sl1, SUM(command='Sleep' AND time_ms>=10000) sl10, \
SUM(command='Sleep' AND time_ms>=60000) sl60, SUM(command='Sleep' AND time_ms>=300000) sl300, \
MAX(IF(command='Sleep',time_ms,0)) oldest_sleep_ms, \
MAX(IF(command IN('Query','Execute') AND id<>CONNECTION_ID(),time_ms,0)) longest_query_ms, \
SUM(state LIKE 'Waiting for%lock%') mdl_waiters, SUM(command='Killed') dying \
FROM information_schema.processlist WHERE command NOT IN ('Daemon','Binlog Dump','Slave_IO','Slave_SQL')) p{table}"
    )
}

/// Everything that a fresh connection asks, in one round trip: settings, the lock if it is to `hold` one, what it may
/// see, what the server is, a sample, and, where a kill waits to be planned, its `plan` (the statement for each
/// [`Sight`]). Answers with the facts (and two flags, and what became of the lock), then the sample, then the plan's
/// rows, then, if they are wished for, the account's grants. `max_statement_time` does not reach into blocks,
/// but it bounds a whole block that begins under it: hence the setting before it, which the block takes back.
pub fn opening(
    silence: Duration,
    hold: Option<&Hold>,
    plan: Option<&dyn Fn(Sight) -> String>,
    grants: bool,
) -> String {
    let settings: String = settings(silence)
        .iter()
        .map(|set| format!(" BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET d=0; {set}; END;\n"))
        .collect();
    let lock = hold.map_or_else(String::new, |hold| {
        format!(
            " BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET d=0; SET got={};\n  IF got=1 THEN {}; END IF; END;\n",
            hold.take(),
            hold.show(" INTO shown")
        )
    });
    let facts = FACTS;
    let plan = plan.map_or_else(String::new, |plan| {
        let of = |transactions, locks| plan(Sight { transactions, locks });
        format!(
            "\n IF trx_ok AND mdl_ok THEN {}; ELSEIF trx_ok THEN {}; ELSEIF mdl_ok THEN {}; ELSE {}; END IF;",
            of(true, true),
            of(true, false),
            of(false, true),
            of(false, false)
        )
    });
    let grants = if grants {
        format!("\n BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET d=0; {GRANTS}; END;")
    } else {
        String::new()
    };
    let with = sample(true);
    let without = sample(false);
    let (trx, mdl) = (
        SEES_TRANSACTIONS.replacen(" FROM", " INTO d FROM", 1),
        SEES_LOCKS.replacen(" FROM", " INTO d FROM", 1),
    );
    format!(
        "SET SESSION max_statement_time=0.5; BEGIN NOT ATOMIC
 DECLARE trx_ok, mdl_ok INT DEFAULT 1; DECLARE d, got, shown INT;
{settings}{lock} BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET trx_ok=0; {trx}; END;
 BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION SET mdl_ok=0; {mdl}; END;
 {facts}, trx_ok, mdl_ok, got, shown;
 IF trx_ok THEN {with}; ELSE {without}; END IF;{plan}{grants}
END"
    )
}
