//! `runbook schema`.

use super::output::data;
use crate::guard::guardrails_schema;
use crate::spec::{format_page, json_schema};

#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// The reference page in Markdown instead.
    #[arg(long)]
    markdown: bool,
    /// The schema of `guardrails.yaml` instead.
    #[arg(long, conflicts_with = "markdown")]
    guardrails: bool,
}

pub(super) fn run(args: &SchemaArgs) -> u8 {
    if args.markdown {
        data(&format_page());
    } else if args.guardrails {
        data(&format!("{:#}\n", guardrails_schema()));
    } else {
        data(&format!("{:#}\n", json_schema()));
    }
    0
}
