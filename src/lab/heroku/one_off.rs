//! One-off dynos (facts §2, Dynos): detached, their output in the app's log, their exit code nowhere but there; or
//! attached, waiting for their client.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use super::World;
use super::answer::Answer;
use super::dynos::{self, Order};

const FACT: &str = "§2 Dynos: one-off, the API never reports an exit code";

/// `POST /apps/A/dynos`.
pub fn create(world: &Arc<World>, body: &Json) -> Answer {
    let Some(command) = body["command"].as_str().filter(|command| !command.trim().is_empty()) else {
        return Answer::invalid("command is required");
    };
    let (release, types) = {
        let state = world.state();
        (state.current_release().cloned(), state.types())
    };
    let Some(release) = release.filter(|release| release.slug.is_some()) else {
        return Answer::invalid("Cannot run one-off process at this time. Please try again later.");
    };
    // A first word that names a process type runs that type's command.
    let (first, rest) = command.split_once(' ').unwrap_or((command, ""));
    let command = types.get(first).map_or_else(|| command.to_owned(), |known| format!("{known} {rest}"));
    let environment: BTreeMap<String, String> = body["env"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let size = body["size"].as_str().unwrap_or("Standard-1X");
    let name = format!("run.{}", fastrand::u32(1000..=9999));
    let user = super::USER;
    world.logs.add("app", "api", &format!("Starting process with command `{command}` by user {user}"));
    let attach = body["attach"].as_bool() == Some(true);
    let order = Order { name: &name, kind: "run", size, command: &command, environment, attach };
    let dyno = dynos::boot(world, &release, &order);
    let mut made = world.state().dyno_json(&dyno);
    if attach {
        made["attach_url"] = Json::from(world.rendezvous.offer(world, &dyno));
    }
    Answer::new(201, made, FACT)
}
