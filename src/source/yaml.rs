//! Reads YAML into a tree with places. The only file that names the YAML crate, so that it can be replaced.
//!
//! Bounded: size, depth, nodes, anchors and aliases have limits, so that a hostile file costs little.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location};

use super::tree::{Node, NodeKind, Text};
use super::{Diagnostic, Source, Span, Spanned};

/// Largest file, in bytes.
const SIZE: usize = 1 << 20;

/// Reads the one document in `source`.
///
/// # Errors
/// What is wrong with the YAML itself, with its place.
pub fn read(source: &Source) -> Result<Node, Vec<Diagnostic>> {
    let text = &*source.text;
    if text.len() > SIZE {
        let fault = Diagnostic::error(
            Span::new(0, 0),
            format!("the file has {} bytes; a runbook may have {SIZE}", text.len()),
        );
        return Err(vec![fault.help("split it: runbooks are read by people under pressure")]);
    }
    if let Some((at, control)) =
        text.char_indices().find(|(_, c)| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        let fault = Diagnostic::error(
            Span::new(at, at + control.len_utf8()),
            format!("a control character (U+{:04X}) does not belong into a runbook", u32::from(control)),
        );
        return Err(vec![fault.help("delete it; it may hide what a terminal shows")]);
    }
    let budget = serde_saphyr::budget! {
        max_nodes: 20_000,
        max_depth: 32,
        max_aliases: 64,
        max_anchors: 32,
    };
    let options = serde_saphyr::options! {
        budget: budget,
        with_snippet: false,
    };
    let located: Located =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| vec![explain(&error, text)])?;
    Ok(settle(located, text))
}

type Located = serde_saphyr::Spanned<Raw>;

#[derive(Debug)]
enum Raw {
    Nothing,
    Scalar(String),
    List(Vec<Located>),
    Map(Vec<(serde_saphyr::Spanned<String>, Located)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Raw;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any value")
            }
            fn visit_unit<E>(self) -> Result<Raw, E> {
                Ok(Raw::Nothing)
            }
            fn visit_none<E>(self) -> Result<Raw, E> {
                Ok(Raw::Nothing)
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
                Raw::deserialize(deserializer)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }
            fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }
            fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_string()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
                Ok(Raw::Scalar(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Raw::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Raw::Map(entries))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A place of the crate as a span of bytes within `text`.
fn span(location: &Location, text: &str) -> Span {
    let place = location.span();
    let index = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
    let (start, length) = match (place.byte_offset(), place.byte_len()) {
        (Some(start), Some(length)) => (index(start), usize::try_from(length).unwrap_or(0)),
        _ => (by_line(text, location.line(), location.column()), 1),
    };
    let start = floor(text, start);
    let end = floor(text, start.saturating_add(length).min(text.len()));
    let trimmed = text[start..end.max(start)].trim_end().len();
    Span::new(start, start + trimmed)
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn by_line(text: &str, line: u64, column: u64) -> usize {
    let line = usize::try_from(line.saturating_sub(1)).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let column = usize::try_from(column.saturating_sub(1)).unwrap_or(0);
    start + text[start..].chars().take(column).map(char::len_utf8).sum::<usize>()
}

fn settle(located: Located, text: &str) -> Node {
    let span_used = span(&located.referenced, text);
    let span_defined = span(&located.defined, text);
    let kind = match located.value {
        Raw::Nothing => NodeKind::Nothing,
        Raw::Scalar(value) => NodeKind::Text(scalar(value, span_defined, text)),
        Raw::List(items) => NodeKind::List(items.into_iter().map(|item| settle(item, text)).collect()),
        Raw::Map(entries) => NodeKind::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    (Spanned::new(key.value, span(&key.referenced, text)), settle(value, text))
                })
                .collect(),
        ),
    };
    Node { kind, span: span_used }
}

/// A scalar as it was written: `1.10` stays `1.10`, and a plain or simply quoted one knows its place letter by letter.
fn scalar(parsed: String, place: Span, text: &str) -> Text {
    let written = &text[place.start..place.end];
    let inner = match written.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            written.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)).map(|rest| (rest, 1))
        }
        Some('|' | '>' | '&' | '*' | '!') | None => None,
        Some(_) if written.contains('\n') => None,
        Some(_) => return Text { value: written.to_owned(), verbatim_from: Some(place.start) },
    };
    match inner {
        Some((rest, offset)) if rest == parsed => {
            Text { value: parsed, verbatim_from: Some(place.start + offset) }
        }
        _ => Text { value: parsed, verbatim_from: None },
    }
}

/// The crate's error in our words.
fn explain(error: &Error, text: &str) -> Diagnostic {
    let error = error.without_snippet();
    let place = error.location().map_or(Span::new(0, 0), |location| span(&location, text));
    match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = super::escape_controls(key.as_deref().unwrap_or("this key"));
            let mut fault = Diagnostic::error(place, format!("`{key}` stands twice in the same map"));
            if let Some(first) = first_key(&key, place, text) {
                fault = fault.also(first, "first here");
            }
            fault.help("keep one of the two")
        }
        Error::Budget { .. } => {
            Diagnostic::error(place, "the file is too large or too deeply nested to be a runbook")
                .help("at most 20 000 nodes, 32 levels, 64 aliases")
        }
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            Diagnostic::error(place, "aliases unfold to more than a runbook can be")
                .help("write the values out")
        }
        Error::UnknownAnchor { .. } => Diagnostic::error(place, "this alias names no anchor"),
        Error::MultipleDocuments { .. } => {
            Diagnostic::error(place, "a file holds one runbook; this has a second document")
        }
        Error::Eof { .. } => Diagnostic::error(Span::new(0, text.len().min(1)), "the file is empty")
            .help("`runbook new NAME` writes one to start from"),
        other => {
            let told = other.to_string();
            let told = super::escape_controls(told.lines().next().unwrap_or_default());
            let fault = Diagnostic::error(place, format!("this is not YAML: {told}"));
            if text.lines().any(|line| line.starts_with('\t')) {
                fault.help("indent with spaces: YAML takes no tabs")
            } else {
                fault.help("look at the indentation and the quotes around here")
            }
        }
    }
}

/// The earlier place of a doubled key: the nearest line before with the same indentation.
fn first_key(key: &str, second: Span, text: &str) -> Option<Span> {
    let line_start = text[..second.start].rfind('\n').map_or(0, |at| at + 1);
    let indent = second.start - line_start;
    let mut at = 0;
    let mut found = None;
    for line in text[..line_start].split_inclusive('\n') {
        let bare = line.trim_start_matches([' ', '-']);
        let column = line.len() - bare.len();
        if column == indent && bare.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')) {
            found = Some(Span::new(at + column, at + column + key.len()));
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        read(&Source::new("t", text)).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    #[test]
    fn scalars_keep_their_writing_and_place() {
        let text = "a: 1.10\nb: 'x y'\nc:\n  - usage < 40%\n  - \"quo\\\"ted\"\nd:\n";
        let tree = node(text);
        let map = tree.map("a map").unwrap();
        let a = map.get("a").unwrap().text("").unwrap();
        assert_eq!((a.value.as_str(), &text[a.span.start..a.span.end]), ("1.10", "1.10"));
        let b = map.get("b").unwrap().text("").unwrap();
        assert_eq!((b.value.as_str(), &text[b.span.start..b.span.end]), ("x y", "x y"));
        let c = map.get("c").unwrap().list("").unwrap();
        let first = c[0].text("").unwrap();
        assert_eq!(&text[first.span.start..first.span.end], "usage < 40%");
        assert_eq!(c[1].text("").unwrap().value, "quo\"ted");
        assert_eq!(map.get("d").unwrap().kind, NodeKind::Nothing);
    }

    #[test]
    fn block_texts_are_read_whole() {
        let tree = node("a: |\n  one\n  two\n");
        assert_eq!(tree.map("").unwrap().get("a").unwrap().text("").unwrap().value, "one\ntwo\n");
    }

    fn fault(text: &str) -> Diagnostic {
        read(&Source::new("t", text)).expect_err("a fault").remove(0)
    }

    #[test]
    fn faults_say_what_and_where() {
        let doubled = fault("a: 1\nb: 2\na: 3\n");
        assert!(doubled.message.contains("`a` stands twice"), "{doubled:?}");
        assert_eq!(doubled.also.len(), 1);
        assert!(fault("a: [1, 2\n").message.contains("not YAML"));
        assert!(fault("a: *nobody\n").message.contains("anchor"), "{:?}", fault("a: *nobody\n"));
        assert!(fault("a: \u{1b}[31m\n").message.contains("control character"));
        assert!(fault(&format!("a: {}", "x".repeat(SIZE))).message.contains("bytes"));
    }

    #[test]
    fn a_bomb_costs_little() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = level - 1;
            let uses = vec![format!("*a{before}"); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
        }
        assert!(read(&Source::new("bomb", text)).is_err());
        assert!(read(&Source::new("deep", "[".repeat(5000))).is_err());
    }
}
