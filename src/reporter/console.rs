//! A live terminal: what runs now, connections now, the gate clause by clause. Finished steps become lasting lines.

use std::collections::VecDeque;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::plain::Plain;
use super::spark::spark;
use super::words::{clauses, connections, metric};
use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Live, Measurements};
use crate::health::{Metric, Value, show_seconds};

/// Samples in the sparkline.
const SPARK: usize = 24;

/// A live terminal.
pub struct Console {
    bars: MultiProgress,
    line: ProgressBar,
    gate: ProgressBar,
    usage: VecDeque<Option<f64>>,
    step: String,
    began: Option<jiff::Timestamp>,
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
        line.set_style(style("{spinner} {wide_msg}"));
        let gate = bars.add(ProgressBar::new_spinner());
        gate.set_style(style("  {wide_msg}"));
        line.enable_steady_tick(Duration::from_millis(120));
        let width = usize::from(console::Term::stderr().size().1);
        let plain = Plain::on_screen(Lasting { bars: bars.clone(), buffer: String::new() }, width);
        Self { bars, line, gate, usage: VecDeque::new(), step: String::new(), began: None, plain }
    }

    fn draw(&self, metrics: &Measurements, now: Option<jiff::Timestamp>) {
        let elapsed = match (self.began, now) {
            (Some(began), Some(now)) => show_seconds(now.duration_since(began).as_secs_f64()),
            _ => String::new(),
        };
        let graph = spark(self.usage.iter().copied());
        self.line.set_message(format!(
            "{} {elapsed} · {} {graph} · refused {} · live {}",
            self.step,
            connections(metrics),
            metric(metrics, Metric::Refused),
            metric(metrics, Metric::Live)
        ));
    }
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
                self.draw(metrics, Some(stamp.at));
                return;
            }
            Event::StepStarted { step, .. } => {
                self.step.clone_from(step);
                self.began = Some(stamp.at);
                self.gate.set_message(String::new());
            }
            Event::StepFinished { .. } => self.gate.set_message(String::new()),
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
        self.draw(metrics, None);
        let mut parts = Vec::new();
        if let Some(awaited) = &live.awaited {
            parts.push(format!("waiting for {awaited}"));
        }
        if let Some(evaluation) = &live.gate {
            parts.extend(clauses(evaluation));
            if live.hold > Duration::ZERO {
                parts.push(format!(
                    "held {} of {}",
                    show_seconds(live.held.as_secs_f64()),
                    show_seconds(live.hold.as_secs_f64())
                ));
            }
            parts.push(format!("{} left", show_seconds(live.left.as_secs_f64().round())));
        }
        self.gate.set_message(parts.join(" · "));
    }
}
