//! The least of HTTP that the lab's router, traffic and hands need: one request, one answer, then the connection is
//! closed.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET` and the like.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Header lines, each ended with CR LF.
    pub headers: &'a str,
    /// The body.
    pub body: &'a str,
}

/// One request to a program on loopback. HTTP/1.0, so that the answer comes whole and unchunked.
///
/// # Errors
/// Nobody listens, nothing came in time, or the answer is no HTTP.
pub fn send(at: SocketAddr, request: Request<'_>, timeout: Duration) -> io::Result<Answer> {
    let Request { method, path, headers, body } = request;
    let mut stream = TcpStream::connect_timeout(&at, timeout.min(Duration::from_secs(5)))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let length = body.len();
    let entity = if body.is_empty() { String::new() } else { format!("Content-Length: {length}\r\n") };
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n{headers}{entity}\r\n{body}"
    )?;
    let mut raw = Vec::new();
    stream.take(8 << 20).read_to_end(&mut raw)?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer");
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&raw[..end]);
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).ok_or_else(broken)?;
    Ok(Answer { status, body: raw.split_off(end + 4) })
}

/// One GET.
///
/// # Errors
/// As [`send`].
pub fn get(at: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    send(at, Request { method: "GET", path, headers: "", body: "" }, timeout)
}
