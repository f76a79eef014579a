//! Takes an edit back, wherever its lines stand by now; refuses where they are no longer what the edit left.

use super::bytes::Bytes;
use super::hunk::{Draft, Hunk, check};
use super::lines::{line_of, ranges};
use super::operation::Refusal;
use super::perform::{Edited, Note};

/// One edited place, as it is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// Its first line after the edit, from 1.
    pub line: usize,
    /// Where `now` begins within its lines, in bytes.
    pub offset: usize,
    /// Length of its lines, in bytes.
    pub length: usize,
    /// Tells whether its lines are still the same.
    pub check: String,
    /// What the edit put there.
    pub now: Bytes,
    /// What stood there before.
    pub was: Bytes,
}

impl From<&Hunk> for PutBack {
    fn from(hunk: &Hunk) -> Self {
        Self {
            line: hunk.now_line,
            offset: hunk.offset,
            length: hunk.length,
            check: hunk.check.clone(),
            now: hunk.inserted.clone(),
            was: hunk.removed.clone(),
        }
    }
}

impl PutBack {
    /// Whether its lines begin at `at`.
    fn stands(&self, text: &[u8], at: usize) -> bool {
        let end = at.checked_add(self.length);
        let Some(lines) = end.and_then(|end| text.get(at..end)) else { return false };
        let now = self.offset.checked_add(self.now.0.len()).and_then(|end| lines.get(self.offset..end));
        now == Some(&self.now.0[..]) && check(lines) == self.check
    }
}

/// Puts back what an edit has changed.
///
/// # Errors
/// When one of its lines has changed since, or stands in two places.
pub fn put_back(text: &[u8], places: &[PutBack]) -> Result<Edited, Refusal> {
    let starts: Vec<usize> = ranges(text).map(|line| line.start).chain([text.len()]).collect();
    let mut made = Vec::new();
    for place in places {
        let expected = place.line.checked_sub(1).and_then(|line| starts.get(line)).copied();
        let at = if let Some(at) = expected.filter(|at| place.stands(text, *at)) {
            at
        } else {
            let found: Vec<usize> = starts.iter().copied().filter(|at| place.stands(text, *at)).collect();
            match found.as_slice() {
                [one] => *one,
                [] => {
                    let why = "what the edit left there has been changed since";
                    return Err(Refusal { line: Some(place.line), ..Refusal::new(why) }
                        .hint("put it back by hand: `git diff` and the run's report show what was edited"));
                }
                more => {
                    let lines: Vec<_> = more.iter().map(|at| line_of(text, *at)).collect();
                    let why =
                        format!("what the edit left stands in {}", super::operation::lines_words(&lines));
                    return Err(
                        Refusal { line: Some(place.line), ..Refusal::new(why) }.hint("put it back by hand")
                    );
                }
            }
        };
        let from = at + place.offset;
        made.push((from..from + place.now.0.len(), place.was.0.clone()));
    }
    made.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    if made.windows(2).any(|pair| pair[1].0.end > pair[0].0.start) {
        return Err(Refusal::new("two of the places to put back are one by now").hint("put it back by hand"));
    }
    let mut draft = Draft::of(text);
    for (range, with) in made {
        draft.replace(range, &with);
    }
    let (text, hunks) = draft.finish();
    let note = Note::Made(format!("{} places are as they were before", places.len()));
    Ok(Edited { text, hunks, notes: vec![note] })
}
