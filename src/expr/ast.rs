//! The tree of a condition.

use crate::health::Value;
use crate::source::Span;

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
    NotEqual,
}

impl Operator {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Below => "<",
            Self::AtMost => "<=",
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::NotEqual => "!=",
        }
    }

    /// Only equality makes sense for texts and truths.
    pub(super) const fn orders(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Name(String, Span),
    Literal(Value, Span),
}

impl Operand {
    pub(super) const fn span(&self) -> Span {
        match self {
            Self::Name(_, span) | Self::Literal(_, span) => *span,
        }
    }
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>, Span),
    Compare(Operand, Operator, Operand),
    /// A truth by itself: `live`, `healthy`, `true`.
    Alone(Operand),
}
