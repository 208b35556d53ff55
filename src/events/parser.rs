//! Stage 1: bytes to events. No I/O, no clock, no errors: any bytes are an event stream.

mod item;
mod items;

use std::borrow::Cow;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use memchr::{memchr, memchr2};

pub use crate::config::DEFAULT_EVENT_LIMIT;
pub use item::{SseEvent, SseItem};
pub use items::SseItems;

/// A byte order mark, which may stand once, at the very start of a stream.
const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// The longest start of a line that is not yet part of a value.
const LONGEST_PREFIX: usize = b"event: ".len();

/// What an idle buffer keeps. A rare large event does not hold its memory for ever.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Turns the bytes of a `text/event-stream` into events.
///
/// It follows the WHATWG algorithm ("Interpreting an event stream") on any bytes, and the
/// outcome is the same however the bytes are cut into chunks. Lines end with LF, CR or CRLF, and an
/// event comes out with the byte that completes it. Bad UTF-8 becomes U+FFFD. One leading
/// byte order mark is dropped. A block that the stream does not finish is dropped.
///
/// One parser reads one connection. For the next one make a new parser
/// [with the last event id](Self::with_last_event_id) of the old.
///
/// Time is linear in the bytes. Memory is bounded by the event limit: the parser holds one block
/// and the last event id, each no larger than the limit (but for bad UTF-8 in an id or a type,
/// where each byte may become three).
///
/// # Oversized events
///
/// The type, the id and the data of one block, and the line being read, share the event limit (by
/// default [`DEFAULT_EVENT_LIMIT`]), counted in bytes as they came. A block that needs more loses
/// its data: it is read to its end and reported as [`SseItem::Oversized`], and the stream goes
/// on. Its other fields that fit still count, as the algorithm has it: a `retry:` is honoured and
/// an id becomes the last event id. Comments and unknown fields are never too long.
///
/// # Examples
///
/// ```
/// use plexsphere_client::events::{SseItem, SseParser};
///
/// let mut parser = SseParser::new();
/// let mut events = Vec::new();
/// for chunk in ["id: 7\nda", "ta: one\ndata", ": two\n\n"] {
///     events.extend(parser.feed(chunk.as_bytes()).filter_map(SseItem::into_event));
/// }
/// assert_eq!(events.len(), 1);
/// assert_eq!(events[0].event, "message");
/// assert_eq!(events[0].data, "one\ntwo");
/// assert_eq!(events[0].id.as_deref(), Some("7"));
/// ```
pub struct SseParser {
    limit: usize,
    comments: bool,
    bytes_seen: u64,
    /// How many bytes of a byte order mark the stream began with; 3 when that is settled.
    bom: usize,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// The current line was too long and has been dealt with: ignore what is left of it.
    skip_line: bool,
    /// The start of a line whose end has not come yet.
    line: Vec<u8>,
    block: Block,
    last_event_id: Arc<str>,
}

/// What the lines since the last blank line have said.
#[derive(Default)]
struct Block {
    event: String,
    /// Each line with an LF behind it; text only when it is complete.
    data: Vec<u8>,
    id: Option<Arc<str>>,
    oversized: bool,
}

impl SseParser {
    /// A parser at the start of a stream: event limit [`DEFAULT_EVENT_LIMIT`], no comments, an
    /// empty last event id.
    pub fn new() -> Self {
        Self {
            limit: DEFAULT_EVENT_LIMIT,
            comments: false,
            bytes_seen: 0,
            bom: 0,
            after_cr: false,
            skip_line: false,
            line: Vec::new(),
            block: Block::default(),
            last_event_id: Arc::default(),
        }
    }

    /// Sets how many bytes the fields of one event may hold. Default: [`DEFAULT_EVENT_LIMIT`].
    ///
    /// Memory is used as events need it, so a high limit costs nothing in itself.
    #[must_use]
    pub fn with_event_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Whether comments come out as [`SseItem::Comment`]. Default: no.
    #[must_use]
    pub fn with_comments(mut self, comments: bool) -> Self {
        self.comments = comments;
        self
    }

    /// Starts with the last event id of an earlier connection. Default: empty.
    ///
    /// Events report it as theirs until the stream sends an id.
    #[must_use]
    pub fn with_last_event_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.last_event_id = id.into();
        self
    }

    /// Reads `input` up to the end of the next item, and takes what it has read off its front.
    ///
    /// `None` means that all of `input` has been read and more is needed.
    ///
    /// ```
    /// use plexsphere_client::events::SseParser;
    ///
    /// let mut parser = SseParser::new();
    /// let mut input: &[u8] = b"data: one\n\ndata: two\n\n";
    /// assert!(parser.next_item(&mut input).is_some());
    /// assert_eq!(input, b"data: two\n\n");
    /// ```
    pub fn next_item(&mut self, input: &mut &[u8]) -> Option<SseItem> {
        let before = input.len();
        self.read_bom(input);
        let item = self.read_lines(input);
        self.bytes_seen += (before - input.len()) as u64;
        item
    }

    /// Reads a chunk and yields its items.
    ///
    /// Bytes are read as items are asked for. Run the iterator to its end: what it has not
    /// reached when it is dropped is lost. [`next_item`](Self::next_item) leaves the rest with
    /// the caller.
    #[must_use = "the bytes are read as the iterator is run"]
    pub fn feed<'a>(&'a mut self, bytes: &'a [u8]) -> impl Iterator<Item = SseItem> + use<'a> {
        let mut input = bytes;
        std::iter::from_fn(move || self.next_item(&mut input))
    }

    /// Reads a stream of chunks and yields its items. The errors of `source` pass through.
    pub fn stream<S, E>(self, source: S) -> SseItems<S>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        SseItems::new(self, source)
    }

    /// The id that the last finished block left behind, with or without data in it.
    ///
    /// Empty when there has been none, or when the stream has reset it.
    pub fn last_event_id(&self) -> &Arc<str> {
        &self.last_event_id
    }

    /// How many bytes have been read.
    ///
    /// It grows with comments that nobody asked for and with unfinished lines too, so it tells
    /// whether the server is alive.
    pub fn bytes_seen(&self) -> u64 {
        self.bytes_seen
    }

    fn read_bom(&mut self, input: &mut &[u8]) {
        while self.bom < BOM.len() {
            let Some((&byte, rest)) = input.split_first() else {
                return;
            };
            if byte != BOM[self.bom] {
                self.line.extend_from_slice(&BOM[..self.bom]);
                self.bom = BOM.len();
                return;
            }
            self.bom += 1;
            *input = rest;
        }
    }

    fn read_lines(&mut self, input: &mut &[u8]) -> Option<SseItem> {
        while let Some(&first) = input.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                *input = &input[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', input) else {
                self.keep(mem::take(input));
                break;
            };
            let (line, rest) = input.split_at(end);
            self.after_cr = rest[0] == b'\r';
            *input = &rest[1..];
            if let Some(item) = self.end_line(line) {
                return Some(item);
            }
        }
        None
    }

    /// Keeps a part of a line until the rest of it comes.
    ///
    /// As soon as no value in the line can fit, the line is taken as it stands and the rest of
    /// it is skipped. By then the name of its field is known.
    fn keep(&mut self, part: &[u8]) {
        if self.skip_line {
            return;
        }
        let most = self.room().saturating_add(LONGEST_PREFIX + 1);
        let taken = part.len().min(most - self.line.len());
        append(&mut self.line, &part[..taken], most);
        if self.line.len() == most {
            self.end_kept_line();
            self.skip_line = true;
        }
    }

    fn end_line(&mut self, part: &[u8]) -> Option<SseItem> {
        if !self.line.is_empty() {
            self.keep(part);
        }
        if mem::take(&mut self.skip_line) {
            None
        } else if self.line.is_empty() {
            self.read_line(part)
        } else {
            self.end_kept_line()
        }
    }

    fn end_kept_line(&mut self) -> Option<SseItem> {
        let mut line = mem::take(&mut self.line);
        let item = self.read_line(&line);
        empty(&mut line);
        self.line = line;
        item
    }

    fn read_line(&mut self, line: &[u8]) -> Option<SseItem> {
        if line.is_empty() {
            return self.end_block();
        }
        let (name, value) = match memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let fits = self.block.len() + value.len() <= self.limit;
        match name {
            b"data" | b"event" | b"id" | b"retry" if !fits => self.block.drop_data(),
            b"data" => self.block.add_data(value, self.limit),
            b"event" => self.block.event = lossy(value).into_owned(),
            b"id" if memchr(0, value).is_none() => self.block.id = Some(lossy(value).into()),
            b"retry" => return retry(value).map(SseItem::Retry),
            b"" if self.comments && fits => return Some(SseItem::Comment(lossy(value).into())),
            _ => {}
        }
        None
    }

    fn end_block(&mut self) -> Option<SseItem> {
        let event = mem::take(&mut self.block.event);
        let id = self.block.id.take();
        if let Some(id) = &id {
            self.last_event_id = Arc::clone(id);
        }
        if mem::take(&mut self.block.oversized) {
            let event = Some(event).filter(|event| !event.is_empty());
            return Some(SseItem::Oversized { event, id });
        }
        Some(SseItem::Event(SseEvent {
            data: self.block.take_data()?,
            event: match event.is_empty() {
                true => Cow::Borrowed("message"),
                false => Cow::Owned(event),
            },
            id,
            last_event_id: Arc::clone(&self.last_event_id),
        }))
    }

    /// How long the next value may be.
    fn room(&self) -> usize {
        self.limit.saturating_sub(self.block.len())
    }
}

impl Default for SseParser {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows how much is held, never its bytes.
impl fmt::Debug for SseParser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseParser")
            .field("limit", &self.limit)
            .field("bytes_seen", &self.bytes_seen)
            .field("held", &(self.line.len() + self.block.len()))
            .field("last_event_id", &self.last_event_id)
            .finish_non_exhaustive()
    }
}

impl Block {
    fn len(&self) -> usize {
        self.event.len() + self.data.len() + self.id.as_ref().map_or(0, |id| id.len())
    }

    fn add_data(&mut self, value: &[u8], limit: usize) {
        if !self.oversized {
            append(&mut self.data, value, limit);
            self.data.push(b'\n');
        }
    }

    fn drop_data(&mut self) {
        self.oversized = true;
        empty(&mut self.data);
    }

    /// The data as text, or `None` if there was no line of it.
    ///
    /// An event of one line fills its buffer to the last byte, and the buffer becomes the
    /// text; one of many lines is copied out of a buffer that is used again.
    fn take_data(&mut self) -> Option<String> {
        let is_full = self.data.len() == self.data.capacity();
        self.data.pop()?;
        if is_full {
            return Some(owned(mem::take(&mut self.data)));
        }
        let data = lossy(&self.data).into_owned();
        empty(&mut self.data);
        Some(data)
    }
}

/// Line by line this is what decoding the whole stream gives: line ends, colons and spaces are
/// never part of a longer UTF-8 sequence.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    // `from_utf8` is several times as fast, and nearly all text is valid.
    match str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

fn owned(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

fn retry(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = value
        .iter()
        .fold(0u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Duration::from_millis(millis))
}

/// Appends, with room for one byte more. A buffer grows by doubling, but only as far as `most`
/// bytes need.
fn append(buffer: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let needed = buffer.len() + bytes.len() + 1;
    if needed > buffer.capacity() {
        let doubled = buffer.capacity().saturating_mul(2).min(most.saturating_add(1));
        buffer.reserve_exact(needed.max(doubled) - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}

fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(KEPT_CAPACITY);
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    #[test]
    fn a_buffer_grows_by_doubling_but_never_past_the_most() {
        let mut buffer = Vec::new();
        append(&mut buffer, b"0123456789", 17);
        assert_eq!(buffer.capacity(), 11, "room for one byte more");
        append(&mut buffer, b"", 17);
        assert_eq!(buffer.capacity(), 11, "nothing is needed");
        append(&mut buffer, b"01234", 17);
        assert_eq!((buffer.len(), buffer.capacity()), (15, 18));

        let mut buffer = Vec::new();
        append(&mut buffer, b"0123456789", 1000);
        append(&mut buffer, b"01234", 1000);
        assert_eq!((buffer.len(), buffer.capacity()), (15, 22));
    }

    #[test]
    fn debug_of_an_item_stream_shows_its_parser() {
        let items = SseParser::new().stream(stream::empty::<Result<Bytes, Infallible>>());
        let shown = format!("{items:?}");
        assert!(shown.starts_with("SseItems { parser: SseParser { limit: 1048576"), "{shown}");
    }
}
