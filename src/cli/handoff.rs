//! `runbook handoff RUN`: a run as one file for a colleague; `runbook handoff --take FILE`: that file becomes a run here.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::output::{Stop, data, talk};
use super::past::Past;
use super::readme::readme;
use super::runs::{open_store, recorded};
use super::{credentials, environment};
use crate::journal::{
    BUNDLE_BYTES, BundleError, HandedOver, Header, Holder, Lease, LeaseError, Packed, Store,
    mark_handed_over, pack, take,
};
use crate::platform::mariadb::DatabaseUrl;
use crate::platform::quoted;
use crate::platform::secret::Redactor;
use crate::source::escape_controls;

/// Suspicious lines that are named one by one.
const NAMED: usize = 10;

#[derive(Debug, clap::Args)]
pub(super) struct HandoffArgs {
    /// The run: its id, a unique beginning of it, or its last letters.
    #[arg(required_unless_present = "take")]
    run: Option<String>,
    /// Where the file is written [default: ./runbook-handoff-RUN.txt].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take a run that a colleague has handed over.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["run", "out"])]
    take: Option<PathBuf>,
}

pub(super) fn run(args: &HandoffArgs) -> u8 {
    let ended = match (&args.take, &args.run) {
        (Some(file), _) => take_over(file),
        (None, Some(run)) => hand_over(run, args.out.as_deref()),
        (None, None) => Err(Stop::new(2, "error: which run? `runbook runs` lists them")),
    };
    match ended {
        Ok(()) => 0,
        Err(stop) => {
            talk(&stop.text);
            stop.code
        }
    }
}

fn who() -> String {
    escape_controls(&environment::by()).into_owned()
}

fn unusable(error: &BundleError) -> Stop {
    Stop::new(9, format!("error: {error}"))
}

fn hand_over(wanted: &str, out: Option<&Path>) -> Result<(), Stop> {
    let store = recorded()?;
    let past = Past::find(&store, wanted)?;
    let _lease = still(&store, &past)?;
    let head = past.recorded.head.to_string();
    let header = Header { run: past.run.clone(), packed: jiff::Timestamp::now(), by: who(), head, files: 0 };
    let packed = pack(&past.folder, &header, &readme(&past, &header)).map_err(|error| unusable(&error))?;
    look_for_secrets(&packed)?;
    let path =
        out.map_or_else(|| PathBuf::from(format!("runbook-handoff-{}.txt", past.run)), Path::to_path_buf);
    write(&path, &packed.bytes)?;
    for what in &packed.left_out {
        talk(&format!("left out: {what}"));
    }
    let note = HandedOver { at: header.packed, by: header.by, head: header.head.clone() };
    if let Err(error) = mark_handed_over(&past.folder, &note) {
        talk(&format!("warning: that it was handed over could not be noted here: {error}"));
    }
    data(&format!("{}\n", path.display()));
    talk(&format!(
        "run {}: {} files, {} kB, only you can read it; head {}\n  the other one runs: runbook handoff --take {}\n  then:               runbook resume {} -C THEIR-CLONE --accept-changed target",
        past.run,
        packed.files.len(),
        packed.bytes.len().div_ceil(1000),
        past.recorded.head.short(),
        quoted(&path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())),
        past.run,
    ));
    Ok(())
}

/// Nobody goes on with it here while it is packed; one that still runs is not handed over.
fn still(store: &Store, past: &Past) -> Result<Option<Lease>, Stop> {
    let (user, host) = environment::who();
    let holder = Holder {
        run: past.run.clone(),
        user,
        host,
        pid: std::process::id(),
        runbook: past.record.runbook.clone(),
        since: jiff::Timestamp::now(),
    };
    match Lease::take(&store.locks(), &past.record.target.app, &holder) {
        Ok(lease) => Ok(Some(lease)),
        Err(LeaseError::Held { holder: Some(holder), .. }) if holder.run == past.run => Err(Stop::new(
            8,
            format!(
                "error: run {} still runs here, as process {}: it cannot be in two hands\n  hint: Ctrl-C in its terminal (or `kill {}`) pauses it; hand it over then",
                past.run, holder.pid, holder.pid
            ),
        )),
        Err(error @ LeaseError::Lingering { .. }) if of_this_run(&error, &past.run) => {
            Err(Stop::new(8, format!("error: {error}: it cannot be in two hands")))
        }
        // Another run has the app, or the state directory can only be read: that stands in nobody's way.
        Err(_) => Ok(None),
    }
}

fn of_this_run(error: &LeaseError, run: &str) -> bool {
    matches!(error, LeaseError::Lingering { holder: Some(holder) } if holder.run == run)
}

/// A secret in use is no matter of opinion; what only looks like one is said.
fn look_for_secrets(packed: &Packed) -> Result<(), Stop> {
    let known = secrets_in_use();
    let text = String::from_utf8_lossy(&packed.bytes);
    let mut suspicious = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if known.finds(line) {
            return Err(Stop::new(
                9,
                format!(
                    "error: the run holds a secret that is in use (the token, or the database's password), in what would be line {} of the file: nothing was written\n  hint: it was given in a runbook, an input or a reason; change that secret, then hand over",
                    index + 1
                ),
            ));
        }
        if Redactor::suspects(line) {
            suspicious.push((index + 1).to_string());
        }
    }
    if !suspicious.is_empty() {
        suspicious.truncate(NAMED);
        talk(&format!(
            "warning: what looks like a token or like a password in a URL stands in line {}: look before you send it on",
            suspicious.join(", ")
        ));
    }
    Ok(())
}

fn secrets_in_use() -> Redactor {
    let redactor = Redactor::default();
    let kept = |variable: &str| environment::text(variable).is_some();
    let token = credentials::token(&talk);
    match &token {
        Ok(token) => redactor.learn(token),
        Err(fault) if kept("HEROKU_API_KEY_FILE") || kept("HEROKU_API_KEY_COMMAND") => {
            talk(&format!("warning: {fault}; so the token was not looked for in the file"));
        }
        Err(_) => {}
    }
    match credentials::database_url(None, token.as_ref().ok(), &talk) {
        Ok(Some(url)) => {
            redactor.learn_url(&url.secret);
            if let Ok(parsed) = DatabaseUrl::parse(url.secret.expose_secret()) {
                parsed.teach(&redactor);
            }
        }
        Ok(None) => {}
        Err(fault) => {
            talk(&format!("warning: {fault}; so the database's password was not looked for in the file"));
        }
    }
    redactor
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| {
        let there = error.kind() == std::io::ErrorKind::AlreadyExists;
        if !there {
            // Half a bundle is none.
            let _ = fs::remove_file(path);
        }
        let hint = if there { "\n  hint: `--out FILE` names another" } else { "" };
        let shown = escape_controls(&path.display().to_string()).into_owned();
        Stop::new(9, format!("error: writing {shown}: {error}{hint}"))
    })
}

fn take_over(file: &Path) -> Result<(), Stop> {
    let shown = escape_controls(&file.display().to_string()).into_owned();
    let unreadable = |why: String| Stop::new(9, format!("error: reading {shown}: {why}"));
    let mut bytes = Vec::new();
    fs::File::open(file)
        // One byte more than a bundle may have: then it is refused for its length.
        .and_then(|file| file.take(BUNDLE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    let store = open_store()?;
    let taken = take(&store, &bytes, &who()).map_err(|error| match &error {
        BundleError::Refused(_) => unreadable(error.to_string()),
        BundleError::Unusable { .. } | BundleError::Exists(_) => unusable(&error),
    })?;
    let (run, recorded) = (&taken.header.run, &taken.recorded);
    data(&format!("{run}\n"));
    talk(&format!(
        "run {run} is here now: packed {} by {}, {} entries, whole and unchanged since; head {}\n  what was done and what is left: {}\n  to go on: runbook resume {run} -C YOUR-CLONE --accept-changed target",
        taken.header.packed,
        escape_controls(&taken.header.by),
        recorded.entries.len(),
        recorded.head.short(),
        quoted(&taken.folder.join("README.txt").display().to_string()),
    ));
    Ok(())
}
