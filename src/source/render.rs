//! Diagnostics as a person reads them: file, line, column, caret, help.

use std::borrow::Cow;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Severity, Source, escape_controls, hides};

/// Diagnostics that are drawn; more are counted. Nobody reads a thousand, and each costs the drawing of its place.
const SHOWN: usize = 50;
/// Letters of one message: it may quote what stands in the file.
const LETTERS: usize = 500;

/// Draws `diagnostics` in the order of their places, and counts them at the end.
pub fn render(source: &Source, diagnostics: &[Diagnostic], colour: bool) -> String {
    let source = &Source::new(escape_controls(&source.name), without_hidden(&source.text));
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.message.clone()));
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in sorted.iter().take(SHOWN) {
        out.push_str(&renderer.render(&groups(source, diagnostic)));
        out.push_str("\n\n");
    }
    if sorted.len() > SHOWN {
        out.push_str(&format!("and {} more\n\n", sorted.len() - SHOWN));
    }
    let errors = sorted.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    let warnings = sorted.len() - errors;
    let mut counts = Vec::new();
    if errors > 0 {
        counts.push(format!("{errors} error{}", if errors == 1 { "" } else { "s" }));
    }
    if warnings > 0 {
        counts.push(format!("{warnings} warning{}", if warnings == 1 { "" } else { "s" }));
    }
    if !counts.is_empty() {
        out.push_str(&format!("{}: {}\n", source.name, counts.join(", ")));
    }
    out
}

/// A text made safe to show, and as long as a person reads.
fn brief(text: &str) -> Cow<'_, str> {
    let shown = escape_controls(text);
    match shown.char_indices().nth(LETTERS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &shown[..end])),
        None => shown,
    }
}

/// The text with a mark in the place of every hidden character, as many bytes long: places stay where they are.
fn without_hidden(text: &str) -> Cow<'_, str> {
    let odd = |c: char| hides(c) && !matches!(c, '\n' | '\r' | '\t' | '\u{200c}' | '\u{200d}');
    if !text.chars().any(odd) {
        return Cow::Borrowed(text);
    }
    let mark = |c: char| match c.len_utf8() {
        1 => "?",
        2 => "·",
        3 => "\u{fffd}",
        _ => "\u{fffd}?",
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if odd(c) { shown.push_str(mark(c)) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

fn groups<'a>(source: &'a Source, diagnostic: &'a Diagnostic) -> Vec<Group<'a>> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    // A caret needs at least one letter to point at.
    let widen = |start: usize, end: usize| {
        let length = source.text.len();
        let start = start.min(length);
        start..end.clamp(start, length)
    };
    let mut snippet = Snippet::source(&*source.text).path(&*source.name).fold(true).annotation(
        AnnotationKind::Primary
            .span(widen(diagnostic.span.start, diagnostic.span.end))
            .label(escape_controls(&diagnostic.label)),
    );
    for (span, label) in &diagnostic.also {
        snippet = snippet.annotation(
            AnnotationKind::Context.span(widen(span.start, span.end)).label(escape_controls(label)),
        );
    }
    let mut group = level.primary_title(brief(&diagnostic.message)).element(snippet);
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(brief(help)));
    }
    vec![group]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    #[test]
    fn place_caret_and_help_are_shown() {
        let source = Source::new("x.yaml", "steps:\n  - restrat: all\n");
        let at = source.text.find("restrat").unwrap();
        let fault = Diagnostic::error(Span::new(at, at + 7), "unknown verb `restrat`")
            .help("did you mean `restart`?");
        let text = render(&source, &[fault], false);
        assert!(text.contains("x.yaml:2:5"), "{text}");
        assert!(text.contains("^^^^^^^"), "{text}");
        assert!(text.contains("did you mean `restart`?"), "{text}");
        assert!(text.ends_with("x.yaml: 1 error\n"), "{text}");
    }

    #[test]
    fn the_line_that_is_shown_drives_no_terminal() {
        let source = Source::new("x\u{1b}]0;t\u{7}.yaml", "a: \u{9b}31m\u{202e}\u{e0041}\u{8}\u{61c} b");
        let text = render(&source, &[Diagnostic::error(Span::new(3, 5), "a fault")], false);
        assert!(!text.chars().any(|c| c != '\n' && hides(c)), "{text:?}");
        assert!(text.contains("a: ·31m") && text.contains(":1:4"), "{text}");
    }

    #[test]
    fn a_place_beyond_the_end_does_not_break_it() {
        let source = Source::new("x.yaml", "");
        let text = render(&source, &[Diagnostic::error(Span::new(5, 9), "the file is empty")], false);
        assert!(text.contains("the file is empty"), "{text}");
    }
}
