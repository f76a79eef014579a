//! The guide's steps 1 to 4 as a person types them: git, a restart, `sleep 30`, one-off dynos. It is the measure that
//! `deploy-fix` is held against, so it must do exactly what the guide says and nothing cleverer.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::door;
use super::http::{self, Request};
use super::repository;

/// The guide's wait after the restart, seconds of the person's life whatever the lab's time scale.
const SLEEP: Duration = Duration::from_secs(30);

/// Who does it, and where.
#[derive(Debug, Clone)]
pub struct Hands {
    /// The Platform API.
    pub api: SocketAddr,
    /// The app.
    pub app: String,
    /// The token.
    pub token: String,
    /// The wiki's working tree, with a remote `heroku`.
    pub tree: PathBuf,
}

impl Hands {
    /// Goes through the guide; each command is told with the time that it took.
    ///
    /// # Errors
    /// A command fails, or `stop` says so.
    pub fn follow_the_guide(&self, say: &dyn Fn(&str), stop: &dyn Fn() -> bool) -> io::Result<()> {
        let step = |command: &str, act: &dyn Fn() -> io::Result<String>| -> io::Result<String> {
            if stop() {
                return Err(door::stopped());
            }
            let begun = door::now();
            let told = act()?;
            say(&format!("{:>6.1} s  {command}", begun.elapsed().as_secs_f64()));
            for line in told.lines() {
                say(&format!("          {line}"));
            }
            Ok(told)
        };
        let files = repository::GUIDE_FILES;
        step(&format!("git add {}", files.join(" ")), &|| {
            self.git(&[&["add", "--"][..], &files[..]].concat())
        })?;
        let message =
            "Fix database connection exhaustion - disable persistent connections, add cleanup hooks";
        step("git commit -m \"Fix database connection exhaustion - ...\"", &|| {
            self.git(&["commit", "-q", "-m", message])
        })?;
        step("git push heroku master", &|| self.git(&["push", "-q", "heroku", "master"]))?;
        step("heroku restart", &|| self.call("DELETE", "/dynos", &Json::Null).map(|_| String::new()))?;
        step("sleep 30", &|| {
            door::wait_until(SLEEP, stop);
            Ok(String::new())
        })?;
        let told =
            step("heroku run php diagnose_connections.php", &|| self.run("php diagnose_connections.php"))?;
        if !told.contains("usage is low") {
            step("heroku run php kill_idle_connections.php", &|| self.run("php kill_idle_connections.php"))?;
        }
        step("heroku run php check_db_connections.php", &|| self.run("php check_db_connections.php"))?;
        Ok(())
    }

    fn git(&self, arguments: &[&str]) -> io::Result<String> {
        let helper = "!f() { echo username=heroku; echo \"password=$LAB_TOKEN\"; }; f";
        door::output(
            repository::git(&self.tree)
                .args(["-c", "credential.helper=", "-c"])
                .arg(format!("credential.helper={helper}"))
                .args(arguments)
                .env("LAB_TOKEN", &self.token),
        )
    }

    fn call(&self, method: &str, path: &str, body: &Json) -> io::Result<(u16, Json)> {
        let headers = format!(
            "Accept: application/vnd.heroku+json; version=3\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n",
            self.token
        );
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let path = format!("/apps/{}{path}", self.app);
        let request = Request { method, path: &path, headers: &headers, body: &body };
        let answer = http::send(self.api, request, Duration::from_secs(30))?;
        Ok((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Json::Null)))
    }

    /// `heroku run`: ends when the dyno is gone; what it said stands in the app's log.
    fn run(&self, command: &str) -> io::Result<String> {
        let (status, dyno) = self.call("POST", "/dynos", &json!({ "command": command }))?;
        let Some(name) = dyno["name"].as_str().filter(|_| status == 201) else {
            return Err(io::Error::other(format!("{command}: the platform answered {status}")));
        };
        let path = format!("/dynos/{name}");
        let gone = door::wait_until(Duration::from_secs(120), || {
            self.call("GET", &path, &Json::Null).is_ok_and(|(status, _)| status == 404)
        });
        if !gone {
            return Err(io::Error::other(format!("{command}: {name} did not end within 120 s")));
        }
        let session = json!({ "dyno": name, "source": "app", "lines": 100 });
        let (_, session) = self.call("POST", "/log-sessions", &session)?;
        let secret = session["logplex_url"].as_str().and_then(|url| url.split_once("/logs/"));
        let Some((_, secret)) = secret else { return Ok(String::new()) };
        let answer = http::get(self.api, &format!("/logs/{secret}"), Duration::from_secs(10))?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(text
            .lines()
            .filter_map(|line| line.split_once("]: "))
            .map(|(_, said)| format!("{said}\n"))
            .collect())
    }
}
