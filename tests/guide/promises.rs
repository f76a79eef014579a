//! The guide's four promises, as `verify` proves them at the end of `deploy-fix`, and its step 4 as a command of its own.
//! All are looked at in the one run of the guide's steps.

use serde_json::Value as Json;

use crate::steps::deployed;

/// Outputs of the figures of before, and of the proof.
fn figures() -> [&'static Json; 2] {
    ["before", "prove"].map(|step| &deployed().finished(step)["done"]["outputs"])
}

fn number(outputs: &Json, name: &str) -> f64 {
    outputs[name].as_f64().unwrap_or_else(|| panic!("{name} of {outputs}"))
}

/// The line of a verdict as a person read it, at the end of its time stamp.
fn verdict(promise: &str) -> &'static str {
    let line = deployed().said.lines().find(|line| line.contains(" kept ") && line.contains(promise));
    line.unwrap_or_else(|| panic!("{promise} is kept: {}", deployed().said))
}

#[test]
fn usage_falls() {
    let [before, after] = figures();
    assert!(number(before, "usage") >= 0.95 && number(after, "usage") < 0.40, "{before} {after}");
    assert_eq!(after["usage_falls"], "kept", "{after}");
    let said = verdict("usage below 40%");
    assert!(said.contains(" → ") && said.contains('%'), "{said}");
    // The database itself says so too.
    let [was, is] = deployed().used;
    assert!(was * 100 >= 95 * 150 && is * 100 < 40 * 150, "{was} {is}");
}

#[test]
fn pages_load_faster() {
    let [before, after] = figures();
    for side in [before, after] {
        assert!(number(side, "requests") >= 30.0, "thirty pages each side: {side}");
    }
    let answered = |side: &Json| number(side, "answered") / number(side, "requests");
    assert!(answered(before) < 0.95 && answered(after) >= 0.95, "{before} {after}");
    let latencies = after["latencies"].as_str().expect("a text").split_whitespace().count();
    let told = number(after, "answered");
    assert!((told - latencies as f64).abs() < 0.5, "only answered pages have a time: {after}");
    assert!(number(after, "p50") <= number(after, "p95"), "{after}");
    // In the lab an exhausted page fails at once: what is faster is that a page comes at all, and it is said so.
    assert_ne!(after["pages_faster"], "broken", "{after}");
    let said = &deployed().said;
    assert!(said.contains("pages load faster") && said.contains("p50 "), "{said}");
}

#[test]
fn no_more_too_many_connections() {
    let [before, after] = figures();
    assert!(number(before, "exhausted") > 0.0 && number(before, "refused") > 0.0, "{before}");
    assert_eq!((number(after, "exhausted"), number(after, "refused")), (0.0, 0.0), "{after}");
    assert_eq!(after["no_errors"], "kept", "{after}");
    verdict("no \"Too many connections\"");
    let pages = &deployed().lab["pages"];
    assert_eq!(pages["recent_errors"], 0, "visitors see none either: {pages}");
}

#[test]
fn stable_under_load() {
    let [_, after] = figures();
    assert_eq!((number(after, "growth"), &after["time_to_full"]), (0.0, &Json::Null), "no end: {after}");
    assert!(number(after, "spread") <= 0.20, "{after}");
    assert_eq!(after["stable"], "kept", "{after}");
    let said = verdict("stable under load");
    assert!(said.contains("slope"), "{said}");
    let load = deployed().said.lines().find(|line| line.contains("time to full: no end")).expect("the load");
    assert!(load.contains(" pages, ") && !load.contains(" 0.0 new sessions"), "under load: {load}");
}

/// Under the leak it fails as soon as health is lost; after the fix it holds. Either way it has figures.
#[test]
fn monitor() {
    let [failing, holding] = &deployed().watched;
    assert_eq!(failing.code, 4, "{}", failing.all());
    assert!(failing.took.as_secs() < 60, "it does not wait for the end: {:?}", failing.took);
    for said in
        ["✗ broken      usage below 40%", "time to full:", "slope", "verdict: leak", "runbook run emergency"]
    {
        assert!(failing.all().contains(said), "{said}: {}", failing.all());
    }
    assert_eq!(holding.code, 0, "{}", holding.all());
    for said in ["4 of 4 promises kept", "time to full: no end", "changed: nothing", "no lock is taken"] {
        assert!(holding.all().contains(said), "{said}: {}", holding.all());
    }
}
