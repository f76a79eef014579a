//! Everything that others may put into a text (accounts, releases, dynos, config keys, errors, log lines, sessions of
//! the database, commits, files, arguments) drives no terminal: a poisoned Heroku, a real MariaDB and a real git, and
//! every byte that comes out is looked at. Names that look like options or climb out of a path mean themselves.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and starts the binary as a person does"
)]

#[path = "hostile_terminal/poison.rs"]
mod poison;
mod support;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mysql::prelude::Queryable;
use poison::{Poison, evil};
use runbook::source::hides;
use support::{Lab, Ran, git, until};

/// Nothing raw came out, and nothing broke.
#[track_caller]
fn clean(ran: Ran) -> Ran {
    let all = ran.all();
    let raw = |line: &&str| line.chars().any(hides);
    let raw: Vec<&str> = all.split('\n').filter(raw).collect();
    assert_eq!(raw, Vec::<&str>::new(), "raw characters");
    assert!(!all.contains("panicked") && ran.code != 101 && ran.code >= 0, "it broke: {all}");
    for line in ran.stdout.lines().filter(|line| line.starts_with("{\"")) {
        serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    }
    ran
}

/// No file below it holds anything raw, its name included; tabs and line ends are a runbook's text.
fn clean_files(folder: &Path) -> usize {
    let mut looked = 0;
    for entry in std::fs::read_dir(folder).expect("readable").map(|entry| entry.expect("an entry")) {
        if entry.path().is_dir() {
            looked += clean_files(&entry.path());
            continue;
        }
        let bytes = std::fs::read(entry.path()).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        let raw: Vec<&str> = text.split('\n').filter(|line| line.chars().any(hides)).collect();
        assert_eq!(raw, Vec::<&str>::new(), "{}", entry.path().display());
        looked += 1;
    }
    looked
}

/// Names of files, as hostile as git takes them.
fn files() -> Vec<String> {
    ["-n", "--upload-pack=x", "--", ":(exclude)*", ":!a", "qu\"o'te", "$(id)", "a\nb", "*", "[x]"]
        .into_iter()
        .map(str::to_owned)
        // A name has no slash and no NUL, and 255 bytes at most.
        .chain([format!("evil{}", evil().replace('/', "_"))])
        .collect()
}

const HEAD: &str = "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\ninputs:\n  word: { type: text, default: x }\nsteps:\n";

/// The working tree: a commit by somebody, files that are not committed yet.
fn hostile_tree(lab: &Lab) {
    git(&lab.wiki, &["config", "user.name", &evil().replace('\n', " ")]);
    git(&lab.wiki, &["config", "user.email", "kim@example.com"]);
    let message = format!("-subject {}", evil());
    git(&lab.wiki, &["commit", "--allow-empty", "--cleanup=verbatim", "-m", &message]);
    for name in files() {
        std::fs::write(lab.wiki.join(name), "a line\n").expect("written");
    }
}

/// The steps of a runbook that asks and shows all that there is.
const EVERYTHING: &str = r#"  - diagnose:
  - id: say
    run: [printf, '%b', '\033]0;x\007\033[2J over\r\0302\0233m \0342\0200\0256 \010\n']
    gate: { none: it changes nothing }
  - id: no
    run: [sh, -c, 'printf "\033]0;x\007" >&2; exit 3']
    gate: { none: it changes nothing }
    on_failure: continue
  - id: scale
    scale: { to: 1 }
    on_failure: continue
  - id: restart
    restart: all
    timeout: 15s
    on_failure: continue
  - id: deploy
    deploy: { add: ['evil*'], message: "--amend ${{ inputs.word }}", include_commits: true }
    on_failure: continue
"#;

/// What somebody may paste: `{}` is hostile, `RUN` is a run.
const PASTED: &str = "{}
run {}
run {} --json
run own {}
run own {} --json
run own --set {}
run own --set word={} --json
run own --from {}
run own --only {} --json
run own --skip {}
run own --deadline {}
run own --wait-lock {} --dry-run
run own --dry-run -a {}
run own --dry-run -r {}
run own --dry-run -C {}
run own --dry-run --url {}
run own --dry-run --database-var {}
run own --dry-run --database-url {}
run own --dry-run --database-tls {}
run own --dry-run --database-ca {}
run own --yes --incident {}
run own --yes --reason {}
run own --emergency {} --lift {} --dry-run
run own --guardrails {} --dry-run
run own --runbooks {}
run own --plan-out {} --dry-run
show {}
show RUN --verify --head {}
resume {} --yes
resume RUN --accept-changed {}
undo {} --yes
handoff {}
handoff --take {}
check {}
check {} --json
explain {}
list --runbooks {}
new {}
new fresh --runbooks {}
new fresh --runbooks {}";

fn pasted(bad: &str, run: &str) -> Vec<Vec<String>> {
    let word = |word: &str| if word == "RUN" { run.to_owned() } else { word.replace("{}", bad) };
    PASTED.lines().map(|line| line.split(' ').map(word).collect()).collect()
}

#[test]
fn nothing_that_others_have_written_drives_a_terminal() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let poison = Poison::before(&lab.environment["HEROKU_API_URL"]);
    let state = format!("state{}", evil().replace('/', "_"));
    let state = lab.wiki.parent().expect("a parent").join(state).display().to_string();
    let api = poison.base();
    let poisoned = [("HEROKU_API_URL", api.as_str()), ("RUNBOOK_STATE_DIR", state.as_str())];
    let run = |arguments: &[&str]| clean(lab.run_in(&poisoned, arguments));

    hostile_tree(&lab);
    // A session whose statement is one, in use as long as the test needs it.
    let mut session = lab.session();
    let statement = format!("SELECT SLEEP(120) AS `{}`", evil().replace('\n', " "));
    let asleep = std::thread::spawn(move || drop(session.query_drop(statement)));
    let mut overseer = lab.overseer();
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP(120)%'";
    until("the session runs", Duration::from_secs(20), || {
        overseer.query_first::<u64, _>(running).expect("an answer") == Some(1)
    });

    let own = lab.runbook("own", &format!("{HEAD}{EVERYTHING}"));
    let own = own.as_str();
    let dry = run(&["run", "own", "--runbooks", own, "--dry-run"]).expect(0);
    for told in ["kim@example.com", "evil\\x1b]0;", "-subject", "other\\x1b"] {
        assert!(dry.all().contains(told), "{told} is told: {}", dry.all());
    }
    run(&["run", "own", "--runbooks", own, "--dry-run", "--json"]).expect(0);
    poison.refuse_formation(true);
    let ran = run(&["run", "own", "--runbooks", own, "--yes", "--reason", "a test"]);
    assert!(ran.all().contains("\\x1b]0;"), "what was said is told: {}", ran.all());
    poison.refuse_formation(false);
    run(&["run", "own", "--runbooks", own, "--yes", "--json", "--skip", "restart", "--skip", "deploy"]);
    run(&["run", "rollback", "--dry-run"]);
    run(&["run", "emergency", "--dry-run"]);
    run(&["run", "deploy-fix", "--dry-run", "--json"]);

    // What is kept of it, told again.
    let runs = run(&["runs"]).expect(0);
    run(&["runs", "--json"]).expect(0);
    let first =
        runs.stdout.lines().last().expect("a run").split_whitespace().next().expect("an id").to_owned();
    for arguments in [
        &["show", &first][..],
        &["show", &first, "--json"],
        &["show", &first, "--verify"],
        &["undo", &first, "--dry-run"],
        &["resume", &first, "--yes", "--runbooks", own],
        &["handoff", &first, "--out", "bundle.txt"],
        &["handoff", "--take", "bundle.txt"],
    ] {
        run(arguments);
    }
    assert!(clean_files(Path::new(&state)) > 3, "journals, evidence, leases");

    // Errors of the API, and of the database, in their own words.
    poison.break_everything(true);
    let refused = run(&["run", "own", "--runbooks", own, "--dry-run"]).expect(9);
    assert!(refused.stderr.contains("409 odd\\x1b]0;"), "{}", refused.stderr);
    run(&["run", "own", "--runbooks", own, "--dry-run", "--json"]).expect(9);
    poison.break_everything(false);
    poison.rename_database(true);
    let refused = run(&["run", "own", "--runbooks", own, "--dry-run"]).expect(9);
    assert!(refused.stderr.contains("1b"), "the server quotes the name: {}", refused.stderr);
    poison.rename_database(false);

    // What somebody may paste.
    let bad = evil();
    let bad = bad.as_str();
    for arguments in pasted(bad, &first) {
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if arguments.get(1) == Some(&"own") && !arguments.contains(&"--runbooks") {
            arguments.extend(["--runbooks", own]);
        }
        run(&arguments);
    }
    for variable in [
        "HEROKU_APP",
        "HEROKU_API_URL",
        "HEROKU_GIT_URL",
        "HEROKU_API_KEY",
        "NETRC",
        "RUNBOOK_APP_URL",
        "RUNBOOK_DATABASE_URL",
    ] {
        clean(lab.run_with((variable, bad), &["run", "own", "--runbooks", own, "--dry-run"]));
    }
    let id: Option<u64> = overseer.query_first(running.replace("COUNT(*)", "id")).expect("an answer");
    overseer.query_drop(format!("KILL {}", id.expect("it runs"))).expect("ended");
    asleep.join().expect("it ended");
}

#[test]
fn names_that_look_like_options_are_committed_as_what_they_are() {
    let lab = Lab::up(&["--scenario=quiet"]);
    git(&lab.wiki, &["config", "user.name", "Kim"]);
    git(&lab.wiki, &["config", "user.email", "kim@example.com"]);
    std::fs::write(lab.wiki.join("LocalSettings.php.orig"), "not announced\n").expect("written");
    let names = files();
    for name in &names {
        std::fs::write(lab.wiki.join(name), "a line\n").expect("written");
    }
    let before = git(&lab.wiki, &["rev-parse", "HEAD"]).trim().to_owned();
    // By their names; those that a runbook cannot hold, by a glob.
    let named: Vec<String> = names
        .iter()
        .filter(|name| !name.contains(hides))
        .map(|name| format!("'{}'", name.replace('\'', "''")))
        .chain(["'evil*'".to_owned(), "'a?b'".to_owned()])
        .collect();
    let step = format!(
        "  - id: deploy\n    deploy: {{ add: [{}], message: '--amend -n; $(touch pwned)' }}\n    gate: {{ until: live, for: 1s, within: 60s }}\n",
        named.join(", ")
    );
    let own = lab.runbook("own", &format!("{HEAD}{step}"));
    let dry = clean(lab.run(&["run", "own", "--runbooks", &own, "--dry-run"])).expect(0);
    assert!(dry.stdout.contains("--upload-pack=x"), "{}", dry.stdout);
    clean(lab.run(&["run", "own", "--runbooks", &own, "--yes"])).expect(0);
    let log = git(&lab.wiki, &["log", "--format=%s", &format!("{before}..HEAD")]);
    assert_eq!(log.trim(), "--amend -n; $(touch pwned)", "one commit more, of that subject");
    let output = Command::new("git")
        .args(["-C", &lab.wiki.display().to_string(), "diff", "--name-only", "-z", &before, "HEAD"])
        .output()
        .expect("git");
    let mut committed: Vec<String> =
        String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect();
    let mut wanted = names;
    committed.sort();
    wanted.sort();
    assert_eq!(committed, wanted, "these files and no other");
    assert!(!lab.wiki.join("pwned").exists(), "no shell was there");

    // A branch that is none of Heroku's two, and a name of a process that climbs.
    for (step, code) in [
        ("deploy: { message: x, branch: -f }", 3),
        ("deploy: { message: x, branch: '+master' }", 3),
        ("restart: ..", 9),
        ("restart: 'web.1/../..'", 9),
        ("restart: 'web&x=1'", 9),
        ("scale: { type: '../x', to: 1 }", 9),
    ] {
        let own = lab.runbook("own", &format!("{HEAD}  - id: it\n    {step}\n"));
        let requests = lab.requests().iter().filter(|request| support::changes(request)).count();
        let ran = clean(lab.run(&["run", "own", "--runbooks", &own, "--yes"]));
        assert!(ran.code == code || ran.code == 3, "{step}: {} {}", ran.code, ran.all());
        let now = lab.requests().iter().filter(|request| support::changes(request)).count();
        assert_eq!(now, requests, "{step}: nothing was asked for");
    }
}
