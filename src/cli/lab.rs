//! `runbook lab`: brings a rehearsal up, runs a runbook against it, and takes it down again.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::environment;
use super::output::{data, talk};
use crate::lab::repository::Fix;
use crate::lab::scenario::Scenario;
use crate::lab::site::{Options, Site};
use crate::lab::{control, door, heroku, wiki};

#[derive(Debug, clap::Args)]
pub(super) struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, clap::Subcommand)]
enum LabCommand {
    /// Start a rehearsal in the background; returns when the incident is under way.
    Up(SiteArgs),
    /// Start a rehearsal, run a runbook against it, show what visitors saw, take it down.
    Run {
        /// The runbook's name.
        name: String,
        #[command(flatten)]
        site: SiteArgs,
        /// Further arguments of `runbook run`, after `--`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Print the exports that point `runbook` at the rehearsal: `eval "$(runbook lab env)"`.
    Env(DirArgs),
    /// Show the rehearsal: connections, pages, dynos.
    Status {
        #[command(flatten)]
        dir: DirArgs,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the rehearsal and remove its folder.
    Down(DirArgs),
    /// Change the visitors' rate, pages a second.
    Rate {
        /// Pages a second.
        rate: f64,
        #[command(flatten)]
        dir: DirArgs,
    },
    #[command(hide = true)]
    Serve(SiteArgs),
    #[command(hide = true)]
    Wiki {
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    #[command(hide = true)]
    Php {
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    #[command(hide = true)]
    Hook,
}

#[derive(Debug, clap::Args)]
struct DirArgs {
    /// The rehearsal's folder [default: one per user in the system's folder for temporary files].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct SiteArgs {
    #[command(flatten)]
    dir: DirArgs,
    /// The incident.
    #[arg(long, value_enum, default_value = "leak")]
    scenario: Scenario,
    /// What waits in the wiki's working tree [default: the scenario's own].
    #[arg(long, value_enum)]
    fix: Option<Fix>,
    /// How many times faster than the real platform boots, builds and overlaps pass.
    #[arg(long, value_name = "TIMES", default_value_t = 10.0)]
    time_scale: f64,
    /// Connections that the database takes.
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(10..=5000))]
    limit: u32,
    /// Web dynos at the start.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10))]
    dynos: u32,
    /// Switch preboot on.
    #[arg(long)]
    preboot: bool,
    /// Leave the folder behind.
    #[arg(long)]
    keep: bool,
}

impl DirArgs {
    fn path(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("runbook-lab-{}", rustix::process::getuid().as_raw()))
        })
    }
}

impl SiteArgs {
    fn options(&self) -> Result<Options, String> {
        let dir = std::path::absolute(self.dir.path()).map_err(|error| format!("--dir: {error}"))?;
        if !(0.1..=100.0).contains(&self.time_scale) {
            return Err("--time-scale takes 0.1 to 100".to_owned());
        }
        if control::socket(&dir).as_os_str().len() > 90 {
            return Err(format!("--dir {}: the path is too long for a socket", dir.display()));
        }
        Ok(Options {
            dir,
            scenario: self.scenario,
            fix: self.fix,
            time_scale: self.time_scale,
            limit: self.limit,
            dynos: self.dynos,
            preboot: self.preboot,
            keep: self.keep,
        })
    }

    /// As arguments of `lab serve`.
    fn arguments(&self, dir: &Path) -> Vec<String> {
        use clap::ValueEnum;
        let word = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
            value().map_or(String::new(), |value| value.get_name().to_owned())
        };
        let mut arguments = vec![
            format!("--dir={}", dir.display()),
            format!("--scenario={}", word(&|| self.scenario.to_possible_value())),
            format!("--time-scale={}", self.time_scale),
            format!("--limit={}", self.limit),
            format!("--dynos={}", self.dynos),
        ];
        if let Some(fix) = self.fix {
            arguments.push(format!("--fix={}", word(&|| fix.to_possible_value())));
        }
        arguments.extend(self.preboot.then(|| "--preboot".to_owned()));
        arguments.extend(self.keep.then(|| "--keep".to_owned()));
        arguments
    }
}

pub(super) fn run(args: &LabArgs) -> u8 {
    let done = match &args.command {
        LabCommand::Up(site) => up(site),
        LabCommand::Run { name, site, arguments } => rehearse(name, site, arguments),
        LabCommand::Env(dir) => exports(&dir.path()),
        LabCommand::Status { dir, json } => status(&dir.path(), *json),
        LabCommand::Down(dir) => down(&dir.path()),
        LabCommand::Rate { rate, dir } => {
            control::ask(&dir.path(), &format!("rate {rate}")).map(|_| 0).map_err(|_| absent(&dir.path()))
        }
        LabCommand::Serve(site) => serve(site),
        LabCommand::Wiki { arguments } => dyno(arguments, false),
        LabCommand::Php { arguments } => dyno(arguments, true),
        LabCommand::Hook => hook(),
    };
    match done {
        Ok(code) => code,
        Err(why) => {
            talk(&format!("error: lab: {why}"));
            9
        }
    }
}

fn absent(dir: &Path) -> String {
    format!("no rehearsal is running in {}\n  hint: `runbook lab up` starts one", dir.display())
}

/// Set by the first signal; the work in hand sees it and ends.
fn signal_flag() -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&flag)).map_err(|error| error.to_string())?;
    }
    Ok(flag)
}

fn up(args: &SiteArgs) -> Result<u8, String> {
    let options = args.options()?;
    let interrupted = signal_flag()?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    std::fs::create_dir_all(&options.dir).map_err(|error| format!("{}: {error}", options.dir.display()))?;
    let log = options.dir.with_extension("log");
    let mut command = door::command(own);
    command.args(["lab", "serve"]).args(args.arguments(&options.dir));
    door::log_to(&mut command, &log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    talk(&format!("starting a rehearsal of the incident in {}", options.dir.display()));
    let mut ended = false;
    let ready = door::wait_until(Duration::from_secs(180), || {
        ended = !matches!(child.try_wait(), Ok(None));
        ended || interrupted.load(Ordering::Relaxed) || control::ask(&options.dir, "status").is_ok()
    });
    if ended || !ready || interrupted.load(Ordering::Relaxed) {
        door::stop(&mut child, Duration::from_secs(20));
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        let end: Vec<&str> = told.lines().rev().take(15).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        return Err(format!("it did not come up\n{}", end.join("\n")));
    }
    status(&options.dir, false)?;
    data("\nnext:\n  eval \"$(runbook lab env)\"\n  runbook run deploy-fix --dry-run\n  runbook lab down\n");
    Ok(0)
}

fn serve(args: &SiteArgs) -> Result<u8, String> {
    let options = args.options()?;
    let interrupted = signal_flag()?;
    let dir = options.dir.clone();
    let site = Site::start(options, &|text| talk(text)).map_err(|error| error.to_string())?;
    control::serve(&site, &dir, || interrupted.load(Ordering::Relaxed)).map_err(|error| error.to_string())?;
    drop(site);
    let _ = std::fs::remove_file(dir.with_extension("log"));
    Ok(0)
}

fn exports(dir: &Path) -> Result<u8, String> {
    let status = control::ask(dir, "status").map_err(|_| absent(dir))?;
    let mut text = String::new();
    if let Some(environment) = status["environment"].as_object() {
        for (name, value) in environment {
            text.push_str(&format!("export {name}='{}'\n", value.as_str().unwrap_or_default()));
        }
    }
    text.push_str(&format!("cd '{}'\n", status["wiki"].as_str().unwrap_or_default()));
    data(&text);
    Ok(0)
}

fn status(dir: &Path, json: bool) -> Result<u8, String> {
    let status = control::ask(dir, "status").map_err(|_| absent(dir))?;
    if json {
        data(&format!("{status}\n"));
        return Ok(0);
    }
    let database = &status["database"];
    let pages = &status["pages"];
    let mut text = format!(
        "scenario     {}\napp          {} at {}\nconnections  {} of {} ({} asleep), {} refused so far\n",
        status["scenario"].as_str().unwrap_or("?"),
        status["environment"]["HEROKU_APP"].as_str().unwrap_or("?"),
        status["web_url"].as_str().unwrap_or("?"),
        database["used"],
        database["limit"],
        database["sleeping"],
        database["refused"]
    );
    text.push_str(&format!(
        "pages        {} in the last 5 s, {} of them failed, p95 {} ms\n",
        pages["recent_pages"], pages["recent_errors"], pages["recent_p95_ms"]
    ));
    for dyno in status["dynos"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            "dyno         {} {} (v{})\n",
            dyno[0].as_str().unwrap_or("?"),
            dyno[1].as_str().unwrap_or("?"),
            dyno[2]
        ));
    }
    data(&text);
    Ok(0)
}

fn down(dir: &Path) -> Result<u8, String> {
    control::ask(dir, "down").map_err(|_| absent(dir))?;
    if door::wait_until(Duration::from_secs(40), || {
        control::ask(dir, "status").is_err() && !control::socket(dir).exists()
    }) {
        talk("the rehearsal has ended");
        return Ok(0);
    }
    Err(format!("it was told to end, but {} is still there after 40 s", dir.display()))
}

fn rehearse(name: &str, args: &SiteArgs, arguments: &[String]) -> Result<u8, String> {
    let mut options = args.options()?;
    if args.dir.dir.is_none() {
        // A rehearsal of its own beside one that is up.
        options.dir = options.dir.with_extension(std::process::id().to_string());
    }
    let interrupted = signal_flag()?;
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let site =
        Site::start(options, &|text| talk(&format!("lab: {text}"))).map_err(|error| error.to_string())?;
    let before = site.counters().map_err(|error| error.to_string())?;
    let pages = site.seen();
    talk(&format!(
        "lab: the incident is there: {} of {} connections, {} logins refused, {} of the last {} pages failed\n",
        before.used, before.limit, before.refused, pages.recent_errors, pages.recent_pages
    ));
    // Not a group of its own: it owns the terminal while it runs, and gets the terminal's Ctrl-C itself.
    let mut command = door::foreground(own);
    command.args(["run", name]).args(arguments).current_dir(site.wiki()).envs(site.environment());
    let asks =
        arguments.iter().any(|argument| argument == "--dry-run" || argument == "--yes" || argument == "-y");
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !asks && !terminal {
        command.arg("--yes");
    }
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let code = command.status().map_err(|error| error.to_string())?;
    if !interrupted.load(Ordering::Relaxed) {
        let after = site.counters().map_err(|error| error.to_string())?;
        let pages = site.seen();
        talk(&format!(
            "\nlab: seen from outside: {} of {} connections now, {} of the last {} pages failed, p95 {} ms",
            after.used, after.limit, pages.recent_errors, pages.recent_pages, pages.recent_p95_ms
        ));
    }
    talk("lab: taking the rehearsal down");
    drop(site);
    Ok(u8::try_from(code.code().unwrap_or(130)).unwrap_or(1))
}

/// A variable's number.
fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    environment::text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The program of a dyno.
fn dyno(arguments: &[String], script: bool) -> Result<u8, String> {
    let root = std::env::current_dir().map_err(|error| error.to_string())?;
    let database = environment::text("JAWSDB_MARIA_URL").unwrap_or_default();
    if script {
        return Ok(u8::try_from(wiki::php(arguments, &root, &database)).unwrap_or(1));
    }
    let code = wiki::run(
        arguments,
        &root,
        wiki::Environment {
            port: number("PORT", 0),
            database,
            workers: number("WEB_CONCURRENCY", 10),
            links: number("WIKI_LINKS", 1.0),
            slow: Duration::from_millis(number("WIKI_SLOW_MS", 0)),
            churn: number("WIKI_CHURN", 0),
            writes: number("WIKI_WRITES", 0) != 0,
            grace: Duration::from_millis(number("WIKI_GRACE_MS", 1000)),
        },
    );
    Ok(u8::try_from(code).unwrap_or(1))
}

fn hook() -> Result<u8, String> {
    let wanted = |name: &str| environment::text(name).ok_or_else(|| format!("{name} is not set"));
    let code = heroku::hook::run(&heroku::hook::Environment {
        admin: wanted("RUNBOOK_LAB_ADMIN")?,
        token: wanted("RUNBOOK_LAB_TOKEN")?,
        slugs: PathBuf::from(wanted("RUNBOOK_LAB_SLUGS")?),
    })
    .map_err(|error| error.to_string())?;
    Ok(u8::try_from(code).unwrap_or(1))
}
