//! The entries by which an `edit` step puts back what an earlier one has changed.

use super::shape::{Kind, Reading, Shape, required};
use crate::edit::{Bytes, PutBack};
use crate::source::{Diagnostic, Node, NodeKind};

/// An entry's keys.
pub(super) const PUT_BACK: Shape = Shape {
    name: "put_back entry",
    fields: &[
        required(
            "line",
            Kind::Count,
            "Line that the edit left, from 1; when lines moved since, it is looked for.",
        ),
        required("offset", Kind::Count, "Where in it the edit begins, in bytes."),
        required("length", Kind::Count, "Length of the lines that the edit left, in bytes."),
        required(
            "check",
            Kind::Text,
            "The first digits of their SHA-256: they must be as the edit left them.",
        ),
        required("now", Kind::Text, "What the edit put there; bytes that are no text as `\\xNN`."),
        required("was", Kind::Text, "What stood there before."),
    ],
    short: None,
    empty: false,
    open: false,
};

/// Reads the entries; faults of all of them at once.
pub(super) fn places(node: &Node, faults: &mut Vec<Diagnostic>) -> Vec<PutBack> {
    let NodeKind::List(items) = &node.kind else {
        faults.push(node.mismatch("a list of places"));
        return Vec::new();
    };
    items.iter().filter_map(|item| place(item, faults)).collect()
}

fn place(node: &Node, faults: &mut Vec<Diagnostic>) -> Option<PutBack> {
    let mut reading = Reading::begin(node, &PUT_BACK, node.span, faults)?;
    let line = count(&mut reading, "line");
    let offset = count(&mut reading, "offset");
    let length = count(&mut reading, "length");
    let check = reading.text("check").map(|text| text.value);
    let now = bytes(&mut reading, "now");
    let was = bytes(&mut reading, "was");
    Some(PutBack { line: line?, offset: offset?, length: length?, check: check?, now: now?, was: was? })
}

fn count(reading: &mut Reading<'_, '_>, key: &str) -> Option<usize> {
    let text = reading.text(key)?;
    let number = text.parse().ok();
    if number.is_none() {
        reading.faults().push(Diagnostic::error(text.span, format!("`{}` is no whole number", text.value)));
    }
    number
}

fn bytes(reading: &mut Reading<'_, '_>, key: &str) -> Option<Bytes> {
    let text = reading.text(key)?;
    match Bytes::parse(&text) {
        Ok(bytes) => Some(bytes),
        Err(why) => {
            reading.faults().push(Diagnostic::error(text.span, why));
            None
        }
    }
}
