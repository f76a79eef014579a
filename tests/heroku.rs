//! The Heroku client, deploy and rollback against the simulator's faults: what Heroku may answer is named or survived,
//! nothing is done twice, and no configuration of a person's changes what is pushed.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value as Json, json};
use support::{Lab, Ran, git};

const HEAD: &str = "runbook: 1\nname: own\nsummary: a test of its own\nhealth:\n  every: 500ms\nsteps:\n";
const RESTART: &str =
    "  - id: restart\n    restart: all\n    timeout: 20s\n    gate: { none: the proof is enough here }\n";

/// A runbook of one deploy.
fn deploying(lab: &Lab, add: &str) -> String {
    let step = format!(
        "  - id: deploy\n    deploy: {{ add: {add}, message: \"A change of the test\" }}\n    gate: {{ until: live, for: 1s, within: 30s }}\n"
    );
    lab.runbook("own", &format!("{HEAD}{step}"))
}

fn own(lab: &Lab, own: &str, mode: &str) -> Ran {
    lab.run(&["run", "own", "--runbooks", own, mode])
}

/// How often the API was asked for this.
fn asked(lab: &Lab, method: &str, ending: &str) -> usize {
    let is = |request: &&serde_json::Value| {
        request["method"] == method && request["path"].as_str().is_some_and(|path| path.ends_with(ending))
    };
    lab.requests().iter().filter(is).count()
}

#[test]
fn every_answer_of_the_api_is_named_or_survived() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let restart = lab.runbook("own", &format!("{HEAD}{RESTART}"));
    let before = lab.traces();

    // Refusals, named by their id, with what to do and the request's id.
    for (status, id, says) in [
        (401, "unauthorized", "HEROKU_API_KEY"),
        (402, "delinquent", "owes money"),
        (403, "two_factor", "second factor"),
        (403, "suspended", "suspended"),
        (404, "not_found", "check the name"),
        (429, "rate_limit", "rate limit"),
    ] {
        lab.fault(&json!({ "path": "/apps/wizzypedia", "fault": { "refuse": [status, id] } }));
        let ran = own(&lab, &restart, "--dry-run").expect(9);
        for wanted in [id, says, "request id", &status.to_string()] {
            assert!(ran.stderr.contains(wanted), "{wanted}: {}", ran.stderr);
        }
        lab.no_faults();
    }

    // Passing faults of a read: asked again, and said.
    for fault in [json!("html"), json!("cut"), json!("lose-answer"), json!("lose-request")] {
        lab.fault(&json!({ "path": "/apps/wizzypedia", "fault": fault }));
        let ran = own(&lab, &restart, "--dry-run").expect(0);
        assert!(ran.all().contains("trying again"), "{fault}: {}", ran.all());
    }
    // A page of HTML that stays is no JSON, and no panic.
    lab.fault(&json!({ "path": "/apps/wizzypedia", "fault": "html", "times": 9 }));
    let ran = own(&lab, &restart, "--dry-run").expect(9);
    assert!(ran.stderr.contains("HTML") && ran.stderr.contains("status.heroku.com"), "{}", ran.stderr);
    lab.no_faults();
    // Slow, yet in time; lists in pages of one; an account that a narrow token may not read.
    lab.fault(&json!({ "path": "/apps/wizzypedia/dynos", "fault": { "stall": 1500 } }));
    lab.fault(&json!({ "path": "/apps/wizzypedia/", "fault": { "pages": 1 }, "times": 99 }));
    lab.fault(&json!({ "path": "/account", "fault": { "refuse": [403, "forbidden"] } }));
    let ran = own(&lab, &restart, "--dry-run").expect(0);
    assert!(ran.stdout.contains("web.1 since") && ran.stdout.contains("web.2 since"), "{}", ran.stdout);
    assert!(ran.all().contains("may not tell whose it is"), "{}", ran.all());
    lab.no_faults();
    assert_eq!(lab.traces(), before, "nothing was changed");

    // A token that cannot even be sent.
    let ran = lab.run_with(("HEROKU_API_KEY", "two words"), &["run", "rollback", "--dry-run"]).expect(9);
    assert!(ran.stderr.contains("holds blanks"), "{}", ran.stderr);
}

#[test]
fn a_restart_is_proven_or_not_claimed() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let restart = lab.runbook("own", &format!("{HEAD}{RESTART}"));

    // Refused: nothing changed, and it is not tried again.
    for (status, id) in [(422, "invalid_params"), (403, "forbidden"), (409, "conflict"), (429, "rate_limit")]
    {
        let (retired, requests) = (lab.retired(), asked(&lab, "DELETE", "/dynos"));
        lab.fault(&json!({ "method": "DELETE", "fault": { "refuse": [status, id] } }));
        let ran = own(&lab, &restart, "--yes").expect(5);
        assert!(ran.all().contains(id), "{}", ran.all());
        assert_eq!((lab.retired(), asked(&lab, "DELETE", "/dynos")), (retired, requests + 1), "{id}");
    }

    // Accepted, and nothing happens: dynos that are up are no proof.
    let retired = lab.retired();
    lab.fault(&json!({ "method": "DELETE", "fault": "pretend" }));
    let ran = own(&lab, &restart, "--yes").expect(5);
    assert!(ran.all().contains("old ones still listed"), "{}", ran.all());
    assert_eq!(lab.retired(), retired);

    // The API is down for a while after it was accepted: the run waits, and the database goes on.
    let order = json!({ "method": "GET", "path": "/apps/wizzypedia/dynos", "fault": "html", "times": 7 });
    let states = json!({ "method": "GET", "path": "/apps/wizzypedia/dynos", "fault": { "state": "provisioning" }, "times": 2 });
    let child = lab.start(&["run", "own", "--runbooks", &restart, "--yes", "--json"]);
    support::until("the restart is accepted", Duration::from_secs(30), || lab.retired() > retired);
    lab.fault(&order);
    lab.fault(&states);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("API to answer again"), "{text}");
    let down = text.lines().position(|line| line.contains("API to answer again")).expect("said");
    let measured = text
        .lines()
        .skip(down)
        .any(|line| line.contains("\"type\":\"sample\"") && line.contains("\"usage\":0."));
    assert!(measured, "usage is known while the API is down: {text}");
    assert_eq!(lab.retired(), retired + 2, "each dyno once");

    // What is not there is said before anything happens.
    for (dynos, says) in [("clock", "it has: web"), ("web.9", "web.1, web.2")] {
        let own_runbook = lab.runbook("own", &format!("{HEAD}{}", RESTART.replace("all", dynos)));
        let ran = own(&lab, &own_runbook, "--yes").expect(9);
        assert!(ran.all().contains(says), "{}", ran.all());
    }
}

#[test]
fn a_release_phase_that_fails_is_no_deploy_and_the_next_one_goes_through_the_api() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let live = git(&lab.wiki, &["rev-parse", "HEAD"]).trim().to_owned();
    let flag = lab.wiki.parent().expect("a parent").join("flag");
    let procfile = std::fs::read_to_string(lab.wiki.join("Procfile")).expect("a Procfile");
    lab.file("Procfile", &format!("{procfile}release: echo preparing; test -e {}\n", flag.display()));
    let runbook = deploying(&lab, "[Procfile]");

    let ran = own(&lab, &runbook, "--yes").expect(5);
    assert!(ran.all().contains("its release phase failed"), "{}", ran.all());
    assert!(ran.all().contains("preparing"), "the phase's own lines: {}", ran.all());
    let dry = lab.run(&["run", "rollback", "--dry-run", "--set=method=release"]).expect(0);
    assert!(
        dry.stdout.contains(&format!("live now: commit {}", &live[..8])),
        "the old one runs: {}",
        dry.stdout
    );
    assert!(!dry.stdout.contains("to v7"), "never to a failed release: {}", dry.stdout);

    // Nothing to commit, "Everything up-to-date", and not live: its slug is released, and its phase fails again.
    let again = own(&lab, &runbook, "--dry-run").expect(0);
    assert!(again.stdout.contains("ships too"), "the commit of the first attempt is shown: {}", again.stdout);
    let releases = asked(&lab, "POST", "/releases");
    let ran = own(&lab, &runbook, "--yes").expect(5);
    assert_eq!(asked(&lab, "POST", "/releases"), releases + 1);
    assert!(ran.all().contains("pushed nothing"), "what was not changed is not said to be: {}", ran.all());
    let back = |text: &str| {
        let mut versions: Vec<String> = Vec::new();
        for (at, found) in text.match_indices("releases:rollback v") {
            versions.push(text[at + found.len()..].chars().take_while(char::is_ascii_digit).collect());
        }
        versions
    };
    let current = lab.admin("GET", "/apps/wizzypedia/releases", "");
    let current: Json = serde_json::from_str(&current).expect("JSON");
    let current = current.as_array().expect("a list").iter().find(|release| release["current"] == true);
    let current = current.expect("one is live")["version"].to_string();
    let told = back(&ran.all());
    assert!(!told.is_empty() && told.iter().all(|version| *version == current), "{current}: {}", ran.all());
    std::fs::write(&flag, "").expect("a flag");
    let ran = own(&lab, &runbook, "--yes").expect(0);
    assert_eq!(asked(&lab, "POST", "/releases"), releases + 2);
    let head = git(&lab.wiki, &["rev-parse", "HEAD"]);
    assert!(ran.all().contains(&format!("is live: commit {}", &head[..8])), "{}", ran.all());
    let ran = own(&lab, &runbook, "--yes").expect(0);
    assert!(ran.all().contains("already deployed"), "{}", ran.all());

    // A build that fails releases nothing, and the branch has not moved.
    lab.file("composer.json", "{ not JSON\n");
    let runbook = deploying(&lab, "[composer.json]");
    let ran = own(&lab, &runbook, "--yes").expect(5);
    for wanted in ["failed to compile", "invalid JSON", "nothing was released"] {
        assert!(ran.all().contains(wanted), "{wanted}: {}", ran.all());
    }
    let dry = lab.run(&["run", "rollback", "--dry-run", "--set=method=release"]).expect(0);
    assert!(dry.stdout.contains(&format!("live now: commit {}", &head[..8])), "{}", dry.stdout);
}

#[test]
fn a_rollback_never_swaps_the_database_and_never_undoes_itself_unasked() {
    let lab = Lab::up(&["--scenario=quiet"]);
    // Somebody has changed the config since: another key, and where the database is.
    lab.admin("PATCH", "/apps/wizzypedia/config-vars", &json!({ "NEW_KEY": "1" }).to_string());
    support::until("dynos are up", Duration::from_secs(30), || {
        lab.look()["dynos"].as_array().is_some_and(|dynos| dynos.iter().all(|dyno| dyno[1] == "up"))
    });
    let release = ["run", "rollback", "--set=method=release"];
    let dry = lab.run(&[&release[..], &["--dry-run"]].concat()).expect(0);
    assert!(dry.stdout.contains("config NEW_KEY: removed"), "{}", dry.stdout);
    let url = lab.status["database_url"].as_str().expect("a URL").replace("127.0.0.1", "localhost");
    lab.admin("PATCH", "/apps/wizzypedia/config-vars", &json!({ "JAWSDB_MARIA_URL": url }).to_string());
    let before = lab.traces();
    let ran = lab.run(&[&release[..], &["--yes"]].concat()).expect(9);
    assert!(ran.all().contains("JAWSDB_MARIA_URL would be changed"), "{}", ran.all());
    assert!(!ran.all().contains(&url), "no value is shown");
    assert_eq!(lab.traces(), before, "nothing was changed");

    // By git it goes, and twice it would bring the change back: not without a word.
    lab.run(&["run", "rollback", "--yes"]).expect(0);
    let before = lab.traces();
    let ran = lab.run(&["run", "rollback", "--yes"]).expect(6);
    assert!(
        ran.all().contains("is a rollback already") && ran.all().contains("again: true"),
        "{}",
        ran.all()
    );
    assert_eq!(lab.traces(), before, "nothing was changed");
}

#[test]
fn trees_that_cannot_be_deployed_are_refused_before_anything_happens() {
    let lab = Lab::up(&["--scenario=quiet"]);
    lab.file("more.php", "<?php\n");
    let runbook = deploying(&lab, "[more.php]");
    let home = lab.wiki.parent().expect("a parent").to_owned();
    let (before, head) = (lab.traces(), git(&lab.wiki, &["rev-parse", "HEAD"]));
    let refused = |folder: &Path, says: &str| {
        let folder = folder.to_str().expect("a path");
        let ran = lab.run(&["run", "own", "--runbooks", &runbook, "--yes", "-C", folder]).expect(9);
        assert!(ran.all().contains(says), "{says}: {}", ran.all());
    };
    // Somewhere else.
    refused(&home, "not a git repository");
    let other = home.join("other");
    git(&home, &["init", "-q", "-b", "master", "other"]);
    refused(&other, "no commit yet");
    let url = format!("file://{}", lab.wiki.display());
    git(&home, &["clone", "-q", "--depth=1", &url, "shallow"]);
    refused(&home.join("shallow"), "shallow");
    // The tree itself, in states that it comes back from.
    git(&lab.wiki, &["checkout", "-q", "--detach"]);
    refused(&lab.wiki, "detached");
    git(&lab.wiki, &["checkout", "-q", "master"]);
    let merge_head = lab.wiki.join(".git/MERGE_HEAD");
    std::fs::write(&merge_head, git(&lab.wiki, &["rev-parse", "HEAD~1"])).expect("written");
    refused(&lab.wiki, "a merge is under way");
    std::fs::remove_file(merge_head).expect("removed");
    git(&lab.wiki, &["config", "user.useConfigOnly", "true"]);
    git(&lab.wiki, &["config", "--unset", "user.email"]);
    refused(&lab.wiki, "user.email");
    git(&lab.wiki, &["config", "user.email", "operator@wizzypedia.invalid"]);
    // Somebody else has pushed what HEAD lacks: known before the commit.
    git(&lab.wiki, &["branch", "-q", "keep"]);
    git(&lab.wiki, &["reset", "-q", "--soft", "HEAD~1"]);
    git(&lab.wiki, &["reset", "-q"]);
    refused(&lab.wiki, "is newer than HEAD");
    git(&lab.wiki, &["commit", "-q", "--allow-empty", "-m", "Something else"]);
    refused(&lab.wiki, "lacks 1 commits of what is live");
    git(&lab.wiki, &["reset", "-q", "--soft", "keep"]);
    git(&lab.wiki, &["reset", "-q"]);
    git(&lab.wiki, &["branch", "-q", "-D", "keep"]);
    // No git at all.
    let ran =
        lab.run_in(&[("PATH", "/nonexistent")], &["run", "own", "--runbooks", &runbook, "--yes"]).expect(9);
    assert!(ran.all().contains("running git") && ran.all().contains("apt-get install git"), "{}", ran.all());
    assert_eq!(lab.traces().mutating, before.mutating, "nothing was asked of Heroku");
    assert_eq!(git(&lab.wiki, &["rev-parse", "HEAD"]), head, "nothing was committed");
    assert_eq!(git(&lab.wiki, &["status", "--porcelain"]), "?? more.php\n");
}

/// A person's configuration at its oddest, and variables of a debugging session.
fn odd_home(lab: &Lab) -> (std::path::PathBuf, Vec<(String, String)>) {
    let home = lab.wiki.parent().expect("a parent").join("home");
    let hooks = home.join("hooks");
    std::fs::create_dir_all(&hooks).expect("a folder");
    let hook = hooks.join("pre-push");
    std::fs::write(&hook, format!("#!/bin/sh\nenv > {}\nexit 1\n", home.join("hook-ran").display()))
        .expect("a hook");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let base = &lab.environment["HEROKU_GIT_URL"];
    let config = format!(
        "[commit]\n gpgsign = true\n cleanup = strip\n[gpg]\n program = false\n[push]\n gpgSign = true\n default = nothing\n followTags = true\n pushOption = x\n\
         [core]\n hooksPath = {}\n askPass = false\n pager = false\n splitIndex = true\n[color]\n ui = always\n diff = always\n push = always\n status = always\n\
         [status]\n showUntrackedFiles = no\n relativePaths = true\n branch = true\n[diff]\n noprefix = true\n relative = true\n external = false\n[log]\n showSignature = true\n\
         [url \"http://127.0.0.1:1/\"]\n insteadOf = {base}/\n pushInsteadOf = {base}/w\n[credential]\n helper = store\n username = nobody\n[submodule]\n recurse = true\n[revert]\n reference = true\n",
        hooks.display()
    );
    std::fs::write(home.join(".gitconfig"), config).expect("written");
    let trace = home.join("trace").display().to_string();
    let mut variables = vec![("HOME".to_owned(), home.display().to_string())];
    for name in ["GIT_TRACE", "GIT_TRACE_CURL", "GIT_TRACE2_EVENT"] {
        variables.push((name.to_owned(), trace.clone()));
    }
    for (name, value) in [
        ("GIT_TRACE_REDACT", "0"),
        ("GIT_CURL_VERBOSE", "1"),
        ("GIT_DIR", "/nonexistent"),
        ("GIT_INDEX_FILE", "/nonexistent"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_EXTERNAL_DIFF", "false"),
    ] {
        variables.push((name.to_owned(), value.to_owned()));
    }
    (home, variables)
}

#[test]
fn no_configuration_of_a_persons_changes_what_is_pushed_and_the_token_is_nowhere() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let (home, variables) = odd_home(&lab);
    git(&lab.wiki, &["config", "--unset", "commit.gpgsign"]);
    let token = lab.environment["HEROKU_API_KEY"].clone();
    std::fs::create_dir_all(lab.wiki.join("sub")).expect("a folder");
    let odd = ["-x.php", "a name.php", "größe.php", "new\nline.php", "it's [1].php"];
    for name in odd {
        lab.file(name, "<?php\n");
    }
    lab.file("sub/below.php", "<?php // a glob of the shell does not reach it\n");
    lab.file("unrelated.txt", "stays as it is\n");
    lab.file("secret.php", "<?php // ignored\n");
    lab.file(".gitignore", "secret.php\n");
    std::fs::remove_file(lab.wiki.join("README.md")).expect("removed");
    git(&lab.wiki, &["tag", "-a", "-m", "a tag", "not-to-be-pushed"]);
    let runbook = deploying(&lab, "[\"*.php\", README.md, { path: nothing-of-it.php, optional: true }]");
    let variables: Vec<(&str, &str)> = variables.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let below = lab.wiki.join("sub");
    let folder = below.to_str().expect("a path");

    let before = lab.traces();
    let files = || {
        let mut names: Vec<_> = std::fs::read_dir(lab.wiki.join(".git"))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        names
    };
    let listed = files();
    let dry =
        lab.run_in(&variables, &["run", "own", "--runbooks", &runbook, "--dry-run", "-C", folder]).expect(0);
    assert_eq!((lab.traces(), files()), (before.clone(), listed), "a dry run leaves no trace");
    for wanted in ["'a name.php'", "größe.php", r"$'new\x0aline.php'", "deleted README.md", "is not signed"]
    {
        assert!(dry.stdout.contains(wanted), "{wanted}: {}", dry.stdout);
    }

    // While it runs, nobody who lists processes sees the token.
    let mut environment = lab.environment.clone();
    environment.extend(variables.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())));
    #[expect(clippy::disallowed_methods, reason = "processes are looked at while it runs")]
    let mut child = Command::new(support::binary())
        .args(["run", "own", "--runbooks", &runbook, "--yes", "-C", folder])
        .current_dir(&lab.wiki)
        .envs(&environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut pushing = false;
    while child.try_wait().expect("a child").is_none() {
        for entry in std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            pushing |= line.contains("push\0--porcelain") && !line.contains("--dry-run");
            assert!(!line.contains(&token), "the token is in an argument: {line}");
        }
    }
    let output = child.wait_with_output().expect("it ends");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(pushing, "a push was seen in the list of processes");

    let names =
        git(&lab.wiki, &["-c", "core.quotePath=false", "show", "-z", "--format=", "--name-only", "HEAD"]);
    let mut names: Vec<&str> = names.split('\0').filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut wanted = [&odd[..], &["README.md"]].concat();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "exactly what was announced");
    assert_eq!(std::fs::read_to_string(lab.wiki.join("unrelated.txt")).expect("there"), "stays as it is\n");
    let bare = lab.wiki.parent().expect("a parent").join("git/wizzypedia.git");
    let bare = if bare.exists() { bare } else { find_bare(lab.wiki.parent().expect("a parent")) };
    let refs = git(&bare, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(refs.trim(), "refs/heads/master", "no tag, no other branch");
    assert!(!home.join("hook-ran").exists(), "the pre-push hook would have had the token");
    assert!(!home.join("trace").exists() && !home.join(".git-credentials").exists(), "no trace, no store");
    let config = std::fs::read_to_string(lab.wiki.join(".git/config")).expect("a config");
    for (place, text) in [("output", &said), ("config", &config), ("journal", &lab.state())] {
        assert!(!text.contains(&token), "the token is in the {place}");
    }

    // And back again, under the same configuration.
    let tree = git(&lab.wiki, &["rev-parse", "HEAD~1^{tree}"]);
    lab.run_in(&variables, &["run", "rollback", "--yes", "-C", folder]).expect(0);
    assert_eq!(git(&lab.wiki, &["rev-parse", "HEAD^{tree}"]), tree);
    let subject = git(&lab.wiki, &["log", "-1", "--format=%s"]);
    assert_eq!(subject.trim(), "Revert \"A change of the test\"");
}

/// The simulator's bare repository below a folder.
fn find_bare(folder: &Path) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.ends_with("wizzypedia.git") {
            return folder;
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        folders.extend(entries.map(|entry| entry.path()).filter(|path| path.is_dir()));
    }
    panic!("the simulator has a bare repository");
}

#[test]
fn with_few_calls_left_a_run_reads_less_says_so_once_and_changes_as_ever() {
    let lab = Lab::up(&["--scenario=quiet"]);
    let proof = "  - id: watch\n    wait: { until: usage < 100%, for: 12s, within: 60s }\n";
    let watch = lab.runbook("own", &format!("{HEAD}{proof}"));
    // Dynos that are not up are looked at as often as the budget permits.
    let starting =
        json!({ "method": "GET", "path": "/dynos", "fault": { "state": "provisioning" }, "times": 9999 });
    let watched = || {
        lab.fault(&starting);
        let before = asked(&lab, "GET", "/dynos");
        let ran = own(&lab, &watch, "--yes").expect(0);
        lab.no_faults();
        (
            ran.all().matches("API calls are left to the account").count(),
            asked(&lab, "GET", "/dynos") - before,
        )
    };
    let (said, full) = watched();
    assert_eq!(said, 0, "with a full bucket there is nothing to say");

    // Somebody else's tool uses the account's calls up, all but some sixty.
    let left = || -> f64 {
        let answer = lab.ask("GET", "/account", &lab.authorized(), "");
        answer.header("RateLimit-Remaining").and_then(|left| left.parse().ok()).expect("a number")
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| while left() > 60.0 {});
        }
    });
    let (said, rationed) = watched();
    println!("the dynos were read {full} times with a full bucket, {rationed} times with an empty one");
    assert_eq!(said, 1, "once");
    assert!(rationed < full, "{rationed} of {full}");
    let retired = lab.retired();
    let restart = lab.runbook("own", &format!("{HEAD}{RESTART}"));
    let ran = own(&lab, &restart, "--yes").expect(0);
    assert!(ran.all().contains("changes are not held back"), "{}", ran.all());
    assert_eq!(lab.retired() - retired, 2, "each dyno once, as ever");
}
