//! Add-ons (facts §2): created, listed, their plan changed. Creating the scheduler schedules nothing.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::super::door;
use super::World;
use super::answer::Answer;
use super::releases::{self, Phase};
use super::state::Addon;

const FACT: &str = "§2 Add-ons";

fn plan(body: &Json) -> Option<String> {
    let plan = body["plan"].as_str().or_else(|| body["plan"]["name"].as_str())?;
    Some(plan.to_owned())
}

/// `POST /apps/A/addons`.
pub fn create(world: &Arc<World>, body: &Json) -> Answer {
    let Some(plan) = plan(body) else { return Answer::invalid("plan is required") };
    let service = plan.split(':').next().unwrap_or_default().to_owned();
    let known = ["scheduler", "heroku-redis", "jawsdb-maria"];
    if !known.contains(&service.as_str()) {
        return Answer::error(
            404,
            "not_found",
            "Couldn't find either the add-on service or the add-on plan.",
            FACT,
        );
    }
    let config = match service.as_str() {
        "heroku-redis" => vec!["REDIS_URL".to_owned()],
        _ => Vec::new(),
    };
    let addon = Addon {
        id: door::uuid(),
        name: body["name"]
            .as_str()
            .map_or_else(|| format!("{service}-round-{:05}", fastrand::u32(10_000..99_999)), str::to_owned),
        service,
        plan,
        config: config.clone(),
        state: "provisioned",
        at: door::stamp(),
    };
    let slug = {
        let mut state = world.state();
        for variable in &config {
            state.config.insert(variable.clone(), "redis://:secret@127.0.0.1:6379".to_owned());
        }
        state.addons.push(addon.clone());
        state.current_release().and_then(|release| release.slug.clone())
    };
    if !config.is_empty() {
        releases::make(
            world,
            slug,
            format!("Attach {} (@ref:{})", config.join(", "), addon.name),
            Phase::Skipped,
        );
    }
    Answer::new(201, world.state().addon_json(&addon), FACT)
}

/// `PATCH /apps/A/addons/ID`: another plan of the same service.
pub fn change(world: &Arc<World>, name: &str, body: &Json) -> Answer {
    let Some(plan) = plan(body) else { return Answer::invalid("plan is required") };
    let (answer, slug) = {
        let mut state = world.state();
        let Some(addon) = state.addons.iter_mut().find(|addon| addon.id == name || addon.name == name) else {
            return Answer::not_found("add_on");
        };
        if plan.split(':').next() != Some(addon.service.as_str()) {
            return Answer::invalid("The plan belongs to another service.");
        }
        addon.plan = plan;
        let addon = addon.clone();
        (state.addon_json(&addon), state.current_release().and_then(|release| release.slug.clone()))
    };
    releases::make(world, slug, format!("Change plan of {name}"), Phase::Skipped);
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
