//! One JSON object a line, for scripts: `{"seq","at","run","type", …}`.

use std::io::Write;

use serde_json::{Value as Json, json};

use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Outcome};

/// Writes the stream; `seq` counts its own lines.
pub struct JsonLines<W> {
    out: W,
    seq: u64,
}

impl<W: Write> JsonLines<W> {
    /// Lines go to `out`.
    pub const fn new(out: W) -> Self {
        Self { out, seq: 0 }
    }
}

impl<W: Write> Listener for JsonLines<W> {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        self.seq += 1;
        let mut line = json!({ "seq": self.seq, "at": stamp.at, "run": stamp.run });
        if let (Json::Object(line), Ok(Json::Object(event))) = (&mut line, serde_json::to_value(event)) {
            for (key, value) in event {
                line.entry(key).or_insert(value);
            }
        }
        // A reader that has left is no reason to stop a run.
        let _ = writeln!(self.out, "{line}");
        let _ = self.out.flush();
    }
}

/// The last line when no run began: there always is one.
pub fn last_line_without_run(seq: u64, outcome: Outcome, exit_code: u8, why: &str) -> String {
    json!({
        "seq": seq,
        "at": jiff::Timestamp::now(),
        "run": null,
        "type": "run_finished",
        "outcome": outcome,
        "exit_code": exit_code,
        "why": why,
    })
    .to_string()
}
