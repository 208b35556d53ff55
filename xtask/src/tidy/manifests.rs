//! What the workspace's members depend on: mock and xtask are second readings of
//! the contract, so neither may know the client.

use crate::repo::Repo;

pub fn check(repo: &Repo) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    found.extend(forbidden(
        "mock/Cargo.toml",
        &repo.read("mock/Cargo.toml")?,
        &["plexsphere-client"],
    ));
    let xtask = repo.read("xtask/Cargo.toml")?;
    found.extend(forbidden("xtask/Cargo.toml", &xtask, &["plexsphere-client", "plexsphere-mock"]));
    Ok(found)
}

fn forbidden(path: &str, manifest: &str, names: &[&str]) -> Vec<String> {
    let depends = |name: &&&str| {
        manifest.lines().any(|line| {
            let line = line.trim();
            line.starts_with(**name) && line[name.len()..].trim_start().starts_with(['=', '.'])
                || line.contains(&format!("package = \"{name}\""))
                || line.starts_with('[') && line.ends_with(&format!("ependencies.{name}]"))
        })
    };
    let found = names.iter().filter(depends);
    found
        .map(|name| format!("{path}: depends on {name}: it reads the contract on its own"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_in_any_form_is_found() {
        for manifest in [
            "[dependencies]\nplexsphere-client = { path = \"..\" }",
            "[dev-dependencies]\nplexsphere-client.workspace = true",
            "[dependencies.plexsphere-client]\npath = \"..\"",
            "[dependencies]\nclient = { package = \"plexsphere-client\", path = \"..\" }",
        ] {
            assert_eq!(
                forbidden("mock/Cargo.toml", manifest, &["plexsphere-client"]),
                ["mock/Cargo.toml: depends on plexsphere-client: it reads the contract on its own"]
            );
        }
        let fine = "[package]\nname = \"plexsphere-mock\"\n# not plexsphere-client\n";
        assert!(forbidden("mock/Cargo.toml", fine, &["plexsphere-client"]).is_empty());
    }
}
