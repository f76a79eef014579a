//! What a map in a runbook may hold: one table, from which it is read, checked, documented and made into a schema.

use serde_json::{Value as Json, json};

use super::param::{Param, Scalar};
use crate::source::{Diagnostic, Map, Node, NodeKind, Span, Spanned};

/// The kind of a field's value.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `30s`.
    Duration,
    /// `40%`.
    Ratio,
    /// A whole number.
    Count,
    /// A text; may hold templates.
    Text,
    /// `true` or `false`, or an input.
    Truth,
    /// `true` or `false`, written out.
    Flag,
    /// A condition.
    Condition,
    /// A list of texts.
    Texts,
    /// One of these words, written out.
    Word(&'static [&'static str]),
    /// One of these words, or an input.
    Choice(&'static [&'static str]),
    /// A gate.
    Gate,
    /// A list of steps.
    Steps,
    /// A map of its own shape.
    Map(&'static Shape),
    /// A list of texts or of maps of this shape.
    TextsOr(&'static Shape),
    /// A map with free keys and these values.
    Named(&'static Shape),
    /// A map with free keys and plain values of this kind.
    Each(&'static Kind),
    /// A list of maps of this shape.
    Maps(&'static Shape),
    /// Any scalar.
    Any,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// It must be there.
    pub required: bool,
    /// What it means, one sentence; its default, where it has one.
    pub about: &'static str,
}

/// A map's fields, and the short form that stands for one of them.
#[derive(Debug)]
pub struct Shape {
    /// What it is called: `deploy`, `gate`.
    pub name: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// A bare scalar or list stands for this field.
    pub short: Option<&'static str>,
    /// It may be left empty.
    pub empty: bool,
    /// Keys other than the fields are taken too, and read elsewhere.
    pub open: bool,
}

/// What `early` says, wherever a gate has it.
pub const EARLY: &str = "Shut it at once when it cannot be met in time any more, as its trend tells; `false` waits to its end. Default: true.";

/// A required field.
pub const fn required(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, required: true, about }
}

/// An optional field.
pub const fn optional(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, required: false, about }
}

/// A shape being read. Faults are collected, not returned: one reading reports them all.
pub struct Reading<'n, 'f> {
    shape: &'static Shape,
    map: Option<Map<'n>>,
    short: Option<&'n Node>,
    /// The whole node's place.
    pub span: Span,
    faults: &'f mut Vec<Diagnostic>,
}

impl<'n, 'f> Reading<'n, 'f> {
    /// Begins to read `node` as `shape`: unknown keys and missing fields are reported at once. `at` is where a missing
    /// field is shown.
    pub fn begin(
        node: &'n Node,
        shape: &'static Shape,
        at: Span,
        faults: &'f mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let (map, short) = match &node.kind {
            NodeKind::Map(_) => (node.map(shape.name).ok(), None),
            NodeKind::Nothing if shape.empty => (None, None),
            NodeKind::Text(_) | NodeKind::List(_) if shape.short.is_some() => (None, Some(node)),
            _ => {
                let fault = match node.kind {
                    NodeKind::Nothing => Diagnostic::error(at, format!("`{}` says nothing", shape.name)),
                    _ => node.mismatch("a map of keys"),
                };
                faults.push(fault.help(shape.usage()));
                return None;
            }
        };
        let known: Vec<&str> = shape.fields.iter().map(|field| field.name).collect();
        if let Some(map) = map {
            if !shape.open {
                map.refuse_others(&known, &format!("key of {}", shape.name), faults);
            }
            for field in shape.fields.iter().filter(|field| field.required) {
                if map.get(field.name).is_none() {
                    faults.push(missing(shape, field.name, at));
                }
            }
        } else {
            for field in shape.fields.iter().filter(|field| field.required && shape.short != Some(field.name))
            {
                faults.push(missing(shape, field.name, at));
            }
        }
        Some(Self { shape, map, short, span: node.span, faults })
    }

    /// The node under a key.
    pub fn node(&self, name: &str) -> Option<&'n Node> {
        debug_assert!(self.shape.fields.iter().any(|field| field.name == name), "`{name}` is in the table");
        match self.map {
            Some(map) => map.get(name),
            None if self.shape.short == Some(name) => self.short,
            None => None,
        }
    }

    /// The collected faults.
    pub fn faults(&mut self) -> &mut Vec<Diagnostic> {
        self.faults
    }

    /// A text.
    pub fn text(&mut self, name: &str) -> Option<Spanned<String>> {
        let node = self.node(name)?;
        match node.text("a text") {
            Ok(text) => Some(text),
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    /// A parameter: a literal or an input.
    pub fn param<T: Scalar>(&mut self, name: &str) -> Option<Param<T>> {
        let node = self.node(name)?;
        match node.text(T::EXPECTED) {
            Ok(text) => Some(Param::written(text)),
            Err(fault) => {
                self.faults.push(fault);
                None
            }
        }
    }

    /// `true` or `false`, written out: it decides how the file itself is read, so that no input may stand for it.
    pub fn truth(&mut self, name: &str) -> Option<bool> {
        let text = self.text(name)?;
        match text.value.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            other => {
                let fault = Diagnostic::error(text.span, format!("`{other}` is neither `true` nor `false`"));
                self.faults.push(match other.to_lowercase().as_str() {
                    "yes" | "on" | "true" => fault.help("write `true`"),
                    "no" | "off" | "false" => fault.help("write `false`"),
                    _ => fault,
                });
                None
            }
        }
    }

    /// A list of texts, each of which may hold inputs.
    pub fn text_params(&mut self, name: &str) -> Vec<Param<String>> {
        self.texts(name).into_iter().map(Param::written).collect()
    }

    /// A list of texts; a single one stands for a list of one.
    pub fn texts(&mut self, name: &str) -> Vec<Spanned<String>> {
        let Some(node) = self.node(name) else { return Vec::new() };
        let items = match &node.kind {
            NodeKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let mut texts = Vec::new();
        for item in items {
            match item.text("a text") {
                Ok(text) => texts.push(text),
                Err(fault) => self.faults.push(fault),
            }
        }
        texts
    }
}

fn missing(shape: &Shape, name: &str, at: Span) -> Diagnostic {
    Diagnostic::error(at, format!("the key `{name}` is missing here")).help(shape.usage())
}

impl Shape {
    /// One line: which keys it takes.
    pub fn usage(&self) -> String {
        let names = |required: bool| {
            let names = self.fields.iter().filter(|field| field.required == required);
            names.map(|field| field.name).collect::<Vec<_>>().join(", ")
        };
        let (must, may) = (names(true), names(false));
        let mut text = match (must.as_str(), may.as_str()) {
            ("", "") => format!("`{}` takes no keys", self.name),
            (must, "") => format!("`{}` takes {must}", self.name),
            ("", may) => format!("`{}` may have {may}", self.name),
            (must, may) => format!("`{}` takes {must}; it may have {may}", self.name),
        };
        if let Some(short) = self.short {
            text.push_str(&format!("; or just its `{short}`, without the key"));
        }
        text
    }

    /// Its JSON schema.
    pub fn schema(&self) -> Json {
        let mut properties = serde_json::Map::new();
        for field in self.fields {
            let mut schema = field.kind.schema();
            if let Json::Object(object) = &mut schema {
                object.insert("description".to_owned(), json!(field.about));
            }
            properties.insert(field.name.to_owned(), schema);
        }
        let required: Vec<_> =
            self.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        let mut map = json!({ "type": "object", "properties": properties, "required": required });
        if !self.open {
            map["additionalProperties"] = json!(false);
        }
        let mut forms = vec![map];
        if let Some(short) = self.short.and_then(|name| self.fields.iter().find(|field| field.name == name)) {
            forms.push(short.kind.schema());
        }
        if self.empty {
            forms.push(json!({ "type": "null" }));
        }
        if forms.len() == 1 { forms.remove(0) } else { json!({ "anyOf": forms }) }
    }

    /// Its fields as a Markdown table.
    pub fn table(&self) -> String {
        let mut out = String::from("| key | value | |\n|---|---|---|\n");
        for field in self.fields {
            let must = if field.required { " **Required.**" } else { "" };
            let short =
                if self.short == Some(field.name) { " May stand alone, without the key." } else { "" };
            let about = field.about.replace('|', "\\|");
            out.push_str(&format!("| `{}` | {} | {about}{must}{short} |\n", field.name, field.kind.words()));
        }
        out
    }
}

impl Kind {
    /// Its JSON schema.
    pub fn schema(self) -> Json {
        let template = json!({ "type": "string", "pattern": r"^\s*\$\{\{.*\}\}\s*$" });
        match self {
            Self::Duration => json!({ "type": "string", "examples": ["30s", "1m30s"] }),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Ratio => json!({ "type": "string", "examples": ["40%"] }),
            Self::Count => json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, template] }),
            Self::Text | Self::Any => json!({ "type": ["string", "number", "boolean"] }),
            Self::Condition => json!({ "type": "string", "examples": ["usage < 40% and refused == 0"] }),
            Self::Truth => json!({ "anyOf": [{ "type": "boolean" }, template] }),
            Self::Texts => {
                json!({ "anyOf": [{ "type": "array", "items": { "type": ["string", "number"] } }, { "type": "string" }] })
            }
            Self::Word(words) => json!({ "enum": words }),
            // Readers of the older YAML take these for truths.
            Self::Choice(words) if words.contains(&"on") => {
                json!({ "anyOf": [{ "enum": words }, { "type": "boolean" }, template] })
            }
            Self::Choice(words) => json!({ "anyOf": [{ "enum": words }, template] }),
            Self::Gate => json!({ "$ref": "#/$defs/gate" }),
            Self::Steps => json!({ "type": "array", "items": { "$ref": "#/$defs/step" } }),
            Self::Map(shape) => shape.schema(),
            Self::TextsOr(shape) => json!({ "anyOf": [
                { "type": "array", "items": { "anyOf": [{ "type": "string" }, shape.schema()] } },
                { "type": "string" },
            ] }),
            Self::Named(shape) => json!({ "type": "object", "additionalProperties": shape.schema() }),
            Self::Each(kind) => json!({ "type": "object", "additionalProperties": kind.schema() }),
            Self::Maps(shape) => json!({ "type": "array", "items": shape.schema() }),
        }
    }

    /// What a person would call it.
    pub fn words(self) -> String {
        match self {
            Self::Duration => "duration, `30s`".to_owned(),
            Self::Ratio => "ratio, `40%`".to_owned(),
            Self::Count => "whole number".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Truth | Self::Flag => "`true` or `false`".to_owned(),
            Self::Condition => "condition".to_owned(),
            Self::Texts => "list of texts".to_owned(),
            Self::Word(words) | Self::Choice(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Self::Gate => "gate".to_owned(),
            Self::Steps => "list of steps".to_owned(),
            Self::Map(shape) => format!(
                "map of {}",
                shape.fields.iter().map(|f| format!("`{}`", f.name)).collect::<Vec<_>>().join(", ")
            ),
            Self::TextsOr(shape) => {
                let keys = shape.fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>();
                format!("list of texts, or of maps of {}", keys.join(", "))
            }
            Self::Named(shape) => format!("map of names to [{0}](#{0}s)", shape.name),
            Self::Each(kind) => format!("map of names, each with a {}", kind.words()),
            Self::Maps(shape) => {
                let keys = shape.fields.iter().map(|field| format!("`{}`", field.name)).collect::<Vec<_>>();
                format!("list of maps of {}", keys.join(", "))
            }
            Self::Any => "value".to_owned(),
        }
    }
}
