//! A live terminal: what runs now and for how long, connections now, the gate clause by clause. Finished steps become
//! lasting lines.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::Plain;
use super::spark::spark;
use super::words::{clauses, connections, metric};
use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Live, Measurements};
use crate::health::{Metric, Value, show_seconds};
use crate::source::{escape_controls, last_net};

/// Samples in the sparkline.
const SPARK: usize = 16;
/// Clauses of a gate that are shown one a line.
const CLAUSES: usize = 6;

/// A live terminal.
pub struct Console {
    bars: MultiProgress,
    line: ProgressBar,
    gate: ProgressBar,
    usage: VecDeque<Option<f64>>,
    plain: Plain<Lasting>,
}

/// Lasting lines above the live ones.
struct Lasting {
    bars: MultiProgress,
    buffer: String,
}

impl std::io::Write for Lasting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.push_str(&String::from_utf8_lossy(bytes));
        while let Some(end) = self.buffer.find('\n') {
            let line: String = self.buffer.drain(..=end).collect();
            self.bars.println(line.trim_end())?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Console {
    /// Takes over the bottom of the terminal's stderr. `bars` is shared with the prompt, which suspends it.
    pub fn new(bars: MultiProgress) -> Self {
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
        };
        let line = bars.add(ProgressBar::new_spinner());
        line.set_style(style("{spinner} {prefix} {elapsed} · {wide_msg}"));
        let gate = bars.add(ProgressBar::new_spinner());
        gate.set_style(style("{msg}"));
        line.enable_steady_tick(Duration::from_millis(120));
        let plain = Plain::on_screen(Lasting { bars: bars.clone(), buffer: String::new() });
        Self { bars, line, gate, usage: VecDeque::new(), plain }
    }

    fn draw(&self, metrics: &Measurements) {
        let graph = spark(self.usage.iter().copied());
        let mut told = format!("connections {} {graph}", connections(metrics));
        let refused = metrics.get(&Metric::Refused).is_some_and(|value| *value != Value::Count(0.0));
        if refused && metrics.contains_key(&Metric::Used) {
            told.push_str(&format!(" · refused {}", metric(metrics, Metric::Refused)));
        }
        if metrics.get(&Metric::Live) == Some(&Value::Truth(false)) {
            told.push_str(" · not live");
        }
        self.line.set_message(told);
    }
}

/// What is awaited, as lines no wider than the screen.
fn lines(live: &Live, width: usize) -> String {
    let mut lines = Vec::new();
    if let Some(awaited) = &live.awaited {
        lines.push(format!("waiting for {awaited}"));
    }
    if let Some(evaluation) = &live.gate {
        let told = clauses(evaluation);
        let more = told.len().saturating_sub(CLAUSES);
        lines.extend(told.into_iter().take(CLAUSES));
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
    }
    if !live.left.is_zero() {
        let held = if live.hold.is_zero() {
            String::new()
        } else {
            format!("held {:.0}s of {}, ", live.held.as_secs_f64(), show_seconds(live.hold.as_secs_f64()))
        };
        lines.push(format!("{held}{} left", show_seconds(live.left.as_secs_f64().round())));
    }
    let lines: Vec<_> = lines
        .iter()
        .map(|line| console::truncate_str(&last_net(&format!("    {line}")), width.max(20), "…").into_owned())
        .collect();
    lines.join("\n")
}

impl Drop for Console {
    fn drop(&mut self) {
        self.line.finish_and_clear();
        self.gate.finish_and_clear();
        let _ = self.bars.clear();
    }
}

impl Listener for Console {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        match event {
            Event::Sample { metrics, .. } => {
                let usage = match metrics.get(&Metric::Usage) {
                    Some(Value::Ratio(usage)) => Some(*usage),
                    _ => None,
                };
                self.usage.push_back(usage);
                while self.usage.len() > SPARK {
                    self.usage.pop_front();
                }
                self.draw(metrics);
                return;
            }
            Event::RunStarted { record, .. } => {
                self.line.set_prefix(escape_controls(&record.runbook).into_owned());
            }
            Event::StepStarted { step, .. } => {
                self.line.set_prefix(escape_controls(step).into_owned());
                self.line.reset_elapsed();
                self.gate.set_message("");
            }
            Event::Resumed { at: Some(step), .. } => self.line.set_prefix(escape_controls(step).into_owned()),
            Event::StepFinished { .. } => self.gate.set_message(""),
            Event::RunFinished { .. } => {
                self.line.finish_and_clear();
                self.gate.finish_and_clear();
                return;
            }
            _ => {}
        }
        self.plain.event(stamp, event);
    }

    fn live(&mut self, live: &Live, metrics: &Measurements) {
        self.draw(metrics);
        let width = usize::from(console::Term::stderr().size().1);
        self.gate.set_message(lines(live, width.saturating_sub(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Clause, Evaluation, Truth};

    #[test]
    fn a_gate_is_shown_clause_by_clause_and_never_wider_than_the_screen() {
        let clause =
            |text: &str, reads: &str, truth| Clause { text: text.into(), reads: reads.into(), truth };
        let live = Live {
            step: "prove".into(),
            awaited: None,
            gate: Some(Evaluation {
                truth: Truth::False,
                clauses: vec![
                    clause("usage < 40%", "usage 97%", Truth::False),
                    clause("live", "live true", Truth::True),
                    clause(&"x".repeat(90), "x 1", Truth::Unknown),
                ],
            }),
            held: Duration::ZERO,
            hold: Duration::from_secs(10),
            left: Duration::from_secs(61),
        };
        let shown = lines(&live, 60);
        let rows: Vec<_> = shown.lines().collect();
        assert_eq!(rows[0], "    usage < 40%: no (usage 97%)");
        assert_eq!(rows[1], "    live: yes");
        assert_eq!(rows[3], "    held 0s of 10s, 1m01s left");
        assert!(rows.iter().all(|row| console::measure_text_width(row) <= 60), "{shown}");
    }
}
