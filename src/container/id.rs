//! Container IDs: checked before they become part of a path.

use std::fmt;

use crate::error::{Error, Kind, Result};

/// The longest ID. File systems stop at 255 bytes, the store then says so.
const MAX: usize = 1024;

/// A container's ID: 1 to 1024 of `A-Za-z0-9_+.-`, neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(String);

impl Id {
    /// Checks `text`, with runc's words for a fault.
    ///
    /// # Errors
    /// [`Kind::Usage`]: `container id cannot be empty`, `invalid container ID format`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::new(Kind::Usage, "container id cannot be empty"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_+.-".contains(&byte);
        if text.len() > MAX || text == "." || text == ".." || !text.bytes().all(plain) {
            return Err(Error::new(Kind::Usage, "invalid container ID format")
                .hint("letters, digits and _ + - . make an id, at most 1024 of them"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [S1] [Z14] The alphabet of IDs, and runc's texts.
    #[test]
    fn only_plain_names_are_ids() {
        for good in ["a", "A-b_c+d.9", ".a", "...", "-x", &"x".repeat(1024)] {
            assert_eq!(Id::parse(good).expect(good).as_str(), good);
        }
        for bad in [".", "..", "../x", "a/b", "a b", "a\n", "ä", "a\0", "a,new", &"x".repeat(1025)] {
            let error = Id::parse(bad).expect_err(bad);
            assert!(error.to_string().starts_with("invalid container ID format (hint: "), "{bad:?}");
        }
        assert_eq!(Id::parse("").expect_err("empty").to_string(), "container id cannot be empty");
    }
}
