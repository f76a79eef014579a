//! A condition: parsed, checked against what may be named, evaluated to true, false or unknown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ast::{Node, Operand, Operator};
use super::parser::parse;
use super::units::{write_duration, write_ratio};
use crate::health::{Unit, Value};
use crate::source::{Diagnostic, Span, did_you_mean};

/// Three values: unknown never passes a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Something it names was not measured.
    Unknown,
}

impl Truth {
    const fn of(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }

    const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    const fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::False, Self::False) => Self::False,
            _ => Self::Unknown,
        }
    }

    const fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }
}

/// One comparison of a condition, and what was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    /// As written: `usage < 40%`.
    pub text: String,
    /// What the names read: `usage 97%`, `usage unknown`.
    pub reads: String,
    /// Its own truth.
    pub truth: Truth,
}

/// A condition's truth, clause by clause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Of the whole.
    pub truth: Truth,
    /// Of each comparison, in the order written; named conditions are unfolded.
    pub clauses: Vec<Clause>,
}

/// What a condition may name.
pub trait Scope {
    /// The unit behind a name; `None` = there is no such name.
    fn unit_of(&self, path: &str) -> Option<Unit>;
    /// Every name, for suggestions.
    fn names(&self) -> Vec<String>;
    /// What to say about a name that is not there, when more is known than that.
    fn hint(&self, path: &str) -> Option<String> {
        let _ = path;
        None
    }
}

/// What the names hold now.
pub trait Env {
    /// A value; `None` = not measured.
    fn value(&self, path: &str) -> Option<Value>;
    /// A named condition such as `healthy`, which is unfolded.
    fn condition(&self, path: &str) -> Option<&Expr>;
    /// What a name is made of, shown beside it when it does not hold: `live` alone does not say why.
    fn parts(&self, path: &str) -> &'static [&'static str] {
        let _ = path;
        &[]
    }
}

/// How deep named conditions may refer to each other.
pub(super) const UNFOLD: usize = 8;

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    text: String,
    pub(super) node: Node,
}

impl Expr {
    /// Reads a condition. Places in the diagnostics are relative to `text`.
    ///
    /// # Errors
    /// What is wrong with it; words that have no meaning are reported together.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Ok(Self { node: parse(text)?, text: text.trim_end().to_owned() })
    }

    /// The same with every name that `known` gives a value for replaced by that value: inputs are fixed before a run,
    /// and a person reads `usage < 40%` more easily than a template.
    #[must_use]
    pub fn bound(&self, known: &dyn Env) -> Self {
        let mut places = Vec::new();
        let node = bind(&self.node, known, &mut places);
        let mut text = self.text.clone();
        places.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        for (span, value) in places {
            if text.get(span.start..span.end).is_some() {
                text.replace_range(span.start..span.end, &value);
            }
        }
        Self { text, node }
    }

    /// A condition that never holds.
    pub fn never() -> Self {
        let node = Node::Alone(Operand::Literal(Value::Truth(false), Span::default()));
        Self { text: "false".to_owned(), node }
    }

    /// Both this and the other.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::of(Node::And(Box::new(self.node.clone()), Box::new(other.node.clone())))
    }

    fn of(node: Node) -> Self {
        Self { text: print(&node), node }
    }

    /// The same without the comparisons that name something of `dropped`; `None` when nothing is left.
    pub fn without(&self, dropped: &dyn Fn(&str) -> bool) -> Option<Self> {
        if !self.names().into_iter().any(dropped) {
            return Some(self.clone());
        }
        without(&self.node, dropped).map(Self::of)
    }

    /// Whether it cannot hold unless the truth called `name` does.
    pub fn demands(&self, name: &str) -> bool {
        demands(&self.node, name)
    }

    /// Checks names and units; every fault at once.
    pub fn check(&self, scope: &dyn Scope) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        check(&self.node, scope, &mut faults);
        faults
    }

    /// The names it reads, each once, in order.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.node, &mut names);
        names
    }

    /// Its truth now.
    pub fn evaluate(&self, env: &dyn Env) -> Evaluation {
        let mut clauses = Vec::new();
        let truth = evaluate(&self.node, env, &mut clauses, 0);
        Evaluation { truth, clauses }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.trim())
    }
}

const fn words(unit: Unit) -> &'static str {
    match unit {
        Unit::Ratio => "a ratio",
        Unit::Count => "a count",
        Unit::Duration => "a duration",
        Unit::Rate => "a rate",
        Unit::Truth => "true or false",
        Unit::Text => "a text",
    }
}

fn unit_of(operand: &Operand, scope: &dyn Scope, faults: &mut Vec<Diagnostic>) -> Option<Unit> {
    match operand {
        Operand::Literal(value, _) => Some(value.unit()),
        Operand::Name(name, span) => {
            let unit = scope.unit_of(name);
            if unit.is_none() {
                faults.push(unknown_name(name, *span, scope));
            }
            unit
        }
    }
}

/// The fault of a name that is not there, with a suggestion.
pub(super) fn unknown_name(name: &str, span: Span, scope: &dyn Scope) -> Diagnostic {
    let names = scope.names();
    let fault = Diagnostic::error(span, format!("there is no `{name}`"));
    if let Some(hint) = scope.hint(name) {
        return fault.label("unknown name").help(hint);
    }
    let fault = fault.label("unknown name");
    if let Some(near) = did_you_mean(name, names.iter().map(String::as_str)) {
        return fault.help(format!("did you mean `{near}`?"));
    }
    let short: Vec<_> = names.iter().map(String::as_str).filter(|name| !name.starts_with("steps.")).collect();
    fault.help(format!("known names: {}", short.join(", ")))
}

fn check(node: &Node, scope: &dyn Scope, faults: &mut Vec<Diagnostic>) {
    match node {
        Node::And(left, right) | Node::Or(left, right) => {
            check(left, scope, faults);
            check(right, scope, faults);
        }
        Node::Not(inner, _) => check(inner, scope, faults),
        Node::Alone(operand) => {
            if let Some(unit) = unit_of(operand, scope, faults)
                && unit != Unit::Truth
            {
                let fault =
                    Diagnostic::error(operand.span(), format!("this is {}, not true or false", words(unit)));
                faults.push(fault.help("compare it with something, such as `usage < 40%`"));
            }
        }
        Node::Compare(left, operator, right) => {
            let left_unit = unit_of(left, scope, faults);
            let right_unit = unit_of(right, scope, faults);
            let whole = Span::new(left.span().start, right.span().end);
            let (Some(a), Some(b)) = (left_unit, right_unit) else { return };
            if !comparable(left, a, right, b) {
                let mut fault =
                    Diagnostic::error(whole, format!("{} is compared with {}", words(a), words(b)))
                        .label("unlike units");
                if let Some(help) = remedy(left, a, right, b) {
                    fault = fault.help(help);
                }
                faults.push(fault);
            } else if operator.orders() && matches!(a, Unit::Truth | Unit::Text) {
                let sign = operator.sign();
                faults.push(
                    Diagnostic::error(
                        whole,
                        format!("`{sign}` orders nothing here: {} has no order", words(a)),
                    )
                    .help("use `==` or `!=`"),
                );
            }
        }
    }
}

/// Like with like; a rate may be compared with a bare number, since it has no literal of its own.
fn comparable(left: &Operand, a: Unit, right: &Operand, b: Unit) -> bool {
    let bare = |operand: &Operand| matches!(operand, Operand::Literal(Value::Count(_), _));
    a == b || (a == Unit::Rate && bare(right)) || (b == Unit::Rate && bare(left))
}

fn remedy(left: &Operand, a: Unit, right: &Operand, b: Unit) -> Option<String> {
    let (unit, number) = match (left, right) {
        (Operand::Literal(Value::Count(number), _), _) => (b, *number),
        (_, Operand::Literal(Value::Count(number), _)) => (a, *number),
        _ => return None,
    };
    match unit {
        Unit::Ratio => Some(format!("a ratio is written with a percent sign: `{number}%`")),
        Unit::Duration => Some(format!("a duration has a unit: `{number}s` or `{number}m`")),
        _ => None,
    }
}

fn collect<'n>(node: &'n Node, names: &mut Vec<&'n str>) {
    let mut add = |operand: &'n Operand| {
        if let Operand::Name(name, _) = operand
            && !names.contains(&name.as_str())
        {
            names.push(name);
        }
    };
    match node {
        Node::And(left, right) | Node::Or(left, right) => {
            collect(left, names);
            collect(right, names);
        }
        Node::Not(inner, _) => collect(inner, names),
        Node::Alone(operand) => add(operand),
        Node::Compare(left, _, right) => {
            add(left);
            add(right);
        }
    }
}

fn bind(node: &Node, known: &dyn Env, places: &mut Vec<(Span, String)>) -> Node {
    let mut operand = |operand: &Operand| match operand {
        Operand::Name(name, span) => known.value(name).map_or_else(
            || operand.clone(),
            |value| {
                places.push((*span, literal(&value)));
                Operand::Literal(value, *span)
            },
        ),
        Operand::Literal(..) => operand.clone(),
    };
    match node {
        Node::Compare(left, operator, right) => Node::Compare(operand(left), *operator, operand(right)),
        Node::Alone(alone) => Node::Alone(operand(alone)),
        Node::Not(inner, span) => Node::Not(Box::new(bind(inner, known, places)), *span),
        Node::And(left, right) => {
            let left = bind(left, known, places);
            Node::And(Box::new(left), Box::new(bind(right, known, places)))
        }
        Node::Or(left, right) => {
            let left = bind(left, known, places);
            Node::Or(Box::new(left), Box::new(bind(right, known, places)))
        }
    }
}

fn evaluate(node: &Node, env: &dyn Env, clauses: &mut Vec<Clause>, depth: usize) -> Truth {
    match node {
        Node::And(left, right) => {
            let left = evaluate(left, env, clauses, depth);
            left.and(evaluate(right, env, clauses, depth))
        }
        Node::Or(left, right) => {
            let left = evaluate(left, env, clauses, depth);
            left.or(evaluate(right, env, clauses, depth))
        }
        Node::Not(inner, _) => evaluate(inner, env, clauses, depth).not(),
        Node::Alone(operand) => {
            if let Operand::Name(name, _) = operand
                && let Some(named) = env.condition(name)
            {
                return if depth < UNFOLD {
                    evaluate(&named.node, env, clauses, depth + 1)
                } else {
                    Truth::Unknown
                };
            }
            let truth = match value(operand, env) {
                Some(Value::Truth(holds)) => Truth::of(holds),
                _ => Truth::Unknown,
            };
            clauses.push(Clause { text: written(operand), reads: reads(&[operand], env), truth });
            truth
        }
        Node::Compare(left, operator, right) => {
            let truth = match (value(left, env), value(right, env)) {
                (Some(a), Some(b)) => compare(&a, *operator, &b),
                _ => Truth::Unknown,
            };
            clauses.push(Clause {
                text: format!("{} {} {}", written(left), operator.sign(), written(right)),
                reads: reads(&[left, right], env),
                truth,
            });
            truth
        }
    }
}

fn value(operand: &Operand, env: &dyn Env) -> Option<Value> {
    match operand {
        Operand::Literal(value, _) => Some(value.clone()),
        Operand::Name(name, _) => env.value(name),
    }
}

fn written(operand: &Operand) -> String {
    match operand {
        Operand::Name(name, _) => name.clone(),
        Operand::Literal(value, _) => literal(value),
    }
}

/// A value as a condition writes it. Nothing is rounded: what is shown is what is compared.
fn literal(value: &Value) -> String {
    match value {
        Value::Ratio(ratio) => write_ratio(*ratio),
        Value::Count(number) | Value::Rate(number) => number.to_string(),
        Value::Duration(seconds) => write_duration(seconds.unwrap_or(f64::INFINITY)),
        Value::Truth(truth) => truth.to_string(),
        Value::Text(text) if text.contains('\'') => format!("\"{text}\""),
        Value::Text(text) => format!("'{text}'"),
    }
}

/// The tree as text, with no more parentheses than it needs.
fn print(node: &Node) -> String {
    // How tightly a node binds: `or`, `and`, the rest.
    const fn rank(node: &Node) -> u8 {
        match node {
            Node::Or(..) => 0,
            Node::And(..) => 1,
            _ => 2,
        }
    }
    let inside = |inner: &Node, least: u8| {
        let text = print(inner);
        if rank(inner) < least { format!("({text})") } else { text }
    };
    match node {
        Node::Or(left, right) => format!("{} or {}", inside(left, 0), inside(right, 1)),
        Node::And(left, right) => format!("{} and {}", inside(left, 1), inside(right, 2)),
        Node::Not(inner, _) => format!("not {}", inside(inner, 2)),
        Node::Alone(operand) => written(operand),
        Node::Compare(left, operator, right) => {
            format!("{} {} {}", written(left), operator.sign(), written(right))
        }
    }
}

/// The tree without the parts that name something of `dropped`: clauses of a conjunction one by one, anything else as a
/// whole, so that no alternative becomes easier than it was. `None` when nothing is left.
fn without(node: &Node, dropped: &dyn Fn(&str) -> bool) -> Option<Node> {
    let join =
        |left: Option<Node>, right: Option<Node>, both: fn(Box<Node>, Box<Node>) -> Node| match (left, right)
        {
            (Some(left), Some(right)) => Some(both(Box::new(left), Box::new(right))),
            (one, other) => one.or(other),
        };
    let whole = |node: &Node| {
        let mut names = Vec::new();
        collect(node, &mut names);
        (!names.into_iter().any(dropped)).then(|| node.clone())
    };
    match node {
        Node::And(left, right) => join(without(left, dropped), without(right, dropped), Node::And),
        Node::Or(left, right) => join(whole(left), whole(right), Node::Or),
        _ => whole(node),
    }
}

/// Whether the condition cannot hold unless the truth called `name` does.
fn demands(node: &Node, name: &str) -> bool {
    match node {
        Node::And(left, right) => demands(left, name) || demands(right, name),
        Node::Or(left, right) => demands(left, name) && demands(right, name),
        Node::Alone(Operand::Name(known, _)) => known == name,
        _ => false,
    }
}

fn reads(operands: &[&Operand], env: &dyn Env) -> String {
    let mut told = Vec::new();
    for operand in operands {
        let Operand::Name(name, _) = operand else { continue };
        let value = env.value(name);
        let parts = if value == Some(Value::Truth(true)) { &[] } else { env.parts(name) };
        told.push(value.map_or_else(|| format!("{name} unknown"), |value| format!("{name} {value}")));
        told.extend(parts.iter().filter_map(|part| env.value(part).map(|value| format!("{part} {value}"))));
    }
    told.join(", ")
}

fn compare(a: &Value, operator: Operator, b: &Value) -> Truth {
    let holds = match (a, b) {
        (Value::Text(a), Value::Text(b)) => equality(operator, a == b),
        (Value::Truth(a), Value::Truth(b)) => equality(operator, a == b),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => Some(match operator {
                Operator::Below => a < b,
                Operator::AtMost => a <= b,
                Operator::Above => a > b,
                Operator::AtLeast => a >= b,
                // Exact on purpose: counts are whole, and a ratio is hardly ever asked to be equal.
                Operator::Equal => (a - b).abs() < f64::EPSILON || a.to_bits() == b.to_bits(),
                Operator::NotEqual => (a - b).abs() >= f64::EPSILON,
            }),
            _ => None,
        },
    };
    holds.map_or(Truth::Unknown, Truth::of)
}

const fn equality(operator: Operator, equal: bool) -> Option<bool> {
    match operator {
        Operator::Equal => Some(equal),
        Operator::NotEqual => Some(!equal),
        _ => None,
    }
}

const fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Ratio(number) | Value::Count(number) | Value::Rate(number) => Some(*number),
        Value::Duration(seconds) => Some(match seconds {
            Some(seconds) => *seconds,
            None => f64::INFINITY,
        }),
        Value::Truth(_) | Value::Text(_) => None,
    }
}
