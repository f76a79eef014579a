//! Inputs bound from their defaults and the command line.

use std::collections::BTreeMap;

use super::model::Bound;
use crate::source::did_you_mean;
use crate::spec::InputSpec;

/// Binds the inputs: defaults, and `--set name=value`. Every fault at once.
///
/// # Errors
/// Sentences for the command line.
pub fn bind_inputs(
    specs: &[InputSpec],
    set: &[(String, String)],
) -> Result<BTreeMap<String, Bound>, Vec<String>> {
    let mut faults = Vec::new();
    let mut inputs = BTreeMap::new();
    for (name, _) in set {
        if !specs.iter().any(|spec| spec.name.value == *name) {
            let known: Vec<&str> = specs.iter().map(|spec| spec.name.value.as_str()).collect();
            let help = match did_you_mean(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("it has: {}", known.join(", ")),
            };
            let name = crate::source::escape_controls(name);
            faults.push(format!("--set {name}: the runbook has no such input; {help}"));
        }
    }
    for spec in specs {
        let name = &spec.name.value;
        let given = set.iter().rev().find(|(key, _)| key == name);
        let (text, origin) = match (given, &spec.default) {
            (Some((_, text)), _) => (text.clone(), "--set"),
            (None, Some(default)) => (default.value.clone(), "default"),
            (None, None) => {
                faults.push(format!("the input `{name}` must be set: --set {name}=…, {}", spec.takes()));
                continue;
            }
        };
        match spec.parse(&text) {
            Ok(value) => {
                inputs.insert(name.clone(), Bound { value, origin: origin.to_owned() });
            }
            Err(why) => faults.push(format!("--set {name}: {}", crate::source::escape_controls(&why))),
        }
    }
    if faults.is_empty() { Ok(inputs) } else { Err(faults) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Value;
    use crate::source::Source;

    const BOOK: &str = "runbook: 1\nname: x\nsummary: s\ninputs:\n  \
        below: { type: ratio, default: 40%, max: 90% }\n  who: { type: text }\nsteps:\n  - confirm: ${{ inputs.who }}?\n";

    fn bind(set: &[(&str, &str)]) -> Result<BTreeMap<String, Bound>, Vec<String>> {
        let runbook = crate::spec::read(&Source::new("t", BOOK)).unwrap();
        let set: Vec<_> = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        bind_inputs(&runbook.inputs, &set)
    }

    #[test]
    fn the_last_set_counts_and_defaults_fill_in() {
        let bound = bind(&[("who", "you"), ("who", "me")]).unwrap();
        assert_eq!(bound["who"], Bound { value: Value::Text("me".into()), origin: "--set".into() });
        assert_eq!(bound["below"], Bound { value: Value::Ratio(0.4), origin: "default".into() });
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let faults = bind(&[("belwo", "50%"), ("below", "95%")]).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[0].contains("did you mean `below`"), "{faults:?}");
        assert!(faults[1].contains("too large"), "{faults:?}");
        assert!(faults[2].contains("`who` must be set"), "{faults:?}");
        assert!(bind(&[("who", "\u{1b}[2J")]).unwrap_err()[0].contains("U+001B"));
    }
}
