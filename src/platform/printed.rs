//! What a local program prints for later steps: one JSON object on stdout, read into typed values. It must never guess
//! a value, nor let a secret or a control character through.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::secret::Redactor;
use crate::expr::units::{parse_duration, parse_ratio};
use crate::health::{Unit, Value};

/// Most bytes of stdout that are read as outputs.
const WHOLE: usize = 64 << 10;
/// Longest text of an output, in letters.
const LETTERS: usize = 1000;
/// Undeclared names that are said.
const NAMED: usize = 5;

/// The values that `wanted` names, and lines about what was left out. A value that is `null` stays unknown.
///
/// # Errors
/// Says in words what is not as the step declares it; all of it at once.
pub(super) fn read(
    stdout: &[u8],
    wanted: &BTreeMap<String, Unit>,
    redactor: &Redactor,
) -> Result<(BTreeMap<String, Value>, Vec<String>), String> {
    if stdout.len() > WHOLE {
        return Err(format!("it printed more than {WHOLE} bytes on stdout, where its outputs belong"));
    }
    let object = match serde_json::from_slice::<Json>(stdout) {
        Ok(Json::Object(object)) => object,
        Ok(_) => return Err("what it printed on stdout is JSON, and no object".to_owned()),
        Err(_) if stdout.iter().all(u8::is_ascii_whitespace) => {
            return Err("it printed nothing on stdout, where its outputs belong".to_owned());
        }
        Err(error) => return Err(format!("what it printed on stdout is not one JSON object: {error}")),
    };
    let mut values = BTreeMap::new();
    let mut faults = Vec::new();
    for (name, unit) in wanted {
        match object.get(name) {
            None => faults.push(format!("`{name}` is missing")),
            Some(Json::Null) => {}
            Some(json) => match typed(json, *unit, redactor) {
                Some(value) => drop(values.insert(name.clone(), value)),
                None => faults.push(format!("`{name}` is {}, not {}", kind(json), expected(*unit))),
            },
        }
    }
    if !faults.is_empty() {
        return Err(format!("its outputs are not as declared: {}", faults.join(", ")));
    }
    let others: Vec<_> = object.keys().filter(|name| !wanted.contains_key(*name)).collect();
    let mut notes = Vec::new();
    if !others.is_empty() {
        let named: Vec<_> = others.iter().take(NAMED).map(|name| redactor.clean(name)).collect();
        let more =
            if others.len() > NAMED { format!(" and {} more", others.len() - NAMED) } else { String::new() };
        notes.push(format!("not declared, and left out: {}{more}", named.join(", ")));
    }
    Ok((values, notes))
}

fn typed(json: &Json, unit: Unit, redactor: &Redactor) -> Option<Value> {
    let number = || json.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
    match unit {
        Unit::Count => number().map(Value::Count),
        Unit::Ratio => {
            let text = json.as_str().and_then(|text| parse_ratio(text).ok());
            number().filter(|ratio| *ratio <= 1.0).or(text).map(Value::Ratio)
        }
        Unit::Duration => {
            let text = json.as_str().and_then(|text| parse_duration(text).ok());
            number().or(text.map(|time| time.as_secs_f64())).map(|seconds| Value::Duration(Some(seconds)))
        }
        Unit::Rate => number().map(Value::Rate),
        Unit::Truth => json.as_bool().map(Value::Truth),
        Unit::Text => json
            .as_str()
            .filter(|text| text.chars().nth(LETTERS).is_none())
            .map(|text| Value::Text(redactor.clean(text))),
    }
}

const fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}

const fn expected(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "a count (a number, zero or more)",
        Unit::Ratio => "a ratio (0 to 1, or a text such as \"40%\")",
        Unit::Duration => "a duration (seconds, or a text such as \"30s\")",
        Unit::Rate => "a rate",
        Unit::Truth => "true or false",
        Unit::Text => "a text of 1000 letters at most",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::secret::Secret;

    fn wanted() -> BTreeMap<String, Unit> {
        [
            ("rows", Unit::Count),
            ("share", Unit::Ratio),
            ("lag", Unit::Duration),
            ("healthy", Unit::Truth),
            ("note", Unit::Text),
        ]
        .into_iter()
        .map(|(name, unit)| (name.to_owned(), unit))
        .collect()
    }

    #[test]
    fn one_object_becomes_typed_values_and_what_is_null_stays_unknown() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::from("s3cret"));
        let text = br#" {"rows": 12, "share": "40%", "lag": 1.5, "healthy": null, "note": "s3cret \u001b[2J", "odd\n": 1} "#;
        let (values, notes) = read(text, &wanted(), &redactor).unwrap();
        assert_eq!(values["rows"], Value::Count(12.0));
        assert_eq!(values["share"], Value::Ratio(0.4));
        assert_eq!(values["lag"], Value::Duration(Some(1.5)));
        assert!(!values.contains_key("healthy"), "{values:?}");
        assert_eq!(values["note"], Value::Text("[redacted] \\x1b[2J".to_owned()));
        assert_eq!(notes, ["not declared, and left out: odd\\x0a"]);
    }

    #[test]
    fn what_is_not_as_declared_is_said_all_at_once() {
        let redactor = Redactor::default();
        let long = format!(r#"{{"note":"{}"}}"#, "x".repeat(1001));
        for (text, words) in [
            (
                r#"{"rows": -1, "share": 40, "lag": "soon", "healthy": "yes", "note": []}"#,
                &[
                    "`rows` is a number, not a count",
                    "`share` is a number, not a ratio",
                    "`lag` is a text, not a duration",
                    "`healthy` is a text, not true or false",
                    "`note` is a list, not a text",
                ][..],
            ),
            ("{}", &["`rows` is missing", "`note` is missing"]),
            (&long, &["`note` is a text, not a text of 1000 letters"]),
            ("[1]", &["no object"]),
            (" \n", &["printed nothing"]),
            ("done\n{}", &["not one JSON object"]),
            (r#"{"rows": 1} {"rows": 2}"#, &["not one JSON object"]),
        ] {
            let why = read(text.as_bytes(), &wanted(), &redactor).unwrap_err();
            for word in words {
                assert!(why.contains(word), "{text}: {why}");
            }
        }
        let flood = vec![b' '; WHOLE + 1];
        assert!(read(&flood, &wanted(), &redactor).unwrap_err().contains("more than 65536 bytes"));
    }
}
