//! The guide's four promises, judged by figures from before and after. Pure. It must never call kept what was not
//! measured, nor give a page that failed a latency.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::health::{Pace, Stretch, Value, compare, percentile, show_seconds};
use crate::platform::PageAnswer;

/// Share of the pages that must be answered.
const PAGES_OK: f64 = 0.95;
/// Share of the samples that must have told the usage.
const KNOWN: f64 = 0.8;
/// In a row: one alone is an accident.
const IN_A_ROW: u64 = 2;
/// Columns of a line that also fits, with the time before it, on a terminal of 80.
const WIDE: usize = 66;
/// Failed pages before, from which on "answered again" is said.
const FAILED_BEFORE: u64 = 3;

/// The figures of one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Figures {
    /// Highest usage.
    pub(super) usage: Option<f64>,
    /// Logins refused, as the database told.
    pub(super) refused: f64,
    /// Pages asked.
    pub(super) asked: u64,
    /// Of these, answered below 500.
    pub(super) answered: u64,
    /// Pages that showed an exhausted database, the sampler's probes included.
    pub(super) exhausted: u64,
    /// Latencies of the answered, in milliseconds.
    pub(super) latencies: Vec<f64>,
    /// Errors of that kind in the app's log.
    pub(super) logs: Option<f64>,
}

impl Figures {
    /// From the pages asked, and what the samples told meanwhile.
    pub(super) fn of(pages: &[PageAnswer], stretch: &Stretch) -> Self {
        // What the router says to everybody in maintenance mode says nothing of the app.
        let pages: Vec<&PageAnswer> = pages.iter().filter(|page| !page.maintenance).collect();
        let ok: Vec<&PageAnswer> = pages.iter().copied().filter(|page| page.is_ok()).collect();
        let exhausted = pages.iter().filter(|page| page.exhausted).count() as u64;
        Self {
            usage: stretch.usage.map(|usage| usage.2),
            refused: stretch.refused,
            asked: pages.len() as u64,
            answered: ok.len() as u64,
            exhausted: exhausted + stretch.exhausted,
            latencies: ok.iter().map(|page| page.took_ms).collect(),
            logs: stretch.log_errors,
        }
    }

    /// As typed outputs; latencies are a text, so that a later step can compare, and a person recount.
    pub(super) fn outputs(&self) -> BTreeMap<String, Value> {
        let latencies: Vec<String> = self.latencies.iter().map(|ms| format!("{ms:.0}")).collect();
        let mut outputs = BTreeMap::from([
            ("refused".to_owned(), Value::Count(self.refused)),
            ("requests".to_owned(), Value::Count(self.asked as f64)),
            ("answered".to_owned(), Value::Count(self.answered as f64)),
            ("exhausted".to_owned(), Value::Count(self.exhausted as f64)),
            ("latencies".to_owned(), Value::Text(latencies.join(" "))),
        ]);
        if let Some(usage) = self.usage {
            outputs.insert("usage".to_owned(), Value::Ratio(usage));
        }
        for (name, share) in [("p50", 0.5), ("p95", 0.95)] {
            if let Some(ms) = percentile(&self.latencies, share) {
                outputs.insert(name.to_owned(), Value::Duration(Some(ms / 1000.0)));
            }
        }
        if let Some(logs) = self.logs {
            outputs.insert("log_errors".to_owned(), Value::Count(logs));
        }
        outputs
    }

    /// From the outputs of an earlier step; `None` when it gave none.
    pub(super) fn from_outputs(step: &str, outputs: &BTreeMap<String, Value>) -> Option<Self> {
        let get = |name: &str| outputs.get(&format!("{step}.{name}"));
        let number = |name: &str| match get(name)? {
            Value::Count(number) | Value::Ratio(number) => Some(*number),
            _ => None,
        };
        let count = |name: &str| number(name).map(super::param::whole);
        let Value::Text(latencies) = get("latencies")? else { return None };
        Some(Self {
            usage: number("usage"),
            refused: number("refused")?,
            asked: count("requests")?,
            answered: count("answered")?,
            exhausted: count("exhausted")?,
            latencies: latencies.split_whitespace().filter_map(|ms| ms.parse().ok()).collect(),
            logs: number("log_errors"),
        })
    }

    /// Pages that were not answered.
    pub(super) const fn failed(&self) -> u64 {
        self.asked.saturating_sub(self.answered)
    }

    /// `p50 1.2s`, or that there is none.
    pub(super) fn latency(&self, share: f64) -> String {
        percentile(&self.latencies, share).map_or_else(|| "none".to_owned(), |ms| show_seconds(ms / 1000.0))
    }
}

/// What is demanded of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PagesDemand {
    /// They must be shown to be faster.
    Faster,
    /// They must not be shown to be slower.
    NoSlower,
    /// They must be answered.
    Answered,
}

/// What is demanded, and what is measured at all in this run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Demands {
    /// Usage must stay below.
    pub(super) usage_below: f64,
    /// Pages asked on each side, at least.
    pub(super) requests: u64,
    /// Of pages.
    pub(super) pages: PagesDemand,
    /// Usage may swing by this at most.
    pub(super) spread: f64,
    /// At the growth that is seen, it must not be full earlier.
    pub(super) full_after: Duration,
    /// Pages are measured in this run.
    pub(super) pages_measured: bool,
    /// The database is asked in this run.
    pub(super) database: bool,
}

/// How a promise stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// The figures show it.
    Kept,
    /// The figures show the contrary.
    Broken,
    /// They show neither.
    NotProven,
}

impl Word {
    /// As it is said.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
            Self::NotProven => "not proven",
        }
    }

    const fn mark(self) -> &'static str {
        match self {
            Self::Kept => "✓",
            Self::Broken => "✗",
            Self::NotProven => "?",
        }
    }
}

/// One promise with its verdict.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Promise {
    /// Its output's name.
    pub(super) output: &'static str,
    /// What is promised.
    pub(super) what: String,
    /// The verdict.
    pub(super) word: Word,
    /// Why, in words, when the figures alone do not say it.
    pub(super) why: Option<String>,
    /// Figures, a line each.
    figures: Vec<String>,
    /// The step fails for it.
    pub(super) fails: bool,
}

impl Promise {
    fn new(output: &'static str, what: impl Into<String>) -> Self {
        Self { output, what: what.into(), word: Word::NotProven, why: None, figures: Vec::new(), fails: true }
    }

    fn is(mut self, word: Word, why: Option<String>) -> Self {
        (self.word, self.why, self.fails) = (word, why, word != Word::Kept);
        self
    }

    /// What the plan said is not measured is not proven, and not demanded either.
    fn unmeasured(mut self, why: &str) -> Self {
        (self.word, self.why, self.fails) = (Word::NotProven, Some(why.to_owned()), false);
        self
    }

    fn figure(mut self, line: String) -> Self {
        self.figures.push(line);
        self
    }

    /// For people: the verdict first, then the figures.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut parts = self.figures.clone();
        if let Some(why) = &self.why {
            parts.insert(0, why.clone());
        }
        let mut first = format!("{} {:<10}  {}", self.word.mark(), self.word.name(), self.what);
        if parts.first().is_some_and(|part| first.chars().count() + 2 + part.chars().count() <= WIDE) {
            first.push_str(&format!(": {}", parts.remove(0)));
        }
        let mut lines = vec![first];
        lines.extend(parts.into_iter().map(|part| format!("              {part}")));
        lines
    }
}

/// Judges the four promises.
pub(super) fn judge(
    demands: &Demands,
    before: Option<&Figures>,
    after: &Figures,
    stretch: &Stretch,
) -> [Promise; 4] {
    [
        usage(demands, before, stretch),
        pages(demands, before, after),
        errors(demands, before, after, stretch),
        stable(demands, after, stretch),
    ]
}

/// A share in per cent, as people read it.
fn share(ratio: f64) -> String {
    Value::Ratio(ratio).to_string()
}

/// Why too little is known of the samples; `None` when enough is.
fn too_little(stretch: &Stretch) -> Option<String> {
    let known = stretch.samples.saturating_sub(stretch.unknown);
    let enough = known > 0 && known as f64 >= KNOWN * stretch.samples as f64;
    (!enough).then(|| format!("{known} of {} samples told the usage", stretch.samples))
}

fn usage(demands: &Demands, before: Option<&Figures>, stretch: &Stretch) -> Promise {
    let promise = Promise::new("usage_falls", format!("usage below {}", share(demands.usage_below)));
    if !demands.database {
        return promise.unmeasured("not measured (--no-database)");
    }
    let Some((_, middle, highest)) = stretch.usage else {
        return promise.is(Word::NotProven, too_little(stretch));
    };
    let was = before.map(|before| before.usage.map_or_else(|| "unknown".to_owned(), share));
    let was = was.map_or_else(String::new, |was| format!("{was} → "));
    let promise = promise.figure(format!("{was}{} (highest {})", share(middle), share(highest)));
    if stretch.above_in_a_row >= IN_A_ROW || middle >= demands.usage_below {
        return promise.is(Word::Broken, None);
    }
    match too_little(stretch) {
        Some(why) => promise.is(Word::NotProven, Some(why)),
        None => promise.is(Word::Kept, None),
    }
}

fn pages(demands: &Demands, before: Option<&Figures>, after: &Figures) -> Promise {
    let what = match demands.pages {
        PagesDemand::Answered => "pages are answered",
        PagesDemand::Faster | PagesDemand::NoSlower => "pages load faster",
    };
    let mut promise = Promise::new("pages_faster", what);
    if !demands.pages_measured {
        return promise.unmeasured("pages are not measured in this run");
    }
    let arrow = |was: Option<String>, is: String| was.map_or(is.clone(), |was| format!("{was} → {is}"));
    let at = |share| arrow(before.map(|before| before.latency(share)), after.latency(share));
    let of = |side: &Figures| format!("{} of {}", side.answered, side.asked);
    promise = promise.figure(format!("answered {}", arrow(before.map(of), of(after))));
    promise = promise.figure(format!("p50 {}, p95 {}", at(0.5), at(0.95)));
    // Also of pages that were not asked, when those that were have settled it.
    let bound = (1.0 - PAGES_OK) * after.asked.max(demands.requests) as f64;
    if after.failed() as f64 > bound {
        return promise.is(Word::Broken, Some(format!("{} of {} pages fail", after.failed(), after.asked)));
    }
    if after.asked < demands.requests {
        let why = format!("only {} of {} pages could be asked", after.asked, demands.requests);
        return promise.is(Word::NotProven, Some(why));
    }
    if demands.pages == PagesDemand::Answered {
        return promise.is(Word::Kept, None);
    }
    let Some(before) = before else {
        let mut promise = promise.is(Word::NotProven, Some("nothing from before to compare with".to_owned()));
        promise.fails = demands.pages == PagesDemand::Faster;
        return promise;
    };
    let failed = before.failed() as f64 > (1.0 - PAGES_OK) * before.asked as f64;
    let again = failed && before.failed() >= FAILED_BEFORE;
    let (word, why) = match compare(&before.latencies, &after.latencies) {
        Pace::Faster => (Word::Kept, None),
        Pace::Slower if after.failed() == 0 => (Word::Broken, Some("no page errors, but slower".to_owned())),
        Pace::Slower => (Word::Broken, Some("slower".to_owned())),
        Pace::Tail => (Word::NotProven, Some("the slowest pages are slower than before".to_owned())),
        Pace::Same if again => (Word::Kept, Some("answered again, as fast as those before".to_owned())),
        Pace::Same => (Word::NotProven, Some("no difference beyond chance".to_owned())),
        Pace::TooFew if again => {
            promise = promise.figure("too few were answered before to compare their time".to_owned());
            (Word::Kept, Some("answered again".to_owned()))
        }
        Pace::TooFew => {
            let few = format!("not comparable: {} of {} answered before", before.answered, before.asked);
            (Word::NotProven, Some(few))
        }
    };
    let mut promise = promise.is(word, why);
    if demands.pages == PagesDemand::NoSlower {
        promise.fails = word == Word::Broken;
    }
    promise
}

fn errors(demands: &Demands, before: Option<&Figures>, after: &Figures, stretch: &Stretch) -> Promise {
    let promise = Promise::new("no_errors", "no \"Too many connections\"");
    let arrow = |was: Option<f64>, is: f64| match was {
        Some(was) => format!("{was:.0} → {is:.0}"),
        None => format!("{is:.0}"),
    };
    let mut told = Vec::new();
    let pages = demands.pages_measured && after.asked + stretch.pages_ok + stretch.pages_failed > 0;
    if pages {
        let was = before.map(|before| before.exhausted as f64);
        told.push(format!("pages {}", arrow(was, after.exhausted as f64)));
    }
    if demands.database {
        told.push(format!("refused {}", arrow(before.map(|before| before.refused), after.refused)));
    }
    match after.logs {
        Some(logs) => {
            let missed = if stretch.log_missed > 0 { " (some lines missed)" } else { "" };
            told.push(format!("logs {}{missed}", arrow(before.and_then(|before| before.logs), logs)));
        }
        None => told.push("logs: not measured".to_owned()),
    }
    let promise = promise.figure(told.join(", "));
    let seen = after.exhausted as f64 + after.refused + after.logs.unwrap_or(0.0);
    if seen > 0.0 {
        promise.is(Word::Broken, None)
    } else if pages || (after.logs.is_some() && stretch.log_missed == 0) {
        promise.is(Word::Kept, None)
    } else if demands.pages_measured {
        promise.is(Word::NotProven, Some("no page was asked".to_owned()))
    } else {
        promise.unmeasured("neither pages nor logs are measured in this run")
    }
}

fn stable(demands: &Demands, after: &Figures, stretch: &Stretch) -> Promise {
    let mut promise = Promise::new("stable", "stable under load");
    if !demands.database {
        return promise.unmeasured("not measured (--no-database)");
    }
    let time = show_seconds(stretch.took.as_secs_f64());
    if let Some((lowest, _, highest)) = stretch.usage {
        let slope = stretch.growth.map_or_else(|| "unknown".to_owned(), |it| Value::Rate(it).to_string());
        promise = promise.figure(format!("{} to {}, slope {slope} in {time}", share(lowest), share(highest)));
    }
    let pages = after.asked + stretch.pages_ok + stretch.pages_failed;
    let sessions =
        stretch.logins.map_or_else(String::new, |logins| format!(", {logins:.1} new sessions a second"));
    let full =
        stretch.time_to_full().map_or_else(|| "unknown".to_owned(), |it| Value::Duration(it).to_string());
    promise = promise.figure(format!("time to full: {full}; {pages} pages{sessions}"));
    if let Some(why) = too_little(stretch) {
        return promise.is(Word::NotProven, Some(why));
    }
    if stretch.dead_in_a_row >= IN_A_ROW {
        let why = format!("the site was not live in {} of {} samples", stretch.dead, stretch.samples);
        return promise.is(Word::Broken, Some(why));
    }
    let (Some((lowest, _, highest)), Some(full)) = (stretch.usage, stretch.time_to_full()) else {
        return promise
            .is(Word::NotProven, Some(format!("{} samples are too few for a slope", stretch.samples)));
    };
    if let Some(full) = full.filter(|full| *full < demands.full_after.as_secs_f64()) {
        return promise.is(Word::Broken, Some(format!("at this slope it is full in {}", show_seconds(full))));
    }
    if highest - lowest > demands.spread {
        let why = format!("usage swings by {:.0} points", (highest - lowest) * 100.0);
        return promise.is(Word::Broken, Some(why));
    }
    if !demands.pages_measured {
        return promise.unmeasured("not proven under load: pages are not measured in this run");
    }
    if after.answered + stretch.pages_ok == 0 {
        return promise.is(Word::NotProven, Some("not proven under load: no page was answered".to_owned()));
    }
    promise
        .figure(format!("a leak slower than {:.2}/s would not show in {time}", stretch.blind_below()))
        .is(Word::Kept, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(usage: f64, answered: u64, asked: u64, ms: f64) -> Figures {
        Figures {
            usage: Some(usage),
            asked,
            answered,
            exhausted: asked - answered,
            latencies: (0..answered).map(|index| ms + index as f64 % 5.0).collect(),
            ..Figures::default()
        }
    }

    const DEMANDS: Demands = Demands {
        usage_below: 0.4,
        requests: 30,
        pages: PagesDemand::Faster,
        spread: 0.2,
        full_after: Duration::from_secs(3600),
        pages_measured: true,
        database: true,
    };

    fn calm() -> Stretch {
        Stretch {
            took: Duration::from_secs(12),
            samples: 13,
            usage: Some((0.05, 0.06, 0.08)),
            pages_ok: 11,
            growth: Some(0.0),
            used: Some((9.0, 150.0)),
            logins: Some(3.0),
            ..Stretch::default()
        }
    }

    fn words(promises: &[Promise; 4]) -> [(&'static str, bool); 4] {
        promises.each_ref().map(|promise| (promise.word.name(), promise.fails))
    }

    const KEPT: (&str, bool) = ("kept", false);

    #[test]
    fn a_healed_wiki_keeps_all_four_and_says_it_with_figures() {
        let (before, after) = (side(1.0, 2, 30, 900.0), side(0.08, 30, 30, 40.0));
        let judged = judge(&DEMANDS, Some(&before), &after, &calm());
        assert_eq!(words(&judged), [KEPT; 4]);
        let text: Vec<String> = judged.iter().flat_map(Promise::lines).collect();
        assert_eq!(
            text,
            [
                "✓ kept        usage below 40%: 100% → 6% (highest 8%)",
                "✓ kept        pages load faster: answered again",
                "              answered 2 of 30 → 30 of 30",
                "              p50 900ms → 42ms, p95 901ms → 44ms",
                "              too few were answered before to compare their time",
                "✓ kept        no \"Too many connections\"",
                "              pages 28 → 0, refused 0 → 0, logs: not measured",
                "✓ kept        stable under load: 5% to 8%, slope +0.0/s in 12s",
                "              time to full: no end; 41 pages, 3.0 new sessions a second",
                "              a leak slower than 0.17/s would not show in 12s",
            ]
        );
    }

    #[test]
    fn each_way_of_pages_is_said_as_it_is() {
        let good = side(0.08, 30, 30, 40.0);
        let mut some = good.clone();
        some.answered = 28;
        for (before, after, word, why) in [
            (side(1.0, 30, 30, 400.0), good.clone(), Word::Kept, None),
            (
                side(1.0, 30, 30, 40.0),
                side(0.1, 30, 30, 400.0),
                Word::Broken,
                Some("no page errors, but slower"),
            ),
            (
                side(1.0, 12, 30, 40.0),
                side(0.1, 30, 30, 400.0),
                Word::Broken,
                Some("no page errors, but slower"),
            ),
            (side(1.0, 12, 30, 40.0), good.clone(), Word::Kept, Some("answered again, as fast")),
            (side(0.9, 30, 30, 40.0), good.clone(), Word::NotProven, Some("no difference beyond chance")),
            (side(1.0, 0, 30, 0.0), good.clone(), Word::Kept, Some("answered again")),
            (side(1.0, 3, 3, 40.0), good.clone(), Word::NotProven, Some("not comparable")),
            (side(1.0, 30, 30, 400.0), side(0.1, 20, 30, 40.0), Word::Broken, Some("10 of 30 pages fail")),
            (side(1.0, 30, 30, 400.0), some, Word::Broken, Some("2 of 30 pages fail")),
            (side(1.0, 30, 30, 400.0), side(0.1, 9, 9, 40.0), Word::NotProven, Some("only 9 of 30")),
        ] {
            let judged = pages(&DEMANDS, Some(&before), &after);
            let said = judged.why.clone().unwrap_or_default();
            assert!(judged.word == word && said.contains(why.unwrap_or_default()), "{judged:?}");
            assert_eq!(judged.fails, word != Word::Kept, "faster is demanded: {judged:?}");
            let lenient = Demands { pages: PagesDemand::NoSlower, ..DEMANDS };
            let asked = after.asked >= 30;
            assert_eq!(pages(&lenient, Some(&before), &after).fails, word == Word::Broken || !asked);
        }
        assert!(pages(&DEMANDS, None, &good).fails);
        let answered = Demands { pages: PagesDemand::Answered, ..DEMANDS };
        assert_eq!(pages(&answered, None, &good).word, Word::Kept);
    }

    #[test]
    fn what_was_not_measured_is_never_kept() {
        let after = side(0.08, 30, 30, 40.0);
        let blind = Demands { database: false, ..DEMANDS };
        let judged = judge(&blind, Some(&side(1.0, 2, 30, 900.0)), &after, &Stretch::default());
        assert_eq!(words(&judged), [("not proven", false), KEPT, KEPT, ("not proven", false)]);
        let closed = Demands { pages_measured: false, ..DEMANDS };
        let judged = judge(&closed, None, &Figures::default(), &calm());
        assert_eq!(
            words(&judged),
            [KEPT, ("not proven", false), ("not proven", false), ("not proven", false)]
        );
        let gaps = Stretch { unknown: 7, ..calm() };
        assert_eq!(words(&judge(&DEMANDS, None, &after, &gaps))[0], ("not proven", true));
        assert_eq!(words(&judge(&DEMANDS, None, &after, &gaps))[3], ("not proven", true));
        let short = Stretch { growth: None, samples: 3, ..calm() };
        assert_eq!(stable(&DEMANDS, &Figures::default(), &short).word, Word::NotProven);
        let idle = Stretch { pages_ok: 0, ..calm() };
        assert!(
            stable(&DEMANDS, &Figures::default(), &idle)
                .why
                .is_some_and(|why| why.contains("not proven under load"))
        );
    }

    #[test]
    fn each_broken_promise_is_named() {
        let after = side(0.08, 30, 30, 40.0);
        for (stretch, output) in [
            (Stretch { above_in_a_row: 2, ..calm() }, "usage_falls"),
            (Stretch { usage: Some((0.3, 0.45, 0.5)), ..calm() }, "usage_falls"),
            (Stretch { growth: Some(0.5), ..calm() }, "stable"),
            (Stretch { usage: Some((0.05, 0.1, 0.35)), ..calm() }, "stable"),
            (Stretch { dead: 3, dead_in_a_row: 2, ..calm() }, "stable"),
        ] {
            let judged = judge(&DEMANDS, None, &after, &stretch);
            let broken: Vec<_> =
                judged.iter().filter(|it| it.word == Word::Broken).map(|it| it.output).collect();
            assert_eq!(broken, [output], "{judged:?}");
        }
        for figures in [
            Figures { exhausted: 1, ..after.clone() },
            Figures { refused: 1.0, ..after.clone() },
            Figures { logs: Some(1.0), ..after.clone() },
        ] {
            assert_eq!(errors(&DEMANDS, None, &figures, &calm()).word, Word::Broken, "{figures:?}");
        }
        // One sample above is an accident, and is said.
        let once = Stretch { above_in_a_row: 1, usage: Some((0.3, 0.35, 0.43)), ..calm() };
        let judged = usage(&DEMANDS, None, &once);
        assert!(judged.word == Word::Kept && judged.lines()[0].contains("highest 43%"), "{judged:?}");
    }

    #[test]
    fn figures_survive_the_journal() {
        let figures = Figures { logs: Some(4.0), refused: 7.0, ..side(1.0, 12, 30, 250.0) };
        let outputs: BTreeMap<String, Value> =
            figures.outputs().into_iter().map(|(name, value)| (format!("before.{name}"), value)).collect();
        assert_eq!(Figures::from_outputs("before", &outputs), Some(figures));
        assert_eq!(Figures::from_outputs("after", &outputs), None);
    }
}
