//! Opening a secret with the node's own key.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::types::SecretResponse;
use crate::values::Secret;

impl SecretResponse {
    /// Opens the secret with the node's secret key, as [`RegisterResponse`] holds it
    /// (AES-256-GCM; key, nonce and ciphertext in base64, the tag appended).
    ///
    /// The plain bytes are overwritten in memory when they are dropped.
    ///
    /// ```no_run
    /// # async fn example(control_plane: plexsphere_client::ControlPlane, node_secret_key: plexsphere_client::values::Secret) -> Result<(), plexsphere_client::Error> {
    /// let secret = control_plane.fetch_secret("n-1", "database-password").await?;
    /// let plain = secret.decrypt(&node_secret_key)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Decrypt`], one for every cause, so that it tells an attacker
    /// nothing: a key of another node, a damaged answer, text that is not base64.
    ///
    /// [`RegisterResponse`]: crate::types::RegisterResponse
    pub fn decrypt(&self, node_secret_key: &Secret) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.open(node_secret_key).ok_or_else(|| {
            Error::new(
                ErrorKind::Decrypt,
                "the secret does not open with this node key: fetch it again, or register anew",
            )
        })
    }

    fn open(&self, node_secret_key: &Secret) -> Option<Zeroizing<Vec<u8>>> {
        let key = Zeroizing::new(STANDARD.decode(node_secret_key.expose()).ok()?);
        let nonce: [u8; NONCE_LEN] = STANDARD.decode(&self.nonce).ok()?.try_into().ok()?;
        let mut bytes = Zeroizing::new(STANDARD.decode(self.ciphertext.expose()).ok()?);
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).ok()?);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = key.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?.len();
        bytes.truncate(plain);
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn response(plain: &[u8]) -> SecretResponse {
        let nonce = [1; NONCE_LEN];
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).unwrap());
        let mut bytes = plain.to_vec();
        let nonce_of_key = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_of_key, Aad::empty(), &mut bytes).unwrap();
        serde_json::from_value(serde_json::json!({
            "key": "k", "version": 1,
            "ciphertext": STANDARD.encode(bytes), "nonce": STANDARD.encode(nonce),
        }))
        .unwrap()
    }

    fn node_key() -> Secret {
        Secret::from(STANDARD.encode(KEY))
    }

    #[test]
    fn a_secret_opens_with_its_key() {
        assert_eq!(*response(b"hunter2").decrypt(&node_key()).unwrap(), b"hunter2");
        assert_eq!(*response(b"").decrypt(&node_key()).unwrap(), b"");
    }

    #[test]
    fn every_failure_is_the_same_error() {
        let good = response(b"hunter2");
        let mut texts = Vec::new();
        for key in ["", "!", &STANDARD.encode([7; 31]), &STANDARD.encode([8; 32])] {
            texts.push(good.decrypt(&Secret::from(key)).unwrap_err().to_string());
        }
        for (ciphertext, nonce) in
            [("", good.nonce.as_str()), ("AAAA", &good.nonce), (good.ciphertext.expose(), "AAAA")]
        {
            let mut bad = good.clone();
            (bad.ciphertext, bad.nonce) = (ciphertext.into(), nonce.to_owned());
            let error = bad.decrypt(&node_key()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decrypt);
            texts.push(error.to_string());
        }
        texts.dedup();
        assert_eq!(texts.len(), 1, "{texts:?}");
    }
}
