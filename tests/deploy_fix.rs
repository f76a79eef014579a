//! `runbook run deploy-fix` against the rehearsal: heals with the fix, never claims health without it.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use serde_json::Value as Json;
use support::Lab;

#[test]
fn a_leak_is_healed_and_the_dry_run_before_it_left_no_trace() {
    let lab = Lab::up(&["--scenario=leak"]);
    let incident = lab.look();
    assert!(incident["database"]["used"].as_u64().expect("a count") * 100 >= 95 * 150, "{incident}");
    assert!(incident["database"]["refused"].as_u64().expect("a count") > 0, "people are refused: {incident}");
    let before = lab.traces();
    let dry = lab.run(&["run", "deploy-fix", "--dry-run"]).expect(0);
    assert_eq!(lab.traces(), before, "a dry run leaves no trace");
    assert!(
        !lab.environment["RUNBOOK_STATE_DIR"].is_empty() && lab.state().is_empty(),
        "nothing is written down"
    );
    for wanted in [
        "would run",
        "git push",
        "HEAD:master",
        "DELETE /apps/wizzypedia/dynos",
        "LocalSettings.php",
        "gate:",
        "connections: ",
        " after it",
    ] {
        assert!(dry.stdout.contains(wanted), "{wanted} is in the preview:\n{}", dry.stdout);
    }

    let live = lab.run(&["run", "deploy-fix", "--yes"]).expect(0);
    let after = lab.traces();
    assert!(after.mutating > before.mutating, "{after:?}");
    assert_ne!(after.git, before.git);
    assert_eq!(after.set_global, 0);
    lab.healthy_below(0.40);
    for wanted in ["before", "after", "connection usage", "every gate held", "how to go back"] {
        assert!(live.all().contains(wanted), "{wanted}:\n{}", live.all());
    }
    assert_eq!(support::git(&lab.wiki, &["status", "--porcelain"]), "", "the fix is committed");

    // A second time there is nothing to deploy, and that is no error.
    let again = lab.run(&["run", "deploy-fix", "--yes", "--set", "soak=2s"]).expect(0);
    assert!(again.all().contains("already deployed"), "{}", again.all());
    let state = lab.state();
    for secret in lab.secrets() {
        for (place, text) in [("dry", dry.all()), ("live", live.all()), ("journal", state.clone())] {
            assert!(!text.contains(&secret), "a secret in {place}");
        }
    }
}

#[test]
fn without_the_fix_in_the_commit_it_ends_with_4() {
    let lab = Lab::up(&["--scenario=leak", "--fix=absent"]);
    let ran = lab.run(&["run", "deploy-fix", "--yes", "--json", "--deadline=100s"]).expect(4);
    let events = ran.events();
    let last = events.last().expect("a last line");
    assert_eq!(
        (&last["type"], &last["outcome"], &last["exit_code"]),
        (&"run_finished".into(), &"gate_shut".into(), &4.into())
    );
    assert!(!ran.all().contains("every gate held"), "health is not claimed: {}", ran.all());
    let look = lab.look();
    assert!(look["pages"]["recent_errors"].as_u64().expect("a count") > 0, "pages fail still: {look}");
    assert!(
        look["database"]["used"].as_u64().expect("a count") * 100 >= 80 * 150,
        "the leak is there: {look}"
    );
}

#[test]
fn a_deploy_that_crashes_every_dyno_fails_in_seconds_and_is_rolled_back() {
    let lab = Lab::up(&["--scenario=slow-leak", "--fix=crashing"]);
    let live_before = support::git(&lab.wiki, &["rev-parse", "HEAD"]);
    // What the app's files would do is known before anything is changed, and ends the run there.
    let before = lab.traces();
    let told = lab.run(&["run", "deploy-fix", "--yes"]).expect(9);
    assert!(told.stderr.contains("apache_app.conf:2: `MaxRequestWorkers`"), "{}", told.all());
    assert!(told.stderr.contains("nothing was changed") && lab.traces() == before, "{}", told.all());
    // Whoever pushes it all the same:
    let ran = lab.run(&["run", "deploy-fix", "--yes", "--json", "--set=accept_findings=true"]).expect(5);
    let events = ran.events();
    let of = |kind: &str| -> Vec<&Json> { events.iter().filter(|event| event["type"] == kind).collect() };
    let finished = of("step_finished");
    let deploy = finished.iter().find(|event| event["step"] == "deploy").expect("deploy ended");
    assert!(deploy["took_ms"].as_u64().expect("a time") < 20_000, "{deploy}");
    assert!(deploy.to_string().contains("cannot occur within <VirtualHost>"), "its last log lines: {deploy}");
    assert!(finished.iter().any(|event| event["step"] == "deploy-rollback"), "it was rolled back");
    assert!(!finished.iter().any(|event| event["step"] == "prove"), "and nothing was proved");
    // With every dyno crashed nobody holds a connection: 0 % usage, and no gate of the deploy opened on it.
    let open = of("verdict").into_iter().find(|event| event["step"] == "deploy" && event["open"] == true);
    assert!(open.is_none(), "it was called healthy: {open:?}");
    assert!(!ran.all().contains("every gate held"), "{}", ran.all());
    // The platform says so too: dynos up again, on the slug from before, and pages are served.
    let releases = lab.app("GET", "/releases", &Json::Null).expect(200).json();
    let current = releases.as_array().expect("a list").iter().find(|release| release["current"] == true);
    let slug = current.expect("a current release")["slug"]["id"].as_str().expect("a slug").to_owned();
    let slug = lab.app("GET", &format!("/slugs/{slug}"), &Json::Null).expect(200).json();
    assert_eq!(slug["commit"], live_before.trim(), "what ran before runs again");
    let dynos = lab.look()["dynos"].clone();
    assert!(dynos.as_array().expect("dynos").iter().all(|dyno| dyno[1] == "up"), "{dynos}");
    assert_ne!(
        support::git(&lab.wiki, &["rev-parse", "HEAD"]),
        live_before,
        "the commit stays in git, and is said"
    );
    assert!(
        ran.stderr.contains("git still holds") || ran.stdout.contains("git still holds"),
        "{}",
        ran.all()
    );
}
