use std::io::Read;

use flate2::read::GzDecoder;

/// Up to `limit` bytes of what `packed`, or its undamaged start, unpacks to.
pub(crate) fn start_of(packed: &[u8], limit: usize) -> Vec<u8> {
    let mut text = Vec::new();
    // What came before the damage is in `text`.
    let _ = GzDecoder::new(packed).take(limit as u64).read_to_end(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn no_more_than_the_limit_is_unpacked() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&[b'x'; 1025]).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(start_of(&packed, 5000), [b'x'; 1025]);
        assert_eq!(start_of(&packed, 7), [b'x'; 7]);
        assert!(start_of(b"not gzip", 7).is_empty());
    }
}
