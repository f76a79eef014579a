//! Secrets that are kept elsewhere than in the environment: in a file, or with a program that prints them (a password
//! manager). Whatever goes wrong is told by the variable's name; neither the secret nor a variable's value that may
//! itself be one is ever shown.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use super::error::{Fault, FaultKind};
use super::process::Child;
use super::secret::{Redactor, Secret};
use crate::source::escape_controls;

/// Gives the secret that a variable of the environment holds, or that its `_FILE` or `_COMMAND` names.
pub type Variables = Arc<dyn Fn(&str) -> Result<Secret, Fault> + Send + Sync>;

/// Longest secret, in bytes.
const LONGEST: u64 = 16 << 10;
/// How long a file may take: a pipe that nobody writes to, a network drive that is gone.
const READING: Duration = Duration::from_secs(10);
/// How long a program may take: time enough for a fingerprint.
const ASKING: Duration = Duration::from_secs(30);
/// Lines of a program's stderr that are shown.
const SHOWN: usize = 10;
/// What only a shell would understand.
const OF_SHELLS: [char; 12] = ['|', '&', ';', '<', '>', '(', ')', '$', '`', '"', '\'', '\\'];

/// The secret in the file that `variable` names, without white space around it; `notice` hears of a file that others
/// may read.
///
/// # Errors
/// No such file, not readable, empty, too long, no line of text.
pub fn from_file(variable: &str, path: &Path, notice: &dyn Fn(&str)) -> Result<Secret, Fault> {
    let shown = shown(path);
    let failed = |why: String| fault(variable, &why);
    let (sender, answer) = channel();
    let wanted = path.to_owned();
    // Its own thread: it may be a pipe, and opening one waits for a writer.
    std::thread::spawn(move || {
        let _ = sender.send(read(&wanted));
    });
    let (bytes, mode) = match answer.recv_timeout(READING) {
        Ok(Ok(read)) => read,
        Ok(Err(error)) => return Err(failed(format!("{shown} cannot be read: {error}"))),
        Err(_) => return Err(failed(format!("{shown} gave nothing for {} s", READING.as_secs()))),
    };
    if let Some(mode) = mode.filter(|mode| mode & 0o044 != 0) {
        notice(&format!(
            "warning: {variable}: others may read {shown} ({mode:04o}); `chmod 600` makes it yours alone"
        ));
    }
    one_line(&bytes).map_err(|why| failed(format!("{shown} {why}")))
}

fn read(path: &Path) -> std::io::Result<(Vec<u8>, Option<u32>)> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    let mode = about.is_file().then(|| about.permissions().mode() & 0o777);
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok((bytes, mode))
}

/// A path for a message; what has no `/` in it may be a token that was put where a path belongs.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains('/') && !text.contains("://") {
        Redactor::default().clean(&text)
    } else {
        "the file (its name is not shown: it may be the secret itself)".to_owned()
    }
}

/// The secret that the program of `variable` prints, without white space around it. `line` is its words, separated by
/// blanks and taken as they stand, or a JSON list of them; no shell reads it. It runs without the `unset` variables, in
/// a process group of its own, for half a minute at most; `notice` hears what it said on stderr, once its secret is known
/// and can be taken out, with those that `redactor` knows already.
///
/// # Errors
/// Words that need a shell; a program that does not start, fails, does not end, or prints no line of text.
pub fn from_command(
    variable: &str,
    line: &str,
    unset: Vec<OsString>,
    redactor: &Redactor,
    notice: &dyn Fn(&str),
) -> Result<Secret, Fault> {
    ask(variable, line, unset, redactor, ASKING, notice)
}

fn ask(
    variable: &str,
    line: &str,
    unset: Vec<OsString>,
    redactor: &Redactor,
    timeout: Duration,
    notice: &dyn Fn(&str),
) -> Result<Secret, Fault> {
    let failed = |why: &str| fault(variable, why);
    let words = words(line).map_err(|why| {
        failed(&why).hint(format!(
            r#"no shell reads it: words are separated by blanks, or given as JSON: {variable}='["pass", "show", "my key"]'"#
        ))
    })?;
    let Some((program, args)) = words.split_first() else { return Err(failed("it names no program")) };
    let mut child = Child::new(program, &PathBuf::from("."), timeout);
    child.args = args.iter().map(OsString::from).collect();
    child.unset = unset;
    child.keep_stdout = true;
    // The name of the program may be a token that was put where a command belongs.
    let ended = child.run(redactor, &|_| {}).map_err(|fault| {
        failed(&format!("its program could not be run: {}", fault.why.replace(program.as_str(), "…")))
            .hint("its first word is a program on the PATH, or the path of one")
    })?;
    for word in String::from_utf8_lossy(&ended.stdout).split_whitespace() {
        redactor.learn_url(&Secret::from(word));
    }
    let said: Vec<String> = ended.lines.iter().map(|line| redactor.clean(line)).collect();
    let said = &said[said.len().saturating_sub(SHOWN)..];
    let why = match (ended.timed_out, ended.code) {
        (true, _) => Some(format!("its program had not ended after {} s and was ended", timeout.as_secs())),
        (false, Some(0)) => None,
        (false, Some(code)) => Some(format!("its program ended with exit code {code}")),
        (false, None) => Some("a signal ended its program".to_owned()),
    };
    if let Some(why) = why {
        let said = if said.is_empty() { String::new() } else { format!("; it said: {}", said.join("; ")) };
        return Err(failed(&format!("{why}{said}"))
            .hint("it has no terminal to ask at: unlock the password manager first, then try again"));
    }
    for line in said {
        notice(&format!("{variable}: {line}"));
    }
    one_line(&ended.stdout).map_err(|why| failed(&format!("what its program prints {why}")))
}

/// The words of a command, or why a shell would be needed.
fn words(line: &str) -> Result<Vec<String>, String> {
    let line = line.trim();
    let words: Vec<String> = if line.starts_with('[') {
        serde_json::from_str(line)
            .map_err(|_| "it begins with `[` and is no JSON list of texts".to_owned())?
    } else {
        if let Some(c) = line.chars().find(|c| OF_SHELLS.contains(c)) {
            return Err(format!("it holds `{c}`, which only a shell would understand"));
        }
        if line.split_whitespace().any(|word| word.starts_with('~')) {
            return Err(
                "it holds a word that begins with `~`, which only a shell would understand".to_owned()
            );
        }
        line.split_whitespace().map(str::to_owned).collect()
    };
    match words.first() {
        Some(program) if !program.is_empty() && !words.iter().any(|word| word.contains('\0')) => Ok(words),
        _ => Err("it names no program".to_owned()),
    }
}

/// One line of text without the white space around it, or what it is instead.
fn one_line(bytes: &[u8]) -> Result<Secret, String> {
    if bytes.len() as u64 > LONGEST {
        return Err(format!("is longer than {} kB, and no secret", LONGEST >> 10));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Err("is no text".to_owned()) };
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    match text.lines().count() {
        1 if escape_controls(text) != text => Err("holds control characters".to_owned()),
        1 => Ok(Secret::from(text)),
        many => Err(format!("has {many} lines, and one is wanted: the secret and nothing else")),
    }
}

fn fault(variable: &str, why: &str) -> Fault {
    Fault::new(FaultKind::Credentials, format!("reading the secret that {variable} names"), why)
        .hint(format!("mend {variable}, or unset it"))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn file(content: &[u8], mode: u32) -> (Result<String, String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = Mutex::new(String::new());
        let notice = |text: &str| said.lock().unwrap().push_str(text);
        let found = from_file("KEY_FILE", &path, &notice)
            .map(|secret| secret.expose_secret().to_owned())
            .map_err(|fault| fault.to_string());
        (found, said.into_inner().unwrap())
    }

    fn command(line: &str) -> (Result<String, String>, String) {
        let said = Mutex::new(String::new());
        let notice = |text: &str| said.lock().unwrap().push_str(&format!("{text}\n"));
        let redactor = Redactor::default();
        let found = ask("KEY_COMMAND", line, Vec::new(), &redactor, Duration::from_millis(500), &notice)
            .map(|secret| secret.expose_secret().to_owned())
            .map_err(|fault| fault.to_string());
        (found, said.into_inner().unwrap())
    }

    #[test]
    fn a_file_holds_one_line_and_is_its_owners() {
        assert_eq!(file(b"s3cret\n", 0o600), (Ok("s3cret".to_owned()), String::new()));
        assert_eq!(file(b" s3cret\r\n\n", 0o400).0, Ok("s3cret".to_owned()));
        let (found, said) = file(b"s3cret", 0o640);
        assert!(found.is_ok() && said.contains("warning: KEY_FILE") && said.contains("(0640)"), "{said}");
        for (content, why) in [
            (&b""[..], "is empty"),
            (b" \n", "is empty"),
            (b"s3cret\nmore", "has 2 lines"),
            (b"s3cret\xff", "no text"),
            (b"s3\x1bcret", "control characters"),
            (&vec![b's'; 20_000], "longer than 16 kB"),
        ] {
            let why_not = file(content, 0o600).0.unwrap_err();
            assert!(why_not.contains("KEY_FILE") && why_not.contains(why), "{why_not}");
            assert!(!why_not.contains("s3"), "{why_not}");
        }
    }

    #[test]
    fn what_may_be_the_secret_itself_is_not_quoted() {
        for value in ["HRKU-s3cret", "s3cret", "mysql://u:s3cret@h/d", "/tmp/HRKU-s3cret"] {
            let why = from_file("KEY_FILE", Path::new(value), &|_| {}).unwrap_err().to_string();
            assert!(why.contains("KEY_FILE") && !why.contains("s3cret"), "{why}");
            let why = command(value).0.unwrap_err();
            assert!(why.contains("KEY_COMMAND") && !why.contains("s3cret"), "{why}");
        }
        let folder = from_file("KEY_FILE", Path::new("/tmp"), &|_| {}).unwrap_err();
        assert!(folder.to_string().contains("/tmp cannot be read"), "{folder}");
    }

    #[test]
    fn a_program_prints_it_and_its_words_are_told_without_it() {
        assert_eq!(command("printf s3cret"), (Ok("s3cret".to_owned()), String::new()));
        let (found, said) =
            command(r#"["sh", "-c", "echo '+ give s3cret' >&2; printf '\\033[2J' >&2; echo s3cret"]"#);
        assert_eq!(found, Ok("s3cret".to_owned()));
        assert_eq!(said, "KEY_COMMAND: + give [redacted]\nKEY_COMMAND: \\x1b[2J\n");
        let (_, said) = command(r#"["sh", "-c", "echo it is p@ss w >&2; echo mysql://u:p%40ss%20w@h/d"]"#);
        assert_eq!(said, "KEY_COMMAND: it is [redacted]\n", "a URL's password, too");
    }

    #[test]
    fn a_program_that_fails_is_said_by_its_variable() {
        for (line, why) in [
            ("false", "exit code 1"),
            ("true", "is empty"),
            ("sleep 60", "had not ended"),
            (r#"["sh", "-c", "kill -9 $$"]"#, "a signal"),
            (r#"["sh", "-c", "echo s3cret; echo s3cret is locked >&2; exit 3"]"#, "[redacted] is locked"),
            (r#"["sh", "-c", "echo s3cret; echo s3cret"]"#, "2 lines"),
            ("echo 's3cret'", "only a shell"),
            ("echo $S3CRET", "only a shell"),
            ("cat ~/s3cret", "`~`"),
            ("[\"echo\", 3]", "no JSON list"),
            ("[]", "names no program"),
            ("  ", "names no program"),
        ] {
            let why_not = command(line).0.unwrap_err();
            assert!(why_not.contains("KEY_COMMAND") && why_not.contains(why), "{line}: {why_not}");
            assert!(!why_not.contains("s3cret"), "{line}: {why_not}");
        }
    }

    proptest! {
        #[test]
        fn words_stay_as_they_were_written(list in prop::collection::vec("[a-z=/:@.-]{1,8}", 1..5)) {
            prop_assert_eq!(words(&list.join("  ")), Ok(list.clone()));
            prop_assert_eq!(words(&serde_json::to_string(&list).unwrap()), Ok(list));
        }

        #[test]
        fn no_line_breaks_the_reader_of_words(line in "\\PC{0,60}") {
            let _ = words(&line);
        }
    }
}
