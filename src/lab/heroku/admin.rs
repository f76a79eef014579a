//! The lab's admin door, beside the Platform API: builds for the git hook, faults to order, figures for tests.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::faults::{Kind, Order};
use super::{World, api, builds, hook};

/// Answers a request whose token was right.
pub fn answer(world: &Arc<World>, path: &str, text: &str, request: tiny_http::Request) -> io::Result<()> {
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
        "/lab/faults" if text.is_empty() => {
            let figures = world.faults.figures();
            reply(request, 200, &figures)
        }
        "/lab/faults" => match serde_json::from_str::<Order>(text) {
            Ok(order) if !order.possible() => reply(
                request,
                400,
                &json!({ "error": "a push lands later only unheard: lose-answer, silence" }),
            ),
            Ok(order) => {
                if order.fault == Kind::Frozen {
                    api::freeze(world, &order.path);
                }
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
