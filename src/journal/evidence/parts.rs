//! The parts of a run's evidence, as questions to the world. Reads only.

use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::platform::{DatabaseReads, Fault, FaultKind, Observer};

/// Lines of the app's log that are kept.
const LOG_LINES: u32 = 500;
/// Releases that are kept.
const RELEASES: usize = 20;

/// One part: a name, and how it is read.
pub struct Part {
    /// Its name, and that of its file.
    pub(super) name: &'static str,
    /// Reads it; an array counts as its entries.
    pub(super) read: Box<dyn FnOnce() -> Result<Json, Fault> + Send>,
}

impl Part {
    /// A part of this name (lower case, words apart), read by `read`.
    pub fn new<T: Serialize>(
        name: &'static str,
        read: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Self {
        let read = move || {
            serde_json::to_value(read()?).map_err(|error| {
                Fault::new(FaultKind::Local, format!("writing the {name}"), error.to_string())
            })
        };
        Self { name, read: Box::new(read) }
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is kept of the world, in lanes that wait for nobody: the database's one connection, the platform, the log.
/// The platform is asked directly, since its shared view may be held by a read that hangs.
pub fn parts_of(observer: &Observer) -> Vec<Vec<Part>> {
    let heroku = |name, read: fn(&Observer) -> Result<Json, Fault>| {
        let observer = observer.clone();
        Part::new(name, move || read(&observer))
    };
    let mut lanes = vec![
        vec![
            heroku("dynos", |world| Ok(json!(world.heroku().dynos()?))),
            heroku("formation", |world| Ok(json!(world.heroku().formation()?))),
            heroku("releases", |world| Ok(json!(world.heroku().releases(RELEASES)?))),
        ],
        vec![heroku("log", |world| Ok(json!(world.heroku().recent_logs(LOG_LINES, None)?)))],
    ];
    if observer.database().is_some() {
        lanes.push(vec![
            database(observer, "process list", |database| Ok(json!(database.sessions()?))),
            database(observer, "census", |database| Ok(json!(database.census()?))),
            database(observer, "status counters", |database| Ok(json!(database.counters()?))),
            database(observer, "variables", |database| Ok(json!(database.settings()?))),
        ]);
    }
    lanes
}

fn database(
    observer: &Observer,
    name: &'static str,
    read: fn(&dyn DatabaseReads) -> Result<Json, Fault>,
) -> Part {
    let observer = observer.clone();
    Part::new(name, move || match observer.database() {
        Some(database) => read(database),
        None => Err(Fault::new(FaultKind::Unsupported, format!("reading the {name}"), "--no-database")),
    })
}
