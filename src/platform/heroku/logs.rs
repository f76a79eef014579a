//! Lines of the app's log.

use crate::platform::facts::LogLine;
use crate::platform::secret::Redactor;

/// Parses `<time> <source>[<process>]: <message>`; a line of another form keeps its whole text.
pub(super) fn parse(line: &str, redactor: &Redactor) -> Option<LogLine> {
    let line = line.strip_prefix("data: ").unwrap_or(line).trim_end();
    if line.is_empty() {
        return None;
    }
    let plain = || LogLine {
        at: String::new(),
        source: String::new(),
        process: String::new(),
        message: cut(&redactor.clean(line)),
    };
    let Some((at, rest)) = line.split_once(' ') else { return Some(plain()) };
    let Some((origin, message)) = rest.split_once("]: ") else { return Some(plain()) };
    let Some((source, process)) = origin.split_once('[') else { return Some(plain()) };
    if !at.starts_with(|c: char| c.is_ascii_digit()) || source.contains(' ') {
        return Some(plain());
    }
    Some(LogLine {
        at: redactor.clean(at),
        source: redactor.clean(source),
        process: redactor.clean(process),
        message: cut(&redactor.clean(message)),
    })
}

/// A line as long as a person reads. Cut when it is clean: half a secret would not be known for one.
fn cut(line: &str) -> String {
    line.chars().take(500).collect()
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
    }
}
