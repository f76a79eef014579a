//! Getting in while the server is full: a few attempts in flight, hardly any pause at first.
//!
//! Ordinary back-off starves here: a slot that is given back is taken again within a millisecond or two by whichever
//! client asks next. The first success wins, all others are closed, and the slot is never given back. It must end
//! when told, and must never hold up whoever waits for a sample.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::fault::LoginFault;
use crate::health::Moment;
use crate::platform::clock::Clock;

/// How hard it tries: less and less, so that a server in trouble is not stormed. On loopback this is about a thousand
/// attempts in the first two seconds and five a second from then on; at 20 ms of distance it is a hundred.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Attempts in flight, once the first was refused.
    pub in_flight: u32,
    /// For this long there is no pause between attempts.
    pub rush: Duration,
    /// Then, until this long after the beginning, a pause of one millisecond.
    pub sprint: Duration,
    /// Afterwards the pause is drawn anew each time (decorrelated jitter) between these, in milliseconds.
    pub pause_ms: (u64, u64),
    /// After so long without one admitted login nobody leaves: one attempt at a time goes on, far apart, since a slot
    /// can only appear when something else frees many.
    pub patience: Duration,
    /// The pause from then on, in milliseconds.
    pub knock_ms: (u64, u64),
    /// So many refusals without one admitted login say the same after half of that time. Not sooner: who waits for
    /// the verdict restarts dynos by it, and among many workers one slot in a thousand takes half a second to win.
    pub refusals: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            in_flight: 3,
            rush: Duration::from_millis(40),
            sprint: Duration::from_millis(400),
            pause_ms: (5, 50),
            patience: Duration::from_secs(2),
            knock_ms: (100, 300),
            refusals: 300,
        }
    }
}

/// How a search goes on after an attempt that was refused.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// After so many milliseconds, all attempts together.
    Together(u64),
    /// After so many milliseconds, one attempt alone.
    Alone(u64),
}

impl Pace {
    /// Whether `refusals` in `elapsed`, and not one login, show that nobody leaves.
    pub fn is_hopeless(&self, elapsed: Duration, refusals: u64) -> bool {
        refusals > 0
            && (elapsed >= self.patience || (elapsed >= self.patience / 2 && refusals >= self.refusals))
    }

    /// What follows an attempt refused `elapsed` after the beginning, the refusals so far counted; `last` is the pause
    /// before it, in milliseconds.
    fn next(&self, elapsed: Duration, refusals: u64, last: u64, draw: impl Fn(u64, u64) -> u64) -> Next {
        let (least, most) = self.pause_ms;
        if self.is_hopeless(elapsed, refusals) {
            Next::Alone(draw(self.knock_ms.0, self.knock_ms.1))
        } else if elapsed < self.rush {
            Next::Together(0)
        } else if elapsed < self.sprint {
            Next::Together(1)
        } else {
            Next::Together(draw(least, last.saturating_mul(3).clamp(least, most)))
        }
    }
}

/// What the seeker reports.
pub enum Outcome<T> {
    /// In: the first success. Nothing further is reported.
    In(T),
    /// A login was refused for want of a slot; the seeker goes on.
    Refused,
    /// Another failure. Nothing further is reported.
    Failed(LoginFault),
}

/// One search for a slot. Dropping it ends the search.
pub struct Seeker {
    stop: Arc<Stop>,
}

/// After so many network failures in a row, with no refusal between, the search is given up.
const NETWORK_FAILURES: u32 = 3;

impl Seeker {
    /// Begins with one attempt; when that is refused, the others of `pace` join in. `dial` makes one attempt;
    /// `report` is called from the attempts' threads.
    ///
    /// # Errors
    /// When the system starts no thread.
    #[cfg(test)]
    fn start<T: Send + 'static>(
        pace: Pace,
        clock: Arc<dyn Clock>,
        dial: impl Fn() -> Result<T, LoginFault> + Send + Sync + 'static,
        report: impl Fn(Outcome<T>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::sparing(pace, clock, || Duration::ZERO, dial, report)
    }

    /// The same, where logins are counted: after a refusal `spare` says how long to wait at least; if it is any time at
    /// all, one attempt goes on alone.
    ///
    /// # Errors
    /// When the system starts no thread.
    pub fn sparing<T: Send + 'static>(
        pace: Pace,
        clock: Arc<dyn Clock>,
        spare: impl Fn() -> Duration + Send + Sync + 'static,
        dial: impl Fn() -> Result<T, LoginFault> + Send + Sync + 'static,
        report: impl Fn(Outcome<T>) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let search = Arc::new(Search {
            began: clock.now(),
            pace,
            clock,
            stop: Arc::clone(&stop),
            joined: AtomicU32::new(1),
            refusals: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            spare: Box::new(spare),
            dial,
            report,
        });
        start_attempts(search)?;
        Ok(Self { stop })
    }
}

impl Drop for Seeker {
    fn drop(&mut self) {
        self.stop.set();
    }
}

struct Search<D, R> {
    pace: Pace,
    clock: Arc<dyn Clock>,
    began: Moment,
    stop: Arc<Stop>,
    joined: AtomicU32,
    refusals: AtomicU64,
    failures: AtomicU32,
    spare: Box<dyn Fn() -> Duration + Send + Sync>,
    dial: D,
    report: R,
}

fn start_attempts<T, D, R>(search: Arc<Search<D, R>>) -> io::Result<()>
where
    T: Send + 'static,
    D: Fn() -> Result<T, LoginFault> + Send + Sync + 'static,
    R: Fn(Outcome<T>) + Send + Sync + 'static,
{
    thread::Builder::new().name("database-login".to_owned()).spawn(move || attempt(&search)).map(drop)
}

fn attempt<T, D, R>(search: &Arc<Search<D, R>>)
where
    T: Send + 'static,
    D: Fn() -> Result<T, LoginFault> + Send + Sync + 'static,
    R: Fn(Outcome<T>) + Send + Sync + 'static,
{
    let mut pause = search.pace.pause_ms.0;
    while !search.stop.is_set() {
        let fault = match (search.dial)() {
            Ok(line) => {
                // Whoever ends the search owns the success; a later one is closed here, by its drop.
                if search.stop.set() {
                    (search.report)(Outcome::In(line));
                }
                return;
            }
            Err(fault) => fault,
        };
        let gave_up = match fault {
            LoginFault::Full { .. } => {
                search.failures.store(0, Ordering::Relaxed);
                search.refusals.fetch_add(1, Ordering::Relaxed);
                if !search.stop.is_set() {
                    (search.report)(Outcome::Refused);
                }
                false
            }
            // In a storm of refusals single attempts may be cut; before the first refusal a failure is the answer.
            LoginFault::Network(_) if search.refusals.load(Ordering::Relaxed) > 0 => {
                search.failures.fetch_add(1, Ordering::Relaxed) + 1 >= NETWORK_FAILURES
            }
            _ => true,
        };
        if gave_up {
            if search.stop.set() {
                (search.report)(Outcome::Failed(fault));
            }
            return;
        }
        let elapsed = search.clock.now().since(search.began);
        let refusals = search.refusals.load(Ordering::Relaxed);
        let spare = u64::try_from((search.spare)().as_millis()).unwrap_or(u64::MAX);
        let next = match search.pace.next(elapsed, refusals, pause, |least, most| fastrand::u64(least..=most))
        {
            next if spare == 0 => next,
            Next::Together(pause) | Next::Alone(pause) => Next::Alone(pause.max(spare)),
        };
        pause = match next {
            Next::Together(pause) => {
                // One more joins with each refusal, so that they are staggered by a round trip.
                if search.joined.fetch_add(1, Ordering::Relaxed) < search.pace.in_flight {
                    let _ = start_attempts(Arc::clone(search));
                } else {
                    search.joined.fetch_sub(1, Ordering::Relaxed);
                }
                pause
            }
            Next::Alone(pause) => {
                if search.joined.fetch_sub(1, Ordering::Relaxed) > 1 {
                    return;
                }
                search.joined.store(1, Ordering::Relaxed);
                pause
            }
        };
        if search.stop.wait(Duration::from_millis(pause)) {
            return;
        }
        pause = pause.max(search.pace.pause_ms.0);
    }
}

/// A flag that can be waited on.
#[derive(Default)]
struct Stop {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Sets it; `true` for the one who did so first.
    fn set(&self) -> bool {
        let mut flag = self.flag.lock().unwrap_or_else(PoisonError::into_inner);
        let first = !*flag;
        *flag = true;
        self.changed.notify_all();
        first
    }

    fn is_set(&self) -> bool {
        *self.flag.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at most `time`; says whether it is set.
    fn wait(&self, time: Duration) -> bool {
        let flag = self.flag.lock().unwrap_or_else(PoisonError::into_inner);
        if *flag || time.is_zero() {
            return *flag;
        }
        let (flag, _) =
            self.changed.wait_timeout_while(flag, time, |set| !*set).unwrap_or_else(PoisonError::into_inner);
        *flag
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::platform::SystemClock;

    fn full() -> LoginFault {
        LoginFault::from_code(1040, "Too many connections")
    }

    /// A login that tells when it is closed.
    struct Login(Arc<AtomicU32>);

    impl Drop for Login {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn one_attempt_when_there_is_room() {
        let dials = Arc::new(AtomicU32::new(0));
        let (tx, rx) = mpsc::channel();
        let counted = Arc::clone(&dials);
        let _seeker = Seeker::start(
            Pace::default(),
            Arc::new(SystemClock::start()),
            move || {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(7)
            },
            move |outcome| drop(tx.send(outcome)),
        )
        .unwrap();
        assert!(matches!(rx.recv_timeout(Duration::from_secs(5)), Ok(Outcome::In(7))));
        assert!(rx.recv_timeout(Duration::from_secs(5)).is_err(), "the attempt's thread has ended");
        assert_eq!(dials.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_first_success_is_kept_and_the_rest_closed() {
        let dials = Arc::new(AtomicU32::new(0));
        let closed = Arc::new(AtomicU32::new(0));
        let gate = Arc::new(std::sync::Barrier::new(3));
        let (tx, rx) = mpsc::channel();
        let (counted, closing) = (Arc::clone(&dials), Arc::clone(&closed));
        let seeker = Seeker::start(
            Pace::default(),
            Arc::new(SystemClock::start()),
            move || {
                if counted.fetch_add(1, Ordering::SeqCst) < 6 {
                    return Err(full());
                }
                gate.wait(); // three at once succeed
                Ok(Login(Arc::clone(&closing)))
            },
            move |outcome| drop(tx.send(outcome)),
        )
        .unwrap();
        let mut kept = None;
        // Ends when every attempt's thread has ended and so dropped its sender.
        while let Ok(outcome) = rx.recv_timeout(Duration::from_secs(5)) {
            if let Outcome::In(login) = outcome {
                assert!(kept.replace(login).is_none(), "one success is reported");
            }
        }
        assert!(kept.is_some());
        assert_eq!(closed.load(Ordering::SeqCst), 2);
        drop(seeker);
    }

    #[test]
    fn a_wrong_password_ends_it_at_once_and_dropping_ends_it_too() {
        let (tx, rx) = mpsc::channel();
        let _seeker = Seeker::start::<()>(
            Pace::default(),
            Arc::new(SystemClock::start()),
            || Err(LoginFault::from_code(1045, "Access denied")),
            move |outcome| drop(tx.send(outcome)),
        )
        .unwrap();
        assert!(matches!(
            rx.recv_timeout(Duration::from_secs(5)),
            Ok(Outcome::Failed(LoginFault::Password { code: 1045, .. }))
        ));

        let (tx, rx) = mpsc::channel();
        let seeker = Seeker::start::<()>(
            Pace { patience: Duration::ZERO, knock_ms: (60_000, 60_000), ..Pace::default() },
            Arc::new(SystemClock::start()),
            || Err(full()),
            move |outcome| drop(tx.send(outcome)),
        )
        .unwrap();
        assert!(matches!(rx.recv_timeout(Duration::from_secs(5)), Ok(Outcome::Refused)));
        drop(seeker);
        while let Ok(outcome) = rx.recv_timeout(Duration::from_secs(5)) {
            assert!(matches!(outcome, Outcome::Refused));
        }
    }

    #[test]
    fn the_pause_grows_from_none_to_jitter_to_knocking() {
        let pace = Pace::default();
        let most = |_, most| most;
        let at = |ms, refusals, last| pace.next(Duration::from_millis(ms), refusals, last, most);
        assert_eq!(at(39, 10, 5), Next::Together(0));
        assert_eq!(at(399, 9000, 5), Next::Together(1));
        assert_eq!(at(400, 10, 5), Next::Together(15));
        assert_eq!(at(1999, 299, 45), Next::Together(50));
        assert_eq!(at(999, 9000, 5), Next::Together(15));
        assert_eq!(at(1000, 300, 5), Next::Alone(300), "many refusals say it early");
        assert_eq!(at(2000, 3, 5), Next::Alone(300), "few say it in time");
        assert!(!pace.is_hopeless(Duration::from_secs(9), 0), "no answer is no refusal");
    }

    #[test]
    fn a_server_that_stays_full_is_not_stormed() {
        let dials = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&dials);
        let (tx, rx) = mpsc::channel();
        let pace = Pace { refusals: 40, patience: Duration::from_millis(40), ..Pace::default() };
        let clock = SystemClock::start();
        let seeker = Seeker::start::<()>(
            pace,
            Arc::new(SystemClock::start()),
            move || {
                counted.fetch_add(1, Ordering::SeqCst);
                Err(full())
            },
            move |outcome| drop(tx.send(outcome)),
        )
        .unwrap();
        // Once it knocks, the gaps between attempts are 100 ms and more: three of them in a row end the wait.
        let mut far_apart = 0;
        while far_apart < 3 {
            assert!(
                clock.now().since(crate::health::Moment(0)) < Duration::from_secs(20),
                "it never slows down"
            );
            let before = clock.now();
            assert!(matches!(rx.recv_timeout(Duration::from_secs(5)), Ok(Outcome::Refused)));
            far_apart =
                if clock.now().since(before) >= Duration::from_millis(90) { far_apart + 1 } else { 0 };
        }
        drop(seeker);
        while rx.recv_timeout(Duration::from_secs(5)).is_ok() {}
    }
}
