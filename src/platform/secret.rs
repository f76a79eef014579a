//! Secrets: values that cannot be printed or stored, and the redaction of texts that may hold them.

use std::sync::{Arc, Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

use super::forms::forms;

/// A secret text. `Debug` does not show it, and it has no serialisation.
pub type Secret = SecretString;

/// Knows the secrets in use and takes them out of any text.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<Mutex<Vec<String>>>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

/// What stands in a secret's place.
const REDACTED: &str = "[redacted]";

impl Redactor {
    /// Adds a secret, in the forms in which it may be met: as it is, within JSON, percent-encoded, in base64, and each
    /// longer line of one that has several. Very short ones are left, since they would take letters out of every word.
    pub fn learn(&self, secret: &Secret) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for form in forms(secret.expose_secret()) {
            if !secrets.contains(&form) {
                secrets.push(form);
            }
        }
        // A longer one may hold a shorter one: first the whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Adds the URL of something, the login in it as it stands there, and its password.
    pub fn learn_url(&self, url: &Secret) {
        self.learn(url);
        if let Some(login) = login(url.expose_secret()) {
            let password = login.split_once(':').map_or(login, |(_, password)| password);
            self.learn(&Secret::from(password));
            self.learn(&Secret::from(percent_decode_str(password).decode_utf8_lossy().into_owned()));
        }
    }

    /// Whether a secret in use stands in the text.
    pub fn finds(&self, text: &str) -> bool {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// Whether the text holds what is secret whatever its value: a token, a signed URL, a password in a URL.
    pub fn suspects(text: &str) -> bool {
        // At quotes too: a line of JSON may be one word, with a URL here and an `@` there.
        text.split([' ', '"']).any(|word| clean_word(word) != word)
    }

    /// The text without known secrets, tokens, signed URLs and passwords inside URLs; control characters escaped.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        let words: Vec<String> = text.split(' ').map(clean_word).collect();
        crate::source::escape_controls(&words.join(" ")).into_owned()
    }
}

/// What stands between `://` and the last `@` before the path.
pub(in crate::platform) fn login(url: &str) -> Option<&str> {
    let after = &url[url.find("://")? + 3..];
    let authority = after.split(['/', '?', '#']).next()?;
    authority.rsplit_once('@').map(|(login, _)| login).filter(|login| !login.is_empty())
}

/// Patterns that are secrets whatever their value.
fn clean_word(word: &str) -> String {
    if let Some(at) = word.find("HRKU-") {
        return format!("{}{REDACTED}", &word[..at]);
    }
    if let Some(at) = word.find("rendezvous://") {
        return format!("{}rendezvous://{REDACTED}", &word[..at]);
    }
    let mut clean = String::with_capacity(word.len());
    let mut rest = word;
    // One word may hold several URLs, with commas or quotes between.
    while let Some(scheme) = rest.find("://") {
        let after = &rest[scheme + 3..];
        clean.push_str(&rest[..scheme + 3]);
        let authority = after.find(['/', '?', '#']).map_or(after, |end| &after[..end]);
        rest = match authority.rfind('@') {
            Some(at) => {
                clean.push_str(REDACTED);
                &after[at..]
            }
            None => after,
        };
    }
    clean.push_str(rest);
    for mark in ["Signature=", "signature=", "X-Amz-", "token=", "/sessions/"] {
        if word.contains("://")
            && let Some(at) = clean.find(mark)
        {
            return format!("{}{mark}{REDACTED}", &clean[..at]);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_gets_through() {
        let redactor = Redactor::default();
        redactor.learn(&Secret::from("s3cret-pass"));
        redactor.learn(&Secret::from(""));
        for (text, clean) in [
            ("password s3cret-pass!", "password [redacted]!"),
            ("mysql://wiki:other@db:3306/wiki refused", "mysql://[redacted]@db:3306/wiki refused"),
            ("a://u:p,\"@h,b://v:q@i", "a://[redacted]@h,b://[redacted]@i"),
            ("token HRKU-abc was refused", "token [redacted] was refused"),
            (
                "see https://logs.example/sessions/abc?x=1 now",
                "see https://logs.example/sessions/[redacted] now",
            ),
            ("rendezvous://host:5000/secret", "rendezvous://[redacted]"),
            ("plain https://example.com/page", "plain https://example.com/page"),
            ("esc \u{1b}[31m", "esc \\x1b[31m"),
        ] {
            assert_eq!(redactor.clean(text), clean);
            assert!(!redactor.finds(clean) && !Redactor::suspects(clean), "what is clean stays so: {clean}");
        }
        redactor.learn_url(&Secret::from("https://bot:p%40rt@wiki/a@b"));
        assert_eq!(redactor.clean("p@rt, p%40rt, bot"), "[redacted], [redacted], bot");
        assert_eq!([login("https://wiki/a@b"), login("a://u:p@h/d")], [None, Some("u:p")]);
        assert!(redactor.finds("a s3cret-pass b") && !Redactor::suspects("a s3cret-pass b"));
        redactor.learn(&Secret::from("quo\"te"));
        assert!(redactor.finds(&serde_json::json!({ "a": "quo\"te" }).to_string()));
        assert!(!Redactor::suspects(r#"{"api":"http://h:1","database":"u@h:2/d"}"#));
        assert!(Redactor::suspects("at mysql://u:p@h/d"));
        assert!(!format!("{redactor:?}").contains("s3cret"));
    }
}
