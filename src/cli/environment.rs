//! The environment, read here and nowhere else.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::platform::secret::Secret;
use crate::platform::{Fault, FaultKind, netrc};

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

/// The token: `HEROKU_API_KEY`, else the `.netrc` entry of the API's host.
pub(super) fn token() -> Result<Secret, Fault> {
    if let Some(key) = text("HEROKU_API_KEY").map(|key| key.trim().to_owned()).filter(|key| !key.is_empty()) {
        return Ok(Secret::from(key));
    }
    let api = api_url();
    let host = api.split("://").nth(1).unwrap_or(&api).split(['/', ':']).next().unwrap_or_default();
    let file = text("NETRC")
        .map(PathBuf::from)
        .or_else(|| text("HOME").map(|home| PathBuf::from(home).join(".netrc")));
    if let Some(file) = file
        && let Ok(content) = std::fs::read_to_string(&file)
        && let Some(token) = netrc::password(&content, host)
    {
        return Ok(token);
    }
    let mut fault = Fault::new(
        FaultKind::Credentials,
        "finding a Heroku token",
        format!("HEROKU_API_KEY is not set and .netrc has no entry for {host}"),
    )
    .hint("`export HEROKU_API_KEY=$(heroku auth:token)`")
    .hint("current Heroku CLIs keep the login in the system's keychain, not in .netrc");
    if text("HEROKU_API_TOKEN").is_some() {
        fault = fault.hint("HEROKU_API_TOKEN is set, but nobody reads it: the name is HEROKU_API_KEY");
    }
    Err(fault)
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

/// Variables that children must not get: ours, and whatever holds a database's URL.
pub(super) fn secret_variables() -> Vec<OsString> {
    let fixed = ["HEROKU_API_KEY", "HEROKU_API_TOKEN", "RUNBOOK_DATABASE_URL"];
    let mut names: Vec<OsString> = fixed.iter().map(OsString::from).collect();
    for (name, value) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("JAWSDB") || value.to_string_lossy().starts_with("mysql://") {
            names.push(name);
        }
    }
    names
}

/// Who runs this, for the audit.
pub(super) fn who() -> (String, String) {
    let user = text("USER").or_else(|| text("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    (user, host)
}
