//! Secrets, and every form in which they may not be seen.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What must never be seen.
#[derive(Clone)]
pub struct Marks(Vec<String>);

/// As a URL carries it.
pub fn percent(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Marks {
    pub fn of(secrets: &[&str]) -> Self {
        let mut forms = Vec::new();
        for secret in secrets {
            let json = serde_json::Value::from(*secret).to_string();
            forms.extend([(*secret).to_owned(), json[1..json.len() - 1].to_owned(), percent(secret)]);
            forms.push(STANDARD.encode(secret));
            for user in ["heroku:", ":", "wiki:"] {
                forms.push(STANDARD.encode(format!("{user}{secret}")));
            }
        }
        forms.sort_unstable();
        forms.dedup();
        Self(forms)
    }

    /// Each form, to be printed by whoever cannot keep a secret.
    pub fn forms(&self) -> Vec<String> {
        self.0.clone()
    }

    /// The form that stands in the text.
    pub fn found(&self, text: &str) -> Option<&str> {
        self.0.iter().map(|form| form.trim_end_matches('=')).find(|form| text.contains(form))
    }

    /// What leaked, if something did.
    pub fn leak(&self, what: &str, text: &str) -> Option<String> {
        let form = self.found(text)?;
        let line = text.lines().find(|line| line.contains(form)).unwrap_or(text);
        Some(format!("{what} holds {form}: {}", line.chars().take(600).collect::<String>()))
    }

    #[track_caller]
    pub fn absent(&self, what: &str, text: &str) {
        if let Some(leak) = self.leak(what, text) {
            panic!("{leak}");
        }
    }
}

#[test]
fn marks_are_found_where_they_are() {
    let marks = Marks::of(&["a b\"c"]);
    for text in ["x a b\"c y", r#"{"x":"a b\"c"}"#, "a%20b%22c", &STANDARD_NO_PAD.encode("heroku:a b\"c")] {
        assert!(marks.found(text).is_some(), "{text}");
    }
    assert_eq!(marks.found("a b c"), None);
}
