//! `runbook explain NAME --by-hand`: the heroku, git and mysql commands of a runbook with their values in place, so that
//! work goes on when this tool cannot. It asks nothing of the network.

use super::explain::written;
use super::output::beside;
use crate::action::{measure, preamble};
use crate::expr::Expr;
use crate::expr::units::write_duration;
use crate::health::Metric;
use crate::plan::{AfterGate, Body, Gate, Plan, Step};
use crate::reporter::wrap;
use crate::source::escape_controls;
use crate::spec::{Runbook, StepSpec};

/// The page.
pub(super) fn page(book: &Runbook, plan: &Plan, width: usize) -> String {
    let app = plan.record.target.app.as_str();
    let on = if app.is_empty() { "the app in $APP".to_owned() } else { app.to_owned() };
    let mut page = Page { app, width, out: String::new() };
    page.paragraph(0, &format!("# {} by hand, on {on}", book.name.value));
    page.paragraph(
        0,
        "What this runbook does, as commands in their order, for when the tool cannot do it. A person is the gate: look \
         at each condition, and stop where one does not hold. Run it from the app's working tree, with a git remote \
         called `heroku`.",
    );
    if app.is_empty() {
        page.paragraph(0, "No app is named: set it first, `export APP=NAME`, or give `-a NAME`.");
    }
    page.paragraph(0, "## Once, in the shell");
    page.commands(0, &preamble(app));
    page.paragraph(0, &format!("`healthy` means: `{}`", plan.healthy));
    page.commands(0, &page.readings(&plan.healthy));
    page.paragraph(0, "## Steps");
    for (index, step) in plan.steps.iter().enumerate() {
        page.step(step, &book.steps, &format!("{}.", index + 1), 0);
    }
    if !plan.when_shut.is_empty() {
        page.paragraph(0, "## When a condition does not come to hold");
        for line in &plan.when_shut {
            page.out.push_str(&beside("-", line, 2, width));
        }
    }
    page.out
}

struct Page<'p> {
    app: &'p str,
    width: usize,
    out: String,
}

impl Page<'_> {
    fn paragraph(&mut self, indent: usize, text: &str) {
        let text = wrap(&escape_controls(text), self.width.saturating_sub(indent), indent);
        self.out.push_str(&format!("{}{text}\n\n", " ".repeat(indent)));
    }

    /// Commands are never broken: they are to be pasted.
    fn commands(&mut self, indent: usize, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        for line in lines {
            self.out.push_str(&format!("{}{}\n", " ".repeat(indent + 4), escape_controls(line)));
        }
        self.out.push('\n');
    }

    fn line(&mut self, indent: usize, text: &str) {
        let mark = format!("{}   -", " ".repeat(indent));
        self.out.push_str(&beside(&mark, &escape_controls(text), indent + 5, self.width));
    }

    /// How the metrics that a condition names are read.
    fn readings(&self, until: &Expr) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for name in until.names() {
            if let Some(metric) = Metric::named(name) {
                for line in measure(metric, self.app) {
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                }
            }
        }
        lines
    }

    fn condition(&mut self, indent: usize, what: &str, until: &Expr) {
        self.line(indent, &format!("{what} `{until}`"));
        let readings = self.readings(until);
        if !readings.is_empty() {
            self.out.push('\n');
        }
        self.commands(indent + 3, &readings);
    }

    fn gate(&mut self, indent: usize, what: &str, gate: &Gate) {
        let time = |time: std::time::Duration| write_duration(time.as_secs_f64());
        let hold = if gate.hold.is_zero() { String::new() } else { format!(", for {}", time(gate.hold)) };
        let within = time(gate.within);
        self.condition(indent, &format!("{what} (within {within}{hold}), this must hold:"), &gate.until);
    }

    fn step(&mut self, step: &Step, specs: &[StepSpec], number: &str, indent: usize) {
        let pad = " ".repeat(indent);
        let head = if step.name == step.id {
            format!("**{}**", step.id)
        } else {
            format!("**{}**: {}", step.id, step.name)
        };
        self.out.push_str(&beside(&format!("{pad}{number}"), &head, indent + 3, self.width));
        if let Some(text) = written(step, specs) {
            self.line(indent, &format!("as the runbook has it: `{text}`"));
        }
        if step.always {
            self.line(indent, "at the end, whatever happened");
        }
        if let Some(when) = &step.when {
            self.condition(indent, "only when", when);
        }
        if let Some(gate) = &step.before {
            self.gate(indent, "before it", gate);
        }
        match &step.body {
            Body::Verb(action) => {
                if let Some(awaits) = action.awaits() {
                    let within = awaits.within.unwrap_or_default();
                    if let Ok(until) = Expr::parse(awaits.until) {
                        let gate = Gate { until: until.into(), hold: awaits.hold, within, early: false };
                        let what = if awaits.within.is_some() { "look until it holds" } else { "now" };
                        self.gate(indent, what, &gate);
                    }
                }
                let lines = action.by_hand(self.app, &step.bindings);
                self.out.push('\n');
                self.commands(indent + 3, &lines);
            }
            Body::Ladder(ladder) => {
                self.gate(
                    indent,
                    "look first, and after each of these; stop at the first after which it holds",
                    &ladder.gate,
                );
                let specs = crate::cli::explain::rungs_of(step, specs);
                for (index, rung) in ladder.rungs.iter().enumerate() {
                    self.step(rung, specs, &format!("{}.", index + 1), indent + 3);
                }
            }
        }
        match &step.after {
            AfterGate::Own(gate) | AfterGate::IfChanged(gate) => self.gate(indent, "after it", gate),
            AfterGate::Default(within) => {
                self.line(
                    indent,
                    &format!(
                        "after it (within {}), usage must not be more than 2 points above what it was",
                        write_duration(within.as_secs_f64())
                    ),
                );
                let readings = measure(Metric::Usage, self.app);
                self.out.push('\n');
                self.commands(indent + 3, &readings);
            }
            AfterGate::None(_) | AfterGate::NotNeeded => {}
        }
        if let Some(remedy) = &step.remedy {
            self.line(indent, "when what it released does not come to live, take it back:");
            if let Body::Verb(action) = &remedy.body {
                let lines = action.by_hand(self.app, &step.bindings);
                self.out.push('\n');
                self.commands(indent + 3, &lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{EMBEDDED, PlanRecord, Target, build, check};
    use crate::source::Source;

    fn plan(name: &str, text: &str) -> (Runbook, Plan) {
        let source = Source::new(name, text);
        let checked = check(&source).unwrap_or_else(|faults| panic!("{name}: {faults:?}"));
        let record = PlanRecord {
            target: Target { app: "wiki".into(), database: Some("database".into()), ..Target::default() },
            ..checked.plan.record
        };
        (checked.runbook, build(record).unwrap_or_else(|faults| panic!("{name}: {faults:?}")))
    }

    fn each<'s>(steps: &'s [Step], see: &mut dyn FnMut(&'s Step)) {
        for step in steps {
            see(step);
            if let Body::Ladder(ladder) = &step.body {
                each(&ladder.rungs, see);
            }
            if let Some(remedy) = &step.remedy {
                see(remedy);
            }
        }
    }

    #[test]
    fn every_change_of_every_shipped_runbook_has_a_command_of_its_own() {
        for (name, text) in EMBEDDED {
            let (book, plan) = plan(name, text);
            each(&plan.steps, &mut |step| {
                let Body::Verb(action) = &step.body else { return };
                let lines = action.by_hand("wiki", &step.bindings);
                let commands = lines.iter().filter(|line| !line.starts_with('#')).count();
                assert!(!action.mutates() || commands > 0, "{name}: {}: {lines:?}", step.id);
            });
            let page = page(&book, &plan, 100);
            for line in page.lines() {
                assert!(!line.contains("${{"), "{name}: a value is missing: {line}");
            }
            assert!(page.contains("--app wiki") && !page.contains("$APP"), "{page}");
        }
    }

    #[test]
    fn every_verb_can_be_done_by_hand() {
        for entry in crate::action::VERBS {
            let path = format!("{}/tests/check/verbs/{}/pass.yaml", env!("CARGO_MANIFEST_DIR"), entry.name);
            let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            let (_, plan) = plan(&path, &text);
            let mut found = 0;
            each(&plan.steps, &mut |step| {
                let Body::Verb(action) = &step.body else { return };
                if action.verb() == entry.name {
                    let lines = action.by_hand("wiki", &step.bindings);
                    assert!(!lines.is_empty() || action.awaits().is_some(), "{path}: {}", step.id);
                    found += 1;
                }
            });
            assert!(found > 0, "{path} does not show it");
        }
    }
}
