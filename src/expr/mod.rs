//! The condition language of gates and `when`, and `${{ }}` templates: lex, parse, check, evaluate. Pure.
//!
//! Three values: a metric that was not measured makes a comparison unknown, and unknown never passes. It must never
//! coerce one unit into another, nor reach for anything outside its [`Env`].

mod ast;
mod condition;
mod lexer;
mod parser;
mod prospect;
mod template;
#[cfg(test)]
mod tests;
pub mod units;

pub use condition::{Clause, Env, Evaluation, Expr, Scope, Truth};
pub use prospect::{Prospect, Side};
pub use template::Template;
