//! Values with units: what metrics, inputs and step outputs hold, and what conditions compare.

use serde::{Deserialize, Serialize};

/// The unit of a value. Two values are comparable only when their units are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A share of a whole, written `40%`; stored as 0.4.
    Ratio,
    /// A bare number: connections, dynos, sessions.
    Count,
    /// A span of time, written `30s`; stored in seconds, may be infinite.
    Duration,
    /// Connections per second.
    Rate,
    /// True or false.
    Truth,
    /// Text, compared by `==` and `!=` only.
    Text,
}

/// A measured or bound value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "unit", content = "value", rename_all = "snake_case")]
pub enum Value {
    /// 0.4 is 40 %.
    Ratio(f64),
    /// A number of things.
    Count(f64),
    /// Seconds. `None` is for ever (JSON has no infinity).
    Duration(Option<f64>),
    /// Per second.
    Rate(f64),
    /// True or false.
    Truth(bool),
    /// Text.
    Text(String),
}

impl Value {
    /// The value's unit.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Ratio(_) => Unit::Ratio,
            Self::Count(_) => Unit::Count,
            Self::Duration(_) => Unit::Duration,
            Self::Rate(_) => Unit::Rate,
            Self::Truth(_) => Unit::Truth,
            Self::Text(_) => Unit::Text,
        }
    }
}
