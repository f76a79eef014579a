//! The one question, through a real terminal: the plan first, then yes, no or Ctrl-C; and the live display of a run.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::process::Command;

use rexpect::process::WaitStatus;
use rexpect::session::{PtySession, spawn_command};
use support::Lab;

/// Patience with the terminal, in milliseconds.
const PATIENCE: u64 = 90_000;

/// `runbook …` at a terminal of 80 columns.
fn at_a_terminal(lab: &Lab, arguments: &[&str]) -> PtySession {
    let quoted: Vec<_> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    let line = format!("stty cols 80 rows 24; exec '{}' {}", support::binary().display(), quoted.join(" "));
    #[expect(clippy::disallowed_methods, reason = "the binary is started as a person does, at a terminal")]
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(&lab.wiki).envs(&lab.environment);
    command.env_remove("NO_COLOR").env_remove("CI").env("TERM", "xterm");
    spawn_command(command, Some(PATIENCE)).expect("a terminal")
}

/// What the terminal showed to its end, and the exit code.
#[track_caller]
fn ends(session: &mut PtySession, code: i32) -> String {
    let shown = session.exp_eof().expect("it ends");
    match session.process().wait().expect("a status") {
        WaitStatus::Exited(_, ended) => assert_eq!(ended, code, "{shown}"),
        other => panic!("{other:?}: {shown}"),
    }
    shown
}

const QUESTION: &str = "Run rollback on wizzypedia?";

#[test]
fn the_plan_is_shown_and_asked_about_once_and_only_yes_runs_it() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let before = lab.traces();
    let rollback = ["run", "rollback", "--set=method=release"];

    let mut no = at_a_terminal(&lab, &rollback);
    let plan = no.exp_string(QUESTION).expect("the question");
    for wanted in ["POST /apps/wizzypedia/releases", "gate: live", "app       wizzypedia"] {
        assert!(plan.contains(wanted), "{wanted} comes before the question:\n{plan}");
    }
    no.send("n").and_then(|_| no.flush()).expect("typed");
    assert!(ends(&mut no, 6).contains("nothing was changed"));

    let mut interrupted = at_a_terminal(&lab, &rollback);
    interrupted.exp_string(QUESTION).expect("the question");
    interrupted.send_control('c').expect("typed");
    assert!(ends(&mut interrupted, 130).contains("nothing was changed"));
    assert_eq!(lab.traces(), before, "neither of them changed anything");
    assert!(!lab.state().contains("run_started"), "and neither is a run");

    let mut yes = at_a_terminal(&lab, &rollback);
    yes.exp_string(QUESTION).expect("the question");
    yes.send_line("yes").expect("typed");
    let shown = ends(&mut yes, 0);
    // The rest of that question, and no other.
    assert_eq!(shown.matches("[y/N]").count(), 1, "it asks once:\n{shown}");
    // The live display: the step, its time, used of limit, the gate clause by clause, what is left of its patience.
    for wanted in ["rollback", "connections ", "/150 (", "live: ", " left", "before", "how to go back"] {
        assert!(shown.contains(wanted), "{wanted}:\n{shown}");
    }
    assert!(lab.traces().mutating > before.mutating);
}

#[test]
fn step_by_step_a_person_is_asked_before_each_and_ctrl_c_at_a_step_is_an_interruption() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let own = lab.runbook(
        "own",
        "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\nsteps:\n  - id: look\n    diagnose:\n  - id: restart\n    restart: all\n    gate: { until: live, for: 1s, within: 60s }\n  - id: sure\n    confirm: Is it well?\n",
    );
    let before = lab.traces();
    let stepped = ["run", "own", "--runbooks", &own, "--step"];

    let mut declined = at_a_terminal(&lab, &stepped);
    declined.exp_string("Run own on wizzypedia?").expect("the question");
    // The Enter behind it is not taken for an answer to the next question.
    declined.send("y\r").and_then(|_| declined.flush()).expect("typed");
    declined.exp_string("Run step look?").expect("the first step");
    declined.send("y").and_then(|_| declined.flush()).expect("typed");
    declined.exp_string("Run step restart?").expect("the second step");
    declined.send("n").and_then(|_| declined.flush()).expect("typed");
    ends(&mut declined, 6);
    assert_eq!(lab.traces(), before);

    let mut interrupted = at_a_terminal(&lab, &stepped);
    for question in ["Run own on wizzypedia?", "Run step look?", "Run step restart?", "Run step sure?"] {
        interrupted.exp_string(question).expect(question);
        interrupted.send("y").and_then(|_| interrupted.flush()).expect("typed");
    }
    interrupted.exp_string("Is it well?").expect("the step's own question");
    interrupted.send_control('c').expect("typed");
    let shown = ends(&mut interrupted, 130);
    assert!(shown.contains("asked Heroku to restart every dyno"), "what was changed is said:\n{shown}");

    let refused = lab.run(&["run", "own", "--runbooks", &own, "--step", "--yes", "--json"]).expect(2);
    let last = refused.events().pop().expect("the last line always comes");
    assert_eq!((&last["outcome"], &last["exit_code"]), (&"invalid".into(), &2.into()));
    what_only_a_person_can_do(&lab);
}

/// A person is told what to do, answers in their own time while health goes on being measured, and interrupts.
fn what_only_a_person_can_do(lab: &Lab) {
    let own = lab.runbook(
        "hand",
        "runbook: 1\nname: hand\nsummary: a test of its own\nhealth:\n  every: 200ms\nsteps:\n  - id: look\n    manual: { instructions: \"Read the graph.\\nIt is on the right.\", url: https://dashboard.example, answer: { type: count, max: 500, about: How many slots? }, deadline: 10m, default: skip }\n  - { id: more, when: steps.look.answer > 20, if_unknown: run, manual: { instructions: Tell the team, deadline: 10m, default: stop } }\n  - { id: fewer, when: steps.look.answer <= 20, check: live }\n  - { id: last, manual: { instructions: Wait for me, deadline: 2s, default: skip } }\n",
    );
    let hand = ["run", "hand", "--runbooks", &own];
    let mut answers = at_a_terminal(lab, &hand);
    answers.exp_string("Run hand on wizzypedia?").expect("the question");
    answers.send("y").and_then(|_| answers.flush()).expect("typed");
    let told = answers.exp_string("How many slots?").expect("the step's own question");
    assert!(told.contains("It is on the right.") && told.contains("at https://dashboard.example"), "{told}");
    // It counts down, with connections beside it: samples go on.
    let told = answers.exp_string("9m59s left, then skip").expect("it counts down");
    assert!(told.contains("connections ") && told.contains("/150 ("), "{told}");
    answers.send_line("many").expect("typed");
    answers.exp_string("`many` is not a number").expect("it says what it takes");
    answers.send_line("42").expect("typed");
    answers.exp_string("Tell the team").expect("the step that the answer asks for");
    answers.exp_string("Is it done?").expect("the question");
    answers.send_line("Done").expect("typed");
    answers.exp_string("Wait for me").expect("the last step");
    // Nobody answers: the default stands.
    let shown = ends(&mut answers, 0);
    assert!(shown.contains("skip was the answer") && shown.contains("every gate held"), "{shown}");
    let asked: Vec<_> =
        lab.journal().lines().filter(|line| line.contains("\"asked\"")).map(str::to_owned).collect();
    assert_eq!(asked.len(), 3, "{asked:?}");
    let samples =
        std::fs::read_to_string(lab.newest_journal().with_file_name("samples.jsonl")).expect("samples");
    assert!(samples.lines().count() >= 10, "samples go on while somebody is asked: {samples}");
    assert!(asked[0].contains("42") && asked[2].contains("default: nobody answered in time"), "{asked:?}");

    let mut interrupted = at_a_terminal(lab, &hand);
    interrupted.exp_string("Run hand on wizzypedia?").expect("the question");
    interrupted.send("y").and_then(|_| interrupted.flush()).expect("typed");
    interrupted.exp_string("How many slots?").expect("the step's own question");
    interrupted.send_line("7").expect("typed");
    interrupted.exp_string("Wait for me").expect("the last step");
    interrupted.send_control('c').expect("typed");
    ends(&mut interrupted, 130);
    // Without a terminal what is left of it is not done for anybody; what was answered is not asked again.
    let resumed = lab.run(&["resume", "--yes", "--runbooks", &own]).expect(0);
    let told = resumed.all();
    assert!(
        told.contains("default: nobody is there to ask") && !told.contains("How many slots? 7"),
        "{told}"
    );
    lab.run(&["run", "hand", "--runbooks", &own, "--yes", "--skip=last"]).expect(6);
}

#[test]
fn the_emergency_asks_once_and_where_a_guardrail_wants_it_for_the_name_of_the_app() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let emergency = ["run", "emergency", "--set=hold=2s", "--set=within=30s"];
    let mut once = at_a_terminal(&lab, &emergency);
    once.exp_string("Run emergency on wizzypedia?").expect("the question");
    once.send("y").and_then(|_| once.flush()).expect("typed");
    let shown = ends(&mut once, 0);
    assert_eq!(shown.matches("[y/N]").count(), 1, "it asks once:\n{shown}");

    let rules = lab.wiki.parent().expect("a parent").join("rules.yaml");
    std::fs::write(&rules, "guardrails: 1\ntype_the_name: [wizzypedia]\n").expect("written");
    let named = format!("--guardrails={}", rules.display());
    let before = lab.traces();
    let question = "type the name of the app, wizzypedia";
    let mut wrong = at_a_terminal(&lab, &[&emergency[..], &[&named, "--yes"]].concat());
    wrong.exp_string(question).expect("--yes does not answer it");
    wrong.send_line("yes").expect("typed");
    assert!(ends(&mut wrong, 6).contains("rules.yaml:2"));
    assert_eq!(lab.traces(), before);

    let mut typed = at_a_terminal(&lab, &[&emergency[..], &[&named]].concat());
    typed.exp_string(question).expect("the question");
    typed.send_line("wizzypedia").expect("typed");
    let shown = ends(&mut typed, 0);
    assert!(!shown.contains("[y/N]"), "typing it is the agreement:\n{shown}");
}
