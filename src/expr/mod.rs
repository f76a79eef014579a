//! Stub of the condition language (to be replaced whole by the real one at merge).
#![allow(missing_docs)]

use serde::{Deserialize, Serialize};

use crate::health::{Unit, Value};
use crate::source::Diagnostic;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truth {
    True,
    False,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clause {
    pub text: String,
    pub reads: String,
    pub truth: Truth,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluation {
    pub truth: Truth,
    pub clauses: Vec<Clause>,
}

pub trait Scope {
    fn unit_of(&self, path: &str) -> Option<Unit>;
    fn names(&self) -> Vec<String>;
}

pub trait Env {
    fn value(&self, path: &str) -> Option<Value>;
    fn condition(&self, path: &str) -> Option<&Expr>;
}

#[derive(Debug, Clone, PartialEq)]
pub struct Expr(String);

impl Expr {
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Ok(Self(text.to_owned()))
    }
    pub fn check(&self, _scope: &dyn Scope) -> Vec<Diagnostic> {
        Vec::new()
    }
    pub fn evaluate(&self, _env: &dyn Env) -> Evaluation {
        Evaluation { truth: Truth::Unknown, clauses: Vec::new() }
    }
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
