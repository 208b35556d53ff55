//! The answers that a test has laid out.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::answer::Answer;
use crate::record::{RecordedRequest, matches_name};
use crate::routes::ROUTES;

type Make = dyn Fn(&RecordedRequest) -> Answer + Send + Sync;

/// Rules for answers: the oldest that is used once goes first, then the newest that stays.
#[derive(Default)]
pub(crate) struct Script {
    once: VecDeque<Rule>,
    always: Vec<Rule>,
}

#[derive(Clone)]
pub(crate) struct Rule {
    name: String,
    node_id: Option<String>,
    make: Arc<Make>,
}

impl Rule {
    /// # Panics
    /// If `name` is neither an operation nor a path nor `*`.
    pub(crate) fn new(name: &str, node_id: Option<&str>, make: Arc<Make>) -> Self {
        assert_known(name);
        Self { name: name.to_owned(), node_id: node_id.map(str::to_owned), make }
    }

    fn fits(&self, request: &RecordedRequest) -> bool {
        let node_fits =
            self.node_id.is_none() || self.node_id.as_deref() == request.parameter("node_id");
        node_fits && matches_name(request, &self.name)
    }

    pub(crate) fn answer(&self, request: &RecordedRequest) -> Answer {
        (self.make)(request)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("name", &self.name)
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}

impl Script {
    pub(crate) fn once(&mut self, rule: Rule) {
        self.once.push_back(rule);
    }

    pub(crate) fn always(&mut self, rule: Rule) {
        self.always.push(rule);
    }

    pub(crate) fn clear(&mut self, name: &str) {
        self.once.retain(|rule| name != "*" && rule.name != name);
        self.always.retain(|rule| name != "*" && rule.name != name);
    }

    /// Answers that were laid out for once and have not been used.
    pub(crate) fn unused(&self) -> usize {
        self.once.len()
    }

    pub(crate) fn pick(&mut self, request: &RecordedRequest) -> Option<Rule> {
        match self.once.iter().position(|rule| rule.fits(request)) {
            Some(at) => self.once.remove(at),
            None => self.always.iter().rev().find(|rule| rule.fits(request)).cloned(),
        }
    }
}

/// # Panics
/// If `name` is neither an operation nor a path nor `*`: a script that never fits is a mistake.
#[track_caller]
pub(crate) fn assert_known(name: &str) {
    let known =
        name == "*" || name.starts_with('/') || ROUTES.iter().any(|route| route.operation == name);
    assert!(known, "no operation is named {name:?}; a path begins with '/', \"*\" means all");
}
