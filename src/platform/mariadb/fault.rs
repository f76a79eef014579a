//! What a failed login or statement means. Decided by MariaDB's error code, never by SQLSTATE: the same code comes
//! with different states depending on how far the handshake got.

use std::io;

use mysql::error::tls::TlsError;

use super::text::escape_short;
use crate::health::{DatabaseFault, DatabaseFaultKind};
use crate::platform::error::{Fault, FaultKind};

/// Longest message kept from the other side, in characters.
const MESSAGE: usize = 300;

/// How a server without TLS is named.
const NOT_OFFERED: &str = "does not offer TLS";
/// What to do about an hourly quota.
const QUOTA: &str = "this is an hourly quota of the account: ending sessions does not help; wait for the hour or raise the plan";

/// Why a login did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginFault {
    /// No slot: 1040 (the server's limit), 1203 (the limit per user), 1226 for `max_user_connections` (this
    /// account's own limit).
    Full {
        /// MariaDB's code.
        code: u16,
        /// Its words.
        message: String,
    },
    /// 1226 for an hourly resource: no kill cures it.
    Quota(String),
    /// 1045, 1044, 1698 and kin: the account, its password, its host or its right to the database.
    Password {
        /// MariaDB's code.
        code: u16,
        /// Its words.
        message: String,
    },
    /// Not resolved, not reached, cut, silent.
    Network(String),
    /// TLS wanted and not to be had: not offered, handshake failed, certificate not accepted, CA file unreadable.
    Tls(String),
    /// Not MariaDB, or an answer that is not understood.
    Unsupported(String),
}

impl LoginFault {
    /// Classifies what the driver reported for a login at `place`.
    pub fn from_driver(error: &mysql::Error, place: &str) -> Self {
        match error {
            mysql::Error::MySqlError(error) => Self::from_code(error.code, &error.message),
            mysql::Error::TlsError(error) => Self::Tls(tls_text(error, place)),
            mysql::Error::IoError(error) => from_io(error, place),
            mysql::Error::CodecError(mysql_common_codec) => match codec_io(mysql_common_codec) {
                Some(error) => from_io(error, place),
                None => Self::Network(format!(
                    "{place} answered with something that is not the MariaDB protocol ({})",
                    short(&mysql_common_codec.to_string())
                )),
            },
            mysql::Error::DriverError(error) => from_driver_error(error, place),
            mysql::Error::UrlError(_) | mysql::Error::FromValueError(_) | mysql::Error::FromRowError(_) => {
                Self::Unsupported(format!("{place} gave an answer that could not be read"))
            }
        }
    }

    /// Classifies a code that the server sent instead of a login.
    pub fn from_code(code: u16, message: &str) -> Self {
        let message = short(message);
        match code {
            1040 | 1203 => Self::Full { code, message },
            1226 if message.contains("max_user_connections") => Self::Full { code, message },
            1226 => Self::Quota(message),
            // 1044 no right to the schema, 1045 wrong password, 1049 no such schema, 1130 host not allowed,
            // 1698 wrong plugin or password, 1820 and 1862 expired, 3118 and 4151 locked.
            1044 | 1045 | 1049 | 1130 | 1698 | 1820 | 1862 | 3118 | 4151 => Self::Password { code, message },
            // require_secure_transport.
            3159 => Self::Tls(message),
            // 1043 bad handshake, 1053 shutting down, 1129 host blocked, 1152 to 1161 packets and network.
            1043 | 1053 | 1129 | 1152..=1161 => Self::Network(format!("error {code}: {message}")),
            _ => Self::Unsupported(format!("the login was answered by error {code}: {message}")),
        }
    }

    /// Whether asking again soon can only give the same answer, and might lock the account.
    pub const fn is_lasting(&self) -> bool {
        matches!(self, Self::Password { .. } | Self::Tls(_) | Self::Unsupported(_) | Self::Quota(_))
    }

    /// As a sample's reading shows it.
    pub fn reading(&self) -> DatabaseFault {
        let (kind, message) = match self {
            Self::Full { code, message } => (DatabaseFaultKind::Network, format!("error {code}: {message}")),
            Self::Quota(message) => (
                DatabaseFaultKind::Quota,
                format!("{message} (an hourly quota: ending sessions does not help)"),
            ),
            Self::Password { code, message } => {
                (DatabaseFaultKind::Password, format!("error {code}: {message}"))
            }
            Self::Network(message) => (DatabaseFaultKind::Network, message.clone()),
            Self::Tls(message) => (DatabaseFaultKind::Tls, message.clone()),
            Self::Unsupported(message) => (DatabaseFaultKind::Unsupported, message.clone()),
        };
        DatabaseFault { kind, message }
    }

    /// As a failed read shows it, with what to do now.
    pub fn fault(&self, what: &str) -> Fault {
        match self {
            Self::Full { code, message } => {
                Fault::new(FaultKind::Full, what, format!("every login was refused (error {code}: {message})"))
                    .hint("free slots from the platform's side: restart the dynos; the connection is made as soon as a slot appears")
            }
            Self::Quota(message) => {
                Fault::new(FaultKind::Limited, what, format!("error 1226: {message}")).hint(QUOTA)
            }
            Self::Password { code, message } => {
                let fault = Fault::new(FaultKind::Credentials, what, format!("error {code}: {message}"));
                match code {
                    1044 | 1049 => fault.hint("compare the database name in the URL with the app's config var"),
                    1130 => fault.hint("the server does not let this machine's address in: use a tunnel and RUNBOOK_DATABASE_URL, or --no-database"),
                    _ => fault.hint("read the app's config var anew: the password may have been rotated")
                        .hint("unset RUNBOOK_DATABASE_URL if it is left over from another day"),
                }
            }
            Self::Network(message) => {
                let fault = Fault::new(FaultKind::Network, what, message.clone());
                if message.contains("error 1129") {
                    fault.hint("the server blocks this host after too many broken handshakes: FLUSH HOSTS, by an administrator")
                } else {
                    fault.hint("is port 3306 reachable from here? A tunnel with RUNBOOK_DATABASE_URL helps; --no-database gates on the platform's metrics alone")
                }
            }
            Self::Tls(message) if message.ends_with(NOT_OFFERED) => Fault::new(FaultKind::Tls, what, message.clone())
                .hint("`--database-tls prefer` goes on without encryption, and says so"),
            Self::Tls(message) => Fault::new(FaultKind::Tls, what, message.clone())
                .hint("give the server's CA with --database-ca FILE, or accept an unverified connection with --database-tls prefer"),
            Self::Unsupported(message) => Fault::new(FaultKind::Unsupported, what, message.clone())
                .hint("only MariaDB is supported; --no-database gates on the platform's metrics alone"),
        }
    }
}

/// Why a statement on an open connection gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementFault {
    /// The connection broke or fell silent: it must not be used again, since the next answer may belong to this
    /// question.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The server refused the statement; the connection lives.
    #[error("error {code}: {message}")]
    Refused {
        /// MariaDB's code.
        code: u16,
        /// Its words.
        message: String,
    },
    /// Another run holds the app's lock, as this connection saw when it was made: it must change nothing.
    #[error("another run holds the lock of this app")]
    KeptOut,
    /// The answer has not the columns asked for.
    #[error("the answer was not understood: {0}")]
    Odd(String),
}

impl StatementFault {
    /// Sorts what the driver reported for a statement.
    pub fn from_driver(error: &mysql::Error) -> Self {
        match error {
            mysql::Error::MySqlError(error) => match error.code {
                // 1053 shutting down, 1927 this connection was killed.
                1053 | 1927 => Self::Lost(format!("error {}: {}", error.code, short(&error.message))),
                code => Self::Refused { code, message: short(&error.message) },
            },
            mysql::Error::FromValueError(_) | mysql::Error::FromRowError(_) => {
                Self::Odd("a value of an unexpected type".to_owned())
            }
            other => Self::Lost(match LoginFault::from_driver(other, "the server") {
                LoginFault::Network(text) | LoginFault::Tls(text) | LoginFault::Unsupported(text) => text,
                _ => short(&other.to_string()),
            }),
        }
    }

    /// The server's own cap ended the statement (`max_statement_time`).
    pub const fn is_cap(&self) -> bool {
        matches!(self, Self::Refused { code: 1969, .. })
    }

    /// The statement's form was refused (by a proxy or its rules, or a server that does not know it), and nothing of it
    /// was done. 1193 is MySQL's answer to `max_statement_time`.
    pub const fn is_form(&self) -> bool {
        matches!(
            self,
            Self::Refused { code: 1064 | 1141 | 1148 | 1149 | 1193 | 1235 | 1289 | 1295 | 1314 | 1370, .. }
        )
    }

    /// The account's hourly allowance of statements is used up.
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::Refused { code: 1226, message } if message.contains("per_hour"))
    }

    /// The statement was begun and ended from outside (`KILL QUERY`, a cap): part of it may have been done.
    pub const fn is_broken_off(&self) -> bool {
        matches!(self, Self::Refused { code: 1317 | 1969 | 3024, .. })
    }

    /// As a sample's reading shows it.
    pub fn reading(&self) -> DatabaseFault {
        let kind = match self {
            Self::Lost(_) => DatabaseFaultKind::Network,
            Self::Refused { code: 1226, .. } => DatabaseFaultKind::Quota,
            Self::Refused { .. } | Self::KeptOut => DatabaseFaultKind::Statement,
            Self::Odd(_) => DatabaseFaultKind::Unsupported,
        };
        let message = if self.is_cap() {
            "the sample took more than 500 ms on the server and was ended".to_owned()
        } else {
            self.to_string()
        };
        DatabaseFault { kind, message }
    }

    /// As a failed read shows it.
    pub fn fault(&self, what: &str) -> Fault {
        match self {
            Self::Lost(message) => Fault::new(FaultKind::Network, what, message.clone())
                .hint("the connection is made anew with the next question"),
            Self::Refused { .. } if self.is_cap() => Fault::new(
                FaultKind::Broken,
                what,
                "the statement took more than 500 ms on the server and was ended",
            )
            .hint("the server is overloaded: try again, or look at the platform's metrics"),
            Self::Refused { code: 1226, message } => {
                Fault::new(FaultKind::Limited, what, format!("error 1226: {message}")).hint(QUOTA)
            }
            Self::Refused { code, message } => {
                let kind = match code {
                    1044 | 1045 | 1095 | 1142 | 1227 => FaultKind::Forbidden,
                    _ => FaultKind::Refused,
                };
                Fault::new(kind, what, format!("error {code}: {message}"))
            }
            Self::KeptOut => Fault::new(FaultKind::Refused, what, self.to_string())
                .hint("the connection had been lost, and another run took the lock meanwhile: look at what it does first"),
            Self::Odd(message) => Fault::new(FaultKind::Unsupported, what, message.clone()),
        }
    }
}

fn short(text: &str) -> String {
    escape_short(text, MESSAGE)
}

/// The io error inside a codec error, if that is what it is.
fn codec_io<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    error.source().and_then(|inner| inner.downcast_ref::<io::Error>())
}

fn from_io(error: &io::Error, place: &str) -> LoginFault {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return LoginFault::Tls(format!("TLS with {place} failed: {}", short(&tls.to_string())));
    }
    LoginFault::Network(match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{place} did not answer in time"),
        io::ErrorKind::ConnectionRefused => format!("{place} refused the connection: nothing listens there"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
            format!("{place} closed the connection ({})", short(&error.to_string()))
        }
        _ => format!("{place}: {}", short(&error.to_string())),
    })
}

fn from_driver_error(error: &mysql::DriverError, place: &str) -> LoginFault {
    use mysql::DriverError as E;
    match error {
        E::TlsNotSupported => LoginFault::Tls(format!("{place} {NOT_OFFERED}")),
        E::ConnectTimeout | E::Timeout => LoginFault::Network(format!("{place} did not answer in time")),
        E::CouldNotConnect(Some((_, text, kind))) => match kind {
            io::ErrorKind::ConnectionRefused => {
                LoginFault::Network(format!("{place} refused the connection: nothing listens there"))
            }
            _ => LoginFault::Network(format!("{place} could not be reached: {}", short(text))),
        },
        E::CouldNotConnect(None) => LoginFault::Network(format!("{place} could not be reached")),
        E::PacketOutOfSync | E::PacketTooLarge | E::UnexpectedPacket => LoginFault::Network(format!(
            "{place} answered with something that is not the MariaDB protocol ({})",
            short(&error.to_string())
        )),
        other => LoginFault::Unsupported(format!(
            "the login at {place} asks for something that is not supported: {}",
            short(&other.to_string())
        )),
    }
}

fn tls_text(error: &TlsError, place: &str) -> String {
    format!("TLS with {place} failed: {}", short(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_ways_to_be_full_are_one_and_an_hourly_quota_is_not() {
        for (code, message) in [
            (1040, "Too many connections"),
            (1203, "User app already has more than 'max_user_connections' active connections"),
            (1226, "User 'app' has exceeded the 'max_user_connections' resource (current value: 5)"),
        ] {
            assert!(
                matches!(LoginFault::from_code(code, message), LoginFault::Full { code: c, .. } if c == code)
            );
        }
        let hourly = "User 'app' has exceeded the 'max_connections_per_hour' resource (current value: 5)";
        assert!(matches!(LoginFault::from_code(1226, hourly), LoginFault::Quota(_)));
    }

    #[test]
    fn network_tls_password_and_kind_are_four_different_things() {
        let kind = |fault: LoginFault| fault.fault("connecting").kind;
        assert_eq!(kind(LoginFault::from_code(1045, "Access denied")), FaultKind::Credentials);
        assert_eq!(kind(LoginFault::from_code(1698, "Access denied")), FaultKind::Credentials);
        assert_eq!(kind(LoginFault::from_code(3159, "insecure transport")), FaultKind::Tls);
        assert_eq!(kind(LoginFault::from_code(1129, "Host blocked")), FaultKind::Network);
        assert_eq!(kind(LoginFault::from_code(9999, "?")), FaultKind::Unsupported);
        let refused = mysql::Error::IoError(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert_eq!(kind(LoginFault::from_driver(&refused, "db:3306")), FaultKind::Network);
        let certificate = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let tls = mysql::Error::IoError(io::Error::new(io::ErrorKind::InvalidData, certificate));
        assert_eq!(kind(LoginFault::from_driver(&tls, "db:3306")), FaultKind::Tls);
    }

    #[test]
    fn a_killed_connection_is_lost_and_a_refused_statement_is_not() {
        let answer = |code| {
            StatementFault::from_driver(&mysql::Error::MySqlError(mysql::error::MySqlError {
                state: "HY000".into(),
                message: "x\u{1b}y".into(),
                code,
            }))
        };
        assert!(matches!(answer(1927), StatementFault::Lost(_)));
        assert!(answer(1969).is_cap() && answer(1064).is_form() && !answer(1095).is_form());
        assert_eq!(answer(1142).to_string(), "error 1142: x\\u{1b}y");
    }
}
