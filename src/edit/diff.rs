//! An edit as a person reads it: a unified diff without the lines around, which may hold passwords.

use super::hunk::Hunk;
use super::lines::{line_end, line_start, without_end};
use crate::source::escape_controls;

/// Names beside which a quoted text may be secret.
const SECRET: &[&str] = &["pass", "secret", "token", "key", "auth", "credential", "salt"];

/// The lines of a unified diff of `path`, from the text before to the text now.
pub fn diff(path: &str, before: &[u8], now: &[u8], hunks: &[Hunk]) -> Vec<String> {
    let mut out = vec![format!("--- a/{path}"), format!("+++ b/{path}")];
    let mut shift = 0_isize;
    let mut index = 0;
    while index < hunks.len() {
        // Places that share a line before or after are one hunk.
        let (mut old, mut new) = places(before, now, &hunks[index], shift);
        shift += grown(&hunks[index]);
        index += 1;
        while let Some(hunk) = hunks.get(index) {
            let (next_old, next_new) = places(before, now, hunk, shift);
            if next_old.start >= old.end && next_new.start >= new.end {
                break;
            }
            old.end = old.end.max(next_old.end);
            new.end = new.end.max(next_new.end);
            shift += grown(hunk);
            index += 1;
        }
        let (old_lines, new_lines) = (lines(&before[old.clone()]), lines(&now[new.clone()]));
        out.push(format!(
            "@@ -{} +{} @@",
            span(super::lines::line_of(before, old.start), old_lines.len()),
            span(super::lines::line_of(now, new.start), new_lines.len())
        ));
        out.extend(old_lines.iter().map(|line| format!("-{}", shown(line))));
        out.extend(new_lines.iter().map(|line| format!("+{}", shown(line))));
    }
    out
}

fn grown(hunk: &Hunk) -> isize {
    hunk.inserted.0.len().cast_signed() - hunk.removed.0.len().cast_signed()
}

/// The whole lines of a place, before and now.
fn places(
    before: &[u8],
    now: &[u8],
    hunk: &Hunk,
    shift: isize,
) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let at = hunk.at.saturating_add_signed(shift).min(now.len());
    let (removed, inserted) = (&hunk.removed.0, &hunk.inserted.0);
    // Whole lines that came or went alone take no neighbour with them.
    let whole = (removed.is_empty() || removed.ends_with(b"\n"))
        && (inserted.is_empty() || inserted.ends_with(b"\n"))
        && line_start(before, hunk.at) == hunk.at;
    if whole {
        return (hunk.at..hunk.at + removed.len(), at..at + inserted.len());
    }
    let range = |text: &[u8], from: usize, length: usize| {
        let to = (from + length).min(text.len());
        line_start(text, from)..line_end(text, to)
    };
    (range(before, hunk.at, removed.len()), range(now, at, inserted.len()))
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    super::lines::ranges(text).map(|range| &text[range]).collect()
}

fn span(first: usize, count: usize) -> String {
    match count {
        0 => format!("{},0", first.saturating_sub(1)),
        1 => first.to_string(),
        count => format!("{first},{count}"),
    }
}

/// A line as it is shown: what may be secret beside what is edited is not.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(without_end(line)).replace('\t', "    ");
    let text = veiled(&text);
    escape_controls(&text).into_owned()
}

/// Quoted texts that follow a name of something secret, in the same line.
fn veiled(line: &str) -> String {
    let lower = line.to_lowercase();
    if lower.len() != line.len() || !SECRET.iter().any(|word| lower.contains(word)) {
        return line.to_owned();
    }
    let Some(from) = SECRET.iter().filter_map(|word| lower.find(word)).min() else { return line.to_owned() };
    let mut out = line[..from].to_owned();
    let mut quote = None;
    let names = |text: &str| SECRET.iter().any(|word| text.to_lowercase().contains(word));
    let mut inner = String::new();
    let mut rest = line[from..].chars();
    // The name itself may be quoted: `'password' => '…'`.
    if let Some(open) = line[..from].rfind(['\'', '"'])
        && line[open..from].chars().skip(1).all(|c| c.is_alphanumeric() || c == '_')
    {
        quote = line[open..].chars().next();
    }
    while let Some(c) = rest.next() {
        match quote {
            Some(open) if c == open => {
                // A key is none, nor is what names the secret itself.
                let key = rest.as_str().trim_start().starts_with("=>");
                out.push_str(if key || names(&inner) || inner.is_empty() { &inner } else { "…" });
                out.push(c);
                inner.clear();
                quote = None;
            }
            Some(_) => inner.push(c),
            None => {
                out.push(c);
                if matches!(c, '\'' | '"') {
                    quote = Some(c);
                }
            }
        }
    }
    out.push_str(if inner.is_empty() { "" } else { "…" });
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Absent, Operation, Syntax, Which, edit};
    use super::*;

    #[test]
    fn it_reads_as_a_diff_and_shows_no_neighbours() {
        let before = b"<?php\n$secret = 'x';\n$wgA = 1;\n$secret2 = 'y';\n";
        let set = |name: &str, to: &str| Operation::Set {
            name: name.into(),
            to: to.into(),
            instead_of: None,
            absent: Absent::Add,
            which: Which::Only,
        };
        let edited = edit(before, Syntax::Php, &[set("$wgA", "0"), set("$wgB", "true")]).unwrap();
        let shown = diff("L.php", before, &edited.text, &edited.hunks);
        assert_eq!(
            shown,
            [
                "--- a/L.php",
                "+++ b/L.php",
                "@@ -3 +3 @@",
                "-$wgA = 1;",
                "+$wgA = 0;",
                "@@ -4,0 +5 @@",
                "+$wgB = true;"
            ]
        );
    }

    #[test]
    fn what_may_be_secret_in_an_edited_line_is_not_shown() {
        for (line, wanted) in [
            (
                "'user' => 'wiki', 'password' => 'hunter2', 'flags' => DBO_DEFAULT",
                "'user' => 'wiki', 'password' => '…', 'flags' => DBO_DEFAULT",
            ),
            ("$wgSecretKey = \"abc\"; $wgA = 1;", "$wgSecretKey = \"…\"; $wgA = 1;"),
            ("$wgA = 'b';", "$wgA = 'b';"),
            ("$wgDBpassword = $url['pass'];", "$wgDBpassword = $url['pass'];"),
            ("$x = [ 'key' => 'open", "$x = [ 'key' => '…"),
        ] {
            assert_eq!(veiled(line), wanted);
        }
    }
}
