use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{NonceSnapshot, Verdict, VerifyError};

/// The first half of a SHA-256: enough to tell texts apart, and small to keep.
type Digest = [u8; 16];

const LINE_BYTES: usize = 2 * size_of::<Digest>() + size_of::<i64>();

/// The nonces that were spent, each with the bytes that it was spent for.
///
/// Only digests are kept, so that an entry has the same small size whatever the
/// control plane sends.
#[derive(Debug)]
pub(super) struct Nonces {
    capacity: usize,
    spent: HashMap<Digest, Spent, BuildHasherDefault<FirstBytes>>,
    /// The nonces in the order in which they were spent.
    order: VecDeque<Digest>,
    evicted: u64,
}

#[derive(Debug)]
struct Spent {
    signed: Digest,
    /// Seconds since 1970 from which on it is forgotten.
    expires: i64,
}

impl Nonces {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            spent: HashMap::default(),
            order: VecDeque::new(),
            evicted: 0,
        }
    }

    pub(super) fn set_capacity(&mut self, capacity: usize) {
        self.capacity = capacity.max(1);
        self.evict(0);
    }

    /// How many nonces were forgotten before their time.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Spends `nonce` for the signed bytes, until `expires`. Times are in seconds
    /// since 1970.
    pub(super) fn spend(
        &mut self,
        nonce: &str,
        signed: &[u8],
        now: i64,
        expires: i64,
    ) -> Result<Verdict, VerifyError> {
        self.forget_expired(now);
        let nonce = short_digest(nonce.as_bytes());
        let signed = short_digest(signed);
        match self.spent.get(&nonce) {
            Some(spent) if spent.signed == signed => Ok(Verdict::Redelivered),
            Some(_) => Err(VerifyError::NonceReused),
            None => {
                self.insert(nonce, Spent { signed, expires });
                Ok(Verdict::New)
            }
        }
    }

    pub(super) fn export(&self, now: i64) -> NonceSnapshot {
        let live = |nonce| self.spent.get(nonce).filter(|spent| spent.expires > now);
        let lines = self.order.iter().filter_map(|nonce| Some(line(nonce, live(nonce)?)));
        NonceSnapshot { lines: lines.collect() }
    }

    /// Takes the lines over that are still in time, none for longer than until
    /// `latest`. Returns how many cannot be read.
    pub(super) fn import(&mut self, nonces: &NonceSnapshot, now: i64, latest: i64) -> usize {
        self.forget_expired(now);
        let mut unreadable = 0;
        for text in &nonces.lines {
            match read_line(text) {
                Some((nonce, spent)) if spent.expires > now => {
                    self.insert(nonce, Spent { expires: spent.expires.min(latest), ..spent });
                }
                Some(_) => {}
                None => unreadable += 1,
            }
        }
        unreadable
    }

    fn insert(&mut self, nonce: Digest, spent: Spent) {
        if self.spent.contains_key(&nonce) {
            return;
        }
        self.evict(1);
        self.spent.insert(nonce, spent);
        self.order.push_back(nonce);
    }

    /// All nonces are kept for the same time, so the oldest is the first to expire.
    fn forget_expired(&mut self, now: i64) {
        while let Some(oldest) = self.order.front() {
            if self.spent.get(oldest).is_some_and(|spent| spent.expires > now) {
                break;
            }
            self.forget_oldest();
        }
    }

    /// Makes room for `more` nonces.
    fn evict(&mut self, more: usize) {
        while self.order.len() + more > self.capacity {
            self.forget_oldest();
            self.evicted += 1;
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.order.pop_front() {
            self.spent.remove(&oldest);
        }
    }
}

/// A digest needs no hashing: its bytes are spread already, and none is kept but of a nonce
/// that the control plane signed.
#[derive(Default)]
struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn short_digest(bytes: &[u8]) -> Digest {
    let mut short = Digest::default();
    short.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..size_of::<Digest>()]);
    short
}

/// An entry in base64: the nonce's digest, the digest of the signed bytes, the time.
fn line(nonce: &Digest, spent: &Spent) -> String {
    let mut bytes = Vec::with_capacity(LINE_BYTES);
    bytes.extend_from_slice(nonce);
    bytes.extend_from_slice(&spent.signed);
    bytes.extend_from_slice(&spent.expires.to_be_bytes());
    STANDARD.encode(bytes)
}

fn read_line(text: &str) -> Option<(Digest, Spent)> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == LINE_BYTES)?;
    let (nonce, rest) = bytes.split_first_chunk()?;
    let (signed, rest) = rest.split_first_chunk()?;
    let expires = i64::from_be_bytes(rest.try_into().ok()?);
    Some((*nonce, Spent { signed: *signed, expires }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How long a nonce is remembered.
    const KEPT: i64 = 100;

    #[derive(Clone, Debug)]
    enum Step {
        /// A nonce for signed bytes, both by their numbers.
        Spend(u8, u8),
        Pass(i64),
        Capacity(usize),
        Restart,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..12_u8, 0..3_u8).prop_map(|(nonce, signed)| Step::Spend(nonce, signed)),
            3 => (0..60_i64).prop_map(Step::Pass),
            1 => (0..12_usize).prop_map(Step::Capacity),
            1 => Just(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn issue5_a_nonce_is_good_once_for_as_long_as_it_is_remembered(
            steps in proptest::collection::vec(any_step(), 0..100),
        ) {
            let (mut nonces, mut now, mut capacity) = (Nonces::new(8), 0, 8);
            // A plain list, the oldest first: nonce, signed bytes, until when.
            let (mut list, mut evicted) = (Vec::<(u8, u8, i64)>::new(), 0);
            for step in steps {
                match step {
                    Step::Spend(nonce, signed) => {
                        list.retain(|(.., expires)| *expires > now);
                        let known = list.iter().find(|(known, ..)| *known == nonce);
                        let expected = match known {
                            None => Ok(Verdict::New),
                            Some((_, before, _)) if *before == signed => Ok(Verdict::Redelivered),
                            Some(_) => Err(VerifyError::NonceReused),
                        };
                        if known.is_none() {
                            list.push((nonce, signed, now + KEPT));
                        }
                        let verdict = nonces.spend(&nonce.to_string(), &[signed], now, now + KEPT);
                        prop_assert_eq!(verdict, expected);
                    }
                    Step::Pass(seconds) => now += seconds,
                    Step::Capacity(new) => {
                        capacity = new.max(1);
                        nonces.set_capacity(new);
                    }
                    Step::Restart => {
                        list.retain(|(.., expires)| *expires > now);
                        let saved = nonces.export(now);
                        prop_assert_eq!(saved.lines.len(), list.len());
                        nonces = Nonces::new(capacity);
                        prop_assert_eq!(nonces.import(&saved, now, now + KEPT), 0);
                        evicted = 0;
                    }
                }
                let over = list.len().saturating_sub(capacity);
                list.drain(..over);
                evicted += over as u64;
                prop_assert_eq!(nonces.evicted(), evicted);
                prop_assert_eq!(nonces.order.len(), nonces.spent.len());
                prop_assert!(nonces.order.len() <= capacity);
            }
        }
    }

    #[test]
    fn a_nonce_is_forgotten_in_the_second_in_which_it_expires() {
        let mut nonces = Nonces::new(10);
        assert_eq!(nonces.spend("n", b"one", 100, 200), Ok(Verdict::New));
        assert_eq!(nonces.export(199).lines.len(), 1);
        let line = STANDARD.decode(&nonces.export(199).lines[0]).unwrap();
        assert_eq!((line.len(), LINE_BYTES), (40, 40));
        assert_eq!(nonces.export(200).lines.len(), 0);
        assert_eq!(nonces.spend("n", b"one", 199, 200), Ok(Verdict::Redelivered));
        assert_eq!(nonces.spend("n", b"two", 199, 200), Err(VerifyError::NonceReused));
        assert_eq!(nonces.spend("n", b"two", 200, 300), Ok(Verdict::New));
    }

    #[test]
    fn what_is_imported_is_in_time_and_what_cannot_be_read_is_counted() {
        let mut nonces = Nonces::new(10);
        for (nonce, expires) in [("past", 150), ("now", 200), ("soon", 201), ("late", 900)] {
            nonces.spend(nonce, b"one", 100, expires).unwrap();
        }
        let mut snapshot = nonces.export(100);
        snapshot.lines.extend(["no base64".to_owned(), STANDARD.encode("short")]);

        let mut after = Nonces::new(10);
        assert_eq!(after.import(&snapshot, 200, 300), 2);
        let mut left = after.spent.values().map(|spent| spent.expires).collect::<Vec<_>>();
        left.sort_unstable();
        assert_eq!(left, [201, 300], "none for longer than the latest");
        assert_eq!(after.spend("now", b"two", 200, 300), Ok(Verdict::New));
        assert_eq!(after.spend("soon", b"two", 200, 300), Err(VerifyError::NonceReused));
    }
}
