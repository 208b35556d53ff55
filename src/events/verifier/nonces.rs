use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use twox_hash::XxHash3_128;

use super::{NonceSnapshot, Verdict, VerifyError};

/// What tells texts apart that the control plane has signed, and is small to keep. Nobody
/// else gets a text here, so it need not withstand one who looks for collisions.
type Digest = [u8; 16];

const LINE_BYTES: usize = 2 * size_of::<Digest>() + size_of::<i64>();

/// The nonces that were spent, each with the bytes that it was spent for.
///
/// Only digests are kept, so that an entry has the same small size whatever the
/// control plane sends.
#[derive(Debug)]
pub(super) struct Nonces {
    capacity: usize,
    /// Of each nonce the signed bytes.
    spent: HashMap<Digest, Digest, BuildHasherDefault<FirstBytes>>,
    /// The nonces in the order in which they were spent.
    order: VecDeque<Spent>,
    evicted: u64,
}

#[derive(Debug)]
struct Spent {
    nonce: Digest,
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
        let signed = digest(signed);
        match self.insert(digest(nonce.as_bytes()), signed, expires) {
            None => Ok(Verdict::New),
            Some(before) if before == signed => Ok(Verdict::Redelivered),
            Some(_) => Err(VerifyError::NonceReused),
        }
    }

    pub(super) fn export(&self, now: i64) -> NonceSnapshot {
        let live = self.order.iter().filter(|spent| spent.expires > now);
        let lines = live.filter_map(|spent| Some(line(spent, self.spent.get(&spent.nonce)?)));
        NonceSnapshot { lines: lines.collect() }
    }

    /// Takes the lines over that are still in time, none for longer than until
    /// `latest`. Returns how many cannot be read.
    pub(super) fn import(&mut self, nonces: &NonceSnapshot, now: i64, latest: i64) -> usize {
        self.forget_expired(now);
        let mut unreadable = 0;
        for text in &nonces.lines {
            match read_line(text) {
                Some((spent, signed)) if spent.expires > now => {
                    self.insert(spent.nonce, signed, spent.expires.min(latest));
                }
                Some(_) => {}
                None => unreadable += 1,
            }
        }
        unreadable
    }

    /// Spends a nonce that is not spent yet. Of one that is, it says for what.
    fn insert(&mut self, nonce: Digest, signed: Digest, expires: i64) -> Option<Digest> {
        match self.spent.entry(nonce) {
            Entry::Occupied(spent) => return Some(*spent.get()),
            Entry::Vacant(free) => free.insert(signed),
        };
        // Before it comes to the others, for whom there is just room.
        self.evict(1);
        self.order.push_back(Spent { nonce, expires });
        None
    }

    /// All nonces are kept for the same time, so the oldest is the first to expire.
    fn forget_expired(&mut self, now: i64) {
        while self.order.front().is_some_and(|oldest| oldest.expires <= now) {
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
            self.spent.remove(&oldest.nonce);
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

fn digest(bytes: &[u8]) -> Digest {
    XxHash3_128::oneshot(bytes).to_be_bytes()
}

/// An entry in base64: the nonce's digest, the digest of the signed bytes, the time.
fn line(spent: &Spent, signed: &Digest) -> String {
    let mut bytes = Vec::with_capacity(LINE_BYTES);
    bytes.extend_from_slice(&spent.nonce);
    bytes.extend_from_slice(signed);
    bytes.extend_from_slice(&spent.expires.to_be_bytes());
    STANDARD.encode(bytes)
}

fn read_line(text: &str) -> Option<(Spent, Digest)> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() == LINE_BYTES)?;
    let (nonce, rest) = bytes.split_first_chunk()?;
    let (signed, rest) = rest.split_first_chunk()?;
    let expires = i64::from_be_bytes(rest.try_into().ok()?);
    Some((Spent { nonce: *nonce, expires }, *signed))
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
    fn the_memory_of_a_full_store_is_bounded_however_many_nonces_pass() {
        const CAPACITY: usize = 4096;
        let mut nonces = Nonces::new(CAPACITY);
        let mut pass = |numbers: std::ops::Range<usize>| {
            for number in numbers {
                nonces.spend(&number.to_string(), b"", 0, 1).unwrap();
            }
            (nonces.spent.capacity(), nonces.order.capacity())
        };
        let (_, order) = pass(0..CAPACITY);
        assert_eq!(order, CAPACITY, "there is room for all and no more");
        // The gaps that the forgotten ones leave make the table double, once.
        let (spent, _) = pass(CAPACITY..50 * CAPACITY);
        assert!(spent <= 4 * CAPACITY, "{spent}");
        let (spent, order) = pass(50 * CAPACITY..300 * CAPACITY);
        assert!(spent <= 4 * CAPACITY && order == CAPACITY, "{spent} {order}");
    }

    #[test]
    fn a_saved_line_is_the_same_in_every_version() {
        let mut nonces = Nonces::new(10);
        nonces.spend("n", b"one", 100, 200).unwrap();
        let lines = ["wxHSGzWDh1rLqg9nJK6LCgocbUz0HrSZkR+rpzIf4aAAAAAAAAAAyA=="];
        assert_eq!(nonces.export(100).lines, lines, "or what was saved before an update is lost");
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
        let mut left = after.order.iter().map(|spent| spent.expires).collect::<Vec<_>>();
        left.sort_unstable();
        assert_eq!(left, [201, 300], "none for longer than the latest");
        assert_eq!(after.spend("now", b"two", 200, 300), Ok(Verdict::New));
        assert_eq!(after.spend("soon", b"two", 200, 300), Err(VerifyError::NonceReused));
    }
}
