//! What an edit changes, as data: enough to make it, to show it and to take it back, and nothing of the lines around it,
//! which may hold passwords.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::bytes::Bytes;
use super::lines::{line_end, line_of, line_start};

/// One edited place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// Where it begins, in bytes of the text before.
    pub at: usize,
    /// Its line before, from 1.
    pub line: usize,
    /// What stood there.
    pub removed: Bytes,
    /// What stands there now.
    pub inserted: Bytes,
    /// Its line after, from 1.
    pub now_line: usize,
    /// Where `inserted` begins within its lines after, in bytes.
    pub offset: usize,
    /// Length of its lines after, in bytes.
    pub length: usize,
    /// Tells whether its lines after are still the same: see [`check`].
    pub check: String,
}

/// SHA-256 of a text, in hexadecimal digits.
pub fn digest(text: &[u8]) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning of a digest of whole lines. They may hold a password beside what was edited, and a journal may be handed
/// on: so short a digest tells a changed line from an unchanged one, and confirms no guess.
pub(super) fn check(lines: &[u8]) -> String {
    digest(lines)[..4].to_owned()
}

/// Makes the edits in `text`, of which the hunks were made.
///
/// # Errors
/// When the text is not that of which they were made; says where.
pub fn apply(text: &[u8], hunks: &[Hunk]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for hunk in hunks {
        let end = hunk.at.checked_add(hunk.removed.0.len());
        let there = end.and_then(|end| text.get(hunk.at..end)).is_some_and(|part| part == hunk.removed.0);
        if !there || hunk.at < from {
            return Err(format!("line {} is not what it was", hunk.line));
        }
        out.extend_from_slice(&text[from..hunk.at]);
        out.extend_from_slice(&hunk.inserted.0);
        from = hunk.at + hunk.removed.0.len();
    }
    out.extend_from_slice(&text[from..]);
    Ok(out)
}

/// A text that is being edited, in pieces of the original and of what was put in: so that the places come out exactly,
/// however many edits follow one another.
pub(super) struct Draft<'a> {
    original: &'a [u8],
    pieces: Vec<Piece>,
    text: Vec<u8>,
}

enum Piece {
    Kept(Range<usize>),
    New(Vec<u8>),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Kept(range) => range.len(),
            Self::New(bytes) => bytes.len(),
        }
    }

    fn split(self, at: usize) -> (Self, Self) {
        match self {
            Self::Kept(range) => {
                let middle = range.start + at;
                (Self::Kept(range.start..middle), Self::Kept(middle..range.end))
            }
            Self::New(mut bytes) => {
                let rest = bytes.split_off(at);
                (Self::New(bytes), Self::New(rest))
            }
        }
    }
}

impl<'a> Draft<'a> {
    pub(super) fn of(original: &'a [u8]) -> Self {
        Self { original, pieces: vec![Piece::Kept(0..original.len())], text: original.to_vec() }
    }

    /// The text as it is now.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Replaces a range of the text as it is now.
    pub(super) fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        let mut pieces = Vec::with_capacity(self.pieces.len() + 2);
        let (mut at, mut new) = (0, Some(Piece::New(with.to_vec())));
        for piece in self.pieces.drain(..) {
            let (start, length) = (at, piece.len());
            at += length;
            let head = range.start.saturating_sub(start).min(length);
            let gone = range.end.saturating_sub(start).min(length) - head;
            let (front, rest) = piece.split(head);
            pieces.push(front);
            if at >= range.start {
                pieces.extend(new.take());
            }
            pieces.push(rest.split(gone).1);
        }
        pieces.extend(new);
        pieces.retain(|piece| piece.len() > 0);
        self.pieces = pieces;
        self.text.splice(range, with.iter().copied());
    }

    /// The text, and its edited places.
    pub(super) fn finish(self) -> (Vec<u8>, Vec<Hunk>) {
        let mut hunks = Vec::new();
        // Where the original has been copied to, and what was put in since.
        let (mut from, mut new) = (0, Vec::new());
        let mut place = |from: usize, to: usize, new: &mut Vec<u8>| {
            let inserted = std::mem::take(new);
            let removed = &self.original[from..to];
            let front = removed.iter().zip(&inserted).take_while(|(a, b)| a == b).count();
            let back = removed[front..]
                .iter()
                .rev()
                .zip(inserted[front..].iter().rev())
                .take_while(|(a, b)| a == b)
                .count();
            let removed = removed[front..removed.len() - back].to_vec();
            let inserted = inserted[front..inserted.len() - back].to_vec();
            if !removed.is_empty() || !inserted.is_empty() {
                hunks.push((from + front, removed, inserted));
            }
        };
        for piece in &self.pieces {
            match piece {
                Piece::New(bytes) => new.extend_from_slice(bytes),
                Piece::Kept(range) => {
                    place(from, range.start, &mut new);
                    from = range.end;
                }
            }
        }
        place(from, self.original.len(), &mut new);
        let (mut told, mut shift) = (Vec::with_capacity(hunks.len()), 0_isize);
        for (at, removed, inserted) in hunks {
            let now = at.saturating_add_signed(shift);
            let lines = lines_of(&self.text, now..now + inserted.len());
            shift += inserted.len().cast_signed() - removed.len().cast_signed();
            told.push(Hunk {
                at,
                line: line_of(self.original, at),
                now_line: line_of(&self.text, lines.start),
                offset: now - lines.start,
                length: lines.len(),
                check: check(&self.text[lines]),
                removed: Bytes(removed),
                inserted: Bytes(inserted),
            });
        }
        (self.text, told)
    }
}

/// The whole lines that a place stands in; lines that were put in whole are those alone.
fn lines_of(text: &[u8], place: Range<usize>) -> Range<usize> {
    let whole = !place.is_empty() && text[place.end - 1] == b'\n';
    let end = if whole { place.end } else { line_end(text, place.end) };
    line_start(text, place.start)..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Any replacements in a row: the places tell the same story as the text.
        #[test]
        fn the_places_give_the_text(
            text in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..40),
            edits in prop::collection::vec((0_usize..60, 0_usize..6, "[ab\n]{0,4}"), 0..6),
        ) {
            let mut draft = Draft::of(&text);
            for (at, length, with) in edits {
                let at = at.min(draft.text().len());
                let end = (at + length).min(draft.text().len());
                draft.replace(at..end, with.as_bytes());
            }
            let now = draft.text().to_vec();
            let (out, hunks) = draft.finish();
            prop_assert_eq!(&out, &now);
            prop_assert_eq!(apply(&text, &hunks), Ok(out));
            for pair in hunks.windows(2) {
                prop_assert!(pair[0].at + pair[0].removed.0.len() <= pair[1].at);
            }
        }
    }

    #[test]
    fn a_text_that_is_another_is_refused() {
        let mut draft = Draft::of(b"one\ntwo\n");
        draft.replace(4..7, b"2");
        let (_, hunks) = draft.finish();
        assert_eq!(apply(b"one\ntoo\n", &hunks), Err("line 2 is not what it was".to_owned()));
        assert!(apply(b"", &hunks).is_err());
    }
}
