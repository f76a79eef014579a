//! A verb's parameter: a literal, or `${{ inputs.NAME }}`, bound before the run.

use std::collections::BTreeMap;

use crate::health::Value;
use crate::source::Spanned;

/// Values that templates and parameters may name: `inputs.healthy_below`, `item`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bindings {
    /// Value by path, as written inside `${{ }}`.
    pub values: BTreeMap<String, Value>,
}

/// What a parameter's text can be read as.
pub trait Scalar: Sized {
    /// What a person would call it: `a duration such as 30s`.
    const EXPECTED: &'static str;
    /// Reads the literal's text.
    ///
    /// # Errors
    /// Says in words why the text is not such a value.
    fn parse(text: &str) -> Result<Self, String>;
    /// Takes it from a bound input, when the unit fits.
    fn from_value(value: &Value) -> Option<Self>;
}

/// A parameter as written, and its value once bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Param<T> {
    /// As written.
    pub text: Spanned<String>,
    /// Bound value.
    pub value: Option<T>,
}
