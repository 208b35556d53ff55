//! Clients and servers for the other modules.

use std::time::Duration;

use plexsphere_client::{Config, ControlPlane};
use plexsphere_mock::{Answer, MockControlPlane, RecordedRequest};

pub const VERSION: &str = "1.4.2";
pub const TOKEN: &str = "token-of-the-test";
/// How long a test waits for what must happen.
pub const SOON: Duration = Duration::from_secs(10);

pub async fn mock() -> MockControlPlane {
    MockControlPlane::start().await.unwrap()
}

/// A client for `mock` that carries [`TOKEN`].
pub fn client(mock: &MockControlPlane) -> ControlPlane {
    client_with(mock, |config| config)
}

pub fn client_with(mock: &MockControlPlane, set: impl FnOnce(Config) -> Config) -> ControlPlane {
    let client =
        ControlPlane::new(set(Config::new(mock.url()).unwrap().request_timeout(SOON)), VERSION)
            .unwrap();
    client.set_auth_token(TOKEN).unwrap();
    client
}

/// The one request that has arrived since the last time.
pub fn only_request(mock: &MockControlPlane) -> RecordedRequest {
    let mut requests = mock.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    mock.clear_requests();
    requests.remove(0)
}

/// 200 with these bytes as JSON.
pub fn json_text(text: impl Into<String>) -> Answer {
    Answer::status(200).body(text.into()).header("Content-Type", "application/json")
}
