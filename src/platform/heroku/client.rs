//! Transport: one place where requests are made, with their headers, limits and retries.

use std::io::Read;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use reqwest::Method;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, RANGE};
use reqwest::redirect::Policy;
use secrecy::ExposeSecret;
use serde_json::Value as Json;

use super::bucket::Bucket;
use super::errors::{explain, explain_transport};
use crate::platform::clock::Clock;
use crate::platform::error::{ChangeError, Fault, FaultKind};
use crate::platform::kept::Variables;
use crate::platform::secret::{Redactor, Secret};

/// Bound of a read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound of a page, its body included: a site that drips is measured as one that does not answer.
pub(super) const PAGE_TIMEOUT: Duration = READ_TIMEOUT;
/// Bound of a change. What was sent may land until then, and a little later: the settle rule waits that long.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a stream of the log may be silent: then it is opened again, lest it is dead. Pages that are probed are in
/// the log, so that a whole minute of silence is rare.
const SILENCE: Duration = Duration::from_secs(60);
/// Tries of a read, the first included.
const TRIES: u32 = 3;
/// Largest body that is read, in bytes.
const BODY: u64 = 8 << 20;
/// Pages of a list that are followed.
const PAGES: usize = 100;

/// How the client is set up.
pub struct HerokuOptions {
    /// Base URL of the API.
    pub api_url: String,
    /// The token.
    pub token: Secret,
    /// The app's name or id.
    pub app: String,
    /// Where pages are probed.
    pub pages_url: Option<String>,
    /// The config var that holds the database's URL.
    pub database_var: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Takes secrets out of texts.
    pub redactor: Redactor,
    /// The account's calls; shared by all clients that use its token.
    pub bucket: Arc<Bucket>,
    /// Where values of config vars that are secrets come from.
    pub variables: Variables,
    /// Told about every retry and warning, and once when few calls are left.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
}

/// The client.
pub struct Heroku {
    pub(super) options: HerokuOptions,
    http: Client,
    pages: Client,
    streams: Client,
    warned: Mutex<Vec<String>>,
    /// Maintenance mode, as last read or set: then the router answers pages, whatever the app does.
    maintenance: AtomicBool,
    /// Itself, for threads that outlive a call.
    pub(super) me: Weak<Self>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// An answer that is JSON.
struct Page {
    json: Json,
    /// What to ask for the next one, when the list goes on.
    next: Option<String>,
    /// How long it was.
    bytes: u64,
}

/// What went wrong before an answer was read whole.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) fault: Fault,
    /// The request may have reached the other side.
    pub(super) sent: bool,
    /// The status that had come before the body was cut.
    pub(super) status: Option<u16>,
    /// Nothing came in time: asking at once again would only wait as long again.
    pub(super) late: bool,
}

impl Heroku {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// A URL that must not carry a token, or a TLS setup that fails.
    pub fn new(options: HerokuOptions) -> Result<Arc<Self>, Fault> {
        let what = || format!("setting up the client of {}", options.api_url);
        check_url(&options.api_url)?;
        check_token(&options.token)?;
        options.redactor.learn(&options.token);
        let loopback = is_loopback(&options.api_url);
        let build = |timeout: Duration, bypass: bool, redirects: Policy| {
            let builder = Client::builder()
                .user_agent(concat!("runbook/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(5))
                .timeout(timeout)
                .redirect(redirects)
                .retry(reqwest::retry::never())
                .tcp_keepalive(Duration::from_secs(30))
                .pool_idle_timeout(Duration::from_secs(30));
            let builder = if bypass { builder.no_proxy() } else { builder };
            builder.build().map_err(|error| {
                Fault::new(FaultKind::Tls, what(), error.to_string())
                    .hint("check SSL_CERT_FILE and the proxy variables")
            })
        };
        // The token goes to the one place it is meant for.
        let http = build(WRITE_TIMEOUT, loopback, Policy::none())?;
        let pages_loopback = options.pages_url.as_deref().is_some_and(is_loopback);
        let pages = build(READ_TIMEOUT, pages_loopback || loopback, same_site())?;
        // Its time bounds each read, not the whole: a stream goes on.
        let streams = build(SILENCE, loopback, Policy::none())?;
        Ok(Arc::new_cyclic(|me| Self {
            me: me.clone(),
            options,
            http,
            pages,
            streams,
            warned: Mutex::default(),
            maintenance: AtomicBool::default(),
        }))
    }

    /// Keeps in mind whether maintenance mode is on.
    pub(super) fn note_maintenance(&self, on: bool) {
        self.maintenance.store(on, Ordering::Relaxed);
    }

    /// Whether maintenance mode is on, as far as was read or set here.
    pub(super) fn in_maintenance(&self) -> bool {
        self.maintenance.load(Ordering::Relaxed)
    }

    pub(super) fn page_client(&self) -> &Client {
        &self.pages
    }

    pub(super) fn stream_client(&self) -> &Client {
        &self.streams
    }

    /// The path of something of the app.
    pub(super) fn of_app(&self, rest: &str) -> String {
        format!("/apps/{}{rest}", self.options.app)
    }

    fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Json>,
        range: Option<&str>,
    ) -> Result<Answer, Lost> {
        self.options.bucket.spend();
        let url = format!("{}{path}", self.options.api_url.trim_end_matches('/'));
        let what = format!("{method} {path}");
        let id = request_id();
        let timeout = if *method == Method::GET { READ_TIMEOUT } else { WRITE_TIMEOUT };
        let mut request = self
            .http
            .request(method.clone(), &url)
            .timeout(timeout)
            .header(ACCEPT, "application/vnd.heroku+json; version=3")
            .header("Request-Id", &id)
            .bearer_auth(self.options.token.expose_secret());
        if let Some(range) = range {
            request = request.header(RANGE, range);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().map_err(|error| {
            let mut fault = explain_transport(&what, &error, &self.options.redactor);
            // Ours: Heroku keeps it, so support can find what became of a request without an answer.
            fault.request_ids = vec![id.clone()];
            // A connection that never stood has carried nothing.
            let sent = !error.is_connect() && !error.is_builder();
            Lost { sent, late: error.is_timeout() && sent, status: None, fault }
        })?;
        self.note(&response);
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut bytes = Vec::new();
        let read = response.by_ref().take(BODY + 1).read_to_end(&mut bytes);
        let too_long = bytes.len() as u64 > BODY;
        if too_long || read.is_err() {
            let late = !too_long && read.as_ref().is_err_and(is_late);
            let why = match read {
                Err(error) => format!("the answer was cut short: {error}"),
                Ok(_) => format!("the answer is longer than {} MB: this is not Heroku", BODY >> 20),
            };
            let mut fault = Fault::new(FaultKind::Broken, what, why);
            fault.request_ids = request_ids(&headers);
            if fault.request_ids.is_empty() {
                fault.request_ids.push(id);
            }
            // Asking again would only be as long again.
            let late = late || too_long;
            return Err(Lost { fault, sent: true, status: Some(status), late });
        }
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&bytes).into_owned() })
    }

    /// Keeps what the headers tell: rate limit, warnings for people.
    fn note(&self, response: &Response) {
        let headers = response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let left = text("RateLimit-Remaining").and_then(|left| left.parse().ok());
        if let Some(said) = self.options.bucket.note(response.status().as_u16(), left) {
            (self.options.notice)(&said);
        }
        for name in ["X-Heroku-Warning", "Warning-Message"] {
            if let Some(warning) = text(name) {
                let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
                if !warned.iter().any(|told| told == warning) {
                    warned.push(warning.to_owned());
                    (self.options.notice)(&format!("Heroku: {}", self.options.redactor.clean(warning)));
                }
            }
        }
    }

    /// A read, with a few tries; each further one is told.
    pub(super) fn get(&self, path: &str) -> Result<Json, Fault> {
        self.page(path, None).map(|page| page.json)
    }

    fn page(&self, path: &str, range: Option<&str>) -> Result<Page, Fault> {
        let mut pause = Duration::from_millis(300);
        let mut tried = 0;
        loop {
            tried += 1;
            let mut late = false;
            let fault = match self.send(&Method::GET, path, None, range) {
                Ok(answer) if answer.status == 200 || answer.status == 206 => {
                    if let Ok(mut json) = serde_json::from_str(&answer.body) {
                        without_secrets(&mut json, &self.options.redactor);
                        let next = answer.headers.get("Next-Range").filter(|_| answer.status == 206);
                        let next = next.and_then(|value| value.to_str().ok()).map(str::to_owned);
                        return Ok(Page { json, next, bytes: answer.body.len() as u64 });
                    }
                    let mut fault = Fault::new(
                        FaultKind::Broken,
                        format!("GET {path}"),
                        "the answer is no whole JSON: it was cut, or something between answered",
                    );
                    fault.request_ids = request_ids(&answer.headers);
                    fault
                }
                Ok(answer) => explain("GET", path, &answer, &self.options.redactor),
                Err(lost) => {
                    late = lost.late;
                    lost.fault
                }
            };
            let again =
                matches!(fault.kind, FaultKind::Network | FaultKind::Broken) && !late && tried < TRIES;
            if !again {
                return Err(fault);
            }
            (self.options.notice)(&format!("{fault}: trying again in {} ms", pause.as_millis()));
            self.options.clock.sleep(pause.mul_f64(0.75 + fastrand::f64() / 2.0));
            pause *= 3;
        }
    }

    /// A list, page by page as `Next-Range` says, at most `most` items.
    pub(super) fn list(&self, path: &str, range: Option<String>, most: usize) -> Result<Vec<Json>, Fault> {
        let mut items = Vec::new();
        let mut range = range;
        let mut bytes = 0;
        for _ in 0..PAGES {
            let page = self.page(path, range.as_deref())?;
            let Json::Array(more) = page.json else {
                return Err(Fault::new(FaultKind::Broken, format!("GET {path}"), "a list was expected"));
            };
            items.extend(more);
            bytes += page.bytes;
            if page.next.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok(items);
            }
            if bytes > BODY {
                let why = format!("the list did not end after {} MB", BODY >> 20);
                return Err(Fault::new(FaultKind::Broken, format!("GET {path}"), why));
            }
            range = page.next;
        }
        // Half a list would prove what is not so: a dyno that is not listed is no dyno that is gone.
        let why = format!("the list did not end after {PAGES} pages");
        Err(Fault::new(FaultKind::Broken, format!("GET {path}"), why))
    }

    /// A change, sent once. A lost answer, or one from a broken server, leaves it in doubt.
    pub(super) fn change(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Json>,
    ) -> Result<Json, ChangeError> {
        let settle = u64::try_from(WRITE_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        match self.send(method, path, body, None) {
            Ok(answer) if (200..300).contains(&answer.status) => match serde_json::from_str(&answer.body) {
                Ok(json) => Ok(json),
                // Accepted, though what it said is lost: read back. Nothing can land any more, but the lists may be
                // stale for a while, so that "it did not happen" is not believed at once either.
                Err(_) if answer.body.trim().is_empty() => Ok(Json::Null),
                Err(_) => Err(ChangeError::in_doubt(
                    Fault::new(
                        FaultKind::Broken,
                        format!("{method} {path}"),
                        "it was accepted, but the answer was cut",
                    ),
                    settle,
                )),
            },
            Ok(answer) => {
                let fault = explain(method.as_str(), path, &answer, &self.options.redactor);
                if answer.status >= 500 || answer.status < 400 {
                    Err(ChangeError::in_doubt(fault, settle))
                } else {
                    Err(ChangeError::nothing_changed(fault))
                }
            }
            // Refused, though why is lost.
            Err(lost) if lost.status.is_some_and(|status| (400..500).contains(&status)) => {
                Err(ChangeError::nothing_changed(lost.fault))
            }
            Err(lost) if lost.sent => Err(ChangeError::in_doubt(lost.fault, settle)),
            Err(lost) => Err(ChangeError::nothing_changed(lost.fault)),
        }
    }

    /// A POST that changes nothing in the app (a log session), sent once.
    pub(super) fn post_harmless(&self, path: &str, body: &Json) -> Result<Json, Fault> {
        self.change(&Method::POST, path, Some(body)).map_err(|error| error.fault)
    }
}

/// Whether reading a body ended for its time: said by the kind, or by a cause.
fn is_late(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    error.kind() == std::io::ErrorKind::TimedOut || inner.is_some_and(reqwest::Error::is_timeout)
}

/// A name as one segment of a URL's path: it cannot end the segment, begin a query, or climb to the app itself.
pub(super) fn segment(name: &str) -> Result<String, Fault> {
    // These would name the list, or what holds it, even percent-encoded: a DELETE would hit far more than was meant.
    if name.is_empty() || name.len() > 200 || matches!(name, "." | "..") {
        let why = format!("`{}` is no name of one", name.chars().take(40).collect::<String>());
        return Err(Fault::new(FaultKind::Refused, "asking Heroku about a thing of the app", why));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let shown = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    Ok(name.bytes().map(shown).collect())
}

/// Request ids of an answer, for support; bounded.
pub(super) fn request_ids(headers: &HeaderMap) -> Vec<String> {
    let mut ids = Vec::new();
    for value in headers.get_all("Request-Id").iter().filter_map(|value: &HeaderValue| value.to_str().ok()) {
        for id in value.split(',').map(str::trim).filter(|id| !id.is_empty() && id.len() <= 100) {
            if ids.len() < 20 && !ids.iter().any(|known| known == id) {
                ids.push(crate::source::escape_controls(id).into_owned());
            }
        }
    }
    ids
}

fn request_id() -> String {
    let bits = fastrand::u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        bits >> 96,
        bits >> 80 & 0xffff,
        bits >> 64 & 0xfff,
        bits >> 48 & 0x3fff | 0x8000,
        bits & 0xffff_ffff_ffff
    )
}

/// A token with a line break or a blank in it cannot be sent, and is no token.
fn check_token(token: &Secret) -> Result<(), Fault> {
    let text = token.expose_secret();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::Credentials,
        "using the Heroku token",
        "it is empty, or holds blanks, line breaks or letters that no token has",
    )
    .hint("`export HEROKU_API_KEY=$(heroku auth:token)`"))
}

/// Takes the secrets in use out of what people have written: the command of a one-off dyno, a release's description.
fn without_secrets(json: &mut Json, redactor: &Redactor) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|item| without_secrets(item, redactor)),
        Json::Object(map) => {
            for (key, value) in map {
                match value {
                    Json::String(text) if matches!(key.as_str(), "command" | "description") => {
                        *text = redactor.clean(text);
                    }
                    other => without_secrets(other, redactor),
                }
            }
        }
        _ => {}
    }
}

/// A wiki's front page often only points at its main page. Those of another host are not followed: a rehearsal whose
/// settings name the production site must not measure that.
fn same_site() -> Policy {
    Policy::custom(|attempt| {
        let first = attempt.previous().first();
        let same = first.is_some_and(|url| {
            url.host_str() == attempt.url().host_str()
                && (url.port_or_known_default() == attempt.url().port_or_known_default()
                    || (url.scheme() == "http" && attempt.url().scheme() == "https" && url.port().is_none()))
        });
        if same && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
    })
}

/// The token goes over TLS, or nowhere but to this machine; and a URL holds no login of its own.
pub(in crate::platform) fn check_url(url: &str) -> Result<(), Fault> {
    let shown = crate::platform::secret::Redactor::default().clean(url);
    if crate::platform::secret::login(url).is_some() {
        let why = "it holds a login, which would stand in process lists and in records";
        return Err(Fault::new(FaultKind::Unsupported, format!("using {shown}"), why)
            .hint("take what stands before the @ out; the token comes from HEROKU_API_KEY"));
    }
    if url.starts_with("https://") || (url.starts_with("http://") && is_loopback(url)) {
        return Ok(());
    }
    Err(Fault::new(
        FaultKind::Unsupported,
        format!("using {shown}"),
        "plain http would show the token to the network",
    )
    .hint("use https; plain http is taken for 127.0.0.1, [::1] and localhost only"))
}

/// Whether a URL's host is this machine.
pub(in crate::platform) fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = if host.starts_with('[') {
        host.split(']').next().unwrap_or_default().trim_start_matches('[')
    } else {
        host.split(':').next().unwrap_or_default()
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_be_sent_is_said_before_anything_is() {
        for (token, good) in [("HRKU-abc", true), ("", false), ("abc\n", false), ("a b", false), ("ä", false)]
        {
            assert_eq!(check_token(&Secret::from(token)).is_ok(), good, "{token:?}");
        }
    }

    #[test]
    fn a_name_stays_within_its_segment() {
        for (name, path) in [
            ("web.1", "web.1"),
            ("web&x=1", "web%26x%3D1"),
            ("a/b?x=1#", "a%2Fb%3Fx%3D1%23"),
            ("../x", "..%2Fx"),
            ("%2e%2e", "%252e%252e"),
            ("\u{202e}\r\n", "%E2%80%AE%0D%0A"),
            ("--app", "--app"),
            ("...", "..."),
        ] {
            assert_eq!(segment(name).unwrap(), path);
        }
        for none in ["", ".", "..", &"x".repeat(201)] {
            assert_eq!(segment(none).unwrap_err().kind, FaultKind::Refused, "{none}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for url in ["http://127.0.0.1:80/x", "http://[::1]:9", "http://localhost", "https://api.heroku.com"] {
            assert!(check_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://api.heroku.com",
            "http://127.0.0.1.evil.com",
            "http://localhost@evil.com",
            "ftp://127.0.0.1",
            "https://heroku:token@git.heroku.com",
            "http://u:p@127.0.0.1:80",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }
}
