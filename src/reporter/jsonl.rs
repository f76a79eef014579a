//! One JSON object a line, for scripts: `{"seq","at","run","type", …}`.
//!
//! Values stand bare (`"usage":0.97`), a step's status is a word: what scripts compare needs no unwrapping.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value as Json, json};

use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Outcome};
use crate::health::{Measured, Metric, Value};
use crate::source::escape_json;

/// Writes the stream; `seq` counts its own lines.
pub struct JsonLines<W> {
    out: W,
    seq: Arc<AtomicU64>,
    emergency: Option<String>,
}

impl<W: Write> JsonLines<W> {
    /// Lines go to `out`; `seq` holds how many there were.
    pub const fn new(out: W, seq: Arc<AtomicU64>) -> Self {
        Self { out, seq, emergency: None }
    }

    /// Every line says that the run is an emergency, and why.
    #[must_use]
    pub fn in_emergency(mut self, reason: Option<&str>) -> Self {
        self.emergency = reason.map(str::to_owned);
        self
    }
}

impl<W: Write> Listener for JsonLines<W> {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        let seq = self.seq.fetch_add(1, Ordering::SeqCst) + 1;
        let mut line = json!({ "seq": seq, "at": stamp.at, "run": stamp.run });
        if let Some(reason) = &self.emergency {
            line["emergency"] = json!(reason);
        }
        spread(&mut line, stamp, event);
        // One write a line: a reader never sees half of one. A reader that has left is no reason to stop a run.
        let line = line.to_string();
        let _ = self.out.write_all(format!("{}\n", escape_json(&line)).as_bytes());
        let _ = self.out.flush();
    }
}

/// The keys of an event, beside those that every line has.
fn spread(line: &mut Json, stamp: &Stamp, event: &Event) {
    if let (Json::Object(line), Ok(mut event)) = (line, serde_json::to_value(event)) {
        bare(&mut event);
        if let Json::Object(mut event) = event {
            spread_status(&mut event);
            if event.get("type").is_some_and(|kind| kind == "run_finished") {
                // Noted elsewhere, it shows a later change of the journal.
                event.insert("head".to_owned(), json!(stamp.head));
            }
            for (key, value) in event {
                line.entry(key).or_insert(value);
            }
        }
    }
}

/// The line of a sample outside of any run, with what else is told of it: the same keys as within one.
pub fn sample_line(seq: u64, measured: &Measured, more: Map<String, Json>) -> String {
    let stamp = Stamp { seq, at: jiff::Timestamp::now(), run: None, head: None };
    let usage = match measured.metrics.get(&Metric::Usage) {
        Some(Value::Ratio(usage)) => Some(*usage),
        _ => None,
    };
    let event =
        Event::Sample { sample: Box::new(measured.sample.clone()), metrics: measured.metrics.clone(), usage };
    let mut line = json!({ "seq": seq, "at": stamp.at, "run": null });
    spread(&mut line, &stamp, &event);
    if let Json::Object(line) = &mut line {
        line.extend(more);
    }
    escape_json(&line.to_string()).into_owned()
}

/// Values with their unit become bare ones: ratios 0 to 1, durations in seconds (`null` = no end).
fn bare(json: &mut Json) {
    match json {
        Json::Object(map) => {
            let value = map.len() == 2 && map.get("unit").is_some_and(Json::is_string);
            if value && let Some(value) = map.get_mut("value") {
                *json = value.take();
                return;
            }
            map.values_mut().for_each(bare);
        }
        Json::Array(items) => items.iter_mut().for_each(bare),
        _ => {}
    }
}

/// `"status":{"as":"failed","failure":…}` becomes `"status":"failed","failure":…`.
fn spread_status(event: &mut Map<String, Json>) {
    let Some(Json::Object(mut status)) = event.remove("status") else { return };
    if let Some(word) = status.remove("as") {
        event.insert("status".to_owned(), word);
    }
    for (key, value) in status {
        event.entry(key).or_insert(value);
    }
}

/// The last line when no run ended by itself: there always is one.
pub fn last_line(seq: u64, run: Option<&str>, outcome: Outcome, exit_code: u8, why: &str) -> String {
    json!({
        "seq": seq,
        "at": jiff::Timestamp::now(),
        "run": run,
        "type": "run_finished",
        "outcome": outcome,
        "exit_code": exit_code,
        "why": why,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::StepStatus;

    #[test]
    fn values_are_bare_and_a_status_is_a_word() {
        let mut out = Vec::new();
        let before = [(Metric::Usage, Value::Ratio(0.97)), (Metric::TimeToFull, Value::Duration(None))];
        let event = Event::StepFinished {
            step: "s".into(),
            status: StepStatus::GateShut { why: "because".into(), tolerated: false },
            done: None,
            before: before.into_iter().collect(),
            after: std::iter::once((Metric::Usage, Value::Ratio(0.1))).collect(),
            took_ms: 5,
        };
        let stamp = Stamp { seq: 9, at: jiff::Timestamp::UNIX_EPOCH, run: Some("r".into()), head: None };
        JsonLines::new(&mut out, Arc::default()).event(&stamp, &event);
        let line: Json = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&line["seq"], &line["run"], &line["type"]),
            (&json!(1), &json!("r"), &json!("step_finished"))
        );
        assert_eq!((&line["before"]["usage"], &line["after"]["usage"]), (&json!(0.97), &json!(0.1)));
        assert_eq!(line["before"]["time_to_full"], Json::Null);
        assert_eq!((&line["status"], &line["why"]), (&json!("gate_shut"), &json!("because")));
    }

    #[test]
    fn an_emergency_is_on_every_line() {
        let mut out = Vec::new();
        let events = [Event::Notice { text: "one".into() }, Event::Notice { text: "two".into() }];
        let stamp = Stamp { seq: 1, at: jiff::Timestamp::UNIX_EPOCH, run: None, head: None };
        let mut lines = JsonLines::new(&mut out, Arc::default()).in_emergency(Some("the site is down"));
        for event in &events {
            lines.event(&stamp, event);
        }
        for line in String::from_utf8(out).unwrap().lines() {
            let line: Json = serde_json::from_str(line).unwrap();
            assert_eq!(line["emergency"], json!("the site is down"), "{line}");
        }
    }
}
