//! The one thread that owns the one connection. Everybody else sends it questions.
//!
//! It makes the connection when the first question comes, holds it for the whole run, makes it anew when it was
//! lost, and answers "refused" at once while the server is full. It must never answer a question after the asker has
//! given up on it if the question changes something.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::acquire::{Outcome, Pace, Seeker};
use super::connect::{Dialer, Line};
use super::doing::Doing;
use super::fault::{LoginFault, StatementFault};
use super::lock::Hold;
use super::question::{Ask, Ran, Unserved};
use super::session::{Session, Terms};
use crate::health::Moment;
use crate::platform::clock::Clock;
use crate::platform::facts::DatabaseFacts;

/// An idle connection is touched so many times within the silence that its own `wait_timeout` permits: often enough
/// that no kill rule of another run takes it for idle.
const TOUCHES: u32 = 6;
/// The search for a slot goes on this long after the last question.
const LINGER: Duration = Duration::from_secs(5);
/// A wrong password and its like are not tried again within this time: it might lock the account.
const REMEMBER: Duration = Duration::from_secs(5);
/// An hourly limit of logins that is used up is not tried again within this time.
const REMEMBER_QUOTA: Duration = Duration::from_secs(30);
/// That nobody leaves is believed for this long: questions that are not samples are told so at once, since whoever
/// climbs a ladder must not wait for a slot that only the next rung frees, and the steps of a plan share one search.
/// The first such question after that begins the search anew.
const BELIEVED: Duration = Duration::from_secs(10);
/// While a search is on, whether it is hopeless is looked at this often.
const LOOK: Duration = Duration::from_millis(50);
/// So many lost connections are remembered: the server forgets each within a minute.
const LOST: usize = 64;
/// Longest sleep between two looks at the clock.
const IDLE: Duration = Duration::from_secs(10);

/// What reaches the owner.
pub enum Message {
    /// A question.
    Ask(Box<dyn Ask>),
    /// News from the search for a slot.
    Login(Outcome<Line>),
    /// The end.
    Leave,
}

/// What the owner needs from the one who starts it.
pub struct Needs {
    /// Makes logins.
    pub dialer: Arc<Dialer>,
    /// How hard it tries while full.
    pub pace: Pace,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The named lock whose holder is never killed.
    pub lock: String,
    /// The lock that every connection is to hold, from when it is said.
    pub hold: Arc<Mutex<Option<Hold>>>,
    /// The server ends a connection after so long without a word from us.
    pub silence: Duration,
    /// Where the last known facts are left for previews.
    pub facts: Arc<Mutex<Option<DatabaseFacts>>>,
    /// Told when logins are put off.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
    /// What it is doing.
    pub doing: Arc<Doing>,
    /// Leads back to its own inbox.
    pub sender: Sender<Message>,
}

/// The owner's state.
pub struct Owner {
    needs: Needs,
    session: Option<Session>,
    seeker: Option<Seeker>,
    seeking_since: Moment,
    waiting: Vec<Box<dyn Ask>>,
    lasting: Option<(LoginFault, Moment)>,
    /// Ids of connections that were lost.
    lost: Vec<u64>,
    last_asked: Moment,
    last_used: Moment,
    /// The last refusal of this search and how many there were, as far as samples have taken them.
    refused: Option<(u16, u64)>,
    /// When it was seen that nobody leaves.
    hopeless: Option<Moment>,
    /// Somebody waits for more than a sample.
    pressed: Arc<AtomicBool>,
}

impl Owner {
    /// An owner without a connection.
    pub fn new(needs: Needs) -> Self {
        let now = needs.clock.now();
        Self {
            needs,
            session: None,
            seeker: None,
            seeking_since: now,
            waiting: Vec::new(),
            lasting: None,
            lost: Vec::new(),
            last_asked: now,
            last_used: now,
            refused: None,
            hopeless: None,
            pressed: Arc::default(),
        }
    }

    /// Serves until told to leave, or until nobody can ask any more.
    pub fn serve(mut self, inbox: &Receiver<Message>) {
        loop {
            match inbox.recv_timeout(self.nap()) {
                Ok(Message::Ask(ask)) => self.asked(ask),
                Ok(Message::Login(outcome)) => self.login(outcome),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::Leave) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.expire();
            self.upkeep();
            self.pressed.store(self.waiting.iter().any(|ask| !ask.is_hasty()), Ordering::Relaxed);
        }
        self.seeker = None;
        for mut ask in self.waiting.drain(..) {
            ask.fail(&Unserved::Ended);
        }
    }

    fn now(&self) -> Moment {
        self.needs.clock.now()
    }

    /// How long nothing needs doing.
    fn nap(&self) -> Duration {
        let now = self.now();
        let mut nap = IDLE;
        for ask in &self.waiting {
            nap = nap.min(ask.due().since(now));
            if self.seeker.is_some() {
                nap = nap.min(LOOK);
            }
        }
        if self.session.is_some() {
            nap = nap.min(self.last_used.plus(self.touch_after()).since(now));
        }
        if self.seeker.is_some() {
            nap = nap.min(self.last_asked.plus(LINGER).since(now));
        }
        // A millisecond more, since the clock's milliseconds are cut off, not rounded.
        nap + Duration::from_millis(1)
    }

    fn touch_after(&self) -> Duration {
        self.needs.silence / TOUCHES
    }

    fn asked(&mut self, mut ask: Box<dyn Ask>) {
        let now = self.now();
        self.last_asked = now;
        if self.session.is_some() {
            self.run(ask);
            return;
        }
        if let Some((fault, at)) = &self.lasting {
            let remembered = if matches!(fault, LoginFault::Quota(_)) { REMEMBER_QUOTA } else { REMEMBER };
            if now.since(*at) < remembered {
                ask.fail(&Unserved::Login(fault.clone()));
                return;
            }
            self.lasting = None;
        }
        let believed = self.hopeless.is_some_and(|at| now.since(at) >= BELIEVED);
        if !ask.is_hasty() && (believed || self.needs.doing.is_sparing()) {
            self.seeker = None;
        }
        if ask.is_hasty()
            && self.seeker.is_some()
            && let Some((code, attempts)) = self.needs.dialer.tally.take_refused()
        {
            self.note_refused(code, attempts);
            ask.fail(&Unserved::Refused { code, attempts });
            return;
        }
        self.pressed.fetch_or(!ask.is_hasty(), Ordering::Relaxed);
        self.waiting.push(ask);
        self.seek();
    }

    /// Starts the search for a slot, unless it is on.
    fn seek(&mut self) {
        if self.seeker.is_some() || self.session.is_some() {
            return;
        }
        self.refused = None;
        self.hopeless = None;
        self.needs.doing.set(Doing::NOTHING);
        let Needs { dialer, clock, doing, notice, .. } = &self.needs;
        let (spared, doing, notice, time) =
            (Arc::clone(dialer), Arc::clone(doing), Arc::clone(notice), Arc::clone(clock));
        let pressed = Arc::clone(&self.pressed);
        let spare = move || {
            let (pause, said) = spared.quota.knock(time.now(), pressed.load(Ordering::Relaxed));
            doing.spare(!pause.is_zero());
            if let Some(said) = said {
                notice(&said);
            }
            pause
        };
        let (dialer, time) = (Arc::clone(dialer), Arc::clone(clock));
        let sender = self.needs.sender.clone();
        let started = Seeker::sparing(
            self.needs.pace.clone(),
            Arc::clone(&self.needs.clock),
            spare,
            move || {
                dialer.quota.login(time.now());
                dialer.dial()
            },
            move |outcome| drop(sender.send(Message::Login(outcome))),
        );
        match started {
            Ok(seeker) => {
                self.seeker = Some(seeker);
                self.seeking_since = self.now();
            }
            Err(error) => self.fail_all(&Unserved::Login(LoginFault::Network(format!(
                "no thread could be started for the login: {error}"
            )))),
        }
    }

    fn login(&mut self, outcome: Outcome<Line>) {
        match outcome {
            Outcome::Refused => self.answer_hasty(),
            Outcome::Failed(fault) => {
                self.seeker = None;
                self.login_failed(fault);
            }
            Outcome::In(line) => {
                self.seeker = None;
                if self.session.is_none() {
                    self.open(line);
                }
            }
        }
    }

    fn login_failed(&mut self, fault: LoginFault) {
        if matches!(fault, LoginFault::Quota(_))
            && let Some(said) = self.needs.dialer.quota.logins_are_spent(self.now())
        {
            (self.needs.notice)(&said);
        }
        if fault.is_lasting() {
            self.lasting = Some((fault.clone(), self.now()));
        }
        self.fail_all(&Unserved::Login(fault));
    }

    fn open(&mut self, line: Line) {
        self.needs.doing.set(Doing::OPENING);
        let terms = Terms {
            lock: self.needs.lock.clone(),
            hold: self.needs.hold.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            silence: self.needs.silence,
            lost: self.lost.clone(),
            plan: self.waiting.iter().find_map(|ask| ask.plans().cloned()),
        };
        let (clock, dialer) = (Arc::clone(&self.needs.clock), Arc::clone(&self.needs.dialer));
        let opened = Session::open(line, clock, dialer, terms);
        self.needs.doing.set(Doing::NOTHING);
        match opened {
            Ok(session) => {
                self.last_used = self.now();
                self.leave_facts(&session);
                self.session = Some(session);
                for ask in std::mem::take(&mut self.waiting) {
                    self.run(ask);
                }
            }
            Err(fault) => self.login_failed(fault),
        }
    }

    fn leave_facts(&self, session: &Session) {
        let mut facts = self.needs.facts.lock().unwrap_or_else(PoisonError::into_inner);
        *facts = Some(session.facts.clone());
    }

    /// Asks the connection, and drops it when it was lost.
    fn run(&mut self, mut ask: Box<dyn Ask>) {
        let Some(session) = &mut self.session else {
            self.waiting.push(ask);
            self.seek();
            return;
        };
        if !ask.claim() {
            return;
        }
        self.needs.doing.set(Doing::ASKING);
        let ran = ask.run(session);
        self.needs.doing.set(Doing::NOTHING);
        let now = self.now();
        self.last_used = now;
        if let Ran::Lost(fault) = ran {
            self.lose();
            if ask.may_repeat(now) {
                self.waiting.push(ask);
            } else {
                ask.fail(&Unserved::Statement(fault));
            }
            // At once, not with the next question: the slot may be gone by then.
            self.seek();
        }
    }

    /// Drops the connection.
    fn lose(&mut self) {
        if let Some(session) = self.session.take() {
            self.lost.push(session.facts.connection_id);
            self.lost.drain(..self.lost.len().saturating_sub(LOST));
        }
    }

    /// A refusal has come in: those in a hurry are answered by it.
    fn answer_hasty(&mut self) {
        if self.session.is_some() || !self.waiting.iter().any(|ask| ask.is_hasty()) {
            return;
        }
        let Some((code, attempts)) = self.needs.dialer.tally.take_refused() else {
            return;
        };
        self.note_refused(code, attempts);
        for mut ask in self.waiting.extract_if(.., |ask| ask.is_hasty()) {
            ask.fail(&Unserved::Refused { code, attempts });
        }
    }

    fn note_refused(&mut self, code: u16, attempts: u64) {
        let before = self.refused.map_or(0, |(_, before)| before);
        self.refused = Some((code, before + attempts));
    }

    fn fail_all(&mut self, why: &Unserved) {
        for mut ask in self.waiting.drain(..) {
            ask.fail(why);
        }
    }

    /// Those whose time is up, or who would wait in vain, are told why there was no answer.
    fn expire(&mut self) {
        let now = self.now();
        let after = now.since(self.seeking_since);
        // Refusals stay in the tally for the next sample; here they are only looked at.
        let since = self.needs.dialer.tally.peek_refused();
        let (code, attempts) = match (self.refused, since) {
            (Some((_, before)), Some((code, since))) => (code, before + since),
            (Some(known), None) | (None, Some(known)) => known,
            (None, None) => (0, 0),
        };
        let hopeless = self.seeker.is_some() && self.needs.pace.is_hopeless(after, attempts);
        if hopeless {
            self.hopeless.get_or_insert(now);
        }
        let over = |ask: &dyn Ask| ask.due() <= now || (hopeless && !ask.is_hasty());
        if !self.waiting.iter().any(|ask| over(ask.as_ref())) {
            return;
        }
        let (refused, unheard) =
            (Unserved::NobodyLeaves { code, attempts, after }, Unserved::NoAnswer(self.needs.doing.words()));
        for mut ask in self.waiting.extract_if(.., |ask| over(ask.as_ref())) {
            // What an earlier sample was told is not true of this one's interval.
            let told = attempts > 0 && !(ask.is_hasty() && since.is_none());
            ask.fail(if told { &refused } else { &unheard });
        }
    }

    /// Touches an idle connection; ends a search that nobody waits for.
    fn upkeep(&mut self) {
        let (now, touch_after) = (self.now(), self.touch_after());
        if self.seeker.is_some() && self.waiting.is_empty() && now.since(self.last_asked) >= LINGER {
            self.seeker = None;
        }
        if let Some(session) = &mut self.session
            && now.since(self.last_used) >= touch_after
        {
            self.last_used = now;
            if let Err(StatementFault::Lost(_)) = session.touch() {
                self.lose();
            }
        }
    }
}
