//! A file that is too long wants to be two.

use super::lines_outside_tests;
use crate::repo::File;

/// The most lines a file may have outside its tests.
pub const LIMIT: usize = 500;

pub fn check(files: &[File]) -> Vec<String> {
    files
        .iter()
        .map(|file| (file, lines_outside_tests(file)))
        .filter(|(_, lines)| *lines > LIMIT)
        .map(|(file, lines)| {
            format!("{}: {lines} lines outside tests, more than {LIMIT}: split it", file.path)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn only_lines_outside_tests_count() {
        let code = "fn f() {}\n".repeat(500);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert!(check(&[file("src/a.rs", &(code.clone() + &tests))]).is_empty());
        assert!(check(&[file("tests/a.rs", &(code.clone() + &code))]).is_empty());
        assert_eq!(
            check(&[file("src/a.rs", &(code.clone() + "\n" + &tests))]),
            ["src/a.rs: 501 lines outside tests, more than 500: split it"]
        );
    }
}
