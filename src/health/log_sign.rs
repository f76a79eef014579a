//! What a line of the app's log is a sign of: an exhausted database, one of the platform's codes, lines that were lost.
//!
//! Pure. A code is only what the platform itself says: an app that writes `code=H12` is not believed.

use super::Exhaustion;

/// The signs of one line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSigns {
    /// The app says that its database is exhausted.
    pub exhaustion: Option<Exhaustion>,
    /// `H12`, `R14`, `L10`.
    pub code: Option<String>,
    /// Lines that the platform says it has dropped (L10, L11 and kin): what is counted is a lower bound from then on.
    pub dropped: u64,
}

impl LogSigns {
    /// Reads them off a line `source[process]: message`.
    pub fn of(source: &str, process: &str, message: &str) -> Self {
        if source != "heroku" {
            let exhaustion = Exhaustion::shown_by_line(source, process, message);
            return Self { exhaustion, ..Self::default() };
        }
        let code = code(process, message);
        let dropped = match code.as_deref() {
            Some("L10" | "L11" | "L12" | "L13") => dropped(message).max(1),
            Some("L15") => 1,
            _ => 0,
        };
        Self { exhaustion: None, code, dropped }
    }
}

/// `at=error code=H12 desc=…` of the router; `Error R14 (Memory quota exceeded)`, `Error L10 (…): …` of the others.
fn code(process: &str, message: &str) -> Option<String> {
    let after = if process == "router" && message.starts_with("at=") {
        // Before what a visitor wrote: path and host come later, in quotes.
        let before = message.split(" method=").next().unwrap_or_default();
        before.split(' ').find_map(|word| word.strip_prefix("code="))?
    } else {
        message.strip_prefix("Error ")?
    };
    let code = after.get(..3)?;
    let whole = !after[3..].starts_with(|c: char| c.is_ascii_alphanumeric());
    let letter = code.starts_with(['H', 'R', 'L']);
    (whole && letter && code[1..].chars().all(|c| c.is_ascii_digit())).then(|| code.to_owned())
}

/// `…: 17 messages dropped since …`.
fn dropped(message: &str) -> u64 {
    let before = message.split(" messages dropped").next().unwrap_or_default();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// What a code means, in a few words.
pub fn code_meaning(code: &str) -> &'static str {
    match code {
        "H10" => "app crashed",
        "H11" => "the router's backlog is too deep",
        "H12" => "no response within 30 s",
        "H13" => "connection closed without a response",
        "H14" => "no web dynos running",
        "H15" => "idle connection, mid-response",
        "H17" | "H18" => "bad or interrupted response",
        "H19" => "connecting to a dyno timed out",
        "H20" => "app boot timeout",
        "H21" | "H22" => "a dyno refused the connection, or has too many",
        "H27" | "H28" => "the visitor left, or was idle",
        "H80" => "maintenance mode",
        "H81" => "nothing was deployed yet",
        "H82" => "eco dyno hours used up",
        "H99" | "R99" => "error of the platform",
        "R10" => "a web dyno did not bind its port in time",
        "R12" => "a dyno did not end within 30 s of SIGTERM",
        "R13" => "nobody attached to a one-off dyno",
        "R14" => "memory quota exceeded",
        "R15" => "memory vastly exceeded",
        "R16" => "a detached one-off dyno was killed",
        "R17" => "slug checksum",
        "L10" | "L11" | "L12" | "L13" => "log lines were dropped",
        "L15" => "the log's buffer is unavailable",
        _ => "see Heroku's error codes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_platforms_and_nobody_elses() {
        for (source, process, message, code, dropped) in [
            (
                "heroku",
                "router",
                "at=error code=H12 desc=\"Request timeout\" method=GET path=\"/\" dyno=web.1",
                Some("H12"),
                0,
            ),
            ("heroku", "router", "at=info method=GET path=\"/?x= code=H12 \" status=200", None, 0),
            ("heroku", "router", "at=info code=H1234 method=GET", None, 0),
            ("heroku", "web.1", "Error R14 (Memory quota exceeded)", Some("R14"), 0),
            (
                "heroku",
                "logplex",
                "Error L10 (output buffer overflow): 17 messages dropped since 2026-11-23T10:00:00+00:00.",
                Some("L10"),
                17,
            ),
            ("heroku", "logplex", "Error L11 (Tail buffer overflow)", Some("L11"), 1),
            ("heroku", "web.1", "Error: code=H12", None, 0),
            ("heroku", "web.1", "State changed from starting to up", None, 0),
            ("app", "web.1", "at=error code=H12 Error R14 (x)", None, 0),
        ] {
            let signs = LogSigns::of(source, process, message);
            assert_eq!((signs.code.as_deref(), signs.dropped), (code, dropped), "{message}");
        }
        let full = LogSigns::of("app", "web.1", "SQLSTATE[HY000] [1040] Too many connections");
        assert_eq!(full.exhaustion, Some(Exhaustion::Server));
    }
}
