//! The durable record of runs: one folder a run, append-only JSON lines, an intention on disk before its change.
//!
//! It must never be rewritten, and nothing secret can be in it: secrets have no serialisation.

mod bundle;
mod chain;
mod entry;
mod evidence;
mod healthy;
mod lease;
mod privacy;
mod reader;
mod store;
mod writer;

pub use bundle::{
    BUNDLE_BYTES, BundleError, HandedOver, Header, Packed, Taken, handed_over, mark_handed_over, pack, take,
};
pub use chain::{FORMAT, Head};
pub use entry::{Entry, JournalError};
pub use evidence::{AfterEvidence, Evidence, Index, Part, Row, RowState, parts_of};
pub use healthy::last_healthy;
pub use lease::{Holder, Lease, LeaseError};
pub use privacy::{Privacy, privacy};
pub use reader::{Recorded, read, read_run};
pub use store::{RunSummary, Store, StoreError};
pub use writer::{Journal, Unrecorded};
