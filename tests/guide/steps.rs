//! The guide's steps 1 to 4, its first option and its rollback.

use crate::support::{Lab, git};

fn live_commit(lab: &Lab) -> String {
    let releases = lab.app("GET", "/releases", &serde_json::Value::Null).expect(200).json();
    let current = releases.as_array().expect("a list").iter().find(|release| release["current"] == true);
    let slug = current.expect("a current release")["slug"]["id"].as_str().expect("a slug").to_owned();
    let slug = lab.app("GET", &format!("/slugs/{slug}"), &serde_json::Value::Null).expect(200).json();
    slug["commit"].as_str().expect("a commit").to_owned()
}

/// Steps 1 to 4 are one command: the commit is the guide's, it is live, connections are cleared, and it says so.
#[test]
fn deploy_clear_diagnose_monitor() {
    let lab = Lab::up(&["--scenario=leak"]);
    let ran = lab.run(&["run", "deploy-fix", "--yes"]).expect(0);
    let head = git(&lab.wiki, &["log", "-1", "--format=%s"]);
    assert_eq!(
        head.trim(),
        "Fix database connection exhaustion - disable persistent connections, add cleanup hooks"
    );
    let files = git(&lab.wiki, &["show", "--name-only", "--format=", "HEAD"]);
    for file in ["LocalSettings.php", "apache_app.conf"] {
        assert!(files.contains(file), "{files}");
    }
    assert_eq!(live_commit(&lab), git(&lab.wiki, &["rev-parse", "HEAD"]).trim());
    assert!(ran.all().contains("every gate held"), "{}", ran.all());
    lab.healthy_below(0.40);
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
