use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use http::StatusCode;

use super::answer::{Answer, Known};
use super::checksum::Checksum;
use super::part::{Part, failed};
use super::writer::Writer;
use crate::client::ControlPlane;
use crate::error::{Error, ErrorKind};
use crate::reconnect::backoff;
use crate::reconnect::{DEFAULT_BASE_INTERVAL, DEFAULT_MAX_INTERVAL};
use crate::transport::pool::Lane;
use crate::transport::segment;

/// Default of [`ArtifactDownload::limit`]: 1 GiB.
pub const DEFAULT_ARTIFACT_LIMIT: u64 = 1024 * 1024 * 1024;
/// Default of [`ArtifactDownload::attempts`]: 5.
pub const DEFAULT_ARTIFACT_ATTEMPTS: u32 = 5;
/// Default of [`ArtifactDownload::mode`]: `0o644`.
pub const DEFAULT_ARTIFACT_MODE: u32 = 0o644;

const NAME: &str = "download_artifact";
/// How many bytes more than ever make an attempt one that brought something.
const ADVANCE: u64 = 1024 * 1024;

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The bytes so far, those of an earlier attempt too. It falls back to zero when the
    /// download has to begin anew.
    pub received: u64,
    /// How many there will be; `None` when the server does not say.
    pub total: Option<u64>,
}

/// A download to a file, made by
/// [`download_artifact`](ControlPlane::download_artifact): set what you need, then
/// [`save_to`](Self::save_to).
#[must_use = "nothing is sent before save_to"]
pub struct ArtifactDownload {
    control_plane: ControlPlane,
    version: String,
    os: String,
    arch: String,
    checksum: String,
    limit: u64,
    attempts: u32,
    mode: u32,
    intervals: (Duration, Duration),
    on_progress: Box<dyn FnMut(Progress) + Send>,
}

impl ControlPlane {
    /// Downloads an artifact to a file, verified and resumable. `checksum` is its SHA-256
    /// in hexadecimal, with `sha256:` before it or without, as whoever asks for the
    /// download states it (an action's `checksum`, a release's list). Take it from a
    /// source that you trust: it alone decides what is accepted. `os` and `arch` are spelled
    /// as the control plane spells them, which is Go's way: `linux`, `amd64`.
    ///
    /// To have the bytes as a stream instead, see [`fetch_artifact`](Self::fetch_artifact).
    ///
    /// ```no_run
    /// # async fn example(control_plane: plexsphere_client::ControlPlane, checksum: &str) -> Result<(), plexsphere_client::Error> {
    /// let length = control_plane
    ///     .download_artifact("1.4.2", "linux", "amd64", checksum)
    ///     .mode(0o755)
    ///     .on_progress(|progress| println!("{} of {:?}", progress.received, progress.total))
    ///     .save_to("/usr/local/bin/plexd")
    ///     .await?;
    /// println!("{length} bytes, and they are the right ones");
    /// # Ok(())
    /// # }
    /// ```
    pub fn download_artifact(
        &self,
        version: &str,
        os: &str,
        arch: &str,
        checksum: &str,
    ) -> ArtifactDownload {
        ArtifactDownload {
            control_plane: self.clone(),
            version: version.to_owned(),
            os: os.to_owned(),
            arch: arch.to_owned(),
            checksum: checksum.to_owned(),
            limit: DEFAULT_ARTIFACT_LIMIT,
            attempts: DEFAULT_ARTIFACT_ATTEMPTS,
            mode: DEFAULT_ARTIFACT_MODE,
            intervals: (DEFAULT_BASE_INTERVAL, DEFAULT_MAX_INTERVAL),
            on_progress: Box::new(|_| {}),
        }
    }
}

impl ArtifactDownload {
    /// How many bytes the artifact may have, so that an endless one does not fill the
    /// disk. Default is 1 GiB.
    pub fn limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// How many attempts in a row may fail before it is given up. An attempt that brings
    /// at least 1 MiB more than any before it starts the count anew. Default is 5; 0 is
    /// taken as 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The waits between attempts: `base`, doubling to `max`, ±25 %; a `Retry-After` is
    /// honoured up to 5 minutes. Default is 1 s and 60 s.
    pub fn intervals(mut self, base: Duration, max: Duration) -> Self {
        self.intervals = (base, max);
        self
    }

    /// The permissions of the file, which it has from the moment that it takes its name;
    /// the process's umask does not count. `0o755` makes it executable. Default is
    /// `0o644`. Elsewhere than on Unix it is ignored.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Called with each piece that arrives, on the task that awaits
    /// [`save_to`](Self::save_to): it must not block. Default is nothing.
    pub fn on_progress(mut self, callback: impl FnMut(Progress) + Send + 'static) -> Self {
        self.on_progress = Box::new(callback);
        self
    }

    /// Downloads to `target`, and returns how many bytes the file has.
    ///
    /// The bytes go to a file in the same folder
    /// (`.NAME.CHECKSUM.part`, with the first 16 digits of the checksum, readable by its owner
    /// alone) and are hashed on the way.
    /// When all are there and their SHA-256 is the expected one, they are brought to the
    /// disk, and the file takes the target's name in one step: whoever opens `target`
    /// sees the old file or the new one, never a part. A file at `target` is replaced;
    /// if it is a link, so is the link. A folder, a device or a pipe is refused.
    ///
    /// After a cut it asks for the rest (`Range`, with `If-Range` where the server gave an
    /// `ETag`), and the whole is still hashed. Where the server ignores that, or has
    /// other bytes by now, it begins anew. What is left of an attempt is taken up by the
    /// next call for the same target and checksum, also in another process; two at once
    /// for the same do not mix: the second fails after 5 s. Nobody takes up the part of a
    /// version that is not asked for again: remove `.NAME.*.part` of other checksums.
    ///
    /// There is no limit for the whole: put `tokio::time::timeout` around it where there has
    /// to be one.
    ///
    /// The folder must be one that only the agent's user may write to.
    ///
    /// # Errors
    /// [`InvalidRequest`](ErrorKind::InvalidRequest) for a checksum, mode, target or id
    /// that cannot be right, before anything is sent. [`File`](ErrorKind::File) when the
    /// folder is missing or not writable, the disk is full, or the target is a folder.
    /// [`WrongChecksum`](ErrorKind::WrongChecksum) when all bytes came and are others.
    /// [`ResponseTooLarge`](ErrorKind::ResponseTooLarge) over the [`limit`](Self::limit).
    /// Otherwise those of [`fetch_artifact`](ControlPlane::fetch_artifact): those that may
    /// pass after all [`attempts`](Self::attempts) have failed, the others
    /// ([`Unauthorized`](ErrorKind::Unauthorized), [`NotFound`](ErrorKind::NotFound) …) at
    /// once.
    ///
    /// What may go on later (the network, the server, the token) leaves its part for the
    /// next call; every other error removes it.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. It leaves no file under the target's
    /// name that was not there before, unless it was complete and verified; the part
    /// stays, and the next call goes on from it. What is being
    /// written in that moment, less than 1 MiB, still goes to the part.
    ///
    /// # Backpressure
    /// A few MiB are in memory at most: a slow disk holds the server back.
    pub async fn save_to(mut self, target: impl AsRef<Path>) -> Result<u64, Error> {
        self.run(target.as_ref()).await.map_err(|e| e.in_operation(NAME))
    }

    async fn run(&mut self, target: &Path) -> Result<u64, Error> {
        let checksum = self.check()?;
        may_be_replaced(target).map_err(|e| failed("replace", target, e))?;
        let (part, hash) = Part::claim(target, checksum).await?;
        let mut writer = Writer::new(part, hash);
        let done = match self.fetch(&mut writer, checksum).await {
            Ok(()) => writer.put_in_place(target, self.mode).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => Ok(writer.received()),
            Err(error) => {
                if !may_go_on(&error) {
                    writer.remove().await;
                }
                Err(error)
            }
        }
    }

    fn check(&self) -> Result<Checksum, Error> {
        for (name, value) in [("version", &self.version), ("os", &self.os), ("arch", &self.arch)] {
            segment::check(name, value)?;
        }
        if self.mode > 0o777 {
            let text = format!("mode is {:#o}: give permissions from 0 to 0o777", self.mode);
            return Err(Error::new(ErrorKind::InvalidRequest, text));
        }
        Checksum::parse(&self.checksum)
    }

    /// Returns when the part holds the bytes of `checksum`.
    async fn fetch(&mut self, writer: &mut Writer, checksum: Checksum) -> Result<(), Error> {
        let mut known = Known { pieced: writer.received() > 0, ..Known::default() };
        let mut patience = Patience::new(self.attempts, self.intervals);
        // An earlier call may have been dropped at the very end.
        if known.pieced && writer.checksum().await? == checksum {
            let received = writer.received();
            self.check_size(received)?;
            (self.on_progress)(Progress { received, total: Some(received) });
            return Ok(());
        }
        loop {
            let error = match self.attempt(writer, &mut known).await {
                Err(error) if error.is_retryable() => error,
                Err(error) => return Err(error),
                Ok(()) => {
                    let found = writer.checksum().await?;
                    if found == checksum {
                        return Ok(());
                    }
                    let error = wrong(checksum, found);
                    if !known.pieced {
                        return Err(error);
                    }
                    // One of the pieces may have been another's.
                    writer.clear().await?;
                    known = Known::default();
                    error
                }
            };
            let wait = patience.after(error, writer.received())?;
            tokio::time::sleep(wait).await;
        }
    }

    /// One request, and its body to the end.
    async fn attempt(&mut self, writer: &mut Writer, known: &mut Known) -> Result<(), Error> {
        let mut answer = self.open(writer, known).await?;
        self.check_size(known.total.unwrap_or_default())?;
        while let Some(chunk) = answer.body.next().await {
            match chunk {
                Ok(chunk) => writer.push(chunk).await?,
                Err(error) => {
                    writer.flush().await?;
                    return Err(error);
                }
            }
            let received = writer.received();
            self.check_size(received)?;
            (self.on_progress)(Progress { received, total: known.total });
        }
        writer.flush().await?;
        match known.total {
            Some(total) if writer.received() < total => Err(Error::new(
                ErrorKind::Transport,
                format!("the answer ended after {} of {total} bytes", writer.received()),
            )),
            _ => Ok(()),
        }
    }

    /// Asks for what is missing; begins anew where the server has something else.
    async fn open(&mut self, writer: &mut Writer, known: &mut Known) -> Result<Answer, Error> {
        let offset = writer.received();
        if offset > 0 {
            match self.request(offset, known).await {
                Ok(answer) if answer.continues(offset, known) => {
                    known.learn(&answer);
                    known.pieced = true;
                    return Ok(answer);
                }
                Ok(answer) if answer.is_whole() => {
                    writer.clear().await?;
                    *known = Known::of(&answer);
                    return Ok(answer);
                }
                Ok(_) => {}
                Err(error) if error.status() == Some(416) => {}
                Err(error) => return Err(error),
            }
            writer.clear().await?;
        }
        *known = Known::default();
        let answer = self.request(0, known).await?;
        *known = Known::of(&answer);
        Ok(answer)
    }

    async fn request(&mut self, offset: u64, known: &Known) -> Result<Answer, Error> {
        // Exclusive, for the callback in it need not be `Sync`.
        let Self { version, os, arch, .. } = &*self;
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        let if_range = range.as_ref().and(known.etag.as_deref());
        let opened = self
            .control_plane
            .transport
            .open(NAME, Lane::Artifacts, async |api| {
                api.fetch_artifact(version, os, arch, if_range, range.as_deref()).await
            })
            .await?;
        match offset {
            0 => opened.into_bytes().map(|(headers, body)| (StatusCode::OK, headers, body)),
            _ => opened.into_part(),
        }
        .map(|(status, headers, body)| Answer::new(status, &headers, body))
    }

    fn check_size(&self, bytes: u64) -> Result<(), Error> {
        match bytes > self.limit {
            false => Ok(()),
            true => Err(Error::new(
                ErrorKind::ResponseTooLarge,
                format!("the artifact is larger than its limit of {} bytes", self.limit),
            )),
        }
    }
}

/// Shows what is downloaded and how.
impl std::fmt::Debug for ArtifactDownload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArtifactDownload")
            .field("version", &self.version)
            .field("os", &self.os)
            .field("arch", &self.arch)
            .field("checksum", &self.checksum)
            .field("limit", &self.limit)
            .field("attempts", &self.attempts)
            .field("mode", &format_args!("{:#o}", self.mode))
            .finish_non_exhaustive()
    }
}

/// Whether a later call may use what this one has brought.
fn may_go_on(error: &Error) -> bool {
    error.is_retryable() || matches!(error.kind(), ErrorKind::Unauthorized | ErrorKind::Forbidden)
}

/// What the rename would put aside has to be a file: a device or a pipe is there to be written to.
fn may_be_replaced(target: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{InvalidInput, IsADirectory};
    if target.is_dir() {
        return Err(IsADirectory.into());
    }
    match target.symlink_metadata() {
        Ok(at) if !at.is_file() && !at.is_symlink() => {
            Err(std::io::Error::new(InvalidInput, "it is a device, a pipe or a socket, not a file"))
        }
        _ => Ok(()),
    }
}

fn wrong(expected: Checksum, found: Checksum) -> Error {
    Error::new(
        ErrorKind::WrongChecksum,
        format!("the bytes have the SHA-256 {found}, not the expected {expected}"),
    )
}

/// How often and how long to wait between attempts.
struct Patience {
    attempts: u32,
    intervals: (Duration, Duration),
    failures: u32,
    highest: u64,
}

impl Patience {
    fn new(attempts: u32, intervals: (Duration, Duration)) -> Self {
        Self { attempts, intervals, failures: 0, highest: 0 }
    }

    /// How long to wait after this failure, with so many bytes there; the error itself
    /// when it was the last.
    fn after(&mut self, error: Error, received: u64) -> Result<Duration, Error> {
        // Not any byte more: a server that gives one at a time would be asked for ever.
        if received >= self.highest.saturating_add(ADVANCE) {
            self.failures = 0;
        }
        self.highest = self.highest.max(received);
        let (base, max) = self.intervals;
        let delay = backoff::exponential(base, max, self.failures);
        self.failures += 1;
        if self.failures >= self.attempts {
            return Err(error);
        }
        let says_when = matches!(error.status(), Some(429 | 503));
        let said = error.retry_after().filter(|_| says_when).unwrap_or_default();
        let least = backoff::retry_after(said, fastrand::u64(..));
        tracing::debug!(%error, received, "a download goes on after a wait");
        Ok(backoff::jitter(delay, fastrand::u64(..)).max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Answer;

    const SECOND: Duration = Duration::from_secs(1);

    fn busy(status: u16, retry_after: Option<Duration>) -> Error {
        let answer = Answer { status, retry_after, ..Answer::default() };
        Error::new(ErrorKind::Server, "busy").with_answer(answer)
    }

    #[test]
    fn the_waits_double_and_the_last_failure_is_the_error() {
        let mut patience = Patience::new(4, (SECOND, SECOND * 3));
        for least in [0.75, 1.5, 2.25] {
            let wait = patience.after(busy(500, None), 0).unwrap().as_secs_f64();
            assert!(wait >= least && wait <= least / 0.75 * 1.25, "{wait} {least}");
        }
        assert_eq!(patience.after(busy(500, None), 0).unwrap_err().status(), Some(500));
        let mut none = Patience::new(0, (SECOND, SECOND));
        assert!(none.after(busy(500, None), 0).is_err());
    }

    #[test]
    fn a_mebibyte_more_than_ever_starts_the_count_anew() {
        let mut patience = Patience::new(2, (SECOND, SECOND));
        let advance = ADVANCE;
        for received in [0, advance, 2 * advance, 3 * advance] {
            patience.after(busy(500, None), received).unwrap();
        }
        // Begun anew: the same bytes again are no progress.
        assert!(patience.after(busy(500, None), 3 * advance).is_err());
        let mut patience = Patience::new(2, (SECOND, SECOND));
        patience.after(busy(500, None), advance - 1).unwrap();
        assert!(patience.after(busy(500, None), 2 * advance - 2).is_err());
    }

    #[test]
    fn retry_after_is_the_least_on_429_and_503_and_capped() {
        let wait = |status, said| {
            Patience::new(2, (SECOND, SECOND)).after(busy(status, Some(said)), 0).unwrap()
        };
        for status in [429, 503] {
            let wait = wait(status, SECOND * 40);
            assert!(wait >= SECOND * 40 && wait <= SECOND * 50, "{wait:?}");
        }
        assert!(wait(500, SECOND * 40) < SECOND * 2);
        assert!(wait(503, Duration::MAX) <= backoff::MAX_RETRY_AFTER * 5 / 4);
    }
}
