use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// A request body of more bytes than this goes out compressed.
pub(crate) const GZIP_OVER: usize = 1024;

/// `body` compressed, when it is long enough to gain.
pub(crate) fn compress(body: &[u8]) -> Option<Vec<u8>> {
    if body.len() <= GZIP_OVER {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    // Writing into memory fails for no input; if it did, the plain body is as good.
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn the_limit_is_1024_bytes_and_the_text_survives() {
        assert!(compress(&[b'x'; 1024]).is_none());
        let packed = compress(&[b'x'; 1025]).unwrap();
        let mut text = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text, [b'x'; 1025]);
    }
}
