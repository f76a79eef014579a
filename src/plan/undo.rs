//! From what a run has changed to the runbook that takes it back: newest first, each thing once. Pure; it must never
//! promise to bring back what has no value from before.

use std::collections::BTreeSet;

use crate::edit::{Hunk, PutBack};
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

#[expect(clippy::too_many_lines, reason = "one arm a change, and nothing between them")]
/// The runbook that takes back `made`, the changes of run `run` on `app`, oldest first.
pub fn undo(run: &str, app: &str, made: &[(Change, Before, Effect)]) -> Undo {
    let mut told = Undo::default();
    let mut steps = Vec::new();
    // Releases follow one another: going back to what was live before the first takes back all of them.
    let first_release = made.iter().find(|(change, _, effect)| change.has_released(effect));
    let other_code = made.iter().any(|(change, _, effect)| change.has_released_code(effect));
    let mut released = false;
    let mut scaled = BTreeSet::new();
    let (mut switched, mut configured) = (false, false);
    let mut planned = BTreeSet::new();
    let mut committed = BTreeSet::new();
    for (change, before, effect) in made.iter().rev() {
        let number = steps.len() + 1;
        if let (Change::Commit { paths, .. }, Effect::Committed { .. }) = (change, effect) {
            committed.extend(paths);
        }
        match change {
            // Going back to a release brings its config vars back, too.
            _ if change.has_released(effect) && other_code => {
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
                        "  - id: undo-{number}-scale\n    name: {name}\n    scale: {{ type: {kind}, to: {was}, from: {quantity} }}\n{gate}",
                        // More dynos are to hold more connections than before: that they serve is what counts.
                        gate = if was > *quantity { "    gate: { until: live, for: 2s, within: 3m }\n" } else { "" },
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
            Change::Config { .. } if std::mem::replace(&mut configured, true) => {}
            Change::Config { .. } => match config_back(made) {
                Some(step) => steps.push(step.replace("undo-N", &format!("undo-{number}"))),
                None => told.cannot.push(format!(
                    "{}: which release was live before was not readable; `heroku releases --app {app}` lists them",
                    change.past(effect)
                )),
            },
            Change::ChangePlan { addon, .. } => {
                if !planned.insert(addon) {
                    continue;
                }
                let first = made.iter().find_map(|(change, before, _)| match change {
                    Change::ChangePlan { addon: other, .. } if other == addon => Some(before.plan.clone()),
                    _ => None,
                });
                match first.flatten() {
                    Some(was) => steps.push(format!(
                        "  - id: undo-{number}-plan\n    name: {name}\n    addon: {{ change: {addon}, to: {was} }}\n    gate: {{ until: live, for: 3s, within: 10m }}\n",
                        name = word(&format!("{addon} back to its plan {was}")),
                        addon = word(addon),
                        was = word(&was),
                    )),
                    None => told.cannot.push(format!("{}: the plan before was not readable", change.past(effect))),
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
            Change::Edit { path, from, hunks, .. } => {
                // The reverse of the commit brings the file back as it was before; it is not put back twice.
                if !committed.contains(path) {
                    steps.push(edit_step(number, path, from, hunks));
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
            Change::Restart { .. } | Change::Kill { .. } | Change::Command { .. } | Change::OneOff(_) | Change::Rollback { .. }
            | Change::Promote { .. } | Change::CreateAddon { .. } => {
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

/// The step that puts config vars back to what they were before the first change of them. What that was is a secret: it
/// is read from Heroku, which keeps it with the release of then.
fn config_back(made: &[(Change, Before, Effect)]) -> Option<String> {
    let of_config = |(change, before, effect): &(Change, Before, Effect)| match change {
        Change::Config { vars } => Some((vars.clone(), before.live_release, effect.clone())),
        _ => None,
    };
    let changes: Vec<_> = made.iter().filter_map(of_config).collect();
    let version = changes.first()?.1?;
    let names: BTreeSet<&str> =
        changes.iter().flat_map(|(vars, _, _)| vars.keys().map(String::as_str)).collect();
    let names = names.into_iter().map(word).collect::<Vec<_>>().join(", ");
    // Only the last of them tells what each is now, and only it is known to be nobody else's.
    let unless = match changes.last()?.2 {
        Effect::Released { version } => format!(", unchanged_since: {version}"),
        _ => String::new(),
    };
    Some(format!(
        "  - id: undo-N-config\n    name: {names} as in release v{version}\n    config: {{ restore: [{names}], as_of: {version}{unless} }}\n    gate: {{ until: live, for: 2s, within: 3m }}\n"
    ))
}

/// The step that puts the edited places of a file back.
fn edit_step(number: usize, path: &str, former: &str, hunks: &[Hunk]) -> String {
    // A text of JSON is one of YAML.
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let mut step = format!(
        "  - id: undo-{number}-edit\n    name: {}\n    edit:\n      file: {}\n      former: {}\n      put_back:\n",
        text(&format!("put the edited lines of {path} back")),
        text(path),
        text(former)
    );
    for place in hunks.iter().map(PutBack::from) {
        step.push_str(&format!(
            "        - {{ line: {}, offset: {}, length: {}, check: {}, now: {}, was: {} }}\n",
            place.line,
            place.offset,
            place.length,
            text(&place.check),
            text(&place.now.written()),
            text(&place.was.written())
        ));
    }
    step
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
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use crate::action::{Failure, Made, Next, Progress, RunFacts, Scene, Status};
    use crate::health::{Moment, Series};
    use crate::plan::{AfterGate, Body, check};
    use crate::platform::fake::{Leak, World};
    use crate::platform::{ConfigValue, DynoScope, KillRule};
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

    fn config(name: &str, live: Option<u64>, made: Option<u64>) -> (Change, Before, Effect) {
        let vars = std::collections::BTreeMap::from([(name.to_owned(), ConfigValue::Text("1".to_owned()))]);
        let effect = made.map_or(Effect::FoundDone, |version| Effect::Released { version });
        (Change::Config { vars }, Before { live_release: live, ..Before::default() }, effect)
    }

    #[test]
    fn config_vars_go_back_by_the_release_of_before_and_with_the_code_when_that_goes_back() {
        let text = |made: &[_]| undo("r", "wiki", made).text.unwrap();
        let (a, b) = (config("A", Some(7), Some(8)), config("B", Some(8), Some(9)));
        assert_eq!(steps(&[a.clone(), b.clone()]), (vec!["undo-1-config".to_owned()], 0));
        let both = text(&[a.clone(), b]);
        assert!(both.contains("restore: [A, B], as_of: 7, unchanged_since: 9"), "{both}");
        assert!(
            text(&[config("A", Some(7), None)]).contains("as_of: 7 }"),
            "which release it made is not known"
        );
        assert_eq!(steps(&[config("A", None, Some(8))]), (Vec::new(), 1));
        assert_eq!(steps(&[a.clone(), push(8)]), (vec!["undo-1-release".to_owned()], 0));
        assert!(text(&[a, push(8)]).contains("to: 7"));
    }

    #[test]
    fn a_plan_goes_back_and_an_add_on_stays() {
        let of = |plan: &str| Effect::Addon { name: "db-1".into(), plan: plan.into() };
        let change = |to: &str, was: Option<&str>| {
            let before = Before { plan: was.map(str::to_owned), ..Before::default() };
            (Change::ChangePlan { addon: "db-1".into(), plan: to.into() }, before, of(to))
        };
        let made = [change("db:b", Some("db:a")), change("db:c", Some("db:b"))];
        assert_eq!(steps(&made), (vec!["undo-1-plan".to_owned()], 0));
        assert!(undo("r", "wiki", &made).text.unwrap().contains("change: db-1, to: 'db:a'"));
        assert_eq!(steps(&[change("db:b", None)]), (Vec::new(), 1));
        let created = Change::CreateAddon { plan: "redis:mini".into(), name: None };
        let told = undo("r", "wiki", &[(created, Before::default(), of("redis:mini"))]);
        assert!(told.text.is_none() && told.cannot[0].contains("heroku addons:destroy db-1"), "{told:?}");
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

    const EDITS: &str = "runbook: 1
name: edits
summary: s
steps:
  - { id: one, edit: { file: LocalSettings.php, clean: true, edits: [{ set: $wgEnableUploads, to: false }, { drop: DBO_PERSISTENT }] } }
  - { id: two, edit: { file: LocalSettings.php, edits: [{ set: $wgLogo, to: '''a \\ \"b\": c # d''' }] } }
";

    /// Does the steps of a runbook that edits, in the world.
    fn carry_out(
        text: &str,
        world: &Arc<World>,
        agreed: Vec<(String, String)>,
    ) -> Result<Vec<Made>, Failure> {
        let source = Source::new("edits", text);
        let checked =
            check(&source).unwrap_or_else(|faults| panic!("{}\n{text}", render(&source, &faults, false)));
        let observer = world.observer();
        let (metrics, outputs) = (BTreeMap::new(), BTreeMap::new());
        let series = Series::new(std::time::Duration::from_secs(60), true);
        let run = RunFacts { agreed_edits: agreed, ..RunFacts::default() };
        let mut made = Vec::new();
        for step in &checked.plan.steps {
            let Body::Verb(action) = &step.body else { continue };
            assert!(matches!(step.after, AfterGate::NotNeeded | AfterGate::None(_)), "a file has no gate");
            let scene = Scene {
                observer: &observer,
                app: "wiki",
                run: &run,
                planned: &[],
                metrics: &metrics,
                series: &series,
                outputs: &outputs,
                bindings: &step.bindings,
                now: Moment(0),
                counts_from: Moment(0),
                dry: false,
                interactive: false,
            };
            match action.next(&scene, &Progress::default())? {
                Next::Change { change, before } => {
                    let effect = world.apply(&change);
                    made.push(Made { change, before, effect, at: Moment(0) });
                }
                Next::Done(done) => assert_ne!(done.status, Status::Acted, "{done:?}"),
                other => panic!("{other:?}"),
            }
        }
        Ok(made)
    }

    fn triples(made: &[Made]) -> Vec<(Change, Before, Effect)> {
        made.iter().map(|made| (made.change.clone(), made.before.clone(), made.effect.clone())).collect()
    }

    #[test]
    fn edits_of_a_file_are_put_back_to_the_byte_and_once() {
        let world = World::new(Leak::Once);
        let before = world.end().files;
        let made = carry_out(EDITS, &world, Vec::new()).unwrap();
        let after = world.end().files;
        assert_eq!(made.len(), 2);
        assert_ne!(before, after);
        assert!(carry_out(EDITS, &world, Vec::new()).unwrap().is_empty(), "twice is once");

        let text = undo("r", "wiki", &triples(&made)).text.unwrap();
        assert_eq!(steps(&triples(&made)), (vec!["undo-1-edit".to_owned(), "undo-2-edit".to_owned()], 0));
        let undone = carry_out(&text, &world, Vec::new()).unwrap();
        assert_eq!((undone.len(), &world.end().files), (2, &before), "{text}");

        // What the reverse of a commit has brought back is done already.
        let mut with_commit = triples(&made);
        let paths = vec!["LocalSettings.php".to_owned()];
        let commit = Change::Commit { paths, message: "m".into() };
        with_commit.push((commit, Before::default(), Effect::Committed { commit: "c".repeat(40) }));
        assert_eq!(steps(&with_commit), (vec!["undo-1-commit".to_owned()], 0));
        let first = undo("r", "wiki", &triples(&made[..1])).text.unwrap();
        let fresh = World::new(Leak::Once);
        assert!(carry_out(&first, &fresh, Vec::new()).unwrap().is_empty(), "the file is as it was before");
    }

    #[test]
    fn an_edit_of_another_file_than_the_one_that_was_shown_is_refused() {
        let world = World::new(Leak::Once);
        let now = crate::edit::digest(&world.end().files["LocalSettings.php"]);
        let one = EDITS.lines().filter(|line| !line.contains("id: two")).collect::<Vec<_>>().join("\n");
        let agreed = |digest: &str| vec![("LocalSettings.php".to_owned(), digest.to_owned())];
        let refused = carry_out(&one, &world, agreed("0")).unwrap_err();
        assert!(refused.fault.why.contains("changed since the plan was agreed to"), "{refused}");
        assert_eq!(carry_out(&one, &world, agreed(&now)).unwrap().len(), 1);
        // Changes that wait in the file are not shipped by the way.
        let refused = carry_out(&one.replace("false", "true"), &world, Vec::new()).unwrap_err();
        assert!(refused.fault.why.contains("not committed"), "{refused}");
    }
}
