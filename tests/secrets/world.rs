//! A rehearsal with marked secrets wherever secrets may be, and everything that was said in it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mysql::prelude::Queryable;
use serde_json::json;

use super::marks::{self, Marks};
use super::support::{Lab, Ran, until};

pub const PASSWORD: &str = "m4rk p@ss/w%rd\"q+1";
pub const KEY: &str = "m4rked-session-key/0123456789";
pub const WRONG_TOKEN: &str = "HRKU-m4rked-wrong-token-0123456789";
pub const WRONG_PASSWORD: &str = "m4rked wrong p@ss";

/// The incident's world, with secrets wherever they may be.
pub struct World {
    pub lab: Lab,
    /// What is looked for.
    pub marks: Marks,
    /// Every form of what a run knows to be secret: others can be made to say it.
    pub known: Vec<String>,
    pub url: String,
    pub place: PathBuf,
    /// Variables of every run.
    pub here: Vec<(String, String)>,
    /// Whatever was said so far, and by what.
    pub said: Vec<(String, String)>,
}

pub fn url(port: u16, password: &str) -> String {
    format!("mysql://wiki:{}@127.0.0.1:{port}/wiki", marks::percent(password))
}

impl World {
    pub fn begin() -> Self {
        let lab = Lab::up(&["--scenario=quiet", "--time-scale=20"]);
        let place = lab.wiki.parent().expect("a parent").join("secrets");
        std::fs::create_dir(&place).expect("a folder");
        let old = lab.status["database_url"].as_str().expect("a URL");
        let port =
            old.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok()).expect("a port");
        assert!(old.ends_with("/wiki"), "{old}");
        let url = url(port, PASSWORD);
        let token = lab.environment["HEROKU_API_KEY"].clone();
        let marks = Marks::of(&[&token, PASSWORD, KEY, WRONG_TOKEN, WRONG_PASSWORD]);
        let known = Marks::of(&[&token, PASSWORD, KEY]).forms();
        // The account's password is one that looks different in a URL, in JSON and in a header.
        let mut overseer = lab.overseer();
        let host: String = overseer
            .query_first("SELECT host FROM mysql.user WHERE user='wiki'")
            .expect("read")
            .expect("a row");
        overseer
            .query_drop(format!("ALTER USER 'wiki'@'{host}' IDENTIFIED BY '{PASSWORD}'"))
            .expect("changed");
        let world = Self { marks, known, url, place, here: Vec::new(), said: Vec::new(), lab };
        std::fs::write(world.leak(), world.known.join("\n")).expect("written");
        let config = json!({
            "JAWSDB_MARIA_URL": world.url, "SESSION_KEY": KEY, "PLAIN": marks::percent(PASSWORD),
        });
        world.lab.app("PATCH", "/config-vars", &config).expect(200);
        world.settled();
        world
    }

    /// A file with every form of every secret in it.
    pub fn leak(&self) -> PathBuf {
        self.place.join("leak")
    }

    pub fn settled(&self) {
        until("every dyno is up and pages are answered", Duration::from_secs(40), || {
            let look = self.lab.look();
            let up = look["dynos"].as_array().is_some_and(|dynos| dynos.iter().all(|dyno| dyno[1] == "up"));
            up && look["pages"]["recent_errors"] == 0 && look["pages"]["recent_pages"].as_u64() > Some(3)
        });
    }

    pub fn run(&mut self, what: &str, code: i32, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let here = self.here.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let variables: Vec<_> = here.chain(variables.iter().copied()).collect();
        let ran = self.lab.run_in(&variables, arguments);
        assert_eq!(ran.code, code, "{what}\n--- stdout\n{}\n--- stderr\n{}", ran.stdout, ran.stderr);
        self.said.push((what.to_owned(), ran.all()));
        ran
    }

    /// `run own --yes` of these steps.
    pub fn own(
        &mut self,
        what: &str,
        code: i32,
        variables: &[(&str, &str)],
        steps: &str,
        more: &[&str],
    ) -> Ran {
        let text = format!(
            "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\nsteps:\n{steps}"
        );
        let folder = self.lab.runbook("own", &text);
        self.run(what, code, variables, &[&["run", "own", "--runbooks", &folder, "--yes"], more].concat())
    }

    /// Git at the platform says every secret before each build.
    pub fn git_that_tells(&self) {
        let hooks = self.lab.wiki.parent().expect("a parent").join("heroku/git/wizzypedia.git/hooks");
        std::fs::rename(hooks.join("pre-receive"), hooks.join("build")).expect("renamed");
        program(
            &hooks.join("pre-receive"),
            &format!("cat '{}' >&2\nexec hooks/build", self.leak().display()),
        );
    }

    pub fn state(&self) -> PathBuf {
        PathBuf::from(&self.lab.environment["RUNBOOK_STATE_DIR"])
    }
}

pub fn program(file: &Path, script: &str) {
    std::fs::write(file, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

/// Everything below a folder.
pub fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while next < found.len() {
        if found[next].is_dir() {
            let inside = std::fs::read_dir(&found[next]).expect("readable");
            found.extend(inside.map(|entry| entry.expect("an entry").path()));
        }
        next += 1;
    }
    found
}
