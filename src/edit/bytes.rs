//! Bytes of a file that may be in any encoding, as text for a journal or a runbook.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::source::hides;

/// Bytes, written as text: what is not UTF-8, control characters and the backslash as `\xNN`, so that they come back
/// exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// As text.
    pub fn written(&self) -> String {
        let mut out = String::new();
        let escape = |out: &mut String, bytes: &[u8]| {
            for byte in bytes {
                out.push_str(&format!("\\x{byte:02x}"));
            }
        };
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' || hides(c) {
                    let mut buffer = [0; 4];
                    escape(&mut out, c.encode_utf8(&mut buffer).as_bytes());
                } else {
                    out.push(c);
                }
            }
            escape(&mut out, chunk.invalid());
        }
        out
    }

    /// From text, as [`Bytes::written`] gives it.
    ///
    /// # Errors
    /// Says which escape is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            let digits = rest.get(at + 2..at + 4).filter(|_| rest.as_bytes().get(at + 1) == Some(&b'x'));
            let byte = digits
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or("a backslash is written `\\x5c`, and other bytes as `\\xNN`")?);
            rest = &rest[at + 4..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(Self(bytes))
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes: Vec<u8>) {
            let written = Bytes(bytes.clone()).written();
            prop_assert!(!written.chars().any(hides), "{written:?}");
            prop_assert_eq!(Bytes::parse(&written), Ok(Bytes(bytes)));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = Bytes::parse(&text);
        }
    }

    #[test]
    fn people_can_read_it() {
        assert_eq!(
            Bytes(b"caf\xe9 \xc3\xa9\t# x\\n\r\n".to_vec()).written(),
            "caf\\xe9 é\\x09# x\\x5cn\\x0d\\x0a"
        );
        assert!(
            Bytes::parse("a\\n").is_err() && Bytes::parse("a\\x+1").is_err() && Bytes::parse("\\").is_err()
        );
    }
}
