//! The `runbook` program: hands the command line to `cli` and leaves with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(runbook::cli::main())
}
