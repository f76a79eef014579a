//! Dynos: real processes with the platform's life cycle (facts §5): the new one starts as soon as the old gets its
//! SIGTERM, both live for up to 30 s; a crash is retried once at once, then after a cool-off.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::super::door;
use super::super::watch::Watched;
use super::World;
use super::faults::{Door, Kind};
use super::rendezvous;
use super::state::{Control, Dyno, Release};

/// From the request to the process (slug download included), at the platform's pace.
const BOOT: Duration = Duration::from_secs(8);
/// SIGTERM to SIGKILL (R12).
const GRACE: Duration = Duration::from_secs(30);
/// For a client to attach (R13).
const CLAIM: Duration = Duration::from_secs(60);
/// To bind `$PORT` (R10).
const BIND: Duration = Duration::from_secs(60);
/// How long the list may still show the replaced dyno.
const STALE: Duration = Duration::from_secs(4);
/// How long old dynos go on behind preboot.
const PREBOOT: Duration = Duration::from_secs(180);
/// The first cool-off after a second crash.
const COOL_OFF: Duration = Duration::from_secs(600);
/// And the last.
const LONGEST_COOL_OFF: Duration = Duration::from_secs(5 * 3600);

/// How dynos are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `heroku restart` and the like.
    Restart,
    /// A new release: preboot counts.
    Release,
}

/// What a dyno is to run.
pub struct Order<'a> {
    pub name: &'a str,
    pub kind: &'a str,
    pub size: &'a str,
    pub command: &'a str,
    /// Merged over the config vars (one-offs only).
    pub environment: BTreeMap<String, String>,
    /// A one-off that waits for a client.
    pub attach: bool,
}

/// Replaces every dyno of the formation that is `wanted` with one of the current release.
pub fn replace(world: &Arc<World>, why: Why, wanted: impl Fn(&Dyno) -> bool) {
    let mut state = world.state();
    let Some(release) = state.current_release().cloned() else { return };
    let preboot = why == Why::Release && state.features.get("preboot").copied().unwrap_or(false);
    let old: Vec<Dyno> =
        state.dynos.values().filter(|dyno| !dyno.one_off() && wanted(dyno)).cloned().collect();
    let now = door::now();
    for dyno in &old {
        let behind = preboot && dyno.kind == "web" && dyno.state == "up";
        let until = if behind { now + world.scaled(PREBOOT) } else { now };
        retire(dyno, until);
        state.retired += 1;
        if behind {
            state.serving.push((until, dyno.clone()));
        } else if why == Why::Restart && dyno.state == "up" {
            state.stale.push((now + world.scaled(STALE), dyno.clone()));
        }
        if dyno.state != "starting" {
            world.logs.add("heroku", &dyno.name, &format!("State changed from {} to starting", dyno.state));
        }
    }
    drop(state);
    // Only the places of those that were taken.
    fill(world, &release, |name| old.iter().any(|dyno| dyno.name == name));
}

/// Ends a one-off: SIGTERM, and it is gone from the list when its process is (facts §2, Dynos: stop).
pub fn stop_one_off(dyno: &Dyno) {
    retire(dyno, door::now());
}

fn retire(dyno: &Dyno, at: Instant) {
    if let Ok(mut retire) = dyno.control.retire.lock() {
        *retire = Some(at);
    }
}

/// Starts a dyno of `release` in every place of the formation that `place` names.
fn fill(world: &Arc<World>, release: &Release, place: impl Fn(&str) -> bool) {
    let wanted: Vec<(String, String, String, String)> = {
        let state = world.state();
        let types = state.types();
        state
            .formation
            .iter()
            .filter_map(|(kind, formation)| Some((kind, formation, types.get(kind)?)))
            .flat_map(|(kind, formation, command)| {
                (1..=formation.quantity).map(move |index| {
                    (format!("{kind}.{index}"), kind.clone(), formation.size.clone(), command.clone())
                })
            })
            .filter(|(name, ..)| place(name))
            .collect()
    };
    for (name, kind, size, command) in &wanted {
        let environment = BTreeMap::new();
        boot(world, release, &Order { name, kind, size, command, environment, attach: false });
    }
}

/// Follows the formation after a change of its quantities or of the Procfile's types.
pub fn follow_formation(world: &Arc<World>) {
    let (surplus, empty, release) = {
        let mut state = world.state();
        let now = door::now();
        let types = state.types();
        let quantity = |kind: &str| {
            state.formation.get(kind).filter(|_| types.contains_key(kind)).map_or(0, |known| known.quantity)
        };
        let surplus: Vec<String> = state
            .dynos
            .values()
            .filter(|dyno| !dyno.one_off() && dyno.index() > quantity(&dyno.kind))
            .map(|dyno| dyno.name.clone())
            .collect();
        for name in &surplus {
            if let Some(dyno) = state.dynos.remove(name) {
                retire(&dyno, now);
            }
        }
        let empty: Vec<String> = state
            .formation
            .iter()
            .flat_map(|(kind, formation)| {
                (1..=formation.quantity).map(move |index| format!("{kind}.{index}"))
            })
            .filter(|name| !state.dynos.contains_key(name))
            .collect();
        (surplus, empty, state.current_release().cloned())
    };
    for name in surplus {
        world.logs.add("heroku", &name, "State changed from up to down");
    }
    if let Some(release) = release {
        fill(world, &release, |name| empty.iter().any(|known| known == name));
    }
}

/// Starts one dyno and its supervisor.
pub fn boot(world: &Arc<World>, release: &Release, order: &Order<'_>) -> Dyno {
    let dyno = Dyno {
        id: door::uuid(),
        name: order.name.to_owned(),
        kind: order.kind.to_owned(),
        size: order.size.to_owned(),
        command: order.command.to_owned(),
        environment: order.environment.clone(),
        version: release.version,
        release: release.id.clone(),
        state: "starting",
        created: door::stamp(),
        updated: door::stamp(),
        port: 0,
        attach: order.attach,
        control: Arc::new(Control::default()),
    };
    world.state().dynos.insert(dyno.name.clone(), dyno.clone());
    let world = Arc::clone(world);
    let supervised = dyno.clone();
    std::thread::spawn(move || Supervisor { world: &world, dyno: supervised }.live());
    dyno
}

/// Ends every process of the lab's dynos, those that were replaced included, and waits for it.
pub fn end_all(world: &Arc<World>) {
    // Their supervisors end them; this waits, bounded, and ends what is left.
    door::wait_until(Duration::from_secs(3), || world.groups().is_empty());
    for group in world.groups() {
        door::end(group);
    }
}

/// How one life of a process ended.
enum End {
    Retired,
    Exited(i32),
    Unbound,
}

struct Supervisor<'w> {
    world: &'w Arc<World>,
    dyno: Dyno,
}

/// A dyno's process while it lives: known to the world and to the watch.
struct Group<'w> {
    world: &'w World,
    id: u32,
    _watched: Watched,
}

impl<'w> Group<'w> {
    fn of(world: &'w World, id: u32) -> Self {
        if let Ok(mut groups) = world.groups.lock() {
            groups.insert(id);
        }
        Self { world, id, _watched: world.options.watch.over(id) }
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        if let Ok(mut groups) = self.world.groups.lock() {
            groups.remove(&self.id);
        }
    }
}

impl Supervisor<'_> {
    fn live(self) {
        if self.dyno.one_off() {
            self.run_once();
            return;
        }
        for attempt in 0_u32.. {
            if !self.rest(self.world.scaled(BOOT)) {
                return;
            }
            match self.process() {
                Ok((End::Retired, _)) => return,
                Ok((End::Exited(code), was)) => {
                    self.log(&format!("Process exited with status {code}"));
                    self.log(&format!("State changed from {was} to crashed"));
                }
                Ok((End::Unbound, was)) => {
                    self.log("Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds of launch");
                    self.log("Stopping process with SIGKILL");
                    self.log("Process exited with status 137");
                    self.log(&format!("State changed from {was} to crashed"));
                }
                Err(error) => {
                    self.log(&format!("Process could not be started: {error}"));
                    self.log("State changed from starting to crashed");
                }
            }
            self.set("crashed", 0);
            // Once at once, then with a growing cool-off (facts §5, Boot).
            let cool_off = self.world.scaled(COOL_OFF).saturating_mul(attempt);
            if !self.rest(cool_off.min(self.world.scaled(LONGEST_COOL_OFF))) {
                return;
            }
            self.set("starting", 0);
            self.log("State changed from crashed to starting");
        }
    }

    /// `heroku run` and release phases: once, and gone from the list when the process is.
    fn run_once(&self) {
        let code = if self.rest(self.world.scaled(BOOT)) && self.claimed() {
            match self.process() {
                Ok((End::Exited(code), _)) => {
                    self.log(&format!("Process exited with status {code}"));
                    code
                }
                Ok(_) => 143,
                Err(error) => {
                    self.log(&format!("Process could not be started: {error}"));
                    126
                }
            }
        } else {
            143
        };
        let end = if code == 0 { "complete" } else { "crashed" };
        self.log(&format!("State changed from up to {end}"));
        let _ = self.dyno.control.exit.set(code);
        let mut state = self.world.state();
        if state.dynos.get(&self.dyno.name).is_some_and(|dyno| dyno.id == self.dyno.id) {
            state.dynos.remove(&self.dyno.name);
        }
    }

    /// An attached one waits for its client, and begins nothing without (R13).
    fn claimed(&self) -> bool {
        if !self.dyno.attach {
            return true;
        }
        let there = || self.dyno.control.client.lock().is_ok_and(|client| client.is_some());
        let begun = door::now();
        let within = self.world.scaled(CLAIM).max(Duration::from_secs(3));
        door::wait_until(within, || there() || self.retired());
        if !there() && !self.retired() && begun.elapsed() >= within {
            self.log("Error R13 (Attach error) -> Failed to attach to process");
        }
        there()
    }

    fn log(&self, text: &str) {
        self.world.logs.add("heroku", &self.dyno.name, text);
    }

    fn retired(&self) -> bool {
        self.world.stopping()
            || self.dyno.control.retire.lock().is_ok_and(|retire| retire.is_some_and(|at| at <= door::now()))
    }

    /// Waits, and says whether the dyno is still wanted.
    fn rest(&self, time: Duration) -> bool {
        !door::wait_until(time, || self.retired())
    }

    /// Changes the record, unless another dyno has taken the place.
    fn set(&self, state: &'static str, port: u16) {
        let mut all = self.world.state();
        if let Some(dyno) = all.dynos.get_mut(&self.dyno.name).filter(|dyno| dyno.id == self.dyno.id) {
            dyno.state = state;
            dyno.port = port;
            dyno.updated = door::stamp();
        }
    }

    /// Its command, or what the ordered fault makes of it.
    fn program(&self) -> &str {
        match self.world.faults.take(Door::Dyno, "BOOT", &self.dyno.name).map(|hit| hit.kind) {
            Some(Kind::NeverBinds) => "exec sleep 86400",
            Some(Kind::CrashesAtBoot) => {
                "echo 'Fatal error: the lab was told to crash this dyno' >&2; exit 1"
            }
            _ => &self.dyno.command,
        }
    }

    fn spawn(&self, port: u16) -> std::io::Result<Child> {
        let (dir, config) = {
            let state = self.world.state();
            let release = state.releases.iter().find(|release| release.version == self.dyno.version);
            let slug = release.and_then(|release| state.find_slug(release.slug.as_deref()?));
            (
                slug.map(|slug| slug.dir.clone()),
                release.map(|release| release.config.clone()).unwrap_or_default(),
            )
        };
        let options = &self.world.options;
        let mut command = door::command("/bin/sh");
        command
            .arg("-c")
            .arg(self.program())
            .env_clear()
            .envs(&options.habits)
            .envs(config)
            .envs(&self.dyno.environment)
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", options.path.display()))
            .env("PORT", port.to_string())
            .env("DYNO", &self.dyno.name)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(dir) = dir {
            command.current_dir(dir);
        }
        command.spawn()
    }

    /// One life of the process, and the state in which it ended.
    fn process(&self) -> std::io::Result<(End, &'static str)> {
        let port = door::free_port()?;
        self.log(&format!("Starting process with command `{}`", self.dyno.command));
        let mut child = self.spawn(port)?;
        let group = Group::of(self.world, child.id());
        let client = self.dyno.control.client.lock().ok().and_then(|mut client| client.take());
        let said = match client {
            Some(client) => rendezvous::join(client, &self.dyno, child.stdout.take(), child.stderr.take()),
            None => [self.pipe(child.stdout.take()), self.pipe(child.stderr.take())],
        };
        let web = self.dyno.kind == "web";
        let begun = door::now();
        let mut state = "starting";
        let end = loop {
            if let Some(status) = child.try_wait()? {
                break End::Exited(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
            }
            if self.retired() {
                self.terminate(&mut child);
                break End::Retired;
            }
            if state == "starting" {
                let bound = !web
                    || TcpStream::connect_timeout(
                        &SocketAddr::from(([127, 0, 0, 1], port)),
                        Duration::from_millis(200),
                    )
                    .is_ok();
                if bound {
                    state = "up";
                    self.set(state, port);
                    self.log("State changed from starting to up");
                } else if begun.elapsed() > self.world.scaled(BIND).max(Duration::from_secs(2)) {
                    break End::Unbound;
                }
            }
            door::pause(Duration::from_millis(20));
        };
        door::end(group.id);
        let _ = child.wait();
        drop(group);
        // Its last words come before the platform's line on its end.
        door::wait_until(Duration::from_secs(1), || said.iter().flatten().all(JoinHandle::is_finished));
        Ok((end, state))
    }

    /// SIGTERM to all processes, up to 30 s, then SIGKILL.
    fn terminate(&self, child: &mut Child) {
        self.log("Stopping all processes with SIGTERM");
        door::terminate(child.id());
        let begun = door::now();
        let ended = door::wait_until(self.world.scaled(GRACE), || {
            let short = self.world.stopping() && begun.elapsed() > Duration::from_secs(1);
            short || !matches!(child.try_wait(), Ok(None))
        });
        if ended {
            self.log("Process exited with status 143");
        } else {
            self.log("Error R12 (Exit timeout) -> At least one process failed to exit within 30 seconds of SIGTERM");
            self.log("Stopping remaining processes with SIGKILL");
        }
    }

    /// What the process says goes to the app's log.
    fn pipe(&self, stream: Option<impl std::io::Read + Send + 'static>) -> Option<JoinHandle<()>> {
        let stream = stream?;
        let world = Arc::clone(self.world);
        let name = self.dyno.name.clone();
        Some(std::thread::spawn(move || {
            use std::io::BufRead;
            for line in std::io::BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                world.logs.add("app", &name, &line);
            }
        }))
    }
}
