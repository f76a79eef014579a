//! Lines of the app's log: the stream's framing, and what a line says. A line is hostile text: bounded, escaped, redacted.

use std::io::{self, BufRead};

use crate::platform::facts::LogLine;
use crate::platform::secret::Redactor;

/// Bytes of a line that are kept. The platform splits longer ones at 10 000 (facts §4).
const LINE: usize = 16 << 10;
/// Characters of a line that a person reads.
const SHOWN: usize = 500;

/// Parses `<time> <source>[<process>]: <message>`; a line of another form keeps its whole text. Cut to what a person reads.
pub(super) fn parse(line: &str, redactor: &Redactor) -> Option<LogLine> {
    parse_whole(line, redactor).map(shortened)
}

/// The same, as long as it is.
pub(super) fn parse_whole(line: &str, redactor: &Redactor) -> Option<LogLine> {
    let line = line.strip_prefix("data: ").unwrap_or(line).trim_end();
    if line.is_empty() {
        return None;
    }
    let plain = || LogLine {
        at: String::new(),
        source: String::new(),
        process: String::new(),
        message: redactor.clean(line),
    };
    let Some((at, rest)) = line.split_once(' ') else { return Some(plain()) };
    let Some((origin, message)) = rest.split_once("]: ").or_else(|| Some((rest.strip_suffix("]:")?, "")))
    else {
        return Some(plain());
    };
    let Some((source, process)) = origin.split_once('[') else { return Some(plain()) };
    if !at.starts_with(|c: char| c.is_ascii_digit()) || source.contains(' ') {
        return Some(plain());
    }
    Some(LogLine {
        at: redactor.clean(at),
        source: redactor.clean(source),
        process: redactor.clean(process),
        message: redactor.clean(message),
    })
}

/// A line as long as a person reads. Cut when it is clean: half a secret would not be known for one.
pub(in crate::platform) fn shortened(mut line: LogLine) -> LogLine {
    if let Some((end, _)) = line.message.char_indices().nth(SHOWN) {
        line.message.truncate(end);
    }
    line
}

/// The lines of a stream: plain text, or the `data:` fields of server-sent events. Other fields, comments that keep a
/// connection alive and blank lines are passed over. What is too long is cut, and memory stays bounded.
pub(super) struct Framing<R> {
    input: R,
    events: bool,
    /// What has come of the next line.
    begun: Vec<u8>,
}

impl<R: BufRead> Framing<R> {
    pub(super) fn new(input: R, events: bool) -> Self {
        Self { input, events, begun: Vec::new() }
    }

    /// The next line; `None` at the end of the stream. A read that fails for its time loses nothing that came before.
    pub(super) fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            let ended = !self.fill()?;
            if ended && self.begun.is_empty() {
                return Ok(None);
            }
            let line = String::from_utf8_lossy(&self.begun).into_owned();
            self.begun.clear();
            let line = line.trim_end_matches('\r');
            let text = if self.events { line.strip_prefix("data:").map(str::trim_start) } else { Some(line) };
            if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
                return Ok(Some(text.to_owned()));
            }
            if ended {
                return Ok(None);
            }
        }
    }

    /// Reads up to the end of a line; `false` at the end of the stream.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            let part = match self.input.fill_buf() {
                Ok(part) => part,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if part.is_empty() {
                return Ok(false);
            }
            let end = part.iter().position(|byte| *byte == b'\n');
            let (line, used) = end.map_or((part, part.len()), |end| (&part[..end], end + 1));
            let room = LINE.saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&line[..line.len().min(room)]);
            self.input.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed_and_made_safe() {
        let redactor = Redactor::default();
        let line = "2026-11-23T10:00:00.123456+00:00 app[web.1]: SQLSTATE[HY000] [1040] Too many \u{1b}[2Jconnections";
        let parsed = parse(line, &redactor).unwrap();
        assert_eq!((parsed.source.as_str(), parsed.process.as_str()), ("app", "web.1"));
        assert_eq!(parsed.message, "SQLSTATE[HY000] [1040] Too many \\x1b[2Jconnections");
        let sse =
            parse("data: 2026-11-23T10:00:00+00:00 heroku[router]: at=error code=H10", &redactor).unwrap();
        assert_eq!(sse.process, "router");
        assert_eq!(parse("something else", &redactor).unwrap().message, "something else");
        assert_eq!(parse("", &redactor), None);
        let empty = parse("2026-11-23T10:00:00+00:00 app[web.1]: ", &redactor).unwrap();
        assert_eq!((empty.process.as_str(), empty.message.as_str()), ("web.1", ""));
        let long = format!("2026-11-23T10:00:00+00:00 app[web.1]: {}", "ä".repeat(2000));
        assert_eq!(parse(&long, &redactor).unwrap().message.chars().count(), SHOWN);
        assert_eq!(parse_whole(&long, &redactor).unwrap().message.chars().count(), 2000);
    }

    fn lines(text: &[u8], events: bool, piece: usize) -> Vec<String> {
        let mut framing = Framing::new(io::BufReader::with_capacity(piece, text), events);
        std::iter::from_fn(|| framing.next().unwrap()).collect()
    }

    #[test]
    fn text_and_events_are_read_however_they_are_cut() {
        let text = "one\r\n\n2 zwei\nlast without an end".as_bytes();
        let events =
            ": keep-alive\n\nid: 7\nevent: x\ndata: one\n\ndata:2 zwei\nretry: 5\n\ndata: last".as_bytes();
        for piece in [1, 2, 3, 7, 4096] {
            assert_eq!(lines(text, false, piece), ["one", "2 zwei", "last without an end"], "{piece}");
            assert_eq!(lines(events, true, piece), ["one", "2 zwei", "last"], "{piece}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_what_follows_is_read() {
        let mut text = vec![b'x'; 5 * LINE];
        text.extend_from_slice(b"\nnext\n\xff\xfe\n");
        let read = lines(&text, false, 999);
        assert_eq!(read.iter().map(|line| line.chars().count()).collect::<Vec<_>>(), [LINE, 4, 2]);
    }
}
