//! Time, injected: the system's for real runs, a stepped one in tests.

use std::time::Duration;

use crate::health::Moment;

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// Now, on the run's monotonic clock.
    fn now(&self) -> Moment;
    /// Now, by the wall clock, for people and records.
    fn wall(&self) -> jiff::Timestamp;
    /// Waits. Only the driver and the edges of the platform wait.
    fn sleep(&self, time: Duration);
    /// Does bounded work beside the caller, on a thread of its own; a stepped clock does it at once.
    fn beside(&self, work: Box<dyn FnOnce() + Send>) {
        std::thread::spawn(work);
    }
}

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock {
    origin: std::time::Instant,
    before: Duration,
}

impl SystemClock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Self::resumed(Duration::ZERO)
    }

    /// A clock that began `before` now: moments of a run that is taken up again come after those of its first part.
    #[expect(clippy::disallowed_methods, reason = "the clock is this module's to read")]
    pub fn resumed(before: Duration) -> Self {
        Self { origin: std::time::Instant::now(), before }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(u64::try_from((self.before + self.origin.elapsed()).as_millis()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the clock is this module's to wait on")]
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
