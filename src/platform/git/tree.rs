//! The tree: how git is called.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::platform::error::{Fault, FaultKind};
use crate::platform::process::{Child, Ended};
use crate::platform::secret::{Redactor, Secret};
use crate::platform::writes::Lines;

/// Bound of a local question.
pub(super) const LOCAL: Duration = Duration::from_secs(30);
/// Bound of a question to the remote.
pub(super) const REMOTE: Duration = Duration::from_secs(30);

/// How the tree is set up.
pub struct TreeOptions {
    /// A folder inside the working tree.
    pub folder: PathBuf,
    /// `<base>/<app>.git`, without credentials.
    pub remote_url: String,
    /// The token; the user is `heroku`.
    pub token: Secret,
    /// Variables that do not belong into git's environment.
    pub secret_variables: Vec<OsString>,
    /// Takes secrets out of texts.
    pub redactor: Redactor,
}

/// A working tree.
pub struct Tree {
    pub(super) options: TreeOptions,
}

/// The helper answers from one variable of git's own environment; the user name must not be empty, or git drops the
/// password too.
const HELPER: &str = r#"!f() { if [ "$1" = get ]; then printf 'username=heroku\npassword=%s\n' "$RUNBOOK_GIT_PASSWORD"; fi; }; f"#;

impl Tree {
    /// A tree; nothing is asked yet.
    pub fn new(options: TreeOptions) -> Self {
        Self { options }
    }

    /// A call of git in the tree.
    pub(super) fn git<I, S>(&self, args: I, timeout: Duration) -> Child
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        call(&self.options.folder, args, timeout, &self.options.secret_variables)
    }

    /// A call that may speak to the remote: it gets the credentials and nobody's helpers.
    pub(super) fn remote<I, S>(&self, args: I, timeout: Duration) -> Child
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let mut child = self.git(args, timeout);
        let config = [
            ("credential.helper", ""), // an empty one forgets those before: nothing is stored
            ("credential.helper", HELPER),
            ("credential.useHttpPath", "false"),
            ("http.followRedirects", "false"),
        ];
        child.set.push(("GIT_CONFIG_COUNT".into(), config.len().to_string().into()));
        for (index, (key, value)) in config.into_iter().enumerate() {
            child.set.push((format!("GIT_CONFIG_KEY_{index}").into(), key.into()));
            child.set.push((format!("GIT_CONFIG_VALUE_{index}").into(), value.into()));
        }
        let token = self.options.token.expose_secret();
        child.set.push(("RUNBOOK_GIT_PASSWORD".into(), token.into()));
        if crate::platform::heroku::is_loopback(&self.options.remote_url) {
            child.set.push(("no_proxy".into(), "127.0.0.1,localhost,::1".into()));
        }
        child
    }

    /// Runs a call; an exit code other than 0 is a fault.
    pub(super) fn ask(&self, child: Child, what: &str) -> Result<Vec<u8>, Fault> {
        let ended = self.run(child, &|_| {})?;
        if ended.code == Some(0) && !ended.timed_out {
            return Ok(ended.stdout);
        }
        Err(Self::failed(what, &ended))
    }

    pub(super) fn run(&self, mut child: Child, lines: &Lines<'_>) -> Result<Ended, Fault> {
        child.keep_stdout = true;
        child
            .run(&self.options.redactor, lines)
            .map_err(|fault| fault.hint("on Debian and Ubuntu: `apt-get install git`"))
    }

    pub(super) fn failed(what: &str, ended: &Ended) -> Fault {
        let told = ended.lines.join("; ");
        let (kind, hint) = match () {
            () if ended.timed_out => (FaultKind::Network, "git did not end in time"),
            () if told.contains("not a git repository") => {
                (FaultKind::Missing, "run this in the wiki's working tree, or name it with -C")
            }
            () if told.contains("dubious ownership") => (
                FaultKind::Forbidden,
                "git refuses a repository of another user: see `git help config`, safe.directory",
            ),
            () if told.contains("Authentication failed") || told.contains("could not read Username") => (
                FaultKind::Credentials,
                "Heroku's git refused the token: `heroku auth:token` shows a fresh one",
            ),
            () if told.contains("unable to access") || told.contains("Could not resolve host") => {
                (FaultKind::Network, "check the network and the proxy variables")
            }
            () => (FaultKind::Process, "run the same git command by hand to see more"),
        };
        let why = if told.is_empty() { format!("git ended with {:?}", ended.code) } else { told };
        Fault::new(kind, what, why).hint(hint)
    }

    /// One line of text.
    pub(super) fn line(&self, args: &[&str], what: &str) -> Result<String, Fault> {
        let bytes = self.ask(self.git(args, LOCAL), what)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Texts separated by NUL.
    pub(super) fn texts(&self, child: Child, what: &str) -> Result<Vec<String>, Fault> {
        let bytes = self.ask(child, what)?;
        Ok(split_nul(&bytes))
    }
}

pub(super) fn split_nul(bytes: &[u8]) -> Vec<String> {
    bytes
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect()
}

fn call<I, S>(folder: &Path, args: I, timeout: Duration, secrets: &[OsString]) -> Child
where
    I: IntoIterator<Item = S>,
    S: Into<OsString>,
{
    let mut child = Child::new("git", folder, timeout);
    let fixed =
        ["-c", "core.quotePath=false", "-c", "core.fsmonitor=false", "-c", "advice.detachedHead=false"];
    child.args = fixed.into_iter().map(OsString::from).chain(args.into_iter().map(Into::into)).collect();
    for (name, value) in [
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_PAGER", "cat"),
        ("GIT_EDITOR", "true"),
        ("LC_ALL", "C"),
    ] {
        child.set.push((name.into(), value.into()));
    }
    child.unset = secrets.to_vec();
    // Variables of an outer git (a hook, an alias) would point us at another repository.
    for name in
        ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ASKPASS", "SSH_ASKPASS"]
    {
        child.unset.push(name.into());
    }
    child
}

/// The remotes of the repository at `folder`, as pairs of name and URL; none where there is no repository.
pub fn remotes(folder: &Path) -> Vec<(String, String)> {
    let mut child = call(folder, ["config", "--null", "--get-regexp", r"^remote\..*\.url$"], LOCAL, &[]);
    child.keep_stdout = true;
    let Ok(ended) = child.run(&Redactor::default(), &|_| {}) else { return Vec::new() };
    split_nul(&ended.stdout)
        .iter()
        .filter_map(|entry| entry.split_once('\n'))
        .filter_map(|(key, url)| {
            let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
            Some((name.to_owned(), url.to_owned()))
        })
        .collect()
}
