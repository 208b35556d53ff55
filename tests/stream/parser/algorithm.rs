//! The WHATWG algorithm written down plainly: the whole stream decoded first, then cut into
//! lines, then line by line. It is slow and holds everything, and that is what makes it easy to
//! trust.

use std::time::Duration;

use plexsphere_client::events::SseItem;

/// An [`SseItem`] that tests can make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Event { event: String, data: String, id: Option<String>, last_event_id: String },
    Comment(String),
    Retry(Duration),
    Oversized { event: Option<String>, id: Option<String> },
}

impl From<SseItem> for Item {
    fn from(item: SseItem) -> Self {
        match item {
            SseItem::Event(event) => Self::Event {
                event: event.event.into_owned(),
                data: event.data,
                id: event.id.map(|id| id.to_string()),
                last_event_id: event.last_event_id.to_string(),
            },
            SseItem::Comment(text) => Self::Comment(text),
            SseItem::Retry(wait) => Self::Retry(wait),
            SseItem::Oversized { event, id } => {
                Self::Oversized { event, id: id.map(|id| id.to_string()) }
            }
            other => panic!("unknown item {other:?}"),
        }
    }
}

/// What the algorithm makes of a stream, and the last event id that it ends with.
///
/// `limit` is not the standard's: it is our event limit, in bytes of valid UTF-8.
pub fn interpret(bytes: &[u8], limit: usize) -> (Vec<Item>, String) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop(); // no line end behind it

    let mut items = Vec::new();
    let mut last_event_id = String::new();
    let (mut event, mut data, mut id, mut oversized) = (String::new(), String::new(), None, false);
    for line in lines {
        if line.is_empty() {
            let id: Option<String> = id.take();
            let event = std::mem::take(&mut event);
            let mut data = std::mem::take(&mut data);
            if let Some(id) = &id {
                last_event_id = id.clone();
            }
            if std::mem::take(&mut oversized) {
                let event = (!event.is_empty()).then_some(event);
                items.push(Item::Oversized { event, id });
            } else if !data.is_empty() {
                data.pop();
                let event = if event.is_empty() { "message".into() } else { event };
                let last_event_id = last_event_id.clone();
                items.push(Item::Event { event, data, id, last_event_id });
            }
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        let held = event.len() + data.len() + id.as_ref().map_or(0, String::len);
        let fits = held + value.len() <= limit;
        match name {
            "" if fits => items.push(Item::Comment(value.to_owned())),
            "data" | "event" | "id" | "retry" if !fits => {
                oversized = true;
                data.clear();
            }
            "data" if oversized => {}
            "data" => data = data + value + "\n",
            "event" => event = value.to_owned(),
            "id" if !value.contains('\0') => id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                let millis = value.parse().unwrap_or(u64::MAX);
                items.push(Item::Retry(Duration::from_millis(millis)));
            }
            _ => {}
        }
    }
    (items, last_event_id)
}
