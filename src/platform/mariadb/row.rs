//! Reading rows by column name, whatever type the server chose for a figure.

use mysql::{Row, Value};

use super::fault::StatementFault;

/// A row whose cells are asked for by name.
pub struct Cells(pub Row);

impl Cells {
    fn value(&self, name: &str) -> Result<&Value, StatementFault> {
        self.0
            .columns_ref()
            .iter()
            .position(|column| column.name_ref().eq_ignore_ascii_case(name.as_bytes()))
            .and_then(|at| self.0.as_ref(at))
            .ok_or_else(|| StatementFault::Odd(format!("no column {name}")))
    }

    /// A figure; NULL is 0.
    pub fn number(&self, name: &str) -> Result<f64, StatementFault> {
        #[expect(clippy::cast_precision_loss, reason = "figures of connections and times stay below 2^52")]
        match self.value(name)? {
            Value::NULL => Ok(0.0),
            Value::Int(n) => Ok(*n as f64),
            Value::UInt(n) => Ok(*n as f64),
            Value::Float(n) => Ok(f64::from(*n)),
            Value::Double(n) => Ok(*n),
            Value::Bytes(bytes) => std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .ok_or_else(|| StatementFault::Odd(format!("{name} is no number"))),
            _ => Err(StatementFault::Odd(format!("{name} is no number"))),
        }
    }

    /// A count; NULL and anything negative is 0.
    pub fn count(&self, name: &str) -> Result<u64, StatementFault> {
        let whole = match self.value(name)? {
            Value::Bytes(bytes) => std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok()),
            Value::UInt(n) => Some(*n),
            _ => None,
        };
        if let Some(whole) = whole {
            return Ok(whole);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to the range of exact integers"
        )]
        Ok(self.number(name)?.round().clamp(0.0, 9_007_199_254_740_992.0) as u64)
    }

    /// Text as it is, `None` for NULL.
    pub fn text(&self, name: &str) -> Result<Option<String>, StatementFault> {
        match self.value(name)? {
            Value::NULL => Ok(None),
            Value::Bytes(bytes) => Ok(Some(String::from_utf8_lossy(bytes).into_owned())),
            other => Ok(Some(other.as_sql(true))),
        }
    }

    /// Text, empty for NULL.
    pub fn words(&self, name: &str) -> Result<String, StatementFault> {
        Ok(self.text(name)?.unwrap_or_default())
    }
}
