//! One answer typed at the terminal: a line that a person edits, redrawn while time runs and health changes beside it. It
//! must never take for an answer what was not typed and ended, nor keep waiting when the question was withdrawn.

use std::io::Write;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::prompt::forget_what_is_typed_ahead;
use super::words::{connections, wrap};
use crate::action::{Answer, Question, Takes};
use crate::engine::driver::{Asking, Beside};
use crate::health::show_seconds;
use crate::source::escape_controls;

/// How often it is looked whether the question still stands, in nanoseconds.
const LOOK: i64 = 100_000_000;
/// Longest answer, in bytes.
const LONGEST: usize = 1000;

/// What came of it.
pub(super) enum Entry {
    /// An answer.
    Answer(Answer),
    /// The question was withdrawn.
    Withdrawn,
    /// The terminal does not read any more.
    Gone,
}

/// The terminal without echo and line editing of its own; Ctrl-C stays a signal. Dropping it puts back what was.
struct Keys(Termios);

impl Keys {
    fn take() -> Option<Self> {
        let was = tcgetattr(std::io::stdin()).ok()?;
        let mut keys = was.clone();
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &keys).ok()?;
        Some(Self(was))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// What a person has typed so far.
#[derive(Default)]
struct Typed {
    bytes: Vec<u8>,
    /// Inside an escape sequence (an arrow key), which is left out.
    escaped: bool,
}

impl Typed {
    /// Takes one byte; true when the line is ended.
    fn take(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = !(byte.is_ascii_alphabetic() || byte == b'~'),
            b'\r' | b'\n' => return true,
            0x1b => self.escaped = true,
            0x15 => self.bytes.clear(),
            0x08 | 0x7f => {
                // A letter may be several bytes.
                while self.bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte if byte < 0x20 => {}
            byte if self.bytes.len() < LONGEST => self.bytes.push(byte),
            _ => {}
        }
        false
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Asks until there is an answer. To be called while nothing else draws.
pub(super) fn typed_answer(question: &Question, asking: &Asking) -> Entry {
    let width = usize::from(console::Term::stderr().size().1).max(20);
    let mut out = std::io::stderr();
    for line in &question.lines {
        let _ = writeln!(out, "  {}", wrap(&escape_controls(line), width.saturating_sub(3), 4));
    }
    if question.takes != Takes::YesNo {
        let takes = format!("type {}", question.takes.words());
        let _ = writeln!(out, "  {}", wrap(&escape_controls(&takes), width.saturating_sub(3), 4));
    }
    let Some(_keys) = Keys::take() else { return Entry::Gone };
    forget_what_is_typed_ahead();
    let mut typed = Typed::default();
    let mut shown = String::new();
    loop {
        let prompt = prompt(question, &asking.beside(), &typed.text(), width);
        if prompt != shown {
            let _ = write!(out, "\r\x1b[K{prompt}");
            let _ = out.flush();
            shown = prompt;
        }
        if asking.is_withdrawn() {
            let _ = writeln!(out);
            return Entry::Withdrawn;
        }
        let stdin = std::io::stdin();
        let mut wanted = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: LOOK })) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(_) => return Entry::Gone,
        }
        let mut bytes = [0; 64];
        let read = match rustix::io::read(&stdin, &mut bytes) {
            Ok(0) => return Entry::Gone,
            Ok(read) => read,
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => continue,
            Err(_) => return Entry::Gone,
        };
        for byte in &bytes[..read] {
            let ended = typed.take(*byte) || (question.takes == Takes::YesNo && b"yYnN".contains(byte));
            if !ended {
                continue;
            }
            // Letters of a word may be typed either way; those of a value stand as they are.
            let text = match question.takes {
                Takes::Value(_) => typed.text(),
                Takes::YesNo | Takes::Deed => typed.text().to_lowercase(),
            };
            match question.takes.read(&text) {
                Ok(answer) => {
                    let _ = writeln!(out, "\r\x1b[K{} {answer}", escape_controls(&question.text));
                    forget_what_is_typed_ahead();
                    return Entry::Answer(answer);
                }
                Err(why) => {
                    let why = escape_controls(&why).into_owned();
                    let _ = writeln!(out, "\r\x1b[K  {}", wrap(&why, width.saturating_sub(3), 4));
                    typed = Typed::default();
                    shown.clear();
                    break;
                }
            }
        }
    }
}

/// The line with the question: what it takes, what is left of its time, health now, and what is typed so far. Never
/// wider than the screen, so that it can be redrawn in place.
fn prompt(question: &Question, beside: &Beside, typed: &str, width: usize) -> String {
    let mut told = Vec::new();
    if let Some(left) = beside.left {
        let then = question.otherwise.as_ref().map_or(String::new(), |answer| format!(", then {answer}"));
        told.push(format!("{} left{then}", show_seconds(left.as_secs_f64().ceil())));
    }
    if !beside.metrics.is_empty() && question.takes != Takes::YesNo {
        told.push(format!("connections {}", connections(&beside.metrics)));
    }
    let told = if told.is_empty() { String::new() } else { format!("({}) ", told.join(" · ")) };
    let head = escape_controls(&question.text).into_owned();
    let typed = escape_controls(typed).into_owned();
    let room = width.saturating_sub(1);
    let takes =
        if question.takes == Takes::YesNo { format!("[{}] ", question.takes.words()) } else { String::new() };
    let whole = format!("{head} {takes}{told}");
    // First what stands beside it makes room, then the question; what is typed is always seen.
    let typed: String = {
        let count = typed.chars().count();
        typed.chars().skip(count.saturating_sub(room / 2)).collect()
    };
    let room = room.saturating_sub(console::measure_text_width(&typed));
    format!("{}{typed}", console::truncate_str(&whole, room, "… "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::action::Deed;
    use crate::health::{Metric, Value};

    #[test]
    fn a_line_is_edited_as_everywhere() {
        let mut typed = Typed::default();
        for byte in "nö\u{7f}o\u{1b}[A\u{1b}[3~\u{1}pe".bytes() {
            assert!(!typed.take(byte));
        }
        assert_eq!(typed.text(), "nope");
        assert!(!typed.take(0x15) && typed.text().is_empty());
        for byte in "done".bytes() {
            typed.take(byte);
        }
        assert!(typed.take(b'\r'));
        assert_eq!(typed.text(), "done");
    }

    #[test]
    fn the_question_counts_down_and_is_never_wider_than_the_screen() {
        let question = Question {
            takes: Takes::Deed,
            otherwise: Some(Answer::Deed(Deed::Skip)),
            ..Question::yes_or_no("Is it done?")
        };
        let metrics = [
            (Metric::Used, Value::Count(60.0)),
            (Metric::Limit, Value::Count(150.0)),
            (Metric::Usage, Value::Ratio(0.4)),
        ];
        let beside = Beside { left: Some(Duration::from_secs(598)), metrics: metrics.into_iter().collect() };
        assert_eq!(
            prompt(&question, &beside, "do", 80),
            "Is it done? (9m58s left, then skip · connections 60/150 (40%)) do"
        );
        for typed in ["", "done", &"x".repeat(200)] {
            for width in [20, 40, 80] {
                let line = prompt(&question, &beside, typed, width);
                assert!(console::measure_text_width(&line) < width, "{width}: {line}");
            }
        }
    }
}
