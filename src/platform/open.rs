//! Opens the door: from credentials to read authority and write authority at rest.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::clock::Clock;
use super::door::{Observer, Sealed, Writers};
use super::error::{Fault, FaultKind};
use super::git::{Tree, TreeOptions};
use super::heroku::{Bucket, Heroku, HerokuOptions, check_url, is_app};
use super::kept::Variables;
use super::lock::{Card, LockState};
use super::mariadb::{Database, DatabaseOptions, DatabaseUrl, TlsMode, same_target};
use super::pages::without_login;
use super::process::{Commands, Held};
use super::reads::{DatabaseReads, HerokuReads};
use super::secret::{Redactor, Secret};
use super::writes::DatabaseWrites;

/// What the world is opened with. Read from flags and environment by the command line, and by nobody else.
pub struct Credentials {
    /// Base URL of the API.
    pub api_url: String,
    /// Base URL of Heroku's git.
    pub git_url: String,
    /// The token.
    pub token: Secret,
    /// The app's name.
    pub app: String,
    /// The wiki's working tree, or a folder inside it.
    pub folder: PathBuf,
    /// How the database is reached; `None` = not at all (`--no-database`).
    pub database: Option<DatabaseCredentials>,
    /// Where pages are probed; `None` = the app's own URL, if it answers.
    pub pages: Option<String>,
    /// Variables that children must not get.
    pub secret_variables: Vec<OsString>,
    /// Takes secrets out of texts.
    pub redactor: Redactor,
    /// Where values of config vars that are secrets come from.
    pub variables: Variables,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Told about retries and Heroku's warnings.
    pub notice: Arc<dyn Fn(&str) + Send + Sync>,
}

/// How the database is reached.
pub struct DatabaseCredentials {
    /// The config var that holds its URL.
    pub variable: String,
    /// The flag or variable that named the other way to it; empty when none did.
    pub from: String,
    /// Another way to the same database (a tunnel).
    pub url: Option<Secret>,
    /// What is asked of TLS.
    pub tls: TlsMode,
    /// CA certificates in PEM.
    pub ca: Option<PathBuf>,
}

/// The opened world.
pub struct Opened {
    /// Read authority.
    pub observer: Observer,
    /// Write authority at rest; taken once, by a run whose plan was agreed to.
    pub sealed: Option<Sealed>,
    /// Where pages are probed, without a login; `None` = they are not.
    pub pages: Option<String>,
    /// The token's account.
    pub account: String,
    /// The database by name, without password.
    pub database: Option<String>,
    /// What the person should know before the plan.
    pub notes: Vec<String>,
    /// Takes the secrets in use out of texts.
    pub redactor: Redactor,
    held: Option<Arc<Database>>,
    children: Held,
}

impl Opened {
    /// Every program started from here on that may change something holds `file` open as long as it lives.
    pub fn children_hold(&self, file: std::fs::File) {
        // A run begins once.
        let _ = self.children.set(file);
    }

    /// Takes the app's lock at the database, and has every later connection take it in its first round trip. Says what
    /// became of it; asked anew with [`DatabaseReads::lock`]. To be called when the plan was agreed to: plans and dry
    /// runs take no lock. [`Opened::close`] frees it, as does the end of the process.
    pub fn hold(&self, card: &Card) -> LockState {
        match &self.held {
            Some(database) => database.hold(card),
            None => LockState::Unreachable("the database is not used (--no-database)".to_owned()),
        }
    }

    /// Closes the database connection.
    pub fn close(&self) {
        if let Some(database) = &self.held {
            database.shutdown();
        }
    }
}

/// Installs the one TLS provider; harmless when done twice.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Opens the world: checks the token, reads the database's URL once, and finds where pages are served.
///
/// # Errors
/// Wrong credentials, an unknown app, a database that is not the app's, a server that is not MariaDB.
pub fn open(credentials: Credentials) -> Result<Opened, Fault> {
    let bucket = Arc::new(Bucket::default());
    let options = |pages: Option<String>, token: Secret| HerokuOptions {
        api_url: credentials.api_url.clone(),
        token,
        app: credentials.app.clone(),
        pages_url: pages,
        database_var: credentials
            .database
            .as_ref()
            .map_or_else(|| "JAWSDB_MARIA_URL".to_owned(), |database| database.variable.clone()),
        clock: Arc::clone(&credentials.clock),
        redactor: credentials.redactor.clone(),
        bucket: Arc::clone(&bucket),
        variables: Arc::clone(&credentials.variables),
        notice: Arc::clone(&credentials.notice),
    };
    check_url(&credentials.git_url)?;
    if let Some(pages) = &credentials.pages {
        credentials.redactor.learn_url(&Secret::from(pages.clone()));
    }
    let first = Heroku::new(options(None, credentials.token.clone()))?;
    let account = first.account()?;
    let app = first.app()?;
    if !is_app(name_of(&app, &credentials.app)) {
        let why = format!("Heroku calls it `{}`, which is no name of an app", app.name);
        return Err(Fault::new(FaultKind::Broken, format!("asking Heroku for {}", credentials.app), why)
            .hint("is HEROKU_API_URL right? What answers there is not Heroku"));
    }
    let mut notes = Vec::new();
    let pages = match &credentials.pages {
        Some(url) => Some(url.clone()),
        None => app.web_url.clone().filter(|url| url.starts_with("http")),
    };
    let heroku = Heroku::new(options(pages.clone(), credentials.token.clone()))?;
    let pages = match pages {
        // Every page is a 503 of the router's, whatever the app does: no measurement of it.
        Some(_) if app.maintenance => {
            notes.push(
                "pages: not measured (maintenance mode is on: the router answers 503 to everybody)"
                    .to_owned(),
            );
            None
        }
        // A site that answers anything at all, errors included, can be measured.
        Some(url) if credentials.pages.is_some() || answers(&heroku) => Some(url),
        Some(url) => {
            let url = credentials.redactor.clean(&url);
            notes.push(format!("pages: not measured ({url} does not answer at all)"));
            None
        }
        None => {
            notes.push("pages: not measured (the app has no URL)".to_owned());
            None
        }
    };
    let database = match &credentials.database {
        None => {
            notes.push("database: not used (--no-database); dynos, pages and logs alone gate".to_owned());
            None
        }
        Some(wanted) => {
            // The lock is one for the app, whether it was named by its name or by its id.
            let name = name_of(&app, &credentials.app);
            Some(open_database(&credentials, wanted, name, &first, &mut notes)?)
        }
    };
    let folder = credentials.folder.clone();
    let children = Held::default();
    let git = Arc::new(Tree::new(TreeOptions {
        folder: folder.clone(),
        // Named by its id, the app still has its repository under its name.
        remote_url: format!(
            "{}/{}.git",
            credentials.git_url.trim_end_matches('/'),
            name_of(&app, &credentials.app)
        ),
        token: credentials.token.clone(),
        secret_variables: credentials.secret_variables.clone(),
        redactor: credentials.redactor.clone(),
        held: Arc::clone(&children),
    }));
    let commands = Arc::new(Commands::new(
        &folder,
        credentials.secret_variables.clone(),
        credentials.redactor.clone(),
        Arc::clone(&children),
    ));
    let reads = database.clone().map(|database| database as Arc<dyn DatabaseReads>);
    let writes = database.clone().map(|database| database as Arc<dyn DatabaseWrites>);
    let name = database.as_ref().map(|database| DatabaseReads::name(&**database));
    let observer = Observer::new(heroku.clone(), reads, git.clone(), Arc::clone(&credentials.clock));
    let sealed = Sealed { writers: Writers { heroku, database: writes, git, commands } };
    Ok(Opened {
        observer,
        sealed: Some(sealed),
        pages: pages.map(|url| without_login(&url)),
        account,
        database: name,
        notes,
        redactor: credentials.redactor,
        held: database,
        children,
    })
}

fn name_of<'a>(app: &'a super::facts::App, asked: &'a str) -> &'a str {
    if app.name.is_empty() { asked } else { &app.name }
}

/// Whether the site answers at all.
fn answers(heroku: &Heroku) -> bool {
    heroku.probe_page("/").measured().is_some_and(|reading| !reading.ok_ms.is_empty())
        || heroku.page_answers("/")
}

fn open_database(
    credentials: &Credentials,
    wanted: &DatabaseCredentials,
    app: &str,
    heroku: &Heroku,
    notes: &mut Vec<String>,
) -> Result<Arc<Database>, Fault> {
    let what = "opening the database";
    let parse = |url: &Secret, from: &str| {
        DatabaseUrl::parse(url.expose_secret()).map_err(|error| {
            Fault::new(FaultKind::Missing, what, credentials.redactor.clean(&format!("{from}: {error}")))
                .hint("it looks like mysql://USER:PASSWORD@HOST:3306/DATABASE")
        })
    };
    let theirs = heroku.database_url();
    let url = match (&wanted.url, theirs) {
        (None, theirs) => parse(&theirs?, &wanted.variable)?,
        (Some(ours), Ok(theirs)) => {
            credentials.redactor.learn_url(ours);
            let (ours, theirs) = (parse(ours, &wanted.from)?, parse(&theirs, &wanted.variable)?);
            if !same_target(&ours, &theirs) {
                let why = format!("{} is not the app's database, {}", ours.name(), theirs.name());
                return Err(Fault::new(FaultKind::Refused, what, why)
                    .hint("user and database must be the app's; host and port may differ (a tunnel)")
                    .hint(format!("without {} the app's own is used", wanted.from)));
            }
            ours
        }
        (Some(_), Err(fault)) => return Err(fault),
    };
    url.teach(&credentials.redactor);
    let mut options = DatabaseOptions::new(url, app, Arc::clone(&credentials.clock));
    options.notice = Arc::clone(&credentials.notice);
    options.tls = wanted.tls;
    options.ca.clone_from(&wanted.ca);
    options.connect_deadline = Duration::from_secs(5);
    let database = Database::start(options)?;
    match database.facts() {
        Ok(facts) => notes.push(format!("database: {}, {}", facts.version, facts.protection)),
        // Full is what this tool is for: it goes on, and keeps trying.
        Err(fault) if fault.kind == FaultKind::Full => {
            let why = fault.why;
            notes.push(format!(
                "database: every login is refused now ({why}); it is tried again all the time"
            ));
        }
        Err(fault) => {
            database.shutdown();
            let said = fault.hints.iter().any(|hint| hint.contains("--no-database"));
            return Err(if said {
                fault
            } else {
                fault.hint("`--no-database` runs on the platform's metrics alone")
            });
        }
    }
    Ok(database)
}
