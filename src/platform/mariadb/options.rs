//! How a database is reached, and how long it is waited for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::acquire::Pace;
use super::connect::TlsMode;
use super::url::DatabaseUrl;
use crate::platform::clock::Clock;

/// How a database is reached and how long it is waited for.
pub struct DatabaseOptions {
    /// Where it is.
    pub url: DatabaseUrl,
    /// The app's name: part of the name of the lock whose holder is never killed.
    pub app: String,
    /// What is asked of TLS.
    pub tls: TlsMode,
    /// CA certificates in PEM, for verification (`--database-ca`).
    pub ca: Option<PathBuf>,
    /// How long `facts`, `idle_sessions`, `census` and `kill` wait for a slot.
    pub connect_deadline: Duration,
    /// How long `sample` waits for an answer of any kind.
    pub sample_deadline: Duration,
    /// How long one address may take to accept the TCP connection.
    pub tcp_timeout: Duration,
    /// How long the socket waits for any one answer; must exceed the server's cap of 500 ms by far.
    pub answer_timeout: Duration,
    /// The server ends the connection, and frees its lock, after so long without a word from us: a machine that
    /// vanished holds no lock for longer. It is touched six times within it.
    pub silence: Duration,
    /// How hard it tries while full.
    pub pace: Pace,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Told once when the account's hourly limits slow it down.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
}

impl DatabaseOptions {
    /// The usual bounds: 15 s for a slot, 950 ms for a sample, 3 s to connect, 5 s for an answer,
    /// a minute of silence.
    pub fn new(url: DatabaseUrl, app: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            url,
            app: app.into(),
            tls: TlsMode::Prefer,
            ca: None,
            connect_deadline: Duration::from_secs(15),
            sample_deadline: Duration::from_millis(950),
            tcp_timeout: Duration::from_secs(3),
            answer_timeout: Duration::from_secs(5),
            silence: Duration::from_secs(60),
            pace: Pace::default(),
            clock,
            notice: Arc::new(|_| {}),
        }
    }
}
