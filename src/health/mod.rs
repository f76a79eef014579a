//! Health as data: metrics and their units, samples, readings.
//!
//! Pure and known to all. It must never measure anything itself.

mod budget;
mod curve;
mod latency;
mod log_sign;
mod metric;
mod moment;
mod sample;
mod series;
mod slope;
mod symptom;
mod value;

pub use budget::{Budget, How, Reckoned, Share, links_measured};
pub use curve::{Curve, Stretch};
pub use latency::{Pace, compare, percentile};
pub use log_sign::{LogSigns, code_meaning};
pub use metric::Metric;
pub use moment::Moment;
pub use sample::{
    DatabaseFault, DatabaseFaultKind, DatabaseReading, DatabaseSample, DynoReading, LogReading, PageReading,
    Reading, Sample, TransactionReading,
};
pub use series::{Measured, Series, refusals_count, refused_between, tighter};
pub use slope::slope;
pub use symptom::Exhaustion;
pub use value::{Unit, Value, show_seconds};
