//! The guide's steps 1 to 4, its first option and its rollback. The four steps are one command: they are looked at in
//! one run of it.

use std::sync::OnceLock;

use serde_json::Value as Json;

use crate::support::{Lab, Ran, git};

/// What `runbook run deploy-fix` did to the incident.
pub(crate) struct Deployed {
    events: Vec<Json>,
    pub(crate) said: String,
    /// `runbook run monitor`, before it and after it.
    pub(crate) watched: [Ran; 2],
    pub(crate) lab: Json,
    subject: String,
    files: String,
    head: String,
    live: String,
    pub(crate) used: [u64; 2],
}

pub(crate) fn deployed() -> &'static Deployed {
    static RUN: OnceLock<Deployed> = OnceLock::new();
    RUN.get_or_init(|| {
        let lab = Lab::up(&["--scenario=leak"]);
        let before = lab.used();
        // It asks nothing: no `--yes` is needed.
        let watch = ["run", "monitor", "--set=for=10s"];
        let failing = lab.run(&watch);
        let ran = lab.run(&["run", "deploy-fix", "--yes", "--json"]).expect(0);
        lab.healthy_below(0.40);
        let watched = [failing, lab.run(&watch)];
        Deployed {
            events: ran.events(),
            said: ran.all(),
            watched,
            subject: git(&lab.wiki, &["log", "-1", "--format=%s"]),
            files: git(&lab.wiki, &["show", "--name-only", "--format=", "HEAD"]),
            head: git(&lab.wiki, &["rev-parse", "HEAD"]),
            live: live_commit(&lab),
            used: [before, lab.used()],
            lab: lab.look(),
        }
    })
}

impl Deployed {
    pub(crate) fn finished(&self, step: &str) -> &Json {
        let event =
            self.events.iter().find(|event| event["type"] == "step_finished" && event["step"] == step);
        event.unwrap_or_else(|| panic!("step {step} ended: {}", self.said))
    }
}

fn live_commit(lab: &Lab) -> String {
    let releases = lab.app("GET", "/releases", &Json::Null).expect(200).json();
    let current = releases.as_array().expect("a list").iter().find(|release| release["current"] == true);
    let slug = current.expect("a current release")["slug"]["id"].as_str().expect("a slug").to_owned();
    let slug = lab.app("GET", &format!("/slugs/{slug}"), &Json::Null).expect(200).json();
    slug["commit"].as_str().expect("a commit").to_owned()
}

#[test]
fn deploy() {
    let run = deployed();
    assert_eq!(
        run.subject.trim(),
        "Fix database connection exhaustion - disable persistent connections, add cleanup hooks"
    );
    assert_eq!(run.live, run.head.trim(), "the commit is what runs");
    assert_eq!(run.finished("deploy")["done"]["outputs"]["deployed"], true);
}

/// The change's third row: what else belongs to it goes into the same commit, and nothing that does not.
#[test]
fn the_whole_commit() {
    let files: Vec<&str> = deployed().files.lines().collect();
    for file in [
        "FIX_CONNECTION_ISSUES.md",
        "LocalSettings.php",
        "apache_app.conf",
        "check_db_connections.php",
        "diagnose_connections.php",
        "kill_idle_connections.php",
    ] {
        assert!(files.contains(&file), "{file} of {files:?}");
    }
}

/// The restart is the release's own, and the wait ends when health is stable: not after 30 seconds.
#[test]
fn clear_connections() {
    let run = deployed();
    let deploy = run.finished("deploy");
    assert_eq!(deploy["done"]["replaced_all"], true, "{deploy}");
    assert_eq!(run.finished("restart")["done"]["status"], "already_so", "no second start-up peak");
    assert!(run.used[1] * 100 < 40 * 150 && run.used[0] * 100 > 90 * 150, "{:?}", run.used);
    let dynos = run.lab["dynos"].as_array().expect("dynos");
    assert!(!dynos.is_empty() && dynos.iter().all(|dyno| dyno[1] == "up"), "{dynos:?}");
}

#[test]
fn diagnose() {
    let run = deployed();
    let diagnosis = &run.finished("diagnose")["done"];
    assert_eq!(diagnosis["outputs"]["verdict"], "healthy", "{diagnosis}");
    assert!(!diagnosis["notes"].as_array().expect("notes").is_empty(), "{diagnosis}");
    // "If usage is still high": it is not, so nothing is killed, and that is success.
    assert_eq!(run.finished("kill-idle")["done"], Json::Null);
    assert!(run.said.contains("usage >= 40%"), "{}", run.said);
}

/// Step 4 in the run itself: usage is watched under traffic until it has held.
#[test]
fn monitor_at_the_end() {
    let run = deployed();
    let proof = run.finished("prove");
    assert_eq!(proof["after"]["live"], true, "{proof}");
    assert!(proof["after"]["usage"].as_f64().is_some_and(|usage| usage < 0.40), "{proof}");
    let samples = run.events.iter().filter(|event| event["type"] == "sample").count();
    assert!(samples >= 10, "{samples} samples");
}

/// Option 1: slots are free at once, and it says whether that lasts.
#[test]
fn emergency() {
    let lab = Lab::up(&["--scenario=slow-leak"]);
    let before = lab.used();
    let ran = lab.run(&["run", "emergency", "--yes", "--set=idle=1s"]).expect(0);
    assert!(lab.used() < before, "slots are free: {}", ran.all());
    assert!(ran.all().contains("healed by rung"), "{}", ran.all());
}

/// Rollback: what ran before runs again, and git says so too.
#[test]
fn rollback() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let tree = git(&lab.wiki, &["rev-parse", "HEAD~1^{tree}"]);
    lab.run(&["run", "rollback", "--yes"]).expect(0);
    assert_eq!(git(&lab.wiki, &["rev-parse", "HEAD^{tree}"]), tree, "the tree of before");
    assert_eq!(live_commit(&lab), git(&lab.wiki, &["rev-parse", "HEAD"]).trim());
}
