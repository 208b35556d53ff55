//! Also found, 6: a redirect is an error, and nothing goes to where it points.

use plexsphere_client::ErrorKind;
use plexsphere_mock::{Answer, MockControlPlane};

use crate::calls::CALLS;
use crate::requests::Ids;
use crate::support::{client, client_with, mock};

const STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

#[tokio::test]
async fn also_found_06_no_redirect_is_followed_and_no_credential_leaves() {
    let (mock, target) = (mock().await, mock().await);
    let api = client(&mock);
    target.script_always("*", Answer::ok_json(&serde_json::json!({})));
    for call in CALLS {
        for status in STATUSES {
            for location in [
                format!("{}/v1/elsewhere?secret=1", target.url()),
                format!("//{}/v1/elsewhere", target.address()),
                "https://evil.example/steal".to_owned(),
            ] {
                mock.script(call.route, Answer::status(status).header("Location", &location));
                let error = (call.run)(&api, &Ids::default()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Redirect, "{} {status}", call.operation);
                assert_eq!(error.status(), Some(status));
                assert!(!error.is_retryable());
                let text = error.to_string();
                assert!(text.contains("redirects are not followed"), "{text}");
                assert!(!text.contains("secret=1") && !text.contains("steal"), "{text}");
            }
        }
    }
    assert_eq!((target.requests().len(), target.connections()), (0, 0));
    assert_eq!(mock.requests().len(), CALLS.len() * STATUSES.len() * 3, "none came twice");
}

#[tokio::test]
async fn also_found_06_the_error_names_the_target_s_origin_and_nothing_more() {
    let mock = mock().await;
    let api = client(&mock);
    for (location, origin) in [
        ("https://user:pw@new.example:8443/a/b?c#d", "https://new.example:8443 "),
        ("/v2/ping", "set base_url to where the control plane is"),
        ("not a url", "set base_url to where the control plane is"),
    ] {
        mock.script("ping", Answer::status(308).header("Location", location));
        let text = api.ping().await.unwrap_err().to_string();
        assert!(text.contains(origin), "{text}");
        assert!(!text.contains("pw") && !text.contains("/a/b"), "{text}");
    }
}

#[tokio::test]
async fn also_found_06_https_is_not_left_for_http() {
    let tls = MockControlPlane::builder().tls().start().await.unwrap();
    let plain = mock().await;
    let api = client_with(&tls, |config| config.root_certificate_pem(tls.ca_pem().unwrap()));
    for status in STATUSES {
        let location = format!("{}/v1/ping", plain.url());
        tls.script("*", Answer::status(status).header("Location", location));
        let error = api.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Redirect, "{error}");
        assert!(error.to_string().contains(&plain.url()), "{error}");
    }
    assert_eq!(plain.connections(), 0);
}
