//! `notify`: says something to those whom the runbook's `notify` section names. It changes nothing, and whether anybody
//! heard it decides nothing.

use super::by_hand::{filled, remarks};
use super::param::Bindings;
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, required};
use super::verb::{Action, Done, Next, Preview, Verb};
use crate::expr::{Env, Template};
use crate::source::{Diagnostic, Spanned};

/// Say something to those who are told of the run.
#[derive(Debug)]
pub struct Notify {
    text: Spanned<String>,
}

impl Verb for Notify {
    const NAME: &'static str = "notify";
    const ABOUT: &'static str = "Say something to those whom the `notify` section names. It holds nothing up and never fails a run: what could not be sent is said.";
    const SHAPE: &'static Shape = &Shape {
        name: "notify",
        fields: &[required("text", Kind::Text, "What to say; may hold templates.")],
        short: Some("text"),
        empty: false,
        open: false,
    };

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let text = reading.text("text")?;
        if text.trim().is_empty() {
            reading.faults().push(Diagnostic::error(text.span, "this says nothing"));
        }
        Some(Self { text })
    }
}

impl Action for Notify {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        false
    }

    fn texts(&self) -> Vec<&Spanned<String>> {
        vec![&self.text]
    }

    fn by_hand(&self, _: &str, bindings: &Bindings) -> Vec<String> {
        remarks(&format!("tell the others: {}", filled(&self.text, bindings)))
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let known = |name: &str| scene.value(name).is_some();
        let whole = Template::parse(&self.text).is_ok_and(|template| template.names().all(known));
        let text = if whole { scene.fill(&self.text) } else { self.text.value.clone() };
        Ok(Preview { summary: format!("say: {text}"), ..Preview::default() })
    }

    fn next(&self, scene: &Scene<'_>, _: &Progress) -> Result<Next, Failure> {
        let text = scene.fill(&self.text);
        Ok(Next::Done(Done { summary: text.clone(), tell: Some(text), ..Done::default() }))
    }
}
