//! `runbook list`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::library::{self, Found};
use super::output::{beside, data, page_width, talk};
use crate::plan::check_among;
use crate::reporter::wrap;
use crate::spec::InputSpec;

/// Where the words about an input begin.
const COLUMN: usize = 26;

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
    let width = page_width();
    let mut rows = Vec::new();
    let mut out = String::new();
    let texts = found.iter().filter_map(|known| Some((known.name.clone(), known.source.as_ref().ok()?)));
    let library = texts.map(|(name, source)| (name, source.text.to_string())).collect();
    for runbook in &found {
        let (text, row) = entry(runbook, &library, width);
        out.push_str(&text);
        rows.push(row);
    }
    if args.json {
        data(&format!("{}\n", serde_json::Value::Array(rows)));
    } else {
        out.push_str("`runbook explain NAME` tells its steps; `--set NAME=VALUE` sets an input.\n");
        data(&out);
    }
    0
}

/// One runbook, as text and as JSON.
fn entry(runbook: &Found, library: &BTreeMap<String, String>, width: usize) -> (String, serde_json::Value) {
    let name = crate::source::escape_controls(&runbook.name);
    let from = match (&runbook.source, runbook.shadows) {
        (Ok(source), true) => format!("{} (instead of the embedded one)", source.name),
        (Ok(source), false) => source.name.to_string(),
        (Err(stop), _) => {
            let why = stop.text.trim_start_matches("error: ");
            let text = beside(&format!("{name}\n"), &format!("NOT USABLE: {why}"), 2, width);
            return (
                format!("{text}\n"),
                serde_json::json!({ "name": runbook.name, "valid": false, "why": why }),
            );
        }
    };
    let Ok(source) = &runbook.source else { return Default::default() };
    let mut out = format!("{name}\n");
    let checked = match check_among(source, library) {
        Ok(checked) => checked,
        Err(faults) => {
            let told =
                format!("NOT VALID: {} faults; `runbook check {}` shows them", faults.len(), source.name);
            out.push_str(&beside("", &told, 2, width));
            out.push('\n');
            let row = serde_json::json!({ "name": runbook.name, "from": from_json(runbook), "valid": false });
            return (out, row);
        }
    };
    let book = &checked.runbook;
    out.push_str(&beside("", &book.summary, 2, width));
    out.push_str(&beside("", &format!("from {from}"), 2, width));
    out.push_str(&inputs(&book.inputs, "  ", width));
    out.push('\n');
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
    let row = serde_json::json!({
        "name": runbook.name, "summary": book.summary, "from": from_json(runbook), "shadows": runbook.shadows,
        "inputs": inputs, "valid": true,
    });
    (out, row)
}

fn from_json(runbook: &Found) -> Option<String> {
    runbook.source.as_ref().ok().map(|source| source.name.to_string())
}

/// The inputs, one a line: name, default, what it means, what it takes.
pub(super) fn inputs(specs: &[InputSpec], pad: &str, width: usize) -> String {
    specs
        .iter()
        .map(|input| {
            let label = match &input.default {
                Some(default) => format!("{pad}{} = {}", input.name.value, default.value.replace('\n', " ")),
                None => format!("{pad}{} = …", input.name.value),
            };
            let label = wrap(&label, width, COLUMN);
            let mut text = input.about.clone().unwrap_or_default();
            let takes = if input.default.is_none() {
                format!("must be set: {}", input.takes())
            } else {
                input.range()
            };
            match (text.is_empty(), takes.is_empty()) {
                (true, _) => text = takes,
                (false, false) => text.push_str(&format!(" ({takes})")),
                (false, true) => {}
            }
            beside(&label, &text, COLUMN, width)
        })
        .collect()
}
