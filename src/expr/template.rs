//! Texts with `${{ NAME }}` in them: names only, no filters, checked before the run.

use super::condition::{Env, Scope, unknown_name};
use crate::source::{Diagnostic, Span};

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Name(String, Span),
}

/// A text with names in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// Reads a text; `$${{` stands for a literal `${{`.
    ///
    /// # Errors
    /// A template that is not closed, or holds no name. Places are relative to `text`.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut parts = Vec::new();
        let mut faults = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find("${{") {
            let start = at + found;
            if text[..start].ends_with('$') {
                plain.push_str(&text[at..start - 1]);
                plain.push_str("${{");
                at = start + 3;
                continue;
            }
            plain.push_str(&text[at..start]);
            let Some(length) = text[start..].find("}}") else {
                let fault = Diagnostic::error(Span::new(start, text.len()), "a template is not closed");
                return Err(vec![fault.help("write `}}` after it, or `$${{` for the signs themselves")]);
            };
            let span = Span::new(start, start + length + 2);
            let name = text[start + 3..start + length].trim();
            let good = !name.is_empty()
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
            if good {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Name(name.to_owned(), span));
            } else {
                faults.push(
                    Diagnostic::error(span, "a template holds one name and nothing else")
                        .help("write it as `${{ inputs.NAME }}` or `${{ steps.ID.OUTPUT }}`"),
                );
            }
            at = span.end;
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        if faults.is_empty() { Ok(Self { parts }) } else { Err(faults) }
    }

    /// Checks its names; every fault at once.
    pub fn check(&self, scope: &dyn Scope) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        for part in &self.parts {
            if let Part::Name(name, span) = part
                && scope.unit_of(name).is_none()
            {
                faults.push(unknown_name(name, *span, scope));
            }
        }
        faults
    }

    /// Its names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name, _) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with every name replaced; one that is not known reads `unknown`.
    pub fn fill(&self, env: &dyn Env) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Name(name, _) => {
                    env.value(name).map_or_else(|| "unknown".to_owned(), |value| value.to_string())
                }
            })
            .collect()
    }
}
