//! `runbook new NAME`: a commented runbook to start from. Never overwrites.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use super::output::talk;

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
    let path = args.runbooks.join(format!("{}.yaml", args.name));
    let text = SKELETON.replace("NAME", &args.name);
    let written = std::fs::create_dir_all(&args.runbooks)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).open(&path))
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            talk(&format!("wrote {}; `runbook check {}` checks it", path.display(), path.display()));
            0
        }
        Err(error) => {
            talk(&format!("error: writing {}: {error}", path.display()));
            2
        }
    }
}

const SKELETON: &str = r#"# What this is for, and when to use it.
runbook: 1
name: NAME
summary: One line for `runbook list`

inputs:
  healthy_below: { type: ratio, default: 40%, about: usage that counts as healthy }

health:
  every: 1s
  healthy: "usage < ${{ inputs.healthy_below }} and refused == 0"

steps:
  - id: look
    diagnose:

  - id: restart
    restart: all
    gate: { until: live, for: 3s, within: 2m }

  - id: prove
    wait: { until: healthy, for: 10s, within: 2m }
"#;
