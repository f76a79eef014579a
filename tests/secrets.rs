//! Marked secrets: everything is run with them, everything that comes out is searched for them. Output, records, files
//! for others, the arguments of every process on the machine, the environment of every program that is started.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and looks at the machine as a person does"
)]

#[path = "secrets/marks.rs"]
mod marks;
mod support;
#[path = "secrets/witness.rs"]
mod witness;
#[path = "secrets/world.rs"]
mod world;

use std::os::unix::fs::PermissionsExt;

use marks::Marks;
use mysql::prelude::Queryable;
use serde_json::{Value as Json, json};
use support::git;
use witness::Witness;
use world::{KEY, PASSWORD, WRONG_PASSWORD, WRONG_TOKEN, World, below, program, url};

const RESTART: &str = "  - id: restart\n    restart: { dynos: all, force: true }\n    gate: { until: live, for: 1s, within: 40s }\n";

fn deploy(file: &str, within: &str) -> String {
    format!(
        "  - id: deploy\n    deploy: {{ add: [{file}], message: a change, include_commits: true }}\n    \
         gate: {{ until: live, for: 1s, within: {within} }}\n"
    )
}

#[test]
fn no_secret_is_ever_seen() {
    // Whatever the person's habits are, and whatever stood there before.
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut world = World::begin();
    for folder in ["", "runs", "locks"] {
        let folder = world.state().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    let witness = Witness::begin(&world.place, &world.lab.wiki, world.marks.clone());
    // The token under another name, too.
    let token = world.lab.environment["HEROKU_API_KEY"].clone();
    world.here = vec![("PATH".to_owned(), witness.path()), ("GH_TOKEN".to_owned(), token.clone())];
    world.git_that_tells();

    // A session that has the secrets in its statement, while the process list is looked at.
    let statement = format!("SELECT SLEEP(30) /* {} */, ?", world.known.join(" ").replace("*/", ""));
    let mut session = mysql::Conn::new(
        mysql::OptsBuilder::from_opts(mysql::Opts::from_url(&world.url).expect("a URL")).prefer_socket(false),
    )
    .expect("a session");
    let id = session.connection_id();
    let asking = std::thread::spawn(move || session.exec_drop(statement, (token,)));

    everything_that_goes_well(&mut world);
    a_config_var_that_is_a_secret(&mut world);
    // Killed, or ended before: both are well.
    let _ = world.lab.overseer().query_drop(format!("KILL {id}"));
    let _ = asking.join().expect("no panic");
    everything_that_fails(&mut world);
    told_again_and_handed_over(&mut world);

    let (calls, processes) = witness.end();
    assert!(calls > 20 && processes > 20, "{calls} calls of git, {processes} processes");
    a_password_in_a_flag(&mut world);
    let (mut searched, mut leaks) = (0, Vec::new());
    for (what, text) in &world.said {
        leaks.extend(world.marks.leak(what, text));
        searched += text.len();
    }
    for path in below(&world.state()) {
        let mode = path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        if path.is_file() {
            let text = std::fs::read(&path).expect("readable");
            leaks.extend(world.marks.leak(&path.display().to_string(), &String::from_utf8_lossy(&text)));
            searched += text.len();
        }
    }
    for name in ["plan.json", "bundle.txt"] {
        let path = world.place.join(name);
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600, "{name}");
        leaks.extend(world.marks.leak(name, &std::fs::read_to_string(&path).expect("readable")));
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    // They were there to be found: a dyno's environment in the log, before the first change.
    let state = world.lab.state();
    assert!(state.contains("SESSION_KEY=[redacted]") && state.contains("SLEEP"), "nobody has said them");
    assert!(searched > 100_000, "only {searched} bytes were searched");
}

/// A deploy, a restart, a program and a diagnosis, in which everybody prints the secrets; each twice: with the secrets
/// in the environment, and with a file and a program that have them.
fn everything_that_goes_well(world: &mut World) {
    let leak = world.leak().display().to_string();
    // Each dyno prints its environment and every form of every secret as it boots.
    world
        .lab
        .file("Procfile", &format!("web: env; cat '{leak}'; exec heroku-php-apache2 -c apache_app.conf\n"));
    let script = world.place.join("step");
    let seen = world.place.join("environment-of-step");
    program(&script, &format!("env > '{}'\ncat '{leak}'\ncat '{leak}' >&2", seen.display()));
    let step =
        format!("  - id: program\n    run: [{}]\n    gate: {{ none: it is a test }}\n", script.display());
    let steps = format!("{step}{}  - id: look\n    diagnose:\n{RESTART}", deploy("Procfile", "40s"));
    let plan = world.place.join("plan.json").display().to_string();
    std::fs::write(&plan, "of another day").expect("written");
    let ran = world.own(
        "a run in which everything is well",
        0,
        &[],
        &steps,
        &["--plan-out", &plan, "--incident=INC-1"],
    );
    assert!(ran.stderr.contains("remote: [redacted]"), "git said them: {}", ran.stderr);
    assert!(ran.stderr.contains("[redacted]"), "{}", ran.stderr);
    let environment = std::fs::read_to_string(&seen).expect("it ran");
    assert!(environment.contains("HEROKU_APP="), "{environment}");
    world.marks.absent("the environment of a step's program", &environment);

    let (file, ask) = (world.place.join("token"), world.place.join("url"));
    std::fs::write(&file, format!("{}\n", world.lab.environment["HEROKU_API_KEY"])).expect("written");
    let url = world.url.clone();
    std::fs::write(world.place.join("url-itself"), &url).expect("written");
    // It may say what it was asked for, and the token, which is known by then.
    let loud = world.place.join("loud");
    let forms = Marks::of(&[&world.lab.environment["HEROKU_API_KEY"], PASSWORD]).forms();
    std::fs::write(&loud, forms.join("\n")).expect("written");
    let loud = loud.display();
    let asked = world.place.join("environment-of-command");
    program(
        &ask,
        &format!(
            "env > '{}'\ncat '{loud}' >&2\n[ -z \"$1\" ] || exit 1\ncat '{}-itself'",
            asked.display(),
            ask.display()
        ),
    );
    let (file, ask) = (file.display().to_string(), ask.display().to_string());
    let kept =
        [("HEROKU_API_KEY", ""), ("HEROKU_API_KEY_FILE", &file), ("RUNBOOK_DATABASE_URL_COMMAND", &ask)];
    let ran = world.own(
        "secrets kept in a file and by a program",
        0,
        &kept,
        &format!("{step}{RESTART}"),
        &["--json"],
    );
    assert!(ran.stderr.contains("warning: HEROKU_API_KEY_FILE: others may read"), "{}", ran.stderr);
    for file in [&seen, &asked] {
        let environment = std::fs::read_to_string(file).expect("it ran");
        assert!(!environment.contains("_FILE=") && !environment.contains("_COMMAND="), "{environment}");
        world.marks.absent("the environment of a program", &environment);
    }
    let forms = Marks::of(&[&world.lab.environment["HEROKU_API_KEY"]]).forms();
    std::fs::write(world.place.join("loud"), forms.join("\n")).expect("written");
    let locked = format!("{ask} locked");
    let locked = [&kept[..2], &[("RUNBOOK_DATABASE_URL_COMMAND", &*locked)]].concat();
    let ran = world.own("a program that gives no secret", 9, &locked, RESTART, &[]);
    assert!(
        ran.stderr.contains("RUNBOOK_DATABASE_URL_COMMAND") && ran.stderr.contains("exit code 1"),
        "{}",
        ran.stderr
    );
    let both = [&kept[..], &[("RUNBOOK_DATABASE_URL_FILE", "/x")]].concat();
    let ran = world.own("two places for one secret", 9, &both, RESTART, &[]);
    assert!(ran.stderr.contains("both RUNBOOK_DATABASE_URL_FILE and"), "{}", ran.stderr);
    let missing = [("HEROKU_API_KEY", ""), ("HEROKU_API_KEY_FILE", "/nowhere/key")];
    let ran = world.own("a file that is not there", 9, &missing, RESTART, &[]);
    assert!(ran.stderr.contains("HEROKU_API_KEY_FILE names: /nowhere/key cannot be read"), "{}", ran.stderr);
    let token = world.lab.environment["HEROKU_API_KEY"].clone();
    let all = [&both[..], &[("HEROKU_API_KEY", &token), ("RUNBOOK_DATABASE_URL", &url)]].concat();
    world.own("the variables themselves win", 0, &all, RESTART, &["--dry-run"]);
    // A remote that holds the token names the app, and nothing more.
    let base = world.lab.environment["HEROKU_GIT_URL"].clone();
    let login = format!("http://heroku:{}@", marks::percent(&world.lab.environment["HEROKU_API_KEY"]));
    let remote = format!("{}/wizzypedia.git", base.replace("http://", &login));
    let config = world.lab.wiki.join(".git/config");
    let before = std::fs::read_to_string(&config).expect("readable");
    std::fs::write(&config, format!("{before}[remote \"with-token\"]\n\turl = {remote}\n")).expect("written");
    world.own(
        "a remote with a login",
        0,
        &[("HEROKU_APP", "")],
        RESTART,
        &["--dry-run", "--remote=with-token"],
    );
    std::fs::write(&config, before).expect("written");
}

/// A value that is read from the environment when it is set, and put back by its undo.
fn a_config_var_that_is_a_secret(world: &mut World) {
    let steps = "  - id: set\n    config: { from_env: { SMTP_PASSWORD: RUNBOOK_SECRET_SMTP } }\n    gate: { none: it is proven }\n";
    let now = |world: &World| {
        let vars = world.lab.app("GET", "/config-vars", &Json::Null).expect(200).json();
        vars["SMTP_PASSWORD"].as_str().map(str::to_owned)
    };
    let ran = world.own("a config var whose secret is not there", 9, &[], steps, &[]);
    assert!(ran.stderr.contains("environment variable RUNBOOK_SECRET_SMTP"), "{}", ran.stderr);
    let ran =
        world.own("a config var that is a secret", 0, &[("RUNBOOK_SECRET_SMTP", KEY)], steps, &["--json"]);
    assert!(
        ran.all().contains("$RUNBOOK_SECRET_SMTP") && now(world).as_deref() == Some(KEY),
        "{}",
        ran.all()
    );
    let run = ran.events().last().and_then(|last| last["run"].as_str().map(str::to_owned)).expect("a run");
    let again = world.own("the same again", 0, &[("RUNBOOK_SECRET_SMTP", KEY)], steps, &[]);
    assert!(again.stderr.contains("no release, no restart"), "{}", again.stderr);
    world.run("its undo", 0, &[], &["undo", &run, "--yes"]);
    assert_eq!(now(world), None, "it was not set before");
}

/// The ways to fail, each with a secret in what it says.
fn everything_that_fails(world: &mut World) {
    let leak = world.leak().display().to_string();
    let all = world.known.join(" ");
    world.lab.fault(&json!({ "method": "DELETE", "path": "/dynos", "fault": { "refuse": [422, all] } }));
    let ran = world.own("an answer that echoes the secrets", 5, &[], RESTART, &["--json"]);
    assert!(ran.stdout.contains("422 [redacted]"), "{}", ran.stdout);
    world.lab.fault(&json!([]));

    world.own("401", 9, &[("HEROKU_API_KEY", WRONG_TOKEN)], RESTART, &["--json"]);
    let port = world.url.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok());
    let port: u16 = port.expect("a port");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    for (what, url) in [
        ("a wrong password", url(port, WRONG_PASSWORD)),
        ("a database that is not reached", url(nobody.expect("a port").port(), PASSWORD)),
        ("another database", url(port, PASSWORD).replace("wiki:", "wikj:")),
    ] {
        world.own(what, 9, &[("RUNBOOK_DATABASE_URL", &url)], RESTART, &["--json"]);
    }
    let login = format!("http://u:{}@", marks::percent(KEY));
    for variable in ["HEROKU_GIT_URL", "HEROKU_API_URL"] {
        let base = world.lab.environment[variable].replace("http://", &login);
        let ran = world.own("a login in a base URL", 9, &[(variable, &base)], RESTART, &[]);
        assert!(ran.stderr.contains("it holds a login"), "{}", ran.stderr);
    }
    let pages = world.lab.status["web_url"].as_str().expect("a URL").replace("http://", &login);
    world.own("pages behind a password", 0, &[("RUNBOOK_APP_URL", &pages)], RESTART, &["--json"]);

    world.lab.file("composer.json", "{ no json");
    world.own("a build that fails", 5, &[], &deploy("composer.json", "20s"), &[]);
    git(&world.lab.wiki, &["reset", "-q", "--hard", "HEAD~1"]);
    world
        .lab
        .fault(&json!({ "door": "git", "method": "POST", "fault": { "refuse": [401, ""] }, "times": 9 }));
    world.lab.file("index.php", "<?php\n// Another one.\nrequire __DIR__ . '/LocalSettings.php';\n");
    world.own("a push that fails", 5, &[], &deploy("index.php", "20s"), &[]);
    world.lab.fault(&json!([]));
    world.lab.file("Procfile", &format!("web: env; cat '{leak}'; exit 1\n"));
    let crash = deploy("Procfile", "20s");
    let ran = world.own("a dyno that crashes and says them", 5, &[], &crash, &[]);
    assert!(ran.stderr.contains("crash"), "{}", ran.stderr);
}

fn told_again_and_handed_over(world: &mut World) {
    let listed = world.run("the list", 0, &[], &["runs", "--json"]);
    let runs: Vec<String> = listed
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<Json>(line).expect("JSON")["run"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert!(runs.len() > 5, "{runs:?}");
    for run in &runs {
        world.run("told again", 0, &[], &["show", run]);
        let told = world.run("verified", 0, &[], &["show", run, "--verify"]);
        assert!(told.stdout.contains("private  yes"), "{}", told.stdout);
    }
    let bundle = world.place.join("bundle.txt").display().to_string();
    world.run("handed over", 0, &[], &["handoff", &runs[0], "--out", &bundle]);
}

/// It stands in process lists: that is said, once, by each command that takes it.
fn a_password_in_a_flag(world: &mut World) {
    let flag = format!("--database-url={}", world.url);
    let listed = world.run("the list", 0, &[], &["runs", "--json"]);
    let newest: Json = serde_json::from_str(listed.stdout.lines().next().expect("a run")).expect("JSON");
    let newest = newest["run"].as_str().expect("an id").to_owned();
    let folder =
        world.lab.runbook("own", &format!("runbook: 1\nname: own\nsummary: a test\nsteps:\n{RESTART}"));
    let reason = format!("--reason={}", world.known.join(" ").chars().take(300).collect::<String>());
    for arguments in [
        &["run", "own", "--runbooks", &folder, "--dry-run", "--json", &reason][..],
        &["run", "own", "--runbooks", &folder, "--dry-run", "--no-database"],
        &["undo", &newest, "--dry-run"],
        &["resume", &newest, "--yes"],
        &["resume", &newest, "--yes", "--runbooks", &folder, "--accept-changed=runbook"],
    ] {
        let ran = world.lab.run(&[arguments, &[&flag]].concat());
        assert_eq!(
            ran.stderr.matches("warning: --database-url shows").count(),
            1,
            "{arguments:?}: {}",
            ran.stderr
        );
        world.said.push((format!("{arguments:?}"), ran.all()));
    }
}
