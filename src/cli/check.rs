//! `runbook check FILE…`.

use std::path::PathBuf;

use super::library;
use super::output::{data, talk};
use crate::plan::check;
use crate::source::{Diagnostic, Severity, Source, render};

#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Runbook files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Diagnostics as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &CheckArgs) -> u8 {
    let mut code = 0;
    for file in &args.files {
        let source = match library::read(file) {
            Ok(source) => source,
            Err(stop) => {
                talk(&stop.text);
                code = code.max(stop.code);
                continue;
            }
        };
        let (faults, valid) = match check(&source) {
            Ok(checked) => (checked.warnings, true),
            Err(faults) => (faults, false),
        };
        if !valid {
            code = code.max(3);
        }
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
    }
    code
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
