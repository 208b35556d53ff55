//! What the manager says of itself.

use std::time::SystemTime;

use plexsphere_client::Mode;
use plexsphere_mock::Close;

use crate::support::{LIMIT, Rig, ms};

#[tokio::test]
async fn l11_each_change_of_mode_is_seen() {
    let rig = Rig::new().await;
    rig.mock.set_bus_down(true);
    let mut agent = rig.agent();
    assert_eq!(agent.status().mode, Mode::Idle);
    agent.manager.set_reconnect_intervals(ms(100), ms(100)).unwrap();
    agent.manager.set_polling_fallback(ms(300), ms(100)).unwrap();
    let modes = agent.modes();
    agent.start();
    agent.mode(Mode::Waiting).await;
    agent.mode(Mode::Polling).await;
    rig.mock.set_bus_down(false);
    agent.mode(Mode::Streaming).await;
    agent.stop().await;
    let modes = modes.until(|modes| modes.last().is_some_and(|mode| mode == "stopped")).await;
    for mode in ["connecting", "waiting", "polling", "streaming"] {
        assert!(modes.iter().any(|m| m == mode), "{mode} in {modes:?}");
    }
}

#[tokio::test]
async fn l11_times_error_and_counters() {
    let rig = Rig::with(|mock| mock.keep_alive(ms(50)), |config| config).await;
    let before = SystemTime::now();
    let mut agent = rig.streaming().await;
    rig.publish_some(2);
    let status = agent.status_until(|s| s.counters.events == 2).await;
    assert_eq!((status.mode, status.healthy), (Mode::Streaming, false));
    assert_eq!(status.last_event_id.as_deref(), Some("2"));
    assert_eq!((status.last_error.clone(), status.next_attempt_at), (None, None));
    for time in [status.since, status.last_byte_at, status.last_event_at] {
        let time = time.unwrap();
        assert!(time >= before && time <= SystemTime::now());
    }
    let bytes = status.counters.bytes;
    agent.status_until(|s| s.counters.bytes > bytes).await;
    agent.manager.set_reconnect_intervals(LIMIT, LIMIT).unwrap();
    rig.mock.set_bus_down(true);
    let waiting = agent.status_until(|s| s.next_attempt_at.is_some()).await;
    assert_eq!(waiting.mode, Mode::Waiting);
    let failed = agent.status_until(|s| s.counters.failures >= 1).await;
    assert!(failed.last_error.unwrap().contains("503"));
    agent.stop().await;
    let status = agent.status();
    assert_eq!((status.mode, status.next_attempt_at), (Mode::Stopped, None));
    assert_eq!((status.counters.connections, status.counters.states), (1, 1));
}

#[tokio::test]
async fn l11_a_dropped_manager_says_that_it_stopped() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    agent.kill().await;
    let status = agent.status();
    assert_eq!((status.mode, status.healthy), (Mode::Stopped, false));
    assert_eq!(
        rig.mock.cut_streams(&rig.node_id, Close::End).min(1),
        rig.mock.open_streams().min(1)
    );
}
