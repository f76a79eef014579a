//! Which app: the flag, the environment, or the one heroku remote. Pure.

/// Why no app could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing names one.
    #[error("no app is named: use --app, HEROKU_APP, or run it in a working tree with a heroku remote")]
    None,
    /// Several remotes, and no choice.
    #[error("several apps in git remotes: {}. Choose with --app or --remote", list(.0))]
    Several(Vec<(String, String)>),
    /// The remote that was asked for is not there, or is no Heroku remote.
    #[error("the git remote `{0}` names no Heroku app")]
    NoSuchRemote(String),
    /// A name that is none.
    #[error("`{0}` is no name for an app: small letters, digits and `-`")]
    BadName(String),
}

fn list(remotes: &[(String, String)]) -> String {
    let one = |(remote, app): &(String, String)| {
        crate::source::escape_controls(&format!("{app} ({remote})")).into_owned()
    };
    remotes.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The app's name. `remotes` are pairs of name and URL; `git_url` is the base URL of Heroku's git.
///
/// # Errors
/// None, several, or a bad name.
pub fn choose_app(
    flag: Option<&str>,
    environment: Option<&str>,
    remote: Option<&str>,
    remotes: &[(String, String)],
    git_url: &str,
) -> Result<String, TargetError> {
    let known: Vec<(String, String)> = remotes
        .iter()
        .filter_map(|(name, url)| app_of(url, git_url).map(|app| (name.clone(), app)))
        .collect();
    let app = match (flag, remote, environment) {
        (Some(app), _, _) => app.to_owned(),
        (None, Some(remote), _) => match known.iter().find(|(name, _)| name == remote) {
            Some((_, app)) => app.clone(),
            None => {
                return Err(TargetError::NoSuchRemote(crate::source::escape_controls(remote).into_owned()));
            }
        },
        (None, None, Some(app)) if !app.is_empty() => app.to_owned(),
        _ => {
            let mut apps: Vec<&str> = known.iter().map(|(_, app)| app.as_str()).collect();
            apps.sort_unstable();
            apps.dedup();
            match apps.as_slice() {
                [] => return Err(TargetError::None),
                [one] => (*one).to_owned(),
                _ => return Err(TargetError::Several(known)),
            }
        }
    };
    if is_app(&app) {
        Ok(app)
    } else {
        Err(TargetError::BadName(crate::source::escape_controls(&app).into_owned()))
    }
}

/// Whether it can be an app's name or id: it becomes part of URLs, and of git's.
pub(in crate::platform) fn is_app(name: &str) -> bool {
    name.len() <= 60
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// The app behind a remote's URL, by prefix and `.git`.
fn app_of(url: &str, git_url: &str) -> Option<String> {
    let base = git_url.trim_end_matches('/');
    let own = format!("{base}/");
    // A remote may hold a login; the app behind it is the same.
    let plain = crate::platform::secret::login(url).filter(|_| url.starts_with("http"));
    let plain = plain.map(|login| url.replacen(&format!("{login}@"), "", 1));
    let url = plain.as_deref().unwrap_or(url);
    let prefixes = [own.as_str(), "https://git.heroku.com/", "git@heroku.com:", "ssh://git@heroku.com/"];
    prefixes.iter().find_map(|prefix| url.strip_prefix(prefix)?.strip_suffix(".git").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remotes(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, url)| ((*name).to_owned(), (*url).to_owned())).collect()
    }

    #[test]
    fn flag_then_remote_then_environment_then_the_only_remote() {
        let git = "https://git.heroku.com";
        let one = remotes(&[
            ("origin", "https://example.com/x.git"),
            ("heroku", "https://git.heroku.com/wiki.git"),
        ]);
        let two = remotes(&[
            ("prod", "https://git.heroku.com/wiki.git"),
            ("stage", "git@heroku.com:wiki-stage.git"),
        ]);
        assert_eq!(choose_app(Some("flag"), Some("env"), None, &one, git), Ok("flag".into()));
        assert_eq!(choose_app(None, Some("env"), None, &two, git), Ok("env".into()));
        assert_eq!(choose_app(None, Some("env"), Some("stage"), &two, git), Ok("wiki-stage".into()));
        assert_eq!(choose_app(None, None, None, &one, git), Ok("wiki".into()));
        assert!(matches!(choose_app(None, None, None, &two, git), Err(TargetError::Several(_))));
        assert_eq!(choose_app(None, None, None, &[], git), Err(TargetError::None));
        assert!(matches!(choose_app(None, None, Some("nope"), &two, git), Err(TargetError::NoSuchRemote(_))));
        for bad in
            ["../x", "--app", "-a", "a/b?x=1#", "a b", "", ".", "wiki\n", "wiki\u{202e}", "wíki", "a%2fb"]
        {
            for (flag, environment) in [(Some(bad), None), (None, Some(bad).filter(|bad| !bad.is_empty()))] {
                let refused = choose_app(flag, environment, None, &[], git).unwrap_err();
                assert!(!refused.to_string().chars().any(crate::source::hides), "{refused}");
                assert!(matches!(refused, TargetError::BadName(_) | TargetError::None), "{bad:?}");
            }
        }
        let odd = remotes(&[
            ("a\u{1b}]0;x", "https://git.heroku.com/--upload-pack=x.git"),
            ("prod", "https://git.heroku.com/wiki.git"),
        ]);
        assert!(matches!(
            choose_app(None, None, Some("a\u{1b}]0;x"), &odd, git),
            Err(TargetError::BadName(_))
        ));
        let several = choose_app(None, None, None, &odd, git).unwrap_err().to_string();
        assert!(several.contains("a\\x1b]0;x") && !several.contains('\u{1b}'), "{several}");
        assert!(matches!(choose_app(Some("../x"), None, None, &[], git), Err(TargetError::BadName(_))));
        let login = remotes(&[("heroku", "https://heroku:s3cret@git.heroku.com/wiki.git")]);
        assert_eq!(choose_app(None, None, None, &login, git), Ok("wiki".into()), "a login does not matter");
        let local = remotes(&[("heroku", "http://127.0.0.1:7000/wiki.git")]);
        assert_eq!(choose_app(None, None, None, &local, "http://127.0.0.1:7000/"), Ok("wiki".into()));
    }
}
