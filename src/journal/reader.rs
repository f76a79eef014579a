//! Reads a journal back: a torn last line is dropped and said, any other damage is refused with its line.

use std::fs;
use std::path::Path;

use super::chain::{FORMAT, Head, first_line};
use super::entry::{Entry, JournalError};
use crate::source::escape_controls;

/// A journal as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    /// The last line was torn (the machine or the process died while writing it) and was dropped.
    pub torn: bool,
    /// The head of the chain after each entry.
    pub heads: Vec<Head>,
    /// The head of the chain, after the last entry. It also tells the format.
    pub head: Head,
    /// Length of what is whole, in bytes: where a journal that is gone on with is written to.
    pub length: u64,
}

/// Reads a journal's text.
///
/// # Errors
/// Damage other than a torn last line; an unknown format; no entry at all.
pub fn read(path: &str, bytes: &[u8]) -> Result<Recorded, JournalError> {
    let damaged = |line: usize, why: String| JournalError::Damaged { path: path.to_owned(), line, why };
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    // Complete lines end with a newline, so the last piece is empty unless it is torn.
    let tail = lines.pop().unwrap_or_default();
    let torn = !tail.is_empty();
    let Some((header, lines)) = lines.split_first() else {
        return Err(JournalError::Empty { path: path.to_owned() });
    };
    let header = String::from_utf8_lossy(header);
    let format = header.strip_prefix("runbook journal ");
    let known = (1..=FORMAT).find(|format| header == first_line(*format));
    let Some(mut head) = known.and_then(Head::begin) else {
        let found = escape_controls(format.unwrap_or("unknown")).into_owned();
        return Err(JournalError::Format { path: path.to_owned(), found: found.chars().take(40).collect() });
    };
    let (mut entries, mut heads) = (Vec::new(), Vec::new());
    for (index, line) in lines.iter().enumerate() {
        let number = index + 2;
        match parse(line, &head, entries.len() as u64 + 1) {
            Ok((entry, after)) => {
                entries.push(entry);
                heads.push(after);
                head = after;
            }
            // A line ends with its newline, and nothing is written after a failed write: a whole line that does not
            // fit is no accident of a crash.
            Err(why) => return Err(damaged(number, why)),
        }
    }
    if entries.is_empty() {
        return Err(JournalError::Empty { path: path.to_owned() });
    }
    Ok(Recorded { entries, torn, heads, head, length: (bytes.len() - tail.len()) as u64 })
}

fn parse(line: &[u8], before: &Head, expected: u64) -> Result<(Entry, Head), String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not text".to_owned())?;
    let (sum, body) = text.split_once(' ').ok_or_else(|| "cut before its checksum ended".to_owned())?;
    let head = before.after(body);
    if head.short() != sum {
        return Err(if sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            "its checksum does not fit: it, or a line before it, was changed".to_owned()
        } else {
            "its checksum is not readable".to_owned()
        });
    }
    let entry: Entry = serde_json::from_str(body).map_err(|error| {
        // It quotes the line.
        let why: String = error.to_string().chars().take(200).collect();
        format!("it is not an event: {}", escape_controls(&why))
    })?;
    if entry.seq != expected {
        return Err(format!("it is entry {}, and {expected} was expected", entry.seq));
    }
    Ok((entry, head))
}

/// Reads the journal of a run's folder.
///
/// # Errors
/// As [`read`], and when the file cannot be read.
pub fn read_run(folder: &Path) -> Result<Recorded, JournalError> {
    let path = folder.join("journal.jsonl");
    let shown = escape_controls(&path.display().to_string()).into_owned();
    let bytes = fs::read(&path)
        .map_err(|error| JournalError::Unreadable { path: shown.clone(), why: error.to_string() })?;
    read(&shown, &bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::entry::encode;
    use super::*;
    use crate::engine::Event;

    fn journal(count: u64) -> Vec<u8> {
        journal_of(FORMAT, count)
    }

    fn journal_of(format: u32, count: u64) -> Vec<u8> {
        let mut bytes = format!("{}\n", first_line(format)).into_bytes();
        let mut head = Head::begin(format).unwrap();
        for seq in 1..=count {
            let event = Event::Notice { text: format!("number {seq}") };
            let entry = Entry { seq, at: jiff::Timestamp::UNIX_EPOCH, emergency: None, event };
            let (line, after) = encode(&head, &entry).unwrap();
            bytes.extend_from_slice(line.as_bytes());
            head = after;
        }
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        for format in 1..=FORMAT {
            let recorded = read("j", &journal_of(format, 3)).unwrap();
            assert_eq!((recorded.entries.len(), recorded.torn, recorded.head.format()), (3, false, format));
        }
    }

    #[test]
    fn a_torn_tail_is_dropped_and_a_changed_line_refused() {
        for format in 1..=FORMAT {
            let whole = journal_of(format, 3);
            let torn = read("j", &whole[..whole.len() - 5]).unwrap();
            assert_eq!((torn.entries.len(), torn.torn), (2, true));
            let text = String::from_utf8(whole).unwrap().replace("number 2", "number 9");
            let refused = read("j", text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("line 3"), "{refused}");
        }
    }

    #[test]
    fn a_removed_line_and_an_unknown_format_are_refused() {
        let whole = String::from_utf8(journal(3)).unwrap();
        let without: String =
            whole.lines().enumerate().filter(|(n, _)| *n != 2).map(|(_, l)| format!("{l}\n")).collect();
        assert!(matches!(read("j", without.as_bytes()), Err(JournalError::Damaged { line: 3, .. })));
        for other in ["runbook journal 9", "runbook journal 02", "runbook journal", "PK"] {
            let later = whole.replacen(&first_line(FORMAT), other, 1);
            assert!(matches!(read("j", later.as_bytes()), Err(JournalError::Format { .. })), "{other}");
        }
        // An older format's name on a newer chain is no way round its checksums.
        let older = whole.replacen(&first_line(FORMAT), &first_line(1), 1);
        assert!(matches!(read("j", older.as_bytes()), Err(JournalError::Damaged { line: 2, .. })));
        assert!(matches!(read("j", b""), Err(JournalError::Empty { .. })));
    }

    proptest! {
        #[test]
        fn any_flipped_byte_is_noticed(at in 0usize..400, with in 1u8..=255) {
            let mut bytes = journal(4);
            let at = at % bytes.len();
            bytes[at] ^= with;
            // The flip is refused, or it only cut the last line.
            if let Ok(recorded) = read("j", &bytes) {
                prop_assert!(recorded.torn || recorded.entries.len() == 4);
                let whole = read("j", &journal(4)).unwrap();
                prop_assert_eq!(&recorded.entries[..], &whole.entries[..recorded.entries.len()]);
            }
        }

        #[test]
        fn any_damage_is_named_with_its_line_or_is_a_torn_end(
            count in 1_u64..6,
            at in any::<prop::sample::Index>(),
            cut in 0_usize..40,
            put in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b' '), Just(b'"')], 0..40),
        ) {
            let whole = journal(count);
            let from = at.index(whole.len());
            let to = (from + cut).min(whole.len());
            let mut bytes = whole.clone();
            bytes.splice(from..to, put);
            let lines = bytes.split(|byte| *byte == b'\n').count();
            match read("j", &bytes) {
                // What is read is what was written, from the first entry on.
                Ok(recorded) => {
                    let all = read("j", &whole).unwrap().entries;
                    prop_assert_eq!(&recorded.entries[..], &all[..recorded.entries.len()]);
                    prop_assert_eq!(recorded.torn, bytes.last() != Some(&b'\n'));
                }
                Err(JournalError::Damaged { line, why, .. }) => {
                    prop_assert!((2..=lines).contains(&line), "line {} of {}", line, lines);
                    prop_assert!(!why.is_empty());
                }
                Err(JournalError::Format { found, .. }) => prop_assert!(found.len() <= 160),
                Err(JournalError::Empty { .. }) => {}
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read("j", &bytes);
        }
    }
}
