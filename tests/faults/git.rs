//! Faults of Heroku's git, of builds and of release phases.

use serde_json::json;

use super::case::Case;
use super::support::git;

/// Commits a file and deploys it.
fn deploy(file: &str) -> String {
    format!(
        "steps:
  - id: deploy
    deploy: {{ add: [{file}], message: a change, include_commits: true }}
    gate: {{ until: live, for: 1s, within: 60s }}
"
    )
}

/// A harmless change of a file that is there.
fn touch(case: &Case) {
    let file = case.lab.wiki.join("LocalSettings.php");
    let text = std::fs::read_to_string(&file).expect("readable");
    std::fs::write(file, format!("{text}\n// A change of a comment.\n")).expect("written");
}

/// A commit of somebody else's, in the app's git at the platform.
fn commit_of_anothers(case: &Case) -> String {
    let author = ["-c", "user.name=Another", "-c", "user.email=another@example.invalid"];
    let commit = ["commit-tree", "-p", "master", "-m", "of another's", "master^{tree}"];
    git(&case.lab.bare(), &[&author[..], &commit].concat()).trim().to_owned()
}

const PUSH: &str = "POST /wizzypedia.git/git-receive-pack";

#[test]
fn a_push_is_cut_while_the_build_goes_on() {
    let case = Case::begin("git is cut in the middle of a push, and the build goes on");
    touch(&case);
    case.lab.fault(&json!({ "door": "git", "method": "POST", "fault": "cut" }));
    let ran = case.shipped("deploy-fix", &["--set=soak=2s"]).expect(0);
    assert_eq!(case.requests(), [PUSH], "read back, not pushed again");
    case.end(&ran, &["RPC failed", "read back"]);
}

#[test]
fn a_push_is_cut_and_lands_later() {
    let case = Case::begin("git is cut in the middle of a push, which is taken 5 s later");
    touch(&case);
    case.lab.fault(&json!({
        "door": "git", "method": "POST", "fault": "lose-answer", "lands_after_ms": 5000,
    }));
    let ran = case.run(&deploy("LocalSettings.php")).expect(0);
    assert_eq!(case.requests(), [PUSH], "read back, not pushed again");
    case.end(&ran, &["RPC failed", "read back"]);
}

#[test]
fn a_build_that_fails() {
    let case = Case::begin("the build fails");
    case.lab.file("composer.json", "{ no json");
    let ran = case.run(&deploy("composer.json")).expect(5);
    assert_eq!(case.requests(), [PUSH], "a build that fails is not tried again");
    case.end(&ran, &["failed to compile PHP app"]);
}

#[test]
fn a_release_phase_that_fails() {
    let case = Case::begin("the release phase fails");
    let procfile = std::fs::read_to_string(case.lab.wiki.join("Procfile")).unwrap_or_default();
    let web = procfile.lines().find(|line| line.starts_with("web:")).unwrap_or("web: heroku-php-apache2");
    case.lab.file("Procfile", &format!("release: echo no such table >&2; exit 1\n{web}\n"));
    let ran = case.shipped("deploy-fix", &["--set=soak=2s"]).expect(5);
    assert_eq!(case.requests(), [PUSH], "what never went live needs no rollback");
    case.end(&ran, &["deploy: failed"]);
}

#[test]
fn somebody_else_has_pushed() {
    let case = Case::begin("somebody else has pushed before the run");
    touch(&case);
    let theirs = commit_of_anothers(&case);
    git(&case.lab.bare(), &["update-ref", "refs/heads/master", &theirs]);
    let ran = case.run(&deploy("LocalSettings.php")).expect(9);
    assert_eq!(case.requests(), [""; 0]);
    git(&case.lab.bare(), &["update-ref", "refs/heads/master", "master~1"]);
    case.end(&ran, &["somebody else has pushed"]);
}

#[test]
fn somebody_else_pushes_in_the_middle() {
    let case = Case::begin("somebody else pushes in the middle of the run: non-fast-forward");
    touch(&case);
    let theirs = commit_of_anothers(&case);
    let steps = format!(
        "steps:
  - id: another
    run: [git, -C, {}, update-ref, refs/heads/master, {theirs}]
    gate: {{ none: it is the fault }}
{}",
        case.lab.bare().display(),
        deploy("LocalSettings.php").trim_start_matches("steps:\n")
    );
    let ran = case.run(&steps).expect(5);
    assert_eq!(case.requests(), [""; 0]);
    git(&case.lab.bare(), &["update-ref", "refs/heads/master", "master~1"]);
    case.end(&ran, &["somebody else"]);
}

#[test]
fn git_refuses_the_token() {
    let case = Case::begin("git answers 401 to a push");
    touch(&case);
    // The look before the run is let through: what is refused is the push.
    case.lab.fault(&json!({ "door": "git", "method": "POST", "fault": { "refuse": [401, ""] }, "times": 9 }));
    let ran = case.run(&deploy("LocalSettings.php")).expect(5);
    assert_eq!(case.requests(), [PUSH]);
    case.end(&ran, &["The requested URL returned error: 401"]);
}
