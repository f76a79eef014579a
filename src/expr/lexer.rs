//! Words of the condition language, each with its place.

use super::units::{parse_duration, parse_number, parse_ratio};
use crate::health::Value;
use crate::source::{Diagnostic, Span};

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `usage`, `dynos.up`, `steps.kill-idle.killed`.
    Name(String),
    /// A literal.
    Literal(Value),
    And,
    Or,
    Not,
    Compare(super::ast::Operator),
    Open,
    Close,
}

/// Cuts `text` into tokens. Faults are reported together.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, Span)>, Vec<Diagnostic>> {
    let mut tokens = Vec::new();
    let mut faults = Vec::new();
    let mut at = 0;
    while let Some(next) = text[at..].chars().next() {
        let start = at;
        if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        }
        match token(&text[at..]) {
            Ok((token, length)) => {
                at += length;
                tokens.push((token, Span::new(start, at)));
            }
            Err((message, help, length)) => {
                at += length.max(next.len_utf8());
                let fault = Diagnostic::error(Span::new(start, at), message);
                faults.push(if help.is_empty() { fault } else { fault.help(help) });
            }
        }
    }
    if faults.is_empty() { Ok(tokens) } else { Err(faults) }
}

type Wrong = (String, String, usize);

fn token(rest: &str) -> Result<(Token, usize), Wrong> {
    use super::ast::Operator::{Above, AtLeast, AtMost, Below, Equal, NotEqual};
    const SIGNS: [(&str, Token); 8] = [
        ("<=", Token::Compare(AtMost)),
        (">=", Token::Compare(AtLeast)),
        ("==", Token::Compare(Equal)),
        ("!=", Token::Compare(NotEqual)),
        ("<", Token::Compare(Below)),
        (">", Token::Compare(Above)),
        ("(", Token::Open),
        (")", Token::Close),
    ];
    if let Some(inner) = rest.strip_prefix("${{") {
        let Some(end) = inner.find("}}") else {
            return Err((
                "a template is not closed".to_owned(),
                "write `}}` after it".to_owned(),
                rest.len(),
            ));
        };
        let name = inner[..end].trim();
        if !is_name(name) {
            return Err((
                format!("`{name}` is not a name"),
                "a template holds one name, such as `inputs.limit`".into(),
                end + 5,
            ));
        }
        return Ok((Token::Name(name.to_owned()), end + 5));
    }
    for (sign, token) in SIGNS {
        if rest.starts_with(sign) {
            return Ok((token, sign.len()));
        }
    }
    let first = rest.chars().next().unwrap_or_default();
    match first {
        '=' => Err(("`=` compares nothing".into(), "write `==`".into(), 1)),
        '&' => Err((
            "`&&` is not used here".into(),
            "write `and`".into(),
            if rest.starts_with("&&") { 2 } else { 1 },
        )),
        '|' => Err((
            "`||` is not used here".into(),
            "write `or`".into(),
            if rest.starts_with("||") { 2 } else { 1 },
        )),
        '!' => Err(("`!` is not used alone".into(), "write `not`".into(), 1)),
        '\'' | '"' => match rest[1..].find(first) {
            Some(end) => Ok((Token::Literal(Value::Text(rest[1..=end].to_owned())), end + 2)),
            None => Err(("a text is not closed".to_owned(), format!("write {first} after it"), rest.len())),
        },
        _ if first.is_ascii_digit() => number(rest),
        _ if first.is_ascii_alphabetic() || first == '_' => {
            let length = rest
                .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
                .unwrap_or(rest.len());
            let word = &rest[..length];
            let token = match word {
                "and" => Token::And,
                "or" => Token::Or,
                "not" => Token::Not,
                "true" => Token::Literal(Value::Truth(true)),
                "false" => Token::Literal(Value::Truth(false)),
                _ => Token::Name(word.to_owned()),
            };
            Ok((token, length))
        }
        '%' => Err(("a percent sign stands alone".into(), "write it without a space: `40%`".into(), 1)),
        '-' => Err(("a negative number makes no sense here".into(), String::new(), 1)),
        other => Err((
            format!("`{}` has no meaning in a condition", other.escape_debug()),
            String::new(),
            other.len_utf8(),
        )),
    }
}

fn number(rest: &str) -> Result<(Token, usize), Wrong> {
    let length =
        rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '%'))).unwrap_or(rest.len());
    let word = &rest[..length];
    let value = if word.ends_with('%') {
        parse_ratio(word).map(Value::Ratio)
    } else if word.ends_with(|c: char| c.is_ascii_alphabetic()) {
        parse_duration(word).map(|time| Value::Duration(Some(time.as_secs_f64())))
    } else {
        parse_number(word).map(Value::Count)
    };
    value.map(|value| (Token::Literal(value), length)).map_err(|why| (why, String::new(), length))
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
