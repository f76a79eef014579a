//! Values with units: what metrics, inputs and step outputs hold, and what conditions compare.

use std::fmt;

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

impl Unit {
    /// What people call it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            Self::Count => "count",
            Self::Duration => "duration",
            Self::Rate => "a second",
            Self::Truth => "truth",
            Self::Text => "text",
        }
    }
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(ratio) => {
                let percent = ratio * 100.0;
                if percent < 10.0 && percent.fract().abs() > 0.05 {
                    write!(f, "{percent:.1}%")
                } else {
                    write!(f, "{percent:.0}%")
                }
            }
            Self::Count(number) if number.fract() == 0.0 => write!(f, "{number:.0}"),
            Self::Count(number) => write!(f, "{number:.1}"),
            Self::Duration(None) => f.write_str("no end"),
            Self::Duration(Some(seconds)) => f.write_str(&show_seconds(*seconds)),
            Self::Rate(rate) => write!(f, "{rate:+.1}/s"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// Seconds as people read them: `350ms`, `8s`, `4m12s`, `2h05m`.
pub fn show_seconds(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "no end".to_owned();
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what an u64 holds"
    )]
    let millis = (seconds.clamp(0.0, 1e12) * 1000.0).round() as u64;
    let (hours, minutes, rest) = (millis / 3_600_000, millis / 60_000 % 60, millis % 60_000);
    match (hours, minutes) {
        (0, 0) if millis < 1000 => format!("{millis}ms"),
        (0, 0) if rest % 1000 == 0 || rest >= 10_000 => format!("{}s", rest / 1000),
        (0, 0) => format!("{:.1}s", rest as f64 / 1000.0),
        (0, minutes) if rest < 1000 => format!("{minutes}m"),
        (0, minutes) => format!("{minutes}m{:02}s", rest / 1000),
        (hours, 0) => format!("{hours}h"),
        (hours, minutes) => format!("{hours}h{minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        for (value, text) in [
            (Value::Ratio(0.4), "40%"),
            (Value::Ratio(0.973), "97%"),
            (Value::Ratio(0.025), "2.5%"),
            (Value::Count(150.0), "150"),
            (Value::Duration(None), "no end"),
            (Value::Duration(Some(0.35)), "350ms"),
            (Value::Duration(Some(30.0)), "30s"),
            (Value::Duration(Some(1.5)), "1.5s"),
            (Value::Duration(Some(252.0)), "4m12s"),
            (Value::Duration(Some(3600.0)), "1h"),
            (Value::Rate(1.44), "+1.4/s"),
            (Value::Truth(true), "true"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }
}
