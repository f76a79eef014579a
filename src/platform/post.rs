//! Messages to those who are told of a run: one JSON object, posted once, within 5 s. What came back is bounded and clean
//! of secrets; a webhook's URL is a secret and is never shown.

use std::io::Read;
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use super::error::{Fault, FaultKind};
use super::heroku::is_loopback;
use super::secret::{Redactor, Secret};

/// A message's whole time.
const TIME: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const ANSWER: u64 = 16 << 10;
/// Letters of an answer that are shown.
const SHOWN: usize = 200;

/// Where a message goes, and with what.
pub struct Destination {
    url: Secret,
    bearer: Option<Secret>,
    routing_key: Option<Secret>,
}

impl Destination {
    /// A URL that is the secret itself.
    pub const fn webhook(url: Secret) -> Self {
        Self { url, bearer: None, routing_key: None }
    }

    /// An address that wants a token.
    pub fn with_token(url: &str, token: Secret) -> Self {
        Self { url: Secret::from(url), bearer: Some(token), routing_key: None }
    }

    /// An address that wants its key in the message.
    pub fn with_routing_key(url: &str, key: Secret) -> Self {
        Self { url: Secret::from(url), bearer: None, routing_key: Some(key) }
    }

    /// Its host, which is no secret.
    pub fn host(&self) -> String {
        let url = self.url.expose_secret();
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        crate::source::escape_controls(host).into_owned()
    }

    /// The whole URL, for a check of its form.
    pub fn fits(&self, good: impl Fn(&str) -> bool) -> bool {
        good(self.url.expose_secret())
    }
}

/// Posts messages.
pub struct Post {
    proxied: Client,
    direct: Client,
    redactor: Redactor,
}

impl Post {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(redactor: Redactor) -> Result<Self, Fault> {
        let build = |bypass: bool| {
            let builder = Client::builder()
                .user_agent(concat!("runbook/", env!("CARGO_PKG_VERSION")))
                .timeout(TIME)
                .redirect(Policy::none())
                .retry(reqwest::retry::never());
            let builder = if bypass { builder.no_proxy() } else { builder };
            let failed =
                |error: reqwest::Error| Fault::new(FaultKind::Tls, "preparing to notify", error.to_string());
            builder.build().map_err(failed)
        };
        Ok(Self { proxied: build(false)?, direct: build(true)?, redactor })
    }

    /// Posts one message, once.
    ///
    /// # Errors
    /// Says in words why it was not taken.
    pub fn send(&self, to: &Destination, mut body: Json) -> Result<Json, String> {
        if let Some(key) = &to.routing_key {
            body["routing_key"] = json!(key.expose_secret());
        }
        let client = if is_loopback(to.url.expose_secret()) { &self.direct } else { &self.proxied };
        let mut request = client.post(to.url.expose_secret()).json(&body);
        if let Some(token) = &to.bearer {
            request = request.bearer_auth(token.expose_secret());
        }
        let response = request.send().map_err(|error| {
            let why = if error.is_timeout() {
                "no answer within 5 s".to_owned()
            } else {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                cause.unwrap_or_else(|| error.without_url().to_string())
            };
            self.redactor.clean(&why)
        })?;
        let status = response.status();
        let mut answer = String::new();
        let _ = response.take(ANSWER).read_to_string(&mut answer);
        let shown: String = self.redactor.clean(&answer).chars().take(SHOWN).collect();
        if !status.is_success() {
            return Err(format!("{} {shown}", status.as_u16()).trim_end().to_owned());
        }
        let told: Json = serde_json::from_str(&answer).unwrap_or(Json::Null);
        if told["ok"] == false {
            return Err(shown);
        }
        Ok(told)
    }
}
