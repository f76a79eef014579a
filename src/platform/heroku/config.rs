//! Config vars at Heroku: compared with what is wanted, and set. Their values are secrets: none leaves this file.

use std::collections::BTreeMap;

use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use super::client::{Heroku, segment};
use crate::platform::change::Effect;
use crate::platform::config::{ConfigDifference, ConfigValue, ConfigVars, describes, is_harmless};
use crate::platform::error::{ChangeError, Fault};
use crate::platform::reads::HerokuReads;
use crate::platform::secret::Secret;

/// Newest releases among which the one that was just made is looked for.
const LOOKED_AT: usize = 5;

impl Heroku {
    /// What each is to be, `None` = removed.
    fn wanted(&self, vars: &ConfigVars) -> Result<BTreeMap<String, Option<Secret>>, Fault> {
        let mut releases: BTreeMap<u64, BTreeMap<String, Secret>> = BTreeMap::new();
        let mut wanted = BTreeMap::new();
        for (key, value) in vars {
            let value = match value {
                ConfigValue::Text(text) => Some(Secret::from(text.clone())),
                ConfigValue::Unset => None,
                ConfigValue::Variable(name) => {
                    let secret = (self.options.variables)(name)?;
                    self.options.redactor.learn_url(&secret);
                    Some(secret)
                }
                ConfigValue::Release(version) => {
                    let then = if let Some(then) = releases.get(version) {
                        then
                    } else {
                        let version_text = segment(&version.to_string())?;
                        let path = self.of_app(&format!("/releases/{version_text}/config-vars"));
                        releases.entry(*version).or_insert(self.config(&path)?)
                    };
                    then.get(key).cloned()
                }
            };
            wanted.insert(key.clone(), value);
        }
        Ok(wanted)
    }

    pub(super) fn compare_config(&self, vars: &ConfigVars) -> Result<Vec<ConfigDifference>, Fault> {
        let wanted = self.wanted(vars)?;
        let now = self.config(&self.of_app("/config-vars"))?;
        Ok(wanted
            .iter()
            .map(|(key, wanted)| {
                let wanted = wanted.as_ref().map(ExposeSecret::expose_secret);
                let value = now.get(key).map(ExposeSecret::expose_secret);
                let is_url = value.is_some_and(|value| value.starts_with("mysql") && value.contains("://"));
                ConfigDifference {
                    key: key.clone(),
                    same: wanted == value,
                    is_set: value.is_some(),
                    will_be_set: wanted.is_some(),
                    now: value.filter(|value| is_harmless(key, value)).map(str::to_owned),
                    wanted: wanted.filter(|value| is_harmless(key, value)).map(str::to_owned),
                    is_database: *key == self.options.database_var || is_url,
                }
            })
            .collect())
    }

    pub(super) fn set_config(&self, vars: &ConfigVars) -> Result<Effect, ChangeError> {
        let wanted = self.wanted(vars).map_err(ChangeError::nothing_changed)?;
        let body: serde_json::Map<String, Json> = wanted
            .iter()
            .map(|(key, value)| {
                (key.clone(), value.as_ref().map_or(Json::Null, |value| json!(value.expose_secret())))
            })
            .collect();
        // It answers with every config var of the app: dropped unread.
        drop(self.change(&Method::PATCH, &self.of_app("/config-vars"), Some(&Json::Object(body)))?);
        // It does not say which release that made; whoever waits for the proof finds out if this does not.
        let releases = self.releases(LOOKED_AT).unwrap_or_default();
        let newest = releases.first().filter(|newest| describes(&newest.description, vars));
        Ok(newest.map_or(Effect::Accepted, |release| Effect::Released { version: release.version }))
    }
}
