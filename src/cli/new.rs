//! `runbook new NAME`: a commented runbook to start from. Never overwrites.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use super::output::{shown, talk};
use crate::plan::EMBEDDED;

#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The new runbook's name: small letters, digits, `-`.
    name: String,
    /// Folder it is written to.
    #[arg(long, value_name = "DIR", default_value = "runbooks")]
    runbooks: PathBuf,
}

pub(super) fn run(args: &NewArgs) -> u8 {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if args.name.is_empty() || !args.name.chars().all(good) || args.name.starts_with('-') {
        talk("error: a runbook's name has small letters, digits and `-`, and does not begin with `-`");
        return 2;
    }
    let name = &args.name;
    let path = args.runbooks.join(format!("{name}.yaml"));
    let other = args.runbooks.join(format!("{name}.yml"));
    if other.exists() {
        talk(&format!("error: {} is there already; nothing was written", shown(&other)));
        return 2;
    }
    let written = std::fs::create_dir_all(&args.runbooks)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path))
        .and_then(|mut file| file.write_all(text(name).as_bytes()));
    match written {
        Ok(()) => {
            let shown = shown(&path);
            talk(&format!(
                "wrote {shown}\n  `runbook check {shown}` checks it, `runbook explain {name}` tells its steps"
            ));
            if EMBEDDED.iter().any(|(known, _)| known == name) {
                talk(&format!(
                    "  note: it stands before the embedded runbook `{name}` wherever this folder is read"
                ));
            }
            0
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            talk(&format!("error: {} is there already; nothing was written", shown(&path)));
            2
        }
        Err(error) => {
            talk(&format!("error: writing {}: {error}", shown(&path)));
            2
        }
    }
}

/// The text of a new runbook.
fn text(name: &str) -> String {
    SKELETON.replace("NAME", name)
}

const SKELETON: &str = r#"# What this is for, and when to use it: whoever reads this is under pressure.
#
#   runbook run NAME --dry-run     what it would do, from live state
#   runbook run NAME               shows the plan, asks once, runs
#
# `runbook schema --markdown` is the reference of this format.
runbook: 1
name: NAME
summary: One line for `runbook list`

inputs: # set with `--set healthy_below=50%`
  healthy_below:
    type: ratio
    default: 40%
    min: 5%
    max: 90%
    about: usage that counts as healthy

health:
  every: 1s
  # `live` is always part of it: a dead site uses no connections and is not healthy.
  healthy: usage < ${{ inputs.healthy_below }} and refused == 0 and live

# Said at the end when a gate stays shut (exit 4): what a person does next.
when_shut:
  - "`runbook run emergency` frees connections now"

steps:
  # Who holds the connections, and why. Changes nothing.
  - id: look
    diagnose:

  # Every step that changes something is gated: here by its own condition, without one by the default gate.
  - id: restart
    name: replace every dyno
    when: usage >= 80% # not needed below
    if_unknown: run # when no login gets through
    restart: all
    gate: { until: live, for: 3s, within: 2m }

  # Ends the moment health has held, and fails the run when it does not in time.
  - id: prove
    wait: { until: healthy, for: 10s, within: 2m }
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, render};

    #[test]
    fn what_is_written_is_a_valid_runbook_without_a_warning() {
        let source = Source::new("new", text("tidy-up"));
        let checked = crate::plan::check(&source)
            .unwrap_or_else(|faults| panic!("{}", render(&source, &faults, false)));
        assert_eq!(checked.runbook.name.value, "tidy-up");
        assert_eq!(checked.warnings, []);
    }
}
