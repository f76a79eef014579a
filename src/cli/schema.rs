//! `runbook schema`.

use super::output::data;
use crate::spec::{format_page, json_schema};

#[derive(Debug, clap::Args)]
pub(super) struct SchemaArgs {
    /// The reference page in Markdown instead.
    #[arg(long)]
    markdown: bool,
}

pub(super) fn run(args: &SchemaArgs) -> u8 {
    if args.markdown {
        data(&format_page());
    } else {
        data(&format!("{:#}\n", json_schema()));
    }
    0
}
