//! The tree: how git is called.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;

use crate::platform::error::{Fault, FaultKind};
use crate::platform::process::{Child, Ended, Held, handle};
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
    /// What children that change something hold open.
    pub held: Held,
}

/// A working tree.
pub struct Tree {
    pub(super) options: TreeOptions,
}

/// The helper answers from one variable of git's own environment; the user name must not be empty, or git drops the
/// password too.
const HELPER: &str = r#"!f() { if [ "$1" = get ]; then printf 'username=heroku\npassword=%s\n' "$RUNBOOK_GIT_PASSWORD"; fi; }; f"#;

/// What a person's own configuration must not change about our calls: output for eyes, background work, settings
/// that push or commit more than was announced, files beside a scratch index.
const CONFIG: [&str; 20] = [
    "core.quotePath=false",
    "core.fsmonitor=false",
    "core.splitIndex=false",
    "color.ui=false",
    "color.diff=false",
    "color.status=false",
    "color.push=false",
    "color.remote=false",
    "color.transport=false",
    "diff.relative=false",
    "log.showSignature=false",
    "i18n.commitEncoding=UTF-8",
    "i18n.logOutputEncoding=UTF-8",
    "submodule.recurse=false",
    "push.pushOption=",
    "revert.reference=false",
    "rerere.enabled=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
];

/// Variables of an outer git (a hook, an alias) would point us at another repository or change what paths mean; traces
/// would put headers with the token on a terminal or into a file.
const UNSET: [&str; 35] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_QUARANTINE_PATH",
    "GIT_SHALLOW_FILE",
    "GIT_GRAFT_FILE",
    "GIT_REPLACE_REF_BASE",
    "GIT_LITERAL_PATHSPECS",
    "GIT_GLOB_PATHSPECS",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_ICASE_PATHSPECS",
    "GIT_EXTERNAL_DIFF",
    "GIT_DIFF_OPTS",
    "GIT_DEFAULT_HASH",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_TRACE_CURL_NO_DATA",
    "GIT_TRACE_FSMONITOR",
    "GIT_TRACE_PACKET",
    "GIT_TRACE_PACKFILE",
    "GIT_TRACE_PACK_ACCESS",
    "GIT_TRACE_PERFORMANCE",
    "GIT_TRACE_REDACT",
    "GIT_TRACE_REFS",
    "GIT_TRACE_SETUP",
    "GIT_TRACE_SHALLOW",
    "GIT_TRACE2_ENV_VARS",
    "GIT_TRACE2_CONFIG_PARAMS",
    "GIT_CURL_VERBOSE",
    "SSH_ASKPASS",
];

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
        call(&self.options.folder, &[], args, timeout, &self.options.secret_variables)
    }

    /// A call that may speak to the remote: it gets the credentials and nobody's helpers.
    pub(super) fn remote<I, S>(&self, args: I, timeout: Duration) -> Child
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let url = &self.options.remote_url;
        let config = [
            "credential.helper=".to_owned(), // an empty one forgets those before: nothing is stored
            // For this host alone: whatever else git might be led to speak to learns nothing.
            format!("credential.{}.helper={HELPER}", origin(url)),
            "credential.useHttpPath=false".to_owned(),
            "http.followRedirects=false".to_owned(),
            // No hook of the person's inherits the token.
            "core.hooksPath=/dev/null".to_owned(),
            // The longest match wins: nobody's `insteadOf` sends the push, or the token, elsewhere.
            format!("url.{url}.insteadOf={url}"),
            format!("url.{url}.pushInsteadOf={url}"),
        ];
        let mut child = call(&self.options.folder, &config, args, timeout, &self.options.secret_variables);
        let token = self.options.token.expose_secret();
        child.set.push(("RUNBOOK_GIT_PASSWORD".into(), token.into()));
        if crate::platform::heroku::is_loopback(url) {
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
        child.holds = handle(&self.options.held);
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
            () if told.contains("Authentication failed")
                || told.contains("could not read Username")
                || told.contains("could not read Password")
                || told.contains("returned error: 401") =>
            {
                (
                    FaultKind::Credentials,
                    "Heroku's git refused the token: `heroku auth:token` shows a fresh one",
                )
            }
            () if told.contains("error: 403") => {
                (FaultKind::Forbidden, "the token's account may not push to this app")
            }
            () if told.contains("error: 429") || told.contains("API rate limit") => {
                (FaultKind::Limited, "Heroku's rate limit is used up: wait some minutes")
            }
            () if told.contains("error: 404")
                || (told.contains("repository '") && told.contains("not found")) =>
            {
                (FaultKind::Missing, "Heroku's git knows no such app, or does not show it to this account")
            }
            () if told.contains("SSL certificate") || told.contains("certificate verif") => {
                (FaultKind::Tls, "a proxy that replaces certificates? GIT_SSL_CAINFO names its CA")
            }
            () if told.contains("unable to access") || told.contains("Could not resolve host") => {
                (FaultKind::Network, "check the network, the proxy variables, and https://status.heroku.com")
            }
            () if told.contains("RPC failed") || told.contains("hung up unexpectedly") => (
                FaultKind::Network,
                "the connection to git broke: check the network, the proxy variables, and https://status.heroku.com",
            ),
            () => (FaultKind::Process, "run the same git command by hand to see more"),
        };
        // What a build says has been shown line by line.
        let own: Vec<&str> =
            ended.lines.iter().map(String::as_str).filter(|line| !line.starts_with("remote:")).collect();
        let told = if own.is_empty() { told } else { own.join("; ") };
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

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |end| &url[..start + end])
}

fn call<I, S>(folder: &Path, config: &[String], args: I, timeout: Duration, secrets: &[OsString]) -> Child
where
    I: IntoIterator<Item = S>,
    S: Into<OsString>,
{
    let mut child = Child::new("git", folder, timeout);
    let config = CONFIG.into_iter().chain(config.iter().map(String::as_str));
    child.args = config
        .flat_map(|pair| [OsString::from("-c"), OsString::from(pair)])
        .chain(args.into_iter().map(Into::into))
        .collect();
    for (name, value) in [
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", ""), // empty, not unset: so `core.askPass` opens no window either
        ("GIT_PAGER", "cat"),
        ("GIT_EDITOR", "true"),
        ("LC_ALL", "C"),
        // Set, not unset: a `trace2.*Target` of the person's configuration is off, too.
        ("GIT_TRACE2", "0"),
        ("GIT_TRACE2_EVENT", "0"),
        ("GIT_TRACE2_PERF", "0"),
    ] {
        child.set.push((name.into(), value.into()));
    }
    child.unset = secrets.to_vec();
    child.unset.extend(UNSET.into_iter().map(OsString::from));
    child
}

/// The remotes of the repository at `folder`, as pairs of name and URL; none where there is no repository. Git does not
/// get `secret_variables`.
pub fn remotes(folder: &Path, secret_variables: &[OsString]) -> Vec<(String, String)> {
    let args = ["config", "--null", "--get-regexp", r"^remote\..*\.url$"];
    let mut child = call(folder, &[], args, LOCAL, secret_variables);
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

/// The remote that `git config heroku.remote` names, as Heroku's own CLI reads it.
pub fn default_remote(folder: &Path, secret_variables: &[OsString]) -> Option<String> {
    let args = ["config", "--null", "--get", "heroku.remote"];
    let mut child = call(folder, &[], args, LOCAL, secret_variables);
    child.keep_stdout = true;
    let ended = child.run(&Redactor::default(), &|_| {}).ok()?;
    split_nul(&ended.stdout).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_for_one_host() {
        assert_eq!(origin("https://git.heroku.com/wiki.git"), "https://git.heroku.com");
        assert_eq!(origin("http://127.0.0.1:7000/wiki.git"), "http://127.0.0.1:7000");
        assert_eq!(origin("https://git.heroku.com"), "https://git.heroku.com");
    }
}
