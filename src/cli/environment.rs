//! The environment, read here and nowhere else.

use std::ffi::OsString;
use std::path::PathBuf;

use secrecy::ExposeSecret;

use crate::platform::secret::{Redactor, Secret};
use crate::platform::{Fault, FaultKind, SECRET_VARIABLES};

/// A variable's text, when it is set and not empty.
#[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
pub(super) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether lines on a terminal may be redrawn: not in CI, not on a dumb terminal, and not when plain text is asked for.
pub(super) fn may_redraw() -> bool {
    text("NO_COLOR").is_none() && text("CI").is_none() && text("TERM").is_none_or(|term| term != "dumb")
}

/// Base URL of the API.
pub(super) fn api_url() -> String {
    text("HEROKU_API_URL").unwrap_or_else(|| "https://api.heroku.com".to_owned())
}

/// Base URL of Heroku's git.
pub(super) fn git_url() -> String {
    text("HEROKU_GIT_URL").unwrap_or_else(|| "https://git.heroku.com".to_owned())
}

/// Where journals and locks are kept.
pub(super) fn state_dir() -> Result<PathBuf, Fault> {
    if let Some(dir) = text("RUNBOOK_STATE_DIR") {
        return Ok(PathBuf::from(dir));
    }
    if let Some(dir) = text("XDG_STATE_HOME") {
        return Ok(PathBuf::from(dir).join("runbook"));
    }
    let Some(home) = text("HOME") else {
        return Err(Fault::new(
            FaultKind::Local,
            "finding the state directory",
            "neither RUNBOOK_STATE_DIR nor HOME is set",
        ));
    };
    let home = PathBuf::from(home);
    Ok(if cfg!(target_os = "macos") {
        home.join("Library/Application Support/runbook")
    } else {
        home.join(".local/state/runbook")
    })
}

/// Where the user's configuration is, when there is a home.
pub(super) fn config_dir() -> Option<PathBuf> {
    if let Some(dir) = text("XDG_CONFIG_HOME") {
        return Some(PathBuf::from(dir).join("runbook"));
    }
    let home = PathBuf::from(text("HOME")?);
    let mac = cfg!(target_os = "macos");
    Some(if mac { home.join("Library/Application Support/runbook") } else { home.join(".config/runbook") })
}

/// Variables that children must not get: this tool's own credentials and where they are kept, and whatever else holds a
/// database's URL or the same token under another name.
pub(super) fn secret_variables(token: Option<&Secret>) -> Vec<OsString> {
    let named = text("HEROKU_API_KEY");
    let token = token.map(ExposeSecret::expose_secret).or(named.as_deref());
    std::env::vars_os()
        .filter(|(name, value)| is_secret(&name.to_string_lossy(), &value.to_string_lossy(), token))
        .map(|(name, _)| name)
        .collect()
}

fn is_secret(name: &str, value: &str, token: Option<&str>) -> bool {
    const OURS: [&str; 3] = ["HEROKU_API_KEY", "HEROKU_API_TOKEN", "RUNBOOK_DATABASE_URL"];
    const PLACES: [&str; 3] = ["HEROKU_API_URL", "HEROKU_GIT_URL", "RUNBOOK_APP_URL"];
    const SCHEMES: [&str; 4] = ["mysql", "mysql2", "mariadb", "jdbc:mysql"];
    let url =
        value.split_once("://").is_some_and(|(scheme, _)| SCHEMES.contains(&scheme.to_lowercase().as_str()));
    // A token too short to be one could stand in any value.
    let token = token.filter(|token| token.len() >= 16);
    let plain = name.strip_suffix("_FILE").or_else(|| name.strip_suffix("_COMMAND")).unwrap_or(name);
    OURS.contains(&plain)
        || name.starts_with(SECRET_VARIABLES)
        || name.starts_with("JAWSDB")
        || name.ends_with("DATABASE_URL")
        || matches!(name, "MYSQL_PWD" | "MYSQL_PASSWORD" | "MARIADB_PASSWORD")
        || url
        || (PLACES.contains(&name) && Redactor::suspects(value))
        // Heroku's tokens, whoever's, also before ours is known.
        || value.contains("HRKU-")
        || token.is_some_and(|token| value.contains(token))
}

/// The same in one word, `user@host`.
pub(super) fn by() -> String {
    let (user, host) = who();
    format!("{user}@{host}")
}

/// Who runs this, for the audit.
pub(super) fn who() -> (String, String) {
    let user = text("USER").or_else(|| text("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (user, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_do_not_reach_children() {
        for (name, value) in [
            ("HEROKU_API_KEY", "secret-token-0123"),
            ("HEROKU_API_TOKEN", "x"),
            ("HEROKU_API_KEY_FILE", "/run/secrets/key"),
            ("HEROKU_API_KEY_COMMAND", "pass show heroku"),
            ("RUNBOOK_DATABASE_URL_FILE", "x"),
            ("RUNBOOK_SECRET_SMTP", "x"),
            ("RUNBOOK_SECRET_SMTP_COMMAND", "x"),
            ("RUNBOOK_DATABASE_URL_COMMAND", "x"),
            ("RUNBOOK_APP_URL", "https://u:p@wiki"),
            ("RUNBOOK_DATABASE_URL", "anything"),
            ("DATABASE_URL", "postgres://u:p@h/d"),
            ("CLEARDB_DATABASE_URL", "x"),
            ("JAWSDB_MARIA_URL", "x"),
            ("STAGING", "mysql://h/d"),
            ("GH", "Bearer secret-token-0123"),
            ("MYSQL_PWD", "x"),
            ("ANOTHERS", "HRKU-0123"),
        ] {
            assert!(is_secret(name, value, Some("secret-token-0123")), "{name}={value}");
        }
        for (name, value) in [
            ("PATH", "/usr/bin"),
            ("HTTPS_PROXY", "http://u:p@proxy:3128"),
            ("HEROKU_APP", "wiki"),
            ("RUNBOOK_APP_URL", "https://wiki/"),
            ("HOME", "/root"),
        ] {
            assert!(!is_secret(name, value, Some("secret-token-0123")), "{name}={value}");
        }
    }
}
