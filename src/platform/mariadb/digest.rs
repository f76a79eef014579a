//! Statements without their literals: what may leave the door, be shown and be recorded.

use super::text::escape_short;

/// Longest digest, in characters.
const LONGEST: usize = 200;

/// The statement with every literal replaced by `?`, comments dropped, white space folded, lists of literals
/// shortened, control characters escaped, cut to 200 characters. An unfinished literal or comment (the text may have
/// been cut) ends the digest.
pub fn digest(statement: &str) -> String {
    let mut out = String::with_capacity(statement.len().min(LONGEST * 2));
    let chars: Vec<char> = statement.chars().collect();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        match c {
            '\'' | '"' => {
                // A prefix of a literal belongs to it: X'41', b'1', N'x', _utf8'x'.
                drop_prefix(&mut out);
                at = after_quoted(&chars, at);
                literal(&mut out);
            }
            '`' => {
                let end = after_quoted(&chars, at);
                out.extend(&chars[at..end]);
                at = end;
            }
            '/' if next == Some('*') => {
                at = after_comment(&chars, at);
                space(&mut out);
            }
            '#' => at = after_line(&chars, at),
            '-' if next == Some('-')
                && chars.get(at + 2).is_none_or(|c| c.is_whitespace() || c.is_control()) =>
            {
                at = after_line(&chars, at);
            }
            c if c.is_whitespace() => {
                space(&mut out);
                at += 1;
            }
            c if c.is_ascii_digit() && !in_word(&out) => {
                at = after_number(&chars, at);
                literal(&mut out);
            }
            c => {
                out.push(c);
                at += 1;
            }
        }
    }
    escape_short(out.trim(), LONGEST)
}

/// Whether what was written last is part of a name, so that a digit continues it.
fn in_word(out: &str) -> bool {
    out.chars().last().is_some_and(|c| c.is_alphanumeric() || "_$@`".contains(c))
}

fn space(out: &mut String) {
    if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
}

/// Writes `?`, or folds it into the list that it continues.
fn literal(out: &mut String) {
    let before = out.trim_end_matches([' ', '-', '+']);
    if let Some(list) = before.strip_suffix(',') {
        let list = list.trim_end();
        if list.ends_with("?…") {
            out.truncate(list.len());
            return;
        }
        if list.ends_with('?') {
            out.truncate(list.len());
            out.push('…');
            return;
        }
    }
    out.push('?');
}

fn drop_prefix(out: &mut String) {
    let word_at = out
        .rfind(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .map_or(0, |at| at + out[at..].chars().next().map_or(1, char::len_utf8));
    let word = &out[word_at..];
    if ["x", "b", "n"].iter().any(|p| word.eq_ignore_ascii_case(p)) || word.starts_with('_') {
        out.truncate(word_at);
    }
}

fn after_quoted(chars: &[char], start: usize) -> usize {
    let quote = chars[start];
    let mut at = start + 1;
    while at < chars.len() {
        if chars[at] == '\\' && quote != '`' {
            at += 2;
        } else if chars[at] == quote {
            if chars.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return at + 1;
            }
        } else {
            at += 1;
        }
    }
    chars.len()
}

fn after_comment(chars: &[char], start: usize) -> usize {
    let mut at = start + 2;
    while at + 1 < chars.len() {
        if chars[at] == '*' && chars[at + 1] == '/' {
            return at + 2;
        }
        at += 1;
    }
    chars.len()
}

fn after_line(chars: &[char], start: usize) -> usize {
    chars[start..].iter().position(|c| *c == '\n').map_or(chars.len(), |at| start + at)
}

/// The end of a number: decimal, hex (0x41), binary (0b1), with fraction and exponent.
fn after_number(chars: &[char], start: usize) -> usize {
    let mut at = start;
    while at < chars.len() {
        let c = chars[at];
        let signed = "+-".contains(c)
            && matches!(chars.get(at.wrapping_sub(1)), Some('e' | 'E'))
            && !matches!(chars.get(start + 1), Some('x' | 'X'))
            && at > start;
        if c.is_ascii_alphanumeric() || c == '.' || signed {
            at += 1;
        } else {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_every_kind_are_replaced() {
        for (statement, expected) in [
            ("SELECT * FROM t WHERE a='secret' AND b = \"x\"", "SELECT * FROM t WHERE a=? AND b = ?"),
            ("SELECT 1, 2.5e-3, 0xDEADBEEF, X'41', b'01', N'n', _utf8'z'", "SELECT ?…"),
            ("WHERE a=0xDE AND c=X'DEAD' AND d=-5", "WHERE a=? AND c=? AND d=-?"),
            ("WHERE n='it''s \\' secret' OR m='\\\\'", "WHERE n=? OR m=?"),
            ("INSERT INTO page2 VALUES (1,'a'),(2,'b')", "INSERT INTO page2 VALUES (?…),(?…)"),
            ("WHERE id IN (1, 2 ,3)", "WHERE id IN (?…)"),
            ("SELECT `user1` FROM db3.t4", "SELECT `user1` FROM db3.t4"),
            (
                "SELECT /* Title::load Alice */ a\n\t FROM t -- secret\n WHERE 1 # also",
                "SELECT a FROM t WHERE ?",
            ),
            ("WHERE a='cut off", "WHERE a=?"),
            ("SELECT a /* cut off", "SELECT a"),
            ("a-1", "a-?"),
        ] {
            assert_eq!(digest(statement), expected, "{statement}");
        }
    }

    #[test]
    fn long_and_hostile_text_is_tamed() {
        let long = digest(&format!("SELECT {} FROM t", "col, ".repeat(200)));
        assert_eq!(long.chars().count(), 200);
        assert!(!digest("SELECT a\u{1b}[2J").contains('\u{1b}'));
        assert_eq!(digest(""), "");
    }

    proptest::proptest! {
        #[test]
        fn a_quoted_secret_never_shows(before in "[ -~]{0,20}", secret in "[a-z]{8}") {
            let before = before.replace(['\'', '"', '`', '/', '#', '-', '\\'], " ");
            let out = digest(&format!("{before} WHERE x = '{secret}' AND y = \"{secret}\""));
            proptest::prop_assert!(!out.contains(&secret) || before.contains(&secret));
        }
    }
}
