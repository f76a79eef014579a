//! The app's log as a run follows it: one stream for sampler and verbs, counted as it comes and forgotten soon after.
//!
//! A thread of its own reads it, for as long as the run lives: a stream may be silent for hours, so nobody waits for it.
//! It is begun only when somebody needs it, and never in a dry run: a log session is a POST. When the stream ends it is
//! opened again with some lines of history, and what was seen before is not counted twice. It must never count as seen
//! what it may have missed.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::clock::Clock;
use super::error::Fault;
use super::facts::LogLine;
use super::reads::HerokuReads;
use crate::health::{LogReading, LogSigns, Moment, Reading};

/// Lines of history asked for when a stream is opened again.
const HISTORY: u32 = 200;
/// Lines known by their time and text, so as not to count them twice.
const REMEMBERED: usize = 2000;
/// Seconds of which counts are kept.
const SECONDS: usize = 3700;
/// Rest before a stream is opened again: the first, and the longest.
const REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A stream that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(20);

/// A stream of the log.
pub trait LogStream: Send {
    /// The next line, as long as it is; `None` when the stream has ended. Waits as long as it takes, some minutes at most.
    ///
    /// # Errors
    /// The stream broke.
    fn next(&mut self) -> Result<Option<LogLine>, Fault>;
    /// When the session was made, RFC 3339, by the platform's clock; empty when it was not told.
    fn made_at(&self) -> String;
}

/// What the log said since a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTally {
    /// Lines.
    pub lines: u64,
    /// Lines that show an exhausted database.
    pub errors: u64,
    /// Lines that are known to be lost.
    pub lost: u64,
    /// The stream was broken, and what came meanwhile may be missing.
    pub gaps: u64,
    /// How often each sign was seen, and the newest line of it.
    pub signs: BTreeMap<String, SignSeen>,
    /// Why the stream does not stand now.
    pub broken: Option<String>,
}

/// One sign, as often as it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignSeen {
    /// How often.
    pub count: u64,
    /// The newest line.
    pub newest: String,
}

#[derive(Debug, Default)]
struct Second {
    at: u64,
    lines: u64,
    errors: u64,
    lost: u64,
    gaps: u64,
    signs: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct State {
    allowed: bool,
    begun: bool,
    /// `None` while the stream stands.
    broken: Option<String>,
    opened: u64,
    seconds: VecDeque<Second>,
    /// Since the sampler asked last.
    interval: LogReading,
    newest: BTreeMap<String, String>,
    /// Times and texts of the newest lines, and how often each.
    order: VecDeque<u64>,
    known: HashMap<u64, u32>,
    /// How many there have been.
    remembered: u64,
    /// The newest time that was seen.
    last: String,
    /// When the first session was made: what is older in a stream's history is not of this run.
    floor: String,
    /// A stream that was opened anew repeats lines up to this time.
    repeats_until: Option<String>,
    /// Of the repeated ones some were known: nothing is missing between.
    joined: bool,
    /// What is left of each known line that the new stream may repeat.
    to_repeat: HashMap<u64, u32>,
}

/// The log of a run.
#[derive(Debug, Default)]
pub(in crate::platform) struct LogWatch {
    state: Mutex<State>,
}

impl LogWatch {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on it may be followed: the run was agreed to.
    pub(in crate::platform) fn allow(&self) {
        self.state().allowed = true;
    }

    /// Follows it from now on, unless it is followed already; `false` when it may not be (a dry run).
    pub(in crate::platform) fn begin(
        self: &Arc<Self>,
        heroku: &Arc<dyn HerokuReads>,
        clock: &Arc<dyn Clock>,
    ) -> bool {
        let mut state = self.state();
        if !state.allowed || state.begun {
            return state.allowed;
        }
        state.begun = true;
        state.broken = Some("the log's stream is being opened".to_owned());
        let (watch, heroku, clock) = (Arc::downgrade(self), Arc::clone(heroku), Arc::clone(clock));
        std::thread::spawn(move || follow(&watch, &*heroku, &*clock));
        true
    }

    /// What came since the sampler asked last.
    pub(in crate::platform) fn reading(&self) -> Reading<LogReading> {
        let mut state = self.state();
        if !state.begun {
            return Reading::not_asked();
        }
        match &state.broken {
            Some(why) => Reading::Unknown(why.clone()),
            None => Reading::Measured(std::mem::take(&mut state.interval)),
        }
    }

    /// What came since `since`, to the second.
    pub(in crate::platform) fn tally(&self, since: Moment) -> LogTally {
        let state = self.state();
        let mut tally = LogTally { broken: state.broken.clone(), ..LogTally::default() };
        for second in state.seconds.iter().filter(|second| second.at >= since.0 / 1000) {
            tally.lines += second.lines;
            tally.errors += second.errors;
            tally.lost += second.lost;
            tally.gaps += second.gaps;
            for (sign, count) in &second.signs {
                tally.signs.entry(sign.clone()).or_default().count += count;
            }
        }
        for (sign, seen) in &mut tally.signs {
            seen.newest = state.newest.get(sign).cloned().unwrap_or_default();
        }
        tally
    }

    /// A stream stands whose session was made then, by the platform's clock.
    fn opened(&self, made_at: &str) {
        let mut state = self.state();
        state.broken = None;
        if state.opened == 0 {
            // To the second: a line of that second is later than its beginning.
            made_at.trim_end_matches('Z').clone_into(&mut state.floor);
        } else {
            state.repeats_until = Some(state.last.clone().max(state.floor.clone()));
            state.joined = false;
            let State { to_repeat, known, .. } = &mut *state;
            to_repeat.clone_from(known);
        }
        state.opened += 1;
    }

    fn broke(&self, why: String) {
        self.state().broken = Some(why);
    }

    /// Reads what the log has kept of the newest lines, and counts those that the stream has not brought: a connection
    /// that is dead without saying so looks like a silent log.
    pub(in crate::platform) fn check(&self, heroku: &dyn HerokuReads, clock: &dyn Clock) {
        if !self.state().begun {
            return;
        }
        if let Ok(lines) = heroku.recent_logs(HISTORY, None) {
            self.catch_up(clock.now(), &lines);
        }
    }

    fn catch_up(&self, now: Moment, lines: &[LogLine]) {
        let mut state = self.state();
        state.repeats_until = Some(state.last.clone().max(state.floor.clone()));
        state.joined = false;
        let State { to_repeat, known, .. } = &mut *state;
        to_repeat.clone_from(known);
        let before = state.remembered;
        drop(state);
        for line in lines {
            self.take(now, line, false);
        }
        // What was counted here may be on its way through the stream.
        let mut state = self.state();
        let new = usize::try_from(state.remembered - before).unwrap_or(REMEMBERED);
        let mut to_repeat = HashMap::new();
        for hash in state.order.iter().rev().take(new) {
            *to_repeat.entry(*hash).or_default() += 1;
        }
        (state.to_repeat, state.joined) = (to_repeat, true);
        state.repeats_until = Some(state.last.clone().max(state.floor.clone()));
    }

    /// Takes in one line; the `first` one is history that was asked for.
    fn take(&self, now: Moment, line: &LogLine, first: bool) {
        let mut hasher = DefaultHasher::new();
        // As much of it as every way to it gives.
        let shown = super::heroku::shortened(line.clone());
        (&shown.at, &shown.source, &shown.process, &shown.message).hash(&mut hasher);
        let hash = hasher.finish();
        let mut state = self.state();
        let mut gap = false;
        // Only in history: clocks of later lines are not judged.
        let old = (first || state.repeats_until.is_some()) && line.at < state.floor;
        // History that reaches back to before the run leaves nothing out.
        state.joined |= old;
        if let Some(until) = &state.repeats_until {
            if line.at > *until {
                // The repetition is over. Nothing known among it, though something was: lines may be missing between.
                gap = !state.joined && !state.to_repeat.is_empty();
                state.repeats_until = None;
                state.to_repeat.clear();
            } else if let Some(left) = state.to_repeat.get_mut(&hash).filter(|left| **left > 0) {
                *left -= 1;
                state.joined = true;
                return;
            }
        }
        state.remember(hash, &line.at);
        if !old {
            state.count(now, line, gap);
        }
    }
}

impl State {
    fn remember(&mut self, hash: u64, at: &str) {
        if at > self.last.as_str() {
            at.clone_into(&mut self.last);
        }
        *self.known.entry(hash).or_default() += 1;
        self.remembered += 1;
        self.order.push_back(hash);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
            && let Some(times) = self.known.get_mut(&oldest)
        {
            *times -= 1;
            if *times == 0 {
                self.known.remove(&oldest);
            }
        }
    }

    fn count(&mut self, now: Moment, line: &LogLine, gap: bool) {
        let signs = LogSigns::of(&line.source, &line.process, &line.message);
        let (error, gap) = (u64::from(signs.exhaustion.is_some()), u64::from(gap));
        // How many lines a gap has swallowed is not known: at least one may be missing.
        let lost = signs.dropped + gap;
        self.interval.lines += 1;
        self.interval.errors += error;
        self.interval.lost += lost;
        let at = now.0 / 1000;
        if self.seconds.back().is_none_or(|second| second.at != at) {
            self.seconds.push_back(Second { at, ..Second::default() });
            if self.seconds.len() > SECONDS {
                self.seconds.pop_front();
            }
        }
        let Some(second) = self.seconds.back_mut() else { return };
        second.lines += 1;
        second.errors += error;
        second.lost += signs.dropped;
        second.gaps += gap;
        for sign in signs.code.into_iter().chain(signs.exhaustion.map(|form| form.name().to_owned())) {
            let shown = super::heroku::shortened(line.clone());
            *second.signs.entry(sign.clone()).or_default() += 1;
            self.newest
                .insert(sign, format!("{} {}[{}]: {}", shown.at, shown.source, shown.process, shown.message));
        }
    }
}

/// Follows the log until the run is gone.
fn follow(watch: &Weak<LogWatch>, heroku: &dyn HerokuReads, clock: &dyn Clock) {
    let (mut rest, mut history) = (REST, 1);
    loop {
        let began = clock.now();
        let why = match heroku.open_log(None, history) {
            Err(fault) => fault.to_string(),
            Ok(mut stream) => {
                let Some(known) = watch.upgrade() else { return };
                known.opened(&stream.made_at());
                drop(known);
                let mut first = history == 1;
                history = HISTORY;
                loop {
                    let next = stream.next();
                    let Some(known) = watch.upgrade() else { return };
                    match next {
                        Ok(Some(line)) => {
                            known.take(clock.now(), &line, std::mem::take(&mut first));
                        }
                        Ok(None) => break "the log's stream has ended; it is opened again".to_owned(),
                        Err(fault) => break fault.to_string(),
                    }
                }
            }
        };
        let Some(known) = watch.upgrade() else { return };
        known.broke(why);
        drop(known);
        if clock.now().since(began) >= GOOD {
            rest = REST;
        }
        clock.sleep(rest);
        rest = (rest * 2).min(LONGEST_REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(at: u32, text: &str) -> LogLine {
        LogLine {
            at: format!("2026-11-23T10:00:00.{at:06}+00:00"),
            source: if text.starts_with("at=") { "heroku" } else { "app" }.to_owned(),
            process: if text.starts_with("at=") { "router" } else { "web.1" }.to_owned(),
            message: text.to_owned(),
        }
    }

    fn full(at: u32) -> LogLine {
        line(at, "SQLSTATE[HY000] [1040] Too many connections")
    }

    fn watch() -> LogWatch {
        let watch = LogWatch::default();
        watch.state().begun = true;
        watch.opened("2026-11-23T10:00:00Z");
        watch
    }

    #[test]
    fn a_stream_that_is_opened_again_counts_nothing_twice_and_everything_once() {
        let watch = watch();
        let before = LogLine { at: "2026-11-23T09:59:59.999999+00:00".into(), ..full(1) };
        watch.take(Moment(1000), &before, true);
        for at in [2, 3] {
            watch.take(Moment(2000), &full(at), false);
        }
        // Two lines of the same microsecond and text are two.
        watch.take(Moment(2000), &full(3), false);
        watch.broke("cut".into());
        assert_eq!(watch.reading(), Reading::Unknown("cut".into()));
        watch.opened("2026-11-23T10:00:09Z");
        watch.take(Moment(5000), &before, false);
        let older = LogLine { at: "2026-11-23T09:00:00+00:00".into(), ..full(1) };
        watch.take(Moment(5000), &older, false);
        for at in [2, 3, 3, 3, 4] {
            watch.take(Moment(5000), &full(at), false);
        }
        let Reading::Measured(read) = watch.reading() else { panic!("it stands") };
        assert_eq!(
            (read.errors, read.lines, read.lost),
            (5, 5, 0),
            "3 of before, the third of one moment, a new one"
        );
        assert_eq!(watch.tally(Moment(5000)).errors, 2);
        let all = watch.tally(Moment(0));
        assert_eq!((all.errors, all.gaps, all.signs["Too many connections"].count), (5, 0, 5));
        assert!(
            all.signs["Too many connections"]
                .newest
                .starts_with("2026-11-23T10:00:00.000004+00:00 app[web.1]: SQL")
        );
        assert_eq!(watch.reading(), Reading::Measured(LogReading::default()), "silence is known");
    }

    #[test]
    fn what_a_dead_stream_did_not_bring_is_caught_up_with_and_counted_once() {
        let watch = watch();
        watch.take(Moment(1000), &full(2), false);
        let before = LogLine { at: "2026-11-23T09:00:00+00:00".into(), ..full(1) };
        let kept = [before, full(2), full(3), full(4)];
        watch.catch_up(Moment(9000), &kept);
        assert_eq!((watch.tally(Moment(0)).errors, watch.tally(Moment(0)).gaps), (3, 0));
        // The stream was not dead but late.
        for at in [3, 4, 5] {
            watch.take(Moment(9500), &full(at), false);
        }
        watch.catch_up(Moment(9900), &[full(3), full(4), full(5)]);
        assert_eq!((watch.tally(Moment(0)).errors, watch.tally(Moment(0)).gaps), (4, 0));
        let long = LogLine { message: format!("SQLSTATE[HY000] [1040] {}", "x".repeat(2000)), ..full(6) };
        watch.take(Moment(9950), &long, false);
        watch.catch_up(Moment(9960), &[full(5), crate::platform::heroku::shortened(long)]);
        assert_eq!(watch.tally(Moment(0)).errors, 5, "a line that was cut is the same line");
    }

    #[test]
    fn what_may_be_missing_is_said() {
        let watch = watch();
        watch.take(Moment(1000), &full(1), false);
        watch.broke("cut".into());
        watch.opened("2026-11-23T10:00:09Z");
        watch.take(Moment(9000), &line(50, "at=error code=H12 method=GET"), false);
        let tally = watch.tally(Moment(0));
        assert_eq!((tally.gaps, tally.lost, tally.signs["H12"].count), (1, 0, 1));
        let Reading::Measured(read) = watch.reading() else { panic!("it stands") };
        assert_eq!(read.lost, 1, "unknown how many: not none");
        let overflow = LogLine {
            process: "logplex".into(),
            source: "heroku".into(),
            ..line(51, "Error L10 (output buffer overflow): 17 messages dropped since x.")
        };
        watch.take(Moment(9000), &overflow, false);
        assert_eq!(watch.tally(Moment(0)).lost, 17);
    }

    #[test]
    fn history_that_reaches_back_to_before_the_run_leaves_nothing_out() {
        let watch = watch();
        watch.broke("cut at its first line".into());
        watch.opened("2026-11-23T10:00:09Z");
        let before = LogLine { at: "2026-11-23T09:59:59+00:00".into(), ..full(1) };
        for line in [before, full(7), full(8)] {
            watch.take(Moment(5000), &line, false);
        }
        assert_eq!((watch.tally(Moment(0)).errors, watch.tally(Moment(0)).gaps), (2, 0));
    }

    #[test]
    fn memory_stays_bounded() {
        let watch = watch();
        for at in 0..u32::try_from(SECONDS + 500).unwrap() {
            watch.take(Moment(u64::from(at) * 1000), &full(at), false);
        }
        let state = watch.state();
        assert!(
            state.seconds.len() == SECONDS
                && state.order.len() == REMEMBERED
                && state.known.len() <= REMEMBERED
        );
    }

    #[test]
    fn a_run_that_was_not_agreed_to_follows_nothing() {
        let world = super::super::fake::World::new(super::super::fake::Leak::Once);
        let heroku: Arc<dyn HerokuReads> = world.clone();
        let clock: Arc<dyn Clock> = world;
        let watch = Arc::new(LogWatch::default());
        assert!(!watch.begin(&heroku, &clock) && !watch.state().begun);
        assert!(watch.reading().is_unknown());
    }
}
