//! The handle that everybody holds: questions go to the owner's thread, answers come back within a bound.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::connect::Dialer;
use super::doing::Doing;
use super::fault::StatementFault;
use super::kill::{Killed, preview};
use super::lock::{Hold, lock_name};
use super::options::DatabaseOptions;
use super::owner::{Message, Needs, Owner};
use super::question::{Question, Ticket, Unserved};
use super::session::Session;
use super::sql::Sight;
use crate::health::{DatabaseFault, DatabaseFaultKind, DatabaseReading};
use crate::platform::change::{Effect, KillRule, Victim};
use crate::platform::clock::Clock;
use crate::platform::error::{Certainty, ChangeError, Fault, FaultKind};
use crate::platform::facts::{Census, DatabaseFacts, IdleSession};
use crate::platform::inventory::{Answer, DatabaseSession, Figure, NamedQuery};
use crate::platform::lock::{Card, LockState};
use crate::platform::reads::DatabaseReads;
use crate::platform::writes::DatabaseWrites;

/// What the asker adds to a question's own time, so that the owner's reason arrives before the asker gives up.
const SLACK: Duration = Duration::from_millis(30);
/// Longest wait for a kill that has begun. The block takes 0.1 ms a victim; single kills two round trips each, and
/// they stop by themselves well before.
const KILL: Duration = Duration::from_secs(60);
/// A killed session that sleeps is gone within 5 ms; one inside a transaction keeps its slot until that is rolled
/// back, and is looked at ten times a second for this long.
const SETTLE: Duration = Duration::from_secs(2);
const SETTLED_SOON: Duration = Duration::from_millis(5);
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// Single kills are not begun after this long.
const KILL_ONE_BY_ONE: Duration = Duration::from_secs(40);

/// How a question is put.
#[derive(Default)]
struct Manner {
    /// How long it is waited for until it is taken up or answered.
    patience: Duration,
    /// How much longer, once it was taken up.
    longer: Duration,
    /// A refused login answers it.
    hasty: bool,
    /// How often it may be put anew after the connection broke.
    repeats: u8,
    /// The kill that it plans.
    plans: Option<KillRule>,
}

/// The database: one connection, owned by one thread, made when first needed and held until the end.
pub struct Database {
    inbox: Sender<Message>,
    dialer: Arc<Dialer>,
    clock: Arc<dyn Clock>,
    notice: Arc<dyn Fn(&str) + Send + Sync>,
    facts: Arc<Mutex<Option<DatabaseFacts>>>,
    doing: Arc<Doing>,
    lock: String,
    hold: Arc<Mutex<Option<Hold>>>,
    connect_deadline: Duration,
    sample_deadline: Duration,
    answer_timeout: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Database {
    /// Starts the owner's thread. Nothing is sent before the first question.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub fn start(options: DatabaseOptions) -> Result<Arc<Self>, Fault> {
        let lock = lock_name(options.url.database(), &options.app);
        let dialer = Arc::new(Dialer::new(
            options.url,
            options.tls,
            options.ca,
            options.tcp_timeout,
            options.answer_timeout,
        ));
        let (inbox, messages) = mpsc::channel();
        let facts = Arc::new(Mutex::new(None));
        let doing = Arc::new(Doing::default());
        let hold = Arc::new(Mutex::new(None));
        let needs = Needs {
            dialer: Arc::clone(&dialer),
            pace: options.pace,
            clock: Arc::clone(&options.clock),
            lock: lock.clone(),
            hold: Arc::clone(&hold),
            silence: options.silence,
            facts: Arc::clone(&facts),
            notice: Arc::clone(&options.notice),
            doing: Arc::clone(&doing),
            sender: inbox.clone(),
        };
        let thread = thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || Owner::new(needs).serve(&messages))
            .map_err(|error| {
                Fault::new(
                    FaultKind::Local,
                    "starting the thread that owns the database connection",
                    error.to_string(),
                )
            })?;
        Ok(Arc::new(Self {
            inbox,
            dialer,
            clock: options.clock,
            notice: options.notice,
            facts,
            doing,
            lock,
            hold,
            connect_deadline: options.connect_deadline,
            sample_deadline: options.sample_deadline,
            answer_timeout: options.answer_timeout,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// From now on every connection holds the app's lock, from its first round trip, and shows `card` to those whom it
    /// keeps out; one that is open takes it now. Says what became of it, as [`DatabaseReads::lock`] does. To be called
    /// when the plan was agreed to, never by a dry run. The lock is free again when the connection is closed.
    pub fn hold(&self, card: &Card) -> LockState {
        let hold = Hold::new(&self.lock, card);
        *self.hold.lock().unwrap_or_else(PoisonError::into_inner) = Some(hold);
        self.lock()
    }

    /// Closes the connection and ends the thread. A thread that is stuck in a read is left to end by itself.
    pub fn shutdown(&self) {
        let _ = self.inbox.send(Message::Leave);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            for _ in 0..100 {
                if thread.is_finished() {
                    let _ = thread.join();
                    return;
                }
                self.clock.sleep(Duration::from_millis(5));
            }
        }
    }

    /// Puts a question and waits. The error's flag says whether it had been taken up.
    fn ask<T: Send + 'static>(
        &self,
        manner: Manner,
        work: impl FnMut(&mut Session) -> Result<T, StatementFault> + Send + 'static,
    ) -> Result<T, (Unserved, bool)> {
        let Manner { patience, longer, hasty, repeats, plans } = manner;
        let (reply, answer) = mpsc::sync_channel(1);
        let ticket = Arc::new(Ticket::default());
        let question = Question {
            work: Box::new(work),
            reply,
            ticket: Arc::clone(&ticket),
            due: self.clock.now().plus(patience),
            hasty,
            repeats,
            plans,
        };
        if self.inbox.send(Message::Ask(Box::new(question))).is_err() {
            return Err((Unserved::Ended, false));
        }
        let mut taken_up = false;
        let mut received = answer.recv_timeout(patience + SLACK);
        if matches!(received, Err(RecvTimeoutError::Timeout)) && !ticket.abandon() {
            taken_up = true;
            received = answer.recv_timeout(longer);
        }
        match received {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(why)) => {
                let taken_up = !ticket.abandon();
                Err((why, taken_up))
            }
            Err(RecvTimeoutError::Timeout) => Err((Unserved::NoAnswer(self.doing.words()), taken_up)),
            Err(RecvTimeoutError::Disconnected) => Err((Unserved::Ended, !ticket.abandon())),
        }
    }

    /// A read: repeated once when the connection broke under it.
    fn read<T: Send + 'static>(
        &self,
        what: &str,
        plans: Option<KillRule>,
        work: impl FnMut(&mut Session) -> Result<T, StatementFault> + Send + 'static,
    ) -> Result<T, Fault> {
        let manner = Manner {
            patience: self.connect_deadline,
            longer: self.answer_timeout,
            repeats: 1,
            plans,
            ..Manner::default()
        };
        self.ask(manner, work).map_err(|(why, _)| Self::fault(&why, &format!("{what} at {}", self.name())))
    }

    fn fault(why: &Unserved, what: &str) -> Fault {
        match why {
            Unserved::Refused { code, .. } | Unserved::NobodyLeaves { code, .. } => Fault::new(
                FaultKind::Full,
                what,
                match why {
                    Unserved::NobodyLeaves { attempts, after, .. } => format!(
                        "the database is full and nobody leaves: {attempts} logins in {:.1} s, every one refused (error {code}: {})",
                        after.as_secs_f64(),
                        full_words(*code)
                    ),
                    _ => format!("the database is full (error {code}: {})", full_words(*code)),
                },
            )
            .hint("free slots from the platform's side: restart the dynos (`runbook run emergency` does, and connects as soon as a slot appears)"),
            Unserved::Login(fault) => fault.fault(what),
            Unserved::Statement(fault) => fault.fault(what),
            Unserved::NoAnswer(waited) => Fault::new(
                FaultKind::Network,
                what,
                format!("no answer in time: {waited}"),
            )
            .hint("is port 3306 reachable from here? A tunnel with RUNBOOK_DATABASE_URL helps; --no-database gates on the platform's metrics alone"),
            Unserved::Ended => Fault::new(FaultKind::Interrupted, what, "the connection was closed at the end of the run"),
        }
    }

    /// Of the killed sessions, how many hold their slot still: an acknowledged kill is no free slot. Bounded; `None`
    /// when it could not be looked at.
    fn still_there(&self, killed: &[u64]) -> Option<u64> {
        let until = self.clock.now().plus(SETTLE);
        let mut pause = SETTLED_SOON;
        loop {
            self.clock.sleep(pause);
            pause = SETTLE_EVERY;
            let ids = killed.to_vec();
            let manner = Manner {
                patience: self.sample_deadline,
                longer: self.answer_timeout,
                repeats: 1,
                ..Manner::default()
            };
            let asked = self.ask(manner, move |session| session.present(&ids));
            match asked {
                Ok(0) => return Some(0),
                Ok(left) if self.clock.now() >= until => return Some(left),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    fn sight(&self) -> Sight {
        let facts = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        Sight {
            transactions: facts.as_ref().is_some_and(|f| f.sees_transactions),
            locks: facts.as_ref().is_some_and(|f| f.sees_locks),
        }
    }
}

/// What a refusal's code means, in words.
const fn full_words(code: u16) -> &'static str {
    match code {
        1203 => "the limit of connections per user is reached",
        1226 => "this account's own limit of connections is reached",
        _ => "too many connections",
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl DatabaseReads for Database {
    fn sample(&self) -> DatabaseReading {
        let manner = Manner { patience: self.sample_deadline, hasty: true, repeats: 1, ..Manner::default() };
        let asked = self.ask(manner, Session::sample);
        match asked {
            Ok(sample) => DatabaseReading::Measured(sample),
            Err((why, taken_up)) => match why {
                Unserved::Refused { code, attempts } | Unserved::NobodyLeaves { code, attempts, .. } => {
                    DatabaseReading::Refused { code, attempts }
                }
                Unserved::Login(fault) => DatabaseReading::Failed(fault.reading()),
                Unserved::Statement(fault) => DatabaseReading::Failed(fault.reading()),
                Unserved::NoAnswer(waited)
                    if taken_up || !(self.doing.is_asking() || self.doing.is_sparing()) =>
                {
                    DatabaseReading::Failed(DatabaseFault {
                        kind: DatabaseFaultKind::Network,
                        message: format!(
                            "no answer within {} ms: {waited}",
                            self.sample_deadline.as_millis()
                        ),
                    })
                }
                Unserved::NoAnswer(waited) => DatabaseReading::Unknown(waited.to_owned()),
                Unserved::Ended => DatabaseReading::Unknown("the connection was closed".to_owned()),
            },
        }
    }

    fn facts(&self) -> Result<DatabaseFacts, Fault> {
        self.read("asking the database what it is", None, |session| Ok(session.facts.clone()))
    }

    fn idle_sessions(&self, rule: &KillRule) -> Result<Vec<IdleSession>, Fault> {
        let rule = rule.clone();
        self.read("listing idle sessions", Some(rule.clone()), move |session| session.idle_sessions(&rule))
    }

    fn census(&self) -> Result<Census, Fault> {
        self.read("asking who holds the connections", None, Session::census)
    }

    fn jobs_queued(&self) -> Result<u64, Fault> {
        let what = format!("counting the jobs at {}", self.name());
        // A full database does not wait for it: what is counted is not worth a login.
        let manner = Manner { patience: self.sample_deadline, hasty: true, repeats: 1, ..Manner::default() };
        let counted = self.ask(manner, Session::jobs).map_err(|(why, _)| Self::fault(&why, &what))?;
        counted.ok_or_else(|| {
            let why = "no table looks like MediaWiki's `job`, or this account may not read it";
            Fault::new(FaultKind::Missing, what, why)
        })
    }

    fn lock(&self) -> LockState {
        let hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(hold) = hold else {
            return LockState::Unasked;
        };
        let manner = Manner { patience: self.sample_deadline, hasty: true, repeats: 1, ..Manner::default() };
        let why = match self.ask(manner, move |session| session.lock(&hold)) {
            Ok(state) => return state,
            Err((why, _)) => why,
        };
        LockState::Unreachable(match why {
            Unserved::Refused { code, .. } | Unserved::NobodyLeaves { code, .. } => {
                format!("the database is full (error {code}: {})", full_words(code))
            }
            Unserved::Login(fault) => fault.reading().message,
            Unserved::Statement(fault) => fault.to_string(),
            Unserved::NoAnswer(waited) => {
                format!("no answer within {} ms: {waited}", self.sample_deadline.as_millis())
            }
            Unserved::Ended => "the connection was closed".to_owned(),
        })
    }

    fn sessions(&self) -> Result<Vec<DatabaseSession>, Fault> {
        self.read("listing the sessions", None, Session::sessions)
    }

    fn counters(&self) -> Result<Vec<Figure>, Fault> {
        self.read("reading the server's counters", None, Session::counters)
    }

    fn settings(&self) -> Result<Vec<Figure>, Fault> {
        self.read("reading the server's settings", None, Session::settings)
    }

    fn answer(&self, query: NamedQuery) -> Result<Answer, Fault> {
        self.read(&format!("asking for {}", query.name()), None, move |session| session.answer(query))
    }

    fn kill_sql(&self, victims: &[Victim], rule: &KillRule) -> String {
        preview(victims, rule, &self.lock, self.sight())
    }

    fn interval(&self, wanted: Duration) -> Duration {
        let (interval, said) = self.dialer.quota.interval(self.clock.now(), wanted);
        if let Some(said) = said {
            (self.notice)(&said);
        }
        interval
    }

    fn logins(&self) -> u64 {
        self.dialer.logins()
    }

    fn name(&self) -> String {
        self.dialer.url().name()
    }
}

impl DatabaseWrites for Database {
    fn kill(&self, victims: &[Victim], rule: &KillRule) -> Result<Effect, ChangeError> {
        let what = format!("killing {} idle sessions at {}", victims.len(), self.name());
        if victims.is_empty() {
            return Ok(effect(Killed::default(), Some(0)));
        }
        let (planned, rule) = (victims.to_vec(), rule.clone());
        let clock = Arc::clone(&self.clock);
        let manner = Manner { patience: self.connect_deadline, longer: KILL, ..Manner::default() };
        let asked = self.ask(manner, move |session| {
            let until = clock.now().plus(KILL_ONE_BY_ONE);
            session.kill(&planned, &rule, &|| clock.now() < until)
        });
        let settle_ms = u64::try_from(self.answer_timeout.as_millis()).unwrap_or(u64::MAX);
        match asked {
            Ok(Killed { ids: killed, cut_short: Some(why), .. }) => Err(ChangeError {
                certainty: if matches!(why, StatementFault::Lost(_)) {
                    Certainty::InDoubt
                } else if killed.is_empty() {
                    Certainty::NothingChanged
                } else {
                    Certainty::Partial
                },
                fault: cut_short(&why, &what, &killed),
                settle_ms,
            }),
            Ok(done) => {
                let dying = if done.ids.is_empty() { Some(0) } else { self.still_there(&done.ids) };
                Ok(effect(done, dying))
            }
            Err((why, taken_up)) => {
                let fault = Self::fault(&why, &what);
                // Refused as a whole by the server, or never taken up: nothing was done.
                let refused = matches!(
                    &why,
                    Unserved::Statement(fault @ (StatementFault::Refused { .. } | StatementFault::KeptOut))
                        if !fault.is_broken_off()
                );
                if refused || !taken_up {
                    Err(ChangeError::nothing_changed(fault))
                } else {
                    Err(ChangeError::in_doubt(
                        fault.hint("some of the sessions may have been killed; they are counted anew before anything else is done"),
                        settle_ms,
                    ))
                }
            }
        }
    }
}

fn effect(done: Killed, dying: Option<u64>) -> Effect {
    Effect::Killed { killed: done.ids, spared: done.spared, one_by_one: done.one_by_one, dying }
}

fn cut_short(why: &StatementFault, what: &str, killed: &[u64]) -> Fault {
    let mut fault = why.fault(what);
    let ids: Vec<String> = killed.iter().map(u64::to_string).collect();
    fault.why = format!("{} (killed before that: {}: {})", fault.why, killed.len(), ids.join(", "));
    fault
}
