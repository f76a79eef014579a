//! What can go wrong at 3 a.m., one test a fault: a whole run against the rehearsal, its exit code, what the person
//! saw, what was changed (never twice), what the journal says, and that the next run works. Each test has its row in
//! `docs/reliability.md`.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

#[path = "faults/case.rs"]
mod case;
#[path = "faults/database.rs"]
mod database;
#[path = "faults/git.rs"]
mod git;
#[path = "faults/local.rs"]
mod local;
#[path = "support/mariadb.rs"]
mod mariadb;
#[path = "faults/platform.rs"]
mod platform;
mod support;

use case::TABLE;

/// The table has a row for each fault that is tested here, and no others.
#[test]
fn each_fault_has_its_row() {
    let sources = [
        include_str!("faults/database.rs"),
        include_str!("faults/git.rs"),
        include_str!("faults/local.rs"),
        include_str!("faults/platform.rs"),
    ];
    let names: Vec<&str> = sources
        .iter()
        .flat_map(|source| source.split("Case::begin(\"").skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    TABLE.only(&names);
}

#[test]
fn what_differs_from_run_to_run_has_stand_ins() {
    for (line, same) in [
        ("restart: failed in 913ms — again in 1.2 s", "restart: failed in N s — again in N s"),
        ("POST http://127.0.0.1:41685/wizzypedia.git: v12", "POST http://127.0.0.1:PORT/wizzypedia.git: vN"),
        ("pushing 42785674 by me@here (pid 77)", "pushing COMMIT by USER@HOST (pid N)"),
        ("in /tmp/rbx/lab/state/runs/20261125-095536-5syd:", "in /…/state/runs/RUN:"),
        ("error 1040, 401 of 2 dynos", "error 1040, 401 of 2 dynos"),
    ] {
        assert_eq!(support::table::steady(line), same);
    }
}
