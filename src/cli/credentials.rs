//! The token and the database's URL: from a flag, the environment, a file or a program, `.netrc`. It never shows them.

use std::path::{Path, PathBuf};

use super::environment::{api_url, secret_variables, text};
use crate::platform::secret::{Redactor, Secret};
use crate::platform::{Fault, FaultKind, from_command, from_file, netrc};

/// The token's variable.
const TOKEN: &str = "HEROKU_API_KEY";
/// The database URL's variable.
const DATABASE: &str = "RUNBOOK_DATABASE_URL";

/// A secret, and the flag or variable that gave it.
pub(super) struct Found {
    pub(super) secret: Secret,
    pub(super) from: String,
}

/// The token: `HEROKU_API_KEY`, its `_FILE` or its `_COMMAND`, else the `.netrc` entry of the API's host.
pub(super) fn token(notice: &dyn Fn(&str)) -> Result<Secret, Fault> {
    if let Some(found) = named(TOKEN, None, notice)? {
        return Ok(found.secret);
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
    .hint("`export HEROKU_API_KEY=$(heroku auth:token)`, or HEROKU_API_KEY_FILE, or HEROKU_API_KEY_COMMAND")
    .hint("current Heroku CLIs keep the login in the system's keychain, not in .netrc");
    if text("HEROKU_API_TOKEN").is_some() {
        fault = fault.hint("HEROKU_API_TOKEN is set, but nobody reads it: the name is HEROKU_API_KEY");
    }
    Err(fault)
}

/// The database's URL: the flag, `RUNBOOK_DATABASE_URL`, its `_FILE` or its `_COMMAND`; `None` = the app's own. A program
/// that is asked for it does not get the token, under whatever name.
pub(super) fn database_url(
    flag: Option<&str>,
    token: Option<&Secret>,
    notice: &dyn Fn(&str),
) -> Result<Option<Found>, Fault> {
    match flag {
        Some(url) => Ok(Some(Found { secret: Secret::from(url), from: "--database-url".to_owned() })),
        None => named(DATABASE, token, notice),
    }
}

/// A secret that a runbook names by its variable: its value, `_FILE` or `_COMMAND`.
pub(super) fn variable(name: &str, token: &Secret, notice: &dyn Fn(&str)) -> Result<Secret, Fault> {
    named(name, Some(token), notice)?.map(|found| found.secret).ok_or_else(|| {
        Fault::new(
            FaultKind::Credentials,
            format!("reading the environment variable {name}, which the runbook names"),
            "it is not set, or empty",
        )
        .hint(format!("`export {name}=…`, or {name}_FILE, or {name}_COMMAND; docs/secrets.md tells how"))
    })
}

/// Where those are who are told of a run: a variable's value, `_FILE` or `_COMMAND`; `None` = it is not set. A program
/// that is asked for it gets none of this tool's own secrets.
pub(super) fn told(name: &str, notice: &dyn Fn(&str)) -> Result<Option<Secret>, Fault> {
    Ok(named(name, None, notice)?.map(|found| found.secret))
}

/// The secret of `variable`: its value wins; else the one place that `variable_FILE` or `variable_COMMAND` names.
fn named(variable: &str, token: Option<&Secret>, notice: &dyn Fn(&str)) -> Result<Option<Found>, Fault> {
    if let Some(value) = text(variable).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
    {
        return Ok(Some(Found { secret: Secret::from(value), from: variable.to_owned() }));
    }
    let (file, command) = (format!("{variable}_FILE"), format!("{variable}_COMMAND"));
    match (text(&file), text(&command)) {
        (None, None) => Ok(None),
        (Some(path), None) => {
            let secret = from_file(&file, Path::new(&path), notice)?;
            Ok(Some(Found { secret, from: file }))
        }
        (None, Some(line)) => {
            let redactor = Redactor::default();
            if let Some(token) = token {
                redactor.learn(token);
            }
            let secret = from_command(&command, &line, secret_variables(token), &redactor, notice)?;
            Ok(Some(Found { secret, from: command }))
        }
        (Some(_), Some(_)) => Err(Fault::new(
            FaultKind::Credentials,
            format!("choosing where {variable} comes from"),
            format!("both {file} and {command} are set"),
        )
        .hint(format!("unset one of them; {variable} itself would win over both"))),
    }
}
