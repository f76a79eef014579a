//! A small reader of `.netrc`: five words and quotes. Never fails, never panics.

use super::secret::Secret;

/// The password for `host`, or that of `default`.
pub fn password(text: &str, host: &str) -> Option<Secret> {
    let mut words = words(text).into_iter().peekable();
    let (mut here, mut fallback, mut found) = (false, false, None);
    while let Some(word) = words.next() {
        match word.as_str() {
            "machine" => {
                if found.is_some() {
                    break;
                }
                here = words.next().is_some_and(|name| name == host);
                fallback = false;
            }
            "default" => {
                if found.is_some() {
                    break;
                }
                (here, fallback) = (false, true);
            }
            "password" => {
                let value = words.next();
                if here || (fallback && found.is_none()) {
                    found = value;
                }
            }
            "login" | "account" => {
                words.next();
            }
            _ => {}
        }
    }
    found.filter(|password| !password.is_empty()).map(Secret::from)
}

/// Words, quoted ones whole; comments and macro definitions are left out.
fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_macro = false;
    for line in text.lines() {
        if in_macro {
            in_macro = !line.trim().is_empty();
            continue;
        }
        let mut rest = line.trim_start();
        while !rest.is_empty() {
            if rest.starts_with('#') {
                break;
            }
            let word = if let Some(quoted) = rest.strip_prefix('"') {
                let mut word = String::new();
                let mut chars = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '\\' => word.extend(chars.next().map(|(_, c)| c)),
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        c => word.push(c),
                    }
                }
                rest = &quoted[end..];
                word
            } else {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                let word = rest[..end].to_owned();
                rest = &rest[end..];
                word
            };
            rest = rest.trim_start();
            if word == "macdef" {
                in_macro = true;
                break;
            }
            found.push(word);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn found(text: &str, host: &str) -> Option<String> {
        password(text, host).map(|secret| secret.expose_secret().to_owned())
    }

    #[test]
    fn the_hosts_own_entry_counts() {
        let text = "# mine\nmachine api.heroku.com\n  login me@x\n  password abc\nmachine git.heroku.com login me password \"d e\\\"f\"\n\
                    macdef init\nmachine api.heroku.com password wrong\n\ndefault login any password zzz\n";
        assert_eq!(found(text, "api.heroku.com").as_deref(), Some("abc"));
        assert_eq!(found(text, "git.heroku.com").as_deref(), Some("d e\"f"));
        assert_eq!(found(text, "other").as_deref(), Some("zzz"));
        assert_eq!(found("machine a login password x", "a"), None, "a login called `password`");
        assert_eq!(found("", "a"), None);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "\\PC{0,120}", host in "[a-z.]{1,8}") {
            let _ = password(&text, &host);
        }
    }
}
