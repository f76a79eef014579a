//! How an answer of the simulated API reaches the client: whole, or as the ordered fault wants it. It decides nothing
//! about what the platform does.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::super::door;
use super::World;
use super::answer::Answer;
use super::api::header;
use super::faults::Kind;

/// How long a connection is held open on which nothing answers: longer than any client waits.
const SILENCE: Duration = Duration::from_secs(120);

/// Writes `answer`, or what the fault leaves of it.
pub fn write(
    world: &Arc<World>,
    request: tiny_http::Request,
    answer: &Answer,
    id: &str,
    fault: Option<&Kind>,
) -> io::Result<()> {
    let html = matches!(fault, Some(Kind::Html | Kind::HtmlWith(_)));
    let text = match answer.status {
        304 => String::new(),
        _ if html => "<!DOCTYPE html><html><body>Application Error</body></html>".to_owned(),
        _ => answer.body.to_string(),
    };
    match fault {
        Some(Kind::LoseAnswer | Kind::LoseRequest) => return break_off(request),
        Some(Kind::Silence) => {
            say_nothing(world, request);
            return Ok(());
        }
        Some(Kind::Cut) => {
            let mut out = request.into_writer();
            begin(&mut out, answer.status)?;
            let half = text.get(..text.len() / 2).unwrap_or_default();
            write!(out, "{:x}\r\n{half}\r\nzz\r\n", half.len())?;
            return out.flush();
        }
        Some(Kind::Trickle(ms)) => {
            let mut out = request.into_writer();
            begin(&mut out, answer.status)?;
            for piece in text.as_bytes().chunks(40) {
                door::pause(Duration::from_millis(*ms));
                write!(out, "{:x}\r\n", piece.len())?;
                out.write_all(piece)?;
                write!(out, "\r\n")?;
                out.flush()?;
            }
            write!(out, "0\r\n\r\n")?;
            return out.flush();
        }
        Some(Kind::Stall(ms)) => door::pause(Duration::from_millis(*ms)),
        _ => {}
    }
    let left = format!("{:.0}", world.state().calls_left.0.floor());
    let kind = if html { "text/html" } else { "application/json" };
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

fn begin(out: &mut impl Write, status: u16) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
}

/// What comes is no HTTP: to the client the connection broke before the answer.
pub fn break_off(request: tiny_http::Request) -> io::Result<()> {
    let mut out = request.into_writer();
    out.write_all(b"\0")?;
    out.flush()
}

/// The connection stays open, and nothing comes.
pub fn say_nothing(world: &Arc<World>, request: tiny_http::Request) {
    let _out = request.into_writer();
    door::wait_until(SILENCE, || world.stopping());
}
