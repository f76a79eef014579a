//! `confirm`: asks a person. A no ends the run; `--yes` answers yes. It changes nothing.

use std::collections::BTreeMap;

use super::by_hand::{filled, remarks};
use super::param::Bindings;
use super::question::{Answer, Question};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, required};
use super::verb::{Action, Done, Next, Output, Preview, Verb};
use crate::health::{Unit, Value};
use crate::source::Spanned;

/// Ask a person.
#[derive(Debug)]
pub struct Confirm {
    question: Spanned<String>,
}

impl Verb for Confirm {
    const NAME: &'static str = "confirm";
    const ABOUT: &'static str = "Ask a person; a no ends the run (exit 6). `--yes` answers yes.";
    const SHAPE: &'static Shape = &Shape {
        name: "confirm",
        fields: &[required("question", Kind::Text, "The question, whole; may hold templates.")],
        short: Some("question"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[Output { name: "answer", unit: Unit::Truth, about: "the answer" }];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self { question: reading.text("question")? })
    }
}

impl Action for Confirm {
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
        vec![&self.question]
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = app;
        remarks(&format!("ask: {}", filled(&self.question, bindings)))
    }

    fn preview(&self, _: &Scene<'_>) -> Result<Preview, Failure> {
        Ok(Preview { summary: format!("ask: {}", self.question.value), ..Preview::default() })
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let question = scene.fill(&self.question);
        match progress.answers.get(&question) {
            None => {
                Ok(Next::Ask(Question { assent: Some(Answer::Said(true)), ..Question::yes_or_no(question) }))
            }
            Some(answer) => Ok(Next::Done(Done {
                summary: answer.to_string(),
                outputs: BTreeMap::from([("answer".to_owned(), Value::Truth(!answer.declines()))]),
                ..Done::default()
            })),
        }
    }
}
