//! `runbook lab`: placeholder until the lab is merged.

#[derive(Debug, clap::Args)]
pub(super) struct LabArgs {}

pub(super) fn run(_: &LabArgs) -> u8 {
    super::output::talk("error: the lab is not in this build yet");
    1
}
