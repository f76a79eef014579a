//! A runbook read as a part of another: its steps, and all that names them, get the including step's id in front.
//!
//! It must never look for a file: whoever includes brings the text.

use std::collections::BTreeSet;

use super::runbook::{Runbook, read_leniently, read_tree};
use super::step::{BodySpec, StepSpec};
use crate::source::{Diagnostic, Node, NodeKind, Source, yaml};

/// Keys whose value is a step's id.
const STEP_KEYS: [&str; 1] = ["against"];

/// The runbooks that `source` includes by name, in its order; those that they include are not among them.
pub fn included_names(source: &Source) -> Vec<String> {
    let (runbook, _) = read_leniently(source);
    let steps = runbook.map(|runbook| runbook.steps).unwrap_or_default();
    let names = steps.into_iter().filter_map(|step| match step.body {
        BodySpec::Include(include) => Some(include.runbook.value),
        BodySpec::Verb(_) | BodySpec::Ladder(_) => None,
    });
    names.collect()
}

/// As `read_leniently`; each step is called `PREFIX-ID`, and what names one, names it so. Places are those of the text.
pub(crate) fn read_within(source: &Source, prefix: &str) -> (Option<Runbook>, Vec<Diagnostic>) {
    let mut node = match yaml::read(source) {
        Ok(node) => node,
        Err(faults) => return (None, faults),
    };
    let mut faults = Vec::new();
    let as_written = read_tree(source, &node, &mut faults);
    if !faults.is_empty() {
        return (as_written, faults);
    }
    let mut ids = BTreeSet::new();
    collect(as_written.as_ref().map_or(&[], |runbook| &runbook.steps), &mut ids);
    rename(&mut node, &ids, prefix);
    let mut runbook = read_tree(source, &node, &mut faults);
    if let Some(runbook) = &mut runbook {
        call(&mut runbook.steps, prefix);
    }
    (runbook, faults)
}

fn collect(steps: &[StepSpec], ids: &mut BTreeSet<String>) {
    for step in steps {
        ids.insert(step.id.value.clone());
        if let BodySpec::Ladder(ladder) = &step.body {
            collect(&ladder.rungs, ids);
        }
    }
}

fn call(steps: &mut [StepSpec], prefix: &str) {
    for step in steps {
        step.id.value = format!("{prefix}-{}", step.id.value);
        if let BodySpec::Ladder(ladder) = &mut step.body {
            call(&mut ladder.rungs, prefix);
        }
    }
}

fn rename(node: &mut Node, ids: &BTreeSet<String>, prefix: &str) {
    match &mut node.kind {
        NodeKind::Nothing => {}
        NodeKind::Text(text) => text.value = renamed(&text.value, ids, prefix),
        NodeKind::List(items) => items.iter_mut().for_each(|item| rename(item, ids, prefix)),
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                match &mut value.kind {
                    NodeKind::Text(text)
                        if STEP_KEYS.contains(&key.value.as_str()) && ids.contains(&text.value) =>
                    {
                        text.value = format!("{prefix}-{}", text.value);
                    }
                    _ => rename(value, ids, prefix),
                }
            }
        }
    }
}

/// `steps.ID.` of a known step, wherever it stands in a text; a repetition `ID-2` is its step's.
fn renamed(text: &str, ids: &BTreeSet<String>, prefix: &str) -> String {
    const WORD: &str = "steps.";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(WORD) {
        let (before, after) = rest.split_at(at + WORD.len());
        let part_of_a_word = rest[..at].ends_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
        let end = after
            .find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'))
            .unwrap_or(after.len());
        let id = &after[..end];
        let step = id.rsplit_once('-').filter(|(_, number)| number.parse::<u32>().is_ok());
        let known = ids.contains(id) || step.is_some_and(|(step, _)| ids.contains(step));
        out.push_str(before);
        if known && !part_of_a_word && after[end..].starts_with('.') {
            out.push_str(prefix);
            out.push('-');
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_step_names_it_with_the_prefix() {
        let ids = BTreeSet::from(["kill-idle".to_owned(), "each".to_owned()]);
        for (text, told) in [
            ("steps.kill-idle.killed > 3", "steps.fix-kill-idle.killed > 3"),
            ("killed ${{ steps.kill-idle.killed }} of it", "killed ${{ steps.fix-kill-idle.killed }} of it"),
            ("steps.each-2.replaced == 1", "steps.fix-each-2.replaced == 1"),
            ("steps.other.x and steps.kill-idle", "steps.other.x and steps.kill-idle"),
            ("footsteps.each.x, my-steps.each.x", "footsteps.each.x, my-steps.each.x"),
        ] {
            assert_eq!(renamed(text, &ids, "fix"), told);
        }
    }
}
