//! A download to a file: whatever happens on the way, the target is the old file or the right one.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use plexsphere_client::{ArtifactDownload, ControlPlane, Error, ErrorKind, Progress};
use plexsphere_mock::{Answer, MockControlPlane, NodeView, Then};
use tempfile::TempDir;

use crate::support::{SOON, client_with, mock};

const MEBIBYTE: usize = 1024 * 1024;
const BRIEFLY: Duration = Duration::from_millis(1);

struct Rig {
    mock: MockControlPlane,
    api: ControlPlane,
    node: NodeView,
    folder: TempDir,
    target: PathBuf,
}

impl Rig {
    async fn with(content: &[u8]) -> Self {
        let mock = mock().await;
        let api = client_with(&mock, |config| config.sse_idle_timeout(SOON));
        let node = mock.add_node("n");
        api.set_auth_token(node.secret_key.clone()).unwrap();
        mock.set_artifact("1.4.2", "linux", "amd64", content.to_vec());
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("plexd");
        Self { mock, api, node, folder, target }
    }

    fn download(&self, checksum: &str) -> ArtifactDownload {
        self.api.download_artifact("1.4.2", "linux", "amd64", checksum).intervals(BRIEFLY, BRIEFLY)
    }

    async fn save(&self, content: &[u8]) -> Result<u64, Error> {
        self.download(&sha256(content)).save_to(&self.target).await
    }

    /// The next answer; then it is the server's own again.
    fn script(&self, answer: Answer) {
        self.mock.script("fetch_artifact", answer);
    }

    /// `Range` and `If-Range` of each request since the last time.
    fn asked(&self) -> Vec<(Option<String>, Option<String>)> {
        let requests = self.mock.requests_for("fetch_artifact");
        self.mock.clear_requests();
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let header = |name: &str, headers: &http::HeaderMap| headers.get(name).map(text);
        requests
            .iter()
            .map(|request| {
                (header("range", &request.headers), header("if-range", &request.headers))
            })
            .collect()
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.asked().into_iter().map(|(range, _)| range).collect()
    }

    fn files(&self) -> Vec<String> {
        names(self.folder.path())
    }

    fn assert_saved(&self, content: &[u8]) {
        assert!(fs::read(&self.target).unwrap() == content, "the file is another");
        assert_eq!(self.files(), ["plexd"], "and nothing is left beside it");
    }

    fn part(&self, content: &[u8]) -> PathBuf {
        let checksum = sha256(content);
        self.folder.path().join(format!(".plexd.{}.part", &checksum["sha256:".len()..][..16]))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn sha256(bytes: &[u8]) -> String {
    let hex = |byte: &u8| format!("{byte:02x}");
    format!("sha256:{}", digest(&SHA256, bytes).as_ref().iter().map(hex).collect::<String>())
}

/// Bytes of which no two stretches are alike.
fn bytes(length: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn range(from: usize) -> Option<String> {
    Some(format!("bytes={from}-"))
}

#[tokio::test]
async fn the_file_takes_its_name_verified_and_with_its_mode() {
    let content = bytes(3 * MEBIBYTE + 7, 1);
    let rig = Rig::with(&content).await;
    fs::write(&rig.target, "the old one").unwrap();
    assert_eq!(rig.save(&content).await.unwrap(), content.len() as u64);
    rig.assert_saved(&content);
    let request = rig.mock.requests_for("fetch_artifact").remove(0);
    assert_eq!(request.headers["accept-encoding"], "identity");
    assert_eq!(request.headers["accept"], "application/octet-stream");
    let token = format!("Bearer {}", rig.node.secret_key);
    assert_eq!(request.headers["authorization"], *token);
    assert_eq!(rig.asked(), [(None, None)]);

    #[cfg(unix)]
    for (set, mode) in [(None, 0o644), (Some(0o755), 0o755), (Some(0o600), 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        let download = rig.download(&sha256(&content));
        let download = match set {
            Some(mode) => download.mode(mode),
            None => download,
        };
        download.save_to(&rig.target).await.unwrap();
        assert_eq!(fs::metadata(&rig.target).unwrap().permissions().mode() & 0o7777, mode);
    }
}

#[tokio::test]
async fn after_a_cut_at_any_byte_it_asks_for_the_rest_and_no_more() {
    let content = bytes(2 * MEBIBYTE + 300_000, 2);
    let rig = Rig::with(&content).await;
    let etag = format!("\"{}\"", sha256(&content));
    let end = content.len();
    let cuts = [1, 65_535, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 2 * MEBIBYTE, end - 1];
    for cut in cuts {
        rig.script(Answer::real().cut_after(cut as u64));
        rig.save(&content).await.unwrap();
        rig.assert_saved(&content);
        assert_eq!(rig.asked(), [(None, None), (range(cut), Some(etag.clone()))]);
    }
    for fault in [Answer::real().cut_after(0), Answer::real().hang_up(), Answer::real().reset()] {
        rig.script(fault);
        rig.save(&content).await.unwrap();
        assert_eq!(rig.asked(), [(None, None), (None, None)]);
    }
    // A reset may take bytes with it that had arrived.
    rig.script(Answer::real().reset_after(MEBIBYTE as u64));
    rig.script(Answer::real().chunked().cut_after(1000));
    rig.save(&content).await.unwrap();
    rig.assert_saved(&content);
}

#[tokio::test]
async fn many_cuts_in_a_row_are_survived_while_each_attempt_brings_a_mebibyte() {
    let content = bytes(9 * MEBIBYTE, 3);
    let rig = Rig::with(&content).await;
    rig.mock.script_always("fetch_artifact", Answer::real().cut_after(MEBIBYTE as u64));
    rig.download(&sha256(&content)).attempts(2).save_to(&rig.target).await.unwrap();
    rig.assert_saved(&content);
    assert_eq!(rig.asked().len(), 9);
}

#[tokio::test]
async fn it_gives_up_and_the_next_call_goes_on() {
    let content = bytes(MEBIBYTE, 4);
    let rig = Rig::with(&content).await;
    rig.mock.script_always("fetch_artifact", Answer::real().cut_after(1000));
    let error = rig.download(&sha256(&content)).attempts(3).save_to(&rig.target).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Transport, Some("download_artifact"))
    );
    assert_eq!(rig.ranges(), [None, range(1000), range(2000)]);
    assert!(!rig.target.exists());
    assert_eq!(fs::read(rig.part(&content)).unwrap(), content[..3000]);
    rig.mock.clear_script("fetch_artifact");
    rig.save(&content).await.unwrap();
    rig.assert_saved(&content);
    assert_eq!(rig.asked(), [(range(3000), None)]);
}

#[tokio::test]
async fn a_part_that_is_whole_needs_no_request() {
    let content = bytes(1000, 5);
    let rig = Rig::with(&content).await;
    fs::write(rig.part(&content), &content).unwrap();
    assert_eq!(rig.save(&content).await.unwrap(), 1000);
    rig.assert_saved(&content);
    assert_eq!(rig.ranges(), [None; 0]);
}

#[tokio::test]
async fn a_part_that_is_whole_is_progress_and_has_a_limit_too() {
    let content = bytes(1000, 5);
    let rig = Rig::with(&content).await;
    let seen = Arc::<Mutex<Vec<Progress>>>::default();
    let download = |limit| {
        fs::write(rig.part(&content), &content).unwrap();
        let noted = Arc::clone(&seen);
        let download = rig.download(&sha256(&content)).limit(limit);
        download.on_progress(move |progress| noted.lock().unwrap().push(progress))
    };
    let error = download(999).save_to(&rig.target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResponseTooLarge, "{error}");
    assert_eq!((rig.files(), seen.lock().unwrap().len()), (vec![], 0));
    download(1000).save_to(&rig.target).await.unwrap();
    let whole = seen.lock().unwrap().iter().map(|p| (p.received, p.total)).collect::<Vec<_>>();
    assert_eq!(whole, [(1000, Some(1000))]);
    rig.assert_saved(&content);
}

#[tokio::test]
async fn a_damaged_part_costs_one_more_attempt() {
    let content = bytes(5000, 6);
    let rig = Rig::with(&content).await;
    for damage in [vec![0; 1000], vec![0; 5000], vec![0; 9000]] {
        fs::write(rig.part(&content), &damage).unwrap();
        rig.save(&content).await.unwrap();
        rig.assert_saved(&content);
        assert_eq!(rig.ranges(), [range(damage.len()), None]);
    }
}

#[tokio::test]
async fn wrong_bytes_never_take_the_name_and_are_not_asked_for_again() {
    let content = bytes(2 * MEBIBYTE, 7);
    let rig = Rig::with(&content).await;
    fs::write(&rig.target, "the old one").unwrap();
    let expected = sha256(b"others");
    let error = rig.download(&expected).save_to(&rig.target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongChecksum);
    assert!(!error.is_retryable());
    for sum in [&expected, &sha256(&content)] {
        assert!(error.to_string().contains(&sum["sha256:".len()..]), "{error}");
    }
    assert_eq!(rig.ranges(), [None]);
    rig.assert_saved(b"the old one");
}

#[tokio::test]
async fn an_artifact_that_changed_between_two_attempts_is_fetched_anew() {
    let (old, new) = (bytes(400_000, 8), bytes(500_000, 9));
    let rig = Rig::with(&old).await;
    rig.script(Answer::real().cut_after(300_000));
    let changes = {
        let mock = &rig.mock;
        async {
            mock.wait_for_requests("fetch_artifact", 1, SOON).await;
            mock.set_artifact("1.4.2", "linux", "amd64", new.clone());
        }
    };
    let checksum = sha256(&new);
    let wait = Duration::from_millis(500);
    let download = rig.download(&checksum).intervals(wait, wait).save_to(&rig.target);
    let (saved, ()) = tokio::join!(download, changes);
    saved.unwrap();
    rig.assert_saved(&new);
    let asked = rig.asked();
    assert_eq!(asked[1], (range(300_000), Some(format!("\"{}\"", sha256(&old)))));
    assert_eq!(asked.len(), 2, "the answer to If-Range is the whole");
}

#[tokio::test]
async fn a_server_that_ignores_ranges_or_answers_beside_them_is_served_anew() {
    let content = bytes(100_000, 10);
    let rig = Rig::with(&content).await;
    let whole = Answer::status(200).body(content.clone());
    rig.script(Answer::real().cut_after(40_000));
    rig.script(whole);
    rig.save(&content).await.unwrap();
    rig.assert_saved(&content);
    assert_eq!(rig.ranges(), [None, range(40_000)]);

    let part = |span: &str| {
        let rest = content[40_000..].to_vec();
        Answer::status(206).body(rest).header("Content-Range", span)
    };
    let etag = "\"sha256:another\"";
    for beside in [
        part("bytes 39999-99998/100000"),
        part("bytes 40000-99999/100001"),
        part("bytes 40000-99999/100000").header("ETag", etag),
        part("nonsense"),
        Answer::status(206).body("x"),
        Answer::status(416),
    ] {
        rig.script(Answer::real().cut_after(40_000));
        rig.script(beside);
        rig.save(&content).await.unwrap();
        rig.assert_saved(&content);
        assert_eq!(rig.ranges(), [None, range(40_000), None]);
    }
    // Less than was asked for is good, as far as it goes.
    rig.script(Answer::real().cut_after(40_000));
    let some = Answer::status(206).body(content[40_000..50_000].to_vec());
    rig.script(some.header("Content-Range", "bytes 40000-49999/100000"));
    rig.save(&content).await.unwrap();
    assert_eq!(rig.ranges(), [None, range(40_000), range(50_000)]);
    // A part that nobody asked for is none.
    rig.script(part("bytes 40000-99999/100000"));
    let error = rig.save(&content).await.unwrap_err();
    assert_eq!((error.status(), error.is_retryable()), (Some(206), false), "{error}");
}

#[tokio::test]
async fn a_weak_etag_is_not_used() {
    let content = bytes(1000, 11);
    let rig = Rig::with(&content).await;
    rig.script(Answer::real().header("ETag", "W/\"x\"").cut_after(500));
    rig.save(&content).await.unwrap();
    assert_eq!(rig.asked()[1], (range(500), None));
}

#[tokio::test]
async fn an_endless_body_ends_at_the_limit() {
    let rig = Rig::with(b"").await;
    let limit = 3 * MEBIBYTE as u64;
    let save = async || rig.download(&sha256(b"x")).limit(limit).save_to(&rig.target).await;
    for endless in [
        Answer::status(200).endless("x"),
        Answer::status(200).repeat("x", limit + 1).chunked(),
        Answer::status(200).repeat("x", limit + 1),
        Answer::status(200).declare_length(u64::MAX / 2).endless("x"),
    ] {
        rig.script(endless);
        let error = save().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseTooLarge, "{error}");
        assert!(error.to_string().contains("limit of 3145728 bytes"), "{error}");
        assert_eq!(rig.files(), [""; 0]);
    }
    let most = vec![b'x'; limit as usize];
    rig.script(Answer::status(200).repeat("x", limit).chunked());
    rig.download(&sha256(&most)).limit(limit).save_to(&rig.target).await.unwrap();
    rig.assert_saved(&most);
}

#[tokio::test]
async fn a_refusal_is_final_and_only_one_that_may_pass_keeps_the_part() {
    let content = bytes(10_000, 12);
    let rig = Rig::with(&content).await;
    for (status, kept) in [(400, false), (401, true), (403, true), (404, false), (302, false)] {
        fs::write(rig.part(&content), &content[..4000]).unwrap();
        rig.script(Answer::problem(status, "no", "no").header("Location", "http://elsewhere/"));
        let error = rig.save(&content).await.unwrap_err();
        assert_eq!(error.status(), Some(status));
        assert_eq!(rig.ranges(), [range(4000)], "{status}: one request");
        assert_eq!(rig.part(&content).exists(), kept, "{status}");
        assert!(!rig.target.exists());
    }
    let error = rig
        .api
        .download_artifact("9.9.9", "linux", "amd64", &sha256(&content))
        .save_to(&rig.target)
        .await
        .unwrap_err();
    assert!(error.is_not_found());
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let content = bytes(1000, 13);
    let rig = Rig::with(&content).await;
    let busy = [Answer::status(500), Answer::status(503), Answer::status(429), Answer::html(200)];
    let count = busy.len();
    busy.into_iter().for_each(|answer| rig.script(answer));
    rig.save(&content).await.unwrap();
    rig.assert_saved(&content);
    assert_eq!(rig.ranges().len(), count + 1);
}

#[tokio::test]
async fn a_slow_body_has_no_total_limit_and_a_silent_one_is_taken_up_again() {
    let content = bytes(40_000, 14);
    let mut rig = Rig::with(&content).await;
    let limit = Duration::from_millis(1500);
    rig.api = client_with(&rig.mock, |config| config.request_timeout(limit));
    rig.api.set_auth_token(rig.node.secret_key.clone()).unwrap();
    rig.script(Answer::real().pace(2_000, Duration::from_millis(90)));
    rig.save(&content).await.unwrap();
    assert_eq!(rig.ranges(), [None]);

    rig.api = client_with(&rig.mock, |config| config.sse_idle_timeout(limit));
    rig.api.set_auth_token(rig.node.secret_key.clone()).unwrap();
    rig.script(Answer::real().stall_after(30_000));
    rig.save(&content).await.unwrap();
    rig.assert_saved(&content);
    assert_eq!(rig.ranges(), [None, range(30_000)]);
}

#[tokio::test]
async fn the_progress_never_lies() {
    let content = bytes(500_000, 15);
    let rig = Rig::with(&content).await;
    rig.script(Answer::real().cut_after(200_000));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = seen.clone();
    let download = rig.download(&sha256(&content));
    let download = download.on_progress(move |progress: Progress| {
        note.lock().unwrap().push((progress.received, progress.total));
    });
    download.save_to(&rig.target).await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.is_sorted_by(|one, next| one.0 < next.0));
    assert!(seen.iter().all(|(_, total)| *total == Some(500_000)));
    assert_eq!(seen.last(), Some(&(500_000, Some(500_000))));
}

#[tokio::test]
async fn what_cannot_be_right_is_refused_before_anything_is_sent() {
    let rig = Rig::with(b"x").await;
    let sum = sha256(b"x");
    for (version, checksum, mode, target) in [
        ("..", sum.as_str(), 0o644, rig.target.clone()),
        ("1.4.2", "sha256:12", 0o644, rig.target.clone()),
        ("1.4.2", &sum, 0o4755, rig.target.clone()),
        ("1.4.2", &sum, 0o644, rig.folder.path().join("..")),
    ] {
        let download = rig.api.download_artifact(version, "linux", "amd64", checksum).mode(mode);
        let error = download.save_to(target).await.unwrap_err();
        let kind = error.kind();
        // A folder that is there is found first.
        assert!(matches!(kind, ErrorKind::InvalidRequest | ErrorKind::File), "{error}");
        assert!(mode != 0o4755 || kind == ErrorKind::InvalidRequest);
    }
    let missing = rig.folder.path().join("missing").join("plexd");
    let taken = rig.folder.path().join("taken");
    fs::create_dir(&taken).unwrap();
    for (target, text) in [(&missing, "cannot open "), (&taken, "cannot replace ")] {
        let error = rig.download(&sum).save_to(target).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        let text = format!("download_artifact: {text}{}", rig.folder.path().display());
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    assert_eq!(rig.mock.count("fetch_artifact"), 0);
}

#[tokio::test]
async fn a_target_that_becomes_a_folder_meanwhile_is_an_error_and_leaves_nothing() {
    let content = bytes(1000, 16);
    let rig = Rig::with(&content).await;
    let target = rig.target.clone();
    let download = rig.download(&sha256(&content));
    let download = download.on_progress(move |_| fs::create_dir_all(target.join("x")).unwrap());
    let error = download.save_to(&rig.target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::File, "{error}");
    assert_eq!(rig.files(), ["plexd"]);
}

#[tokio::test]
async fn a_pipe_or_a_socket_is_no_target_and_is_left_alone() {
    let content = bytes(1000, 16);
    let rig = Rig::with(&content).await;
    let _socket = std::os::unix::net::UnixListener::bind(&rig.target).unwrap();
    let error = rig.download(&sha256(&content)).save_to(&rig.target).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::File, "{error}");
    assert!(error.to_string().contains("not a file"), "{error}");
    assert_eq!(rig.files(), ["plexd"]);
    assert!(!fs::symlink_metadata(&rig.target).unwrap().is_file());
}

#[tokio::test]
async fn dropped_at_any_await_it_leaves_the_old_file_or_the_new_and_the_next_call_goes_on() {
    let content = bytes(MEBIBYTE + 50_000, 17);
    let rig = Rig::with(&content).await;
    let mut completed = 0;
    for polls in 0..400 {
        fs::write(&rig.target, "the old one").unwrap();
        if polls % 2 == 1 {
            rig.script(Answer::real().cut_after(polls * 10_000 % content.len() as u64));
        }
        let finished = {
            let mut download = pin!(rig.save(&content));
            let mut left = polls;
            std::future::poll_fn(|cx| {
                if left == 0 {
                    return Poll::Ready(false);
                }
                left -= 1;
                download.as_mut().poll(cx).map(|saved| saved.is_ok())
            })
            .await
        };
        rig.mock.clear_script("fetch_artifact");
        let now = fs::read(&rig.target).unwrap();
        assert!(finished || now == b"the old one" || now == content);
        rig.save(&content).await.unwrap();
        rig.assert_saved(&content);
        completed += usize::from(finished);
        if completed > 4 {
            return;
        }
    }
    panic!("never to the end: {completed}");
}

#[tokio::test]
async fn two_at_once_do_not_mix() {
    let content = bytes(100_000, 18);
    let rig = Rig::with(&content).await;
    rig.script(Answer::real().stall_after(60_000));
    let first = {
        let download = rig.download(&sha256(&content));
        let target = rig.target.clone();
        tokio::spawn(async move { download.save_to(target).await })
    };
    rig.mock.wait_for_requests("fetch_artifact", 1, SOON).await;
    let error = rig.save(&content).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::File);
    assert!(error.to_string().contains("in use by another download"), "{error}");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    rig.save(&content).await.unwrap();
    rig.assert_saved(&content);
}

#[tokio::test]
async fn a_body_that_is_shorter_than_announced_is_no_success() {
    let content = bytes(1000, 19);
    let rig = Rig::with(&content).await;
    let short = Answer::status(200).body(content[..900].to_vec()).declare_length(1000);
    rig.script(short.then(Then::Cut));
    rig.save(&content).await.unwrap();
    rig.assert_saved(&content);
    assert_eq!(rig.ranges(), [None, range(900)]);
}
