//! Faults of Heroku's API and of dynos.

use serde_json::{Value as Json, json};

use super::case::{Case, RESTART};

/// One more web dyno, so that what a lost request did can be told from what was there.
const SCALE: &str = "steps:
  - id: scale
    scale: { type: web, to: 3 }
    gate: { until: live, for: 1s, within: 40s }
";

/// Heroku's release rollback.
const ROLLBACK: &str = "steps:
  - id: rollback
    rollback: { method: release }
    gate: { until: live, for: 1s, within: 40s }
";

/// The run finds the target unusable and asks for no change.
#[track_caller]
fn unusable(case: Case, phrase: &str, hint: &str) {
    let ran = case.run(RESTART).expect(9);
    assert!(ran.stderr.contains(hint), "{hint}: {}", ran.stderr);
    assert_eq!(case.requests(), [""; 0], "nothing was asked for");
    case.end(&ran, &[phrase]);
}

/// The change is refused: asked for once, not done, not tried again.
#[track_caller]
fn refused(case: Case, fault: &Json, steps: &str, request: &str, phrase: &str, hint: &str) {
    let method = request.split(' ').next();
    case.lab.fault(&json!({ "method": method, "fault": fault, "times": 9 }));
    let ran = case.run(steps).expect(5);
    assert!(ran.stderr.contains(hint), "{hint}: {}", ran.stderr);
    assert_eq!(case.requests(), [request], "once: {}", ran.all());
    assert!(ran.all().contains("changed: nothing."), "{}", ran.all());
    case.end(&ran, &[phrase]);
}

#[test]
fn a_wrong_token() {
    let case = Case::begin("401 at the start");
    case.lab.fault(&json!({ "fault": { "refuse": [401, "unauthorized"] }, "times": 99 }));
    unusable(case, "unauthorized", "heroku auth:token");
}

#[test]
fn an_app_that_is_not_there() {
    let case = Case::begin("404 at the start");
    case.lab.fault(
        &json!({ "path": "/apps/wizzypedia", "fault": { "refuse": [404, "not_found"] }, "times": 99 }),
    );
    unusable(case, "not_found", "check the name");
}

#[test]
fn the_api_is_down_at_the_start() {
    let case = Case::begin("503 with HTML at the start, and it stays");
    case.lab.fault(&json!({ "path": "/apps/wizzypedia", "fault": "html", "times": 99 }));
    unusable(case, "error: GET /apps/wizzypedia: 503", "status.heroku.com");
}

#[test]
fn the_rate_limit_is_used_up_at_the_start() {
    let case = Case::begin("429 at the start");
    case.lab.fault(&json!({ "path": "/apps/wizzypedia", "fault": "rate-limit", "times": 99 }));
    unusable(case, "rate_limit", "wait some minutes");
}

#[test]
fn a_change_that_is_forbidden() {
    let case = Case::begin("403 to a restart");
    let fault = json!({ "refuse": [403, "forbidden"] });
    refused(case, &fault, RESTART, "DELETE /dynos", "403 forbidden", "the app's owner");
}

#[test]
fn a_conflict() {
    let case = Case::begin("409 to a release rollback");
    let fault = json!({ "refuse": [409, "conflict"] });
    refused(case, &fault, ROLLBACK, "POST /releases", "409 conflict", "something else is under way");
}

#[test]
fn the_plan_of_dynos_is_used_up() {
    let case = Case::begin("422 to a scale: the plan's limit");
    let fault = json!({ "refuse": [422, "cannot_update_above_limit"] });
    refused(case, &fault, SCALE, "PATCH /formation", "cannot_update_above_limit", "limit of dynos");
}

#[test]
fn the_rate_limit_is_used_up_when_it_matters() {
    let case = Case::begin("429 to a restart");
    refused(case, &json!("rate-limit"), RESTART, "DELETE /dynos", "429 rate_limit", "wait some minutes");
}

/// The change is made; what follows it is read in spite of the fault, and the run is done.
#[track_caller]
fn survived(case: Case, faults: &[Json], phrase: &str) {
    for fault in faults {
        case.lab.fault(fault);
    }
    let ran = case.run(RESTART).expect(0);
    assert_eq!(case.requests(), ["DELETE /dynos"], "once: {}", ran.all());
    case.end(&ran, &[phrase]);
}

#[test]
fn the_api_is_down_for_a_while_after_a_restart() {
    let case = Case::begin("503 with HTML for a while after a restart");
    let fault = json!({
        "method": "GET", "path": "/apps/wizzypedia/dynos", "fault": "html", "times": 7, "after": "DELETE",
    });
    survived(case, &[fault], "the edge spoke, not the API");
}

#[test]
fn the_rate_limit_is_reached_while_a_restart_is_proven() {
    let case = Case::begin("429 for a while after a restart");
    let fault = json!({
        "method": "GET", "path": "/apps/wizzypedia/dynos", "fault": "rate-limit", "times": 3, "after": "DELETE",
    });
    survived(case, &[fault], "rate_limit");
}

#[test]
fn bodies_that_are_cut() {
    let case = Case::begin("answers to reads are cut short");
    let fault = json!({
        "method": "GET", "path": "/apps/wizzypedia/dynos", "fault": "cut", "times": 3, "after": "DELETE",
    });
    survived(case, &[fault], "cut short");
}

#[test]
fn the_answer_to_a_change_is_cut() {
    let case = Case::begin("the answer to a restart is cut short");
    survived(case, &[json!({ "method": "DELETE", "fault": "cut" })], "cut short");
}

#[test]
fn bodies_that_come_in_drops() {
    let case = Case::begin("answers come in drops, for a second or more");
    let fault = json!({
        "method": "GET", "path": "/apps/wizzypedia/dynos", "fault": { "trickle": 60 }, "times": 3,
        "after": "DELETE",
    });
    survived(case, &[fault], "restart: done");
}

#[test]
fn a_list_that_is_stale() {
    let case = Case::begin("the list of dynos is stale after a restart");
    let fault = json!({
        "method": "GET", "path": "/apps/wizzypedia/dynos", "fault": "frozen", "times": 4, "after": "DELETE",
    });
    survived(case, &[fault], "old ones still listed");
}

#[test]
fn a_restart_that_is_accepted_and_does_not_happen() {
    let case = Case::begin("a restart is accepted, and does not happen");
    case.lab.fault(&json!({ "method": "DELETE", "fault": "pretend" }));
    let ran = case.run(&RESTART.replace("restart: all", "restart: all\n    timeout: 5s")).expect(5);
    assert_eq!(case.requests(), ["DELETE /dynos"]);
    case.end(&ran, &["restart: failed"]);
}

#[test]
fn a_dyno_that_never_boots() {
    let case = Case::begin("a dyno never boots");
    case.lab.fault(&json!({ "door": "dyno", "path": "web.", "fault": "never-binds", "times": 9 }));
    let ran = case.run(RESTART).expect(5);
    assert_eq!(case.requests(), ["DELETE /dynos"], "a restart is not tried again");
    case.end(&ran, &["restart: failed", "Error R10"]);
}

#[test]
fn a_dyno_that_crashes_at_boot() {
    let case = Case::begin("a dyno crashes at boot");
    case.lab.fault(&json!({ "door": "dyno", "path": "web.", "fault": "crashes-at-boot", "times": 9 }));
    let ran = case.run(RESTART).expect(5);
    assert_eq!(case.requests(), ["DELETE /dynos"], "a restart is not tried again");
    case.end(&ran, &["restart: failed", "Fatal error"]);
}

#[test]
fn a_token_that_is_revoked_in_the_middle() {
    let case = Case::begin("the token is revoked in the middle of a run");
    case.lab.fault(&json!({ "method": "DELETE", "fault": "revoke" }));
    let ran = case.run(RESTART).expect(5);
    assert_eq!(case.requests(), ["DELETE /dynos"]);
    assert!(ran.stderr.contains("heroku auth:token"), "{}", ran.stderr);
    // With a token that is taken it goes on where it was: the proof is missing, not the restart.
    case.lab.no_faults();
    case.lab.run(&["resume", "--yes"]).expect(0);
    assert_eq!(case.requests(), ["DELETE /dynos"], "still once");
    case.end(&ran, &["unauthorized"]);
}

#[test]
fn reset_before_the_action() {
    let case = Case::begin("the connection breaks before a restart takes effect");
    case.lab.fault(&json!({ "method": "DELETE", "fault": "lose-request" }));
    let ran = case.run(RESTART).expect(0);
    assert_eq!(case.requests(), ["DELETE /dynos"; 2], "again, once it was clear that it had not happened");
    case.end(&ran, &["broke", "did not happen"]);
}

#[test]
fn reset_after_the_action() {
    let case = Case::begin("the connection breaks after a restart took effect");
    case.lab.fault(&json!({ "method": "DELETE", "fault": "lose-answer" }));
    let ran = case.run(RESTART).expect(0);
    assert_eq!(case.requests(), ["DELETE /dynos"], "read back, not repeated");
    case.end(&ran, &["broke", "read back"]);
}

#[test]
fn an_answer_of_the_edge_while_the_platform_acts() {
    let case = Case::begin("500 with HTML to a restart that takes effect 5 s later");
    case.lab.fault(&json!({ "method": "DELETE", "fault": { "html-with": 500 }, "lands_after_ms": 5000 }));
    let ran = case.run(RESTART).expect(0);
    assert_eq!(case.requests(), ["DELETE /dynos"], "read back late enough, not repeated");
    case.end(&ran, &["500, answered with a page of HTML", "read back"]);
}

#[test]
fn a_release_that_lands_later() {
    let case = Case::begin("the connection breaks, and the release is made 5 s later");
    case.lab.fault(&json!({
        "method": "POST", "path": "/releases", "fault": "lose-answer", "lands_after_ms": 5000,
    }));
    let ran = case.run(ROLLBACK).expect(0);
    assert_eq!(case.requests(), ["POST /releases"], "a POST is never repeated blindly");
    case.end(&ran, &["broke", "read back"]);
}

#[test]
fn no_answer_at_all() {
    let case = Case::begin("nothing ever answers a scale, which takes effect 5 s later");
    case.lab.fault(&json!({ "method": "PATCH", "fault": "silence", "lands_after_ms": 5000 }));
    let ran = case.run(SCALE).expect(0);
    assert_eq!(case.requests(), ["PATCH /formation"], "read back, not repeated");
    case.end(&ran, &["no answer in time", "read back"]);
}
