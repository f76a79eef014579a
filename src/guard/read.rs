//! Reads rules: a whole `guardrails.yaml`, or the part of them that stands in a runbook.

use std::time::Duration;

use super::rules::Rules;
use super::tables::{FORMAT, GUARDRAILS, RUNBOOK_PART};
use super::{Guardrails, Limit, Rule};
use crate::action::Reading;
use crate::source::{Diagnostic, Node, Source, Span, escape_controls, yaml};

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
        Some(reading) => Rules::begin(source, reading).shared(),
        None => Vec::new(),
    };
    Guardrails { files: Vec::new(), rules }
}

fn whole(source: &Source, node: &Node, faults: &mut Vec<Diagnostic>) -> Vec<Rule> {
    let head = node.map("guardrails").map_or(Span::default(), |map| map.head());
    let Some(reading) = Reading::begin(node, &GUARDRAILS, head, faults) else { return Vec::new() };
    let mut rules = Rules::begin(source, reading);
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
