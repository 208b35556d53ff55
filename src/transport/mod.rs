//! request -> body -> auth -> answer -> typed value or error

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod call;
mod cause;
pub(crate) mod certificates;
pub(crate) mod context;
pub(crate) mod generated;
pub(crate) mod gzip;
pub(crate) mod hooks;
pub(crate) mod idle;
pub(crate) mod limit;
pub(crate) mod outcome;
pub(crate) mod pool;
pub(crate) mod retry_after;
pub(crate) mod segment;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod tunnel;
