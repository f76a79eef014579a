//! The chain of checksums through a journal. Each line's sum covers its own text and every line before it, so that the
//! last one, the head, stands for the whole.
//!
//! It shows that a journal was changed when its head was noted elsewhere before: printed at the end of the run, sent
//! along with a notification. It is no signature, and must never be taken for one: who can write the file can write
//! another with a head of its own.

use std::fmt;

use sha2::{Digest, Sha256};

/// Version of the stored format. A reader refuses by name what it does not know.
pub const FORMAT: u32 = 2;

/// The checksum after a journal's last line. `Display` gives it whole, [`Head::short`] as people compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Format 1: CRC-32. Finds accidents; who wants to can make another text fit it.
    Crc32(u32),
    /// Format 2: SHA-256, chained in full strength; a line carries the first 16 of its 64 digits.
    Sha256([u8; 32]),
}

impl Head {
    /// The beginning of a chain in the format that is written.
    pub(super) fn fresh() -> Self {
        // The first line, which no entry's sum would cover, is the chain's beginning.
        Self::Sha256(Sha256::digest(first_line(FORMAT).as_bytes()).into())
    }

    /// The beginning of a chain in this format; `None` when this version does not know the format.
    pub(super) fn begin(format: u32) -> Option<Self> {
        match format {
            1 => Some(Self::Crc32(0)),
            FORMAT => Some(Self::fresh()),
            _ => None,
        }
    }

    /// The head after one more line.
    pub(super) fn after(&self, body: &str) -> Self {
        match self {
            Self::Crc32(before) => {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&before.to_le_bytes());
                hasher.update(body.as_bytes());
                Self::Crc32(hasher.finalize())
            }
            Self::Sha256(before) => {
                let mut hasher = Sha256::new();
                hasher.update(before);
                hasher.update(body.as_bytes());
                Self::Sha256(hasher.finalize().into())
            }
        }
    }

    /// The format that this chain belongs to.
    pub const fn format(&self) -> u32 {
        match self {
            Self::Crc32(_) => 1,
            Self::Sha256(_) => 2,
        }
    }

    /// What makes the sums, by name.
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Crc32(_) => "CRC-32",
            Self::Sha256(_) => "SHA-256",
        }
    }

    /// As a line carries it and people compare it: 16 hex digits, 8 in format 1.
    pub fn short(&self) -> String {
        let mut digits = self.to_string();
        digits.truncate(16);
        digits
    }

    /// Whether `noted`, as printed by a run or whole, is this head. At least as many digits as are printed.
    pub fn is(&self, noted: &str) -> bool {
        let noted = noted.trim().to_ascii_lowercase();
        noted.len() >= self.short().len() && self.to_string().starts_with(&noted)
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crc32(sum) => write!(f, "{sum:08x}"),
            Self::Sha256(sum) => sum.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// The first line of a journal, without its end: it names the format.
pub(super) fn first_line(format: u32) -> String {
    format!("runbook journal {format}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_changes_the_head_and_its_printed_digits_name_it() {
        for format in [1, 2] {
            let begin = Head::begin(format).unwrap();
            assert_eq!(begin.format(), format);
            let one = begin.after("a").after("b");
            assert_eq!(one, begin.after("a").after("b"));
            assert_ne!(one, begin.after("b").after("a"), "the order counts");
            assert_ne!(one, begin.after("ab"), "so do the ends of lines");
            assert!(one.is(&one.short()) && one.is(&one.to_string().to_uppercase()));
            assert!(!one.is("") && !one.is(&one.short()[..6]) && !one.is(&begin.short()));
        }
        assert_eq!(Head::begin(2).unwrap().to_string().len(), 64);
        assert_eq!(Head::begin(FORMAT).map(|head| head.format()), Some(FORMAT));
        assert_eq!(Head::begin(FORMAT + 1), None);
    }
}
