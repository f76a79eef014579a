//! Heroku's objects as they arrive: unknown members and states are tolerated.

use serde_json::Value as Json;

use crate::platform::facts::{App, Build, Dyno, Formation, Release, ReleaseStatus, Slug};
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

pub(super) fn app(json: &Json) -> App {
    App {
        id: text(json, "id"),
        name: text(json, "name"),
        web_url: json.get("web_url").and_then(Json::as_str).map(|url| escape_controls(url).into_owned()),
        generation: inner(json, "generation", "name"),
        stack: inner(json, "stack", "name"),
        maintenance: json.get("maintenance").and_then(Json::as_bool).unwrap_or_default(),
    }
}

pub(super) fn dyno(json: &Json) -> Dyno {
    let name = text(json, "name");
    let kind = match text(json, "type") {
        kind if kind.is_empty() => name.split('.').next().unwrap_or_default().to_owned(),
        kind => kind,
    };
    Dyno {
        id: text(json, "id"),
        name,
        kind,
        state: text(json, "state"),
        size: text(json, "size"),
        release: json.get("release").map(|release| number(release, "version")).unwrap_or_default(),
        created_at: text(json, "created_at"),
        updated_at: text(json, "updated_at"),
        command: text(json, "command"),
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
    let slug = json.get("slug").and_then(|slug| slug.get("id")).and_then(Json::as_str);
    let slug = slug.map(|id| escape_controls(id).into_owned());
    // Older answers do not say it: Heroku goes back to what succeeded and has code.
    let eligible = json
        .get("eligible_for_rollback")
        .and_then(Json::as_bool)
        .unwrap_or(status == ReleaseStatus::Succeeded && slug.is_some());
    Release {
        id: text(json, "id"),
        version: number(json, "version"),
        status,
        current: json.get("current").and_then(Json::as_bool).unwrap_or_default(),
        eligible_for_rollback: eligible,
        description: text(json, "description"),
        slug,
        user: inner(json, "user", "email"),
        created_at: text(json, "created_at"),
        output_stream_url: json.get("output_stream_url").and_then(Json::as_str).map(str::to_owned),
    }
}

pub(super) fn build(json: &Json) -> Build {
    Build {
        pending: json.get("status").and_then(Json::as_str) == Some("pending"),
        created_at: text(json, "created_at"),
        from_github: ["url", "version_description"]
            .iter()
            .any(|key| inner(json, "source_blob", key).to_lowercase().contains("github")),
    }
}

/// Whether it can be a commit's name: git gets it, and must not take it for an option or a range.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
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
        commit: json.get("commit").and_then(Json::as_str).filter(|sha| is_commit(sha)).map(str::to_owned),
        process_types: process_types.unwrap_or_default(),
    }
}
