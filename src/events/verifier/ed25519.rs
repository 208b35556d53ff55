use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;

use super::keys::Keys;
use super::nonces::Nonces;
use super::{EventVerifier, KeyError, NonceSnapshot, Verdict, VerifyError};
use crate::events::SignedEnvelope;
use crate::types::SigningKeys;
use crate::values::{Timestamp, since_1970};

/// How old an event may be, and how far in the future: 5 minutes each.
pub const DEFAULT_TIME_WINDOW: Duration = Duration::from_secs(5 * 60);

/// How many nonces are remembered at most: 65,536, in 10 MiB at most. That is 109
/// events a second over the ten minutes for which a nonce is remembered by default.
pub const DEFAULT_NONCE_CAPACITY: usize = 65_536;

const SIGNATURE_LENGTH: usize = 64;

/// Checks the control plane's Ed25519 signature of each event.
///
/// The checks, in this order: the event has a signature, a nonce and a time; it is
/// not older than the time window and not further ahead of it; the current key, or
/// the previous one before its deadline, signed it; its nonce is unused.
///
/// Only an event with a valid signature spends its nonce. The nonce is remembered for
/// as long as the event could be accepted again. The same event under the same nonce
/// is a redelivery; another event under that nonce is refused.
///
/// ```
/// use plexsphere_client::events::Ed25519Verifier;
///
/// // `signing_public_key` of the registration.
/// let verifier = Ed25519Verifier::new("1DdhXS7n6mdf9nfdEXot9PLq1CrpJ2hS2HgEMKCbfTY=")?;
/// # Ok::<(), plexsphere_client::events::KeyError>(())
/// ```
pub struct Ed25519Verifier {
    window: Duration,
    clock: Box<dyn Fn() -> SystemTime + Send + Sync>,
    keys: RwLock<Keys>,
    nonces: Mutex<Nonces>,
}

impl Ed25519Verifier {
    /// Trusts one key: 32 bytes in padded standard base64.
    ///
    /// # Errors
    /// When the key is not base64, not 32 bytes long, or weak: under a key of small
    /// order anyone can sign.
    pub fn new(signing_public_key: &str) -> Result<Self, KeyError> {
        Self::with_keys(&SigningKeys::new(signing_public_key))
    }

    /// Trusts the keys of a state or of a rotation, the previous one until its deadline.
    ///
    /// # Errors
    /// As for [`new`](Self::new), for either key.
    pub fn with_keys(keys: &SigningKeys) -> Result<Self, KeyError> {
        Ok(Self {
            window: DEFAULT_TIME_WINDOW,
            clock: Box::new(SystemTime::now),
            keys: RwLock::new(Keys::load(keys)?),
            nonces: Mutex::new(Nonces::new(DEFAULT_NONCE_CAPACITY)),
        })
    }

    /// How old an event may be, and how far in the future.
    ///
    /// Default is 5 minutes each ([`DEFAULT_TIME_WINDOW`]).
    #[must_use]
    pub fn with_time_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// How many nonces are remembered, at least one. A full store forgets the oldest,
    /// and [`evicted_nonces`](Self::evicted_nonces) counts it.
    ///
    /// Default is 65,536 ([`DEFAULT_NONCE_CAPACITY`]).
    #[must_use]
    pub fn with_nonce_capacity(self, capacity: usize) -> Self {
        self.nonces().set_capacity(capacity);
        self
    }

    /// The clock that decides what is stale, and until when the previous key is trusted.
    ///
    /// Default is the system's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// How many nonces were forgotten before their time, because the store was full.
    /// An event whose nonce is forgotten could be replayed within the time window.
    pub fn evicted_nonces(&self) -> u64 {
        self.nonces().evicted()
    }

    fn check_time(&self, issued_at: Timestamp, now: SignedDuration) -> Result<(), VerifyError> {
        let age = now.saturating_sub(issued_at.since_1970());
        let distance = age.unsigned_abs();
        if distance <= self.window {
            Ok(())
        } else if age.is_positive() {
            Err(VerifyError::Stale { age: distance })
        } else {
            Err(VerifyError::Future { ahead: distance })
        }
    }

    /// The signed bytes, when a key in force signed them.
    fn check_signature(
        &self,
        envelope: &SignedEnvelope,
        now: SignedDuration,
    ) -> Result<Vec<u8>, VerifyError> {
        let signature = decoded_signature(&envelope.signature)?;
        let message = envelope.signed_bytes();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        match keys.signed(&message, &signature, now) {
            true => Ok(message),
            false => Err(VerifyError::BadSignature),
        }
    }

    /// Since 1970, as all times here.
    fn now(&self) -> SignedDuration {
        since_1970((self.clock)())
    }

    /// Until when a nonce that is spent now has to be remembered: an event from the
    /// far end of the window passes through all of it. Two seconds make up for the
    /// fractions that are cut.
    fn remembered_until(&self, now: i64) -> i64 {
        let window = i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX);
        now.saturating_add(window.saturating_add(1).saturating_mul(2)).saturating_add(2)
    }

    /// A panic elsewhere while the lock is held leaves nothing half done that matters:
    /// at worst one nonce more or less is remembered.
    fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventVerifier for Ed25519Verifier {
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        if envelope.signature.is_empty() {
            return Err(VerifyError::MissingSignature);
        }
        if envelope.nonce.is_empty() {
            return Err(VerifyError::MissingNonce);
        }
        let issued_at = envelope.issued_at.filter(|time| !time.is_go_zero());
        let now = self.now();
        self.check_time(issued_at.ok_or(VerifyError::MissingTime)?, now)?;
        let message = self.check_signature(envelope, now)?;
        let now = now.as_secs();
        self.nonces().spend(&envelope.nonce, &message, now, self.remembered_until(now))
    }

    fn is_authentic(&self, envelope: &SignedEnvelope) -> bool {
        self.check_signature(envelope, self.now()).is_ok()
    }

    /// A previous key that cannot be used is left out, so that it does not keep the
    /// current one from coming into force.
    fn update_keys(&self, update: &SigningKeys) -> Result<(), KeyError> {
        let keys = Keys::load(update).or_else(|error| {
            let keys = Keys::load(&SigningKeys::new(update.current.clone()))?;
            tracing::error!(%error, "the previous signing key cannot be used: left out");
            Ok(keys)
        })?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn export_nonces(&self) -> NonceSnapshot {
        let now = self.now().as_secs();
        self.nonces().export(now)
    }

    fn import_nonces(&self, nonces: &NonceSnapshot) {
        let now = self.now().as_secs();
        let unreadable = self.nonces().import(nonces, now, self.remembered_until(now));
        if unreadable > 0 {
            tracing::warn!(unreadable, "stored nonces cannot be read and are ignored");
        }
    }
}

impl fmt::Debug for Ed25519Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ed25519Verifier")
            .field("window", &self.window)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

fn decoded_signature(text: &str) -> Result<[u8; SIGNATURE_LENGTH], VerifyError> {
    use VerifyError::BadSignatureEncoding;
    // Three bytes for every four characters, before the padding is known.
    let mut bytes = [0; SIGNATURE_LENGTH.div_ceil(3) * 3];
    let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_| BadSignatureEncoding)?;
    bytes[..length].try_into().map_err(|_| BadSignatureEncoding)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;
    use crate::values::RawJson;

    #[test]
    fn a_stale_event_is_refused_and_is_authentic_all_the_same() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let verifier = Ed25519Verifier::new(&STANDARD.encode(pair.public_key())).unwrap();
        let mut envelope = SignedEnvelope::new("a", "b", RawJson::default());
        envelope.issued_at = Some("2025-01-15T10:30:00Z".parse().unwrap());
        envelope.nonce = "n".to_owned();
        envelope.signature = STANDARD.encode(pair.sign(&envelope.signed_bytes()));
        assert!(matches!(verifier.verify(&envelope), Err(VerifyError::Stale { .. })));
        assert!(verifier.is_authentic(&envelope));
        envelope.event_id = "another".to_owned();
        assert!(!verifier.is_authentic(&envelope));
        let shown = format!("{verifier:?}");
        assert!(shown.starts_with("Ed25519Verifier { window: 300s"), "{shown}");
    }

    #[test]
    fn a_panic_that_holds_the_locks_does_not_stop_the_verifier() {
        let key = "1DdhXS7n6mdf9nfdEXot9PLq1CrpJ2hS2HgEMKCbfTY=";
        let verifier = Ed25519Verifier::new(key).unwrap();
        std::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _nonces = verifier.nonces();
                let _keys = verifier.keys.write();
                panic!("with both locks held");
            });
            assert!(panicking.join().is_err());
        });
        assert!(verifier.keys.is_poisoned() && verifier.nonces.is_poisoned());
        assert_eq!(verifier.evicted_nonces(), 0);
        verifier.update_keys(&SigningKeys::new(key)).unwrap();
        let mut envelope = SignedEnvelope::new("a", "b", RawJson::default());
        envelope.issued_at = Some(Timestamp::now());
        envelope.nonce = "n".to_owned();
        envelope.signature = STANDARD.encode([0; SIGNATURE_LENGTH]);
        assert_eq!(verifier.verify(&envelope), Err(VerifyError::BadSignature));
    }
}
