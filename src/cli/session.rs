//! One run from an opened world to its end: first look, plan, question, driver, summary.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use indicatif::MultiProgress;

use super::environment;
use super::output::{Stop, data, talk, width};
use super::preview::{Previews, preview};
use super::run::RunArgs;
use super::signals::Ending;
use crate::action::RunFacts;
use crate::engine::driver::{
    Driver, DryRun, Incoming, Listener, LiveRun, Mode, Prompt, Record, Reply, Stamp,
};
use crate::engine::{Config, Event, Live, Machine, Measurements, Outcome};
use crate::health::{Metric, Moment, Sample, Series};
use crate::journal::{Holder, Journal, Lease, LeaseError, Store, StoreError, Unrecorded};
use crate::plan::Plan;
use crate::platform::{Fault, Opened, Sampler, SamplerOptions, short};
use crate::reporter::{
    Console, Detached, JsonLines, Listeners, Plain, PlanView, Summary, Terminal, Unattended, failure_lines,
    plan_view,
};

/// How long the first samples are waited for before the plan is shown.
const FIRST_LOOK: Duration = Duration::from_secs(6);
/// The window of slopes.
const WINDOW: Duration = Duration::from_secs(60);

/// A run being prepared: the world is open and samples come in.
pub(super) struct Session<'a> {
    args: &'a RunArgs,
    opened: Opened,
    plan: Arc<Plan>,
    terminal: bool,
    inbox: Receiver<Incoming>,
    outbox: Sender<Incoming>,
    _sampler: Sampler,
    series: Series,
    early: Vec<Sample>,
    latest: Measurements,
    facts: RunFacts,
    preboot: bool,
    ending: Arc<Ending>,
    /// The run's id, once there is one.
    run: Option<String>,
}

impl<'a> Session<'a> {
    /// Starts the sampler and takes a first look.
    pub(super) fn begin(
        args: &'a RunArgs,
        opened: Opened,
        plan: Arc<Plan>,
        terminal: bool,
        ending: Arc<Ending>,
    ) -> Self {
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
            _sampler: sampler,
            series,
            early: Vec::new(),
            latest: Measurements::new(),
            facts: RunFacts::default(),
            preboot: false,
            ending,
            run: None,
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
        self.preboot = observer.heroku().preboot().unwrap_or_default();
        self.facts.live_at_start = observer.running().ok().and_then(|running| running.commit);
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
        match self.opened.account.as_str() {
            "" => notes.push("account: the token may not tell whose it is".to_owned()),
            account => notes.push(format!("account {account}")),
        }
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
        let mut text = String::new();
        for (step, failure) in &previews.failures {
            text.push_str(&format!("error: step {step} cannot be done: {failure}\n"));
            for line in failure_lines(failure) {
                text.push_str(&format!("{line}\n"));
            }
        }
        text.push_str("nothing was changed");
        Err(Stop::new(9, text))
    }

    fn config(&self, run: &str, dry: bool) -> Config {
        Config {
            run: run.to_owned(),
            dry,
            preboot: self.preboot,
            no_database: self.args.target.no_database,
            stepwise: self.args.step,
            facts: self.facts.clone(),
        }
    }

    /// The dry run: the same machine, the same driver, and nothing that could change anything.
    pub(super) fn dry(mut self) -> Result<u8, Stop> {
        // A dry run gives its write authority away before it looks at anything.
        drop(self.opened.sealed.take());
        let previews = self.look();
        Self::refuse(&previews)?;
        self.write_plan(&previews)?;
        let plan = Arc::clone(&self.plan);
        let view = self.view(&previews, true);
        let mut listeners = Listeners::default();
        if self.args.json {
            listeners.0.push(self.json_lines());
        } else {
            data(&view);
        }
        let mut record = Unrecorded::default();
        let mut prompt = Unattended { yes: true };
        let started = self.started("dry run", "dry");
        let mut machine = Machine::new(Arc::clone(&plan), self.config("dry", true));
        let shown = Event::Plan { steps: previews.steps };
        let ended =
            self.drive(&mut machine, &DryRun, &mut record, &mut listeners, &mut prompt, vec![started, shown]);
        drop(listeners);
        if !self.args.json {
            data("\ndry run: nothing was changed; no lock was taken and nothing was written down\n");
        }
        self.opened.close();
        Ok(ended.code)
    }

    fn json_lines(&self) -> Box<dyn Listener> {
        Box::new(Detached::new(JsonLines::new(std::io::stdout(), self.ending.seq())))
    }

    /// `--plan-out`: the plan, whole, with its hash and what each step would do.
    fn write_plan(&self, previews: &Previews) -> Result<(), Stop> {
        let Some(path) = &self.args.plan_out else { return Ok(()) };
        let plan = serde_json::json!({
            "format": 1,
            "plan": self.plan.id,
            "record": self.plan.record,
            "steps": previews.steps.iter().map(|(step, preview)| {
                serde_json::json!({ "step": step, "preview": preview })
            }).collect::<Vec<_>>(),
        });
        std::fs::write(path, format!("{plan:#}\n")).map_err(|error| {
            Stop::new(9, format!("error: --plan-out {}: {error}; nothing was changed", path.display()))
        })
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
    pub(super) fn live(mut self, store: &Store) -> Result<u8, Stop> {
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
        let unusable = |error: StoreError| Stop::new(9, format!("error: {error}\n  nothing was changed"));
        let app = &self.plan.record.target.app;
        let _lease = Lease::take(&store.locks(), app, &holder).map_err(|error| match error {
            LeaseError::Held { .. } => Stop::new(8, format!("error: {error}\n  nothing was changed")),
            LeaseError::Store(error) => unusable(error),
        })?;
        let previews = self.look();
        Self::refuse(&previews)?;
        self.write_plan(&previews)?;
        let bars = MultiProgress::new();
        talk(&self.view(&previews, false));
        self.agree(&previews, &bars)?;
        let folder = store.create_run(&run).map_err(unusable)?;
        let mut journal = Journal::create(&run, &folder).map_err(unusable)?;
        let mut listeners = Listeners::default();
        if self.args.json {
            listeners.0.push(self.json_lines());
        }
        let attended = console::user_attended_stderr();
        listeners.0.push(if attended && !self.args.json && environment::may_redraw() {
            Box::new(Detached::new(Console::new(bars.clone())))
        } else if attended {
            Box::new(Detached::new(Plain::on_screen(std::io::stderr())))
        } else {
            Box::new(Detached::new(Plain::new(std::io::stderr())))
        });
        let mut terminal = Terminal::new(bars, self.args.yes);
        let mut unattended = Unattended { yes: self.args.yes };
        let prompt: &mut dyn Prompt = if self.terminal { &mut terminal } else { &mut unattended };
        let started = self.started(&run, "live");
        let mut machine = Machine::new(Arc::clone(&self.plan), self.config(&run, false));
        self.run = Some(run.clone());
        self.ending.during(&run, self.outbox.clone());
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
        let told = format!("\n{}", ended.summary.draw(width()));
        if self.args.json {
            talk(told.trim_end());
        } else {
            data(&told);
        }
        self.opened.close();
        Ok(ended.code)
    }

    /// The one question, and those that the plan itself raises.
    fn agree(&mut self, previews: &Previews, bars: &MultiProgress) -> Result<(), Stop> {
        let mut prompt = Terminal::new(bars.clone(), false);
        for (step, preview) in &previews.steps {
            for consent in &preview.consents {
                let reply = if self.args.yes || !self.terminal {
                    Reply::Nobody
                } else {
                    prompt.confirm(&format!("{}. Do it all the same?", consent.question), false).0
                };
                match reply {
                    Reply::Yes => self.facts.consents.push(consent.question.clone()),
                    Reply::No => return Err(Stop::new(6, "declined; nothing was changed")),
                    Reply::Interrupted => return Err(Stop::new(130, "interrupted; nothing was changed")),
                    Reply::Nobody => {
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
            Reply::Yes => Ok(()),
            Reply::Interrupted => Err(Stop::new(130, "interrupted; nothing was changed")),
            Reply::No | Reply::Nobody => Err(Stop::new(6, "declined; nothing was changed")),
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
    ) -> Ended {
        let run = self.run.clone();
        let mut collected =
            Collected { summary: Summary::default(), code: 1, ending: &self.ending, inner: listeners };
        let (_, unused) = channel();
        let inbox = std::mem::replace(&mut self.inbox, unused);
        let early = std::mem::take(&mut self.early);
        let mut driver = Driver {
            plan: Arc::clone(&self.plan),
            observer: self.opened.observer.clone(),
            mode,
            record,
            listener: &mut collected,
            prompt,
            series: Series::new(WINDOW, self.opened.pages.is_some()),
            inbox,
            outbox: self.outbox.clone(),
            run_id: run.clone(),
            interactive: self.terminal && !self.args.yes,
            latest: self.latest.clone(),
            acted: false,
        };
        // Samples of the first look belong to the run: they come first.
        let ended = first
            .into_iter()
            .try_for_each(|event| driver.write(event))
            .and_then(|()| early.into_iter().try_for_each(|sample| driver.sampled(machine, sample)))
            .and_then(|()| driver.run(machine));
        let acted = driver.acted;
        if let Err(fault) = ended {
            let clock = self.opened.observer.clock();
            let event = unwritten(machine, clock.now(), acted, &fault);
            collected.event(&Stamp { seq: 0, at: clock.wall(), run }, &event);
        }
        Ended { summary: collected.summary, code: collected.code }
    }
}

/// The last event of a run whose journal could not be written: nothing was done after that.
fn unwritten(machine: &mut Machine, now: Moment, acted: bool, fault: &Fault) -> Event {
    // Before any change the state directory is unusable; after one, the run has failed on its way.
    let outcome = if acted { Outcome::Failed } else { Outcome::Unusable };
    let hints: String = fault.hints.iter().map(|hint| format!("; {hint}")).collect();
    machine.broken(now, outcome, format!("{fault}{hints}"))
}

/// How a run ended.
struct Ended {
    summary: Summary,
    code: u8,
}

/// Keeps what the end needs, and passes everything on.
struct Collected<'l> {
    summary: Summary,
    code: u8,
    ending: &'l Ending,
    inner: &'l mut Listeners,
}

impl Listener for Collected<'_> {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        if let Event::RunFinished { exit_code, .. } = event {
            self.code = *exit_code;
            // From here on a signal does not speak last any more: the run does.
            self.ending.take();
        }
        self.summary.event(stamp, event);
        self.inner.event(stamp, event);
    }

    fn live(&mut self, live: &Live, metrics: &Measurements) {
        self.inner.live(live, metrics);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }
}
