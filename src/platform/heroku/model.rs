//! Heroku's objects as they arrive: unknown members and states are tolerated.

use serde_json::Value as Json;

use crate::platform::facts::{App, BuildOrigin, Dyno, Formation, Release, ReleaseStatus, Slug};
use crate::source::escape_controls;

fn text(json: &Json, key: &str) -> String {
    escape_controls(json.get(key).and_then(Json::as_str).unwrap_or_default()).into_owned()
}

fn inner(json: &Json, key: &str, member: &str) -> String {
    json.get(key).map(|inner| text(inner, member)).unwrap_or_default()
}

fn number(json: &Json, key: &str) -> u64 {
    json.get(key).and_then(Json::as_u64).unwrap_or_default()
}

pub(super) fn app(json: &Json, preboot: bool, origin: BuildOrigin) -> App {
    App {
        id: text(json, "id"),
        name: text(json, "name"),
        web_url: json.get("web_url").and_then(Json::as_str).map(|url| escape_controls(url).into_owned()),
        generation: inner(json, "generation", "name"),
        stack: inner(json, "stack", "name"),
        maintenance: json.get("maintenance").and_then(Json::as_bool).unwrap_or_default(),
        preboot,
        origin,
    }
}

pub(super) fn dyno(json: &Json) -> Dyno {
    Dyno {
        id: text(json, "id"),
        name: text(json, "name"),
        kind: text(json, "type"),
        state: text(json, "state"),
        size: text(json, "size"),
        release: json.get("release").map(|release| number(release, "version")).unwrap_or_default(),
        created_at: text(json, "created_at"),
        updated_at: text(json, "updated_at"),
    }
}

pub(super) fn formation(json: &Json) -> Formation {
    let size = inner(json, "dyno_size", "name");
    Formation {
        kind: text(json, "type"),
        quantity: number(json, "quantity"),
        size: if size.is_empty() { text(json, "size") } else { size },
        command: text(json, "command"),
    }
}

pub(super) fn release(json: &Json) -> Release {
    let status = match json.get("status").and_then(Json::as_str).unwrap_or("succeeded") {
        "pending" => ReleaseStatus::Pending,
        "succeeded" => ReleaseStatus::Succeeded,
        "failed" => ReleaseStatus::Failed,
        "expired" => ReleaseStatus::Expired,
        other => ReleaseStatus::Other(escape_controls(other).into_owned()),
    };
    Release {
        id: text(json, "id"),
        version: number(json, "version"),
        status,
        current: json.get("current").and_then(Json::as_bool).unwrap_or_default(),
        eligible_for_rollback: json.get("eligible_for_rollback").and_then(Json::as_bool).unwrap_or_default(),
        description: text(json, "description"),
        slug: json.get("slug").and_then(|slug| slug.get("id")).and_then(Json::as_str).map(str::to_owned),
        user: inner(json, "user", "email"),
        created_at: text(json, "created_at"),
        output_stream_url: json.get("output_stream_url").and_then(Json::as_str).map(str::to_owned),
    }
}

pub(super) fn slug(json: &Json) -> Slug {
    let process_types = json.get("process_types").and_then(Json::as_object).map(|types| {
        types
            .iter()
            .map(|(kind, command)| {
                (
                    escape_controls(kind).into_owned(),
                    escape_controls(command.as_str().unwrap_or_default()).into_owned(),
                )
            })
            .collect()
    });
    Slug {
        id: text(json, "id"),
        commit: json.get("commit").and_then(Json::as_str).filter(|sha| !sha.is_empty()).map(str::to_owned),
        process_types: process_types.unwrap_or_default(),
    }
}
