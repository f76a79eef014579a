//! What a runbook's file says: exactly that, with places; nothing is bound or resolved here.
//!
//! It must never read a file, nor know any target.

mod after_care;
mod include;
mod notify;
mod runbook;
mod schema;
mod step;

pub use crate::action::{InputKind, InputSpec};
pub use after_care::AfterCareSpec;
pub use include::included_names;
pub(crate) use include::read_within;
pub use notify::{Occasion, SinkKind, SinkSpec, is_address};
pub(crate) use runbook::read_leniently;
pub use runbook::{Runbook, read};
pub use schema::{format_page, json_schema};
pub use step::{
    AfterText, BodySpec, GateSpec, GateText, IF_UNKNOWN, IncludeSpec, LadderSpec, ON_FAILURE, RetrySpec,
    StepSpec, VerbSpec,
};
