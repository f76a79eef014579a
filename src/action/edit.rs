//! `edit`: a file of the working tree, line by line; nothing is committed.
//!
//! What it would do is worked out in [`crate::edit`], from the file as it is; this verb only says what is wanted and shows
//! it. It never edits a file that it has not looked at just before, nor one that has changed since the plan was agreed to.

use std::collections::BTreeMap;

use super::by_hand::quoted;
use super::edit_lint::Crashes;
use super::edit_operation::{EDIT, Wanted};
use super::edit_undo::{PUT_BACK, places};
use super::param::{Bindings, Param};
use super::scene::{Failure, Progress, Scene};
use super::shape::{Kind, Reading, Shape, optional, required};
use super::verb::{Action, Done, Next, Output, Preview, Status, Verb};
use crate::edit::{Edited, Note, Operation, PutBack, Refusal, Syntax, apply, diff, digest, edit, put_back};
use crate::health::{Unit, Value};
use crate::platform::{Before, Change, Fault, FaultKind};
use crate::source::{Diagnostic, NodeKind, Spanned, escape_controls};

/// Edit a file of the working tree.
#[derive(Debug)]
pub struct Edit {
    file: Param<String>,
    syntax: Option<Spanned<String>>,
    edits: Vec<Wanted>,
    optional: bool,
    clean: Option<Param<bool>>,
    put_back: Vec<PutBack>,
    former: Option<String>,
}

impl Verb for Edit {
    const NAME: &'static str = "edit";
    const ABOUT: &'static str = "Edit a file of the working tree, line by line: shown as a diff before, done once, nothing committed. It refuses where more than one line could be meant.";
    const SHAPE: &'static Shape = &Shape {
        name: "edit",
        fields: &[
            required("file", Kind::Text, "Its path, from the top of the working tree."),
            optional(
                "syntax",
                Kind::Word(Syntax::WORDS),
                "How it is written. Default: by its ending (`.php`; `.conf`, `.htaccess`; `.ini`, `.env`, `.properties`).",
            ),
            optional("edits", Kind::Maps(&EDIT), "What is done, in this order; all of it, or nothing."),
            optional(
                "optional",
                Kind::Flag,
                "The file may be missing: then there is nothing to do. Default: false.",
            ),
            optional(
                "clean",
                Kind::Truth,
                "Refuse when the file has changes that are not committed yet: a deploy would ship them too. Default: false.",
            ),
            optional(
                "put_back",
                Kind::Maps(&PUT_BACK),
                "What an earlier edit has changed, to be put back: `runbook undo` writes this.",
            ),
            optional(
                "former",
                Kind::Text,
                "SHA-256 of the file before that edit: then it is put back already.",
            ),
        ],
        short: None,
        empty: false,
        open: false,
    };
    const OUTPUTS: &'static [Output] = &[
        Output { name: "changed", unit: Unit::Truth, about: "the file was changed" },
        Output { name: "places", unit: Unit::Count, about: "edited places" },
    ];

    fn read(reading: &mut Reading<'_, '_>) -> Option<Self> {
        let file = reading.param("file");
        let syntax = reading.text("syntax");
        let optional = reading.truth("optional").unwrap_or(false);
        let clean = reading.param("clean");
        let former = reading.text("former").map(|text| text.value);
        let (edits, back) = (reading.node("edits"), reading.node("put_back"));
        let at = reading.span;
        let syntax = match syntax {
            Some(word) if Syntax::named(&word).is_none() => {
                let fault =
                    Diagnostic::error(word.span, format!("`{}` is no syntax", escape_controls(&word)));
                reading.faults().push(fault.help(format!("one of: {}", Syntax::WORDS.join(", "))));
                None
            }
            syntax => syntax,
        };
        let put_back = back.map(|node| places(node, reading.faults())).unwrap_or_default();
        let items = match edits.map(|node| &node.kind) {
            Some(NodeKind::List(items)) => items.as_slice(),
            Some(_) => {
                let fault = edits.map(|node| node.mismatch("a list of edits"));
                reading.faults().extend(fault);
                return None;
            }
            None => &[],
        };
        if let (Some(_), Some(back)) = (edits, back) {
            let fault = Diagnostic::error(back.span, "an edit is made, or put back, and not both");
            reading.faults().push(fault.help("make it two steps"));
            return None;
        }
        let edits: Vec<_> = items.iter().filter_map(|item| Wanted::read(item, reading.faults())).collect();
        if items.is_empty() && back.is_none() {
            let fault = Diagnostic::error(at, "`edit` says what is done under `edits`");
            reading.faults().push(fault.help("`edits: [{ set: $wgJobRunRate, to: 0 }]`"));
            return None;
        }
        Some(Self { file: file?, syntax, edits, optional, clean, put_back, former })
    }
}

/// What an edit finds.
enum Found {
    /// The file is not there, and need not be.
    NoFile,
    Text(Box<Looked>),
}

struct Looked {
    before: Vec<u8>,
    edited: Edited,
    warnings: Vec<String>,
}

impl Edit {
    fn path(&self) -> String {
        let path = self.file.or(String::new());
        path.strip_prefix("./").map_or(path.clone(), str::to_owned)
    }

    fn syntax(&self) -> Option<Syntax> {
        self.syntax.as_ref().map_or_else(|| Syntax::of(&self.path()), |word| Syntax::named(word))
    }

    fn what(&self) -> String {
        format!("editing {}", self.path())
    }

    fn refused(&self, refusal: &Refusal) -> Failure {
        let fault = Fault::new(FaultKind::Refused, self.what(), refusal.to_string());
        match &refusal.hint {
            Some(hint) => fault.hint(hint.clone()),
            None => fault,
        }
        .into()
    }

    /// Reads the file, as it will be when earlier steps of the plan have edited it, and works out the edit.
    fn look(&self, scene: &Scene<'_>) -> Result<Found, Failure> {
        let (git, path) = (scene.observer.git(), self.path());
        let Some(mut before) = git.working_file(&path)? else {
            if self.optional {
                return Ok(Found::NoFile);
            }
            return Err(Fault::new(
                FaultKind::Missing,
                self.what(),
                "there is no such file in the working tree",
            )
            .hint("correct the step's `file`, or write `optional: true`")
            .into());
        };
        for change in scene.planned {
            if let Change::Edit { path: other, from, hunks, .. } = change
                && *other == path
                && *from == digest(&before)
            {
                before = apply(&before, hunks).unwrap_or(before);
            }
        }
        let mut warnings = Vec::new();
        let edited = if self.put_back.is_empty() {
            let (edited, found) = self.make(scene, &before)?;
            warnings = found;
            edited
        } else if self.former.as_deref() == Some(digest(&before).as_str()) {
            let note = Note::AlreadySo("the file is as it was before already".to_owned());
            Edited { text: before.clone(), hunks: Vec::new(), notes: vec![note] }
        } else {
            put_back(&before, &self.put_back).map_err(|refusal| self.refused(&refusal))?
        };
        for hunk in &edited.hunks {
            for text in [hunk.removed.written(), hunk.inserted.written()] {
                if git.redact(&text) != escape_controls(&text) {
                    let why = format!(
                        "line {}: a secret stands in what would be edited, and that is written down",
                        hunk.line
                    );
                    return Err(Fault::new(FaultKind::Refused, self.what(), why)
                        .hint("edit this line by hand, and better keep the secret in a config var")
                        .into());
                }
            }
        }
        if !edited.hunks.is_empty()
            && self.clean.as_ref().is_some_and(|clean| clean.or(false))
            && !git.pending(std::slice::from_ref(&path))?.is_empty()
        {
            let why = "the file has changes that are not committed, and a deploy would ship them too";
            return Err(Fault::new(FaultKind::Refused, self.what(), why)
                .hint(format!(
                    "`git diff -- {path}` shows them; commit them, deploy them or `git stash` them first"
                ))
                .into());
        }
        Ok(Found::Text(Box::new(Looked { before, edited, warnings })))
    }

    /// Makes the edits, but for those that would keep the app from starting; with what is wrong with the file all the same.
    fn make(&self, scene: &Scene<'_>, before: &[u8]) -> Result<(Edited, Vec<String>), Failure> {
        let syntax = self.syntax().unwrap_or(Syntax::Ini);
        let all: Vec<Operation> = self.edits.iter().filter_map(Wanted::operation).collect();
        let made = |operations: &[Operation]| {
            edit(before, syntax, operations).map_err(|refusal| self.refused(&refusal))
        };
        let mut edited = made(&all)?;
        let crashes = Crashes::before(scene, &self.path(), before);
        if crashes.added(&edited.text).is_none() {
            return Ok((edited, crashes.known()));
        }
        let (mut kept, mut left) = (Vec::new(), Vec::new());
        for operation in all {
            kept.push(operation);
            edited = made(&kept)?;
            if let Some(why) = crashes.added(&edited.text) {
                let about = kept.pop().map(|operation| operation.about().to_owned()).unwrap_or_default();
                left.push(Note::Left(format!(
                    "{about}: left as it is, since the app would not start: {why}"
                )));
            }
        }
        edited = made(&kept)?;
        edited.notes.extend(left);
        Ok((edited, crashes.known()))
    }

    /// What is still to be known when the edit is made: what was left, and what is wrong with the file.
    fn still(&self, scene: &Scene<'_>) -> Vec<String> {
        // It is said beside what was done; that it cannot be looked at now changes nothing of that.
        let Ok(Found::Text(looked)) = self.look(scene) else { return Vec::new() };
        let left = looked.edited.notes.into_iter().filter(|note| matches!(note, Note::Left(_)));
        [told(&left.collect::<Vec<_>>()), looked.warnings].concat()
    }

    /// The file must be the one whose edit was shown.
    fn unlike_agreed(&self, scene: &Scene<'_>, now: &str) -> Result<(), Failure> {
        let path = self.path();
        let mut agreed = scene.run.agreed_edits.iter().filter(|(agreed, _)| *agreed == path).peekable();
        if agreed.peek().is_none() || agreed.any(|(_, from)| from == now) {
            return Ok(());
        }
        let why = "the file has been changed since the plan was agreed to: what was shown is not what this would do";
        Err(Fault::new(FaultKind::Refused, self.what(), why)
            .hint("look at `git diff`, and run it again: it then shows what it would do to the file as it is")
            .into())
    }
}

fn told(notes: &[Note]) -> Vec<String> {
    notes
        .iter()
        .map(|note| match note {
            Note::Made(told) | Note::AlreadySo(told) | Note::Left(told) => escape_controls(told).into_owned(),
        })
        .collect()
}

fn outputs(places: usize) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("changed".to_owned(), Value::Truth(places > 0)),
        ("places".to_owned(), Value::Count(places as f64)),
    ])
}

fn places_words(count: usize) -> String {
    if count == 1 { "1 place".to_owned() } else { format!("{count} places") }
}

impl Looked {
    fn change(&self, path: &str) -> Change {
        Change::Edit {
            path: path.to_owned(),
            from: digest(&self.before),
            to: digest(&self.edited.text),
            hunks: self.edited.hunks.clone(),
        }
    }

    fn nothing(&self) -> String {
        let left = self.edited.notes.iter().any(|note| matches!(note, Note::Left(_)));
        if left {
            "nothing to edit, and something left as it is".to_owned()
        } else {
            "all is so already".to_owned()
        }
    }
}

impl Action for Edit {
    fn verb(&self) -> &'static str {
        Self::NAME
    }

    fn mutates(&self) -> bool {
        true
    }

    fn is_local(&self) -> bool {
        true
    }

    fn bind(&mut self, bindings: &Bindings) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        self.file.bind(bindings, &mut faults);
        super::param::bind_some(&mut self.clean, bindings, &mut faults);
        let (path, place) = (self.path(), self.file.text.span);
        if path.is_empty() && faults.is_empty() {
            faults.push(Diagnostic::error(place, "this names no file"));
        } else if path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".git") {
            let shown = escape_controls(&path).into_owned();
            faults.push(Diagnostic::error(place, format!("`{shown}` is no file of the working tree")));
        }
        let syntax = self.syntax();
        if syntax.is_none() && self.put_back.is_empty() && faults.is_empty() {
            let fault = Diagnostic::error(place, "how this file is written is not told by its ending");
            faults.push(fault.help(format!("write `syntax:` and one of: {}", Syntax::WORDS.join(", "))));
        }
        if let Some(syntax) = syntax {
            for edit in &mut self.edits {
                edit.bind(bindings, syntax, &mut faults);
            }
        }
        faults
    }

    fn by_hand(&self, _: &str, _: &Bindings) -> Vec<String> {
        let file = quoted(&self.file.or(String::new()));
        vec![format!("\"${{EDITOR:-vi}}\" {file}   # what is written above"), format!("git diff -- {file}")]
    }

    fn preview(&self, scene: &Scene<'_>) -> Result<Preview, Failure> {
        let path = self.path();
        let mut preview = Preview { nothing_to_do: true, ..Preview::default() };
        let looked = match self.look(scene)? {
            Found::NoFile => {
                preview.summary = format!("nothing: there is no {path}");
                return Ok(preview);
            }
            Found::Text(looked) => looked,
        };
        preview.details = told(&looked.edited.notes);
        preview.warnings.clone_from(&looked.warnings);
        let hunks = &looked.edited.hunks;
        if hunks.is_empty() {
            preview.summary = format!("nothing: in {path} {}", looked.nothing());
            return Ok(preview);
        }
        preview.nothing_to_do = false;
        preview.summary = format!("edit {path} in {}; nothing is committed", places_words(hunks.len()));
        let lines = diff(&path, &looked.before, &looked.edited.text, hunks);
        preview.diff = lines.iter().map(|line| scene.observer.git().redact(line)).collect();
        preview.changes.push(looked.change(&path));
        Ok(preview)
    }

    fn next(&self, scene: &Scene<'_>, progress: &Progress) -> Result<Next, Failure> {
        let path = self.path();
        if let Some(Change::Edit { hunks, .. }) = progress.made.last().map(|made| &made.change) {
            return Ok(Next::Done(Done {
                summary: format!("{path} edited in {}; nothing is committed", places_words(hunks.len())),
                outputs: outputs(hunks.len()),
                notes: self.still(scene),
                ..Done::default()
            }));
        }
        let looked = match self.look(scene)? {
            Found::NoFile => {
                let summary = format!("nothing to do: there is no {path}");
                let outputs = outputs(0);
                return Ok(Next::Done(Done {
                    status: Status::NothingToDo,
                    summary,
                    outputs,
                    ..Done::default()
                }));
            }
            Found::Text(looked) => looked,
        };
        if looked.edited.hunks.is_empty() {
            return Ok(Next::Done(Done {
                status: Status::AlreadySo,
                summary: format!("nothing to do in {path}: {}", looked.nothing()),
                outputs: outputs(0),
                notes: [told(&looked.edited.notes), looked.warnings].concat(),
                ..Done::default()
            }));
        }
        self.unlike_agreed(scene, &digest(&looked.before))?;
        Ok(Next::Change { change: looked.change(&path), before: Before::default() })
    }
}
