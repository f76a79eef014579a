//! `runbook check FILE…`, and with `-C DIR` the app's own files.

use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::app_files::{self, BudgetArgs};
use super::library;
use super::output::{Stop, data, talk};
use super::target::TargetArgs;
use crate::guard::is_guardrails;
use crate::plan::check_among;
use crate::source::{Diagnostic, Severity, Source, render};

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Runbook files, or files of guardrails.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    budget: BudgetArgs,
    /// Diagnostics as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Whether the command line names the app's folder.
pub(super) fn names_folder(matches: &ArgMatches) -> bool {
    let check = matches.subcommand_matches("check");
    check.is_some_and(|check| check.value_source("folder") == Some(ValueSource::CommandLine))
}

pub(super) fn run(args: &CheckArgs, names_folder: bool) -> u8 {
    let mut code = 0;
    if args.files.is_empty() && !names_folder && !args.target.names_app() {
        talk(
            "error: nothing is named\n  hint: `runbook check FILE…` checks runbooks, `runbook check -C .` the app's own files",
        );
        return 2;
    }
    for file in &args.files {
        code = code.max(check_file(args, file));
    }
    if names_folder || args.target.names_app() {
        let told = app_files::check(&args.target, &args.budget, args.json)
            .unwrap_or_else(|stop| refused(args.json, &stop));
        code = code.max(told);
    }
    code
}

fn refused(json: bool, stop: &Stop) -> u8 {
    if json {
        let row = serde_json::json!({ "severity": "error", "message": stop.plain() });
        data(&format!("{row}\n"));
    } else {
        talk(&stop.text);
    }
    stop.code
}

/// Checks one file, says what there is to say, and returns its exit code.
fn check_file(args: &CheckArgs, file: &Path) -> u8 {
    let source = match library::read(file) {
        Ok(source) => source,
        Err(stop) => {
            if args.json {
                let why = stop.text.trim_start_matches("error: ");
                let row = serde_json::json!({ "file": file.display().to_string(), "severity": "error", "message": why });
                data(&format!("{row}\n"));
            } else {
                talk(&stop.text);
            }
            return stop.code;
        }
    };
    let (faults, valid) = if is_guardrails(&source) || super::guardrails::is_named_so(file) {
        crate::guard::read(&source).map_or_else(|faults| (faults, false), |_| (Vec::new(), true))
    } else {
        let included = match library::included(&source, None, false) {
            Ok(included) => included,
            Err(stop) => return refused(args.json, &stop),
        };
        match check_among(&source, &included) {
            Ok(checked) => {
                let mut warnings = checked.warnings;
                warnings.extend(misnamed(file, &checked.runbook));
                (warnings, true)
            }
            Err(faults) => (faults, false),
        }
    };
    if args.json {
        for fault in &faults {
            data(&format!("{}\n", as_json(&source, fault)));
        }
    } else {
        if !faults.is_empty() {
            talk(render(&source, &faults, console::colors_enabled_stderr()).trim_end());
        }
        if valid {
            talk(&format!("{}: valid", source.name));
        }
    }
    if valid { 0 } else { 3 }
}

/// A runbook is found by its file's name, and refuses to run under another one.
fn misnamed(file: &Path, runbook: &crate::spec::Runbook) -> Option<Diagnostic> {
    let stem = file.file_stem()?.to_str()?;
    let name = &runbook.name;
    (stem != name.value).then(|| {
        Diagnostic::error(name.span, format!("the file is called `{}`", crate::source::escape_controls(stem)))
            .warning()
            .help(format!("`runbook run {}` looks for `{0}.yaml`: give both the same name", name.value))
    })
}

fn as_json(source: &Source, fault: &Diagnostic) -> serde_json::Value {
    let (line, column) = source.place(fault.span.start);
    serde_json::json!({
        "file": &*source.name, "line": line, "column": column,
        "severity": if fault.severity == Severity::Error { "error" } else { "warning" },
        "message": fault.message, "help": fault.help,
    })
}
