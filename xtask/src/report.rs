//! What a task found, as a table for people or as JSON for machines.

use serde_json::json;

/// One check: what was looked at, how many, and what is wrong.
pub struct Line {
    pub check: &'static str,
    pub what: String,
    pub problems: Vec<String>,
}

impl Line {
    pub fn new(check: &'static str, what: impl Into<String>, problems: Vec<String>) -> Self {
        Self { check, what: what.into(), problems }
    }
}

/// Prints the table; whether all is well.
pub fn show(lines: &[Line]) -> bool {
    print!("{}", table(lines));
    all_well(lines)
}

/// Prints the same as JSON.
pub fn show_json(lines: &[Line]) -> bool {
    let checks: Vec<_> = lines
        .iter()
        .map(|line| {
            json!({
                "check": line.check,
                "what": line.what,
                "ok": line.problems.is_empty(),
                "problems": line.problems,
            })
        })
        .collect();
    println!("{:#}", json!({ "ok": all_well(lines), "checks": checks }));
    all_well(lines)
}

/// Prints a sentence.
pub fn say(text: &str) -> bool {
    println!("{text}");
    true
}

fn all_well(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.problems.is_empty())
}

fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.check.len()).max().unwrap_or_default();
    let mut text = String::new();
    for line in lines {
        let mark = if line.problems.is_empty() { '✓' } else { '✗' };
        text += &format!("{mark} {:width$}  {}\n", line.check, line.what);
        for problem in &line.problems {
            let indented = problem.replace('\n', &format!("\n{:width$}      ", ""));
            text += &format!("{:width$}    - {indented}\n", "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_check_and_a_line_a_problem() {
        let lines = [
            Line::new("document", "21 operations", vec![]),
            Line::new("wire", "1 difference", vec!["one\ntwo".to_owned()]),
        ];
        assert_eq!(
            table(&lines),
            "✓ document  21 operations\n✗ wire      1 difference\n            - one\n              two\n"
        );
        assert!(!all_well(&lines) && all_well(&lines[..1]));
    }
}
