//! What is wrong with the connections, why it is thought so, what changed, and what to do: for the step `diagnose` and
//! the command of that name.
//!
//! `gather` asks, everything else is pure: figures in, conclusions out.

mod advice;
mod changed;
mod confidence;
mod gather;
mod holders;
mod judge;
mod report;
mod traffic;
mod verdict;
mod words;

pub use advice::NAMED;
pub(crate) use gather::{Asked, gather};
pub(crate) use judge::{Growth, is_enough};
pub(crate) use report::Report;
