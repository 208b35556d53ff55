//! Stage 3: an envelope is checked, and only then can it be dispatched.

mod ed25519;
mod keys;
mod nonces;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ed25519::{DEFAULT_NONCE_CAPACITY, DEFAULT_TIME_WINDOW, Ed25519Verifier};
pub use keys::KeyError;

use super::SignedEnvelope;
use crate::types::SigningKeys;

/// Decides whether an event comes from the control plane.
///
/// [`Ed25519Verifier`] is the one to use. Write your own where the keys live
/// elsewhere, for example in a hardware module; it hears of key rotations through
/// [`update_keys`](Self::update_keys).
///
/// ```
/// use plexsphere_client::events::{
///     EventVerifier, KeyError, NonceSnapshot, SignedEnvelope, Verdict, VerifyError,
/// };
/// use plexsphere_client::types::SigningKeys;
///
/// /// Trusts a signature, but takes events from after the upgrade only.
/// struct AfterTheUpgrade<V>(V);
///
/// impl<V: EventVerifier> EventVerifier for AfterTheUpgrade<V> {
///     fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
///         if envelope.event_id.starts_with("v1-") {
///             return Err(VerifyError::Custom("an event from before the upgrade".to_owned()));
///         }
///         self.0.verify(envelope)
///     }
///
///     // The rest is passed on, so that key rotations and restarts work as before.
///     fn update_keys(&self, keys: &SigningKeys) -> Result<(), KeyError> {
///         self.0.update_keys(keys)
///     }
///
///     fn is_authentic(&self, envelope: &SignedEnvelope) -> bool {
///         self.0.is_authentic(envelope)
///     }
///
///     fn export_nonces(&self) -> NonceSnapshot {
///         self.0.export_nonces()
///     }
///
///     fn import_nonces(&self, nonces: &NonceSnapshot) {
///         self.0.import_nonces(nonces);
///     }
/// }
/// ```
pub trait EventVerifier: Send + Sync {
    /// Checks one event. It runs on the task that reads the stream, so it should
    /// not block.
    ///
    /// # Errors
    /// When the event must not be handled. The error holds no part of the payload.
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError>;

    /// Whether a trusted key signed the event, whatever its time and nonce.
    ///
    /// It is asked about a stale event: only one that is the control plane's own
    /// moves the position in the stream. By default `false`: the position waits for
    /// the next event that is accepted.
    fn is_authentic(&self, envelope: &SignedEnvelope) -> bool {
        let _ = envelope;
        false
    }

    /// Takes over the signing keys that a trusted source names: the registration, an
    /// event that a trusted key signed, or a state fetched with the node's own token.
    ///
    /// Hand over the keys of an event only when it is new, since one that is sent
    /// again may name keys of the past. A verifier that wraps another passes them on: it
    /// would refuse every event after the next rotation otherwise.
    ///
    /// # Errors
    /// When a key cannot be used. The keys are then the same as before.
    fn update_keys(&self, keys: &SigningKeys) -> Result<(), KeyError>;

    /// The nonces that are remembered, for a store that keeps them over a restart.
    /// By default there are none.
    fn export_nonces(&self) -> NonceSnapshot {
        NonceSnapshot::default()
    }

    /// Remembers nonces that were exported before a restart. By default nothing happens.
    fn import_nonces(&self, nonces: &NonceSnapshot) {
        let _ = nonces;
    }

    /// Whether events are checked at all: `true` by default. A client whose verifier
    /// says `false` logs a warning when it starts.
    fn is_checking(&self) -> bool {
        true
    }
}

impl<V: EventVerifier + ?Sized> EventVerifier for Arc<V> {
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        (**self).verify(envelope)
    }

    fn is_authentic(&self, envelope: &SignedEnvelope) -> bool {
        (**self).is_authentic(envelope)
    }

    fn update_keys(&self, keys: &SigningKeys) -> Result<(), KeyError> {
        (**self).update_keys(keys)
    }

    fn export_nonces(&self) -> NonceSnapshot {
        (**self).export_nonces()
    }

    fn import_nonces(&self, nonces: &NonceSnapshot) {
        (**self).import_nonces(nonces);
    }

    fn is_checking(&self) -> bool {
        (**self).is_checking()
    }
}

/// What a verifier says of an event that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has not been seen before.
    New,
    /// The very same event has been accepted before: the control plane sends it
    /// again. It is to be handled only if it was not handled then.
    Redelivered,
}

/// Why an event is refused. Each case has a text of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The envelope has no signature.
    #[error("the event has no signature")]
    MissingSignature,
    /// The envelope has no nonce.
    #[error("the event has no nonce")]
    MissingNonce,
    /// The envelope does not say when it was signed.
    #[error("the event has no time")]
    MissingTime,
    /// It was signed longer ago than the time window allows. If all events seem
    /// stale, the machine's clock may be fast.
    #[error("the event is stale: it was signed {age:?} ago")]
    Stale {
        /// How long ago it was signed, by the verifier's clock.
        age: Duration,
    },
    /// It was signed further in the future than the time window allows. If all
    /// events seem to be, the machine's clock may be slow.
    #[error("the event is from the future: it is signed for {ahead:?} ahead")]
    Future {
        /// How far ahead it is, by the verifier's clock.
        ahead: Duration,
    },
    /// The signature is not 64 bytes in padded standard base64.
    #[error("the event's signature is not 64 bytes in base64")]
    BadSignatureEncoding,
    /// No trusted key made this signature for these bytes.
    #[error("the event's signature is wrong, or of a key that is not trusted")]
    BadSignature,
    /// The nonce was used before, by another event.
    #[error("the event's nonce was used before by another event")]
    NonceReused,
    /// A refusal of a verifier of your own. The text is logged: keep secrets out of it.
    #[error("the event is refused: {0}")]
    Custom(String),
}

/// Nonces that a verifier remembers, each in a line of its own. What a line says is
/// the verifier's affair; lines that it cannot read it ignores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NonceSnapshot {
    /// The lines, the oldest nonce first.
    pub lines: Vec<String>,
}

/// Accepts every event, whoever made it: the choice for tests, or for a network in
/// which nobody else can reach the node.
///
/// Nothing is checked, nothing is remembered.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOpVerifier;

impl EventVerifier for NoOpVerifier {
    fn verify(&self, _: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        Ok(Verdict::New)
    }

    fn update_keys(&self, _: &SigningKeys) -> Result<(), KeyError> {
        Ok(())
    }

    fn is_checking(&self) -> bool {
        false
    }
}

/// An event that a verifier accepted. There is no other way to make one, so an event
/// that was not verified cannot be dispatched.
#[derive(Clone, Debug)]
pub struct Verified {
    envelope: Arc<SignedEnvelope>,
    verdict: Verdict,
}

impl Verified {
    /// Has `verifier` check the event.
    ///
    /// # Errors
    /// Those of [`EventVerifier::verify`].
    pub fn check(
        verifier: &dyn EventVerifier,
        envelope: &Arc<SignedEnvelope>,
    ) -> Result<Self, VerifyError> {
        let verdict = verifier.verify(envelope)?;
        Ok(Self { envelope: Arc::clone(envelope), verdict })
    }

    /// The event.
    pub fn envelope(&self) -> &Arc<SignedEnvelope> {
        &self.envelope
    }

    /// Whether it is new or sent again.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::values::RawJson;

    /// Only what every verifier has to have.
    struct Plain;

    impl EventVerifier for Plain {
        fn verify(&self, _: &SignedEnvelope) -> Result<Verdict, VerifyError> {
            Ok(Verdict::New)
        }

        fn update_keys(&self, _: &SigningKeys) -> Result<(), KeyError> {
            Ok(())
        }
    }

    /// Answers each question in a way that no default does.
    #[derive(Default)]
    struct Unlike {
        imported: Mutex<NonceSnapshot>,
    }

    impl EventVerifier for Unlike {
        fn verify(&self, _: &SignedEnvelope) -> Result<Verdict, VerifyError> {
            Err(VerifyError::NonceReused)
        }

        fn is_authentic(&self, envelope: &SignedEnvelope) -> bool {
            envelope.event_id == "own"
        }

        fn update_keys(&self, _: &SigningKeys) -> Result<(), KeyError> {
            Err(KeyError::SmallOrder)
        }

        fn export_nonces(&self) -> NonceSnapshot {
            self.imported.lock().unwrap().clone()
        }

        fn import_nonces(&self, nonces: &NonceSnapshot) {
            *self.imported.lock().unwrap() = nonces.clone();
        }

        fn is_checking(&self) -> bool {
            false
        }
    }

    fn envelope(event_id: &str) -> SignedEnvelope {
        SignedEnvelope::new("a", event_id, RawJson::default())
    }

    #[test]
    fn a_plain_verifier_calls_nothing_authentic_and_remembers_nothing() {
        assert!(!Plain.is_authentic(&envelope("own")));
        Plain.import_nonces(&NonceSnapshot { lines: vec!["n".to_owned()] });
        assert_eq!(Plain.export_nonces(), NonceSnapshot::default());
        assert!(Plain.is_checking() && !NoOpVerifier.is_checking());
    }

    #[test]
    fn a_shared_verifier_answers_as_the_one_that_is_shared() {
        fn ask(verifier: impl EventVerifier) {
            assert_eq!(verifier.verify(&envelope("own")), Err(VerifyError::NonceReused));
            assert!(verifier.is_authentic(&envelope("own")));
            assert!(!verifier.is_authentic(&envelope("other")));
            assert_eq!(verifier.update_keys(&SigningKeys::new("k")), Err(KeyError::SmallOrder));
            let nonces = NonceSnapshot { lines: vec!["n".to_owned()] };
            verifier.import_nonces(&nonces);
            assert_eq!(verifier.export_nonces(), nonces);
            assert!(!verifier.is_checking());
        }
        ask(Arc::new(Unlike::default()));
        ask(Arc::new(Unlike::default()) as Arc<dyn EventVerifier>);
        fn checks(verifier: impl EventVerifier) -> bool {
            verifier.is_checking()
        }
        assert!(checks(Arc::new(Plain)));
    }
}
