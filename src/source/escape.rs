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

/// Whether a terminal obeys this character or shows nothing for it: control characters of both sets, zero-width and
/// invisible ones, and those that change the direction of what follows.
pub fn hides(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The last net before a terminal, for text that is already laid out: line breaks, tabs and joiners of letters stay,
/// everything else that [`hides`] is written as JSON writes it. A JSON text stays one.
///
/// It is no replacement for [`escape_controls`], which is called where the text comes in.
pub fn last_net(text: &str) -> Cow<'_, str> {
    net(text, |_| None)
}

/// [`last_net`] for text that may be drawn in our own colours: those (`ESC [ … m`) stay too.
pub fn last_net_but_colours(text: &str) -> Cow<'_, str> {
    net(text, colour)
}

/// `whole` gives the length of a sequence at the beginning of a text that stays as it is.
fn net(text: &str, whole: fn(&str) -> Option<usize>) -> Cow<'_, str> {
    let stays = |c: char| matches!(c, '\n' | '\t' | '\u{200c}' | '\u{200d}');
    if !text.chars().any(|c| hides(c) && !stays(c)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = whole(rest).unwrap_or(0);
        if length > 0 {
            safe.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        // A Windows line end is a line end.
        if rest.starts_with("\r\n") {
            rest = &rest[1..];
            continue;
        }
        if hides(c) && !stays(c) {
            as_json(c, &mut safe);
        } else {
            safe.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(safe)
}

/// A line of JSON whose texts hold nothing that a terminal obeys, should somebody print it: what JSON may leave raw
/// is escaped, too. It stays the same JSON.
pub fn escape_json(line: &str) -> Cow<'_, str> {
    if !line.chars().any(|c| hides(c) && !c.is_ascii_control()) && !line.contains('\u{7f}') {
        return Cow::Borrowed(line);
    }
    let mut safe = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if hides(c) && (!c.is_ascii_control() || c == '\u{7f}') {
            as_json(c, &mut safe);
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

/// The length of a sequence that sets a colour or weight, at the beginning of `text`.
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    (numbers[end..].starts_with('m') && end <= 24).then_some(2 + end + 1)
}

fn as_json(c: char, into: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        into.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_raw() {
        assert_eq!(escape_controls("plain ü ✓"), "plain ü ✓");
        assert_eq!(escape_controls("a\tb\x1b[31mred\x07"), "a b\\x1b[31mred\\x07");
        assert_eq!(escape_controls("\u{202e}gpj.exe\u{9b}2J"), "\\u{202e}gpj.exe\\x9b2J");
        for hidden in
            ['\u{ad}', '\u{61c}', '\u{85}', '\u{200b}', '\u{2066}', '\u{e0041}', '\r', '\u{8}', '\u{7f}']
        {
            assert!(!escape_controls(&format!("a{hidden}b")).contains(hidden), "{hidden:?}");
        }
    }

    #[test]
    fn the_last_net_lets_our_colours_through_and_nothing_else() {
        for plain in ["two\nlines\tand ü ✓", "\u{1b}[1;31mred\u{1b}[0m", "नि\u{200d}"] {
            assert_eq!(last_net_but_colours(plain), plain);
        }
        assert_eq!(
            last_net_but_colours("\u{1b}]0;title\u{7}\u{1b}[2J\u{1b}[31m"),
            "\\u001b]0;title\\u0007\\u001b[2J\u{1b}[31m"
        );
        assert_eq!(last_net("\u{1b}[31mred"), "\\u001b[31mred");
        assert_eq!(last_net("over\rwritten\u{8}\u{202e}\u{9b}m"), "over\\u000dwritten\\u0008\\u202e\\u009bm");
        assert_eq!(last_net("a\r\nb"), "a\nb");
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a": "\u{202e}\u{9b}\u{7f}\u{e0041}\u{1b}\n", "ü\u{85}": [1] });
        for shown in [escape_json(&value.to_string()), last_net(&value.to_string())] {
            assert!(!shown.chars().any(hides), "{shown:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}
