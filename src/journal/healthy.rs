//! When a run on this machine last saw an app healthy: the bound of an incident that begins outside of any run.
//!
//! What cannot be read tells nothing; it must never fail whoever asks.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use serde::Deserialize;

use super::store::Store;
use crate::engine::Event;
use crate::health::{Metric, Value};

/// Runs that are looked at, the newest first.
const RUNS: usize = 10;
/// Of each the end of its samples, in bytes.
const TAIL: u64 = 1 << 20;
/// Usage below which it was healthy.
const LOW: f64 = 0.40;

#[derive(Deserialize)]
struct Line {
    at: jiff::Timestamp,
    sample: Event,
}

/// The last moment with low usage while the site was live, and the run that saw it.
pub fn last_healthy(store: &Store, app: &str) -> Option<(jiff::Timestamp, String)> {
    let ids = store.ids().ok()?;
    ids.into_iter()
        .take(RUNS)
        .filter_map(|id| (store.summary(&id).app == app).then(|| seen(store, &id))?)
        .max()
}

fn seen(store: &Store, id: &str) -> Option<(jiff::Timestamp, String)> {
    let mut file = File::open(store.run_folder(id).join("samples.jsonl")).ok()?;
    let long = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(long.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let text = String::from_utf8_lossy(&tail);
    text.lines().rev().find_map(|line| {
        let line: Line = serde_json::from_str(line).ok()?;
        let Event::Sample { metrics, usage, .. } = line.sample else { return None };
        let live = metrics.get(&Metric::Live) == Some(&Value::Truth(true));
        (live && usage.is_some_and(|usage| usage < LOW)).then(|| (line.at, id.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::driver::Record;
    use crate::health::{DatabaseReading, Moment, Reading, Sample};
    use crate::journal::Journal;
    use crate::plan::{PlanRecord, Target};

    fn sample(usage: f64, live: bool) -> Event {
        let metrics =
            [(Metric::Usage, Value::Ratio(usage)), (Metric::Live, Value::Truth(live))].into_iter().collect();
        let sample = Sample {
            number: 1,
            at: Moment(1),
            database: DatabaseReading::Unknown(String::new()),
            dynos: Reading::Unknown(String::new()),
            pages: Reading::Unknown(String::new()),
            logs: Reading::not_asked(),
            jobs: Reading::not_asked(),
        };
        Event::Sample { sample: Box::new(sample), metrics, usage: Some(usage) }
    }

    fn run(store: &Store, id: &str, app: &str, samples: &[(f64, bool)]) {
        let folder = store.create_run(id).unwrap();
        let mut journal = Journal::create(id, &folder).unwrap();
        let record = PlanRecord {
            target: Target { app: app.to_owned(), ..Target::default() },
            ..PlanRecord::default()
        };
        let started = Event::RunStarted {
            run: id.to_owned(),
            plan: String::new(),
            record: Box::new(record),
            mode: "live".to_owned(),
            by: String::new(),
            config: Box::default(),
            account: None,
            incident: None,
            reason: None,
        };
        journal.append(&started).unwrap();
        for (usage, live) in samples {
            journal.append(&sample(*usage, *live)).unwrap();
        }
    }

    #[test]
    fn the_newest_run_of_the_app_that_saw_a_live_site_with_low_usage_tells_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(last_healthy(&store, "wiki"), None);
        run(&store, "20261125-100000-aaaa", "wiki", &[(0.2, true), (0.1, true)]);
        run(&store, "20261126-100000-bbbb", "wiki", &[(0.2, true), (0.0, false), (0.9, true)]);
        run(&store, "20261127-100000-cccc", "wiki", &[(0.0, false), (0.9, true)]);
        run(&store, "20261128-100000-dddd", "other", &[(0.1, true)]);
        assert_eq!(last_healthy(&store, "wiki").unwrap().1, "20261126-100000-bbbb");
        std::fs::write(store.run_folder("20261126-100000-bbbb").join("samples.jsonl"), "{\n").unwrap();
        assert_eq!(last_healthy(&store, "wiki").unwrap().1, "20261125-100000-aaaa");
    }
}
