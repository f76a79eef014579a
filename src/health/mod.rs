//! Health as data: metrics and their units, samples, readings, what each refusal means.
//!
//! Pure and known to all. It must never measure anything itself.

mod metric;
mod moment;
mod sample;
mod value;

pub use metric::Metric;
pub use moment::Moment;
pub use sample::{
    DatabaseFault, DatabaseFaultKind, DatabaseReading, DatabaseSample, DynoReading, PageReading, Reading,
    Sample,
};
pub use value::{Unit, Value};
