//! A reporter on a thread of its own, so that a pipe nobody reads or a stopped terminal never holds up a run.
//!
//! Events are passed on in order. Samples and the live display are left out while it lags far behind; nothing else is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Live, Measurements};

/// Messages waiting from which samples are left out: memory stays bounded over a long run.
const SAMPLES_UP_TO: usize = 4096;
/// Messages waiting from which the live display is not refreshed.
const LIVE_UP_TO: usize = 16;
/// How long it is waited for before a question.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);
/// How long it is waited for at the end, before it is left behind.
const END_PATIENCE: Duration = Duration::from_secs(5);

enum Told {
    Event(Box<(Stamp, Event)>),
    Live(Box<(Live, Measurements)>),
    Flush(Sender<()>),
}

/// Another listener, on a thread of its own. Dropping it waits a few seconds for what is left to be shown.
pub struct Detached {
    to: Option<Sender<Told>>,
    waiting: Arc<AtomicUsize>,
    ended: Receiver<()>,
}

impl Detached {
    /// Moves `listener` to its thread.
    pub fn new(mut listener: impl Listener + Send + 'static) -> Self {
        let (to, from) = channel();
        let (end, ended) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        std::thread::spawn(move || {
            for told in from {
                match told {
                    Told::Event(told) => listener.event(&told.0, &told.1),
                    Told::Live(told) => listener.live(&told.0, &told.1),
                    Told::Flush(done) => {
                        listener.flush();
                        let _ = done.send(());
                    }
                }
                left.fetch_sub(1, Ordering::Relaxed);
            }
            drop(listener);
            let _ = end.send(());
        });
        Self { to: Some(to), waiting, ended }
    }

    fn tell(&self, told: Told) {
        if let Some(to) = &self.to {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let _ = to.send(told);
        }
    }
}

impl Listener for Detached {
    fn event(&mut self, stamp: &Stamp, event: &Event) {
        let lags = self.waiting.load(Ordering::Relaxed) >= SAMPLES_UP_TO;
        if !(lags && matches!(event, Event::Sample { .. })) {
            self.tell(Told::Event(Box::new((stamp.clone(), event.clone()))));
        }
    }

    fn live(&mut self, live: &Live, metrics: &Measurements) {
        if self.waiting.load(Ordering::Relaxed) < LIVE_UP_TO {
            self.tell(Told::Live(Box::new((live.clone(), metrics.clone()))));
        }
    }

    fn flush(&mut self) {
        let (done, shown) = channel();
        self.tell(Told::Flush(done));
        let _ = shown.recv_timeout(FLUSH_PATIENCE);
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.ended.recv_timeout(END_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::SyncSender;

    use super::*;

    struct Stuck {
        go: Receiver<()>,
        heard: Arc<Mutex<Vec<String>>>,
        begun: SyncSender<()>,
    }

    impl Listener for Stuck {
        fn event(&mut self, _: &Stamp, event: &Event) {
            let _ = self.begun.try_send(());
            let _ = self.go.recv();
            let told = match event {
                Event::Notice { text } => text.clone(),
                _ => "sample".to_owned(),
            };
            self.heard.lock().unwrap().push(told);
        }
    }

    #[test]
    fn a_stuck_reporter_holds_nobody_up_and_loses_no_event() {
        let (release, go) = channel();
        let (begun, has_begun) = std::sync::mpsc::sync_channel(1);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut detached = Detached::new(Stuck { go, heard: Arc::clone(&heard), begun });
        let stamp = Stamp { seq: 1, at: jiff::Timestamp::UNIX_EPOCH, run: None, head: None };
        for number in 0..3 {
            detached.event(&stamp, &Event::Notice { text: number.to_string() });
        }
        has_begun.recv().unwrap();
        assert!(heard.lock().unwrap().is_empty(), "nothing was shown yet, and nobody was held up");
        drop(release);
        drop(detached);
        assert_eq!(*heard.lock().unwrap(), ["0", "1", "2"]);
    }
}
