//! Add-ons (facts §2): created, listed, their plan changed. A provider takes time; the app gets the final config vars and
//! a restart when it is ready. Creating the scheduler schedules nothing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::door;
use super::World;
use super::answer::Answer;
use super::plans::{self, Plan};
use super::releases::{self, Phase};
use super::state::Addon;

const FACT: &str = "§2 Add-ons";
/// How long a provider takes, before the lab's scale.
const PROVISIONING: Duration = Duration::from_secs(60);
/// What a config var holds until then.
const PLACEHOLDER: &str = "placeholder://add-on-is-being-provisioned";

fn wanted(body: &Json) -> Result<&'static Plan, Answer> {
    let plan = body["plan"].as_str().or_else(|| body["plan"]["name"].as_str());
    let Some(plan) = plan else { return Err(Answer::invalid("plan is required")) };
    plans::find(plan).ok_or_else(|| {
        let message = "Couldn't find either the add-on service or the add-on plan.";
        Answer::error(404, "not_found", message, FACT)
    })
}

/// `POST /apps/A/addons`.
pub fn create(world: &Arc<World>, body: &Json) -> Answer {
    let plan = match wanted(body) {
        Ok(plan) => plan,
        Err(answer) => return answer,
    };
    let service = plan.service();
    let config = match service {
        "heroku-redis" => vec!["REDIS_URL".to_owned()],
        "jawsdb-maria" => vec!["JAWSDB_MARIA_PURPLE_URL".to_owned()],
        _ => Vec::new(),
    };
    let name = body["name"]
        .as_str()
        .map_or_else(|| format!("{service}-round-{:05}", fastrand::u32(10_000..99_999)), str::to_owned);
    let addon = Addon {
        id: door::uuid(),
        name: name.clone(),
        service: service.to_owned(),
        plan: plan.name.to_owned(),
        config: config.clone(),
        state: if plan.is_slow() { "provisioning" } else { "provisioned" },
        at: door::stamp(),
        updated: door::stamp(),
    };
    let mut state = world.state();
    if state.addons.iter().any(|known| known.name == name) {
        return Answer::invalid("Name is already taken");
    }
    state.addons.push(addon.clone());
    if plan.is_slow() {
        for variable in &config {
            state.config.entry(variable.clone()).or_insert_with(|| PLACEHOLDER.to_owned());
        }
        // A release that restarts nothing: the app gets its restart with the final values.
        let slug = state.current_release().and_then(|release| release.slug.clone());
        let names = config.join(", ").replace("_URL", "");
        state.add_release(slug, "succeeded", format!("Attach {names} (@ref:{name})"));
        let (world, id) = (Arc::clone(world), addon.id.clone());
        std::thread::spawn(move || {
            if !door::wait_until(world.scaled(PROVISIONING), || world.stopping()) {
                ready(&world, &id, plan);
            }
        });
    }
    Answer::new(201, state.addon_json(&addon), FACT)
}

/// The provider has done its part.
fn ready(world: &Arc<World>, id: &str, plan: &Plan) {
    let (slug, name, config) = {
        let mut state = world.state();
        let Some(addon) = state.addons.iter_mut().find(|addon| addon.id == id) else { return };
        addon.state = if plan.fails() { "deprovisioned" } else { "provisioned" };
        addon.updated = door::stamp();
        let (name, config) = (addon.name.clone(), addon.config.clone());
        for variable in &config {
            if plan.fails() {
                state.config.remove(variable);
            } else {
                state.config.insert(variable.clone(), format!("rediss://:{}@127.0.0.1:6380", door::uuid()));
            }
        }
        (state.current_release().and_then(|release| release.slug.clone()), name, config.join(", "))
    };
    let told = if plan.fails() {
        format!("Detach {config} (@ref:{name})")
    } else {
        format!("@ref:{name} completed provisioning, setting {config}.")
    };
    world.logs.add("app", "api", &format!("{told} by user {}", super::USER));
    releases::make(world, slug, told, Phase::Skipped);
}

/// `PATCH /apps/A/addons/ID`: another plan of the same service.
pub fn change(world: &Arc<World>, name: &str, body: &Json) -> Answer {
    let plan = match wanted(body) {
        Ok(plan) => plan,
        Err(answer) => return answer,
    };
    let (answer, slug) = {
        let mut state = world.state();
        let of_service = state.addons.iter().filter(|addon| addon.service == name).count();
        if of_service > 1 {
            let message = format!("{name} is the service of {of_service} add-ons: name one of them.");
            return Answer::error(422, "multiple_matches", message, "§2 Add-ons: 422 multiple_matches");
        }
        let is_it = |addon: &&mut Addon| addon.id == name || addon.name == name || addon.service == name;
        let Some(addon) = state.addons.iter_mut().find(is_it) else {
            return Answer::not_found("add_on");
        };
        if plan.service() != addon.service {
            return Answer::invalid("The plan belongs to another service.");
        }
        if addon.service == "scheduler" {
            return Answer::invalid("This add-on plan cannot be changed, its provider says.");
        }
        plan.name.clone_into(&mut addon.plan);
        addon.updated = door::stamp();
        let addon = addon.clone();
        (state.addon_json(&addon), state.current_release().and_then(|release| release.slug.clone()))
    };
    if plan.limit > 0 {
        (world.options.limit)(plan.limit);
    }
    releases::make(world, slug, format!("Change plan of {name} to {}", plan.name), Phase::Skipped);
    Answer::ok(answer, FACT)
}

/// `GET /apps/A/addons` and one of them.
pub fn list(world: &Arc<World>) -> Vec<Json> {
    let state = world.state();
    state.addons.iter().map(|addon| state.addon_json(addon)).collect()
}

/// Attachments of the app, or of one add-on.
pub fn attachments(world: &Arc<World>, addon: Option<&str>) -> Vec<Json> {
    let state = world.state();
    let wanted = |known: &&Addon| addon.is_none_or(|name| known.id == name || known.name == name);
    state.addons.iter().filter(wanted).map(|addon| state.attachment_json(addon)).collect()
}

/// One add-on.
pub fn one(world: &Arc<World>, name: &str) -> Answer {
    let state = world.state();
    let found = state.addons.iter().find(|addon| addon.id == name || addon.name == name);
    found
        .map_or_else(|| Answer::not_found("add_on"), |addon| Answer::ok(json!(state.addon_json(addon)), FACT))
}
