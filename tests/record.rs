//! The record of a run: journals of every stored format are read for ever, a change of one is seen, and a run told or
//! handed over is the run that was.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runbook::engine::driver::Record;
use runbook::engine::{Config, Event, Machine, Unresumable};
use runbook::health::Moment;
use runbook::journal::{FORMAT, Journal, Store, read_run};
use runbook::plan::build;
use serde_json::Value as Json;
use support::{Lab, Ran, git, until};

/// Runs recorded by the version that wrote format 1, against a rehearsal: `deploy-fix` to its end, `emergency` to its
/// end, and `deploy-fix` killed (-9) during its push.
const DEPLOYED: &str = "20261125-091623-dm56";
const HEALED: &str = "20261125-091805-ccvd";
const KILLED: &str = "20261125-091830-46z2";

/// A state directory with these recorded runs in it.
struct State {
    folder: tempfile::TempDir,
}

impl State {
    fn with(runs: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let state = Self { folder };
        Store::open(&state.root()).expect("a store");
        for run in runs {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals/format-1").join(run);
            let to = state.run_folder(run);
            fs::DirBuilder::new().mode(0o700).create(&to).expect("a run's folder");
            for file in fs::read_dir(from).expect("recorded").map(|entry| entry.expect("an entry").path()) {
                let copy = to.join(file.file_name().expect("a name"));
                fs::copy(&file, &copy).expect("copied");
                fs::set_permissions(copy, fs::Permissions::from_mode(0o600)).expect("private");
            }
        }
        state
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn run_folder(&self, run: &str) -> PathBuf {
        self.root().join("runs").join(run)
    }

    fn journal(&self, run: &str) -> PathBuf {
        self.run_folder(run).join("journal.jsonl")
    }

    fn runbook(&self, arguments: &[&str]) -> Ran {
        self.runbook_with(&[], arguments)
    }

    fn runbook_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
        let mut environment =
            BTreeMap::from([("RUNBOOK_STATE_DIR".to_owned(), self.root().display().to_string())]);
        environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        support::runbook(self.folder.path(), &environment, arguments)
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

fn json(text: &str) -> Json {
    serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
}

#[test]
fn journals_of_format_1_are_read_for_ever() {
    let state = State::with(&[DEPLOYED, HEALED, KILLED]);
    for (run, entries, head) in [(DEPLOYED, 37, true), (HEALED, 18, true), (KILLED, 9, false)] {
        let recorded = read_run(&state.run_folder(run)).expect("an older format is read");
        assert_eq!((recorded.entries.len(), recorded.torn, recorded.head.format()), (entries, false, 1));
        // What was bound then can be bound again: the same record, the same plan.
        let Event::RunStarted { record, plan, .. } = &recorded.entries[0].event else {
            unreachable!("a run begins with its start")
        };
        let built = build((**record).clone()).expect("its runbook is still valid");
        assert_eq!(&built.id, plan, "the plan's hash is of the record alone");
        assert_eq!(matches!(recorded.entries[entries - 1].event, Event::RunFinished { .. }), head);
        // A run that did not end stands where it stood.
        let began = recorded.entries[0].at;
        let events: Vec<_> = recorded
            .entries
            .iter()
            .map(|entry| {
                let since = entry.at.duration_since(began).as_millis();
                (Moment(u64::try_from(since).expect("later")), entry.event.clone())
            })
            .collect();
        match Machine::resume(Arc::new(built), Config::default(), &events) {
            Ok(machine) => {
                let standing = machine.standing();
                assert_eq!((run, standing.at.as_deref()), (KILLED, Some("deploy")));
                assert_eq!(standing.in_doubt.len(), 1, "the push: {standing:?}");
            }
            Err(why) => assert!(run != KILLED && why == Unresumable::Done, "{why}"),
        }
        // Every event is written again as it was read.
        let folder = tempfile::tempdir().expect("a folder");
        let mut journal = Journal::create(run, folder.path()).expect("a journal");
        for entry in &recorded.entries {
            journal.append(&entry.event).expect("written");
        }
        let again = read_run(folder.path()).expect("whole");
        assert_eq!(again.head.format(), FORMAT);
        let events = |recorded: &runbook::journal::Recorded| -> Vec<Event> {
            recorded.entries.iter().map(|entry| entry.event.clone()).collect()
        };
        assert_eq!(events(&again), events(&recorded));
    }
    let told = state.runbook(&["show", KILLED]).expect(0);
    assert!(told.stdout.contains("in doubt: git push heroku"), "{}", told.stdout);
    let told = state.runbook(&["show", DEPLOYED]).expect(0);
    assert!(told.stdout.contains("done in") && told.stdout.contains("by kim@laptop"), "{}", told.stdout);
    let listed = state.runbook(&["runs"]).expect(0);
    assert!(listed.stdout.contains("kim@laptop") && !listed.stdout.contains("incident"), "{}", listed.stdout);
}

#[test]
fn a_run_that_began_in_format_1_goes_on_in_it_after_its_last_whole_line() {
    let state = State::with(&[KILLED]);
    let whole = text(&state.journal(KILLED));
    fs::write(state.journal(KILLED), format!("{whole}0badf00d {{\"seq\":10")).expect("torn");
    let recorded = read_run(&state.run_folder(KILLED)).expect("whole but for its end");
    assert!(recorded.torn);
    let mut journal = Journal::resume(KILLED, &state.run_folder(KILLED), &recorded).expect("it goes on");
    journal.append(&Event::Notice { text: "more".into() }).expect("written");
    let again = read_run(&state.run_folder(KILLED)).expect("whole");
    assert_eq!((again.entries.len(), again.torn, again.head.format()), (10, false, 1));
    assert_eq!(again.head, journal.head());
    assert!(text(&state.journal(KILLED)).starts_with(&whole), "what was there stands");
}

#[test]
fn verify_prints_the_head_and_names_the_line_that_was_changed() {
    let state = State::with(&[DEPLOYED]);
    let whole = state.runbook(&["show", DEPLOYED, "--verify"]).expect(0);
    let head = read_run(&state.run_folder(DEPLOYED)).expect("whole").head;
    for part in [
        format!("37 entries, whole and unchanged; head {}", head.short()),
        "format   1, chained by CRC-32".to_owned(),
        "torn     no".to_owned(),
        "private  yes: 1 files 0600, 1 folders 0700".to_owned(),
    ] {
        assert!(whole.stdout.contains(&part), "{part}\n{}", whole.stdout);
    }
    let changed = text(&state.journal(DEPLOYED)).replacen("kim@laptop", "eve@laptop", 1);
    fs::write(state.journal(DEPLOYED), changed).expect("changed");
    let refused = state.runbook(&["show", DEPLOYED, "--verify"]).expect(9);
    assert!(refused.stderr.contains("journal.jsonl is damaged at line 2"), "{}", refused.stderr);
    state.runbook(&["show", DEPLOYED]).expect(9);
}

/// A run of today's format, made without a world: begun, told something, with samples beside.
fn written(state: &State, run: &str, more: &[Event]) -> String {
    let store = Store::open(&state.root()).expect("a store");
    let old = read_run(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journals/format-1").join(KILLED))
        .expect("a recorded run");
    let mut journal = Journal::create(run, &store.create_run(run).expect("a folder")).expect("a journal");
    for entry in &old.entries {
        let mut event = entry.event.clone();
        if let Event::RunStarted { run: id, incident, reason, account, .. } = &mut event {
            run.clone_into(id);
            *incident = Some("INC-42".to_owned());
            *reason = Some("pages fail".to_owned());
            *account = Some("kim@example.com".to_owned());
        }
        journal.append(&event).expect("written");
    }
    for event in more {
        journal.append(event).expect("written");
    }
    journal.head().to_string()
}

#[test]
fn a_noted_head_shows_what_came_later_and_what_was_changed() {
    let state = State::with(&[]);
    let run = "20260101-000000-aaaa";
    let noted = written(&state, run, &[]);
    let same = state.runbook(&["show", run, "--verify", "--head", &noted[..16]]).expect(0);
    assert!(same.stdout.contains("the same head") && same.stdout.contains("SHA-256"), "{}", same.stdout);
    assert!(same.stdout.contains(&noted), "the whole head too: {}", same.stdout);

    // It went on: the noted head is on the way.
    let longer = "20260101-000001-bbbb";
    let later = written(&state, longer, &[Event::Notice { text: "more".into() }]);
    let recorded = read_run(&state.run_folder(longer)).expect("whole");
    let before = recorded.heads[recorded.heads.len() - 2].to_string();
    let row =
        json(&state.runbook(&["show", longer, "--verify", "--json", "--head", &before]).expect(0).stdout);
    assert_eq!(row["entries_since"], 1, "{row}");
    assert_eq!((&row["head"], &row["format"]), (&Json::from(later.clone()), &Json::from(FORMAT)));

    // Whole lines taken from the end leave a chain that fits: the noted head alone shows it.
    let cut: Vec<String> = text(&state.journal(longer)).lines().map(str::to_owned).collect();
    fs::write(state.journal(longer), format!("{}\n", cut[..cut.len() - 1].join("\n"))).expect("cut");
    state.runbook(&["show", longer, "--verify"]).expect(0);
    let seen = state.runbook(&["show", longer, "--verify", "--head", &later]).expect(9);
    assert!(seen.stderr.contains("does not lead to the head"), "{}", seen.stderr);
    state.runbook(&["show", longer, "--verify", "--head", "123"]).expect(2);
}

#[test]
fn a_torn_line_and_open_files_are_said() {
    let state = State::with(&[]);
    let run = "20260101-000000-aaaa";
    written(&state, run, &[]);
    let whole = text(&state.journal(run));
    fs::write(state.journal(run), format!("{whole}0123")).expect("torn");
    fs::set_permissions(state.journal(run), fs::Permissions::from_mode(0o644)).expect("opened");
    let told = state.runbook(&["show", run, "--verify"]).expect(0);
    assert!(told.stdout.contains("torn     yes") && told.stdout.contains("private  NO"), "{}", told.stdout);
    assert!(told.stdout.contains("journal.jsonl: 0644 instead of 0600"), "{}", told.stdout);
    assert!(told.stderr.contains("chmod -R go="), "{}", told.stderr);
}

#[test]
fn who_for_which_incident_and_why_is_shown_everywhere() {
    let state = State::with(&[]);
    let run = "20260101-000000-aaaa";
    written(&state, run, &[]);
    let told = state.runbook(&["show", run]).expect(0);
    assert!(
        told.stdout.contains("by kim@laptop (kim@example.com), incident INC-42: pages fail"),
        "{}",
        told.stdout
    );
    let listed = state.runbook(&["runs"]).expect(0);
    assert!(listed.stdout.contains("kim@laptop  INC-42"), "{}", listed.stdout);
    for line in [
        json(&state.runbook(&["runs", "--json"]).expect(0).stdout),
        json(&state.runbook(&["show", run, "--json"]).expect(0).stdout),
    ] {
        let said = [&line["by"], &line["account"], &line["incident"], &line["reason"]];
        assert_eq!(said, ["kim@laptop", "kim@example.com", "INC-42", "pages fail"], "{line}");
    }
    for bad in ["", "two\nlines", "\u{1b}[2J"] {
        let refused = state.runbook(&["run", "emergency", "--dry-run", "--incident", bad]).expect(2);
        assert!(!refused.stderr.contains('\u{1b}'), "{:?}", refused.stderr);
    }
}

/// What must never be seen.
const TOKEN: &str = "HRKU-marked-token-0123456789";
const PASSWORD: &str = "marked'pass\"word";

#[test]
fn a_run_is_handed_over_and_gone_on_with_from_the_file_alone() {
    let state = State::with(&[KILLED]);
    let file = state.folder.path().join("bundle.txt");
    let out = file.display().to_string();
    let database = format!("mysql://wiki:{}@db:3306/wiki", "marked'pass%22word");
    let given = [("HEROKU_API_KEY", TOKEN), ("RUNBOOK_DATABASE_URL", database.as_str()), ("USER", "kim")];
    let ran = state.runbook_with(&given, &["handoff", "46z2", "--out", &out]).expect(0);
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
    assert_eq!(fs::metadata(&file).expect("written").permissions().mode() & 0o777, 0o600);
    let bundle = text(&file);
    for secret in [TOKEN, PASSWORD, "marked"] {
        assert!(!bundle.contains(secret) && !ran.all().contains(secret), "{secret}");
    }
    for wanted in [
        "Hand-over of run 20261125-091830-46z2",
        "begun 2026-11-25 09:18:30 UTC by kim@laptop",
        "in doubt  git push heroku 5b679093:master (read back first)",
        "goes on   at deploy",
        "Commit 5b679093 was made in that working tree, and is not known to be pushed",
        "runbook resume 20261125-091830-46z2 -C YOUR-CLONE --accept-changed target",
        "DELETE /apps/wizzypedia/dynos",
    ] {
        assert!(
            bundle.contains(wanted),
            "{wanted}\n{}",
            bundle.split("\njournal.jsonl").next().expect("the README")
        );
    }
    // It stays where it was, says so, and no second file replaces the first.
    assert!(state.runbook(&["show", KILLED]).expect(0).stderr.contains("handed over"));
    state.runbook(&["handoff", KILLED, "--out", &out]).expect(9);

    let other = State::with(&[]);
    let taken = other.runbook(&["handoff", "--take", &out]).expect(0);
    assert_eq!(taken.stdout, format!("{KILLED}\n"));
    let folder = other.run_folder(KILLED);
    assert_eq!(
        read_run(&folder).expect("whole").head,
        read_run(&state.run_folder(KILLED)).expect("whole").head
    );
    let told = other.runbook(&["show", KILLED, "--verify"]).expect(0);
    assert!(told.stdout.contains("private  yes: 4 files 0600, 1 folders 0700"), "{}", told.stdout);
    assert!(folder.join("samples.jsonl").exists() && text(&folder.join("README.txt")).contains("YOUR-CLONE"));
    let again = other.runbook(&["handoff", "--take", &out]).expect(9);
    assert!(again.stderr.contains("on this machine already"), "{}", again.stderr);
    let not_there = other.runbook(&["handoff", "--take", "/nonexistent"]).expect(9);
    assert!(not_there.stderr.contains("/nonexistent"), "{}", not_there.stderr);
    other.runbook(&["handoff"]).expect(2);
    other.runbook(&["handoff", "zzzz"]).expect(2);
    // A run that is over is told in the same way.
    let state = State::with(&[HEALED]);
    state.runbook(&["handoff", HEALED]).expect(0);
    let bundle = text(&state.folder.path().join(format!("runbook-handoff-{HEALED}.txt")));
    assert!(bundle.contains("nothing is left") && !bundle.contains("YOUR-CLONE"), "{bundle}");
}

#[test]
fn a_run_that_holds_a_secret_in_use_is_not_handed_over() {
    let state = State::with(&[]);
    let database = format!("mysql://wiki:{}@db:3306/wiki", "marked'pass%22word");
    for (secret, variable) in
        [(TOKEN, ("HEROKU_API_KEY", TOKEN)), (PASSWORD, ("RUNBOOK_DATABASE_URL", database.as_str()))]
    {
        let run = format!("20260101-000000-{}", variable.0.len());
        written(&state, &run, &[Event::Notice { text: format!("it is {secret}") }]);
        let refused = state.runbook_with(&[variable], &["handoff", &run]).expect(9);
        assert!(refused.stderr.contains("holds a secret that is in use"), "{}", refused.stderr);
        assert!(!refused.all().contains(secret), "{}", refused.all());
        assert!(!state.folder.path().join(format!("runbook-handoff-{run}.txt")).exists());
    }
    // What only looks like one is said.
    let run = "20260101-000000-bbbb";
    written(&state, run, &[Event::Notice { text: "at mysql://u:p@h/d".into() }]);
    let warned = state.runbook(&["handoff", run]).expect(0);
    assert!(warned.stderr.contains("look before you send it on"), "{}", warned.stderr);
}

#[test]
fn a_killed_run_is_handed_over_and_goes_on_on_another_machine_with_its_incident_and_evidence() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook(
        "own",
        "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\nsteps:\n  \
         - id: restart\n    restart: all\n    gate: { until: live, for: 1s, within: 60s }\n  \
         - id: hold\n    wait: { until: usage > 99%, within: 15s }\n    on_failure: continue\n  \
         - id: again\n    restart: { dynos: all, force: true }\n    gate: { until: live, for: 1s, within: 60s }\n",
    );
    let retired = lab.retired();
    let run = ["run", "own", "--runbooks", &own, "--yes", "--json"];
    let mut first = lab.start(&[&run[..], &["--incident=INC-42", "--reason=pages fail"]].concat());
    until("it waits", Duration::from_secs(60), || lab.state().contains("\"step\":\"hold\""));
    first.kill().expect("killed");
    first.wait().expect("gone");
    assert_eq!(lab.retired() - retired, 2, "each dyno was replaced once");

    // What the world was before the restart is there, private, and holds no secret.
    let runs = lab.run(&["runs", "--json"]).expect(0);
    let row = json(&runs.stdout);
    let id = row["run"].as_str().expect("an id");
    assert_eq!((&row["incident"], &row["reason"]), (&Json::from("INC-42"), &Json::from("pages fail")));
    let folder = Path::new(&lab.environment["RUNBOOK_STATE_DIR"]).join("runs").join(id);
    let index: Json = serde_json::from_str(&text(&folder.join("evidence/evidence.json"))).expect("JSON");
    let parts = index["parts"].as_array().expect("parts");
    let saved = |part: &Json| part["state"] == "saved" && part["late"] == false;
    assert!(parts.len() == 8 && parts.iter().all(saved), "{index:#}");
    let first_change = index["first_change"].as_str().expect("there was one");
    assert!(
        parts.iter().all(|part| part["begun"].as_str().is_some_and(|begun| begun < first_change)),
        "{index:#}"
    );
    let dynos = text(&folder.join("evidence/dynos.json"));
    assert!(dynos.contains("web.1") && text(&folder.join("evidence/process-list.json")).contains("wiki"));
    assert!(text(&folder.join("evidence/status-counters.json")).contains("threads_connected"));
    assert!(lab.state().contains("evidence before the first change: 8 of 8 parts"), "the journal says so");

    // The file alone goes to another machine: another state directory, another clone, no folder of runbooks.
    let place = tempfile::tempdir().expect("a folder");
    let (file, clone) = (place.path().join("bundle.txt"), place.path().join("clone"));
    let (file, clone) = (file.display().to_string(), clone.display().to_string());
    lab.run(&["handoff", id, "--out", &file]).expect(0);
    for secret in lab.secrets() {
        assert!(!text(Path::new(&file)).contains(&secret));
    }
    git(&lab.wiki, &["clone", "-q", ".", &clone]);
    std::fs::remove_dir_all(&own).expect("gone");
    let state = place.path().join("state").display().to_string();
    let elsewhere = [("RUNBOOK_STATE_DIR", state.as_str()), ("USER", "ann")];
    lab.run_in(&elsewhere, &["handoff", "--take", &file]).expect(0);
    let go_on = ["resume", id, "-C", &clone, "--yes", "--json"];
    let refused = lab.run_in(&elsewhere, &go_on).expect(9);
    assert!(refused.stderr.contains("is not here any more"), "{}", refused.stderr);
    let accepted = ["--accept-changed=runbook", "--accept-changed=target"];
    let ran = lab.run_in(&elsewhere, &[&go_on[..], &accepted].concat()).expect(0);
    let events = ran.events();
    let restarts = events.iter().filter(|event| event["type"] == "intended").count();
    assert_eq!((lab.retired() - retired, restarts), (4, 1), "the first restart was not done again");
    let last = events.last().expect("a last line");
    let head = last["head"].as_str().expect("a head");
    let whole = lab.run_in(&elsewhere, &["show", id, "--verify", "--head", head]).expect(0);
    assert!(
        whole.stdout.contains("the same head") && whole.stdout.contains("private  yes"),
        "{}",
        whole.stdout
    );
    let said: Vec<&str> = ran.stderr.split_whitespace().collect();
    assert!(said.join(" ").contains(&format!("journal.jsonl, head {}", &head[..16])), "{}", ran.stderr);
    let told = lab.run_in(&elsewhere, &["show", id]).expect(0);
    assert!(told.stdout.contains("incident INC-42: pages fail"), "{}", told.stdout);
    assert!(Path::new(&state).join("runs").join(id).join("evidence-2/evidence.json").exists(), "kept anew");
    // There, nothing can be seen in the old place's journal of what came later: the heads tell them apart.
    let old = lab.run(&["show", id, "--verify", "--head", head]).expect(9);
    assert!(old.stderr.contains("does not lead to the head"), "{}", old.stderr);
}
