//! Health in one line, in a few lines, and as one object: what is measured now, and what is not.
//!
//! It judges nothing, and says of everything that was not measured that it is unknown.

use std::time::Duration;

use super::words::{metric, without_numbers};
use crate::engine::Measurements;
use crate::expr::Truth;
use crate::health::{DatabaseReading, Metric, Reading, Sample, Value, show_seconds};

/// Page probes from which on their share is told.
const FEW: u64 = 3;

/// What is told of one moment.
pub struct HealthView<'a> {
    /// The app.
    pub app: &'a str,
    /// The latest sample.
    pub sample: &'a Sample,
    /// What is known from it and its window.
    pub metrics: &'a Measurements,
    /// Logins refused over the window, once it is longer than one interval.
    pub refused: Option<(f64, Duration)>,
    /// Whether all that was measured is healthy.
    pub healthy: Truth,
    /// Whether the database is asked at all.
    pub database: bool,
    /// Page probes so far; `None` = pages are not probed at all.
    pub probes: Option<u64>,
}

impl HealthView<'_> {
    /// One line, whatever is known.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{} {}", self.app, self.word())];
        parts.extend(self.database_parts());
        parts.push(self.dynos());
        parts.push(self.page());
        parts.join(" · ")
    }

    /// A few lines, for a screen that is redrawn.
    pub fn block(&self, graph: &str) -> Vec<String> {
        let mut lines = vec![format!("{} {}", self.app, self.word())];
        let mut parts = self.database_parts().into_iter();
        lines.extend(parts.next().map(|first| format!("  {first}  {graph}").trim_end().to_owned()));
        lines.extend(parts.next().map(|second| format!("  {second}")));
        let rest: Vec<_> = parts.collect();
        if !rest.is_empty() {
            lines.push(format!("  {}", rest.join(" · ")));
        }
        lines.push(format!("  {} · {}", self.dynos(), self.page()));
        lines
    }

    /// `healthy` only when everything that makes it was measured and holds.
    const fn word(&self) -> &'static str {
        match self.healthy {
            Truth::True => "healthy",
            Truth::False => "not healthy",
            Truth::Unknown => "health unknown",
        }
    }

    fn database_parts(&self) -> Vec<String> {
        if !self.database {
            return vec!["database not used".to_owned()];
        }
        let metrics = self.metrics;
        let (Some(used), Some(limit)) = (metrics.get(&Metric::Used), metrics.get(&Metric::Limit)) else {
            return vec![match &self.sample.database {
                DatabaseReading::Refused { .. } => {
                    format!("usage 100%: every login is refused{}", without_numbers(self.sample))
                }
                DatabaseReading::Unknown(why) if !why.is_empty() => format!("usage unknown ({why})"),
                _ => format!("usage unknown{}", without_numbers(self.sample)),
            }];
        };
        let asleep = if metrics.get(&Metric::Sleeping) == Some(&Value::Count(0.0)) {
            "sleeping 0".to_owned()
        } else {
            format!(
                "sleeping {} (idle {}, oldest {})",
                metric(metrics, Metric::Sleeping),
                metric(metrics, Metric::Idle),
                metric(metrics, Metric::OldestIdle)
            )
        };
        vec![
            format!("usage {} ({used}/{limit})", metric(metrics, Metric::Usage)),
            format!("{asleep}, running {}", metric(metrics, Metric::Running)),
            self.refusals(),
            self.growth(),
        ]
    }

    fn refusals(&self) -> String {
        match self.refused {
            Some((refused, over)) => {
                format!("refused {refused:.0} in {}", show_seconds(over.as_secs_f64().round()))
            }
            None => format!("refused {}", metric(self.metrics, Metric::Refused)),
        }
    }

    fn growth(&self) -> String {
        match (self.metrics.get(&Metric::Growth), self.metrics.get(&Metric::TimeToFull)) {
            (Some(growth), Some(Value::Duration(Some(left)))) if *left > 0.0 => {
                format!("growth {growth}, full in {}", show_seconds(left.round()))
            }
            (Some(growth), _) => format!("growth {growth}"),
            _ => "growth unknown".to_owned(),
        }
    }

    fn dynos(&self) -> String {
        match &self.sample.dynos {
            Reading::Measured(dynos) if dynos.crashed > 0 => {
                format!("dynos {}/{} up, {} crashed", dynos.up, dynos.wanted, dynos.crashed)
            }
            Reading::Measured(dynos) => format!("dynos {}/{} up", dynos.up, dynos.wanted),
            Reading::Unknown(_) => "dynos unknown".to_owned(),
        }
    }

    fn page(&self) -> String {
        let Some(probes) = self.probes else { return "pages not measured".to_owned() };
        let metrics = self.metrics;
        match (metrics.get(&Metric::PagesOk), metrics.get(&Metric::PagesP95)) {
            // A share of one or two is none.
            (Some(Value::Ratio(ok)), p95) if probes < FEW => match (*ok > 0.0, p95) {
                (true, Some(p95)) => format!("a page answered in {p95}"),
                (true, None) => "a page answered".to_owned(),
                (false, _) => "a page failed".to_owned(),
            },
            (Some(ok), Some(p95)) => format!("pages {ok} ok, p95 {p95}"),
            (Some(ok), None) => format!("pages {ok} ok"),
            _ => "pages unknown".to_owned(),
        }
    }
}

/// A truth for programs: `null` is unknown.
pub const fn truth(truth: Truth) -> Option<bool> {
    match truth {
        Truth::True => Some(true),
        Truth::False => Some(false),
        Truth::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{DatabaseFault, DatabaseFaultKind, DatabaseSample, DynoReading, Moment};

    fn sample(database: DatabaseReading) -> Sample {
        Sample {
            number: 1,
            at: Moment(1),
            database,
            dynos: Reading::Measured(DynoReading { up: 1, wanted: 2, crashed: 1, starting: 0 }),
            pages: Reading::Unknown(String::new()),
            logs: Reading::not_asked(),
            jobs: Reading::not_asked(),
        }
    }

    fn view<'a>(sample: &'a Sample, metrics: &'a Measurements, healthy: Truth) -> HealthView<'a> {
        HealthView { app: "wiki", sample, metrics, refused: None, healthy, database: true, probes: Some(9) }
    }

    #[test]
    fn what_is_known_is_told_in_one_line() {
        let sample = sample(DatabaseReading::Measured(DatabaseSample::default()));
        let metrics = [
            (Metric::Usage, Value::Ratio(0.973)),
            (Metric::Used, Value::Count(146.0)),
            (Metric::Limit, Value::Count(150.0)),
            (Metric::Running, Value::Count(3.0)),
            (Metric::Sleeping, Value::Count(139.0)),
            (Metric::Idle, Value::Count(120.0)),
            (Metric::OldestIdle, Value::Duration(Some(252.0))),
            (Metric::Refused, Value::Count(4.0)),
            (Metric::Growth, Value::Rate(1.4)),
            (Metric::TimeToFull, Value::Duration(Some(2.86))),
            (Metric::PagesOk, Value::Ratio(0.83)),
            (Metric::PagesP95, Value::Duration(Some(1.2))),
        ]
        .into_iter()
        .collect();
        let mut told = view(&sample, &metrics, Truth::False);
        assert_eq!(
            told.line(),
            "wiki not healthy · usage 97% (146/150) · sleeping 139 (idle 120, oldest 4m12s), running 3 · refused 4 · growth +1.4/s, full in 3s · dynos 1/2 up, 1 crashed · pages 83% ok, p95 1.2s"
        );
        told.probes = Some(1);
        assert!(told.line().ends_with("a page answered in 1.2s"), "{}", told.line());
        told.refused = Some((17.0, Duration::from_secs(10)));
        assert!(told.line().contains("refused 17 in 10s"), "{}", told.line());
        let block = told.block("▁▃");
        assert_eq!(block[1], "  usage 97% (146/150)  ▁▃");
        assert!(block.iter().all(|line| console::measure_text_width(line) <= 80), "{block:?}");
    }

    #[test]
    fn what_is_not_known_is_said_as_unknown() {
        let none = Measurements::new();
        let refused = sample(DatabaseReading::Refused { code: 1040, attempts: 3 });
        let line = view(&refused, &none, Truth::False).line();
        assert!(line.contains("usage 100%: every login is refused (error 1040)"), "{line}");
        let fault =
            DatabaseFault { kind: DatabaseFaultKind::Network, message: "no answer in time".to_owned() };
        let failed = sample(DatabaseReading::Failed(fault));
        let line = view(&failed, &none, Truth::Unknown).line();
        assert!(line.starts_with("wiki health unknown · usage unknown (no answer in time)"), "{line}");
        assert!(line.ends_with("pages unknown"), "{line}");
        let mut without = view(&failed, &none, Truth::Unknown);
        (without.database, without.probes) = (false, None);
        assert!(without.line().contains("database not used"), "{}", without.line());
        assert!(without.line().ends_with("pages not measured"), "{}", without.line());
        assert_eq!(
            [truth(Truth::True), truth(Truth::False), truth(Truth::Unknown)],
            [Some(true), Some(false), None]
        );
    }
}
