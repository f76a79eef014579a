//! A question to a person, what it takes for an answer, and what stands when nobody gives one. Plain data: it must
//! never ask.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::input::{InputKind, InputSpec};
use crate::health::Value;

/// A question to a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The question, on one line. Within its step it stands for itself: it is not asked twice.
    pub text: String,
    /// What the person reads before it.
    pub lines: Vec<String>,
    /// What it takes for an answer.
    pub takes: Takes,
    /// What `--yes` answers; `None` = it answers nothing.
    pub assent: Option<Answer>,
    /// What stands when nobody can be asked, or nobody answers in time; `None` = the run is declined.
    pub otherwise: Option<Answer>,
    /// For how long an answer is waited for; `None` = as long as it takes.
    pub within: Option<Duration>,
}

impl Question {
    /// A yes or no that `--yes` does not answer.
    pub fn yes_or_no(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            lines: Vec::new(),
            takes: Takes::YesNo,
            assent: None,
            otherwise: None,
            within: None,
        }
    }
}

/// What a question takes for an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Takes {
    /// Yes or no.
    YesNo,
    /// Done, skip or stop.
    Deed,
    /// A value, which means done, or skip or stop.
    Value(Box<InputSpec>),
}

impl Takes {
    /// What may be typed, for the person who is asked.
    pub fn words(&self) -> String {
        match self {
            Self::YesNo => "y/N".to_owned(),
            Self::Deed => "done, skip or stop".to_owned(),
            Self::Value(value) => {
                let default =
                    value.default.as_ref().map_or(String::new(), |text| format!(" (Enter: {})", text.value));
                format!("{}{default}; or skip, stop", value.takes())
            }
        }
    }

    /// Reads what was typed.
    ///
    /// # Errors
    /// Says in words what is taken instead.
    pub fn read(&self, typed: &str) -> Result<Answer, String> {
        let typed = typed.trim();
        if let (Self::Deed | Self::Value(_), "skip" | "stop") = (self, typed) {
            return Ok(Answer::Deed(if typed == "skip" { Deed::Skip } else { Deed::Stop }));
        }
        match (self, typed) {
            (Self::YesNo, "y" | "yes") => Ok(Answer::Said(true)),
            (Self::YesNo, "n" | "no" | "") => Ok(Answer::Said(false)),
            (Self::Deed, "done") => Ok(Answer::Deed(Deed::Done)),
            (Self::YesNo | Self::Deed, _) => Err(format!("write {}", self.words())),
            (Self::Value(spec), "") => match &spec.default {
                Some(default) => spec.parse(default).map(Answer::Value),
                None => Err(format!("write {}", self.words())),
            },
            (Self::Value(spec), _) => {
                let typed = match (spec.kind, typed) {
                    (InputKind::Truth, "y" | "yes") => "true",
                    (InputKind::Truth, "n" | "no") => "false",
                    (_, typed) => typed,
                };
                spec.parse(typed).map(Answer::Value)
            }
        }
    }
}

/// What a person did about instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// It is done.
    Done,
    /// It is not, and the run goes on without.
    Skip,
    /// It is not, and the run ends.
    Stop,
}

/// An answer. In JSON: a truth, a word, or a value with its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// Yes or no.
    Said(bool),
    /// What was done.
    Deed(Deed),
    /// A value.
    Value(Value),
}

impl Answer {
    /// It ends the run.
    pub const fn declines(&self) -> bool {
        matches!(self, Self::Said(false) | Self::Deed(Deed::Stop))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(true) => f.write_str("yes"),
            Self::Said(false) => f.write_str("no"),
            Self::Deed(Deed::Done) => f.write_str("done"),
            Self::Deed(Deed::Skip) => f.write_str("skip"),
            Self::Deed(Deed::Stop) => f.write_str("stop"),
            Self::Value(value) => value.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, Spanned, yaml};

    fn value(text: &str) -> Takes {
        let node = yaml::read(&Source::new("t", text)).unwrap();
        let name = Spanned::new("answer".to_owned(), node.span);
        Takes::Value(Box::new(InputSpec::read(&name, &node, &mut Vec::new()).unwrap()))
    }

    #[test]
    fn what_is_typed_is_taken_by_type_and_range_and_a_word_ends_it() {
        let rows = value("{ type: count, max: 10, default: 3 }");
        let sure = value("{ type: bool }");
        for (takes, typed, answer) in [
            (&Takes::YesNo, "yes", Answer::Said(true)),
            (&Takes::YesNo, "", Answer::Said(false)),
            (&Takes::Deed, " done ", Answer::Deed(Deed::Done)),
            (&rows, "7", Answer::Value(Value::Count(7.0))),
            (&rows, "", Answer::Value(Value::Count(3.0))),
            (&rows, "stop", Answer::Deed(Deed::Stop)),
            (&sure, "y", Answer::Value(Value::Truth(true))),
        ] {
            assert_eq!(takes.read(typed), Ok(answer.clone()), "{typed}");
            let json = serde_json::to_string(&answer).unwrap();
            assert_eq!(serde_json::from_str::<Answer>(&json).unwrap(), answer, "{json}");
        }
        for (takes, typed) in
            [(&Takes::Deed, ""), (&Takes::Deed, "d"), (&rows, "11"), (&rows, "many"), (&sure, "")]
        {
            assert!(takes.read(typed).is_err(), "{typed}");
        }
        assert_eq!(rows.words(), "a number, at most 10 (Enter: 3); or skip, stop");
    }
}
