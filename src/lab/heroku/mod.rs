//! The Heroku simulator of the lab: Platform API, router, git over HTTP, builds, releases and dynos (real
//! processes). Built from `reference/heroku-api.md` alone; it shares no type with the client in `platform`.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What the simulator starts with.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder it may write to: bare repository, slugs, logs, `requests.jsonl`.
    pub dir: PathBuf,
    /// The bearer token it accepts.
    pub token: String,
    /// Name of the one app.
    pub app: String,
    /// Formation at the start: (process type, quantity, dyno size).
    pub formation: Vec<(String, u32, String)>,
    /// Config vars at the start, the database URL among them.
    pub config: BTreeMap<String, String>,
    /// Folders put in front of `PATH` of every dyno (the stand-ins for the buildpack's programs).
    pub path: Vec<PathBuf>,
    /// How many times faster than the real platform boots, overlaps and builds pass (1.0 = as in the facts).
    pub time_scale: f64,
}
