//! The leaky wiki: the program that a dyno of the lab runs in place of Apache, PHP-FPM and MediaWiki. It reads the
//! files of the commit that was pushed, and so leaks connections or does not. Its database sessions are real.
//!
//! A request takes one connection and, as extensions do, opens more. Without a hook that closes them they stay open,
//! asleep, until the process ends.

use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};
use signal_hook::consts::SIGTERM;
use signal_hook::iterator::Signals;

use super::door;
use super::settings::{Apache, Wiki, apache};

/// How the program is started, beside its arguments.
#[derive(Debug, Clone)]
pub struct Environment {
    /// `PORT`.
    pub port: u16,
    /// `JAWSDB_MARIA_URL`.
    pub database: String,
    /// `WEB_CONCURRENCY`: PHP processes.
    pub workers: u32,
    /// Connections that the extensions of one page open beside its own (below 1: by chance).
    pub links: f64,
    /// What a page's query takes.
    pub slow: Duration,
    /// Connections that a page opens, and closes at its end.
    pub churn: u32,
    /// Pages after which PHP-FPM replaces a process, on average (0 = never).
    pub recycle: u32,
    /// Visitors are logged in: no page comes from a cache.
    pub logged_in: bool,
    /// How long the old program lives on after SIGTERM (requests in hand).
    pub grace: Duration,
}

struct Program {
    environment: Environment,
    settings: Wiki,
    opts: Opts,
    /// Pages after which an Apache child is replaced by a new one, and all its connections end with it.
    child_pages: Option<u32>,
    pages: AtomicU64,
}

/// One PHP process: a worker of PHP-FPM, or a child of an Apache with mod_php.
#[derive(Default)]
struct Process {
    /// The persistent connection that waits for the process's next page.
    kept: Option<Conn>,
    /// What nobody closes.
    leaked: Vec<Conn>,
    pages: u32,
}

#[expect(clippy::print_stderr, reason = "a dyno's program logs to its standard error, as on the platform")]
fn log(text: &str) {
    eprintln!("{text}");
}

/// Runs until SIGTERM; the result is its exit code.
pub fn run(arguments: &[String], root: &Path, environment: Environment) -> i32 {
    log("DOCUMENT_ROOT changed to './'");
    let told = apache(arguments, root);
    let settings = match (&told, std::fs::read_to_string(root.join("LocalSettings.php"))) {
        (Err(why), _) => {
            log(why);
            log("Process exited unexpectedly: httpd");
            return 1;
        }
        (Ok(_), Err(_)) => {
            log("PHP Fatal error:  Uncaught Error: Failed opening required 'LocalSettings.php'");
            return 255;
        }
        (Ok(_), Ok(php)) => Wiki::read(&php),
    };
    let Ok(apache) = told else { return 1 };
    match serve(environment, settings, &apache) {
        Ok(code) => code,
        Err(error) => {
            log(&format!("httpd: {error}"));
            1
        }
    }
}

fn serve(environment: Environment, settings: Wiki, apache: &Apache) -> io::Result<i32> {
    let opts = Opts::from_url(&environment.database).map_err(io::Error::other)?;
    let opts: Opts = OptsBuilder::from_opts(opts)
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 24))
        .tcp_connect_timeout(Some(Duration::from_secs(5)))
        .into();
    let listener = TcpListener::bind(("127.0.0.1", environment.port))?;
    let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
    // PHP-FPM's pool counts, not Apache's workers, unless Apache runs PHP itself (`reference/guide.md`).
    let processes = match (apache.runs_php, apache.max_request_workers) {
        (true, workers) => workers.unwrap_or(256),
        (false, _) => environment.workers,
    };
    let what = if apache.runs_php { "Apache with mod_php" } else { "php-fpm" };
    log(&format!("Starting {what} with {processes} workers..."));
    log(&format!("Application ready for connections on port {}.", environment.port));
    let program = Program {
        opts,
        settings,
        child_pages: apache.max_connections_per_child.filter(|most| apache.runs_php && *most > 0),
        pages: AtomicU64::new(0),
        environment,
    };
    let mut signals = Signals::new([SIGTERM])?;
    std::thread::scope(|scope| {
        for _ in 0..processes.max(1) {
            scope.spawn(|| {
                let mut process = Process::default();
                while let Ok(request) = server.recv() {
                    program.answer(request, &mut process);
                    process.pages += 1;
                    if program.ends(&process) {
                        process = Process::default();
                    }
                }
            });
        }
        let _ = signals.forever().next();
        log("SIGTERM received, attempting graceful shutdown...");
        door::pause(program.environment.grace);
        #[expect(
            clippy::disallowed_methods,
            reason = "the end of a dyno's program: workers may hang in a query"
        )]
        std::process::exit(143)
    })
}

/// What a page failed of.
fn describe(error: &mysql::Error) -> String {
    match error {
        mysql::Error::MySqlError(error) => {
            format!("SQLSTATE[HY000] [{}] {}", error.code, error.message)
        }
        other => format!("SQLSTATE[HY000] [2006] MySQL server has gone away ({other})"),
    }
}

impl Program {
    /// Whether the process has had its share of pages. Processes of a pool do not begin together, so those of PHP-FPM
    /// end by chance and not all at once.
    fn ends(&self, process: &Process) -> bool {
        match self.child_pages {
            Some(most) => process.pages >= most,
            None => self.environment.recycle > 0 && fastrand::u32(0..self.environment.recycle) == 0,
        }
    }

    fn answer(&self, request: tiny_http::Request, process: &mut Process) {
        let path = request.url().to_owned();
        let number = self.pages.fetch_add(1, Ordering::Relaxed);
        let cached = self.settings.cached && !self.environment.logged_in && !number.is_multiple_of(4);
        let (status, body) = if cached {
            (200, page(&path, "from the cache"))
        } else {
            match self.render(number, process) {
                Ok(text) => (200, page(&path, &text)),
                Err(error) => {
                    let told = describe(&error);
                    log(&format!("PHP message: Wikimedia\\Rdbms\\DBConnectionError: {told}"));
                    (
                        500,
                        format!(
                            "<!DOCTYPE html><title>Internal error</title><p>Cannot access the database: {told}</p>"
                        ),
                    )
                }
            }
        };
        let response = tiny_http::Response::from_string(body).with_status_code(status);
        let _ = request.respond(response);
    }

    fn connect(&self) -> mysql::Result<Conn> {
        #[expect(clippy::disallowed_methods, reason = "the wiki opens what the rehearsal is about")]
        Conn::new(self.opts.clone())
    }

    /// The page's own connection: the process's persistent one if that is still good, or a new one.
    fn link(&self, process: &mut Process) -> mysql::Result<Conn> {
        // Without persistent connections none is ever put aside.
        if let Some(mut kept) = process.kept.take()
            && kept.query_drop("SELECT 1").is_ok()
        {
            return Ok(kept);
        }
        self.connect()
    }

    fn render(&self, number: u64, process: &mut Process) -> mysql::Result<String> {
        let mut own = self.link(process)?;
        let rendered = self.render_over(&mut own, number, &mut process.leaked);
        // Even after an error PHP keeps a persistent connection for the next page.
        let good = !matches!(&rendered, Err(error) if !matches!(error, mysql::Error::MySqlError(_)));
        if self.settings.persistent && good {
            process.kept = Some(own);
        }
        rendered
    }

    fn render_over(&self, own: &mut Conn, number: u64, leaked: &mut Vec<Conn>) -> mysql::Result<String> {
        let mut passing = Vec::new();
        for _ in 0..self.environment.churn {
            let mut link = self.connect()?;
            link.query_drop("SELECT 1")?;
            passing.push(link);
        }
        let text: Option<String> =
            own.query_first(format!("SELECT text FROM page WHERE page_id = {}", number % 3 + 1))?;
        let job = if self.settings.job_run_rate > 0.0 { 1.25 } else { 1.0 };
        let wanted = self.environment.links * job;
        let by_chance = f64::from(u8::from(fastrand::f64() < wanted.fract()));
        let mut links = wanted.floor() + by_chance;
        while links >= 1.0 {
            let mut link = self.connect()?;
            link.query_drop("SELECT COUNT(*) FROM page")?;
            if !self.settings.closes {
                leaked.push(link);
            }
            links -= 1.0;
        }
        if !self.environment.slow.is_zero() {
            own.query_drop(format!("SELECT SLEEP({})", self.environment.slow.as_secs_f64()))?;
        }
        Ok(text.unwrap_or_default())
    }
}

fn page(path: &str, text: &str) -> String {
    let path: String = path.chars().filter(|c| c.is_alphanumeric() || "/_-".contains(*c)).collect();
    format!("<!DOCTYPE html><title>{path}</title><p>{text}</p>")
}

/// `php FILE ARGS` of a one-off or release dyno: what the wiki's maintenance scripts do to the database.
pub fn php(arguments: &[String], root: &Path, database: &str) -> i32 {
    let Some(script) = arguments.first() else { return 1 };
    let known = [
        "maintenance/runJobs.php",
        "maintenance/update.php",
        "maintenance/updateSpecialPages.php",
        "maintenance/run.php",
    ];
    if !known.contains(&script.as_str()) && !root.join(script).is_file() {
        log(&format!("Could not open input file: {script}"));
        return 1;
    }
    let done = || -> mysql::Result<()> {
        let opts = Opts::from_url(database).map_err(mysql::Error::UrlError)?;
        #[expect(clippy::disallowed_methods, reason = "a maintenance script has its own connection")]
        let mut conn = Conn::new(OptsBuilder::from_opts(opts).prefer_socket(false))?;
        match script.rsplit('/').next().unwrap_or_default() {
            "runJobs.php" => {
                let most = arguments
                    .iter()
                    .find_map(|argument| argument.strip_prefix("--maxjobs=")?.parse::<u32>().ok())
                    .unwrap_or(u32::MAX);
                conn.query_drop(format!("DELETE FROM job ORDER BY job_id LIMIT {most}"))?;
                log(&format!("{} jobs done", conn.affected_rows()));
            }
            "kill_idle_connections.php" => {
                let idle: Vec<u64> = conn.query(
                    "SELECT id FROM information_schema.processlist WHERE command='Sleep' AND time >= 60",
                )?;
                for id in &idle {
                    // One that has gone meanwhile is no fault of the script's.
                    let _ = conn.query_drop(format!("KILL {id}"));
                }
                log(&format!("{} idle connections killed", idle.len()));
            }
            "check_db_connections.php" => drop(usage(&mut conn)?),
            "diagnose_connections.php" => {
                let used = usage(&mut conn)?;
                let groups: Vec<(String, u64)> = conn
                    .query("SELECT command, COUNT(*) FROM information_schema.processlist GROUP BY command")?;
                for (command, number) in groups {
                    log(&format!("{command:<10} {number}"));
                }
                let low = used < 0.4;
                log(if low { "usage is low" } else { "usage is still high: run kill_idle_connections.php" });
            }
            _ => conn.query_drop("SELECT COUNT(*) FROM page")?,
        }
        Ok(())
    };
    match done() {
        Ok(()) => 0,
        Err(error) => {
            log(&describe(&error));
            1
        }
    }
}

/// Tells how many connections are in use, and gives the share.
fn usage(conn: &mut Conn) -> mysql::Result<f64> {
    let used: Option<(String, f64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Threads_connected'")?;
    let used = used.map_or(0.0, |(_, used)| used);
    let limit: f64 = conn.query_first("SELECT @@max_connections")?.unwrap_or(1.0);
    log(&format!("{used:.0} of {limit:.0} connections in use ({:.0}%)", 100.0 * used / limit));
    Ok(used / limit)
}
