//! One rule after the other, read from the tables: each with its place, and with every fault at once.

use std::collections::BTreeMap;

use super::freeze::{DAYS, day, minute};
use super::tables::{FREEZE, KILLS};
use super::{Freeze, Limit, Place, Rule};
use crate::action::{Reading, Scalar};
use crate::source::{Diagnostic, Node, NodeKind, Source, Span, Spanned, escape_controls};

/// Rules being read.
pub(super) struct Rules<'n, 'f> {
    source: &'n Source,
    read: Vec<Rule>,
    pub(super) reading: Reading<'n, 'f>,
}

impl<'n, 'f> Rules<'n, 'f> {
    pub(super) const fn begin(source: &'n Source, reading: Reading<'n, 'f>) -> Self {
        Self { source, read: Vec::new(), reading }
    }

    pub(super) fn add(&mut self, span: Span, limit: Limit) {
        self.read.push(Rule { place: Place::of(self.source, span), limit });
    }

    pub(super) fn fault(&mut self, span: Span, message: impl Into<String>, help: &str) {
        self.reading.faults().push(Diagnostic::error(span, message).help(help));
    }

    /// The rules that a runbook may set too.
    pub(super) fn shared(mut self) -> Vec<Rule> {
        for user in self.names("protected_users") {
            if user.contains('@') {
                self.fault(
                    user.span,
                    format!("`{}` names a host too, and no session's user is called that", user.value),
                    "write the user alone; it is protected from every host",
                );
            } else {
                self.add(user.span, Limit::ProtectedUser { user: user.value });
            }
        }
        for (kind, node) in self.entries("minimum_dynos") {
            if kind.is_empty() || !kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
                let told = escape_controls(kind).into_owned();
                self.fault(
                    kind.span,
                    format!("`{told}` is no process type"),
                    "they stand in the Procfile: `web`",
                );
            }
            if let Some(least) = self.scalar::<u64>(node) {
                self.add(kind.span, Limit::MinimumDynos { kind: kind.value.clone(), least });
            }
        }
        self.kills();
        self.read
    }

    fn kills(&mut self) {
        let Some(node) = self.reading.node("kills") else { return };
        let mut bounds = Vec::new();
        if let Some(mut kills) = Reading::begin(node, &KILLS, node.span, self.reading.faults()) {
            for name in ["per_run", "per_minute"] {
                bounds.extend(kills.node(name).map(|node| (name, node)));
            }
            if bounds.is_empty() && matches!(&node.kind, NodeKind::Map(entries) if entries.is_empty()) {
                kills.faults().push(Diagnostic::error(node.span, "`kills` says nothing").help(KILLS.usage()));
            }
        }
        for (name, node) in bounds {
            let Some(most) = self.scalar::<u64>(node) else { continue };
            if most == 0 {
                let help = "to forbid kills, protect the app's own database user";
                self.fault(node.span, "at most none is no bound", help);
                continue;
            }
            let limit =
                if name == "per_run" { Limit::KillsPerRun { most } } else { Limit::KillsPerMinute { most } };
            self.add(node.span, limit);
        }
    }

    pub(super) fn freezes(&mut self) {
        let Some(node) = self.reading.node("freeze") else { return };
        match node.list("a list of freezes") {
            Ok(items) => items.iter().for_each(|item| self.freeze(item)),
            Err(fault) => {
                self.reading.faults().push(fault.help("`- { days: [fri], from: 16:00, zone: …, why: … }`"));
            }
        }
    }

    fn freeze(&mut self, node: &Node) {
        let before = self.reading.faults().len();
        let Some(mut freeze) = Reading::begin(node, &FREEZE, node.span, self.reading.faults()) else {
            return;
        };
        let (zone, why) = (freeze.text("zone"), freeze.text("why"));
        let (from, to) = (freeze.text("from"), freeze.text("to"));
        let (days, except) = (freeze.texts("days"), freeze.texts("except"));
        let all_days = freeze.node("days").is_none();
        if days.is_empty() && !all_days {
            freeze
                .faults()
                .push(Diagnostic::error(node.span, "`days` names no day").help("leave it out for every day"));
        }
        if let Some(zone) = &zone
            && jiff::tz::TimeZone::get(zone).is_err()
        {
            let told = escape_controls(zone);
            self.fault(
                zone.span,
                format!("the time zone `{told}` is not known"),
                "write its IANA name: `Europe/Berlin`",
            );
        }
        let mut read_days = Vec::new();
        for text in &days {
            if let Some(day) = day(text) {
                read_days.push(day);
                continue;
            }

            let mut fault = crate::source::unknown(text, &DAYS, "day");
            fault.help.push("or a date: `2026-12-24`".to_owned());
            self.reading.faults().push(fault);
        }
        let from = self.time(from.as_ref(), 0);
        let to = self.time(to.as_ref(), 24 * 60);
        for name in &except {
            self.runbook(name);
        }
        if from == to && self.reading.faults().len() == before {
            self.fault(
                node.span,
                "this freeze begins when it ends",
                "leave `from` and `to` out for the whole day",
            );
        }
        if let (Some(zone), Some(why)) = (zone, why) {
            let limit = Limit::Freeze(Freeze {
                days: read_days,
                from,
                to,
                zone: zone.value,
                why: why.value.trim().to_owned(),
                except: except.into_iter().map(|name| name.value).collect(),
            });
            self.add(node.span, limit);
        }
    }

    fn time(&mut self, text: Option<&Spanned<String>>, default: u16) -> u16 {
        let Some(text) = text else { return default };
        minute(text).unwrap_or_else(|| {
            let told = escape_controls(text).into_owned();
            self.fault(
                text.span,
                format!("`{told}` is no time of the day"),
                "write `16:30`; `24:00` is the day's end",
            );
            default
        })
    }

    pub(super) fn allowed(&mut self) {
        let Some(place) = self.reading.node("allow").map(|node| node.span) else { return };
        let before = self.reading.faults().len();
        let mut who = BTreeMap::new();
        for (person, node) in self.entries("allow") {
            let items = match &node.kind {
                NodeKind::List(items) => items.as_slice(),
                _ => std::slice::from_ref(node),
            };
            let mut runbooks = Vec::new();
            for item in items {
                match item.text("a runbook's name") {
                    Ok(name) => {
                        self.runbook(&name);
                        runbooks.push(name.value);
                    }
                    Err(fault) => self.reading.faults().push(fault),
                }
            }
            who.insert(person.value.clone(), runbooks);
        }
        if who.is_empty() && self.reading.faults().len() == before {
            self.fault(
                place,
                "`allow` names nobody, so nobody could run anything",
                "`off: REASON` is for that",
            );
        }
        self.add(place, Limit::Allow { who });
    }

    /// A runbook's name, or `*`.
    pub(super) fn runbook(&mut self, name: &Spanned<String>) {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.value != "*" && (name.is_empty() || !name.chars().all(good)) {
            let told = escape_controls(name).into_owned();
            self.fault(
                name.span,
                format!("`{told}` is no name of a runbook"),
                "`runbook list` shows them; `*` is any",
            );
        }
    }

    /// A list of names: an empty one in it would be a rule about nothing, and a template one about nobody.
    fn names(&mut self, key: &str) -> Vec<Spanned<String>> {
        let names = self.reading.texts(key);
        for name in &names {
            if name.trim().is_empty() {
                self.fault(name.span, "an empty name is none", "write the name, or delete it");
            } else if name.contains("${{") {
                self.fault(name.span, "no input may stand in a guardrail", "write the name out");
            }
        }
        names
    }

    /// Names of apps; `*` where any may be meant.
    pub(super) fn apps(&mut self, key: &str, any: bool) -> Vec<Spanned<String>> {
        let names = self.names(key);
        for name in names.iter().filter(|name| !name.trim().is_empty() && !name.contains("${{")) {
            let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            let star = any && name.value == "*";
            if !good && !star {
                let told = escape_controls(name).into_owned();
                let help = "an app has small letters, digits and `-`; write its name, not its URL";
                self.fault(name.span, format!("`{told}` is no name of an app"), help);
            }
        }
        names
    }

    pub(super) fn reason(&mut self, key: &str, missing: &str) -> Option<Spanned<String>> {
        let node = self.reading.node(key)?;
        let text = match &node.kind {
            NodeKind::Text(_) => self.reading.text(key)?,
            _ => Spanned::new(String::new(), node.span),
        };
        if text.trim().chars().count() < 3 || matches!(text.as_str(), "true" | "yes" | "false") {
            self.fault(
                text.span,
                missing,
                "whoever is refused reads it: write a sentence; delete the key to switch on",
            );
        }
        Some(text)
    }

    /// A map with free keys.
    pub(super) fn entries(&mut self, key: &str) -> &'n [(Spanned<String>, Node)] {
        let Some(node) = self.reading.node(key) else { return &[] };
        match node.map("a map of names") {
            Ok(map) => map.entries(),
            Err(fault) => {
                self.reading.faults().push(fault);
                &[]
            }
        }
    }

    /// A value written out: no input may loosen a rule.
    pub(super) fn scalar<T: Scalar>(&mut self, node: &Node) -> Option<T> {
        let read = node.text(T::EXPECTED).and_then(|text| {
            T::parse(&text).map_err(|why| {
                Diagnostic::error(text.span, escape_controls(&why)).help(format!("expected: {}", T::EXPECTED))
            })
        });
        match read {
            Ok(value) => Some(value),
            Err(fault) => {
                self.reading.faults().push(fault);
                None
            }
        }
    }
}
