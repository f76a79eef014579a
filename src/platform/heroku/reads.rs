//! The questions to Heroku.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use super::client::{Heroku, PAGE_TIMEOUT, is_loopback, segment};
use super::{logs, model};
use crate::health::{Exhaustion, PageReading, Reading};
use crate::platform::addons::{Addon, AddonPlan};
use crate::platform::config::{ConfigDifference, ConfigVars, secret_by_name};
use crate::platform::error::{Fault, FaultKind};
use crate::platform::facts::{
    App, Build, BuildOrigin, ConfigChange, Dyno, Formation, LogLine, Release, Slug,
};
use crate::platform::log_watch::LogStream;
use crate::platform::pages::{PageAnswer, is_whole, without_login};
use crate::platform::reads::HerokuReads;
use crate::platform::secret::{Redactor, Secret};

/// Bytes of a page that are looked at.
const PAGE_BYTES: u64 = 256 << 10;

/// Why a page says nothing of the app.
const MAINTENANCE: &str = "maintenance mode is on: the router answers 503 to everybody";

/// Why a page was not answered, without its address, which may hold a login.
fn without_address(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        format!("no answer within {} s", PAGE_TIMEOUT.as_secs())
    } else if error.is_builder() {
        "this is no address of a page".to_owned()
    } else if error.is_connect() {
        "no connection to it".to_owned()
    } else {
        "the connection was lost".to_owned()
    }
}

impl Heroku {
    /// The account's e-mail: a cheap check of the token.
    ///
    /// A token of narrow scope may not read it, and is good for the app all the same: then it is empty.
    ///
    /// # Errors
    /// Wrong token, no answer.
    pub fn account(&self) -> Result<String, Fault> {
        let json = match self.get("/account") {
            Ok(json) => json,
            Err(fault) if fault.kind == FaultKind::Forbidden => return Ok(String::new()),
            Err(fault) => return Err(fault),
        };
        Ok(crate::source::escape_controls(json["email"].as_str().unwrap_or_default()).into_owned())
    }

    pub(super) fn config(&self, path: &str) -> Result<BTreeMap<String, Secret>, Fault> {
        let json = self.get(path)?;
        let Json::Object(vars) = json else {
            return Err(Fault::new(
                FaultKind::Broken,
                format!("GET {path}"),
                "a map of config vars was expected",
            ));
        };
        Ok(vars
            .into_iter()
            .filter_map(|(key, value)| value.as_str().map(|value| (key, Secret::from(value.to_owned()))))
            .collect())
    }

    /// The database's URL, from the app's config var.
    ///
    /// # Errors
    /// No such var; a placeholder that is not provisioned yet.
    pub fn database_url(&self) -> Result<Secret, Fault> {
        let var = &self.options.database_var;
        let vars = self.config(&self.of_app("/config-vars"))?;
        // The app may say any of them in its log, in a build, in a release phase.
        for (_, value) in vars.iter().filter(|(name, value)| secret_by_name(name, value.expose_secret())) {
            self.options.redactor.learn_url(value);
        }
        let what = format!("reading the database's URL of {}", self.options.app);
        match vars.get(var) {
            Some(url) if url.expose_secret().starts_with("mysql") => {
                self.options.redactor.learn_url(url);
                Ok(url.clone())
            }
            Some(_) => Err(Fault::new(FaultKind::Missing, what, format!("{var} holds no mysql:// URL"))
                .hint("an add-on that is being provisioned holds a placeholder for some minutes")
                .hint("`--database-var` names another variable")),
            None => {
                let others: Vec<_> = vars
                    .iter()
                    .filter(|(_, value)| value.expose_secret().starts_with("mysql"))
                    .map(|(key, _)| key.as_str())
                    .collect();
                let fault = Fault::new(FaultKind::Missing, what, format!("the app has no config var {var}"));
                Err(if others.is_empty() {
                    fault.hint("is the JawsDB Maria add-on attached? `heroku addons` lists them")
                } else {
                    fault.hint(format!("`--database-var` may name one of: {}", others.join(", ")))
                })
            }
        }
    }
}

impl HerokuReads for Heroku {
    fn app(&self) -> Result<App, Fault> {
        let json = self.get(&self.of_app(""))?;
        let app = model::app(&json);
        self.note_maintenance(app.maintenance);
        Ok(app)
    }

    fn preboot(&self) -> Result<bool, Fault> {
        match self.get(&self.of_app("/features/preboot")) {
            Ok(feature) => Ok(feature["enabled"].as_bool().unwrap_or_default()),
            // Apps whose dynos cannot have it.
            Err(fault) if fault.kind == FaultKind::Missing => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    fn origin(&self) -> Result<BuildOrigin, Fault> {
        if self.releases(10)?.iter().any(|release| release.description.starts_with("Promote")) {
            return Ok(BuildOrigin::Pipeline);
        }
        if self.builds(10)?.iter().any(|build| build.from_github) {
            return Ok(BuildOrigin::GitHub);
        }
        // Coupled, though nothing was promoted lately. Most apps are in no pipeline, which is answered by 404.
        let coupled = self.get(&self.of_app("/pipeline-couplings"));
        let stage = coupled.ok().and_then(|json| json["stage"].as_str().map(str::to_owned));
        Ok(if stage.as_deref() == Some("production") { BuildOrigin::Pipeline } else { BuildOrigin::Git })
    }

    fn builds(&self, newest: usize) -> Result<Vec<Build>, Fault> {
        let range = format!("created_at ..; order=desc, max={}", newest.clamp(1, 1000));
        match self.list(&self.of_app("/builds"), Some(range), newest) {
            Ok(builds) => Ok(builds.iter().map(model::build).collect()),
            Err(fault) if fault.kind == FaultKind::Missing => Ok(Vec::new()),
            Err(fault) => Err(fault),
        }
    }

    fn dynos(&self) -> Result<Vec<Dyno>, Fault> {
        let mut dynos: Vec<Dyno> =
            self.list(&self.of_app("/dynos"), None, 2000)?.iter().map(model::dyno).collect();
        // As people count them: `web.2` before `web.10`.
        let number = |dyno: &Dyno| dyno.name.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
        dynos.sort_by(|a, b| a.kind.cmp(&b.kind).then(number(a).cmp(&number(b))));
        Ok(dynos)
    }

    fn formation(&self) -> Result<Vec<Formation>, Fault> {
        Ok(self.list(&self.of_app("/formation"), None, 200)?.iter().map(model::formation).collect())
    }

    fn releases(&self, newest: usize) -> Result<Vec<Release>, Fault> {
        // Without a range the list begins with the oldest.
        let range = format!("version ..; order=desc, max={}", newest.clamp(1, 1000));
        let mut releases: Vec<Release> =
            self.list(&self.of_app("/releases"), Some(range), newest)?.iter().map(model::release).collect();
        releases.sort_by_key(|release| std::cmp::Reverse(release.version));
        Ok(releases)
    }

    fn slug(&self, id: &str) -> Result<Slug, Fault> {
        let json = self.get(&self.of_app(&format!("/slugs/{}", segment(id)?)))?;
        Ok(model::slug(&json))
    }

    fn config_changes(&self, release: &str) -> Result<Vec<ConfigChange>, Fault> {
        let now = self.config(&self.of_app("/config-vars"))?;
        let then = self.config(&self.of_app(&format!("/releases/{}/config-vars", segment(release)?)))?;
        let database = now.get(&self.options.database_var).map(|url| url.expose_secret().to_owned());
        let mut keys: Vec<&String> = now.keys().chain(then.keys()).collect();
        keys.sort();
        keys.dedup();
        let mut changes = Vec::new();
        for key in keys {
            let (a, b) = (
                now.get(key).map(ExposeSecret::expose_secret),
                then.get(key).map(ExposeSecret::expose_secret),
            );
            let change = match (a, b) {
                (Some(a), Some(b)) if a == b => continue,
                (Some(_), Some(_)) => "changed",
                (Some(_), None) => "removed",
                _ => "added",
            };
            let is_database = |value: Option<&str>| {
                value.is_some_and(|value| value.starts_with("mysql") && value.contains("://"))
                    || (value.is_some() && value == database.as_deref())
            };
            let holds_it = is_database(a) || is_database(b);
            changes.push(ConfigChange {
                key: crate::source::escape_controls(key).into_owned(),
                change: change.to_owned(),
                is_database: *key == self.options.database_var || holds_it,
            });
        }
        Ok(changes)
    }

    fn sharing_apps(&self) -> Result<Vec<String>, Fault> {
        let attachments = self.list(&self.of_app("/addon-attachments"), None, 200)?;
        let ours = attachments.iter().find(|attachment| {
            let name = attachment["name"].as_str().unwrap_or_default();
            self.options.database_var == format!("{name}_URL")
        });
        let Some(addon) = ours.and_then(|attachment| attachment["addon"]["id"].as_str()) else {
            return Ok(Vec::new());
        };
        let all = self.list(&format!("/addons/{}/addon-attachments", segment(addon)?), None, 200)?;
        let mut apps: Vec<String> = all
            .iter()
            .filter_map(|attachment| attachment["app"]["name"].as_str())
            .filter(|name| *name != self.options.app)
            .map(|name| crate::source::escape_controls(name).into_owned())
            .collect();
        apps.sort();
        apps.dedup();
        Ok(apps)
    }

    fn recent_logs(&self, lines: u32, dyno: Option<&str>) -> Result<Vec<LogLine>, Fault> {
        let (url, _) = self.log_session(dyno, Some(lines), false)?;
        let what = "reading the app's log";
        let response = self
            .page_client()
            .get(url)
            .timeout(Duration::from_secs(4))
            .send()
            .map_err(|error| super::errors::explain_transport(what, &error, &self.options.redactor))?;
        let events = is_events(&response);
        // A session that is cut in the middle gives what it gave.
        let mut framing = logs::Framing::new(BufReader::new(response.take(1 << 20)), events);
        let read = std::iter::from_fn(|| framing.next().ok().flatten());
        let parsed = read.filter_map(|line| logs::parse(&line, &self.options.redactor));
        let mut kept: Vec<LogLine> = parsed.filter(|line| is_of(line, dyno)).collect();
        let skip = kept.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
        Ok(kept.split_off(skip))
    }

    fn open_log(&self, dyno: Option<&str>, lines: u32) -> Result<Box<dyn LogStream>, Fault> {
        let what = "following the app's log";
        let (url, made_at) = match self.log_session(dyno, Some(lines), true) {
            // A Fir app's log has no history that could be asked for.
            Err(fault) if fault.kind == FaultKind::Refused => self.log_session(dyno, None, true)?,
            told => told?,
        };
        let response = self
            .stream_client()
            .get(url)
            .send()
            .map_err(|error| super::errors::explain_transport(what, &error, &self.options.redactor))?;
        if !response.status().is_success() {
            // Expired, or not known yet: a new session is the cure for both.
            let why = format!("the session's stream was answered with {}", response.status().as_u16());
            return Err(Fault::new(FaultKind::Broken, what, why));
        }
        let events = is_events(&response);
        Ok(Box::new(Stream {
            framing: logs::Framing::new(BufReader::new(response), events),
            redactor: self.options.redactor.clone(),
            dyno: dyno.map(str::to_owned),
            made_at,
        }))
    }

    fn probe_page(&self, path: &str) -> Reading<PageReading> {
        if self.options.pages_url.is_none() {
            return Reading::Unknown("pages are not measured".to_owned());
        }
        let answer = self.ask_page(path);
        if answer.maintenance {
            // The router's own page: neither a sick app nor a healthy one.
            return Reading::Unknown(MAINTENANCE.to_owned());
        }
        let mut reading = PageReading::default();
        if answer.is_ok() {
            reading.ok_ms.push(answer.took_ms);
        } else {
            reading.failed = 1;
            reading.database_errors = u64::from(answer.exhausted);
        }
        Reading::Measured(reading)
    }

    fn ask_page(&self, address: &str) -> PageAnswer {
        let Some(url) = self.page_address(address) else {
            return PageAnswer::none("pages are not measured in this run".to_owned(), 0.0);
        };
        let began = self.options.clock.now();
        let took = || self.options.clock.now().since(began).as_secs_f64() * 1000.0;
        let response = match self.page_client().get(url).timeout(PAGE_TIMEOUT).send() {
            Ok(response) => response,
            Err(error) => return PageAnswer::none(without_address(&error), took()),
        };
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let whole = response.take(PAGE_BYTES).read_to_end(&mut body);
        let took_ms = took();
        let body = String::from_utf8_lossy(&body).into_owned();
        let maintenance = status == 503 && !is_whole(address) && self.in_maintenance();
        let why = match whole {
            Ok(_) => maintenance.then(|| MAINTENANCE.to_owned()),
            Err(_) => Some("the answer was cut short, or came too slowly".to_owned()),
        };
        let failed = status >= 500 || why.is_some();
        PageAnswer {
            status: Some(status),
            took_ms,
            bytes: body.len() as u64,
            // A page that was answered well may hold such words as its content.
            exhausted: failed && Exhaustion::shown_by(&body).is_some(),
            body,
            maintenance,
            why,
        }
    }

    fn pages_url(&self) -> Option<String> {
        self.options.pages_url.as_deref().map(without_login)
    }

    fn web_concurrency(&self) -> Result<Option<u64>, Fault> {
        let vars = self.config(&self.of_app("/config-vars"))?;
        Ok(vars.get("WEB_CONCURRENCY").and_then(|value| value.expose_secret().trim().parse().ok()))
    }

    fn config_differences(&self, vars: &ConfigVars) -> Result<Vec<ConfigDifference>, Fault> {
        self.compare_config(vars)
    }

    fn addons(&self) -> Result<Vec<Addon>, Fault> {
        self.read_addons()
    }

    fn addon(&self, name: &str) -> Result<Addon, Fault> {
        self.read_addon(name)
    }

    fn addon_plan(&self, name: &str) -> Result<AddonPlan, Fault> {
        self.read_plan(name)
    }

    fn addon_plans(&self, service: &str) -> Result<Vec<AddonPlan>, Fault> {
        self.read_plans(service)
    }

    fn calls(&self) -> u64 {
        self.options.bucket.calls()
    }

    fn calls_left(&self) -> Option<u64> {
        self.options.bucket.left()
    }

    fn api_url(&self) -> String {
        self.options.api_url.clone()
    }
}

/// A stream of the log, as it comes.
struct Stream {
    framing: logs::Framing<BufReader<reqwest::blocking::Response>>,
    redactor: Redactor,
    dyno: Option<String>,
    made_at: String,
}

impl LogStream for Stream {
    fn next(&mut self) -> Result<Option<LogLine>, Fault> {
        loop {
            let read = self.framing.next().map_err(|error| {
                // A stream that is silent for minutes ends this way, too.
                Fault::new(FaultKind::Network, "following the app's log", error.to_string())
            })?;
            let Some(line) = read else { return Ok(None) };
            let line = logs::parse_whole(&line, &self.redactor);
            if let Some(line) = line.filter(|line| is_of(line, self.dyno.as_deref())) {
                return Ok(Some(line));
            }
        }
    }

    fn made_at(&self) -> String {
        self.made_at.clone()
    }
}

/// Whether a response is server-sent events.
fn is_events(response: &reqwest::blocking::Response) -> bool {
    let kind = response.headers().get(reqwest::header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok()).is_some_and(|kind| kind.contains("event-stream"))
}

/// Whether a line is of the dyno, or of the process type, that was asked for: who answers may give more.
fn is_of(line: &LogLine, dyno: Option<&str>) -> bool {
    dyno.is_none_or(|dyno| {
        line.process.is_empty() || line.process == dyno || line.process.split('.').next() == Some(dyno)
    })
}

impl Heroku {
    /// A new session of the log: its URL, which is a secret, and when it was made.
    fn log_session(
        &self,
        dyno: Option<&str>,
        lines: Option<u32>,
        tail: bool,
    ) -> Result<(String, String), Fault> {
        let mut body = json!({ "tail": tail });
        if let Some(lines) = lines {
            body["lines"] = json!(lines);
        }
        if let Some(dyno) = dyno {
            body["dyno_name"] = json!(dyno);
            body["dyno"] = json!(dyno);
        }
        let session = self.post_harmless(&self.of_app("/log-sessions"), &body)?;
        let what = "reading the app's log";
        let Some(url) = session["logplex_url"].as_str() else {
            return Err(Fault::new(FaultKind::Broken, what, "the session has no URL"));
        };
        let may_be_plain = is_loopback(&self.options.api_url) && is_loopback(url);
        if !url.starts_with("https://") && !may_be_plain {
            return Err(Fault::new(FaultKind::Unsupported, what, "the session's URL is not https"));
        }
        Ok((url.to_owned(), session["created_at"].as_str().unwrap_or_default().to_owned()))
    }
}

impl Heroku {
    /// Whether the site answers anything at all, errors included.
    pub(in crate::platform) fn page_answers(&self, path: &str) -> bool {
        self.ask_page(path).status.is_some()
    }

    /// The URL of a page: a whole one as it is, a path at where pages are measured.
    fn page_address(&self, address: &str) -> Option<String> {
        if is_whole(address) {
            return Some(address.to_owned());
        }
        let base = self.options.pages_url.as_ref()?;
        Some(format!("{}/{}", base.trim_end_matches('/'), address.trim_start_matches('/')))
    }
}
