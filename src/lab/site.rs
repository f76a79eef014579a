//! One rehearsal, assembled: database, platform, wiki, visitors, and the incident under way. Dropping it ends every
//! process it started and removes its folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mysql::prelude::Queryable;
use serde_json::{Value as Json, json};

use super::by_hand::Hands;
use super::door;
use super::folder::Folder;
use super::heroku::{self, Heroku};
use super::repository::{Fix, Repository};
use super::scenario::Scenario;
use super::server::{self, Counters, Server};
use super::traffic::{Seen, Traffic};
use super::watch::Watch;

/// The app of the guide.
pub const APP: &str = "wizzypedia";

/// What a rehearsal is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of its own, absolute; held by the caller.
    pub dir: PathBuf,
    /// The person's `PATH`.
    pub path: OsString,
    /// The incident.
    pub scenario: Scenario,
    /// What waits in the wiki's working tree; the scenario's own when absent.
    pub fix: Option<Fix>,
    /// How many times faster than the real platform.
    pub time_scale: f64,
    /// Connections that the database takes.
    pub limit: u32,
    /// Web dynos at the start.
    pub dynos: u32,
    /// Preboot is on.
    pub preboot: bool,
}

/// How a start tells what it does, and hears that it is to stop.
pub struct Attendant<'a> {
    /// Takes each line.
    pub say: &'a dyn Fn(&str),
    /// Whether it is to stop.
    pub stop: &'a dyn Fn() -> bool,
}

/// A rehearsal under way. Fields are dropped in this order: visitors first, the database before the folder.
pub struct Site {
    traffic: Traffic,
    platform: Heroku,
    /// The forgotten transaction of the lock scenario.
    _blocker: Option<mysql::Conn>,
    server: Server,
    token: String,
    options: Options,
    _folder: Folder,
    _watch: Watch,
}

/// The stand-ins for the buildpack's programs: dynos find them first in `PATH`.
fn stand_ins(dir: &Path) -> io::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    let own = std::env::current_exe()?;
    let own = door::shell_word(&own.display().to_string());
    for name in ["heroku-php-apache2", "httpd", "apache2", "php"] {
        let command = if name == "php" { "php --".to_owned() } else { format!("wiki -- {name}") };
        let file = bin.join(name);
        fs::write(&file, format!("#!/bin/sh\nexec {own} lab {command} \"$@\"\n"))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(bin)
}

/// What a provider does when its database gets another plan.
fn limiter(overseer: String) -> Arc<dyn Fn(u32) + Send + Sync> {
    Arc::new(move |limit| {
        let Ok(opts) = mysql::Opts::from_url(&overseer) else { return };
        let opts = mysql::OptsBuilder::from_opts(opts).prefer_socket(false);
        #[expect(clippy::disallowed_methods, reason = "the provider's side of the database")]
        let conn = mysql::Conn::new(opts);
        if let Ok(mut conn) = conn {
            let _ = conn.query_drop(format!("SET GLOBAL max_connections = {limit}"));
        }
    })
}

impl Site {
    /// Builds everything and waits until the incident is there.
    ///
    /// # Errors
    /// MariaDB or git are not installed, a dyno does not come up, the incident does not come, or it is told to stop.
    /// Whatever it had started has ended then.
    pub fn start(
        options: Options,
        folder: Folder,
        watch: Watch,
        attendant: &Attendant<'_>,
    ) -> io::Result<Self> {
        let Attendant { say, stop } = attendant;
        let go_on = || if stop() { Err(door::stopped()) } else { Ok(()) };
        let token = format!("HRKU-{}", door::uuid());
        say("starting a private MariaDB server");
        let server = Server::start(
            &server::Options {
                dir: options.dir.join("mysql"),
                limit: options.limit,
                password: door::uuid().replace('-', ""),
                path: options.path.clone(),
            },
            &watch.told(),
            stop,
        )?;
        say("making the wiki's repository");
        let repository =
            Repository::make(&options.dir.join("wiki"), options.fix.unwrap_or(options.scenario.fix()))?;
        repository.publish(&options.dir.join("heroku/git").join(format!("{APP}.git")))?;
        let habits = options.scenario.habits(options.limit, options.dynos);
        let grace = Duration::from_secs(10).div_f64(options.time_scale);
        say("starting the Heroku simulator");
        let platform = Heroku::start(heroku::Options {
            dir: options.dir.join("heroku"),
            token: token.clone(),
            app: APP.to_owned(),
            formation: vec![("web".to_owned(), options.dynos, "Standard-1X".to_owned())],
            config: BTreeMap::from([
                ("JAWSDB_MARIA_URL".to_owned(), server.url()),
                ("WEB_CONCURRENCY".to_owned(), habits.workers.to_string()),
                ("WIKI_SECRET_KEY".to_owned(), door::uuid()),
            ]),
            habits: habits.environment(grace),
            path: stand_ins(&options.dir)?,
            time_scale: options.time_scale,
            limit: limiter(server.overseer_url()),
            watch: watch.told(),
        })?;
        repository.add_remote(&format!("{}/{APP}.git", platform.git_url()))?;
        platform.deploy_history(&repository.history()?)?;
        if options.preboot {
            platform.enable("preboot");
        }
        say("waiting for the dynos");
        let patience = Duration::from_secs(90).max(Duration::from_secs(60).div_f64(options.time_scale));
        let up = platform.await_up(patience, stop);
        go_on()?;
        if !up {
            return Err(io::Error::other(format!("the dynos did not come up:\n{}", platform.last_logs(10))));
        }
        let blocker = match options.scenario {
            Scenario::LockPileUp => Some(Self::block(&server).map_err(io::Error::other)?),
            _ => None,
        };
        let traffic = Traffic::start(platform.router(), habits.fill_rate, 200);
        let site = Self {
            traffic,
            platform,
            _blocker: blocker,
            server,
            token,
            options,
            _folder: folder,
            _watch: watch,
        };
        say("visitors come; waiting for the incident");
        let begun = site.await_incident(stop);
        go_on()?;
        begun?;
        site.traffic.set_rate(habits.rate);
        Ok(site)
    }

    /// A transaction that somebody has forgotten, and a change of the table that waits for it: whoever reads the
    /// table then waits too. The second session ends when the server does.
    fn block(server: &Server) -> mysql::Result<mysql::Conn> {
        let opts = mysql::OptsBuilder::from_opts(mysql::Opts::from_url(&server.url())?).prefer_socket(false);
        #[expect(clippy::disallowed_methods, reason = "the sessions that the scenario is about")]
        let open = || mysql::Conn::new(opts.clone());
        let (mut forgotten, mut change) = (open()?, open()?);
        forgotten.query_drop("BEGIN")?;
        let _: Option<u32> = forgotten.query_first("SELECT page_id FROM page LIMIT 1")?;
        std::thread::spawn(move || change.query_drop("ALTER TABLE page ADD COLUMN page_lang VARBINARY(35)"));
        Ok(forgotten)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small limit")]
    fn await_incident(&self, stop: &dyn Fn() -> bool) -> io::Result<()> {
        let wanted = (f64::from(self.options.limit) * self.options.scenario.begins_at()).ceil() as u64;
        let mut last = None;
        let mut in_a_row = 0;
        let begun = door::wait_until(Duration::from_secs(90), || {
            if stop() {
                return true;
            }
            let Ok(now) = self.server.counters() else { return false };
            let full = match self.options.scenario {
                Scenario::Churn => self.traffic.seen().pages > 60,
                Scenario::Quiet => {
                    self.traffic.seen().recent_pages > 10 && self.traffic.seen().recent_errors == 0
                }
                Scenario::Load | Scenario::LockPileUp => now.used >= wanted,
                // A leak is one when it refuses people, not only when it is high.
                Scenario::Leak | Scenario::SlowLeak => now.used >= wanted && now.refused > 0,
                Scenario::Full => now.used >= wanted && self.server.try_login().is_err(),
            };
            in_a_row = if full { in_a_row + 1 } else { 0 };
            last = Some(now);
            in_a_row >= 3
        });
        if begun {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "the incident did not come within 90 s: {last:?}, {:?}\n{}",
            self.traffic.seen(),
            self.platform.last_logs(10)
        )))
    }

    /// The environment in which `runbook` meets this lab instead of Heroku.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HEROKU_API_KEY", self.token.clone()),
            ("HEROKU_API_URL", self.platform.api_url()),
            ("HEROKU_GIT_URL", self.platform.git_url()),
            ("HEROKU_APP", APP.to_owned()),
            ("RUNBOOK_STATE_DIR", self.options.dir.join("state").display().to_string()),
        ]
    }

    /// The wiki's working tree.
    pub fn wiki(&self) -> PathBuf {
        self.options.dir.join("wiki")
    }

    /// The hands of a person who follows the guide.
    pub fn hands(&self) -> Hands {
        Hands { api: self.platform.api(), app: APP.to_owned(), token: self.token.clone(), tree: self.wiki() }
    }

    /// What visitors saw.
    pub fn seen(&self) -> Seen {
        self.traffic.seen()
    }

    /// What the database counts.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn counters(&self) -> mysql::Result<Counters> {
        self.server.counters()
    }

    /// Changes the visitors' rate, pages a second.
    pub fn set_rate(&self, rate: f64) {
        self.traffic.set_rate(rate);
    }

    /// Everything that can be asked of it.
    pub fn status(&self) -> Json {
        let environment: BTreeMap<&str, String> = self.environment().into_iter().collect();
        json!({
            "supervisor": std::process::id(),
            "scenario": self.options.scenario,
            "environment": environment,
            "wiki": self.wiki(),
            "web_url": format!("http://{}/", self.platform.router()),
            "requests": self.options.dir.join("heroku/requests.jsonl"),
            "general_log": self.server.general_log(),
            "database_url": self.server.url(),
            "overseer_url": self.server.overseer_url(),
            "database": self.server.counters().ok(),
            "pages": self.seen(),
            "dynos": self.platform.dynos(),
        })
    }
}
