//! What the guide does not say, and a careful tool does.

use std::path::PathBuf;

use mysql::prelude::Queryable;

use crate::support::Lab;
use crate::support::shared::Shared;

/// Files of the working tree that are put back as they were.
struct PutBack(Vec<(PathBuf, Vec<u8>)>);

impl PutBack {
    fn of(lab: &Shared, names: &[&str]) -> Self {
        let kept = |name: &&str| (lab.wiki.join(name), std::fs::read(lab.wiki.join(name)).expect("readable"));
        Self(names.iter().map(kept).collect())
    }
}

impl Drop for PutBack {
    fn drop(&mut self) {
        for (path, bytes) in &self.0 {
            std::fs::write(path, bytes).expect("written");
        }
    }
}

/// Server-level directives inside the vhost: said with line and remedy, and no push that would kill every dyno.
#[test]
fn server_directives_in_the_vhost() {
    let lab = Shared::take();
    let _files = PutBack::of(&lab, &["Procfile", "apache_app.conf"]);
    lab.file("Procfile", "web: heroku-php-apache2 -C apache_app.conf\n");
    lab.file(
        "apache_app.conf",
        "# The wiki's Apache.\n<IfModule mpm_event_module>\n  MaxRequestWorkers 5\n</IfModule>\n",
    );
    let told = lab.run(&["check", "-C", "."]).expect(3);
    for wanted in [
        "apache_app.conf:3:3",
        "cannot occur within <VirtualHost> section",
        "Procfile:1",
        "heroku config:set WEB_CONCURRENCY",
    ] {
        assert!(told.stderr.contains(wanted), "{wanted}: {}", told.all());
    }
    let before = lab.traces();
    let refused = lab.run(&["run", "deploy-fix", "--yes"]).expect(9);
    assert!(refused.stderr.contains("apache_app.conf:3: `MaxRequestWorkers`"), "{}", refused.all());
    assert_eq!(lab.traces(), before, "nothing was changed");
}

/// Workers set where PHP-FPM ignores them: a warning with its line; nothing stands against the deploy.
#[test]
fn workers_that_php_ignores() {
    let lab = Shared::take();
    let _files = PutBack::of(&lab, &["Procfile", "apache_app.conf"]);
    lab.file("Procfile", "web: heroku-php-apache2 -c apache_app.conf\n");
    lab.file("apache_app.conf", "MaxRequestWorkers 5\n");
    let told = lab.run(&["check", "-C", ".", "--json"]).expect(0);
    let ignored = told.events().into_iter().find(|row| row["code"] == "fpm-ignores").expect("it is told");
    assert_eq!((&ignored["file"], &ignored["line"]), (&"apache_app.conf".into(), &1.into()));
    assert!(ignored["help"][0].as_str().is_some_and(|help| help.contains("WEB_CONCURRENCY")), "{ignored}");
    let preview = lab.run(&["run", "deploy-fix", "--dry-run"]).expect(0);
    assert!(preview.stdout.contains("warning: apache_app.conf:1: `MaxRequestWorkers`"), "{}", preview.stdout);
}

/// Connections that the app may hold, by the live formation, its config var and the server's limit.
#[test]
fn connections_an_app_may_hold() {
    let lab = Shared::take();
    let told = lab.run(&["check", "-C", ".", "-a", "wizzypedia", "--json"]).expect(0);
    let row = told.events().into_iter().find(|row| row["budget"].is_object()).expect("a budget");
    let web = &row["budget"]["shares"][0];
    let figure = |of: &serde_json::Value| of["number"].as_u64().expect("a figure");
    let (dynos, processes) = (figure(&web["dynos"]), figure(&web["processes"]));
    assert!(
        web["processes"]["basis"].as_str().is_some_and(|basis| basis.contains("WEB_CONCURRENCY")),
        "{row}"
    );
    assert_eq!(row["most"].as_u64(), Some(dynos * processes * figure(&row["budget"]["links"])), "{row}");
    assert_eq!(figure(&row["budget"]["limit"]), 150, "{row}");
    let page = lab.run(&["check", "-C", ".", "-a", "wizzypedia"]).expect(0);
    assert!(page.stdout.contains(&format!("together {} of 150", row["most"])), "{}", page.stdout);
}

/// Connections during and after each step that starts dynos anew, and the cure that goes out all the same.
#[test]
fn overlap_is_forecast() {
    let lab = Shared::take();
    let _files = PutBack::of(&lab, &["LocalSettings.php"]);
    lab.file("LocalSettings.php", "<?php\n$wgJobRunRate = 0;\n");
    let dry = lab.run(&["run", "deploy-fix", "--dry-run", "--json"]).expect(0);
    let plan = dry.events().into_iter().find(|event| event["type"] == "plan").expect("a plan");
    let steps = plan["steps"].as_array().expect("steps");
    let forecast = |step: &str| {
        let found = steps.iter().find(|shown| shown[0] == step).expect("the step is shown");
        found[1]["forecast"].clone()
    };
    for step in ["deploy", "restart"] {
        let told = forecast(step);
        let figure = |name: &str| told[name].as_u64().expect("a figure");
        assert!(figure("during") > figure("after") && figure("limit") == 150, "{told}");
        assert_eq!(told["passes_limit"], figure("during") > 150, "{told}");
        let basis = told["basis"].as_str().expect("a basis");
        assert!(basis.contains("WEB_CONCURRENCY") && basis.contains("30 s"), "{basis}");
    }
    let page = lab.run(&["run", "deploy-fix", "--dry-run"]).expect(0).stdout;
    assert!(page.contains("the cure: it goes out whatever the forecast says"), "{page}");
    assert!(page.contains("connections: up to "), "{page}");
}

/// A push restarts the dynos by itself: the guide's restart after it is skipped, and it says why.
#[test]
fn second_restart_is_skipped() {
    let lab = Lab::up(&["--scenario=quiet", "--fix=prepared", "--time-scale=20"]);
    let ran = lab.run(&["run", "deploy-fix", "--yes", "--set=soak=2s"]).expect(0);
    assert!(ran.all().contains("not needed: step deploy has replaced every dyno"), "{}", ran.all());
    let restarts = lab.requests().iter().filter(|request| request["method"] == "DELETE").count();
    assert_eq!(restarts, 0, "no restart was asked for");
    assert!(ran.stdout.contains("connections forecast, at most"), "{}", ran.stdout);
}

/// A session that sleeps for a moment is a page between two queries: it is left alone.
#[test]
fn young_sleepers_are_left_alone() {
    let lab = Shared::take();
    let mut page = lab.session();
    let own = lab.runbook(
        "spare",
        "runbook: 1\nname: spare\nsummary: x\nsteps:\n  - kill_idle: { idle: 60s, at_most: 50 }\n",
    );
    lab.run(&["run", "spare", "--yes", "--runbooks", &own]).expect(0);
    let answer: Option<u8> = page.query_first("SELECT 1").expect("the page's session lives");
    assert_eq!(answer, Some(1));
}

/// Nothing to kill is success.
#[test]
fn nothing_to_kill_is_success() {
    let lab = Shared::take();
    let own = lab.runbook(
        "none",
        "runbook: 1\nname: none\nsummary: x\nsteps:\n  - kill_idle: { idle: 1h, at_most: 50 }\n",
    );
    let ran = lab.run(&["run", "none", "--yes", "--runbooks", &own, "--json"]).expect(0);
    let ended = ran.events().into_iter().find(|event| event["type"] == "step_finished").expect("it ended");
    assert_eq!(
        (&ended["status"], &ended["done"]["status"]),
        (&"unneeded".into(), &"nothing_to_do".into()),
        "{ended}"
    );
}
