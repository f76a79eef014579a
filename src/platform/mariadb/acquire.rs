//! Getting in while the server is full: a few attempts in flight, hardly any pause at first.
//!
//! Ordinary back-off starves here: a slot that is given back is taken again within a millisecond or two by whichever
//! client asks next. The first success wins, all others are closed, and the slot is never given back. It must end
//! when told, and must never hold up whoever waits for a sample.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::fault::LoginFault;
use crate::health::Moment;
use crate::platform::clock::Clock;

/// How hard it tries.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Attempts in flight, once the first was refused.
    pub in_flight: u32,
    /// For this long there is no pause between attempts.
    pub sprint: Duration,
    /// Then, for this long, a pause of one millisecond.
    pub run: Duration,
    /// Afterwards the pause is drawn anew each time (decorrelated jitter) between these, in milliseconds.
    pub pause_ms: (u64, u64),
}

impl Default for Pace {
    fn default() -> Self {
        Self { in_flight: 3, sprint: Duration::from_secs(1), run: Duration::from_secs(2), pause_ms: (5, 50) }
    }
}

impl Pace {
    /// The pause after an attempt refused `elapsed` after the beginning; `last` is the one before, in milliseconds.
    fn pause(&self, elapsed: Duration, last: u64, draw: impl Fn(u64, u64) -> u64) -> u64 {
        let (least, most) = self.pause_ms;
        if elapsed < self.sprint {
            0
        } else if elapsed < self.sprint + self.run {
            1
        } else {
            draw(least, last.saturating_mul(3).clamp(least, most))
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
    pub fn start<T: Send + 'static>(
        pace: Pace,
        clock: Arc<dyn Clock>,
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
            failures: AtomicU32::new(0),
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
    failures: AtomicU32,
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
                if !search.stop.is_set() {
                    (search.report)(Outcome::Refused);
                }
                false
            }
            // In a storm of refusals single attempts may be cut; before the first refusal a failure is the answer.
            LoginFault::Network(_) if search.joined.load(Ordering::Relaxed) > 1 => {
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
        // One more joins with each refusal, so that they are staggered by a round trip.
        if search.joined.fetch_add(1, Ordering::Relaxed) < search.pace.in_flight {
            let _ = start_attempts(Arc::clone(search));
        } else {
            search.joined.fetch_sub(1, Ordering::Relaxed);
        }
        let elapsed = search.clock.now().since(search.began);
        pause = search.pace.pause(elapsed, pause, |least, most| fastrand::u64(least..=most));
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
            Pace {
                sprint: Duration::ZERO,
                run: Duration::ZERO,
                pause_ms: (60_000, 60_000),
                ..Pace::default()
            },
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
    fn the_pause_grows_from_none_to_jitter() {
        let pace = Pace::default();
        let most = |_, most| most;
        assert_eq!(pace.pause(Duration::from_millis(999), 5, most), 0);
        assert_eq!(pace.pause(Duration::from_millis(2999), 5, most), 1);
        assert_eq!(pace.pause(Duration::from_secs(3), 5, most), 15);
        assert_eq!(pace.pause(Duration::from_secs(9), 45, most), 50);
        assert_eq!(pace.pause(Duration::from_secs(9), 45, |least, _| least), 5);
    }
}
