//! Checks 4 and 5: what only running the crate can show. Each is a test suite of
//! the crate, and this reads what it reports.

use std::process::Command;

use crate::repo::Repo;
use crate::report::Line;

/// Check 4: the types say what the document says.
pub fn types(repo: &Repo) -> Line {
    run(repo, "types", "schemas")
}

/// Check 5: what goes over the wire is what the document says.
pub fn wire(repo: &Repo) -> Line {
    run(repo, "wire", "contract")
}

fn run(repo: &Repo, check: &'static str, suite: &str) -> Line {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--offline", "--test", suite])
        .env("RUST_BACKTRACE", "0")
        .current_dir(&repo.root)
        .output();
    match output {
        Ok(output) => {
            let out = String::from_utf8_lossy(&output.stdout);
            let err = String::from_utf8_lossy(&output.stderr);
            line(check, suite, output.status.success(), &out, &err)
        }
        Err(e) => Line::new(check, "did not run", vec![format!("cargo: {e}")]),
    }
}

fn line(check: &'static str, suite: &str, success: bool, out: &str, err: &str) -> Line {
    let passed = out
        .lines()
        .filter_map(|line| line.split_once(" passed;")?.0.rsplit(' ').next()?.parse::<usize>().ok())
        .sum::<usize>();
    let mut problems = failures(out);
    if !success && problems.is_empty() {
        problems = errors(err);
    }
    if success && passed == 0 {
        problems.push(format!("tests/{suite} ran no test: restore it"));
    }
    Line::new(check, format!("{passed} tests in tests/{suite}"), problems)
}

/// The failed tests with what they said.
fn failures(out: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in out.split("\n---- ").skip(1) {
        let Some((name, said)) = part.split_once(" stdout ----") else { continue };
        let said: Vec<&str> = said
            .split("\n\n---- ")
            .next()
            .unwrap_or_default()
            .lines()
            .take_while(|line| *line != "failures:")
            .filter(|line| !line.is_empty() && !line.starts_with("note: "))
            .collect();
        found.push(format!("{name}: {}", said.join("\n")));
    }
    found
}

/// Why it did not build: the compiler's first lines of each error.
fn errors(err: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut lines = err.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("error") {
            let place = lines.next().unwrap_or_default().trim();
            found.push(format!("{line} {place}"));
        }
    }
    if found.is_empty() {
        found.push(err.trim().to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_test_is_named_with_what_it_said() {
        let out = "\nrunning 2 tests\n.F\nfailures:\n\n---- a::b stdout ----\n\nthread 'a::b' panicked at x:1:\nPeer: no\nnote: run with\n\n\nfailures:\n    a::b\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n";
        let line = line("types", "schemas", false, out, "error: test failed");
        assert_eq!(line.what, "1 tests in tests/schemas");
        assert_eq!(line.problems, ["a::b: thread 'a::b' panicked at x:1:\nPeer: no"]);
    }

    #[test]
    fn a_build_that_failed_and_a_suite_without_tests_are_problems() {
        let err =
            "error[E0425]: cannot find type `Route` in module `types`\n  --> src/a.rs:1:2\n   |\n";
        assert_eq!(
            line("types", "schemas", false, "", err).problems,
            ["error[E0425]: cannot find type `Route` in module `types` --> src/a.rs:1:2"]
        );
        let empty = line("wire", "contract", true, "test result: ok. 0 passed; 0 failed", "");
        assert_eq!(empty.problems, ["tests/contract ran no test: restore it"]);
    }
}
