//! `--from`, `--only`, `--skip`: which steps of a plan a run takes.

use super::model::{Body, Plan, Selection, Step};
use crate::source::did_you_mean;

/// Whether a person who wrote `id` meant this step: its own id, or that of the step it repeats.
pub(super) fn called(step: &Step, id: &str) -> bool {
    step.id == id || step.repeats.as_deref() == Some(id)
}

/// Marks the steps that a selection leaves out.
pub(super) fn select(steps: &mut [Step], selection: &Selection) {
    let mut reached = selection.from.is_none();
    let mut without = Vec::new();
    for step in steps.iter_mut() {
        reached = reached || selection.from.as_ref().is_some_and(|from| called(step, from));
        let why = if selection.skip.iter().any(|id| called(step, id)) {
            Some("--skip".to_owned())
        } else if !reached && !step.always {
            selection.from.as_ref().map(|from| format!("--from {from}"))
        } else if !selection.only.is_empty()
            && !selection.only.iter().any(|id| called(step, id))
            && !step.always
        {
            Some("--only names others".to_owned())
        } else {
            None
        };
        step.left_out = why;
        if step.left_out.is_some() {
            without.push(step.id.clone());
        }
        if let Body::Ladder(ladder) = &mut step.body {
            // A ladder that is not to be climbed is not climbed again either.
            let again = ladder.care.as_ref().and_then(|care| care.again.as_ref());
            if let Some(again) = again.filter(|again| without.contains(again) && step.left_out.is_none()) {
                step.left_out = Some(format!("it climbs `{again}` again, which is left out"));
            }
            for rung in &mut ladder.rungs {
                rung.left_out = selection.skip.contains(&rung.id).then(|| "--skip".to_owned());
            }
        }
    }
}

/// Checks that the steps a selection names exist, and that they leave something to run. Every fault at once.
///
/// # Errors
/// Sentences for the command line.
pub fn check_selection(plan: &Plan, selection: &Selection) -> Result<(), Vec<String>> {
    let mut steps: Vec<&str> = Vec::new();
    let mut rungs: Vec<(&str, &str)> = Vec::new();
    for step in &plan.steps {
        if let Some(repeats) = step.repeats.as_deref()
            && !steps.contains(&repeats)
        {
            steps.push(repeats);
        }
        steps.push(&step.id);
        if let Body::Ladder(ladder) = &step.body {
            rungs.extend(ladder.rungs.iter().map(|rung| (rung.id.as_str(), step.id.as_str())));
        }
    }
    let named = selection.from.iter().map(|id| ("--from", id));
    let named = named.chain(selection.only.iter().map(|id| ("--only", id)));
    let named = named.chain(selection.skip.iter().map(|id| ("--skip", id)));
    let mut faults = Vec::new();
    for (flag, id) in named {
        let id = id.as_str();
        let ladder = rungs.iter().find(|(rung, _)| *rung == id).map(|(_, ladder)| *ladder);
        match ladder {
            _ if steps.contains(&id) => continue,
            Some(_) if flag == "--skip" => continue,
            Some(ladder) => {
                faults.push(format!("{flag} {id}: that is a rung of `{ladder}`; only --skip names rungs"));
                continue;
            }
            None => {}
        }
        let may =
            steps.iter().copied().chain(rungs.iter().filter(|_| flag == "--skip").map(|(rung, _)| *rung));
        let near = did_you_mean(id, may).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let id = crate::source::escape_controls(id);
        faults.push(format!("{flag} {id}: the runbook has no such step{near} (steps: {})", steps.join(", ")));
    }
    if faults.is_empty() {
        let mut steps = plan.steps.clone();
        select(&mut steps, selection);
        if steps.iter().all(|step| step.left_out.is_some()) {
            faults.push("--from, --only and --skip leave no step to run".to_owned());
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}
