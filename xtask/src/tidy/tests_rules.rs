//! A test runs always, and waits for a condition, not for luck.

use super::{is_test_file, lines_outside_tests};
use crate::repo::File;

pub fn check(files: &[File]) -> Vec<String> {
    files.iter().flat_map(|file| ignored(file).chain(slept(file))).collect()
}

fn ignored(file: &File) -> impl Iterator<Item = String> {
    file.text.lines().enumerate().filter(|(_, line)| line.trim().starts_with("#[ignore")).map(
        |(number, _)| {
            format!("{}:{}: `#[ignore]`: mend the test or remove it", file.path, number + 1)
        },
    )
}

fn slept(file: &File) -> Vec<String> {
    let lines: Vec<&str> = file.text.lines().collect();
    let first = if is_test_file(&file.path) { 0 } else { lines_outside_tests(file) };
    let mut virtual_time = false;
    let mut found = Vec::new();
    for number in first..lines.len() {
        let line = lines[number].trim();
        if line.starts_with("#[") && line.contains("test") {
            virtual_time = line.contains("start_paused");
        }
        let sleeps = line.contains("thread::sleep(")
            || !virtual_time && (line.contains("time::sleep(") || starts_call(line));
        let says_why = number > 0 && lines[number - 1].trim().starts_with("// real time:");
        if sleeps && !line.starts_with("//") && !says_why {
            found.push(format!(
                "{}:{}: a sleep in a test: use virtual time, wait for a condition, or say why on the line above (`// real time: ...`)",
                file.path,
                number + 1
            ));
        }
    }
    found
}

/// `sleep(...)` by an imported name; a method or a function of that name is none.
fn starts_call(line: &str) -> bool {
    line.starts_with("sleep(") && line.contains(".await")
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    // Written in two halves, or this file would find itself.
    const IGNORE: &str = concat!("#[", "ignore = \"flaky\"]\n");
    const SLEEP: &str = concat!("tokio::time::", "sleep(ms).await;\n");

    #[test]
    fn an_ignored_test_is_found() {
        assert_eq!(
            check(&[file("src/a.rs", &format!("\n    {IGNORE}"))]),
            ["src/a.rs:2: `#[ignore]`: mend the test or remove it"]
        );
    }

    #[test]
    fn a_sleep_needs_virtual_time_or_a_reason() {
        let real = format!("#[tokio::test]\nasync fn t() {{\n{SLEEP}}}\n");
        let found = check(&[file("tests/stream/main.rs", &real)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("tests/stream/main.rs:3: a sleep in a test: use virtual"));
        let said = real
            .replace("tokio::time", "// real time: the kernel's timer is the subject\ntokio::time");
        let paused = real.replace("test]", "test(start_paused = true)]");
        let in_module = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{SLEEP}}}\n");
        assert!(check(&[file("tests/a.rs", &said), file("tests/b.rs", &paused)]).is_empty());
        assert_eq!(check(&[file("src/a.rs", &in_module)]).len(), 1);
        assert!(check(&[file("src/a.rs", &format!("fn f() {{\n{SLEEP}}}\n"))]).is_empty());
    }

    #[test]
    fn virtual_time_does_not_slow_a_real_thread() {
        let text = concat!("#[tokio::test(start_paused = true)]\nstd::thread::", "sleep(ms);\n");
        assert_eq!(check(&[file("tests/a.rs", text)]).len(), 1);
    }
}
