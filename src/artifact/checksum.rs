use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::error::{Error, ErrorKind};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Checksum(pub(super) [u8; 32]);

impl Checksum {
    /// From 64 hexadecimal digits, with `sha256:` before them or without.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text).as_bytes();
        let mut bytes = [0; 32];
        let whole = digits.len() == 64
            && bytes.iter_mut().zip(digits.chunks(2)).all(|(byte, pair)| {
                let value = |digit: u8| char::from(digit).to_digit(16);
                match (value(pair[0]), value(pair[1])) {
                    // Two digits of 16 make one byte.
                    (Some(high), Some(low)) => *byte = (high * 16 + low) as u8,
                    _ => return false,
                }
                true
            });
        match whole {
            true => Ok(Self(bytes)),
            false => Err(Error::new(
                ErrorKind::InvalidRequest,
                "the checksum is not a SHA-256: give 64 hexadecimal digits, with or without sha256:",
            )),
        }
    }
}

/// The SHA-256 of what it was given so far.
pub(super) struct Hash(Context);

impl Hash {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn update_all(&mut self, pieces: &[Bytes]) {
        pieces.iter().for_each(|piece| self.update(piece));
    }

    pub(super) fn checksum(&self) -> Checksum {
        let digest = self.0.clone().finish();
        let mut bytes = [0; 32];
        // Both are the 32 bytes of a SHA-256.
        bytes.copy_from_slice(digest.as_ref());
        Checksum(bytes)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_with_or_without_its_name() {
        let digits = "00ff".repeat(16);
        let plain = Checksum::parse(&digits).unwrap();
        assert_eq!(plain.to_string(), digits);
        assert!(Checksum::parse(&format!("sha256:{digits}")).unwrap() == plain);
        assert!(Checksum::parse(&digits.to_uppercase()).unwrap() == plain);
    }

    #[test]
    fn anything_else_is_refused() {
        let digits = "0".repeat(64);
        for bad in [
            "",
            "sha256:",
            &digits[1..],
            &format!("{digits}0"),
            &format!("md5:{digits}"),
            &format!("{}g", &digits[1..]),
            &format!("+{}", &digits[1..]),
            &"ü".repeat(32),
        ] {
            let error = Checksum::parse(bad).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad:?}");
        }
    }
}
