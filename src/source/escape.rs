//! Text from outside, made safe to show: no control characters, no terminal escapes, no direction overrides.

use std::borrow::Cow;

/// Replaces control characters by visible ones (`\x1b`, `\u{202e}`); a tab becomes a space.
pub fn escape_controls(text: &str) -> Cow<'_, str> {
    if !text.chars().any(hides) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\t' => safe.push(' '),
            c if hides(c) && u32::from(c) < 0x100 => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if hides(c) => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Control characters of both sets, zero-width and direction-changing ones.
pub(super) fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(escape_controls("plain ü ✓"), "plain ü ✓");
        assert_eq!(escape_controls("a\tb\x1b[31mred\x07"), "a b\\x1b[31mred\\x07");
        assert_eq!(escape_controls("\u{202e}gpj.exe\u{9b}2J"), "\\u{202e}gpj.exe\\x9b2J");
    }
}
