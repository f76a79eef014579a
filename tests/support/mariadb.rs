//! A private MariaDB server for tests, started by the test on loopback and ended with it, and a wire that delays,
//! counts, refuses or falls silent. Accounts: `app` (its own schema only), `monitor` (PROCESS), `ops` (PROCESS and
//! CONNECTION ADMIN). The certificate and key beside this file are for these servers alone.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test says by panicking what it missed, and has its own door to the server it started"
)]

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

/// Servers at a time: the machine may have two cores.
static FREE: (Mutex<u32>, Condvar) = (Mutex::new(2), Condvar::new());

pub struct Server {
    child: Running,
    arguments: Vec<String>,
    pub port: u16,
    extra_port: u16,
    folder: tempfile::TempDir,
}

/// Where the certificates of the tests are.
pub fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls").join(name)
}

fn program(name: &str) -> PathBuf {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is not installed; on Debian and Ubuntu: apt-get install mariadb-server")
        })
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("its number").port()
}

impl Server {
    /// Starts one with a limit of `limit` connections and further options.
    pub fn start(limit: u32, options: &[&str]) -> Self {
        {
            let mut free = FREE.0.lock().expect("the count of servers");
            while *free == 0 {
                free = FREE.1.wait(free).expect("the count of servers");
            }
            *free -= 1;
        }
        let folder = tempfile::Builder::new().prefix("rbdb").tempdir().expect("a folder");
        let dir = folder.path();
        let data = format!("--datadir={}", dir.join("data").display());
        let temporary = format!("--tmpdir={}", dir.display());
        let user = Command::new("id").arg("-un").output().expect("id starts").stdout;
        let user = format!("--user={}", String::from_utf8_lossy(&user).trim());
        let installed = Command::new(program("mariadb-install-db"))
            .args([
                "--no-defaults",
                &data,
                &temporary,
                &user,
                "--auth-root-authentication-method=normal",
                "--force",
            ])
            .args(["--skip-test-db", "--skip-name-resolve"])
            .output()
            .expect("mariadb-install-db starts");
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
        let accounts = [
            "CREATE DATABASE wiki",
            "CREATE USER app@'%' IDENTIFIED BY 'app-word'",
            "GRANT ALL ON wiki.* TO app@'%'",
            "CREATE USER monitor@'%' IDENTIFIED BY 'monitor-word'",
            "GRANT ALL ON wiki.* TO monitor@'%'",
            "GRANT PROCESS ON *.* TO monitor@'%'",
            "CREATE USER ops@'%' IDENTIFIED BY 'ops-word'",
            "GRANT ALL ON wiki.* TO ops@'%'",
            "GRANT PROCESS, CONNECTION ADMIN ON *.* TO ops@'%'",
            "CREATE USER overseer@'%' IDENTIFIED BY 'overseer-word'",
            "GRANT ALL ON *.* TO overseer@'%' WITH GRANT OPTION",
            "CREATE TABLE wiki.page (id INT PRIMARY KEY, n INT) ENGINE=InnoDB",
            "CREATE TABLE wiki.other (id INT PRIMARY KEY) ENGINE=InnoDB",
            "INSERT INTO wiki.page VALUES (1,0),(2,0),(3,0)",
        ];
        std::fs::write(dir.join("init.sql"), accounts.join(";\n") + ";\n").expect("written");
        let mut started = None;
        // A free port may be taken between the look and the start: a few tries.
        for _ in 0..3 {
            let (port, extra_port) = (free_port(), free_port());
            let named = |name: &str, file: &str| format!("--{name}={}", dir.join(file).display());
            let mut arguments =
                vec!["--no-defaults".to_owned(), data.clone(), temporary.clone(), user.clone()];
            arguments.extend([
                named("socket", "s"),
                named("pid-file", "pid"),
                named("log-error", "error.log"),
                named("general-log-file", "general.log"),
                format!("--port={port}"),
                format!("--extra-port={extra_port}"),
                format!("--max-connections={limit}"),
            ]);
            let fixed = [
                ["--extra-max-connections=8", "--general-log=1", "--log-output=FILE"],
                ["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"],
                [
                    "--innodb-buffer-pool-size=32M",
                    "--innodb-flush-log-at-trx-commit=2",
                    "--thread-cache-size=64",
                ],
            ];
            arguments.extend(fixed.concat().into_iter().chain(options.iter().copied()).map(str::to_owned));
            arguments.push("--max-connect-errors=1000000".to_owned());
            let mut child = launch(&arguments, Some(&named("init-file", "init.sql")));
            if until_ready(&mut child.0, extra_port) {
                started = Some((child, arguments, port, extra_port));
                break;
            }
        }
        let Some((child, arguments, port, extra_port)) = started else {
            panic!("no server: {}", std::fs::read_to_string(dir.join("error.log")).unwrap_or_default());
        };
        Self { child, arguments, port, extra_port, folder }
    }

    /// Ends the server as a crash does, at once.
    pub fn crash(&mut self) {
        let _ = self.child.0.kill();
        let _ = self.child.0.wait();
    }

    /// Starts it again after a crash, with what it had on disk.
    pub fn again(&mut self) {
        self.child = launch(&self.arguments, None);
        assert!(until_ready(&mut self.child.0, self.extra_port), "it starts again");
    }

    /// Stops the process, or lets it go on: it holds its sockets and answers nothing.
    pub fn hang(&self, hang: bool) {
        let signal = if hang { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, &self.child.0.id().to_string()]).status();
        assert!(sent.expect("kill starts").success());
    }

    /// `mysql://…` for an account.
    pub fn url(&self, user: &str) -> String {
        Self::url_at(user, self.port)
    }

    /// The same through another port: a wire's.
    pub fn url_at(user: &str, port: u16) -> String {
        format!("mysql://{user}:{user}-word@127.0.0.1:{port}/wiki")
    }

    /// A login of an account through the ordinary port.
    pub fn try_session(&self, user: &str) -> mysql::Result<Conn> {
        login(user, self.port)
    }

    pub fn session(&self, user: &str) -> Conn {
        self.try_session(user).expect("a session")
    }

    pub fn sessions(&self, user: &str, number: usize) -> Vec<Conn> {
        (0..number).map(|_| self.session(user)).collect()
    }

    /// Sessions over TLS, where the server accepts no others.
    pub fn sessions_encrypted(&self, user: &str, number: usize) -> Vec<Conn> {
        let ssl = mysql::SslOpts::default().with_danger_accept_invalid_certs(true);
        (0..number)
            .map(|_| {
                Conn::new(login_options(user, self.port).ssl_opts(Some(ssl.clone()))).expect("a session")
            })
            .collect()
    }

    /// A session beside the limit, which may do everything.
    pub fn overseer(&self) -> Conn {
        login("overseer", self.extra_port).expect("a session beside the limit")
    }

    pub fn order(&self, statement: &str) {
        self.overseer().query_drop(statement).expect("done");
    }

    pub fn count(&self, statement: &str) -> u64 {
        self.overseer().query_first(statement).expect("an answer").expect("a row")
    }

    /// Everything that was asked of the server, in capitals.
    pub fn log(&self) -> String {
        let log = std::fs::read(self.folder.path().join("general.log")).expect("readable");
        String::from_utf8_lossy(&log).to_uppercase()
    }

    /// Waits until so many sessions of an account have slept for so long.
    #[track_caller]
    pub fn until_asleep(&self, user: &str, number: u64, millis: u64) {
        let mut overseer = self.overseer();
        until("sessions are asleep", || {
            overseer
                .query_first::<u64, _>(format!(
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE user='{user}' AND command='Sleep' AND time_ms>={millis}"
                ))
                .expect("an answer")
                .expect("a row")
                >= number
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The child's own drop has not run yet: the slot is given back first, which costs nothing.
        *FREE.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        FREE.1.notify_one();
    }
}

fn launch(arguments: &[String], first: Option<&str>) -> Running {
    let child = Command::new(program("mariadbd"))
        .args(arguments)
        .args(first)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mariadbd starts");
    Running(child)
}

/// A child that does not outlive its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until_ready(child: &mut Child, port: u16) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
        if login("overseer", port).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// Waits on a condition, bounded.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn login(user: &str, port: u16) -> mysql::Result<Conn> {
    Conn::new(login_options(user, port))
}

fn login_options(user: &str, port: u16) -> OptsBuilder {
    OptsBuilder::new()
        .ip_or_hostname(Some("127.0.0.1"))
        .tcp_port(port)
        .user(Some(user))
        .pass(Some(format!("{user}-word")))
        .db_name(Some("wiki"))
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 24))
        .tcp_connect_timeout(Some(Duration::from_secs(5)))
        .read_timeout(Some(Duration::from_secs(20)))
}

/// Workers that hold a slot for about 50 ms and ask again about 50 ms after it: what a full site's visitors do.
pub struct Rush {
    stop: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Rush {
    pub fn start(server: &Server, user: &'static str, workers: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let port = server.port;
        let threads = (0..workers)
            .map(|_| {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let pause = Duration::from_millis(fastrand::u64(40..60));
                        if let Ok(slot) = login(user, port) {
                            std::thread::sleep(pause);
                            drop(slot);
                        }
                        std::thread::sleep(pause);
                    }
                })
            })
            .collect();
        Self { stop, threads }
    }
}

impl Drop for Rush {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What a wire does to what passes through it.
#[derive(Clone, Default)]
pub struct Wire {
    /// Each direction takes this long.
    pub delay: Duration,
    /// Statements that begin with one of these are answered with error 1064 by the wire itself.
    pub refused: &'static [&'static str],
    pub frozen: Arc<AtomicBool>,
    /// What comes in is lost.
    pub swallowing: Arc<AtomicBool>,
    pub passed: Arc<AtomicU64>,
}

impl Wire {
    /// Opens it before `port`; gives its own port. It ends with the process.
    pub fn before(&self, port: u16) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        self.serve(listener, port)
    }

    /// The same on an address of the caller's choice.
    pub fn at(&self, address: IpAddr, port: u16) -> std::io::Result<u16> {
        Ok(self.serve(TcpListener::bind(SocketAddr::new(address, 0))?, port))
    }

    fn serve(&self, listener: TcpListener, port: u16) -> u16 {
        let own = listener.local_addr().expect("its number").port();
        let wire = self.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let wire = wire.clone();
                std::thread::spawn(move || wire.join(client, port));
            }
        });
        own
    }

    /// Statements that passed from clients.
    pub fn statements(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// From now on nothing passes; what is on its way is kept.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }

    /// From now on whatever comes in is lost. A connection on which something was lost is dead for ever, and neither
    /// side hears of the other's end, as when a router forgets it.
    pub fn swallow(&self, swallowing: bool) {
        self.swallowing.store(swallowing, Ordering::SeqCst);
    }

    fn join(&self, client: TcpStream, port: u16) {
        // The TCP handshake of a real wire: the client would wait one round trip, the server half of one more.
        std::thread::sleep(self.delay * 3);
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
        for stream in [&client, &server] {
            let _ = stream.set_nodelay(true);
        }
        let (back_client, back_server) =
            (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
        let upward = self.clone();
        std::thread::spawn(move || upward.carry(client, &server, true));
        self.carry(back_server, &back_client, false);
    }

    fn carry(&self, mut from: TcpStream, to: &TcpStream, upward: bool) {
        let (sender, receiver) = channel::<(Instant, Vec<u8>)>();
        let mut far = to.try_clone().expect("a handle");
        let wire = self.clone();
        let writer = std::thread::spawn(move || {
            while let Ok((due, bytes)) = receiver.recv() {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                while wire.frozen.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                if far.write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ = far.shutdown(std::net::Shutdown::Both);
        });
        let mut buffer = vec![0; 1 << 18];
        let mut dead = false;
        while let Ok(length) = from.read(&mut buffer) {
            if length == 0 {
                break;
            }
            dead |= self.swallowing.load(Ordering::SeqCst);
            if dead {
                continue;
            }
            let bytes = &buffer[..length];
            if upward && bytes.get(4) == Some(&3) {
                self.passed.fetch_add(1, Ordering::SeqCst);
                let text = String::from_utf8_lossy(&bytes[5..]);
                if self.refused.iter().any(|start| text.contains(start)) {
                    let mut answer = vec![0, 0, 0, 1, 0xff, 0x28, 0x04];
                    answer.extend_from_slice(b"#42000refused by the wire");
                    answer[0] = u8::try_from(answer.len() - 4).expect("short");
                    if from.write_all(&answer).is_err() {
                        break;
                    }
                    continue;
                }
            }
            if sender.send((Instant::now() + self.delay, bytes.to_vec())).is_err() {
                break;
            }
        }
        if dead {
            loop {
                std::thread::park();
            }
        }
        drop(sender);
        let _ = writer.join();
    }
}
