//! `runbook list`.

use std::path::PathBuf;

use super::library;
use super::output::{data, talk};
use crate::plan::check;
use crate::spec::InputSpec;

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Folder of runbooks, read before the embedded ones [default: ./runbooks].
    #[arg(long, value_name = "DIR")]
    runbooks: Option<PathBuf>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ListArgs) -> u8 {
    let found = match library::all(args.runbooks.as_deref()) {
        Ok(found) => found,
        Err(stop) => {
            talk(&stop.text);
            return stop.code;
        }
    };
    let mut rows = Vec::new();
    let mut out = String::new();
    for runbook in found {
        let shadows = if runbook.shadows { " (instead of the embedded one)" } else { "" };
        match check(&runbook.source) {
            Ok(checked) => {
                let book = &checked.runbook;
                out.push_str(&format!(
                    "{}\n    {}\n    from {}{shadows}\n",
                    runbook.name, book.summary, runbook.source.name
                ));
                for input in &book.inputs {
                    out.push_str(&format!("    --set {}\n", describe(input)));
                }
                let inputs: Vec<_> = book
                    .inputs
                    .iter()
                    .map(|input| {
                        serde_json::json!({
                            "name": input.name.value, "takes": input.takes(),
                            "default": input.default.as_ref().map(|text| &text.value), "about": input.about,
                        })
                    })
                    .collect();
                rows.push(serde_json::json!({
                    "name": runbook.name, "summary": book.summary, "from": &*runbook.source.name, "inputs": inputs, "valid": true,
                }));
            }
            Err(faults) => {
                out.push_str(&format!(
                    "{}\n    NOT VALID: {} faults; `runbook check {}` shows them\n",
                    runbook.name,
                    faults.len(),
                    runbook.source.name
                ));
                rows.push(serde_json::json!({ "name": runbook.name, "from": &*runbook.source.name, "valid": false }));
            }
        }
        out.push('\n');
    }
    if args.json {
        data(&format!("{}\n", serde_json::Value::Array(rows)));
    } else {
        data(&out);
    }
    0
}

/// `healthy_below=40%   a ratio such as 40%; what the guide promises`.
pub(super) fn describe(input: &InputSpec) -> String {
    let default = input.default.as_ref().map_or("…  (must be set)".to_owned(), |text| text.value.clone());
    let about = input.about.as_ref().map_or(String::new(), |about| format!("; {about}"));
    format!("{}={default}  ({}{about})", input.name.value, input.takes())
}
