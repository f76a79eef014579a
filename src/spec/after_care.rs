//! What a run keeps watching for after its steps, as its file says it.

use std::time::Duration;

use super::step::{LADDER, LadderSpec};
use crate::action::{Kind, Param, Reading, Shape, optional, required};
use crate::source::{Diagnostic, Node, Span, Spanned};

/// After-care as written.
#[derive(Debug)]
pub struct AfterCareSpec {
    /// How long it is watched.
    pub watch: Param<Duration>,
    /// What must stay so.
    pub healthy: Option<Spanned<String>>,
    /// How long it must be false before anything is done.
    pub unhealthy_for: Option<Param<Duration>>,
    /// The step whose ladder is climbed again.
    pub again: Option<Spanned<String>>,
    /// A ladder of its own.
    pub ladder: Option<LadderSpec>,
    /// Where it stands.
    pub at: Span,
}

/// Its shape.
pub(super) const AFTER_CARE: Shape = Shape {
    name: "after_care",
    fields: &[
        required(
            "for",
            Kind::Duration,
            "How long health is watched after the last step, and anew after each rung that healed; `0s` = not at all.",
        ),
        optional("healthy", Kind::Condition, "What must stay so. Default: `healthy`."),
        optional(
            "unhealthy_for",
            Kind::Duration,
            "How long it must be false, in three samples at least, before anything is done. Default: 10s.",
        ),
        optional(
            "again",
            Kind::Text,
            "The step whose ladder is climbed again, from the rung after the one that had healed.",
        ),
        optional("ladder", Kind::Map(&LADDER), "Or a ladder of its own, from its first rung."),
    ],
    short: None,
    empty: false,
    open: false,
};

impl AfterCareSpec {
    pub(super) fn read(node: &Node, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &AFTER_CARE, node.span, faults)?;
        let watch = reading.param("for");
        let healthy = reading.text("healthy");
        let unhealthy_for = reading.param("unhealthy_for");
        let again = reading.text("again");
        let ladder = reading.node("ladder");
        if let (Some(again), Some(_)) = (&again, ladder) {
            let fault = Diagnostic::error(again.span, "it climbs one ladder: a step's again, or its own");
            faults.push(fault.help("leave `again` or `ladder` out"));
        }
        let ladder = ladder.and_then(|node| LadderSpec::read(node, node.span, faults));
        Some(Self { watch: watch?, healthy, unhealthy_for, again, ladder, at: node.span })
    }
}
