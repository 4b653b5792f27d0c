//! Why a file could not be read.

use std::error::Error;
use std::fmt;

/// Says in one sentence what is wrong with a file and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError(String);

impl ReadError {
    /// The system has no memory left; asked what is wrong, [`profile::room`] says so too.
    pub(crate) fn no_memory() -> ReadError {
        ReadError::new("there is no memory left to read it")
    }

    /// The sentence may quote the file: what would break a terminal's line is escaped, and of a long one the middle is left
    /// out, since what is wrong comes first and where comes last.
    pub(crate) fn new(sentence: impl AsRef<str>) -> ReadError {
        const START_CHARS: usize = 240;
        const END_CHARS: usize = 120;
        let mut chars = Vec::new();
        for char in sentence.as_ref().chars() {
            if char.is_control() || ['\u{2028}', '\u{2029}'].contains(&char) {
                chars.extend(char.escape_unicode());
            } else {
                chars.push(char);
            }
        }
        if chars.len() <= START_CHARS + END_CHARS {
            return ReadError(chars.into_iter().collect());
        }
        let (start, end) = (&chars[..START_CHARS], &chars[chars.len() - END_CHARS..]);
        ReadError(start.iter().chain(&[' ', '…', ' ']).chain(end).collect())
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ReadError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_can_be_read() {
        assert_eq!(ReadError::new("bad \u{1b}[2J\n\u{2028}é").to_string(), r"bad \u{1b}[2J\u{a}\u{2028}é");
        let long = ReadError::new(format!("what{}where", "x".repeat(100_000))).to_string();
        assert_eq!(long.chars().count(), 363);
        assert!(long.starts_with("whatxxx") && long.contains("x … x") && long.ends_with("xxxwhere"), "{long}");
    }
}
