//! The command line: one file per command. The only module that reads the environment.

mod app_files;
mod audit;
mod by_hand;
mod check;
mod credentials;
mod diagnose;
mod environment;
mod explain;
mod guardrails;
mod handoff;
mod health;
mod kill_idle;
#[cfg(feature = "lab")]
mod lab;
mod library;
mod list;
mod manner;
mod measure;
mod new;
mod notices;
mod output;
mod past;
mod preview;
mod readme;
mod resume;
mod run;
mod runs;
mod schema;
mod session;
mod show;
mod signals;
mod target;
mod undo;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::reporter::last_line;

/// Executes incident runbooks against a Heroku app and its MariaDB database, and gates every step on measured
/// connection health.
#[derive(Debug, Parser)]
#[command(name = "runbook", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a runbook: shows the plan, asks once, runs it step by step.
    Run(Box<run::RunArgs>),
    /// Go on with a run that was paused, or whose process died.
    Resume(Box<resume::ResumeArgs>),
    /// Take back what a run has changed, newest first: itself a plan, with preview, journal and resume.
    Undo(Box<undo::UndoArgs>),
    /// Say how it is now, in one line; with --require, whether a condition holds. Changes nothing.
    Health(Box<health::HealthArgs>),
    /// Say who holds the connections and why, what changed, and what to do. Changes nothing.
    Diagnose(Box<diagnose::DiagnoseArgs>),
    /// End idle database sessions: the shipped runbook `kill-idle`, with plan, question and journal.
    KillIdle(Box<kill_idle::KillIdleArgs>),
    /// List the runbooks: where each comes from, what it does, its inputs.
    List(list::ListArgs),
    /// Check runbook files, and with `-C DIR` the app's own files, without running anything.
    Check(check::CheckArgs),
    /// Explain a runbook as a page (Markdown).
    Explain(explain::ExplainArgs),
    /// Write a commented runbook to start from.
    New(new::NewArgs),
    /// Hand a run over: pack it into one file, or take one that a colleague has packed.
    Handoff(handoff::HandoffArgs),
    /// List the runs on this machine.
    Runs(runs::RunsArgs),
    /// Tell a run again from its journal.
    Show(show::ShowArgs),
    /// Print the JSON schema of the runbook format, for editors.
    Schema(schema::SchemaArgs),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// The rehearsal lab: a private MariaDB, a Heroku simulator and a leaky wiki on this machine.
    #[cfg(feature = "lab")]
    Lab(lab::LabArgs),
}

/// Commands whose `--json` is a stream with a last line.
const STREAMS: [&str; 6] = ["run", "resume", "undo", "health", "diagnose", "kill-idle"];

/// Runs the program with this process's arguments and returns its exit code (see `docs/exit-codes.md`).
pub fn main() -> u8 {
    let parsed = Cli::command()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, check::names_folder(&matches))));
    let (cli, names_folder) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // What was typed may be what was pasted.
            if error.use_stderr() && error.to_string().chars().any(|c| c != '\n' && crate::source::hides(c)) {
                output::talk(error.to_string().trim_end());
            } else {
                let _ = error.print();
            }
            if !error.use_stderr() {
                return 0;
            }
            let mut arguments = std::env::args_os().skip(1);
            if arguments.next().is_some_and(|command| STREAMS.iter().any(|known| command == *known))
                && arguments.any(|text| text == "--json")
            {
                // Who reads the stream gets its last line, also when the line that started it was wrong.
                let why = error.to_string();
                let why = why.lines().next().unwrap_or_default().trim_start_matches("error: ");
                output::data(&format!("{}\n", last_line(1, None, run::outcome_of(2), 2, why)));
            }
            return 2;
        }
    };
    crate::platform::install_crypto();
    match &cli.command {
        Command::Run(args) => args.target.warn(),
        Command::Check(args) => args.target.warn(),
        Command::Resume(args) => args.target.warn(),
        Command::Undo(args) => args.target.warn(),
        Command::Health(args) => args.target.warn(),
        Command::KillIdle(args) => args.target.warn(),
        Command::Diagnose(args) => args.target.warn(),
        _ => {}
    }
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Resume(args) => resume::run(&args),
        Command::Undo(args) => undo::run(&args),
        Command::Health(args) => health::run(&args),
        Command::KillIdle(args) => kill_idle::run(&args),
        Command::Diagnose(args) => diagnose::run(&args),
        Command::List(args) => list::run(&args),
        Command::Check(args) => check::run(&args, names_folder),
        Command::Explain(args) => explain::run(&args),
        Command::New(args) => new::run(&args),
        Command::Handoff(args) => handoff::run(&args),
        Command::Runs(args) => runs::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Completions { shell } => {
            let mut command = Cli::command();
            // Through memory: the generator panics when its reader has left.
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, "runbook", &mut text);
            output::data(&String::from_utf8_lossy(&text));
            0
        }
        #[cfg(feature = "lab")]
        Command::Lab(args) => lab::run(&args),
    }
}
