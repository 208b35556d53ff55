use aws_lc_rs::signature::{ED25519, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;

use crate::types::SigningKeys;
use crate::values::Timestamp;

const KEY_LENGTH: usize = 32;

/// The `y` coordinates of the points of small order, little-endian, the sign bit
/// clear: orders 4, 1, 8, 8 and 2, then 0 and 1 in their encodings beyond the prime.
/// Under such a key anyone can sign.
const SMALL_ORDER: [[u8; KEY_LENGTH]; 7] = [
    [0; KEY_LENGTH],
    ends(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    ends(0xec, 0xff, 0x7f),
    ends(0xed, 0xff, 0x7f),
    ends(0xee, 0xff, 0x7f),
];

const fn ends(first: u8, middle: u8, last: u8) -> [u8; KEY_LENGTH] {
    let mut bytes = [middle; KEY_LENGTH];
    bytes[0] = first;
    bytes[KEY_LENGTH - 1] = last;
    bytes
}

impl SigningKeys {
    /// One key, and none beside it.
    pub fn new(current: impl Into<String>) -> Self {
        Self { current: current.into(), previous: None, transition_expires: None }
    }

    /// Trusts `previous` too, for events that arrive before `expires`.
    pub fn with_previous(self, previous: impl Into<String>, expires: Timestamp) -> Self {
        Self { previous: Some(previous.into()), transition_expires: Some(expires), ..self }
    }
}

/// Why a signing key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It is not padded standard base64.
    #[error("the signing key is not base64")]
    BadEncoding,
    /// It does not have 32 bytes.
    #[error("the signing key has {found} bytes instead of 32")]
    WrongLength {
        /// How many bytes it has.
        found: usize,
    },
    /// It is a point of small order, under which anyone can sign.
    #[error("the signing key is a weak one, under which anyone can sign")]
    SmallOrder,
    /// The crypto library refuses it.
    #[error("the signing key is not an Ed25519 key")]
    Rejected,
    /// A refusal of a verifier of your own. The text is logged.
    #[error("the signing key is refused: {0}")]
    Custom(String),
}

/// The keys in force.
#[derive(Debug)]
pub(super) struct Keys {
    current: ParsedPublicKey,
    previous: Option<Previous>,
}

#[derive(Debug)]
struct Previous {
    key: ParsedPublicKey,
    /// Since 1970.
    expires: SignedDuration,
}

impl Keys {
    pub(super) fn load(update: &SigningKeys) -> Result<Self, KeyError> {
        let current = load(&update.current)?;
        let previous = update.previous.as_deref().filter(|key| !key.is_empty());
        let previous = previous.map(load).transpose()?.zip(update.transition_expires);
        let previous =
            previous.map(|(key, expires)| Previous { key, expires: expires.since_1970() });
        Ok(Self { current, previous })
    }

    /// Whether the current key, or the previous one before its deadline, signed this.
    /// `now` is the time since 1970.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8], now: SignedDuration) -> bool {
        let is_by = |key: &ParsedPublicKey| key.verify_sig(message, signature).is_ok();
        let in_time = |previous: &&Previous| now < previous.expires;
        is_by(&self.current)
            || self.previous.as_ref().filter(in_time).is_some_and(|previous| is_by(&previous.key))
    }
}

fn load(base64: &str) -> Result<ParsedPublicKey, KeyError> {
    let bytes = STANDARD.decode(base64).map_err(|_| KeyError::BadEncoding)?;
    let found = bytes.len();
    let mut y: [u8; KEY_LENGTH] =
        bytes.as_slice().try_into().map_err(|_| KeyError::WrongLength { found })?;
    // The highest bit is the sign of x; both points with this y have the same order.
    y[KEY_LENGTH - 1] &= 0x7f;
    if SMALL_ORDER.contains(&y) {
        return Err(KeyError::SmallOrder);
    }
    ParsedPublicKey::new(&ED25519, bytes).map_err(|_| KeyError::Rejected)
}
