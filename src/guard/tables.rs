//! What a file of guardrails, and a runbook's part of them, may hold: the tables from which they are read, documented and
//! made into a schema.

use serde_json::{Value as Json, json};

use crate::action::{Field, Kind, Shape, optional, required};

/// The version of the format that this tool reads.
pub(super) const FORMAT: &str = "1";

const USERS: Field = optional(
    "protected_users",
    Kind::Texts,
    "Database users whose sessions are never killed, without a host.",
);
const MINIMUM: Field = optional(
    "minimum_dynos",
    Kind::Each(&Kind::Count),
    "By process type, the number that a scale never goes below.",
);
const KILLED: Field = optional("kills", Kind::Map(&KILLS), "How many database sessions are killed at most.");

/// Bounds of kills.
pub(super) const KILLS: Shape = Shape {
    name: "kills",
    fields: &[
        optional("per_run", Kind::Count, "At most this many in one run, 1 or more."),
        optional("per_minute", Kind::Count, "At most this many within sixty seconds, 1 or more."),
    ],
    short: None,
    empty: false,
    open: false,
};

/// Hours in which nothing is changed.
pub(super) const FREEZE: Shape = Shape {
    name: "freeze",
    fields: &[
        required("zone", Kind::Text, "IANA name of the time zone: `Europe/Berlin`."),
        required("why", Kind::Text, "Why; it is what a refused person reads."),
        optional("days", Kind::Texts, "`mon` to `sun`, or dates (`2026-12-24`). Default: every day."),
        optional("from", Kind::Text, "Local time at which it begins, `16:00`. Default: `00:00`."),
        optional(
            "to",
            Kind::Text,
            "Local time at which it ends; at or before `from`, on the day after. Default: `24:00`.",
        ),
        optional("except", Kind::Texts, "Runbooks that may run all the same."),
    ],
    short: None,
    empty: false,
    open: false,
};

/// A `guardrails.yaml`.
pub(super) const GUARDRAILS: Shape = Shape {
    name: "guardrails",
    fields: &[
        required("guardrails", Kind::Word(&[FORMAT]), "Version of the format."),
        optional("off", Kind::Text, "Refuses every run that changes something; says why."),
        USERS,
        optional("protected_apps", Kind::Texts, "Apps that are never changed at all."),
        MINIMUM,
        KILLED,
        optional("freeze", Kind::Maps(&FREEZE), "Hours in which no run that changes something begins."),
        optional(
            "allow",
            Kind::Each(&Kind::Texts),
            "Who may run what: a local user, an account's e-mail or `*`, each with runbooks or `*`. Who is not named may not.",
        ),
        optional(
            "type_the_name",
            Kind::Texts,
            "Apps (or `*`) whose name a person types at a terminal before they are changed; `--yes` is no answer.",
        ),
        optional(
            "cool_down",
            Kind::Each(&Kind::Duration),
            "By runbook (or `*`), how long after it has changed something it may not run again on the same app.",
        ),
    ],
    short: None,
    empty: false,
    open: false,
};

/// What a runbook may say of its own: it tightens, it never loosens.
pub const RUNBOOK_PART: Shape =
    Shape { name: "guardrails", fields: &[USERS, MINIMUM, KILLED], short: None, empty: false, open: false };

/// The JSON schema of a `guardrails.yaml`, for editors.
pub fn guardrails_schema() -> Json {
    let mut schema = GUARDRAILS.schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("guardrails");
    schema["properties"]["guardrails"] = json!({ "const": 1, "description": "Version of the format." });
    schema
}
