//! The Heroku simulator of the lab: Platform API, router, git over HTTP, builds, releases and dynos (real
//! processes). Built from `reference/heroku-api.md` alone; each answer names its fact in the header `X-Lab-Fact`.
//! It shares no type with the client in `platform` and must never be reached but through its sockets.

mod addons;
mod admin;
mod answer;
mod api;
mod builds;
mod dynos;
mod faults;
mod formation;
mod git;
pub mod hook;
mod lists;
mod logs;
mod one_off;
mod plans;
mod releases;
mod rendezvous;
mod router;
mod state;
mod streams;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faults::Faults;
use logs::Logs;
use rendezvous::Rendezvous;
use state::State;

use super::door;
use super::watch::Told;

/// Whose token it is.
const USER: &str = "operator@wizzypedia.invalid";

/// What the simulator starts with.
#[derive(Clone)]
pub struct Options {
    /// Folder it may write to: bare repository (`git/APP.git`, made before), slugs, `requests.jsonl`.
    pub dir: PathBuf,
    /// The bearer token it accepts.
    pub token: String,
    /// Name of the one app.
    pub app: String,
    /// Formation at the start: (process type, quantity, dyno size).
    pub formation: Vec<(String, u32, String)>,
    /// Config vars at the start, the database URL among them.
    pub config: BTreeMap<String, String>,
    /// What dynos get beside their config vars (the scenario's habits of visitors and extensions).
    pub habits: BTreeMap<String, String>,
    /// The folder put in front of `PATH` of every dyno (the stand-ins for the buildpack's programs).
    pub path: PathBuf,
    /// How many times faster than the real platform boots, overlaps and builds pass (1.0 = as in the facts).
    pub time_scale: f64,
    /// Told how many connections the database of another plan takes.
    pub limit: Arc<dyn Fn(u32) + Send + Sync>,
    /// Told of each dyno's process.
    pub watch: Told,
}

/// The simulator as its threads share it.
pub(super) struct World {
    options: Options,
    state: Mutex<State>,
    logs: Logs,
    faults: Faults,
    requests: Mutex<std::fs::File>,
    stopping: AtomicBool,
    /// Process groups of dynos that live, the replaced ones included.
    groups: Mutex<BTreeSet<u32>>,
    api: SocketAddr,
    git: SocketAddr,
    router: SocketAddr,
    rendezvous: Rendezvous,
    /// Builds of an app are serialized (facts §5).
    building: Mutex<()>,
}

/// A running simulator; dropping it ends its dynos.
pub struct Heroku {
    world: Arc<World>,
}

impl World {
    /// A platform's time at the lab's scale.
    fn scaled(&self, real: Duration) -> Duration {
        real.div_f64(self.options.time_scale.max(0.001))
    }

    #[expect(
        clippy::expect_used,
        reason = "a thread that panicked while holding the state has made it worthless"
    )]
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("the simulator's state is whole")
    }

    fn groups(&self) -> Vec<u32> {
        self.groups.lock().map(|groups| groups.iter().copied().collect()).unwrap_or_default()
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

impl Heroku {
    /// Starts API, git and router on free ports of loopback. Nothing is deployed yet.
    ///
    /// # Errors
    /// No port, or a folder that cannot be written.
    pub fn start(options: Options) -> io::Result<Self> {
        std::fs::create_dir_all(options.dir.join("slugs"))?;
        let requests =
            std::fs::OpenOptions::new().create(true).append(true).open(options.dir.join("requests.jsonl"))?;
        let listen = || tiny_http::Server::http("127.0.0.1:0").map_err(io::Error::other);
        let (api, git, router) = (listen()?, listen()?, listen()?);
        let (rendezvous, attached) = Rendezvous::listen()?;
        let at = |server: &tiny_http::Server| {
            server.server_addr().to_ip().ok_or_else(|| io::Error::other("no address of loopback"))
        };
        let world = Arc::new(World {
            state: Mutex::new(State::new(&options)),
            logs: Logs::default(),
            faults: Faults::default(),
            requests: Mutex::new(requests),
            stopping: AtomicBool::new(false),
            groups: Mutex::default(),
            api: at(&api)?,
            git: at(&git)?,
            router: at(&router)?,
            building: Mutex::new(()),
            rendezvous,
            options,
        });
        rendezvous::serve(&world, attached);
        git::install_hook(&world)?;
        api::serve(&world, api);
        git::serve(&world, git);
        router::serve(&world, router);
        Ok(Self { world })
    }

    /// Makes the releases that the app has when the incident begins: one for each commit, the last is live.
    ///
    /// # Errors
    /// Git cannot unpack them.
    pub fn deploy_history(&self, commits: &[String]) -> io::Result<()> {
        builds::history(&self.world, commits)
    }

    /// Where the Platform API listens.
    pub fn api(&self) -> SocketAddr {
        self.world.api
    }

    /// `HEROKU_API_URL`.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.world.api)
    }

    /// `HEROKU_GIT_URL`.
    pub fn git_url(&self) -> String {
        format!("http://{}", self.world.git)
    }

    /// Where pages are served.
    pub fn router(&self) -> SocketAddr {
        self.world.router
    }

    /// Switches a feature on.
    pub fn enable(&self, feature: &str) {
        self.world.state().features.insert(feature.to_owned(), true);
    }

    /// Dynos as (name, state, release).
    pub fn dynos(&self) -> Vec<(String, String, u64)> {
        let state = self.world.state();
        state.dynos.values().map(|dyno| (dyno.name.clone(), dyno.state.to_owned(), dyno.version)).collect()
    }

    /// The newest lines of the app's log.
    pub fn last_logs(&self, lines: usize) -> String {
        let mut session = logs::Session::of("");
        (session.dyno, session.lines) = (None, lines);
        self.world.logs.newest(&session).0.join("\n")
    }

    /// Waits until every wanted dyno is up; `false` when time is over or `stop` says so.
    pub fn await_up(&self, within: Duration, stop: &dyn Fn() -> bool) -> bool {
        door::wait_until(within, || stop() || self.world.state().all_up()) && !stop()
    }
}

impl Drop for Heroku {
    fn drop(&mut self) {
        self.world.stopping.store(true, Ordering::Relaxed);
        dynos::end_all(&self.world);
    }
}
