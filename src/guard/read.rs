//! Reads rules: a whole `guardrails.yaml`, or the part of them that stands in a runbook.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::freeze::{DAYS, day, minute};
use super::{Freeze, Guardrails, Limit, Place, Rule};
use crate::action::{Kind, Reading, Scalar, Shape, optional, required};
use crate::source::{Diagnostic, Node, NodeKind, Source, Span, Spanned, escape_controls, yaml};

/// The version of the format that this tool reads.
const FORMAT: &str = "1";

const USERS: crate::action::Field = optional(
    "protected_users",
    Kind::Texts,
    "Database users whose sessions are never killed, without a host.",
);
const MINIMUM: crate::action::Field = optional(
    "minimum_dynos",
    Kind::Each(&Kind::Count),
    "By process type, the number that a scale never goes below.",
);
const KILLED: crate::action::Field =
    optional("kills", Kind::Map(&KILLS), "How many database sessions are killed at most.");

/// Bounds of kills.
const KILLS: Shape = Shape {
    name: "kills",
    fields: &[
        optional("per_run", Kind::Count, "At most this many in one run, 1 or more."),
        optional("per_minute", Kind::Count, "At most this many within sixty seconds, 1 or more."),
    ],
    short: None,
    empty: false,
    open: false,
};

/// Hours in which nothing is changed.
const FREEZE: Shape = Shape {
    name: "freeze",
    fields: &[
        required("zone", Kind::Text, "IANA name of the time zone: `Europe/Berlin`."),
        required("why", Kind::Text, "Why; it is what a refused person reads."),
        optional("days", Kind::Texts, "`mon` to `sun`, or dates (`2026-12-24`). Default: every day."),
        optional("from", Kind::Text, "Local time at which it begins, `16:00`. Default: `00:00`."),
        optional(
            "to",
            Kind::Text,
            "Local time at which it ends; at or before `from`, on the day after. Default: `24:00`.",
        ),
        optional("except", Kind::Texts, "Runbooks that may run all the same."),
    ],
    short: None,
    empty: false,
    open: false,
};

/// A `guardrails.yaml`.
const GUARDRAILS: Shape = Shape {
    name: "guardrails",
    fields: &[
        required("guardrails", Kind::Word(&[FORMAT]), "Version of the format."),
        optional("off", Kind::Text, "Refuses every run that changes something; says why."),
        USERS,
        optional("protected_apps", Kind::Texts, "Apps that are never changed at all."),
        MINIMUM,
        KILLED,
        optional("freeze", Kind::Maps(&FREEZE), "Hours in which no run that changes something begins."),
        optional(
            "allow",
            Kind::Each(&Kind::Texts),
            "Who may run what: a local user, an account's e-mail or `*`, each with runbooks or `*`. Who is not named may not.",
        ),
        optional(
            "type_the_name",
            Kind::Texts,
            "Apps (or `*`) whose name a person types at a terminal before they are changed; `--yes` is no answer.",
        ),
        optional(
            "cool_down",
            Kind::Each(&Kind::Duration),
            "By runbook (or `*`), how long after it has changed something it may not run again on the same app.",
        ),
    ],
    short: None,
    empty: false,
    open: false,
};

/// What a runbook may say of its own: it tightens, it never loosens.
pub const RUNBOOK_PART: Shape =
    Shape { name: "guardrails", fields: &[USERS, MINIMUM, KILLED], short: None, empty: false, open: false };

/// The JSON schema of a `guardrails.yaml`, for editors.
pub fn guardrails_schema() -> Json {
    let mut schema = GUARDRAILS.schema();
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("guardrails");
    schema["properties"]["guardrails"] = json!({ "const": 1, "description": "Version of the format." });
    schema
}

/// Whether a text is a file of guardrails: by its first key, which is found also when the rest is not YAML.
pub fn is_guardrails(source: &Source) -> bool {
    let first =
        source.text.trim_start_matches('\u{feff}').lines().map(str::trim).find(|line| {
            !line.is_empty() && !line.starts_with('#') && *line != "---" && !line.starts_with('%')
        });
    first
        .and_then(|line| line.strip_prefix("guardrails"))
        .is_some_and(|rest| rest.trim_start().starts_with(':'))
}

/// Reads a `guardrails.yaml`. Every fault is reported, each with its place.
///
/// # Errors
/// The faults. A file with a fault is no guardrails at all: whoever asked must refuse to go on.
pub fn read(source: &Source) -> Result<Guardrails, Vec<Diagnostic>> {
    let node =
        yaml::read(source).map_err(|faults| faults.into_iter().map(about_this_file).collect::<Vec<_>>())?;
    let mut faults = Vec::new();
    let rules = whole(source, &node, &mut faults);
    if faults.is_empty() {
        Ok(Guardrails { files: vec![source.name.to_string()], rules })
    } else {
        Err(faults)
    }
}

/// The reader's advice is about runbooks.
fn about_this_file(mut fault: Diagnostic) -> Diagnostic {
    if fault.message == "the file is empty" {
        fault.help = vec!["it begins with `guardrails: 1`; docs/guardrails.md shows the rest".to_owned()];
    }
    fault
}

/// Reads the rules that a runbook sets itself.
pub fn read_part(source: &Source, node: &Node, faults: &mut Vec<Diagnostic>) -> Guardrails {
    let rules = match Reading::begin(node, &RUNBOOK_PART, node.span, faults) {
        Some(reading) => Rules { source, rules: Vec::new(), reading }.shared(),
        None => Vec::new(),
    };
    Guardrails { files: Vec::new(), rules }
}

fn whole(source: &Source, node: &Node, faults: &mut Vec<Diagnostic>) -> Vec<Rule> {
    let head = node.map("guardrails").map_or(Span::default(), |map| map.head());
    let Some(reading) = Reading::begin(node, &GUARDRAILS, head, faults) else { return Vec::new() };
    let mut rules = Rules { source, rules: Vec::new(), reading };
    if let Some(version) = rules.reading.text("guardrails")
        && version.value != FORMAT
    {
        let told = escape_controls(&version).into_owned();
        rules.fault(
            version.span,
            format!("format version `{told}` is not known"),
            &format!("this tool reads version {FORMAT}: write `guardrails: {FORMAT}`, or use a newer tool"),
        );
        return Vec::new();
    }
    if let Some(reason) = rules.reason("off", "switching everything off needs a reason") {
        rules.add(reason.span, Limit::Off { reason: reason.value.trim().to_owned() });
    }
    for app in rules.apps("protected_apps", false) {
        rules.add(app.span, Limit::ProtectedApp { app: app.value });
    }
    rules.freezes();
    rules.allowed();
    for app in rules.apps("type_the_name", true) {
        rules.add(app.span, Limit::TypeTheName { app: app.value });
    }
    for (runbook, node) in rules.entries("cool_down") {
        rules.runbook(runbook);
        if let Some(time) = rules.scalar::<Duration>(node) {
            let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            rules.add(runbook.span, Limit::CoolDown { runbook: runbook.value.clone(), time_ms });
        }
    }
    rules.shared()
}

/// Rules being read.
struct Rules<'n, 'f> {
    source: &'n Source,
    rules: Vec<Rule>,
    reading: Reading<'n, 'f>,
}

impl<'n> Rules<'n, '_> {
    fn add(&mut self, span: Span, limit: Limit) {
        self.rules.push(Rule { place: Place::of(self.source, span), limit });
    }

    fn fault(&mut self, span: Span, message: impl Into<String>, help: &str) {
        self.reading.faults().push(Diagnostic::error(span, message).help(help));
    }

    /// The rules that a runbook may set too.
    fn shared(mut self) -> Vec<Rule> {
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
        self.rules
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

    fn freezes(&mut self) {
        let Some(node) = self.reading.node("freeze") else { return };
        match node.list("a list of freezes") {
            Ok(items) => items.iter().for_each(|item| self.freeze(item)),
            Err(fault) => {
                self.reading.faults().push(fault.help("`- { days: [fri], from: 16:00, zone: …, why: … }`"))
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
            match day(text) {
                Some(day) => read_days.push(day),
                None => {
                    let mut fault = crate::source::unknown(text, &DAYS, "day");
                    fault.help.push("or a date: `2026-12-24`".to_owned());
                    self.reading.faults().push(fault);
                }
            }
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

    fn allowed(&mut self) {
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
    fn runbook(&mut self, name: &Spanned<String>) {
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
    fn apps(&mut self, key: &str, any: bool) -> Vec<Spanned<String>> {
        let names = self.names(key);
        for name in names.iter().filter(|name| !name.trim().is_empty() && !name.contains("${{")) {
            let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            if !good && !(any && name.value == "*") {
                let told = escape_controls(name).into_owned();
                let help = "an app has small letters, digits and `-`; write its name, not its URL";
                self.fault(name.span, format!("`{told}` is no name of an app"), help);
            }
        }
        names
    }

    fn reason(&mut self, key: &str, missing: &str) -> Option<Spanned<String>> {
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
    fn entries(&mut self, key: &str) -> &'n [(Spanned<String>, Node)] {
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
    fn scalar<T: Scalar>(&mut self, node: &Node) -> Option<T> {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::render;

    /// Rules of a text that is good.
    #[track_caller]
    pub(in crate::guard) fn rails(text: &str) -> Guardrails {
        let source = Source::new("t.yaml", text);
        read(&source).unwrap_or_else(|faults| panic!("{}", render(&source, &faults, false)))
    }

    #[test]
    fn every_rule_knows_its_line() {
        let text = "# ours\nguardrails: 1\noff: an audit\nprotected_users:\n  - backup\n  - replica\nprotected_apps: wiki\nminimum_dynos:\n  web: 2\nkills:\n  per_run: 7\n  per_minute: 5\ntype_the_name: ['*']\nallow:\n  '*': emergency\ncool_down: { emergency: 15m }\nfreeze:\n  - { zone: UTC, why: holidays }\n";
        let mut lines: Vec<_> = rails(text).rules.iter().map(|rule| rule.place.line).collect();
        lines.sort_unstable();
        assert_eq!(lines, [3, 5, 6, 7, 9, 11, 12, 13, 15, 16, 18]);
        assert_eq!(rails(text).rules[0].place.to_string(), "t.yaml:3");
    }

    #[test]
    fn a_rule_that_would_say_nothing_is_a_fault() {
        for (text, words) in [
            ("off: true", "needs a reason"),
            ("off:", "needs a reason"),
            ("protected_users: ['backup@%']", "names a host too"),
            ("protected_users: ['']", "an empty name"),
            ("kills: {}", "says nothing"),
            ("kills: { per_run: 0 }", "no bound"),
            ("kills: { per_run: many }", "not a number"),
            ("kills: { per_run: '${{ inputs.n }}' }", "not a whole number"),
            ("protected_users: ['${{ inputs.u }}']", "no input may stand"),
            ("protected_apps: [https://wiki.herokuapp.com]", "no name of an app"),
            ("protected_apps: ['*']", "no name of an app"),
            ("minimum_dynos: { 'web 1': 1 }", "no process type"),
            ("minimum_dynos: { web: -1 }", "negative"),
            ("minimum_dynos: [web]", "a map of names is expected"),
            ("freeze: { zone: UTC, why: x }", "a list of freezes"),
            ("freeze: [{ zone: UTC, why: xx, days: [] }]", "names no day"),
            ("freeze: [{ zone: UTC, why: xx, from: '09:00', to: '09:00' }]", "begins when it ends"),
            ("freeze: [{ zone: UTC }]", "`why` is missing"),
            ("freeze: [{ zone: CET/Berlin, why: xx }]", "is not known"),
            ("allow: {}", "names nobody"),
            ("allow: { anna: [Deploy Fix] }", "no name of a runbook"),
            ("cool_down: 5m", "a map of names is expected"),
            ("cool_down: { emergency: 5 }", "no unit"),
            ("guardrail: 1", "unknown key"),
        ] {
            let source = Source::new("t.yaml", format!("guardrails: 1\n{text}\n"));
            let faults = read(&source).expect_err(text);
            assert!(faults.len() == 1 && faults[0].message.contains(words), "{text}: {faults:?}");
        }
        let source = Source::new("t.yaml", "");
        assert!(read(&source).unwrap_err()[0].help[0].contains("guardrails: 1"));
        assert!(read(&Source::new("t", "guardrails: 2\n")).unwrap_err()[0].message.contains("not known"));
        assert!(
            read(&Source::new("t", "protected_users: [x]\n")).unwrap_err()[0].message.contains("missing")
        );
    }

    #[test]
    fn a_file_is_recognised_by_its_first_key() {
        for (text, is) in [
            ("guardrails: 1\n", true),
            ("\u{feff}# ours\n\n---\nguardrails : [broken\n", true),
            ("runbook: 1\nguardrails: { kills: { per_run: 1 } }\n", false),
            ("guardrails_of: 1\n", false),
            ("", false),
        ] {
            assert_eq!(is_guardrails(&Source::new("t", text)), is, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_file_gives_faults_or_rules_and_never_a_panic(
            at in 0..200_usize,
            with in "[a-z0-9:{}\\[\\],'\"*@ \n-]{0,6}",
        ) {
            let mut text = "guardrails: 1\noff: an audit\nkills: { per_run: 7 }\nallow: { '*': [a] }\nfreeze:\n  - { days: [fri, 2026-12-24], from: '16:00', to: '06:00', zone: UTC, why: holidays }\ncool_down: { a: 15m }\n".to_owned();
            let at = at.min(text.len());
            text.insert_str(at, &with);
            let source = Source::new("t", text.as_str());
            if let Err(faults) = read(&source) {
                proptest::prop_assert!(!faults.is_empty());
                proptest::prop_assert!(render(&source, &faults, false).contains("error"));
            }
        }
    }
}
