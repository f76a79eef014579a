//! The format's reference and schema are what the binary says, and the schema takes what the reader takes.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn said(arguments: &[&str]) -> String {
    support::runbook(root(), &BTreeMap::new(), arguments).expect(0).stdout
}

#[test]
fn the_committed_reference_and_schema_are_what_the_binary_says() {
    for (file, command) in [
        ("docs/format.md", &["schema", "--markdown"][..]),
        ("docs/runbook.schema.json", &["schema"]),
        ("docs/guardrails.schema.json", &["schema", "--guardrails"]),
    ] {
        let committed = std::fs::read_to_string(root().join(file)).expect("a committed file");
        let now = said(command);
        assert!(committed == now, "{file} is stale: `runbook {} > {file}`", command.join(" "));
    }
}

fn yaml_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            yaml_files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            into.push(path);
        }
    }
}

/// A YAML file as the JSON that an editor's schema check sees.
fn json_of(path: &Path) -> Json {
    let text = std::fs::read_to_string(path).expect("a file");
    serde_saphyr::from_str(&text).expect("YAML")
}

#[test]
fn the_schema_takes_every_good_runbook_and_refuses_faults_of_shape() {
    let schema: Json = serde_json::from_str(&said(&["schema"])).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let mut good = Vec::new();
    yaml_files(&root().join("runbooks"), &mut good);
    yaml_files(&root().join("tests/check/pass"), &mut good);
    yaml_files(&root().join("tests/check/verbs"), &mut good);
    good.retain(|path| !path.ends_with("fail.yaml"));
    assert!(good.len() > 15, "{good:?}");
    for path in good {
        let faults: Vec<_> = validator.iter_errors(&json_of(&path)).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", path.display());
    }
    for name in ["headers", "inputs", "shape", "gates", "future-format", "ten-faults", "ladder-of-reads"] {
        let path = root().join(format!("tests/check/fail/{name}.yaml"));
        assert!(!validator.is_valid(&json_of(&path)), "{name} passes");
    }
}

#[test]
fn the_schema_of_guardrails_takes_good_ones_and_refuses_faults_of_shape() {
    let schema: Json = serde_json::from_str(&said(&["schema", "--guardrails"])).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let good = json_of(&root().join("tests/check/guardrails/whole.yaml"));
    let faults: Vec<_> = validator.iter_errors(&good).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(!validator.is_valid(&json_of(&root().join("tests/check/fail/guardrails-file.yaml"))));
}

#[test]
fn every_shipped_runbook_names_the_schema_beside_it() {
    let mut shipped = Vec::new();
    yaml_files(&root().join("runbooks"), &mut shipped);
    for path in shipped {
        let text = std::fs::read_to_string(&path).expect("a file");
        let line = text.lines().next().unwrap_or_default();
        assert_eq!(line, "# yaml-language-server: $schema=../docs/runbook.schema.json", "{}", path.display());
    }
}

/// What a person reads at 80 columns fits.
#[test]
fn list_and_explain_fit_a_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let run =
        |arguments: &[&str]| support::runbook(folder.path(), &BTreeMap::new(), arguments).expect(0).stdout;
    let list = run(&["list"]);
    let names: Vec<&str> =
        list.lines().filter(|line| !line.starts_with([' ', '`']) && !line.is_empty()).collect();
    assert!(names.len() >= 3, "{names:?}");
    let mut pages = vec![list.clone()];
    pages.extend(names.iter().map(|name| run(&["explain", name])));
    for page in pages {
        for line in page.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}

#[test]
fn new_writes_what_check_takes_and_never_overwrites() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| support::runbook(folder.path(), &BTreeMap::new(), arguments);
    run(&["new", "tidy-up"]).expect(0);
    let file = folder.path().join("runbooks/tidy-up.yaml");
    let written = std::fs::read(&file).expect("the file");
    let ran = run(&["check", "runbooks/tidy-up.yaml"]).expect(0);
    assert_eq!(ran.all().trim(), "runbooks/tidy-up.yaml: valid");
    assert!(run(&["list"]).expect(0).stdout.contains("tidy-up"));
    let again = run(&["new", "tidy-up"]).expect(2);
    assert!(again.stderr.contains("nothing was written"), "{}", again.stderr);
    assert_eq!(std::fs::read(&file).expect("the file"), written);
    for bad in ["Tidy", "../up", "a b", ""] {
        run(&["new", bad]).expect(2);
    }
}

#[test]
fn a_broken_file_is_the_fault_of_its_own_name_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let books = folder.path().join("runbooks");
    std::fs::create_dir(&books).expect("a folder");
    std::fs::write(books.join("broken.yaml"), b"\xff\xfe").expect("a file");
    std::fs::write(books.join("wrong.yaml"), "runbook: 1\nname: wrong\n").expect("a file");
    std::fs::create_dir(books.join("folder.yaml")).expect("a folder");
    let run = |arguments: &[&str]| support::runbook(folder.path(), &BTreeMap::new(), arguments);
    let list = run(&["list"]).expect(0).stdout;
    assert!(
        list.contains("emergency") && list.contains("NOT USABLE") && list.contains("NOT VALID"),
        "{list}"
    );
    let rows: Json = serde_json::from_str(&run(&["list", "--json"]).expect(0).stdout).expect("JSON");
    let valid = |name: &str| {
        rows.as_array()
            .and_then(|rows| rows.iter().find(|row| row["name"] == name))
            .map(|row| row["valid"].clone())
    };
    assert_eq!(
        (valid("emergency"), valid("broken"), valid("wrong")),
        (Some(true.into()), Some(false.into()), Some(false.into()))
    );
    run(&["explain", "emergency"]).expect(0);
    run(&["explain", "broken"]).expect(3);
    run(&["explain", "wrong"]).expect(3);
    let ran = run(&["explain", "emergancy"]).expect(2);
    assert!(ran.stderr.contains("did you mean `emergency`?"), "{}", ran.stderr);
}

/// Everything that is found before the app is even asked for: no credentials are set here.
#[test]
fn what_the_command_line_says_wrong_is_found_before_anything_happens() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| support::runbook(folder.path(), &BTreeMap::new(), arguments);
    for (arguments, code, words) in [
        (&["run", "emergancy", "--dry-run"][..], 2, "did you mean `emergency`?"),
        (
            &["run", "emergency", "--dry-run", "--set", "holdd=3s", "--set", "idle=60"],
            2,
            "did you mean `hold`?",
        ),
        (&["run", "emergency", "--dry-run", "--set", "idle=60"], 2, "`60s`"),
        (&["run", "emergency", "--dry-run", "--set", "dynos=0"], 2, "too small"),
        (&["run", "emergency", "--dry-run", "--set", "hold"], 2, "NAME=VALUE"),
        (
            &["run", "emergency", "--dry-run", "--set", "hold=30s", "--set", "within=10s"],
            2,
            "make `within` longer",
        ),
        (&["run", "rollback", "--dry-run", "--set", "method=reverse"], 2, "did you mean `revert`?"),
        (&["run", "emergency", "--dry-run", "--only", "clmb"], 2, "did you mean `climb`?"),
        (&["run", "emergency", "--dry-run", "--from", "restart"], 2, "a rung of `climb`"),
        (&["run", "emergency", "--dry-run", "--skip", "restrat"], 2, "did you mean `restart`?"),
        (&["run", "rollback", "--dry-run", "--skip", "rollback", "--skip", "restart"], 2, "no step to run"),
    ] {
        let ran = run(arguments).expect(code);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    }
    std::fs::create_dir(folder.path().join("runbooks")).expect("a folder");
    let embedded = std::fs::read(root().join("runbooks/emergency.yaml")).expect("a file");
    std::fs::write(folder.path().join("runbooks/emergency.yaml"), embedded).expect("a file");
    let ran = run(&["run", "emergency", "--yes"]).expect(6);
    assert!(ran.stderr.contains("--runbooks"), "{}", ran.stderr);
    // Named, it passes on to what is missing next: the app and its credentials.
    run(&["run", "emergency", "--yes", "--runbooks", "runbooks"]).expect(9);
}
