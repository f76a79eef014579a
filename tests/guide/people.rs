//! What the guide leaves to a person: the Scheduler's dashboard, and going on by hand when the tool cannot.

use std::process::Command;

use mysql::prelude::Queryable;
use rexpect::session::{PtySession, spawn_command};

use crate::support::shared::Shared;
use crate::support::{Lab, binary};

/// Patience with the terminal, in milliseconds.
const PATIENCE: u64 = 120_000;

/// `runbook …` at a terminal.
fn at_a_terminal(lab: &Lab, arguments: &str) -> PtySession {
    let line = format!("stty cols 100 rows 30; exec '{}' {arguments}", binary().display());
    #[expect(clippy::disallowed_methods, reason = "the binary is started as a person does, at a terminal")]
    let mut command = Command::new("sh");
    command.args(["-c", &line]).current_dir(&lab.wiki).envs(&lab.environment);
    command.env_remove("NO_COLOR").env_remove("CI").env("TERM", "xterm");
    spawn_command(command, Some(PATIENCE)).expect("a terminal")
}

fn queued(lab: &Lab) -> u64 {
    lab.overseer().query_first("SELECT COUNT(*) FROM wiki.job").expect("an answer").expect("a row")
}

/// Option 3: the add-on is created, a person enters the job and says so, the jobs run once and the queue shrinks; when
/// nobody says so, it is not called scheduled.
#[test]
fn jobs_are_scheduled_by_a_person_and_run_once() {
    let lab = Shared::take();
    let before = queued(&lab);
    let mut session = at_a_terminal(&lab, "run schedule-jobs --set=maxjobs=3");
    session.exp_string("Run schedule-jobs on wizzypedia?").expect("the question");
    session.send("y").and_then(|_| session.flush()).expect("typed");
    session.exp_string("php maintenance/runJobs.php --maxjobs=3").expect("what to enter");
    session.exp_string("Is it done?").expect("the question");
    session.send_line("done").expect("typed");
    let shown = session.exp_eof().expect("it ends");
    assert!(shown.contains("every gate held") && shown.contains("done by a person"), "{shown}");
    assert_eq!(queued(&lab), before - 3, "{shown}");
    let addons = lab.app("GET", "/addons", &serde_json::Value::Null).expect(200).json().to_string();
    assert!(addons.contains("scheduler:standard"), "{addons}");

    // Nobody is there: the add-on is left as it is, the jobs run, and nothing is said to be scheduled.
    let ran = lab.run(&["run", "schedule-jobs", "--yes", "--set=maxjobs=3"]).expect(4);
    assert!(ran.all().contains("nothing is scheduled"), "{}", ran.all());
    assert_eq!(queued(&lab), before - 6, "{}", ran.all());
}

/// The page holds real commands: those for the database and for git do in the lab what the tool would do.
#[test]
fn going_on_by_hand() {
    let lab = Shared::take();
    let page = lab.run(&["explain", "deploy-fix", "--by-hand"]).expect(0).stdout;
    for wanted in [
        "git add -- LocalSettings.php apache_app.conf",
        "git commit -m 'Fix database connection exhaustion - disable persistent connections, add cleanup hooks'",
        "git push heroku HEAD:master",
        "heroku ps:restart --app wizzypedia",
        "SHOW GLOBAL STATUS LIKE 'Threads_connected'",
        "KILL SOFT",
        "heroku config:get JAWSDB_MARIA_URL --app wizzypedia",
    ] {
        assert!(page.contains(wanted), "{wanted}:\n{page}");
    }
    let secret =
        lab.status["database_url"].as_str().expect("a URL").split([':', '@']).nth(2).expect("a password");
    assert!(!page.contains(secret) && !page.contains("${{"), "{page}");

    // The shell takes its lines as they stand; `heroku` alone is played by a function.
    let lines = |wanted: &str| -> Vec<&str> {
        page.lines().map(str::trim).filter(|line| line.contains(wanted)).collect()
    };
    let mut script =
        format!("heroku() {{ echo '{}'; }}\n", lab.status["database_url"].as_str().expect("a URL"));
    for line in
        page.lines().skip_while(|line| !line.contains("url=$(")).take_while(|line| !line.trim().is_empty())
    {
        script.push_str(&format!("{}\n", line.trim()));
    }
    script.push_str(lines("Threads_connected")[0]);
    script.push('\n');
    let mut idle = lab.session();
    let id: u64 = idle.query_first("SELECT CONNECTION_ID()").expect("an answer").expect("a row");
    let by_hand = lab.run(&["explain", "kill-idle", "--by-hand", "--set=idle=1s"]).expect(0).stdout;
    let kill = by_hand.lines().map(str::trim).find(|line| line.contains("KILL SOFT")).expect("a line");
    script.push_str(&format!("sleep 2\n{kill}\n"));
    #[expect(clippy::disallowed_methods, reason = "the page's lines are pasted into a shell")]
    let ran =
        Command::new("bash").args(["-ec", &script]).current_dir(&lab.wiki).output().expect("bash starts");
    let told = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && told.contains("Threads_connected"), "{told}\n{script}");
    let left: Option<u64> = lab
        .overseer()
        .exec_first("SELECT id FROM information_schema.processlist WHERE id = ?", (id,))
        .expect("an answer");
    assert_eq!(left, None, "the sleeper is gone: {told}");
}
