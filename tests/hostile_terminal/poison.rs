//! A Heroku whose texts are hostile: it stands before the simulator and poisons what it answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::support::http;

/// What drives terminals: a title, a link, colours, moves of the cursor, a line that writes over another, directions,
/// invisible letters, controls of the second set.
pub fn evil() -> String {
    "\u{1b}]0;T\u{7}\u{1b}]8;;http://e/\u{1b}\\l\u{1b}[31m\u{1b}[2J\u{1b}[1A\rover\u{8}\u{202e}\u{2066}\u{200b}\u{85}\u{9b}2J\u{ad}\u{61c}\u{7f}\nnext"
        .to_owned()
}

#[derive(Default)]
struct Orders {
    refuse_formation: AtomicBool,
    break_everything: AtomicBool,
    rename_database: AtomicBool,
}

/// The poisoned API.
pub struct Poison {
    base: String,
    orders: Arc<Orders>,
}

impl Poison {
    pub fn before(api: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("its address"));
        let orders = Arc::new(Orders::default());
        let (api, own, shared) = (api.to_owned(), base.clone(), Arc::clone(&orders));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (api, own, shared) = (api.clone(), own.clone(), Arc::clone(&shared));
                std::thread::spawn(move || {
                    // Whoever has gone away is no fault.
                    let _ = pass(stream, &api, &own, &shared);
                });
            }
        });
        Self { base, orders }
    }

    pub fn base(&self) -> String {
        self.base.clone()
    }

    /// Changes of the formation are refused, in hostile words.
    pub fn refuse_formation(&self, on: bool) {
        self.orders.refuse_formation.store(on, Ordering::SeqCst);
    }

    /// Everything about the app is refused, in hostile words.
    pub fn break_everything(&self, on: bool) {
        self.orders.break_everything.store(on, Ordering::SeqCst);
    }

    /// The database's URL names another database, which the server will quote.
    pub fn rename_database(&self, on: bool) {
        self.orders.rename_database.store(on, Ordering::SeqCst);
    }
}

fn pass(mut stream: TcpStream, api: &str, own: &str, orders: &Orders) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
    let head = loop {
        if let Some(end) = asked.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            read => asked.extend_from_slice(&piece[..read]),
        }
    };
    let text = String::from_utf8_lossy(&asked[..head]).into_owned();
    let header = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while asked.len() < head + length {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            read => asked.extend_from_slice(&piece[..read]),
        }
    }
    let body = String::from_utf8_lossy(&asked[head..]).into_owned();
    let mut words = text.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if path.starts_with("/poisoned-log") {
        let line = evil().replace('\n', " ");
        let lines = format!(
            "2026-11-23T10:00:00.000000+00:00 app[web.1]: SQLSTATE[HY000] [1040] Too many connections {line}\n\
             2026-11-23T10:00:00.000000+00:00 {line}[{line}]: {line}\ndata: {line}\n"
        );
        return answer(&mut stream, 200, "", &lines);
    }
    let odd = json!({ "id": format!("odd{}", evil()), "message": evil() }).to_string();
    let refused = orders.refuse_formation.load(Ordering::SeqCst) && method == "PATCH";
    if refused || (orders.break_everything.load(Ordering::SeqCst) && path.starts_with("/apps/")) {
        return answer(&mut stream, if refused { 422 } else { 409 }, "Request-Id: a\u{9b}b\r\n", &odd);
    }
    let kept = ["accept", "authorization", "range", "content-type"];
    let headers: String =
        kept.iter().filter_map(|name| header(name).map(|value| format!("{name}: {value}\r\n"))).collect();
    let given = http(api, method, path, &headers, &body);
    let passed: String = ["Next-Range", "RateLimit-Remaining", "Request-Id"]
        .iter()
        .filter_map(|name| given.header(name).map(|value| format!("{name}: {value}\r\n")))
        .collect();
    let passed = format!("{passed}X-Heroku-Warning: careful \u{9b}2J\u{202e}\r\n");
    let body = match serde_json::from_str(&given.body) {
        Ok(mut json) => {
            poison(path, &mut json, own, orders.rename_database.load(Ordering::SeqCst));
            json.to_string()
        }
        Err(_) => given.body,
    };
    answer(&mut stream, given.status, &passed, &body)
}

fn answer(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Puts it where others may write: not into what the simulator itself needs to go on.
fn poison(path: &str, json: &mut Json, own: &str, rename: bool) {
    let add = |text: &mut Json| {
        let known = text.as_str().unwrap_or_default().to_owned();
        *text = json!(format!("{known}{}", evil()));
    };
    let path = path.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    match json {
        Json::Array(items) if last == "dynos" => {
            for dyno in &mut *items {
                add(&mut dyno["size"]);
            }
            items.push(json!({
                "id": evil(), "name": format!("run.1{}", evil()), "type": format!("run{}", evil()),
                "state": format!("up{}", evil()), "size": evil(), "release": { "version": 1 },
                "created_at": evil(), "updated_at": evil(),
            }));
        }
        Json::Array(items) if last == "formation" => items.push(json!({
            "type": format!("clock{}", evil()), "quantity": 0, "size": evil(), "command": evil(),
        })),
        Json::Array(items) if last == "releases" => {
            for release in items {
                add(&mut release["description"]);
                add(&mut release["user"]["email"]);
                add(&mut release["created_at"]);
                release["output_stream_url"] = json!(evil());
            }
        }
        Json::Array(items) if last == "addon-attachments" => {
            let Some(mut other) = items.first().cloned() else { return };
            other["app"]["name"] = json!(format!("other{}", evil()));
            items.push(other);
        }
        Json::Object(map) if last == "account" => {
            map.insert("email".to_owned(), json!(format!("kim@example.com{}", evil())));
        }
        Json::Object(map) if last == "config-vars" => {
            let sort = if path.contains("/releases/") { "THEN" } else { "NOW" };
            map.insert(format!("{sort}{}", evil()), json!(evil()));
            if rename && let Some(url) = map.get_mut("JAWSDB_MARIA_URL") {
                let known = url.as_str().unwrap_or_default().to_owned();
                *url = json!(format!("{known}%1B%5D0;x%07%C2%9B2J%E2%80%AE"));
            }
        }
        Json::Object(map) if last == "log-sessions" => {
            map.insert("logplex_url".to_owned(), json!(format!("{own}/poisoned-log")));
        }
        Json::Object(map) if path.contains("/slugs/") => {
            map.insert(
                "process_types".to_owned(),
                json!({ "web": evil(), format!("odd{}", evil()): evil() }),
            );
        }
        Json::Object(map) if map.contains_key("stack") => {
            add(&mut map["stack"]["name"]);
            add(&mut map["region"]);
        }
        _ => {}
    }
}
