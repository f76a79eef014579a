//! Option 1, and it stays so: what the run does when health falls again.

use std::time::Duration;

use crate::support::shared::Shared;
use crate::support::until;

/// The kill heals, the connections come back while it watches, and the next rung is taken: not the same one again.
#[test]
fn health_that_falls_again_is_seen_to() {
    let lab = Shared::take();
    let held: Vec<_> = (0..100).map(|_| lab.session()).collect();
    until("they are asleep", Duration::from_secs(20), || lab.sleeping(2) >= 100);
    let child = lab.start(&[
        "run",
        "emergency",
        "--yes",
        "--json",
        "--set=idle=2s",
        "--set=healthy_below=40%",
        "--set=hold=2s",
        "--set=within=30s",
        "--set=watch=12s",
    ]);
    until("it healed, and is watched", Duration::from_secs(60), || {
        lab.state().contains("it is watched for 12s")
    });
    let (retired, kills) = (lab.retired(), lab.traces().kills);
    let again: Vec<_> = (0..100).map(|_| lab.session()).collect();
    until("the next rung is taken", Duration::from_secs(60), || lab.retired() >= retired + 2);
    drop(again);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("not so for 10s: to rung restart"), "{text}");
    assert!(text.contains("stayed so for 12s"), "{text}");
    assert_eq!(lab.traces().kills, kills, "the rung that did not last was not tried again: {text}");
    lab.healthy_below(0.40);
    drop(held);
}
