//! Downloads, whole or in part.

use std::ops::Range;

use aws_lc_rs::digest::{SHA256, digest};
use http::StatusCode;

use super::Call;
use crate::answer::Answer;
use crate::problem::Problem;

pub(super) fn fetch(call: &Call) -> Result<Answer, Problem> {
    let parameter = |name| call.parameters.get(name).to_owned();
    let wanted = (parameter("version"), parameter("os"), parameter("arch"));
    let artifact = call.inner.state().artifacts.get(&wanted).cloned();
    let artifact = artifact.ok_or_else(|| {
        let (version, os, arch) = &wanted;
        Problem::not_found(
            "unknown_artifact",
            format!("there is no plexd {version} for {os}/{arch}"),
        )
    })?;
    let etag = format!("\"sha256:{}\"", hex(digest(&SHA256, &artifact).as_ref()));
    let size = artifact.len();
    let answer = match range(call, &etag, size)? {
        None => call.done().body(artifact),
        Some(range) => Answer::status(206)
            .header("Content-Range", format!("bytes {}-{}/{size}", range.start, range.end - 1))
            .body(artifact.slice(range)),
    };
    Ok(answer
        .header("Content-Type", "application/octet-stream")
        .header("Accept-Ranges", "bytes")
        .header("ETag", etag))
}

/// The one range that is asked for; several, or one of another version, mean the whole.
fn range(call: &Call, etag: &str, size: usize) -> Result<Option<Range<usize>>, Problem> {
    if call.header("if-range").is_some_and(|known| known != etag) {
        return Ok(None);
    }
    let asked = call.header("range").and_then(|value| value.strip_prefix("bytes="));
    let Some((from, to)) = asked.and_then(|range| range.split_once('-')) else {
        return Ok(None);
    };
    let range = match (from.parse::<usize>(), to.parse::<usize>()) {
        (Ok(from), Ok(to)) if from <= to => from..to.saturating_add(1).min(size),
        (Ok(from), Err(_)) if to.is_empty() => from..size,
        (Err(_), Ok(last)) if from.is_empty() => size.saturating_sub(last)..size,
        _ => return Ok(None),
    };
    match range.start < range.end {
        true => Ok(Some(range)),
        false => Err(Problem::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "bad_range",
            "the range is beyond the end",
        )
        .header("Content-Range", format!("bytes */{size}"))),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
