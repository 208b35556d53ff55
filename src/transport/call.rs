//! One call from its arguments to its typed answer.

use std::sync::Arc;

use progenitor_client::{ClientInfo, OperationInfo};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{Call, Shared};
use super::generated::Client;
use super::pool::{Lane, Pools};
use super::{answer, outcome};
use crate::config::Config;
use crate::error::Error;

/// What every clone of a [`ControlPlane`](crate::ControlPlane) shares.
pub(crate) struct Transport {
    pub(crate) config: Config,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pools: Pools,
    base_url: String,
}

type Generated<T> = Result<T, progenitor_client::Error<()>>;

impl Transport {
    pub(crate) fn new(config: Config, version: &str) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            shared: Arc::new(Shared::new(version, &config)?),
            base_url: config.base_url.as_str().trim_end_matches('/').to_owned(),
            pools: Pools::new(config.clone())?,
            config,
        })
    }

    /// Runs one call of the generated client.
    pub(crate) async fn call<T, F>(&self, operation: &'static str, run: F) -> Result<T, Error>
    where
        T: DeserializeOwned,
        F: AsyncFnOnce(&Client) -> Generated<T>,
    {
        let client = self.client(Lane::Calls);
        let call = client.inner();
        let result = match run(&client).await {
            Ok(_) if outcome::is_page(call) => Err(outcome::page(call).in_operation(operation)),
            Ok(value) => Ok(value),
            // Boxed, for it is large and seldom: the future of a call need not have room for it.
            Err(error) => Err(Box::pin(outcome::from_generated::<T>(operation, call, error)).await),
        };
        self.note(&result);
        result
    }

    /// A client of the generated kind for one call.
    pub(crate) fn client(&self, lane: Lane) -> Client {
        Client::new_with_client(&self.base_url, self.pools.client(lane), Call::new(&self.shared))
    }

    pub(crate) fn note<T>(&self, result: &Result<T, Error>) {
        self.pools.note(result.as_ref().err().map(Error::kind));
    }

    /// A call that the document does not name, through the same hooks.
    pub(crate) async fn json<B, T>(
        &self,
        operation: &'static str,
        method: http::Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, Error>
    where
        B: Serialize + ?Sized,
        T: DeserializeOwned,
    {
        super::segment::check_path(path).map_err(|e| e.in_operation(operation))?;
        self.call(operation, async |client: &Client| {
            let url = format!("{}{path}", client.baseurl());
            let mut builder = client.client().request(method, url);
            if let Some(body) = body {
                builder = super::body::json(builder, body);
            }
            let request = builder.build()?;
            let info = OperationInfo { operation_id: operation };
            let text = answer::text(client, client.send(request, &info)).await?;
            // To a caller that posts, no answer at all may be as good as `null`.
            if text.is_empty()
                && body.is_some()
                && let Ok(value) = serde_json::from_str("null")
            {
                return Ok(value);
            }
            answer::from_json(text)
        })
        .await
    }
}
