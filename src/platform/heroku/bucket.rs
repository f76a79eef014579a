//! The account's bucket of API calls, as the headers of the answers tell. All tools of all people of the account draw
//! on it, `git push` included. It is watched here; what is read less often because of it is decided in `watch`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::platform::watch::{LEAST_PER_MINUTE, NEAR, PER_MINUTE};

/// No answer has told yet.
const UNKNOWN: u64 = u64::MAX;

/// One account's bucket; shared by the clients that use its token.
#[derive(Debug)]
pub struct Bucket {
    calls: AtomicU64,
    left: AtomicU64,
    told: AtomicBool,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { calls: AtomicU64::new(0), left: AtomicU64::new(UNKNOWN), told: AtomicBool::new(false) }
    }
}

impl Bucket {
    /// One call is made.
    pub(super) fn spend(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls made by this run.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Calls that the account has left, when known.
    pub(super) fn left(&self) -> Option<u64> {
        Some(self.left.load(Ordering::Relaxed)).filter(|left| *left != UNKNOWN)
    }

    /// Takes what an answer told: its status, and the calls left. Gives what is to be said of it, once.
    pub(super) fn note(&self, status: u16, left: Option<u64>) -> Option<String> {
        // Refused for the limit, whatever else it says.
        let left = if status == 429 { Some(0) } else { left }?;
        self.left.store(left, Ordering::Relaxed);
        if left >= NEAR || self.told.swap(true, Ordering::Relaxed) {
            return None;
        }
        let made = self.calls();
        Some(format!(
            "Heroku: {left} API calls are left to the account ({made} were this run's; about 75 come back each \
             minute). While waiting, dynos and releases are read {LEAST_PER_MINUTE} times a minute at least, instead of \
             {PER_MINUTE}; changes are not held back"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_said_once_and_a_429_says_that_nothing_is() {
        let bucket = Bucket::default();
        assert_eq!((bucket.note(200, None), bucket.left()), (None, None));
        assert_eq!((bucket.note(200, Some(4499)), bucket.left()), (None, Some(4499)));
        assert_eq!((bucket.note(200, Some(NEAR)), bucket.left()), (None, Some(NEAR)));
        let said = bucket.note(206, Some(NEAR - 1)).unwrap();
        assert!(said.contains("499 API calls are left") && said.contains("not held back"), "{said}");
        assert_eq!(bucket.note(200, Some(12)), None, "once");
        assert_eq!((bucket.note(429, Some(12)), bucket.left()), (None, Some(0)));
        assert_eq!((bucket.note(200, Some(4000)), bucket.left()), (None, Some(4000)), "time fills it");
        assert!(Bucket::default().note(429, None).unwrap().contains("Heroku: 0 API calls"));
    }
}
