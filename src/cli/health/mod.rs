//! `runbook health`: how it is now, in one line; whether what a monitor requires holds. It takes no lock, writes nothing
//! down and changes nothing.

mod judge;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::environment;
use super::manner::time;
use super::measure::Measuring;
use super::output::{Stop, data, talk};
use super::run::lead;
use super::signals::Ending;
use super::target::TargetArgs;
use crate::engine::Outcome;
use crate::expr::{Evaluation, Expr};
use crate::health::{Measured, Metric, Moment, Value};
use crate::plan::{condition, healthy};
use crate::reporter::{HealthView, clauses, last_line, sample_line, spark, truth};
use crate::source::{Source, render};
use judge::{Conclusion, Judge};

/// Between two samples, where one moment is enough and where it is not.
const GLANCES: Duration = Duration::from_millis(250);
const EVERY: Duration = Duration::from_secs(1);
/// A sample later than this does not come any more: the database's own bounds are shorter.
const LOST: Duration = Duration::from_secs(30);
/// The window of slopes.
const WINDOW: Duration = Duration::from_secs(60);
/// Samples in the sparkline.
const SPARK: usize = 30;

#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// A condition that must hold, such as 'usage < 80% and live': exit 0 when it does, 4 when it does not or the
    /// database is full, 9 when it could not be judged.
    #[arg(long, value_name = "EXPR")]
    require: Option<String>,
    /// Measure this long, such as 10s; what is required must hold all the time.
    #[arg(long = "for", value_name = "TIME")]
    hold: Option<String>,
    /// Go on until Ctrl-C: redrawn on a terminal, else a line a sample.
    #[arg(long)]
    watch: bool,
    /// Time between two samples of --watch and --for [default: 1s].
    #[arg(long, value_name = "TIME")]
    every: Option<String>,
    /// JSON on stdout: one object, with --watch one a line.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(args: &HealthArgs) -> u8 {
    lead(args.json, |ending| attempt(args, ending))
}

fn attempt(args: &HealthArgs, ending: &Arc<Ending>) -> Result<u8, Stop> {
    let hold = time("--for", args.hold.as_deref())?.unwrap_or_default();
    let every = time("--every", args.every.as_deref())?;
    if every.is_some_and(|every| every < GLANCES || every > Duration::from_secs(3600)) {
        return Err(Stop::new(2, "error: --every: between 250ms and 1h"));
    }
    let database = !args.target.no_database;
    let require = args.require.as_deref().map(|text| required(text, database)).transpose()?;
    let named: Vec<String> = require.iter().flat_map(|expr| expr.names()).map(str::to_owned).collect();
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let judge = Judge::new(require, healthy(database), hold);
    let every = every.unwrap_or(if judge.is_a_glance() && !args.watch { GLANCES } else { EVERY });
    let measuring = Measuring::begin(&args.target, every, WINDOW.max(hold), &named)?;
    let pages = measuring.opened.pages.is_some();
    if !pages && let Some(text) = args.require.as_deref().filter(|text| names_pages(text)) {
        return Err(Stop::new(9, format!("error: --require {text}: {}", unmeasured(&measuring))));
    }
    let mut told = Told {
        args,
        ending,
        judge: judge.measured(database, pages),
        screen: Screen::of(args),
        seq: 0,
        usage: VecDeque::new(),
        refused: None,
        probes: 0,
    };
    told.until_the_end(measuring)
}

/// The condition, checked: it may name nothing that is not measured here.
fn required(text: &str, database: bool) -> Result<Expr, Stop> {
    let expr = condition(text).map_err(|faults| {
        let source = Source::new("--require", text);
        Stop::new(2, render(&source, &faults, console::colors_enabled_stderr()).trim_end().to_owned())
    })?;
    let of_database = |name: &&str| Metric::named(name).is_some_and(Metric::of_database);
    if let Some(name) = expr.names().into_iter().find(of_database).filter(|_| !database) {
        let text = format!("error: --require: `{name}` is the database's, and --no-database leaves it alone");
        return Err(Stop::new(2, text));
    }
    Ok(expr)
}

fn names_pages(text: &str) -> bool {
    condition(text).is_ok_and(|expr| expr.names().iter().any(|name| name.starts_with("pages.")))
}

/// Why pages are not measured.
fn unmeasured(measuring: &Measuring) -> String {
    let why = measuring.opened.notes.iter().find(|note| note.starts_with("pages: "));
    format!("{}\n  hint: --url says where they are", why.map_or("pages: not measured", String::as_str))
}

/// Where a live picture is drawn.
struct Screen {
    term: console::Term,
    drawn: usize,
}

impl Screen {
    /// A terminal that may be redrawn, when one is to be.
    fn of(args: &HealthArgs) -> Option<Self> {
        let redraw = args.watch && !args.json && std::io::stdout().is_terminal() && environment::may_redraw();
        redraw.then(|| Self { term: console::Term::stdout(), drawn: 0 })
    }

    fn draw(&mut self, lines: &[String]) {
        let width = usize::from(self.term.size().1).saturating_sub(1).max(20);
        if self.drawn > 0 {
            let _ = self.term.clear_last_lines(self.drawn);
        }
        let cut: Vec<String> =
            lines.iter().map(|line| console::truncate_str(line, width, "…").into_owned()).collect();
        data(&format!("{}\n", cut.join("\n")));
        self.drawn = lines.len();
    }
}

/// What is told, and to whom.
struct Told<'a> {
    args: &'a HealthArgs,
    ending: &'a Ending,
    judge: Judge,
    screen: Option<Screen>,
    seq: u64,
    usage: VecDeque<Option<f64>>,
    /// Refusals so far, and since when.
    refused: Option<(f64, Moment)>,
    /// Page probes so far.
    probes: u64,
}

impl Told<'_> {
    fn until_the_end(&mut self, mut measuring: Measuring) -> Result<u8, Stop> {
        let bounded = !self.args.watch || self.args.hold.is_some();
        loop {
            let Some(measured) = measuring.next(LOST) else {
                return Err(Stop::new(9, "error: no sample came any more\n  hint: run it again"));
            };
            self.count(&measured);
            let concluded = self.judge.look(&measured).filter(|_| bounded);
            // A signal that has the last word lets nothing come after it.
            self.ending.wait_if_taken();
            if self.args.watch {
                self.show(&measuring, &measured);
            }
            let Some(concluded) = concluded else { continue };
            self.ending.take();
            measuring.opened.close();
            return Ok(self.conclude(&measuring, &measured, &concluded));
        }
    }

    fn count(&mut self, measured: &Measured) {
        let usage = match measured.metrics.get(&Metric::Usage) {
            Some(Value::Ratio(usage)) => Some(*usage),
            _ => None,
        };
        self.usage.push_back(usage);
        while self.usage.len() > SPARK {
            self.usage.pop_front();
        }
        if let Some(pages) = measured.sample.pages.measured() {
            self.probes += pages.ok_ms.len() as u64 + pages.failed;
        }
        let at = measured.sample.at;
        let (sum, _) = self.refused.get_or_insert((0.0, at));
        if let Some(Value::Count(refused)) = measured.metrics.get(&Metric::Refused) {
            *sum += refused;
        }
    }

    fn view<'v>(&self, measuring: &'v Measuring, measured: &'v Measured) -> HealthView<'v> {
        let over = self.refused.map(|(sum, since)| (sum, measured.sample.at.since(since)));
        HealthView {
            app: &measuring.app,
            sample: &measured.sample,
            metrics: &measured.metrics,
            refused: over.filter(|(_, over)| !self.args.watch && *over >= Duration::from_secs(2)),
            healthy: self.judge.healthy(measured),
            database: !self.args.target.no_database,
            probes: measuring.opened.pages.as_ref().map(|_| self.probes),
        }
    }

    /// One sample of --watch.
    fn show(&mut self, measuring: &Measuring, measured: &Measured) {
        let reads = self.judge.reads(measured);
        if self.args.json {
            self.json(measuring, measured, None);
            return;
        }
        let view = self.view(measuring, measured);
        let wall = measuring.clock().wall().strftime("%H:%M:%SZ").to_string();
        let Some(screen) = &mut self.screen else {
            let mut line = format!("{wall} {}", view.line());
            if let Some(reads) = &reads {
                line.push_str(&format!(" · require {}", crate::reporter::truth_word(reads.truth)));
            }
            data(&format!("{line}\n"));
            return;
        };
        let mut lines = view.block(&spark(self.usage.iter().copied()));
        if let Some(first) = lines.first_mut() {
            first.push_str(&format!(" · {wall} · Ctrl-C ends it"));
        }
        if let Some(reads) = &reads {
            lines.push(format!("  required: {}", crate::reporter::truth_word(reads.truth)));
            lines.extend(clauses(reads).into_iter().map(|clause| format!("    {clause}")));
        }
        screen.draw(&lines);
    }

    /// The end: the line, and what is not as required.
    fn conclude(&mut self, measuring: &Measuring, measured: &Measured, concluded: &Conclusion) -> u8 {
        let code = concluded.exit_code();
        if self.args.json {
            if self.args.watch {
                let seq = self.next_seq();
                data(&format!("{}\n", last_line(seq, None, outcome(code), code, &why(concluded))));
            } else {
                self.json(measuring, measured, Some(concluded));
            }
        } else if !self.args.watch {
            data(&format!("{}\n", self.view(measuring, measured).line()));
        }
        if let Conclusion::Fails(evaluation) | Conclusion::Unknown { evaluation, .. } = concluded {
            talk(&format!("{}: {}", why(concluded), self.args.require.as_deref().unwrap_or_default()));
            for clause in clauses(evaluation) {
                talk(&format!("  {clause}"));
            }
        }
        code
    }

    fn next_seq(&mut self) -> u64 {
        self.ending.seq().fetch_add(1, Ordering::SeqCst) + 1
    }

    fn json(&mut self, measuring: &Measuring, measured: &Measured, concluded: Option<&Conclusion>) {
        self.seq = self.next_seq();
        let mut more = Map::new();
        more.insert("app".to_owned(), json!(measuring.app));
        more.insert("healthy".to_owned(), json!(truth(self.judge.healthy(measured))));
        if let Some(reads) = self.judge.reads(measured) {
            more.insert("require".to_owned(), self.require(&reads));
        }
        if let Some(concluded) = concluded {
            let code = concluded.exit_code();
            more.insert("outcome".to_owned(), json!(outcome(code)));
            more.insert("exit_code".to_owned(), json!(code));
        }
        data(&format!("{}\n", sample_line(self.seq, measured, more)));
    }

    fn require(&self, reads: &Evaluation) -> Json {
        json!({ "text": self.args.require, "holds": truth(reads.truth), "clauses": reads.clauses })
    }
}

const fn outcome(code: u8) -> Outcome {
    match code {
        0 => Outcome::Done,
        4 => Outcome::GateShut,
        _ => Outcome::Unusable,
    }
}

fn why(concluded: &Conclusion) -> String {
    match concluded {
        Conclusion::Told => "measured",
        Conclusion::Holds => "what is required holds",
        Conclusion::Fails(_) => "what is required does not hold",
        Conclusion::Unknown { full: true, .. } => {
            "what is required is not known: the database refuses logins"
        }
        Conclusion::Unknown { .. } => "what is required could not be judged",
    }
    .to_owned()
}
