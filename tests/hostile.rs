//! Hostile input, on the stable compiler: the fuzz targets of `tests/fuzz` over their seeds, cut, spliced and damaged
//! in as many ways as a test may take; then files that were made to break their reader, through the binary.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and starts the binary as a person does"
)]

#[path = "fuzz/targets.rs"]
mod targets;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runbook::platform::HerokuReads;

/// How long a target is tried, when its cases are not done before.
const PATIENCE: Duration = Duration::from_secs(6);

/// What tends to matter to one of the readers.
const WORDS: &[&str] = &[
    "\u{1b}]0;x\u{7}",
    "\u{202e}",
    "\u{9b}",
    "\u{0}",
    "\u{feff}",
    "\r\n",
    "\t",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "{",
    "}",
    "[",
    "]",
    "- ",
    ": ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "${{ ",
    " }}",
    "and ",
    "or ",
    "not ",
    "(",
    ")",
    "<=",
    "99999999999999999999",
    "1e400",
    "-1",
    "NaN",
    "null",
    "é😀",
    "# ",
    "password ",
    "machine ",
    "default ",
    "macdef x\n",
    "\\u0000",
    "runbook: 1\n",
    "runbook journal 2\n",
    "for: 3s",
    "40%",
    "\n",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has seeds");
    files.iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

/// A seed, damaged one to four times.
fn damaged(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..32)).min(bytes.len());
        match random.u8(..7) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..end].repeat(random.usize(1..20));
                bytes.splice(at..at, copy);
            }
            4 => {
                let other = &seeds[random.usize(..seeds.len())];
                let from = random.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[random.usize(..WORDS.len())].as_bytes();
                bytes.splice(at..end.min(at + random.usize(..4)), word.iter().copied());
            }
        }
        bytes.truncate(1 << 16);
    }
    bytes
}

fn tried(target: &str, cases: u32, one: fn(&[u8])) {
    let seeds = seeds(target);
    let begun = Instant::now();
    // The same cases every time: what fails here fails for everybody.
    let mut random = fastrand::Rng::with_seed(20_261_123);
    let mut done = 0;
    let mut slowest = Duration::ZERO;
    let mut one = |bytes: &[u8]| {
        let at = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| one(bytes)));
        slowest = slowest.max(at.elapsed());
        assert!(ended.is_ok(), "{target} with {:?}", String::from_utf8_lossy(bytes));
    };
    for seed in &seeds {
        one(seed);
    }
    while done < cases && begun.elapsed() < PATIENCE {
        one(&damaged(&seeds, &mut random));
        done += 1;
    }
    assert!(done >= cases.min(100), "{target}: {done} cases in {:?}", begun.elapsed());
    // A loaded machine stalls; what grows with the square of its input takes far longer.
    assert!(slowest < Duration::from_secs(5), "{target}: one took {slowest:?}");
}

#[test]
fn yaml_is_read_or_its_fault_is_shown_in_its_place() {
    tried("yaml", 3000, targets::yaml);
}

#[test]
fn conditions_and_templates_are_read_or_their_fault_is_shown_in_its_place() {
    tried("condition", 20_000, targets::condition);
}

#[test]
fn any_netrc_has_a_password_or_has_none() {
    tried("netrc", 20_000, targets::netrc);
}

#[test]
fn a_journal_is_read_or_its_damage_is_named_with_its_line() {
    tried("journal", 5000, targets::journal);
}

#[test]
fn an_answer_of_herokus_is_understood_or_named_with_what_was_asked() {
    tried("heroku", 2000, targets::heroku);
}

/// A run of the binary that may use little memory and has a bounded time.
struct Bounded {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Bounded {
    /// It ended with this code, said why in a few lines, and drew nothing raw.
    #[track_caller]
    fn refused(self, code: i32, what: &str) -> Self {
        assert_eq!(self.code, Some(code), "{what}\n{}{}", self.stdout, self.stderr);
        assert!(self.stderr.contains("error"), "{what}: {}", self.stderr);
        assert!(self.stderr.len() < 20_000, "{what}: {} bytes of talk", self.stderr.len());
        assert!(
            !self.stderr.contains("panicked") && !self.stderr.contains("overflow"),
            "{what}: {}",
            self.stderr
        );
        let raw = |c: char| c != '\n' && runbook::source::hides(c);
        let shown = [&self.stdout, &self.stderr].into_iter().find(|text| text.chars().any(raw));
        assert_eq!(shown, None, "{what}");
        self
    }
}

/// `ulimit -v` in KiB. A test build with its debug information needs more room than it uses.
const MEMORY: &str = "600000";

fn bounded(folder: &Path, arguments: &[&str]) -> Bounded {
    let child = Command::new("sh")
        .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_runbook")])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("RUNBOOK_STATE_DIR", folder.join("state"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let pid = child.id().to_string();
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = end.recv_timeout(Duration::from_secs(30)) else {
        let _ = Command::new("kill").args(["-KILL", &pid]).status();
        panic!("not within 30 s: {arguments:?}");
    };
    let output = output.expect("its end");
    Bounded {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

const RUNBOOK: &str = "runbook: 1\nname: bomb\nsummary: a file that was made to break its reader\nsteps:\n  - id: wait\n    wait: { until: live, for: 3s, within: 1m }\n";

/// Files, each with what is said of it.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let uses = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    let after = |text: &str| format!("{RUNBOOK}{text}").into_bytes();
    let many = |one: &dyn Fn(usize) -> String| (0..5000).map(one).collect::<String>();
    vec![
        ("billion laughs", laughs.into_bytes(), "too large or too deeply nested"),
        (
            "laughs by merge keys",
            after(&many(&|n| format!("m{n}: &m{n} {{ <<: *m{} }}\n", n.max(1) - 1))),
            "error",
        ),
        ("an alias of itself", after("x: &x [*x]\n"), "error"),
        ("deep lists", "[".repeat(100_000).into_bytes(), "deeply nested"),
        ("deep maps", "{a: ".repeat(100_000).into_bytes(), "deeply nested"),
        (
            "deep blocks",
            (0..700).map(|n| format!("{}a:\n", " ".repeat(n))).collect::<String>().into_bytes(),
            "deeply nested",
        ),
        ("deep questions", "? ".repeat(100_000).into_bytes(), "error"),
        ("deep items", "- ".repeat(100_000).into_bytes(), "error"),
        ("10 MB", RUNBOOK.repeat(10 << 20 >> 7).into_bytes(), "a runbook may have"),
        ("a long line", after(&format!("x: {}\n", "y".repeat(900_000))), "unknown key of runbook `x`"),
        ("a long key", after(&format!("{}: 1\n", "y".repeat(900_000))), "error"),
        ("an open quote", after(&format!("x: \"{}", "\\n".repeat(400_000))), "error"),
        ("doubled keys", after(&many(&|_| "x: 1\n".to_owned())), "`x` stands twice"),
        ("unknown keys", after(&many(&|n| format!("x{n}: 1\n"))), "error"),
        (
            "unknown verbs",
            RUNBOOK.replace("wait:", &many(&|n| format!("v{n}: 1\n    "))).into_bytes(),
            "error",
        ),
        ("tags", after("x: !!python/object/apply:os.system [id]\n"), "tag"),
        ("a binary tag", after("x: !!binary aGVsbG8=\n"), "error"),
        ("NUL", after("x: \0\n"), "hidden character (U+0000)"),
        ("an escape", after("x: \"\\e]0;title\\a\"\n"), "hidden character (U+001B)"),
        ("C1", after("x: \u{9b}31m\n"), "hidden character (U+009B)"),
        ("a direction", after("# \u{202e} harmless\n"), "hidden character (U+202E)"),
        ("a second mark of byte order", after("\u{feff}x: 1\n"), "hidden character (U+FEFF)"),
        ("tabs", RUNBOOK.replace("  - id", "\t- id").into_bytes(), "error"),
        ("UTF-16", RUNBOOK.encode_utf16().flat_map(u16::to_le_bytes).collect(), "error"),
        ("no UTF-8", [RUNBOOK.as_bytes(), b"x: \xff\xfe\n"].concat(), ":7:4: this is not UTF-8"),
        ("two documents", format!("{RUNBOOK}---\n{RUNBOOK}").into_bytes(), "error"),
        ("a huge number", RUNBOOK.replace("3s", &format!("{}s", "9".repeat(5000))).into_bytes(), "error"),
        (
            "a deep condition",
            RUNBOOK
                .replace("until: live", &format!("until: {}live{}", "(".repeat(50_000), ")".repeat(50_000)))
                .into_bytes(),
            "error",
        ),
        (
            "many nots",
            RUNBOOK.replace("until: live", &format!("until: {}live", "not ".repeat(100_000))).into_bytes(),
            "error",
        ),
        (
            "a long condition",
            RUNBOOK
                .replace("until: live", &format!("until: live{}", " and live".repeat(80_000)))
                .into_bytes(),
            "error",
        ),
    ]
}

#[test]
fn a_file_that_was_made_to_break_its_reader_is_refused_in_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bomb.yaml");
    std::fs::write(&file, RUNBOOK.replace('\n', "\r\n")).expect("written");
    let fine = bounded(folder.path(), &["check", "bomb.yaml"]);
    assert_eq!((fine.code, fine.stderr.trim_end()), (Some(0), "bomb.yaml: valid"), "CRLF is a line end");
    for (what, bytes, says) in bombs() {
        std::fs::write(&file, bytes).expect("written");
        let ran = bounded(folder.path(), &["check", "bomb.yaml"]).refused(3, what);
        assert!(ran.stderr.contains(says) && ran.stderr.contains("bomb.yaml"), "{what}: {}", ran.stderr);
        let ran = bounded(folder.path(), &["check", "--json", "bomb.yaml"]);
        assert_eq!(ran.code, Some(3), "{what}");
        for line in ran.stdout.lines() {
            serde_json::from_str::<serde_json::Value>(line)
                .unwrap_or_else(|error| panic!("{what}: {error}: {line:.200}"));
        }
        let ran = bounded(folder.path(), &["run", "bomb", "--runbooks", ".", "--yes"]).refused(3, what);
        assert!(ran.stderr.contains(says), "{what}: {}", ran.stderr);
    }
}

#[test]
fn guardrails_and_bundles_that_were_made_to_break_their_reader_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("guardrails.yaml");
    let run = ["run", "restart", "-a", "wiki", "--yes", "--runbooks", "."];
    std::fs::write(folder.path().join("restart.yaml"), RUNBOOK.replace("bomb", "restart")).expect("written");
    let laughs = &bombs()[0].1;
    for (what, bytes) in [
        ("10 MB", b"off: an audit\n".repeat(10 << 20 >> 3)),
        ("billion laughs", [b"guardrails: 1\n", &laughs[..]].concat()),
        ("deep lists", [b"guardrails: 1\nprotect: ", "[".repeat(100_000).as_bytes()].concat()),
        ("doubled keys", [b"guardrails: 1\n", &b"off: x\n".repeat(5000)[..]].concat()),
        ("an escape", b"guardrails: 1\noff: \"\\e]0;x\\a\"\n".to_vec()),
        ("no UTF-8", b"guardrails: 1\noff: \xff\n".to_vec()),
    ] {
        std::fs::write(&file, bytes).expect("written");
        bounded(folder.path(), &["check", "guardrails.yaml"]).refused(3, what);
        let ran = bounded(folder.path(), &run).refused(3, what);
        assert!(ran.stderr.contains("guardrails.yaml"), "{what}: {}", ran.stderr);
    }
    std::fs::remove_file(&file).expect("removed");

    let file = folder.path().join("run.handoff");
    let header =
        r#"{"run":"20260101-000000-aaaa","packed":"2026-01-01T00:00:00Z","by":"a@b","head":"x","files":1}"#;
    for (what, bytes) in [
        ("80 MB", b"runbook handoff 1\n".repeat(80 << 20 >> 4)),
        ("a line without an end", [b"runbook handoff 1\n", &b"x".repeat(10 << 20)[..]].concat()),
        ("a deep header", [b"runbook handoff 1\n", &b"[".repeat(4000)[..], b"\n"].concat()),
        (
            "a huge length",
            format!("runbook handoff 1\n{header}\njournal.jsonl 18446744073709551615 x\n").into_bytes(),
        ),
        ("a name that climbs", format!("runbook handoff 1\n{header}\n../../x 1 x\n").into_bytes()),
        (
            "a name with an escape",
            format!("runbook handoff 1\n{header}\n\u{1b}]0;x\u{7}\u{202e} 1 x\n").into_bytes(),
        ),
        ("another form", b"runbook handoff \x1b[2J\n".to_vec()),
        ("nothing", Vec::new()),
    ] {
        std::fs::write(&file, bytes).expect("written");
        let ran = bounded(folder.path(), &["handoff", "--take", "run.handoff"]).refused(9, what);
        assert!(ran.stderr.contains("run.handoff"), "{what}: {}", ran.stderr);
    }
}

/// A server whose answers do not end: as fast as they are taken, or one byte at a time. Counts what it got rid of.
fn endless(head: &'static str, piece: &'static [u8], pause: Duration) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("its address"));
    let sent = Arc::new(AtomicU64::new(0));
    let (counted, own) = (Arc::clone(&sent), base.clone());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (counted, own) = (Arc::clone(&counted), own.clone());
            std::thread::spawn(move || {
                let mut asked = [0; 4096];
                let length = stream.read(&mut asked).unwrap_or(0);
                if asked[..length].starts_with(b"POST") {
                    let body = format!("{{\"logplex_url\":\"{own}/s\"}}");
                    let _ = write!(stream, "HTTP/1.1 201 X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    return;
                }
                let _ = write!(stream, "HTTP/1.1 {head}\r\n\r\n");
                // A gigabyte is as good as no end.
                while counted.load(Ordering::Relaxed) < 1 << 30 && stream.write_all(piece).is_ok() {
                    counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    std::thread::sleep(pause);
                }
            });
        }
    });
    (base, sent)
}

#[test]
fn an_answer_without_an_end_is_not_read_whole() {
    static PIECE: [u8; 1 << 16] = [b'['; 1 << 16];
    // What the kernel holds between the two is not read by anybody.
    let most = 40 << 20;
    let (base, sent) = endless("200 OK\r\nContent-Type: application/json", &PIECE, Duration::ZERO);
    let heroku = targets::client(&base, Some(&base));
    let fault = heroku.app().expect_err("no answer");
    assert!(fault.to_string().contains("GET /apps/wiki: the answer is longer than 8 MB"), "{fault}");
    assert!(sent.swap(0, Ordering::Relaxed) < most, "asked once");
    let lines = heroku.recent_logs(10, None).expect("a log of one line");
    assert!(lines.iter().all(|line| line.message.len() <= 500));
    assert!(sent.swap(0, Ordering::Relaxed) < most);
    let _ = heroku.probe_page("/");
    assert!(sent.load(Ordering::Relaxed) < most);

    // A list that always goes on.
    let text = "206 X\r\nNext-Range: id ..; max=1\r\nContent-Length: 4\r\nConnection: close";
    let (base, _) = endless(text, b"[ 1]", Duration::from_millis(1));
    let fault = targets::client(&base, None).dynos().expect_err("no whole list");
    assert!(
        fault.to_string().contains("GET /apps/wiki/dynos: the list did not end after 100 pages"),
        "{fault}"
    );
}

#[test]
fn an_answer_that_drips_is_left_in_time() {
    let drip = || endless("200 OK\r\nContent-Type: application/json", b" ", Duration::from_millis(100)).0;
    let begun = Instant::now();
    let reads = [
        std::thread::spawn({
            let base = drip();
            move || targets::client(&base, None).app().err().map(|fault| fault.to_string())
        }),
        std::thread::spawn({
            let base = drip();
            move || targets::client(&base, None).recent_logs(10, None).err().map(|fault| fault.to_string())
        }),
        std::thread::spawn({
            let base = drip();
            move || match targets::client(&base, Some(&base)).probe_page("/") {
                runbook::health::Reading::Measured(page) => Some(format!("{} failed", page.failed)),
                runbook::health::Reading::Unknown(why) => Some(why),
            }
        }),
    ];
    let [app, log, page] = reads.map(|read| read.join().expect("it ended"));
    assert!(app.expect("no answer").starts_with("GET /apps/wiki: "));
    assert_eq!(log, None, "what came in time is a log of no lines");
    assert_eq!(page.as_deref(), Some("1 failed"), "a page that drips does not answer");
    // A read has ten seconds; three tries of it would have thirty.
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}
