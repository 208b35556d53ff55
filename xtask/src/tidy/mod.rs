//! The house rules that can be checked simply.

use crate::repo::{File, Repo};
use crate::report::Line;

mod imports;
mod lengths;
mod manifests;
mod tests_rules;
mod unsafe_code;

const SOURCES: [&str; 10] =
    ["build.rs", "build", "src", "mock", "lab", "xtask", "tests", "examples", "fuzz", "benches"];

pub fn run(repo: &Repo) -> Result<Vec<Line>, String> {
    let files = repo.rust_files(&SOURCES)?;
    let count = files.len();
    Ok(vec![
        Line::new("imports", "one way, by the table of ARCHITECTURE.md", imports::check(&files)?),
        Line::new("manifests", "mock and xtask stand alone", manifests::check(repo)?),
        Line::new(
            "lengths",
            format!("{count} files up to {} lines", lengths::LIMIT),
            lengths::check(&files),
        ),
        Line::new("unsafe", "forbidden in every member", unsafe_code::check(repo, &files)?),
        Line::new("tests", "no #[ignore], no sleep for luck", tests_rules::check(&files)),
    ])
}

/// The number of lines before the tests that close a file.
fn lines_outside_tests(file: &File) -> usize {
    if is_test_file(&file.path) {
        return 0;
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let opens_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].ends_with('{');
    lines.windows(2).position(opens_tests).unwrap_or(lines.len())
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("_tests.rs")
        || path.ends_with("/tests.rs")
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}
