//! `runbook run NAME`: find, bind, open, preview, confirm, run.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use indicatif::MultiProgress;

use super::library;
use super::output::{Stop, data, talk, width};
use super::preview::{Previews, preview};
use super::runs::open_store;
use super::target::{TargetArgs, open_target};
use super::{environment, signals};
use crate::action::RunFacts;
use crate::engine::driver::{Driver, DryRun, Incoming, Listener, LiveRun, Mode, Prompt, Record, Stamp};
use crate::engine::{Config, Event, Machine, Measurements, Outcome};
use crate::expr::units::parse_duration;
use crate::health::{Metric, Sample, Series};
use crate::journal::{Holder, Journal, Lease, Unrecorded};
use crate::plan::{Plan, PlanRecord, Selection, Target, bind_inputs, build, check, check_selection};
use crate::platform::{Fault, FaultKind, Observer, Opened, Sampler, SamplerOptions, short};
use crate::reporter::{
    Console, JsonLines, Listeners, Plain, PlanView, Summary, Terminal, Unattended, failure_lines,
    last_line_without_run, plan_view,
};
use crate::source::render;

/// How long the first samples are waited for before the plan is shown.
const FIRST_LOOK: Duration = Duration::from_secs(6);
/// The window of slopes.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(super) struct RunArgs {
    /// The runbook's name (`runbook list`).
    name: String,
    #[command(flatten)]
    target: TargetArgs,
    /// Show what would be done, from live state, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask: the plan and `confirm` steps are agreed to.
    #[arg(long, short = 'y')]
    yes: bool,
    /// Set an input.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Begin at this step.
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
    /// Run only these steps (and those marked `always`).
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Leave these steps out.
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,
    /// Events as JSON on stdout, one object a line.
    #[arg(long)]
    json: bool,
    /// Ends waiting after this long, such as 10m.
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,
    /// Folder of runbooks, read before the embedded ones [default: ./runbooks].
    #[arg(long, value_name = "DIR")]
    runbooks: Option<PathBuf>,
}

/// Everything that goes wrong before a run, with its exit code; then the run's own.
pub(super) fn run(args: &RunArgs) -> u8 {
    match attempt(args) {
        Ok(code) => code,
        Err(stop) => {
            talk(&stop.text);
            if args.json {
                let outcome = match stop.code {
                    3 => Outcome::Invalid,
                    6 => Outcome::Declined,
                    8 => Outcome::Locked,
                    9 => Outcome::Unusable,
                    130 => Outcome::Interrupted,
                    _ => Outcome::Unexpected,
                };
                let line = last_line_without_run(
                    1,
                    outcome,
                    stop.code,
                    stop.text.lines().next().unwrap_or_default(),
                );
                data(&format!("{line}\n"));
            }
            stop.code
        }
    }
}

fn attempt(args: &RunArgs) -> Result<u8, Stop> {
    let (name, source) = library::find(&args.name, args.runbooks.as_deref(), args.yes && !args.dry_run)?;
    let colour = console::colors_enabled_stderr();
    let checked = check(&source)
        .map_err(|faults| Stop::new(3, render(&source, &faults, colour).trim_end().to_owned()))?;
    if checked.runbook.name.value != name {
        return Err(Stop::new(
            3,
            format!("error: {} calls itself `{}`, not `{}`", source.name, checked.runbook.name.value, name),
        ));
    }
    let inputs = bind_inputs(&checked.runbook.inputs, &pairs(&args.set)?)
        .map_err(|faults| Stop::new(2, format!("error: {}", faults.join("\nerror: "))))?;
    let selection = Selection { from: args.from.clone(), only: args.only.clone(), skip: args.skip.clone() };
    check_selection(&checked.plan, &selection)
        .map_err(|faults| Stop::new(2, format!("error: {}", faults.join("\nerror: "))))?;
    let deadline = match &args.deadline {
        None => None,
        Some(text) => {
            let time =
                parse_duration(text).map_err(|why| Stop::new(2, format!("error: --deadline: {why}")))?;
            Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
        }
    };
    let mut record = PlanRecord {
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        runbook: name,
        source: source.name.to_string(),
        text: source.text.to_string(),
        inputs,
        selection,
        target: Target::default(),
        deadline_ms: deadline,
    };
    // The runbook is valid by itself: what does not fit now came with `--set`, and needs no app to be seen.
    build(record.clone()).map_err(|faults| {
        let told = render(&source, &faults, colour);
        Stop::new(2, format!("{}\n  hint: the runbook is valid by itself: look at --set", told.trim_end()))
    })?;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if !args.dry_run && !args.yes && !terminal {
        return Err(Stop::new(
            6,
            "error: the plan must be agreed to, and there is no terminal to ask at\n  hint: `--dry-run` shows it, `--yes` agrees to it",
        ));
    }
    // The state directory is tried before anything else happens: what cannot be written down is not done.
    let store = if args.dry_run { None } else { Some(open_store()?) };
    let (opened, app) = open_target(&args.target, Arc::new(|text: &str| talk(text)))?;
    record.target = target_of(args, &opened, &app)?;
    let plan = build(record)
        .map_err(|faults| Stop::new(3, render(&source, &faults, colour).trim_end().to_owned()))?;
    let session = Session::begin(args, opened, Arc::new(plan), terminal);
    match store {
        None => session.dry(),
        Some(store) => session.live(&store),
    }
}

fn pairs(set: &[String]) -> Result<Vec<(String, String)>, Stop> {
    set.iter()
        .map(|text| {
            text.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .ok_or_else(|| Stop::new(2, format!("error: --set {text}: write NAME=VALUE")))
        })
        .collect()
}

fn target_of(args: &RunArgs, opened: &Opened, app: &str) -> Result<Target, Stop> {
    let facts = opened.observer.heroku().app().map_err(|fault| Stop::unusable(&fault))?;
    Ok(Target {
        app: app.to_owned(),
        app_id: facts.id,
        api_url: environment::api_url(),
        database: opened.database.clone(),
        git_remote: opened.observer.git().remote_url(),
        folder: args.target.folder.display().to_string(),
        pages: opened.pages.clone(),
    })
}

/// A run being prepared: the world is open and samples come in.
struct Session<'a> {
    args: &'a RunArgs,
    opened: Opened,
    plan: Arc<Plan>,
    terminal: bool,
    inbox: Receiver<Incoming>,
    outbox: Sender<Incoming>,
    sampler: Sampler,
    series: Series,
    early: Vec<Sample>,
    latest: Measurements,
    facts: RunFacts,
    preboot: bool,
}

impl<'a> Session<'a> {
    fn begin(args: &'a RunArgs, opened: Opened, plan: Arc<Plan>, terminal: bool) -> Self {
        let (outbox, inbox) = channel();
        let options =
            SamplerOptions { every: plan.every, page: opened.pages.as_ref().map(|_| "/".to_owned()) };
        let sink = outbox.clone();
        let sampler = Sampler::start(&opened.observer, options, move |sample| {
            sink.send(Incoming::Sample(Box::new(sample))).is_ok()
        });
        let series = Series::new(WINDOW, opened.pages.is_some());
        let mut session = Self {
            args,
            opened,
            plan,
            terminal,
            inbox,
            outbox,
            sampler,
            series,
            early: Vec::new(),
            latest: Measurements::new(),
            facts: RunFacts::default(),
            preboot: false,
        };
        session.first_look();
        session
    }

    /// Waits for the first samples: until usage and dynos are known, or a few seconds.
    fn first_look(&mut self) {
        let observer = self.opened.observer.clone();
        let until = observer.clock().now().plus(FIRST_LOOK);
        let wanted = |latest: &Measurements| {
            latest.contains_key(&Metric::DynosUp)
                && (self.args.target.no_database || latest.contains_key(&Metric::Usage))
        };
        let mut latest = Measurements::new();
        while observer.clock().now() < until && !wanted(&latest) {
            match self.inbox.recv_timeout(until.since(observer.clock().now())) {
                Ok(Incoming::Sample(sample)) => {
                    latest = self.series.push((*sample).clone()).metrics;
                    self.early.push(*sample);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.latest = latest;
        let heroku = observer.heroku();
        self.preboot = heroku.app().is_ok_and(|app| app.preboot);
        if let Ok(releases) = heroku.releases(10)
            && let Some(slug) =
                releases.into_iter().find(|release| release.current).and_then(|release| release.slug)
        {
            self.facts.live_at_start = heroku.slug(&slug).ok().and_then(|slug| slug.commit);
        }
    }

    fn look(&self) -> Previews {
        preview(&self.plan, &self.opened.observer, &self.facts, &self.series, &self.latest)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.opened.notes.clone();
        if let Some(live) = &self.facts.live_at_start {
            notes.push(format!("live now: commit {}", short(live)));
        }
        if let Ok(apps) = self.opened.observer.heroku().sharing_apps()
            && !apps.is_empty()
        {
            notes.push(format!("the database is shared with {}: a kill hits them too", apps.join(", ")));
        }
        notes.push(format!("account {}", self.opened.account));
        notes
    }

    fn view(&self, previews: &Previews, dry: bool) -> String {
        plan_view(&PlanView {
            plan: &self.plan,
            previews: &previews.steps,
            readings: &previews.readings,
            now: &self.latest,
            notes: &self.notes(),
            dry,
            width: width(),
        })
    }

    /// Steps that cannot be done, found before anything happened.
    fn refuse(previews: &Previews) -> Result<(), Stop> {
        if previews.failures.is_empty() {
            return Ok(());
        }
        let mut text = String::from("nothing was changed; these steps cannot be done:");
        for (step, failure) in &previews.failures {
            text.push_str(&format!("\nerror: step {step}: {failure}"));
            for line in failure_lines(failure) {
                text.push_str(&format!("\n{line}"));
            }
        }
        Err(Stop::new(9, text))
    }

    fn config(&self, run: &str, dry: bool) -> Config {
        Config {
            run: run.to_owned(),
            dry,
            preboot: self.preboot,
            no_database: self.args.target.no_database,
            facts: self.facts.clone(),
        }
    }

    /// The dry run: the same machine, the same driver, and nothing that could change anything.
    fn dry(mut self) -> Result<u8, Stop> {
        // A dry run gives its write authority away before it looks at anything.
        drop(self.opened.sealed.take());
        let previews = self.look();
        Self::refuse(&previews)?;
        let plan = Arc::clone(&self.plan);
        let view = self.view(&previews, true);
        if !self.args.json {
            data(&view);
        }
        let mut listeners = Listeners::default();
        if self.args.json {
            listeners.0.push(Box::new(JsonLines::new(std::io::stdout())));
        }
        let mut record = Unrecorded::default();
        let mut prompt = Unattended { yes: true };
        let started = self.started("dry run", "dry");
        let mut machine = Machine::new(Arc::clone(&plan), self.config("dry", true));
        let shown = Event::Plan { steps: previews.steps };
        self.drive(&mut machine, &DryRun, &mut record, &mut listeners, &mut prompt, vec![started, shown])?;
        if !self.args.json {
            data("\ndry run: nothing was changed; no lock was taken and nothing was written down\n");
        }
        self.opened.close();
        Ok(0)
    }

    fn started(&self, run: &str, mode: &str) -> Event {
        let (user, host) = environment::who();
        Event::RunStarted {
            run: run.to_owned(),
            plan: self.plan.id.clone(),
            record: Box::new(self.plan.record.clone()),
            mode: mode.to_owned(),
            by: format!("{user}@{host}"),
        }
    }

    /// The real run.
    fn live(mut self, store: &crate::journal::Store) -> Result<u8, Stop> {
        let clock_now = self.opened.observer.clock().wall();
        let run = store.new_id(clock_now);
        let (user, host) = environment::who();
        let holder = Holder {
            run: run.clone(),
            user,
            host,
            pid: std::process::id(),
            runbook: self.plan.record.runbook.clone(),
            since: clock_now,
        };
        let _lease =
            Lease::take(&store.locks(), &self.plan.record.target.app, &holder).map_err(
                |error| match error {
                    crate::journal::LeaseError::Held { .. } => Stop::new(8, format!("error: {error}")),
                    crate::journal::LeaseError::Store(error) => Stop::new(9, format!("error: {error}")),
                },
            )?;
        let previews = self.look();
        Self::refuse(&previews)?;
        let bars = MultiProgress::new();
        talk(&self.view(&previews, false));
        self.agree(&previews, &bars)?;
        let folder = store.create_run(&run).map_err(|error| Stop::new(9, format!("error: {error}")))?;
        let mut journal =
            Journal::create(&run, &folder).map_err(|error| Stop::new(9, format!("error: {error}")))?;
        let mut listeners = Listeners::default();
        if self.args.json {
            listeners.0.push(Box::new(JsonLines::new(std::io::stdout())));
        }
        if console::user_attended_stderr() && !self.args.json {
            listeners.0.push(Box::new(Console::new(bars.clone())));
        } else {
            listeners.0.push(Box::new(Plain::new(std::io::stderr())));
        }
        let mut terminal = Terminal::new(bars, self.args.yes);
        let mut unattended = Unattended { yes: self.args.yes };
        let prompt: &mut dyn Prompt = if self.terminal { &mut terminal } else { &mut unattended };
        let started = self.started(&run, "live");
        let mut machine = Machine::new(Arc::clone(&self.plan), self.config(&run, false));
        signals::listen(self.outbox.clone())
            .map_err(|error| Stop::new(1, format!("error: listening for signals: {error}")))?;
        let Some(sealed) = self.opened.sealed.take() else {
            return Err(Stop::new(1, "error: write authority was used up"));
        };
        let Some(permit) = sealed.permit(&self.plan.id, true) else {
            return Err(Stop::new(6, "error: the plan was not agreed to"));
        };
        let mode = LiveRun::new(sealed.open(permit));
        let shown = Event::Plan { steps: previews.steps };
        let ended =
            self.drive(&mut machine, &mode, &mut journal, &mut listeners, prompt, vec![started, shown]);
        drop(listeners);
        let ended = ended?;
        if !self.args.json {
            data(&format!("\n{}", ended.summary.draw(width())));
        }
        self.opened.close();
        Ok(ended.code)
    }

    /// The one question, and those that the plan itself raises.
    fn agree(&mut self, previews: &Previews, bars: &MultiProgress) -> Result<(), Stop> {
        let mut prompt = Terminal::new(bars.clone(), false);
        for (step, preview) in &previews.steps {
            for consent in &preview.consents {
                let answer = if self.args.yes || !self.terminal {
                    None
                } else {
                    prompt.confirm(&format!("{}. Ship them too?", consent.question), false).0
                };
                match answer {
                    Some(true) => self.facts.consents.push(consent.question.clone()),
                    Some(false) => return Err(Stop::new(6, "declined; nothing was changed")),
                    None => {
                        let text = format!(
                            "error: step {step}: {}\n  nothing was changed\n  hint: write `{}` in the step, or answer at a terminal without --yes",
                            consent.question, consent.otherwise
                        );
                        return Err(Stop::new(6, text));
                    }
                }
            }
        }
        if self.args.yes {
            return Ok(());
        }
        let question = format!("Run {} on {}?", self.plan.record.runbook, self.plan.record.target.app);
        match prompt.confirm(&question, false).0 {
            Some(true) => Ok(()),
            _ => Err(Stop::new(6, "declined; nothing was changed")),
        }
    }

    fn drive(
        &mut self,
        machine: &mut Machine,
        mode: &dyn Mode,
        record: &mut dyn Record,
        listeners: &mut Listeners,
        prompt: &mut dyn Prompt,
        first: Vec<Event>,
    ) -> Result<Ended, Stop> {
        let unwritten = |fault: Fault| {
            let mut stop = Stop::unusable(&fault);
            stop.text.push_str("\n  the run stopped: what cannot be written down is not done");
            if fault.kind != FaultKind::Local {
                stop.code = 1;
            }
            stop
        };
        let mut collected = Collected { summary: Summary::default(), outcome: None, inner: listeners };
        for event in first {
            let stamp = record.append(&event).map_err(unwritten)?;
            collected.event(&stamp, &event);
        }
        let (_, unused) = channel();
        let inbox = std::mem::replace(&mut self.inbox, unused);
        // Samples of the first look belong to the run: they come first.
        let early = std::mem::take(&mut self.early);
        let mut driver = Driver {
            plan: Arc::clone(&self.plan),
            observer: self.observer(),
            mode,
            record,
            listener: &mut collected,
            prompt,
            series: Series::new(WINDOW, self.opened.pages.is_some()),
            inbox,
            outbox: self.outbox.clone(),
            interactive: self.terminal && !self.args.yes,
            latest: self.latest.clone(),
        };
        for sample in early {
            driver.sampled(machine, sample).map_err(unwritten)?;
        }
        driver.run(machine).map_err(unwritten)?;
        let _ = &self.sampler;
        let (_, code) = collected.outcome.unwrap_or((Outcome::Unexpected, 1));
        Ok(Ended { summary: collected.summary, code })
    }

    fn observer(&self) -> Observer {
        self.opened.observer.clone()
    }
}

/// How a run ended.
struct Ended {
    summary: Summary,
    code: u8,
}

/// Keeps what the end needs, and passes everything on.
struct Collected<'l> {
    summary: Summary,
    outcome: Option<(Outcome, u8)>,
    inner: &'l mut Listeners,
}

impl Listener for Collected<'_> {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        if let Event::RunFinished { outcome, exit_code, .. } = event {
            self.outcome = Some((*outcome, *exit_code));
        }
        self.summary.event(stamp, event);
        self.inner.event(stamp, event);
    }

    fn live(&mut self, live: &crate::engine::Live, metrics: &Measurements) {
        self.inner.live(live, metrics);
    }
}
