//! The token: set, swapped, refused, taken away.

use std::sync::atomic::{AtomicBool, Ordering};

use plexsphere_client::{ControlPlane, ErrorKind};
use plexsphere_mock::Answer;

use crate::support::{TOKEN, client, mock, only_request};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_may_be_swapped_while_other_threads_send() {
    const CALLS: usize = 100;
    let mock = mock().await;
    mock.script_always("ping", Answer::status(204));
    let api = client(&mock);
    let tokens: Vec<String> = (0..8).map(|i| format!("{i}").repeat(10 + 40 * i)).collect();
    api.set_auth_token(tokens[1].as_str()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                tokens[1..].iter().for_each(|token| api.set_auth_token(token.as_str()).unwrap());
            }
        });
        let runtime = tokio::runtime::Handle::current();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (api, runtime) = (api.clone(), runtime.clone());
                threads.spawn(move || {
                    for _ in 0..CALLS {
                        runtime.block_on(api.ping()).unwrap();
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        done.store(true, Ordering::Relaxed);
    });
    let requests = mock.requests();
    assert_eq!(requests.len(), 4 * CALLS);
    let mut seen = std::collections::BTreeSet::new();
    for request in requests {
        let token = request.bearer().unwrap().to_owned();
        assert!(tokens[1..].contains(&token), "{token}");
        seen.insert(token);
    }
    assert!(seen.len() > 1, "the swap was seen");
}

async fn sent_token(
    mock: &plexsphere_mock::MockControlPlane,
    api: &ControlPlane,
) -> Option<String> {
    mock.script("ping", Answer::status(204));
    api.ping().await.unwrap();
    only_request(mock).bearer().map(str::to_owned)
}

#[tokio::test]
async fn every_clone_sees_a_new_token_at_its_next_request() {
    let mock = mock().await;
    let api = client(&mock);
    let clones = [api.clone(), api.clone()];
    for token in ["first", "second"] {
        clones[0].set_auth_token(token).unwrap();
        for api in [&api, &clones[0], &clones[1]] {
            assert_eq!(sent_token(&mock, api).await.as_deref(), Some(token));
        }
    }
    clones[1].clear_auth_token();
    assert_eq!(sent_token(&mock, &api).await, None);
}

#[tokio::test]
async fn a_token_that_cannot_be_a_header_is_refused_and_the_old_one_stays() {
    let mock = mock().await;
    let api = client(&mock);
    for bad in ["", " ", "two words", "line\r\nX-Evil: 1", "nul\0", "del\u{7f}", "é", "tab\t"] {
        let error = api.set_auth_token(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad:?}");
        assert_eq!(error.operation(), Some("set_auth_token"));
        assert!(bad.len() < 2 || !format!("{error} {error:?}").contains(bad.trim()), "{error}");
    }
    assert_eq!(sent_token(&mock, &api).await.as_deref(), Some(TOKEN));
}
