//! Reporters listen to a run and show it: a live terminal, plain lines, or a stream of JSON.
//!
//! They never decide anything, never see the platform's doors, and never show a control character raw.

mod budget_view;
mod console;
mod detached;
mod entry;
mod health;
mod jsonl;
mod notices;
mod plain;
mod plan_view;
mod prompt;
mod spark;
mod summary;
mod table;
mod words;

pub use budget_view::budget_view;
pub use console::Console;
pub use detached::Detached;
pub use health::{HealthView, truth};
pub use jsonl::{JsonLines, last_line, sample_line};
pub use notices::{Became, Notices, Send, Word};
pub use plain::Plain;
pub use plan_view::{PlanView, plan_view};
pub use prompt::{Agreement, Terminal, Unattended};
pub(crate) use spark::spark;
pub use summary::Summary;
pub use table::Table;
pub use words::{asked_for, clauses, failure_lines, mark as truth_word, step_line, wrap};

use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Live, Measurements};

/// Several listeners as one.
#[derive(Default)]
pub struct Listeners(pub Vec<Box<dyn Listener>>);

impl Listener for Listeners {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        for listener in &mut self.0 {
            listener.event(stamp, event);
        }
    }

    fn live(&mut self, live: &Live, metrics: &Measurements) {
        for listener in &mut self.0 {
            listener.live(live, metrics);
        }
    }

    fn flush(&mut self) {
        for listener in &mut self.0 {
            listener.flush();
        }
    }
}
