//! `runbook explain NAME`: a runbook as a page.

use std::path::PathBuf;

use super::by_hand;
use super::library;
use super::list::inputs;
use super::output::{Stop, beside, data, page_width, talk};
use super::run::pairs;
use super::target::app_named;
use crate::action::Bindings;
use crate::expr::Template;
use crate::expr::units::write_duration;
use crate::plan::{
    AfterGate, Body, Checked, Gate, IfUnknown, OnFailure, Plan, PlanRecord, Step, Target, bind_inputs, build,
    check_among,
};
use crate::reporter::wrap;
use crate::source::{Node, NodeKind, render};
use crate::spec::{BodySpec, StepSpec};

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The runbook's name.
    name: String,
    /// Folder of runbooks, read before the embedded ones [default: ./runbooks].
    #[arg(long, value_name = "DIR")]
    runbooks: Option<PathBuf>,
    /// Print the heroku, git and mysql commands that do the same, with their values: for when this tool cannot.
    #[arg(long)]
    by_hand: bool,
    /// The app that the commands name [env: HEROKU_APP] [default: that of the one heroku remote].
    #[arg(long, short = 'a', value_name = "APP", requires = "by_hand")]
    app: Option<String>,
    /// Set an input.
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "by_hand")]
    set: Vec<String>,
    /// The app's git working tree.
    #[arg(short = 'C', value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(super) fn run(args: &ExplainArgs) -> u8 {
    let (_, source) = match library::find(&args.name, args.runbooks.as_deref(), false) {
        Ok(found) => found,
        Err(stop) => {
            talk(&stop.text);
            return stop.code;
        }
    };
    let included = match library::included(&source, args.runbooks.as_deref(), false) {
        Ok(included) => included,
        Err(stop) => {
            talk(&stop.text);
            return stop.code;
        }
    };
    match check_among(&source, &included) {
        Ok(checked) if args.by_hand => match bound(args, &checked) {
            Ok(plan) => {
                data(&by_hand::page(&checked.runbook, &plan, page_width()));
                0
            }
            Err(stop) => {
                talk(&stop.text);
                stop.code
            }
        },
        Ok(checked) => {
            data(&page(&checked, page_width()));
            0
        }
        Err(faults) => {
            talk(render(&source, &faults, console::colors_enabled_stderr()).trim_end());
            3
        }
    }
}

/// The plan with the inputs and the app that were given. Nothing is asked: where no app is known, none is named.
fn bound(args: &ExplainArgs, checked: &Checked) -> Result<Plan, Stop> {
    let usage = |faults: Vec<String>| Stop::new(2, format!("error: {}", faults.join("\nerror: ")));
    let inputs = checked.runbook.inputs.iter().filter(|input| input.default.is_none());
    let mut set = pairs(&args.set)?;
    for input in
        inputs.filter(|input| !args.set.iter().any(|set| set.starts_with(&format!("{}=", input.name.value))))
    {
        // Without a value the page shows one of its kind.
        set.push((input.name.value.clone(), input.specimen().to_string()));
    }
    let inputs = bind_inputs(&checked.runbook.inputs, &set).map_err(usage)?;
    let target = Target {
        app: app_named(args.app.as_deref(), &args.folder).unwrap_or_default(),
        // Its conditions stand as they are written.
        database: Some("database".to_owned()),
        ..Target::default()
    };
    build(PlanRecord { inputs, target, ..checked.plan.record.clone() })
        .map_err(|faults| usage(faults.into_iter().map(|fault| fault.message).collect()))
}

fn page(checked: &Checked, width: usize) -> String {
    let book = &checked.runbook;
    let name = &book.name.value;
    let mut out = format!("# {name}\n\n{}\n\n", wrap(&book.summary, width, 0));
    if let Some(about) = &book.about {
        for part in about.trim().split("\n\n") {
            out.push_str(&format!("{}\n\n", wrap(&part.replace('\n', " "), width, 0)));
        }
    }
    out.push_str(&format!(
        "    runbook run {name} --dry-run   what it would do, from live state\n    runbook run {name}             shows the plan, asks once, runs\n\n"
    ));
    let every = write_duration(checked.plan.every.as_secs_f64());
    let healthy =
        format!("Healthy means `{}`, looked at every {every} during all steps.", checked.plan.healthy);
    out.push_str(&format!("{}\n\n", wrap(&healthy, width, 0)));
    if let Some(deadline) = checked.plan.deadline {
        let deadline = write_duration(deadline.as_secs_f64());
        out.push_str(&format!("The whole run waits no longer than {deadline}.\n\n"));
    }
    if !book.inputs.is_empty() {
        out.push_str("## Inputs, set with `--set NAME=VALUE`\n\n");
        out.push_str(&inputs(&book.inputs, "    ", width));
        out.push('\n');
    }
    if !book.guardrails.rules.is_empty() {
        out.push_str("## Guardrails of its own, besides the team's\n\n");
        for rule in &book.guardrails.rules {
            out.push_str(&beside("-", &rule.limit.to_string(), 2, width));
        }
        out.push('\n');
    }
    out.push_str("## Steps\n\n");
    for (index, step) in checked.plan.steps.iter().enumerate() {
        explain_step(&mut out, step, &book.steps, &format!("{}.", index + 1), 0, width);
    }
    if !checked.plan.when_shut.is_empty() {
        out.push_str("\n## When a gate stays shut (exit 4)\n\n");
        for line in &checked.plan.when_shut {
            out.push_str(&beside("-", line, 2, width));
        }
    }
    out
}

fn gate_words(gate: &Gate) -> String {
    let within = write_duration(gate.within.as_secs_f64());
    if gate.hold.is_zero() {
        format!("`{}` holds, within {within}", gate.until)
    } else {
        format!("`{}` holds for {}, within {within}", gate.until, write_duration(gate.hold.as_secs_f64()))
    }
}

/// What the step does, as its file writes it, and what holds it back.
fn explain_step(
    out: &mut String,
    step: &Step,
    specs: &[StepSpec],
    number: &str,
    indent: usize,
    width: usize,
) {
    let pad = " ".repeat(indent);
    let head = if step.name == step.id {
        format!("**{}**", step.id)
    } else {
        format!("**{}**: {}", step.id, step.name)
    };
    out.push_str(&beside(&format!("{pad}{number}"), &head, indent + 3, width));
    let mut line = |text: String| out.push_str(&beside(&format!("{pad}   -"), &text, indent + 5, width));
    if let Some(given) = written(step, specs) {
        line(format!("`{given}`"));
    }
    if let Some(when) = &step.when {
        let unknown = match step.if_unknown {
            IfUnknown::Run => "runs",
            IfUnknown::Skip => "is skipped",
            IfUnknown::Stop => "ends the run",
        };
        line(format!("only when `{when}`; when that is unknown for 10s, it {unknown}"));
    }
    if let Some(gate) = &step.before {
        line(format!("begins when {}", gate_words(gate)));
    }
    if let Some(retry) = &step.retry {
        line(format!(
            "tried {} more times when it has certainly not happened, first after {}",
            retry.times,
            write_duration(retry.delay.as_secs_f64())
        ));
    }
    match &step.after {
        AfterGate::Own(gate) | AfterGate::IfChanged(gate) => line(format!("done when {}", gate_words(gate))),
        AfterGate::Default(within) => line(format!(
            "default gate: within {}, usage known and at most 2 points above what it was, below 95% if it was full",
            write_duration(within.as_secs_f64())
        )),
        AfterGate::None(reason) => line(format!("no gate: {reason}")),
        AfterGate::NotNeeded => {}
    }
    if let Some(abort) = &step.abort_when {
        line(format!("ends when `{abort}` in two samples in a row"));
    }
    match step.on_failure {
        OnFailure::Stop => {}
        OnFailure::Continue => line("a failure is tolerated: the run goes on".to_owned()),
        OnFailure::Rollback => line("a failure after the release takes the release back".to_owned()),
    }
    if step.cure {
        line("the cure: it goes out whatever the forecast of its peak says".to_owned());
    }
    if step.always {
        line("runs at the end, whatever happened".to_owned());
    }
    if let Body::Ladder(ladder) = &step.body
        && let Some(care) = &ladder.care
    {
        line(format!(
            "watches for {} that `{}` stays; false for {}, it climbs",
            write_duration(care.watch.as_secs_f64()),
            care.until,
            write_duration(care.patience.as_secs_f64())
        ));
        if let Some(again) = &care.again {
            line(format!("the ladder of `{again}` again, from the rung after the one that had healed"));
        }
        if care.again.is_some() || ladder.rungs.is_empty() {
            return;
        }
    }
    if let Body::Ladder(ladder) = &step.body {
        line(format!("ends at the first rung after which {}", gate_words(&ladder.gate)));
        let rungs = rungs_of(step, specs);
        for (index, rung) in ladder.rungs.iter().enumerate() {
            explain_step(out, rung, rungs, &format!("{}.", index + 1), indent + 3, width);
        }
    }
}

/// A step's verb as its file writes it, with the inputs put in.
pub(super) fn written(step: &Step, specs: &[StepSpec]) -> Option<String> {
    let called = |id: &String| specs.iter().find(|spec| spec.id.value == *id);
    let spec = called(&step.id).or_else(|| called(step.repeats.as_ref()?))?;
    let BodySpec::Verb(verb) = &spec.body else { return None };
    let given = flow(&verb.node, &step.bindings);
    let name = verb.entry.name;
    Some(if given.is_empty() { name.to_owned() } else { format!("{name}: {given}") })
}

/// The rungs of a ladder as its file writes them.
pub(super) fn rungs_of<'s>(step: &Step, specs: &'s [StepSpec]) -> &'s [StepSpec] {
    match specs.iter().find(|spec| spec.id.value == step.id).map(|spec| &spec.body) {
        Some(BodySpec::Ladder(ladder)) => &ladder.rungs,
        _ => &[],
    }
}

/// A node on one line, as a person would write it with the inputs put in.
fn flow(node: &Node, bindings: &Bindings) -> String {
    match &node.kind {
        NodeKind::Nothing => String::new(),
        NodeKind::Text(text) => filled(text.value.trim(), bindings).replace('\n', " "),
        NodeKind::List(items) => {
            let items: Vec<_> = items.iter().map(|item| flow(item, bindings)).collect();
            format!("[{}]", items.join(", "))
        }
        NodeKind::Map(entries) => {
            let entries =
                entries.iter().map(|(key, value)| format!("{}: {}", key.value, flow(value, bindings)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

/// The text with its inputs put in; one that also names what only a run knows stays as it is written.
fn filled(text: &str, bindings: &Bindings) -> String {
    match Template::parse(text) {
        Ok(template) if template.names().all(|name| bindings.values.contains_key(name)) => {
            template.fill(bindings)
        }
        _ => text.to_owned(),
    }
}
