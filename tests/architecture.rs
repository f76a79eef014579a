//! One-way imports: a module may use those to its left only. Reads the `use` lines and paths of every source file.

#![expect(clippy::expect_used, reason = "a test says by panicking what it missed")]

use std::fs;
use std::path::{Path, PathBuf};

/// The order of modules. Two places in one module (`engine::driver`) have their own rank.
const ORDER: [&str; 14] = [
    "source", "edit", "health", "expr", "lint", "platform", "action", "guard", "spec", "plan", "engine",
    "journal", "reporter", "cli",
];

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("readable entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// Modules named by `crate::NAME` outside of comments.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (start, _) in code.match_indices("crate::") {
            let rest = &code[start + "crate::".len()..];
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((number + 1, name));
        }
    }
    found
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|name| *name == module)
}

#[test]
fn imports_go_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let mut faults = Vec::new();
    let mut checked = 0;
    for file in files {
        let inside = file.strip_prefix(&root).expect("below src").to_path_buf();
        let module = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        if inside.components().count() == 1 {
            continue; // lib.rs and main.rs
        }
        let text = fs::read_to_string(&file).expect("readable file");
        for (line, import) in imports(&text) {
            checked += 1;
            let allowed = match (module.as_str(), import.as_str()) {
                (module, import) if module == import => true,
                // The lab is an island: it knows sources only, and only the command line knows it.
                ("lab", import) => import == "source",
                ("cli", _) => true,
                (_, "lab" | "cli") => false,
                // The driver stands to the right of the journal, the rest of the engine to its left.
                ("engine", "journal") => inside.ends_with("driver.rs"),
                // Reporters and reports listen: they never see the platform's doors, only its data.
                (module, import) => match (rank(module), rank(import)) {
                    (Some(module), Some(import)) => import < module,
                    _ => false,
                },
            };
            if !allowed {
                faults
                    .push(format!("src/{}:{line}: `{module}` must not import `{import}`", inside.display()));
            }
        }
    }
    assert!(checked > 50, "the test reads the sources: only {checked} imports were found");
    assert!(faults.is_empty(), "imports against the order {ORDER:?}:\n{}", faults.join("\n"));
}

#[test]
fn only_one_file_names_the_yaml_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let naming: Vec<_> = files
        .into_iter()
        .filter(|file| {
            fs::read_to_string(file)
                .expect("readable")
                .lines()
                .any(|line| line.split("//").next().unwrap_or_default().contains("serde_saphyr"))
        })
        .collect();
    assert!(
        naming.iter().all(|file| file.ends_with("source/yaml.rs")),
        "the YAML crate is named outside source/yaml.rs: {naming:?}"
    );
}

#[test]
fn every_module_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    let silent: Vec<_> = files
        .into_iter()
        .filter(|file| !fs::read_to_string(file).expect("readable").starts_with("//!"))
        .collect();
    assert!(silent.is_empty(), "files without a head: {silent:?}");
}
