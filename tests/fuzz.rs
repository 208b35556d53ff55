//! The checks of the fuzz targets, on any compiler: on the corpora, and on random inputs that are
//! made of them. `PROPTEST_CASES` raises the number of the latter.

#![allow(clippy::unwrap_used)]

#[path = "../fuzz/checks/mod.rs"]
mod checks;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{FileFailurePersistence, TestRunner};

/// The inputs of a target that are kept in the repository.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap();
    let inputs: Vec<_> = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(inputs.len() >= 10, "{}: {} inputs", folder.display(), inputs.len());
    inputs
}

/// The check on each kept input, and on random ones.
fn run(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    corpus.iter().for_each(|input| check(input));
    let seeds = format!("tests/proptest-regressions/fuzz-{target}.txt");
    let config = ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(seeds.leak()))),
        ..ProptestConfig::with_cases(cases())
    };
    let outcome = TestRunner::new(config).run(&any_input(corpus), |input| {
        check(&input);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{target}: {error}"));
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(4_000, |cases| cases.parse().unwrap())
}

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// A piece of it once more, elsewhere.
    Copy(Index, Index, usize),
    /// The end of another input in the place of its own.
    Splice(Index, Index, Vec<u8>),
}

fn any_input(corpus: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let at = any::<Index>;
    let edit = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (at(), vec(any::<u8>(), 1..4)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (at(), 1..9_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        (at(), at(), 1..40_usize).prop_map(|(from, to, length)| Edit::Copy(from, to, length)),
        (at(), at(), select(corpus.clone()))
            .prop_map(|(at, from, other)| { Edit::Splice(at, from, other) }),
    ];
    let edited = (select(corpus), vec(edit, 0..8)).prop_map(|(mut input, edits)| {
        edits.into_iter().for_each(|edit| edit.apply(&mut input));
        input
    });
    prop_oneof![9 => edited, 1 => vec(any::<u8>(), 0..200)]
}

impl Edit {
    fn apply(self, input: &mut Vec<u8>) {
        let place = |at: Index, length: usize| at.index(length + 1);
        let length = input.len();
        match self {
            Self::Set(at, byte) if length > 0 => input[at.index(length)] = byte,
            Self::Set(..) => {}
            Self::Insert(at, bytes) => {
                drop(input.splice(place(at, length)..place(at, length), bytes))
            }
            Self::Remove(at, count) => {
                let start = place(at, length);
                input.drain(start..(start + count).min(length));
            }
            Self::Copy(from, to, count) => {
                let start = place(from, length);
                let piece = input[start..(start + count).min(length)].to_vec();
                input.splice(place(to, length)..place(to, length), piece);
            }
            Self::Splice(at, from, other) => {
                input.truncate(place(at, length));
                input.extend_from_slice(&other[place(from, other.len())..]);
            }
        }
    }
}

#[test]
fn config() {
    run("config", checks::config::check);
}

#[test]
fn envelope() {
    run("envelope", checks::envelope::check);
}

#[test]
fn parser() {
    run("parser", checks::parser::check);
}

#[test]
fn problem() {
    run("problem", checks::problem::check);
}

#[test]
fn retry_after() {
    run("retry_after", checks::retry_after::check);
}

#[test]
fn stream() {
    run("stream", checks::stream::check);
}
