//! `runbook show RUN`: a run told again, by the same reporters that told it live; or its journal checked.

use std::path::Path;
use std::sync::Arc;

use super::output::{Stop, data, talk, width};
use super::past::journal;
use super::runs::recorded;
use crate::engine::driver::{Listener, Stamp};
use crate::journal::{Recorded, handed_over, privacy};
use crate::platform::quoted;
use crate::reporter::{JsonLines, Plain, Summary};
use crate::source::escape_controls;

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
    /// With --verify: the head as it was printed at the end of the run, or sent with a notification.
    #[arg(long, value_name = "HEX", requires = "verify")]
    head: Option<String>,
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
    let recorded = journal(&folder)?;
    if args.verify {
        return verify(args, &id, &folder, &recorded);
    }
    let mut out = Vec::new();
    let summary = if args.json {
        retell(&recorded, &id, &mut JsonLines::new(&mut out, Arc::default()))
    } else {
        retell(&recorded, &id, &mut Plain::new(&mut out))
    };
    data(&String::from_utf8_lossy(&out));
    if !args.json {
        data(&format!("\n{}", summary.kept_at(&folder.join("journal.jsonl")).draw(width())));
    }
    say_handed_over(&folder);
    if recorded.torn {
        talk(
            "note: the last line of the journal was torn and is left out: the process or the machine died while writing it",
        );
    }
    Ok(())
}

/// Tells a run's entries to `teller`, and gives their summary.
pub(super) fn retell(recorded: &Recorded, id: &str, teller: &mut dyn Listener) -> Summary {
    let mut summary = Summary::default();
    for (entry, head) in recorded.entries.iter().zip(&recorded.heads) {
        let head = Some(head.to_string());
        let stamp = Stamp { seq: entry.seq, at: entry.at, run: Some(id.to_owned()), head };
        teller.event(&stamp, &entry.event);
        summary.event(&stamp, &entry.event);
    }
    summary
}

/// `--verify`: the chain has been checked by reading; what it leads to is said.
fn verify(args: &ShowArgs, id: &str, folder: &Path, recorded: &Recorded) -> Result<(), Stop> {
    let later = args.head.as_deref().map(|noted| since(recorded, noted)).transpose()?;
    let privacy = privacy(folder).map_err(|error| Stop::new(9, format!("error: {error}")))?;
    let exposed: Vec<(String, &str)> = privacy
        .exposed
        .iter()
        .map(|(path, why)| {
            let name = path.strip_prefix(folder).ok().filter(|name| !name.as_os_str().is_empty());
            let shown =
                name.map_or_else(|| "the folder itself".to_owned(), |name| name.display().to_string());
            (escape_controls(&shown).into_owned(), why.as_str())
        })
        .collect();
    let (entries, head) = (recorded.entries.len(), recorded.head);
    if args.json {
        let exposed: Vec<_> =
            exposed.iter().map(|(name, why)| serde_json::json!({ "name": name, "why": why })).collect();
        let row = serde_json::json!({
            "run": id, "entries": entries, "format": head.format(), "chain": head.method(),
            "head": head.to_string(), "torn": recorded.torn, "entries_since": later,
            "private": exposed.is_empty(), "exposed": exposed,
        });
        data(&format!("{row}\n"));
        return Ok(());
    }
    data(&format!("{id}: {entries} entries, whole and unchanged; head {}\n", head.short()));
    data(&format!("  head     {head}\n"));
    data(&format!("  format   {}, chained by {}\n", head.format(), head.method()));
    match later {
        Some(0) => data("  noted    the same head: nothing was added, changed or taken away since\n"),
        Some(more) => data(&format!(
            "  noted    that head is {more} entries back: what led to it is unchanged, and the run went on after it\n"
        )),
        None => {}
    }
    data(if recorded.torn {
        "  torn     yes: the last line was being written when the process or the machine died; it is left out\n"
    } else {
        "  torn     no\n"
    });
    if exposed.is_empty() {
        data(&format!("  private  yes: {} files 0600, {} folders 0700\n", privacy.files, privacy.folders));
    } else {
        data("  private  NO\n");
        for (name, why) in exposed {
            data(&format!("    {name}: {why}\n"));
        }
        talk(&format!(
            "warning: others on this machine may read this run: chmod -R go= {}",
            quoted(&folder.display().to_string())
        ));
    }
    Ok(())
}

/// How many entries were added since this head was noted.
fn since(recorded: &Recorded, noted: &str) -> Result<usize, Stop> {
    let digits = recorded.head.short().len();
    if noted.len() < digits || !noted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Stop::new(
            2,
            format!(
                "error: --head: {digits} hex digits or more are needed, as printed at the end of the run"
            ),
        ));
    }
    recorded.heads.iter().rev().position(|head| head.is(noted)).ok_or_else(|| {
        Stop::new(
            9,
            format!(
                "error: the journal does not lead to the head {noted}: it was changed, cut short, or is another run's (its head is {})",
                recorded.head.short()
            ),
        )
    })
}

/// Says that a run was handed over, if it was: two people must not go on with it.
pub(super) fn say_handed_over(folder: &Path) {
    if let Some(note) = handed_over(folder) {
        let by = escape_controls(&note.by).into_owned();
        talk(&format!("note: it was handed over at {} by {by}: agree on who goes on with it", note.at));
    }
}
