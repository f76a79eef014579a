//! The deployment guide, row by row: each row of `docs/guide.md` is one command, and each has one test here that runs it
//! in the rehearsal lab.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

#[path = "guide/aftercare.rs"]
mod aftercare;
#[path = "guide/commands.rs"]
mod commands;
#[path = "guide/edit.rs"]
mod edit;
#[path = "guide/jobs.rs"]
mod jobs;
#[path = "guide/people.rs"]
mod people;
#[path = "guide/platform.rs"]
mod platform;
#[path = "guide/promises.rs"]
mod promises;
#[path = "guide/steps.rs"]
mod steps;
mod support;
#[path = "guide/traps.rs"]
mod traps;

/// The areas, in which the tests stand.
const AREAS: &[(&str, &str)] = &[
    ("steps", include_str!("guide/steps.rs")),
    ("aftercare", include_str!("guide/aftercare.rs")),
    ("commands", include_str!("guide/commands.rs")),
    ("jobs", include_str!("guide/jobs.rs")),
    ("edit", include_str!("guide/edit.rs")),
    ("people", include_str!("guide/people.rs")),
    ("traps", include_str!("guide/traps.rs")),
    ("platform", include_str!("guide/platform.rs")),
    ("promises", include_str!("guide/promises.rs")),
];

/// Rows of the table: command and test.
fn rows() -> Vec<(&'static str, &'static str)> {
    include_str!("../docs/guide.md")
        .lines()
        .filter(|line| line.starts_with("| ") && line.ends_with(" |"))
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let test = cells.last()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((*cells.get(1)?, test))
        })
        .collect()
}

/// Each row has a test, each test a row; the runbooks that the rows name are shipped.
#[test]
fn each_row_has_its_test() {
    let mut tests: Vec<String> = AREAS
        .iter()
        .flat_map(|(area, source)| {
            source
                .split("#[test]\nfn ")
                .skip(1)
                .map(move |rest| format!("{area}::{}", rest.split('(').next().unwrap_or_default()))
        })
        .collect();
    let mut named: Vec<&str> = rows().into_iter().map(|(_, test)| test).collect();
    tests.sort_unstable();
    named.sort_unstable();
    assert_eq!(named, tests, "docs/guide.md on the left, tests/guide on the right");
    for (command, test) in rows() {
        for name in command.split("runbook run ").skip(1) {
            let name = name.split([' ', '`']).next().unwrap_or_default();
            let shipped = runbook::plan::EMBEDDED.iter().any(|(known, _)| *known == name);
            assert!(shipped, "{test}: no runbook is called {name}");
        }
    }
}
