//! The Platform API's routes: headers, authentication, rate limit and request ids before, answers and faults after.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::super::door;
use super::answer::Answer;
use super::dynos::{self, Why};
use super::faults::{Kind, Order};
use super::state::State;
use super::{World, addons, builds, hook, lists, releases};

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
        return stream_logs(world, secret, request);
    }
    let accept = find("Accept").unwrap_or_default();
    let bearer = find("Authorization").and_then(|value| value.strip_prefix("Bearer ").map(str::to_owned));
    let mut range = find("Range");
    let own = door::uuid();
    let id = find("Request-Id").map_or_else(|| own.clone(), |given| format!("{own},{given}"));
    let mut text = String::new();
    io::Read::take(request.as_reader(), 4 << 20).read_to_string_lossy(&mut text)?;
    let authorized = bearer.as_deref() == Some(world.options.token.as_str());
    if path.starts_with("/lab/") && authorized {
        return admin(world, &path, &text, request);
    }
    let body = if text.trim().is_empty() { Ok(Json::Null) } else { serde_json::from_str(&text) };
    let changes = method != "GET" && !path.ends_with("/log-sessions");
    let fault = world.faults.take(&method, &path);
    if let Some(Kind::Pages(most)) = &fault {
        range = Some(lists::at_most(range.as_deref(), *most));
    }
    let mut answer = if !accept.starts_with("application/vnd.heroku+json") || !accept.contains("version=3") {
        let message = "The requested API endpoint was not found. Are you using the right HTTP verb (i.e. `GET` vs. `POST`), and did you specify your intended version with the `Accept` header?";
        Answer::error(404, "not_found", message, "§1 Transport: Accept")
    } else if !authorized {
        Answer::error(401, "unauthorized", "Invalid credentials provided.", "§1 Auth: Bearer")
    } else if !spend(world) || fault == Some(Kind::RateLimit) {
        Answer::error(
            429,
            "rate_limit",
            "Your account reached the API rate limit\nPlease wait a few minutes before making new requests",
            "§1 Rate limit",
        )
    } else if fault == Some(Kind::TwoFactor) {
        Answer::error(
            403,
            "two_factor",
            "A second authentication factor or pre-authorization is required for this request. Your account has either two-factor or a Yubikey registered.",
            "§1 Two factor",
        )
    } else if let Some(Kind::Refuse(status, id)) = &fault {
        Answer::error(*status, id, "The lab was told to refuse this.", "§1 Errors")
    } else if fault == Some(Kind::Pretend) {
        Answer::new(202, json!({}), "§2 Dynos: restarts are asynchronous")
    } else if fault == Some(Kind::LoseRequest) || fault == Some(Kind::Html) {
        Answer::new(503, Json::Null, "§1 Errors: 5xx may be HTML or empty")
    } else {
        match body {
            Ok(body) => route(world, &Call { method: method.clone(), path: path.clone(), range, body }),
            Err(_) => {
                Answer::error(400, "bad_request", "Unable to parse the JSON request body.", "§1 Errors")
            }
        }
    };
    if let (Some(Kind::State(state)), Some(dynos)) = (&fault, answer.body.as_array_mut()) {
        for dyno in dynos {
            dyno["state"] = json!(state);
        }
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
    if let Some(Kind::Stall(ms)) = fault {
        door::pause(Duration::from_millis(ms));
    }
    write(world, request, &answer, &id, fault.as_ref())
}

/// Takes a call out of the account's bucket.
fn spend(world: &Arc<World>) -> bool {
    let mut state = world.state();
    let (left, at) = state.calls_left;
    let left = (left + at.elapsed().as_secs_f64() / 60.0 * REFILL).min(BUCKET);
    state.calls_left = ((left - 1.0).max(0.0), door::now());
    left >= 1.0
}

fn write(
    world: &Arc<World>,
    request: tiny_http::Request,
    answer: &Answer,
    id: &str,
    fault: Option<&Kind>,
) -> io::Result<()> {
    let text = match fault {
        Some(Kind::Html) => "<!DOCTYPE html><html><body>Application Error</body></html>".to_owned(),
        _ => answer.body.to_string(),
    };
    match fault {
        Some(Kind::LoseAnswer | Kind::LoseRequest) => {
            // What comes is no HTTP: to the client the connection broke before the answer.
            let mut out = request.into_writer();
            out.write_all(b"\0")?;
            return out.flush();
        }
        Some(Kind::Cut) => {
            let mut out = request.into_writer();
            let half = text.len() / 2;
            write!(
                out,
                "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
                answer.status
            )?;
            write!(out, "{half:x}\r\n{}\r\nzz\r\n", text.get(..half).unwrap_or_default())?;
            return out.flush();
        }
        _ => {}
    }
    let left = format!("{:.0}", world.state().calls_left.0.floor());
    let kind = if fault == Some(&Kind::Html) { "text/html" } else { "application/json" };
    let mut response = tiny_http::Response::from_string(text)
        .with_status_code(answer.status)
        .with_header(header("Content-Type", kind))
        .with_header(header("Request-Id", id))
        .with_header(header("RateLimit-Remaining", &left))
        .with_header(header("RateLimit-Multiplier", "1"))
        .with_header(header("Oauth-Scope", "global"))
        .with_header(header("Oauth-Scope-Accepted", "global"))
        .with_header(header("X-Lab-Fact", &answer.fact.replace('§', "section ")));
    for (name, value) in &answer.headers {
        response = response.with_header(header(name, value));
    }
    request.respond(response)
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
        ("GET", ["dyno-sizes"]) => lists::page(
            ["Eco", "Basic", "Standard-1X", "Standard-2X", "Performance-M"]
                .map(|name| json!({ "id": name, "name": name }))
                .to_vec(),
            &["id", "name"],
            call.range.as_deref(),
        ),
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
        ("POST", ["dynos"]) => one_off(world, &call.body),
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
            if !world.state().dynos.contains_key(*name) {
                return Answer::not_found("dyno");
            }
            dynos::replace(world, Why::Restart, |dyno| dyno.name == *name);
            accepted("§2 Dynos: restart one")
        }
        ("DELETE", ["formations", kind]) | ("POST", ["formations", kind, "actions", "stop"]) => {
            if !world.state().formation.contains_key(*kind) {
                return Answer::not_found("formation");
            }
            dynos::replace(world, Why::Restart, |dyno| dyno.kind == *kind);
            accepted("§2 Dynos: restart one type (plural formations)")
        }
        ("GET", ["formation"]) => lists::page(formations(world), &["id", "type"], range),
        ("GET", ["formation", kind]) => {
            formations(world).into_iter().find(|formation| formation["type"] == *kind).map_or_else(
                || Answer::not_found("formation"),
                |formation| Answer::ok(formation, "§2 Formation"),
            )
        }
        ("PATCH", ["formation"]) => match call.body["updates"].as_array() {
            Some(updates) => scale(world, updates),
            None => Answer::invalid("updates is required"),
        },
        ("PATCH", ["formation", kind]) => {
            let mut update = call.body.clone();
            update["type"] = json!(kind);
            scale(world, &[update])
        }
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
        ("GET", ["config-vars"]) => Answer::ok(json!(world.state().config), "§2 Config vars"),
        ("PATCH", ["config-vars"]) => releases::change_config(world, &call.body),
        ("GET", ["addons"]) => lists::page(addons::list(world), &["id", "name"], range),
        ("POST", ["addons"]) => addons::create(world, &call.body),
        ("PATCH", ["addons", name]) => addons::change(world, name, &call.body),
        ("GET", ["addon-attachments"]) => {
            lists::page(addons::attachments(world, None), &["id", "name"], range)
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

fn formations(world: &Arc<World>) -> Vec<Json> {
    let state = world.state();
    state.formation.iter().map(|(kind, formation)| state.formation_json(kind, formation)).collect()
}

/// A quantity as the API takes it: an integer, or the text that the official CLI sends (`1`, `+1`, `-1`).
fn quantity(update: &Json, now: u32) -> Option<u32> {
    match &update["quantity"] {
        Json::Null => Some(now),
        Json::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Json::String(text) => match text.chars().next()? {
            '+' => text[1..].parse::<u32>().ok().map(|more| now + more),
            '-' => text[1..].parse::<u32>().ok().map(|less| now.saturating_sub(less)),
            _ => text.parse().ok(),
        },
        _ => None,
    }
}

fn scale(world: &Arc<World>, updates: &[Json]) -> Answer {
    {
        let mut state = world.state();
        if state.current_release().is_none_or(|release| release.slug.is_none()) {
            return Answer::invalid("App must be deployed before dynos can be scaled.");
        }
        let mut next = state.formation.clone();
        for update in updates {
            let kind = update["type"].as_str().unwrap_or_default();
            let Some(formation) = next.get_mut(kind) else {
                return Answer::error(
                    404,
                    "not_found",
                    format!("Couldn't find that process type ({kind})."),
                    "§2 Formation",
                );
            };
            let Some(quantity) = quantity(update, formation.quantity) else {
                return Answer::invalid("quantity must be a number of dynos");
            };
            let size = update["dyno_size"]["name"].as_str().or_else(|| update["size"].as_str());
            if let Some(size) = size {
                size.clone_into(&mut formation.size);
            }
            let small = ["eco", "basic"].contains(&formation.size.to_ascii_lowercase().as_str());
            let limit = if small { 1 } else { 100 };
            if quantity > limit {
                let message = format!(
                    "Cannot update to more than {limit} {} size dynos per process type.",
                    formation.size
                );
                let mut answer = Answer::error(422, "cannot_update_above_limit", message, "§5 Scale limits");
                answer.body["limit"] = json!(limit);
                return answer;
            }
            formation.quantity = quantity;
        }
        state.formation = next;
    }
    for update in updates {
        let kind = update["type"].as_str().unwrap_or_default();
        let told = update["quantity"].to_string();
        world.logs.add("app", "api", &format!("Scaled to {kind}@{told} by user operator@wizzypedia.invalid"));
    }
    dynos::follow_formation(world);
    Answer::ok(Json::Array(formations(world)), "§2 Formation: the answer does not mean that dynos are up")
}

fn one_off(world: &Arc<World>, body: &Json) -> Answer {
    let Some(command) = body["command"].as_str() else {
        return Answer::invalid("command is required");
    };
    let release = world.state().current_release().cloned();
    let Some(release) = release.filter(|release| release.slug.is_some()) else {
        return Answer::error(
            422,
            "invalid_params",
            "Cannot run one-off process at this time. Please try again later.",
            "§2 Dynos",
        );
    };
    let name = format!("run.{}", fastrand::u32(1000..9999));
    let dyno = dynos::boot(world, &name, "run", "Standard-1X", command, &release);
    Answer::new(201, world.state().dyno_json(&dyno), "§2 Dynos: one-off, the API never reports an exit code")
}

/// The lab's admin door.
fn admin(world: &Arc<World>, path: &str, text: &str, request: tiny_http::Request) -> io::Result<()> {
    let reply = |request: tiny_http::Request, status: u16, body: &Json| {
        request.respond(tiny_http::Response::from_string(body.to_string()).with_status_code(status))
    };
    match path {
        "/lab/builds" => {
            let order: Json = serde_json::from_str(text).unwrap_or(Json::Null);
            let (Some(commit), Some(slug)) = (order["commit"].as_str(), order["slug"].as_str()) else {
                return reply(request, 400, &json!({ "error": "commit and slug are wanted" }));
            };
            let mut out = request.into_writer();
            write!(out, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")?;
            let accepted = builds::build(world, commit, slug, &mut out)?;
            writeln!(out, "{}{}", hook::VERDICT, if accepted { "accepted" } else { "refused" })?;
            out.flush()
        }
        "/lab/faults" if text == "[]" => {
            world.faults.clear();
            reply(request, 201, &json!({}))
        }
        "/lab/faults" => match serde_json::from_str::<Order>(text) {
            Ok(order) => {
                world.faults.add(order);
                reply(request, 201, &json!({}))
            }
            Err(error) => reply(request, 400, &json!({ "error": error.to_string() })),
        },
        "/lab/dynos" => {
            let state = world.state();
            let dynos: Vec<Json> = state.dynos.values().map(|dyno| state.dyno_json(dyno)).collect();
            let body = json!({ "dynos": dynos, "retired": state.retired });
            drop(state);
            reply(request, 200, &body)
        }
        _ => reply(request, 404, &json!({ "error": "no such door" })),
    }
}

/// `GET logplex_url`: plain text, chunked; with `tail` it stays open (facts §2, Log sessions).
fn stream_logs(world: &Arc<World>, secret: &str, request: tiny_http::Request) -> io::Result<()> {
    let Some(session) = world.logs.session(secret) else {
        return request.respond(tiny_http::Response::from_string("Not found").with_status_code(404));
    };
    let mut out = request.into_writer();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )?;
    let mut last = None;
    loop {
        for line in world.logs.read(&session, last) {
            last = Some(line.number);
            write!(out, "{:x}\r\n{}\n\r\n", line.text.len() + 1, line.text)?;
        }
        out.flush()?;
        if !session.tail || world.stopping() {
            write!(out, "0\r\n\r\n")?;
            return out.flush();
        }
        if last.is_none() {
            last = Some(0);
        }
        door::pause(Duration::from_millis(100));
    }
}
