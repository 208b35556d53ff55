//! The record of all that arrived.

use std::collections::{HashMap, VecDeque};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Version};
use serde::de::DeserializeOwned;

/// How many bytes of bodies are kept; the oldest requests go first.
const KEPT_BYTES: usize = 256 * 1024 * 1024;

/// A request as it arrived.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// Its number, from 1.
    pub number: u64,
    /// The operation, if the path and method lead to one.
    pub operation: Option<&'static str>,
    /// The method.
    pub method: String,
    /// The path with its percent-encoding as received.
    pub path: String,
    /// The query as received, without the question mark.
    pub query: Option<String>,
    /// The decoded path parameters, by name.
    pub parameters: Vec<(&'static str, String)>,
    /// The headers; look-up by name ignores case.
    pub headers: HeaderMap,
    /// The body as received; beyond the body limit it is not kept.
    pub body: Bytes,
    /// The body after its content coding; as received if it cannot be decoded.
    pub decoded: Bytes,
    /// False if the client went away, or the limit was passed, before the end of the body.
    pub complete: bool,
    /// Which connection it came on, from 1.
    pub connection: u64,
    /// The HTTP version.
    pub version: Version,
    /// When it was whole, by the machine's monotonic clock.
    pub at: Instant,
    /// When it was whole, by the machine's wall clock.
    pub time: SystemTime,
}

impl RecordedRequest {
    /// A header as text; `None` if it is missing or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The bearer token.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// A decoded path parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The decoded body as JSON.
    ///
    /// # Errors
    /// If it is not JSON of that shape.
    pub fn json<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_slice(&self.decoded)
    }
}

/// The latest requests, and how many there were in all.
#[derive(Debug)]
pub(crate) struct Record {
    requests: VecDeque<RecordedRequest>,
    limit: usize,
    kept_bytes: usize,
    total: u64,
    by_operation: HashMap<&'static str, u64>,
}

impl Record {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            requests: VecDeque::new(),
            limit,
            kept_bytes: 0,
            total: 0,
            by_operation: HashMap::new(),
        }
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.total + 1
    }

    pub(crate) fn add(&mut self, request: RecordedRequest) {
        self.total += 1;
        if let Some(operation) = request.operation {
            *self.by_operation.entry(operation).or_default() += 1;
        }
        self.kept_bytes += body_bytes(&request);
        self.requests.push_back(request);
        while self.requests.len() > self.limit || self.kept_bytes > KEPT_BYTES {
            let Some(oldest) = self.requests.pop_front() else {
                break;
            };
            self.kept_bytes -= body_bytes(&oldest);
        }
    }

    pub(crate) fn all(&self) -> Vec<RecordedRequest> {
        self.requests.iter().cloned().collect()
    }

    pub(crate) fn of(&self, name: &str) -> Vec<RecordedRequest> {
        self.requests.iter().filter(|request| matches_name(request, name)).cloned().collect()
    }

    /// How many there were in all, even those no longer kept.
    pub(crate) fn count(&self, name: &str) -> u64 {
        match name {
            "*" => self.total,
            path if path.starts_with('/') => self.of(path).len() as u64,
            operation => self.by_operation.get(operation).copied().unwrap_or(0),
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }
}

fn body_bytes(request: &RecordedRequest) -> usize {
    request.body.len() + request.decoded.len()
}

/// `name` is an operation, a path, or `*`.
pub(crate) fn matches_name(request: &RecordedRequest, name: &str) -> bool {
    name == "*" || request.operation == Some(name) || request.path == name
}
