//! `runbook diagnose`: who holds the slots and why, how sure that is, what changed, and what to do. It takes no lock,
//! writes nothing down and changes nothing; it ends with 0 whatever it finds.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::manner::time;
use super::measure::Measuring;
use super::output::{Stop, beside, data, page_width, talk};
use super::run::lead;
use super::runs::recorded;
use super::signals::Ending;
use super::target::TargetArgs;
use crate::action::diagnosis::{Asked, Growth, Report, gather, is_enough};
use crate::engine::Outcome;
use crate::health::Sample;
use crate::journal::last_healthy;
use crate::platform::Census;
use crate::reporter::wrap;
use crate::source::{escape_json, last_net};

/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);
/// How long it measures by default: rates of less are chance.
const MEASURED: Duration = Duration::from_secs(12);
/// After this much more it says what it has.
const PATIENCE: Duration = Duration::from_secs(15);
/// A sample later than this does not come any more.
const LOST: Duration = Duration::from_secs(30);
/// Samples between two looks at what runs.
const LOOKS: u64 = 3;
/// Looks that are kept.
const KEPT: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct DiagnoseArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Measure this long, at least 5s [default: 12s].
    #[arg(long = "for", value_name = "TIME")]
    measure: Option<String>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &DiagnoseArgs) -> u8 {
    lead(args.json, |ending| attempt(args, ending))
}

fn attempt(args: &DiagnoseArgs, ending: &Arc<Ending>) -> Result<u8, Stop> {
    let measure = time("--for", args.measure.as_deref())?.unwrap_or(MEASURED);
    if !(Duration::from_secs(5)..=Duration::from_secs(600)).contains(&measure) {
        return Err(Stop::new(2, "error: --for: between 5s and 10m"));
    }
    let mut measuring = Measuring::begin(&args.target, EVERY, measure.max(Duration::from_secs(60)), &[])?;
    if std::io::stderr().is_terminal() && !args.json {
        talk(&format!("measuring {} for {} s…", measuring.app, measure.as_secs()));
    }
    let asked = watch(&mut measuring, measure)?;
    let found = gather(&measuring.opened.observer, asked);
    let report = Report::of(&found);
    let now = measuring.clock().wall();
    ending.take();
    if args.json {
        let seq = ending.seq().fetch_add(1, Ordering::SeqCst) + 1;
        data(&format!("{}\n", object(seq, now, &measuring.app, &report)));
    } else {
        data(&page(&measuring, &report, now));
    }
    measuring.opened.close();
    Ok(0)
}

/// Samples until a verdict can be given, and looks at what runs meanwhile.
fn watch(measuring: &mut Measuring, measure: Duration) -> Result<Asked, Stop> {
    let observer = measuring.opened.observer.clone();
    let mut asked = Asked { logs: true, healthy: healthy(&measuring.app), ..Asked::default() };
    let begun = measuring.clock().now();
    loop {
        let Some(measured) = measuring.next(LOST) else {
            return Err(Stop::new(9, "error: no sample came any more\n  hint: run it again"));
        };
        let inside = measured.sample.database_answered();
        if let Some(database) = observer.database().filter(|_| inside) {
            // What cannot be read now is read at the end, or said to be unknown then.
            if asked.counters.is_empty() {
                asked.counters = database.counters().unwrap_or_default();
            }
            if measured.sample.number % LOOKS == 0 && asked.earlier.len() < KEPT {
                asked.earlier.extend(database.census().ok().map(statements_only));
            }
        }
        let window: Vec<Sample> = measuring.series.samples().cloned().collect();
        let since = measuring.clock().now().since(begun);
        let done = since >= measure && is_enough(&window);
        if done || since >= measure + PATIENCE {
            asked.growth = Growth::of(&measured.metrics);
            asked.window = window;
            return Ok(asked);
        }
    }
}

fn statements_only(census: Census) -> Census {
    Census { statements: census.statements, ..Census::default() }
}

/// The last time that a run on this machine saw this app healthy; runs that cannot be read tell nothing.
fn healthy(app: &str) -> Option<(Timestamp, String)> {
    last_healthy(&recorded().ok()?, app)
}

/// Heads of sections stand in a column of this width.
const LABELS: usize = 15;

fn page(measuring: &Measuring, report: &Report, now: Timestamp) -> String {
    let width = page_width();
    let mut out = wrap(&format!("{}: {}", measuring.app, report.headline()), width, 2);
    out.push('\n');
    for (label, lines) in report.sections(now) {
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { format!("  {label}") } else { String::new() };
            out.push_str(&beside(&label, &last_net(line), LABELS, width));
        }
    }
    out
}

/// The one object: the keys of every stream, and the report's.
fn object(seq: u64, now: Timestamp, app: &str, report: &Report) -> String {
    let mut line = json!({
        "seq": seq, "at": now, "run": null, "type": "diagnosis", "app": app,
        "recommends": report.recommends(), "outcome": Outcome::Done, "exit_code": 0,
    });
    if let (Json::Object(line), Ok(Json::Object(report))) = (&mut line, serde_json::to_value(report)) {
        line.extend(report);
    }
    escape_json(&line.to_string()).into_owned()
}
