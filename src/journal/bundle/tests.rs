//! Bundles: what was packed is what is taken, and nothing else gets in.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::super::reader::read_run;
use super::super::store::Store;
use super::super::writer::Journal;
use super::*;
use crate::engine::Event;
use crate::engine::driver::Record;
use crate::plan::{Selection, Target};

const RUN: &str = "20260101-000000-aaaa";

fn started(run: &str, reason: &str) -> Event {
    let record = serde_json::json!({
        "tool": "test", "runbook": "emergency", "source": "embedded", "text": "runbook: 1\r\n\tname: t\n",
        "inputs": {}, "selection": Selection::default(), "target": Target::default(), "deadline_ms": null,
    });
    let start = serde_json::json!({
        "type": "run_started", "run": run, "plan": "p", "record": record, "mode": "live",
        "by": "kim@laptop", "reason": reason,
    });
    serde_json::from_value(start).unwrap()
}

/// A store with one run: a journal, samples, a file of evidence.
fn store_with(events: &[Event]) -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(&root.path().join("state")).unwrap();
    let folder = store.create_run(RUN).unwrap();
    let mut journal = Journal::create(RUN, &folder).unwrap();
    for event in events {
        journal.append(event).unwrap();
    }
    fs::create_dir(folder.join("evidence")).unwrap();
    fs::write(folder.join("evidence/dynos.json"), "[\n  \"web.1\"\n]\n").unwrap();
    (root, store)
}

fn header(store: &Store) -> Header {
    let head = read_run(&store.run_folder(RUN)).unwrap().head.to_string();
    Header { run: RUN.into(), packed: jiff::Timestamp::UNIX_EPOCH, by: "kim@laptop".into(), head, files: 0 }
}

fn packed() -> Vec<u8> {
    let (_root, store) = store_with(&[started(RUN, "why"), Event::Notice { text: "told".into() }]);
    pack(&store.run_folder(RUN), &header(&store), "read me\n").unwrap().bytes
}

fn empty_store() -> (tempfile::TempDir, Store) {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(&root.path().join("state")).unwrap();
    (root, store)
}

/// A bundle of any files, with sums that fit.
fn made(run: &str, head: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let header = serde_json::json!({
        "run": run, "packed": jiff::Timestamp::UNIX_EPOCH, "by": "b", "head": head, "files": files.len(),
    });
    let mut bytes = format!("{}\n{header}\n", first_line()).into_bytes();
    for (name, content) in files {
        bytes.extend(
            format!("{name} {} {}\n{content}\n", content.len(), sum(content.as_bytes())).into_bytes(),
        );
    }
    let end = format!("end {}\n", sum(&bytes));
    bytes.extend(end.into_bytes());
    bytes
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let (root, store) = empty_store();
    let error = take(&store, bytes, "ann@desk").unwrap_err().to_string();
    assert!(error.contains(why), "{why}: {error}");
    assert!(store.ids().unwrap().is_empty());
    let left = fs::read_dir(root.path().join("state")).unwrap().count();
    assert_eq!(left, 2, "nothing is left beside runs and locks");
}

#[test]
fn what_was_packed_is_taken_private_and_whole_and_never_twice() {
    let bytes = packed();
    assert!(bytes.starts_with(b"runbook handoff 1\n{\"run\":\"20260101-000000-aaaa\""));
    assert!(String::from_utf8_lossy(&bytes).contains("\nread me\n"), "a pager shows the README");
    let (_root, store) = empty_store();
    let taken = take(&store, &bytes, "ann@desk").unwrap();
    assert_eq!((taken.header.run.as_str(), taken.header.files), (RUN, 4));
    assert_eq!(taken.recorded, read_run(&taken.folder).unwrap());
    assert_eq!(store.find("aaaa").unwrap().1, taken.folder);
    for (name, mode) in
        [("", 0o700), ("journal.jsonl", 0o600), ("evidence", 0o700), ("evidence/dynos.json", 0o600)]
    {
        let found = fs::metadata(taken.folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    assert!(fs::read_to_string(taken.folder.join("taken.json")).unwrap().contains("ann@desk"));
    assert_eq!(take(&store, &bytes, "ann@desk").unwrap_err(), BundleError::Exists(RUN.into()));
    // It can be handed on: what belongs to one machine's copy is not packed again.
    let again = pack(&taken.folder, &header(&store), "read me\n").unwrap();
    assert_eq!(again.files, ["README.txt", "journal.jsonl", "evidence/dynos.json", "samples.jsonl"]);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in [
        "../x",
        "/etc/x",
        "a/../x",
        "a/b/c",
        "..",
        ".hidden",
        "evidence/.x",
        "a//b",
        "a\\b/",
        "taken.json",
        "handed-over.json",
        "\u{1b}[2J",
        "e\u{301}",
        &"x".repeat(90),
    ] {
        refused(&made(RUN, "h", &[(name, "x")]), "no name of a run's file");
    }
    refused(&made(RUN, "h", &[("a", "x"), ("a", "y")]), "twice");
    refused(&made(RUN, "h", &[("a", "x"), ("A", "y")]), "twice");
    refused(&made(RUN, "h", &[("a", "x"), ("a/b", "y")]), "twice");
    refused(&made("../../x", "h", &[("a", "x")]), "names no run");
    refused(&made(RUN, "h", &[("README.txt", "x")]), "no journal");
}

#[test]
fn what_was_changed_cut_or_belongs_to_another_run_is_refused() {
    let bytes = packed();
    refused(b"", "first line");
    refused(b"PK\x03\x04\n", "does not begin with");
    refused(b"runbook handoff 2\n{}\n", "this tool takes");
    refused(&bytes[..bytes.len() - 70], "");
    let text = String::from_utf8(bytes.clone()).unwrap();
    refused(text.replace("read me", "read ME").as_bytes(), "README.txt was changed");
    refused(format!("{text}more").as_bytes(), "the whole");
    refused(
        text.replace("\"by\":\"kim@laptop\",\"head\"", "\"by\":\"eve@laptop\",\"head\"").as_bytes(),
        "the whole",
    );

    let (_root, store) = store_with(&[started(RUN, "why")]);
    let journal = fs::read_to_string(store.run_folder(RUN).join("journal.jsonl")).unwrap();
    let head = header(&store).head;
    refused(&made("20260101-000000-bbbb", &head, &[("journal.jsonl", &journal)]), "of another run");
    refused(&made(RUN, &"0".repeat(64), &[("journal.jsonl", &journal)]), "does not lead to the head");
    refused(&made(RUN, &head, &[("journal.jsonl", &journal.replace("why", "not"))]), "damaged at line 2");
    let (_root, store) = store_with(&[Event::Notice { text: "no start".into() }]);
    let journal = fs::read_to_string(store.run_folder(RUN).join("journal.jsonl")).unwrap();
    refused(&made(RUN, &header(&store).head, &[("journal.jsonl", &journal)]), "start of a run");
}

#[test]
fn terminal_escapes_in_any_file_are_refused() {
    let (_root, store) = store_with(&[started(RUN, "\u{1b}[2J")]);
    let bytes = pack(&store.run_folder(RUN), &header(&store), "r").unwrap().bytes;
    refused(&bytes, "journal.jsonl holds control characters in line 2");
    let (_root, store) = store_with(&[started(RUN, "why")]);
    let folder = store.run_folder(RUN);
    let bytes = pack(&folder, &header(&store), "esc \u{1b}[2J").unwrap().bytes;
    refused(&bytes, "README.txt holds control characters");
    fs::write(folder.join("evidence/dynos.json"), "[\n  \"\\u001b[2J\"\n]\n").unwrap();
    let bytes = pack(&folder, &header(&store), "r").unwrap().bytes;
    refused(&bytes, "evidence/dynos.json holds control characters");
}

#[test]
fn links_are_not_packed_and_odd_names_are_left_out_and_said() {
    let (root, store) = store_with(&[started(RUN, "why")]);
    let folder = store.run_folder(RUN);
    fs::write(folder.join("evidence/.index.next"), "half").unwrap();
    fs::create_dir_all(folder.join("evidence/deep")).unwrap();
    let packed = pack(&folder, &header(&store), "r").unwrap();
    assert_eq!(packed.left_out.len(), 2, "{:?}", packed.left_out);
    let secret = root.path().join("secret");
    fs::write(&secret, "outside").unwrap();
    symlink(&secret, folder.join("link")).unwrap();
    let error = pack(&folder, &header(&store), "r").unwrap_err().to_string();
    assert!(error.contains("links are not followed"), "{error}");
    assert!(pack(Path::new("/nonexistent"), &header(&store), "r").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_change_of_a_bundle_is_refused(at in any::<prop::sample::Index>(), with in 1u8..=255) {
        let mut bytes = packed();
        let at = at.index(bytes.len());
        bytes[at] ^= with;
        let (_root, store) = empty_store();
        prop_assert!(take(&store, &bytes, "ann@desk").is_err());
        prop_assert!(store.ids().unwrap().is_empty());
    }

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (_root, store) = empty_store();
        let mut bundle = b"runbook handoff 1\n".to_vec();
        bundle.extend(bytes);
        prop_assert!(take(&store, &bundle, "ann@desk").is_err());
    }
}
