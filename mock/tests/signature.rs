//! The canonical form, byte for byte as Go writes it.
#![allow(clippy::unwrap_used)]

use plexsphere_mock::{SigningKey, canonical};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Vector {
    name: String,
    data: String,
    canonical: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    event_type: String,
    event_id: String,
    issued_at: String,
    nonce: String,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[test]
fn the_canonical_form_is_that_of_go() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("fixtures/canonical-vectors.json")).unwrap();
    assert!(vectors.len() > 100, "only {} vectors", vectors.len());
    for vector in vectors {
        let e: Envelope = serde_json::from_str(&vector.data).unwrap();
        let ours = canonical(&e.event_type, &e.event_id, &e.issued_at, &e.nonce, e.payload.get());
        assert_eq!(ours, vector.canonical, "{}", vector.name);
    }
}

#[test]
fn a_seed_gives_the_same_key_and_debug_shows_the_public_half() {
    let (one, two) = (SigningKey::from_seed(&[7; 32]), SigningKey::from_seed(&[7; 32]));
    assert_eq!(one.sign(b"x"), two.sign(b"x"));
    assert_eq!(one.public_key(), two.public_key());
    assert_eq!(format!("{one:?}"), format!("SigningKey({:?})", one.public_key()));
}
