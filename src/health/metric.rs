//! The metrics a condition may name.

use serde::{Deserialize, Serialize};

use super::Unit;

/// One metric. Each is unknown in a sample that did not measure it, and unknown never passes a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of the connection limit in use: the larger of server-wide and account-wide.
    Usage,
    /// Connections in use, on whichever of server or account is tighter.
    Used,
    /// The limit that `used` counts against, read from the server.
    Limit,
    /// Sessions that execute a statement, the sampler excluded.
    Running,
    /// Sessions that sleep, of any age.
    Sleeping,
    /// Sessions that have slept at least 60 s.
    Idle,
    /// Age of the oldest sleeper.
    OldestIdle,
    /// Logins refused for want of a slot in the interval, our own attempts excluded.
    Refused,
    /// Slope of `used` over the window (Theil–Sen), zero unless beyond the noise.
    Growth,
    /// (limit − used) ÷ growth; for ever when growth is not positive.
    TimeToFull,
    /// Dynos of the formation that are up.
    #[serde(rename = "dynos.up")]
    DynosUp,
    /// Dynos that the formation asks for.
    #[serde(rename = "dynos.wanted")]
    DynosWanted,
    /// Dynos of the formation that are crashed.
    #[serde(rename = "dynos.crashed")]
    DynosCrashed,
    /// Share of page probes in the window that were answered below 500.
    #[serde(rename = "pages.ok")]
    PagesOk,
    /// 95th percentile of the latency of page probes in the window.
    #[serde(rename = "pages.p95")]
    PagesP95,
    /// Lines of the app's log in the window that show an exhausted database.
    #[serde(rename = "logs.errors")]
    LogsErrors,
    /// Jobs that wait in `MediaWiki`'s queue.
    #[serde(rename = "jobs.queued")]
    JobsQueued,
    /// Every wanted dyno up, none crashed and, where pages are measured, `pages.ok` at least 95 %.
    Live,
}

impl Metric {
    /// Every metric, in the order in which they are shown.
    pub const ALL: [Self; 18] = [
        Self::Usage,
        Self::Used,
        Self::Limit,
        Self::Running,
        Self::Sleeping,
        Self::Idle,
        Self::OldestIdle,
        Self::Refused,
        Self::Growth,
        Self::TimeToFull,
        Self::DynosUp,
        Self::DynosWanted,
        Self::DynosCrashed,
        Self::PagesOk,
        Self::PagesP95,
        Self::LogsErrors,
        Self::JobsQueued,
        Self::Live,
    ];

    /// The metric that conditions call `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Its name in conditions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Used => "used",
            Self::Limit => "limit",
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Idle => "idle",
            Self::OldestIdle => "oldest_idle",
            Self::Refused => "refused",
            Self::Growth => "growth",
            Self::TimeToFull => "time_to_full",
            Self::DynosUp => "dynos.up",
            Self::DynosWanted => "dynos.wanted",
            Self::DynosCrashed => "dynos.crashed",
            Self::PagesOk => "pages.ok",
            Self::PagesP95 => "pages.p95",
            Self::LogsErrors => "logs.errors",
            Self::JobsQueued => "jobs.queued",
            Self::Live => "live",
        }
    }

    /// Whether only the database tells it; the others come from the platform and the site.
    pub const fn of_database(self) -> bool {
        match self {
            Self::Usage
            | Self::Used
            | Self::Limit
            | Self::Running
            | Self::Sleeping
            | Self::Idle
            | Self::OldestIdle
            | Self::Refused
            | Self::Growth
            | Self::TimeToFull
            | Self::JobsQueued => true,
            Self::DynosUp
            | Self::DynosWanted
            | Self::DynosCrashed
            | Self::PagesOk
            | Self::PagesP95
            | Self::LogsErrors
            | Self::Live => false,
        }
    }

    /// Whether it moves little by little, so that where it has been going says where it goes. The others jump: a dyno
    /// is up or not, a page is answered or not; and what is derived from a slope bends when a warm-up ends.
    pub const fn has_trend(self) -> bool {
        matches!(self, Self::Usage | Self::Used | Self::Sleeping | Self::Idle | Self::JobsQueued)
    }

    /// What it is, one line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Usage => "share of the connection limit in use; 100% when a login is refused",
            Self::Used => "connections in use, on whichever of server and account is tighter",
            Self::Limit => "the limit that `used` counts against, read from the server",
            Self::Running => "sessions that execute a statement, ours excluded",
            Self::Sleeping => "sessions that sleep, of any age",
            Self::Idle => "sessions that have slept at least 60s",
            Self::OldestIdle => "age of the oldest sleeper",
            Self::Refused => "logins refused for want of a slot since the sample before, ours excluded",
            Self::Growth => "connections a second, over the last minute; 0 unless beyond the noise",
            Self::TimeToFull => "time until the limit at this growth; no end when it does not grow",
            Self::DynosUp => "dynos of the formation that are up",
            Self::DynosWanted => "dynos that the formation asks for",
            Self::DynosCrashed => "dynos of the formation that are crashed",
            Self::PagesOk => "share of the page probes of the last 10s answered below 500",
            Self::PagesP95 => "95th percentile of their latency",
            Self::LogsErrors => {
                "lines of the app's log in the last 10s that show an exhausted database; the log is followed only where this is named, and lines that were lost make it unknown"
            }
            Self::JobsQueued => {
                "jobs waiting in MediaWiki's `job` tables, counted up to 100000; asked only where this is named"
            }
            Self::Live => {
                "every wanted dyno up, none crashed and, where pages are measured, `pages.ok` at least 95%"
            }
        }
    }

    /// The unit it is measured in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Usage | Self::PagesOk => Unit::Ratio,
            Self::OldestIdle | Self::TimeToFull | Self::PagesP95 => Unit::Duration,
            Self::Growth => Unit::Rate,
            Self::Live => Unit::Truth,
            _ => Unit::Count,
        }
    }
}
