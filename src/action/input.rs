//! Typed values that a person gives: inputs (`--set name=value`) and answers. What is not of its type and range is
//! refused with words; it must never guess.

use super::shape::{Kind, Reading, Shape, optional, required};
use crate::expr::units::{parse_duration, parse_number, parse_ratio};
use crate::health::{Unit, Value};
use crate::source::{Diagnostic, Node, Spanned, did_you_mean};

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// `40%`.
    Ratio,
    /// `30s`.
    Duration,
    /// A number.
    Count,
    /// A text.
    Text,
    /// `true` or `false`.
    Truth,
    /// One of the given words.
    Enum,
}

const KINDS: &[&str] = &["ratio", "duration", "count", "text", "bool", "enum"];

/// One declared input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Its name.
    pub name: Spanned<String>,
    /// Its type.
    pub kind: InputKind,
    /// Its default; without one it must be set.
    pub default: Option<Spanned<String>>,
    /// Least value.
    pub min: Option<Spanned<String>>,
    /// Greatest value.
    pub max: Option<Spanned<String>>,
    /// The words of an enum.
    pub values: Vec<Spanned<String>>,
    /// What it means.
    pub about: Option<String>,
}

const fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Ratio(number) | Value::Count(number) | Value::Duration(Some(number)) => Some(*number),
        _ => None,
    }
}

/// The shape of an input.
pub(crate) const INPUT: Shape = Shape {
    name: "input",
    fields: &[
        required("type", Kind::Word(KINDS), "Its type."),
        optional("default", Kind::Any, "Its value when `--set` gives none; without it, it must be set."),
        optional("min", Kind::Any, "Least value of a ratio, a duration or a count."),
        optional("max", Kind::Any, "Greatest value of a ratio, a duration or a count."),
        optional("values", Kind::Texts, "The words of an `enum`; required for it."),
        optional("about", Kind::Text, "What it means, for `runbook list` and `explain`."),
    ],
    short: None,
    empty: false,
    open: false,
};

impl InputSpec {
    pub(crate) fn read(name: &Spanned<String>, node: &Node, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &INPUT, name.span, faults)?;
        let kind = reading.text("type")?;
        let kind = match kind.as_str() {
            "ratio" => InputKind::Ratio,
            "duration" => InputKind::Duration,
            "count" => InputKind::Count,
            "text" => InputKind::Text,
            "bool" => InputKind::Truth,
            "enum" => InputKind::Enum,
            _ => {
                reading.faults().push(crate::source::unknown(&kind, KINDS, "type"));
                return None;
            }
        };
        let input = Self {
            name: name.clone(),
            kind,
            default: reading.text("default"),
            min: reading.text("min"),
            max: reading.text("max"),
            values: reading.texts("values"),
            about: reading.text("about").map(|text| text.value),
        };
        input.check(faults);
        Some(input)
    }

    /// Its unit in conditions.
    pub const fn unit(&self) -> Unit {
        match self.kind {
            InputKind::Ratio => Unit::Ratio,
            InputKind::Duration => Unit::Duration,
            InputKind::Count => Unit::Count,
            InputKind::Text | InputKind::Enum => Unit::Text,
            InputKind::Truth => Unit::Truth,
        }
    }

    fn check(&self, faults: &mut Vec<Diagnostic>) {
        let good = self.name.starts_with(|c: char| c.is_ascii_lowercase())
            && self.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !good {
            let fault =
                Diagnostic::error(self.name.span, format!("`{}` is no name for an input", self.name.value));
            faults.push(fault.help("use small letters, digits and `_`, beginning with a letter"));
        }
        if self.kind == InputKind::Enum && self.values.is_empty() {
            faults.push(Diagnostic::error(self.name.span, "an enum needs `values`"));
            return;
        }
        for (index, word) in self.values.iter().enumerate() {
            if self.kind != InputKind::Enum {
                faults.push(Diagnostic::error(word.span, "only an `enum` has `values`"));
                break;
            }
            if let Some(first) = self.values[..index].iter().find(|first| first.value == word.value) {
                let fault = Diagnostic::error(word.span, format!("`{}` is listed twice", word.value));
                faults.push(fault.also(first.span, "first here"));
            }
        }
        for bound in [&self.min, &self.max].into_iter().flatten() {
            if matches!(self.kind, InputKind::Text | InputKind::Truth | InputKind::Enum) {
                faults.push(Diagnostic::error(bound.span, "only a ratio, a duration or a count has a range"));
            } else if let Err(why) = self.typed(bound) {
                faults.push(Diagnostic::error(bound.span, why));
            }
        }
        if let (Some(min), Some(max)) = (&self.min, &self.max)
            && let (Some(least), Some(most)) = (self.number(min), self.number(max))
            && least > most
        {
            faults.push(
                Diagnostic::error(min.span, "`min` is above `max`: no value fits").also(max.span, "the most"),
            );
            return;
        }
        if let Some(default) = &self.default
            && let Err(why) = self.parse(default)
        {
            faults.push(Diagnostic::error(default.span, format!("the default does not fit: {why}")));
        }
    }

    /// The values it takes beyond its type: `5% to 90%`, `revert or release`; empty when any will do.
    pub fn range(&self) -> String {
        match (&self.min, &self.max) {
            _ if self.kind == InputKind::Enum => {
                self.values.iter().map(|word| word.value.as_str()).collect::<Vec<_>>().join(" or ")
            }
            (Some(min), Some(max)) => format!("{} to {}", min.value, max.value),
            (Some(min), None) => format!("at least {}", min.value),
            (None, Some(max)) => format!("at most {}", max.value),
            (None, None) => String::new(),
        }
    }

    /// What it takes, in words: `a ratio such as 40%, 10% to 90%`.
    pub fn takes(&self) -> String {
        let kind = match self.kind {
            InputKind::Ratio => "a ratio such as 40%",
            InputKind::Duration => "a duration such as 30s",
            InputKind::Count => "a number",
            InputKind::Text => "a text",
            InputKind::Truth => "true or false",
            InputKind::Enum => {
                let words: Vec<_> = self.values.iter().map(|word| word.value.as_str()).collect();
                return format!("one of {}", words.join(", "));
            }
        };
        let range = self.range();
        if range.is_empty() { kind.to_owned() } else { format!("{kind}, {range}") }
    }

    /// A text of it as a bare number, for ranges.
    fn number(&self, text: &str) -> Option<f64> {
        self.typed(text).ok().as_ref().and_then(number)
    }

    fn typed(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            InputKind::Ratio => parse_ratio(text).map(Value::Ratio),
            InputKind::Duration => parse_duration(text).map(|time| Value::Duration(Some(time.as_secs_f64()))),
            InputKind::Count => parse_number(text).map(Value::Count),
            InputKind::Truth => match text {
                "true" => Ok(Value::Truth(true)),
                "false" => Ok(Value::Truth(false)),
                _ => Err(format!("`{text}` is neither `true` nor `false`")),
            },
            InputKind::Text => match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
                Some(hidden) => Err(format!("it holds a hidden character (U+{:04X})", u32::from(hidden))),
                None => Ok(Value::Text(text.to_owned())),
            },
            InputKind::Enum => {
                let known = || self.values.iter().map(|word| word.value.as_str());
                if known().any(|word| word == text) {
                    return Ok(Value::Text(text.to_owned()));
                }
                let near = did_you_mean(text, known())
                    .map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                Err(format!("`{text}` is not {}{near}", self.takes()))
            }
        }
    }

    /// Reads a value for it, by type and range.
    ///
    /// # Errors
    /// Says in words what does not fit.
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        let value = self.typed(text)?;
        let Some(given) = number(&value) else { return Ok(value) };
        let bound = |bound: &Option<Spanned<String>>| bound.as_ref().and_then(|text| self.number(text));
        if bound(&self.min).is_some_and(|least| given < least) {
            return Err(format!("`{text}` is too small: {}", self.takes()));
        }
        if bound(&self.max).is_some_and(|most| given > most) {
            return Err(format!("`{text}` is too large: {}", self.takes()));
        }
        Ok(value)
    }

    /// A value for checking a runbook without a target: the default, or one that its range allows.
    pub fn specimen(&self) -> Value {
        let text = self.default.as_ref().or(self.min.as_ref()).or(self.max.as_ref()).or(self.values.first());
        let fallback = match self.kind {
            InputKind::Ratio => Value::Ratio(0.5),
            InputKind::Duration => Value::Duration(Some(60.0)),
            InputKind::Count => Value::Count(1.0),
            InputKind::Truth => Value::Truth(false),
            InputKind::Text | InputKind::Enum => Value::Text("text".to_owned()),
        };
        text.and_then(|text| self.typed(text).ok()).unwrap_or(fallback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, yaml};

    fn input(text: &str) -> (Option<InputSpec>, Vec<String>) {
        let node = yaml::read(&Source::new("t", text)).unwrap();
        let mut faults = Vec::new();
        let input = InputSpec::read(&Spanned::new("x".to_owned(), node.span), &node, &mut faults);
        (input, faults.into_iter().map(|fault| fault.message).collect())
    }

    #[test]
    fn values_are_taken_by_type_and_range() {
        for (text, good, bad) in [
            (
                "{ type: ratio, min: 5%, max: 90% }",
                &["5%", "90%", "40.5%"][..],
                &["4%", "91%", "0.4", "40"][..],
            ),
            ("{ type: duration, min: 1s }", &["1s", "1m30s"], &["500ms", "60", "-1s", "1mo"]),
            ("{ type: count, max: 5 }", &["0", "5"], &["6", "-1", "many", "5%"]),
            ("{ type: bool }", &["true", "false"], &["yes", "1", ""]),
            ("{ type: enum, values: [revert, release] }", &["revert"], &["reverts", ""]),
            ("{ type: text }", &["", "two\nlines", "ünï"], &["\u{1b}[31m"]),
        ] {
            let (input, faults) = input(text);
            assert_eq!(faults, [] as [&str; 0], "{text}");
            let input = input.unwrap();
            for value in good {
                assert!(input.parse(value).is_ok(), "{text}: {value}: {:?}", input.parse(value));
            }
            for value in bad {
                assert!(input.parse(value).is_err(), "{text}: {value:?}");
            }
        }
        let (method, _) = input("{ type: enum, values: [revert, release] }");
        assert!(method.unwrap().parse("reverts").unwrap_err().contains("did you mean `revert`"));
    }

    #[test]
    fn declarations_that_say_nothing_are_refused() {
        for (text, words) in [
            ("{ type: enum }", "needs `values`"),
            ("{ type: text, values: [a] }", "only an `enum`"),
            ("{ type: text, min: 3 }", "has a range"),
            ("{ type: ratio, min: 90%, max: 5% }", "no value fits"),
            ("{ type: ratio, default: 99%, max: 5% }", "too large"),
            ("{ type: enum, values: [a, b, a] }", "listed twice"),
            ("{ type: ratoi }", "unknown type"),
            ("{ type: ratio, defualt: 3% }", "unknown key"),
            ("{ default: 3% }", "`type` is missing"),
        ] {
            let (_, faults) = input(text);
            assert!(faults.len() == 1 && faults[0].contains(words), "{text}: {faults:?}");
        }
    }
}
