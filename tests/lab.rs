//! The rehearsal lab itself: every incident comes up and is told from the others, the simulator behaves as the facts
//! say, and nothing is left behind however the lab ends.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value as Json, json};
use support::{Lab, Place, git, http, runbook, until};

const LOOK: &str = "runbook: 1
name: look
summary: looks, and says what it is
health:
  every: 500ms
steps:
  - id: watch
    wait: { until: used > 0, for: 10s, within: 40s }
    on_failure: continue
  - id: what-is-it
    diagnose:
";

/// What `diagnose` says of a scenario, from an ordinary run.
fn verdict(lab: &Lab) -> String {
    let own = lab.runbook("look", LOOK);
    let before = lab.traces();
    let ran = lab.run(&["run", "look", "--runbooks", &own, "--yes"]).expect(0);
    let after = lab.traces();
    assert_eq!((after.kills, &after.git), (before.kills, &before.git), "looking changes nothing");
    let line = ran.stderr.lines().find_map(|line| line.split_once("verdict: ")).map(|(_, line)| line);
    let line = line.unwrap_or_else(|| panic!("a verdict:\n{}", ran.all()));
    line.split(" — ").next().expect("a word").to_owned()
}

fn database(look: &Json, name: &str) -> u64 {
    look["database"][name].as_u64().unwrap_or_else(|| panic!("{name}: {look}"))
}

#[test]
fn a_leak_is_seen_as_one_from_inside() {
    let lab = Lab::up(&["--scenario=leak"]);
    let look = lab.look();
    assert!(database(&look, "used") * 100 >= 95 * 150 && database(&look, "refused") > 0, "{look}");
    assert!(database(&look, "sleeping") * 10 >= 9 * database(&look, "used"), "{look}");
    assert_eq!(verdict(&lab), "leak");
}

#[test]
fn a_load_is_seen_as_one() {
    let lab = Lab::up(&["--scenario=load"]);
    assert_eq!(verdict(&lab), "load");
    let look = lab.look();
    assert!(database(&look, "used") >= 100 && database(&look, "sleeping") < 30, "{look}");
}

#[test]
fn a_churn_is_seen_as_one() {
    let lab = Lab::up(&["--scenario=churn"]);
    assert_eq!(verdict(&lab), "churn");
}

#[test]
fn a_lock_pile_up_is_seen_as_one() {
    let lab = Lab::up(&["--scenario=lock-pile-up"]);
    assert_eq!(verdict(&lab), "lock pile-up");
    let look = lab.look();
    assert!(database(&look, "used") * 100 >= 80 * 150 && database(&look, "used") < 150, "{look}");
    assert!(look["pages"]["recent_errors"].as_u64() > Some(0), "pages wait and fail: {look}");
}

#[test]
fn full_and_the_slow_leak_let_nobody_in() {
    for scenario in ["--scenario=full", "--scenario=slow-leak"] {
        let lab = Lab::up(&[scenario]);
        for _ in 0..20 {
            assert_eq!(lab.login_refused(), Some(1040), "{scenario}: {}", lab.look());
        }
        let look = lab.look();
        assert!(database(&look, "used") >= 150 && database(&look, "sleeping") >= 145, "{look}");
    }
}

/// The app's dynos as (name, id, state).
fn dynos(lab: &Lab) -> Vec<(String, String, String)> {
    let list = lab.app("GET", "/dynos", &Json::Null).expect(200).json();
    let text = |dyno: &Json, name: &str| dyno[name].as_str().expect("a text").to_owned();
    list.as_array()
        .expect("a list")
        .iter()
        .map(|dyno| (text(dyno, "name"), text(dyno, "id"), text(dyno, "state")))
        .collect()
}

fn newest_release(lab: &Lab) -> Json {
    let headers = format!("{}Range: version ..; order=desc, max=1\r\n", lab.authorized());
    lab.ask("GET", "/apps/wizzypedia/releases", &headers, "").json()[0].clone()
}

fn await_up(lab: &Lab) {
    until("every dyno is up", Duration::from_secs(30), || {
        dynos(lab).iter().all(|(_, _, state)| state == "up")
    });
}

/// A push of HEAD as the guide does it; what git said.
fn push(lab: &Lab, refspec: &str, token: &str) -> (bool, String) {
    let helper = format!("credential.helper=!f() {{ echo username=heroku; echo password={token}; }}; f");
    #[expect(clippy::disallowed_methods, reason = "a push as a person does it")]
    let output = Command::new("git")
        .arg("-C")
        .arg(&lab.wiki)
        .args(["-c", "credential.helper=", "-c", &helper, "push", "heroku", refspec])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .expect("git starts");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_api_has_the_transport_of_the_facts() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let path = "/apps/wizzypedia";
    let bare = lab.ask("GET", path, "", "").expect(404).json();
    assert_eq!(bare["id"], "not_found");
    assert!(bare["message"].as_str().expect("a text").contains("`Accept` header"), "{bare}");
    let accept = "Accept: application/vnd.heroku+json; version=3\r\n";
    assert_eq!(lab.ask("GET", path, accept, "").expect(401).json()["id"], "unauthorized");
    let missing = lab.ask("GET", "/apps/other", &lab.authorized(), "").expect(404).json();
    assert_eq!((&missing["id"], &missing["resource"]), (&json!("not_found"), &json!("app")));
    let broken = lab.ask("PATCH", path, &lab.authorized(), "{").expect(400).json();
    assert_eq!(broken["id"], "bad_request");

    let mine = format!("{}Request-Id: 11111111-2222-4333-8444-555555555555\r\n", lab.authorized());
    let app = lab.ask("GET", path, &mine, "").expect(200);
    let ids = app.header("Request-Id").expect("an id");
    assert!(ids.contains(',') && ids.ends_with("555555555555"), "the own id is appended: {ids}");
    let left: f64 = app.header("RateLimit-Remaining").expect("a header").parse().expect("a number");
    assert!(left > 0.0 && left <= 4500.0, "{left}");
    let tag = format!("{}If-None-Match: {}\r\n", lab.authorized(), app.header("ETag").expect("a tag"));
    assert_eq!(lab.ask("GET", path, &tag, "").expect(304).body, "", "unchanged comes without a body");

    // Lists begin with the oldest; newest first must be asked for, and a part of it is a 206.
    let all = lab.app("GET", "/releases", &Json::Null).expect(200).json();
    assert_eq!(all[0]["version"], 1);
    let newest = format!("{}Range: version ..; order=desc, max=2\r\n", lab.authorized());
    let first = lab.ask("GET", "/apps/wizzypedia/releases", &newest, "").expect(206);
    assert_eq!(first.json()[0]["version"], all.as_array().expect("a list").len());
    let next = format!("{}Range: {}\r\n", lab.authorized(), first.header("Next-Range").expect("a range"));
    let second = lab.ask("GET", "/apps/wizzypedia/releases", &next, "").json();
    assert_eq!(second[0]["version"].as_u64(), first.json()[1]["version"].as_u64().map(|last| last - 1));
    let odd = format!("{}Range: color ..\r\n", lab.authorized());
    assert_eq!(
        lab.ask("GET", "/apps/wizzypedia/releases", &odd, "").expect(416).json()["id"],
        "requested_range_not_satisfiable"
    );
}

#[test]
fn dynos_formation_and_config_behave_as_in_the_facts() {
    let lab = Lab::up(&["--scenario=quiet", "--time-scale=5"]);
    // A restart: accepted at once, the old dyno may still be listed as up, then another one is.
    let before = dynos(&lab);
    let answer = lab.app("DELETE", "/dynos", &Json::Null).expect(202);
    assert_eq!(answer.body, "{}");
    assert_eq!(dynos(&lab), before, "the list still shows the old ones: `up` proves nothing");
    until("every id has changed and all are up", Duration::from_secs(30), || {
        dynos(&lab).iter().zip(&before).all(|(now, then)| now.1 != then.1 && now.2 == "up")
    });

    // Scaling: integers and the CLI's texts, tiers and their limits, unknown types, nothing to up and down.
    let scale = |update: Json| lab.app("PATCH", "/formation", &json!({ "updates": [update] }));
    let grown = scale(json!({ "type": "web", "quantity": "+1" })).expect(200).json();
    assert_eq!(grown[0]["quantity"], 3);
    scale(json!({ "type": "worker", "quantity": 1 })).expect(404);
    let basic = scale(json!({ "type": "web", "quantity": 2, "dyno_size": { "name": "basic" } })).expect(422);
    assert_eq!(
        (&basic.json()["id"], &basic.json()["limit"]),
        (&json!("cannot_update_above_limit"), &json!(1))
    );
    let one = lab.app("PATCH", "/formation/web", &json!({ "quantity": 1 })).expect(200).json();
    assert_eq!(
        (&one["type"], &one["quantity"], &one["size"]),
        (&json!("web"), &json!(1), &json!("Standard-1X"))
    );
    until("one is left", Duration::from_secs(10), || dynos(&lab).len() == 1);

    // Maintenance: the router answers 503, nothing is released or restarted.
    let page = || http(lab.status["web_url"].as_str().expect("a URL"), "GET", "/wiki/X", "", "").status;
    await_up(&lab);
    assert_eq!(page(), 200);
    let release = newest_release(&lab);
    lab.app("PATCH", "", &json!({ "maintenance": true })).expect(200);
    assert_eq!(page(), 503);
    lab.app("PATCH", "", &json!({ "maintenance": false })).expect(200);
    assert_eq!((page(), newest_release(&lab)), (200, release.clone()));

    // Config vars: one release and a restart for a change, none for the same value again.
    lab.app("PATCH", "/config-vars", &json!({ "COLOR": "blue" })).expect(200);
    let set = newest_release(&lab);
    assert_eq!(set["description"], "Set COLOR config vars");
    assert_eq!(set["version"].as_u64(), release["version"].as_u64().map(|version| version + 1));
    lab.app("PATCH", "/config-vars", &json!({ "COLOR": "blue" })).expect(200);
    assert_eq!(newest_release(&lab), set);

    // A rollback is a new release, by the other's id, and brings the config of then.
    await_up(&lab);
    lab.app("POST", "/releases", &json!({ "release": "v4" })).expect(404);
    let rolled = lab.app("POST", "/releases", &json!({ "release": release["id"] })).expect(201).json();
    assert_eq!(rolled["description"], format!("Rollback to v{}", release["version"]));
    assert_eq!(lab.app("GET", "/config-vars", &Json::Null).json().get("COLOR"), None);

    // A one-off: detached, merged environment, its output and exit code in the log alone; then it is gone.
    let order = json!({ "command": "echo said $COLOR; exit 3", "env": { "COLOR": "red" } });
    let run = lab.app("POST", "/dynos", &order).expect(201).json();
    let name = run["name"].as_str().expect("a name").to_owned();
    assert!(name.starts_with("run.") && run["attach_url"].is_null(), "{run}");
    let one_off = format!("/dynos/{name}");
    until("it is gone", Duration::from_secs(20), || lab.app("GET", &one_off, &Json::Null).status == 404);
    let log = |order: Json, accept: &str| {
        let url = lab.app("POST", "/log-sessions", &order).expect(201).json()["logplex_url"].clone();
        let url = url.as_str().expect("a URL").trim_start_matches("http://").to_owned();
        let (base, path) = url.split_once('/').expect("a path");
        http(base, "GET", &format!("/{path}"), accept, "").body
    };
    let told = log(json!({ "dyno": name, "lines": 10 }), "");
    assert!(told.contains(&format!("app[{name}]: said red")), "{told}");
    assert!(told.contains(&format!("heroku[{name}]: Process exited with status 3")), "{told}");
    let events = log(json!({ "dyno_name": name, "lines": 1 }), "Accept: text/event-stream\r\n");
    assert!(events.contains("data: "), "{events}");
    // One that would go on is ended by a stop.
    let order = json!({ "command": "sleep 600" });
    let run = lab.app("POST", "/dynos", &order).expect(201).json();
    let one_off = format!("/dynos/{}", run["name"].as_str().expect("a name"));
    lab.app("POST", &format!("{one_off}/actions/stop"), &Json::Null).expect(202);
    until("it is gone", Duration::from_secs(20), || lab.app("GET", &one_off, &Json::Null).status == 404);

    // No web dyno at all: H14.
    lab.app("PATCH", "/formation/web", &json!({ "quantity": 0 })).expect(200);
    until("the router says so", Duration::from_secs(10), || page() == 503);
    assert!(log(json!({ "dyno": "router", "lines": 50 }), "").contains("code=H14"));
}

#[test]
fn pushes_builds_and_release_phases_behave_as_in_the_facts() {
    let lab = Lab::up(&["--scenario=quiet", "--time-scale=20"]);
    let key = lab.environment["HEROKU_API_KEY"].clone();
    let (pushed, told) = push(&lab, "master", "HRKU-wrong");
    assert!(!pushed && told.contains("Do not authenticate with username and password"), "{told}");
    let (pushed, told) = push(&lab, "master", &key);
    assert!(pushed && told.contains("Everything up-to-date"), "{told}");
    let live = newest_release(&lab);
    let (pushed, told) = push(&lab, "HEAD:refs/heads/topic", &key);
    assert!(pushed && told.contains("skipping build"), "{told}");
    assert_eq!(newest_release(&lab), live, "another branch deploys nothing");

    // A build that fails refuses the push, and the ref is not moved.
    let commit = |name: &str, text: &str| {
        lab.file(name, text);
        git(&lab.wiki, &["add", name]);
        git(&lab.wiki, &["commit", "-q", "-m", name]);
        git(&lab.wiki, &["rev-parse", "HEAD"]).trim().to_owned()
    };
    let remote =
        || git(&lab.wiki, &["-c", &format!("http.extraHeader={}", basic(&key)), "ls-remote", "heroku"]);
    let before = remote();
    commit("composer.json", "{ not json");
    let (pushed, told) = push(&lab, "master", &key);
    assert!(!pushed && told.contains("Push rejected, failed to compile PHP app"), "{told}");
    assert!(told.contains("pre-receive hook declined"), "{told}");
    assert_eq!((remote(), newest_release(&lab)), (before, live.clone()));

    // A release phase that fails: git says yes, the ref is moved, the old release stays current.
    commit("composer.json", "{}\n");
    let failing = commit("Procfile", "web: heroku-php-apache2\nrelease: exit 1\n");
    let (pushed, told) = push(&lab, "master", &key);
    assert!(pushed && told.contains("Waiting for release.... failed."), "{told}");
    assert!(told.contains("Release command declared"), "{told}");
    assert!(remote().contains(&failing));
    let failed = newest_release(&lab);
    assert_eq!((&failed["status"], &failed["current"]), (&json!("failed"), &json!(false)));
    let old = lab.app("GET", &format!("/releases/{}", live["version"]), &Json::Null).json();
    assert_eq!(old["current"], true);
    assert!(dynos(&lab).iter().all(|(_, _, state)| state == "up"), "the old dynos were left alone");
    let (pushed, told) = push(&lab, "master", &key);
    assert!(pushed && told.contains("Everything up-to-date"), "the same push again does nothing: {told}");
    lab.app("POST", "/releases", &json!({ "release": failed["id"] })).expect(422);

    // One that works, with the program under the name that Composer gives it.
    let good = commit("Procfile", "web: vendor/bin/heroku-php-apache2 -c apache_app.conf\nrelease: true\n");
    let (pushed, told) = push(&lab, "master", &key);
    assert!(pushed && told.contains("Waiting for release.... done."), "{told}");
    let release = newest_release(&lab);
    assert_eq!((&release["status"], &release["current"]), (&json!("succeeded"), &json!(true)));
    let slug = format!("/slugs/{}", release["slug"]["id"].as_str().expect("a slug"));
    assert_eq!(lab.app("GET", &slug, &Json::Null).json()["commit"], good);
    await_up(&lab);

    // Server-level directives inside the vhost: git, build and release are fine, and every dyno crashes.
    commit("Procfile", "web: heroku-php-apache2 -C apache_app.conf\n");
    let (pushed, told) = push(&lab, "master", &key);
    assert!(pushed && told.contains("deployed to Heroku"), "{told}");
    assert_eq!(newest_release(&lab)["status"], "succeeded");
    until("every dyno has crashed", Duration::from_secs(20), || {
        dynos(&lab).iter().all(|(_, _, state)| state == "crashed")
    });
    assert_eq!(http(lab.status["web_url"].as_str().expect("a URL"), "GET", "/", "", "").status, 503);
    assert_eq!(lab.used(), 0, "a dead site holds no connection");
    // And an Apache of the app's own takes them, and counts its own workers.
    commit("Procfile", "web: httpd -D FOREGROUND -f apache_app.conf\n");
    push(&lab, "master", &key);
    await_up(&lab);
}

/// The header of Basic authentication, as git sends it.
fn basic(token: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("Authorization: Basic ");
    for three in format!("heroku:{token}").as_bytes().chunks(3) {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= three.len() { DIGITS[digit] as char } else { '=' });
        }
    }
    text
}

fn lab_command(dir: &Path, arguments: &[&str]) -> support::Ran {
    let dir_argument = format!("--dir={}", dir.display());
    runbook(Path::new("/"), &BTreeMap::new(), &[&["lab"], arguments, &[dir_argument.as_str()]].concat())
}

/// A lab command that goes on while the test does something else.
fn begin(dir: &Path, arguments: &[&str]) -> Child {
    #[expect(clippy::disallowed_methods, reason = "a command that is to be interrupted")]
    Command::new(support::binary())
        .arg("lab")
        .args(arguments)
        .arg(format!("--dir={}", dir.display()))
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

fn process(id: u64) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id")
}

/// Everything that runs from a lab: its supervisor's id and those that its folder is the place of.
fn running(dir: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    all.filter_map(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let at = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        (line.contains(&format!("{}", dir.display())) || at.starts_with(dir)).then_some(line)
    })
    .collect()
}

#[test]
fn a_lab_that_is_killed_leaves_nothing_behind() {
    let _place = Place::take();
    let outer = tempfile::tempdir().expect("a folder");
    let dir = outer.path().join("lab");
    lab_command(&dir, &["up", "--scenario=quiet"]).expect(0);
    let status: Json =
        serde_json::from_str(&lab_command(&dir, &["status", "--json"]).expect(0).stdout).expect("JSON");
    let supervisor = process(status["supervisor"].as_u64().expect("an id"));
    assert!(running(&dir).len() > 3, "server, dynos, watch: {:?}", running(&dir));
    kill_process(supervisor, Signal::KILL).expect("killed");
    until("processes and folder are gone", Duration::from_secs(20), || {
        test_kill_process(supervisor).is_err() && running(&dir).is_empty() && !dir.exists()
    });
    let none = lab_command(&dir, &["down"]).expect(9);
    assert!(none.stderr.contains("no rehearsal is running"), "{}", none.stderr);
}

#[test]
fn what_a_lab_left_is_recognised_and_a_living_one_is_left_alone() {
    let _place = Place::take();
    let outer = tempfile::tempdir().expect("a folder");
    // Longer than any path of a socket may be.
    let dir = outer.path().join("a".repeat(90)).join("b".repeat(90));
    lab_command(&dir, &["up", "--scenario=quiet"]).expect(0);
    let second = lab_command(&dir, &["up", "--scenario=leak"]).expect(9);
    assert!(
        second.stderr.contains("is running in") && second.stderr.contains("lab down"),
        "{}",
        second.stderr
    );
    // Beside it another goes up and down.
    let beside = outer.path().join("beside");
    lab_command(&beside, &["up", "--scenario=quiet"]).expect(0);
    lab_command(&beside, &["down"]).expect(0);
    assert!(!beside.exists());

    // Supervisor and watch are killed at once: nobody cleans up, and the next `up` does.
    let status: Json =
        serde_json::from_str(&lab_command(&dir, &["status", "--json"]).expect(0).stdout).expect("JSON");
    for line in ["watch", "serve"] {
        let ids = std::fs::read_dir("/proc").expect("a list").filter_map(Result::ok).filter_map(|entry| {
            let command = std::fs::read(entry.path().join("cmdline")).ok()?;
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let ours =
                command.contains(&format!("lab {line} ")) && command.contains(&format!("{}", dir.display()));
            ours.then(|| entry.file_name().to_string_lossy().parse::<u64>().ok()).flatten()
        });
        for id in ids.collect::<Vec<_>>() {
            kill_process(process(id), Signal::KILL).expect("killed");
        }
    }
    until("the supervisor is gone", Duration::from_secs(10), || lab_command(&dir, &["status"]).code == 9);
    assert!(dir.exists());
    lab_command(&dir, &["up", "--scenario=quiet"]).expect(0);
    let again: Json =
        serde_json::from_str(&lab_command(&dir, &["status", "--json"]).expect(0).stdout).expect("JSON");
    assert_ne!(again["supervisor"], status["supervisor"]);
    lab_command(&dir, &["down"]).expect(0);
    assert!(!dir.exists(), "its folder is gone when `down` returns");
    assert!(running(&dir).is_empty(), "{:?}", running(&dir));
}

#[test]
fn ctrl_c_ends_a_lab_at_any_time() {
    let _place = Place::take();
    let outer = tempfile::tempdir().expect("a folder");
    let dir = outer.path().join("lab");
    for (what, arguments) in
        [("up", &["up", "--scenario=leak"][..]), ("run", &["run", "rollback", "--scenario=leak"])]
    {
        let mut child = begin(&dir, arguments);
        until("its server runs", Duration::from_secs(30), || dir.join("mysql").join("pid").exists());
        kill_process(process(u64::from(child.id())), Signal::INT).expect("interrupted");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{what}");
        assert!(!dir.exists() && running(&dir).is_empty(), "{what}: {:?}", running(&dir));
    }
    // `down` while it is starting ends it too.
    let mut child = begin(&dir, &["up", "--scenario=leak"]);
    until("its server runs", Duration::from_secs(30), || dir.join("mysql").join("pid").exists());
    lab_command(&dir, &["down"]).expect(0);
    assert_eq!(child.wait().expect("it ends").code(), Some(9));
    assert!(!dir.exists() && running(&dir).is_empty(), "{:?}", running(&dir));
}

#[test]
fn deploy_fix_heals_in_less_time_than_the_guide_by_hand() {
    let _place = Place::take();
    let outer = tempfile::tempdir().expect("a folder");
    let dir = outer.path().join("lab");
    let dir_argument = format!("--dir={}", dir.display());
    let arguments = ["lab", "run", "deploy-fix", "--by-hand", &dir_argument, "--", "--yes"];
    let ran = runbook(outer.path(), &BTreeMap::new(), &arguments).expect(0);
    for wanted in
        ["sleep 30", "heroku run php diagnose_connections.php", "every gate held", "connection usage"]
    {
        assert!(ran.all().contains(wanted), "{wanted}:\n{}", ran.all());
    }
    let line = ran
        .stderr
        .lines()
        .find(|line| line.contains("took") && line.contains("the guide by hand"))
        .expect("the comparison");
    let seconds: Vec<u32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(seconds.len() == 2 && seconds[0] < seconds[1] && seconds[1] >= 30, "{line}");
    assert!(!dir.exists());
}

#[test]
fn a_request_can_be_lost_and_take_effect_later_though_the_client_is_gone() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let releases = |lab: &Lab| {
        let list = lab.app("GET", "/releases", &Json::Null).expect(200).json();
        list.as_array().expect("a list").clone()
    };
    let before = releases(&lab);
    let old = before.iter().rev().filter(|known| known["eligible_for_rollback"] == true).nth(1);
    let body = json!({ "release": old.expect("an earlier release")["id"] });
    let order = |fault: &str| json!({ "method": "POST", "path": "/releases", "fault": fault, "lands_after_ms": 1500 });

    // Gone before an answer could come.
    lab.fault(&order("silence"));
    lab.send_and_leave("POST", "/releases", &body);
    until("it has been read", Duration::from_secs(5), || lab.faults()["landing"] == 1);
    assert_eq!(releases(&lab).len(), before.len(), "not yet");
    lab.landed();
    assert_eq!(releases(&lab).len(), before.len() + 1, "later, once");

    // The connection breaks at once; and an answer of the edge, while the platform acts behind it.
    let edge = json!({
        "method": "POST", "path": "/releases", "fault": { "html-with": 502 }, "lands_after_ms": 1500,
    });
    lab.fault(&edge);
    lab.app("POST", "/releases", &body).expect(502);
    assert_eq!(releases(&lab).len(), before.len() + 1, "not yet");
    lab.landed();
    assert_eq!(releases(&lab).len(), before.len() + 2);

    // A push: whoever pushes is gone, and the build, the release and the ref come later.
    let url = &lab.environment["HEROKU_GIT_URL"];
    let key = &lab.environment["HEROKU_API_KEY"];
    let remote = format!("{}/wizzypedia.git", url.replace("http://", &format!("http://heroku:{key}@")));
    let live = || git(&lab.wiki, &["ls-remote", &remote, "refs/heads/master"]);
    let pushed = live();
    git(
        &lab.wiki,
        &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "x"],
    );
    lab.fault(&json!({
        "door": "git", "method": "POST", "path": "git-receive-pack", "fault": "silence", "lands_after_ms": 1500,
    }));
    #[expect(clippy::disallowed_methods, reason = "a push that is killed, as a person's is")]
    let mut push = Command::new("git")
        .arg("-C")
        .arg(&lab.wiki)
        .args(["push", "-q", &remote, "HEAD:master"])
        .stderr(Stdio::null())
        .spawn()
        .expect("git starts");
    until("the pack has been read", Duration::from_secs(10), || lab.faults()["landing"] == 1);
    push.kill().expect("it was ours");
    push.wait().expect("it is gone");
    assert_eq!(live(), pushed, "not yet");
    lab.landed();
    assert_ne!(live(), pushed, "later");
    assert_eq!(releases(&lab).len(), before.len() + 3);

    // What cannot be done is refused.
    let refused = lab.ask(
        "POST",
        "/lab/faults",
        &lab.authorized(),
        &json!({ "door": "git", "fault": "cut", "lands_after_ms": 1 }).to_string(),
    );
    assert_eq!(refused.status, 400, "{refused:?}");
}
