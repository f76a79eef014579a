//! Releases: by a build, a rollback, a promotion or a change of config. The release phase runs before dynos are
//! replaced, and a release whose phase fails never becomes current (facts §2 and §5).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::door;
use super::World;
use super::answer::Answer;
use super::dynos::{self, Order, Why};
use super::state::{Formation, Release};

const FACT: &str = "§2 Releases";

/// What a release does with the release phase of its slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It runs, and the caller waits for its end.
    Awaited,
    /// It runs in the background.
    Behind,
    /// It does not run: a change of an add-on's own config vars (facts §5, Release phase).
    Skipped,
}

/// Makes a release and sets it going: at once, or after its release phase.
pub fn make(world: &Arc<World>, slug: Option<String>, description: String, how: Phase) -> Release {
    let (release, phase) = {
        let mut state = world.state();
        let phase = slug
            .as_deref()
            .and_then(|id| state.find_slug(id))
            .and_then(|slug| slug.types.get("release").cloned())
            .filter(|_| how != Phase::Skipped);
        let status = if phase.is_some() { "pending" } else { "succeeded" };
        (state.add_release(slug, status, description), phase)
    };
    world.logs.add("app", "api", &format!("Release v{} created by user {}", release.version, super::USER));
    let Some(command) = phase else {
        roll(world);
        return release;
    };
    let work = {
        let world = Arc::clone(world);
        let release = release.clone();
        move || run_phase(&world, &release, &command)
    };
    if how == Phase::Awaited {
        work();
        world.state().find_release(&release.id).cloned().unwrap_or(release)
    } else {
        std::thread::spawn(work);
        release
    }
}

/// New dynos for the release that is current.
fn roll(world: &Arc<World>) {
    {
        let mut state = world.state();
        let types: Vec<String> = state.types().into_keys().collect();
        let first = state.formation.is_empty();
        for kind in types {
            state.formation.entry(kind.clone()).or_insert_with(|| Formation {
                id: door::uuid(),
                quantity: u32::from(first && kind == "web"),
                size: "Standard-1X".to_owned(),
            });
        }
    }
    dynos::replace(world, Why::Release, |_| true);
    dynos::follow_formation(world);
}

fn run_phase(world: &Arc<World>, release: &Release, command: &str) {
    let user = super::USER;
    world.logs.add("app", "api", &format!("Running release v{} commands by user {user}", release.version));
    let name = format!("release.{:04}", fastrand::u32(1000..=9999));
    let order = Order {
        name: &name,
        kind: "release",
        size: "Standard-1X",
        command,
        environment: BTreeMap::new(),
        attach: false,
    };
    let dyno = dynos::boot(world, release, &order);
    let exit = &dyno.control.exit;
    door::wait_until(world.scaled(Duration::from_secs(3600)), || world.stopping() || exit.get().is_some());
    let good = exit.get() == Some(&0);
    {
        let mut state = world.state();
        if let Some(known) = state.releases.iter_mut().find(|known| known.id == release.id) {
            known.status = if good { "succeeded" } else { "failed" };
        }
        if good {
            state.current = Some(release.version);
        }
    }
    if good {
        roll(world);
    }
}

/// `POST /apps/A/releases`: rollback to a release's id, or promotion of a slug.
pub fn create(world: &Arc<World>, body: &Json) -> Answer {
    if let Some(id) = body["release"].as_str() {
        let target = {
            let mut state = world.state();
            let Some(target) = state.releases.iter().find(|release| release.id == id).cloned() else {
                return Answer::not_found("release");
            };
            if target.status != "succeeded" || target.slug.is_none() {
                return Answer::invalid("Cannot roll back to a release that is not eligible.");
            }
            // Slug and config vars of then; add-ons stay (facts §2).
            state.config.clone_from(&target.config);
            target
        };
        let user = super::USER;
        world.logs.add("app", "api", &format!("Rollback to v{} by user {user}", target.version));
        let made = make(world, target.slug, format!("Rollback to v{}", target.version), Phase::Behind);
        return Answer::new(201, world.state().release_json(&made), FACT);
    }
    if let Some(id) = body["slug"].as_str() {
        let Some(slug) = world.state().find_slug(id).cloned() else {
            return Answer::not_found("slug");
        };
        let short: String = slug.commit.chars().take(8).collect();
        let description =
            body["description"].as_str().map_or_else(|| format!("Deploy {short}"), str::to_owned);
        let made = make(world, Some(slug.id), description, Phase::Behind);
        return Answer::new(201, world.state().release_json(&made), FACT);
    }
    Answer::invalid("Either release or slug is required.")
}

/// `PATCH /apps/A/config-vars`: one release that restarts everything, unless no value changed (facts §2).
pub fn change_config(world: &Arc<World>, body: &Json) -> Answer {
    let Some(wanted) = body.as_object() else {
        return Answer::error(400, "bad_request", "Config vars must be an object.", "§2 Config vars");
    };
    let slug = {
        let mut state = world.state();
        let before = state.config.clone();
        for (name, value) in wanted {
            match value {
                Json::Null => drop(state.config.remove(name)),
                Json::String(value) => drop(state.config.insert(name.clone(), value.clone())),
                _ => return Answer::invalid(format!("Config var {name} must be a string.")),
            }
        }
        if state.config == before {
            return Answer::ok(json!(state.config), "§2 Config vars: no change, no release");
        }
        state.current_release().and_then(|release| release.slug.clone())
    };
    let names: Vec<&str> = wanted.keys().map(String::as_str).collect();
    make(world, slug, format!("Set {} config vars", names.join(", ")), Phase::Behind);
    Answer::ok(json!(world.state().config), "§2 Config vars")
}

/// The environment of a release.
pub fn config_of(world: &Arc<World>, name: &str) -> Answer {
    let state = world.state();
    let config: Option<BTreeMap<String, String>> =
        state.find_release(name).map(|release| release.config.clone());
    config.map_or_else(|| Answer::not_found("release"), |config| Answer::ok(json!(config), FACT))
}
