//! The lab's control: one line asks, one line of JSON answers, over loopback. The address and a secret stand in a
//! private file of the lab's folder, so a lab is found and ended by its folder, never by a process id that may have
//! become somebody else's; and the folder's path may be of any length, which a socket file's may not.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::door;
use super::site::Site;

/// How long a question may wait for its answer.
const ANSWER: Duration = Duration::from_secs(20);

fn file(dir: &Path) -> PathBuf {
    dir.join("control.json")
}

struct Asked {
    line: String,
    reply: Sender<Json>,
}

/// The door by which a lab is asked and told to end; open from the first moment of its start.
pub struct Control {
    inbox: Receiver<Asked>,
    shared: Arc<Shared>,
}

struct Shared {
    secret: String,
    /// Somebody asked it to end.
    ended: AtomicBool,
    /// The incident is there: questions go to the site.
    ready: AtomicBool,
}

impl Control {
    /// Opens the door of the lab in `dir`.
    ///
    /// # Errors
    /// No port of loopback, or the folder cannot be written.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let secret = door::uuid();
        let told = json!({ "address": listener.local_addr()?.to_string(), "secret": secret });
        // Whole or not at all: somebody may be reading.
        let draft = dir.join("control.json.new");
        fs::write(&draft, told.to_string())?;
        fs::rename(&draft, file(dir))?;
        let shared =
            Arc::new(Shared { secret, ended: AtomicBool::new(false), ready: AtomicBool::new(false) });
        let (outbox, inbox) = channel();
        let known = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (shared, outbox) = (Arc::clone(&known), outbox.clone());
                std::thread::spawn(move || {
                    let _ = shared.talk(stream, &outbox);
                });
            }
        });
        Ok(Self { inbox, shared })
    }

    /// Whether somebody asked the lab to end.
    pub fn ended(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// Answers for the site until `down` is asked or `stop` says so.
    pub fn serve(&self, site: &Site, stop: impl Fn() -> bool) {
        self.shared.ready.store(true, Ordering::Relaxed);
        while !self.ended() && !stop() {
            match self.inbox.recv_timeout(Duration::from_millis(100)) {
                Ok(asked) => {
                    let _ = asked.reply.send(answer(site, &asked.line));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

fn answer(site: &Site, line: &str) -> Json {
    let mut words = line.split_whitespace();
    match (words.next(), words.next().map(str::parse)) {
        (Some("status"), None) => site.status(),
        (Some("rate"), Some(Ok(rate))) => {
            site.set_rate(rate);
            json!({ "rate": rate })
        }
        _ => json!({ "error": "status, rate N, down" }),
    }
}

impl Shared {
    fn talk(&self, stream: TcpStream, outbox: &Sender<Asked>) -> io::Result<()> {
        let mut writer = stream.try_clone()?;
        let mut lines = BufReader::new(stream).lines();
        if lines.next().transpose()?.as_deref() != Some(self.secret.as_str()) {
            return Ok(());
        }
        for line in lines {
            let line = line?;
            if line == "down" {
                self.ended.store(true, Ordering::Relaxed);
                writeln!(writer, "{}", json!({ "down": true }))?;
                // The connection stays open until the process is gone: its end is the proof that everything ended.
                loop {
                    std::thread::park();
                }
            }
            if !self.ready.load(Ordering::Relaxed) {
                writeln!(writer, "{}", json!({ "starting": true }))?;
                continue;
            }
            let (reply, answered) = channel();
            if outbox.send(Asked { line, reply }).is_err() {
                return Ok(());
            }
            let answer = answered.recv().unwrap_or_else(|_| json!({ "error": "the lab is ending" }));
            writeln!(writer, "{answer}")?;
        }
        Ok(())
    }
}

/// One question to the lab in `dir`, and the connection on which more may come.
fn open(dir: &Path, line: &str) -> io::Result<(Json, BufReader<TcpStream>)> {
    let told: Json = serde_json::from_str(&fs::read_to_string(file(dir))?)?;
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    let address: SocketAddr = text("address").parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "{}\n{line}\n", text("secret"))?;
    let mut reader = BufReader::new(stream);
    let mut answer = String::new();
    reader.read_line(&mut answer)?;
    Ok((serde_json::from_str(&answer)?, reader))
}

/// Asks the lab in `dir`.
///
/// # Errors
/// No lab is running there, or it does not answer within 20 s.
pub fn ask(dir: &Path, line: &str) -> io::Result<Json> {
    open(dir, line).map(|(answer, _)| answer)
}

/// Tells the lab in `dir` to end and returns when its process is gone, with everything it had started.
///
/// # Errors
/// No lab is running there, or it has not ended `within`.
pub fn down(dir: &Path, within: Duration) -> io::Result<()> {
    let (_, mut reader) = open(dir, "down")?;
    reader.get_ref().set_read_timeout(Some(within))?;
    let mut rest = String::new();
    match reader.read_line(&mut rest) {
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("it has not ended within {within:?}")))
        }
        // The end of the connection, clean or reset, is the end of the process.
        _ => Ok(()),
    }
}
