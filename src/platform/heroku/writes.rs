//! The changes at Heroku: each one request, sent once.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::{Heroku, segment};
use crate::platform::change::{DynoScope, Effect};
use crate::platform::config::ConfigVars;
use crate::platform::error::ChangeError;
use crate::platform::one_off::OneOff;
use crate::platform::writes::{HerokuWrites, Lines};

impl HerokuWrites for Heroku {
    fn restart(&self, scope: &DynoScope) -> Result<Effect, ChangeError> {
        let one = |name: &str| segment(name).map_err(ChangeError::nothing_changed);
        let path = match scope {
            DynoScope::All => self.of_app("/dynos"),
            // Plural here, singular for scaling.
            DynoScope::Kind(kind) => self.of_app(&format!("/formations/{}", one(kind)?)),
            DynoScope::One(name) => self.of_app(&format!("/dynos/{}", one(name)?)),
        };
        self.change(&Method::DELETE, &path, None)?;
        Ok(Effect::Accepted)
    }

    fn one_off(&self, wish: &OneOff, timeout: Duration, lines: &Lines<'_>) -> Result<Effect, ChangeError> {
        self.run_one_off(wish, timeout, lines)
    }

    fn scale(&self, kind: &str, quantity: u64) -> Result<Effect, ChangeError> {
        let body = json!({ "updates": [{ "type": kind, "quantity": quantity }] });
        self.change(&Method::PATCH, &self.of_app("/formation"), Some(&body))?;
        Ok(Effect::Accepted)
    }

    fn maintenance(&self, on: bool) -> Result<Effect, ChangeError> {
        // From the moment it may be on, a 503 of the router's says nothing about the app.
        if on {
            self.note_maintenance(true);
        }
        self.change(&Method::PATCH, &self.of_app(""), Some(&json!({ "maintenance": on })))?;
        self.note_maintenance(on);
        Ok(Effect::Accepted)
    }

    fn configure(&self, vars: &ConfigVars) -> Result<Effect, ChangeError> {
        self.set_config(vars)
    }

    fn create_addon(&self, plan: &str, name: Option<&str>) -> Result<Effect, ChangeError> {
        self.make_addon(plan, name)
    }

    fn change_plan(&self, addon: &str, plan: &str) -> Result<Effect, ChangeError> {
        self.change_addon(addon, plan)
    }

    fn rollback(&self, release: &str) -> Result<Effect, ChangeError> {
        let made =
            self.change(&Method::POST, &self.of_app("/releases"), Some(&json!({ "release": release })))?;
        Ok(released(&made))
    }

    fn promote(&self, slug: &str, description: &str) -> Result<Effect, ChangeError> {
        let body = json!({ "slug": slug, "description": description });
        let made = self.change(&Method::POST, &self.of_app("/releases"), Some(&body))?;
        Ok(released(&made))
    }
}

fn released(made: &serde_json::Value) -> Effect {
    made["version"].as_u64().map_or(Effect::Accepted, |version| Effect::Released { version })
}
