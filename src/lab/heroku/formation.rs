//! The formation (facts §2 and §5): quantities and sizes of process types, within the limits of their tier. It makes
//! no release and restarts nothing that was not changed.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::World;
use super::answer::Answer;
use super::dynos::{self, Why};

/// A size as the API names it.
struct Size {
    name: &'static str,
    /// Sizes of one group may stand side by side in an app.
    group: &'static str,
    /// Dynos of a process type at most.
    most: u32,
}

/// Facts §5: sizes, groups that may not be mixed, and how many of a type there may be.
const SIZES: [Size; 10] = [
    Size { name: "Eco", group: "eco", most: 1 },
    Size { name: "Basic", group: "basic", most: 1 },
    Size { name: "Standard-1X", group: "professional", most: 100 },
    Size { name: "Standard-2X", group: "professional", most: 100 },
    Size { name: "Performance-M", group: "professional", most: 10 },
    Size { name: "Performance-L", group: "professional", most: 10 },
    Size { name: "Performance-L-RAM", group: "professional", most: 10 },
    Size { name: "Performance-XL", group: "professional", most: 10 },
    Size { name: "Performance-2XL", group: "professional", most: 10 },
    Size { name: "Private-M", group: "private", most: 10 },
];

fn size(name: &str) -> Option<&'static Size> {
    // Taken in any spelling, told capitalised (facts §5, Sizes).
    SIZES.iter().find(|size| size.name.eq_ignore_ascii_case(name))
}

/// `GET /dyno-sizes`.
pub fn sizes() -> Vec<Json> {
    SIZES.iter().map(|size| json!({ "id": size.name, "name": size.name, "cost": null })).collect()
}

/// `GET /apps/A/formation`: the types of the current release's Procfile, and no others.
pub fn list(world: &Arc<World>) -> Vec<Json> {
    let state = world.state();
    let types = state.types();
    state
        .formation
        .iter()
        .filter(|(kind, _)| types.contains_key(*kind))
        .map(|(kind, formation)| state.formation_json(kind, formation))
        .collect()
}

/// `GET /apps/A/formation/TYPE`.
pub fn one(world: &Arc<World>, kind: &str) -> Answer {
    list(world)
        .into_iter()
        .find(|formation| formation["type"] == kind)
        .map_or_else(|| Answer::not_found("formation"), |formation| Answer::ok(formation, "§2 Formation"))
}

/// A quantity as the API takes it: an integer, or the text that the official CLI sends (`1`, `+1`, `-1`).
fn quantity(update: &Json, now: u32) -> Option<u32> {
    match &update["quantity"] {
        Json::Null => Some(now),
        Json::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Json::String(text) => match text.chars().next()? {
            '+' => text[1..].parse::<u32>().ok().map(|more| now.saturating_add(more)),
            '-' => text[1..].parse::<u32>().ok().map(|less| now.saturating_sub(less)),
            _ => text.parse().ok(),
        },
        _ => None,
    }
}

/// `PATCH /apps/A/formation`: all updates or none.
pub fn scale(world: &Arc<World>, updates: &[Json]) -> Answer {
    let mut resized = Vec::new();
    {
        let mut state = world.state();
        let types = state.types();
        if types.is_empty() {
            return Answer::invalid("App must be deployed before dynos can be scaled.");
        }
        let mut next = state.formation.clone();
        for update in updates {
            let kind = update["type"].as_str().unwrap_or_default();
            let Some(formation) = next.get_mut(kind).filter(|_| types.contains_key(kind)) else {
                let message = format!("Couldn't find that process type ({kind}).");
                return Answer::error(404, "not_found", message, "§2 Formation: unknown type");
            };
            let Some(quantity) = quantity(update, formation.quantity) else {
                return Answer::invalid("quantity must be a number of dynos");
            };
            let wanted = ["name", "id"].iter().find_map(|key| update["dyno_size"][key].as_str());
            if let Some(wanted) = wanted.or_else(|| update["size"].as_str()) {
                let Some(known) = size(wanted) else {
                    return Answer::invalid(format!("No such size as {wanted}."));
                };
                if known.name != formation.size {
                    resized.push(kind.to_owned());
                    known.name.clone_into(&mut formation.size);
                }
            }
            let limit = size(&formation.size).map_or(100, |size| size.most);
            if quantity > limit {
                let message = format!(
                    "Cannot update to more than {limit} {} size dynos per process type.",
                    formation.size
                );
                let mut answer = Answer::error(422, "cannot_update_above_limit", message, "§5 Scale limits");
                answer.body["limit"] = json!(limit);
                answer.body["size"] = json!(formation.size);
                return answer;
            }
            formation.quantity = quantity;
        }
        let used = next.iter().filter(|(kind, _)| types.contains_key(*kind)).map(|(_, known)| &known.size);
        let mut groups: Vec<&str> = used.filter_map(|name| size(name)).map(|size| size.group).collect();
        groups.dedup();
        if groups.iter().any(|group| *group != groups[0]) {
            let message =
                format!("Cannot use the following dyno types in the same app: {}", groups.join(", "));
            return Answer::error(422, "invalid_params", message, "§5 Scale limits: tiers do not mix");
        }
        state.formation = next;
        let told: Vec<String> = updates
            .iter()
            .filter_map(|update| {
                let kind = update["type"].as_str()?;
                let now = state.formation.get(kind)?;
                Some(format!("{kind}@{}:{}", now.quantity, now.size))
            })
            .collect();
        world.logs.add("app", "api", &format!("Scaled to {} by user {}", told.join(" "), super::USER));
    }
    dynos::replace(world, Why::Restart, |dyno| resized.contains(&dyno.kind));
    dynos::follow_formation(world);
    Answer::ok(Json::Array(list(world)), "§2 Formation: the answer does not mean that dynos are up")
}

/// `PATCH /apps/A/formation/TYPE`: the same for one type, and that one is answered.
pub fn scale_one(world: &Arc<World>, kind: &str, body: &Json) -> Answer {
    let mut update = body.clone();
    if !update.is_object() {
        return Answer::error(400, "bad_request", "A JSON object is expected.", "§1 Errors");
    }
    update["type"] = json!(kind);
    let answer = scale(world, &[update]);
    if answer.status == 200 { one(world, kind) } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_integers_or_what_the_cli_sends() {
        for (given, wanted) in [
            (json!(2), Some(2)),
            (json!("3"), Some(3)),
            (json!("+1"), Some(6)),
            (json!("-9"), Some(0)),
            (json!(null), Some(5)),
            (json!(-1), None),
            (json!("x"), None),
        ] {
            assert_eq!(quantity(&json!({ "quantity": given }), 5), wanted, "{given}");
        }
    }

    #[test]
    fn sizes_are_taken_in_any_spelling() {
        assert_eq!(size("standard-1x").map(|size| size.name), Some("Standard-1X"));
        assert!(size("huge").is_none());
    }
}
