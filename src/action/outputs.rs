//! Outputs that a step declares itself: `outputs: { rows: count, healthy: bool }`.

use std::collections::BTreeMap;

use super::shape::{Kind, Reading};
use super::verb::Declared;
use crate::health::Unit;
use crate::source::{Diagnostic, Node, NodeKind};

/// The types of an output, as an input's are called.
const KINDS: &[&str] = &["count", "ratio", "duration", "bool", "text"];
/// The key under which they stand.
pub(super) const KEY: &str = "outputs";
/// What the key holds.
pub(super) const OUTPUTS: Kind = Kind::Each(&Kind::Word(KINDS));
/// Most outputs of one step.
const MOST: usize = 50;

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "count" => Unit::Count,
        "ratio" => Unit::Ratio,
        "duration" => Unit::Duration,
        "bool" => Unit::Truth,
        "text" => Unit::Text,
        _ => return None,
    })
}

/// Those that can be read among the parameters of a step; faults are [`read`]'s to tell.
pub(super) fn declared(parameters: &Node) -> Vec<Declared> {
    let outputs = parameters.map("").ok().and_then(|map| map.get(KEY)).map(|node| &node.kind);
    let Some(NodeKind::Map(entries)) = outputs else { return Vec::new() };
    let typed = entries.iter().filter_map(|(name, node)| {
        let word = node.text("").ok()?;
        Some(Declared { name: name.value.clone(), unit: unit(&word)? })
    });
    typed.collect()
}

/// Reads them; `taken` are names that the verb gives already.
pub(super) fn read(reading: &mut Reading<'_, '_>, taken: &[&str]) -> BTreeMap<String, Unit> {
    let mut read = BTreeMap::new();
    let entries = match reading.node(KEY).map(|node| node.map("a map of outputs")) {
        None => return read,
        Some(Err(fault)) => {
            reading.faults().push(fault.help("write `outputs: { rows: count, healthy: bool }`"));
            return read;
        }
        Some(Ok(map)) => map.entries(),
    };
    if entries.len() > MOST {
        let fault = Diagnostic::error(entries[MOST].0.span, format!("a step has {MOST} outputs at most"));
        reading.faults().push(fault);
    }
    for (name, node) in entries {
        let good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !good {
            let told = crate::source::escape_controls(name);
            let fault = Diagnostic::error(name.span, format!("`{told}` is no name for an output"));
            reading.faults().push(fault.help("use small letters, digits and `_`, beginning with a letter"));
        } else if taken.contains(&name.as_str()) {
            let fault =
                Diagnostic::error(name.span, format!("every such step has the output `{}`", name.value));
            reading.faults().push(fault.help("give this one another name"));
        }
        match node.text("a type") {
            Ok(word) => match unit(&word) {
                Some(unit) => drop(read.insert(name.value.clone(), unit)),
                None => reading.faults().push(crate::source::unknown(&word, KINDS, "type")),
            },
            Err(fault) => reading.faults().push(fault),
        }
    }
    read
}
