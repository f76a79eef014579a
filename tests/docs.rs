//! The documents are true: every `runbook` command in them exists with its flags, every link leads somewhere, every
//! `make` target is there.

#![allow(clippy::expect_used, reason = "a test says by panicking what it missed")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 8, "{found:?}");
    found
}

/// Lines of fenced `console` blocks that a person would type, without prompt and comment.
fn typed(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(fence) = line.trim_start().strip_prefix("```") {
            inside = !inside && fence == "console";
        } else if inside && let Some(command) = line.trim_start().strip_prefix("$ ") {
            lines.push(command.split(" #").next().unwrap_or_default().trim().to_owned());
        }
    }
    lines
}

/// Commands in backticks within the text.
fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter(|part| part.starts_with("runbook "))
        .map(str::to_owned)
        .collect()
}

fn help(command: &[&str]) -> Option<String> {
    let mut arguments = command.to_vec();
    arguments.push("--help");
    let ran = support::runbook(root(), &BTreeMap::new(), &arguments);
    (ran.code == 0).then_some(ran.stdout)
}

#[test]
fn commands_in_the_documents_exist_with_their_flags() {
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        let mut commands = typed(&text);
        commands.extend(quoted(&text));
        for command in commands {
            let Some(start) = command.find("runbook ") else { continue };
            let words: Vec<&str> = command[start..]
                .split_whitespace()
                .skip(1)
                .map(|word| word.trim_end_matches(['"', ')', ']']).trim_start_matches('['))
                .take_while(|word| *word != "--" && !word.starts_with(['|', '>', ';', '…']))
                .collect();
            let Some(first) = words.first().filter(|word| word.starts_with(char::is_lowercase)) else {
                continue;
            };
            let mut path = vec![*first];
            if *first == "lab"
                && let Some(second) = words.get(1)
            {
                path.push(second);
            }
            let place = document.strip_prefix(root()).expect("inside").display();
            let Some(help) = help(&path) else {
                panic!("{place}: `{command}`: there is no command `{}`", path.join(" "));
            };
            for flag in words.iter().filter(|word| word.starts_with("--") && word.len() > 2) {
                let name = flag.split('=').next().unwrap_or_default();
                assert!(help.contains(name), "{place}: `{command}`: `{}` has no {name}", path.join(" "));
            }
            if *first == "run"
                && let Some(name) = words.get(1).filter(|word| word.starts_with(char::is_lowercase))
            {
                let ran = support::runbook(root(), &BTreeMap::new(), &["explain", name]);
                assert_eq!(ran.code, 0, "{place}: `{command}`: there is no runbook {name}");
            }
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} commands were found");
}

#[test]
fn make_targets_and_links_lead_somewhere() {
    let makefile = fs::read_to_string(root().join("Makefile")).expect("readable");
    let mut links = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        let place = document.strip_prefix(root()).expect("inside").display();
        for command in typed(&text).iter().filter(|command| command.starts_with("make ")) {
            let target = command.split_whitespace().nth(1).unwrap_or_default();
            assert!(makefile.contains(&format!("\n{target}:")), "{place}: `{command}`: no such target");
        }
        for (at, _) in text.match_indices("](") {
            let link = text[at + 2..].split(')').next().unwrap_or_default();
            if link.starts_with("http") || link.starts_with('#') || link.is_empty() {
                continue;
            }
            let target =
                document.parent().expect("a folder").join(link.split('#').next().unwrap_or_default());
            assert!(target.exists(), "{place}: the link {link} leads nowhere");
            links += 1;
        }
    }
    assert!(links > 5, "only {links} links were found");
}
