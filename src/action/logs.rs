//! `logs`: follows the app's log for a time, and counts what it says. It reads only, and what may have been missed is said.

use std::collections::BTreeMap;
use std::time::Duration;

use super::by_hand::heroku;
use super::param::{Bindings, Param};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, required};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::health::{Unit, Value, code_meaning, show_seconds};
use crate::platform::LogTally;
use crate::source::Diagnostic;

/// The longest time that is followed: counts are kept for so long.
const LONGEST: Duration = Duration::from_secs(3600);
/// What opening the stream may take beside it.
const OPENING: Duration = Duration::from_secs(60);
/// Codes that have an output of their own.
const NAMED: [(&str, &str); 4] = [("H10", "h10"), ("H12", "h12"), ("H13", "h13"), ("H14", "h14")];

/// Follow the app's log.
#[derive(Debug)]
pub struct Logs {
    time: Param<Duration>,
}

impl Verb for Logs {
    const NAME: &'static str = "logs";
    const ABOUT: &'static str = "Follow the app's log for a time; count lines that show an exhausted database, and Heroku's error codes. Reads only; never fails a run: what could not be read is unknown.";
    const SHAPE: &'static Shape = &Shape {
        name: "logs",
        fields: &[required("for", Kind::Duration, "How long, 1s to 1h.")],
        short: Some("for"),
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output {
            name: "errors",
            unit: Unit::Count,
            about: "lines that show an exhausted database; unknown when none was seen and lines were lost",
        },
        Output {
            name: "h_codes",
            unit: Unit::Count,
            about: "lines of the router with an H code, H80 excepted",
        },
        Output { name: "h10", unit: Unit::Count, about: "app crashed" },
        Output { name: "h12", unit: Unit::Count, about: "no response within 30 s" },
        Output { name: "h13", unit: Unit::Count, about: "connection closed without a response" },
        Output { name: "h14", unit: Unit::Count, about: "no web dynos running" },
        Output { name: "lines", unit: Unit::Count, about: "lines that came" },
        Output { name: "lost", unit: Unit::Count, about: "lines that Heroku says it dropped (L10, L11)" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        Some(Self { time: reading.param("for")? })
    }
}

impl Logs {
    fn time(&self) -> Duration {
        self.time.or(Duration::from_secs(30))
    }
}

impl Action for Logs {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        false
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.time.bind_within(bindings, &(Duration::from_secs(1)..=LONGEST), &mut faults);
        faults
    }

    fn patience(&self) -> Duration {
        self.time() + OPENING
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        vec![format!(
            "timeout {} {}",
            self.time.or(Duration::from_secs(60)).as_secs(),
            heroku(app, "logs --tail")
        )]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let time = show_seconds(self.time().as_secs_f64());
        Ok(Preview {
            summary: format!("follow the log of {} for {time}", scene.app),
            requests: vec![format!(
                r#"POST /apps/{}/log-sessions {{"tail":true,"lines":1}} (changes nothing), then its stream"#,
                scene.app
            )],
            unknown: vec!["what it will say".to_owned()],
            ..Preview::default()
        })
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let allowed = scene.observer.follow_log();
        let left = self.time().saturating_sub(scene.now.since(progress.began));
        if !allowed || !left.is_zero() {
            let time = show_seconds(self.time().as_secs_f64());
            return Ok(Next::Wait {
                awaited: format!("the log to be followed for {time}"),
                again: left.min(Duration::from_secs(1)).max(Duration::from_millis(50)),
            });
        }
        scene.observer.check_log();
        Ok(Next::Done(told(&scene.observer.log_tally(progress.began), self.time())))
    }
}

/// What was read, in words and as outputs.
fn told(tally: &LogTally, time: Duration) -> Done {
    let lossy = tally.lost > 0 || tally.gaps > 0;
    // A stream that does not stand at the end, and brought nothing, was no look at the log.
    let blind = tally.broken.as_ref().filter(|_| tally.lines == 0);
    let of = |code: &str| tally.signs.get(code).map_or(0, |seen| seen.count);
    let h_codes: u64 = tally.signs.iter().filter(|(sign, _)| is_h(sign)).map(|(_, seen)| seen.count).sum();
    let mut outputs = BTreeMap::new();
    let mut give = |name: &str, count: u64, sure: bool| {
        // None seen is known to be none only where nothing was missed.
        if blind.is_none() && (sure || count > 0) {
            outputs.insert(name.to_owned(), Value::Count(count as f64));
        }
    };
    give("errors", tally.errors, !lossy);
    give("h_codes", h_codes, !lossy);
    for (code, name) in NAMED {
        give(name, of(code), !lossy);
    }
    give("lines", tally.lines, true);
    give("lost", tally.lost, tally.gaps == 0);
    let time = show_seconds(time.as_secs_f64());
    let summary = match blind {
        Some(why) => format!("the log could not be followed: {why}"),
        None => format!(
            "{} lines in {time}: {}{} show an exhausted database, {h_codes} have an H code",
            tally.lines,
            if lossy { "at least " } else { "" },
            tally.errors
        ),
    };
    let mut notes = Vec::new();
    for (sign, seen) in &tally.signs {
        let meaning = if sign.len() == 3 { format!(" ({})", code_meaning(sign)) } else { String::new() };
        notes.push(format!("{:>6} × {sign}{meaning}", seen.count));
        notes.push(format!("         newest: {}", seen.newest));
    }
    if tally.lost > 0 {
        notes.push(format!("Heroku dropped {} lines (L10, L11): these counts are lower bounds", tally.lost));
    }
    if tally.gaps > 0 {
        notes.push(format!(
            "the stream broke {}, and lines may be missing: these counts are lower bounds",
            if tally.gaps == 1 { "once".to_owned() } else { format!("{} times", tally.gaps) }
        ));
    }
    if let Some(why) = tally.broken.as_ref().filter(|_| blind.is_none()) {
        notes.push(format!("the stream did not stand at the end: {why}"));
    }
    Done { status: Status::Acted, summary, outputs, notes, ..Done::default() }
}

/// Codes of requests that failed; maintenance mode is meant.
fn is_h(sign: &str) -> bool {
    sign.len() == 3 && sign.starts_with('H') && sign != "H80"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::SignSeen;

    fn tally(lost: u64, signs: &[(&str, u64)]) -> LogTally {
        let seen = |count| SignSeen { count, newest: "the line".to_owned() };
        LogTally {
            lines: 100,
            errors: signs.iter().filter(|(sign, _)| sign.len() > 3).map(|(_, count)| count).sum(),
            lost,
            signs: signs.iter().map(|(sign, count)| ((*sign).to_owned(), seen(*count))).collect(),
            ..LogTally::default()
        }
    }

    fn output(done: &Done, name: &str) -> Option<f64> {
        match done.outputs.get(name) {
            Some(Value::Count(count)) => Some(*count),
            _ => None,
        }
    }

    #[test]
    fn none_seen_is_none_only_where_nothing_was_missed() {
        let of = |tally: &LogTally| told(tally, Duration::from_secs(30));
        let whole = of(&tally(0, &[("H12", 3), ("H80", 9), ("Too many connections", 2)]));
        assert_eq!(
            ["errors", "h_codes", "h12", "h10", "lost"].map(|name| output(&whole, name)),
            [Some(2.0), Some(3.0), Some(3.0), Some(0.0), Some(0.0)]
        );
        assert_eq!(whole.summary, "100 lines in 30s: 2 show an exhausted database, 3 have an H code");
        assert!(whole.notes.iter().any(|note| note.contains("3 × H12 (no response within 30 s)")));
        let lossy = of(&tally(7, &[("H12", 3)]));
        assert_eq!(["errors", "h_codes", "h10"].map(|name| output(&lossy, name)), [None, Some(3.0), None]);
        assert!(
            lossy.summary.contains("at least 0")
                && lossy.notes.iter().any(|note| note.contains("lower bounds"))
        );
        let blind = of(&LogTally { broken: Some("refused".into()), ..LogTally::default() });
        assert!(blind.outputs.is_empty() && blind.summary.contains("could not be followed: refused"));
    }
}
