//! A structured text as a tree, every node with its place: what the readers of runbooks walk.

use super::{Diagnostic, Span, Spanned, did_you_mean};

/// A node and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Where it stands. For an alias, where it is used.
    pub span: Span,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeKind {
    /// Nothing, `null` or `~`.
    Nothing,
    /// A text as written, numbers included.
    Text(Text),
    /// A list.
    List(Vec<Node>),
    /// A map; keys are unique.
    Map(Vec<(Spanned<String>, Node)>),
}

/// A scalar's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// Its value, quotes and escapes resolved.
    pub value: String,
    /// The value stands in the source letter by letter from here, so that places inside it can be shown.
    pub verbatim_from: Option<usize>,
}

impl Node {
    /// What a person would call it.
    pub const fn describe(&self) -> &'static str {
        match self.kind {
            NodeKind::Nothing => "nothing",
            NodeKind::Text(_) => "a single value",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }

    /// The scalar's text, or a fault that says what was expected.
    ///
    /// # Errors
    /// When the node is no scalar.
    pub fn text(&self, expected: &str) -> Result<Spanned<String>, Diagnostic> {
        match &self.kind {
            NodeKind::Text(text) => Ok(Spanned::new(text.value.clone(), self.inner_span())),
            _ => Err(self.mismatch(expected)),
        }
    }

    /// The place of the value itself, inside its quotes.
    pub fn inner_span(&self) -> Span {
        match &self.kind {
            NodeKind::Text(Text { value, verbatim_from: Some(from) }) => Span::new(*from, from + value.len()),
            _ => self.span,
        }
    }

    /// The list's items, or a fault.
    ///
    /// # Errors
    /// When the node is no list.
    pub fn list(&self, expected: &str) -> Result<&[Self], Diagnostic> {
        match &self.kind {
            NodeKind::List(items) => Ok(items),
            _ => Err(self.mismatch(expected)),
        }
    }

    /// The map, or a fault.
    ///
    /// # Errors
    /// When the node is no map.
    pub fn map(&self, expected: &str) -> Result<Map<'_>, Diagnostic> {
        match &self.kind {
            NodeKind::Map(entries) => Ok(Map { entries, span: self.span }),
            _ => Err(self.mismatch(expected)),
        }
    }

    /// "expected X, found Y".
    pub fn mismatch(&self, expected: &str) -> Diagnostic {
        Diagnostic::error(self.span, format!("{expected} is expected here, not {}", self.describe()))
    }
}

/// A map being read.
#[derive(Debug, Clone, Copy)]
pub struct Map<'n> {
    entries: &'n [(Spanned<String>, Node)],
    /// The map's place.
    pub span: Span,
}

impl<'n> Map<'n> {
    /// Its entries.
    pub const fn entries(&self) -> &'n [(Spanned<String>, Node)] {
        self.entries
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(name, _)| name.value == key).map(|(_, node)| node)
    }

    /// The place of the first key: where a fault of the whole map is shown.
    pub fn head(&self) -> Span {
        self.entries.first().map_or(self.span, |(key, _)| key.span)
    }

    /// Reports every key that is not one of `known`.
    pub fn refuse_others(&self, known: &[&str], what: &str, faults: &mut Vec<Diagnostic>) {
        for (key, _) in self.entries {
            if !known.contains(&key.value.as_str()) {
                faults.push(unknown(key, known, what));
            }
        }
    }
}

/// An unknown word, with a suggestion or the list of known ones.
pub fn unknown(word: &Spanned<String>, known: &[&str], what: &str) -> Diagnostic {
    let fault = Diagnostic::error(word.span, format!("unknown {what} `{}`", super::escape_controls(word)));
    match did_you_mean(word, known.iter().copied()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None if known.is_empty() => fault.help("none is taken here"),
        None => fault.help(format!("known: {}", known.join(", "))),
    }
}
