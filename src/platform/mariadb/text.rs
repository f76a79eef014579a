//! Text in both directions: escaping what came from outside, quoting what goes into SQL.

use std::fmt::Write as _;

/// Makes text from outside safe to print: control characters, line separators and direction marks are written as
/// escapes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if crate::source::hides(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// [`escape`], cut to `most` characters with an ellipsis.
pub fn escape_short(text: &str, most: usize) -> String {
    let escaped = escape(text);
    if escaped.chars().count() <= most {
        return escaped;
    }
    let mut cut: String = escaped.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A string literal for SQL that means `text` whatever `sql_mode` and the client character set are: plain quotes for
/// harmless ASCII, else its bytes in hex. No text can end the literal.
pub fn quote(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-.:@ %$".contains(c);
    if text.chars().all(harmless) {
        return format!("'{text}'");
    }
    let mut out = String::from("CONVERT(X'");
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02X}");
    }
    out.push_str("' USING utf8mb4)");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escape("a\u{1b}[31m\n\u{202e}é"), "a\\u{1b}[31m\\n\\u{202e}é");
        assert_eq!(escape_short("abcdef", 4), "abc…");
        assert_eq!(escape_short("abcd", 4), "abcd");
    }

    #[test]
    fn no_name_ends_its_literal() {
        assert_eq!(quote("app_user-1"), "'app_user-1'");
        for hostile in ["x' OR '1'='1", "x\\", "x\\' --", "x\"", "x`;KILL 1", "\u{0}", "é", "x\n"] {
            let literal = quote(hostile);
            assert!(literal.starts_with("CONVERT(X'") && literal.ends_with("' USING utf8mb4)"), "{literal}");
            assert_eq!(literal.matches('\'').count(), 2, "{literal}");
        }
    }
}
