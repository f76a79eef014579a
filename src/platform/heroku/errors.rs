//! What Heroku's refusals mean. Decided by the body's `id`, never by its message.

use serde_json::Value as Json;

use super::client::{Answer, request_ids};
use crate::platform::error::{Fault, FaultKind};
use crate::platform::secret::Redactor;

/// The fault behind an answer that is no success.
pub(super) fn explain(method: &str, path: &str, answer: &Answer, redactor: &Redactor) -> Fault {
    let body: Option<Json> = serde_json::from_str(&answer.body).ok();
    let text =
        |key: &str| body.as_ref().and_then(|body| body.get(key)).and_then(Json::as_str).unwrap_or_default();
    // Some messages have several lines; a fault has one.
    let message = text("message").split_whitespace().collect::<Vec<_>>().join(" ");
    let id = text("id");
    let status = answer.status;
    let why = if body.is_some() && !id.is_empty() {
        redactor.clean(&format!("{status} {id}: {message}"))
    } else if answer.body.trim_start().starts_with('<') {
        format!("{status}, answered with a page of HTML: the edge spoke, not the API")
    } else {
        format!("{status}, without an explanation")
    };
    let kind = match (status, id) {
        (401, _) => FaultKind::Credentials,
        (402 | 403, _) => FaultKind::Forbidden,
        (404 | 410, _) => FaultKind::Missing,
        (429, _) => FaultKind::Limited,
        (400..=499, _) => FaultKind::Refused,
        _ => FaultKind::Broken,
    };
    let mut fault = Fault::new(kind, format!("{method} {path}"), why);
    fault.request_ids = request_ids(&answer.headers);
    let hints: &[&str] = match (status, id) {
        (401, _) => &[
            "the token is missing, wrong or expired: `heroku auth:token` shows one, HEROKU_API_KEY carries it",
        ],
        (402, _) => &["the account or team owes money, or its payment method is not confirmed"],
        (403, "two_factor") => {
            &["this token needs a second factor: one from `heroku authorizations:create` does not"]
        }
        (403, "suspended") => &["the app or the account is suspended"],
        (403, _) => &["the token's account may not do this: ask the app's owner, or use another token"],
        (404, _) => &["check the name; what an account may not see is answered as not found, too"],
        (409, _) => &["something else is under way: look at `heroku releases` and try again"],
        (422, "confirmation_required") => &["Heroku wants the app's name typed: do this step by hand"],
        (422, "verification_needed") => &["the account has no billing information"],
        (422, "cannot_update_above_limit" | "cannot_run_above_limit") => {
            &["the plan's limit of dynos is reached: eco and basic run one per process type"]
        }
        (423, _) => &["the app is locked by its team"],
        (429, _) => &[
            "the account's rate limit is used up (4500 calls an hour, all tools together): wait some minutes",
        ],
        (500..=599, _) => {
            &["Heroku has a problem: https://status.heroku.com; the database checks go on without it"]
        }
        _ => &[],
    };
    for hint in hints {
        fault = fault.hint(*hint);
    }
    fault
}

/// The fault behind a request that got no whole answer.
pub(super) fn explain_transport(what: &str, error: &reqwest::Error, redactor: &Redactor) -> Fault {
    let mut chain = Vec::new();
    let mut source: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(inner) = source {
        chain.push(inner.to_string());
        source = inner.source();
    }
    let told = chain.last().cloned().unwrap_or_else(|| error.to_string());
    // Host and port only: the path of a log session is a secret.
    let host = error.url().map_or(String::new(), |url| {
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        format!(" with {}{port}", url.host_str().unwrap_or_default())
    });
    let all = chain.join(": ").to_lowercase();
    let (kind, why) = if error.is_timeout() {
        (FaultKind::Network, "no answer in time".to_owned())
    } else if all.contains("certificate") || all.contains("tls") || all.contains("handshake") {
        (FaultKind::Tls, told)
    } else if error.is_connect() {
        (FaultKind::Network, format!("no connection{host}: {told}"))
    } else {
        (FaultKind::Network, format!("the connection{host} broke: {told}"))
    };
    let hint = match kind {
        FaultKind::Tls => "a proxy that replaces certificates? SSL_CERT_FILE names its CA",
        _ => "check the network, HTTPS_PROXY, and https://status.heroku.com",
    };
    Fault::new(kind, what, redactor.clean(&why)).hint(hint)
}
