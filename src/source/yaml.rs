//! Reads YAML into a tree with places. The only file that names the YAML crate, so that it can be replaced.
//!
//! Bounded: size, depth, nodes, anchors and aliases have limits, so that a hostile file costs little.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Location};

use super::tree::{Node, NodeKind, Text};
use super::{Diagnostic, Source, Span, Spanned};

/// Largest file, in bytes. Whoever reads files need not read more than one byte beyond it.
pub const SIZE: usize = 1 << 20;

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
    if let Some((at, hidden)) = text.char_indices().find(|(at, c)| !(*at == 0 && *c == BOM) && misleads(*c)) {
        let place = Span::new(at, at + hidden.len_utf8());
        return Err(vec![hidden_fault(place, hidden)]);
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
        strict_booleans: true,
        reject_unsupported_tags: true,
    };
    let located: Located =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| vec![explain(&error, text)])?;
    let node = settle(located, text);
    if node.kind == NodeKind::Nothing {
        return Err(vec![empty(text)]);
    }
    let mut faults = Vec::new();
    refuse_hidden(&node, &mut faults);
    if faults.is_empty() { Ok(node) } else { Err(faults) }
}

/// A byte order mark: allowed at the very beginning, where editors of one system put it.
const BOM: char = '\u{feff}';

/// A character that a terminal obeys or hides instead of showing. The two joiners are letters of some scripts.
fn misleads(c: char) -> bool {
    super::escape::hides(c) && !matches!(c, '\n' | '\r' | '\t' | '\u{200c}' | '\u{200d}')
}

fn hidden_fault(place: Span, hidden: char) -> Diagnostic {
    let code = u32::from(hidden);
    Diagnostic::error(place, format!("a hidden character (U+{code:04X}) does not belong into a runbook"))
        .help("delete it: it could make a terminal show something else than what is run")
}

/// Characters that an escape such as `\e` in double quotes has brought in.
fn refuse_hidden(node: &Node, faults: &mut Vec<Diagnostic>) {
    let mut look = |text: &str, place: Span| {
        if let Some(hidden) = text.chars().find(|c| misleads(*c)) {
            faults.push(hidden_fault(place, hidden));
        }
    };
    match &node.kind {
        NodeKind::Nothing => {}
        NodeKind::Text(text) => look(&text.value, node.span),
        NodeKind::List(items) => items.iter().for_each(|item| refuse_hidden(item, faults)),
        NodeKind::Map(entries) => {
            for (key, _) in entries {
                look(key, key.span);
            }
            for (_, value) in entries {
                refuse_hidden(value, faults);
            }
        }
    }
}

fn empty(text: &str) -> Diagnostic {
    Diagnostic::error(Span::new(0, text.chars().next().map_or(0, char::len_utf8)), "the file is empty")
        .help("`runbook new NAME` writes one to start from")
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
fn scalar(parsed: String, mut place: Span, text: &str) -> Text {
    let mut written = &text[place.start..place.end];
    // An anchor or a tag before the value is not part of it.
    while written.starts_with(['&', '!']) {
        let Some(gap) = written.find(char::is_whitespace) else { break };
        let rest = written[gap..].trim_start();
        place.start = place.end - rest.len();
        written = rest;
    }
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
    explain_at(error, place, text)
}

fn too_much(place: Span) -> Diagnostic {
    Diagnostic::error(place, "the file is too large or too deeply nested to be a runbook")
        .help("at most 20 000 nodes, 32 levels, 64 aliases")
}

fn explain_at(error: &Error, place: Span, text: &str) -> Diagnostic {
    match error.without_snippet() {
        Error::DuplicateMappingKey { key, .. } => {
            let key = super::escape_controls(key.as_deref().unwrap_or("this key"));
            let mut fault = Diagnostic::error(place, format!("`{key}` stands twice in the same map"));
            if let Some(first) = first_key(&key, place, text) {
                fault = fault.also(first, "first here");
            }
            fault.help("keep one of the two")
        }
        Error::AliasError { error, .. } => explain_at(error, place, text),
        Error::Budget { .. } => too_much(place),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            Diagnostic::error(place, "aliases unfold to more than a runbook can be")
                .help("write the values out")
        }
        Error::UnsupportedTag { .. } => {
            Diagnostic::error(place, "a tag (`!name`) has no meaning in a runbook")
                .help("delete it; inputs are written `${{ inputs.NAME }}`")
        }
        Error::UnknownAnchor { .. } => Diagnostic::error(place, "this alias names no anchor"),
        Error::MultipleDocuments { .. } => {
            Diagnostic::error(place, "a file holds one runbook; this has a second document")
        }
        Error::Eof { .. } => empty(text),
        other => {
            let told = other.to_string();
            let told = told.lines().next().unwrap_or_default();
            // The place is shown by the caret.
            let told = told.split(" at line ").next().unwrap_or_default();
            if told.contains("recursion limit") {
                return too_much(place);
            }
            let told = super::escape_controls(told);
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
        for hidden in ["a: \u{1b}[31m\n", "a: \"\\e[31m\"\n", "a: x\u{202e}y\n", "\"\\e\": 1\n", "a: \0\n"] {
            assert!(fault(hidden).message.contains("hidden character"), "{hidden:?}");
        }
        for empty in ["", "# nothing\n", "---\n", "~\n"] {
            assert!(fault(empty).message.contains("empty"), "{empty:?}");
        }
        for tag in ["a: !env X\n", "a: !x [1]\n"] {
            assert!(fault(tag).message.contains("a tag"), "{tag:?}: {:?}", fault(tag));
        }
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
        assert!(fault(&text).message.contains("too large"), "{:?}", fault(&text));
        assert!(fault(&"[".repeat(5000)).message.contains("deeply nested"));
    }

    #[test]
    fn what_editors_and_other_systems_write_is_read() {
        let tree = node("\u{feff}a: 1.10\r\nb: yes\r\n");
        let map = tree.map("a map").unwrap();
        assert_eq!(map.get("a").unwrap().text("").unwrap().value, "1.10");
        assert_eq!(map.get("b").unwrap().text("").unwrap().value, "yes");
    }

    #[test]
    fn anchors_aliases_and_merges_keep_the_writing() {
        let text = "a: &v 1.10\nb: *v\nc: &m { x: 0755 }\nd: { <<: *m, y: !!str 2.50 }\ne: &q 'no'\n";
        let tree = node(text);
        let map = tree.map("a map").unwrap();
        let value = |key: &str| map.get(key).unwrap().text("").unwrap();
        assert_eq!((value("a").value.as_str(), value("b").value.as_str()), ("1.10", "1.10"));
        assert_eq!(&text[value("a").span.start..value("a").span.end], "1.10");
        assert_eq!(value("e").value, "no");
        let merged = map.get("d").unwrap().map("").unwrap();
        assert_eq!(merged.get("x").unwrap().text("").unwrap().value, "0755");
        assert_eq!(merged.get("y").unwrap().text("").unwrap().value, "2.50");
    }

    proptest::proptest! {
        #[test]
        fn the_reader_never_panics(text in "[a-z:{}\\[\\],&*!|>'\"#%@`?\\- \t\n\r\u{e9}\u{1f600}\u{feff}]{0,120}") {
            if let Err(faults) = read(&Source::new("t", text.as_str())) {
                proptest::prop_assert!(!faults.is_empty());
                let drawn = super::super::render(&Source::new("t", text.as_str()), &faults, false);
                proptest::prop_assert!(drawn.contains("error"));
            }
        }
    }
}
