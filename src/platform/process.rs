//! Children: each in its own process group, so that a terminal's Ctrl-C does not reach it and it is ended whole; its
//! output line by line; always bounded in time and always reaped. Never through a shell.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::change::Effect;
use super::clock::{Clock, SystemClock};
use super::error::{Certainty, ChangeError, Fault, FaultKind};
use super::printed;
use super::secret::Redactor;
use super::writes::{CommandWrites, Lines};
use crate::health::Unit;

/// Lines of output that are kept for a message.
const KEPT: usize = 50;
/// Longest line that is kept, in bytes.
const LINE: u64 = 16 << 10;
/// Most bytes of stdout that are kept whole.
const STDOUT: u64 = 32 << 20;
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long pipes may stay open after the child's end, before and after its group is killed.
const CLOSING: Duration = Duration::from_millis(500);

/// A child to be started.
pub(super) struct Child {
    pub(super) program: OsString,
    pub(super) args: Vec<OsString>,
    pub(super) folder: PathBuf,
    pub(super) set: Vec<(OsString, OsString)>,
    pub(super) unset: Vec<OsString>,
    pub(super) timeout: Duration,
    /// Keep stdout whole (for a machine's answer) instead of passing its lines on.
    pub(super) keep_stdout: bool,
    /// What it holds open as long as it lives, as its stdin (an empty file); `None` = nothing.
    pub(super) holds: Option<std::fs::File>,
}

/// A file that every changing child holds open as long as it lives: its lock tells a later process that one still
/// runs whose parent has died. Set once, when a run begins.
pub type Held = std::sync::Arc<std::sync::OnceLock<std::fs::File>>;

/// A handle for one child.
pub(super) fn handle(held: &Held) -> Option<std::fs::File> {
    held.get().and_then(|file| file.try_clone().ok())
}

/// How a child ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Exit code; `None` when a signal ended it.
    pub(super) code: Option<i32>,
    /// Whole stdout, when it was kept.
    pub(super) stdout: Vec<u8>,
    /// The last lines of its output.
    pub(super) lines: Vec<String>,
    /// It was ended because its time was over.
    pub(super) timed_out: bool,
}

impl Child {
    pub(super) fn new(program: impl Into<OsString>, folder: &Path, timeout: Duration) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            folder: folder.to_owned(),
            set: Vec::new(),
            unset: Vec::new(),
            timeout,
            keep_stdout: false,
            holds: None,
        }
    }

    /// Runs it to its end. Lines of output go to `lines` as they come, cleaned by `redactor`.
    pub(super) fn run(&self, redactor: &Redactor, lines: &Lines<'_>) -> Result<Ended, Fault> {
        let shown = self.program.to_string_lossy().into_owned();
        let failed = |why: String| {
            let fault = Fault::new(FaultKind::Process, format!("running {shown}"), why);
            fault.hint(format!("is `{shown}` installed and on the PATH?"))
        };
        let pipe = || std::io::pipe().map_err(|error| failed(error.to_string()));
        let (out_reader, out_writer) = pipe()?;
        let (err_reader, err_writer) = pipe()?;
        #[expect(clippy::disallowed_methods, reason = "the platform's door for processes")]
        let mut expression = duct::cmd(&self.program, &self.args).dir(&self.folder);
        expression = match self.holds.as_ref().and_then(|file| file.try_clone().ok()) {
            Some(file) => expression.stdin_file(file),
            None => expression.stdin_null(),
        };
        expression =
            expression.stdout_file(out_writer).stderr_file(err_writer).unchecked().before_spawn(|command| {
                command.process_group(0);
                Ok(())
            });
        for name in &self.unset {
            expression = expression.env_remove(name);
        }
        for (name, value) in &self.set {
            expression = expression.env(name, value);
        }
        let handle = expression.start().map_err(|error| failed(error.to_string()))?;
        drop(expression); // it holds the pipes' writing ends, and readers wait for their close
        let group = handle.pids().first().and_then(|pid| i32::try_from(*pid).ok()).and_then(Pid::from_raw);
        let end = move |signal| {
            if let Some(group) = group {
                // Gone already is as good as ended.
                let _ = kill_process_group(group, signal);
            }
        };
        // The threads own what they use: a grandchild that left the group and holds a pipe open holds up one of them,
        // never the run.
        let (sender, said) = channel();
        let (out, err) = (sender.clone(), sender.clone());
        let keep = self.keep_stdout;
        std::thread::spawn(move || {
            if keep {
                let mut whole = Vec::new();
                let _ = out_reader.take(STDOUT).read_to_end(&mut whole);
                let _ = out.send(Said::Whole(whole));
            } else {
                relay(out_reader, &out);
            }
            let _ = out.send(Said::Closed);
        });
        std::thread::spawn(move || {
            relay(err_reader, &err);
            let _ = err.send(Said::Closed);
        });
        let timeout = self.timeout;
        std::thread::spawn(move || {
            let _ = sender.send(match handle.wait_timeout(timeout) {
                Ok(Some(output)) => Said::Exited(Ok((output.status.code(), false))),
                Ok(None) => {
                    end(Signal::TERM);
                    let waited = handle.wait_timeout(GRACE);
                    end(Signal::KILL);
                    Said::Exited(match waited {
                        Ok(Some(output)) => Ok((output.status.code(), true)),
                        _ => handle.wait().map(|output| (output.status.code(), true)),
                    })
                }
                Err(error) => {
                    end(Signal::KILL);
                    Said::Exited(Err(error))
                }
            });
        });
        Ended::listen(&said, redactor, lines, end).map_err(|error| failed(error.to_string()))
    }
}

/// What a child's threads tell.
enum Said {
    /// A line of output, as it came.
    Line(String),
    /// The whole of stdout.
    Whole(Vec<u8>),
    /// One of the two pipes is closed.
    Closed,
    /// It ended: exit code, and whether its time was over.
    Exited(std::io::Result<(Option<i32>, bool)>),
}

impl Ended {
    /// Takes in what the threads tell, until the child has ended and its pipes are closed, or are not closed for long.
    fn listen(
        said: &Receiver<Said>,
        redactor: &Redactor,
        lines: &Lines<'_>,
        end: impl Fn(Signal),
    ) -> std::io::Result<Self> {
        let clock = SystemClock::start();
        let mut ended = Self { code: None, stdout: Vec::new(), lines: Vec::new(), timed_out: false };
        let (mut open, mut exited, mut killed) = (2, None, false);
        loop {
            let next = match exited {
                None => said.recv().ok(),
                Some(_) if open == 0 => None,
                Some(at) => {
                    // Grandchildren that hold the pipes open go with their group; those that left it are not waited for.
                    let left = CLOSING.saturating_sub(clock.now().since(at));
                    match said.recv_timeout(left) {
                        Err(RecvTimeoutError::Timeout) if !killed => {
                            end(Signal::KILL);
                            killed = true;
                            exited = Some(clock.now());
                            continue;
                        }
                        other => other.ok(),
                    }
                }
            };
            match next {
                Some(Said::Line(line)) => {
                    let clean = redactor.clean(&line);
                    lines(&clean);
                    ended.lines.push(clean);
                    if ended.lines.len() > 2 * KEPT {
                        ended.lines.drain(..KEPT);
                    }
                }
                Some(Said::Whole(bytes)) => ended.stdout = bytes,
                Some(Said::Closed) => open -= 1,
                Some(Said::Exited(result)) => {
                    (ended.code, ended.timed_out) = result?;
                    exited = Some(clock.now());
                    end(Signal::TERM);
                }
                None => break,
            }
        }
        let skip = ended.lines.len().saturating_sub(KEPT);
        ended.lines.drain(..skip);
        Ok(ended)
    }
}

/// Passes lines on; a carriage return ends a line, too (progress), and a line too long is cut: before its last word,
/// since half a secret would not be known for one.
fn relay(reader: impl Read, said: &Sender<Said>) {
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if line.len() as u64 == LINE && !line.ends_with(b"\n") {
            let whole = line.iter().rposition(u8::is_ascii_whitespace).unwrap_or(0);
            line.truncate(whole);
            if reader.skip_until(b'\n').is_err() {
                return;
            }
        }
        let text = String::from_utf8_lossy(&line);
        for part in text.split(['\n', '\r']).map(str::trim_end).filter(|part| !part.is_empty()) {
            if said.send(Said::Line(part.to_owned())).is_err() {
                return;
            }
        }
    }
}

/// Local programs of `run` steps.
pub struct Commands {
    folder: PathBuf,
    secret_variables: Vec<OsString>,
    redactor: Redactor,
    held: Held,
}

impl Commands {
    /// Programs run in `folder`; `secret_variables` are taken out of their environment.
    pub fn new(folder: &Path, secret_variables: Vec<OsString>, redactor: Redactor, held: Held) -> Self {
        Self { folder: folder.to_owned(), secret_variables, redactor, held }
    }
}

impl CommandWrites for Commands {
    fn run(
        &self,
        argv: &[String],
        prints: &BTreeMap<String, Unit>,
        timeout: Duration,
        lines: &Lines<'_>,
    ) -> Result<Effect, ChangeError> {
        let Some((program, args)) = argv.split_first() else {
            return Err(ChangeError::nothing_changed(Fault::new(
                FaultKind::Process,
                "running a program",
                "none is named",
            )));
        };
        let mut child = Child::new(program, &self.folder, timeout);
        child.args = args.iter().map(OsString::from).collect();
        child.unset.clone_from(&self.secret_variables);
        child.holds = handle(&self.held);
        child.keep_stdout = !prints.is_empty();
        let ended = child.run(&self.redactor, lines).map_err(ChangeError::nothing_changed)?;
        let partial = |why: String, hint: &str| ChangeError {
            certainty: Certainty::Partial,
            fault: Fault::new(FaultKind::Process, format!("running {program}"), why).hint(hint),
            settle_ms: 0,
        };
        if ended.code == Some(0) && !ended.timed_out {
            if prints.is_empty() {
                return Ok(Effect::Ran { output: ended.lines, printed: BTreeMap::new() });
            }
            let (printed, notes) = printed::read(&ended.stdout, prints, &self.redactor).map_err(|why| {
                let hint = "it ended with exit code 0, so what it does is done; its outputs are what its step declares, as one JSON object on stdout, everything else on stderr";
                partial(why, hint)
            })?;
            let output = ended.lines.into_iter().chain(notes).collect();
            return Ok(Effect::Ran { output, printed });
        }
        let why = match (ended.timed_out, ended.code) {
            (true, _) => {
                format!("it had not ended after {} s and was ended with its whole group", timeout.as_secs())
            }
            (false, Some(code)) => format!("it ended with exit code {code}"),
            (false, None) => "a signal ended it".to_owned(),
        };
        let last = ended.lines.last().map_or(String::new(), |line| format!("; its last line: {line}"));
        Err(partial(format!("{why}{last}"), "what it did before it failed is known to it alone"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn commands() -> (tempfile::TempDir, Commands) {
        let folder = tempfile::tempdir().unwrap();
        let secrets = vec![OsString::from("CARGO_MANIFEST_DIR")];
        let commands = Commands::new(folder.path(), secrets, Redactor::default(), Held::default());
        (folder, commands)
    }

    fn argv(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn output_comes_line_by_line_and_secret_variables_do_not_reach_it() {
        let (_folder, commands) = commands();
        let seen = Mutex::new(Vec::new());
        let lines = |line: &str| seen.lock().unwrap().push(line.to_owned());
        let script = "echo one; printf 'two\\rthree\\n' >&2; echo \"dir=$CARGO_MANIFEST_DIR.\"";
        let effect = commands
            .run(&argv(&["sh", "-c", script]), &BTreeMap::new(), Duration::from_secs(10), &lines)
            .unwrap();
        let Effect::Ran { output, .. } = effect else { panic!("{effect:?}") };
        let mut seen = seen.into_inner().unwrap();
        seen.sort();
        assert_eq!(seen, ["dir=.", "one", "three", "two"]);
        assert_eq!(output.len(), 4);
    }

    #[test]
    fn a_line_too_long_is_cut_before_a_word_that_may_be_half_a_secret() {
        let (sender, said) = channel();
        let head = "x".repeat(usize::try_from(LINE).unwrap() - 5);
        relay(format!("{head} s3cret-token and more\nnext\n").as_bytes(), &sender);
        relay(format!("{}\nlast\n", "y".repeat(40_000)).as_bytes(), &sender);
        drop(sender);
        let said: Vec<String> = said
            .iter()
            .map(|said| match said {
                Said::Line(line) => line,
                _ => String::new(),
            })
            .collect();
        assert_eq!(said, [head.as_str(), "next", "last"]);
    }

    #[test]
    fn what_it_prints_becomes_typed_values_and_only_its_stderr_is_talk() {
        let (_folder, commands) = commands();
        let wanted = BTreeMap::from([("rows".to_owned(), Unit::Count)]);
        let run = |script: &str| {
            let seen = Mutex::new(Vec::new());
            let lines = |line: &str| seen.lock().unwrap().push(line.to_owned());
            let ended = commands.run(&argv(&["sh", "-c", script]), &wanted, Duration::from_secs(10), &lines);
            (ended, seen.into_inner().unwrap())
        };
        let (ended, seen) = run("echo counting >&2; echo '{\"rows\": 3, \"more\": 1}'");
        let Ok(Effect::Ran { output, printed }) = ended else { panic!("{ended:?}") };
        assert_eq!(printed["rows"], crate::health::Value::Count(3.0));
        assert_eq!(
            (seen, output),
            (argv(&["counting"]), argv(&["counting", "not declared, and left out: more"]))
        );
        let failed = run("echo three").0.unwrap_err();
        assert_eq!(failed.certainty, Certainty::Partial, "it ran: it is not run again");
        assert!(failed.fault.why.contains("not one JSON object"), "{failed}");
    }

    #[test]
    fn failures_say_the_code_and_a_missing_program_changed_nothing() {
        let (_folder, commands) = commands();
        let failed = commands
            .run(&argv(&["sh", "-c", "echo why; exit 3"]), &BTreeMap::new(), Duration::from_secs(10), &|_| {})
            .unwrap_err();
        assert_eq!(failed.certainty, Certainty::Partial);
        assert!(failed.fault.why.contains("exit code 3") && failed.fault.why.contains("why"), "{failed}");
        let missing = commands
            .run(&argv(&["no-such-program-here"]), &BTreeMap::new(), Duration::from_secs(10), &|_| {})
            .unwrap_err();
        assert_eq!(missing.certainty, Certainty::NothingChanged);
    }

    #[test]
    fn a_grandchild_that_left_and_holds_the_output_open_is_not_waited_for() {
        let (folder, commands) = commands();
        let script = "setsid sh -c 'echo $$ > left; exec sleep 600' & while ! [ -s left ]; do sleep 0.01; done; echo done";
        let effect = commands
            .run(&argv(&["sh", "-c", script]), &BTreeMap::new(), Duration::from_secs(60), &|_| {})
            .unwrap();
        assert_eq!(effect, Effect::Ran { output: vec!["done".to_owned()], printed: BTreeMap::new() });
        let pid = std::fs::read_to_string(folder.path().join("left")).unwrap().trim().parse().unwrap();
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_its_children() {
        let (folder, commands) = commands();
        let script = "sleep 600 & echo $! > child; wait";
        let ended = commands
            .run(&argv(&["sh", "-c", script]), &BTreeMap::new(), Duration::from_millis(300), &|_| {})
            .unwrap_err();
        assert!(ended.fault.why.contains("whole group"), "{ended}");
        let pid = std::fs::read_to_string(folder.path().join("child")).unwrap();
        // Gone, or a zombie that nobody has collected yet; its files are closed a moment before it is either.
        let clock = SystemClock::start();
        let ended = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            stat.map_or(true, |stat| stat.contains(") Z "))
        };
        while !ended() {
            assert!(clock.now().0 < 5000, "the child is ended");
            clock.sleep(Duration::from_millis(5));
        }
    }
}
