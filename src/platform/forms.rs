//! The forms in which a secret may be met in a text. Pure; it never shows one.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::source::escape_controls;

/// Shorter ones are not looked for: they would take letters out of every word.
const SHORTEST: usize = 4;
/// Shorter ones are not looked for in base64: what is left of them there could be anything.
const SHORTEST_ENCODED: usize = 6;
/// Shorter lines of a secret of several lines are not looked for on their own.
const SHORTEST_LINE: usize = 12;

/// What a URL may carry as it is (RFC 3986, unreserved).
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stays as it is in the password of a URL at most.
const LENIENT: &AsciiSet = &COMPONENT
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=');

/// The texts to look for when `secret` must not be seen; none for a very short one.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in parts(secret) {
        found.push(part.to_owned());
        let json = serde_json::Value::from(part).to_string();
        found.push(json[1..json.len() - 1].to_owned());
        found.push(escape_controls(part).into_owned());
        for kept in [NON_ALPHANUMERIC, COMPONENT, LENIENT] {
            let upper = utf8_percent_encode(part, kept).to_string();
            found.push(lower_hex(&upper));
            found.push(upper);
        }
        if part.len() >= SHORTEST_ENCODED {
            for before in 0..3 {
                found.push(within(&STANDARD, part, before));
                found.push(within(&URL_SAFE, part, before));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The whole, and each longer line of it.
fn parts(secret: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = Some(secret).filter(|whole| whole.len() >= SHORTEST).into_iter().collect();
    if secret.lines().count() > 1 {
        parts.extend(secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE));
    }
    parts
}

/// The same with `%2f` for `%2F`.
fn lower_hex(encoded: &str) -> String {
    let mut hex = 0;
    let lower = |c: char| {
        let digit = hex > 0;
        hex = if c == '%' { 2 } else { hex - i32::from(digit) };
        if digit { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(lower).collect()
}

/// The part of the base64 of a text that is the same whatever stands round `secret` in it: `before` is how many bytes
/// stand before it, modulo three. So `heroku:TOKEN` of a `Basic` header is found without its user.
fn within(alphabet: &impl Engine, secret: &str, before: usize) -> String {
    let mut bytes = vec![0; before];
    bytes.extend(secret.as_bytes());
    let encoded = alphabet.encode(&bytes);
    // Six bits a letter: those that hold bits of the secret alone.
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    encoded[first..end].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::platform::secret::{Redactor, Secret};

    /// Every way in which the tests know to write a secret.
    fn written(secret: &str) -> Vec<String> {
        let json = serde_json::json!({ "a": secret }).to_string();
        let mut all = vec![secret.to_owned(), json, escape_controls(secret).into_owned()];
        for kept in [NON_ALPHANUMERIC, COMPONENT, LENIENT] {
            let upper = utf8_percent_encode(secret, kept).to_string();
            all.extend([lower_hex(&upper), upper]);
        }
        for before in ["", "a", "ab", "heroku:", ":", "{\"password\":\""] {
            for after in ["", "x", "\"}"] {
                all.push(STANDARD.encode(format!("{before}{secret}{after}")));
                all.push(URL_SAFE.encode(format!("{before}{secret}{after}")));
            }
        }
        all
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let secret = "p@ss/w%rd \"q\" ü+1";
        let redactor = Redactor::default();
        redactor.learn(&Secret::from(secret));
        for text in written(secret) {
            assert!(redactor.finds(&text), "{text}");
            assert!(!redactor.finds(&redactor.clean(&format!("before {text} after"))), "{text}");
        }
        assert_eq!(lower_hex("A%2FB%C3%9CF"), "A%2fB%c3%9cF");
    }

    #[test]
    fn short_ones_are_left_and_lines_are_found_one_by_one() {
        assert_eq!(forms("abc"), [""; 0]);
        assert_eq!(forms("abcde"), ["abcde"], "not in base64");
        let redactor = Redactor::default();
        redactor.learn(&Secret::from("-----BEGIN KEY-----\nMIIEvQIBADANBg\nkq\n-----END KEY-----\n"));
        assert_eq!(redactor.clean("web: MIIEvQIBADANBg kq"), "web: [redacted] kq");
    }

    proptest! {
        #[test]
        fn nothing_of_a_cleaned_text_holds_the_secret(
            secret in "[ -~ü€\\n\\t]{6,24}", before in "[ -~]{0,12}", after in "[ -~]{0,12}",
        ) {
            // One that its own stand-in holds can be in nothing that is clean.
            prop_assume!(!forms(&secret).iter().any(|form| "[redacted]".contains(form.as_str())));
            let redactor = Redactor::default();
            redactor.learn(&Secret::from(secret.clone()));
            for text in written(&secret) {
                prop_assert!(redactor.finds(&text), "{}", text);
                let clean = redactor.clean(&format!("{before}{text}{after}"));
                prop_assert!(!clean.contains(&text), "{}", clean);
            }
        }
    }
}
