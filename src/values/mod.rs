//! Handwritten types that the generated ones use: each a leaf, none knows of HTTP.

mod decode;
mod lenient;
mod open_string;
mod raw_json;
mod secret;
mod timestamp;
mod trigger;

pub use decode::DecodeError;
pub(crate) use decode::{decode, decode_text};
pub(crate) use lenient::null_is_empty;
pub(crate) use open_string::open_string;
pub use open_string::{AckStatus, ActionType, NodeStatus, ResultStatus};
pub use raw_json::RawJson;
pub use secret::Secret;
pub(crate) use timestamp::{TimeText, since_1970};
pub use timestamp::{Timestamp, TimestampError};
pub use trigger::Trigger;
