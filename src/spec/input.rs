//! Typed inputs: `--set name=value`.

use crate::action::{Kind, Reading, Shape, optional, required};
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
#[derive(Debug, Clone)]
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

/// The shape of an input.
pub(super) const INPUT: Shape = Shape {
    name: "input",
    fields: &[
        required("type", Kind::Word(KINDS), "Its type."),
        optional("default", Kind::Any, "Its value when `--set` gives none; without it, it must be set."),
        optional("min", Kind::Any, "Least value."),
        optional("max", Kind::Any, "Greatest value."),
        optional("values", Kind::Texts, "The words of an `enum`."),
        optional("about", Kind::Text, "What it means, for `runbook list` and `explain`."),
    ],
    short: None,
    empty: false,
    open: false,
};

impl InputSpec {
    pub(super) fn read(name: &Spanned<String>, node: &Node, faults: &mut Vec<Diagnostic>) -> Option<Self> {
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
        for bound in [&self.min, &self.max].into_iter().flatten() {
            if let Err(why) = self.typed(bound) {
                faults.push(Diagnostic::error(bound.span, why));
            }
        }
        if let Some(default) = &self.default
            && let Err(why) = self.parse(default)
        {
            faults.push(Diagnostic::error(default.span, format!("the default does not fit: {why}")));
        }
    }

    /// What it takes, in words: `ratio, 10% to 90%`.
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
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => format!("{kind}, {} to {}", min.value, max.value),
            (Some(min), None) => format!("{kind}, at least {}", min.value),
            (None, Some(max)) => format!("{kind}, at most {}", max.value),
            (None, None) => kind.to_owned(),
        }
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
            InputKind::Text => Ok(Value::Text(text.to_owned())),
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
        let number = |value: &Value| match value {
            Value::Ratio(number) | Value::Count(number) | Value::Duration(Some(number)) => Some(*number),
            _ => None,
        };
        let bound = |bound: &Option<Spanned<String>>| bound.as_ref().and_then(|text| self.typed(text).ok());
        if let (Some(given), Some(least)) = (number(&value), bound(&self.min).as_ref().and_then(number))
            && given < least
        {
            return Err(format!("`{text}` is too small: {}", self.takes()));
        }
        if let (Some(given), Some(most)) = (number(&value), bound(&self.max).as_ref().and_then(number))
            && given > most
        {
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
