//! Where the answers of a connection begin and end, and the chunks of a stream.
//!
//! It knows what the mock sends and no more: HTTP/1.1, a length or chunks.

use bytes::{Bytes, BytesMut};

/// A piece of what a server sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Unit {
    /// The head of an answer; whether chunks follow.
    Head(Bytes, bool),
    /// What one chunk carries.
    Chunk(Bytes),
    /// Bytes that are none of those: a body with a length, the end of the chunks.
    Other(Bytes),
}

enum Expect {
    Head,
    Chunk,
    Body(usize),
    /// Nothing that is understood: all else passes as it is.
    Anything,
}

/// Bytes in, pieces out.
pub struct Decoder {
    held: BytesMut,
    expect: Expect,
}

impl Decoder {
    pub fn new() -> Self {
        Self { held: BytesMut::new(), expect: Expect::Head }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next piece that is whole.
    pub fn next(&mut self) -> Option<Unit> {
        if self.held.is_empty() {
            return None;
        }
        match self.expect {
            Expect::Head => self.head(),
            Expect::Chunk => self.chunk(),
            Expect::Body(left) => {
                let body = self.take(left.min(self.held.len()));
                self.expect = match left - body.len() {
                    0 => Expect::Head,
                    left => Expect::Body(left),
                };
                Some(Unit::Other(body))
            }
            Expect::Anything => Some(Unit::Other(self.rest())),
        }
    }

    /// What is left over when the server is gone.
    pub fn rest(&mut self) -> Bytes {
        self.take(self.held.len())
    }

    fn head(&mut self) -> Option<Unit> {
        let end = find(&self.held, b"\r\n\r\n")? + 4;
        let head = self.take(end);
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let chunked = text.contains("transfer-encoding: chunked");
        self.expect = match length.and_then(|length| length.trim().parse().ok()) {
            _ if chunked => Expect::Chunk,
            Some(0) => Expect::Head,
            Some(length) => Expect::Body(length),
            None => Expect::Anything,
        };
        Some(Unit::Head(head, chunked))
    }

    fn chunk(&mut self) -> Option<Unit> {
        let line = find(&self.held, b"\r\n")?;
        let size = std::str::from_utf8(&self.held[..line]).ok();
        let Some(size) = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok()) else {
            self.expect = Expect::Anything;
            return self.next();
        };
        if self.held.len() < line + 2 + size + 2 {
            return None;
        }
        if size == 0 {
            self.expect = Expect::Head;
            return Some(Unit::Other(self.take(line + 4)));
        }
        self.take(line + 2);
        let payload = self.take(size);
        self.take(2);
        Some(Unit::Chunk(payload))
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.held.split_to(bytes).freeze()
    }
}

/// A chunk as it stands on the wire.
pub fn encoded(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 12);
    out.extend_from_slice(format!("{:x}\r\n", payload.len()).as_bytes());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
    out.freeze()
}

/// Where `what` stands first.
pub fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_chunks_are_told_apart_in_any_cutting() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let refused = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\n";
        let text = format!(
            "{refused}hello{head}3\r\na\n\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n{refused}"
        );
        for cut in 1..text.len() {
            let mut decoder = Decoder::new();
            let (mut heads, mut chunks, mut others) = (Vec::new(), Vec::new(), Vec::new());
            for piece in text.as_bytes().chunks(cut) {
                decoder.push(piece);
                while let Some(unit) = decoder.next() {
                    match unit {
                        Unit::Head(_, chunked) => heads.push(chunked),
                        Unit::Chunk(payload) => chunks.push(payload),
                        Unit::Other(bytes) => others.extend_from_slice(&bytes),
                    }
                }
            }
            assert_eq!(heads, [false, true, false], "{cut}");
            assert_eq!(chunks, [&b"a\n\n"[..], b"0123456789abcdef"], "{cut}");
            assert_eq!(others, b"hello0\r\n\r\n", "{cut}");
        }
    }

    #[test]
    fn a_chunk_comes_out_as_it_went_in() {
        let mut decoder = Decoder { held: BytesMut::new(), expect: Expect::Chunk };
        decoder.push(&encoded(b"data: x\n\n"));
        assert_eq!(decoder.next(), Some(Unit::Chunk(Bytes::from_static(b"data: x\n\n"))));
        assert_eq!(decoder.next(), None);
    }
}
