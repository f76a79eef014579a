//! The lab's control: one line asks, one line of JSON answers, over a socket file in the lab's folder. So a lab is
//! found and ended by its folder, never by a process id that may have become somebody else's.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::site::Site;

/// The socket of the lab in `dir`. Its path must stay short (108 bytes on Linux).
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("control")
}

struct Asked {
    line: String,
    reply: Sender<Json>,
}

/// Serves until `down` is asked or `stop` says so.
///
/// # Errors
/// The socket cannot be made.
pub fn serve(site: &Site, dir: &Path, mut stop: impl FnMut() -> bool) -> io::Result<()> {
    let path = socket(dir);
    let listener = UnixListener::bind(&path)?;
    let (outbox, inbox): (Sender<Asked>, Receiver<Asked>) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let outbox = outbox.clone();
            std::thread::spawn(move || {
                let _ = talk(stream, &outbox);
            });
        }
    });
    loop {
        match inbox.recv_timeout(Duration::from_millis(100)) {
            Ok(asked) => {
                let mut words = asked.line.split_whitespace();
                let answer = match (words.next(), words.next()) {
                    (Some("status"), None) => site.status(),
                    (Some("rate"), Some(rate)) => match rate.parse() {
                        Ok(rate) => {
                            site.set_rate(rate);
                            json!({ "rate": rate })
                        }
                        Err(_) => json!({ "error": "rate wants a number" }),
                    },
                    (Some("down"), None) => {
                        let _ = asked.reply.send(json!({ "down": true }));
                        return Ok(());
                    }
                    _ => json!({ "error": "status, rate N, down" }),
                };
                let _ = asked.reply.send(answer);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if stop() {
            return Ok(());
        }
    }
}

fn talk(stream: UnixStream, outbox: &Sender<Asked>) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let (reply, answer) = channel();
        if outbox.send(Asked { line: line?, reply }).is_err() {
            return Ok(());
        }
        let answer = answer.recv().unwrap_or_else(|_| json!({ "error": "the lab is ending" }));
        writeln!(writer, "{answer}")?;
    }
    Ok(())
}

/// Asks the lab in `dir`.
///
/// # Errors
/// No lab is running there, or it does not answer within 20 s.
pub fn ask(dir: &Path, line: &str) -> io::Result<Json> {
    let mut stream = UnixStream::connect(socket(dir))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}
