//! The `pre-receive` hook of the simulated git: unpacks what is pushed, has it built, and passes the build's lines on.
//! Runs as a process of its own, inside git's quarantine.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::{door, repository};

/// What the hook is told by its environment.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Address of the simulator's admin door.
    pub admin: String,
    /// Its token.
    pub token: String,
    /// Where slugs are.
    pub slugs: PathBuf,
}

/// The end of a build's lines.
pub const VERDICT: &str = "#verdict ";

/// Reads the refs from standard input; the result is the exit code.
///
/// # Errors
/// Git or the simulator does not answer.
pub fn run(environment: &Environment) -> io::Result<i32> {
    let mut refs = String::new();
    io::stdin().read_to_string(&mut refs)?;
    for line in refs.lines() {
        let mut words = line.split_whitespace();
        let (Some(_), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
        if name != "refs/heads/master" && name != "refs/heads/main" {
            say(&format!("Pushed to non-main branch {name}, skipping build."))?;
            continue;
        }
        if new.chars().all(|c| c == '0') {
            say(" !     You cannot delete the branch that is deployed.")?;
            return Ok(1);
        }
        say("Updated 1 path from 0000000")?;
        let slug = door::uuid();
        repository::unpack(Path::new("."), new, &environment.slugs.join(&slug))?;
        if !build(environment, new, &slug)? {
            return Ok(1);
        }
    }
    Ok(0)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

fn build(environment: &Environment, commit: &str, slug: &str) -> io::Result<bool> {
    let body = json!({ "commit": commit, "slug": slug }).to_string();
    let mut stream = TcpStream::connect(&environment.admin)?;
    write!(
        stream,
        "POST /lab/builds HTTP/1.0\r\nHost: lab\r\nAuthorization: Bearer {}\r\nAccept: application/vnd.heroku+json; version=3\r\nContent-Length: {}\r\n\r\n{body}",
        environment.token,
        body.len()
    )?;
    let mut lines = BufReader::new(stream).lines();
    for line in lines.by_ref() {
        if line?.is_empty() {
            break;
        }
    }
    for line in lines {
        let line = line?;
        if let Some(verdict) = line.strip_prefix(VERDICT) {
            return Ok(verdict == "accepted");
        }
        say(&line)?;
    }
    Err(io::Error::other("the build ended without a verdict"))
}
