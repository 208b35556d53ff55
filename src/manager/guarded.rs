//! A verifier that cannot hurt.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::events::{EventVerifier, KeyError, NonceSnapshot, SignedEnvelope, Verdict, VerifyError};
use crate::types::SigningKeys;

/// The user's verifier; one of its methods that panics has refused, or has nothing.
pub(super) struct Guarded<V>(pub(super) V);

impl<V: EventVerifier> EventVerifier for Guarded<V> {
    fn verify(&self, envelope: &SignedEnvelope) -> Result<Verdict, VerifyError> {
        guard(|| self.0.verify(envelope))
            .unwrap_or_else(|| Err(VerifyError::Custom("the verifier panicked".to_owned())))
    }

    fn is_authentic(&self, envelope: &SignedEnvelope) -> bool {
        guard(|| self.0.is_authentic(envelope)).unwrap_or(false)
    }

    fn update_keys(&self, keys: &SigningKeys) -> Result<(), KeyError> {
        guard(|| self.0.update_keys(keys))
            .unwrap_or_else(|| Err(KeyError::Custom("the verifier panicked".to_owned())))
    }

    fn export_nonces(&self) -> NonceSnapshot {
        guard(|| self.0.export_nonces()).unwrap_or_default()
    }

    fn import_nonces(&self, nonces: &NonceSnapshot) {
        guard(|| self.0.import_nonces(nonces));
    }

    fn is_checking(&self) -> bool {
        guard(|| self.0.is_checking()).unwrap_or(true)
    }
}

fn guard<T>(call: impl FnOnce() -> T) -> Option<T> {
    let ended = catch_unwind(AssertUnwindSafe(call)).ok();
    if ended.is_none() {
        tracing::error!("the event verifier panicked");
    }
    ended
}
