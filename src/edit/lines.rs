//! Lines of a file: where they begin, how they end.

use std::ops::Range;

/// Number of the line (from 1) that holds the byte at `at`.
pub(super) fn line_of(text: &[u8], at: usize) -> usize {
    text[..at.min(text.len())].split(|byte| *byte == b'\n').count()
}

/// Where the line begins that holds `at`.
pub(super) fn line_start(text: &[u8], at: usize) -> usize {
    text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1)
}

/// Where the line that holds `at` ends, its line end included.
pub(super) fn line_end(text: &[u8], at: usize) -> usize {
    text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |newline| at + newline + 1)
}

/// A line without its end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Every line with its end, in place.
pub(super) fn ranges(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        at = line_end(text, start);
        (start < text.len()).then_some(start..at)
    })
}

/// How a new line at `at` ends: as the line before it, or as the first that has an end.
pub(super) fn ending_at(text: &[u8], at: usize) -> &'static [u8] {
    let before = text[..at].iter().rposition(|byte| *byte == b'\n');
    match before.or_else(|| text.iter().position(|byte| *byte == b'\n')) {
        Some(newline) if newline > 0 && text[newline - 1] == b'\r' => b"\r\n",
        _ => b"\n",
    }
}

/// The part of `range` without spaces and tabs around it.
pub(super) fn trimmed(text: &[u8], range: Range<usize>) -> Range<usize> {
    let part = &text[range.clone()];
    let front = part.len() - part.trim_ascii_start().len();
    let start = range.start + front;
    start..start + part.trim_ascii().len()
}

/// Spaces and tabs at the beginning of a line.
pub(super) fn indent(line: &[u8]) -> usize {
    line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

/// Where `needle` stands in `text`, without overlap.
pub(super) fn find_all<'a>(text: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        if needle.is_empty() {
            return None;
        }
        let found = text.get(from..)?.windows(needle.len()).position(|part| part == needle)?;
        let at = from + found;
        from = at + needle.len();
        Some(at)
    })
}
