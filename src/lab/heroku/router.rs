//! The router: sends pages to dynos that are up, queues while they start, and answers with H-codes (facts §4).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::{door, http};
use super::World;

/// No byte within this: H12.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Requests wait this long for a dyno that starts: H20.
const QUEUE: Duration = Duration::from_secs(75);
/// Requests answered at a time: more than visitors ask, so that nobody waits for anything but dynos.
const THREADS: usize = 256;

pub fn serve(world: &Arc<World>, server: tiny_http::Server) {
    let server = Arc::new(server);
    for _ in 0..THREADS {
        let world = Arc::clone(world);
        let server = Arc::clone(&server);
        std::thread::spawn(move || {
            while let Ok(request) = server.recv() {
                answer(&world, request);
            }
        });
    }
}

enum Place {
    At(String, u16),
    Starting,
    Crashed,
    None,
    Maintenance,
}

fn place(world: &Arc<World>) -> Place {
    let mut state = world.state();
    if state.maintenance {
        return Place::Maintenance;
    }
    let now = door::now();
    state.serving.retain(|(until, _)| *until > now);
    let old: Vec<_> = state.serving.iter().map(|(_, dyno)| dyno).filter(|dyno| dyno.kind == "web").collect();
    let new: Vec<_> = state.dynos.values().filter(|dyno| dyno.kind == "web").collect();
    let from = if old.is_empty() { &new } else { &old };
    let up: Vec<_> = from.iter().filter(|dyno| dyno.state == "up" && dyno.port > 0).collect();
    if !up.is_empty() {
        let chosen = up[fastrand::usize(..up.len())];
        return Place::At(chosen.name.clone(), chosen.port);
    }
    if new.iter().any(|dyno| dyno.state == "starting" || dyno.state == "up") {
        Place::Starting
    } else if new.is_empty() {
        Place::None
    } else {
        Place::Crashed
    }
}

fn answer(world: &Arc<World>, request: tiny_http::Request) {
    let path = request.url().to_owned();
    let begun = door::now();
    let queue = world.scaled(QUEUE);
    loop {
        match place(world) {
            Place::At(name, port) => {
                let at = SocketAddr::from(([127, 0, 0, 1], port));
                match http::get(at, &path, world.scaled(TIMEOUT).max(Duration::from_secs(3))) {
                    Ok(page) => {
                        let ms = begun.elapsed().as_millis();
                        let facts = format!(
                            "connect=0ms service={ms}ms status={} bytes={}",
                            page.status,
                            page.body.len()
                        );
                        log(world, &request, "at=info", &name, &facts);
                        let response =
                            tiny_http::Response::from_data(page.body).with_status_code(page.status);
                        let _ = request.respond(response);
                        return;
                    }
                    // The dyno went away between the look and the connection: look again.
                    Err(error)
                        if error.kind() == std::io::ErrorKind::ConnectionRefused
                            && begun.elapsed() < queue =>
                    {
                        door::pause(Duration::from_millis(20));
                    }
                    Err(error)
                        if matches!(
                            error.kind(),
                            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                        ) =>
                    {
                        return fail(world, request, "H12", "Request timeout", &name);
                    }
                    Err(_) => {
                        return fail(world, request, "H13", "Connection closed without response", &name);
                    }
                }
            }
            Place::Starting if begun.elapsed() < queue => door::pause(Duration::from_millis(20)),
            Place::Starting => return fail(world, request, "H20", "App boot timeout", ""),
            Place::Crashed => return fail(world, request, "H10", "App crashed", ""),
            Place::None => return fail(world, request, "H14", "No web processes running", ""),
            Place::Maintenance => return fail(world, request, "H80", "Maintenance mode", ""),
        }
    }
}

/// A line of the router (facts §4).
fn log(world: &Arc<World>, request: &tiny_http::Request, what: &str, dyno: &str, facts: &str) {
    let line = format!(
        "{what} method={} path=\"{}\" host={}.example request_id={} fwd=\"127.0.0.1\" dyno={dyno} {facts} protocol=https",
        request.method(),
        request.url(),
        world.options.app,
        door::uuid(),
    );
    world.logs.add("heroku", "router", &line);
}

fn fail(world: &Arc<World>, request: tiny_http::Request, code: &str, description: &str, dyno: &str) {
    let what = format!("at=error code={code} desc=\"{description}\"");
    log(world, &request, &what, dyno, "connect= service= status=503 bytes=0");
    let page = format!("<!DOCTYPE html><title>Application error</title><p>{code} {description}</p>");
    let _ = request.respond(tiny_http::Response::from_string(page).with_status_code(503));
}
