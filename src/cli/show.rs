//! `runbook show RUN`: a run told again, by the same reporters that told it live.

use std::sync::Arc;

use super::output::{Stop, data, talk, width};
use super::runs::recorded;
use crate::engine::driver::{Listener, Stamp};
use crate::journal::{read_run, verify};
use crate::reporter::{JsonLines, Plain, Summary};

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The run: its id, a unique beginning of it, or its last letters.
    run: String,
    /// Its events as JSON, one a line.
    #[arg(long)]
    json: bool,
    /// Only check that the journal is whole and unchanged, and print the head of its chain.
    #[arg(long)]
    verify: bool,
}

pub(super) fn run(args: &ShowArgs) -> u8 {
    match show(args) {
        Ok(()) => 0,
        Err(stop) => {
            talk(&stop.text);
            stop.code
        }
    }
}

fn show(args: &ShowArgs) -> Result<(), Stop> {
    let store = recorded()?;
    let (id, folder) = store.find(&args.run).map_err(|why| Stop::new(2, format!("error: {why}")))?;
    let refused = |error: crate::journal::JournalError| Stop::new(9, format!("error: {error}"));
    if args.verify {
        let (entries, head) = verify(&folder).map_err(refused)?;
        data(&format!("{id}: {entries} entries, whole and unchanged; head {head:08x}\n"));
        return Ok(());
    }
    let recorded = read_run(&folder).map_err(refused)?;
    let mut out = Vec::new();
    let mut summary = Summary::default();
    {
        let mut teller: Box<dyn Listener> = if args.json {
            Box::new(JsonLines::new(&mut out, Arc::default()))
        } else {
            Box::new(Plain::new(&mut out))
        };
        for entry in &recorded.entries {
            let stamp = Stamp { seq: entry.seq, at: entry.at, run: Some(id.clone()) };
            teller.event(&stamp, &entry.event);
            summary.event(&stamp, &entry.event);
        }
    }
    data(&String::from_utf8_lossy(&out));
    if !args.json {
        data(&format!("\n{}", summary.draw(width())));
    }
    if recorded.torn {
        talk(
            "note: the last line of the journal was torn and is left out: the process or the machine died while writing it",
        );
    }
    Ok(())
}
