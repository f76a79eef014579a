//! What is tried with any bytes, by cargo-fuzz (`fuzz_targets/`) and, on the stable compiler, by `tests/hostile.rs`:
//! each calls the library by its front door and panics when a promise is broken.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use runbook::expr::{Expr, Template};
use runbook::health::Moment;
use runbook::platform::heroku::{Bucket, Heroku, HerokuOptions};
use runbook::platform::secret::{Redactor, Secret};
use runbook::platform::{Clock, Fault, HerokuReads, netrc as netrc_file};
use runbook::source::{Diagnostic, Source, hides, render};
use runbook::{guard, journal as journals, plan, source};

/// No text of it would drive a terminal. Line breaks are layout, joiners are letters of some scripts.
fn harmless(text: &str) {
    let raw = |c: char| hides(c) && !matches!(c, '\n' | '\u{200c}' | '\u{200d}');
    assert!(!text.chars().any(raw), "raw: {text:?}");
}

/// Faults there are, each with a place inside the text, and drawn without harm.
fn said(source: &Source, faults: &[Diagnostic]) {
    assert!(!faults.is_empty(), "refused without a word");
    for fault in faults {
        assert!(fault.span.start <= fault.span.end, "{fault:?}");
        assert!(source.text.get(fault.span.start.min(source.text.len())..).is_some(), "{fault:?}");
    }
    let drawn = render(source, faults, false);
    assert!(drawn.contains("error") || drawn.contains("warning"), "{drawn}");
    harmless(&drawn.replace('\r', ""));
}

/// The YAML reader, and the readers of runbooks and guardrails behind it.
pub fn yaml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let source = Source::new("hostile.yaml", &*text);
    if let Err(faults) = source::yaml::read(&source) {
        said(&source, &faults);
    }
    match plan::check(&source) {
        Ok(checked) if !checked.warnings.is_empty() => said(&source, &checked.warnings),
        Ok(_) => {}
        Err(faults) => said(&source, &faults),
    }
    if let Err(faults) = guard::read(&source) {
        said(&source, &faults);
    }
}

/// The condition language and the templates: what is read is written as what reads the same.
pub fn condition(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let source = Source::new("hostile condition", &*text);
    match Expr::parse(&text) {
        Ok(expr) => {
            let shown = expr.to_string();
            let again = Expr::parse(&shown).unwrap_or_else(|faults| panic!("{shown:?}: {faults:?}"));
            assert_eq!(again.names(), expr.names(), "{text:?} became {shown:?}");
        }
        Err(faults) => said(&source, &faults),
    }
    match Template::parse(&text) {
        Ok(template) => assert!(template.names().count() <= text.len()),
        Err(faults) => said(&source, &faults),
    }
}

/// `.netrc`: any file has a password for a host or has none.
pub fn netrc(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for host in ["api.heroku.com", "", "machine"] {
        let _ = netrc_file::password(&text, host);
    }
}

/// The journal reader: entries in order, or a fault that names the file, and the line where it is damaged.
pub fn journal(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').count();
    match journals::read("the-file", data) {
        Ok(recorded) => {
            assert!(!recorded.entries.is_empty() && recorded.entries.len() < lines);
            assert_eq!(recorded.heads.len(), recorded.entries.len());
            assert!(recorded.length <= data.len() as u64);
            assert!((1..).zip(&recorded.entries).all(|(number, entry)| entry.seq == number));
        }
        Err(error) => {
            if let journals::JournalError::Damaged { line, .. } = &error {
                assert!((2..=lines).contains(line), "line {line} of {lines}");
            }
            assert!(error.to_string().contains("the-file"), "{error}");
            harmless(&error.to_string());
        }
    }
}

/// Heroku's answers. The first byte chooses the form of the answer, the second the question, the rest is the body: it
/// goes over a socket, through the client, as any answer does.
pub fn heroku(data: &[u8]) {
    static WORLD: OnceLock<(Arc<Heroku>, Arc<Mutex<Given>>)> = OnceLock::new();
    let [form, question, body @ ..] = data else { return };
    let (heroku, given) = WORLD.get_or_init(world);
    *given.lock().unwrap_or_else(PoisonError::into_inner) = Given { form: *form, body: body.to_vec() };
    let text = |value: serde_json::Result<serde_json::Value>| {
        no_raw_text(&value.expect("facts are JSON"));
    };
    match question % 13 {
        0 => asked(heroku.app(), "GET /apps/wiki", |app| text(serde_json::to_value(app))),
        1 => asked(heroku.preboot(), "GET /apps/wiki/features/preboot", |_| {}),
        2 => asked(heroku.origin(), "GET /apps/wiki/", |_| {}),
        3 => asked(heroku.builds(10), "GET /apps/wiki/builds", |all| text(serde_json::to_value(all))),
        4 => asked(heroku.dynos(), "GET /apps/wiki/dynos", |all| text(serde_json::to_value(all))),
        5 => asked(heroku.formation(), "GET /apps/wiki/formation", |all| text(serde_json::to_value(all))),
        // The stream's URL is never shown nor asked.
        6 => asked(heroku.releases(10), "GET /apps/wiki/releases", |mut all| {
            for release in &mut all {
                release.output_stream_url = None;
            }
            text(serde_json::to_value(all));
        }),
        7 => asked(heroku.slug("a/../b"), "GET /apps/wiki/slugs/a%2F..%2Fb", |slug| {
            assert!(slug.commit.as_ref().is_none_or(|sha| sha.bytes().all(|byte| byte.is_ascii_hexdigit())));
            text(serde_json::to_value(slug));
        }),
        8 => asked(heroku.config_changes("v&1"), "/config-vars", |all| text(serde_json::to_value(all))),
        9 => asked(heroku.sharing_apps(), "addon-attachments", |all| text(serde_json::to_value(all))),
        10 => asked(heroku.recent_logs(100, None), "log", |lines| {
            assert!(lines.len() <= 100, "no more than was asked for");
            text(serde_json::to_value(lines));
        }),
        11 => asked(heroku.web_concurrency(), "GET /apps/wiki/config-vars", |_| {}),
        _ => {
            asked(heroku.account(), "GET /account", |account| harmless(&account));
            asked(heroku.database_url(), "config-vars", |_| {});
        }
    }
}

/// An answer is understood, or is a fault that names what was asked.
fn asked<T>(answer: Result<T, Fault>, named: &str, look: impl FnOnce(T)) {
    match answer {
        Ok(value) => look(value),
        Err(fault) => {
            // Faults of a value, not of an answer, name the app.
            let what = &fault.what;
            assert!(
                what.contains(named)
                    || what.contains("log")
                    || what.contains("the database's URL of wiki")
                    || what.contains("GET /"),
                "{fault:?}"
            );
            for text in [what, &fault.why].into_iter().chain(&fault.hints).chain(&fault.request_ids) {
                harmless(text);
                assert!(!text.contains('\n'), "one line: {text:?}");
            }
            assert!(!fault.why.is_empty());
        }
    }
}

fn no_raw_text(json: &serde_json::Value) {
    use serde_json::Value as Json;
    match json {
        Json::String(text) => assert!(!text.chars().any(hides), "raw: {text:?}"),
        Json::Array(items) => items.iter().for_each(no_raw_text),
        Json::Object(map) => map.iter().for_each(|(key, value)| {
            assert!(!key.chars().any(hides), "raw: {key:?}");
            no_raw_text(value);
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// What the server answers now.
#[derive(Default)]
struct Given {
    form: u8,
    body: Vec<u8>,
}

/// Nobody waits between tries.
struct Hurry;

impl Clock for Hurry {
    fn now(&self) -> Moment {
        Moment(0)
    }
    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
    fn sleep(&self, _: Duration) {}
}

fn world() -> (Arc<Heroku>, Arc<Mutex<Given>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of loopback");
    let base = format!("http://{}", listener.local_addr().expect("its address"));
    let given = Arc::new(Mutex::new(Given::default()));
    let (shared, own) = (Arc::clone(&given), base.clone());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One after the other is enough, and bounded; whoever has gone away is no fault.
            let _ = answer(stream, &shared, &own);
        }
    });
    (client(&base, None), given)
}

/// A client of the API at `base` that waits between no tries.
pub fn client(base: &str, pages: Option<&str>) -> Arc<Heroku> {
    runbook::platform::install_crypto();
    let options = HerokuOptions {
        api_url: base.to_owned(),
        token: Secret::from("a-token-of-the-test".to_owned()),
        app: "wiki".to_owned(),
        pages_url: pages.map(str::to_owned),
        database_var: "JAWSDB_MARIA_URL".to_owned(),
        clock: Arc::new(Hurry),
        redactor: Redactor::default(),
        bucket: Arc::new(Bucket::default()),
        variables: Arc::new(|_| Ok(Secret::from("a-value-of-the-test".to_owned()))),
        notice: Arc::new(harmless),
    };
    Heroku::new(options).expect("a client")
}

fn answer(mut stream: TcpStream, given: &Mutex<Given>, base: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut head, mut piece) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < 1 << 16 {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (form, body) = {
        let given = given.lock().unwrap_or_else(PoisonError::into_inner);
        (given.form, given.body.clone())
    };
    // A session leads to its stream, which is what is tried.
    let session = head.starts_with("POST") && form & 0x08 == 0;
    let body = if session { format!("{{\"logplex_url\":\"{base}/s\"}}").into_bytes() } else { body };
    let status =
        if session { 201 } else { [200, 200, 200, 206, 404, 429, 500, 302][usize::from(form & 0x07)] };
    // Some are cut: more is promised than comes.
    let promised = body.len() + if form & 0x10 == 0 { 0 } else { 7 };
    let next = if form & 0x20 == 0 { "" } else { "Next-Range: id ..; max=1\r\n" };
    let odd = if form & 0x40 == 0 {
        ""
    } else {
        "X-Heroku-Warning: \u{9b}31m\u{202e}\r\nRateLimit-Remaining: 99999999999999999999\r\nRequest-Id: a,b\r\n"
    };
    write!(
        stream,
        "HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n{next}{odd}Content-Length: {promised}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}
