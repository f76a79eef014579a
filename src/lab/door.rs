//! The lab's own door to time and processes. Every process it starts leads a group of its own, so that it is ended
//! with all its children, by the id that was given to it. It must never end a process that it did not start.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the lab's door to time")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Now, monotonic.
#[expect(clippy::disallowed_methods, reason = "the lab's door to time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now by the wall clock, as the Platform API writes it.
pub fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Now with microseconds, as Logplex writes it.
pub fn fine_stamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f+00:00").to_string()
}

/// A command that leads its own process group and reads nothing.
#[expect(clippy::disallowed_methods, reason = "the lab's door to processes")]
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// A command that shares the lab's own group and terminal.
#[expect(clippy::disallowed_methods, reason = "the lab's door to processes")]
pub fn foreground(program: impl AsRef<std::ffi::OsStr>) -> Command {
    Command::new(program)
}

/// Both outputs of a command go to the end of a file.
///
/// # Errors
/// The file cannot be opened.
pub fn log_to(command: &mut Command, file: &Path) -> io::Result<()> {
    let out: File = OpenOptions::new().create(true).append(true).open(file)?;
    command.stderr(out.try_clone()?).stdout(out);
    Ok(())
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
/// It cannot be started, or it fails: with what it said.
pub fn output(command: &mut Command) -> io::Result<String> {
    let done = command.output()?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    Err(io::Error::other(format!(
        "{} failed ({}): {}",
        command.get_program().to_string_lossy(),
        done.status,
        told.trim()
    )))
}

fn group(id: u32) -> Option<Pid> {
    i32::try_from(id).ok().filter(|id| *id > 1).and_then(Pid::from_raw)
}

/// Asks a group to end (SIGTERM). A group that is gone already is no fault.
pub fn terminate(id: u32) {
    if let Some(group) = group(id) {
        let _ = kill_process_group(group, Signal::TERM);
    }
}

/// Ends a group (SIGKILL).
pub fn end(id: u32) {
    if let Some(group) = group(id) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Ends one process (SIGKILL).
pub fn end_one(id: u32) {
    if let Some(process) = group(id) {
        let _ = rustix::process::kill_process(process, Signal::KILL);
    }
}

/// Asks one process, not its group, to end (SIGTERM).
pub fn ask_to_end(child: &Child) {
    if let Some(process) = group(child.id()) {
        let _ = rustix::process::kill_process(process, Signal::TERM);
    }
}

/// Whether anything of the group lives.
pub fn lives(id: u32) -> bool {
    group(id).is_some_and(|group| test_kill_process_group(group).is_ok())
}

/// Ends a child and what it started: asks, waits at most `grace`, then insists. Returns when it is gone.
pub fn stop(child: &mut Child, grace: Duration) {
    let id = child.id();
    terminate(id);
    let until = now() + grace;
    while now() < until {
        if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
            break;
        }
        pause(Duration::from_millis(20));
    }
    end(id);
    let _ = child.wait();
}

/// Waits until `done` says so, at most `within`, looking every 20 ms.
pub fn wait_until(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = now() + within;
    loop {
        if done() {
            return true;
        }
        if now() >= until {
            return false;
        }
        pause(Duration::from_millis(20));
    }
}

/// A port of loopback that is free now, below those that the system gives to connections that go out: visitors and
/// dynos make thousands of these, and one of them would take the port before its program does.
///
/// # Errors
/// None of a hundred tried is free.
pub fn free_port() -> io::Result<u16> {
    (0..100)
        .map(|_| fastrand::u16(10_000..32_000))
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::AddrInUse, "no free port on loopback"))
}

/// A text as one word of a shell.
pub fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What a start says that was told to stop.
pub fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "interrupted; everything that was started has been ended")
}

/// A random id in the shape of a UUID.
pub fn uuid() -> String {
    let bits = fastrand::u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        bits >> 96,
        bits >> 80 & 0xffff,
        bits >> 68 & 0xfff,
        bits >> 52 & 0xfff,
        bits & 0xffff_ffff_ffff
    )
}
