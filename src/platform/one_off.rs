//! One-off dynos as data: what is asked for, what their output says, and what the log tells of their end. Pure.
//!
//! The API never reports an exit code. Attached, it is printed behind a marker by the shell that ran the command; detached,
//! it stands in the log. Where neither came, it is unknown, and must never be taken for 0.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::facts::LogLine;
use super::secret::Redactor;

/// What stands before the exit code, as Heroku's own command line writes it. U+FFFF is no character of any text.
const MARK: &str = "\u{ffff} heroku-command-exit-status: ";
/// What stands before the token by which a one-off dyno is known for ours: a comment of the shell's.
const TOKEN: &str = " # runbook ";
/// Bytes of a line without an end after which it is shown in pieces; a mark within the last of them is kept whole.
const LINE: usize = 8 << 10;
const KEPT_BACK: usize = 64;
/// Lines that are shown and written down; the last of all are kept.
const SHOWN: usize = 1000;
/// Last lines that are kept.
const LAST: usize = 30;
/// Characters of a line that a person reads.
const WIDTH: usize = 500;

/// A one-off dyno that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOff {
    /// What the dyno's shell runs.
    pub command: String,
    /// By which it is known for ours, in the list of dynos and in the log.
    pub token: String,
    /// How its output and its exit code are had.
    pub attach: Attach,
    /// Dyno size; the platform's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Merged over the config vars. No secrets: those are config vars, which the dyno has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The platform ends it after so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<u64>,
    /// An exit code that stays unknown is no failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unknown_exit_is_fine: bool,
}

/// How a one-off dyno's output and exit code are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attach {
    /// Through rendezvous; through the log where its port cannot be reached.
    Auto,
    /// Through rendezvous only.
    Always,
    /// Through the log only.
    Never,
}

impl OneOff {
    /// What is sent for an attached dyno.
    pub(in crate::platform) fn attached_command(&self) -> String {
        format!("{} ; echo \"{MARK}$?\"{TOKEN}{}", self.command, self.token)
    }

    /// What is sent for a detached one: its exit code is the dyno's.
    pub(in crate::platform) fn detached_command(&self) -> String {
        format!("{}{TOKEN}{}", self.command, self.token)
    }

    /// Whether a command is this one's.
    pub(in crate::platform) fn is_in(&self, command: &str) -> bool {
        command.contains(&format!("{TOKEN}{}", self.token))
    }
}

/// What is known of a one-off dyno that is over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::platform) struct Fate {
    /// Its command has begun: it said something, or it completed.
    pub began: bool,
    /// Nobody attached in time (R13): it waited, and nothing has run.
    pub unclaimed: bool,
    /// The exit code of the dyno's shell.
    pub exit: Option<i64>,
    /// It is over; `Some(true)` when it completed, which is exit code 0.
    pub completed: Option<bool>,
}

impl Fate {
    /// Takes in one line of its log.
    pub(in crate::platform) fn take(&mut self, line: &LogLine) {
        let message = line.message.as_str();
        self.unclaimed |= message.starts_with("Error R13");
        if line.source == "app" {
            // The platform's own words while nobody has attached yet.
            let waiting = message.starts_with("Awaiting client") || message.starts_with("Error R13");
            self.began |= !waiting && !message.trim().is_empty();
        } else if let Some(code) = message.strip_prefix("Process exited with status ") {
            self.exit = code.split_whitespace().next().and_then(|code| code.parse().ok()).or(self.exit);
        } else if let Some(state) = message.strip_prefix("State changed from ") {
            match state.rsplit(" to ").next() {
                Some("complete") => {
                    self.completed = Some(true);
                    self.began = true;
                }
                Some("crashed") => self.completed = Some(false),
                _ => {}
            }
        }
    }

    /// What the log tells of the dyno of this name.
    pub(in crate::platform) fn of(lines: &[LogLine], name: &str) -> Self {
        let mut fate = Self::default();
        lines.iter().filter(|line| line.process == name).for_each(|line| fate.take(line));
        fate
    }

    /// The exit code, where it is known.
    pub(in crate::platform) fn code(&self) -> Option<i64> {
        self.exit.or_else(|| self.completed.filter(|completed| *completed).map(|_| 0))
    }
}

/// Puts an attached dyno's output together, whatever pieces it comes in, and finds the exit code in it.
pub(in crate::platform) struct Output<'a> {
    redactor: &'a Redactor,
    emit: &'a (dyn Fn(&str) + Sync),
    begun: Vec<u8>,
    shown: usize,
    /// The last lines.
    pub last: VecDeque<String>,
    /// The exit code: the last mark's, since a program may print one, and the shell's comes after it.
    pub exit: Option<i64>,
}

impl<'a> Output<'a> {
    pub(in crate::platform) fn new(redactor: &'a Redactor, emit: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { redactor, emit, begun: Vec::new(), shown: 0, last: VecDeque::new(), exit: None }
    }

    /// Takes in what has come.
    pub(in crate::platform) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line();
                continue;
            }
            self.begun.push(*byte);
            if self.begun.len() > LINE {
                let kept = self.begun.split_off(LINE - KEPT_BACK);
                self.end_line();
                self.begun = kept;
            }
        }
    }

    /// The stream is over.
    pub(in crate::platform) fn end(&mut self) {
        if !self.begun.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.begun).into_owned();
        self.begun.clear();
        let line = line.trim_end_matches('\r');
        let mut text = line;
        if let Some(at) = line.rfind(MARK) {
            let digits: String = line[at + MARK.len()..].chars().take_while(char::is_ascii_digit).collect();
            if let Ok(code) = digits.parse() {
                self.exit = Some(code);
                text = &line[..at];
                if text.is_empty() {
                    return;
                }
            }
        }
        // A bar that redraws itself: its last state.
        self.line(text.rsplit('\r').next().unwrap_or_default());
    }

    /// Shows and keeps one line, made safe.
    pub(in crate::platform) fn line(&mut self, text: &str) {
        let clean = self.redactor.clean(text);
        let clean: String = clean.chars().take(WIDTH).collect();
        self.shown += 1;
        match self.shown {
            ..=SHOWN => (self.emit)(&clean),
            shown if shown == SHOWN + 1 => (self.emit)("… more lines are not shown; the last are kept"),
            _ => {}
        }
        self.last.push_back(clean);
        if self.last.len() > LAST {
            self.last.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<String>, Option<i64>) {
        let (redactor, told) = (Redactor::default(), Mutex::new(Vec::new()));
        let emit = |line: &str| told.lock().unwrap().push(line.to_owned());
        let mut output = Output::new(&redactor, &emit);
        for piece in pieces {
            output.feed(piece);
        }
        output.end();
        let exit = output.exit;
        (told.into_inner().unwrap(), exit)
    }

    #[test]
    fn the_exit_code_is_the_last_marks_and_none_without_one() {
        for (text, lines, exit) in [
            ("one\r\ntwo\r\n\u{ffff} heroku-command-exit-status: 0\r\n", vec!["one", "two"], Some(0)),
            ("no newline\u{ffff} heroku-command-exit-status: 255", vec!["no newline"], Some(255)),
            (
                "\u{ffff} heroku-command-exit-status: 0\nfaked\n\u{ffff} heroku-command-exit-status: 3\n",
                vec!["faked"],
                Some(3),
            ),
            ("cut off in the mi", vec!["cut off in the mi"], None),
            ("\u{ffff} heroku-command-exit-status: ", vec!["\u{ffff} heroku-command-exit-status: "], None),
            (" 10%\r 50%\r100%\r\n", vec!["100%"], None),
            ("", vec![], None),
        ] {
            let (told, code) = read(&[text.as_bytes()]);
            assert_eq!(code, exit, "{text:?}");
            assert_eq!(told.len(), lines.len(), "{told:?}");
            if exit.is_some() {
                assert_eq!(told, lines);
            }
        }
    }

    #[test]
    fn hostile_output_is_made_safe_and_bounded() {
        let (told, _) = read(&[b"\x1b]0;x\x07 \xff rendezvous://h:5000/secret\n"]);
        assert!(!told[0].contains(['\u{1b}', '\u{7}']) && told[0].contains("[redacted]"), "{told:?}");
        let many = "line\n".repeat(SHOWN + 500);
        assert_eq!(read(&[many.as_bytes()]).0.len(), SHOWN + 1);
        let mut long = vec![b'x'; 3 * LINE];
        long.extend_from_slice("\u{ffff} heroku-command-exit-status: 7".as_bytes());
        let (told, exit) = read(&[&long]);
        assert!(exit == Some(7) && told.iter().all(|line| line.chars().count() <= WIDTH));
    }

    proptest! {
        #[test]
        fn the_mark_is_found_however_it_is_cut(before in 0_usize..LINE * 2, piece in 1_usize..40, code in 0_i64..256) {
            let mut text = vec![b'x'; before];
            text.extend_from_slice(format!("\u{ffff} heroku-command-exit-status: {code}\r\n").as_bytes());
            let pieces: Vec<&[u8]> = text.chunks(piece).collect();
            prop_assert_eq!(read(&pieces).1, Some(code));
        }
    }

    fn line(source: &str, message: &str) -> LogLine {
        let (at, process) = (String::new(), "run.1".to_owned());
        LogLine { at, source: source.into(), process, message: message.into() }
    }

    #[test]
    fn the_log_tells_what_became_of_it_and_what_it_does_not_tell_is_unknown() {
        for (lines, began, code, over) in [
            (
                vec![
                    ("app", "done"),
                    ("heroku", "Process exited with status 3"),
                    ("heroku", "State changed from up to crashed"),
                ],
                true,
                Some(3),
                true,
            ),
            (
                vec![
                    ("heroku", "Process exited with status 0"),
                    ("heroku", "State changed from up to complete"),
                ],
                true,
                Some(0),
                true,
            ),
            (vec![("heroku", "State changed from up to complete")], true, Some(0), true),
            (vec![("app", "x"), ("heroku", "State changed from up to crashed")], true, None, true),
            (
                vec![
                    ("app", "Awaiting client"),
                    ("heroku", "State changed from starting to up"),
                    ("app", "Error R13 (Attach error) -> Failed to attach to process"),
                ],
                false,
                None,
                false,
            ),
            (vec![("app", "Process exited with status 0")], true, None, false),
            (vec![], false, None, false),
        ] {
            let lines: Vec<_> = lines.into_iter().map(|(source, message)| line(source, message)).collect();
            let fate = Fate::of(&lines, "run.1");
            assert_eq!((fate.began, fate.code(), fate.completed.is_some()), (began, code, over), "{lines:?}");
            assert_eq!(Fate::of(&lines, "run.2"), Fate::default());
        }
    }

    #[test]
    fn a_command_carries_what_it_is_known_by() {
        let wish = OneOff {
            command: "php x.php".into(),
            token: "a1b2".into(),
            attach: Attach::Auto,
            size: None,
            env: BTreeMap::new(),
            time_to_live: None,
            unknown_exit_is_fine: false,
        };
        assert_eq!(
            wish.attached_command(),
            "php x.php ; echo \"\u{ffff} heroku-command-exit-status: $?\" # runbook a1b2"
        );
        assert!(wish.is_in(&wish.detached_command()) && !wish.is_in("php x.php"));
    }
}
