//! The least of HTTP that the lab's router and traffic need: one request, one answer, then the connection is closed.

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

/// One GET of a program on loopback.
///
/// # Errors
/// Nobody listens, nothing came in time, or the answer is no HTTP.
pub fn get(at: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&at, timeout.min(Duration::from_secs(5)))?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
    let mut raw = Vec::new();
    stream.take(8 << 20).read_to_end(&mut raw)?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer");
    let end = raw.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(broken)?;
    let head = String::from_utf8_lossy(&raw[..end]);
    let status = head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).ok_or_else(broken)?;
    Ok(Answer { status, body: raw.split_off(end + 4) })
}
