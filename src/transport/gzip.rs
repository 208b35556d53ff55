use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// A request body of more bytes than this goes out compressed.
pub(crate) const GZIP_OVER: usize = 1024;

/// `body` compressed, when it is long enough to gain.
pub(crate) fn compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() <= GZIP_OVER {
        return None;
    }
    // No room is made beforehand: that took more page faults than letting it grow.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory fails for no input; if it did, the plain body is as good.
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

/// Up to `limit` bytes of what `packed`, or its undamaged start, unpacks to.
pub(crate) fn start_of(packed: &[u8], limit: usize) -> Vec<u8> {
    let mut text = Vec::new();
    // What came before the damage is in `text`.
    let _ = GzDecoder::new(packed).take(limit as u64).read_to_end(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_1024_bytes_and_the_text_survives() {
        assert!(compress(&[b'x'; 1024]).is_none());
        let packed = compress(&[b'x'; 1025]).unwrap();
        assert_eq!(start_of(&packed, 5000), [b'x'; 1025]);
        assert_eq!(start_of(&packed, 7), [b'x'; 7]);
        assert!(start_of(b"not gzip", 7).is_empty());
    }
}
