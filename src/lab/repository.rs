//! The wiki's own git repository: what is live when the incident begins, and the fix that waits in the working tree.
//! Real git, no global configuration read or written.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::door;

const SETTINGS_HEAD: &str = include_str!("repository/LocalSettings.head.php");
const BEFORE: &str = include_str!("repository/LocalSettings.before.php");
const FIXED: &str = include_str!("repository/LocalSettings.fixed.php");
const APACHE_BEFORE: &str = "# Read at server level (`-c` in the Procfile).\nMaxRequestWorkers 8\nMaxConnectionsPerChild 100\nDocumentRoot /app\n";
const APACHE_FIXED: &str = "# Read at server level (`-c` in the Procfile).\nMaxRequestWorkers 5\nMaxConnectionsPerChild 50\nMinSpareServers 1\nMaxSpareServers 2\nDocumentRoot /app\n";
const PROCFILE: &str = "web: heroku-php-apache2 -c apache_app.conf\n";
const PROCFILE_CRASHING: &str = "web: heroku-php-apache2 -C apache_app.conf\n";

/// What the guide says to add, as a shell would have expanded it.
pub const GUIDE_FILES: [&str; 8] = [
    "LocalSettings.php",
    "apache_app.conf",
    "Procfile",
    "check_db_connections.php",
    "connection_helpers.php",
    "diagnose_connections.php",
    "kill_idle_connections.php",
    "FIX_CONNECTION_ISSUES.md",
];

/// The guide's scripts; the lab's `php` does what they say.
const SCRIPTS: [(&str, &str); 4] = [
    ("check_db_connections.php", include_str!("repository/check_db_connections.php")),
    ("connection_helpers.php", include_str!("repository/connection_helpers.php")),
    ("diagnose_connections.php", include_str!("repository/diagnose_connections.php")),
    ("kill_idle_connections.php", include_str!("repository/kill_idle_connections.php")),
];

/// What waits in the working tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    /// The guide's change, not committed yet.
    Prepared,
    /// Nothing: the files are as they are live, before the fix.
    Unprepared,
    /// A change of the same files that cures nothing.
    Absent,
    /// The guide's change with server-level directives inside the vhost: every dyno crashes.
    Crashing,
    /// The fix is live already.
    Deployed,
}

/// The working tree of the wiki.
#[derive(Debug, Clone)]
pub struct Repository {
    dir: PathBuf,
}

/// `git` in `dir`, deaf to the person's own configuration.
pub fn git(dir: &Path) -> Command {
    let mut git = door::command("git");
    git.arg("-C").arg(dir);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        git.env_remove(name);
    }
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    git
}

impl Repository {
    /// Makes the working tree with a short history; `fix` says what waits in it.
    ///
    /// # Errors
    /// Git is not installed, or the folder cannot be written.
    pub fn make(dir: &Path, fix: Fix) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let made = Self { dir: dir.to_owned() };
        made.git(&["init", "-q", "-b", "master"])?;
        made.git(&["config", "user.name", "Wiki Operator"])?;
        made.git(&["config", "user.email", "operator@wizzypedia.invalid"])?;
        made.git(&["config", "commit.gpgsign", "false"])?;
        made.write("composer.json", "{ \"require\": { \"php\": \"~8.2\" } }\n")?;
        made.write("index.php", "<?php\nrequire __DIR__ . '/LocalSettings.php';\n")?;
        made.write("Procfile", PROCFILE)?;
        made.write("apache_app.conf", APACHE_BEFORE)?;
        made.write("LocalSettings.php", &format!("{SETTINGS_HEAD}{BEFORE}"))?;
        made.commit("The wiki")?;
        made.write("README.md", "The wiki of wizzypedia.\n")?;
        made.commit("Say what this is")?;
        match fix {
            Fix::Unprepared => {}
            Fix::Prepared => made.prepare(PROCFILE)?,
            Fix::Crashing => made.prepare(PROCFILE_CRASHING)?,
            Fix::Absent => {
                made.write(
                    "LocalSettings.php",
                    &format!("{SETTINGS_HEAD}{BEFORE}\n$wgLogo = 'wizzy.png';\n"),
                )?;
            }
            Fix::Deployed => {
                made.prepare(PROCFILE)?;
                made.commit("Fix database connection exhaustion")?;
            }
        }
        Ok(made)
    }

    fn prepare(&self, procfile: &str) -> io::Result<()> {
        self.write("LocalSettings.php", &format!("{SETTINGS_HEAD}{FIXED}"))?;
        self.write("apache_app.conf", APACHE_FIXED)?;
        self.write("Procfile", procfile)?;
        for (name, text) in SCRIPTS {
            self.write(name, text)?;
        }
        self.write("FIX_CONNECTION_ISSUES.md", "# Connection issues\n\nSee the deployment guide.\n")
    }

    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        std::fs::write(self.dir.join(name), text)
    }

    fn git(&self, arguments: &[&str]) -> io::Result<String> {
        door::output(git(&self.dir).args(arguments))
    }

    fn commit(&self, message: &str) -> io::Result<()> {
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "-m", message])?;
        Ok(())
    }

    /// Every commit, oldest first.
    ///
    /// # Errors
    /// Git fails.
    pub fn history(&self) -> io::Result<Vec<String>> {
        Ok(self.git(&["rev-list", "--reverse", "HEAD"])?.lines().map(str::to_owned).collect())
    }

    /// Adds the remote `heroku`; no token is in its URL.
    ///
    /// # Errors
    /// Git fails.
    pub fn add_remote(&self, url: &str) -> io::Result<()> {
        self.git(&["remote", "add", "heroku", url]).map(drop)
    }

    /// A bare repository that has HEAD as `master`, as Heroku's git had after the last deploy.
    ///
    /// # Errors
    /// Git fails.
    pub fn publish(&self, bare: &Path) -> io::Result<()> {
        std::fs::create_dir_all(bare)?;
        door::output(git(bare).args(["init", "-q", "--bare", "-b", "master"]))?;
        door::output(git(bare).args(["config", "http.receivepack", "true"]))?;
        door::output(git(bare).args(["config", "receive.shallowUpdate", "false"]))?;
        let url = bare.display().to_string();
        self.git(&["push", "-q", &url, "HEAD:refs/heads/master"]).map(drop)
    }
}

/// Unpacks a commit of the repository in `from` into `into`, as a build does. `git` runs with the environment that
/// the hook has: before a push is accepted its objects are in quarantine, and only that environment shows them.
///
/// # Errors
/// Git or tar fail.
pub fn unpack(from: &Path, commit: &str, into: &Path) -> io::Result<()> {
    std::fs::create_dir_all(into)?;
    let archive = into.with_extension("tar");
    door::output(
        door::command("git")
            .arg("-C")
            .arg(from)
            .args(["archive", "--format=tar", "-o"])
            .arg(&archive)
            .arg(commit),
    )?;
    door::output(door::command("tar").arg("-xf").arg(&archive).arg("-C").arg(into))?;
    std::fs::remove_file(&archive)
}
