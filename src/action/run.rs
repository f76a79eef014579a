//! `run`: a local program, as an argument list, never through a shell and without the tool's credentials.

use std::collections::BTreeMap;

use super::by_hand::{filled, quoted};
use super::forecast;
use super::outputs;
use super::param::{Bindings, Param};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Declared, Done, Next, Output, Preview, Verb};
use crate::expr::{Env, Template};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, Effect};
use crate::source::{Diagnostic, Node, NodeKind, Spanned};

/// Run a local program.
#[derive(Debug)]
pub struct Run {
    argv: Vec<Spanned<String>>,
    changes: Option<Param<bool>>,
    prints: BTreeMap<String, Unit>,
}

impl Verb for Run {
    const NAME: &'static str = "run";
    const ABOUT: &'static str =
        "Run a local program in the working tree's folder; it gets none of the tool's credentials.";
    const SHAPE: &'static Shape = &Shape {
        name: "run",
        fields: &[
            required("argv", Kind::Texts, "Program and arguments, a list; no shell reads it."),
            optional(
                "changes",
                Kind::Truth,
                "Whether it may change anything; such a step is gated. Default: true.",
            ),
            optional(
                outputs::KEY,
                outputs::OUTPUTS,
                "What it prints for later steps, by name: then its stdout is one JSON object with these names (`null` = not known), and its talk belongs on stderr. A name that is missing, or of another type, fails the step.",
            ),
        ],
        short: Some("argv"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] =
        &[Output { name: "exit_code", unit: Unit::Count, about: "always 0: others fail the step" }];

    fn declared(parameters: &Node) -> Vec<Declared> {
        outputs::declared(parameters)
    }

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let single = matches!(reading.node("argv")?.kind, NodeKind::Text(_));
        let argv = reading.texts("argv");
        let fault = match argv.first() {
            Some(program) if single && program.trim().contains(char::is_whitespace) => {
                let fault = Diagnostic::error(
                    program.span,
                    "a program and its arguments are a list: no shell splits this",
                );
                if program.contains(['&', '|', ';', '<', '>', '$', '`', '*', '"', '\'']) {
                    fault.help("write `run: [program, argument]`; two programs are two steps")
                } else {
                    let words: Vec<_> = program.split_whitespace().collect();
                    fault.help(format!("write `run: [{}]`", words.join(", ")))
                }
            }
            Some(program) if !program.trim().is_empty() => {
                let prints = outputs::read(reading, &["exit_code"]);
                return Some(Self { argv, changes: reading.param("changes"), prints });
            }
            _ => Diagnostic::error(reading.span, "`run` names no program")
                .help("write `run: [program, argument]`"),
        };
        reading.faults().push(fault);
        None
    }
}

impl Run {
    fn change(&self, scene: &Scene<'_>) -> Change {
        let argv = self.argv.iter().map(|text| scene.fill(text)).collect();
        Change::Command { argv, prints: self.prints.clone() }
    }
}

impl Action for Run {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        self.changes.as_ref().is_none_or(|changes| changes.or(true))
    }

    fn texts(&self) -> Vec<&Spanned<String>> {
        self.argv.iter().collect()
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        super::param::bind_some(&mut self.changes, bindings, &mut faults);
        if let Some(program) = self.argv.first()
            && Template::parse(program)
                .is_ok_and(|template| template.names().any(|name| !bindings.values.contains_key(name)))
        {
            let fault = Diagnostic::error(program.span, "the program is known before the run, or not run");
            faults.push(
                fault.help("its arguments may name outputs of earlier steps, the program itself inputs"),
            );
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = app;
        let words: Vec<_> = self.argv.iter().map(|text| quoted(&filled(text, bindings))).collect();
        vec![words.join(" ")]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        // What only an earlier step will tell stays as it is written.
        let known = |text: &Spanned<String>| {
            let known = |name: &str| scene.value(name).is_some();
            Template::parse(text).is_ok_and(|template| template.names().all(known))
        };
        let shown = |text: &Spanned<String>| if known(text) { scene.fill(text) } else { text.value.clone() };
        let argv = self.argv.iter().map(shown).collect();
        let change = Change::Command { argv, prints: self.prints.clone() };
        Ok(Preview {
            summary: "run a local program".to_owned(),
            requests: vec![change.request(scene.app)],
            unknown: vec!["what it does: this tool cannot look inside it".to_owned()],
            forecast: if self.mutates() {
                forecast::unknown(scene, "what the program does to them is not known")
            } else {
                None
            },
            ..Preview::default()
        })
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let Some(made) = progress.made.last() else {
            return Ok(Next::Change { change: self.change(scene), before: Before::default() });
        };
        let Effect::Ran { output, printed } = &made.effect else {
            // A person has said so; what it printed nobody knows.
            return Ok(Next::Done(Done { summary: "it has run".to_owned(), ..Done::default() }));
        };
        let mut outputs = printed.clone();
        let told: Vec<_> = printed.iter().map(|(name, value)| format!("{name} {value}")).collect();
        outputs.insert("exit_code".to_owned(), Value::Count(0.0));
        let told = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
        let summary = format!("ended with exit code 0{told}");
        Ok(Next::Done(Done { summary, outputs, notes: output.clone(), ..Done::default() }))
    }
}
