//! `runbook check FILE…`.

use std::path::{Path, PathBuf};

use super::library;
use super::output::{data, talk};
use crate::guard::is_guardrails;
use crate::plan::check;
use crate::source::{Diagnostic, Severity, Source, render};

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Runbook files, or files of guardrails.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Diagnostics as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> u8 {
    let mut code = 0;
    for file in &args.files {
        code = code.max(check_file(args, file));
    }
    code
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
        match check(&source) {
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
    let start = fault.span.start.min(source.text.len());
    let before = &source.text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    serde_json::json!({
        "file": &*source.name, "line": line, "column": column,
        "severity": if fault.severity == Severity::Error { "error" } else { "warning" },
        "message": fault.message, "help": fault.help,
    })
}
