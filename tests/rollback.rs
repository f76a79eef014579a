//! `runbook run rollback`: the live tree is the previous one, by git or by release; a deploy afterwards goes live.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use support::{Lab, git};

fn live_commit(lab: &Lab) -> String {
    let dry = lab.run(&["run", "rollback", "--dry-run"]);
    let line =
        dry.stdout.lines().find(|line| line.contains("live now: commit")).unwrap_or_default().to_owned();
    line.split_whitespace().last().unwrap_or_default().to_owned()
}

#[test]
fn by_git_the_live_tree_is_the_previous_one() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let head = git(&lab.wiki, &["rev-parse", "HEAD"]);
    let tree = git(&lab.wiki, &["rev-parse", "HEAD~1^{tree}"]);
    lab.file("notes.txt", "unrelated, not committed\n");
    let before = lab.traces();
    lab.run(&["run", "rollback", "--dry-run"]).expect(0);
    assert_eq!(lab.traces(), before, "a dry run leaves no trace");
    let ran = lab.run(&["run", "rollback", "--yes"]).expect(0);
    assert!(lab.traces().mutating > before.mutating);
    assert_eq!(git(&lab.wiki, &["rev-parse", "HEAD^{tree}"]), tree, "the tree of before");
    assert_ne!(git(&lab.wiki, &["rev-parse", "HEAD"]), head);
    assert!(git(&lab.wiki, &["rev-parse", "HEAD"]).starts_with(&live_commit(&lab)), "and it is live");
    assert_eq!(
        std::fs::read_to_string(lab.wiki.join("notes.txt")).expect("untouched"),
        "unrelated, not committed\n"
    );
    assert!(ran.all().contains("not needed: step rollback has replaced every dyno"), "{}", ran.all());
}

#[test]
fn by_release_it_is_live_at_once_and_a_deploy_after_it_goes_live() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let head = git(&lab.wiki, &["rev-parse", "HEAD"]);
    let previous = git(&lab.wiki, &["rev-parse", "HEAD~1"]);
    let ran = lab.run(&["run", "rollback", "--yes", "--set=method=release"]).expect(0);
    assert_eq!(git(&lab.wiki, &["rev-parse", "HEAD"]), head, "git is untouched");
    assert!(ran.all().contains("git still holds"), "what git still holds is said: {}", ran.all());
    assert!(previous.starts_with(&live_commit(&lab)), "the previous commit is live");
    // Back and back again in one run would be a swing: the second is refused, whatever the plan said.
    let step = |id: &str| {
        format!("  - id: {id}\n    rollback: release\n    gate: {{ until: live, for: 1s, within: 60s }}\n")
    };
    let twice =
        format!("runbook: 1\nname: twice\nsummary: two of them\nsteps:\n{}{}", step("one"), step("two"));
    let own = lab.runbook("twice", &twice);
    let ran = lab.run(&["run", "twice", "--runbooks", &own, "--yes"]).expect(5);
    assert!(ran.all().contains("this run has rolled back once already"), "{}", ran.all());
    assert!(head.starts_with(&live_commit(&lab)), "one rollback went from the previous back to HEAD");
    lab.run(&["run", "rollback", "--yes", "--set=method=release"]).expect(0);
    assert!(previous.starts_with(&live_commit(&lab)));
    // "Everything up-to-date" is no proof: the commit is released through the API.
    // The commit is this deploy's own, by its message: others would be refused without a word from a person.
    let refused = lab.run(&["run", "deploy-fix", "--yes", "--set=soak=2s"]).expect(6);
    assert!(refused.all().contains("commits that this deploy did not make"), "{}", refused.all());
    let message = "--set=message=Fix database connection exhaustion";
    let deployed = lab.run(&["run", "deploy-fix", "--yes", "--set=soak=2s", message]).expect(0);
    assert!(head.starts_with(&live_commit(&lab)), "{}", deployed.all());
    assert!(deployed.all().contains("/releases"), "{}", deployed.all());
}
