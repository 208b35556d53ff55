//! An envelope of any bytes: the client reads, signs and verifies it as the slow reader does, or
//! refuses it for one of the named forms.

use std::sync::LazyLock;
use std::time::SystemTime;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use plexsphere_client::events::{Ed25519Verifier, EventVerifier, SignedEnvelope, Verdict};

use super::slow::{self, Form};

/// The control plane's key: signing with it is deterministic, and nobody else has it, so a
/// signature is good exactly if it is the one that signing gives.
static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap());

/// The order of the group: with it added, a signature's second half still fits the equation.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The first byte says whether and how the envelope is signed, the second where a signature is
/// damaged; the rest is the envelope.
pub fn check(bytes: &[u8]) {
    let [how, place, data @ ..] = bytes else { return };
    compare(data);
    if let Some(envelope) = slow::read(data) {
        let text = signature(*how, usize::from(*place), &envelope.canonical());
        compare(&with_signature(data, &envelope, &text));
    }
}

fn compare(data: &[u8]) {
    let theirs = slow::read(data);
    let ours = SignedEnvelope::parse(data);
    let read = theirs.filter(|envelope| {
        envelope.forms.is_empty()
            && !envelope.event_type.is_empty()
            && !envelope.event_id.is_empty()
    });
    let expected = read.as_ref().ok_or("refused").map(|_| ());
    assert_eq!(ours.as_ref().map(|_| ()).map_err(|_| "refused"), expected, "{ours:?}");
    let deserialised = serde_json::from_slice::<SignedEnvelope>(data);
    assert_eq!(deserialised.ok().as_ref(), ours.as_ref().ok());

    let signed = slow::read(data).is_some_and(|envelope| is_signed(&envelope));
    let (Ok(ours), Some(theirs)) = (ours, read) else { return };
    assert_same(&ours, &theirs);
    let refusals = slow::base64(&theirs.signature).map_or(Vec::new(), |(_, forms)| forms);
    assert!(refusals.iter().all(|form| matches!(form, Form::LineBreak | Form::LooseBits)));
    assert_eq!(is_verified(&ours), signed && refusals.is_empty());
}

fn assert_same(ours: &SignedEnvelope, theirs: &slow::Envelope) {
    assert_eq!(ours.event_type.as_str(), theirs.event_type);
    assert_eq!(ours.event_id, theirs.event_id);
    assert_eq!(ours.nonce, theirs.nonce);
    assert_eq!(ours.signature, theirs.signature);
    assert_eq!(ours.payload.get().as_bytes(), theirs.payload());
    let time = theirs.time.as_ref().map(|time| time.text.clone());
    assert_eq!(ours.issued_at.map(|time| time.to_string()), time);
    let (ours_signed, theirs_signed) = (ours.signed_bytes(), theirs.canonical());
    assert!(
        ours_signed == theirs_signed,
        "{}\n{}",
        String::from_utf8_lossy(&ours_signed),
        String::from_utf8_lossy(&theirs_signed)
    );
    // What is passed on as JSON says the same.
    let again = SignedEnvelope::parse(serde_json::to_vec(ours).unwrap()).unwrap();
    assert_eq!(&again, ours);
}

/// Rules 8 and 9, the key being a good one.
fn is_signed(envelope: &slow::Envelope) -> bool {
    let signature = slow::base64(&envelope.signature).filter(|(bytes, _)| bytes.len() == 64);
    envelope.is_complete()
        && signature.is_some_and(|(bytes, _)| bytes == KEY.sign(&envelope.canonical()).as_ref())
}

/// Whether the verifier takes it at the time at which it was signed.
fn is_verified(envelope: &SignedEnvelope) -> bool {
    let time = envelope.issued_at.and_then(|time| time.to_system_time());
    let clock = time.unwrap_or(SystemTime::UNIX_EPOCH);
    let verifier = Ed25519Verifier::new(&STANDARD.encode(KEY.public_key())).unwrap();
    let verifier = verifier.with_clock(move || clock);
    let verdict = verifier.verify(envelope);
    let again = verifier.verify(envelope);
    match &verdict {
        Ok(verdict) => {
            assert_eq!((*verdict, again), (Verdict::New, Ok(Verdict::Redelivered)));
            assert!(verifier.is_authentic(envelope));
        }
        Err(error) => assert_eq!(again.as_ref(), Err(error)),
    }
    verdict.is_ok()
}

/// A signature as JSON text, the right one or one of the wrong ones.
fn signature(how: u8, place: usize, message: &[u8]) -> String {
    let mut bytes = KEY.sign(message).as_ref().to_vec();
    let good = STANDARD.encode(&bytes);
    match how % 10 {
        1 => format!("{}\\r\\n{}", &good[..place % 89], &good[place % 89..]),
        2 => {
            // 64 bytes leave four bits of the last character unused.
            let last = good.as_bytes()[85] + (place % 16) as u8;
            format!("{}{}==", &good[..85], char::from(last.clamp(b'A', b'z')).to_ascii_uppercase())
        }
        3 => STANDARD_NO_PAD.encode(&bytes),
        4 => URL_SAFE.encode(&bytes),
        5 => {
            let mut carry = 0;
            for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
                let sum = u16::from(*byte) + u16::from(order) + carry;
                (*byte, carry) = ((sum & 0xff) as u8, sum >> 8);
            }
            STANDARD.encode(&bytes)
        }
        6 => {
            bytes[place % 64] ^= 1 << (place % 8);
            STANDARD.encode(&bytes)
        }
        7 => {
            let at = place % good.len();
            let code = u32::from(good.as_bytes()[at]);
            format!("{}\\u{code:04x}{}", &good[..at], &good[at + 1..])
        }
        8 => STANDARD.encode(KEY.sign(&[message, b" "].concat())),
        9 => STANDARD.encode(&bytes[..place % 64]),
        _ => good,
    }
}

/// The same envelope with this signature: in the place of its own, or as the first field.
fn with_signature(data: &[u8], envelope: &slow::Envelope, text: &str) -> Vec<u8> {
    if let Some(at) = &envelope.signature_at {
        let quoted = format!("\"{text}\"");
        return [&data[..at.start], quoted.as_bytes(), &data[at.end..]].concat();
    }
    let brace = data.iter().position(|byte| *byte == b'{').unwrap() + 1;
    let is_empty = data[brace..].trim_ascii_start().starts_with(b"}");
    let comma = if is_empty { "" } else { "," };
    let field = format!("\"signature\":\"{text}\"{comma}");
    [&data[..brace], field.as_bytes(), &data[brace..]].concat()
}
