//! `wait`: until a condition holds. It ends the moment it does. It changes nothing.

use std::time::Duration;

use super::param::{Bindings, Param};
use super::scene::{Failure, Progress, Scene};
use super::shape::{EARLY, Kind, Reading, Shape, optional, required};
use super::verb::{Action, Awaits, Done, Next, Preview, Verb};
use crate::health::show_seconds;
use crate::source::{Diagnostic, Spanned};

/// Wait until a condition holds.
#[derive(Debug)]
pub struct Wait {
    until: Spanned<String>,
    hold: Option<Param<Duration>>,
    within: Param<Duration>,
    early: bool,
}

impl Verb for Wait {
    const NAME: &'static str = "wait";
    const ABOUT: &'static str =
        "Wait until a condition holds; ends the moment it does, and fails the step when it does not in time.";
    const SHAPE: &'static Shape = &Shape {
        name: "wait",
        fields: &[
            required("until", Kind::Condition, "What must hold."),
            optional(
                "for",
                Kind::Duration,
                "For how long without a break (at least three samples). Default: one sample.",
            ),
            required("within", Kind::Duration, "Patience; after it the step fails."),
            optional("early", Kind::Flag, EARLY),
        ],
        short: None,
        empty: false,
        open: false,
    };

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self {
            until: reading.text("until")?,
            hold: reading.param("for"),
            within: reading.param("within")?,
            early: reading.truth("early").unwrap_or(true),
        })
    }
}

impl Action for Wait {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        false
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        super::param::bind_some(&mut self.hold, bindings, &mut faults);
        self.within.bind(bindings, &mut faults);
        faults
    }

    fn awaits(&self) -> Option<Awaits<'_>> {
        Some(Awaits {
            until: &self.until,
            message: None,
            hold: self.hold.as_ref().map_or(Duration::ZERO, |hold| hold.or(Duration::ZERO)),
            within: Some(self.within.or(Duration::from_secs(60))),
            early: self.early,
        })
    }

    fn settle_condition(&mut self, bound: String) {
        self.until.value = bound;
    }

    fn preview(&self, _: &Scene<'_>) -> Result<Preview, Failure> {
        let hold = self.hold.as_ref().map_or(String::new(), |hold| {
            format!(" for {}", show_seconds(hold.or(Duration::ZERO).as_secs_f64()))
        });
        Ok(Preview { summary: format!("wait until {}{hold}", self.until.value), ..Preview::default() })
    }

    fn next(&self, _: &Scene<'_>, _: &Progress) -> Result<Next, Failure> {
        Ok(Next::Done(Done { summary: format!("{} held", self.until.value), ..Done::default() }))
    }
}
