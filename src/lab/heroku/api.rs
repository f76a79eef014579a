//! The Platform API's routes: headers, authentication, rate limit and request ids before, ordered faults between.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::door;
use super::answer::Answer;
use super::dynos::{self, Why};
use super::faults::{Door, Hit, Kind};
use super::state::State;
use super::{World, addons, admin, formation, git, lists, one_off, plans, releases, streams, wire};

/// Calls in the account's bucket, and the refill a minute (facts §1).
const BUCKET: f64 = 4500.0;
const REFILL: f64 = 75.0;

pub fn serve(world: &Arc<World>, server: tiny_http::Server) {
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        for request in server.incoming_requests() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || {
                let _ = handle(&world, request);
            });
        }
    });
}

/// A line of `requests.jsonl`.
pub struct Recorded<'a> {
    pub door: &'a str,
    pub method: &'a str,
    pub path: &'a str,
    pub status: u16,
    /// It asks for a change of the app.
    pub changes: bool,
    pub id: &'a str,
    pub fact: &'a str,
}

pub fn record(world: &Arc<World>, what: &Recorded<'_>) {
    let line = json!({
        "at": door::fine_stamp(), "door": what.door, "method": what.method, "path": what.path,
        "status": what.status, "changes": what.changes, "request_id": what.id, "fact": what.fact,
    });
    if let Ok(mut file) = world.requests.lock() {
        let _ = writeln!(file, "{line}");
    }
}

#[expect(clippy::expect_used, reason = "names and values of headers are ASCII by construction")]
pub fn header(name: &str, value: &str) -> tiny_http::Header {
    tiny_http::Header::from_str(&format!("{name}: {value}")).expect("a header")
}

struct Call {
    method: String,
    path: String,
    range: Option<String>,
    body: Json,
}

fn handle(world: &Arc<World>, mut request: tiny_http::Request) -> io::Result<()> {
    let method = request.method().to_string();
    let path = request.url().split('?').next().unwrap_or_default().to_owned();
    let find = |name: &'static str| {
        request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.as_str().to_owned())
    };
    if let Some(secret) = path.strip_prefix("/logs/") {
        let secret = secret.to_owned();
        let events = find("Accept").is_some_and(|accept| accept.contains("text/event-stream"));
        return streams::logs(world, &secret, events, request);
    }
    let accept = find("Accept").unwrap_or_default();
    // The token as Bearer, or as the password of Basic (facts §1, Auth).
    let token = find("Authorization")
        .and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned).or_else(|| git::password(&value)));
    let known = find("If-None-Match");
    let mut range = find("Range");
    let own = door::uuid();
    let id = find("Request-Id").map_or_else(|| own.clone(), |given| format!("{own},{given}"));
    let mut text = String::new();
    io::Read::take(request.as_reader(), 4 << 20).read_to_string_lossy(&mut text)?;
    let authorized = token.as_deref() == Some(world.options.token.as_str());
    if path.starts_with("/lab/") && authorized {
        return admin::answer(world, &path, &text, request);
    }
    let versioned = accept.starts_with("application/vnd.heroku+json") && accept.contains("version=3");
    let body = if text.trim().is_empty() { Ok(Json::Null) } else { serde_json::from_str(&text) };
    let changes = method != "GET" && !path.ends_with("/log-sessions");
    let authorized = authorized && !world.faults.revoked();
    let spent = versioned && authorized && !spend(world);
    let hit =
        if versioned && authorized && !spent { world.faults.take(Door::Api, &method, &path) } else { None };
    if let Some(Kind::Pages(most)) = hit.as_ref().map(|hit| &hit.kind) {
        range = Some(lists::at_most(range.as_deref(), *most));
    }
    let mut answer = if !versioned {
        let message = "The requested API endpoint was not found. Are you using the right HTTP verb (i.e. `GET` vs. `POST`), and did you specify your intended version with the `Accept` header?";
        Answer::error(404, "not_found", message, "§1 Transport: Accept")
    } else if !authorized {
        Answer::error(401, "unauthorized", "Invalid credentials provided.", "§1 Auth: Bearer")
    } else if spent {
        rate_limited()
    } else {
        match body {
            Ok(body) => {
                let call = Call { method: method.clone(), path: path.clone(), range, body };
                answer_with(world, call, hit.as_ref())
            }
            Err(_) => {
                Answer::error(400, "bad_request", "Unable to parse the JSON request body.", "§1 Errors")
            }
        }
    };
    if method == "GET" && answer.status == 200 {
        let tag = format!("\"{:08x}\"", crc32fast::hash(answer.body.to_string().as_bytes()));
        if known.as_deref() == Some(tag.as_str()) {
            answer.status = 304;
        }
        answer.headers.push(("ETag", tag));
    }
    record(
        world,
        &Recorded {
            door: "api",
            method: &method,
            path: &path,
            status: answer.status,
            changes,
            id: &own,
            fact: answer.fact,
        },
    );
    wire::write(world, request, &answer, &id, hit.as_ref().map(|hit| &hit.kind))
}

fn rate_limited() -> Answer {
    let message =
        "Your account reached the API rate limit\nPlease wait a few minutes before making new requests";
    Answer::error(429, "rate_limit", message, "§1 Rate limit")
}

/// What the platform does and says, with the fault that was ordered.
fn answer_with(world: &Arc<World>, call: Call, hit: Option<&Hit>) -> Answer {
    let Some(hit) = hit else { return route(world, &call) };
    let told = match &hit.kind {
        Kind::RateLimit => Some(rate_limited()),
        Kind::TwoFactor => Some(Answer::error(
            403,
            "two_factor",
            "A second authentication factor or pre-authorization is required for this request. Your account has either two-factor or a Yubikey registered.",
            "§1 Two factor",
        )),
        Kind::Refuse(status, id) => {
            Some(Answer::error(*status, id, "The lab was told to refuse this.", "§1 Errors"))
        }
        Kind::Pretend => Some(Answer::new(202, json!({}), "§2 Dynos: restarts are asynchronous")),
        Kind::LoseRequest | Kind::Html => {
            Some(Answer::new(503, Json::Null, "§1 Errors: 5xx may be HTML or empty"))
        }
        Kind::HtmlWith(status) => {
            Some(Answer::new(*status, Json::Null, "§1 Errors: 5xx may be HTML or empty"))
        }
        _ => None,
    };
    if let Some(ms) = hit.lands_after {
        land(world, ms, move |world| drop(route(world, &call)));
        // Nothing in the API tells a request that was lost from one that is still to take effect.
        let fact = "§1 Idempotency: no key, a lost request may still take effect";
        return told.unwrap_or_else(|| Answer::new(202, json!({}), fact));
    }
    let mut answer = told.unwrap_or_else(|| route(world, &call));
    match &hit.kind {
        Kind::State(state) => {
            for dyno in answer.body.as_array_mut().into_iter().flatten() {
                dyno["state"] = json!(state);
            }
        }
        Kind::Frozen => {
            if let Some(body) = world.faults.frozen(&call.path) {
                (answer.body, answer.fact) = (body, "§5 Lists may be stale");
            }
        }
        Kind::Revoke => world.faults.revoke(),
        _ => {}
    }
    answer
}

/// Keeps the answer to a read as it is now, for the faults that want it.
pub fn freeze(world: &Arc<World>, path: &str) {
    let call = Call { method: "GET".to_owned(), path: path.to_owned(), range: None, body: Json::Null };
    world.faults.freeze(path, route(world, &call).body);
}

/// Does it later, whoever has gone by then; not when the lab ends before.
pub fn land(world: &Arc<World>, ms: u64, act: impl FnOnce(&Arc<World>) + Send + 'static) {
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        if !door::wait_until(Duration::from_millis(ms), || world.stopping()) {
            act(&world);
        }
        world.faults.landed();
    });
}

/// Takes a call out of the account's bucket; pushes draw on it too (facts §1, Rate limit).
pub fn spend(world: &Arc<World>) -> bool {
    let mut state = world.state();
    let (left, at) = state.calls_left;
    let left = (left + at.elapsed().as_secs_f64() / 60.0 * REFILL).min(BUCKET);
    state.calls_left = ((left - 1.0).max(0.0), door::now());
    left >= 1.0
}

/// Reads text of any bytes.
trait Lossy {
    fn read_to_string_lossy(self, into: &mut String) -> io::Result<()>;
}

impl<R: io::Read> Lossy for R {
    fn read_to_string_lossy(mut self, into: &mut String) -> io::Result<()> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        into.push_str(&String::from_utf8_lossy(&bytes));
        Ok(())
    }
}

fn route(world: &Arc<World>, call: &Call) -> Answer {
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    let method = call.method.as_str();
    match (method, parts.as_slice()) {
        ("GET", ["account"]) => Answer::ok(
            json!({ "id": "0d2b7c70-6a0f-4a1e-8f0a-5d9e2f9f1c11", "email": "operator@wizzypedia.invalid", "name": "Operator",
                "verified": true, "two_factor_authentication": false, "suspended_at": null, "delinquent_at": null }),
            "§2 Account",
        ),
        ("GET", ["account", "rate-limits"]) => {
            Answer::ok(json!({ "remaining": world.state().calls_left.0.floor() }), "§1 Rate limit")
        }
        ("GET", ["dyno-sizes"]) => lists::page(formation::sizes(), &["id", "name"], call.range.as_deref()),
        ("GET", ["plans", name]) => plans::one(name),
        ("GET", ["addon-services", service, "plans"]) => match plans::of_service(service) {
            Some(plans) => lists::page(plans, &["id", "name"], call.range.as_deref()),
            None => Answer::not_found("addon_service"),
        },
        ("GET", ["addons", name]) => addons::one(world, name),
        ("GET", ["addons", name, "addon-attachments"]) => {
            lists::page(addons::attachments(world, Some(name)), &["id", "name"], call.range.as_deref())
        }
        (_, ["apps", app, rest @ ..]) => {
            let known = {
                let state = world.state();
                *app == state.app || *app == state.app_id
            };
            if known { of_app(world, call, rest) } else { Answer::not_found("app") }
        }
        _ => Answer::error(404, "not_found", "The requested API endpoint was not found.", "§1 Errors"),
    }
}

fn app_json(world: &Arc<World>) -> Json {
    let git = format!("http://{}/{}.git", world.git, world.options.app);
    let web = format!("http://{}/", world.router);
    world.state().app_json(&git, &web)
}

#[expect(clippy::too_many_lines, reason = "the table of the app's routes reads best whole")]
fn of_app(world: &Arc<World>, call: &Call, rest: &[&str]) -> Answer {
    let range = call.range.as_deref();
    let accepted = |fact| Answer::new(202, json!({}), fact);
    match (call.method.as_str(), rest) {
        ("GET", []) => Answer::ok(app_json(world), "§2 App"),
        ("PATCH", []) => {
            if let Some(maintenance) = call.body["maintenance"].as_bool() {
                world.state().maintenance = maintenance;
            }
            Answer::ok(app_json(world), "§2 App: maintenance makes no release")
        }
        ("GET", ["dynos"]) => {
            let mut state = world.state();
            let dynos = state.listed_dynos();
            lists::page(dynos.iter().map(|dyno| state.dyno_json(dyno)).collect(), &["id", "name"], range)
        }
        ("POST", ["dynos"]) => one_off::create(world, &call.body),
        ("DELETE", ["dynos"]) => {
            dynos::replace(world, Why::Restart, |_| true);
            accepted("§2 Dynos: restart all, 202, asynchronous")
        }
        ("GET", ["dynos", name]) => {
            let mut state = world.state();
            let found = state.listed_dynos().into_iter().find(|dyno| dyno.name == *name || dyno.id == *name);
            found.map_or_else(
                || Answer::not_found("dyno"),
                |dyno| Answer::ok(state.dyno_json(&dyno), "§2 Dynos"),
            )
        }
        ("DELETE", ["dynos", name]) | ("POST", ["dynos", name, "actions", "stop"]) => {
            let found = {
                let state = world.state();
                state.dynos.values().find(|dyno| dyno.name == *name || dyno.id == *name).cloned()
            };
            match found {
                None => return Answer::not_found("dyno"),
                Some(dyno) if dyno.one_off() => dynos::stop_one_off(&dyno),
                Some(found) => dynos::replace(world, Why::Restart, |dyno| dyno.id == found.id),
            }
            accepted("§2 Dynos: restart one; a one-off is ended")
        }
        ("DELETE", ["formations", kind]) | ("POST", ["formations", kind, "actions", "stop"]) => {
            if !world.state().types().contains_key(*kind) {
                return Answer::not_found("formation");
            }
            dynos::replace(world, Why::Restart, |dyno| dyno.kind == *kind);
            accepted("§2 Dynos: restart one type (plural formations)")
        }
        ("GET", ["formation"]) => lists::page(formation::list(world), &["id", "type"], range),
        ("GET", ["formation", kind]) => formation::one(world, kind),
        ("PATCH", ["formation"]) => match call.body["updates"].as_array() {
            Some(updates) => formation::scale(world, updates),
            None => Answer::invalid("updates is required"),
        },
        ("PATCH", ["formation", kind]) => formation::scale_one(world, kind, &call.body),
        ("GET", ["releases"]) => {
            let state = world.state();
            let all = state.releases.iter().map(|release| state.release_json(release)).collect();
            lists::page(all, &["version", "id"], range)
        }
        ("POST", ["releases"]) => releases::create(world, &call.body),
        ("GET", ["releases", name]) => {
            let state = world.state();
            state.find_release(name).map_or_else(
                || Answer::not_found("release"),
                |release| Answer::ok(state.release_json(release), "§2 Releases"),
            )
        }
        ("GET", ["releases", name, "config-vars"]) => releases::config_of(world, name),
        ("GET", ["slugs", id]) => {
            let state = world.state();
            state.find_slug(id).map_or_else(
                || Answer::not_found("slug"),
                |slug| Answer::ok(State::slug_json(slug), "§2 Slugs"),
            )
        }
        ("GET", ["builds"]) => {
            let state = world.state();
            let all = state.builds.iter().map(|build| state.build_json(build)).collect();
            lists::page(all, &["created_at", "id"], range)
        }
        ("GET", ["builds", id]) => {
            let state = world.state();
            state.builds.iter().find(|build| build.id == *id).map_or_else(
                || Answer::not_found("build"),
                |build| Answer::ok(state.build_json(build), "§2 Builds"),
            )
        }
        ("DELETE", ["build-cache"]) => accepted("§2 Builds: build-cache"),
        ("GET", ["log-drains"]) => lists::page(Vec::new(), &["id"], range),
        ("GET", ["config-vars"]) => Answer::ok(json!(world.state().config), "§2 Config vars"),
        ("PATCH", ["config-vars"]) => releases::change_config(world, &call.body),
        ("GET", ["addons"]) => lists::page(addons::list(world), &["id", "name"], range),
        ("POST", ["addons"]) => addons::create(world, &call.body),
        ("PATCH", ["addons", name]) => addons::change(world, name, &call.body),
        ("GET", ["addons", name]) => addons::one(world, name),
        ("GET", ["addon-attachments"]) => {
            lists::page(addons::attachments(world, None), &["id", "name"], range)
        }
        ("GET", ["features"]) => {
            let state = world.state();
            let all = state.features.iter().map(|(name, enabled)| feature(name, *enabled).body).collect();
            lists::page(all, &["id", "name"], range)
        }
        ("GET", ["features", name]) => {
            let enabled = world.state().features.get(*name).copied();
            enabled.map_or_else(|| Answer::not_found("feature"), |enabled| feature(name, enabled))
        }
        ("PATCH", ["features", name]) => {
            let Some(enabled) = call.body["enabled"].as_bool() else {
                return Answer::invalid("enabled is required");
            };
            match world.state().features.get_mut(*name) {
                None => Answer::not_found("feature"),
                Some(known) => {
                    *known = enabled;
                    feature(name, enabled)
                }
            }
        }
        ("POST", ["log-sessions"]) => {
            let text = |name: &str| call.body[name].as_str().map(str::to_owned);
            let lines = call.body["lines"].as_u64().unwrap_or(100).min(1500);
            let secret = world.logs.open(
                text("dyno_name").or_else(|| text("dyno")).or_else(|| text("type")),
                text("source"),
                usize::try_from(lines).unwrap_or(100),
                call.body["tail"].as_bool().unwrap_or(false),
            );
            let url = format!("http://{}/logs/{secret}", world.api);
            Answer::new(
                201,
                json!({ "created_at": door::stamp(), "id": door::uuid(), "logplex_url": url, "updated_at": door::stamp() }),
                "§2 Log sessions",
            )
        }
        _ => Answer::error(404, "not_found", "The requested API endpoint was not found.", "§1 Errors"),
    }
}

fn feature(name: &str, enabled: bool) -> Answer {
    Answer::ok(
        json!({ "id": name, "name": name, "enabled": enabled, "state": "general", "doc_url": "", "description": name,
            "created_at": "2014-01-01T00:00:00Z", "updated_at": "2014-01-01T00:00:00Z", "display_name": null,
            "feedback_email": null }),
        "§2 Features",
    )
}
