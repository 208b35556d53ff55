//! Lengths, chunks and compression.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use plexsphere_client::ErrorKind as K;

use crate::calls::Call;
use crate::rows::{Row, Want, Wants, fails, head, honest_body, row_by, run, with_body};
use crate::server::Wire;

const MEBIBYTE: usize = 1024 * 1024;

/// What a call that reads its answer gets, and one that ignores it does not mind.
fn only_readers(kind: K) -> Wants {
    fails(kind).ignored(Want::Answer)
}

/// The same of a call that ends at its time limit, be it before its headers or after.
fn only_readers_in_time() -> Wants {
    fails(K::Timeout).ignored(Want::Either(K::Timeout))
}

fn raw(name: &str, wants: Wants, headers: &'static str, body: fn(String) -> String) -> Row {
    row_by(name, wants, move |call| {
        Wire::new(format!("{}{headers}\r\n{}", head(call), body(honest_body(call)))).close()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_lies_is_found() {
    let refused = |headers| raw(headers, fails(K::Transport), headers, |body| body);
    let either = |headers| raw(headers, Wants::all(Want::Either(K::Transport)), headers, |b| b);
    let long = |call: &Call| {
        let body = honest_body(call);
        format!("{}Content-Length: {}\r\n\r\n{body}", head(call), body.len() + 100)
    };
    run(
        "lengths",
        vec![
            raw(
                "too short",
                fails(K::Decode).ignored(Want::Answer).streams(Want::Ok),
                "Content-Length: 5\r\n",
                |b| b,
            ),
            row_by("too long, and closed", only_readers(K::Transport), move |call| {
                Wire::new(long(call)).close()
            }),
            row_by("too long, and reset", only_readers(K::Transport), move |call| {
                Wire::new(long(call)).reset()
            }),
            row_by(
                "too long, and silent",
                only_readers_in_time().streams(Want::Error(K::IdleTimeout)),
                move |call| Wire::new(long(call)).hold(),
            )
            .until_the_limit(),
            refused("Content-Length: -1\r\n"),
            refused("Content-Length: +5\r\n"),
            refused("Content-Length: 0x10\r\n"),
            refused("Content-Length: 1e3\r\n"),
            refused("Content-Length: \r\n"),
            refused("Content-Length: 99999999999999999999\r\n"),
            refused("Content-Length: 18446744073709551615\r\n"),
            refused("Content-Length: 5\r\nContent-Length: 6\r\n"),
            refused("Content-Length: 5, 6\r\n"),
            either("Transfer-Encoding: gzip\r\n"),
            either("Transfer-Encoding: identity\r\n"),
            either("Transfer-Encoding: xchunked\r\n"),
            either(""),
            raw(
                "chunked and a length that is none",
                only_readers(K::Transport),
                "Transfer-Encoding: chunked\r\nContent-Length: nonsense\r\n",
                |body| body,
            ),
            row_by(
                "a length of 2^63, and an endless body",
                only_readers(K::ResponseTooLarge).streams(Want::Goes),
                |call| {
                    Wire::new(format!("{}Content-Length: 9223372036854775807\r\n\r\n", head(call)))
                        .endless("[ ")
                },
            ),
        ],
    )
    .await;
}

fn chunked(name: &str, wants: Wants, body: impl Fn(String) -> Wire + Send + Sync + 'static) -> Row {
    row_by(name, wants, move |call| {
        Wire::new(format!("{}Transfer-Encoding: chunked\r\n\r\n", head(call)))
            .followed_by(body(honest_body(call)))
    })
}

fn broken(name: &'static str) -> Row {
    chunked(name, only_readers(K::Transport), move |_| Wire::new(name).close())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_broken_are_found() {
    let waits = || only_readers_in_time().streams(Want::Error(K::IdleTimeout));
    run(
        "chunks",
        vec![
            broken("fffffffffffffffff\r\n"),
            broken("-5\r\n{}"),
            broken("zz\r\n{}"),
            broken(" \r\n{}"),
            broken("\r\n{}"),
            broken("0x2\r\n{}\r\n0\r\n\r\n"),
            broken("2\n{}"),
            broken("2\r\n{}}}\r\n0\r\n\r\n"),
            broken("2\r\n{}"),
            broken("2\r\n{}\r\n"),
            broken("2\r\n{}\r\n0\r\n"),
            chunked(
                "a chunk of 2^63 bytes",
                only_readers(K::ResponseTooLarge).streams(Want::Goes),
                |_| Wire::new("7fffffffffffffff\r\n").endless("[ "),
            ),
            chunked(
                "a chunk of 2^64 - 1 bytes",
                only_readers(K::ResponseTooLarge).streams(Want::Goes),
                |_| Wire::new("ffffffffffffffff\r\n").endless("[ "),
            ),
            chunked(
                "chunks without an end",
                only_readers(K::ResponseTooLarge).streams(Want::Goes),
                |_| Wire::default().endless(format!("1000\r\n{}\r\n", "[ ".repeat(0x800))),
            ),
            chunked("a size without an end", waits(), |_| {
                Wire::default().drip("0".repeat(64), Duration::from_millis(2))
            })
            .until_the_limit(),
            chunked("an extension without an end", only_readers(K::Transport), |_| {
                Wire::new("5;").endless("x")
            }),
            chunked(
                "an extension to every chunk, without an end",
                only_readers(K::Transport),
                |_| Wire::default().endless("1;a=bcdefghijklmnopqrstuvwxyz\r\n[\r\n"),
            ),
            chunked("trailers without an end", only_readers(K::Transport), |body| {
                Wire::new(format!("{:x}\r\n{body}\r\n0\r\n", body.len())).endless("x-a: b\r\n")
            }),
            chunked("a trailer without an end", only_readers(K::Transport), |body| {
                Wire::new(format!("{:x}\r\n{body}\r\n0\r\nx-a: ", body.len())).endless("x")
            }),
            chunked("trailers that mean harm", Wants::all(Want::Answer), |body| {
                let trailer =
                    "Content-Length: 5\r\nAuthorization: x\r\nTransfer-Encoding: gzip\r\n";
                Wire::new(format!("{:x}\r\n{body}\r\n0\r\n{trailer}\r\n", body.len()))
            }),
            chunked("one byte a chunk", Wants::all(Want::Answer), |body| {
                let bytes =
                    body.bytes().map(|byte| [b"1\r\n".as_slice(), &[byte], b"\r\n"].concat());
                Wire::new(bytes.flatten().collect::<Vec<u8>>()).then("0\r\n\r\n")
            }),
            chunked("chunked and a length", Wants::all(Want::Either(K::Transport)), |body| {
                Wire::new(format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).close()
            }),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_an_end_is_left() {
    let pause = Duration::from_millis(100);
    run(
        "endless bodies",
        vec![
            row_by(
                "to the end of the connection",
                only_readers(K::ResponseTooLarge).streams(Want::Goes),
                |call| Wire::new(format!("{}\r\n", head(call))).endless("[ "),
            ),
            row_by("byte by byte", only_readers_in_time().streams(Want::Goes), move |call| {
                Wire::new(format!("{}\r\n", head(call))).drip(" ", pause)
            })
            .until_the_limit(),
            row_by("of an error, at full speed", fails(K::Server), |_| {
                Wire::new("HTTP/1.1 500 X\r\nContent-Type: application/json\r\n\r\n").endless("[ ")
            }),
            row_by("of an error, byte by byte", fails(K::Server), move |_| {
                Wire::new("HTTP/1.1 500 X\r\n\r\n").drip("x", pause)
            })
            .until_the_limit(),
            row_by("of an error, silent", fails(K::NotFound), move |_| {
                Wire::new("HTTP/1.1 404 X\r\nContent-Length: 100\r\n\r\n").hold()
            })
            .until_the_limit(),
        ],
    )
    .await;
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

const GZIP: &str = "Content-Encoding: gzip\r\n";

/// A stream is asked for plain, and takes nothing else.
fn packed(name: &str, typed: Want, body: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Row {
    let wants = Wants::all(typed).ignored(Want::Answer).streams(Want::Error(K::UnexpectedContent));
    row_by(name, wants, move |call| with_body(call, GZIP, body(honest_body(call).as_bytes())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_bursts_within_the_limit() {
    let bomb = gzip(&vec![b' '; 8 * MEBIBYTE]);
    let nested = gzip(&bomb);
    let half = bomb[..bomb.len() / 2].to_vec();
    let empty = gzip(b"");
    let endless = |first: &'static [u8], unit: Vec<u8>, pause: u64| {
        row_by("", only_readers_in_time().streams(Want::Error(K::UnexpectedContent)), move |call| {
            let head = format!("{}{GZIP}\r\n", head(call));
            Wire::new(head).then(first).drip(unit.repeat(50), Duration::from_millis(pause))
        })
        .until_the_limit()
    };
    let damage = |name: &str, at: fn(usize) -> usize| {
        packed(name, Want::Error(K::Transport), move |body| {
            let mut data = gzip(body);
            let at = at(data.len());
            data[at] ^= 0xff;
            data
        })
    };
    let bomb_too = bomb.clone();
    run(
        "compression",
        vec![
            packed("a bomb of 8 MiB", Want::Error(K::ResponseTooLarge), move |_| bomb.clone()),
            packed("a bomb in a bomb", Want::Error(K::Decode), move |_| nested.clone()),
            packed("half a bomb", Want::Error(K::ResponseTooLarge), move |_| half.clone()),
            packed("half an answer", Want::Error(K::Transport), |body| {
                let whole = gzip(body);
                whole[..whole.len() / 2].to_vec()
            }),
            packed("an answer less its last byte", Want::Error(K::Transport), |body| {
                let whole = gzip(body);
                whole[..whole.len() - 1].to_vec()
            }),
            packed("no gzip at all", Want::Error(K::Transport), <[u8]>::to_vec),
            // One member is read, which no server in use exceeds.
            packed("two members", Want::Error(K::Decode), |body| {
                let (one, two) = body.split_at(body.len() / 2);
                [gzip(one), gzip(two)].concat()
            }),
            packed("an answer and rubbish", Want::Answer, |body| {
                [gzip(body), b"rubbish behind it".to_vec()].concat()
            }),
            damage("a wrong magic number", |_| 0),
            damage("a wrong method", |_| 2),
            damage("a wrong checksum", |length| length - 8),
            damage("a wrong length", |length| length - 1),
            packed(
                "an empty member, and the answer",
                Want::Either(K::EmptyResponse),
                move |body| [empty.clone(), gzip(body)].concat(),
            ),
            endless(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03", b"name".to_vec(), 5)
                .named("a file name without an end"),
            endless(b"\x1f\x8b\x08\0\0\0\0\0\0\x03", b"\0\0\0\xff\xff".to_vec(), 5)
                .named("empty blocks without an end"),
            row_by("a bomb as an error", fails(K::Server), move |_| {
                let head =
                    format!("HTTP/1.1 500 X\r\n{GZIP}Content-Length: {}\r\n\r\n", bomb_too.len());
                Wire::new(head).then(bomb_too.clone())
            }),
            row_by(
                "gzip of gzip, and so named",
                only_readers(K::Decode).streams(Want::Error(K::UnexpectedContent)),
                |call| {
                    with_body(
                        call,
                        "Content-Encoding: gzip, gzip\r\n",
                        gzip(&gzip(honest_body(call).as_bytes())),
                    )
                },
            ),
            row_by(
                "an encoding that was not asked for",
                only_readers(K::Decode).streams(Want::Error(K::UnexpectedContent)),
                |call| with_body(call, "Content-Encoding: br\r\n", b"\x0b\x02\x80{}\x03"),
            ),
        ],
    )
    .await;
}
