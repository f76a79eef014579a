//! Hostile input, on the stable compiler: the fuzz targets of `tests/fuzz` over their seeds, cut, spliced and damaged
//! in as many ways as a test may take; then files that were made to break their reader, through the binary.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and starts the binary as a person does"
)]

#[path = "fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a target is tried, when its cases are not done before.
const PATIENCE: Duration = Duration::from_secs(6);

/// What tends to matter to one of the readers.
const WORDS: &[&str] = &[
    "\u{1b}]0;x\u{7}",
    "\u{202e}",
    "\u{9b}",
    "\u{0}",
    "\u{feff}",
    "\r\n",
    "\t",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "{",
    "}",
    "[",
    "]",
    "- ",
    ": ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "${{ ",
    " }}",
    "and ",
    "or ",
    "not ",
    "(",
    ")",
    "<=",
    "99999999999999999999",
    "1e400",
    "-1",
    "NaN",
    "null",
    "é😀",
    "# ",
    "password ",
    "machine ",
    "default ",
    "macdef x\n",
    "\\u0000",
    "runbook: 1\n",
    "runbook journal 2\n",
    "for: 3s",
    "40%",
    "\n",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{target} has seeds");
    files.iter().map(|file| std::fs::read(file).expect("readable")).collect()
}

/// A seed, damaged one to four times.
fn damaged(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..32)).min(bytes.len());
        match random.u8(..7) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let copy = bytes[at..end].repeat(random.usize(1..20));
                bytes.splice(at..at, copy);
            }
            4 => {
                let other = &seeds[random.usize(..seeds.len())];
                let from = random.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let word = WORDS[random.usize(..WORDS.len())].as_bytes();
                bytes.splice(at..end.min(at + random.usize(..4)), word.iter().copied());
            }
        }
        bytes.truncate(1 << 16);
    }
    bytes
}

fn tried(target: &str, cases: u32, one: fn(&[u8])) {
    let seeds = seeds(target);
    let begun = Instant::now();
    // The same cases every time: what fails here fails for everybody.
    let mut random = fastrand::Rng::with_seed(20_261_123);
    let mut done = 0;
    let mut slowest = Duration::ZERO;
    let mut one = |bytes: &[u8]| {
        let at = Instant::now();
        let ended = catch_unwind(AssertUnwindSafe(|| one(bytes)));
        slowest = slowest.max(at.elapsed());
        assert!(ended.is_ok(), "{target} with {:?}", String::from_utf8_lossy(bytes));
    };
    seeds.iter().for_each(|seed| one(seed));
    while done < cases && begun.elapsed() < PATIENCE {
        one(&damaged(&seeds, &mut random));
        done += 1;
    }
    assert!(done >= cases.min(100), "{target}: {done} cases in {:?}", begun.elapsed());
    // A loaded machine stalls; what grows with the square of its input takes far longer.
    assert!(slowest < Duration::from_secs(5), "{target}: one took {slowest:?}");
}

#[test]
fn yaml_is_read_or_its_fault_is_shown_in_its_place() {
    tried("yaml", 3000, targets::yaml);
}

#[test]
fn conditions_and_templates_are_read_or_their_fault_is_shown_in_its_place() {
    tried("condition", 20_000, targets::condition);
}

#[test]
fn any_netrc_has_a_password_or_has_none() {
    tried("netrc", 20_000, targets::netrc);
}

#[test]
fn a_journal_is_read_or_its_damage_is_named_with_its_line() {
    tried("journal", 5000, targets::journal);
}

#[test]
fn an_answer_of_herokus_is_understood_or_named_with_what_was_asked() {
    tried("heroku", 2000, targets::heroku);
}
