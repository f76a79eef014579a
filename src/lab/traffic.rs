//! Visitors: page requests at a set rate through the router, every answer counted. It must never count a page as good
//! that was not answered with a status below 400.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{door, http};

/// How far back the recent figures look.
const RECENT: Duration = Duration::from_secs(5);

/// What visitors saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Seen {
    /// Pages asked for since the beginning.
    pub pages: u64,
    /// Of these not answered well.
    pub errors: u64,
    /// Pages answered in the last five seconds.
    pub recent_pages: u64,
    /// Of these not answered well.
    pub recent_errors: u64,
    /// The slowest of 20 in the last five seconds, ms.
    pub recent_p95_ms: u64,
}

struct Shared {
    stop: AtomicBool,
    /// Requests a second, in thousandths.
    rate: AtomicU64,
    pages: AtomicU64,
    errors: AtomicU64,
    recent: Mutex<VecDeque<(Instant, bool, u64)>>,
}

/// Running visitors; dropping them ends the traffic.
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Visitors that ask the router at `router` for pages, `rate` a second, `visitors` at a time at most.
    pub fn start(router: SocketAddr, rate: f64, visitors: usize) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            pages: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            recent: Mutex::default(),
        });
        let next = Arc::new(Mutex::new(door::now()));
        let threads = (0..visitors)
            .map(|_| {
                let shared = Arc::clone(&shared);
                let next = Arc::clone(&next);
                std::thread::spawn(move || shared.visit(router, &next))
            })
            .collect();
        let traffic = Self { shared, threads };
        traffic.set_rate(rate);
        traffic
    }

    /// Changes the rate, requests a second.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small rate, never negative"
    )]
    pub fn set_rate(&self, rate: f64) {
        self.shared.rate.store((rate.max(0.0) * 1000.0) as u64, Ordering::Relaxed);
    }

    /// What they saw so far.
    pub fn seen(&self) -> Seen {
        let mut seen = Seen {
            pages: self.shared.pages.load(Ordering::Relaxed),
            errors: self.shared.errors.load(Ordering::Relaxed),
            ..Seen::default()
        };
        let now = door::now();
        if let Ok(mut recent) = self.shared.recent.lock() {
            while recent.front().is_some_and(|(at, _, _)| now.duration_since(*at) > RECENT) {
                recent.pop_front();
            }
            let mut times: Vec<u64> = recent.iter().map(|(_, _, ms)| *ms).collect();
            times.sort_unstable();
            seen.recent_pages = times.len() as u64;
            seen.recent_errors = recent.iter().filter(|(_, good, _)| !good).count() as u64;
            seen.recent_p95_ms =
                times.get((times.len() * 95 / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(0);
        }
        seen
    }
}

impl Shared {
    fn visit(&self, router: SocketAddr, next: &Mutex<Instant>) {
        let mut page = fastrand::u32(..);
        while !self.stop.load(Ordering::Relaxed) {
            let rate = self.rate.load(Ordering::Relaxed);
            if rate == 0 {
                door::pause(Duration::from_millis(50));
                continue;
            }
            // Each takes the next place in one common timetable.
            let due = {
                let Ok(mut next) = next.lock() else { return };
                let now = door::now();
                let due = (*next).max(now.checked_sub(Duration::from_millis(500)).unwrap_or(now));
                *next = due + Duration::from_micros(1_000_000_000 / rate);
                due
            };
            let now = door::now();
            if due > now {
                door::pause(due - now);
            }
            page = page.wrapping_add(1);
            let begun = door::now();
            let answer = http::get(router, &format!("/wiki/Page_{}", page % 50), Duration::from_secs(35));
            let good = answer.is_ok_and(|answer| answer.status < 400);
            let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.pages.fetch_add(1, Ordering::Relaxed);
            if !good {
                self.errors.fetch_add(1, Ordering::Relaxed);
            }
            if let Ok(mut recent) = self.recent.lock() {
                recent.push_back((door::now(), good, took));
                if recent.len() > 20_000 {
                    recent.pop_front();
                }
            }
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.is_finished() {
                let _ = thread.join();
            }
        }
    }
}
