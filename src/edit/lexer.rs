//! PHP's tokens, as far as an edit needs them: what is code, what is a comment, what is a text, and how deep in brackets.
//! Understands quoted texts with code inside, heredocs, both kinds of comment, attributes, and text outside of PHP.

use std::ops::Range;

use super::operation::Refusal;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `<?php`, `<?=`.
    Open,
    /// `?>`.
    Close,
    /// A name, a keyword or a number.
    Word,
    /// `$name`.
    Variable,
    /// A quoted text or a heredoc.
    Text,
    /// One byte of anything else.
    Sign(u8),
    /// `# …`, `// …`, without the line's end.
    LineComment,
    /// `/* … */`.
    BlockComment,
}

/// A token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
    /// Brackets, and blocks of the `if (…):` form, that are open around it.
    pub(super) depth: usize,
}

impl Token {
    pub(super) fn is_comment(&self) -> bool {
        matches!(self.kind, Kind::LineComment | Kind::BlockComment)
    }

    pub(super) fn is(&self, sign: u8) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

/// What is open: the sign that closes it, and where it was opened.
struct Open {
    closes: u8,
    at: usize,
}

/// A block in the form with a colon.
const COLON: u8 = b':';

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    open: Vec<Open>,
    /// A closing bracket has just ended the condition of `if`, `for`, `while`, `switch`.
    condition: bool,
    /// Depths at which the brackets of such a condition stand.
    conditions: Vec<usize>,
}

/// The tokens of `text`. With `inside` it is a piece of PHP, without `<?php` before it.
pub(super) fn tokens(text: &[u8], inside: bool) -> Result<Vec<Token>, Refusal> {
    let mut lexer =
        Lexer { text, at: 0, tokens: Vec::new(), open: Vec::new(), condition: false, conditions: Vec::new() };
    if !inside {
        lexer.outside();
    }
    while lexer.at < text.len() {
        lexer.next()?;
    }
    if let Some(open) = lexer.open.last() {
        return Err(Refusal::at(text, open.at, "what is opened here is never closed"));
    }
    Ok(lexer.tokens)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl Lexer<'_> {
    fn rest(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn starts(&self, with: &[u8]) -> bool {
        self.rest().get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
    }

    fn push(&mut self, kind: Kind, end: usize) {
        self.tokens.push(Token { kind, range: self.at..end, depth: self.open.len() });
        self.at = end;
    }

    fn find(&self, needle: &[u8], from: usize) -> Option<usize> {
        self.text[from..].windows(needle.len()).position(|part| part == needle).map(|at| from + at)
    }

    /// Text up to the next `<?php` is no PHP.
    fn outside(&mut self) {
        while self.at < self.text.len() {
            if self.starts(b"<?=") {
                return self.push(Kind::Open, self.at + 3);
            }
            let space = self.rest().get(5).is_none_or(u8::is_ascii_whitespace);
            if self.starts(b"<?php") && space {
                return self.push(Kind::Open, self.at + 5);
            }
            self.at += 1;
        }
    }

    fn next(&mut self) -> Result<(), Refusal> {
        let byte = self.text[self.at];
        match byte {
            _ if byte.is_ascii_whitespace() => self.at += 1,
            b'#' if !self.starts(b"#[") => self.line_comment(),
            b'/' if self.starts(b"//") => self.line_comment(),
            b'/' if self.starts(b"/*") => {
                let Some(end) = self.find(b"*/", self.at + 2) else {
                    return Err(Refusal::at(self.text, self.at, "the comment that begins here has no end"));
                };
                self.push(Kind::BlockComment, end + 2);
            }
            b'?' if self.starts(b"?>") => {
                self.push(Kind::Close, self.at + 2);
                self.condition = false;
                self.outside();
            }
            b'\'' => {
                let end = self.plain_text(self.at)?;
                self.code(Kind::Text, end);
            }
            b'"' | b'`' => {
                let end = self.text_with_code(self.at, byte)?;
                self.code(Kind::Text, end);
            }
            b'<' if self.starts(b"<<<") => match self.heredoc()? {
                Some(end) => self.code(Kind::Text, end),
                None => self.code(Kind::Sign(byte), self.at + 1),
            },
            b'$' if self.rest().get(1).is_some_and(|next| is_word(*next) && !next.is_ascii_digit()) => {
                let end = self.word_end(self.at + 1);
                self.code(Kind::Variable, end);
            }
            _ if is_word(byte) => {
                let end = self.word_end(self.at);
                self.word(end);
            }
            b'(' | b'[' | b'{' => {
                if byte == b'(' && self.after_condition_word() {
                    self.conditions.push(self.open.len());
                }
                let closes = match byte {
                    b'(' => b')',
                    b'[' => b']',
                    _ => b'}',
                };
                let at = self.at;
                self.code(Kind::Sign(byte), at + 1);
                self.open.push(Open { closes, at });
            }
            b')' | b']' | b'}' => {
                match self.open.pop() {
                    Some(open) if open.closes == byte => {}
                    Some(open) => {
                        return Err(Refusal::at(
                            self.text,
                            open.at,
                            "what is opened here is closed by another sign",
                        ));
                    }
                    None => {
                        return Err(Refusal::at(self.text, self.at, "what is closed here was never opened"));
                    }
                }
                self.code(Kind::Sign(byte), self.at + 1);
                if byte == b')' && self.conditions.last() == Some(&self.open.len()) {
                    self.conditions.pop();
                    self.condition = true;
                }
            }
            b':' if self.condition && !self.starts(b"::") => {
                let at = self.at;
                self.code(Kind::Sign(byte), at + 1);
                self.open.push(Open { closes: COLON, at });
            }
            _ => self.code(Kind::Sign(byte), self.at + 1),
        }
        Ok(())
    }

    /// A token of code: the condition before it is over.
    fn code(&mut self, kind: Kind, end: usize) {
        self.condition = false;
        self.push(kind, end);
    }

    fn word_end(&self, from: usize) -> usize {
        self.text[from..]
            .iter()
            .position(|byte| !is_word(*byte))
            .map_or(self.text.len(), |length| from + length)
    }

    fn word(&mut self, end: usize) {
        let word = self.text[self.at..end].to_ascii_lowercase();
        let closes =
            matches!(word.as_slice(), b"endif" | b"endfor" | b"endforeach" | b"endwhile" | b"endswitch");
        if closes && self.open.last().is_some_and(|open| open.closes == COLON) {
            self.open.pop();
        }
        self.code(Kind::Word, end);
    }

    fn after_condition_word(&self) -> bool {
        self.tokens.iter().rev().find(|token| !token.is_comment()).is_some_and(|token| {
            let word = self.text[token.range.clone()].to_ascii_lowercase();
            token.kind == Kind::Word
                && matches!(word.as_slice(), b"if" | b"for" | b"foreach" | b"while" | b"switch")
        })
    }

    /// Up to the line's end, or to the end of PHP.
    fn line_comment(&mut self) {
        let line = self.find(b"\n", self.at).unwrap_or(self.text.len());
        let line = if line > self.at && self.text[line - 1] == b'\r' { line - 1 } else { line };
        let close = self.find(b"?>", self.at).unwrap_or(line);
        self.push(Kind::LineComment, line.min(close));
    }

    fn no_end(&self, at: usize) -> Refusal {
        Refusal::at(self.text, at, "the text that begins here has no end")
    }

    /// `'…'`: its end.
    fn plain_text(&self, start: usize) -> Result<usize, Refusal> {
        let mut at = start + 1;
        while let Some(byte) = self.text.get(at) {
            match byte {
                b'\\' => at += 2,
                b'\'' => return Ok(at + 1),
                _ => at += 1,
            }
        }
        Err(self.no_end(start))
    }

    /// `"…"`, in which `{$…}` holds code: its end.
    fn text_with_code(&self, start: usize, quote: u8) -> Result<usize, Refusal> {
        let mut at = start + 1;
        while let Some(byte) = self.text.get(at) {
            match *byte {
                b'\\' => at += 2,
                b'{' if self.text.get(at + 1) == Some(&b'$') => at = self.code_in_text(at)?,
                byte if byte == quote => return Ok(at + 1),
                _ => at += 1,
            }
        }
        Err(self.no_end(start))
    }

    /// `{$a['b']}` within a text: its end. Texts inside it are passed over; deeper than one text it does not look.
    fn code_in_text(&self, start: usize) -> Result<usize, Refusal> {
        let (mut at, mut depth) = (start, 0_usize);
        while let Some(byte) = self.text.get(at) {
            match byte {
                b'{' => depth += 1,
                b'}' if depth == 1 => return Ok(at + 1),
                b'}' => depth = depth.saturating_sub(1),
                b'\'' => {
                    at = self.plain_text(at)?;
                    continue;
                }
                b'"' => {
                    let inner = self.text[at + 1..].iter().position(|byte| *byte == b'"');
                    at = inner.map(|end| at + 2 + end).ok_or_else(|| self.no_end(start))?;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        Err(self.no_end(start))
    }

    /// `<<<NAME`, `<<<'NAME'`, `<<<"NAME"`: its end; `None` when it is none.
    fn heredoc(&self) -> Result<Option<usize>, Refusal> {
        let line = self.find(b"\n", self.at).unwrap_or(self.text.len());
        let head = self.text[self.at + 3..line].trim_ascii();
        let name = match head {
            [b'\'', name @ .., b'\''] | [b'"', name @ .., b'"'] | name => name,
        };
        if name.is_empty() || name[0].is_ascii_digit() || !name.iter().all(|byte| is_word(*byte)) {
            return Ok(None);
        }
        let mut at = line + 1;
        while at < self.text.len() {
            let end = self.find(b"\n", at).unwrap_or(self.text.len());
            let body = &self.text[at..end];
            let indent = body.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            let after = &body[indent..];
            if after.starts_with(name) && after.get(name.len()).is_none_or(|byte| !is_word(*byte)) {
                return Ok(Some(at + indent + name.len()));
            }
            at = end + 1;
        }
        Err(self.no_end(self.at))
    }
}
