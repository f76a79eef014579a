//! Add-ons at Heroku: read, created, their plan changed. A create is sent once and never repeated blindly.

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::client::{Heroku, segment};
use crate::platform::addons::{Addon, AddonPlan, Price};
use crate::platform::change::Effect;
use crate::platform::error::{ChangeError, Fault};
use crate::source::escape_controls;

fn text(json: &Json) -> String {
    escape_controls(json.as_str().unwrap_or_default()).into_owned()
}

fn addon(json: &Json) -> Addon {
    let plan = text(&json["plan"]["name"]);
    let service = match text(&json["addon_service"]["name"]) {
        service if service.is_empty() => plan.split(':').next().unwrap_or_default().to_owned(),
        service => service,
    };
    Addon {
        id: text(&json["id"]),
        name: text(&json["name"]),
        service,
        plan,
        state: text(&json["state"]),
        config_vars: json["config_vars"].as_array().into_iter().flatten().map(text).collect(),
        message: Some(text(&json["provision_message"])).filter(|message| !message.is_empty()),
        updated_at: text(&json["updated_at"]),
    }
}

fn plan(json: &Json) -> AddonPlan {
    let price = &json["price"];
    AddonPlan {
        name: text(&json["name"]),
        human_name: text(&json["human_name"]),
        price: price["cents"].as_u64().map(|cents| Price {
            cents,
            unit: text(&price["unit"]),
            contract: price["contract"].as_bool().unwrap_or_default(),
        }),
        state: text(&json["state"]),
    }
}

/// `service:plan` as a path says it.
fn plan_segment(name: &str) -> Result<String, Fault> {
    match name.split_once(':') {
        Some((service, plan)) => Ok(format!("{}:{}", segment(service)?, segment(plan)?)),
        None => segment(name),
    }
}

fn effect(json: &Json) -> Effect {
    let made = addon(json);
    Effect::Addon { name: made.name, plan: made.plan }
}

impl Heroku {
    pub(super) fn read_addons(&self) -> Result<Vec<Addon>, Fault> {
        Ok(self.list(&self.of_app("/addons"), None, 1000)?.iter().map(addon).collect())
    }

    pub(super) fn read_addon(&self, name: &str) -> Result<Addon, Fault> {
        Ok(addon(&self.get(&self.of_app(&format!("/addons/{}", segment(name)?)))?))
    }

    pub(super) fn read_plan(&self, name: &str) -> Result<AddonPlan, Fault> {
        Ok(plan(&self.get(&format!("/plans/{}", plan_segment(name)?))?))
    }

    pub(super) fn read_plans(&self, service: &str) -> Result<Vec<AddonPlan>, Fault> {
        let path = format!("/addon-services/{}/plans", segment(service)?);
        let mut plans: Vec<AddonPlan> = self.list(&path, None, 1000)?.iter().map(plan).collect();
        plans.sort_by_key(|plan| plan.price.as_ref().map_or(u64::MAX, |price| price.cents));
        Ok(plans)
    }

    pub(super) fn make_addon(&self, plan: &str, name: Option<&str>) -> Result<Effect, ChangeError> {
        let mut body = json!({ "plan": plan });
        if let Some(name) = name {
            body["name"] = json!(name);
        }
        self.change(&Method::POST, &self.of_app("/addons"), Some(&body)).map(|made| effect(&made))
    }

    pub(super) fn change_addon(&self, name: &str, plan: &str) -> Result<Effect, ChangeError> {
        let name = segment(name).map_err(ChangeError::nothing_changed)?;
        let path = self.of_app(&format!("/addons/{name}"));
        self.change(&Method::PATCH, &path, Some(&json!({ "plan": plan }))).map(|made| effect(&made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_add_on_is_read_as_it_arrives_and_what_is_missing_is_empty() {
        let read = addon(
            &json!({ "name": "redis-1", "plan": { "name": "heroku-redis:mini" }, "state": "provisioning",
            "config_vars": ["REDIS_URL"], "provision_message": "soon" }),
        );
        assert_eq!((read.service.as_str(), read.config_vars.len(), read.exists()), ("heroku-redis", 1, true));
        assert_eq!(read.message.as_deref(), Some("soon"));
        assert!(!addon(&json!({ "state": "deprovisioning" })).exists());
        assert_eq!(plan(&json!({ "name": "a:b" })).price, None);
        let priced = plan(&json!({ "name": "a:b", "price": { "cents": 300, "unit": "month" } }));
        assert_eq!(priced.costs(), "$3 a month");
        assert_eq!(plan_segment("heroku-redis:mini").unwrap(), "heroku-redis:mini");
        assert_eq!(plan_segment("a/b:..c").unwrap(), "a%2Fb:..c");
        assert!(plan_segment("a:..").is_err());
    }
}
