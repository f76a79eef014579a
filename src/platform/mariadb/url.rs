//! The address of a database, as a URL: `mysql://user:pass@host:port/db`.
//!
//! Read by ourselves, since what managed add-ons hand out carries query parameters and raw characters that strict
//! readers refuse. It must never show the password: not in `Debug`, not in `Display`, not in an error.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::text::escape;
use crate::platform::secret::Redactor;

/// Port of MariaDB where a URL names none.
const DEFAULT_PORT: u16 = 3306;

/// Where a database is and how to log in. The password stays secret.
#[derive(Clone)]
pub struct DatabaseUrl {
    user: String,
    password: SecretString,
    host: String,
    port: u16,
    database: String,
}

/// Why a text is not the URL of a database. Never quotes the text: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Empty, or blank.
    #[error("the database URL is empty")]
    Empty,
    /// No `://`.
    #[error(
        "the database URL does not begin with mysql:// \
         (the add-on may still be provisioning: try again when it is done)"
    )]
    NoScheme,
    /// Another kind of database, or no database at all.
    #[error(
        "the database URL begins with {0}://, and only mysql:// (or mysql2://, mariadb://) is understood"
    )]
    Scheme(String),
    /// No `user@`, or no host, or no `/database`.
    #[error(
        "the database URL does not name user, host and database \
         (the add-on may still be provisioning: try again when it is done)"
    )]
    Shape,
    /// The user part is empty.
    #[error("the database URL names no user before the host")]
    NoUser,
    /// The port is not a number from 1 to 65535.
    #[error("the port in the database URL is not a number from 1 to 65535")]
    Port,
    /// Percent-decoding gave bytes that are no UTF-8.
    #[error("the {0} in the database URL is not valid UTF-8 after percent-decoding")]
    Encoding(&'static str),
}

impl DatabaseUrl {
    /// Reads a URL. Query parameters and a fragment are ignored; `%41` is decoded in user, password and database; a
    /// raw `@`, `:`, `/` or `?` in the password is understood.
    ///
    /// # Errors
    /// [`UrlError`] names what is wrong without quoting the text.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        // A colon only as in `jdbc:mysql://`: whatever else stands there may be a password.
        let plain = scheme.strip_prefix("jdbc:").unwrap_or(scheme);
        if !plain.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) || plain.is_empty() {
            return Err(UrlError::NoScheme);
        }
        if !["mysql", "mysql2", "mariadb"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
            return Err(UrlError::Scheme(scheme.to_owned()));
        }
        // The last `@` after which a host and a database follow: a password may hold an `@`, a query too.
        let mut broken = UrlError::Shape;
        for (at, _) in rest.rmatch_indices('@') {
            match Place::parse(&rest[at + 1..]) {
                Ok(place) => return Self::assemble(&rest[..at], &place),
                Err(UrlError::Port) => broken = UrlError::Port,
                Err(_) => {}
            }
        }
        if Place::parse(rest).is_ok() {
            return Err(UrlError::NoUser);
        }
        Err(broken)
    }

    fn assemble(login: &str, place: &Place<'_>) -> Result<Self, UrlError> {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let user = decode(user).ok_or(UrlError::Encoding("user"))?;
        if user.is_empty() {
            return Err(UrlError::NoUser);
        }
        Ok(Self {
            user,
            password: SecretString::from(decode(password).ok_or(UrlError::Encoding("password"))?),
            host: place.host.to_owned(),
            port: place.port,
            database: decode(place.database).ok_or(UrlError::Encoding("database name"))?,
        })
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Teaches `redactor` the password. It does not leave the platform otherwise.
    pub fn teach(&self, redactor: &Redactor) {
        redactor.learn(&self.password);
    }

    /// The password, for the login alone.
    pub(in crate::platform) fn password(&self) -> &str {
        self.password.expose_secret()
    }

    /// Host name or address; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The schema.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// `user@host:port/db`: what may be shown.
    pub fn name(&self) -> String {
        let Self { user, host, port, database, .. } = self;
        let (user, database) = (escape(user), escape(database));
        if host.contains(':') {
            format!("{user}@[{host}]:{port}/{database}")
        } else {
            format!("{user}@{host}:{port}/{database}")
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DatabaseUrl").field(&self.name()).finish()
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// Whether two URLs mean the same database to the same user. Host and port may differ (a tunnel), the password too
/// (it may just have been rotated: the login will tell).
pub fn same_target(a: &DatabaseUrl, b: &DatabaseUrl) -> bool {
    a.user == b.user && a.database == b.database
}

/// What follows the `@`.
struct Place<'a> {
    host: &'a str,
    port: u16,
    database: &'a str,
}

impl<'a> Place<'a> {
    fn parse(text: &'a str) -> Result<Self, UrlError> {
        let (host_port, path) = text.split_once('/').ok_or(UrlError::Shape)?;
        let database = path.split(['?', '#']).next().unwrap_or_default();
        let database = database.strip_suffix('/').unwrap_or(database);
        let (host, port) = if let Some(bracketed) = host_port.strip_prefix('[') {
            let (host, tail) = bracketed.split_once(']').ok_or(UrlError::Shape)?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(UrlError::Shape);
            }
            let port = match tail {
                "" => None,
                _ => Some(tail.strip_prefix(':').ok_or(UrlError::Shape)?),
            };
            (host, port)
        } else {
            match host_port.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host_port, None),
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if host.is_empty() || database.is_empty() || database.contains('/') {
            return Err(UrlError::Shape);
        }
        if !host.contains(':') && !host.chars().all(plain) {
            return Err(UrlError::Shape);
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().ok().filter(|p| *p > 0).ok_or(UrlError::Port)?,
        };
        Ok(Self { host, port, database })
    }
}

/// Decodes `%41`; a `%` that begins no two hex digits stays as it is. `None` when the result is no UTF-8.
fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|b| char::from(*b).to_digit(16));
        if bytes[at] == b'%'
            && let (Some(high), Some(low)) = (digit(1), digit(2))
            && let Ok(byte) = u8::try_from(high * 16 + low)
        {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, String, u16, String) {
        let url = DatabaseUrl::parse(text).unwrap();
        (url.user.clone(), url.password().to_owned(), url.host.clone(), url.port, url.database)
    }

    fn expected(
        user: &str,
        pass: &str,
        host: &str,
        port: u16,
        db: &str,
    ) -> (String, String, String, u16, String) {
        (user.into(), pass.into(), host.into(), port, db.into())
    }

    #[test]
    fn reads_what_add_ons_hand_out() {
        assert_eq!(
            parts("mysql://u:p@db.eu-west-1.rds.amazonaws.com:3306/wiki?reconnect=true&sslmode=x"),
            expected("u", "p", "db.eu-west-1.rds.amazonaws.com", 3306, "wiki")
        );
        assert_eq!(parts("mysql2://u:p@h/wiki"), expected("u", "p", "h", 3306, "wiki"));
        assert_eq!(parts("mysql://u@h:3307/wiki/"), expected("u", "", "h", 3307, "wiki"));
        assert_eq!(parts("MySQL://u:p@[::1]:3307/wiki"), expected("u", "p", "::1", 3307, "wiki"));
        assert_eq!(parts("mysql://u:p@[2001:db8::1]/w"), expected("u", "p", "2001:db8::1", 3306, "w"));
    }

    #[test]
    fn reads_hard_passwords() {
        assert_eq!(parts("mysql://u:p%40s%3As%2F@h/d").1, "p@s:s/");
        assert_eq!(parts("mysql://u:a:b@h/d").1, "a:b");
        assert_eq!(parts("mysql://u:a/b?c@d#e@h/d").1, "a/b?c@d#e");
        assert_eq!(parts("mysql://u:100%@h/d").1, "100%");
        assert_eq!(parts("mysql://u:%zz@h/d?mail=a@b").1, "%zz");
        assert_eq!(parts("mysql://us%20er:p@h/d%C3%A9").0, "us er");
        assert_eq!(parts("mysql://us%20er:p@h/d%C3%A9").4, "dé");
    }

    #[test]
    fn says_what_is_wrong_without_the_password() {
        let wrong = |text: &str| DatabaseUrl::parse(text).unwrap_err();
        assert_eq!(wrong("  "), UrlError::Empty);
        assert_eq!(wrong("localhost"), UrlError::NoScheme);
        assert_eq!(wrong("@ref:jawsdb-maria-flat-12345"), UrlError::NoScheme, "not provisioned yet");
        assert_eq!(wrong("postgres://u:p@h/d"), UrlError::Scheme("postgres".into()));
        let jdbc = "jdbc:mysql://h:3306/d?user=u&password=hunter2&useSSL=false";
        assert_eq!(wrong(jdbc), UrlError::Scheme("jdbc:mysql".into()));
        assert_eq!(wrong("u:hunter2://h/d"), UrlError::NoScheme);
        assert_eq!(wrong("mysql://u:p@h"), UrlError::Shape);
        assert_eq!(wrong("mysql://u:p@h/"), UrlError::Shape);
        assert_eq!(wrong("mysql://h:3306/d"), UrlError::NoUser);
        assert_eq!(wrong("mysql://:p@h/d"), UrlError::NoUser);
        assert_eq!(wrong("mysql://u:p@h:0/d"), UrlError::Port);
        assert_eq!(wrong("mysql://u:p@h:99999/d"), UrlError::Port);
        assert_eq!(wrong("mysql://u:%ff@h/d"), UrlError::Encoding("password"));
        for text in ["mysql://u:hunter2@h:x/d", "mysql://u:hunter2@h", "redis://u:hunter2@h/d"] {
            let error = wrong(text);
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn never_shows_the_password() {
        let url = DatabaseUrl::parse("mysql://us%0aer:hunter2@[::1]:3307/wiki").unwrap();
        assert_eq!(url.name(), "us\\ner@[::1]:3307/wiki");
        assert!(!format!("{url} {url:?}").contains("hunter2"));
    }

    #[test]
    fn a_tunnel_is_the_same_target_and_another_user_is_not() {
        let url = |text| DatabaseUrl::parse(text).unwrap();
        let app = url("mysql://u:p@db.example:3306/wiki");
        assert!(same_target(&app, &url("mysql2://u:q@127.0.0.1:13306/wiki?x=1")));
        assert!(!same_target(&app, &url("mysql://v:p@db.example:3306/wiki")));
        assert!(!same_target(&app, &url("mysql://u:p@db.example:3306/staging")));
    }
}
