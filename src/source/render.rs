//! Diagnostics as a person reads them: file, line, column, caret, help.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::{Diagnostic, Severity, Source, escape_controls};

/// Draws `diagnostics` in the order of their places, and counts them at the end.
pub fn render(source: &Source, diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.message.clone()));
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in &sorted {
        out.push_str(&renderer.render(&groups(source, diagnostic)));
        out.push_str("\n\n");
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
    let mut group = level.primary_title(escape_controls(&diagnostic.message)).element(snippet);
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(escape_controls(help)));
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
    fn a_place_beyond_the_end_does_not_break_it() {
        let source = Source::new("x.yaml", "");
        let text = render(&source, &[Diagnostic::error(Span::new(5, 9), "the file is empty")], false);
        assert!(text.contains("the file is empty"), "{text}");
    }
}
