//! A verb's parameter: a literal, or `${{ inputs.NAME }}`, bound before the run.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::kill_limits::KillLimits;
use crate::expr::units::{parse_duration, parse_number, parse_ratio};
use crate::expr::{Env, Expr, Template};
use crate::health::Value;
use crate::source::{Diagnostic, Spanned, did_you_mean};

/// Values that templates and parameters may name: `inputs.healthy_below`, `item`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bindings {
    /// Value by path, as written inside `${{ }}`.
    pub values: BTreeMap<String, Value>,
    /// What guardrails leave of a kill: known before the run, and so part of the plan.
    pub kills: KillLimits,
}

impl Env for Bindings {
    fn value(&self, path: &str) -> Option<Value> {
        self.values.get(path).cloned()
    }

    fn condition(&self, _: &str) -> Option<&Expr> {
        None
    }
}

/// What a parameter's text can be read as.
pub trait Scalar: Sized + Clone {
    /// As a person writes it.
    fn written(&self) -> String;
    /// What a person would call it: `a duration such as 30s`.
    const EXPECTED: &'static str;
    /// Reads the literal's text.
    ///
    /// # Errors
    /// Says in words why the text is not such a value.
    fn parse(text: &str) -> Result<Self, String>;
    /// Takes it from a bound input, when the unit fits.
    fn from_value(value: &Value) -> Option<Self>;
    /// Whether a template may stand inside the text (`web.${{ item }}`), or must be the whole of it.
    const MIXED: bool = false;
}

impl Scalar for Duration {
    fn written(&self) -> String {
        crate::expr::units::write_duration(self.as_secs_f64())
    }

    const EXPECTED: &'static str = "a duration such as `30s`";
    fn parse(text: &str) -> Result<Self, String> {
        parse_duration(text)
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Duration(Some(seconds)) => Self::try_from_secs_f64(*seconds).ok(),
            _ => None,
        }
    }
}

impl Scalar for u64 {
    fn written(&self) -> String {
        self.to_string()
    }

    const EXPECTED: &'static str = "a whole number";
    fn parse(text: &str) -> Result<Self, String> {
        if text.contains('%') || text.contains('.') {
            return Err(format!("`{text}` is not a whole number"));
        }
        parse_number(text)?;
        text.trim().parse().map_err(|_| format!("`{text}` is too large"))
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Count(number) if number.fract() == 0.0 => Some(whole(*number)),
            _ => None,
        }
    }
}

/// A ratio, 0.4 for `40%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Ratio(pub f64);

impl Scalar for Ratio {
    fn written(&self) -> String {
        crate::expr::units::write_ratio(self.0)
    }

    const EXPECTED: &'static str = "a ratio such as `40%`";
    fn parse(text: &str) -> Result<Self, String> {
        parse_ratio(text).map(Self)
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Ratio(ratio) => Some(Self(*ratio)),
            _ => None,
        }
    }
}

impl Scalar for String {
    fn written(&self) -> String {
        self.clone()
    }

    const EXPECTED: &'static str = "a text";
    const MIXED: bool = true;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

impl Scalar for bool {
    fn written(&self) -> String {
        self.to_string()
    }

    const EXPECTED: &'static str = "`true` or `false`";
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("`{text}` is neither `true` nor `false`")),
        }
    }
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Truth(truth) => Some(*truth),
            _ => None,
        }
    }
}

/// A parameter as written, and its value once bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Param<T> {
    /// As written.
    pub text: Spanned<String>,
    /// Bound value.
    value: Option<T>,
}

impl<T: Scalar> Param<T> {
    /// As written in the file, not bound yet.
    pub const fn written(text: Spanned<String>) -> Self {
        Self { text, value: None }
    }

    /// A value that no file gave.
    pub fn fixed(value: T) -> Self {
        Self { text: Spanned::default(), value: Some(value) }
    }

    /// The bound value; before binding, or when it could not be bound, `default`.
    pub fn or(&self, default: T) -> T {
        self.value.clone().unwrap_or(default)
    }

    /// Binds it.
    pub fn bind(&mut self, bindings: &Bindings, faults: &mut Vec<Diagnostic>) {
        if self.value.is_some() && self.text.is_empty() {
            return;
        }
        match bound(&self.text, bindings) {
            Ok(value) => self.value = Some(value),
            Err(fault) => faults.push(fault),
        }
    }

    /// Binds it and checks its range.
    pub fn bind_within(
        &mut self,
        bindings: &Bindings,
        range: &RangeInclusive<T>,
        faults: &mut Vec<Diagnostic>,
    ) where
        T: PartialOrd,
    {
        self.bind(bindings, faults);
        if let Some(value) = &self.value
            && !range.contains(value)
        {
            let (text, given) = (&self.text, value.written());
            let told = if text.value == given {
                format!("`{given}` is out of range")
            } else {
                format!("`{}` is {given}, out of range", text.value)
            };
            faults.push(Diagnostic::error(
                text.span,
                format!("{told}: {} to {}", range.start().written(), range.end().written()),
            ));
        }
    }
}

/// Binds the branch of a push: Heroku accepts any name, and releases these two only.
pub(crate) fn bind_branch(branch: &mut Param<String>, bindings: &Bindings, faults: &mut Vec<Diagnostic>) {
    branch.bind(bindings, faults);
    let name = branch.or("master".to_owned());
    if name != "master" && name != "main" {
        let fault = Diagnostic::error(
            branch.text.span,
            format!("Heroku deploys `master` and `main` only, not `{name}`"),
        );
        faults.push(fault.help("other branches are accepted and ignored: nothing would be released"));
    }
}

/// Binds an optional parameter.
pub fn bind_some<T: Scalar>(param: &mut Option<Param<T>>, bindings: &Bindings, faults: &mut Vec<Diagnostic>) {
    if let Some(param) = param {
        param.bind(bindings, faults);
    }
}

/// The name inside a text that is one template and nothing else.
pub fn sole_template(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("${{")?.strip_suffix("}}")?;
    (!inner.contains("${{")).then(|| inner.trim())
}

fn bound<T: Scalar>(text: &Spanned<String>, bindings: &Bindings) -> Result<T, Diagnostic> {
    if !text.contains("${{") {
        return T::parse(text)
            .map_err(|why| Diagnostic::error(text.span, why).help(format!("expected: {}", T::EXPECTED)));
    }
    let template = Template::parse(text).map_err(|mut faults| {
        let fault = faults.swap_remove(0);
        Diagnostic { span: text.span, ..fault }
    })?;
    for name in template.names() {
        if !bindings.values.contains_key(name) {
            return Err(not_bound(name, text, bindings));
        }
    }
    if let Some(name) = sole_template(text)
        && let Some(value) = bindings.values.get(name)
    {
        return T::from_value(value).ok_or_else(|| {
            Diagnostic::error(text.span, format!("`{name}` is {value}, and {} is expected here", T::EXPECTED))
        });
    }
    let filled = template.fill(bindings);
    if !T::MIXED {
        return Err(Diagnostic::error(text.span, "a template stands alone here, with nothing beside it")
            .help(format!("expected: {}, or one input: `${{{{ inputs.NAME }}}}`", T::EXPECTED)));
    }
    T::parse(&filled).map_err(|why| Diagnostic::error(text.span, why))
}

/// A parameter that names what is not known before the run.
fn not_bound(name: &str, text: &Spanned<String>, bindings: &Bindings) -> Diagnostic {
    let fault = Diagnostic::error(text.span, format!("there is no `{name}`"));
    if name.starts_with("steps.") {
        return fault.help(
            "a parameter is bound before the run: outputs of steps may be read by conditions and messages only",
        );
    }
    match did_you_mean(name, bindings.values.keys().map(String::as_str)) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None if name == "item" => fault.help("`item` is known in a step with `for_each`"),
        None => fault.help("declare it under `inputs:`"),
    }
}

/// A count as a whole number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small and not negative"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    fn param<T: Scalar>(text: &str) -> Param<T> {
        Param::written(Spanned::new(text.to_owned(), Span::new(0, text.len())))
    }

    #[test]
    fn literals_and_inputs_are_bound_by_type() {
        let bindings = Bindings {
            values: BTreeMap::from([
                ("inputs.idle".to_owned(), Value::Duration(Some(60.0))),
                ("inputs.ratio".to_owned(), Value::Ratio(0.4)),
            ]),
            ..Bindings::default()
        };
        let mut faults = Vec::new();
        let mut literal = param::<Duration>("1m30s");
        literal.bind(&bindings, &mut faults);
        assert_eq!(literal.or(Duration::ZERO), Duration::from_secs(90));
        let mut input = param::<Duration>("${{ inputs.idle }}");
        input.bind(&bindings, &mut faults);
        assert_eq!(input.or(Duration::ZERO), Duration::from_secs(60));
        assert_eq!(faults, []);

        for (text, words) in [
            ("60", "no unit"),
            ("${{ inputs.idel }}", "there is no"),
            ("${{ inputs.ratio }}", "is expected here"),
            ("${{ steps.a.b }}", "there is no"),
            ("${{ inputs.idle }} or so", "stands alone"),
            ("${{ item }}", "there is no"),
            ("${{ inputs.idle", "not closed"),
        ] {
            let mut faults = Vec::new();
            param::<Duration>(text).bind(&bindings, &mut faults);
            assert!(faults.len() == 1 && faults[0].message.contains(words), "{text}: {faults:?}");
        }
    }

    #[test]
    fn texts_may_hold_inputs_and_others_may_not() {
        let values = BTreeMap::from([("item".to_owned(), Value::Count(2.0))]);
        let mut faults = Vec::new();
        let mut text = param::<String>("web.${{ item }}");
        text.bind(&Bindings { values, ..Bindings::default() }, &mut faults);
        assert_eq!((text.or(String::new()).as_str(), faults.len()), ("web.2", 0));
    }

    #[test]
    fn ranges_are_checked_and_say_what_was_given() {
        let mut faults = Vec::new();
        param::<u64>("9000").bind_within(&Bindings::default(), &(1..=5000), &mut faults);
        assert_eq!(faults[0].message, "`9000` is out of range: 1 to 5000");
        let values = BTreeMap::from([("inputs.n".to_owned(), Value::Count(0.0))]);
        let mut faults = Vec::new();
        let bindings = Bindings { values, ..Bindings::default() };
        param::<u64>("${{ inputs.n }}").bind_within(&bindings, &(1..=5), &mut faults);
        assert_eq!(faults[0].message, "`${{ inputs.n }}` is 0, out of range: 1 to 5");
    }
}
