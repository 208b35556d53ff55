//! The contract: is the document sound, and do all its readers read the same?

use crate::repo::Repo;
use crate::report::Line;
use crate::spec::Spec;

pub mod document;
#[cfg(test)]
mod document_tests;
mod prose;
pub mod readings;
mod suite;
pub mod surface;

/// Runs every check. A document that cannot be read ends it: nothing else has a meaning then.
pub fn run(repo: &Repo) -> Result<Vec<Line>, String> {
    let spec = match Spec::of(repo) {
        Ok(spec) => spec,
        Err(problem) => return Ok(vec![Line::new("document", "not readable", vec![problem])]),
    };
    Ok(vec![
        document::check(&spec),
        surface::check(repo, &spec),
        readings::check(repo, &spec),
        suite::types(repo),
        suite::wire(repo),
    ])
}
