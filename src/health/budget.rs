//! How many connections an app may hold: dynos × processes × links a request, each figure with where it comes from.
//!
//! Pure arithmetic. It must never present an estimate as a fact, or an unknown as nought.

use serde::{Deserialize, Serialize};

/// How a figure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Set, or told by who decides it.
    Told,
    /// Measured in this incident.
    Measured,
    /// Reckoned by the rule of who decides it.
    Estimated,
    /// Taken for want of better.
    Assumed,
}

impl How {
    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Measured => "measured",
            Self::Estimated => "estimated",
            Self::Assumed => "assumed",
        }
    }
}

/// A figure and its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reckoned {
    /// The figure.
    pub number: u64,
    /// How it is known.
    pub how: How,
    /// Where it comes from, for people.
    pub basis: String,
}

impl Reckoned {
    /// A figure with its source.
    pub fn new(number: u64, how: How, basis: impl Into<String>) -> Self {
        Self { number, how, basis: basis.into() }
    }
}

/// The part of one process type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The process type: `web`.
    pub kind: String,
    /// Its dynos.
    pub dynos: Reckoned,
    /// Processes of each that may speak to the database; `None` = not known.
    pub processes: Option<Reckoned>,
}

impl Share {
    /// Processes of all its dynos.
    pub fn total(&self) -> Option<u64> {
        Some(self.dynos.number.saturating_mul(self.processes.as_ref()?.number))
    }
}

/// What an app may hold, against what it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Process types that run, each with its part.
    pub shares: Vec<Share>,
    /// Links that a process opens for a request.
    pub links: Reckoned,
    /// Connections that the database grants; `None` = not known.
    pub limit: Option<Reckoned>,
}

impl Budget {
    /// Processes of all dynos; `None` when those of one type are not known.
    pub fn processes(&self) -> Option<u64> {
        self.shares.iter().try_fold(0_u64, |sum, share| Some(sum.saturating_add(share.total()?)))
    }

    /// Connections at the most, while every process is busy.
    pub fn most(&self) -> Option<u64> {
        Some(self.processes()?.saturating_mul(self.links.number))
    }

    /// Whether that passes the limit; `None` when either is not known.
    pub fn passes_limit(&self) -> Option<bool> {
        Some(self.most()? > self.limit.as_ref()?.number)
    }

    /// Process types whose number of processes is not known.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        self.shares.iter().filter(|share| share.processes.is_none()).map(|share| share.kind.as_str())
    }

    /// The most processes a web dyno may run for all of them to fit into the limit, what other types take put aside.
    pub fn web_processes_that_fit(&self) -> Option<u64> {
        let limit = self.limit.as_ref()?.number / self.links.number.max(1);
        let web = self.shares.iter().find(|share| share.kind == "web" && share.dynos.number > 0)?;
        let others = self
            .shares
            .iter()
            .filter(|share| share.kind != "web")
            .try_fold(0_u64, |sum, share| Some(sum.saturating_add(share.total()?)))?;
        Some(limit.saturating_sub(others) / web.dynos.number)
    }
}

/// Links that a process was seen to hold: the most connections measured, over the processes that there are, and at least
/// one. Idle processes among them make it too low, never too high.
pub fn links_measured(peak_used: u64, processes: u64) -> Option<Reckoned> {
    if processes == 0 || peak_used == 0 {
        return None;
    }
    let links = peak_used.div_ceil(processes).max(1);
    let basis = format!("at most {peak_used} connections seen, over {processes} processes");
    Some(Reckoned::new(links, How::Measured, basis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(kind: &str, dynos: u64, processes: Option<u64>) -> Share {
        let told = |number| Reckoned::new(number, How::Told, "");
        Share { kind: kind.to_owned(), dynos: told(dynos), processes: processes.map(told) }
    }

    fn budget(shares: Vec<Share>, links: u64) -> Budget {
        let limit = Some(Reckoned::new(150, How::Told, ""));
        Budget { shares, links: Reckoned::new(links, How::Assumed, ""), limit }
    }

    #[test]
    fn every_type_counts_and_an_unknown_is_no_nought() {
        let whole = budget(vec![share("web", 2, Some(10)), share("worker", 3, Some(1))], 2);
        assert_eq!(
            (whole.processes(), whole.most(), whole.passes_limit()),
            (Some(23), Some(46), Some(false))
        );
        assert_eq!(whole.web_processes_that_fit(), Some(36));
        let part = budget(vec![share("web", 2, Some(10)), share("worker", 3, None)], 2);
        assert_eq!((part.most(), part.passes_limit(), part.web_processes_that_fit()), (None, None, None));
        assert_eq!(part.unknown().collect::<Vec<_>>(), ["worker"]);
        assert_eq!(budget(vec![share("web", 8, Some(10))], 2).passes_limit(), Some(true));
    }

    #[test]
    fn links_are_never_less_than_one() {
        assert_eq!(links_measured(150, 20).unwrap().number, 8);
        assert_eq!(links_measured(3, 20).unwrap().number, 1);
        assert_eq!((links_measured(0, 20), links_measured(5, 0)), (None, None));
    }
}
