//! A judge that cannot say no proves nothing: each claim is broken by a log made for it.

use super::*;

fn truth(number: u64) -> Truth {
    Truth {
        event_id: format!("evt-{number}"),
        genuine: true,
        timely: true,
        fits: true,
        garbled: false,
        doubtful: false,
    }
}

fn entry(at: u64, streams: u64, what: What) -> Entry {
    Entry { at: Duration::from_secs(at), streams, failed_fetches: 0, what }
}

fn event(number: u64) -> What {
    What::Handled { event_id: format!("evt-{number}"), mood: Mood::Fine }
}

fn skip(number: Option<u64>) -> What {
    let event_id = number.map(|number| format!("evt-{number}"));
    What::Skipped { reason: "BadSignature".to_owned(), event_id }
}

fn counter_of(name: &str, value: u64) -> What {
    What::Counter { name: name.to_owned(), value }
}

fn ended(error: Option<&str>, last: &str) -> What {
    What::Ended { error: error.map(str::to_owned), last_event_id: Some(last.to_owned()) }
}

/// Two streams; event 2 is forged, 3 is damaged, the handlers of 4 fail; all is as it should be.
fn good() -> Evidence {
    let mut truth: Vec<Truth> = (1..=6).map(truth).collect();
    truth[1].genuine = false;
    truth[2].garbled = true;
    let mut log = vec![
        entry(1, 1, What::State(Mood::Fine)),
        entry(2, 1, event(1)),
        entry(3, 1, skip(Some(2))),
        entry(4, 1, skip(None)),
        entry(5, 1, What::Handled { event_id: "evt-4".to_owned(), mood: Mood::Error }),
        entry(6, 2, What::State(Mood::Fine)),
        entry(7, 2, event(5)),
        entry(8, 2, event(6)),
    ];
    let counters = [
        ("events", 4),
        ("skipped", 2),
        ("malformed", 1),
        ("refused", 1),
        ("oversized", 0),
        ("states", 2),
        ("handler errors", 1),
        ("handler panics", 0),
        ("handler timeouts", 0),
        ("tasks left", 0),
        ("connections", 2),
    ];
    log.extend(counters.map(|(name, value)| entry(9, 2, counter_of(name, value))));
    log.push(entry(9, 2, ended(None, "6")));
    Evidence { truth, log, held: Vec::new(), opened: 2, last_id: "6".to_owned() }
}

/// The claims that the evidence breaks, each with what the judge says.
fn broken(evidence: &Evidence) -> Vec<(&'static str, Vec<String>)> {
    let claims = judge(evidence).into_iter().filter(|claim| !claim.broken.is_empty());
    claims.map(|claim| (claim.name, claim.broken)).collect()
}

fn names(evidence: &Evidence) -> Vec<&'static str> {
    broken(evidence).into_iter().map(|(name, _)| name).collect()
}

/// Sets a counter right that a doctored log would make wrong as well.
fn recount(evidence: &mut Evidence, name: &str, value: u64) {
    for entry in &mut evidence.log {
        if let What::Counter { name: known, value: counted } = &mut entry.what
            && known == name
        {
            *counted = value;
        }
    }
}

#[test]
fn a_good_log_is_accepted() {
    assert_eq!(broken(&good()), []);
}

#[test]
fn a_lost_event_is_found() {
    let mut evidence = good();
    evidence.log.remove(6);
    recount(&mut evidence, "events", 3);
    let both = ["every intact event was handled", "every other was reported"];
    assert_eq!(names(&evidence), both);
    assert_eq!(broken(&evidence)[0].1, ["evt-5 was lost"]);
    evidence.truth[4].doubtful = true;
    assert_eq!(names(&evidence), <[&str; 0]>::default(), "nobody could have got it");
}

#[test]
fn disorder_is_found() {
    let mut evidence = good();
    evidence.log.swap(6, 7);
    assert_eq!(broken(&evidence)[0], ("in order", vec!["evt-5 came after evt-6".to_owned()]));
}

#[test]
fn an_event_that_was_handled_twice_is_found() {
    let mut evidence = good();
    evidence.log.insert(8, entry(8, 2, event(6)));
    recount(&mut evidence, "events", 5);
    assert_eq!(names(&evidence), ["none was handled twice"]);
}

#[test]
fn an_event_that_must_not_be_handled_is_found() {
    let doctored: [fn(&mut Truth); 3] =
        [|truth| truth.genuine = false, |truth| truth.timely = false, |truth| truth.fits = false];
    for doctor in doctored {
        let mut evidence = good();
        doctor(&mut evidence.truth[4]);
        assert_eq!(names(&evidence), ["none was handled that must not be"]);
    }
    let mut evidence = good();
    evidence.truth.pop();
    assert_eq!(names(&evidence), ["none was handled that must not be"], "nobody published it");
}

#[test]
fn a_damaged_event_may_arrive_in_the_end() {
    let mut evidence = good();
    evidence.log.insert(4, entry(5, 1, event(3)));
    recount(&mut evidence, "events", 5);
    assert_eq!(names(&evidence), <[&str; 0]>::default());
}

#[test]
fn silence_about_an_event_is_found() {
    for (silent, said) in
        [(2, "evt-2 was neither handled nor reported"), (3, "0 reports for evt-3")]
    {
        let mut evidence = good();
        evidence.log.remove(silent);
        recount(&mut evidence, "skipped", 1);
        recount(&mut evidence, "malformed", 0);
        assert_eq!(broken(&evidence), [("every other was reported", vec![said.to_owned()])]);
    }
    let mut evidence = good();
    let late = evidence.log.remove(2);
    evidence.log.insert(7, Entry { at: Duration::from_secs(7), streams: 2, ..late });
    evidence.log.insert(8, entry(7, 2, What::State(Mood::Fine)));
    recount(&mut evidence, "states", 3);
    assert_eq!(names(&evidence), ["every other was reported"], "in the wrong place");
}

#[test]
fn a_gap_without_a_state_is_found() {
    let mut evidence = good();
    evidence.log.insert(8, entry(8, 2, skip(None)));
    recount(&mut evidence, "skipped", 3);
    recount(&mut evidence, "malformed", 2);
    let said = "no state after a skip (BadSignature)".to_owned();
    assert_eq!(broken(&evidence), [("the state was fetched after every gap", vec![said])]);

    let mut evidence = good();
    for entry in &mut evidence.log[5..] {
        entry.at += RECONCILE_LIMIT;
    }
    let late = &broken(&evidence)[0];
    assert_eq!((late.0, late.1.len()), ("the state was fetched after every gap", 3));

    let mut evidence = good();
    evidence.log[7].what = What::Handled { event_id: "evt-6".to_owned(), mood: Mood::Panic };
    recount(&mut evidence, "handler panics", 1);
    let said = "no state after a failing evt-6".to_owned();
    assert_eq!(broken(&evidence), [("the state was fetched after every gap", vec![said])]);
}

#[test]
fn a_stream_that_begins_with_an_event_is_found() {
    let mut evidence = good();
    evidence.log.swap(5, 6);
    assert_eq!(names(&evidence), ["and before a new stream's first event"]);
    evidence.log[5].failed_fetches = 1;
    assert_eq!(names(&evidence), <[&str; 0]>::default(), "it was tried");
    evidence.log[5].failed_fetches = 0;
    evidence.held.push((Duration::from_secs(7), Duration::from_secs(8)));
    assert_eq!(names(&evidence), <[&str; 0]>::default(), "the server wanted none");
}

#[test]
fn a_wrong_counter_is_found() {
    for name in [
        "events",
        "skipped",
        "malformed",
        "refused",
        "oversized",
        "states",
        "handler errors",
        "handler panics",
        "handler timeouts",
        "tasks left",
        "connections",
    ] {
        let mut evidence = good();
        recount(&mut evidence, name, 7);
        assert_eq!(names(&evidence), ["the counters tell what happened"], "{name}");
        evidence.log.retain(|entry| !matches!(&entry.what, What::Counter { .. }));
        assert_eq!(names(&evidence), ["the counters tell what happened"], "none is said");
    }
}

#[test]
fn a_bad_end_is_found() {
    for last in [
        ended(Some("401"), "6"),
        ended(None, "5"),
        What::Ended { error: None, last_event_id: None },
        What::Tasks(1),
    ] {
        let mut evidence = good();
        evidence.log.pop();
        evidence.log.push(entry(9, 2, last));
        assert_eq!(names(&evidence), ["it ended when it was told to"]);
    }
}

#[test]
fn the_longest_wait_is_from_a_skip_to_the_next_state() {
    assert_eq!(longest_wait(&good().log), Duration::from_secs(3));
}
