//! One row of a table: what a server does to a call, and what the call must make of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use plexsphere_client::{Config, ControlPlane, Error, ErrorKind};
use serde_json::Value;

use crate::calls::{ARTIFACT_BYTES, CALLS, Call, EVENT_BYTES, Reply};
use crate::requests::Ids;
use crate::server::{Seen, Server, Wire};

pub const TOKEN: &str = "canary-token-7c41e9";
/// Long enough for a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(90);
/// The time limits of a client whose server is to run into them.
pub const SHORT: Duration = Duration::from_millis(1500);
/// The longest text of an error that a log should have to take.
const LONGEST_TEXT: usize = 512;
/// Shorter than by default, for a test is slow to read much.
const RESPONSE_LIMIT: usize = 2 * 1024 * 1024;

/// What a call must make of it.
#[derive(Clone, Copy, Debug)]
pub enum Want {
    /// An error of this kind.
    Error(ErrorKind),
    /// The honest answer.
    Answer,
    /// Any answer.
    Ok,
    /// Any answer, or an error of this kind.
    Either(ErrorKind),
    /// An answer that goes on for as long as somebody reads it.
    Goes,
}

/// The same for each way in which a call reads its answer.
#[derive(Clone, Copy)]
pub struct Wants {
    pub typed: Want,
    pub ignored: Want,
    pub events: Want,
    pub bytes: Want,
}

impl Wants {
    pub fn all(want: Want) -> Self {
        Self { typed: want, ignored: want, events: want, bytes: want }
    }

    pub fn ignored(self, ignored: Want) -> Self {
        Self { ignored, ..self }
    }

    pub fn streams(self, want: Want) -> Self {
        Self { events: want, bytes: want, ..self }
    }

    pub fn events(self, events: Want) -> Self {
        Self { events, ..self }
    }

    fn of(self, call: &Call) -> Want {
        match call.reply {
            Reply::Json(..) => self.typed,
            Reply::Ignored(_) => self.ignored,
            Reply::Events => self.events,
            Reply::Bytes => self.bytes,
        }
    }
}

/// All calls fail with this kind.
pub fn fails(kind: ErrorKind) -> Wants {
    Wants::all(Want::Error(kind))
}

type Make = dyn Fn(&Call) -> Wire + Send + Sync;

pub struct Row {
    name: String,
    wire: Arc<Make>,
    wants: Wants,
    limited: bool,
    races: bool,
}

/// A row whose server says the same to every call.
pub fn row(name: impl Into<String>, wire: Wire, wants: Wants) -> Row {
    row_by(name, wants, move |_| wire.clone())
}

/// A row whose server suits what it says to the call.
pub fn row_by(
    name: impl Into<String>,
    wants: Wants,
    wire: impl Fn(&Call) -> Wire + Send + Sync + 'static,
) -> Row {
    Row { name: name.into(), wire: Arc::new(wire), wants, limited: false, races: false }
}

impl Row {
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// It lasts until a time limit ends it, so those of the client are short.
    pub fn until_the_limit(mut self) -> Self {
        self.limited = true;
        self
    }

    /// Its connection is said to stay and is closed: the next request may be on its way by then.
    pub fn closing_in_the_next_request(mut self) -> Self {
        self.races = true;
        self
    }
}

pub fn honest_body(call: &Call) -> String {
    match &call.reply {
        Reply::Ignored(_) => "{\"accepted\":2}".to_owned(),
        Reply::Json(_, value) => value().to_string(),
        Reply::Events => EVENT_BYTES.to_owned(),
        Reply::Bytes => ARTIFACT_BYTES.to_owned(),
    }
}

fn media(call: &Call) -> &'static str {
    match call.reply {
        Reply::Events => "text/event-stream",
        Reply::Bytes => "application/octet-stream",
        _ => "application/json",
    }
}

/// Status line and content type; more header lines and the blank one are the caller's.
pub fn head(call: &Call) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: {}\r\n", media(call))
}

/// 200 with this body and its length.
pub fn with_body(call: &Call, headers: &str, body: impl AsRef<[u8]>) -> Wire {
    let body = body.as_ref();
    let head = format!("{}{headers}Content-Length: {}\r\n\r\n", head(call), body.len());
    Wire::new([head.as_bytes(), body].concat())
}

pub fn honest(call: &Call) -> Wire {
    with_body(call, "", honest_body(call))
}

/// The operation that a request is for.
pub fn call_of(seen: &Seen) -> &'static Call {
    let ids = Ids::default();
    CALLS
        .iter()
        .find(|call| {
            call.method == seen.method
                && call.path_with(&ids, |_, value| value.to_owned()) == seen.path
        })
        .unwrap()
}

pub fn client(url: &str, set: impl FnOnce(Config) -> Config) -> ControlPlane {
    let api = ControlPlane::new(set(Config::new(url).unwrap()), "1.4.2").unwrap();
    api.set_auth_token(TOKEN).unwrap();
    api
}

fn limits(limit: Duration) -> impl FnOnce(Config) -> Config {
    move |config| {
        config
            .connect_timeout(LIMIT)
            .request_timeout(limit)
            .header_timeout(limit)
            .sse_idle_timeout(limit)
            .response_limit(RESPONSE_LIMIT)
    }
}

/// Runs every call against every row, and after each the same call once more against an
/// honest server at the same place. Prints how many there were.
pub async fn run(group: &str, rows: Vec<Row>) {
    let (began, count) = (Instant::now(), rows.len());
    // Not at the same time: what takes the processor must not use up the time of the others.
    let (limited, rest): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.limited);
    let stage = Stage::new(LIMIT);
    for row in rest {
        stage.run(&row).await;
    }
    join_all(limited.iter().map(async |row| Stage::new(SHORT).run(row).await)).await;
    let cases = count * CALLS.len();
    println!(
        "{group}: {count} rows x {} calls = {cases} cases in {:?}",
        CALLS.len(),
        began.elapsed()
    );
}

/// A server that means harm once to each call, and a client.
struct Stage {
    hostile: Arc<Mutex<HashMap<&'static str, Wire>>>,
    api: ControlPlane,
    _server: Server,
}

impl Stage {
    fn new(limit: Duration) -> Self {
        let hostile = Arc::<Mutex<HashMap<_, Wire>>>::default();
        let answers = Arc::clone(&hostile);
        let server = Server::start(move |seen| {
            let call = call_of(seen);
            let hostile = answers.lock().unwrap().remove(call.operation);
            hostile.unwrap_or_else(|| honest(call))
        });
        Self { hostile, api: client(&server.url(), limits(limit)), _server: server }
    }

    async fn run(&self, row: &Row) {
        let wires = CALLS.iter().map(|call| (call.operation, (row.wire)(call)));
        self.hostile.lock().unwrap().extend(wires);
        join_all(CALLS.iter().map(|call| meets(row, call, &self.api))).await;
        let unmet = std::mem::take(&mut *self.hostile.lock().unwrap());
        // A short limit may be over before the server has read the request.
        assert!(row.limited || unmet.is_empty(), "{}: {:?}", row.name, unmet.keys());
        if row.limited {
            // One at a time: all at once they may be too slow for a short limit, again and again.
            for call in CALLS {
                works(row, call, &self.api).await;
            }
        } else {
            join_all(CALLS.iter().map(|call| works(row, call, &self.api))).await;
        }
    }
}

async fn meets(row: &Row, call: &Call, api: &ControlPlane) {
    let (what, want) = (format!("{}, {}", row.name, call.operation), row.wants.of(call));
    let run = async || {
        let answer = match want {
            Want::Goes => tokio::time::timeout(LIMIT, goes(call, api)).await,
            _ => tokio::time::timeout(LIMIT, (call.run)(api, &Ids::default())).await,
        };
        answer.unwrap_or_else(|_| panic!("{what}: no end within {LIMIT:?}"))
    };
    let mut answer = run().await;
    // The calls of a row go out together: one may take the connection that another has left.
    if row.races && matches!(&answer, Err(error) if error.kind() == ErrorKind::Transport) {
        answer = run().await;
    }
    // A short limit may be over before anything has come, on a loaded machine.
    let want = match &answer {
        Err(error) if row.limited && error.kind() == ErrorKind::Timeout => {
            Want::Error(ErrorKind::Timeout)
        }
        _ => want,
    };
    judge(&what, want, call, answer);
}

pub fn judge(what: &str, want: Want, call: &Call, answer: Result<Value, Error>) {
    match (want, answer) {
        (Want::Error(kind) | Want::Either(kind), Err(error)) => {
            assert_eq!(error.kind(), kind, "{what}: {error}");
            assert_eq!(error.operation(), Some(call.operation), "{what}: {error}");
            assert_is_fit_for_a_log(what, &error);
        }
        (Want::Answer, Ok(value)) => assert_eq!(value, call.reply.value(), "{what}"),
        (Want::Ok | Want::Goes | Want::Either(_), Ok(_)) => {}
        (want, answer) => panic!("{what}: {answer:?}, not {want:?}"),
    }
}

/// One line, short, and without a secret.
pub fn assert_is_fit_for_a_log(what: &str, error: &Error) {
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(text.len() <= LONGEST_TEXT, "{what}: {} bytes: {}", text.len(), &text[..200]);
        assert!(!text.contains(|c: char| c.is_control()), "{what}: {text}");
        assert!(!text.to_lowercase().contains(TOKEN), "{what}: {text}");
    }
}

/// Reads some of a stream that has no end, and leaves it.
async fn goes(call: &Call, api: &ControlPlane) -> Result<Value, Error> {
    async fn some<S>(mut stream: S) -> Result<Value, Error>
    where
        S: futures::Stream<Item = Result<bytes::Bytes, Error>> + Unpin,
    {
        for _ in 0..3 {
            stream.next().await.expect("it goes on")?;
        }
        Ok(Value::Null)
    }
    match call.reply {
        Reply::Events => some(api.connect_sse("node-7c41e9", Some("480")).await?).await,
        _ => some(api.fetch_artifact("1.4.2", "linux", "arm64").await?).await,
    }
}

/// The next call works. Where the limits are short, a loaded machine may take more than one;
/// where a connection closes in the next request, that one is lost.
async fn works(row: &Row, call: &Call, api: &ControlPlane) {
    let began = Instant::now();
    let mut lost = u32::from(row.races);
    loop {
        match (call.run)(api, &Ids::default()).await {
            Ok(value) => return assert_eq!(value, call.reply.value(), "after {}", row.name),
            Err(error) if row.limited && error.is_timeout() && began.elapsed() < LIMIT * 2 => {}
            Err(error) if lost > 0 && error.kind() == ErrorKind::Transport => lost -= 1,
            Err(error) => panic!("after {}, {}: {error}", row.name, call.operation),
        }
    }
}
