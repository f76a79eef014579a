//! From what a run has changed to the runbook that takes it back: newest first, each thing once. Pure; it must never
//! promise to bring back what has no value from before.

use std::collections::BTreeSet;

use crate::platform::{Before, Change, Effect, short};

/// A run's way back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo {
    /// The runbook; `None` when nothing can be taken back.
    pub text: Option<String>,
    /// What cannot be taken back, and why, each in a sentence.
    pub cannot: Vec<String>,
}

/// The first words of the source of such a runbook; the run's id follows.
pub const UNDO_OF: &str = "undo of ";

/// The runbook that takes back `made`, the changes of run `run` on `app`, oldest first.
pub fn undo(run: &str, app: &str, made: &[(Change, Before, Effect)]) -> Undo {
    let mut told = Undo::default();
    let mut steps = Vec::new();
    // Releases follow one another: going back to what was live before the first takes back all of them.
    let first_release = made.iter().find(|(change, _, effect)| change.has_released(effect));
    let mut released = false;
    let mut scaled = BTreeSet::new();
    let mut switched = false;
    for (change, before, effect) in made.iter().rev() {
        let number = steps.len() + 1;
        match change {
            _ if change.has_released(effect) => {
                if std::mem::replace(&mut released, true) {
                    continue;
                }
                match first_release.and_then(|(_, before, _)| before.live_release) {
                    Some(version) => steps.push(format!(
                        "  - id: undo-{number}-release\n    name: go back to release v{version}, config vars of then included\n    rollback: {{ method: release, to: {version} }}\n    gate: {{ until: live, for: 2s, within: 3m }}\n"
                    )),
                    None => told.cannot.push(format!(
                        "{}: which release was live before was not readable; `heroku releases --app {app}` lists them",
                        change.past(effect)
                    )),
                }
            }
            Change::Scale { kind, quantity } => {
                if !scaled.insert(kind) {
                    continue;
                }
                // The oldest change of this type knows the number before all of them.
                let first = made.iter().find_map(|(change, before, _)| match change {
                    Change::Scale { kind: other, .. } if other == kind => Some(before.quantity),
                    _ => None,
                });
                match first.flatten() {
                    Some(was) if was > 0 => steps.push(format!(
                        "  - id: undo-{number}-scale\n    name: {name}\n    scale: {{ type: {kind}, to: {was}, from: {quantity} }}\n",
                        kind = word(kind),
                        name = word(&format!("{kind} back to {was}"))
                    )),
                    _ => told.cannot.push(format!(
                        "{}: the number before {}",
                        change.past(effect),
                        if before.quantity == Some(0) { "was 0, which `heroku ps:scale` sets" } else { "was not readable" }
                    )),
                }
            }
            Change::Maintenance { on } => {
                if std::mem::replace(&mut switched, true) {
                    continue;
                }
                let first = made.iter().find_map(|(change, before, _)| match change {
                    Change::Maintenance { .. } => Some(before.maintenance),
                    _ => None,
                });
                match first.flatten() {
                    // The run has put it back itself.
                    Some(was) if was == *on => {}
                    Some(was) => steps.push(format!(
                        "  - id: undo-{number}-maintenance\n    maintenance: {}\n    gate: {{ until: {}, for: 2s, within: 3m }}\n",
                        if was { "on" } else { "off" },
                        if was { "dynos.crashed == 0" } else { "live" },
                    )),
                    None => told.cannot.push(format!("{}: what it was before was not readable", change.past(effect))),
                }
            }
            Change::Commit { .. } | Change::Revert { .. } => match effect {
                Effect::Committed { commit } => steps.push(format!(
                    "  - id: undo-{number}-commit\n    name: reverse commit {} in the working tree\n    revert: {commit}\n    gate: {{ none: only the working tree changes }}\n",
                    short(commit)
                )),
                _ => told.cannot.push(format!(
                    "{}: which commit it made is not known; `git log` shows it",
                    change.past(effect)
                )),
            },
            Change::Push { .. } => {}
            Change::Restart { .. } | Change::Kill { .. } | Change::Command { .. } | Change::Rollback { .. }
            | Change::Promote { .. } => {
                told.cannot.push(format!("{}: {}", change.past(effect), change.way_back(app, before, effect)));
            }
        }
    }
    if !steps.is_empty() {
        told.text = Some(format!(
            "runbook: 1\nname: undo\nsummary: Take back what run {run} has changed, newest first\nhealth:\n  healthy: live\nsteps:\n{}",
            steps.concat()
        ));
    }
    told
}

/// A process type as YAML takes it: what comes from outside is quoted.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " _-".contains(c);
    if !text.is_empty() && text.chars().all(plain) && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check;
    use crate::platform::{DynoScope, KillRule};
    use crate::source::{Source, render};

    fn push(live: u64) -> (Change, Before, Effect) {
        (
            Change::Push { commit: "b".repeat(40), branch: "master".into() },
            Before { live_release: Some(live), ..Before::default() },
            Effect::Pushed { up_to_date: false },
        )
    }

    fn scale(to: u64, was: Option<u64>) -> (Change, Before, Effect) {
        let change = Change::Scale { kind: "web".into(), quantity: to };
        (change, Before { quantity: was, ..Before::default() }, Effect::Accepted)
    }

    fn commit() -> (Change, Before, Effect) {
        let change = Change::Commit { paths: vec!["a".into()], message: "m".into() };
        (change, Before::default(), Effect::Committed { commit: "c".repeat(40) })
    }

    fn kill() -> (Change, Before, Effect) {
        let rule = KillRule { idle: std::time::Duration::from_secs(60), at_most: 9, protect: vec![] };
        let effect = Effect::Killed { killed: vec![1], spared: vec![], one_by_one: false, dying: None };
        (Change::Kill { victims: vec![], rule }, Before::default(), effect)
    }

    fn steps(made: &[(Change, Before, Effect)]) -> (Vec<String>, usize) {
        let told = undo("r", "wiki", made);
        let Some(text) = told.text else { return (Vec::new(), told.cannot.len()) };
        let source = Source::new("undo of r", text.as_str());
        let checked =
            check(&source).unwrap_or_else(|faults| panic!("{}\n{text}", render(&source, &faults, false)));
        (checked.plan.steps.iter().map(|step| step.id.clone()).collect(), told.cannot.len())
    }

    #[test]
    fn what_was_changed_is_taken_back_newest_first_and_each_thing_once() {
        let restart = (Change::Restart { scope: DynoScope::All }, Before::default(), Effect::Accepted);
        assert_eq!(
            steps(&[kill(), commit(), push(4), restart, scale(2, Some(5))]),
            (["undo-1-scale", "undo-2-release", "undo-3-commit"].map(str::to_owned).to_vec(), 2)
        );
        let rolled = (
            Change::Rollback { release: "r4".into(), version: 4 },
            Before { live_release: Some(5), ..Before::default() },
            Effect::Released { version: 6 },
        );
        let text = undo("r", "wiki", &[push(4), rolled]).text.unwrap();
        assert!(text.contains("to: 4") && !text.contains("to: 5"), "{text}");
        let text = undo("r", "wiki", &[scale(3, Some(2)), scale(1, Some(3))]).text.unwrap();
        assert!(text.contains("to: 2, from: 1") && text.matches("scale:").count() == 1, "{text}");
    }

    #[test]
    fn maintenance_mode_goes_back_to_what_it_was_unless_the_run_has_put_it_back() {
        let mode = |on, was| {
            let before = Before { maintenance: was, ..Before::default() };
            (Change::Maintenance { on }, before, Effect::Accepted)
        };
        assert_eq!(steps(&[mode(true, Some(false))]), (vec!["undo-1-maintenance".to_owned()], 0));
        assert!(undo("r", "wiki", &[mode(true, Some(false))]).text.unwrap().contains("maintenance: off"));
        assert_eq!(steps(&[mode(true, Some(false)), mode(false, Some(true))]), (Vec::new(), 0));
        assert_eq!(steps(&[mode(true, None)]), (Vec::new(), 1));
        assert!(undo("r", "wiki", &[mode(false, Some(true))]).text.unwrap().contains("maintenance: on"));
    }

    #[test]
    fn what_has_no_value_from_before_is_said() {
        assert_eq!(steps(&[scale(1, None), kill()]), (Vec::new(), 2));
        let nothing = (
            Change::Push { commit: "b".repeat(40), branch: "master".into() },
            Before::default(),
            Effect::Pushed { up_to_date: true },
        );
        assert_eq!(steps(&[nothing]), (Vec::new(), 0));
    }

    #[test]
    fn a_process_type_from_outside_stays_a_text() {
        let odd = (
            Change::Scale { kind: "web: {to".into(), quantity: 1 },
            Before { quantity: Some(2), ..Before::default() },
            Effect::Accepted,
        );
        let text = undo("r", "wiki", &[odd]).text.unwrap();
        assert!(text.contains("type: 'web: {to'"), "{text}");
    }
}
