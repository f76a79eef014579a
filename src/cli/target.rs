//! Which app, with which credentials: flags and environment become an opened world.

use std::path::PathBuf;
use std::sync::Arc;

use super::output::{Stop, talk};
use super::{credentials, environment};
use crate::plan::Target;
use crate::platform::heroku::choose_app;
use crate::platform::mariadb::TlsMode;
use crate::platform::secret::Redactor;
use crate::platform::{Clock, Credentials, DatabaseCredentials, Fault, FaultKind, Opened, git, open};

/// Flags of every command that touches an app.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TargetArgs {
    /// The app [env: HEROKU_APP] [default: that of the one heroku remote].
    #[arg(long, short = 'a', value_name = "APP")]
    pub(super) app: Option<String>,
    /// The git remote that names the app.
    #[arg(long, short = 'r', value_name = "REMOTE")]
    remote: Option<String>,
    /// The app's git working tree.
    #[arg(short = 'C', value_name = "DIR", default_value = ".")]
    pub(super) folder: PathBuf,
    /// Another way to the app's database, such as a tunnel [env: RUNBOOK_DATABASE_URL, or the same with _FILE or
    /// _COMMAND: a file that holds it, a program that prints it]. A password here is seen in process lists: prefer a
    /// variable.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// The config var that holds the database's URL.
    #[arg(long, value_name = "NAME", default_value = "JAWSDB_MARIA_URL")]
    database_var: String,
    /// Encryption of the database connection.
    #[arg(long, value_name = "MODE", default_value = "prefer", value_parser = ["prefer", "require", "off"])]
    database_tls: String,
    /// CA certificates (PEM) of the database server.
    #[arg(long, value_name = "FILE")]
    database_ca: Option<PathBuf>,
    /// Do not use the database: dynos, pages and logs alone gate.
    #[arg(long)]
    pub(super) no_database: bool,
    /// Where pages are probed [env: RUNBOOK_APP_URL] [default: the app's own URL].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl TargetArgs {
    /// Says what a secret in a flag is: seen by everybody on this machine, whatever becomes of the command.
    pub(super) fn warn(&self) {
        if self.database_url.is_some() {
            talk(
                "warning: --database-url shows its password in process lists; RUNBOOK_DATABASE_URL, or the same with _FILE or _COMMAND, does not",
            );
        }
    }

    /// Whether a flag names the app.
    pub(super) const fn names_app(&self) -> bool {
        self.app.is_some() || self.remote.is_some()
    }

    /// The same flags for a run of the past: what they leave open is taken from its target.
    pub(super) fn for_run(&self, target: &Target) -> Self {
        let mut args = self.clone();
        if args.app.is_none() && args.remote.is_none() {
            args.app = Some(target.app.clone());
        }
        let folder = PathBuf::from(&target.folder);
        if args.folder.as_os_str() == "." && folder.is_dir() {
            args.folder = folder;
        }
        args.no_database |= target.database.is_none();
        args
    }
}

/// The app that the flags, the environment or the one remote name.
pub(super) fn app_of(args: &TargetArgs) -> Result<String, Stop> {
    let secrets = environment::secret_variables(None);
    let remotes = git::remotes(&args.folder, &secrets);
    let from_environment = environment::text("HEROKU_APP");
    let remote = args.remote.clone().or_else(|| match (&args.app, &from_environment) {
        (None, None) => git::default_remote(&args.folder, &secrets),
        _ => None,
    });
    let git_url = environment::git_url();
    choose_app(args.app.as_deref(), from_environment.as_deref(), remote.as_deref(), &remotes, &git_url)
        .map_err(|error| Stop::new(9, format!("error: {error}")))
}

/// The app by name, as flag, environment or the one remote tell; nothing is asked of the network.
pub(super) fn app_named(app: Option<&str>, folder: &std::path::Path) -> Option<String> {
    let secrets = environment::secret_variables(None);
    let from_environment = environment::text("HEROKU_APP");
    let remotes = git::remotes(folder, &secrets);
    choose_app(app, from_environment.as_deref(), None, &remotes, &environment::git_url()).ok()
}

/// Opens the world, or says why it cannot be.
pub(super) fn open_target(
    args: &TargetArgs,
    clock: Arc<dyn Clock>,
    notice: Arc<dyn Fn(&str) + Send + Sync>,
) -> Result<(Opened, String), Stop> {
    let git_url = environment::git_url();
    let app = app_of(args)?;
    let token = credentials::token(&*notice).map_err(|fault| Stop::unusable(&fault))?;
    let secret_variables = environment::secret_variables(Some(&token));
    let database = if args.no_database {
        None
    } else {
        let found = credentials::database_url(args.database_url.as_deref(), Some(&token), &*notice)
            .map_err(|fault| Stop::unusable(&fault))?;
        Some(DatabaseCredentials {
            variable: args.database_var.clone(),
            from: found.as_ref().map(|found| found.from.clone()).unwrap_or_default(),
            url: found.map(|found| found.secret),
            tls: match args.database_tls.as_str() {
                "require" => TlsMode::Require,
                "off" => TlsMode::Off,
                _ => TlsMode::Prefer,
            },
            ca: args.database_ca.clone(),
        })
    };
    if !args.folder.is_dir() {
        let fault = Fault::new(
            FaultKind::Missing,
            format!("using -C {}", args.folder.display()),
            "there is no such folder",
        );
        return Err(Stop::unusable(&fault));
    }
    let folder = args.folder.canonicalize().unwrap_or_else(|_| args.folder.clone());
    let variables = {
        let (token, notice) = (token.clone(), Arc::clone(&notice));
        Arc::new(move |name: &str| credentials::variable(name, &token, &*notice))
    };
    let opened = open(Credentials {
        api_url: environment::api_url(),
        git_url,
        token,
        app: app.clone(),
        folder,
        database,
        pages: args.url.clone().or_else(|| environment::text("RUNBOOK_APP_URL")),
        secret_variables,
        variables,
        redactor: Redactor::default(),
        clock,
        notice,
    })
    .map_err(|fault| Stop::unusable(&fault))?;
    Ok((opened, app))
}
