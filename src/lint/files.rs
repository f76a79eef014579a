//! The app's files, wherever they are: a folder, a commit, or a commit to be.

/// The text of a file, as far as it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// It is there.
    There(String),
    /// There is no such file.
    Absent,
    /// It could not be told: too large, no text, or what holds it could not be asked. Nothing is concluded from it.
    Unknown,
}

/// The files of an app. Paths are relative to its top, with `/`, without `.` and `..`.
pub trait Files {
    /// The text of a file.
    fn text(&self, path: &str) -> Text;
    /// Names of the files and folders in a folder; empty where there is none, `None` when it cannot be told.
    fn children(&self, folder: &str) -> Option<Vec<String>>;
}

/// A path as the buildpack takes it: put behind the app's folder, whatever it begins with. `None` when it leads out.
pub(super) fn inside(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Whether a file is a template that PHP turns into the configuration when the dyno starts.
pub(super) fn is_template(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ending)| ending == "php")
}

/// Folders that a build fills: what is in them is no part of a commit.
const BUILT: [&str; 4] = ["vendor/", "node_modules/", "bower_components/", ".heroku/"];

/// Whether the build puts a file there that the commit does not have: `None` when it may.
pub(super) fn is_built(files: &dyn Files, path: &str) -> Option<bool> {
    if BUILT.iter().any(|folder| path.starts_with(folder)) {
        return Some(true);
    }
    let says = |name: &str, words: &[&str]| match files.text(name) {
        Text::There(text) => words.iter().any(|word| text.contains(word)),
        Text::Absent => false,
        Text::Unknown => true,
    };
    let may = says("composer.json", &["\"compile\"", "install-cmd"])
        || says("package.json", &["\"build\"", "heroku-postbuild", "heroku-prebuild"]);
    if may { None } else { Some(false) }
}

/// Whether `name` fits a pattern of `*` and `?`.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if pattern.get(p).is_some_and(|c| *c == '?' || *c == name[n]) {
            (p, n) = (p + 1, n + 1);
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, n) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Files in memory.
    pub(in crate::lint) struct Tree(pub(in crate::lint) BTreeMap<&'static str, &'static str>);

    impl Files for Tree {
        fn text(&self, path: &str) -> Text {
            self.0.get(path).map_or(Text::Absent, |text| Text::There((*text).to_owned()))
        }

        fn children(&self, folder: &str) -> Option<Vec<String>> {
            let folder = if folder.is_empty() { String::new() } else { format!("{folder}/") };
            let names = self.0.keys().filter_map(|path| path.strip_prefix(folder.as_str()));
            Some(names.map(|rest| rest.split('/').next().unwrap_or_default().to_owned()).collect())
        }
    }

    #[test]
    fn paths_stay_inside_and_patterns_fit() {
        assert_eq!(inside("./a//b/../c.conf").as_deref(), Some("a/c.conf"));
        assert_eq!(inside("/app.conf").as_deref(), Some("app.conf"));
        assert_eq!(inside("../x"), None);
        assert!(fits("*.conf", "a.conf") && fits("a?c*", "abcd") && fits("*", ""));
        assert!(!fits("*.conf", "a.confx") && !fits("?", "") && !fits("*a*b", "ba"));
    }
}
