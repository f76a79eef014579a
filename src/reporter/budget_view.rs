//! The connection budget as a person reads it: the sum, where each figure comes from, and what would fit.

use super::table::Table;
use super::words::wrap;
use crate::health::{Budget, Reckoned};
use crate::source::escape_controls;

/// Draws it.
pub fn budget_view(budget: &Budget, width: usize) -> String {
    let mut out = String::from("connections that the app may hold: dynos × processes × links a request\n");
    let mut table = Table::new(&["type", "dynos", "processes", "links", "connections"], &[1, 2, 3, 4]);
    let links = budget.links.number;
    let number = |known: Option<u64>| known.map_or_else(|| "?".to_owned(), |number| number.to_string());
    for share in &budget.shares {
        table.row([
            escape_controls(&share.kind).into_owned(),
            share.dynos.number.to_string(),
            number(share.processes.as_ref().map(|processes| processes.number)),
            links.to_string(),
            number(share.total().map(|total| total.saturating_mul(links))),
        ]);
    }
    out.push_str(&table.draw(width));
    let mut say = |text: &str| {
        out.push_str("  ");
        out.push_str(&wrap(&escape_controls(text), width.saturating_sub(2).max(30), 4));
        out.push('\n');
    };
    say(&verdict(budget));
    if let (Some(most), Some(limit), Some(false)) = (budget.most(), &budget.limit, budget.passes_limit()) {
        let both = most.saturating_mul(2);
        let fits = if both <= limit.number { "fits too" } else { "does NOT fit" };
        say(&format!("up to {both} during a release, while old and new dynos overlap: {fits}"));
    }
    let source = |what: &str, figure: &Reckoned| {
        format!("{what} {}: {} ({})", figure.number, figure.basis, figure.how.word())
    };
    for share in &budget.shares {
        say(&source(&format!("{} dynos", share.kind), &share.dynos));
        match &share.processes {
            Some(processes) => say(&source(&format!("{} processes", share.kind), processes)),
            None => say(&format!("{} processes: not known; `WEB_CONCURRENCY` would say", share.kind)),
        }
    }
    say(&source("links a request", &budget.links));
    match &budget.limit {
        Some(limit) => say(&source("limit", limit)),
        None => say("limit: not known (`--limit 150` says it)"),
    }
    out
}

/// The sum against the limit, and what would fit.
fn verdict(budget: &Budget) -> String {
    let Some(most) = budget.most() else {
        let unknown: Vec<_> = budget.unknown().collect();
        return format!("together: not known, since the processes of {} are not", unknown.join(", "));
    };
    let Some(limit) = &budget.limit else { return format!("together {most}") };
    if most <= limit.number {
        return format!("together {most} of {}: it fits", limit.number);
    }
    let remedy = match budget.web_processes_that_fit() {
        Some(0) => "fewer dynos (`runbook run scale-down`) or a larger plan".to_owned(),
        Some(processes) => format!("`heroku config:set WEB_CONCURRENCY={processes}` would fit"),
        None => "fewer processes, fewer dynos or a larger plan".to_owned(),
    };
    format!("together {most} of {}: PASSES the limit when every process is busy; {remedy}", limit.number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{How, Share};

    fn budget(processes: Option<u64>, links: u64, limit: Option<u64>) -> Budget {
        let told = |number| Reckoned::new(number, How::Told, "as it is set");
        Budget {
            shares: vec![Share { kind: "web".into(), dynos: told(2), processes: processes.map(told) }],
            links: Reckoned::new(links, How::Assumed, "one link a request"),
            limit: limit.map(told),
        }
    }

    #[test]
    fn the_sum_is_said_with_its_sources_and_what_would_fit() {
        let fits = budget_view(&budget(Some(10), 1, Some(150)), 100);
        assert!(
            fits.contains("together 20 of 150: it fits") && fits.contains("up to 40 during a release"),
            "{fits}"
        );
        assert!(fits.contains("web processes 10: as it is set (told)"), "{fits}");
        let tight = budget_view(&budget(Some(40), 1, Some(150)), 100);
        assert!(tight.contains("overlap: does NOT fit"), "{tight}");
        let over = budget_view(&budget(Some(40), 3, Some(150)), 100);
        assert!(over.contains("PASSES the limit") && over.contains("WEB_CONCURRENCY=25"), "{over}");
        let unknown = budget_view(&budget(None, 1, None), 60);
        assert!(unknown.contains("processes of web are not") && unknown.contains("--limit 150"), "{unknown}");
        assert!(unknown.lines().all(|line| line.chars().count() <= 80), "{unknown}");
    }
}
