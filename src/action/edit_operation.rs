//! One entry of an `edit` step, as it is written.

use super::param::{Bindings, Param};
use super::shape::{Kind, Reading, Shape, optional};
use crate::edit::{Absent, Operation, Syntax, Which, line_fault, value_fault};
use crate::source::{Diagnostic, Node, Span, Spanned};

/// An entry's keys.
pub(super) const EDIT: Shape = Shape {
    name: "edit entry",
    fields: &[
        optional(
            "set",
            Kind::Text,
            "A directive: `$wgJobRunRate`, `MaxRequestWorkers`. Its value is changed where it is set; where it is not, a line that is commented out and says just this is uncommented, or one is added at the end.",
        ),
        optional("to", Kind::Text, "Its value, as the file writes it."),
        optional(
            "instead_of",
            Kind::Texts,
            "Only in place of these values, or of none: another one was chosen by somebody, and stays.",
        ),
        optional("uncomment", Kind::Text, "A line that is commented out, without its sign, is put in force."),
        optional("comment", Kind::Text, "A line that is in force is commented out."),
        optional("replace", Kind::Text, "A text in force, within one line."),
        optional("with", Kind::Text, "What it is replaced by."),
        optional("drop", Kind::Text, "A constant that is taken out of each `A | B` (PHP)."),
        optional(
            "block",
            Kind::Text,
            "Name of a block of lines between two marks, added at the end; one of this name is renewed.",
        ),
        optional("text", Kind::Text, "The block's lines."),
        optional("unless", Kind::Text, "No block is added where this is in force already."),
        optional(
            "absent",
            Kind::Word(&["add", "leave", "refuse"]),
            "When it is not there. Default: `add` for `set`, else `refuse`.",
        ),
        optional(
            "which",
            Kind::Word(&["first", "last", "every"]),
            "When it is there more than once. Default: that is refused.",
        ),
    ],
    short: None,
    empty: false,
    open: false,
};

/// What is done, and the keys that belong to it.
const DOES: [(&str, &[&str]); 6] = [
    ("set", &["to", "instead_of", "absent", "which"]),
    ("uncomment", &["absent", "which"]),
    ("comment", &["absent", "which"]),
    ("replace", &["with", "absent", "which"]),
    ("drop", &[]),
    ("block", &["text", "unless"]),
];

/// An entry.
#[derive(Debug)]
pub(super) struct Wanted {
    does: &'static str,
    /// The name or the text that it is about.
    about: Param<String>,
    /// `to`, `with`, `text`.
    new: Option<Param<String>>,
    instead_of: Option<Vec<Spanned<String>>>,
    unless: Option<Spanned<String>>,
    absent: Absent,
    which: Which,
}

impl Wanted {
    pub(super) fn read(node: &Node, faults: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut reading = Reading::begin(node, &EDIT, node.span, faults)?;
        let there: Vec<_> = DOES.iter().filter(|(does, _)| reading.node(does).is_some()).collect();
        let [(does, keys)] = there.as_slice() else {
            let words: Vec<_> = DOES.iter().map(|(does, _)| format!("`{does}`")).collect();
            let why = if there.is_empty() { "this entry does nothing" } else { "this entry does two things" };
            reading.faults().push(
                Diagnostic::error(node.span, why).help(format!("each entry has one of {}", words.join(", "))),
            );
            return None;
        };
        for field in EDIT.fields {
            if field.name != *does
                && !keys.contains(&field.name)
                && let Some(stray) = reading.node(field.name)
            {
                let fault =
                    Diagnostic::error(stray.span, format!("`{}` has no meaning for `{does}`", field.name));
                let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
                reading.faults().push(match keys.as_slice() {
                    [] => fault.help("it stands alone"),
                    keys => fault.help(format!("it may have {}", keys.join(", "))),
                });
            }
        }
        let needs = match *does {
            "set" => Some("to"),
            "replace" => Some("with"),
            "block" => Some("text"),
            _ => None,
        };
        let new = needs.and_then(|key| reading.param(key));
        if let Some(key) = needs
            && reading.node(key).is_none()
        {
            let fault = Diagnostic::error(node.span, format!("the key `{key}` is missing here"));
            reading.faults().push(fault.help(format!("`{does}` needs it")));
        }
        let instead_of = reading.node("instead_of").is_some().then(|| reading.texts("instead_of"));
        let unless = reading.text("unless");
        let word = |reading: &mut Reading<'_, '_>, key: &str, words: &[&str]| {
            let word = reading.text(key)?;
            if words.contains(&word.as_str()) {
                return Some(word.value);
            }
            let fault = Diagnostic::error(word.span, format!("`{key}` is none of {}", words.join(", ")));
            reading.faults().push(fault);
            None
        };
        let absent = match word(&mut reading, "absent", &["add", "leave", "refuse"]).as_deref() {
            Some("add") => Absent::Add,
            Some("leave") => Absent::Leave,
            None if *does == "set" => Absent::Add,
            _ => Absent::Refuse,
        };
        let which = match word(&mut reading, "which", &["first", "last", "every"]).as_deref() {
            Some("first") => Which::First,
            Some("last") => Which::Last,
            Some("every") => Which::Every,
            _ => Which::Only,
        };
        let about = reading.param(does)?;
        (needs.is_none() || new.is_some()).then_some(Self {
            does,
            about,
            new,
            instead_of,
            unless,
            absent,
            which,
        })
    }

    pub(super) fn bind(&mut self, bindings: &Bindings, syntax: Syntax, faults: &mut Vec<Diagnostic>) {
        let before = faults.len();
        self.about.bind(bindings, faults);
        super::param::bind_some(&mut self.new, bindings, faults);
        if faults.len() > before {
            return;
        }
        let mut fault = |span: Span, why: Option<String>| {
            faults.extend(why.map(|why| Diagnostic::error(span, why)));
        };
        let (about, new) = (self.about.or(String::new()), self.wanted());
        let at = self.about.text.span;
        let new_at = self.new.as_ref().map_or(at, |new| new.text.span);
        match self.does {
            "set" => {
                let odd = about.contains(char::is_whitespace)
                    || about.contains(['=', ';', '#'])
                    || about.is_empty();
                let php = syntax == Syntax::Php && !about.starts_with('$');
                fault(
                    at,
                    (odd || php).then(|| {
                        let like = if syntax == Syntax::Php { "$wgJobRunRate" } else { "MaxRequestWorkers" };
                        format!("`{about}` is no name of a directive such as `{like}`")
                    }),
                );
                fault(new_at, value_fault(syntax, &new));
                for known in self.instead_of.iter().flatten() {
                    fault(known.span, value_fault(syntax, known));
                }
            }
            "block" => {
                let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                let odd = about.is_empty() || !about.chars().all(plain);
                fault(at, odd.then(|| "a block's name has small letters, digits and `-`".to_owned()));
                fault(new_at, new.trim().is_empty().then(|| "the block has no lines".to_owned()));
                let marks = new.contains("BEGIN runbook ") || new.contains("END runbook ");
                fault(new_at, marks.then(|| "the block holds the mark of a block".to_owned()));
                if let Some(unless) = &self.unless {
                    fault(unless.span, line_fault(unless));
                }
            }
            "drop" => {
                let odd = about.is_empty() || !about.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                fault(
                    at,
                    odd.then(|| format!("`{about}` is no name of a constant such as `DBO_PERSISTENT`")),
                );
                let php = syntax == Syntax::Php;
                fault(at, (!php).then(|| "flags are a thing of PHP".to_owned()));
            }
            does => {
                fault(at, line_fault(&about));
                let many = does == "replace" && new.contains(['\n', '\r']);
                fault(new_at, many.then(|| "this must be within one line".to_owned()));
            }
        }
    }

    fn wanted(&self) -> String {
        self.new.as_ref().map_or(String::new(), |new| new.or(String::new()))
    }

    /// The operation; `None` before it is bound.
    pub(super) fn operation(&self) -> Option<Operation> {
        let about = self.about.or(String::new());
        let (absent, which) = (self.absent, self.which);
        let unless = || self.unless.as_ref().map(|text| text.value.clone());
        let list = |list: &Vec<Spanned<String>>| list.iter().map(|text| text.value.clone()).collect();
        Some(match self.does {
            _ if about.is_empty() => return None,
            "set" => {
                let instead_of = self.instead_of.as_ref().map(list);
                Operation::Set { name: about, to: self.wanted().trim().to_owned(), instead_of, absent, which }
            }
            "uncomment" => Operation::Uncomment { text: about, absent, which },
            "comment" => Operation::Comment { text: about, absent, which },
            "replace" => Operation::Replace { text: about, with: self.wanted(), absent, which },
            "drop" => Operation::Drop { flag: about },
            _ => Operation::Block { name: about, text: self.wanted(), unless: unless() },
        })
    }
}
