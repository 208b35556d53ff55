//! No `unsafe`, anywhere. The compiler sees to it where the workspace's lints hold, for the generated
//! code and the build script too; this sees to it that they hold.

use crate::repo::{File, Repo};

const FORBIDDEN: &str = "unsafe_code = \"forbid\"";

pub fn check(repo: &Repo, files: &[File]) -> Result<Vec<String>, String> {
    let root = repo.read("Cargo.toml")?;
    let mut found = Vec::new();
    if !root.contains(FORBIDDEN) {
        found.push(format!("Cargo.toml: the workspace's lints lack {FORBIDDEN}"));
    }
    for member in [String::new()].into_iter().chain(members(&root)) {
        let path =
            if member.is_empty() { "Cargo.toml".into() } else { format!("{member}/Cargo.toml") };
        if !takes_the_lints(&repo.read(&path)?) {
            found.push(format!("{path}: does not take the workspace's lints: add them"));
        }
    }
    found.extend(files.iter().filter(|file| file.path.starts_with("fuzz/")).flat_map(words));
    Ok(found)
}

/// The folders of the workspace's members, of a manifest that lists them in one line.
fn members(root: &str) -> Vec<String> {
    let list = root.lines().find_map(|line| line.trim().strip_prefix("members = ["));
    let names = list.unwrap_or_default().trim_end_matches(']').split(',');
    names
        .map(|name| name.trim().trim_matches('"').to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

fn takes_the_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]").skip(1);
    lines.next() == Some("workspace = true")
}

/// The fuzz targets are a workspace of their own, whose macro brings code that no lint of ours should judge.
fn words(file: &File) -> Vec<String> {
    let is_unsafe = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
    };
    let lines = file.text.lines().enumerate().filter(|(_, line)| is_unsafe(line));
    lines.map(|(at, _)| format!("{}:{}: unsafe code", file.path, at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn every_member_is_found() {
        let root = "[workspace]\nmembers = [\"mock\", \"lab\"]\nresolver = \"3\"\n";
        assert_eq!(members(root), ["mock", "lab"]);
    }

    #[test]
    fn a_member_that_does_not_take_the_lints_is_seen() {
        assert!(takes_the_lints("[package]\n\n[lints]\nworkspace = true\n"));
        for manifest in ["[package]\n", "[lints]\n[dependencies]\n", "[lints.rust]\nx = \"warn\"\n"]
        {
            assert!(!takes_the_lints(manifest), "{manifest}");
        }
    }

    #[test]
    fn only_the_keyword_outside_of_comments_counts() {
        let text = "// unsafe\nfn unsafe_name() {}\nlet x = unsafe { y() };\n";
        assert_eq!(words(&file("fuzz/a.rs", text)), ["fuzz/a.rs:3: unsafe code"]);
    }
}
