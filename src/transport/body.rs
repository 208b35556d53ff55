//! value -> JSON of a request, compressed as it is written where that gains

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress, Status};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::RequestBuilder;
use serde::Serialize;

/// A request body of more bytes than this goes out compressed.
const GZIP_OVER: usize = 1024;
/// So much JSON is compressed at a time: it is written word by word, and each beginning costs.
const PIECE: usize = 32 * 1024;
/// The least room there is for what comes of it.
const ROOM: usize = 16 * 1024;
/// The whole window of deflate: a smaller one makes batches more than 1 % larger.
const WINDOW_BITS: u8 = 15;

/// `request` with `value` as its body. The generated code calls this in place of reqwest's own
/// `json`, which holds the whole text at once.
pub(crate) fn json<T>(request: RequestBuilder, value: &T) -> RequestBuilder
where
    T: Serialize + ?Sized,
{
    let Ok(body) = written(value) else {
        // Only reqwest makes its errors: it fails where this has failed.
        return request.json(value);
    };
    let request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    match body {
        Body::Plain(text) => request.body(text),
        Body::Gzip(packed) => {
            request.header(CONTENT_ENCODING, HeaderValue::from_static("gzip")).body(packed)
        }
    }
}

enum Body {
    Plain(Vec<u8>),
    Gzip(Vec<u8>),
}

fn written<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Body> {
    let mut writer = Writer::new();
    serde_json::to_writer(&mut writer, value)?;
    writer.finish().map_err(serde_json::Error::io)
}

/// Where the JSON goes: a buffer, and behind it, once it was full, the compression.
struct Writer {
    /// Not a `Vec`, which would look for room a second time for each of many short words.
    text: Box<[u8]>,
    length: usize,
    gzip: Option<Gzip>,
}

impl Writer {
    fn new() -> Self {
        Self { text: vec![0; GZIP_OVER].into(), length: 0, gzip: None }
    }

    #[cold]
    fn write_beyond_room(&mut self, mut text: &[u8]) -> io::Result<()> {
        while text.len() > self.text.len() - self.length {
            let (now, later) = text.split_at(self.text.len() - self.length);
            self.text[self.length..].copy_from_slice(now);
            self.length = self.text.len();
            self.make_room()?;
            text = later;
        }
        self.text[self.length..][..text.len()].copy_from_slice(text);
        self.length += text.len();
        Ok(())
    }

    fn make_room(&mut self) -> io::Result<()> {
        if self.text.len() < PIECE {
            let mut longer = vec![0; PIECE];
            longer[..self.length].copy_from_slice(&self.text);
            self.text = longer.into();
            return Ok(());
        }
        let gzip = self.gzip.get_or_insert_with(Gzip::new);
        gzip.pack(&self.text, FlushCompress::None)?;
        self.length = 0;
        Ok(())
    }

    fn finish(self) -> io::Result<Body> {
        let mut text = Vec::from(self.text);
        text.truncate(self.length);
        if self.gzip.is_none() && self.length <= GZIP_OVER {
            return Ok(Body::Plain(text));
        }
        let mut gzip = self.gzip.unwrap_or_else(Gzip::new);
        gzip.pack(&text, FlushCompress::Finish)?;
        Ok(Body::Gzip(gzip.packed))
    }
}

impl Write for Writer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.write_all(text)?;
        Ok(text.len())
    }

    #[inline]
    fn write_all(&mut self, text: &[u8]) -> io::Result<()> {
        let end = self.length + text.len();
        let Some(room) = self.text.get_mut(self.length..end) else {
            return self.write_beyond_room(text);
        };
        room.copy_from_slice(text);
        self.length = end;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is compressed so far. Not flate2's writer: the sum is made in the pass that copies the
/// text into the window, and what comes of it is not copied again.
struct Gzip {
    state: Compress,
    packed: Vec<u8>,
}

impl Gzip {
    fn new() -> Self {
        let state = Compress::new_gzip(Compression::fast(), WINDOW_BITS);
        Self { state, packed: Vec::new() }
    }

    fn pack(&mut self, mut text: &[u8], flush: FlushCompress) -> io::Result<()> {
        loop {
            self.packed.reserve(ROOM);
            let before = self.state.total_in();
            let status = self.state.compress_vec(text, &mut self.packed, flush)?;
            // No more is taken than there is of `text`.
            text = &text[(self.state.total_in() - before) as usize..];
            let is_done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                _ => text.is_empty(),
            };
            if is_done {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serializer;
    use serde::ser::Error;

    use super::*;
    use crate::transport::gzip;

    /// The text that arrives, and whether it was compressed.
    fn arrives(body: Body) -> (String, bool) {
        let (text, is_packed) = match body {
            Body::Plain(text) => (text, false),
            Body::Gzip(packed) => (gzip::start_of(&packed, usize::MAX), true),
        };
        (String::from_utf8(text).unwrap(), is_packed)
    }

    fn request<T: Serialize + ?Sized>(value: &T) -> reqwest::Result<reqwest::Request> {
        json(reqwest::Client::new().post("http://h"), value).build()
    }

    #[test]
    fn a_body_is_compressed_from_1025_bytes_on() {
        for (length, is_packed) in [(0, false), (1022, false), (1023, true)] {
            let text = "x".repeat(length);
            let body = written(&text).unwrap();
            assert_eq!(arrives(body), (format!("\"{text}\""), is_packed));
            let request = request(&text).unwrap();
            let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
            assert_eq!(header(CONTENT_TYPE), Some(b"application/json".as_slice()));
            assert_eq!(header(CONTENT_ENCODING), is_packed.then_some(b"gzip".as_slice()));
            let bytes = request.body().unwrap().as_bytes();
            assert!(bytes.is_some(), "its length is known");
        }
    }

    #[test]
    fn a_body_may_end_where_a_piece_does() {
        for end in [PIECE, 3 * PIECE] {
            for length in end - 1..=end + 1 {
                // In one word, and in many.
                let text = "0123456789".repeat(length / 10 + 1)[..length - 2].to_owned();
                assert_eq!(arrives(written(&text).unwrap()), (format!("\"{text}\""), true));
                let digits = vec![7; length / 2];
                let expected = serde_json::to_string(&digits).unwrap();
                assert_eq!(arrives(written(&digits).unwrap()), (expected, true));
            }
        }
    }

    #[test]
    fn the_text_is_not_held_as_a_whole() {
        let mut writer = Writer::new();
        for _ in 0..100_000 {
            writer.write_all(b"0123456789").unwrap();
            assert!(writer.text.len() <= PIECE);
        }
        let Body::Gzip(packed) = writer.finish().unwrap() else { panic!("it is long") };
        assert!(packed.capacity() < 2 * PIECE, "{}", packed.capacity());
    }

    /// A list that breaks off behind so many numbers.
    struct Breaks(usize);

    impl Serialize for Breaks {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut list = serializer.serialize_seq(None)?;
            (0..self.0).try_for_each(|number| list.serialize_element(&number))?;
            Err(S::Error::custom("broken"))
        }
    }

    #[test]
    fn a_value_that_breaks_off_is_reqwest_s_error() {
        for length in [0, 1000, 100_000] {
            let error = request(&Breaks(length)).unwrap_err();
            assert!(error.is_builder(), "{error}");
            let expected = reqwest::Client::new().post("http://h").json(&Breaks(length)).build();
            assert_eq!(format!("{error:?}"), format!("{:?}", expected.unwrap_err()));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_arrives(
            words in prop::collection::vec(("[a-z\"\\\\é]{0,20}", 0_usize..100), 0..40),
        ) {
            let words: Vec<_> = words.iter().map(|(word, times)| word.repeat(*times)).collect();
            let expected = serde_json::to_string(&words).unwrap();
            let is_long = expected.len() > GZIP_OVER;
            prop_assert_eq!(arrives(written(&words).unwrap()), (expected, is_long));
        }
    }
}
