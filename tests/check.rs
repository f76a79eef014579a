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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn check(file: &str) -> support::Ran {
    runbook(root(), &BTreeMap::new(), &["check", file])
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

/// A verb is part of the language once it is shown what it takes and what it refuses.
#[test]
fn every_verb_has_a_file_that_passes_and_one_that_fails() {
    let verbs = runbook::action::VERBS.iter().map(|entry| entry.name).chain(["ladder", "include"]);
    for verb in verbs {
        let folder = format!("tests/check/verbs/{verb}");
        let good = format!("{folder}/pass.yaml");
        let ran = check(&good).expect(0);
        assert!(ran.all().trim() == format!("{good}: valid"), "{}", ran.all());
        let text = std::fs::read_to_string(root().join(&good)).expect("a file");
        for entry in runbook::action::VERBS.iter().filter(|entry| entry.name == verb) {
            for field in entry.shape.fields {
                assert!(text.contains(field.name), "{good} does not show `{}`", field.name);
            }
            for output in entry.outputs {
                let shown = text.contains(&format!(".{}", output.name));
                assert!(shown, "{good} does not read the output `{}`", output.name);
            }
        }
        let ran = check(&format!("{folder}/fail.yaml")).expect(3);
        insta::assert_snapshot!(format!("verb-{verb}"), ran.all().trim());
    }
}

/// Writes a file and checks it.
fn check_text(name: &str, text: &[u8]) -> support::Ran {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(name), text).expect("a file");
    runbook(folder.path(), &BTreeMap::new(), &["check", name])
}

const HEAD: &str = "runbook: 1\nname: x\nsummary: s\n";

#[test]
fn what_editors_of_other_systems_write_is_read() {
    let plain = format!("{HEAD}steps:\n  - diagnose:\n");
    for text in [plain.clone(), format!("\u{feff}{plain}"), plain.replace('\n', "\r\n")] {
        check_text("x.yaml", text.as_bytes()).expect(0);
    }
    let faulty = plain.replace("diagnose", "diagnosee").replace('\n', "\r\n");
    let ran = check_text("x.yaml", faulty.as_bytes()).expect(3);
    assert!(
        ran.stderr.contains("x.yaml:5:5") && ran.stderr.contains("did you mean `diagnose`?"),
        "{}",
        ran.all()
    );
}

#[test]
fn hostile_files_get_a_message_and_cost_little() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    let maps = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("an alias bomb", bomb.into_bytes(), "too large or too deeply nested"),
        ("deep lists", "[".repeat(5000).into_bytes(), "too large or too deeply nested"),
        ("deep maps", maps.into_bytes(), "too large or too deeply nested"),
        ("ten megabytes", vec![b'a'; 10 << 20], "a runbook may have 1048576"),
        ("bytes", b"runbook: 1\nname: \xff\xfe\n".to_vec(), "x.yaml:2:7: this is not UTF-8"),
        (
            "utf-16",
            "runbook: 1".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "hidden character (U+0000)",
        ),
        ("an escape", b"name: '\x1b[2J'\n".to_vec(), "hidden character (U+001B)"),
        ("tabs", format!("{HEAD}steps:\n\t- diagnose:\n").into_bytes(), "indent with spaces"),
        ("two documents", format!("{HEAD}steps: []\n---\n{HEAD}").into_bytes(), "second document"),
        ("a list for a key", format!("{HEAD}steps:\n  - ? [a]\n    : b\n").into_bytes(), "x.yaml:5:"),
        (
            "a long condition",
            format!("{HEAD}steps:\n  - when: {}live\n    diagnose:\n", "(".repeat(2000)).into_bytes(),
            "nested more than",
        ),
        ("nothing", Vec::new(), "the file is empty"),
    ];
    for (what, text, words) in cases {
        let ran = check_text("x.yaml", &text).expect(3);
        assert!(ran.stderr.contains(words), "{what}:\n{}", ran.all());
        assert!(!ran.all().contains('\u{1b}') && !ran.all().contains("panicked"), "{what}:\n{}", ran.all());
        assert!(ran.all().len() < 4000, "{what}: {} bytes of message", ran.all().len());
        assert!(ran.took < std::time::Duration::from_secs(5), "{what}: {:?}", ran.took);
    }
    let odd = check_text("a\u{1b}[31mb.yaml", b"nothing: here\n").expect(3);
    assert!(!odd.all().contains('\u{1b}'), "the file's own name is shown raw: {:?}", odd.all());
}

#[test]
fn codes_say_the_worst_of_all_files_and_json_has_every_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
    write("x.yaml", &format!("{HEAD}steps:\n  - diagnose:\n"));
    write("bad.yaml", &format!("{HEAD}steps:\n  - diagnosee:\n  - restrat:\n"));
    let run = |files: &[&str]| runbook(folder.path(), &BTreeMap::new(), files);
    run(&["check", "x.yaml"]).expect(0);
    run(&["check", "x.yaml", "bad.yaml"]).expect(3);
    run(&["check", "x.yaml", "nowhere.yaml"]).expect(2);
    run(&["check", "."]).expect(2);
    run(&["check"]).expect(2);
    let rows = run(&["check", "--json", "bad.yaml"]).expect(3).events();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(
        (rows[1]["file"].as_str(), rows[1]["line"].as_u64(), rows[1]["column"].as_u64()),
        (Some("bad.yaml"), Some(6), Some(5))
    );
    assert!(rows[1]["help"][0].as_str().is_some_and(|help| help.contains("restart")), "{rows:?}");
    let rows = run(&["check", "--json", "nowhere.yaml"]).expect(2).events();
    assert!(rows[0]["message"].as_str().is_some_and(|message| message.contains("nowhere.yaml")), "{rows:?}");
}

#[test]
fn ten_faults_give_ten_diagnostics_each_with_file_line_and_column() {
    let ran = check("tests/check/fail/ten-faults.yaml").expect(3);
    let text = ran.all();
    let errors = text.lines().filter(|line| line.starts_with("error")).count();
    assert!(errors >= 10, "{errors} errors in:\n{text}");
    let places = text.lines().filter(|line| line.contains("ten-faults.yaml:")).count();
    assert!(places >= 10, "{places} places in:\n{text}");
    for line in [2, 5, 7, 8, 11, 13, 14, 15, 16, 18, 20, 22, 24] {
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
