//! The README of a handed-over run: what was done, what is in doubt, and the commands to go on, for a colleague who has
//! nothing but the file. Text alone: everything in it comes from the journal.

use std::sync::Arc;

use super::past::Past;
use super::show::retell;
use crate::engine::driver::{Listener, Stamp};
use crate::engine::{Event, Machine, Outcome};
use crate::journal::Header;
use crate::plan::build;
use crate::platform::{Change, Effect, short};
use crate::reporter::{asked_for, wrap};
use crate::source::escape_controls;

/// Width of the text: it is read in a pager or in a chat.
const WIDTH: usize = 78;

/// The source of a runbook that this tool brings along.
const EMBEDDED: &str = "embedded";

/// Listens to nothing: the summary is all that is wanted.
struct Silent;

impl Listener for Silent {
    fn event(&mut self, _: &Stamp, _: &Event) {}
}

/// A text that grows by lines.
#[derive(Default)]
struct Page(String);

impl Page {
    fn say(&mut self, text: &str) {
        self.0.push_str(&wrap(text, WIDTH, 2));
        self.0.push('\n');
    }

    fn title(&mut self, text: &str) {
        self.0.push_str(&format!("\n{text}\n{}\n", "-".repeat(text.chars().count())));
    }

    fn command(&mut self, text: &str) {
        self.0.push_str(&format!("    {}\n", escape_controls(text)));
    }
}

/// Writes it.
pub(super) fn readme(past: &Past, header: &Header) -> String {
    let mut page = Page::default();
    let (run, target) = (&past.run, &past.record.target);
    page.0.push_str(&format!("Hand-over of run {run}\n{}\n", "=".repeat(17 + run.len())));
    page.say(&format!("{} on {}, at {}", past.record.runbook, target.app, target.api_url));
    if let Some(entry) = past.recorded.entries.first() {
        let asked = asked_for(&entry.event).unwrap_or_default();
        page.say(&format!("begun {} {asked}", entry.at.strftime("%Y-%m-%d %H:%M:%S UTC")));
    }
    page.say(&format!(
        "packed {} by {}; the journal has {} entries, its head is {}",
        header.packed.strftime("%Y-%m-%d %H:%M:%S UTC"),
        escape_controls(&header.by),
        past.recorded.entries.len(),
        header.head
    ));

    page.title("How it stands");
    page.0.push_str(&retell(&past.recorded, run, &mut Silent).draw(WIDTH));
    standing(&mut page, past);

    page.title("To go on");
    let last = past.recorded.entries.last().map(|entry| &entry.event);
    if matches!(last, Some(Event::RunFinished { outcome: Outcome::Done, .. })) {
        page.say("It is done: every gate held, and nothing is left. To have it on another machine:");
        page.command("runbook handoff --take THIS-FILE");
    } else {
        go_on(&mut page, past);
    }

    page.title("What else is in here");
    page.say("journal.jsonl: every event, each line chained to the one before. samples.jsonl: every measurement. evidence*/: what the world was before the first change of each session (evidence.json says what is missing, and why). Nothing in it is a secret, as far as is known.");
    page.0
}

/// With this tool, and without.
fn go_on(page: &mut Page, past: &Past) {
    let (run, target) = (&past.run, &past.record.target);
    page.say("With your own Heroku token, in your own clone of the app, from any machine:");
    page.command("runbook handoff --take THIS-FILE");
    page.command(&format!("runbook show {run} --verify --head {}", past.recorded.head.short()));
    page.command(&format!("runbook resume {run} -C YOUR-CLONE --accept-changed target"));
    page.say(&format!(
        "The working tree was `{}` there and is another one with you: that is the change of target you accept. Any other change of target that is shown is a reason to stop.",
        escape_controls(&target.folder)
    ));
    if past.record.source != EMBEDDED {
        page.say(&format!(
            "Its runbook was read from `{}`. Where that file is not, `--accept-changed runbook` goes on with the text as it was recorded.",
            escape_controls(&past.record.source)
        ));
    }
    commits(page, past);
    page.say("Do not go on with it on two machines: agree on who has it now.");

    page.title("By hand, without this tool");
    left(page, past);
}

/// Where a resume would go on.
fn standing(page: &mut Page, past: &Past) {
    let Ok(plan) = build(past.record.clone()) else {
        page.say("Its runbook is not valid for this version of the tool: it can be told, and not resumed.");
        return;
    };
    let plan = Arc::new(plan);
    match Machine::resume(Arc::clone(&plan), past.config.clone(), &past.events()) {
        Ok(machine) => page.0.push_str(&past.told(&machine.standing(), &plan, WIDTH)),
        Err(why) => page.say(&format!("It cannot be resumed: {why}.")),
    }
}

/// Commits that the run made: another clone has them only once they were pushed.
fn commits(page: &mut Page, past: &Past) {
    let changes = past.changes();
    let made = changes.made();
    let is_pushed = |wanted: &String| {
        made.iter().any(|(change, _, _)| matches!(change, Change::Push { commit, .. } if commit == wanted))
    };
    for (_, _, effect) in made {
        if let Effect::Committed { commit } = effect {
            let shown = short(commit);
            page.say(&if is_pushed(commit) {
                format!("Commit {shown} was made and pushed: `git fetch` from the app's git has it.")
            } else {
                format!(
                    "Commit {shown} was made in that working tree, and is not known to be pushed: get it from there (it is not in this file), or begin a new run."
                )
            });
        }
    }
}

/// What the plan had still to do, as requests and commands.
fn left(page: &mut Page, past: &Past) {
    let (mut over, mut begun) = (Vec::<&str>::new(), Vec::<&str>::new());
    let mut planned = None;
    for entry in &past.recorded.entries {
        match &entry.event {
            Event::Plan { steps } if planned.is_none() => planned = Some(steps),
            Event::StepStarted { step, .. } => {
                over.retain(|known| known != step);
                begun.push(step);
            }
            Event::StepFinished { step, .. } => over.push(step),
            _ => {}
        }
    }
    let left: Vec<_> =
        planned.into_iter().flatten().filter(|(step, _)| !over.contains(&step.as_str())).collect();
    if left.is_empty() {
        page.say("Every step has come to its end: nothing is left.");
        return;
    }
    page.say(
        "Look first whether what is in doubt above has happened. Then these were left, as they were planned:",
    );
    for (step, preview) in left {
        let part =
            if begun.contains(&step.as_str()) { " (begun: part of it is done, see above)" } else { "" };
        page.say(&format!("{step}: {}{part}", preview.summary));
        for request in &preview.requests {
            for line in request.lines() {
                page.command(line);
            }
        }
    }
}
