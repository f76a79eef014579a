//! `verify`: the guide's four promises, proved with figures from before and after. It changes nothing: it asks for pages
//! one at a time, as a visitor would, and reads the samples meanwhile.

use std::time::Duration;

use super::by_hand::{measure, page};
use super::param::{Bindings, Param, Ratio, bind_some};
use super::promises::{Demands, Figures, PagesDemand, Promise, Word, judge};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional};
use super::verb::{Action, Done, Next, Output, Preview, Verb};
use crate::health::{Moment, Stretch, Unit, Value, show_seconds};
use crate::platform::{Observer, PageAnswer, PageRound};
use crate::source::{Diagnostic, Spanned};

/// Pages asked on each side, at least: fewer say nothing about a 95th percentile.
const REQUESTS: u64 = 30;
/// How soon it looks again.
const LOOK: Duration = Duration::from_millis(200);
/// Of the time before the first change, how much the figures of before look back on.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// Samples that a slope needs.
const SAMPLES: u64 = 5;
/// How long after the soak pages and samples that are still missing are waited for.
const OVERTIME: Duration = Duration::from_secs(60);
/// From here on a promise is broken whatever comes: in a row, and pages that show an exhausted database.
const IN_A_ROW: u64 = 2;
const EXHAUSTED: usize = 3;
/// What may be demanded of pages.
const PAGES: &[&str] = &["faster", "no_slower", "answered"];

/// Prove the guide's promises, or take the figures of before.
#[derive(Debug)]
pub struct Verify {
    baseline: bool,
    against: Option<Spanned<String>>,
    usage_below: Option<Param<Ratio>>,
    pages: Option<Param<String>>,
    requests: Option<Param<u64>>,
    paths: Vec<Param<String>>,
    soak: Option<Param<Duration>>,
    settle: Option<Param<Duration>>,
    spread: Option<Param<Ratio>>,
    full_after: Option<Param<Duration>>,
    within: Option<Param<Duration>>,
}

impl Verb for Verify {
    const NAME: &'static str = "verify";
    const ABOUT: &'static str = "Prove with figures from before and after that usage has fallen, pages load faster, nothing says \"Too many connections\" any more, and that it is stable. A verdict for each; a promise that is broken or not proven fails the step. With `baseline: true` it takes the figures of before and judges nothing. Changes nothing; asks for pages one at a time.";
    const SHAPE: &'static Shape = &Shape {
        name: "verify",
        fields: &[
            optional(
                "baseline",
                Kind::Flag,
                "Take the figures of before, for a later step's `against`. Default: false.",
            ),
            optional(
                "against",
                Kind::Text,
                "The step that took the figures of before. Without it nothing is compared.",
            ),
            optional(
                "usage_below",
                Kind::Ratio,
                "Usage must be below this over the whole soak. Default: 40%.",
            ),
            optional(
                "pages",
                Kind::Choice(PAGES),
                "What fails the step: pages that are not shown to be faster, that are shown to be slower, or only that fail. What is not proven is said in any case. Default: `faster`.",
            ),
            optional("requests", Kind::Count, "Pages asked, one at a time: 30 to 300. Default: 30."),
            optional(
                "paths",
                Kind::Texts,
                "Paths of the site, asked in turn, as a visitor would: caches answer as ever. Default: `/`.",
            ),
            optional(
                "soak",
                Kind::Duration,
                "How long it is watched, over which the pages are spread; at least five samples. Default: 10s.",
            ),
            optional(
                "settle",
                Kind::Duration,
                "What is not judged: so long after the last change, old dynos gone. Default: 5s.",
            ),
            optional("spread", Kind::Ratio, "By how much usage may swing and be stable. Default: 20%."),
            optional(
                "full_after",
                Kind::Duration,
                "At the growth that is seen, the database must not be full earlier. Default: 1h.",
            ),
            optional(
                "within",
                Kind::Duration,
                "With `baseline`: pages are asked for so long at most; a cure must not wait for them. Default: 20s.",
            ),
        ],
        short: None,
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "usage", unit: Unit::Ratio, about: "highest usage" },
        Output { name: "refused", unit: Unit::Count, about: "logins refused" },
        Output { name: "requests", unit: Unit::Count, about: "pages asked" },
        Output { name: "answered", unit: Unit::Count, about: "of these, answered below 500" },
        Output {
            name: "exhausted",
            unit: Unit::Count,
            about: "pages that showed an exhausted database, the sampler's probes included",
        },
        Output {
            name: "log_errors",
            unit: Unit::Count,
            about: "such errors in the app's log, where it was followed",
        },
        Output { name: "p50", unit: Unit::Duration, about: "median time of an answered page" },
        Output { name: "p95", unit: Unit::Duration, about: "95th percentile of that" },
        Output {
            name: "latencies",
            unit: Unit::Text,
            about: "time of each answered page in milliseconds, as asked",
        },
        Output { name: "spread", unit: Unit::Ratio, about: "highest less lowest usage" },
        Output { name: "growth", unit: Unit::Rate, about: "connections a second over the soak" },
        Output { name: "time_to_full", unit: Unit::Duration, about: "time until the limit at this growth" },
        Output {
            name: "usage_falls",
            unit: Unit::Text,
            about: "first promise: `kept`, `broken` or `not proven`",
        },
        Output { name: "pages_faster", unit: Unit::Text, about: "second promise" },
        Output { name: "no_errors", unit: Unit::Text, about: "third promise" },
        Output { name: "stable", unit: Unit::Text, about: "fourth promise" },
        Output { name: "proven", unit: Unit::Truth, about: "all four are kept" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let baseline = match reading.node("baseline") {
            Some(_) => reading.truth("baseline")?,
            None => false,
        };
        if baseline {
            for key in ["against", "usage_below", "pages", "soak", "settle", "spread", "full_after"] {
                if let Some(node) = reading.node(key) {
                    let fault = Diagnostic::error(
                        node.span,
                        format!("`{key}` judges, and a baseline judges nothing"),
                    );
                    reading
                        .faults()
                        .push(fault.help("it belongs to the later step whose `against` names this one"));
                }
            }
        } else if let Some(node) = reading.node("within") {
            let fault = Diagnostic::error(node.span, "`within` bounds a baseline, and this is none");
            reading.faults().push(fault.help("`soak` is how long it is watched"));
        }
        Some(Self {
            baseline,
            against: reading.text("against"),
            usage_below: reading.param("usage_below"),
            pages: reading.param("pages"),
            requests: reading.param("requests"),
            paths: reading.text_params("paths"),
            soak: reading.param("soak"),
            settle: reading.param("settle"),
            spread: reading.param("spread"),
            full_after: reading.param("full_after"),
            within: reading.param("within"),
        })
    }
}

fn some<T: super::param::Scalar>(param: Option<&Param<T>>, default: T) -> T {
    param.map_or(default.clone(), |param| param.or(default))
}

impl Verify {
    fn requests(&self) -> u64 {
        some(self.requests.as_ref(), REQUESTS)
    }

    fn soak(&self) -> Duration {
        some(self.soak.as_ref(), Duration::from_secs(10))
    }

    fn settle(&self) -> Duration {
        some(self.settle.as_ref(), Duration::from_secs(5))
    }

    fn within(&self) -> Duration {
        some(self.within.as_ref(), Duration::from_secs(20))
    }

    fn paths(&self) -> Vec<String> {
        let paths: Vec<String> = self.paths.iter().map(|path| path.or("/".to_owned())).collect();
        if paths.is_empty() { vec!["/".to_owned()] } else { paths }
    }

    fn demands(&self, observer: &Observer) -> Demands {
        Demands {
            usage_below: some(self.usage_below.as_ref(), Ratio(0.4)).0,
            requests: self.requests(),
            pages: match some(self.pages.as_ref(), "faster".to_owned()).as_str() {
                "answered" => PagesDemand::Answered,
                "no_slower" => PagesDemand::NoSlower,
                _ => PagesDemand::Faster,
            },
            spread: some(self.spread.as_ref(), Ratio(0.2)).0,
            full_after: some(self.full_after.as_ref(), Duration::from_secs(3600)),
            pages_measured: observer.heroku().pages_url().is_some(),
            database: observer.database().is_some(),
        }
    }

    fn round(&self, progress: &Progress) -> PageRound {
        PageRound { began: progress.began, addresses: self.paths(), bodies: false }
    }

    /// Takes the figures of before.
    fn measure(&self, scene: &Scene<'_>, progress: &Progress) -> Next {
        let demands = self.demands(scene.observer);
        let round = self.round(progress);
        let wanted = if demands.pages_measured { index(demands.requests) } else { 0 };
        let over = scene.now.since(progress.began) >= self.within();
        let mut pages = scene.observer.pages(&round, if over { 0 } else { wanted });
        pages.truncate(wanted);
        if pages.len() < wanted && !over {
            return Next::Wait { awaited: format!("{wanted} pages, asked one at a time"), again: LOOK };
        }
        let back = u64::try_from(LOOK_BACK.as_millis()).unwrap_or(u64::MAX);
        let from = scene.counts_from.max(Moment(progress.began.0.saturating_sub(back)));
        let figures = Figures::of(&pages, &scene.series.curve().since(from, demands.usage_below));
        let usage =
            figures.usage.map_or_else(|| "unknown".to_owned(), |usage| Value::Ratio(usage).to_string());
        let mut summary = format!("usage {usage}, {:.0} logins refused", figures.refused);
        if demands.pages_measured {
            summary.push_str(&format!(
                "; {} of {} pages answered, p50 {}, p95 {}",
                figures.answered,
                figures.asked,
                figures.latency(0.5),
                figures.latency(0.95)
            ));
        }
        let short = wanted.saturating_sub(pages.len());
        let notes = (short > 0).then(|| {
            let time = show_seconds(self.within().as_secs_f64());
            format!("{short} of {wanted} pages were not asked: {time} were over, and the cure does not wait for them")
        });
        Next::Done(Done {
            summary,
            outputs: figures.outputs(),
            notes: notes.into_iter().collect(),
            ..Done::default()
        })
    }

    /// Watches, asks, and judges.
    fn prove(&self, scene: &Scene<'_>, progress: &Progress) -> Next {
        let demands = self.demands(scene.observer);
        let settled = if scene.counts_from == Moment::default() {
            Moment::default()
        } else {
            scene.counts_from.plus(self.settle())
        };
        let from = progress.began.max(settled);
        if scene.now < from {
            let time = show_seconds(self.settle().as_secs_f64());
            return Next::Wait {
                awaited: format!("{time} since the last change to pass: they are not judged"),
                again: from.since(scene.now),
            };
        }
        let passed = scene.now.since(from);
        let wanted = if demands.pages_measured { index(demands.requests) } else { 0 };
        let due = due(passed, self.soak(), wanted);
        let mut pages = scene.observer.pages(&self.round(progress), due);
        pages.truncate(wanted);
        let stretch = scene.series.curve().since(from, demands.usage_below);
        if !self.is_over(&demands, passed, wanted, &pages, &stretch) {
            let time = show_seconds(self.soak().as_secs_f64());
            let awaited = format!("{time} to pass under watch, {wanted} pages asked meanwhile");
            return Next::Wait { awaited, again: LOOK };
        }
        let _ = scene.observer.pages(&self.round(progress), 0);
        let before = self.against.as_ref().and_then(|step| Figures::from_outputs(step, scene.outputs));
        let after = Figures::of(&pages, &stretch);
        let promises = judge(&demands, before.as_ref(), &after, &stretch);
        Next::Done(verdict(&promises, &after, &stretch))
    }

    /// Enough is seen: of all that was to be seen, or of what cannot be mended any more.
    fn is_over(
        &self,
        demands: &Demands,
        passed: Duration,
        wanted: usize,
        pages: &[PageAnswer],
        stretch: &Stretch,
    ) -> bool {
        let sampled = !demands.database || stretch.samples.saturating_sub(stretch.unknown) >= SAMPLES;
        let whole = passed >= self.soak() && pages.len() >= wanted && sampled;
        let exhausted = pages.iter().filter(|page| page.exhausted).count() >= EXHAUSTED;
        let broken = stretch.above_in_a_row >= IN_A_ROW || stretch.dead_in_a_row >= IN_A_ROW || exhausted;
        whole || (broken && sampled) || passed >= self.soak() + OVERTIME
    }
}

/// How it ends: a word for each promise, and the figures.
fn verdict(promises: &[Promise; 4], after: &Figures, stretch: &Stretch) -> Done {
    let kept = promises.iter().filter(|promise| promise.word == Word::Kept).count();
    let mut outputs = after.outputs();
    for promise in promises {
        outputs.insert(promise.output.to_owned(), Value::Text(promise.word.name().to_owned()));
    }
    outputs.insert("proven".to_owned(), Value::Truth(kept == promises.len()));
    if let Some((lowest, _, highest)) = stretch.usage {
        outputs.insert("spread".to_owned(), Value::Ratio(highest - lowest));
    }
    if let Some(growth) = stretch.growth {
        outputs.insert("growth".to_owned(), Value::Rate(growth));
    }
    if let Some(full) = stretch.time_to_full() {
        outputs.insert("time_to_full".to_owned(), Value::Duration(full));
    }
    let failing: Vec<String> = promises
        .iter()
        .filter(|promise| promise.fails)
        .map(|promise| {
            let why = promise.why.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
            format!("{}: {}{why}", promise.what, promise.word.name())
        })
        .collect();
    let unproven: Vec<&str> = promises
        .iter()
        .filter(|promise| !promise.fails && promise.word != Word::Kept)
        .map(|promise| promise.what.as_str())
        .collect();
    let mut summary = format!("{kept} of {} promises kept", promises.len());
    if !unproven.is_empty() {
        summary.push_str(&format!("; not proven, and not demanded here: {}", unproven.join(", ")));
    }
    Done {
        summary,
        outputs,
        notes: promises.iter().flat_map(Promise::lines).collect(),
        unmet: (!failing.is_empty()).then(|| failing.join("; ")),
        ..Done::default()
    }
}

/// Pages that are due when they are spread over the soak.
fn due(passed: Duration, soak: Duration, wanted: usize) -> usize {
    let share = passed.as_secs_f64() / soak.as_secs_f64().max(0.001);
    let due = 1.0 + share * wanted as f64;
    usize::try_from(super::param::whole(due.floor())).unwrap_or(wanted).min(wanted)
}

/// A count as a number of pages.
fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl Action for Verify {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        false
    }

    fn only_looks(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        if let Some(requests) = &mut self.requests {
            requests.bind_within(bindings, &(REQUESTS..=300), &mut faults);
        }
        if let Some(below) = &mut self.usage_below {
            below.bind_within(bindings, &(Ratio(0.01)..=Ratio(1.0)), &mut faults);
        }
        if let Some(spread) = &mut self.spread {
            spread.bind_within(bindings, &(Ratio(0.01)..=Ratio(1.0)), &mut faults);
        }
        if let Some(soak) = &mut self.soak {
            soak.bind_within(bindings, &(Duration::from_secs(1)..=minutes(24 * 60)), &mut faults);
        }
        for (param, most) in [(&mut self.settle, minutes(10)), (&mut self.within, minutes(5))] {
            if let Some(param) = param {
                param.bind_within(bindings, &(Duration::ZERO..=most), &mut faults);
            }
        }
        bind_some(&mut self.full_after, bindings, &mut faults);
        if let Some(pages) = &mut self.pages {
            pages.bind(bindings, &mut faults);
            let word = pages.or("faster".to_owned());
            if !PAGES.contains(&word.as_str()) {
                let place = Spanned::new(word, pages.text.span);
                faults.push(crate::source::unknown(&place, PAGES, "demand on pages"));
            }
        }
        for path in &mut self.paths {
            path.bind(bindings, &mut faults);
            if !path.or("/".to_owned()).starts_with('/') {
                let fault = Diagnostic::error(path.text.span, "a path of the site begins with `/`");
                faults.push(fault.help("other sites are asked by `http`"));
            }
        }
        faults
    }

    fn builds_on(&self) -> Option<(&Spanned<String>, &'static str)> {
        self.against.as_ref().map(|step| (step, "latencies"))
    }

    fn patience(&self) -> Duration {
        let time = if self.baseline { self.within() } else { self.settle() + self.soak() + OVERTIME };
        time + Duration::from_secs(60)
    }

    fn by_hand(&self, app: &str, bindings: &Bindings) -> Vec<String> {
        let _ = bindings;
        let mut lines = measure(crate::health::Metric::Usage, app);
        let paths = self.paths.first().map_or_else(|| "/".to_owned(), |path| path.or("/".to_owned()));
        lines.push(format!("for i in $(seq {REQUESTS}); do {}; done", page(&paths)));
        lines.extend(measure(crate::health::Metric::LogsErrors, app));
        if !self.baseline {
            lines.push("# against the figures of before: usage, the middle and the slowest page, no such line in the log; again after the soak".to_owned());
        }
        lines
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let demands = self.demands(scene.observer);
        let mut preview = Preview::default();
        match scene.observer.heroku().pages_url() {
            Some(url) => {
                let paths: Vec<String> =
                    self.paths().iter().map(|path| format!("{}{path}", url.trim_end_matches('/'))).collect();
                preview.requests.push(format!(
                    "{} × GET {}, one at a time",
                    demands.requests,
                    paths.join(", ")
                ));
                preview.details.push(
                    "each page takes the connections that a visitor's would, and leaves what it leaves"
                        .to_owned(),
                );
            }
            None => preview.warnings.push(
                "pages are not measured in this run: what is promised of them is not proven".to_owned(),
            ),
        }
        preview.requests.push(format!(
            r#"POST /apps/{}/log-sessions {{"tail":true,"lines":1}} (changes nothing), then its stream"#,
            scene.app
        ));
        if !demands.database {
            preview
                .warnings
                .push("the database is not asked in this run: usage and stability are not proven".to_owned());
        }
        if self.baseline {
            let time = show_seconds(self.within().as_secs_f64());
            preview.summary =
                format!("take the figures of before: usage, refused logins, pages (at most {time})");
            return Ok(preview);
        }
        let soak = show_seconds(self.soak().as_secs_f64());
        preview.summary = format!("prove the four promises with figures, over {soak} under watch");
        preview
            .details
            .insert(0, format!("usage below {}, over the whole time", Value::Ratio(demands.usage_below)));
        preview.details.insert(
            1,
            match demands.pages {
                PagesDemand::Faster => "pages answered, and faster than before beyond chance",
                PagesDemand::NoSlower => "pages answered, and not shown to be slower than before",
                PagesDemand::Answered => "pages answered",
            }
            .to_owned(),
        );
        preview.details.insert(2, "no \"Too many connections\" in pages, logins and logs".to_owned());
        preview.details.insert(
            3,
            format!(
                "stable: swings below {}, not full within {}",
                Value::Ratio(demands.spread),
                show_seconds(demands.full_after.as_secs_f64())
            ),
        );
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        if scene.dry {
            return Ok(Next::Wait {
                awaited: "nothing: a dry run asks for no pages".to_owned(),
                again: LOOK,
            });
        }
        // Where it may not be followed, or does not answer, the log is not measured, and that is said.
        let _ = scene.observer.follow_log();
        Ok(if self.baseline { self.measure(scene, progress) } else { self.prove(scene, progress) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_spread_over_the_soak() {
        let soak = Duration::from_secs(10);
        for (passed, wanted) in [(0, 1), (1000, 4), (5000, 16), (10_000, 30), (90_000, 30)] {
            assert_eq!(due(Duration::from_millis(passed), soak, 30), wanted, "{passed}");
        }
        assert_eq!(due(soak, soak, 0), 0);
    }
}
