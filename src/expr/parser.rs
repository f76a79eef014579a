//! Tokens to a tree. `or` binds loosest, then `and`, then `not`.

use super::ast::{Node, Operand};
use super::lexer::{Token, lex};
use crate::source::{Diagnostic, Span};

/// Longest condition, in bytes.
const LENGTH: usize = 4096;
/// Deepest nesting.
const DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Node, Vec<Diagnostic>> {
    let whole = Span::new(0, text.len());
    if text.len() > LENGTH {
        return Err(vec![Diagnostic::error(
            whole,
            format!("a condition may have {LENGTH} bytes; this has {}", text.len()),
        )]);
    }
    let tokens = lex(text)?;
    if tokens.is_empty() {
        return Err(vec![
            Diagnostic::error(whole, "the condition is empty").help("write one, such as `usage < 40%`"),
        ]);
    }
    let mut parser = Parser { tokens: &tokens, at: 0, end: text.len() };
    let node = parser.or(0).map_err(|fault| vec![fault])?;
    match parser.peek() {
        None => Ok(node),
        Some((Token::Compare(sign), span)) => Err(vec![
            Diagnostic::error(span, format!("a second `{}`: comparisons do not chain", sign.sign()))
                .help("write `a < b and b < c`"),
        ]),
        Some((_, span)) => Err(vec![
            Diagnostic::error(span, "this does not belong to the condition before it")
                .help("join conditions with `and` or `or`"),
        ]),
    }
}

struct Parser<'t> {
    tokens: &'t [(Token, Span)],
    at: usize,
    end: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<(&Token, Span)> {
        self.tokens.get(self.at).map(|(token, span)| (token, *span))
    }

    fn eat(&mut self, wanted: &Token) -> Option<Span> {
        match self.peek() {
            Some((token, span)) if token == wanted => {
                self.at += 1;
                Some(span)
            }
            _ => None,
        }
    }

    fn here(&self) -> Span {
        self.peek().map_or(Span::new(self.end.saturating_sub(1), self.end), |(_, span)| span)
    }

    fn or(&mut self, depth: usize) -> Result<Node, Diagnostic> {
        if depth > DEPTH {
            return Err(Diagnostic::error(self.here(), format!("nested more than {DEPTH} deep")));
        }
        let mut left = self.and(depth)?;
        while self.eat(&Token::Or).is_some() {
            left = Node::Or(Box::new(left), Box::new(self.and(depth)?));
        }
        Ok(left)
    }

    fn and(&mut self, depth: usize) -> Result<Node, Diagnostic> {
        let mut left = self.not(depth)?;
        while self.eat(&Token::And).is_some() {
            left = Node::And(Box::new(left), Box::new(self.not(depth)?));
        }
        Ok(left)
    }

    fn not(&mut self, depth: usize) -> Result<Node, Diagnostic> {
        let mut nots = Vec::new();
        while let Some(span) = self.eat(&Token::Not) {
            nots.push(span);
            if nots.len() > DEPTH {
                return Err(Diagnostic::error(span, format!("more than {DEPTH} `not` in a row")));
            }
        }
        let mut node = self.comparison(depth)?;
        while let Some(span) = nots.pop() {
            node = Node::Not(Box::new(node), span);
        }
        Ok(node)
    }

    fn comparison(&mut self, depth: usize) -> Result<Node, Diagnostic> {
        if let Some(open) = self.eat(&Token::Open) {
            let node = self.or(depth + 1)?;
            if self.eat(&Token::Close).is_none() {
                return Err(Diagnostic::error(self.here(), "a `)` is missing").also(open, "opened here"));
            }
            return Ok(node);
        }
        let left = self.operand()?;
        let Some((Token::Compare(operator), _)) = self.peek() else { return Ok(Node::Alone(left)) };
        let operator = *operator;
        self.at += 1;
        let right = self.operand()?;
        Ok(Node::Compare(left, operator, right))
    }

    fn operand(&mut self) -> Result<Operand, Diagnostic> {
        let operand = match self.peek() {
            Some((Token::Name(name), span)) => Operand::Name(name.clone(), span),
            Some((Token::Literal(value), span)) => Operand::Literal(value.clone(), span),
            Some((_, span)) => {
                return Err(Diagnostic::error(span, "a name or a value is expected here")
                    .help("conditions look like `usage < 40% and refused == 0`"));
            }
            None => {
                return Err(Diagnostic::error(
                    self.here(),
                    "the condition ends too early: a name or a value is missing",
                ));
            }
        };
        self.at += 1;
        Ok(operand)
    }
}
