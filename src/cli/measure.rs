//! A target being measured outside of any run: samples come in, nothing is written down, no lock is taken, and nothing
//! could be changed.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::output::{Stop, talk};
use super::target::{TargetArgs, open_target};
use crate::engine::Measurements;
use crate::expr::{Env, Expr};
use crate::health::{Measured, Metric, Sample, Series, Value};
use crate::platform::{Clock, Opened, Sampler, SamplerOptions, SystemClock};

/// An opened target whose samples come in.
pub(super) struct Measuring {
    pub(super) opened: Opened,
    pub(super) app: String,
    pub(super) series: Series,
    clock: Arc<dyn Clock>,
    inbox: Receiver<Sample>,
    _sampler: Sampler,
}

impl Measuring {
    /// Opens the target and starts the sampler. Slopes look back over `window`; what costs something is measured
    /// where its name is among `named`.
    pub(super) fn begin(
        args: &TargetArgs,
        every: Duration,
        window: Duration,
        named: &[&str],
    ) -> Result<Self, Stop> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let (mut opened, app) = open_target(args, Arc::clone(&clock), Arc::new(|text: &str| talk(text)))?;
        // Write authority is given away before anything is looked at.
        drop(opened.sealed.take());
        let (outbox, inbox) = channel();
        let options = SamplerOptions {
            every,
            page: opened.pages.as_ref().map(|_| "/".to_owned()),
            jobs: named.contains(&Metric::JobsQueued.name()),
        };
        if named.contains(&Metric::LogsErrors.name()) {
            // A log session is a POST that changes nothing; nobody asked for a dry run here.
            opened.observer.allow_log();
            opened.observer.follow_log();
        }
        let sampler = Sampler::start(&opened.observer, options, move |sample| outbox.send(sample).is_ok());
        let series = Series::new(window, opened.pages.is_some());
        Ok(Self { opened, app, series, clock, inbox, _sampler: sampler })
    }

    /// The next sample and what is known from it; `None` when none came within `patience`.
    pub(super) fn next(&mut self, patience: Duration) -> Option<Measured> {
        self.inbox.recv_timeout(patience).ok().map(|sample| self.series.push(sample))
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// What a condition reads where there is no run: the latest sample, and what `healthy` means by default.
pub(super) struct Now<'a> {
    pub(super) metrics: &'a Measurements,
    pub(super) healthy: &'a Expr,
}

impl Env for Now<'_> {
    fn value(&self, path: &str) -> Option<Value> {
        let metric = Metric::named(path)?;
        self.metrics.get(&metric).cloned()
    }

    fn condition(&self, path: &str) -> Option<&Expr> {
        (path == "healthy").then_some(self.healthy)
    }

    fn parts(&self, path: &str) -> &'static [&'static str] {
        if path == "live" { &["dynos.up", "dynos.wanted", "dynos.crashed", "pages.ok"] } else { &[] }
    }
}
