//! Damage to a frame, in the middle of its data.

use bytes::{Bytes, BytesMut};

use super::decoder::find;
use crate::chaos::plan::{Damage, Garbage};

/// A rotation that is lost makes the events after it unverifiable: it is let through.
const SPARED: &[u8] = b"event: signing_key_rotated\n";

/// Damages the data of the first frame in `payload`, at a place so far into it. Gives back
/// the new payload and the frame's id; `None` if there is no frame to damage.
pub fn damaged(payload: &Bytes, permille: usize, how: Damage) -> Option<(Bytes, u64)> {
    let (start, end, id) = first_data(payload)?;
    // The first and the last bytes stay, so that there is data to be refused.
    let (first, last) = (start + 3, end.checked_sub(3)?);
    let span = last.checked_sub(first).filter(|span| *span > 0)?;
    let at = first + permille * span / 1_000;
    let mut out = BytesMut::from(&payload[..at]);
    match how {
        Damage::Flip => {
            out.extend_from_slice(&[payload[at] ^ 1]);
            out.extend_from_slice(&payload[at + 1..]);
        }
        Damage::Insert(garbage) => {
            out.extend_from_slice(match garbage {
                Garbage::NotUtf8 => b"\xff\xfe\x00\x80",
                Garbage::EndOfBlock => b"\n\n\x00",
                Garbage::Text => b"}{ nothing that anybody signed",
            });
            out.extend_from_slice(&payload[at..]);
        }
        Damage::Delete(bytes) => out.extend_from_slice(&payload[(at + bytes).min(last)..]),
    }
    Some((out.freeze(), id))
}

/// Where the data of the first frame with an id begins and ends.
fn first_data(payload: &[u8]) -> Option<(usize, usize, u64)> {
    let mut from = 0;
    while let Some(length) = find(&payload[from..], b"\n\n") {
        let frame = &payload[from..from + length];
        if find(frame, SPARED).is_none()
            && let Some(id) = id_of(frame)
            && let Some(data) = find(frame, b"\ndata: ")
        {
            return Some((from + data + 7, from + length, id));
        }
        from += length + 2;
    }
    None
}

fn id_of(frame: &[u8]) -> Option<u64> {
    let line = frame.strip_prefix(b"id: ")?.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = "id: 7\nevent: a\ndata: {\"event_type\":\"a\",\"event_id\":\"e\"}\n\n";

    #[test]
    fn only_the_data_of_the_first_frame_is_damaged() {
        let all = Bytes::from(format!(":keep-alive\n\n{FRAME}id: 8\nevent: a\ndata: {{}}\n\n"));
        let garbage = [Garbage::NotUtf8, Garbage::EndOfBlock, Garbage::Text];
        let inserts = garbage.map(Damage::Insert);
        for how in inserts.into_iter().chain([Damage::Flip, Damage::Delete(9)]) {
            for permille in 0..1_000 {
                let (out, id) = damaged(&all, permille, how).unwrap();
                assert_eq!(id, 7);
                assert_ne!(out, all);
                assert!(out.starts_with(b":keep-alive\n\nid: 7\nevent: a\ndata: {\"e"));
                assert!(out.ends_with(b"e\"}\n\nid: 8\nevent: a\ndata: {}\n\n"), "{out:?}");
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_left_alone() {
        let rotation = FRAME.replace("event: a", "event: signing_key_rotated");
        for text in [":keep-alive\n\n", "id: 7\n\n", "data: no id\n\n", &rotation, "id: 7\nda"] {
            assert_eq!(damaged(&Bytes::from(text.to_owned()), 500, Damage::Flip), None, "{text}");
        }
    }
}
