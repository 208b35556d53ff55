//! Signing keys and the canonical bytes of an envelope.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// An Ed25519 key pair of the control plane, or of a stranger in a test.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self::from_seed(&crate::random_bytes())
    }

    /// The key of a 32-byte seed: the same seed gives the same key.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // Any 32 bytes are a valid Ed25519 seed.
        #[allow(clippy::expect_used)]
        Self(Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed"))
    }

    /// The public half in base64, as the wire carries it.
    pub fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key().as_ref())
    }

    /// The signature of `message` in base64.
    pub fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(message).as_ref())
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public_key()).finish()
    }
}

/// The bytes that a signature covers: the envelope without its signature, as Go's `encoding/json`
/// writes a struct of these five fields.
///
/// `issued_at` is taken as it is given, so it must already have its canonical form; `payload` is
/// any valid JSON text.
pub fn canonical(
    event_type: &str,
    event_id: &str,
    issued_at: &str,
    nonce: &str,
    payload: &str,
) -> String {
    let mut out = String::with_capacity(payload.len() + 160);
    out.push_str("{\"event_type\":");
    push_string(&mut out, event_type);
    out.push_str(",\"event_id\":");
    push_string(&mut out, event_id);
    out.push_str(",\"issued_at\":");
    push_string(&mut out, issued_at);
    out.push_str(",\"nonce\":");
    push_string(&mut out, nonce);
    out.push_str(",\"payload\":");
    push_compact(&mut out, payload);
    out.push('}');
    out
}

/// The whole envelope as a Go server writes it: the canonical bytes with the signature at the end.
pub(crate) fn with_signature(canonical: &str, signature: &str) -> String {
    let mut out = String::with_capacity(canonical.len() + signature.len() + 20);
    out.push_str(&canonical[..canonical.len() - 1]);
    out.push_str(",\"signature\":");
    push_string(&mut out, signature);
    out.push('}');
    out
}

/// A JSON string with Go's escapes.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => push_escape(out, c),
            c => push_html_safe(out, c),
        }
    }
    out.push('"');
}

/// JSON text without the white space between tokens; all else stays but Go's five escapes.
fn push_compact(out: &mut String, json: &str) {
    let mut in_string = false;
    let mut escaped = false;
    for c in json.chars() {
        match c {
            ' ' | '\t' | '\n' | '\r' if !in_string => continue,
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        push_html_safe(out, c);
    }
}

fn push_html_safe(out: &mut String, c: char) {
    match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => push_escape(out, c),
        c => out.push(c),
    }
}

fn push_escape(out: &mut String, c: char) {
    out.push_str(&format!("\\u{:04x}", u32::from(c)));
}
