//! Evidence from fakes: what is saved, what is late, what is missing, and that nobody waits for ever.

use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::{Sender, channel};

use super::*;
use crate::engine::Performance;
use crate::engine::driver::{DryRun, Mode};
use crate::platform::secret::Secret;
use crate::platform::{Change, DynoScope};

const LONG: Duration = Duration::from_secs(60);

fn index(folder: &Path) -> Index {
    serde_json::from_str(&fs::read_to_string(folder.join("evidence.json")).unwrap()).unwrap()
}

fn state<'i>(index: &'i Index, part: &str) -> &'i RowState {
    &index.parts.iter().find(|row| row.part == part).unwrap().state
}

/// A part that comes when it is told to, or when its teller has gone.
fn held(name: &'static str) -> (Part, Sender<()>) {
    let (go, gone) = channel::<()>();
    let part = Part::new(name, move || {
        let _ = gone.recv();
        Ok(vec!["came"])
    });
    (part, go)
}

/// Waits on a condition, bounded by many short looks.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let (_keep, never) = channel::<()>();
    for _ in 0..2000 {
        if done() {
            return;
        }
        let _ = never.recv_timeout(Duration::from_millis(5));
    }
    panic!("never: {what}");
}

#[test]
fn everything_is_saved_clean_and_private_and_the_change_waits_for_no_longer_than_that() {
    let run = tempfile::tempdir().unwrap();
    let redactor = Redactor::default();
    redactor.learn(&Secret::from("s3cret-pass"));
    let lanes = vec![
        vec![Part::new("process list", || {
            Ok(vec!["a s3cret-pass", "b \u{1b}[2J", "php --db-password=abc x=1"])
        })],
        vec![Part::new("dynos", || Ok(vec!["web.1"])), Part::new("log", || Ok(Vec::<String>::new()))],
    ];
    let evidence = Evidence::begin(run.path(), &redactor, lanes);
    let said = evidence.before_change(LONG).unwrap();
    assert!(said.starts_with("evidence before the first change: 3 of 3 parts in /"), "{said}");
    assert_eq!(evidence.before_change(LONG), None, "once a run");
    drop(evidence);
    let folder = run.path().join("evidence");
    let kept = fs::read_to_string(folder.join("process-list.json")).unwrap();
    assert!(kept.contains("php --db-password=[redacted] x=1"), "{kept}");
    assert!(kept.contains("a [redacted]") && kept.contains("b \\\\x1b[2J"), "{kept}");
    let index = index(&folder);
    let first_change = index.first_change.unwrap();
    for (part, expected) in [("process list", 3), ("dynos", 1), ("log", 0)] {
        let RowState::Saved { entries, late, begun, .. } = state(&index, part) else { panic!("{index:?}") };
        assert!(*entries == expected && !late && *begun <= first_change, "{part}: {index:?}");
    }
    for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!folder.join(".index.next").exists());
    // A run that goes on keeps it anew, and what it kept stays.
    drop(Evidence::begin(run.path(), &redactor, Vec::new()));
    assert!(run.path().join("evidence-2/evidence.json").exists() && folder.join("log.json").exists());
}

#[test]
fn what_is_late_is_not_waited_for_written_when_it_comes_and_marked() {
    let run = tempfile::tempdir().unwrap();
    let (log, go) = held("log");
    let lanes =
        vec![vec![log, Part::new("after it", || Ok("never read"))], vec![Part::new("dynos", || Ok("d"))]];
    let evidence = Evidence::begin(run.path(), &Redactor::default(), lanes);
    until("the quick one is there", || {
        evidence.shared.lock().index.parts.iter().any(|row| matches!(row.state, RowState::Saved { .. }))
    });
    // The log stands until it is told to go on: whoever waited for it would wait for ever.
    let said = evidence.before_change(Duration::from_millis(50)).unwrap();
    assert!(said.contains("1 of 3") && said.contains("not waited for: log, after it"), "{said}");
    go.send(()).unwrap();
    until("both are settled", || !evidence.shared.lock().index.is_awaited());
    let index = index(&run.path().join("evidence"));
    assert!(matches!(state(&index, "log"), RowState::Saved { late: true, .. }), "{index:?}");
    assert!(
        matches!(state(&index, "after it"), RowState::Missing { why } if why.contains("before its turn")),
        "{index:?}"
    );
    assert!(run.path().join("evidence/log.json").exists());
}

#[test]
fn a_full_database_is_refused_and_a_failure_or_an_early_end_is_missing() {
    let run = tempfile::tempdir().unwrap();
    let fail = |kind, why: &'static str| move || Err::<(), _>(Fault::new(kind, "asking", why));
    let (log, _go) = held("log");
    let lanes = vec![
        vec![Part::new("process list", fail(FaultKind::Full, "the database is full (error 1040)"))],
        vec![Part::new("dynos", fail(FaultKind::Network, "mysql://u:p@h/d was cut"))],
        vec![Part::new("releases", || -> Result<(), Fault> { panic!("a fault of our own") })],
        vec![log],
    ];
    let evidence = Evidence::begin(run.path(), &Redactor::default(), lanes);
    until("three are settled", || {
        evidence.shared.lock().index.parts.iter().filter(|row| row.state == RowState::Awaited).count() == 1
    });
    let said = evidence.before_change(Duration::ZERO).unwrap();
    assert!(
        said.contains("0 of 4 parts; refused by the full database: process list; missing: dynos, releases")
    );
    drop(evidence);
    let index = index(&run.path().join("evidence"));
    let why = |part| match state(&index, part) {
        RowState::Missing { why } | RowState::Refused { why } => why.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(state(&index, "process list"), RowState::Refused { .. }));
    assert!(why("process list").contains("1040"));
    assert!(why("dynos").contains("[redacted]") && why("releases").contains("tool itself"));
    assert!(why("log").contains("when the run ended"), "{index:?}");
}

#[test]
fn a_place_that_cannot_be_written_to_holds_nothing_up() {
    let run = tempfile::tempdir().unwrap();
    let nowhere = run.path().join("gone");
    let evidence =
        Evidence::begin(&nowhere, &Redactor::default(), vec![vec![Part::new("dynos", || Ok("d"))]]);
    let said = evidence.before_change(LONG).unwrap();
    assert!(said.contains("0 of 1 parts; missing: dynos"), "{said}");
}

#[test]
fn only_a_destructive_change_waits_and_says_so_once() {
    let run = tempfile::tempdir().unwrap();
    let evidence = Evidence::begin(run.path(), &Redactor::default(), Vec::new());
    let mode = AfterEvidence::new(DryRun, evidence);
    let told = Mutex::new(Vec::new());
    let lines = |line: &str| told.lock().unwrap().push(line.to_owned());
    let commit = Change::Commit { paths: Vec::new(), message: String::new() };
    let restart = Change::Restart { scope: DynoScope::All };
    for (change, expected) in [(&commit, 0), (&restart, 1), (&restart, 1)] {
        assert_eq!(mode.perform(change, LONG, &lines), Performance::WouldRun);
        assert_eq!(told.lock().unwrap().len(), expected, "{change:?}");
    }
}

#[test]
fn of_a_world_with_a_database_eight_parts_are_kept_each_in_its_file() {
    let run = tempfile::tempdir().unwrap();
    let world = crate::platform::fake::World::new(crate::platform::fake::Leak::Once);
    let evidence = Evidence::begin(run.path(), &Redactor::default(), parts_of(&world.observer()));
    let said = evidence.before_change(LONG).unwrap();
    assert!(said.contains("8 of 8 parts"), "{said}");
    drop(evidence);
    let folder = run.path().join("evidence");
    let index = index(&folder);
    for row in &index.parts {
        let RowState::Saved { file, .. } = &row.state else { panic!("{row:?}") };
        assert!(fs::metadata(folder.join(file)).unwrap().len() > 0, "{file}");
    }
    let kept = fs::read_to_string(folder.join("variables.json")).unwrap();
    assert!(kept.contains("max_connections"), "{kept}");
}
