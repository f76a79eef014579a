//! Performing a one-off dyno: attached with its exit code, or detached with the log as the way to it. One command runs
//! once: what may have begun is never started again.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::{Heroku, segment};
use super::rendezvous::{self, Attached, Ended};
use crate::health::Moment;
use crate::platform::change::Effect;
use crate::platform::error::{Certainty, ChangeError, Fault, FaultKind};
use crate::platform::facts::LogLine;
use crate::platform::one_off::{Attach, Fate, OneOff, Output};
use crate::platform::reads::HerokuReads;
use crate::platform::writes::Lines;

/// Tries while the platform does not know a new release yet, the first included.
const TRIES: u32 = 5;
/// How long a dyno may take to go that was stopped: 30 s to end, and then some.
const GOING: Duration = Duration::from_secs(45);
/// How often it is looked whether a detached dyno is still there.
const LOOK: Duration = Duration::from_secs(6);
/// How long its last lines may come after it has gone.
const LATE_LINES: Duration = Duration::from_secs(6);
/// How often the log is looked into for the end of an attached dyno.
const LOOKS: u32 = 4;
/// Lines of the log that are read back.
const HISTORY: u32 = 1500;
/// Exit codes of a shell that was ended by a signal: 128 and its number.
const OF_SIGNALS: std::ops::RangeInclusive<i64> = 129..=192;
/// Where the platform's own dynos are attached.
const RENDEZVOUS: (&str, u16) = ("rendezvous.runtime.heroku.com", 5000);

/// A dyno that was made.
struct Dyno {
    id: String,
    name: String,
    attach_url: String,
}

impl Heroku {
    /// Runs one command in a one-off dyno, and waits for its end.
    pub(super) fn run_one_off(
        &self,
        wish: &OneOff,
        timeout: Duration,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError> {
        let until = self.options.clock.now().plus(timeout);
        if wish.attach != Attach::Never {
            match self.attach(wish, lines)? {
                Ok((dyno, attached)) => return self.attended(wish, &dyno, attached, until, lines),
                Err(fault) if wish.attach == Attach::Always => {
                    return Err(ChangeError::nothing_changed(
                        fault.hint("`attach: auto` falls back to a detached dyno and its log"),
                    ));
                }
                Err(fault) => {
                    lines(&format!("{fault}: it is run detached, and its log is followed"));
                }
            }
        }
        let dyno = self.create(wish, false, lines)?;
        lines(&format!("{} is started, detached", dyno.name));
        self.detached(wish, &dyno, until, lines)
    }

    /// Makes an attached dyno and attaches to it. The inner fault says why that cannot be; then nothing has run.
    fn attach(
        &self,
        wish: &OneOff,
        lines: &Lines<'_>,
    ) -> Result<Result<(Dyno, Attached), Fault>, ChangeError> {
        // Known before a dyno is made for nothing.
        if self.options.api_url.contains("://api.heroku.com")
            && let Err(fault) = rendezvous::reachable(RENDEZVOUS.0, RENDEZVOUS.1)
        {
            return Ok(Err(fault));
        }
        let dyno = self.create(wish, true, lines)?;
        match rendezvous::attach(&dyno.attach_url, &self.options.api_url) {
            Ok(attached) => {
                lines(&format!("{} is started, attached", dyno.name));
                Ok(Ok((dyno, attached)))
            }
            Err(fault) => {
                lines(&format!("{} cannot be attached to ({}): it is stopped", dyno.name, fault.why));
                self.discard(wish, &dyno)?;
                Ok(Err(fault))
            }
        }
    }

    /// One request; a release that the runtime does not know yet is waited for.
    fn create(&self, wish: &OneOff, attach: bool, lines: &Lines<'_>) -> Result<Dyno, ChangeError> {
        let command = if attach { wish.attached_command() } else { wish.detached_command() };
        let mut body = json!({ "command": command, "attach": attach, "force_no_tty": true });
        if let Some(size) = &wish.size {
            body["size"] = json!(size);
        }
        if let Some(seconds) = wish.time_to_live {
            body["time_to_live"] = json!(seconds);
        }
        if !wish.env.is_empty() {
            body["env"] = json!(wish.env);
        }
        let mut pause = Duration::from_secs(1);
        let mut tried = 1;
        let made = loop {
            match self.change(&Method::POST, &self.of_app("/dynos"), Some(&body)) {
                // Refused, so nothing was made: asking again is safe.
                Err(error)
                    if error.certainty == Certainty::NothingChanged
                        && error.fault.why.starts_with("409")
                        && tried < TRIES =>
                {
                    lines(&format!(
                        "{} (nothing was started): trying again in {} s",
                        error.fault,
                        pause.as_secs()
                    ));
                    self.options.clock.sleep(pause);
                    pause *= 2;
                    tried += 1;
                }
                other => break other?,
            }
        };
        let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
        let name = crate::source::escape_controls(&text("name")).into_owned();
        if name.is_empty() {
            // It was made, and which it is must be read back.
            let fault = Fault::new(FaultKind::Broken, "starting a one-off dyno", "the answer names no dyno");
            return Err(ChangeError::in_doubt(fault, 0));
        }
        Ok(Dyno { id: text("id"), name, attach_url: text("attach_url") })
    }

    /// Asks the platform to end a dyno. That it is gone already is as good.
    fn stop(&self, dyno: &Dyno) -> Result<(), ChangeError> {
        let name = segment(&dyno.name).map_err(ChangeError::nothing_changed)?;
        let path = self.of_app(&format!("/dynos/{name}/actions/stop"));
        match self.change(&Method::POST, &path, None) {
            Err(error) if error.fault.kind == FaultKind::Missing => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether it is still listed.
    fn is_listed(&self, dyno: &Dyno) -> Result<bool, Fault> {
        Ok(self.dynos()?.iter().any(|listed| listed.name == dyno.name && listed.id == dyno.id))
    }

    /// Stops a dyno and waits until it is gone; a failed look or request is tried again until the time is up.
    fn stop_and_see(&self, dyno: &Dyno) -> Result<(), Fault> {
        let clock = &self.options.clock;
        let until = clock.now().plus(GOING);
        let mut why = Fault::new(
            FaultKind::Network,
            format!("stopping {}", dyno.name),
            format!("it is still there after {} s", GOING.as_secs()),
        );
        let mut asked = false;
        while clock.now() < until {
            if !asked {
                match self.stop(dyno) {
                    Ok(()) => asked = true,
                    Err(error) => why = error.fault,
                }
            }
            match self.is_listed(dyno) {
                Ok(false) => return Ok(()),
                Ok(true) => {}
                Err(fault) => why = fault,
            }
            clock.sleep(Duration::from_secs(2));
        }
        Err(why.hint(format!("`heroku ps:stop {} --app {}` ends it", dyno.name, self.options.app)))
    }

    /// Ends a dyno that nobody could attach to, and makes sure that its command did not begin: without a client it waits,
    /// and is ended by itself after a minute (R13). What cannot be made sure of is in doubt.
    fn discard(&self, wish: &OneOff, dyno: &Dyno) -> Result<(), ChangeError> {
        self.stop_and_see(dyno).map_err(|fault| ChangeError::in_doubt(fault, 0))?;
        let lines = self.recent_logs(HISTORY, Some(&dyno.name)).map_err(|fault| {
            let what = format!("making sure that `{}` did not begin in {}", wish.command, dyno.name);
            ChangeError::in_doubt(Fault { what, ..fault }, 0)
        })?;
        if Fate::of(&lines, &dyno.name).began {
            let what = format!("running `{}`", wish.command);
            let why = format!("{} could not be attached to, and had begun when it was stopped", dyno.name);
            return Err(ChangeError::in_doubt(Fault::new(FaultKind::Network, what, why), 0));
        }
        Ok(())
    }

    /// Reads an attached dyno's output to its end.
    fn attended(
        &self,
        wish: &OneOff,
        dyno: &Dyno,
        mut attached: Attached,
        until: Moment,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError> {
        let mut output = Output::new(&self.options.redactor, lines);
        let ended = attached.read(&mut output, &*self.options.clock, until);
        let why = match ended {
            Ended::OutOfTime if output.exit.is_none() => return Err(self.out_of_time(wish, dyno)),
            Ended::Closed | Ended::OutOfTime => "the connection ended before its exit code came".to_owned(),
            Ended::Broke(why) => format!("the connection broke before its exit code came: {why}"),
        };
        let exit = output.exit.or_else(|| self.code_of_shell(dyno));
        finished(wish, dyno, true, exit, false, output.last.into(), &why)
    }

    /// The code of an attached dyno's shell, where it tells the command's: a command with an `exit` of its own leaves no
    /// mark. 0 would be that of the mark itself, and a signal's may be that of the lost connection, which ends the dyno:
    /// neither says anything about the command.
    fn code_of_shell(&self, dyno: &Dyno) -> Option<i64> {
        for _ in 0..LOOKS {
            self.options.clock.sleep(Duration::from_secs(2));
            let lines = self.recent_logs(HISTORY, Some(&dyno.name)).unwrap_or_default();
            let fate = Fate::of(&lines, &dyno.name);
            if fate.completed.is_some() || fate.exit.is_some() {
                return fate.code().filter(|code| *code != 0 && !OF_SIGNALS.contains(code));
            }
        }
        None
    }

    /// Its time is up: it is stopped, and that is said.
    fn out_of_time(&self, wish: &OneOff, dyno: &Dyno) -> ChangeError {
        let what = format!("running `{}` in {}", wish.command, dyno.name);
        let (why, hints) = match self.stop_and_see(dyno) {
            Ok(()) => ("it did not end within the step's time, and was stopped".to_owned(), Vec::new()),
            Err(fault) => (
                format!("it did not end within the step's time, and could not be stopped: {fault}"),
                fault.hints,
            ),
        };
        let mut fault = Fault::new(FaultKind::Network, what, why)
            .hint("what it had done by then stays done; a longer `timeout:` on the step gives it more time");
        fault.hints.extend(hints);
        ChangeError { certainty: Certainty::Partial, fault, settle_ms: 0 }
    }

    /// Follows a detached dyno's log to its end.
    fn detached(
        &self,
        wish: &OneOff,
        dyno: &Dyno,
        until: Moment,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError> {
        let clock = &self.options.clock;
        let mut output = Output::new(&self.options.redactor, lines);
        let mut follower = Follower::default();
        let mut look = clock.now().plus(LOOK);
        let mut gone: Option<Moment> = None;
        let over = Arc::new(AtomicBool::new(false));
        let received = self.follow_dyno(&dyno.name, &over);
        let in_time = loop {
            let now = clock.now();
            match received.recv_timeout(Duration::from_millis(500)) {
                Ok(line) => follower.take(&line, &mut output),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => clock.sleep(Duration::from_millis(500)),
            }
            if follower.fate.completed.is_some() {
                break true;
            }
            if now >= until {
                break false;
            }
            match gone {
                Some(gone) if now.since(gone) >= LATE_LINES => break true,
                None if now >= look => {
                    look = now.plus(LOOK);
                    // A list that cannot be read says nothing.
                    if matches!(self.is_listed(dyno), Ok(false)) {
                        gone = Some(now);
                    }
                }
                _ => {}
            }
        };
        over.store(true, Ordering::Relaxed);
        if !in_time {
            return Err(self.out_of_time(wish, dyno));
        }
        if follower.fate.code().is_none()
            && let Ok(lines) = self.recent_logs(HISTORY, Some(&dyno.name))
        {
            // The stream may have missed what the log has kept.
            lines
                .iter()
                .filter(|line| line.process == dyno.name)
                .for_each(|line| follower.take(line, &mut output));
        }
        let (fate, last) = (follower.fate, Vec::from(output.last));
        let crashed = fate.completed == Some(false);
        finished(wish, dyno, false, fate.code(), crashed, last, "the log did not tell its exit code")
    }

    /// The dyno's lines as they come, until it is `over`; a stream that ends is opened again. Its thread may stand in a
    /// silent stream for minutes more: it is left to end by itself.
    fn follow_dyno(&self, name: &str, over: &Arc<AtomicBool>) -> Receiver<LogLine> {
        let (send, received) = sync_channel(256);
        let (me, name, over) = (self.me.clone(), name.to_owned(), Arc::clone(over));
        std::thread::spawn(move || {
            let mut rest = Duration::from_secs(1);
            while !over.load(Ordering::Relaxed) {
                let Some(heroku) = me.upgrade() else { return };
                if let Ok(mut stream) = heroku.open_log(Some(&name), HISTORY) {
                    while let Ok(Some(line)) = stream.next() {
                        if over.load(Ordering::Relaxed) || (line.process == name && send.send(line).is_err())
                        {
                            return;
                        }
                    }
                }
                heroku.options.clock.sleep(rest);
                rest = (rest * 2).min(Duration::from_secs(15));
            }
        });
        received
    }
}

/// Takes in the lines of one dyno, each once, however often a stream is opened again.
#[derive(Default)]
struct Follower {
    fate: Fate,
    seen: HashSet<(String, String)>,
}

impl Follower {
    fn take(&mut self, line: &LogLine, output: &mut Output<'_>) {
        if self.seen.len() < 10_000 && !self.seen.insert((line.at.clone(), line.message.clone())) {
            return;
        }
        self.fate.take(line);
        if line.source == "app" {
            output.line(&line.message);
        }
    }
}

/// What is told of a dyno that is over.
fn finished(
    wish: &OneOff,
    dyno: &Dyno,
    attached: bool,
    exit: Option<i64>,
    crashed: bool,
    output: Vec<String>,
    why: &str,
) -> Result<Effect, ChangeError> {
    if exit.is_none() && !crashed && !wish.unknown_exit_is_fine {
        let what = format!("running `{}` in {}", wish.command, dyno.name);
        let fault = Fault::new(FaultKind::Network, what, format!("its exit code is unknown: {why}"));
        return Err(ChangeError::in_doubt(fault, 0));
    }
    Ok(Effect::OneOff { dyno: dyno.name.clone(), attached, exit, crashed, output })
}
