//! The lab's private MariaDB server: real, on loopback, in a data directory of its own. The wiki's account is
//! ordinary, as an add-on's is; the lab itself looks through the extra port, which takes none of the wiki's slots.
//! It must never touch a server that it did not start.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};

use super::door;
use super::watch::{Told, Watched};

/// Name of the schema and of the ordinary account.
pub const NAME: &str = "wiki";
/// The lab's own account.
const OVERSEER: &str = "lab";

/// What the server starts with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder of its own.
    pub dir: PathBuf,
    /// `max_connections`.
    pub limit: u32,
    /// Password of the ordinary account.
    pub password: String,
    /// The person's `PATH`, where the server's programs are looked for first.
    pub path: OsString,
}

/// A running server; dropping it ends it.
pub struct Server {
    process: Arc<Mutex<Process>>,
    options: Options,
    port: u16,
    extra_port: u16,
}

/// Its process of now.
struct Process {
    child: Child,
    watched: Watched,
    /// The lab ends: it stays down.
    ending: bool,
}

/// What the server counts; the lab's own sessions are not in `used`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// `Threads_connected`.
    pub used: u64,
    /// `max_connections`.
    pub limit: u64,
    /// `Aborted_connects` − `Access_denied_errors`.
    pub refused: u64,
    /// `Com_kill`.
    pub kills: u64,
    /// Sessions killed so far, as the general log's statements name none: `Aborted_clients`.
    pub aborted_clients: u64,
    /// Sessions asleep.
    pub sleeping: u64,
}

/// Jobs that wait when a rehearsal begins.
const JOBS: u32 = 60;

/// Where distributions put the server's programs, beside the person's `PATH`.
const FOLDERS: [&str; 9] = [
    "/usr/sbin",
    "/usr/bin",
    "/usr/libexec",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/local/libexec",
    "/usr/local/mysql/bin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/mariadb/bin",
];

/// The first of `names` that is MariaDB's; a MySQL server has the older names too.
fn program(path: &OsStr, names: &[&str]) -> io::Result<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(path).chain(FOLDERS.map(PathBuf::from)).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .filter(|path| path.is_file())
        .find(|path| {
            path.to_string_lossy().contains("mariadb")
                || door::output(door::command(path).arg("--version"))
                    .is_ok_and(|told| told.contains("MariaDB"))
        })
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "MariaDB's {} is not installed\n  hint: on Debian and Ubuntu `apt-get install mariadb-server`; `make demo` does it",
                    names.join(" or ")
                ),
            )
        })
}

impl Server {
    /// Makes the data directory, starts the server, makes schema and accounts. Takes a few seconds.
    ///
    /// # Errors
    /// MariaDB is not installed, or does not start: with the end of its log. Or `stop` said so.
    pub fn start(options: &Options, watch: &Told, stop: &dyn Fn() -> bool) -> io::Result<Self> {
        let data = options.dir.join("data");
        std::fs::create_dir_all(&options.dir)?;
        let root = rustix::process::geteuid().is_root();
        let mut install = door::command(program(&options.path, &["mariadb-install-db", "mysql_install_db"])?);
        // `--force`: a machine that cannot look up its own name can rehearse all the same.
        install.arg("--no-defaults").arg(format!("--datadir={}", data.display())).args([
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            "--force",
        ]);
        // A server that starts removes the temporary tables it finds: never in a folder that another one uses too.
        install.arg(format!("--tmpdir={}", options.dir.display()));
        if root {
            install.arg("--user=root");
        }
        let program = program(&options.path, &["mariadbd", "mysqld"])?;
        door::output(&mut install)?;
        let init = options.dir.join("init.sql");
        std::fs::write(
            &init,
            format!(
                "CREATE DATABASE IF NOT EXISTS {NAME};\n\
                 CREATE USER IF NOT EXISTS '{NAME}'@'%' IDENTIFIED BY '{0}';\n\
                 GRANT ALL ON {NAME}.* TO '{NAME}'@'%';\n\
                 CREATE USER IF NOT EXISTS '{OVERSEER}'@'127.0.0.1' IDENTIFIED BY '{0}';\n\
                 GRANT ALL ON *.* TO '{OVERSEER}'@'127.0.0.1';\n",
                options.password
            ),
        )?;
        let mut last = String::new();
        // A free port may be taken between the look and the start: a few tries.
        for _ in 0..3 {
            let (port, extra_port) = (door::free_port()?, door::free_port()?);
            let spawn = {
                let (program, options) = (program.clone(), options.clone());
                let (data, init) = (data.clone(), init.clone());
                move || Self::spawn(&program, &options, &data, &init, port, extra_port, root)
            };
            let child = spawn()?;
            let watched = watch.over(child.id());
            let process = Arc::new(Mutex::new(Process { child, watched, ending: false }));
            let server = Self { process, options: options.clone(), port, extra_port };
            let mut died = false;
            let ready = door::wait_until(Duration::from_secs(60), || {
                died = !matches!(whole(&server.process).child.try_wait(), Ok(None));
                died || stop() || server.overseer().is_ok()
            });
            if stop() {
                return Err(door::stopped());
            }
            if ready && !died {
                server.prepare()?;
                keep_up(Arc::clone(&server.process), watch.clone(), spawn);
                return Ok(server);
            }
            last = std::fs::read_to_string(options.dir.join("error.log")).unwrap_or_default();
        }
        let end: Vec<&str> = last.lines().rev().take(12).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        Err(io::Error::other(format!("the MariaDB server did not start:\n{}", end.join("\n"))))
    }

    fn spawn(
        program: &Path,
        options: &Options,
        data: &Path,
        init: &Path,
        port: u16,
        extra_port: u16,
        root: bool,
    ) -> io::Result<Child> {
        let dir = &options.dir;
        let mut server = door::command(program);
        server
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", dir.display()))
            // Beside the data, by a relative path: a socket's must stay short, the folder's need not.
            .arg("--socket=s")
            .arg(format!("--pid-file={}", dir.join("pid").display()))
            .arg(format!("--log-error={}", dir.join("error.log").display()))
            .arg(format!("--general-log-file={}", dir.join("general.log").display()))
            .arg(format!("--init-file={}", init.display()))
            .arg(format!("--port={port}"))
            .arg(format!("--extra-port={extra_port}"))
            .arg(format!("--max-connections={}", options.limit))
            .args(["--extra-max-connections=8", "--general-log=1", "--log-output=FILE"])
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=2", "--skip-ssl"])
            .args([
                "--innodb-lock-wait-timeout=50",
                "--thread-cache-size=64",
                "--max-connect-errors=1000000",
            ]);
        server.arg(format!("--tmpdir={}", dir.display()));
        if root {
            server.arg("--user=root");
        }
        door::log_to(&mut server, &dir.join("server.out"))?;
        server.spawn()
    }

    fn connect(&self, user: &str, port: u16) -> mysql::Result<Conn> {
        #[expect(clippy::disallowed_methods, reason = "the lab's own look at its own server")]
        Conn::new(
            OptsBuilder::new()
                .ip_or_hostname(Some("127.0.0.1"))
                .tcp_port(port)
                .user(Some(user))
                .pass(Some(&self.options.password))
                .prefer_socket(false)
                .max_allowed_packet(Some(1 << 24))
                .tcp_connect_timeout(Some(Duration::from_secs(2)))
                .read_timeout(Some(Duration::from_secs(10))),
        )
    }

    /// A session through the extra port.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn overseer(&self) -> mysql::Result<Conn> {
        self.connect(OVERSEER, self.extra_port)
    }

    /// One login of the ordinary account, closed at once.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn try_login(&self) -> mysql::Result<()> {
        self.connect(NAME, self.port).map(drop)
    }

    fn prepare(&self) -> io::Result<()> {
        let mut conn = self.overseer().map_err(io::Error::other)?;
        for statement in [
            "CREATE TABLE IF NOT EXISTS wiki.page (page_id INT PRIMARY KEY, page_title VARBINARY(255), page_touched INT DEFAULT 0, text MEDIUMTEXT) ENGINE=InnoDB",
            "INSERT IGNORE INTO wiki.page VALUES (1, 'Main_Page', 0, 'Welcome to the wiki.'), (2, 'Connections', 0, 'There are 150 of them.'), (3, 'Sandbox', 0, '')",
            "CREATE TABLE IF NOT EXISTS wiki.job (job_id INT PRIMARY KEY AUTO_INCREMENT, job_cmd VARBINARY(60), job_timestamp VARBINARY(14), job_token VARBINARY(32) DEFAULT '') ENGINE=InnoDB",
        ] {
            conn.query_drop(statement).map_err(io::Error::other)?;
        }
        // What page views have left to be done later.
        let jobs: Vec<String> =
            (1..=JOBS).map(|id| format!("({id}, 'refreshLinks', '20261123100000')")).collect();
        conn.query_drop(format!(
            "INSERT IGNORE INTO wiki.job (job_id, job_cmd, job_timestamp) VALUES {}",
            jobs.join(",")
        ))
        .map_err(io::Error::other)?;
        Ok(())
    }

    /// The URL of the ordinary account.
    pub fn url(&self) -> String {
        format!("mysql://{NAME}:{}@127.0.0.1:{}/{NAME}", self.options.password, self.port)
    }

    /// The URL of the lab's own account, through the extra port.
    pub fn overseer_url(&self) -> String {
        format!("mysql://{OVERSEER}:{}@127.0.0.1:{}/{NAME}", self.options.password, self.extra_port)
    }

    /// The file that every statement is written to.
    pub fn general_log(&self) -> PathBuf {
        self.options.dir.join("general.log")
    }

    /// Counters now.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn counters(&self) -> mysql::Result<Counters> {
        let mut conn = self.overseer()?;
        let rows: Vec<(String, u64)> = conn.query(
            "SELECT LOWER(variable_name), CAST(variable_value AS UNSIGNED) FROM information_schema.global_status \
             WHERE variable_name IN ('THREADS_CONNECTED','ABORTED_CONNECTS','ACCESS_DENIED_ERRORS','COM_KILL','ABORTED_CLIENTS')",
        )?;
        let of = |name: &str| rows.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value);
        let limit: Option<u64> = conn.query_first("SELECT @@max_connections")?;
        let sleeping: Option<u64> = conn.query_first(
            "SELECT COUNT(*) FROM information_schema.processlist WHERE command='Sleep' AND user='wiki'",
        )?;
        Ok(Counters {
            used: of("threads_connected"),
            limit: limit.unwrap_or(0),
            refused: of("aborted_connects").saturating_sub(of("access_denied_errors")),
            kills: of("com_kill"),
            aborted_clients: of("aborted_clients"),
            sleeping: sleeping.unwrap_or(0),
        })
    }
}

fn whole(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long a server is down that has ended by itself: long enough to be missed.
const DOWN: Duration = Duration::from_secs(2);

/// A server that ends by itself (`SHUTDOWN`, a crash) comes up again on the same ports, as a provider's does.
fn keep_up(
    process: Arc<Mutex<Process>>,
    watch: Told,
    spawn: impl Fn() -> io::Result<Child> + Send + 'static,
) {
    std::thread::spawn(move || {
        loop {
            door::pause(Duration::from_millis(100));
            let mut now = whole(&process);
            if now.ending {
                return;
            }
            if matches!(now.child.try_wait(), Ok(None)) {
                continue;
            }
            drop(now);
            door::pause(DOWN);
            let mut now = whole(&process);
            if now.ending {
                return;
            }
            if let Ok(child) = spawn() {
                now.watched = watch.over(child.id());
                now.child = child;
            }
        }
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        let mut process = whole(&self.process);
        process.ending = true;
        door::stop(&mut process.child, Duration::from_secs(10));
    }
}
