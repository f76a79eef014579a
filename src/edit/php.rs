//! A PHP file, as far as an edit needs it.

use std::ops::Range;

use super::lexer::{Kind, Token, tokens};
use super::lines::{line_end, line_of, line_start, trimmed, without_end};
use super::operation::Refusal;
use super::perform::{Assignment, Commented, Sheet};

/// Operators that change a variable and do not set it.
const COMPOUND: &[&[u8]] =
    &[b"+", b"-", b"*", b"/", b".", b"%", b"|", b"&", b"^", b"??", b"**", b"<<", b">>"];
/// What ends a file's code before its end.
const ENDS: &[&[u8]] = &[b"return", b"exit", b"die", b"__halt_compiler"];
/// Words that are the same in any case.
const ANY_CASE: &[&[u8]] = &[b"true", b"false", b"null"];

/// A file, with its tokens.
pub(super) struct Php<'a> {
    text: &'a [u8],
    tokens: Vec<Token>,
}

impl<'a> Php<'a> {
    pub(super) fn read(text: &'a [u8]) -> Result<Self, Refusal> {
        let tokens = tokens(text, false)?;
        if !tokens.iter().any(|token| token.kind == Kind::Open) {
            return Err(Refusal::new("there is no `<?php` in it"));
        }
        Ok(Self { text, tokens })
    }

    fn word(&self, token: &Token) -> &[u8] {
        &self.text[token.range.clone()]
    }

    /// Tokens of code, in order.
    fn code(&self) -> Vec<&Token> {
        self.tokens.iter().filter(|token| !token.is_comment()).collect()
    }

    /// Whether the token after `before` begins a statement that nothing but a block of braces can hold back.
    fn begins(before: Option<&Token>) -> bool {
        before.is_none_or(|token| {
            matches!(token.kind, Kind::Open | Kind::Close | Kind::Sign(b';' | b'}' | b'{' | b':'))
        })
    }

    /// The first place from which on no more code is reached, as the file stands.
    fn stops(&self) -> Option<&Token> {
        let code = self.code();
        (0..code.len()).find_map(|index| {
            let token = code[index];
            let ends = token.depth == 0
                && token.kind == Kind::Word
                && ENDS.iter().any(|word| word.eq_ignore_ascii_case(self.word(token)));
            let begins = Self::begins(index.checked_sub(1).and_then(|before| code.get(before).copied()));
            (ends && begins).then_some(token)
        })
    }

    /// Where the tokens of `wanted` stand in a row.
    fn rows(&self, wanted: &[Vec<u8>]) -> Vec<(usize, Range<usize>)> {
        let code = self.code();
        let found = code.windows(wanted.len().max(1)).enumerate().filter(|(_, row)| {
            !wanted.is_empty() && row.iter().zip(wanted).all(|(token, word)| said(self.text, token) == *word)
        });
        found
            .filter_map(|(index, row)| Some((index, row.first()?.range.start..row.last()?.range.end)))
            .collect()
    }

    /// A comment that has its line for itself; what is said in it, without its signs.
    fn alone(&self, token: &Token) -> Option<Commented> {
        let start = line_start(self.text, token.range.start);
        let line = without_end(&self.text[start..line_end(self.text, token.range.start)]);
        let line = start..start + line.len();
        let around = [start..token.range.start, token.range.end..line.end.max(token.range.end)];
        let blank = around.into_iter().all(|part| self.text[part].trim_ascii().is_empty());
        if !blank || token.range.end > line.end {
            return None;
        }
        let signs: &[u8] = if token.kind == Kind::BlockComment { b"/*" } else { b"/#" };
        let body = &self.text[token.range.clone()];
        let front = body.iter().take_while(|byte| signs.contains(byte) || byte.is_ascii_whitespace()).count();
        let mut content = trimmed(self.text, token.range.start + front..token.range.end);
        if token.kind == Kind::BlockComment {
            let said = self.text[content.clone()].strip_suffix(b"*/").unwrap_or_default();
            content.end = content.start + said.trim_ascii_end().trim_suffix_stars().len();
        }
        let before = self.tokens.iter().take_while(|other| other.range.start < token.range.start);
        let begins = Self::begins(before.filter(|other| !other.is_comment()).last());
        let stopped = self.stops().is_some_and(|stop| stop.range.start < token.range.start);
        Some(Commented {
            line: line_of(self.text, start),
            whole: line,
            content,
            reached: token.depth == 0 && begins && !stopped,
        })
    }
}

/// `/** … **/` has more stars than one.
trait Stars {
    fn trim_suffix_stars(&self) -> &[u8];
}

impl Stars for [u8] {
    fn trim_suffix_stars(&self) -> &[u8] {
        let stars = self.iter().rev().take_while(|byte| **byte == b'*').count();
        self[..self.len() - stars].trim_ascii_end()
    }
}

/// A token as it is compared.
fn said(text: &[u8], token: &Token) -> Vec<u8> {
    let word = &text[token.range.clone()];
    match token.kind {
        Kind::Word if ANY_CASE.iter().any(|known| known.eq_ignore_ascii_case(word)) => {
            word.to_ascii_lowercase()
        }
        // Where nothing in it means more than itself, the kind of quote does not matter.
        Kind::Text
            if word.len() >= 2
                && matches!(word[0], b'\'' | b'"')
                && !word.contains(&b'\\')
                && !word.contains(&b'$') =>
        {
            let inner = &word[1..word.len() - 1];
            if inner.contains(&b'\'') || inner.contains(&b'"') {
                word.to_vec()
            } else {
                [b"'", inner, b"'"].concat()
            }
        }
        _ => word.to_vec(),
    }
}

/// A piece of PHP as it is compared; `None` when it is no PHP.
fn row(piece: &[u8]) -> Option<Vec<Vec<u8>>> {
    let found = tokens(piece, true).ok()?;
    if found.iter().any(|token| matches!(token.kind, Kind::Open | Kind::Close)) {
        return None;
    }
    Some(found.iter().filter(|token| !token.is_comment()).map(|token| said(piece, token)).collect())
}

/// Whether a piece is one value: no comment, and nothing that ends a statement.
pub(super) fn is_value(piece: &[u8]) -> bool {
    tokens(piece, true).is_ok_and(|found| {
        !found.is_empty()
            && found.iter().all(|token| {
                !token.is_comment()
                    && !matches!(token.kind, Kind::Open | Kind::Close)
                    && (token.depth != 0 || !matches!(token.kind, Kind::Sign(b';' | b',')))
            })
    })
}

impl Sheet for Php<'_> {
    fn assignments(&self, name: &str) -> Vec<Assignment> {
        let Some(wanted) = row(name.as_bytes()) else { return Vec::new() };
        let code = self.code();
        let mut found = Vec::new();
        for (index, place) in self.rows(&wanted) {
            let mut next = index + wanted.len();
            let from = next;
            while code.get(next).is_some_and(
                |token| matches!(token.kind, Kind::Sign(sign) if b"+-*/.%|&^?<>".contains(&sign)),
            ) && next - from < 2
            {
                next += 1;
            }
            let operator: Vec<u8> =
                code[from..next].iter().flat_map(|token| self.word(token)).copied().collect();
            let touches = code.get(next).is_some_and(|token| token.is(b'='));
            let compares =
                code.get(next + 1).is_some_and(|token| matches!(token.kind, Kind::Sign(b'=' | b'>')))
                    && code[next].range.end == code[next + 1].range.start;
            let counts = matches!(operator.as_slice(), b"++" | b"--");
            let compound = counts || (touches && COMPOUND.contains(&operator.as_slice()));
            let plain = touches && operator.is_empty() && !compares;
            if !plain && !compound {
                continue;
            }
            let depth = code[index].depth;
            let begins = Self::begins(index.checked_sub(1).and_then(|before| code.get(before).copied()));
            let ends = code[next..].iter().position(|token| {
                token.kind == Kind::Close || token.depth < depth || (token.depth == depth && token.is(b';'))
            });
            let last = ends.map_or(code.len(), |ends| next + ends);
            let value = match (plain, code.get(next + 1..last)) {
                (true, Some([first, .., last])) => first.range.start..last.range.end,
                (true, Some([one])) => one.range.clone(),
                _ => place.end..place.end,
            };
            found.push(Assignment {
                line: line_of(self.text, place.start),
                top: depth == 0 && begins,
                plain,
                one_line: !self.text[place.start..value.end].contains(&b'\n'),
                value,
            });
        }
        found
    }

    fn commented(&self) -> Vec<Commented> {
        self.tokens.iter().filter(|token| token.is_comment()).filter_map(|token| self.alone(token)).collect()
    }

    fn buried(&self, text: &str) -> Option<usize> {
        let wanted = row(text.as_bytes())?;
        self.tokens.iter().filter(|token| token.kind == Kind::BlockComment).find_map(|token| {
            let body = &self.text[token.range.clone()];
            let lines = body.split(|byte| *byte == b'\n').enumerate();
            let many = body.contains(&b'\n');
            lines.filter(|_| many).find_map(|(index, line)| {
                let line = line.trim_ascii();
                let line = line.strip_prefix(b"/*").or(line.strip_prefix(b"*")).unwrap_or(line);
                let line = line.strip_suffix(b"*/").unwrap_or(line);
                (row(line)? == wanted).then(|| line_of(self.text, token.range.start) + index)
            })
        })
    }

    fn says(&self, content: &[u8], name: &str, value: &str) -> bool {
        let line = format!("{name} = {value};");
        matches!((row(content), row(line.as_bytes())), (Some(a), Some(b)) if a == b)
    }

    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        matches!((row(a), row(b)), (Some(a), Some(b)) if a == b)
    }

    fn same_line(&self, a: &[u8], b: &[u8]) -> bool {
        self.same(a, b)
    }

    fn lines_in_force(&self, text: &str) -> Vec<Range<usize>> {
        let Some(wanted) = row(text.as_bytes()) else { return Vec::new() };
        self.rows(&wanted).into_iter().map(|(_, place)| place).collect()
    }

    fn in_force(&self) -> Vec<Range<usize>> {
        let mut parts: Vec<Range<usize>> = Vec::new();
        // Code between two comments is one part, with its spaces.
        let mut broken = true;
        for token in &self.tokens {
            match parts.last_mut() {
                _ if token.is_comment() => broken = true,
                Some(last) if !broken => last.end = token.range.end,
                _ => {
                    parts.push(token.range.clone());
                    broken = false;
                }
            }
            if token.kind == Kind::Close {
                broken = true;
            }
        }
        parts
    }

    fn end(&self) -> Result<usize, Refusal> {
        let code = self.code();
        let Some(last) = code.last() else { return Err(Refusal::new("there is no code in it")) };
        let (place, what) = match (self.stops(), last.kind) {
            (Some(stop), _) => (stop.range.start, "the code stops"),
            (None, Kind::Close) => {
                if !self.text[last.range.end..].trim_ascii().is_empty() {
                    let why = "text outside of PHP follows: there is no end of the code to add a line at";
                    return Err(Refusal::at(self.text, last.range.start, why));
                }
                (last.range.start, "PHP ends")
            }
            (None, Kind::Sign(b';' | b'}') | Kind::Open) => return Ok(self.text.len()),
            (None, _) => {
                return Err(Refusal::at(self.text, last.range.start, "the last statement has no `;`"));
            }
        };
        let start = line_start(self.text, place);
        if !self.text[start..place].trim_ascii().is_empty() {
            let why = format!("{what} in the middle of this line: no line can be added before it");
            return Err(Refusal::at(self.text, place, why));
        }
        Ok(start)
    }

    fn written(&self, name: &str, value: &str) -> String {
        format!("{name} = {value};")
    }

    fn sign(&self) -> &'static str {
        "# "
    }

    fn holes(&self) -> Vec<Range<usize>> {
        let texts = self.tokens.iter().filter(|token| token.kind == Kind::Text);
        texts.map(|token| token.range.clone()).collect()
    }

    fn flags(&self, flag: &str) -> Result<Vec<(Range<usize>, &'static [u8])>, Refusal> {
        let code = self.code();
        let single = |index: usize, sign: u8| {
            let apart = |other: Option<&&Token>| other.is_none_or(|other| !other.is(sign) && !other.is(b'='));
            code.get(index).is_some_and(|token| token.is(sign))
                && apart(code.get(index + 1))
                && index.checked_sub(1).is_none_or(|before| !code[before].is(sign))
        };
        let mut found = Vec::new();
        for (index, token) in code.iter().enumerate() {
            if token.kind != Kind::Word || self.word(token) != flag.as_bytes() {
                continue;
            }
            // `Database::DBO_PERSISTENT`, `\DBO_PERSISTENT`.
            let mut first = index;
            while let Some(before) = first.checked_sub(1)
                && (code[before].is(b':')
                    || code[before].is(b'\\')
                    || (code[before].kind == Kind::Word && first < index))
                && code[before].range.end == code[first].range.start
            {
                first = before;
            }
            let refused = || {
                Refusal::at(
                    self.text,
                    token.range.start,
                    format!("`{flag}` stands here in no plain list of flags (A | B)"),
                )
            };
            let before = first.checked_sub(1);
            let ends = code.get(index + 1).is_some_and(|next| {
                matches!(next.kind, Kind::Sign(b',' | b']' | b')' | b';')) || next.kind == Kind::Close
            });
            let begins = before.is_some_and(|before| {
                let joined = |signs: &[u8]| {
                    before.checked_sub(1).is_some_and(|left| {
                        code[left].range.end == code[before].range.start
                            && matches!(code[left].kind, Kind::Sign(sign) if signs.contains(&sign))
                    })
                };
                match code[before].kind {
                    Kind::Sign(b',' | b'[' | b'(') => true,
                    Kind::Sign(b'=') => !joined(b"=!<>"),
                    Kind::Sign(b'>') => joined(b"="),
                    _ => false,
                }
            });
            let joined = before.is_some_and(|before| single(before, b'|'));
            let joins = single(index + 1, b'|');
            let place = match before {
                Some(before) if joined && (ends || joins) => {
                    let left = before.checked_sub(1).and_then(|left| code.get(left)).ok_or_else(refused)?;
                    (left.range.end..token.range.end, &b""[..])
                }
                _ if joins && begins && !joined => {
                    let next = code.get(index + 2).ok_or_else(refused)?;
                    (code[first].range.start..next.range.start, &b""[..])
                }
                _ if begins && ends => (code[first].range.start..token.range.end, &b"0"[..]),
                _ => return Err(refused()),
            };
            let comment =
                self.tokens.iter().any(|other| other.is_comment() && place.0.contains(&other.range.start));
            if comment {
                return Err(Refusal::at(self.text, token.range.start, "a comment stands between the flags"));
            }
            found.push(place);
        }
        Ok(found)
    }
}
