//! `manual`: a person does what no API can, and says so. It changes nothing itself, and it never takes it for done that
//! nobody has said it is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::{filled, remarks};
use super::input::{INPUT, InputSpec};
use super::param::{Bindings, Param};
use super::question::{Answer, Deed, Question, Takes};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Declared, Done, Next, Output, Preview, Status, Verb};
use crate::expr::{Env, Template};
use crate::health::{Unit, Value, show_seconds};
use crate::source::{Diagnostic, Node, NodeKind, Spanned, unknown};

/// What may stand when nobody answers.
const SAFE: &[&str] = &["skip", "stop"];
/// What `--yes` may answer.
const DEEDS: &[&str] = &["done", "skip", "stop"];
/// The shortest and the longest time that a person is waited for.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Have a person do something.
#[derive(Debug)]
pub struct Manual {
    instructions: Spanned<String>,
    url: Option<Spanned<String>>,
    answer: Option<InputSpec>,
    deadline: Option<Param<Duration>>,
    default: Option<Deed>,
    unattended: Option<Deed>,
}

impl Verb for Manual {
    const NAME: &'static str = "manual";
    const ABOUT: &'static str = "Have a person do what no API can: they read the instructions and say done, skip or stop, or give a value that later steps use. A stop ends the run (exit 6); nobody says done for a person.";
    const SHAPE: &'static Shape = &Shape {
        name: "manual",
        fields: &[
            required("instructions", Kind::Text, "What to do, in the person's words; may hold templates."),
            optional("url", Kind::Text, "Where to do it, shown beside them; may hold templates."),
            optional(
                "answer",
                Kind::Map(&INPUT),
                "The value that the person gives, as `steps.ID.answer` for later steps; giving it means done. Without it they say done, skip or stop.",
            ),
            optional(
                "deadline",
                Kind::Duration,
                "How long they are waited for, 1s to 1d; then `default` stands. Without it, as long as it takes.",
            ),
            optional(
                "default",
                Kind::Word(SAFE),
                "What stands when the deadline passes or nobody can be asked. Without it, a run that can ask nobody ends here (exit 6).",
            ),
            optional(
                "unattended",
                Kind::Word(DEEDS),
                "What `--yes` answers. `done` says that it has been seen to beforehand. Without it `--yes` does not answer: a person is asked, or `default` stands.",
            ),
        ],
        short: Some("instructions"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] =
        &[Output { name: "done", unit: Unit::Truth, about: "whether the person did it" }];

    fn declared(parameters: &Node) -> Vec<Declared> {
        let answer = parameters.map("").ok().and_then(|map| map.get("answer"));
        let read = answer.and_then(|node| InputSpec::read(&named(node), node, &mut Vec::new()));
        read.map(|answer| Declared { name: "answer".to_owned(), unit: answer.unit() }).into_iter().collect()
    }

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let instructions = reading.text("instructions");
        let answer = reading.node("answer");
        let answer = answer.and_then(|node| InputSpec::read(&named(node), node, reading.faults()));
        let default = deed(reading, "default", SAFE);
        let unattended = deed(reading, "unattended", DEEDS);
        let deadline = reading.param("deadline");
        if let (Some(deadline), None) = (&deadline, reading.node("default")) {
            let fault =
                Diagnostic::error(deadline.text.span, "nothing says what stands when the deadline passes");
            reading.faults().push(
                fault.help("write `default: skip` to go on without, or `default: stop` to end the run"),
            );
        }
        if let (Some(InputSpec { default: None, .. }), Some(Deed::Done), Some(node)) =
            (&answer, unattended, reading.node("unattended"))
        {
            let fault =
                Diagnostic::error(node.span, "unattended nobody gives the answer, and it has no default");
            reading.faults().push(fault.help("give the answer a `default`, or write `unattended: skip`"));
        }
        let instructions = instructions?;
        if instructions.trim().is_empty() {
            reading.faults().push(Diagnostic::error(instructions.span, "the instructions say nothing"));
        }
        Some(Self { instructions, url: reading.text("url"), answer, deadline, default, unattended })
    }
}

/// The answer's name, at its place.
fn named(node: &Node) -> Spanned<String> {
    let place = match &node.kind {
        NodeKind::Map(entries) => entries.first().map_or(node.span, |(key, _)| key.span),
        _ => node.span,
    };
    Spanned::new("answer".to_owned(), place)
}

fn deed(reading: &mut Reading<'_, '_>, key: &str, known: &[&str]) -> Option<Deed> {
    let word = reading.text(key)?;
    match word.as_str() {
        "done" if known.contains(&"done") => Some(Deed::Done),
        "skip" => Some(Deed::Skip),
        "stop" => Some(Deed::Stop),
        _ => {
            reading.faults().push(unknown(&word, known, "word"));
            None
        }
    }
}

const fn word(deed: Deed) -> &'static str {
    match deed {
        Deed::Done => "done",
        Deed::Skip => "skip",
        Deed::Stop => "stop",
    }
}

impl Manual {
    /// The instructions as far as they are known, line by line, and where.
    fn lines(&self, fill: &dyn Fn(&Spanned<String>) -> String) -> Vec<String> {
        let text = fill(&self.instructions);
        let mut lines: Vec<_> = text.trim_end().lines().map(str::to_owned).collect();
        lines.extend(self.url.as_ref().map(|url| format!("at {}", fill(url))));
        lines
    }

    /// What `--yes` answers.
    fn assent(&self) -> Option<Answer> {
        let deed = self.unattended?;
        let value = self.answer.as_ref().and_then(|spec| spec.parse(spec.default.as_ref()?).ok());
        match (deed, value) {
            (Deed::Done, Some(value)) => Some(Answer::Value(value)),
            (deed, _) => Some(Answer::Deed(deed)),
        }
    }

    fn question(&self, scene: &Scene<'_>, progress: &Progress) -> Question {
        let spent = scene.now.since(progress.began);
        let left = |limit: &Param<Duration>| limit.or(LONGEST).saturating_sub(spent);
        let text = match self.answer.as_ref().map(|answer| &answer.about) {
            None => "Is it done?".to_owned(),
            Some(about) => about.clone().unwrap_or_else(|| "The answer?".to_owned()),
        };
        Question {
            text,
            lines: self.lines(&|text| scene.fill(text)),
            takes: self.answer.clone().map_or(Takes::Deed, |answer| Takes::Value(Box::new(answer))),
            assent: self.assent(),
            otherwise: self.default.map(Answer::Deed),
            within: self.deadline.as_ref().map(left),
        }
    }
}

impl Action for Manual {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        false
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn texts(&self) -> Vec<&Spanned<String>> {
        std::iter::once(&self.instructions).chain(&self.url).collect()
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        if let Some(deadline) = &mut self.deadline {
            deadline.bind_within(bindings, &(SHORTEST..=LONGEST), &mut faults);
        }
        faults
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = app;
        let mut lines = remarks(&filled(&self.instructions, bindings));
        lines.extend(self.url.iter().flat_map(|url| remarks(&format!("at {}", filled(url, bindings)))));
        if let Some(answer) = &self.answer {
            let about = answer.about.clone().unwrap_or_else(|| "the answer".to_owned());
            lines.extend(remarks(&format!("note for later steps: {about}")));
        }
        lines
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        // What only an earlier step will tell stays as it is written.
        let fill = |text: &Spanned<String>| {
            let known = |name: &str| scene.value(name).is_some();
            let whole = Template::parse(text).is_ok_and(|template| template.names().all(known));
            if whole { scene.fill(text) } else { text.value.clone() }
        };
        let mut details = self.lines(&fill);
        let takes = self.answer.clone().map_or(Takes::Deed, |answer| Takes::Value(Box::new(answer)));
        let mut asks = format!("asks for: {}", takes.words());
        if let (Some(deadline), Some(default)) = (&self.deadline, self.default) {
            let deadline = show_seconds(deadline.or(LONGEST).as_secs_f64());
            asks.push_str(&format!("; after {deadline} without an answer: {}", word(default)));
        }
        details.push(asks);
        let yes = match (self.unattended, self.default) {
            (Some(unattended), _) => format!("`--yes` answers {}", word(unattended)),
            (None, Some(default)) => {
                format!("`--yes` does not answer; when nobody can be asked: {}", word(default))
            }
            (None, None) => {
                "`--yes` does not answer; when nobody can be asked, the run ends here (exit 6)".to_owned()
            }
        };
        details.push(yes);
        Ok(Preview { summary: "have a person do this".to_owned(), details, ..Preview::default() })
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let question = self.question(scene, progress);
        let Some(answer) = progress.answers.get(&question.text) else {
            return Ok(Next::Ask(question));
        };
        let done = !matches!(answer, Answer::Deed(Deed::Skip | Deed::Stop));
        let mut outputs = BTreeMap::from([("done".to_owned(), Value::Truth(done))]);
        if let Answer::Value(value) = answer {
            outputs.insert("answer".to_owned(), value.clone());
        }
        let (status, summary) = match answer {
            _ if !done => (Status::Skipped, "not done: skip was the answer".to_owned()),
            Answer::Value(value) => (Status::Acted, format!("answered {value}")),
            _ => (Status::Acted, "done by a person".to_owned()),
        };
        Ok(Next::Done(Done { status, summary, outputs, ..Done::default() }))
    }
}
