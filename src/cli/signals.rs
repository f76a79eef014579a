//! INT, TERM and HUP, and who speaks last.
//!
//! Before a run, a signal leaves at once: nothing was changed. During one, the first asks it to stop after the change
//! in hand, the second leaves at once; the journal is true at any moment. The last line of `--json` is written once,
//! by whoever ends the process.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::output::{data, talk};
use crate::engine::Outcome;
use crate::engine::driver::Incoming;
use crate::reporter::last_line;

/// How long leaving at once may take when nobody reads our output.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Who ends the process.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Owner {
    Nobody = 0,
    Main = 1,
    Signal = 2,
}

/// A run that signals are passed on to.
struct Told {
    run: String,
    to: Sender<Incoming>,
}

/// The end of the process: claimed once.
pub(super) struct Ending {
    owner: AtomicU8,
    json: bool,
    seq: Arc<AtomicU64>,
    run: Mutex<Option<Told>>,
    terminal: Option<Termios>,
}

impl Ending {
    /// Listens to signals from here on; with `json`, the last line is part of the end.
    pub(super) fn listen(json: bool) -> std::io::Result<Arc<Self>> {
        let ending = Arc::new(Self {
            owner: AtomicU8::new(Owner::Nobody as u8),
            json,
            seq: Arc::default(),
            run: Mutex::new(None),
            terminal: tcgetattr(std::io::stdin()).ok(),
        });
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let own = Arc::clone(&ending);
        std::thread::spawn(move || {
            let mut seen = 0;
            for signal in signals.forever() {
                seen += 1;
                let name = match signal {
                    SIGINT => "INT",
                    SIGTERM => "TERM",
                    _ => "HUP",
                };
                if !(seen == 1 && own.pass_on(name)) {
                    own.leave(name);
                }
            }
        });
        Ok(ending)
    }

    /// Lines of `--json` so far.
    pub(super) fn seq(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.seq)
    }

    /// From here on there is a run to stop.
    pub(super) fn during(&self, run: &str, to: Sender<Incoming>) {
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = Some(Told { run: run.to_owned(), to });
    }

    fn pass_on(&self, name: &'static str) -> bool {
        let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        run.as_ref().is_some_and(|run| run.to.send(Incoming::Signal(name)).is_ok())
    }

    fn claim(&self, who: Owner) -> bool {
        let taken =
            self.owner.compare_exchange(Owner::Nobody as u8, who as u8, Ordering::SeqCst, Ordering::SeqCst);
        taken.map_or_else(|owner| owner == who as u8, |_| true)
    }

    /// The end belongs to the main thread, or a signal has it and the process is about to leave: then this never returns.
    pub(super) fn take(&self) {
        while !self.claim(Owner::Main) {
            std::thread::park();
        }
    }

    /// When a signal has the last word, nothing comes after it: then this never returns.
    pub(super) fn wait_if_taken(&self) {
        while self.owner.load(Ordering::SeqCst) == Owner::Signal as u8 {
            std::thread::park();
        }
    }

    /// The last line of `--json`, when no run has written it.
    pub(super) fn say(&self, outcome: Outcome, code: u8, why: &str) {
        if self.json {
            let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            let run = run.as_ref().map(|told| told.run.clone());
            let seq = self.seq.fetch_add(1, Ordering::SeqCst) + 1;
            data(&format!("{}\n", last_line(seq, run.as_deref(), outcome, code, why)));
        }
    }

    /// Leaves at once.
    fn leave(self: &Arc<Self>, name: &str) {
        if !self.claim(Owner::Signal) {
            // The run is over, and its last words are being written.
            return;
        }
        let run =
            self.run.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|told| told.run.clone());
        let why = match &run {
            None => format!("interrupted ({name}); nothing was changed"),
            Some(run) => format!(
                "{name} again: left at once. A change in hand may still take effect: `runbook show {run}` names it"
            ),
        };
        // On a thread of its own: an output that nobody reads must not keep us here.
        let (done, said) = channel();
        let own = Arc::clone(self);
        std::thread::spawn(move || {
            if let Some(terminal) = &own.terminal {
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, terminal);
            }
            if std::io::stderr().is_terminal() {
                let _ = console::Term::stderr().show_cursor();
                let _ = writeln!(std::io::stderr());
            }
            talk(&why);
            own.say(Outcome::Interrupted, 130, &why);
            let _ = done.send(());
        });
        let _ = said.recv_timeout(LAST_WORDS);
        signal_hook::low_level::exit(130);
    }
}
