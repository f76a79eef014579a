//! Health as data: metrics and their units, samples, readings, what each refusal means.
//!
//! Pure and known to all. It must never measure anything itself.

mod metric;
mod moment;
mod refusal;
mod sample;
mod series;
mod value;

pub use metric::Metric;
pub use moment::Moment;
pub use refusal::{Refusal, classify};
pub use sample::{
    DatabaseFault, DatabaseFaultKind, DatabaseReading, DatabaseSample, DynoReading, PageReading, Reading,
    Sample, TransactionReading,
};
pub use series::{Measured, Series};
pub use value::{Unit, Value, show_seconds};
