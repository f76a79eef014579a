//! Attaching to a one-off dyno (facts §2, Rendezvous): TLS at once, the secret, one line, then the dyno's terminal.
//!
//! The URL is a secret. Plain connections are for this machine only, when the API is a plain one of this machine, too.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_platform_verifier::BuilderVerifierExt;

use super::client::is_loopback;
use crate::health::Moment;
use crate::platform::clock::Clock;
use crate::platform::error::{Fault, FaultKind};
use crate::platform::one_off::Output;

/// To connect to one address: a port that is blocked answers nothing.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
const ADDRESSES: usize = 3;
/// To the server's first line, which comes at once.
const FIRST_LINE: Duration = Duration::from_secs(20);
/// How often the deadline is looked at while nothing comes.
const LOOK: Duration = Duration::from_millis(500);
/// The port, when the URL names none.
const PORT: u16 = 5000;
const WHAT: &str = "attaching to the one-off dyno";

/// A connection, of either kind.
#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A dyno's terminal, attached.
#[derive(Debug)]
pub(super) struct Attached(BufReader<Wire>);

/// How an attached dyno's output ended.
pub(super) enum Ended {
    /// The other side closed it: the dyno is over, or the connection was cut.
    Closed,
    /// The connection broke.
    Broke(String),
    /// The time was up.
    OutOfTime,
}

/// Where to connect, and what to say there.
struct Address<'u> {
    host: &'u str,
    port: u16,
    secret: &'u str,
}

impl<'u> Address<'u> {
    fn parse(url: &'u str) -> Option<Self> {
        let rest = url.strip_prefix("rendezvous://")?;
        let (authority, secret) = rest.split_once('/')?;
        let (host, port) = match authority.strip_prefix('[') {
            Some(six) => {
                let (host, port) = six.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = port.map_or(Some(PORT), |port| port.parse().ok())?;
        let good = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        (good(host) && good(secret)).then_some(Self { host, port, secret })
    }
}

fn fault(kind: FaultKind, why: impl Into<String>) -> Fault {
    Fault::new(kind, WHAT, why)
}

/// Whether a connection to the place where one-off dynos are attached can be made at all.
pub(super) fn reachable(host: &str, port: u16) -> Result<(), Fault> {
    connect(&Address { host, port, secret: "-" }).map(drop)
}

fn connect(address: &Address<'_>) -> Result<TcpStream, Fault> {
    let Address { host, port, .. } = address;
    let found = (*host, *port).to_socket_addrs();
    let found = found.map_err(|error| fault(FaultKind::Network, format!("{host} is not found: {error}")))?;
    let mut last = None;
    for place in found.take(ADDRESSES) {
        match TcpStream::connect_timeout(&place, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    let why = last.map_or_else(|| "it has no address".to_owned(), |error| error.to_string());
    Err(fault(FaultKind::Network, format!("no connection with {host}:{port}: {why}"))
        .hint(format!("port {port} may be blocked here: many networks let only the web's ports out")))
}

/// Attaches to the dyno behind `url`. `api_url` decides whether a plain connection may do.
pub(super) fn attach(url: &str, api_url: &str) -> Result<Attached, Fault> {
    let address = Address::parse(url).ok_or_else(|| {
        // A Fir app's dynos are attached in another way.
        fault(FaultKind::Unsupported, "its URL is no rendezvous:// URL")
    })?;
    let here = format!("http://{}", url.trim_start_matches("rendezvous://"));
    let plain = api_url.starts_with("http://") && is_loopback(api_url) && is_loopback(&here);
    if plain {
        let stream = connect(&address)?;
        match greet(Wire::Plain(stream), address.secret) {
            Ok(attached) => return Ok(attached),
            // What it says is TLS, or it wants it: then TLS it is.
            Err(greeting) if greeting.no_answer => return Err(greeting.fault),
            Err(_) => {}
        }
    }
    let stream = connect(&address)?;
    let tls = encrypt(stream, address.host)?;
    greet(tls, address.secret).map_err(|greeting| greeting.fault)
}

fn encrypt(stream: TcpStream, host: &str) -> Result<Wire, Fault> {
    let bad = |error: &dyn std::fmt::Display| {
        fault(FaultKind::Tls, error.to_string())
            .hint("a proxy that replaces certificates? SSL_CERT_FILE names its CA")
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(BuilderVerifierExt::with_platform_verifier)
        .map_err(|error| bad(&error))?
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(|error| bad(&error))?;
    let mut client = ClientConnection::new(Arc::new(config), name).map_err(|error| bad(&error))?;
    let mut stream = stream;
    bounded(&stream, FIRST_LINE).map_err(|error| bad(&error))?;
    while client.is_handshaking() {
        client.complete_io(&mut stream).map_err(|error| bad(&error))?;
    }
    Ok(Wire::Tls(Box::new(StreamOwned::new(client, stream))))
}

fn bounded(stream: &TcpStream, time: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))
}

/// Why the first line did not come.
struct Greeting {
    fault: Fault,
    /// Nothing came, as from a server that waits.
    no_answer: bool,
}

/// Says the secret and reads one line. What follows in the same packet is the dyno's already.
fn greet(wire: Wire, secret: &str) -> Result<Attached, Greeting> {
    let refused =
        |why: String, no_answer: bool| Greeting { fault: fault(FaultKind::Network, why), no_answer };
    let mut wire = BufReader::new(wire);
    let socket = match wire.get_ref() {
        Wire::Plain(stream) => stream,
        Wire::Tls(stream) => &stream.sock,
    };
    let broke = |error: io::Error| {
        let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        let why = if late { "nothing came in time".to_owned() } else { error.to_string() };
        refused(why, late)
    };
    bounded(socket, FIRST_LINE).map_err(broke)?;
    wire.get_mut().write_all(format!("{secret}\r\n").as_bytes()).map_err(broke)?;
    wire.get_mut().flush().map_err(broke)?;
    let mut line = Vec::new();
    let mut first = (&mut wire).take(200);
    first.read_until(b'\n', &mut line).map_err(broke)?;
    let said = String::from_utf8_lossy(&line).trim().to_owned();
    if said != "rendezvous" {
        return Err(refused("the other side did not say `rendezvous`".to_owned(), false));
    }
    Ok(Attached(wire))
}

impl Attached {
    /// Reads the dyno's output to its end, `until` at the latest.
    pub(super) fn read(&mut self, output: &mut Output<'_>, clock: &dyn Clock, until: Moment) -> Ended {
        let socket = match self.0.get_ref() {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => &stream.sock,
        };
        if let Err(error) = socket.set_read_timeout(Some(LOOK)) {
            return Ended::Broke(error.to_string());
        }
        let ended = loop {
            if clock.now() >= until {
                break Ended::OutOfTime;
            }
            match self.0.fill_buf() {
                Ok([]) => break Ended::Closed,
                Ok(bytes) => {
                    let length = bytes.len();
                    output.feed(bytes);
                    self.0.consume(length);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
                    // Servers that close without TLS's own goodbye.
                    io::ErrorKind::UnexpectedEof => break Ended::Closed,
                    _ => break Ended::Broke(error.to_string()),
                },
            }
        };
        output.end();
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::platform::clock::SystemClock;
    use crate::platform::secret::Redactor;

    #[test]
    fn the_secret_is_path_and_query_and_the_port_may_be_left_out() {
        for (url, told) in [
            (
                "rendezvous://rendezvous.runtime.heroku.com:5000/abc?x=1",
                Some(("rendezvous.runtime.heroku.com", 5000, "abc?x=1")),
            ),
            ("rendezvous://h/abc/d", Some(("h", 5000, "abc/d"))),
            ("rendezvous://[::1]:7/s", Some(("::1", 7, "s"))),
            ("https://h/abc", None),
            ("rendezvous://h:5000/", None),
            ("rendezvous://h:99999/x", None),
            ("rendezvous://h/a\r\nb", None),
        ] {
            let parsed = Address::parse(url).map(|address| (address.host, address.port, address.secret));
            assert_eq!(parsed, told, "{url}");
        }
    }

    /// A server that hears the secret and writes these pieces, each by itself.
    fn server(pieces: Vec<Vec<u8>>) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rendezvous://{}/s3cret?a=b", listener.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut heard = String::new();
            BufReader::new(stream.try_clone().unwrap()).read_line(&mut heard).unwrap();
            for piece in pieces {
                stream.write_all(&piece).unwrap();
                stream.flush().unwrap();
            }
            heard
        });
        (url, heard)
    }

    #[test]
    fn packets_that_come_together_and_marks_that_come_apart_are_read() {
        let whole = "rendezvous\r\nhello\r\n\u{ffff} heroku-command-exit-status: 42\r\n".as_bytes();
        for piece in [1, 3, 12, 1000] {
            let (url, heard) = server(whole.chunks(piece).map(<[u8]>::to_vec).collect());
            let mut attached = attach(&url, "http://127.0.0.1:1").unwrap();
            let (redactor, clock) = (Redactor::default(), SystemClock::start());
            let told = std::sync::Mutex::new(Vec::new());
            let emit = |line: &str| told.lock().unwrap().push(line.to_owned());
            let mut output = Output::new(&redactor, &emit);
            assert!(matches!(attached.read(&mut output, &clock, Moment(60_000)), Ended::Closed));
            assert_eq!((output.exit, heard.join().unwrap().as_str()), (Some(42), "s3cret?a=b\r\n"));
            assert_eq!(*told.lock().unwrap(), ["hello"]);
        }
    }

    #[test]
    fn a_plain_connection_is_for_this_machine_and_a_plain_api_only() {
        // It is spoken to in TLS, which it does not answer in.
        let (url, heard) = server(vec![b"rendezvous\r\n".to_vec()]);
        let refused = attach(&url, "https://api.heroku.com").unwrap_err();
        assert_eq!(refused.kind, FaultKind::Tls);
        assert!(!heard.join().unwrap_or_default().contains("s3cret"), "the secret was not said");
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let blocked = attach(&format!("rendezvous://{free}/x"), "http://127.0.0.1:1").unwrap_err();
        assert_eq!(blocked.kind, FaultKind::Network);
        assert!(blocked.hints[0].contains("may be blocked"));
    }
}
