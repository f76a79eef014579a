//! Dynos: real processes with the platform's life cycle (facts §5): the new one starts as soon as the old gets its
//! SIGTERM, both live for up to 30 s; a crash is retried once at once, then after a cool-off.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::{door, server};
use super::World;
use super::state::{Control, Dyno, Release};

/// From the request to the process (slug download included), at the platform's pace.
const BOOT: Duration = Duration::from_secs(8);
/// SIGTERM to SIGKILL (R12).
const GRACE: Duration = Duration::from_secs(30);
/// To bind `$PORT` (R10).
const BIND: Duration = Duration::from_secs(60);
/// How long the list may still show the replaced dyno.
const STALE: Duration = Duration::from_secs(4);
/// How long old dynos go on behind preboot.
const PREBOOT: Duration = Duration::from_secs(180);
/// The first cool-off after a second crash.
const COOL_OFF: Duration = Duration::from_secs(600);

/// How dynos are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `heroku restart` and the like.
    Restart,
    /// A new release: preboot counts.
    Release,
}

/// Replaces every dyno of these types with one of the current release; all types without a filter.
pub fn replace(world: &Arc<World>, why: Why, wanted: impl Fn(&Dyno) -> bool) {
    let mut state = world.state();
    let Some(release) = state.current_release().cloned() else { return };
    let preboot = why == Why::Release && state.features.get("preboot").copied().unwrap_or(false);
    let old: Vec<Dyno> = state
        .dynos
        .values()
        .filter(|dyno| dyno.kind != "run" && dyno.kind != "release" && wanted(dyno))
        .cloned()
        .collect();
    let now = door::now();
    for dyno in old {
        let behind = preboot && dyno.kind == "web" && dyno.state == "up";
        let until = if behind { now + world.scaled(PREBOOT) } else { now };
        retire(&dyno, until);
        state.retired += 1;
        if behind {
            state.serving.push((until, dyno.clone()));
        } else if why == Why::Restart && dyno.state == "up" {
            state.stale.push((now + world.scaled(STALE), dyno.clone()));
        }
        world.logs.add("heroku", &dyno.name, "State changed from up to starting");
    }
    drop(state);
    fill(world, &release, |name| {
        // Only the places of those that were taken.
        world.state().dynos.get(name).is_none_or(&wanted)
    });
}

fn retire(dyno: &Dyno, at: Instant) {
    if let Ok(mut retire) = dyno.control.retire.lock() {
        *retire = Some(at);
    }
}

/// Starts a dyno of `release` in every place of the formation that `place` names.
pub fn fill(world: &Arc<World>, release: &Release, place: impl Fn(&str) -> bool) {
    let wanted: Vec<(String, String, String)> = {
        let state = world.state();
        let Some(slug) = release.slug.as_deref().and_then(|id| state.find_slug(id)) else { return };
        state
            .formation
            .iter()
            .filter_map(|(kind, formation)| Some((kind, formation, slug.types.get(kind)?)))
            .flat_map(|(kind, formation, command)| {
                (1..=formation.quantity)
                    .map(move |index| (format!("{kind}.{index}"), formation.size.clone(), command.clone()))
            })
            .collect()
    };
    for (name, size, command) in wanted {
        if place(&name) {
            let kind = name.split('.').next().unwrap_or_default().to_owned();
            boot(world, &name, &kind, &size, &command, release);
        }
    }
}

/// Follows the formation after a change of its quantities.
pub fn follow_formation(world: &Arc<World>) {
    let (surplus, release) = {
        let mut state = world.state();
        let now = door::now();
        let surplus: Vec<String> = state
            .dynos
            .values()
            .filter(|dyno| dyno.kind != "run" && dyno.kind != "release")
            .filter(|dyno| {
                let quantity = state.formation.get(&dyno.kind).map_or(0, |formation| formation.quantity);
                dyno.name.rsplit('.').next().and_then(|index| index.parse::<u32>().ok()).unwrap_or(0)
                    > quantity
            })
            .map(|dyno| dyno.name.clone())
            .collect();
        for name in &surplus {
            if let Some(dyno) = state.dynos.remove(name) {
                retire(&dyno, now);
            }
        }
        (surplus, state.current_release().cloned())
    };
    for name in surplus {
        world.logs.add("heroku", &name, "Stopping all processes with SIGTERM");
    }
    if let Some(release) = release {
        fill(world, &release, |name| !world.state().dynos.contains_key(name));
    }
}

/// Starts one dyno and its supervisor.
pub fn boot(
    world: &Arc<World>,
    name: &str,
    kind: &str,
    size: &str,
    command: &str,
    release: &Release,
) -> Dyno {
    let dyno = Dyno {
        id: door::uuid(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        size: size.to_owned(),
        command: command.to_owned(),
        version: release.version,
        release: release.id.clone(),
        state: "starting",
        created: door::stamp(),
        updated: door::stamp(),
        port: 0,
        control: Arc::new(Control::default()),
    };
    world.state().dynos.insert(name.to_owned(), dyno.clone());
    let world = Arc::clone(world);
    let supervised = dyno.clone();
    std::thread::spawn(move || Supervisor { world: &world, dyno: supervised }.live());
    dyno
}

/// Ends every process of the lab's dynos and waits for it.
pub fn end_all(world: &Arc<World>) {
    let groups = || -> Vec<u32> {
        let state = world.state();
        let serving = state.serving.iter().map(|(_, dyno)| dyno);
        let stale = state.stale.iter().map(|(_, dyno)| dyno);
        state
            .dynos
            .values()
            .chain(serving)
            .chain(stale)
            .map(|dyno| dyno.control.group.load(Ordering::Relaxed))
            .filter(|group| *group > 0)
            .collect()
    };
    // Supervisors end their own; this waits for them, bounded, and ends what a crash of one left.
    door::wait_until(Duration::from_secs(3), || groups().iter().all(|group| !door::lives(*group)));
    for group in groups() {
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

impl Supervisor<'_> {
    fn live(self) {
        let one_off = self.dyno.kind == "run" || self.dyno.kind == "release";
        for attempt in 0_u32.. {
            if !self.rest(self.world.scaled(BOOT)) {
                return;
            }
            match self.process() {
                Ok(End::Retired) => return,
                Ok(End::Exited(code)) => {
                    self.log(&format!("Process exited with status {code}"));
                    if one_off {
                        self.log(&format!(
                            "State changed from up to {}",
                            if code == 0 { "complete" } else { "crashed" }
                        ));
                        let mut state = self.world.state();
                        if state.dynos.get(&self.dyno.name).is_some_and(|dyno| dyno.id == self.dyno.id) {
                            state.dynos.remove(&self.dyno.name);
                        }
                        return;
                    }
                }
                Ok(End::Unbound) => {
                    self.log("Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds of launch");
                    self.log("Stopping process with SIGKILL");
                    self.log("Process exited with status 137");
                }
                Err(error) => self.log(&format!("Process could not be started: {error}")),
            }
            self.set("crashed", 0);
            self.log("State changed from starting to crashed");
            // Once at once, then with a growing cool-off.
            if attempt > 0 && !self.rest(self.world.scaled(COOL_OFF) * attempt) {
                return;
            }
            self.set("starting", 0);
            self.log("State changed from crashed to starting");
        }
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
            .arg(&self.dyno.command)
            .env_clear()
            .envs(&options.habits)
            .envs(config)
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

    fn process(&self) -> std::io::Result<End> {
        let port = server::free_port()?;
        self.log(&format!("Starting process with command `{}`", self.dyno.command));
        let mut child = self.spawn(port)?;
        let group = child.id();
        self.dyno.control.group.store(group, Ordering::Relaxed);
        self.pipe(child.stdout.take());
        self.pipe(child.stderr.take());
        let web = self.dyno.kind == "web";
        let begun = door::now();
        let mut up = false;
        let end = loop {
            if let Some(status) = child.try_wait()? {
                break End::Exited(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
            }
            if self.retired() {
                self.terminate(&mut child);
                break End::Retired;
            }
            if !up {
                let bound = !web
                    || TcpStream::connect_timeout(
                        &SocketAddr::from(([127, 0, 0, 1], port)),
                        Duration::from_millis(200),
                    )
                    .is_ok();
                if bound {
                    up = true;
                    self.set("up", port);
                    self.log("State changed from starting to up");
                } else if begun.elapsed() > self.world.scaled(BIND).max(Duration::from_secs(2)) {
                    break End::Unbound;
                }
            }
            door::pause(Duration::from_millis(20));
        };
        door::end(group);
        let _ = child.wait();
        self.dyno.control.group.store(0, Ordering::Relaxed);
        Ok(end)
    }

    /// SIGTERM to all processes, up to 30 s, then SIGKILL.
    fn terminate(&self, child: &mut Child) {
        self.log("Stopping all processes with SIGTERM");
        door::terminate(child.id());
        let grace = if self.world.stopping() { Duration::from_secs(1) } else { self.world.scaled(GRACE) };
        let ended = door::wait_until(grace, || !matches!(child.try_wait(), Ok(None)));
        if ended {
            self.log("Process exited with status 143");
        } else {
            self.log("Error R12 (Exit timeout) -> At least one process failed to exit within 30 seconds of SIGTERM");
            self.log("Stopping remaining processes with SIGKILL");
        }
    }

    /// What the process says goes to the app's log.
    fn pipe(&self, stream: Option<impl std::io::Read + Send + 'static>) {
        let Some(stream) = stream else { return };
        let world = Arc::clone(self.world);
        let name = self.dyno.name.clone();
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in std::io::BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                world.logs.add("app", &name, &line);
            }
        });
    }
}
