//! What the slots are used for: reads or writes, by the server's counters; requests, and whether one visitor or one path
//! makes most of them, by the router's lines of the log. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::changed::since;
use crate::platform::{Figure, LogLine};

/// Statements that a share is read from, at least: our own are among them.
const STATEMENTS: u64 = 300;
/// Router lines that a share is read from, at least.
const REQUESTS: usize = 50;

/// What the statements are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Mix {
    /// Share of reads, 0 to 1.
    pub(crate) reads: f64,
    /// Statements that it is read from.
    pub(crate) statements: u64,
}

/// What visitors ask for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Traffic {
    /// Requests in the log, and how many a second.
    pub(crate) requests: usize,
    pub(crate) per_s: f64,
    /// Share that was answered with 500 or above.
    pub(crate) failed: f64,
    /// The address that asked most, and its share.
    pub(crate) top_visitor: Option<(String, f64)>,
    /// The path that was asked for most, and its share.
    pub(crate) top_path: Option<(String, f64)>,
}

fn counter(figures: &[Figure], name: &str) -> u64 {
    figures
        .iter()
        .find(|figure| figure.name == name)
        .and_then(|figure| figure.value.parse().ok())
        .unwrap_or(0)
}

/// The mix between two readings of the counters; of all since the server's start where `before` is empty.
pub(super) fn mix(before: &[Figure], after: &[Figure]) -> Option<Mix> {
    let gained = |name| counter(after, name).checked_sub(counter(before, name));
    let reads = gained("com_select")?;
    let mut writes = 0;
    for name in ["com_insert", "com_update", "com_delete"] {
        writes += gained(name)?;
    }
    let statements = reads + writes;
    (statements >= STATEMENTS).then(|| Mix { reads: reads as f64 / statements as f64, statements })
}

/// What the router's lines tell.
pub(super) fn traffic(logs: &[LogLine]) -> Option<Traffic> {
    let lines: Vec<&LogLine> = logs.iter().filter(|line| line.process == "router").collect();
    if lines.len() < REQUESTS {
        return None;
    }
    let time = |line: &LogLine| line.at.parse::<jiff::Timestamp>().ok();
    let span = since(time(lines.first()?)?, time(lines.last()?)?).max(1.0);
    let failed = lines
        .iter()
        .filter(|line| field(&line.message, "status").is_some_and(|status| status.starts_with('5')))
        .count();
    Some(Traffic {
        requests: lines.len(),
        per_s: (lines.len() as f64 / span * 10.0).round() / 10.0,
        failed: failed as f64 / lines.len() as f64,
        // The first address is the visitor's, as it says itself; later ones are proxies.
        top_visitor: most(lines.iter().filter_map(|line| {
            field(&line.message, "fwd").and_then(|fwd| fwd.split(',').next()).map(str::trim)
        }))
        .filter(|(address, _)| is_public(address)),
        top_path: most(lines.iter().filter_map(|line| {
            field(&line.message, "path").map(|path| path.split('?').next().unwrap_or_default())
        })),
    })
}

/// Whether an address can be one visitor's: within a network it is a proxy's, with everybody behind it.
fn is_public(address: &str) -> bool {
    match address.parse() {
        Ok(std::net::IpAddr::V4(v4)) => !(v4.is_private() || v4.is_loopback() || v4.is_link_local()),
        Ok(std::net::IpAddr::V6(v6)) => !v6.is_loopback(),
        Err(_) => false,
    }
}

/// A field of a logfmt line; quoted values may hold blanks.
fn field<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let mut rest = line;
    loop {
        let at = rest.find(name)?;
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        if let Some(value) = after.strip_prefix('=').filter(|_| before.is_empty() || before.ends_with(' ')) {
            return match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next(),
                None => value.split(' ').next(),
            };
        }
        rest = after;
    }
}

/// The commonest, and its share of all.
fn most<'l>(values: impl Iterator<Item = &'l str>) -> Option<(String, f64)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = 0;
    for value in values.filter(|value| !value.is_empty()) {
        *counts.entry(value).or_default() += 1;
        all += 1;
    }
    let (value, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    Some((value.to_owned(), (count as f64 / f64::from(all) * 100.0).round() / 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(select: u64, insert: u64) -> Vec<Figure> {
        [("com_select", select), ("com_insert", insert), ("com_update", 0), ("com_delete", 0)]
            .map(|(name, value)| Figure { name: name.into(), value: value.to_string() })
            .into()
    }

    #[test]
    fn reads_are_a_share_of_what_was_gained() {
        assert!((mix(&figures(1000, 1000), &figures(1900, 1100)).unwrap().reads - 0.9).abs() < 1e-9);
        assert_eq!(mix(&figures(1000, 0), &figures(1010, 0)), None, "ten statements say nothing");
        assert_eq!(mix(&figures(1000, 0), &figures(10, 0)), None, "the server was restarted");
        assert_eq!(mix(&[], &figures(390, 10)).unwrap().statements, 400);
    }

    #[test]
    fn the_router_tells_who_asks_for_what() {
        let line = |second: u32, fwd: &str, path: &str, status: u32| LogLine {
            at: format!("2026-11-23T10:00:{second:02}+00:00"),
            source: "heroku".into(),
            process: "router".into(),
            message: format!(
                "at=info method=GET path=\"{path}\" host=w.example request_id=fwd=x fwd=\"{fwd}\" dyno=web.1 service=9ms status={status} bytes=3"
            ),
        };
        let mut logs: Vec<_> =
            (0..40).map(|n| line(n, "203.0.113.9, 10.0.0.1", "/wiki/Main?x=1", 200)).collect();
        assert_eq!(traffic(&logs), None, "too few");
        logs.extend((40..60).map(|n| line(n, "198.51.100.1", "/api.php", 503)));
        let told = traffic(&logs).unwrap();
        assert_eq!((told.requests, told.per_s), (60, 1.0));
        assert_eq!(told.top_visitor, Some(("203.0.113.9".to_owned(), 0.67)));
        assert_eq!(told.top_path, Some(("/wiki/Main".to_owned(), 0.67)));
        assert!(is_public("203.0.113.9") && !is_public("127.0.0.1") && !is_public("unknown"));
        assert!((told.failed - 1.0 / 3.0).abs() < 0.01, "{told:?}");
    }
}
