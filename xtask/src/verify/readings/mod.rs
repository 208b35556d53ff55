//! Check 3: the document, the mock's tables and the handwritten code are three
//! readings of one contract; what one has, each has, and the same.

use std::collections::BTreeMap;

use crate::repo::Repo;
use crate::report::Line;
use crate::spec::Spec;

mod document;
mod handwritten;
mod mock;

/// What a reader understood: a fact's name, such as `operation ping`, and what it says.
pub type Facts = BTreeMap<String, String>;

pub fn check(repo: &Repo, spec: &Spec) -> Line {
    let mut problems = Vec::new();
    let mut count = 0;
    let mut reader = |who: &str, place: &str, facts: Result<Facts, String>, mine: Facts| match facts
    {
        Ok(facts) => {
            count += facts.len();
            problems.extend(compare(who, place, &mine, &facts));
        }
        Err(problem) => problems.push(format!("{who} cannot be read: {problem}")),
    };
    let written = handwritten::read(repo);
    let whole = document::operations(spec);
    reader("the mock", "mock/src/routes.rs", mock::read(repo), {
        let mut facts = whole.clone();
        facts.extend(document::events(spec));
        facts.extend(document::fields(spec));
        facts
    });
    reader("the crate", "src/endpoints.rs, src/events or src/values", written, {
        let mut facts = whole;
        facts.extend(document::events(spec));
        facts.extend(document::words(spec));
        facts
    });
    Line::new("readings", format!("document, mock and crate agree on {count} facts"), problems)
}

/// Where a reader differs from the document.
fn compare(who: &str, place: &str, document: &Facts, reader: &Facts) -> Vec<String> {
    let mut found = Vec::new();
    for (name, said) in document {
        match reader.get(name) {
            None => found.push(format!("{who} has no `{name}` ({said}): add it to {place}")),
            Some(other) if !same(said, other) => found.push(format!(
                "`{name}`: the document says `{said}`, {who} says `{other}`: correct one of them"
            )),
            Some(_) => {}
        }
    }
    let extra = reader.keys().filter(|name| !document.contains_key(*name));
    found.extend(extra.map(|name| {
        format!("{who} has `{name}`, the document has not: add it to openapi/plexsphere.yaml, or remove it from {place}")
    }));
    found
}

/// The generator writes `NATInfo` as `NatInfo`.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(pairs: &[(&str, &str)]) -> Facts {
        pairs.iter().map(|(name, said)| ((*name).to_owned(), (*said).to_owned())).collect()
    }

    #[test]
    fn each_kind_of_difference_has_its_line() {
        let document =
            facts(&[("operation a", "GET /a"), ("operation b", "GET /b"), ("event e", "NATInfo")]);
        let mock =
            facts(&[("operation a", "PUT /a"), ("operation c", "GET /c"), ("event e", "NatInfo")]);
        assert_eq!(
            compare("the mock", "mock/src/routes.rs", &document, &mock),
            [
                "`operation a`: the document says `GET /a`, the mock says `PUT /a`: correct one of them",
                "the mock has no `operation b` (GET /b): add it to mock/src/routes.rs",
                "the mock has `operation c`, the document has not: add it to openapi/plexsphere.yaml, or remove it from mock/src/routes.rs",
            ]
        );
        assert!(compare("the mock", "x", &document, &document).is_empty());
    }
}
