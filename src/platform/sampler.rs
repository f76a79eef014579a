//! The sampler: takes samples in the background at a set interval, through every step, and hands each one over.
//!
//! Three threads: the ticker asks the database and never waits for the other two; one looks at the dynos within the
//! read budget; one probes a page. It changes nothing. Where the database account may put only so many statements an
//! hour, samples come at longer intervals.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::door::Observer;
use super::facts::{Dyno, Formation};
use crate::health::{DatabaseReading, DynoReading, Moment, PageReading, Reading, Sample};

/// Missed ticks reported one by one; a longer gap (a laptop that slept) is not filled up.
const MISSED_AT_MOST: u64 = 5;
/// A view of the dynos older than this is unknown; a count of the jobs, too.
const STALE: Duration = Duration::from_secs(10);
/// How often the jobs are counted.
const JOBS: Duration = Duration::from_secs(2);

/// What is sampled.
#[derive(Debug, Clone)]
pub struct SamplerOptions {
    /// Interval of samples.
    pub every: Duration,
    /// The path that is probed; `None` = pages are not measured.
    pub page: Option<String>,
    /// Whether the jobs in `MediaWiki`'s queue are counted.
    pub jobs: bool,
}

/// A running sampler; dropping it ends its threads.
#[derive(Debug)]
pub struct Sampler {
    stops: Vec<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Board {
    dynos: Option<(Reading<DynoReading>, Moment)>,
    pages: PageReading,
    probed: bool,
    jobs: Option<(Reading<u64>, Moment)>,
}

impl Sampler {
    /// Starts it. `sink` gets every sample, from the ticker's thread; it returns `false` to end the sampler.
    pub fn start(
        observer: &Observer,
        options: SamplerOptions,
        sink: impl FnMut(Sample) -> bool + Send + 'static,
    ) -> Self {
        let board = Arc::new(Mutex::new(Board::default()));
        let mut sampler = Self { stops: Vec::new(), threads: Vec::new() };
        let (view, shared) = (observer.clone(), Arc::clone(&board));
        sampler.spawn(move |stop| watch_dynos(&view, &shared, &stop));
        if let Some(path) = options.page.clone() {
            let (view, shared, every) = (observer.clone(), Arc::clone(&board), options.every);
            sampler.spawn(move |stop| probe_pages(&view, &shared, &path, every, &stop));
        }
        if options.jobs {
            let (view, shared) = (observer.clone(), Arc::clone(&board));
            sampler.spawn(move |stop| count_jobs(&view, &shared, &stop));
        }
        let view = observer.clone();
        sampler.spawn(move |stop| tick(&view, &board, &options, sink, &stop));
        sampler
    }

    fn spawn(&mut self, work: impl FnOnce(Receiver<()>) + Send + 'static) {
        let (stop, stopped) = channel();
        self.stops.push(stop);
        self.threads.push(std::thread::spawn(move || work(stopped)));
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stops.clear();
        // The prober may stand in a request of up to ten seconds: it is left to end by itself.
        if let Some(ticker) = self.threads.pop() {
            let _ = ticker.join();
        }
    }
}

/// Waits, unless told to stop; `false` = stop.
fn pause(stop: &Receiver<()>, time: Duration) -> bool {
    matches!(stop.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

fn tick(
    observer: &Observer,
    board: &Mutex<Board>,
    options: &SamplerOptions,
    mut sink: impl FnMut(Sample) -> bool,
    stop: &Receiver<()>,
) {
    let clock = observer.clock();
    let mut due = clock.now();
    let mut number = 0;
    loop {
        let database = observer.database().map_or_else(
            || DatabaseReading::Unknown("not asked (--no-database)".to_owned()),
            crate::platform::DatabaseReads::sample,
        );
        number += 1;
        if !sink(collect(observer, board, options, Sample::new(number, due, database))) {
            return;
        }
        let every = observer.database().map_or(options.every, |database| database.interval(options.every));
        due = due.plus(every);
        let late = clock.now().since(due).as_millis() / every.as_millis().max(1);
        for _ in 0..u64::try_from(late).unwrap_or(u64::MAX).min(MISSED_AT_MOST) {
            number += 1;
            let database =
                DatabaseReading::Unknown("the tick was missed: the one before took too long".to_owned());
            if !sink(collect(observer, board, options, Sample::new(number, due, database))) {
                return;
            }
            due = due.plus(every);
        }
        if clock.now() > due.plus(every) {
            due = clock.now();
        }
        if !pause(stop, due.since(clock.now())) {
            return;
        }
    }
}

/// Adds to a sample what the other threads have seen.
fn collect(
    observer: &Observer,
    board: &Mutex<Board>,
    options: &SamplerOptions,
    mut sample: Sample,
) -> Sample {
    let now = observer.clock().now();
    sample.logs = observer.log_reading();
    let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
    sample.dynos = recent(board.dynos.as_ref(), now, "the list of dynos");
    sample.pages = if options.page.is_none() {
        Reading::Unknown("pages are not measured".to_owned())
    } else if board.probed {
        board.probed = false;
        Reading::Measured(std::mem::take(&mut board.pages))
    } else {
        Reading::Unknown("no probe ended in this interval".to_owned())
    };
    if options.jobs {
        sample.jobs = recent(board.jobs.as_ref(), now, "the count of jobs");
    }
    sample
}

/// What was read last, unless that is too long ago.
fn recent<T: Clone>(read: Option<&(Reading<T>, Moment)>, now: Moment, what: &str) -> Reading<T> {
    match read {
        Some((reading, at)) if now.since(*at) <= STALE => reading.clone(),
        Some(_) => Reading::Unknown(format!("{what} is more than 10 s old")),
        None => Reading::Unknown(format!("{what} has not been read yet")),
    }
}

fn count_jobs(observer: &Observer, board: &Mutex<Board>, stop: &Receiver<()>) {
    let mut rest = Duration::ZERO;
    while pause(stop, rest) {
        let began = observer.clock().now();
        let Some(database) = observer.database() else { return };
        let counted = match database.jobs_queued() {
            Ok(jobs) => Reading::Measured(jobs),
            Err(fault) => Reading::Unknown(fault.to_string()),
        };
        board.lock().unwrap_or_else(PoisonError::into_inner).jobs = Some((counted, began));
        // A count that takes long is made less often: it must not weigh on a database that is in trouble.
        rest = JOBS.max(observer.clock().now().since(began) * 20);
    }
}

fn watch_dynos(observer: &Observer, board: &Mutex<Board>, stop: &Receiver<()>) {
    let mut rest = Duration::ZERO;
    while pause(stop, rest) {
        let now = observer.clock().now();
        let seen = observer.formation(Moment::default()).and_then(|wanted| Ok((wanted, observer.dynos()?)));
        match seen {
            Ok((wanted, seen)) => {
                let quiet = seen.value.iter().all(|dyno| dyno.state == "up" || dyno.state == "idle");
                post(board, Reading::Measured(count(&seen.value, &wanted.value)), seen.at);
                rest = Duration::from_secs(if quiet { 4 } else { 1 });
            }
            Err(fault) => {
                post(board, Reading::Unknown(fault.to_string()), now);
                rest = Duration::from_secs(3);
            }
        }
    }
}

fn post(board: &Mutex<Board>, reading: Reading<DynoReading>, at: Moment) {
    board.lock().unwrap_or_else(PoisonError::into_inner).dynos = Some((reading, at));
}

/// Counts the dynos of the formation; one-offs and release dynos do not belong to it.
pub(in crate::platform) fn count(dynos: &[Dyno], formation: &[Formation]) -> DynoReading {
    let wanted = formation.iter().filter(|row| row.runs()).map(|row| row.quantity).sum();
    let mut reading = DynoReading { wanted, ..DynoReading::default() };
    for dyno in dynos.iter().filter(|dyno| dyno.belongs_to(formation)) {
        match dyno.state.as_str() {
            "up" | "idle" => reading.up += 1,
            "crashed" => reading.crashed += 1,
            "down" => {}
            _ => reading.starting += 1,
        }
    }
    reading
}

fn probe_pages(observer: &Observer, board: &Mutex<Board>, path: &str, every: Duration, stop: &Receiver<()>) {
    let every = every.max(Duration::from_secs(1));
    let mut rest = Duration::ZERO;
    while pause(stop, rest) {
        let began = observer.clock().now();
        if let Reading::Measured(mut seen) = observer.heroku().probe_page(path) {
            let mut board = board.lock().unwrap_or_else(PoisonError::into_inner);
            board.pages.ok_ms.append(&mut seen.ok_ms);
            board.pages.failed += seen.failed;
            board.pages.database_errors += seen.database_errors;
            board.probed = true;
        }
        rest = every.saturating_sub(observer.clock().now().since(began));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::change::{KillRule, Victim};
    use crate::platform::clock::{Clock, SystemClock};
    use crate::platform::error::{Fault, FaultKind};
    use crate::platform::facts::{Census, DatabaseFacts, IdleSession};
    use crate::platform::git::{Tree, TreeOptions};
    use crate::platform::heroku::{Heroku, HerokuOptions};
    use crate::platform::inventory::{Answer, DatabaseSession, Figure, NamedQuery};
    use crate::platform::reads::DatabaseReads;
    use crate::platform::secret::{Redactor, Secret};

    fn dyno(kind: &str, state: &str) -> Dyno {
        Dyno {
            id: format!("id-{kind}-{state}"),
            name: format!("{kind}.1"),
            kind: kind.to_owned(),
            state: state.to_owned(),
            size: "Basic".to_owned(),
            release: 1,
            created_at: String::new(),
            updated_at: String::new(),
            command: String::new(),
        }
    }

    /// A database that wishes another pace.
    struct Paced;

    impl DatabaseReads for Paced {
        fn sample(&self) -> DatabaseReading {
            DatabaseReading::Unknown(String::new())
        }
        fn facts(&self) -> Result<DatabaseFacts, Fault> {
            Err(self.nothing())
        }
        fn idle_sessions(&self, _: &KillRule) -> Result<Vec<IdleSession>, Fault> {
            Err(self.nothing())
        }
        fn census(&self) -> Result<Census, Fault> {
            Err(self.nothing())
        }
        fn sessions(&self) -> Result<Vec<DatabaseSession>, Fault> {
            Err(self.nothing())
        }
        fn counters(&self) -> Result<Vec<Figure>, Fault> {
            Err(self.nothing())
        }
        fn settings(&self) -> Result<Vec<Figure>, Fault> {
            Err(self.nothing())
        }
        fn answer(&self, _: NamedQuery) -> Result<Answer, Fault> {
            Err(self.nothing())
        }
        fn kill_sql(&self, _: &[Victim], _: &KillRule) -> String {
            String::new()
        }
        fn interval(&self, wanted: Duration) -> Duration {
            assert_eq!(wanted, Duration::from_secs(3600));
            Duration::from_millis(2)
        }
        fn logins(&self) -> u64 {
            0
        }
        fn name(&self) -> String {
            String::new()
        }
    }

    impl Paced {
        fn nothing(&self) -> Fault {
            Fault::new(FaultKind::Network, self.name(), "")
        }
    }

    #[test]
    fn samples_come_at_the_interval_that_the_database_leaves() {
        crate::platform::install_crypto();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let heroku = Heroku::new(HerokuOptions {
            api_url: "http://127.0.0.1:9".to_owned(),
            token: Secret::from("token"),
            app: "wizzypedia".to_owned(),
            pages_url: None,
            database_var: String::new(),
            clock: Arc::clone(&clock),
            redactor: Redactor::default(),
            bucket: Arc::default(),
            variables: Arc::new(|name| panic!("nobody asks for {name}")),
            notice: Arc::new(|_| {}),
        })
        .unwrap();
        let tree = Arc::new(Tree::new(TreeOptions {
            folder: std::path::PathBuf::from("/"),
            remote_url: String::new(),
            token: Secret::from("token"),
            secret_variables: Vec::new(),
            redactor: Redactor::default(),
            held: Arc::default(),
        }));
        let observer = Observer::new(heroku, Some(Arc::new(Paced)), tree, clock);
        let (sink, samples) = channel();
        let options = SamplerOptions { every: Duration::from_secs(3600), page: None, jobs: false };
        let sampler = Sampler::start(&observer, options, move |sample| sink.send(sample.number).is_ok());
        for _ in 0..5 {
            samples.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        drop(sampler);
    }

    #[test]
    fn one_offs_do_not_count_and_unknown_states_are_starting() {
        let row = |kind: &str, quantity| Formation {
            kind: kind.into(),
            quantity,
            size: "Basic".into(),
            command: String::new(),
        };
        // A Procfile's release phase has a row of its own.
        let formation = vec![row("release", 1), row("web", 4), row("worker", 0)];
        let dynos = [
            dyno("web", "up"),
            dyno("web", "idle"),
            dyno("web", "crashed"),
            dyno("web", "provisioning"),
            dyno("run", "up"),
            dyno("release", "crashed"),
        ];
        let reading = count(&dynos, &formation);
        assert_eq!(reading, DynoReading { up: 2, wanted: 4, crashed: 1, starting: 1 });
    }
}
