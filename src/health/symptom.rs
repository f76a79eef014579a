//! The forms in which an application says that its database takes no more connections.
//!
//! One text in, one answer out: which form, if any. Drivers of every language say the same thing in their own words, and
//! here they are one symptom. Pure; it must never count a number that merely looks like a code (a size, a line, a port),
//! an hourly quota (killing does not help there), or a database that cannot be reached for another reason.
//!
//! A page that was answered well may hold such words as its content: whoever asks about a page looks at failed ones only.

/// Bytes of a text that are looked at: a page's error stands near its top.
const LOOKED_AT: usize = 256 << 10;

/// What follows the words `too many connections` when it is said by others: mail servers to a client, `PostgreSQL` of a
/// role, proxies of a host.
const OTHERS: [&str; 6] = [" from ", " for role", " for database", " to host", " to this", " per "];

/// Where drivers put an error's number: `SQLSTATE[HY000] [1040]`, `(HY000/1040)`, `OperationalError: (1040,`.
const PLACES: [&str; 9] = [
    "[hy000] [",
    "[08004] [",
    "[42000] [",
    "(hy000/",
    "(08004/",
    "(42000/",
    "operationalerror: (",
    "operationalerror(",
    "operationalerror) (",
];

/// Reasons of `MediaWiki` for having no database that are not this symptom.
const OTHER_REASONS: [&str; 14] = [
    "access denied",
    "unknown database",
    "unknown host",
    "unknown mysql",
    "getaddrinfo",
    "name or service not known",
    "connection refused",
    "no such file",
    "can't connect",
    "timed out",
    "timeout",
    "gone away",
    "no route to host",
    "ssl",
];

/// One form of the symptom, as people name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exhaustion {
    /// 1040, SQLSTATE 08004: the server's own limit.
    Server,
    /// 1203, 1226 for `max_user_connections`: the limit of the account.
    Account,
    /// MediaWiki has no database, and does not say why.
    Unsaid,
}

impl Exhaustion {
    /// How it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Server => "Too many connections",
            Self::Account => "max_user_connections reached",
            Self::Unsaid => "Cannot access the database",
        }
    }

    /// The form that a text shows, if any: an app's log line, or the body of a page that failed.
    pub fn shown_by(text: &str) -> Option<Self> {
        let text = plain(text);
        if account(&text) {
            return Some(Self::Account);
        }
        if server(&text) {
            return Some(Self::Server);
        }
        mediawiki_without_reason(&text).then_some(Self::Unsaid)
    }

    /// The same of a line of the app's log. The router's own lines hold what visitors asked for, the API's what people
    /// have started and deployed: never a driver's words.
    pub fn shown_by_line(source: &str, process: &str, message: &str) -> Option<Self> {
        if source == "heroku" || ["router", "api"].contains(&process) {
            return None;
        }
        Self::shown_by(message)
    }
}

/// Lower case, white space as single blanks, the quotes of HTML as quotes.
fn plain(text: &str) -> String {
    let text = text[..boundary(text, LOOKED_AT)].to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    for word in text.split_ascii_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    if out.contains('&') {
        for (entity, sign) in [("&quot;", "\""), ("&#039;", "'"), ("&#39;", "'"), ("&apos;", "'")] {
            out = out.replace(entity, sign);
        }
    }
    out
}

/// The end of a character at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// 1203 and 1226. The latter is also said of hourly quotas, which name another resource.
fn account(text: &str) -> bool {
    if text.contains("er_too_many_user_connections") || coded(text, "1203") {
        return true;
    }
    text.match_indices("max_user_connections").any(|(at, _)| {
        // `User 'x' has exceeded the 'max_user_connections' resource (current value: 15)`,
        // `User x already has more than 'max_user_connections' active connections`.
        let before = &text[boundary(text, at.saturating_sub(40))..at];
        before.contains("exceeded") || before.contains("more than")
    })
}

/// 1040.
fn server(text: &str) -> bool {
    text.match_indices("too many connections").any(|(at, phrase)| {
        let (before, after) = (&text[..at], &text[at + phrase.len()..]);
        let other = OTHERS.iter().any(|other| after.starts_with(other))
            || ["421 ", "4.7.0 ", "4.3.2 "].iter().any(|code| before.ends_with(code));
        // Part of a longer word or name: a page's title, a file.
        let whole = !before.ends_with(|c: char| c.is_alphanumeric() || "_-/=+".contains(c))
            && !after.starts_with(|c: char| c.is_alphanumeric() || "_-=+".contains(c));
        whole && !other
    }) || text.contains("er_con_count_error")
        || coded(text, "1040")
        || state(text, "08004")
}

/// An error's number where a driver puts it. Never a bare number: sizes, lines and ids have four digits, too.
fn coded(text: &str, code: &str) -> bool {
    text.match_indices(code).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + code.len()..]);
        if PLACES.iter().any(|place| before.ends_with(place)) {
            return after.starts_with([']', ')', ',']);
        }
        // `Error 1040 (08004):`, `errno: 1040`, `"errno":1040`, `ERROR 1203 (42000)`, `error code [1040]`.
        let label = before.trim_end_matches(|c: char| " :=#([\"'".contains(c));
        let labelled = ["error", "errno", "error code", "error_code", "errorcode", "err_no"]
            .iter()
            .any(|word| label.ends_with(word))
            && label.len() < before.len();
        let ends = after.is_empty()
            || after.starts_with([':', ',', ')', ']', '}', '"', '\'', ';'])
            || after.starts_with(" (")
            || after.starts_with(" - ");
        // `error: 10:40`, `error 1040:5` are no codes, and sizes are followed by a unit.
        labelled && ends && !after.starts_with(":0") && !starts_with_number(after)
    })
}

fn starts_with_number(after: &str) -> bool {
    after.strip_prefix([':', ',']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// An SQLSTATE where it is called one.
fn state(text: &str, state: &str) -> bool {
    text.match_indices(state).any(|(at, _)| {
        let label = text[..at].trim_end_matches(|c: char| " :=#([\"'".contains(c));
        let alone = !text[at + state.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
        alone && label.len() < at && (label.ends_with("sqlstate") || label.ends_with("sql state"))
    })
}

/// `Cannot access the database`, hidden or with a reason. A reason that is another's is not this symptom.
fn mediawiki_without_reason(text: &str) -> bool {
    text.match_indices("cannot access the database").any(|(at, phrase)| {
        let after = &text[at + phrase.len()..];
        let said = &after[..boundary(after, 160)];
        // What follows belongs to it up to the end of the sentence or element.
        let said = said.split(['<', '\n']).next().unwrap_or_default();
        !OTHER_REASONS.iter().any(|reason| said.contains(reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As drivers of several languages say it; most are quoted from reports of users.
    const FORMS: &[(&str, Exhaustion)] = &[
        // PHP: PDO, mysqli, the old extension, an exception of mysqli.
        (
            "PHP Fatal error: Uncaught PDOException: SQLSTATE[HY000] [1040] Too many connections in /app/x.php:203",
            Exhaustion::Server,
        ),
        ("SQLSTATE[HY000] [1040] Zu viele Verbindungen", Exhaustion::Server),
        ("SQLSTATE[08004] [1040] Too many connections", Exhaustion::Server),
        (
            "PHP Warning:  mysqli::__construct(): (08004/1040): Too many connections in /app/y.php on line 26",
            Exhaustion::Server,
        ),
        ("mysqli_connect(): (HY000/1040): Trop de connexions", Exhaustion::Server),
        (
            "PHP Warning: mysqli_real_connect(): (42000/1203): User u already has more than 'max_user_connections' active connections",
            Exhaustion::Account,
        ),
        (
            "SQLSTATE[42000] [1226] User 'wiki' has exceeded the 'max_user_connections' resource (current value: 10)",
            Exhaustion::Account,
        ),
        (
            "User newhind_test has already more than 'max_user_connections' active connections<br />",
            Exhaustion::Account,
        ),
        // MediaWiki: with its reason, hidden, as HTML.
        (
            "[a1b2] /wiki/Main Wikimedia\\Rdbms\\DBConnectionError: Cannot access the database: Too many connections (db)",
            Exhaustion::Server,
        ),
        ("<p><small>(Cannot access the database)</small></p>", Exhaustion::Unsaid),
        (
            "(Cannot access the database: User &#039;w&#039; has exceeded the &#039;max_user_connections&#039; resource)",
            Exhaustion::Account,
        ),
        ("Cannot access the database: db.example.com", Exhaustion::Unsaid),
        // Command line, Perl, replication.
        ("ERROR 1040 (HY000): Too many connections", Exhaustion::Server),
        ("ERROR 1040 (08004): Muitas conexões", Exhaustion::Server),
        (
            "DBI connect('database=w','u',...) failed: Too many connections at x.pl line 3.",
            Exhaustion::Server,
        ),
        // Python.
        ("OperationalError: (1040, 'Too many connections')", Exhaustion::Server),
        (
            "pymysql.err.OperationalError: (1203, \"User w already has more than 'max_user_connections'\")",
            Exhaustion::Account,
        ),
        (
            "sqlalchemy.exc.OperationalError: (MySQLdb._exceptions.OperationalError) (1040, '…')",
            Exhaustion::Server,
        ),
        ("mysql.connector.errors.DatabaseError: 1040 (08004): Too many connections", Exhaustion::Server),
        // Node.
        ("Error: ER_CON_COUNT_ERROR: Too many connections", Exhaustion::Server),
        ("  errno: 1040,", Exhaustion::Server),
        ("{\"code\":\"X\",\"errno\":1040,\"sqlState\":\"\"}", Exhaustion::Server),
        ("  sqlState: '08004',", Exhaustion::Server),
        ("Error: ER_TOO_MANY_USER_CONNECTIONS: User w already", Exhaustion::Account),
        (
            "{ [Error: ER_USER_LIMIT_REACHED: User '###' has exceeded the 'max_user_connections' resource (current value: 15)] }",
            Exhaustion::Account,
        ),
        // Ruby, Go, Rust, Elixir.
        ("Mysql2::Error: Too many connections", Exhaustion::Server),
        ("client.rb:37:in `connect': Too many connections (Mysql2::Error)", Exhaustion::Server),
        ("Could not start tree TX: Error 1040: Too many connections", Exhaustion::Server),
        ("Error 1040 (08004): Too many connections", Exhaustion::Server),
        (
            "Server error: `ERROR 42000 (1203): User s51156 already has more than 'max_user_connections' active connections''",
            Exhaustion::Account,
        ),
        ("(1040) (ER_CON_COUNT_ERROR) Too many connections", Exhaustion::Server),
        // Java, .NET.
        (
            "java.sql.SQLNonTransientConnectionException: Data source rejected establishment of connection,  message from server: \"Too many connections\"",
            Exhaustion::Server,
        ),
        ("SQL Error: 1040, SQLState: 08004", Exhaustion::Server),
        ("SQL Error: 1203, SQLState: 42000", Exhaustion::Account),
        ("MySql.Data.MySqlClient.MySqlException (0x80004005): Too many connections", Exhaustion::Server),
        // Cut over two lines by a page.
        ("Too many\n   connections", Exhaustion::Server),
    ];

    #[test]
    fn every_form_is_the_same_symptom() {
        for (text, form) in FORMS {
            assert_eq!(Exhaustion::shown_by(text), Some(*form), "{text}");
        }
    }

    #[test]
    fn what_merely_looks_like_it_is_not() {
        for text in [
            "",
            // Numbers that are sizes, ports, lines, ids, times.
            "10.0.0.1 - - [23/Nov/2026] \"GET /wiki/Page HTTP/1.1\" 200 1040 \"-\" \"Mozilla\"",
            "GET /index.php?oldid=1040&error=1203 200",
            "PHP Warning: x in /app/includes/Title.php on line 1203",
            "error: 1040 bytes could not be sent",
            "error 10405: no such thing",
            "upload error 1040,5 kB",
            "[1226] worker started",
            "listening on port 1203",
            "errors: 1040",
            // Titles and queries of visitors.
            "\"GET /wiki/Too_many_connections HTTP/1.1\" 200",
            "\"GET /index.php?search=Too+many+connections\" 200",
            // Hourly quotas: 1226 of another resource.
            "SQLSTATE[42000] [1226] User 'w' has exceeded the 'max_queries_per_hour' resource (current value: 100)",
            "ER_USER_LIMIT_REACHED: User 'w' has exceeded the 'max_connections_per_hour' resource",
            // A setting that is shown.
            "max_user_connections = 10",
            // Others' limits.
            "421 4.7.0 Too many connections from your host",
            "FATAL:  too many connections for role \"x\"",
            "ERR max number of clients reached",
            "server reached MaxRequestWorkers setting, consider raising the MaxRequestWorkers setting",
            "HikariPool-1 - Connection is not available, request timed out after 30000ms.",
            // No database, for another reason.
            "Cannot access the database: Access denied for user 'w'@'10.0.0.1' (using password: YES)",
            "Cannot access the database: Can't connect to MySQL server on 'db' (111)",
            "Cannot access the database: php_network_getaddresses: getaddrinfo failed",
            "SQLSTATE[HY000] [2002] Connection refused",
            "SQLSTATE[HY000] [2006] MySQL server has gone away",
            "SQLSTATE[HY000]: General error: 1205 Lock wait timeout exceeded",
            "invoice 08004 paid",
        ] {
            assert_eq!(Exhaustion::shown_by(text), None, "{text}");
        }
    }

    #[test]
    fn the_router_quotes_visitors_and_is_not_believed() {
        let message =
            "at=info method=GET path=\"/w?q=SQLSTATE[HY000] [1040] Too many connections\" status=200";
        assert!(Exhaustion::shown_by_line("app", "web.1", message).is_some());
        assert_eq!(Exhaustion::shown_by_line("heroku", "router", message), None);
        assert_eq!(Exhaustion::shown_by_line("app", "api", message), None);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ä".repeat(LOOKED_AT);
        assert_eq!(Exhaustion::shown_by(&text), None);
        assert_eq!(Exhaustion::shown_by(&format!("x{text} Too many connections")), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in ".{0,300}", before in "[a-zA-Z <>&'\"äß]{0,40}", form in 0..FORMS.len()) {
            let _ = Exhaustion::shown_by(&text);
            let (quoted, _) = FORMS[form];
            let line = format!("{before} {quoted}");
            proptest::prop_assert!(Exhaustion::shown_by(&line).is_some(), "{}", line);
        }
    }
}
