//! Tables of a document that tests fill: one row a test, by name, sorted. A test compares its own row with the
//! committed one; with `RUNBOOK_UPDATE_DOCS=1` it writes it instead. Tests may run side by side, in any order.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test says by panicking what it missed, and is told by the environment to write"
)]

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

/// A table of a document.
pub struct Table {
    /// The document, from the root of the repository.
    pub document: &'static str,
    /// Its name between the marks: `<!-- faults: … -->` to `<!-- end of faults -->`.
    pub name: &'static str,
    /// Heads of its columns; the first holds the row's name.
    pub columns: &'static [&'static str],
}

/// A cell may hold no bar and no line break of its own.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").trim().to_owned()
}

impl Table {
    fn path(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(self.document)
    }

    /// The document, and where the table's lines are in it.
    fn find(&self, text: &str) -> (usize, usize) {
        let begin = text.find(&format!("<!-- {}:", self.name)).expect("the mark where the table begins");
        let begin = begin + text[begin..].find("-->\n").expect("the end of the mark") + "-->\n".len();
        let end = text.find(&format!("<!-- end of {} -->", self.name)).expect("the mark where it ends");
        (begin, end)
    }

    fn rows(text: &str) -> Vec<(String, String)> {
        let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1);
        rows.map(|line| {
            let name = line.trim_start_matches("| ").split(" | ").next().unwrap_or_default();
            (name.to_owned(), line.to_owned())
        })
        .collect()
    }

    /// Names of its rows, as committed.
    pub fn names(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path()).expect("the document");
        let (begin, end) = self.find(&text);
        Self::rows(&text[begin..end]).into_iter().map(|(name, _)| name).collect()
    }

    /// The row of `name` is this.
    #[track_caller]
    pub fn row(&self, name: &str, cells: &[String]) {
        assert_eq!(cells.len() + 1, self.columns.len(), "a cell for each column");
        let cells: Vec<String> = cells.iter().map(|text| cell(text)).collect();
        let line = format!("| {} | {} |", cell(name), cells.join(" | "));
        if std::env::var_os("RUNBOOK_UPDATE_DOCS").is_some() {
            self.change(|rows| {
                rows.retain(|(known, _)| known != name);
                rows.push((name.to_owned(), line));
            });
            return;
        }
        let text = std::fs::read_to_string(self.path()).expect("the document");
        let (begin, end) = self.find(&text);
        let rows = Self::rows(&text[begin..end]);
        let committed = rows.iter().find(|(known, _)| known == name).map(|(_, line)| line.as_str());
        assert_eq!(
            committed,
            Some(line.as_str()),
            "the row of {} is not what happened; RUNBOOK_UPDATE_DOCS=1 writes it anew",
            self.document
        );
    }

    /// Its rows are those of `names`, and no others.
    #[track_caller]
    pub fn only(&self, names: &[&str]) {
        if std::env::var_os("RUNBOOK_UPDATE_DOCS").is_some() {
            self.change(|rows| rows.retain(|(known, _)| names.contains(&known.as_str())));
            return;
        }
        let mut names = names.to_vec();
        names.sort_unstable();
        assert_eq!(self.names(), names, "{}: one row for each, sorted", self.document);
    }

    /// Changes the rows under a lock of the file: other tests, and other test programs, write theirs.
    fn change(&self, change: impl FnOnce(&mut Vec<(String, String)>)) {
        let mut file: File =
            OpenOptions::new().read(true).write(true).open(self.path()).expect("the document");
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("its lock");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("readable");
        let (begin, end) = self.find(&text);
        let mut rows = Self::rows(&text[begin..end]);
        change(&mut rows);
        rows.sort();
        let mut table =
            format!("\n| {} |\n|{}\n", self.columns.join(" | "), "---|".repeat(self.columns.len()));
        for (_, line) in rows {
            table.push_str(&line);
            table.push('\n');
        }
        table.push('\n');
        text.replace_range(begin..end, &table);
        file.set_len(0).expect("emptied");
        file.seek(SeekFrom::Start(0)).expect("its beginning");
        file.write_all(text.as_bytes()).expect("written");
    }
}

/// A line as it is whenever it is read: what differs from run to run, and from machine to machine, has stand-ins.
pub fn steady(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let mut out: Vec<String> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).map_or(String::new(), |before| bare(words[before]));
        let after = words.get(index + 1).map_or(String::new(), |after| bare(after));
        let inner = bare(word);
        let stand_in = stand_in(&before, &inner, &after);
        out.push(stand_in.map_or_else(|| (*word).to_owned(), |text| word.replace(&inner, &text)));
    }
    out.join(" ")
}

fn is_run(part: &str) -> bool {
    let parts: Vec<&str> = part.split('-').collect();
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.as_slice(), [day, time, _] if digits(day, 8) && digits(time, 6))
}

fn stand_in(before: &str, word: &str, after: &str) -> Option<String> {
    // `7.1s`, `300ms`: on which side of a second it falls differs, too.
    for unit in ["ms", "s"] {
        if word.strip_suffix(unit).is_some_and(|number| number.parse::<f64>().is_ok()) {
            return Some("N s".to_owned());
        }
    }
    let longer = word.ends_with('s') && word.chars().all(|c| c.is_ascii_digit() || "hms".contains(c));
    if longer && word.starts_with(|c: char| c.is_ascii_digit()) {
        return Some("N s".to_owned());
    }
    let number = word.parse::<f64>().is_ok();
    if number && (before == "pid" || ["s", "ms", "min", "seconds", "minutes"].contains(&after)) {
        return Some("N".to_owned());
    }
    if word.len() == 36 && word.matches('-').count() == 4 {
        return Some("ID".to_owned());
    }
    let hex = word.chars().all(|c| c.is_ascii_hexdigit()) && word.chars().any(|c| c.is_ascii_digit());
    if hex && (word.len() == 8 || word.len() == 40) {
        return Some("COMMIT".to_owned());
    }
    if word.strip_prefix('v').is_some_and(|rest| rest.parse::<u64>().is_ok()) {
        return Some("vN".to_owned());
    }
    if let Some((scheme, rest)) = word.split_once("127.0.0.1:") {
        let path = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        return Some(format!("{scheme}127.0.0.1:PORT{path}"));
    }
    if before == "by" && word.contains('@') {
        return Some("USER@HOST".to_owned());
    }
    if word.contains('T') && word.parse::<jiff::Timestamp>().is_ok() {
        return Some("TIME".to_owned());
    }
    if is_run(word) {
        return Some("RUN".to_owned());
    }
    if let Some((_, inside)) = word.split_once("/lab/") {
        let parts: Vec<&str> =
            inside.split('/').map(|part| if is_run(part) { "RUN" } else { part }).collect();
        return Some(format!("…/{}", parts.join("/")));
    }
    None
}
