//! The short forms of the chaos runs, and their words.

// A test that cannot go on says so by panicking.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn lab(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plexsphere-lab"));
    command.arg("chaos").args(words).output().unwrap()
}

fn holds(words: &[&str]) {
    let output = lab(words);
    let (said, problems) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{problems}");
    assert!(said.contains("all hold"), "{said}");
}

#[test]
fn issue5_1_every_claim_holds_under_faults() {
    holds(&["--seed", "5", "--events", "1500", "--faults", "150"]);
}

#[test]
fn issue5_1_nothing_is_lost_over_kills() {
    holds(&["--seed", "5", "--kills", "10"]);
}

#[test]
fn words_that_are_not_understood_end_with_2_and_say_where_the_usage_is() {
    for words in [
        &["--seed"][..],
        &["--seed", "x"],
        &["--events", "10", "--faults", "11"],
        &["--faults", "0"],
        &["--kills", "0"],
        &["--storms", "3"],
    ] {
        let output = lab(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.trim_end().ends_with("(cargo xtask chaos --help)"), "{said}");
    }
    for words in [&["--help"][..], &["--seed", "1", "-h"]] {
        let output = lab(words);
        assert!(output.status.success() && output.stderr.is_empty(), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("\n  --seed N "), "{words:?}");
    }
}
