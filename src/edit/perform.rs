//! Makes operations on a text, one after the other, each on what the one before has left.

use std::ops::Range;

use super::conf::Conf;
use super::hunk::{Draft, Hunk};
use super::lines::{ending_at, find_all, indent, line_end, line_of, line_start, ranges, without_end};
use super::operation::{Absent, Operation, Refusal, Syntax, Which, lines_words};
use super::php::Php;

/// A directive that is set somewhere.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    pub(super) line: usize,
    /// Nothing holds it back: no condition, no function.
    pub(super) top: bool,
    /// It sets, and does not add to what was there.
    pub(super) plain: bool,
    /// Name and value stand on one line.
    pub(super) one_line: bool,
    /// Where the value stands.
    pub(super) value: Range<usize>,
}

/// A comment that has its line for itself.
#[derive(Debug, Clone)]
pub(super) struct Commented {
    pub(super) line: usize,
    /// The line without its end.
    pub(super) whole: Range<usize>,
    /// What is said in it, without signs and spaces.
    pub(super) content: Range<usize>,
    /// What is said would be in force if it were no comment.
    pub(super) reached: bool,
}

/// What a syntax tells about a file.
pub(super) trait Sheet {
    /// Where `name` is set.
    fn assignments(&self, name: &str) -> Vec<Assignment>;
    /// Comments that have their line for themselves.
    fn commented(&self) -> Vec<Commented>;
    /// The line of a longer comment that says `text`.
    fn buried(&self, text: &str) -> Option<usize>;
    /// Whether a comment's content sets `name` to `value`, and says no more.
    fn says(&self, content: &[u8], name: &str, value: &str) -> bool;
    /// Whether two values are the same but for spaces.
    fn same(&self, a: &[u8], b: &[u8]) -> bool;
    /// Whether two lines are.
    fn same_line(&self, a: &[u8], b: &[u8]) -> bool;
    /// Where a line is in force.
    fn lines_in_force(&self, text: &str) -> Vec<Range<usize>>;
    /// Everything that is no comment.
    fn in_force(&self) -> Vec<Range<usize>>;
    /// Where a line is added.
    fn end(&self) -> Result<usize, Refusal>;
    /// A directive as this file writes it.
    fn written(&self, name: &str, value: &str) -> String;
    /// What a comment begins with.
    fn sign(&self) -> &'static str;
    /// Quoted texts, in which a comment sign would be none.
    fn holes(&self) -> Vec<Range<usize>>;
    /// Where a flag stands in a list `A | B`, and what is left there without it.
    fn flags(&self, flag: &str) -> Result<Vec<FlagPlace>, Refusal>;
}

/// Where a flag stands, and what is left there without it.
type FlagPlace = (Range<usize>, &'static [u8]);

fn sheet(text: &[u8], syntax: Syntax) -> Result<Box<dyn Sheet + '_>, Refusal> {
    Ok(match syntax {
        Syntax::Php => Box::new(Php::read(text)?),
        Syntax::Apache | Syntax::Ini => Box::new(Conf::read(text, syntax)),
    })
}

/// What one operation did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// It changed something.
    Made(String),
    /// All was so already.
    AlreadySo(String),
    /// It left something as it was, and why.
    Left(String),
}

/// An edited text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The text now.
    pub text: Vec<u8>,
    /// What has changed; nothing when all was so already.
    pub hunks: Vec<Hunk>,
    /// What each operation did, in order.
    pub notes: Vec<Note>,
}

/// Makes `operations` on `text`. Nothing is made unless all can be.
///
/// # Errors
/// Where a line cannot be told for certain, or the file cannot be read as what it is said to be.
pub fn edit(text: &[u8], syntax: Syntax, operations: &[Operation]) -> Result<Edited, Refusal> {
    if text.contains(&0) {
        return Err(Refusal::new("it holds a NUL byte: this is no text, or one in UTF-16"));
    }
    let mut draft = Draft::of(text);
    let mut notes = Vec::with_capacity(operations.len());
    for operation in operations {
        let now = draft.text().to_vec();
        let mut change = Change { text: &now, sheet: sheet(&now, syntax)?, made: Vec::new() };
        notes.push(change.make(operation)?);
        let mut made = change.made;
        made.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        for (range, with) in made {
            draft.replace(range, &with);
        }
        // What was made must be readable again: a bracket that a line took with it is seen here. And it must be found so
        // already: what stands before an added line may go on into it.
        let sheet = sheet(draft.text(), syntax)
            .map_err(|refusal| Refusal { why: format!("{}, once this is edited", refusal.why), ..refusal })?;
        let mut again = Change { text: draft.text(), sheet, made: Vec::new() };
        if !operation.goes_on() && (again.make(operation).is_err() || !again.made.is_empty()) {
            let why =
                format!("{} would not be read as it is meant beside what stands there", operation.about());
            return Err(Refusal::new(why).hint("edit it by hand"));
        }
    }
    let (text, hunks) = draft.finish();
    Ok(Edited { text, hunks, notes })
}

struct Change<'a> {
    text: &'a [u8],
    sheet: Box<dyn Sheet + 'a>,
    made: Vec<(Range<usize>, Vec<u8>)>,
}

impl Change<'_> {
    fn make(&mut self, operation: &Operation) -> Result<Note, Refusal> {
        match operation {
            Operation::Set { name, to, instead_of, absent, which } => {
                self.set(name, to, instead_of.as_deref(), *absent, *which)
            }
            Operation::Uncomment { text, absent, which } => self.uncomment(text, *absent, *which),
            Operation::Comment { text, absent, which } => self.comment(text, *absent, *which),
            Operation::Replace { text, with, absent, which } => self.replace(text, with, *absent, *which),
            Operation::Drop { flag } => self.drop_flag(flag),
            Operation::Block { name, text, unless } => self.block(name, text, unless.as_deref()),
        }
    }

    fn put(&mut self, range: Range<usize>, with: &[u8]) {
        self.made.push((range, with.to_vec()));
    }

    fn set(
        &mut self,
        name: &str,
        to: &str,
        instead_of: Option<&[String]>,
        absent: Absent,
        which: Which,
    ) -> Result<Note, Refusal> {
        let all = self.sheet.assignments(name);
        let lines =
            |found: &[&Assignment]| lines_words(&found.iter().map(|one| one.line).collect::<Vec<_>>());
        let so =
            |one: &Assignment| one.plain && self.sheet.same(&self.text[one.value.clone()], to.as_bytes());
        if all.iter().any(|one| one.top) && all.iter().all(so) {
            return Ok(Note::AlreadySo(format!("{name} is {to} already")));
        }
        let refuse = |found: &[&Assignment], why: String| {
            let line = found.first().map(|one| one.line);
            Err(Refusal { line, why, hint: None })
        };
        let odd: Vec<_> = all.iter().filter(|one| !one.plain).collect();
        let last = all.iter().rposition(|one| one.plain && one.top);
        let meant: Vec<&Assignment> = match which {
            _ if all.is_empty() => Vec::new(),
            Which::Last => match last.filter(|last| last + 1 == all.len()) {
                Some(last) => vec![&all[last]],
                None => {
                    return refuse(
                        &all.iter().collect::<Vec<_>>(),
                        format!(
                            "{name} is last changed under a condition, in a function, or on top of what it was; edit it by hand"
                        ),
                    );
                }
            },
            _ if !odd.is_empty() => {
                let why = format!("{name} is changed here on top of what it was; edit it by hand");
                return refuse(&odd, why);
            }
            _ if last.is_none() => {
                let why = format!(
                    "{name} is set under a condition or in a function only ({}); edit it by hand",
                    lines(&all.iter().collect::<Vec<_>>())
                );
                return refuse(&all.iter().collect::<Vec<_>>(), why);
            }
            Which::Only if all.len() > 1 => {
                let all: Vec<_> = all.iter().collect();
                let why = format!("{name} is set more than once: {}", lines(&all));
                return Err(Refusal {
                    line: Some(all[0].line),
                    why,
                    hint: Some("`which: last` or `which: every` says which is meant".to_owned()),
                });
            }
            Which::First => vec![&all[0]],
            Which::Only | Which::Every => all.iter().collect(),
        };
        let (mut edited, mut left) = (Vec::new(), Vec::new());
        for one in &meant {
            let value = &self.text[one.value.clone()];
            if so(one) {
                continue;
            }
            if instead_of
                .is_some_and(|list| !list.iter().any(|known| self.sheet.same(value, known.as_bytes())))
            {
                left.push(*one);
                continue;
            }
            if !one.one_line {
                return refuse(
                    &[*one],
                    format!("the value of {name} goes over several lines; edit it by hand"),
                );
            }
            edited.push((*one).clone());
        }
        if !edited.is_empty() {
            let told = format!("{name} becomes {to} ({})", lines(&edited.iter().collect::<Vec<_>>()));
            for one in edited {
                // `Name` alone has no value yet, and no space before one.
                let bare = one.value.is_empty()
                    && one.value.start > 0
                    && !self.text[one.value.start - 1].is_ascii_whitespace();
                let bare = bare && self.text[one.value.start - 1] != b'=';
                self.put(one.value, format!("{}{to}", if bare { " " } else { "" }).as_bytes());
            }
            return Ok(Note::Made(told));
        }
        if !left.is_empty() {
            let told =
                format!("{name} is something else on purpose, it seems ({}): left as it is", lines(&left));
            return Ok(Note::Left(told));
        }
        if !meant.is_empty() {
            return Ok(Note::AlreadySo(format!("{name} is {to} already")));
        }
        match absent {
            Absent::Leave => Ok(Note::AlreadySo(format!("{name} is not set: left so"))),
            Absent::Refuse => Err(Refusal::new(format!("{name} is not set"))),
            Absent::Add => self.put_in_force(name, to),
        }
    }

    /// A directive that is set nowhere: the one comment that says it is uncommented, or else a line is added.
    fn put_in_force(&mut self, name: &str, to: &str) -> Result<Note, Refusal> {
        let said: Vec<Commented> = self
            .sheet
            .commented()
            .into_iter()
            .filter(|one| one.reached && self.sheet.says(&self.text[one.content.clone()], name, to))
            .collect();
        if let [one] = said.as_slice() {
            self.bare(one);
            return Ok(Note::Made(format!(
                "{name} becomes {to} (line {}, commented out until now)",
                one.line
            )));
        }
        let line = self.sheet.written(name, to);
        let at = self.add(&[line.into_bytes()])?;
        Ok(Note::Made(format!("{name} becomes {to} (added as line {at})")))
    }

    /// Takes the comment signs off a line.
    fn bare(&mut self, one: &Commented) {
        let lead = one.whole.start + indent(&self.text[one.whole.clone()]);
        self.put(one.content.end..one.whole.end, b"");
        self.put(lead..one.content.start, b"");
    }

    /// Adds lines at the end; gives the first one's number.
    fn add(&mut self, lines: &[Vec<u8>]) -> Result<usize, Refusal> {
        let at = self.sheet.end()?;
        let ending = ending_at(self.text, at);
        // A file without an end to its last line stays one.
        let unfinished = at == self.text.len() && at > 0 && self.text[at - 1] != b'\n';
        let mut text = Vec::new();
        for line in lines {
            if unfinished {
                text.extend_from_slice(ending);
            }
            text.extend_from_slice(line);
            if !unfinished {
                text.extend_from_slice(ending);
            }
        }
        self.put(at..at, &text);
        Ok(line_of(self.text, at) + usize::from(unfinished))
    }

    /// Those of `found` that are meant.
    fn choose<T: Clone>(
        found: &[T],
        which: Which,
        line: impl Fn(&T) -> usize,
        what: &str,
    ) -> Result<Vec<T>, Refusal> {
        let first = found.first().into_iter();
        Ok(match which {
            Which::Only if found.len() > 1 => {
                let lines: Vec<_> = found.iter().map(line).collect();
                let refusal = Refusal::new(format!("{what} more than once: {}", lines_words(&lines)));
                return Err(Refusal { line: lines.first().copied(), ..refusal }
                    .hint("`which: first`, `last` or `every` says which is meant"));
            }
            Which::Only | Which::First => first.cloned().collect(),
            Which::Last => found.last().into_iter().cloned().collect(),
            Which::Every => found.to_vec(),
        })
    }

    fn uncomment(&mut self, text: &str, absent: Absent, which: Which) -> Result<Note, Refusal> {
        if let Some(there) = self.sheet.lines_in_force(text).first() {
            let line = line_of(self.text, there.start);
            return Ok(Note::AlreadySo(format!("`{text}` is in force already (line {line})")));
        }
        let found: Vec<Commented> = self
            .sheet
            .commented()
            .into_iter()
            .filter(|one| self.sheet.same_line(&self.text[one.content.clone()], text.as_bytes()))
            .collect();
        let chosen = Self::choose(&found, which, |one| one.line, &format!("`{text}` is commented out"))?;
        if chosen.is_empty() {
            if let Some(line) = self.sheet.buried(text) {
                let refusal = Refusal::new(format!("`{text}` is within a comment of several lines"));
                return Err(Refusal { line: Some(line), ..refusal }.hint("take it out of there by hand"));
            }
            return match absent {
                Absent::Leave => Ok(Note::Left(format!("`{text}` is not there: left so"))),
                Absent::Refuse => {
                    Err(Refusal::new(format!("`{text}` is neither commented out nor in force")))
                }
                Absent::Add => {
                    let line = self.add(&[text.as_bytes().to_vec()])?;
                    Ok(Note::Made(format!("`{text}` is added (line {line})")))
                }
            };
        }
        // What sets a directive anew is only exact where nothing else sets it.
        if let Some((name, _)) = text.split_once('=')
            && let Some(other) = self.sheet.assignments(name.trim()).first()
        {
            let why = format!(
                "{} is set here as well: uncommenting a second line would leave it to their order",
                name.trim()
            );
            return Err(Refusal { line: Some(other.line), ..Refusal::new(why) }
                .hint(format!("`set: {}` changes this line", name.trim())));
        }
        for one in &chosen {
            self.bare(one);
        }
        let lines: Vec<_> = chosen.iter().map(|one| one.line).collect();
        Ok(Note::Made(format!("`{text}` is uncommented ({})", lines_words(&lines))))
    }

    fn comment(&mut self, text: &str, absent: Absent, which: Which) -> Result<Note, Refusal> {
        let found = self.sheet.lines_in_force(text);
        let what = format!("`{text}` is in force");
        let chosen = Self::choose(&found, which, |place| line_of(self.text, place.start), &what)?;
        if chosen.is_empty() {
            let comments = self.sheet.commented();
            let said = comments
                .iter()
                .find(|one| self.sheet.same_line(&self.text[one.content.clone()], text.as_bytes()));
            return match (said, absent) {
                (Some(one), _) => {
                    Ok(Note::AlreadySo(format!("`{text}` is commented out already (line {})", one.line)))
                }
                (None, Absent::Leave | Absent::Add) => {
                    Ok(Note::Left(format!("`{text}` is not there: left so")))
                }
                (None, Absent::Refuse) => Err(Refusal::new(format!("`{text}` is not in force"))),
            };
        }
        for place in &chosen {
            let start = line_start(self.text, place.start);
            let line = without_end(&self.text[start..line_end(self.text, place.start)]);
            let alone = self.text[start..place.start].trim_ascii().is_empty()
                && place.end <= start + line.len()
                && self.nothing_after(place, start + line.len());
            if !alone {
                return Err(Refusal::at(
                    self.text,
                    place.start,
                    format!("`{text}` shares its line with other code; edit it by hand"),
                ));
            }
            self.put(place.start..place.start, self.sheet.sign().as_bytes());
        }
        let lines: Vec<_> = chosen.iter().map(|place| line_of(self.text, place.start)).collect();
        Ok(Note::Made(format!("`{text}` is commented out ({})", lines_words(&lines))))
    }

    /// Whether nothing in force follows `place` on its line, which ends at `end`.
    fn nothing_after(&self, place: &Range<usize>, end: usize) -> bool {
        self.sheet.in_force().iter().all(|part| {
            let (from, to) = (part.start.max(place.end), part.end.min(end));
            from >= to || self.text[from..to].trim_ascii().is_empty()
        })
    }

    fn replace(&mut self, text: &str, with: &str, absent: Absent, which: Which) -> Result<Note, Refusal> {
        let parts = self.sheet.in_force();
        let inside =
            |at: usize, length: usize| parts.iter().any(|part| part.start <= at && at + length <= part.end);
        let wanted: Vec<usize> =
            find_all(self.text, with.as_bytes()).filter(|at| inside(*at, with.len())).collect();
        let done =
            |at: usize| wanted.iter().any(|other| *other <= at && at + text.len() <= other + with.len());
        let found: Vec<usize> =
            find_all(self.text, text.as_bytes()).filter(|at| inside(*at, text.len()) && !done(*at)).collect();
        let line = |at: &usize| line_of(self.text, *at);
        let chosen = Self::choose(&found, which, line, &format!("`{text}` stands in force"))?;
        if chosen.is_empty() {
            return match (wanted.first(), absent) {
                (Some(at), _) => {
                    Ok(Note::AlreadySo(format!("`{with}` stands there already (line {})", line(at))))
                }
                (None, Absent::Refuse) => Err(Refusal::new(format!("`{text}` stands nowhere in force"))),
                (None, Absent::Leave | Absent::Add) => {
                    Ok(Note::Left(format!("`{text}` is not there: left so")))
                }
            };
        }
        for at in &chosen {
            self.put(*at..at + text.len(), with.as_bytes());
        }
        let lines: Vec<_> = chosen.iter().map(line).collect();
        Ok(Note::Made(format!("`{text}` is replaced ({})", lines_words(&lines))))
    }

    fn drop_flag(&mut self, flag: &str) -> Result<Note, Refusal> {
        let found = self.sheet.flags(flag)?;
        if found.is_empty() {
            return Ok(Note::AlreadySo(format!("{flag} is not in force")));
        }
        let lines: Vec<_> = found.iter().map(|(place, _)| line_of(self.text, place.end)).collect();
        for (place, with) in found {
            self.put(place, with);
        }
        Ok(Note::Made(format!("{flag} is taken out ({})", lines_words(&lines))))
    }

    fn block(&mut self, name: &str, text: &str, unless: Option<&str>) -> Result<Note, Refusal> {
        let sign = self.sheet.sign();
        let marks = [format!("{sign}BEGIN runbook {name}"), format!("{sign}END runbook {name}")];
        let holes = self.sheet.holes();
        let places = |mark: &str| -> Vec<Range<usize>> {
            ranges(self.text)
                .filter(|line| !holes.iter().any(|hole| hole.contains(&line.start)))
                .filter(|line| {
                    let words = mark.trim_start_matches(['#', ';', ' ']);
                    let line = self.text[line.clone()].trim_ascii();
                    let said = line.trim_ascii_start();
                    let signs = said.iter().take_while(|byte| b"#;/ ".contains(byte)).count();
                    signs > 0 && &said[signs..] == words.as_bytes()
                })
                .collect()
        };
        let found = marks.each_ref().map(|mark| places(mark));
        let existing = match (found[0].as_slice(), found[1].as_slice()) {
            ([], []) => None,
            ([begin], [end]) if begin.end <= end.start => Some(begin.end..end.start),
            ([first, ..], _) | ([], [first, ..]) => {
                let why = format!("the marks of the block `{name}` are not one pair");
                return Err(Refusal::at(self.text, first.start, why).hint("take them out by hand"));
            }
        };
        let lines: Vec<Vec<u8>> = text.lines().map(|line| line.as_bytes().to_vec()).collect();
        if let Some(inner) = existing {
            let ending = ending_at(self.text, inner.start);
            let new: Vec<u8> = lines.iter().flat_map(|line| [line, ending].concat()).collect();
            let line = line_of(self.text, inner.start);
            if self.text[inner.clone()] == new {
                return Ok(Note::AlreadySo(format!("the block `{name}` is there already (line {line})")));
            }
            self.put(inner, &new);
            return Ok(Note::Made(format!("the block `{name}` is renewed (from line {line})")));
        }
        if let Some(unless) = unless {
            let parts = self.sheet.in_force();
            let at = find_all(self.text, unless.as_bytes())
                .find(|at| parts.iter().any(|part| part.start <= *at && at + unless.len() <= part.end));
            if let Some(at) = at {
                let line = line_of(self.text, at);
                return Ok(Note::AlreadySo(format!(
                    "`{unless}` is in force already (line {line}): no block `{name}` is added"
                )));
            }
        }
        let [begin, end] = marks.map(String::into_bytes);
        let all: Vec<Vec<u8>> = std::iter::once(begin).chain(lines).chain([end]).collect();
        let at = self.add(&all)?;
        Ok(Note::Made(format!("the block `{name}` is added (from line {at})")))
    }
}
