//! Guardrails: found wherever they are, never passed over, and kept by real runs against the lab.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use runbook::guard::{Guardrails, read};
use runbook::source::{Source, render};
use support::{Lab, Ran, runbook};

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).expect("written");
}

#[track_caller]
fn says(ran: &Ran, wanted: &[&str]) {
    for wanted in wanted {
        assert!(ran.all().contains(wanted), "{wanted} is missing:\n{}", ran.all());
    }
}

fn rails(name: &str, text: &str) -> Guardrails {
    let source = Source::new(name, text);
    read(&source).unwrap_or_else(|faults| panic!("{}", render(&source, &faults, false)))
}

#[test]
fn the_example_of_the_manual_is_read_and_so_is_every_rule_of_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = std::fs::read_to_string(root.join("docs/guardrails.md")).expect("readable");
    let blocks: Vec<&str> =
        manual.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    let whole = rails("docs/guardrails.md", blocks[0]);
    assert!(whole.rules.len() >= 10, "{whole:?}");
    let book = format!("runbook: 1\nname: x\nsummary: s\n{}steps:\n  - diagnose:\n", blocks[1]);
    let own = runbook::spec::read(&Source::new("t", book)).expect("a runbook").guardrails;
    assert_eq!(own.rules.len(), 3, "{own:?}");
    // Every key that the schema knows is explained in the manual.
    let schema = runbook::guard::guardrails_schema();
    for key in schema["properties"].as_object().expect("keys").keys() {
        assert!(manual.contains(&format!("| `{key}` |")), "{key} is not explained");
    }
    let ran = runbook(root, &BTreeMap::new(), &["check", "tests/check/guardrails/whole.yaml"]).expect(0);
    says(&ran, &["whole.yaml: valid"]);
}

type Variables<'v> = &'v [(&'v str, &'v str)];

/// A file with a fault stops the run before an app is even named; so it shows that it was found.
#[test]
fn a_file_with_a_fault_stops_every_run_wherever_it_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().canonicalize().expect("a place");
    let at = |path: &str| home.join(path);
    std::fs::create_dir_all(at("tree/.git")).expect("a folder");
    std::fs::create_dir_all(at("tree/deep")).expect("a folder");
    std::fs::create_dir_all(at("books/runbooks")).expect("a folder");
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        runbook(&home, &variables, &[&["run", "emergency", "--yes"], arguments].concat())
    };
    // Without any, the run goes on to what it lacks next.
    says(&run(&[], &[]).expect(9), &["app"]);
    let places: [(&str, Variables, &[&str]); 9] = [
        ("guardrails.yaml", &[], &[]),
        ("runbooks/guardrails.yaml", &[], &[]),
        ("guardrails.yml", &[], &["--dry-run"]),
        (".config/runbook/guardrails.yaml", &[], &[]),
        ("xdg/runbook/guardrails.yaml", &[("XDG_CONFIG_HOME", "xdg")], &[]),
        ("tree/guardrails.yaml", &[], &["-C", "tree/deep"]),
        ("books/guardrails.yaml", &[], &["--runbooks", "books/runbooks"]),
        ("ours.yaml", &[("RUNBOOK_GUARDRAILS", "ours.yaml")], &[]),
        ("ours.yaml", &[], &["--guardrails", "ours.yaml"]),
    ];
    for (file, variables, arguments) in places {
        write(&at(file), "guardrails: 1\nprotected_user: [backup]\n");
        let ran = run(variables, arguments).expect(3);
        let name = file.rsplit('/').next().expect("a name");
        says(&ran, &[&format!("{name}:2:1"), "did you mean `protected_users`?", "stop every run"]);
        std::fs::remove_file(at(file)).expect("removed");
    }
    // A good file that is named does not stand in for one that is found.
    write(&at("good.yaml"), "guardrails: 1\n");
    write(&at("guardrails.yaml"), "guardrails: 1\noff:\n");
    says(&run(&[], &["--guardrails", "good.yaml"]).expect(3), &["guardrails.yaml:2:"]);
    std::fs::remove_file(at("guardrails.yaml")).expect("removed");

    for named in [&["--guardrails", "nowhere.yaml"][..], &["--guardrails", "tree"]] {
        says(&run(&[], named).expect(9), &[named[1], "nothing is run"]);
    }
    std::fs::create_dir(at("guardrails.yaml")).expect("a folder");
    says(&run(&[], &[]).expect(9), &["guardrails.yaml", "no plain file"]);
    std::fs::remove_dir(at("guardrails.yaml")).expect("removed");
    std::os::unix::fs::symlink("gone", at("guardrails.yaml")).expect("a link");
    says(&run(&[], &["--json"]).expect(9), &["guardrails.yaml", "\"outcome\":\"unusable\""]);
    // It is no runbook, wherever it lies.
    write(&at("books/runbooks/guardrails.yaml"), "guardrails: 1\n");
    let list = runbook(&home, &BTreeMap::new(), &["list", "--runbooks", "books/runbooks"]).expect(0);
    assert!(!list.all().contains("guardrails"), "{}", list.all());
}

#[test]
fn an_emergency_says_why_and_lifts_only_what_can_be_lifted() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |arguments: &[&str]| {
        runbook(folder.path(), &BTreeMap::new(), &[&["run", "deploy-fix", "--yes"], arguments].concat())
            .expect(2)
    };
    says(&run(&["--lift", "deploy"]), &["--emergency"]);
    says(&run(&["--emergency", " "]), &["say why"]);
    says(
        &run(&["--emergency", "all down", "--lift", "deply", "--lift", "heal"]),
        &["--lift deply", "did you mean `deploy`?", "--lift heal", "its whole work"],
    );
}

const HEAD: &str = "runbook: 1\nsummary: a test of its own\nhealth: { every: 500ms }\n";

/// Runbooks of the test in the wiki's own folder for them, where guardrails lie beside.
struct Scene {
    lab: Lab,
}

impl Scene {
    fn up() -> Self {
        let lab = Lab::up(&["--scenario=quiet"]);
        for (name, rest) in [
            ("restart", "steps:\n  - restart: all\n    gate: { until: live, within: 60s }\n"),
            ("small", "steps:\n  - { scale: { type: web, to: 1 } }\n"),
            (
                "own-rule",
                "guardrails: { minimum_dynos: { web: 2 } }\nsteps:\n  - { scale: { type: web, to: 1 } }\n",
            ),
            ("kill", "steps:\n  - { kill_idle: { idle: 2s, at_most: 40 } }\n"),
            (
                "twice",
                "steps:\n  - { id: one, kill_idle: { idle: 2s }, gate: { none: a test } }\n  - { id: two, kill_idle: { idle: 2s }, gate: { none: a test } }\n",
            ),
            (
                "ladder",
                "steps:\n  - id: climb\n    ladder: { until: usage > 100%, for: 1s, within: 4s, rungs: [{ id: small, scale: { to: 1 } }] }\n",
            ),
            ("look", "steps:\n  - diagnose:\n"),
        ] {
            lab.runbook(name, &format!("{HEAD}name: {name}\n{rest}"));
        }
        Self { lab }
    }

    fn rules(&self, rules: &str) {
        // The folder of the test's runbooks; what lies in it applies.
        let folder = self.lab.runbook("look", &format!("{HEAD}name: look\nsteps:\n  - diagnose:\n"));
        write(&Path::new(&folder).join("guardrails.yaml"), &format!("guardrails: 1\n{rules}"));
    }

    fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        let folder = self.lab.runbook("look", &format!("{HEAD}name: look\nsteps:\n  - diagnose:\n"));
        self.lab.run(&[&["run", name, "--runbooks", &folder], arguments].concat())
    }

    /// A dry run says it and ends with 0; a live one is refused with 6, before anything has happened.
    #[track_caller]
    fn refused(&self, rules: &str, name: &str, wanted: &[&str]) {
        self.rules(rules);
        let runs = || self.lab.state().matches("\"run_started\"").count();
        let (traces, before) = (self.lab.traces(), runs());
        let dry = self.run(name, &["--dry-run"]).expect(0);
        says(&dry, &["a live run", "note      guardrails: "]);
        let live = self.run(name, &["--yes", "--json"]).expect(6);
        for ran in [&dry, &live] {
            says(ran, wanted);
        }
        says(&live, &["nothing was changed"]);
        let last = live.events().pop().expect("the last line always comes");
        assert_eq!((&last["outcome"], &last["run"]), (&"declined".into(), &serde_json::Value::Null));
        assert_eq!(self.lab.traces(), traces, "no mutating request, no kill");
        assert_eq!(runs(), before, "and no journal");
    }
}

#[test]
fn a_live_run_is_refused_with_6_where_a_dry_run_foretells_it() {
    let scene = Scene::up();
    scene.refused("off: the audit\n", "restart", &["switched off: the audit", "guardrails.yaml:2"]);
    scene.run("look", &["--yes"]).expect(0);
    scene.refused("protected_apps:\n  - Wizzypedia\n", "restart", &["never changed", "guardrails.yaml:3"]);
    scene.refused("minimum_dynos: { web: 2 }\n", "small", &["fewer than 2 dynos", "guardrails.yaml:2"]);
    scene.refused("kills: { per_run: 9 }\n", "own-rule", &["fewer than 2 dynos", "own-rule.yaml:5"]);
    scene.refused("allow: { nobody-here: ['*'] }\n", "restart", &["may not run restart", "nobody-here may"]);
    scene.refused("freeze: [{ zone: UTC, why: a day off }]\n", "restart", &["a day off", "00:00 to 24:00"]);
    scene.refused(
        "type_the_name: [wizzypedia]\n",
        "restart",
        &["the name of wizzypedia", "guardrails.yaml:2"],
    );

    // A rung that is refused is said, and does not stop the others.
    scene.rules("minimum_dynos: { web: 2 }\n");
    let dry = scene.run("emergency", &["--dry-run"]).expect(0);
    says(&dry, &["the rung scale-down would be refused", "--skip scale-down"]);

    // Reached, it is not done, and the ladder says that no rung healed.
    let traces = scene.lab.traces();
    let ran = scene.run("ladder", &["--yes"]).expect(4);
    says(&ran, &["the rung small will be refused", "fewer than 2 dynos", "no rung healed"]);
    assert_eq!(scene.lab.traces(), traces, "nothing was scaled");

    // The same runbook on the same app rests after a run that has changed something.
    scene.rules("cool_down: { '*': 1h }\n");
    let first = scene.run("restart", &["--yes", "--json"]).expect(0);
    let id = first.events().first().expect("a line")["run"].as_str().expect("an id").to_owned();
    let rules = "cool_down: { '*': 1h }\n";
    scene.refused(rules, "restart", &["restart changed wizzypedia", &id, "allowed again in"]);
    scene.run("look", &["--yes"]).expect(0);
}

#[test]
fn protected_users_are_not_killed_and_kills_are_bounded_as_the_preview_says() {
    let scene = Scene::up();
    let lab = &scene.lab;
    let idle: Vec<_> = (0..60).map(|_| lab.session()).collect();
    support::until("they are asleep, as the server measures it", Duration::from_secs(10), || {
        lab.sleeping(2) >= 60
    });
    let kills = || lab.traces().kills;

    scene.rules("protected_users: [wiki]\n");
    let before = kills();
    let dry = scene.run("kill", &["--dry-run"]).expect(0);
    says(&dry, &["guardrails: never wiki", "no session matches now"]);
    says(&scene.run("kill", &["--yes"]).expect(0), &["nobody has slept"]);
    assert_eq!(kills(), before, "nobody was killed");
    assert!(lab.sleeping(2) >= 60, "they sleep on");

    scene.rules("kills: { per_run: 7, per_minute: 50 }\n");
    says(&scene.run("kill", &["--dry-run"]).expect(0), &["at most 7 at once", "7 sessions match now"]);
    scene.run("kill", &["--yes"]);
    assert_eq!(kills(), before + 7, "seven, not forty");

    // An emergency lifts the gate of the step, and no guardrail; its reason is beside everything.
    let reason = "every page fails";
    let arguments = ["--yes", "--json", "--emergency", reason, "--lift", "kill-idle"];
    let dry = scene.run("kill", &["--dry-run", "--emergency", reason, "--lift", "kill-idle"]).expect(0);
    says(&dry, &["emergency every page fails", "no gate: lifted in an emergency: every page fails"]);
    let ran = scene.run("kill", &arguments).expect(0);
    assert_eq!(kills(), before + 14, "the guardrail holds");
    let events = ran.events();
    assert!(events.len() > 4 && events.iter().all(|event| event["emergency"] == reason), "{}", ran.stdout);
    assert!(ran.stderr.contains("run as an emergency: every page fails"), "{}", ran.stderr);
    let id = events[0]["run"].as_str().expect("an id").to_owned();
    says(&lab.run(&["show", &id]).expect(0), &["run as an emergency: every page fails"]);
    let journals = lab.state();
    let stamped = journals.lines().filter(|line| line.contains("\"emergency\":\"every page fails\"")).count();
    assert!(stamped >= 5, "every entry of that run's journal is stamped: {stamped}");

    // What was killed before counts, also when the run is taken up again.
    let twice = scene.run("twice", &["--yes", "--json"]).expect(6);
    let wanted = "at most 7 sessions are killed in a run; 7 were";
    says(&twice, &[wanted, "guardrails.yaml:2"]);
    assert_eq!(kills(), before + 21);
    let id = twice.events()[0]["run"].as_str().expect("an id").to_owned();
    says(&lab.run(&["resume", &id, "--yes"]).expect(6), &[wanted]);
    assert_eq!(kills(), before + 21, "and nobody more");
    drop(idle);
}
