//! A file of directives, a line each: Apache's, or `name = value`.

use std::ops::Range;

use super::lines::{ranges, trimmed, without_end};
use super::operation::{Refusal, Syntax};
use super::perform::{Assignment, Commented, Sheet};

/// A line, or several that are joined by a backslash.
struct Line {
    /// From 1.
    number: usize,
    /// Without spaces around it and without its end.
    content: Range<usize>,
    comment: bool,
    /// Sections that are open around it.
    depth: usize,
    /// It is one line.
    single: bool,
}

/// A file, with its lines.
pub(super) struct Conf<'a> {
    text: &'a [u8],
    syntax: Syntax,
    lines: Vec<Line>,
    /// Where a section begins that never ends.
    open: Option<usize>,
    sections: bool,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

/// A directive: its name, its value, both within the line.
fn directive(syntax: Syntax, line: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    match syntax {
        Syntax::Apache => {
            let name = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
            if name == 0 || line[0] == b'<' {
                return None;
            }
            Some((0..name, trimmed(line, name..line.len())))
        }
        Syntax::Ini | Syntax::Php => {
            let equals = line.iter().position(|byte| *byte == b'=')?;
            let mut name = trimmed(line, 0..equals);
            if line[name.clone()].starts_with(b"export ") {
                name = trimmed(line, name.start + 7..name.end);
            }
            let mut value = trimmed(line, equals + 1..line.len());
            let quoted = line.get(value.start).filter(|byte| matches!(byte, b'\'' | b'"'));
            // A comment may follow; within quotes its sign is none.
            let from = quoted
                .and_then(|quote| line[value.start + 1..].iter().position(|byte| byte == quote))
                .map_or(value.start, |end| value.start + end + 2);
            let tail = line[from..]
                .windows(2)
                .position(|pair| matches!(pair[0], b' ' | b'\t') && matches!(pair[1], b'#' | b';'));
            if let Some(tail) = tail {
                value = trimmed(line, value.start..from + tail);
            }
            (!name.is_empty()).then_some((name, value))
        }
    }
}

impl<'a> Conf<'a> {
    pub(super) fn read(text: &'a [u8], syntax: Syntax) -> Self {
        let mut sheet = Self { text, syntax, lines: Vec::new(), open: None, sections: false };
        let mut open: Vec<usize> = Vec::new();
        let mut number = 0;
        let mut lines = ranges(text).peekable();
        while let Some(mut whole) = lines.next() {
            number += 1;
            let first = number;
            if whole.start == 0 && text.starts_with(BOM) {
                whole.start = BOM.len();
            }
            let joined = |whole: &Range<usize>| {
                syntax == Syntax::Apache && without_end(&text[whole.clone()]).ends_with(b"\\")
            };
            let mut last = whole.clone();
            while joined(&last)
                && let Some(next) = lines.next()
            {
                number += 1;
                whole.end = next.end;
                last = next;
            }
            let content = trimmed(text, whole.clone());
            let line = &text[content.clone()];
            let comment = match syntax {
                Syntax::Apache => line.starts_with(b"#"),
                Syntax::Ini | Syntax::Php => line.starts_with(b"#") || line.starts_with(b";"),
            };
            if syntax == Syntax::Apache && line.starts_with(b"</") {
                open.pop();
            }
            if syntax == Syntax::Ini && line.starts_with(b"[") {
                sheet.sections = true;
            }
            sheet.lines.push(Line {
                number: first,
                content,
                comment,
                depth: open.len(),
                single: first == number,
            });
            if syntax == Syntax::Apache && line.starts_with(b"<") && !line.starts_with(b"</") {
                open.push(first);
            }
        }
        sheet.open = open.first().copied();
        sheet
    }

    fn row(&self, line: &[u8]) -> Vec<Vec<u8>> {
        match directive(self.syntax, line) {
            Some((name, value)) => {
                let name = match self.syntax {
                    Syntax::Apache => line[name].to_ascii_lowercase(),
                    _ => line[name].to_vec(),
                };
                let words = line[value].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
                std::iter::once(name).chain(words.map(<[u8]>::to_vec)).collect()
            }
            None => vec![line.trim_ascii().to_vec()],
        }
    }
}

impl Sheet for Conf<'_> {
    fn assignments(&self, name: &str) -> Vec<Assignment> {
        let fits = |found: &[u8]| match self.syntax {
            Syntax::Apache => found.eq_ignore_ascii_case(name.as_bytes()),
            _ => found == name.as_bytes(),
        };
        let lines = self.lines.iter().filter(|line| !line.comment);
        lines
            .filter_map(|line| {
                let content = &self.text[line.content.clone()];
                let (found, value) = directive(self.syntax, content)?;
                fits(&content[found]).then(|| Assignment {
                    line: line.number,
                    top: true,
                    plain: true,
                    one_line: line.single,
                    value: line.content.start + value.start..line.content.start + value.end,
                })
            })
            .collect()
    }

    fn commented(&self) -> Vec<Commented> {
        let lines = self.lines.iter().filter(|line| line.comment && line.single);
        lines
            .map(|line| {
                let body = &self.text[line.content.clone()];
                let signs = body.iter().take_while(|byte| b"#; \t".contains(byte)).count();
                Commented {
                    line: line.number,
                    whole: line.content.clone(),
                    content: line.content.start + signs..line.content.end,
                    reached: line.depth == 0 && (self.syntax == Syntax::Apache || !self.sections),
                }
            })
            .collect()
    }

    fn buried(&self, text: &str) -> Option<usize> {
        let lines = self.lines.iter().filter(|line| line.comment && !line.single);
        let wanted = self.row(text.as_bytes());
        lines
            .filter(|line| {
                let parts = self.text[line.content.clone()].split(|byte| *byte == b'\n');
                let bare = |part: &[u8]| {
                    let signs = part.iter().take_while(|byte| b"#; \t".contains(byte)).count();
                    self.row(part[signs..].trim_ascii().trim_ascii_end())
                };
                parts.map(bare).any(|part| part == wanted)
            })
            .map(|line| line.number)
            .next()
    }

    fn says(&self, content: &[u8], name: &str, value: &str) -> bool {
        self.row(content) == self.row(self.written(name, value).as_bytes())
    }

    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        let words = |text: &[u8]| {
            let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
            words.map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        words(a) == words(b)
    }

    fn same_line(&self, a: &[u8], b: &[u8]) -> bool {
        self.row(a) == self.row(b)
    }

    fn lines_in_force(&self, text: &str) -> Vec<Range<usize>> {
        let wanted = self.row(text.as_bytes());
        let lines = self.lines.iter().filter(|line| !line.comment && !line.content.is_empty());
        lines
            .filter(|line| self.row(&self.text[line.content.clone()]) == wanted)
            .map(|line| line.content.clone())
            .collect()
    }

    fn in_force(&self) -> Vec<Range<usize>> {
        self.lines.iter().filter(|line| !line.comment).map(|line| line.content.clone()).collect()
    }

    fn end(&self) -> Result<usize, Refusal> {
        if let Some(line) = self.open {
            let why = "the section that begins here has no end";
            return Err(Refusal { line: Some(line), ..Refusal::new(why) });
        }
        if self.sections {
            return Err(Refusal::new(
                "the file has sections: no line is added where it is not said in which",
            ));
        }
        Ok(self.text.len())
    }

    fn written(&self, name: &str, value: &str) -> String {
        match self.syntax {
            Syntax::Apache => format!("{name} {value}"),
            // As the file's other lines are.
            _ if self.lines.iter().any(|line| {
                !line.comment && self.text[line.content.clone()].windows(3).any(|three| three == b" = ")
            }) =>
            {
                format!("{name} = {value}")
            }
            _ => format!("{name}={value}"),
        }
    }

    fn sign(&self) -> &'static str {
        if self.syntax == Syntax::Ini
            && self.lines.iter().any(|line| line.comment && self.text[line.content.clone()].starts_with(b";"))
        {
            "; "
        } else {
            "# "
        }
    }

    fn holes(&self) -> Vec<Range<usize>> {
        Vec::new()
    }

    fn flags(&self, _: &str) -> Result<Vec<(Range<usize>, &'static [u8])>, Refusal> {
        Err(Refusal::new("flags are a thing of PHP"))
    }
}
