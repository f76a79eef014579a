//! What a person types when this tool cannot do it: heroku, git and mysql commands with their values in place. Secrets
//! stand as `$VARIABLES`. It must never ask anything: it is read when nothing answers.

use super::param::Bindings;
use crate::expr::Template;
use crate::health::Metric;
pub(super) use crate::platform::quoted;

/// The function that [`preamble`] defines for the shell.
const DATABASE: &str = "database";

/// What the commands of a page need, once: a login to the app's database, and where its pages are.
pub fn preamble(app: &str) -> Vec<String> {
    let app = app_word(app);
    vec![
        "# the database's login, without showing it: mysql://USER:PASSWORD@HOST:PORT/NAME (decode %XX in the password by hand)".to_owned(),
        format!("url=$(heroku config:get JAWSDB_MARIA_URL --app {app})"),
        "rest=${url#*://}; login=${rest%%@*}; place=${rest#*@}; name=${place#*/}; place=${place%%/*}".to_owned(),
        "export MYSQL_PWD=${login#*:}".to_owned(),
        format!(
            "{DATABASE}() {{ mysql --host=\"${{place%%:*}}\" --port=\"${{place##*:}}\" --user=\"${{login%%:*}}\" \"$@\" \"${{name%%\\?*}}\"; }}"
        ),
        format!("site=$(heroku apps:info --shell --app {app} | sed -n 's/^web_url=//p')"),
    ]
}

/// The app's name as a shell takes it; where none is known, a variable.
pub(super) fn app_word(app: &str) -> String {
    if app.is_empty() { "\"$APP\"".to_owned() } else { quoted(app) }
}

/// `heroku COMMAND --app APP`.
pub(super) fn heroku(app: &str, command: &str) -> String {
    format!("heroku {command} --app {}", app_word(app))
}

/// One statement for the app's database.
pub(super) fn sql(statement: &str) -> String {
    format!("{DATABASE} -e {}", double(statement))
}

/// A text in double quotes: it may hold single ones.
fn double(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// A page of the site, asked for as `curl` does it: its status and time.
pub(super) fn page(path: &str) -> String {
    let url = match path {
        whole if whole.contains("://") => quoted(whole),
        path => {
            format!("\"$site\"{}", quoted(path.trim_start_matches('/'))).replace("\"$site\"''", "\"$site\"")
        }
    };
    format!("curl -sS -o /dev/null -w '%{{http_code}} in %{{time_total}} s\\n' {url}")
}

/// The text with its inputs put in; what only a run knows stays as it is written.
pub(super) fn filled(text: &str, bindings: &Bindings) -> String {
    match Template::parse(text) {
        Ok(template) if template.names().all(|name| bindings.values.contains_key(name)) => {
            template.fill(bindings)
        }
        _ => text.to_owned(),
    }
}

/// A text as lines that a shell passes over.
pub(super) fn remarks(text: &str) -> Vec<String> {
    let text = crate::source::escape_controls(text);
    text.split("\\x0a").flat_map(str::lines).map(|line| format!("# {}", line.trim_end())).collect()
}

/// How a metric is read.
pub fn measure(metric: Metric, app: &str) -> Vec<String> {
    let status = |name: &str| sql(&format!("SHOW GLOBAL STATUS LIKE '{name}'"));
    let sleepers = |seconds: u32| {
        sql(&format!(
            "SELECT COUNT(*) sleeping, MAX(time) oldest_s FROM information_schema.processlist WHERE command='Sleep' AND time >= {seconds}"
        ))
    };
    let limit = || sql("SELECT @@max_connections, @@max_user_connections");
    let dynos = || heroku(app, "ps");
    match metric {
        Metric::Usage | Metric::Used => vec![status("Threads_connected"), limit()],
        Metric::Limit => vec![limit()],
        Metric::Running => vec![status("Threads_running")],
        Metric::Sleeping => vec![sleepers(0)],
        Metric::Idle | Metric::OldestIdle => vec![sleepers(60)],
        Metric::Refused => vec![format!("{}   # error 1040, 1203 or 1226: refused", sql("SELECT 1"))],
        Metric::Growth | Metric::TimeToFull => vec![
            format!("{}; sleep 60", status("Threads_connected")),
            format!("{}   # grown by N: full in (limit - used) / N minutes", status("Threads_connected")),
        ],
        Metric::DynosUp | Metric::DynosWanted | Metric::DynosCrashed => vec![dynos()],
        Metric::PagesOk | Metric::PagesP95 => vec![page("/")],
        Metric::LogsErrors => vec![format!(
            "{} | grep -ciE 'too many connections|SQLSTATE.08004|Cannot access the database'",
            heroku(app, "logs --num 500")
        )],
        Metric::JobsQueued => vec![sql("SELECT job_cmd, COUNT(*) FROM job GROUP BY 1")],
        Metric::Live => vec![dynos(), page("/")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_shell_as_they_are() {
        assert_eq!(heroku("wiki", "ps"), "heroku ps --app wiki");
        assert_eq!(heroku("", "ps"), "heroku ps --app \"$APP\"");
        assert_eq!(sql("SHOW STATUS LIKE 'a$b`c'"), "database -e \"SHOW STATUS LIKE 'a\\$b\\`c'\"");
        assert!(
            page("/").ends_with(" \"$site\"") && page("/a b").ends_with(" \"$site\"'a b'"),
            "{}",
            page("/a b")
        );
        assert_eq!(remarks("one\ntwo\u{1b}[m"), ["# one", "# two\\x1b[m"]);
        for metric in Metric::ALL {
            assert!(!measure(metric, "wiki").is_empty(), "{metric:?}");
        }
    }
}
