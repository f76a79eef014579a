//! What the guide does with the platform: dynos, config vars, add-ons and their plans.

use serde_json::{Value as Json, json};

use crate::support::shared::Shared;
use crate::support::{Lab, Ran};

fn get(lab: &Lab, path: &str) -> Json {
    lab.app("GET", path, &Json::Null).expect(200).json()
}

fn web(lab: &Lab) -> u64 {
    get(lab, "/formation/web")["quantity"].as_u64().expect("a number")
}

fn workers(lab: &Lab) -> String {
    get(lab, "/config-vars")["WEB_CONCURRENCY"].as_str().unwrap_or("unset").to_owned()
}

/// How often this was asked for.
fn asked(lab: &Lab, method: &str, ending: &str) -> usize {
    let is = |request: &&Json| {
        request["method"] == method && request["path"].as_str().is_some_and(|path| path.ends_with(ending))
    };
    lab.requests().iter().filter(is).count()
}

/// Takes back what the newest run did.
fn undo(lab: &Lab) -> Ran {
    let folder = lab.newest_journal();
    let run = folder
        .parent()
        .and_then(|run| run.file_name())
        .expect("a run's folder")
        .to_string_lossy()
        .into_owned();
    lab.run(&["undo", &run, "--yes"]).expect(0)
}

/// Option 4, and back by its undo: never up, the number of before is known.
#[test]
fn scale_down_and_back() {
    let lab = Shared::take();
    assert_eq!(web(&lab), 2);
    let ran = lab.run(&["run", "scale-down", "--yes", "--set=hold=2s"]).expect(0);
    assert_eq!(web(&lab), 1, "{}", ran.all());
    assert!(ran.all().contains("heroku ps:scale web=2 --app wizzypedia"), "{}", ran.all());
    undo(&lab);
    assert_eq!(web(&lab), 2);
    // With as few already, nothing is done.
    let scaled = asked(&lab, "PATCH", "/formation");
    let ran = lab.run(&["run", "scale-down", "--yes", "--set=to=2", "--set=hold=2s"]).expect(0);
    assert!(ran.all().contains("nothing to do: web is at 2"), "{}", ran.all());
    assert_eq!(asked(&lab, "PATCH", "/formation"), scaled);
}

/// More dynos only where the database has room, with the connections said before; back by its undo.
#[test]
fn scale_up() {
    let lab = Shared::take();
    let full: Vec<_> = (0..90).map(|_| lab.session()).collect();
    let ran = lab.run(&["run", "scale-up", "--yes", "--set=to=3"]).expect(4);
    assert!(ran.all().contains("too few are free") && web(&lab) == 2, "{}", ran.all());
    drop(full);
    crate::support::until("they are gone", std::time::Duration::from_secs(20), || lab.used() < 60);
    let ran = lab.run(&["run", "scale-up", "--yes", "--set=to=3", "--set=hold=3s"]).expect(0);
    assert!(ran.all().contains("connections: up to "), "the plan says what it costs: {}", ran.all());
    assert_eq!(web(&lab), 3, "{}", ran.all());
    undo(&lab);
    assert_eq!(web(&lab), 2);
}

/// PHP processes are limited by a config var: one release that every dyno runs, and what it was comes back by its undo.
#[test]
fn limit_workers_and_back() {
    let lab = Shared::take();
    let was = workers(&lab);
    let retired = lab.retired();
    let ran = lab.run(&["run", "limit-workers", "--yes", "--set=workers=3", "--set=hold=2s"]).expect(0);
    assert_eq!(workers(&lab), "3", "{}", ran.all());
    assert!(ran.all().contains(&format!("WEB_CONCURRENCY: {was} → 3")), "{}", ran.all());
    assert_eq!(lab.retired(), retired + 2, "every dyno was replaced, once");
    // So already: no release, no restart; fewer are never raised.
    let patched = asked(&lab, "PATCH", "/config-vars");
    let again = lab.run(&["run", "limit-workers", "--yes", "--set=workers=5", "--set=hold=2s"]).expect(0);
    assert!(again.all().contains("no release, no restart"), "{}", again.all());
    assert_eq!((asked(&lab, "PATCH", "/config-vars"), lab.retired()), (patched, retired + 2));
    let limited = lab.run(&["runs", "--json"]).expect(0).events();
    let first = limited.iter().filter_map(|run| run["run"].as_str()).nth(1).expect("two runs").to_owned();
    lab.run(&["undo", &first, "--yes"]).expect(0);
    assert_eq!(workers(&lab), was);
}

/// A cache of its own: asked about its price, ordered once although the answer is lost, there when it is provisioned.
#[test]
fn add_cache() {
    let lab = Shared::take();
    let ran = lab.run(&["run", "add-cache", "--yes"]).expect(6);
    assert!(ran.all().contains("heroku-redis:mini costs $3 a month"), "{}", ran.all());
    let ran = lab.run(&["run", "add-cache", "--yes", "--set=up_to=2"]).expect(9);
    assert!(ran.all().contains("more than the $2 a month"), "{}", ran.all());
    assert_eq!(asked(&lab, "POST", "/addons"), 0);

    // A provider that gives up: said, and the next order goes through.
    let gives_up = ["run", "add-cache", "--yes", "--set=plan=heroku-redis:private-9", "--set=up_to=900"];
    let ran = lab.run(&gives_up).expect(5);
    assert!(ran.all().contains("is deprovisioned: the provider has given it up"), "{}", ran.all());

    lab.fault(&json!({ "method": "POST", "path": "/addons", "fault": "lose-answer" }));
    let ran = lab.run(&["run", "add-cache", "--yes", "--set=up_to=5"]).expect(0);
    assert_eq!(asked(&lab, "POST", "/addons"), 2, "read back, not sent again: {}", ran.all());
    for wanted in [
        "read back: happened",
        "is provisioned on heroku-redis:mini",
        "$wgObjectCaches['redis']",
        "addons:destroy",
    ] {
        assert!(ran.all().contains(wanted), "{wanted}: {}", ran.all());
    }
    let config = get(&lab, "/config-vars");
    let url = config["REDIS_URL"].as_str().expect("it is set");
    assert!(url.starts_with("rediss://"), "the final value: {url}");
    assert!(!lab.state().contains(url) && !ran.all().contains(url), "it is a secret");
    let dynos = get(&lab, "/dynos");
    let newest = get(&lab, "/releases").as_array().expect("a list").len() as u64;
    for dyno in dynos.as_array().expect("a list") {
        assert_eq!(dyno["release"]["version"], newest, "{dyno}");
    }
    // One is enough.
    let ran = lab.run(&["run", "add-cache", "--yes"]).expect(0);
    assert!(ran.all().contains("nothing to do") && asked(&lab, "POST", "/addons") == 2, "{}", ran.all());
}

/// A larger plan: the plans are listed, both prices named, and the limit is measured before and after.
#[test]
fn upgrade_plan() {
    let lab = Shared::take();
    let ran = lab.run(&["run", "upgrade-plan", "--yes"]).expect(9);
    for wanted in
        ["no plan was named", "jawsdb-maria:blacktip (Blacktip) costs $50 a month", "jawsdb-maria:leopard"]
    {
        assert!(ran.all().contains(wanted), "{wanted}: {}", ran.all());
    }
    let ran = lab.run(&["run", "upgrade-plan", "--yes", "--set=plan=blacktip"]).expect(6);
    let asks = "jawsdb-maria:blacktip costs $50 a month, and jawsdb-maria:leopard costs $10 a month now";
    assert!(ran.all().contains(asks), "{}", ran.all());
    assert_eq!(asked(&lab, "PATCH", "/addons/jawsdb-maria-deep-12345"), 0);

    let ran = lab.run(&["run", "upgrade-plan", "--yes", "--set=plan=blacktip", "--set=up_to=50"]).expect(0);
    assert!(ran.all().contains("limit 300, steps.upgrade.limit_before 150"), "{}", ran.all());
    let told = ran.all().split_whitespace().collect::<Vec<_>>().join(" ");
    let back = "heroku addons:upgrade jawsdb-maria-deep-12345 jawsdb-maria:leopard";
    assert!(told.contains(back), "{told}");
    // Its undo is a purchase, too.
    let folder = lab.newest_journal();
    let run = folder
        .parent()
        .and_then(|run| run.file_name())
        .expect("a run's folder")
        .to_string_lossy()
        .into_owned();
    let ran = lab.run(&["undo", &run, "--yes"]).expect(6);
    assert!(ran.all().contains("jawsdb-maria:leopard costs $10 a month"), "{}", ran.all());
    lab.app("PATCH", "/addons/jawsdb-maria-deep-12345", &json!({ "plan": "jawsdb-maria:leopard" }))
        .expect(200);
    crate::support::until("the dynos are up", std::time::Duration::from_secs(30), || {
        get(&lab, "/dynos").as_array().is_some_and(|dynos| dynos.iter().all(|dyno| dyno["state"] == "up"))
    });
}
