//! Envelopes and signatures: the vectors that were made with Go, and what the
//! verifier does with time, keys and nonces.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plexsphere_client::events::{
    Ed25519Verifier, EnvelopeError, EventVerifier, KeyError, NoOpVerifier, NonceSnapshot,
    SignedEnvelope, Verdict, Verified, VerifyError,
};
use plexsphere_client::types::SigningKeys;
use plexsphere_client::values::{RawJson, Timestamp};
use serde::Deserialize;

const VECTORS: &str = include_str!("../fixtures/signature-vectors.json");

const NOT_UTF8: &str = "the data is not UTF-8";
const LONE_SURROGATE: &str = "half a surrogate pair outside of the payload";
const OTHER_CASE: &str = "a field name in another case";
const GIVEN_TWICE: &str = "a known field is given twice";
const COMMA: &str = "a comma before the fraction of a second";
const ONE_DIGIT_HOUR: &str = "an hour of one digit";
const LINE_BREAK: &str = "CR or LF within the base64";
const LOOSE_BITS: &str = "unused bits that are set at the end of the base64";
const WEAK_KEY: &str = "a key of small order, under which anyone can sign";

/// The vectors that Go accepts and this crate refuses. No Go server emits any of them.
const REFUSED: &[(&str, &str)] = &[
    ("strings/event_id-invalid-utf8", NOT_UTF8),
    ("strings/event_id-invalid-utf8-overlong", NOT_UTF8),
    ("strings/event_type-invalid-utf8", NOT_UTF8),
    ("strings/event_type-invalid-utf8-overlong", NOT_UTF8),
    ("strings/nonce-invalid-utf8", NOT_UTF8),
    ("strings/nonce-invalid-utf8-overlong", NOT_UTF8),
    ("strings/payload-invalid-utf8", NOT_UTF8),
    ("strings/payload-truncated-u2028", NOT_UTF8),
    ("strings/payload-utf8-encoded-surrogate", NOT_UTF8),
    ("tamper/nonce-invalid-byte-to-replacement", NOT_UTF8),
    ("strings/event_id-half-pair-then-escape", LONE_SURROGATE),
    ("strings/event_id-lone-surrogate", LONE_SURROGATE),
    ("strings/event_type-half-pair-then-escape", LONE_SURROGATE),
    ("strings/event_type-lone-surrogate", LONE_SURROGATE),
    ("strings/nonce-half-pair-then-escape", LONE_SURROGATE),
    ("strings/nonce-lone-surrogate", LONE_SURROGATE),
    ("field_names/dup-nonce-case-last-wins", OTHER_CASE),
    ("field_names/long-s", OTHER_CASE),
    ("field_names/mixed", OTHER_CASE),
    ("field_names/upper", OTHER_CASE),
    ("field_names/dup-issued_at-last-wins", GIVEN_TWICE),
    ("field_names/dup-issued_at-null-keeps", GIVEN_TWICE),
    ("field_names/dup-nonce-last-wins", GIVEN_TWICE),
    ("field_names/dup-nonce-null-keeps", GIVEN_TWICE),
    ("field_names/dup-payload-injected-before", GIVEN_TWICE),
    ("field_names/dup-payload-last-wins", GIVEN_TWICE),
    ("field_names/dup-payload-null-last", GIVEN_TWICE),
    ("field_names/dup-signature-last-wins", GIVEN_TWICE),
    ("field_names/dup-signature-null-keeps", GIVEN_TWICE),
    ("time_fraction/comma", COMMA),
    ("time_offset/single-digit-hour", ONE_DIGIT_HOUR),
    ("base64/leading-newline", LINE_BREAK),
    ("base64/newline-inside-padding", LINE_BREAK),
    ("base64/trailing-crlf", LINE_BREAK),
    ("base64/trailing-newline", LINE_BREAK),
    ("base64/wrapped-lines", LINE_BREAK),
    ("base64/trailing-bits-set", LOOSE_BITS),
    ("ed25519_edge/small-order-key-identity", WEAK_KEY),
];

#[derive(Deserialize)]
struct Vectors {
    count: usize,
    accept_count: usize,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    data_b64: String,
    public_key: String,
    previous_key: Option<String>,
    previous_key_active: bool,
    canonical_b64: Option<String>,
    accept: bool,
    stage: String,
}

/// Why a vector is refused.
#[derive(Debug)]
enum Refusal {
    Envelope(EnvelopeError),
    Key(KeyError),
    Verify(VerifyError),
}

impl Vector {
    fn envelope(&self) -> Result<SignedEnvelope, EnvelopeError> {
        SignedEnvelope::parse(STANDARD.decode(&self.data_b64).unwrap())
    }

    /// Verifies the vector at the time at which it was signed.
    fn verify(&self) -> Result<Verdict, Refusal> {
        let envelope = self.envelope().map_err(Refusal::Envelope)?;
        let now = envelope.issued_at.unwrap_or_else(Timestamp::now);
        let keys = SigningKeys::new(&self.public_key);
        let keys = match &self.previous_key {
            Some(previous) if self.previous_key_active => {
                keys.with_previous(previous, later(now, Duration::from_nanos(1)))
            }
            Some(previous) => keys.with_previous(previous, now),
            None => keys,
        };
        let clock = now.to_system_time().unwrap();
        let verifier = Ed25519Verifier::with_keys(&keys).map_err(Refusal::Key)?;
        verifier.with_clock(move || clock).verify(&envelope).map_err(Refusal::Verify)
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_unix_nanos(time.unix_nanos() + i128::try_from(by.as_nanos()).unwrap()).unwrap()
}

fn vectors() -> Vec<Vector> {
    let all: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert_eq!((all.count, all.accept_count), (365, 206));
    assert_eq!(all.vectors.len(), all.count);
    assert_eq!(all.vectors.iter().filter(|vector| vector.accept).count(), all.accept_count);
    all.vectors
}

#[test]
fn no_vector_that_must_be_refused_is_accepted() {
    for vector in vectors().iter().filter(|vector| !vector.accept) {
        let refusal = vector.verify().expect_err(&vector.name);
        let fits = match vector.stage.as_str() {
            // An empty time is refused when it is checked, not when it is read.
            "parse" | "canonicalise" => {
                matches!(refusal, Refusal::Envelope(_))
                    || matches!(refusal, Refusal::Verify(VerifyError::MissingTime))
            }
            "missing_signature" => {
                matches!(refusal, Refusal::Verify(VerifyError::MissingSignature))
            }
            "missing_nonce" => matches!(refusal, Refusal::Verify(VerifyError::MissingNonce)),
            "missing_issued_at" => matches!(refusal, Refusal::Verify(VerifyError::MissingTime)),
            "base64" => matches!(refusal, Refusal::Verify(VerifyError::BadSignatureEncoding)),
            "signature" => matches!(
                refusal,
                Refusal::Verify(VerifyError::BadSignature | VerifyError::BadSignatureEncoding)
                    | Refusal::Envelope(EnvelopeError::Ambiguous { .. })
            ),
            other => panic!("unknown stage {other}"),
        };
        assert!(fits, "{} ({}): {refusal:?}", vector.name, vector.stage);
    }
}

#[test]
fn every_other_vector_is_accepted_but_for_the_listed_ones() {
    let listed: BTreeMap<_, _> = REFUSED.iter().copied().collect();
    assert_eq!(listed.len(), REFUSED.len(), "a vector is listed twice");
    let mut refused = BTreeMap::new();
    for vector in vectors().iter().filter(|vector| vector.accept) {
        match vector.verify() {
            Ok(verdict) => assert_eq!(verdict, Verdict::New, "{}", vector.name),
            Err(refusal) => {
                refused.insert(vector.name.clone(), refusal);
            }
        }
    }
    let unlisted: Vec<_> =
        refused.iter().filter(|(name, _)| !listed.contains_key(name.as_str())).collect();
    assert!(unlisted.is_empty(), "refused without a reason: {unlisted:#?}");
    for (name, reason) in listed {
        let refusal = refused.get(name);
        assert!(refusal.is_some_and(|refusal| fits(reason, refusal)), "{name}: {refusal:?}");
    }
}

/// Whether a listed vector is refused for the reason that stands beside it.
fn fits(reason: &str, refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Envelope(EnvelopeError::NotUtf8) => reason == NOT_UTF8,
        Refusal::Envelope(EnvelopeError::Ambiguous { .. }) => {
            [OTHER_CASE, GIVEN_TWICE].contains(&reason)
        }
        Refusal::Envelope(EnvelopeError::WrongType { field: "issued_at", .. }) => {
            [COMMA, ONE_DIGIT_HOUR].contains(&reason)
        }
        Refusal::Envelope(EnvelopeError::WrongType { .. }) => reason == LONE_SURROGATE,
        Refusal::Verify(VerifyError::BadSignatureEncoding) => {
            [LINE_BREAK, LOOSE_BITS].contains(&reason)
        }
        Refusal::Key(KeyError::SmallOrder) => reason == WEAK_KEY,
        _ => false,
    }
}

#[test]
fn every_envelope_that_is_read_has_the_bytes_that_go_signs() {
    let mut compared = 0;
    for vector in vectors() {
        let (Ok(envelope), Some(canonical)) = (vector.envelope(), &vector.canonical_b64) else {
            continue;
        };
        let canonical = STANDARD.decode(canonical).unwrap();
        let written = envelope.signed_bytes();
        let text = String::from_utf8_lossy(&written);
        assert_eq!(written, canonical, "{}: {text}", vector.name);
        compared += 1;
    }
    assert!(compared >= 206 - REFUSED.len(), "{compared}");
}

#[test]
fn a_vector_survives_being_written_and_read_again() {
    for vector in vectors() {
        let Ok(envelope) = vector.envelope() else { continue };
        let json = serde_json::to_string(&envelope).unwrap();
        let again: SignedEnvelope = serde_json::from_str(&json).unwrap();
        assert_eq!(again, envelope, "{}", vector.name);
        assert_eq!(again.signed_bytes(), envelope.signed_bytes(), "{}", vector.name);
    }
}

/// A control plane's key.
struct Signer(Ed25519KeyPair);

impl Signer {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn public_key(&self) -> String {
        STANDARD.encode(self.0.public_key())
    }

    fn sign(&self, mut envelope: SignedEnvelope) -> SignedEnvelope {
        let signature = self.0.sign(&envelope.signed_bytes());
        envelope.signature = STANDARD.encode(signature);
        envelope
    }
}

const NOON: &str = "2026-01-15T12:00:00Z";

fn noon() -> Timestamp {
    NOON.parse().unwrap()
}

/// An event that is signed at noon.
fn event(nonce: &str) -> SignedEnvelope {
    let payload = RawJson::from_text(r#"{"b":1,"a":"<canary>"}"#).unwrap();
    let mut envelope = SignedEnvelope::new("peer_added", format!("evt-{nonce}"), payload);
    envelope.issued_at = Some(noon());
    envelope.nonce = nonce.to_owned();
    envelope
}

/// A clock that a test sets: nanoseconds from noon.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<i128>>);

impl Clock {
    fn set(&self, from_noon: i128) {
        *self.0.lock().unwrap() = from_noon;
    }

    fn now(&self) -> SystemTime {
        let nanos = noon().unix_nanos() + *self.0.lock().unwrap();
        Timestamp::from_unix_nanos(nanos).unwrap().to_system_time().unwrap()
    }
}

const SECOND: i128 = 1_000_000_000;
const MINUTE: i128 = 60 * SECOND;

fn verifier(signer: &Signer) -> (Ed25519Verifier, Clock) {
    let clock = Clock::default();
    let reading = clock.clone();
    let verifier = Ed25519Verifier::new(&signer.public_key()).unwrap();
    (verifier.with_clock(move || reading.now()), clock)
}

#[test]
fn a_good_signature_is_accepted_and_any_change_is_refused() {
    let signer = Signer::new(1);
    let (verifier, _) = verifier(&signer);
    let signed = signer.sign(event("n-1"));
    let other_payload = |text| RawJson::from_text(text).unwrap();
    let changes: [fn(&mut SignedEnvelope); 5] = [
        |envelope| envelope.event_type = "peer_removed".into(),
        |envelope| envelope.event_id.push('2'),
        |envelope| envelope.nonce.push('2'),
        |envelope| envelope.issued_at = Some(later(noon(), Duration::from_nanos(1))),
        |envelope| envelope.issued_at = Some("2026-01-15T13:00:00+01:00".parse().unwrap()),
    ];
    for change in changes {
        let mut tampered = signed.clone();
        change(&mut tampered);
        assert_eq!(verifier.verify(&tampered), Err(VerifyError::BadSignature), "{tampered:?}");
    }
    for payload in [r#"{"b":2,"a":"<canary>"}"#, r#"{"a":"<canary>","b":1}"#, "null"] {
        let mut tampered = signed.clone();
        tampered.payload = other_payload(payload);
        assert_eq!(verifier.verify(&tampered), Err(VerifyError::BadSignature), "{payload}");
    }
    let mut respaced = signed;
    respaced.payload = other_payload("{ \"b\" : 1,\n\"a\":\"\\u003ccanary>\" }");
    assert_eq!(verifier.verify(&respaced), Ok(Verdict::New));
}

#[test]
fn what_is_missing_is_refused_in_order_and_each_with_its_own_text() {
    let signer = Signer::new(1);
    let (verifier, _) = verifier(&signer);
    let mut envelope = SignedEnvelope::new("", "", RawJson::default());
    let mut texts = Vec::new();
    let mut refuse = |envelope: &SignedEnvelope, expected: VerifyError| {
        assert_eq!(verifier.verify(envelope), Err(expected.clone()));
        texts.push(expected.to_string());
    };
    refuse(&envelope, VerifyError::MissingSignature);
    envelope.signature = "not base64".to_owned();
    refuse(&envelope, VerifyError::MissingNonce);
    envelope.nonce = "n-1".to_owned();
    refuse(&envelope, VerifyError::MissingTime);
    envelope.issued_at = Some(later(noon(), Duration::from_secs(301)));
    refuse(&envelope, VerifyError::Future { ahead: Duration::from_secs(301) });
    envelope.issued_at = Timestamp::from_unix_nanos(noon().unix_nanos() - 301 * SECOND);
    refuse(&envelope, VerifyError::Stale { age: Duration::from_secs(301) });
    envelope.issued_at = Some(noon());
    refuse(&envelope, VerifyError::BadSignatureEncoding);
    envelope.signature = STANDARD.encode([0; 64]);
    refuse(&envelope, VerifyError::BadSignature);
    assert_eq!(verifier.verify(&signer.sign(envelope)), Ok(Verdict::New));
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), 7, "{texts:?}");
}

#[test]
fn the_time_that_go_never_set_counts_as_missing() {
    let signer = Signer::new(1);
    let (verifier, _) = verifier(&signer);
    for zero in ["0001-01-01T00:00:00Z", "0001-01-01T02:00:00+02:00"] {
        let mut envelope = event("n-1");
        envelope.issued_at = Some(zero.parse().unwrap());
        assert_eq!(verifier.verify(&signer.sign(envelope)), Err(VerifyError::MissingTime));
    }
}

#[test]
fn the_time_window_is_five_minutes_each_way_and_a_setting() {
    let signer = Signer::new(1);
    let outcome = |verifier: Ed25519Verifier, clock: &Clock, from_noon: i128| {
        clock.set(from_noon);
        verifier.verify(&signer.sign(event("n-1")))
    };
    let cases = [
        (5 * MINUTE, Ok(Verdict::New)),
        (5 * MINUTE + 1, Err(VerifyError::Stale { age: Duration::new(300, 1) })),
        (-5 * MINUTE, Ok(Verdict::New)),
        (-5 * MINUTE - 1, Err(VerifyError::Future { ahead: Duration::new(300, 1) })),
    ];
    for (from_noon, expected) in cases {
        let (verifier, clock) = verifier(&signer);
        assert_eq!(outcome(verifier, &clock, from_noon), expected, "{from_noon}");
    }
    for (from_noon, accepted) in
        [(SECOND, true), (SECOND + 1, false), (-SECOND, true), (-SECOND - 1, false)]
    {
        let (verifier, clock) = verifier(&signer);
        let verifier = verifier.with_time_window(Duration::from_secs(1));
        assert_eq!(outcome(verifier, &clock, from_noon).is_ok(), accepted, "{from_noon}");
    }
    let (verifier, clock) = verifier(&signer);
    let verifier = verifier.with_time_window(Duration::MAX);
    assert_eq!(outcome(verifier, &clock, 60 * 24 * 365 * 100 * MINUTE), Ok(Verdict::New));
}

#[test]
fn the_machine_clock_is_the_default() {
    let signer = Signer::new(1);
    let verifier = Ed25519Verifier::new(&signer.public_key()).unwrap();
    let mut envelope = event("n-1");
    envelope.issued_at = Some(Timestamp::now());
    assert_eq!(verifier.verify(&signer.sign(envelope)), Ok(Verdict::New));
}

#[test]
fn the_same_event_is_a_redelivery_and_another_under_its_nonce_is_refused() {
    let signer = Signer::new(1);
    let (verifier, clock) = verifier(&signer);
    let first = signer.sign(event("n-1"));
    assert_eq!(verifier.verify(&first), Ok(Verdict::New));
    clock.set(MINUTE);
    assert_eq!(verifier.verify(&first), Ok(Verdict::Redelivered));
    assert_eq!(verifier.verify(&first), Ok(Verdict::Redelivered));
    let mut other = event("n-1");
    other.event_id = "evt-other".to_owned();
    assert_eq!(verifier.verify(&signer.sign(other)), Err(VerifyError::NonceReused));
    assert_eq!(verifier.verify(&signer.sign(event("n-2"))), Ok(Verdict::New));
}

#[test]
fn a_redelivery_that_is_signed_anew_after_a_rotation_is_still_one() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let (verifier, _) = verifier(&old);
    assert_eq!(verifier.verify(&old.sign(event("n-1"))), Ok(Verdict::New));
    verifier.update_keys(&SigningKeys::new(new.public_key())).unwrap();
    assert_eq!(verifier.verify(&new.sign(event("n-1"))), Ok(Verdict::Redelivered));
}

#[test]
fn only_a_valid_signature_spends_the_nonce() {
    let (signer, forger) = (Signer::new(1), Signer::new(2));
    let (verifier, clock) = verifier(&signer);
    let mut forged = event("n-1");
    forged.event_id = "evt-forged".to_owned();
    assert_eq!(verifier.verify(&forger.sign(forged)), Err(VerifyError::BadSignature));
    clock.set(6 * MINUTE);
    let signed = signer.sign(event("n-1"));
    assert!(matches!(verifier.verify(&signed), Err(VerifyError::Stale { .. })));
    assert_eq!(verifier.export_nonces(), NonceSnapshot::default());
    clock.set(0);
    assert_eq!(verifier.verify(&signed), Ok(Verdict::New));
}

#[test]
fn a_nonce_is_remembered_through_both_sides_of_the_window_and_then_forgotten() {
    let signer = Signer::new(1);
    let (verifier, clock) = verifier(&signer);
    let signed = signer.sign(event("n-1"));
    clock.set(-5 * MINUTE);
    assert_eq!(verifier.verify(&signed), Ok(Verdict::New));
    clock.set(5 * MINUTE);
    assert_eq!(verifier.verify(&signed), Ok(Verdict::Redelivered));
    clock.set(6 * MINUTE);
    assert_eq!(verifier.export_nonces(), NonceSnapshot::default());
    let mut reused = event("n-1");
    reused.issued_at = Some(later(noon(), Duration::from_secs(6 * 60)));
    assert_eq!(verifier.verify(&signer.sign(reused)), Ok(Verdict::New));
    assert_eq!(verifier.evicted_nonces(), 0);
}

#[test]
fn a_full_store_of_nonces_forgets_the_oldest_and_counts_it() {
    let signer = Signer::new(1);
    let (verifier, _) = verifier(&signer);
    let verifier = verifier.with_nonce_capacity(3);
    for number in 0..5 {
        let signed = signer.sign(event(&number.to_string()));
        assert_eq!(verifier.verify(&signed), Ok(Verdict::New));
    }
    assert_eq!(verifier.evicted_nonces(), 2);
    assert_eq!(verifier.export_nonces().lines.len(), 3);
    let verdict = |nonce| verifier.verify(&signer.sign(event(nonce)));
    assert_eq!(verdict("4"), Ok(Verdict::Redelivered));
    assert_eq!(verdict("2"), Ok(Verdict::Redelivered));
    assert_eq!(verdict("0"), Ok(Verdict::New));
    assert_eq!(verifier.evicted_nonces(), 3);
}

#[test]
fn nonces_survive_a_restart() {
    let signer = Signer::new(1);
    let (before, _) = verifier(&signer);
    let signed = signer.sign(event("n-1"));
    before.verify(&signed).unwrap();
    let stored = serde_json::to_string(&before.export_nonces()).unwrap();
    assert!(!stored.contains("n-1") && stored.len() < 64, "{stored}");

    let (after, clock) = verifier(&signer);
    let mut snapshot: NonceSnapshot = serde_json::from_str(&stored).unwrap();
    snapshot.lines.insert(0, "of another version".to_owned());
    after.import_nonces(&snapshot);
    after.import_nonces(&snapshot);
    assert_eq!(after.export_nonces().lines.len(), 1);
    assert_eq!(after.verify(&signed), Ok(Verdict::Redelivered));
    let mut other = event("n-1");
    other.event_id = "evt-other".to_owned();
    assert_eq!(after.verify(&signer.sign(other)), Err(VerifyError::NonceReused));
    clock.set(11 * MINUTE);
    assert_eq!(after.export_nonces(), NonceSnapshot::default());
}

#[test]
fn a_stored_nonce_is_not_kept_for_longer_than_a_fresh_one() {
    let signer = Signer::new(1);
    let (of_tomorrow, clock) = verifier(&signer);
    clock.set(24 * 60 * MINUTE);
    let mut envelope = event("n-1");
    envelope.issued_at = Some(later(noon(), Duration::from_secs(24 * 60 * 60)));
    of_tomorrow.verify(&signer.sign(envelope)).unwrap();

    let (verifier, clock) = verifier(&signer);
    verifier.import_nonces(&of_tomorrow.export_nonces());
    assert_eq!(verifier.export_nonces().lines.len(), 1);
    clock.set(11 * MINUTE);
    assert_eq!(verifier.export_nonces(), NonceSnapshot::default());
}

#[test]
fn the_previous_key_is_trusted_until_its_deadline() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let (verifier, clock) = verifier(&old);
    let deadline = later(noon(), Duration::from_secs(60));
    let update = SigningKeys::new(new.public_key());
    verifier.update_keys(&update.with_previous(old.public_key(), deadline)).unwrap();
    for (from_noon, nonce, accepted) in
        [(0, "a", true), (MINUTE - 1, "b", true), (MINUTE, "c", false)]
    {
        clock.set(from_noon);
        let outcome = verifier.verify(&old.sign(event(nonce)));
        let expected = if accepted { Ok(Verdict::New) } else { Err(VerifyError::BadSignature) };
        assert_eq!(outcome, expected, "{from_noon}");
        let nonce = format!("new-{nonce}");
        assert_eq!(verifier.verify(&new.sign(event(&nonce))), Ok(Verdict::New), "{from_noon}");
    }
}

#[test]
fn a_rotation_without_previous_key_or_without_deadline_trusts_the_new_key_alone() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let (current, previous) = (new.public_key(), old.public_key());
    for payload in [
        format!(r#"{{"current":"{current}"}}"#),
        format!(r#"{{"current":"{current}","previous":null,"transition_expires":null}}"#),
        format!(r#"{{"current":"{current}","previous":"","transition_expires":"{NOON}"}}"#),
        format!(r#"{{"current":"{current}","previous":"{previous}","later_field":1}}"#),
    ] {
        let (verifier, _) = verifier(&old);
        let rotation = SignedEnvelope::new(
            "signing_key_rotated",
            "evt-1",
            RawJson::from_text(payload.as_str()).unwrap(),
        );
        verifier.update_keys(&rotation.decode().unwrap()).unwrap();
        let outcome = verifier.verify(&old.sign(event("n-1")));
        assert_eq!(outcome, Err(VerifyError::BadSignature), "{payload}");
        assert_eq!(verifier.verify(&new.sign(event("n-1"))), Ok(Verdict::New), "{payload}");
    }
}

/// The encodings of the points of small order, the sign bit clear.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

#[test]
fn a_key_that_cannot_be_used_is_an_error_and_leaves_the_old_keys_in_force() {
    let signer = Signer::new(1);
    let good = signer.public_key();
    let weak = SMALL_ORDER.iter().flat_map(|hex| {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..32).map(byte).collect();
        let mut negative = bytes.clone();
        negative[31] |= 0x80;
        [bytes, negative].map(|bytes| (STANDARD.encode(bytes), KeyError::SmallOrder))
    });
    let lengths = [0, 1, 31, 33, 64]
        .map(|found| (STANDARD.encode(vec![7; found]), KeyError::WrongLength { found }));
    let encodings = ["no key", &good[..43], &good.replace('=', " "), &format!("{good}\n")]
        .map(|text| (text.to_owned(), KeyError::BadEncoding));
    let bad: Vec<_> = weak.chain(lengths).chain(encodings).collect();
    assert_eq!(bad.len(), 14 + 5 + 4);

    let (verifier, _) = verifier(&signer);
    for (key, expected) in bad {
        assert_eq!(Ed25519Verifier::new(&key).unwrap_err(), expected, "{key}");
        let update = SigningKeys::new(key.clone());
        assert_eq!(verifier.update_keys(&update).unwrap_err(), expected, "{key}");
        if !key.is_empty() {
            let update = SigningKeys::new(good.clone()).with_previous(key, noon());
            assert_eq!(Ed25519Verifier::with_keys(&update).unwrap_err(), expected);
        }
    }
    assert_eq!(verifier.verify(&signer.sign(event("n-1"))), Ok(Verdict::New));
}

#[test]
fn a_previous_key_that_cannot_be_used_does_not_hold_up_the_current_one() {
    let (old, new) = (Signer::new(1), Signer::new(2));
    let (verifier, _) = verifier(&old);
    let update = SigningKeys::new(new.public_key()).with_previous("no key", noon());
    assert_eq!(verifier.update_keys(&update), Ok(()));
    assert_eq!(verifier.verify(&new.sign(event("n-1"))), Ok(Verdict::New));
    assert_eq!(verifier.verify(&old.sign(event("n-2"))), Err(VerifyError::BadSignature));
}

#[test]
fn the_no_op_verifier_accepts_even_an_empty_envelope() {
    let empty = Arc::new(SignedEnvelope::new("", "", RawJson::default()));
    let verified = Verified::check(&NoOpVerifier, &empty).unwrap();
    assert_eq!(verified.verdict(), Verdict::New);
    assert!(Arc::ptr_eq(verified.envelope(), &empty));
    assert!(!NoOpVerifier.is_checking());
    NoOpVerifier.update_keys(&SigningKeys::new("")).unwrap();
    NoOpVerifier.import_nonces(&NonceSnapshot { lines: vec!["a".to_owned()] });
    assert_eq!(NoOpVerifier.export_nonces(), NonceSnapshot::default());
}

#[test]
fn what_a_verifier_refuses_does_not_become_verified() {
    let signer = Signer::new(1);
    let (verifier, _) = verifier(&signer);
    assert!(verifier.is_checking());
    let verifier: Arc<dyn EventVerifier> = Arc::new(verifier);
    let forged = Arc::new(Signer::new(2).sign(event("n-1")));
    assert_eq!(Verified::check(&verifier, &forged).unwrap_err(), VerifyError::BadSignature);
    let signed = Arc::new(signer.sign(event("n-1")));
    assert_eq!(Verified::check(&verifier, &signed).unwrap().verdict(), Verdict::New);
    assert_eq!(Verified::check(&verifier, &signed).unwrap().verdict(), Verdict::Redelivered);
}

#[test]
fn errors_and_debug_show_no_payload() {
    let signer = Signer::new(1);
    let (verifier, _) = verifier(&signer);
    let mut envelope = signer.sign(event("n-1"));
    assert!(envelope.payload.get().contains("canary"));
    assert!(!format!("{envelope:?}").contains("canary"));
    assert!(format!("{envelope:?}").contains("22 bytes"), "{envelope:?}");
    envelope.event_id.push('x');
    let error = verifier.verify(&envelope).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("canary"));
    assert!(!format!("{verifier:?}").contains("canary"));
}

#[test]
fn one_nonce_is_spent_once_however_many_threads_try() {
    let signer = Signer::new(1);
    let (verifier, _) = verifier(&signer);
    let signed = signer.sign(event("n-1"));
    let fresh = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                if verifier.verify(&signed) == Ok(Verdict::New) {
                    fresh.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(fresh.load(Ordering::Relaxed), 1);
}

#[test]
fn a_payload_of_9999_levels_is_verified_on_a_small_stack_and_one_more_is_refused() {
    let on_a_small_stack = || {
        let signer = Signer::new(1);
        let (verifier, _) = verifier(&signer);
        let mut deep = event("n-1");
        deep.payload = nested(9_999);
        let signed = signer.sign(deep);
        let json = serde_json::to_string(&signed).unwrap();
        let read = SignedEnvelope::parse(&json).unwrap();
        assert_eq!(read, serde_json::from_str(&json).unwrap());
        assert_eq!(verifier.verify(&read.clone()), Ok(Verdict::New));
        assert!(read.decode::<Vec<u8>>().is_err());
        assert!(format!("{read:?}").len() < 1_000);

        let mut deeper = event("n-2");
        deeper.payload = nested(10_000);
        let json = serde_json::to_string(&signer.sign(deeper)).unwrap();
        assert_eq!(SignedEnvelope::parse(json), Err(EnvelopeError::TooDeep));
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(on_a_small_stack);
    thread.unwrap().join().unwrap();
}

fn nested(levels: usize) -> RawJson {
    let (open, close) = (r#"[{"]":"#.repeat(levels / 2), "}]".repeat(levels / 2));
    let middle = if levels % 2 == 1 { "[]" } else { "\"\\\"[\"" };
    RawJson::from_text(format!("{open}{middle}{close}")).unwrap()
}
