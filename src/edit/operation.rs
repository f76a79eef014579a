//! What can be done to a file.

use super::lines::line_of;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// PHP: `$name = value;`, comments `#`, `//`, `/* */`.
    Php,
    /// Apache: `Name value`, comments `#`, sections `<Name>`.
    Apache,
    /// `name = value`, comments `#` and `;`, sections `[name]`; shell variables as well.
    Ini,
}

impl Syntax {
    /// Its word in a runbook, and all of them.
    pub const WORDS: &'static [&'static str] = &["php", "apache", "ini"];

    /// By its word.
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "php" => Some(Self::Php),
            "apache" => Some(Self::Apache),
            "ini" => Some(Self::Ini),
            _ => None,
        }
    }

    /// By the ending of a file's name.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ending.to_ascii_lowercase().as_str() {
            "php" | "phtml" => Some(Self::Php),
            "conf" | "htaccess" => Some(Self::Apache),
            "ini" | "env" | "properties" | "cnf" => Some(Self::Ini),
            _ => None,
        }
    }
}

/// What happens when what an operation is about is not in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// It is put in.
    Add,
    /// The file is left as it is.
    Leave,
    /// The edit is refused.
    Refuse,
}

/// Which of several lines is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// There must be one.
    Only,
    /// The first.
    First,
    /// The last.
    Last,
    /// Every one.
    Every,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A directive gets a value.
    Set {
        /// `$wgJobRunRate`, `MaxRequestWorkers`.
        name: String,
        /// As the file writes it.
        to: String,
        /// Only where one of these stands, or nothing; `None` = whatever stands.
        instead_of: Option<Vec<String>>,
        /// When it is not set.
        absent: Absent,
        /// When it is set more than once.
        which: Which,
    },
    /// A line that is commented out is put in force.
    Uncomment {
        /// The line, without its comment sign.
        text: String,
        /// When it is neither commented out nor in force.
        absent: Absent,
        /// When it is commented out more than once.
        which: Which,
    },
    /// A line that is in force is commented out.
    Comment {
        /// The line.
        text: String,
        /// When it is not in force.
        absent: Absent,
        /// When it is in force more than once.
        which: Which,
    },
    /// A text in force is replaced by another.
    Replace {
        /// What stands there.
        text: String,
        /// What shall.
        with: String,
        /// When neither stands there.
        absent: Absent,
        /// When it stands there more than once.
        which: Which,
    },
    /// A constant is taken out of every `A | B`.
    Drop {
        /// `DBO_PERSISTENT`.
        flag: String,
    },
    /// A block between two marks, at the end; one of the same name is replaced.
    Block {
        /// Its name in the marks.
        name: String,
        /// Its lines.
        text: String,
        /// It is left out where this is in force outside of it.
        unless: Option<String>,
    },
}

impl Operation {
    /// The directive, line or block that it is about.
    pub fn about(&self) -> &str {
        match self {
            Self::Set { name, .. } | Self::Block { name, .. } => name,
            Self::Uncomment { text, .. } | Self::Comment { text, .. } | Self::Replace { text, .. } => text,
            Self::Drop { flag } => flag,
        }
    }

    /// Whether making it again may go on to the next match; any other finds all so already.
    pub(super) const fn goes_on(&self) -> bool {
        matches!(self, Self::Comment { which: Which::First | Which::Last, .. } | Self::Replace { .. })
    }
}

/// Why `line` is no line to look for.
pub fn line_fault(line: &str) -> Option<String> {
    if line.trim().is_empty() {
        Some("this is empty".to_owned())
    } else {
        line.contains(['\n', '\r']).then(|| "this must be one line".to_owned())
    }
}

/// Why `value` is no value of a directive.
pub fn value_fault(syntax: Syntax, value: &str) -> Option<String> {
    let value = value.trim();
    if let Some(fault) = line_fault(value) {
        return Some(fault);
    }
    let bare = match syntax {
        Syntax::Php => super::php::is_value(value.as_bytes()),
        Syntax::Apache => !value.ends_with('\\'),
        Syntax::Ini => !value.contains(" #") && !value.contains(" ;"),
    };
    (!bare).then(|| "this is not one value as the file writes it".to_owned())
}

/// Why a file is not edited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The line that it is about.
    pub line: Option<usize>,
    /// Why.
    pub why: String,
    /// What now.
    pub hint: Option<String>,
}

impl Refusal {
    /// About the whole file.
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { line: None, why: why.into(), hint: None }
    }

    /// About the line that holds the byte at `at`.
    pub(super) fn at(text: &[u8], at: usize, why: impl Into<String>) -> Self {
        Self { line: Some(line_of(text, at)), ..Self::new(why) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// `line 12`, `lines 12 and 40`.
pub(super) fn lines_words(lines: &[usize]) -> String {
    let mut lines = lines.to_vec();
    lines.dedup();
    let words: Vec<String> = lines.iter().map(ToString::to_string).collect();
    match words.as_slice() {
        [one] => format!("line {one}"),
        [front @ .., last] => format!("lines {} and {last}", front.join(", ")),
        [] => "no line".to_owned(),
    }
}
