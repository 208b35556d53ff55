//! From an answer to what it is worth: its whole body, decoded or thrown away.
//!
//! The build ends each generated call here, but for the streams.

#![expect(clippy::result_large_err, reason = "the generated calls have this error")]

use std::mem;

use bytes::Bytes;
use progenitor_client::{ClientInfo, Error};
use reqwest::Response;
use serde::de::DeserializeOwned;

use super::generated::Client;
use super::limit;

/// The value that the answer holds.
pub(crate) async fn decoded<T: DeserializeOwned>(
    client: &Client,
    answer: impl Future<Output = reqwest::Result<Response>>,
) -> Result<T, Error<()>> {
    from_json(text(client, answer).await?)
}

/// Nothing but that the answer is a success. Its body is read all the same, for the connection
/// to be used again; one that breaks off or is too long does not matter.
pub(crate) async fn ignored(
    client: &Client,
    answer: impl Future<Output = reqwest::Result<Response>>,
) -> Result<(), Error<()>> {
    let mut response = success(client, answer.await?)?;
    let _ = limit::whole(&mut response, client.inner().shared().response_limit).await;
    Ok(())
}

/// The body that the answer holds, unpacked and within its limits.
pub(crate) async fn text(
    client: &Client,
    answer: impl Future<Output = reqwest::Result<Response>>,
) -> Result<Bytes, Error<()>> {
    let mut response = success(client, answer.await?)?;
    let limit = client.inner().shared().response_limit;
    let body = limit::whole(&mut response, limit).await;
    body.and_then(|body| limit::of_few_values(body, limit)).map_err(Error::ResponseBodyError)
}

pub(crate) fn from_json<T: DeserializeOwned>(body: Bytes) -> Result<T, Error<()>> {
    serde_json::from_slice(&body).map_err(|e| Error::InvalidResponsePayload(body, e))
}

/// A 2xx answer. Its headers are the call's from here on.
fn success(client: &Client, mut response: Response) -> Result<Response, Error<()>> {
    let (call, status) = (client.inner(), response.status());
    if !status.is_success() {
        call.note_answer(status, response.headers().clone());
        return Err(Error::UnexpectedResponse(response));
    }
    call.note_answer(status, mem::take(response.headers_mut()));
    Ok(response)
}
