//! Streams in files, with what they say beside them. See `tests/fixtures/sse/README.md`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use plexsphere_client::events::SseParser;
use serde_json::Value;

use super::algorithm::{Item, interpret};
use super::items_of_chunks;

struct Fixture {
    name: String,
    stream: Vec<u8>,
    expected: Vec<Item>,
}

fn fixtures() -> Vec<Fixture> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sse");
    let mut fixtures = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "stream") {
            let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
            fixtures.push(Fixture {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                stream: fs::read(&path).unwrap(),
                expected: expected.lines().map(item).collect(),
            });
        }
    }
    assert!(fixtures.len() >= 40, "only {} fixtures found", fixtures.len());
    fixtures
}

fn item(line: &str) -> Item {
    let value: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    if let Some(millis) = value["retry"].as_u64() {
        return Item::Retry(Duration::from_millis(millis));
    }
    if let Some(comment) = text("comment") {
        return Item::Comment(comment);
    }
    Item::Event {
        event: text("event").unwrap(),
        data: text("data").unwrap(),
        id: text("id"),
        last_event_id: text("last_event_id").unwrap(),
    }
}

fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Item> {
    let items = items_of_chunks(SseParser::new().with_comments(true), chunks);
    items.into_iter().map(Item::from).collect()
}

#[test]
fn each_file_says_what_it_should() {
    for fixture in fixtures() {
        let items = parse([&fixture.stream[..]]);
        assert_eq!(items, fixture.expected, "{}", fixture.name);
    }
}

#[test]
fn the_algorithm_of_these_tests_agrees_with_each_file() {
    for fixture in fixtures() {
        let (items, _) = interpret(&fixture.stream, usize::MAX);
        assert_eq!(items, fixture.expected, "{}", fixture.name);
    }
}

#[test]
fn cut_at_any_byte_they_say_the_same() {
    for fixture in fixtures() {
        for cut in 0..=fixture.stream.len() {
            let (left, right) = fixture.stream.split_at(cut);
            let items = parse([left, right]);
            assert_eq!(items, fixture.expected, "{} cut at {cut}", fixture.name);
        }
    }
}

#[test]
fn byte_by_byte_they_say_the_same() {
    for fixture in fixtures() {
        let items = parse(fixture.stream.chunks(1));
        assert_eq!(items, fixture.expected, "{}", fixture.name);
    }
}
