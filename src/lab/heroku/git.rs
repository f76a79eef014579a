//! Git over HTTP: real `git http-backend` behind Basic authentication with the token as password (facts §2, Git).

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use super::super::door;
use super::api::{self, Recorded};
use super::faults::{Door, Kind};
use super::{World, wire};

const FACT: &str = "§2 Git";
/// Bytes of a push's answer after which it is cut, when a fault wants it: the build has begun by then.
const CUT_AFTER: usize = 100;

/// Puts the build into the bare repository's way: a push is accepted when its build succeeds.
pub fn install_hook(world: &Arc<World>) -> io::Result<()> {
    let bare = world.options.dir.join("git").join(format!("{}.git", world.options.app));
    let hook = bare.join("hooks").join("pre-receive");
    std::fs::create_dir_all(bare.join("hooks"))?;
    let own = std::env::current_exe()?;
    std::fs::write(
        &hook,
        format!("#!/bin/sh\nexec {} lab hook\n", door::shell_word(&own.display().to_string())),
    )?;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))
}

pub fn serve(world: &Arc<World>, server: tiny_http::Server) {
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        for request in server.incoming_requests() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || {
                let _ = answer(&world, request);
            });
        }
    });
}

/// The password of a Basic header; an empty user name loses it, as git itself does.
pub fn password(header: &str) -> Option<String> {
    let encoded = header.strip_prefix("Basic ")?;
    let text = String::from_utf8(decode(encoded)?).ok()?;
    let (user, password) = text.split_once(':')?;
    (!user.is_empty()).then(|| password.to_owned())
}

/// Base 64, as the header carries it.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).ok()?);
        }
    }
    Some(out)
}

fn answer(world: &Arc<World>, mut request: tiny_http::Request) -> io::Result<()> {
    let method = request.method().to_string();
    let url = request.url().to_owned();
    let header = |name: &'static str| {
        request.headers().iter().find(|h| h.field.equiv(name)).map(|h| h.value.as_str().to_owned())
    };
    let given = header("Authorization").as_deref().and_then(password);
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let refused = given.as_deref() != Some(world.options.token.as_str()) || world.faults.revoked();
    // What changes something is the pack itself; the listing of refs before it does not.
    let changes = method == "POST" && path.ends_with("/git-receive-pack");
    let spent = !refused && !api::spend(world);
    let hit = if refused || spent { None } else { world.faults.take(Door::Git, &method, &url) };
    let fault = hit.as_ref().map(|hit| &hit.kind);
    let status = match (refused, spent, fault) {
        (true, ..) | (_, _, Some(Kind::Revoke)) => 401,
        (_, true, _) | (_, _, Some(Kind::RateLimit)) => 429,
        (_, _, Some(Kind::Refuse(status, _) | Kind::HtmlWith(status))) => *status,
        (_, _, Some(Kind::Html)) => 503,
        _ => 200,
    };
    if fault == Some(&Kind::Revoke) {
        world.faults.revoke();
    }
    api::record(
        world,
        &Recorded { door: "git", method: &method, path: &url, status, changes, id: "", fact: FACT },
    );
    match status {
        200 => {}
        401 => {
            let text = " !     WARNING:\n !     Do not authenticate with username and password using git.\n";
            let response = tiny_http::Response::from_string(text)
                .with_status_code(401)
                .with_header(api::header("WWW-Authenticate", "Basic realm=\"Heroku Git\""));
            return request.respond(response);
        }
        // The account's limit counts pushes too: 429 on the fetch of refs (facts §1, Rate limit).
        429 => {
            let text = "Your account reached the API rate limit\n";
            return request.respond(tiny_http::Response::from_string(text).with_status_code(429));
        }
        _ => {
            let text = "<!DOCTYPE html><html><body>Application Error</body></html>";
            return request.respond(tiny_http::Response::from_string(text).with_status_code(status));
        }
    }
    let mut backend = backend(world, &method, &path, &query, &header);
    let known_length = request.body_length().is_some();
    let mut body = Vec::new();
    request.as_reader().read_to_end(&mut body)?;
    if known_length {
        backend.env("CONTENT_LENGTH", body.len().to_string());
    }
    if fault == Some(&Kind::LoseRequest) {
        return wire::break_off(request);
    }
    match (fault, hit.as_ref().and_then(|hit| hit.lands_after)) {
        (Some(Kind::LoseAnswer | Kind::Silence), later) => {
            // It goes on to its end, though nobody hears of it.
            let unheard = move |_: &Arc<World>| {
                let _ = unheard(backend, &body);
            };
            if let Some(ms) = later {
                api::land(world, ms, unheard);
            } else {
                let world = Arc::clone(world);
                std::thread::spawn(move || unheard(&world));
            }
            if fault == Some(&Kind::LoseAnswer) {
                return wire::break_off(request);
            }
            wire::say_nothing(world, request);
            Ok(())
        }
        (Some(Kind::Cut), _) => speak(backend, &body, request, Some(CUT_AFTER)),
        _ => speak(backend, &body, request, None),
    }
}

/// Git's own program for the other side, with the request's headers.
fn backend(
    world: &Arc<World>,
    method: &str,
    path: &str,
    query: &str,
    header: &dyn Fn(&'static str) -> Option<String>,
) -> Command {
    let mut backend = door::command("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", world.options.dir.join("git"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", header("Content-Type").unwrap_or_default())
        .env("HTTP_CONTENT_ENCODING", header("Content-Encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", header("Git-Protocol").unwrap_or_default())
        .env("REMOTE_USER", "heroku")
        .env("RUNBOOK_LAB_ADMIN", world.api.to_string())
        .env("RUNBOOK_LAB_TOKEN", &world.options.token)
        .env("RUNBOOK_LAB_SLUGS", world.options.dir.join("slugs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    backend
}

/// Runs the backend and passes on what it says, or the first `most` bytes of its body: it goes on all the same.
fn speak(
    mut backend: Command,
    body: &[u8],
    request: tiny_http::Request,
    most: Option<usize>,
) -> io::Result<()> {
    let mut child = backend.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // The backend may end before it has read everything (a refused pack): that is its answer.
        let _ = stdin.write_all(body);
    }
    let mut stdout = child.stdout.take().map(BufReader::new);
    let result = match &mut stdout {
        Some(stdout) => relay(stdout, request, most),
        None => Ok(()),
    };
    // Somebody who went away does not stop a build: what is left is read to its end, else the backend would break.
    if let Some(mut rest) = stdout {
        let _ = io::copy(&mut rest, &mut io::sink());
    }
    let _ = child.wait();
    result
}

fn unheard(mut backend: Command, body: &[u8]) -> io::Result<()> {
    let mut child = backend.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(body);
    }
    if let Some(mut stdout) = child.stdout.take() {
        io::copy(&mut stdout, &mut io::sink())?;
    }
    child.wait().map(drop)
}

/// Headers of the CGI answer, then its body, chunk by chunk as it comes; cut after `most` bytes.
fn relay(reader: &mut impl BufRead, request: tiny_http::Request, most: Option<usize>) -> io::Result<()> {
    let mut status = "200 OK".to_owned();
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("Status") => {
                value.trim().clone_into(&mut status);
            }
            _ => headers.push_str(&format!("{}\r\n", line.trim_end())),
        }
    }
    let mut out = request.into_writer();
    write!(out, "HTTP/1.1 {status}\r\n{headers}Transfer-Encoding: chunked\r\n\r\n")?;
    let mut buffer = vec![0; 16 * 1024];
    let mut told = 0;
    loop {
        let read = reader.read(&mut buffer)?;
        write!(out, "{read:x}\r\n")?;
        out.write_all(&buffer[..read])?;
        out.write_all(b"\r\n")?;
        told += read;
        if most.is_some_and(|most| told >= most) {
            // No chunk begins like this: to the client the connection broke.
            out.write_all(b"zz\r\n")?;
            return out.flush();
        }
        out.flush()?;
        if read == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_the_password_of_any_user_but_none() {
        assert_eq!(password("Basic aGVyb2t1OnRva2Vu").as_deref(), Some("token"));
        assert_eq!(password("Basic OnRva2Vu"), None);
        assert_eq!(password("Bearer x"), None);
    }
}
