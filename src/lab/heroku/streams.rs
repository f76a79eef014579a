//! `GET logplex_url` (facts §2, Log sessions): no authentication but the URL's secret, chunked, plain text or
//! server-sent events. Without `tail` it ends after the lines that are there; with it, it stays open in silence.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use super::super::door;
use super::World;
use super::faults::{Door, Kind};

/// Answers the session of `secret`; `events` asks for server-sent events.
pub fn logs(world: &Arc<World>, secret: &str, events: bool, request: tiny_http::Request) -> io::Result<()> {
    let Some(session) = world.logs.session(secret) else {
        return request.respond(tiny_http::Response::from_string("Not found").with_status_code(404));
    };
    let kind = if events { "text/event-stream" } else { "text/plain" };
    let mut out = request.into_writer();
    write!(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )?;
    let (mut lines, mut next) = world.logs.newest(&session);
    let cut = || session.tail && world.faults.take_only(Door::Log, "", &Kind::Cut);
    loop {
        for line in lines {
            if cut() {
                // What comes next is no chunk: to the client the connection broke.
                let half = line.get(..10).unwrap_or_default();
                write!(out, "{:x}\r\n{half}\r\nzz\r\n", half.len())?;
                return out.flush();
            }
            let text = if events { format!("data: {line}\n\n") } else { format!("{line}\n") };
            write!(out, "{:x}\r\n{text}\r\n", text.len())?;
        }
        out.flush()?;
        if !session.tail || world.stopping() {
            write!(out, "0\r\n\r\n")?;
            return out.flush();
        }
        door::pause(Duration::from_millis(100));
        (lines, next) = world.logs.since(&session, next);
    }
}
