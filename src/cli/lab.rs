//! `runbook lab`: brings a rehearsal up, runs a runbook against it, and takes it down again.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::environment;
use super::output::{data, talk};
use crate::lab::control::Control;
use crate::lab::folder::{self, Folder, Holder};
use crate::lab::repository::Fix;
use crate::lab::scenario::Scenario;
use crate::lab::site::{Attendant, Options, Site};
use crate::lab::watch::{self, Watch};
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
        /// Before it, follow the guide by hand in a rehearsal of its own, with its `sleep 30`: the time to compare.
        #[arg(long)]
        by_hand: bool,
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
    Watch {
        #[command(flatten)]
        dir: DirArgs,
        #[arg(long)]
        keep: bool,
    },
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
        let dir = self.dir.clone().unwrap_or_else(|| {
            std::env::temp_dir().join(format!("runbook-lab-{}", rustix::process::getuid().as_raw()))
        });
        std::path::absolute(&dir).unwrap_or(dir)
    }
}

impl SiteArgs {
    fn options(&self) -> Result<Options, String> {
        if !(0.1..=100.0).contains(&self.time_scale) {
            return Err("--time-scale takes 0.1 to 100".to_owned());
        }
        Ok(Options {
            dir: self.dir.path(),
            path: environment::text("PATH").unwrap_or_default().into(),
            scenario: self.scenario,
            fix: self.fix,
            time_scale: self.time_scale,
            limit: self.limit,
            dynos: self.dynos,
            preboot: self.preboot,
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
        LabCommand::Run { name, site, by_hand, arguments } => rehearse(name, site, *by_hand, arguments),
        LabCommand::Env(dir) => exports(&dir.path()),
        LabCommand::Status { dir, json } => status(&dir.path(), *json),
        LabCommand::Down(dir) => down(&dir.path()),
        LabCommand::Rate { rate, dir } => {
            control::ask(&dir.path(), &format!("rate {rate}")).map(|_| 0).map_err(|_| absent(&dir.path()))
        }
        LabCommand::Serve(site) => serve(site),
        LabCommand::Watch { dir, keep } => keep_watch(&dir.path(), *keep),
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

/// The last signal to end; the work in hand sees it and ends.
#[derive(Clone)]
struct Signal(Arc<AtomicUsize>);

impl Signal {
    fn catch() -> Result<Self, String> {
        let caught = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let number = usize::try_from(signal).unwrap_or(1);
            signal_hook::flag::register_usize(signal, Arc::clone(&caught), number)
                .map_err(|error| error.to_string())?;
        }
        Ok(Self(caught))
    }

    fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// A failure, unless it is the answer to a signal: then 130.
    fn unless_interrupted(&self, why: String) -> Result<u8, String> {
        if !self.came() {
            return Err(why);
        }
        talk(&format!("lab: {why}"));
        Ok(130)
    }

    /// The terminal's Ctrl-C, which its whole foreground group gets.
    fn was_ctrl_c(&self) -> bool {
        usize::try_from(SIGINT) == Ok(self.0.load(Ordering::Relaxed))
    }
}

/// Where a lab in the background says what it does: beside its folder, which is gone when it fails.
fn log_of(dir: &Path) -> PathBuf {
    let mut name = dir.as_os_str().to_owned();
    name.push(".log");
    PathBuf::from(name)
}

fn up(args: &SiteArgs) -> Result<u8, String> {
    let options = args.options()?;
    let dir = &options.dir;
    let signal = Signal::catch()?;
    if folder::holder(dir).is_ok_and(|holder| holder == Holder::Alive) {
        return Err(format!(
            "a rehearsal is running in {}\n  hint: `runbook lab down` ends it, `--dir` names another folder",
            dir.display()
        ));
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    }
    let log = log_of(dir);
    let mut command = door::command(own);
    command.args(["lab", "serve"]).args(args.arguments(dir)).current_dir("/");
    let _ = std::fs::remove_file(&log);
    door::log_to(&mut command, &log).map_err(|error| format!("{}: {error}", log.display()))?;
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    talk(&format!("starting a rehearsal of the incident in {}", dir.display()));
    let mut ended = false;
    let ready = door::wait_until(Duration::from_secs(240), || {
        ended = !matches!(child.try_wait(), Ok(None));
        ended
            || signal.came()
            || control::ask(dir, "status").is_ok_and(|status| status["supervisor"] == child.id())
    });
    if ended || !ready || signal.came() {
        door::stop(&mut child, Duration::from_secs(20));
        let told = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        let end: Vec<&str> = told.lines().rev().take(15).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        let why = format!("it did not come up\n{}", end.join("\n"));
        return signal.unless_interrupted(why);
    }
    status(dir, false)?;
    let named = args
        .dir
        .dir
        .as_ref()
        .map_or(String::new(), |_| format!(" --dir {}", door::shell_word(&dir.display().to_string())));
    data(&format!(
        "\nnext:\n  eval \"$(runbook lab env{named})\"\n  runbook run deploy-fix --dry-run\n  runbook lab down{named}\n"
    ));
    Ok(0)
}

/// Takes the folder and starts a rehearsal in it; `stop` ends the start as well.
fn start(options: Options, keep: bool, attendant: &Attendant<'_>) -> Result<(Site, Control), String> {
    let dir = options.dir.clone();
    let place = |error: std::io::Error| format!("{}: {error}", dir.display());
    let (folder, replaced) = Folder::take(&dir, keep).map_err(|error| error.to_string())?;
    if replaced {
        (attendant.say)("an earlier rehearsal had died here: what it left was cleared away");
    }
    let watch = Watch::start(&dir, keep).map_err(place)?;
    let control = Control::open(&dir).map_err(place)?;
    let stop = || (attendant.stop)() || control.ended();
    let attendant = Attendant { say: attendant.say, stop: &stop };
    let site = Site::start(options, folder, watch, &attendant).map_err(|error| error.to_string())?;
    Ok((site, control))
}

fn serve(args: &SiteArgs) -> Result<u8, String> {
    let signal = Signal::catch()?;
    let stop = || signal.came();
    let options = args.options()?;
    let log = log_of(&options.dir);
    let (site, control) = start(options, args.keep, &Attendant { say: &talk, stop: &stop })?;
    control.serve(&site, stop);
    drop(site);
    let _ = std::fs::remove_file(log);
    Ok(0)
}

/// The watch outlives signals that end the lab: it ends when the lab's end of its pipe does.
fn keep_watch(dir: &Path, keep: bool) -> Result<u8, String> {
    let _deaf = Signal::catch()?;
    watch::run(dir, keep, std::io::stdin().lock()).map_err(|error| error.to_string())?;
    if !keep && !dir.exists() {
        let _ = std::fs::remove_file(log_of(dir));
    }
    Ok(0)
}

/// Variables of the person's own that point the tool at something else than the rehearsal.
const DIVERTING: [&str; 4] =
    ["RUNBOOK_DATABASE_URL", "RUNBOOK_DATABASE_URL_FILE", "RUNBOOK_DATABASE_URL_COMMAND", "RUNBOOK_APP_URL"];

fn exports(dir: &Path) -> Result<u8, String> {
    let status = control::ask(dir, "status").map_err(|_| absent(dir))?;
    let Some(environment) = status["environment"].as_object() else {
        return Err(format!("the rehearsal in {} is still starting", dir.display()));
    };
    // What would steer the tool past the rehearsal is taken away.
    let mut text = format!("unset {}\n", DIVERTING.join(" "));
    for (name, value) in environment {
        let value = door::shell_word(value.as_str().unwrap_or_default());
        text.push_str(&format!("export {name}={value}\n"));
    }
    text.push_str(&format!("cd {}\n", door::shell_word(status["wiki"].as_str().unwrap_or_default())));
    data(&text);
    Ok(0)
}

fn status(dir: &Path, json: bool) -> Result<u8, String> {
    let status = control::ask(dir, "status").map_err(|_| absent(dir))?;
    if json {
        data(&format!("{status}\n"));
        return Ok(0);
    }
    if status["starting"] == true {
        data("starting     the incident is not there yet\n");
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
    let place = dir.display();
    let mut last = None;
    // One that has just begun to start may not listen yet.
    door::wait_until(Duration::from_secs(20), || {
        last = match folder::holder(dir) {
            Ok(Holder::Nobody) => Some(Err(absent(dir))),
            Ok(Holder::Dead) => Some(
                folder::clear(dir)
                    .map(|()| drop(std::fs::remove_file(log_of(dir))))
                    .map(|()| "the rehearsal had died; what it left is cleared away")
                    .map_err(|error| format!("{place}: {error}")),
            ),
            Ok(Holder::Alive) => match control::down(dir, Duration::from_secs(60)) {
                Ok(()) => Some(Ok("the rehearsal has ended")),
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                    Some(Err(format!("it was told to end: {error}, in {place}")))
                }
                Err(_) => None,
            },
            Err(error) => Some(Err(format!("{place}: {error}"))),
        };
        last.is_some()
    });
    talk(last.unwrap_or_else(|| Err(format!("the rehearsal in {place} does not answer")))?);
    Ok(0)
}

fn told(site: &Site) -> Result<String, String> {
    let now = site.counters().map_err(|error| error.to_string())?;
    let pages = site.seen();
    #[expect(clippy::integer_division, reason = "whole percent are enough")]
    let percent = 100 * now.used / now.limit.max(1);
    Ok(format!(
        "{} of {} connections ({percent} %), {} logins refused so far; {} of the last {} pages failed, p95 {} ms",
        now.used, now.limit, now.refused, pages.recent_errors, pages.recent_pages, pages.recent_p95_ms
    ))
}

/// The guide, by hand, in a rehearsal of its own; the result is what it took, seconds.
fn by_hand(args: &SiteArgs, options: Options, attendant: &Attendant<'_>) -> Result<f64, String> {
    let (site, _control) = start(options, args.keep, attendant)?;
    talk(&format!("lab: the guide by hand begins with {}", told(&site)?));
    let begun = door::now();
    site.hands().follow_the_guide(attendant.say, attendant.stop).map_err(|error| error.to_string())?;
    let took = begun.elapsed().as_secs_f64();
    talk(&format!("lab: by hand it took {took:.0} s, and ends with {}\n", told(&site)?));
    Ok(took)
}

fn rehearse(name: &str, args: &SiteArgs, compare: bool, arguments: &[String]) -> Result<u8, String> {
    let mut options = args.options()?;
    if args.dir.dir.is_none() {
        // A rehearsal of its own beside one that is up.
        let mut dir = options.dir.into_os_string();
        dir.push(format!("-{}", std::process::id()));
        options.dir = dir.into();
    }
    let signal = Signal::catch()?;
    let stop = || signal.came();
    let say = |text: &str| talk(&format!("lab: {text}"));
    let attendant = Attendant { say: &say, stop: &stop };
    if compare && name != "deploy-fix" {
        return Err("--by-hand: the guide's commands are those of deploy-fix".to_owned());
    }
    let guide = match compare.then(|| by_hand(args, options.clone(), &attendant)).transpose() {
        Ok(guide) => guide,
        Err(why) => return signal.unless_interrupted(why),
    };
    let (site, _control) = match start(options, args.keep, &attendant) {
        Ok(started) => started,
        Err(why) => return signal.unless_interrupted(why),
    };
    talk(&format!("lab: the incident is there: {}\n", told(&site)?));
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    // Not a group of its own: it owns the terminal while it runs, and gets the terminal's Ctrl-C itself.
    let mut command = door::foreground(own);
    command.args(["run", name]).args(arguments).current_dir(site.wiki());
    for variable in DIVERTING {
        command.env_remove(variable);
    }
    command.envs(site.environment());
    let answered =
        arguments.iter().any(|argument| argument == "--dry-run" || argument == "--yes" || argument == "-y");
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !answered && !terminal {
        command.arg("--yes");
    }
    let begun = door::now();
    let code = attend(&mut command, terminal, &signal)?;
    let took = begun.elapsed().as_secs_f64();
    if !stop() {
        talk(&format!("\nlab: seen from outside: {}", told(&site)?));
        if let Some(guide) = guide {
            talk(&format!(
                "lab: `runbook run {name}` took {took:.0} s; the guide by hand {guide:.0} s, without a person's time to type and to read"
            ));
        }
    }
    talk("lab: taking the rehearsal down");
    drop(site);
    Ok(code)
}

/// Runs the command to its end. A signal that reaches this process alone is passed on once; the terminal's Ctrl-C
/// has reached both, and twice would be another order.
fn attend(command: &mut Command, terminal: bool, signal: &Signal) -> Result<u8, String> {
    command.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut passed_on = false;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(130));
        }
        if signal.came() && !passed_on {
            passed_on = true;
            if !(terminal && signal.was_ctrl_c()) {
                door::ask_to_end(&child);
            }
        }
        door::pause(Duration::from_millis(20));
    }
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
            recycle: number("WIKI_RECYCLE", 0),
            logged_in: number("WIKI_LOGGED_IN", 0) != 0,
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
