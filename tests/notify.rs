//! Who is told of a run, over real sockets: a webhook, a thread and an alert; and what a run does when nobody listens.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Json, json};
use support::shared::Shared;

/// A server that keeps what it is posted, by path; or takes connections and says nothing.
struct Heard {
    port: u16,
    posts: Arc<Mutex<Vec<(String, String, Json)>>>,
}

impl Heard {
    fn begin(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let posts: Arc<Mutex<Vec<_>>> = Arc::default();
        let kept = Arc::clone(&posts);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if answers {
                    let kept = Arc::clone(&kept);
                    std::thread::spawn(move || serve(&stream, &kept));
                } else {
                    silent.push(stream);
                }
            }
        });
        Self { port, posts }
    }

    /// What was posted to a path since it was asked last: authorization and body.
    fn taken(&self, path: &str) -> Vec<(String, Json)> {
        let mut posts = self.posts.lock().expect("unlocked");
        let (taken, left): (Vec<_>, Vec<_>) = posts.drain(..).partition(|(to, _, _)| to == path);
        *posts = left;
        taken.into_iter().map(|(_, authorization, body)| (authorization, body)).collect()
    }
}

fn serve(stream: &TcpStream, kept: &Mutex<Vec<(String, String, Json)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let (mut length, mut authorization) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            match name.to_lowercase().as_str() {
                "content-length" => length = value.trim().parse().expect("a length"),
                "authorization" => value.trim().clone_into(&mut authorization),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let path = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
        kept.lock().expect("unlocked").push((
            path,
            authorization,
            serde_json::from_slice(&body).expect("JSON"),
        ));
        let answer = r#"{"ok":true,"ts":"17.5"}"#;
        let mut out = stream;
        let _ = write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
    }
}

fn book(port: u16, steps: &str) -> String {
    format!(
        "runbook: 1\nname: told\nsummary: a test of its own\nhealth: {{ every: 200ms }}\nnotify:\n  - slack: RUNBOOK_SECRET_HOOK\n  - {{ slack_token: RUNBOOK_SECRET_BOT, channel: C1, url: \"http://127.0.0.1:{port}/api\" }}\n  - {{ pagerduty: RUNBOOK_SECRET_KEY, url: \"http://127.0.0.1:{port}/enqueue\" }}\nsteps:\n{steps}"
    )
}

#[test]
fn start_message_success_and_every_end_are_told_and_no_secret_is_kept() {
    let lab = Shared::take();
    let heard = Heard::begin(true);
    let hook = format!("http://127.0.0.1:{}/hook-s3cretpath", heard.port);
    let secrets = [
        ("RUNBOOK_SECRET_HOOK", hook.as_str()),
        ("RUNBOOK_SECRET_BOT", "xoxb-s3cretbot"),
        ("RUNBOOK_SECRET_KEY", "s3cretkey0123"),
    ];
    let own = lab.runbook(
        "told",
        &book(
            heard.port,
            "  - notify: \"at <noon> & later\"\n  - wait: { until: live, for: 2s, within: 30s }\n",
        ),
    );
    let run = ["run", "told", "--yes", "--runbooks", &own];

    let dry = lab.run_in(&secrets, &["run", "told", "--dry-run", "--runbooks", &own]).expect(0);
    assert!(dry.stdout.contains("a dry run tells nobody"), "{}", dry.all());
    assert!(heard.posts.lock().expect("unlocked").is_empty(), "a dry run sends nothing");

    let ran = lab.run_in(&secrets, &run).expect(0);
    let posted = heard.taken("/hook-s3cretpath");
    let texts: Vec<&str> = posted.iter().filter_map(|(_, body)| body["text"].as_str()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].starts_with("*told* on *wizzypedia*: began (run "), "{texts:?}");
    assert!(texts[1].contains("at &lt;noon&gt; &amp; later"), "{texts:?}");
    assert!(texts[2].contains("done after") && texts[2].contains("journal head "), "{texts:?}");
    let thread = heard.taken("/api");
    assert!(thread.iter().all(|(bearer, body)| bearer == "Bearer xoxb-s3cretbot" && body["channel"] == "C1"));
    let threads: Vec<_> = thread.iter().map(|(_, body)| body["thread_ts"].clone()).collect();
    assert_eq!(threads, [Json::Null, json!("17.5"), json!("17.5")], "one thread a run");
    let pages = heard.taken("/enqueue");
    assert_eq!(pages.len(), 1, "{pages:?}");
    assert_eq!(
        (&pages[0].1["event_action"], &pages[0].1["routing_key"]),
        (&json!("resolve"), &json!("s3cretkey0123"))
    );
    assert!(lab.journal().contains("\"notified\""), "the thread is kept for a resume");
    for text in [ran.all(), lab.journal(), lab.state()] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    assert!(ran.all().contains("a webhook at 127.0.0.1:"), "the plan says who is told: {}", ran.all());

    // A gate that stays shut, and the same alert again by a run that could not begin.
    let own = lab.runbook("told", &book(heard.port, "  - check: not live\n"));
    let run_shut = ["run", "told", "--yes", "--runbooks", &own];
    lab.run_in(&secrets, &run_shut).expect(4);
    let mut wrong = secrets.to_vec();
    wrong.push(("HEROKU_API_KEY", "HRKU-wrong"));
    lab.run_in(&wrong, &run_shut).expect(9);
    let pages = heard.taken("/enqueue");
    let told: Vec<_> = pages
        .iter()
        .map(|(_, body)| {
            (&body["event_action"], &body["dedup_key"], &body["payload"]["custom_details"]["exit_code"])
        })
        .collect();
    let key = json!("runbook/wizzypedia/told");
    assert_eq!(
        told,
        [(&json!("trigger"), &key, &json!(4)), (&json!("trigger"), &key, &json!(9))],
        "{pages:?}"
    );
    let posted = heard.taken("/hook-s3cretpath");
    assert!(
        posted[1].1["text"]
            .as_str()
            .is_some_and(|text| text.contains("gate shut (exit 4)") && text.contains("runbook resume")),
        "{posted:?}"
    );
    assert!(
        posted[2].1["text"].as_str().is_some_and(|text| text.contains("could not begin: unusable")),
        "{posted:?}"
    );
}

#[test]
fn nobody_who_listens_holds_a_run_up_and_it_is_said_once() {
    let lab = Shared::take();
    let silent = Heard::begin(false);
    let hook = format!("http://127.0.0.1:{}/hook", silent.port);
    let secrets = [("RUNBOOK_SECRET_HOOK", hook.as_str()), ("RUNBOOK_SECRET_KEY", "s3cretkey0123")];
    let own = lab.runbook(
        "told",
        &book(
            silent.port,
            "  - notify: one\n  - { id: again, notify: two }\n  - wait: { until: live, for: 8s, within: 40s }\n",
        ),
    );
    let ran = lab.run_in(&secrets, &["run", "told", "--yes", "--runbooks", &own]).expect(0);
    assert_eq!(ran.all().matches("RUNBOOK_SECRET_HOOK was not taken").count(), 1, "{}", ran.all());
    assert!(ran.all().contains("no answer within 5 s"), "{}", ran.all());
    assert!(ran.all().contains("is NOT told: RUNBOOK_SECRET_BOT"), "{}", ran.all());
    assert!(ran.took < Duration::from_secs(40), "{:?}", ran.took);
}
