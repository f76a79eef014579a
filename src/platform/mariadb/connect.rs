//! One login: addresses, TLS, timeouts. Every attempt made anywhere goes through [`Dialer::dial`] and is counted.
//!
//! It must never use a pool, never open a second connection behind the first, and never send the password in a
//! message of its own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use mysql::{Conn, LocalInfileHandler, OptsBuilder, SslOpts};

use super::fault::LoginFault;
use super::quota::Quota;
use super::url::DatabaseUrl;

/// What is asked of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// Encrypt when the server offers it; verify only against a CA that was given, and go on either way.
    #[default]
    Prefer,
    /// Encrypt, and verify certificate and name; else there is no login.
    Require,
    /// Plain.
    Off,
}

/// Packets up to this size are sent and accepted; given so that the driver need not ask (one round trip).
const MAX_PACKET: usize = 16 * 1024 * 1024;
/// After this long without traffic the kernel asks whether the other side is still there, in milliseconds.
const KEEPALIVE_MS: u32 = 10_000;
/// It asks again this often, in seconds, and gives up after so many silent answers.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const KEEPALIVE_PROBES: (u32, u32) = (5, 3);
/// Bytes that nobody acknowledges for this long end the connection, in milliseconds: without it a vanished route is
/// noticed after a quarter of an hour.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_MS: u32 = 20_000;

/// A login that succeeded.
pub struct Line {
    /// The connection.
    pub conn: Conn,
    /// How it is protected, as [`crate::platform::DatabaseFacts::protection`] says it.
    pub protection: &'static str,
    /// Nobody between can read along: it is encrypted, or does not leave this machine.
    pub private: bool,
}

/// Refusals and broken-off logins of our own, counted so that they can be subtracted from the server's counters.
///
/// The server counts a login that it refuses a moment before or after we hear of it. So an attempt counts as ours from
/// its beginning until it turns out to be none that the server calls aborted, and what the server has not counted yet
/// is carried over to the next sample, once. At the moment of getting in this may take a stranger's for one of the two
/// that were still under way; never the other way round.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Counts>);

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    refused: u64,
    code: u16,
    /// Ours since the last sample; below zero when one carried over turned out to be none.
    ours: i64,
    /// Ours of the interval before that the server had not counted.
    carried: i64,
    in_flight: i64,
    /// `Aborted_connects` − `Access_denied_errors` at the last sample.
    counted: Option<i64>,
}

impl Tally {
    fn with<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One of our logins begins.
    fn begin(&self) {
        self.with(|c| {
            c.ours += 1;
            c.in_flight += 1;
        });
    }

    /// It is over; `aborted` says whether the server counts it as an aborted login that was not denied.
    fn end(&self, aborted: bool) {
        self.with(|c| {
            c.in_flight -= 1;
            if !aborted {
                c.ours -= 1;
            }
        });
    }

    /// One of our logins was refused for want of a slot.
    fn refused(&self, code: u16) {
        self.with(|c| {
            c.refused += 1;
            c.code = code;
        });
    }

    /// Refusals since this was last asked, with the last code; `None` when there were none.
    pub fn take_refused(&self) -> Option<(u16, u64)> {
        self.with(|c| {
            let refused = std::mem::take(&mut c.refused);
            (refused > 0).then_some((c.code, refused))
        })
    }

    /// The same, left for the next to take.
    pub fn peek_refused(&self) -> Option<(u16, u64)> {
        self.with(|c| (c.refused > 0).then_some((c.code, c.refused)))
    }

    /// How many of the aborted logins that the server counted since the last sample were ours, given its counters now.
    pub fn of_ours(&self, aborted_connects: u64, denied: u64) -> u64 {
        let now =
            i64::try_from(aborted_connects).unwrap_or(i64::MAX) - i64::try_from(denied).unwrap_or(i64::MAX);
        self.with(|c| {
            c.refused = 0;
            let (pending, carried) = (std::mem::take(&mut c.ours), std::mem::take(&mut c.carried));
            let before = c.counted.replace(now);
            let Some(more) = before.map(|before| now - before).filter(|more| *more >= 0) else {
                // No pair: only what is under way can be counted later.
                c.carried = c.in_flight;
                return 0;
            };
            let ours = (pending + carried).clamp(0, more);
            c.carried = (pending + carried - ours).min(pending.max(c.in_flight)).max(0);
            u64::try_from(ours).unwrap_or(0)
        })
    }
}

/// How TLS is tried next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protection {
    Verified = 0,
    Unverified = 1,
    Plain = 2,
}

impl Protection {
    const fn text(self) -> &'static str {
        match self {
            Self::Verified => "TLS, certificate verified",
            Self::Unverified => "TLS, certificate not verified",
            Self::Plain => "not encrypted",
        }
    }

    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Verified,
            1 => Self::Unverified,
            _ => Self::Plain,
        }
    }
}

/// Makes logins, one at a time for each caller.
pub struct Dialer {
    url: DatabaseUrl,
    tls: TlsMode,
    ca: Option<PathBuf>,
    connect_timeout: Duration,
    answer_timeout: Duration,
    protection: AtomicU8,
    addresses: Mutex<Vec<SocketAddr>>,
    /// The address that answered last: tried first, so that a dead one before it costs its timeout once only.
    answered: Mutex<Option<SocketAddr>>,
    logins: AtomicU64,
    /// Our own refusals.
    pub tally: Tally,
    /// What the account may do in an hour.
    pub quota: Quota,
}

impl Dialer {
    /// A dialer for `url`. `connect_timeout` bounds each address's TCP connect, `answer_timeout` each wait for an
    /// answer, for the whole life of the connection.
    pub fn new(
        url: DatabaseUrl,
        tls: TlsMode,
        ca: Option<PathBuf>,
        connect_timeout: Duration,
        answer_timeout: Duration,
    ) -> Self {
        // Without a CA of its own, no database that an add-on hands out is verifiable by the public roots; trying
        // would cost three round trips each time, in an incident.
        let first = match (tls, &ca) {
            (TlsMode::Off, _) => Protection::Plain,
            (TlsMode::Prefer, None) => Protection::Unverified,
            (TlsMode::Prefer, Some(_)) | (TlsMode::Require, _) => Protection::Verified,
        };
        Self {
            url,
            tls,
            ca,
            connect_timeout,
            answer_timeout,
            protection: AtomicU8::new(first as u8),
            addresses: Mutex::default(),
            answered: Mutex::default(),
            logins: AtomicU64::new(0),
            tally: Tally::default(),
            quota: Quota::default(),
        }
    }

    /// The URL it dials.
    pub const fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Logins attempted so far.
    pub fn logins(&self) -> u64 {
        self.logins.load(Ordering::Relaxed)
    }

    /// Attempts one login: every address in turn, each with as much TLS as is asked for and to be had.
    pub fn dial(&self) -> Result<Line, LoginFault> {
        install_provider();
        if self.tls != TlsMode::Off
            && let Some(path) = &self.ca
            && let Err(error) = std::fs::metadata(path)
        {
            return Err(LoginFault::Tls(format!("the CA file {} cannot be read: {error}", path.display())));
        }
        let mut last = None;
        for address in self.targets()? {
            match self.dial_address(address) {
                Ok(line) => {
                    self.answered_at(address);
                    return Ok(line);
                }
                // Only where one address was not reached may another be better.
                Err(fault @ LoginFault::Network(_)) => {
                    self.forget_addresses();
                    last = Some(fault);
                }
                Err(fault) => {
                    self.answered_at(address);
                    if let LoginFault::Full { code, .. } = fault {
                        self.tally.refused(code);
                    }
                    return Err(fault);
                }
            }
        }
        Err(last.unwrap_or_else(|| LoginFault::Network(format!("{} has no address", self.url.host()))))
    }

    /// One address, stepping down from verified to unverified to plain where the mode permits it.
    fn dial_address(&self, address: SocketAddr) -> Result<Line, LoginFault> {
        loop {
            let protection = Protection::of(self.protection.load(Ordering::Relaxed));
            self.logins.fetch_add(1, Ordering::Relaxed);
            self.tally.begin();
            let place = format!("{address}");
            let error = match open(self.options(address, protection)) {
                Ok(conn) => {
                    self.tally.end(false);
                    let private = protection != Protection::Plain || address.ip().is_loopback();
                    return Ok(Line { conn, protection: protection.text(), private });
                }
                Err(error) => error,
            };
            let not_offered = matches!(error, mysql::Error::DriverError(mysql::DriverError::TlsNotSupported));
            let mut fault = LoginFault::from_driver(&error, &place);
            // A wrong password is denied as well as aborted; what did not arrive is neither.
            self.tally.end(!matches!(fault, LoginFault::Password { .. } | LoginFault::Network(_)));
            if let LoginFault::Password { code: 1045, message } = &mut fault
                && self.tls == TlsMode::Off
            {
                // What requires TLS answers like that too.
                message.push_str(" (asked without TLS, which the server or the account may require)");
            }
            let next = match (&fault, self.tls, protection) {
                (LoginFault::Tls(_), TlsMode::Prefer, Protection::Verified) if !not_offered => {
                    Protection::Unverified
                }
                (LoginFault::Tls(_), TlsMode::Prefer, Protection::Verified | Protection::Unverified) => {
                    Protection::Plain
                }
                _ => return Err(fault),
            };
            self.protection.store(next as u8, Ordering::Relaxed);
        }
    }

    fn options(&self, address: SocketAddr, protection: Protection) -> OptsBuilder {
        let wants_name = protection == Protection::Verified && self.url.host().parse::<IpAddr>().is_err();
        let (host, bind) = if wants_name {
            // The driver checks the certificate against the host it connects to, so it must get the name. Binding
            // to the unspecified address of one family makes it try every address of that family.
            (self.url.host().to_owned(), Some(unspecified(address)))
        } else {
            let host = match address.ip() {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(ip) => format!("[{ip}]"),
            };
            (host, None)
        };
        let tls = match protection {
            Protection::Plain => None,
            Protection::Unverified => Some(SslOpts::default().with_danger_accept_invalid_certs(true)),
            Protection::Verified => Some(match &self.ca {
                Some(path) => SslOpts::default().with_root_cert_path(Some(path.clone())),
                None => SslOpts::default(),
            }),
        };
        let options = OptsBuilder::new();
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        let options = options
            .tcp_keepalive_probe_interval_secs(Some(KEEPALIVE_PROBES.0))
            .tcp_keepalive_probe_count(Some(KEEPALIVE_PROBES.1));
        #[cfg(target_os = "linux")]
        let options = options.tcp_user_timeout_ms(Some(UNACKNOWLEDGED_MS));
        options
            .ip_or_hostname(Some(host))
            .tcp_port(address.port())
            .bind_address(bind)
            .user(Some(self.url.user()))
            .pass(Some(self.url.password()))
            .db_name(Some(self.url.database()))
            .prefer_socket(false)
            .max_allowed_packet(Some(MAX_PACKET))
            .stmt_cache_size(0)
            .tcp_connect_timeout(Some(self.connect_timeout))
            .read_timeout(Some(self.answer_timeout))
            .write_timeout(Some(self.answer_timeout))
            .tcp_keepalive_time_ms(Some(KEEPALIVE_MS))
            .ssl_opts(tls)
            .local_infile_handler(Some(LocalInfileHandler::new(|_, _| {
                Err(std::io::Error::new(
                    std::io::ErrorKind::PermissionDenied,
                    "no file is ever sent to the server",
                ))
            })))
    }

    /// The addresses to try: the one that answered last, then in the resolver's order. For a verified name one of each
    /// family stands for its family.
    fn targets(&self) -> Result<Vec<SocketAddr>, LoginFault> {
        let mut known = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_empty() {
            let host = self.url.host();
            known = (host, self.url.port())
                .to_socket_addrs()
                .map_err(|error| {
                    LoginFault::Network(format!("the name {host} could not be resolved: {error}"))
                })?
                .collect();
            known.dedup();
            self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&known);
        }
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = known.iter().position(|address| Some(*address) == answered) {
            known[..=at].rotate_right(1);
        }
        let by_name = self.protection.load(Ordering::Relaxed) == Protection::Verified as u8
            && self.url.host().parse::<IpAddr>().is_err();
        if by_name {
            let mut families = Vec::<SocketAddr>::new();
            for address in known {
                if !families.iter().any(|f| f.is_ipv4() == address.is_ipv4()) {
                    families.push(address);
                }
            }
            return Ok(families);
        }
        Ok(known)
    }

    fn answered_at(&self, address: SocketAddr) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
    }

    fn forget_addresses(&self) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

const fn unspecified(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        SocketAddr::V6(_) => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the database is dialled")]
fn open(options: OptsBuilder) -> mysql::Result<Conn> {
    Conn::new(options)
}

/// The driver builds its TLS configuration from the process's default provider and panics without one.
fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // An error means that `main` or another client has installed it already: equally good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_refusals_are_ours_whichever_side_counts_first() {
        let tally = Tally::default();
        assert_eq!(tally.of_ours(100, 10), 0, "no pair yet");
        // We hear of two, the server has counted one of them and three strangers'.
        for _ in 0..2 {
            tally.begin();
            tally.end(true);
        }
        tally.begin(); // under way, and counted by the server already
        assert_eq!(tally.of_ours(102, 10), 2);
        tally.end(true);
        assert_eq!(tally.of_ours(106, 10), 1, "the late one is ours, three are not");
        assert_eq!(tally.of_ours(107, 10), 0);
    }

    #[test]
    fn a_login_that_succeeds_or_is_denied_is_no_refusal() {
        let tally = Tally::default();
        tally.of_ours(5, 0);
        tally.begin();
        assert_eq!(tally.of_ours(5, 0), 0);
        tally.end(false);
        assert_eq!(tally.of_ours(6, 0), 0, "that one was a stranger's");
        // What a proxy refused by itself never reaches the server: it is carried once, not for ever.
        for _ in 0..50 {
            tally.begin();
            tally.end(true);
        }
        assert_eq!(tally.of_ours(6, 0), 0);
        assert_eq!(tally.of_ours(6, 0), 0);
        assert_eq!(tally.of_ours(9, 0), 0);
    }

    #[test]
    fn counters_that_began_anew_are_no_pair() {
        let tally = Tally::default();
        tally.of_ours(50, 0);
        tally.begin();
        tally.end(true);
        assert_eq!(tally.of_ours(1, 0), 0);
        tally.begin();
        tally.end(true);
        assert_eq!(tally.of_ours(2, 0), 1);
    }
}
