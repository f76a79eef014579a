//! `check`: a condition that must hold now. It changes nothing and waits for one sample at most.

use std::time::Duration;

use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Awaits, Done, Next, Preview, Verb};
use crate::source::Spanned;

/// A condition that must hold now.
#[derive(Debug)]
pub struct Check {
    that: Spanned<String>,
    message: Option<Spanned<String>>,
}

impl Verb for Check {
    const NAME: &'static str = "check";
    const ABOUT: &'static str =
        "A condition that must hold now; when it is false or unknown, the step fails.";
    const SHAPE: &'static Shape = &Shape {
        name: "check",
        fields: &[
            required("that", Kind::Condition, "What must hold now."),
            optional("message", Kind::Text, "What to say when it does not."),
        ],
        short: Some("that"),
        empty: false,
        open: false,
    };

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self { that: reading.text("that")?, message: reading.text("message") })
    }
}

impl Action for Check {
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
        self.message.iter().collect()
    }

    fn awaits(&self) -> Option<Awaits<'_>> {
        Some(Awaits {
            until: &self.that,
            message: self.message.as_ref(),
            hold: Duration::ZERO,
            within: None,
            early: false,
        })
    }

    fn settle_condition(&mut self, bound: String) {
        self.that.value = bound;
    }

    fn preview(&self, _: &Scene<'_>) -> Result<Preview, Failure> {
        Ok(Preview { summary: format!("check that {}", self.that.value), ..Preview::default() })
    }

    fn next(&self, _: &Scene<'_>, _: &Progress) -> Result<Next, Failure> {
        Ok(Next::Done(Done { summary: format!("{} holds", self.that.value), ..Done::default() }))
    }
}
