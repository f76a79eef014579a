//! Whether a condition can still come to hold, as far as each of its comparisons is told to be out of reach. Pure, and
//! it must never rule out what merely does not hold now.

use super::ast::{Node, Operand, Operator};
use super::condition::{Env, Expr, UNFOLD};
use crate::health::Value;

/// On which side of a bound a value would have to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Below it.
    Below,
    /// Above it.
    Above,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Below => Self::Above,
            Self::Above => Self::Below,
        }
    }
}

/// Says what is out of reach.
pub trait Prospect {
    /// Why the value called `name` will not be on this side of `bound`; `None` = it may be.
    fn out_of_reach(&self, name: &str, side: Side, bound: &Value) -> Option<String>;
}

impl Expr {
    /// Why this will not come to hold; `None` = it may. A conjunction is out of reach with one of its parts, an
    /// alternative only with all of them.
    pub fn out_of_reach(&self, env: &dyn Env, prospect: &dyn Prospect) -> Option<String> {
        look(&self.node, true, env, prospect, 0)
    }
}

fn look(node: &Node, wanted: bool, env: &dyn Env, prospect: &dyn Prospect, depth: usize) -> Option<String> {
    let all = |left: &Node, right: &Node| {
        look(left, wanted, env, prospect, depth).or_else(|| look(right, wanted, env, prospect, depth))
    };
    let any = |left: &Node, right: &Node| {
        let left = look(left, wanted, env, prospect, depth)?;
        let right = look(right, wanted, env, prospect, depth)?;
        Some(if left == right { left } else { format!("{left}; {right}") })
    };
    match node {
        Node::And(left, right) if wanted => all(left, right),
        Node::And(left, right) => any(left, right),
        Node::Or(left, right) if wanted => any(left, right),
        Node::Or(left, right) => all(left, right),
        Node::Not(inner, _) => look(inner, !wanted, env, prospect, depth),
        Node::Alone(Operand::Name(name, _)) if depth < UNFOLD => {
            look(&env.condition(name)?.node, wanted, env, prospect, depth + 1)
        }
        Node::Alone(_) => None,
        Node::Compare(left, operator, right) => {
            let side = match operator {
                Operator::Below | Operator::AtMost => Side::Below,
                Operator::Above | Operator::AtLeast => Side::Above,
                Operator::Equal | Operator::NotEqual => return None,
            };
            let side = if wanted { side } else { side.other() };
            match (left, right) {
                (Operand::Name(name, _), bound) => prospect.out_of_reach(name, side, &fixed(bound, env)?),
                (bound, Operand::Name(name, _)) => {
                    prospect.out_of_reach(name, side.other(), &fixed(bound, env)?)
                }
                _ => None,
            }
        }
    }
}

/// What does not change while it is waited: a literal, or what an earlier step found.
fn fixed(operand: &Operand, env: &dyn Env) -> Option<Value> {
    match operand {
        Operand::Literal(value, _) => Some(value.clone()),
        Operand::Name(name, _) if name.starts_with("steps.") => env.value(name),
        Operand::Name(..) => None,
    }
}
