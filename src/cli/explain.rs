//! `runbook explain NAME`: a runbook as a page.

use std::path::PathBuf;

use super::library;
use super::list::describe;
use super::output::{data, talk};
use crate::health::show_seconds;
use crate::plan::{AfterGate, Body, Checked, OnFailure, Step, check};
use crate::source::render;

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The runbook's name.
    name: String,
    /// Folder of runbooks, read before the embedded ones [default: ./runbooks].
    #[arg(long, value_name = "DIR")]
    runbooks: Option<PathBuf>,
}

pub(super) fn run(args: &ExplainArgs) -> u8 {
    let found = match library::find(&args.name, args.runbooks.as_deref(), false) {
        Ok(found) => found,
        Err(stop) => {
            talk(&stop.text);
            return stop.code;
        }
    };
    match check(&found.source) {
        Ok(checked) => {
            data(&page(&checked));
            0
        }
        Err(faults) => {
            talk(render(&found.source, &faults, console::colors_enabled_stderr()).trim_end());
            3
        }
    }
}

fn page(checked: &Checked) -> String {
    let book = &checked.runbook;
    let mut out = format!("# {}\n\n{}\n\n", book.name.value, book.summary);
    if let Some(about) = &book.about {
        out.push_str(&format!("{}\n\n", about.trim()));
    }
    out.push_str(&format!(
        "Healthy means: `{}`. Sampled every {}.\n\n",
        checked.plan.healthy,
        show_seconds(checked.plan.every.as_secs_f64())
    ));
    if !book.inputs.is_empty() {
        out.push_str("## Inputs\n\n");
        for input in &book.inputs {
            out.push_str(&format!("- `--set {}`\n", describe(input)));
        }
        out.push('\n');
    }
    out.push_str("## Steps\n\n");
    for (index, step) in checked.plan.steps.iter().enumerate() {
        explain_step(&mut out, step, &format!("{}.", index + 1), 0);
    }
    if !checked.plan.when_shut.is_empty() {
        out.push_str("\n## When a gate stays shut\n\n");
        for line in &checked.plan.when_shut {
            out.push_str(&format!("- {line}\n"));
        }
    }
    out
}

fn explain_step(out: &mut String, step: &Step, number: &str, indent: usize) {
    let pad = " ".repeat(indent);
    let what = match &step.body {
        Body::Verb(action) => format!("`{}`", action.verb()),
        Body::Ladder(_) => "`ladder`".to_owned(),
    };
    out.push_str(&format!(
        "{pad}{number} **{}** ({what}) {}\n",
        step.id,
        if step.name == step.id { "" } else { &step.name }
    ));
    let mut line = |text: String| out.push_str(&format!("{pad}   - {text}\n"));
    if let Some(when) = &step.when {
        line(format!("only when `{when}`"));
    }
    if let Some(gate) = &step.before {
        line(format!("begins when `{}` (within {})", gate.until, show_seconds(gate.within.as_secs_f64())));
    }
    if let Body::Verb(action) = &step.body
        && let Some(awaits) = action.awaits()
    {
        let within = awaits
            .within
            .map_or("now".to_owned(), |within| format!("within {}", show_seconds(within.as_secs_f64())));
        line(format!("`{}` must hold {within}", awaits.until.value));
    }
    match &step.after {
        AfterGate::Own(gate) => {
            line(format!("gate: `{}` within {}", gate.until, show_seconds(gate.within.as_secs_f64())));
        }
        AfterGate::Default(_) => line("default gate: usage known and not above what it was".to_owned()),
        AfterGate::None(reason) => line(format!("no gate: {reason}")),
        AfterGate::NotNeeded => {}
    }
    match step.on_failure {
        OnFailure::Stop => {}
        OnFailure::Continue => line("a failure is tolerated".to_owned()),
        OnFailure::Rollback => line("a failure after the release takes the release back".to_owned()),
    }
    if step.always {
        line("runs at the end whatever happened".to_owned());
    }
    if let Body::Ladder(ladder) = &step.body {
        line(format!(
            "ends at the first rung after which `{}` holds for {}",
            ladder.gate.until,
            show_seconds(ladder.gate.hold.as_secs_f64())
        ));
        for (index, rung) in ladder.rungs.iter().enumerate() {
            explain_step(out, rung, &format!("{}.", index + 1), indent + 3);
        }
    }
}
