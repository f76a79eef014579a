//! One run from an opened world to its end: first look, plan, question, driver, summary.

mod hold;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use indicatif::MultiProgress;

use super::environment;
use super::guardrails;
use super::manner::Manner;
use super::notices::Audience;
use super::output::{Stop, data, private_file, shown, talk, width};
use super::past::Past;
use super::preview::{Previews, preview};
use super::run::outcome_of;
use super::signals::Ending;
use crate::action::RunFacts;
use crate::engine::driver::{
    Driver, DryRun, Guards, Incoming, Listener, LiveRun, Mode, Prompt, Record, Stamp,
};
use crate::engine::{
    Config, Event, FightGuard, Live, LockGuard, Machine, Measurements, Outcome, RailGuard, Standing,
    Unresumable,
};
use crate::guard::{Finding, Subject};
use crate::health::{Metric, Moment, Sample, Series};
use crate::journal::{AfterEvidence, Entry, Evidence, Journal, Store, StoreError, Unrecorded, parts_of};
use crate::plan::Plan;
use crate::platform::{Change, Fault, Opened, Sampler, SamplerOptions, short};
use crate::reporter::{
    Agreement, Console, Detached, JsonLines, Listeners, Plain, PlanView, Summary, Terminal, Unattended,
    failure_lines, plan_view,
};

/// How long the first samples are waited for before the plan is shown.
const FIRST_LOOK: Duration = Duration::from_secs(6);
/// The window of slopes.
const WINDOW: Duration = Duration::from_secs(60);

/// A run being prepared: the world is open and samples come in.
pub(super) struct Session {
    manner: Manner,
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
    /// What the guardrails know the target by.
    subject: Subject,
    /// The run's id, once there is one.
    run: Option<String>,
    /// The app's lock at the database is held.
    locked: bool,
    /// Who is told of the run.
    audience: Audience,
}

impl Session {
    /// Starts the sampler and takes a first look.
    pub(super) fn begin(
        manner: Manner,
        opened: Opened,
        plan: Arc<Plan>,
        terminal: bool,
        ending: Arc<Ending>,
    ) -> Self {
        let (outbox, inbox) = channel();
        let options = SamplerOptions {
            every: plan.every,
            page: opened.pages.as_ref().map(|_| "/".to_owned()),
            jobs: plan.measures(Metric::JobsQueued),
        };
        let sink = outbox.clone();
        let sampler = Sampler::start(&opened.observer, options, move |sample| {
            sink.send(Incoming::Sample(Box::new(sample))).is_ok()
        });
        let series = Series::new(WINDOW, opened.pages.is_some());
        let mut session = Self {
            manner,
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
            subject: Subject::default(),
            run: None,
            locked: false,
            audience: Audience::default(),
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
                && (self.manner.no_database || latest.contains_key(&Metric::Usage))
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
        self.preboot = observer.preboot().unwrap_or_default();
        self.facts.live_at_start = observer.running().ok().and_then(|running| running.commit);
    }

    fn look(&self) -> Previews {
        preview(&self.plan, &self.opened.observer, &self.facts, &self.series, &self.latest)
    }

    /// What is left of a run that is taken up again: what is over is neither looked at nor shown as to be done.
    fn look_at_what_is_left(&self, standing: &Standing) -> (Plan, Previews) {
        let mut left = (*self.plan).clone();
        for step in &mut left.steps {
            let over = standing.over.contains(&step.id) && !standing.again.contains(&step.id);
            if over && !step.always {
                step.left_out = Some("over already".to_owned());
            }
        }
        let previews = preview(&left, &self.opened.observer, &self.facts, &self.series, &self.latest);
        (left, previews)
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = self.manner.notes.clone();
        notes.extend(self.opened.notes.iter().cloned());
        notes.extend(guardrails::note(&self.plan));
        notes.extend(self.audience.notes.iter().cloned());
        if self.plan.only_looks {
            notes.push("it only looks: no lock is taken, and a cure may begin meanwhile".to_owned());
        }
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

    fn view(&self, plan: &Plan, previews: &Previews, dry: bool) -> String {
        plan_view(&PlanView {
            plan,
            previews: &previews.steps,
            readings: &previews.readings,
            now: &self.latest,
            notes: &self.notes(),
            dry,
            width: width(),
        })
    }

    /// What the guardrails have against the steps of `plan`.
    fn judge(&mut self, plan: &Plan, previews: &Previews, run: Option<&str>) -> Result<Vec<Finding>, Stop> {
        self.subject = guardrails::subject(plan, &self.opened)?;
        guardrails::judge(plan, &previews.steps, &self.opened, &self.subject, run)
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
            no_database: self.manner.no_database,
            stepwise: self.manner.step,
            facts: self.facts.clone(),
        }
    }

    /// The dry run: the same machine, the same driver, and nothing that could change anything.
    pub(super) fn dry(mut self) -> Result<u8, Stop> {
        // A dry run gives its write authority away before it looks at anything.
        drop(self.opened.sealed.take());
        self.audience = Audience::announced(&self.plan);
        let previews = self.look();
        Self::refuse(&previews)?;
        self.write_plan(&previews)?;
        let findings = self.judge(&Arc::clone(&self.plan), &previews, None)?;
        let plan = Arc::clone(&self.plan);
        let view = self.view(&self.plan, &previews, true);
        let mut listeners = Listeners::default();
        if self.manner.json {
            listeners.0.push(self.json_lines());
        } else {
            data(&view);
        }
        let foretold = guardrails::foretold(&findings);
        let mut record = Unrecorded::default();
        let prompt = Unattended { yes: true };
        let started = self.started("dry run", "dry");
        let mut machine = Machine::new(Arc::clone(&plan), self.config("dry", true));
        let shown = Event::Plan { steps: previews.steps };
        let mut first = vec![started, shown];
        first.extend(foretold.iter().map(|text| Event::Notice { text: text.clone() }));
        let mut hands = Hands {
            mode: &DryRun,
            record: &mut record,
            listeners: &mut listeners,
            prompt: &prompt,
            guard: Guards::default(),
        };
        let ended = self.drive(&mut machine, &mut hands, first, &[]);
        drop(listeners);
        if !self.manner.json {
            for line in &foretold {
                data(&format!("\n{line}\n"));
            }
            data("\ndry run: nothing was changed; no lock was taken and nothing was written down\n");
        }
        self.opened.close();
        Ok(ended.code)
    }

    fn json_lines(&self) -> Box<dyn Listener> {
        let reason = self.plan.record.emergency.as_ref().map(|emergency| emergency.reason.as_str());
        Box::new(Detached::new(JsonLines::new(std::io::stdout(), self.ending.seq()).in_emergency(reason)))
    }

    /// `--plan-out`: the plan, whole, with its hash and what each step would do.
    fn write_plan(&self, previews: &Previews) -> Result<(), Stop> {
        let Some(path) = &self.manner.plan_out else { return Ok(()) };
        let plan = serde_json::json!({
            "format": 1,
            "plan": self.plan.id,
            "record": self.plan.record,
            "steps": previews.steps.iter().map(|(step, preview)| {
                serde_json::json!({ "step": step, "preview": preview })
            }).collect::<Vec<_>>(),
        });
        private_file(path, &format!("{plan:#}\n")).map_err(|error| {
            Stop::new(9, format!("error: --plan-out {}: {error}; nothing was changed", shown(path)))
        })
    }

    fn account(&self) -> Option<String> {
        Some(self.opened.account.clone()).filter(|account| !account.is_empty())
    }

    fn started(&self, run: &str, mode: &str) -> Event {
        let said = |text: &Option<String>| text.as_deref().map(|text| self.opened.redactor.clean(text));
        Event::RunStarted {
            run: run.to_owned(),
            plan: self.plan.id.clone(),
            record: Box::new(self.plan.record.clone()),
            mode: mode.to_owned(),
            by: environment::by(),
            config: Box::new(self.config(run, mode == "dry")),
            account: self.account(),
            incident: said(&self.manner.audit.incident),
            reason: said(&self.manner.audit.reason),
        }
    }

    /// The real run.
    pub(super) fn live(mut self, store: &Store) -> Result<u8, Stop> {
        self.audience = Audience::gather(&self.plan, &self.opened.redactor);
        let ended = self.begun(store);
        if let Err(stop) = &ended
            && stop.code != 130
        {
            let (outcome, why) = (outcome_of(stop.code), stop.plain());
            let audience = std::mem::take(&mut self.audience);
            audience.could_not_begin(&self.plan, &self.opened.redactor, outcome, stop.code, &why);
        }
        ended
    }

    fn begun(&mut self, store: &Store) -> Result<u8, Stop> {
        let run = store.new_id(self.opened.observer.clock().wall());
        // What only looks stands in nobody's way: a cure may begin while it goes on.
        let _lease = if self.plan.only_looks { None } else { Some(self.lease(store, &run)?) };
        let previews = self.look();
        let findings = self.judge(&Arc::clone(&self.plan), &previews, None)?;
        guardrails::refuse(&findings, self.terminal)?;
        Self::refuse(&previews)?;
        self.write_plan(&previews)?;
        let bars = MultiProgress::new();
        talk(&self.view(&self.plan, &previews, false));
        guardrails::warn(&findings);
        self.agree(&previews, &bars)?;
        let question = format!("Run {} on {}?", self.plan.record.runbook, self.plan.record.target.app);
        self.assent(&question, &findings, &bars)?;
        let folder = store.create_run(&run).map_err(|error| unusable(&error))?;
        let mut journal = Journal::create(&run, &folder).map_err(|error| unusable(&error))?;
        let started = self.started(&run, "live");
        let shown = Event::Plan { steps: previews.steps };
        let mut machine = Machine::new(Arc::clone(&self.plan), self.config(&run, false));
        self.carry_out(&run, &mut machine, &mut journal, bars, vec![started, shown], &[])
    }

    /// A run taken up again.
    pub(super) fn resumed(mut self, store: &Store, mut past: Past) -> Result<u8, Stop> {
        self.audience = Audience::gather(&self.plan, &self.opened.redactor);
        let run = past.run.clone();
        let _lease = if self.plan.only_looks { None } else { Some(self.lease(store, &run)?) };
        // Whoever held the lease until now may have gone on with this very run.
        past.read_again()?;
        let mut config = past.config.clone();
        config.preboot = self.preboot;
        config.stepwise = self.manner.step;
        config.no_database = self.manner.no_database;
        self.facts.clone_from(&config.facts);
        let cannot = |why: Unresumable| Stop::new(9, format!("error: run {run} cannot be resumed: {why}"));
        let mut machine = Machine::resume(Arc::clone(&self.plan), config, &past.events()).map_err(cannot)?;
        let standing = machine.standing();
        let (left, mut previews) = self.look_at_what_is_left(&standing);
        // What a step in hand has done already may stand against beginning it anew, which is not wanted.
        previews.steps.retain(|(step, _)| !standing.in_hand.contains(step));
        previews.failures.retain(|(step, _)| !standing.in_hand.contains(step));
        let findings = self.judge(&left, &previews, Some(&run))?;
        guardrails::refuse(&findings, self.terminal)?;
        let bars = MultiProgress::new();
        talk(&past.told(&standing, &self.plan, width()));
        talk(&self.view(&left, &previews, false));
        guardrails::warn(&findings);
        Self::refuse(&previews)?;
        self.agree(&previews, &bars)?;
        let at = standing.at.as_deref().unwrap_or("its end");
        self.assent(&format!("Go on with run {run} at {at}?"), &findings, &bars)?;
        machine.consent(&self.facts.consents);
        machine.agree_to_edits(&self.facts.agreed_edits);
        let mut journal =
            Journal::resume(&run, &past.folder, &past.recorded).map_err(|error| unusable(&error))?;
        let taken_up = Event::Resumed {
            plan: self.plan.id.clone(),
            record: past.changed.then(|| Box::new(self.plan.record.clone())),
            by: environment::by(),
            account: self.account(),
            at: standing.at,
            in_doubt: standing.in_doubt,
            again: standing.again,
        };
        self.carry_out(&run, &mut machine, &mut journal, bars, vec![taken_up], &past.recorded.entries)
    }

    /// From the agreement to the summary.
    fn carry_out(
        &mut self,
        run: &str,
        machine: &mut Machine,
        journal: &mut Journal,
        bars: MultiProgress,
        first: Vec<Event>,
        earlier: &[Entry],
    ) -> Result<u8, Stop> {
        let mut listeners = Listeners::default();
        if self.manner.json {
            listeners.0.push(self.json_lines());
        }
        let attended = console::user_attended_stderr();
        listeners.0.push(if attended && !self.manner.json && environment::may_redraw() {
            Box::new(Detached::new(Console::new(bars.clone())))
        } else if attended {
            Box::new(Detached::new(Plain::on_screen(std::io::stderr())))
        } else {
            Box::new(Detached::new(Plain::new(std::io::stderr())))
        });
        let audience = std::mem::take(&mut self.audience);
        let told = audience.listen(&self.plan, run, &self.opened.redactor, &self.outbox, earlier);
        listeners.0.extend(told);
        let terminal = Terminal::new(bars, self.manner.yes);
        let unattended = Unattended { yes: self.manner.yes };
        let prompt: &dyn Prompt = if self.terminal { &terminal } else { &unattended };
        self.run = Some(run.to_owned());
        self.ending.during(run, self.outbox.clone());
        let Some(sealed) = self.opened.sealed.take() else {
            return Err(Stop::new(1, "error: write authority was used up"));
        };
        let Some(permit) = sealed.permit(&self.plan.id, true) else {
            return Err(Stop::new(6, "error: the plan was not agreed to"));
        };
        self.opened.observer.allow_log();
        if self.plan.measures(Metric::LogsErrors) {
            self.opened.observer.follow_log();
        }
        // A plan that only looks gets no hands, and no evidence is kept of before its first change: there is none.
        let mode: Box<dyn Mode> = if self.plan.only_looks {
            drop((sealed, permit));
            Box::new(DryRun)
        } else {
            let parts = parts_of(&self.opened.observer);
            let evidence = Evidence::begin(journal.folder(), &self.opened.redactor, parts);
            Box::new(AfterEvidence::new(LiveRun::new(sealed.open(permit)), evidence))
        };
        let rails = RailGuard::new(self.plan.guardrails.clone(), self.subject.clone());
        let lock = LockGuard::new(self.opened.observer.clone(), self.locked);
        let fights = FightGuard::begin(&self.opened.observer, machine.made().len());
        let mut hands = Hands {
            mode: &*mode,
            record: journal,
            listeners: &mut listeners,
            prompt,
            guard: Guards(vec![Box::new(lock), Box::new(rails), Box::new(fights)]),
        };
        let ended = self.drive(machine, &mut hands, first, earlier);
        drop(listeners);
        let told = format!("\n{}", ended.summary.kept_at(&journal.path()).draw(width()));
        if self.manner.json {
            talk(told.trim_end());
        } else {
            data(&told);
        }
        self.opened.close();
        Ok(ended.code)
    }

    /// The questions that the plan itself raises.
    fn agree(&mut self, previews: &Previews, bars: &MultiProgress) -> Result<(), Stop> {
        let prompt = Terminal::new(bars.clone(), false);
        let changes = previews.steps.iter().flat_map(|(_, preview)| &preview.changes);
        let edits = changes.filter_map(|change| match change {
            Change::Edit { path, from, .. } => Some((path.clone(), from.clone())),
            _ => None,
        });
        self.facts.agreed_edits = edits.collect();
        for (step, preview) in &previews.steps {
            for consent in &preview.consents {
                let reply = if self.manner.yes || !self.terminal {
                    Agreement::Nobody
                } else {
                    prompt.agree(&format!("{}. Do it all the same?", consent.question))
                };
                match reply {
                    Agreement::Yes => self.facts.consents.push(consent.question.clone()),
                    Agreement::No => return Err(Stop::new(6, "declined; nothing was changed")),
                    Agreement::Interrupted => return Err(Stop::new(130, "interrupted; nothing was changed")),
                    Agreement::Nobody => {
                        let text = format!(
                            "error: step {step}: {}\n  nothing was changed\n  hint: write `{}` in the step, or answer at a terminal without --yes",
                            consent.question, consent.otherwise
                        );
                        return Err(Stop::new(6, text));
                    }
                }
            }
        }
        Ok(())
    }

    /// The one question; `--yes` answers it.
    fn assent(&self, question: &str, findings: &[Finding], bars: &MultiProgress) -> Result<(), Stop> {
        // Typing the app's name is the agreement: nobody is asked twice.
        let prompt = Terminal::new(bars.clone(), false);
        if guardrails::name_typed(findings, &prompt, &self.plan.record.runbook)?
            || self.manner.yes
            || self.plan.only_looks
        {
            return Ok(());
        }
        match prompt.agree(question) {
            Agreement::Yes => Ok(()),
            Agreement::Interrupted => Err(Stop::new(130, "interrupted; nothing was changed")),
            Agreement::No | Agreement::Nobody => Err(Stop::new(6, "declined; nothing was changed")),
        }
    }

    fn drive(
        &mut self,
        machine: &mut Machine,
        hands: &mut Hands<'_>,
        first: Vec<Event>,
        earlier: &[Entry],
    ) -> Ended {
        let run = self.run.clone();
        let mut summary = Summary::default();
        for entry in earlier {
            summary
                .event(&Stamp { seq: entry.seq, at: entry.at, run: run.clone(), head: None }, &entry.event);
        }
        let mut collected = Collected { summary, code: 1, ending: &self.ending, inner: hands.listeners };
        let (_, unused) = channel();
        let inbox = std::mem::replace(&mut self.inbox, unused);
        let early = std::mem::take(&mut self.early);
        let mut driver = Driver {
            plan: Arc::clone(&self.plan),
            observer: self.opened.observer.clone(),
            mode: hands.mode,
            record: hands.record,
            listener: &mut collected,
            prompt: hands.prompt,
            guard: &mut hands.guard,
            series: Series::new(WINDOW, self.opened.pages.is_some()),
            inbox,
            outbox: self.outbox.clone(),
            run_id: run.clone(),
            interactive: self.terminal && !self.manner.yes,
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
            let event = driver.finishing_touch(unwritten(machine, clock.now(), acted, &fault));
            collected.event(&Stamp { seq: 0, at: clock.wall(), run, head: None }, &event);
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

fn unusable(error: &StoreError) -> Stop {
    Stop::new(9, format!("error: {error}\n  nothing was changed"))
}

/// What a run is carried out with.
struct Hands<'h> {
    mode: &'h dyn Mode,
    record: &'h mut dyn Record,
    listeners: &'h mut Listeners,
    prompt: &'h dyn Prompt,
    guard: Guards,
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
        self.summary.live(live, metrics);
        self.inner.live(live, metrics);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }
}
