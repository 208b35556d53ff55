//! From start to shutdown, and dropping in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use plexsphere_client::events::{Checkpoint, CursorStore, SignedEnvelope};
use plexsphere_client::{BoxError, ErrorKind, Mode};
use plexsphere_mock::{Answer, Close};

use crate::support::{LIMIT, Log, Rig, fine, ms, noting};

#[tokio::test]
async fn manager_parity_events_reach_handlers_and_a_shutdown_is_ok() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let sent = rig.publish_some(3);
    assert_eq!(agent.events.has(3).await, sent);
    agent.stop().await;
    assert_eq!(agent.status().mode, Mode::Stopped);
    rig.mock.wait_for_streams(&rig.node_id, 0, LIMIT).await;
}

#[tokio::test]
async fn a_second_start_is_refused_and_the_first_goes_on() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let second = agent.manager.start(&rig.node_id).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AlreadyRunning);
    let third = agent.manager.deliveries(&rig.node_id).unwrap_err();
    assert_eq!(third.kind(), ErrorKind::AlreadyRunning);
    assert_eq!((second.operation(), third.operation()), (Some("start"), Some("deliveries")));
    rig.publish();
    agent.events.has(1).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_node_id_that_is_no_path_segment_is_refused_and_nothing_is_stuck() {
    let rig = Rig::new().await;
    let agent = rig.agent();
    for bad in ["", ".", "..", "a\nb"] {
        let error = agent.manager.start(bad).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad:?}");
    }
    let mut agent = rig.streaming().await;
    agent.stop().await;
}

#[tokio::test]
async fn also_found_14_a_shutdown_before_the_start_ends_that_start_and_no_other() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.shutdown();
    agent.start();
    agent.ended().await.unwrap();
    assert_eq!(rig.mock.count("connect_sse"), 0);
    rig.run(&mut agent).await;
    rig.publish();
    agent.events.has(1).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_while_connecting_is_ok() {
    let rig = Rig::new().await;
    rig.mock.script("connect_sse", Answer::real().silence());
    let mut agent = rig.agent();
    agent.start();
    rig.mock.wait_for_requests("connect_sse", 1, LIMIT).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_while_waiting_is_ok() {
    let rig = Rig::new().await;
    rig.mock.script_always("connect_sse", Answer::status(500));
    let mut agent = rig.agent();
    agent.manager.set_reconnect_intervals(LIMIT * 2, LIMIT * 2).unwrap();
    agent.start();
    agent.mode(Mode::Waiting).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_while_polling_is_ok() {
    let rig = Rig::new().await;
    rig.mock.script_always("connect_sse", Answer::status(501));
    rig.mock.script("fetch_state", Answer::real().silence());
    let mut agent = rig.agent();
    agent.start();
    rig.mock.wait_for_requests("fetch_state", 1, LIMIT).await;
    assert_eq!(agent.status().mode, Mode::Polling);
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_while_the_state_is_fetched_is_ok() {
    let rig = Rig::new().await;
    rig.mock.script("fetch_state", Answer::real().silence());
    let mut agent = rig.agent();
    agent.start();
    rig.mock.wait_for_requests("fetch_state", 1, LIMIT).await;
    assert_eq!(agent.status().mode, Mode::Streaming);
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_while_a_new_token_is_looked_for_is_ok() {
    let rig = Rig::new().await;
    rig.mock.script_always("connect_sse", Answer::status(401));
    let mut agent = rig.agent();
    let asked = Log::default();
    let log = asked.clone();
    agent.manager.on_auth_failure(move || {
        log.add("asked");
        std::future::pending()
    });
    agent.start();
    asked.has(1).await;
    agent.stop().await;
}

/// A store whose disk hangs until it is let go.
struct Hangs {
    let_go: Arc<AtomicBool>,
    asked: Log,
}

impl CursorStore for Hangs {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        self.asked.add("load");
        let until = Instant::now() + LIMIT;
        while !self.let_go.load(Ordering::SeqCst) && Instant::now() < until {
            // real time: a disk that hangs until it is let go
            std::thread::sleep(ms(5));
        }
        Ok(None)
    }

    fn save(&self, _: &Checkpoint) -> Result<(), BoxError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_shutdown_while_the_cursor_is_loaded_is_ok() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let (let_go, asked) = (Arc::new(AtomicBool::new(false)), Log::default());
    agent.manager.set_cursor_store(Hangs { let_go: let_go.clone(), asked: asked.clone() });
    agent.start();
    asked.has(1).await;
    agent.stop().await;
    let_go.store(true, Ordering::SeqCst);
    rig.run(&mut agent).await;
    assert_eq!(asked.all(), ["load", "load"], "a load that was cut short is begun anew");
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_waits_for_the_running_handler_and_may_come_from_it() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let (done, stopper) = (Log::default(), agent.manager.clone());
    let log = done.clone();
    agent.manager.register_handler("peer_removed", move |event: Arc<SignedEnvelope>| {
        let (log, stopper) = (log.clone(), stopper.clone());
        async move {
            stopper.shutdown();
            // real time: a handler that goes on after the shutdown
            tokio::time::sleep(ms(200)).await;
            log.add(event.event_id.clone());
            Ok(())
        }
    });
    rig.run(&mut agent).await;
    let sent = rig.publish_some(2);
    agent.ended().await.unwrap();
    assert_eq!(done.all(), sent[..1], "the first to its end, the second not at all");
}

#[tokio::test]
async fn after_the_grace_the_handler_is_dropped_and_its_event_comes_again() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.set_shutdown_grace(ms(150)).unwrap();
    let (log, hang) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let hangs = hang.clone();
    agent.manager.register_handler(
        "peer_removed",
        noting(&log, "began", move || {
            let hangs = hangs.clone();
            async move {
                while hangs.load(Ordering::SeqCst) {
                    // real time: looks again until it is let go
                    tokio::time::sleep(ms(10)).await;
                }
                Ok(())
            }
        }),
    );
    rig.run(&mut agent).await;
    let first = rig.publish();
    log.has(1).await;
    agent.status_until(|s| s.counters.events == 1).await;
    hang.store(true, Ordering::SeqCst);
    let second = rig.publish();
    log.has(2).await;
    let began = Instant::now();
    agent.stop().await;
    assert!(began.elapsed() >= ms(150), "the grace is honoured: {:?}", began.elapsed());
    hang.store(false, Ordering::SeqCst);
    agent.start();
    let lines = log.has(3).await;
    assert_eq!(lines[2], format!("began {second}"));
    assert_eq!(rig.cursors(), [None, Some("1".to_owned())]);
    assert_ne!(first, second);
    agent.stop().await;
}

/// Panics when it is dropped in the middle of its work.
struct Fuse;

impl Drop for Fuse {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[tokio::test]
async fn a_handler_that_panics_when_it_is_dropped_does_not_spoil_the_shutdown() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent.manager.set_shutdown_grace(ms(20)).unwrap();
    let began = Log::default();
    agent.manager.register_handler(
        "peer_removed",
        noting(&began, "began", || async {
            let _fuse = Fuse;
            std::future::pending().await
        }),
    );
    rig.run(&mut agent).await;
    rig.publish();
    began.has(1).await;
    agent.stop().await;
    assert_eq!(agent.status().mode, Mode::Stopped);
}

#[tokio::test]
async fn a_dropped_start_leaves_its_event_to_the_next() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let first = rig.publish();
    agent.status_until(|s| s.counters.events == 1).await;
    let log = Log::default();
    let began = log.clone();
    agent.manager.register_handler("policy_updated", move |event: Arc<SignedEnvelope>| {
        began.add(event.event_id.clone());
        let hang = began.len() == 1;
        async move {
            if hang {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    let second = rig.mock.publish(&rig.node_id, "policy_updated", &()).event_id;
    let third = rig.publish();
    log.has(1).await;
    agent.kill().await;
    assert_eq!(agent.status().mode, Mode::Stopped);
    agent.start();
    agent.events.until(|events| events.last() == Some(&third)).await;
    assert_eq!(log.all(), [second.clone(), second], "begun, dropped, and given again");
    assert_eq!(agent.events.all().iter().filter(|id| **id == first).count(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn a_dropped_start_s_event_also_outlives_a_drop_before_it_came_again() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let began = Log::default();
    agent.manager.register_handler("peer_removed", noting(&began, "", std::future::pending));
    // The very first event: the server has no id yet to send it again by.
    let first = rig.publish();
    began.has(1).await;
    agent.kill().await;
    let states = Log::default();
    let log = states.clone();
    agent.manager.on_state(move |_| {
        let hangs = log.len() == 0;
        log.add("began");
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    });
    agent.start();
    states.has(1).await;
    agent.kill().await;
    agent.start();
    assert_eq!(began.has(2).await, [format!(" {first}"), format!(" {first}")]);
    agent.kill().await;
}

#[tokio::test]
async fn a_run_that_ends_before_it_began_leaves_the_position_to_the_next() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let mut sent = vec![rig.publish()];
    agent.status_until(|s| s.counters.events == 1).await;
    agent.stop().await;
    agent.manager.shutdown();
    agent.start();
    agent.ended().await.unwrap();
    drop(agent.manager.deliveries(&rig.node_id).unwrap());
    sent.push(rig.publish());
    agent.start();
    assert_eq!(agent.events.has(2).await, sent);
    assert_eq!(rig.cursors(), [None, Some("1".to_owned())]);
    agent.stop().await;
}

#[tokio::test]
async fn a_shutdown_of_a_dropped_start_does_not_end_the_next() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    agent
        .manager
        .register_handler("peer_removed", noting(&Log::default(), "", std::future::pending));
    rig.run(&mut agent).await;
    rig.publish();
    agent.events.has(1).await;
    agent.manager.shutdown();
    agent.kill().await;
    agent.start();
    rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
    agent.states.has(2).await;
    agent.kill().await;
}

#[tokio::test]
async fn a_restart_after_a_shutdown_loses_nothing() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let mut sent = rig.publish_some(2);
    agent.events.has(2).await;
    agent.stop().await;
    sent.extend(rig.publish_some(3));
    agent.start();
    assert_eq!(agent.events.has(5).await, sent);
    agent.stop().await;
    assert_eq!(agent.events.all(), sent, "none twice");
}

#[tokio::test]
async fn dropped_at_any_moment_it_loses_nothing() {
    let rig = Rig::with(|mock| mock.keep_alive(ms(5)), |config| config).await;
    let mut agent = rig.streaming().await;
    agent.manager.register_handler(
        "peer_removed",
        noting(&Log::default(), "", || async {
            tokio::task::yield_now().await;
            Ok(())
        }),
    );
    let mut sent = vec![rig.publish()];
    agent.status_until(|s| s.counters.events == 1).await;
    agent.kill().await;
    for round in 0..60 {
        sent.extend(rig.publish_some(2));
        let micros = 300 * round;
        let start = agent.manager.start(&rig.node_id);
        let cut = tokio::time::timeout(Duration::from_micros(micros), start).await;
        assert!(cut.is_err(), "it does not end by itself");
    }
    agent.start();
    let last = sent.last().cloned();
    agent.events.until(|events| events.last() == last.as_ref()).await;
    let mut handled = agent.events.all();
    handled.dedup();
    assert_eq!(handled, sent, "all, in order; only one cut in its handler comes twice");
    agent.stop().await;
}

#[tokio::test]
async fn no_task_and_no_connection_is_left() {
    let rig = Rig::new().await;
    let mut agent = rig.agent();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for round in 0..20 {
        agent.start();
        rig.mock.wait_for_streams(&rig.node_id, 1, LIMIT).await;
        match round % 3 {
            0 => agent.stop().await,
            1 => agent.kill().await,
            _ => {
                rig.mock.cut_streams(&rig.node_id, Close::Reset);
                agent.stop().await;
            }
        }
        rig.mock.wait_for_streams(&rig.node_id, 0, LIMIT).await;
    }
    let Rig { mock, plane, .. } = rig;
    drop((agent, plane));
    assert!(mock.wait_until(LIMIT, |mock| mock.open_connections() == 0).await);
    let until = Instant::now() + LIMIT;
    while tasks() > before {
        assert!(Instant::now() < until, "{} tasks, {before} before", tasks());
        // real time: looks again until a deadline
        tokio::time::sleep(ms(5)).await;
    }
}

#[tokio::test]
async fn handlers_of_a_running_manager_may_be_added() {
    let rig = Rig::new().await;
    let mut agent = rig.streaming().await;
    let log = Log::default();
    agent.manager.register_handler("peer_removed", noting(&log, "late", fine));
    let id = rig.publish();
    assert_eq!(log.has(1).await, [format!("late {id}")]);
    agent.stop().await;
}
