//! `runbook check`: good files pass, bad ones get every fault with its place, in one go. The texts are snapshots.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use support::runbook;

fn files(folder: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .expect("a folder")
        .map(|entry| format!("{folder}/{}", entry.expect("an entry").file_name().to_string_lossy()))
        .collect();
    files.sort();
    files
}

fn check(file: &str) -> support::Ran {
    runbook(Path::new(env!("CARGO_MANIFEST_DIR")), &BTreeMap::new(), &["check", file])
}

#[test]
fn good_files_pass() {
    let files = [files("tests/check/pass"), files("runbooks")].concat();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let ran = check(&file).expect(0);
        assert!(!ran.all().contains("error"), "{}", ran.all());
    }
}

#[test]
fn bad_files_get_every_fault_with_its_place() {
    for file in files("tests/check/fail") {
        let ran = check(&file).expect(3);
        let name = Path::new(&file).file_stem().expect("a name").to_string_lossy().into_owned();
        insta::assert_snapshot!(name, ran.all().trim());
    }
}

#[test]
fn ten_faults_give_ten_diagnostics_each_with_file_line_and_column() {
    let ran = check("tests/check/fail/ten-faults.yaml").expect(3);
    let text = ran.all();
    let errors = text.lines().filter(|line| line.starts_with("error")).count();
    assert!(errors >= 10, "{errors} errors in:\n{text}");
    let places = text.lines().filter(|line| line.contains("ten-faults.yaml:")).count();
    assert!(places >= 10, "{places} places in:\n{text}");
    for line in [2, 5, 7, 8, 11, 13, 14, 15, 16, 20, 22, 24] {
        assert!(text.contains(&format!("ten-faults.yaml:{line}:")), "line {line} in:\n{text}");
    }
    assert!(text.contains('^'), "a caret shows the place");
}

#[test]
fn files_that_cannot_be_read_are_said() {
    let ran = check("tests/check/nowhere.yaml");
    assert_ne!(ran.code, 0);
    assert!(ran.all().contains("nowhere.yaml"), "{}", ran.all());
}
