//! INT, TERM and HUP: the first asks the run to stop after the change in hand, the second leaves at once.

use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::engine::driver::Incoming;

/// Passes signals on to the run. The journal is true at any moment, so the second signal may leave at once.
pub(super) fn listen(run: Sender<Incoming>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        let mut seen = 0;
        for signal in signals.forever() {
            seen += 1;
            let name = match signal {
                SIGINT => "INT",
                SIGTERM => "TERM",
                _ => "HUP",
            };
            if seen > 1 || run.send(Incoming::Signal(name)).is_err() {
                signal_hook::low_level::exit(130);
            }
        }
    });
    Ok(())
}
