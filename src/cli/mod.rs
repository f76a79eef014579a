//! The command line: one file per command. The only module that reads the environment.

/// Runs the program with this process's arguments and returns its exit code (see `docs/exit-codes.md`).
pub fn main() -> u8 {
    0
}
