//! Answers of the simulated API: status, body and the fact that they follow.

use serde_json::{Value as Json, json};

/// An answer before it is written.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Json,
    /// The place in `reference/heroku-api.md`.
    pub fact: &'static str,
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    pub fn new(status: u16, body: Json, fact: &'static str) -> Self {
        Self { status, body, fact, headers: Vec::new() }
    }

    pub fn ok(body: Json, fact: &'static str) -> Self {
        Self::new(200, body, fact)
    }

    /// An error by its id (facts §1, Errors).
    pub fn error(status: u16, id: &str, message: impl Into<String>, fact: &'static str) -> Self {
        Self::new(status, json!({ "id": id, "message": message.into() }), fact)
    }

    pub fn not_found(resource: &str) -> Self {
        let message = format!("Couldn't find that {}.", resource.replace('_', " "));
        Self::new(
            404,
            json!({ "id": "not_found", "message": message, "resource": resource }),
            "§1 Errors: 404 with `resource`",
        )
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::error(422, "invalid_params", message, "§1 Errors: 422 invalid_params")
    }
}
