//! Config vars as a change states them. Pure. Values that are secrets, or that others have set, are never part of a
//! change: it says where each is read from when it is made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::secret::login;

/// Variables of the environment that a runbook may name begin with this: a file from elsewhere cannot ask for another,
/// and no program that is started gets them.
pub const SECRET_VARIABLES: &str = "RUNBOOK_SECRET_";

/// Config vars to be set or removed, by name.
pub type ConfigVars = BTreeMap<String, ConfigValue>;

/// What a config var is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigValue {
    /// This text, which is no secret: it is shown and journalled.
    Text(String),
    /// What this environment variable holds (or the file or program that `…_FILE`, `…_COMMAND` names) when it is made.
    Variable(String),
    /// What it was in this release; removed when it was not set there.
    Release(u64),
    /// Removed.
    Unset,
}

impl ConfigValue {
    /// Its part of a request, for people.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::Variable(name) => format!("\"${name}\""),
            Self::Release(version) => format!("(as in v{version})"),
            Self::Unset => "null".to_owned(),
        }
    }
}

/// How a config var now compares with what is wanted. Values stay behind the door.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the variable")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigDifference {
    /// Its name.
    pub key: String,
    /// It is as wanted already.
    pub same: bool,
    /// It is set now.
    pub is_set: bool,
    /// It is to be set, not removed.
    pub will_be_set: bool,
    /// Its value now, where that cannot be a secret: a number, `true`, `false`.
    pub now: Option<String>,
    /// What it is to be, where that cannot be a secret.
    pub wanted: Option<String>,
    /// It holds the database's URL.
    pub is_database: bool,
}

/// The names and values as the body of a request shows them, without secrets.
pub(in crate::platform) fn shown(vars: &ConfigVars) -> String {
    let parts: Vec<_> = vars.iter().map(|(key, value)| format!("\"{key}\":{}", value.shown())).collect();
    format!("{{{}}}", parts.join(","))
}

/// The names, as people say them.
pub(in crate::platform) fn names(vars: &ConfigVars) -> String {
    vars.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Whether a release of this description was made by a change of one of these: `Set A, B config vars`.
pub(in crate::platform) fn describes(description: &str, vars: &ConfigVars) -> bool {
    let words = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    description.contains("config var") && description.split(words).any(|word| vars.contains_key(word))
}

/// Whether it is a name that Heroku takes for a config var, as far as that is known.
pub fn is_config_name(name: &str) -> bool {
    name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A value that cannot be a secret.
pub(in crate::platform) fn is_harmless(name: &str, value: &str) -> bool {
    // By its name alone, however short it is.
    if secret_by_name(name, "any value") {
        return false;
    }
    matches!(value, "true" | "false") || (value.len() <= 6 && value.parse::<u64>().is_ok())
}

/// Whether a config var is a secret, by its name or since it is a URL with a login. Values of a few letters are left:
/// they would be taken out of every text.
pub fn secret_by_name(name: &str, value: &str) -> bool {
    const NAMES: [&str; 6] = ["KEY", "SECRET", "TOKEN", "PASS", "CREDENTIAL", "PRIVATE"];
    let name = name.to_uppercase();
    value.len() >= 8 && (NAMES.iter().any(|part| name.contains(part)) || login(value).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> ConfigVars {
        BTreeMap::from([
            ("OLD".to_owned(), ConfigValue::Unset),
            ("SMTP_PASSWORD".to_owned(), ConfigValue::Variable("RUNBOOK_SECRET_SMTP".to_owned())),
            ("WAS".to_owned(), ConfigValue::Release(12)),
            ("WEB_CONCURRENCY".to_owned(), ConfigValue::Text("3".to_owned())),
        ])
    }

    #[test]
    fn a_request_shows_where_values_come_from_and_no_secret() {
        assert_eq!(
            shown(&vars()),
            r#"{"OLD":null,"SMTP_PASSWORD":"$RUNBOOK_SECRET_SMTP","WAS":(as in v12),"WEB_CONCURRENCY":"3"}"#
        );
    }

    #[test]
    fn a_release_is_known_by_the_names_in_its_description() {
        for (description, ours) in [
            ("Set WEB_CONCURRENCY config vars", true),
            ("Set A, OLD config vars", true),
            ("Remove OLD config vars", true),
            ("Set OLDER config vars", false),
            ("Deploy OLD", false),
        ] {
            assert_eq!(describes(description, &vars()), ours, "{description}");
        }
    }

    #[test]
    fn only_small_numbers_and_truths_are_no_secrets() {
        for (value, harmless) in [
            ("5", true),
            ("true", true),
            ("123456", true),
            ("1234567", false),
            ("hunter2", false),
            ("", false),
        ] {
            assert_eq!(is_harmless("X", value), harmless, "{value}");
        }
        assert!(!is_harmless("DOOR_PASSWORD", "1234"));
        for (name, good) in
            [("WEB_CONCURRENCY", true), ("_x1", true), ("1X", false), ("A-B", false), ("", false)]
        {
            assert_eq!(is_config_name(name), good, "{name}");
        }
    }

    #[test]
    fn config_vars_are_secret_by_name_or_by_a_login() {
        for (name, value) in [
            ("WG_SECRET_KEY", "0123456789"),
            ("smtp_password", "12345678"),
            ("CACHE", "redis://:abc@cache:6379"),
        ] {
            assert!(secret_by_name(name, value), "{name}");
        }
        for (name, value) in
            [("WEB_CONCURRENCY", "5"), ("KEY_SIZE", "2048"), ("SITE", "https://wiki.example/a@b")]
        {
            assert!(!secret_by_name(name, value), "{name}");
        }
    }
}
