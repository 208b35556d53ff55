//! The file that a download grows in. What is here blocks, and runs where that is allowed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::checksum::{Checksum, Hash};
use crate::error::{Error, ErrorKind};

/// How long to wait for another download of the same to let go: one that was dropped
/// may still be writing its last piece.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often to look.
const LOCK_LOOK: Duration = Duration::from_millis(20);
/// After how many bytes those so far are brought to the disk: few enough that not much is left
/// to wait for at the end, and enough that a disk is seldom made to flush.
const SYNC_AFTER: usize = 16 * 1024 * 1024;

/// The bytes so far: a file beside the target, locked, under
/// a name that says whose bytes it holds.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    unsynced: usize,
    syncing: Option<JoinHandle<()>>,
}

impl Part {
    /// Opens the part of `target`, which may hold bytes of an earlier attempt: with their hash.
    pub(super) async fn claim(target: &Path, checksum: Checksum) -> Result<(Self, Hash), Error> {
        let path = path_for(target, checksum)?;
        let deadline = Instant::now() + LOCK_PATIENCE;
        loop {
            let wanted = path.clone();
            match blocking(move || Self::open(&wanted)).await {
                Ok(Some(claimed)) => return Ok(claimed),
                Ok(None) if Instant::now() < deadline => tokio::time::sleep(LOCK_LOOK).await,
                Ok(None) => {
                    let text = format!("{} is in use by another download", path.display());
                    return Err(Error::new(ErrorKind::File, text));
                }
                Err(error) => return Err(failed("open", &path, error)),
            }
        }
    }

    /// `None` while somebody else has it.
    fn open(path: &Path) -> io::Result<Option<(Self, Hash)>> {
        // What a link leads to is not ours to write.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(io::Error::other("it is there, and is no file"));
        }
        let file = options().open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Better without a lock than not at all.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Its last owner may have renamed or removed it between the two.
        if !is_at(&file, path)? {
            return Ok(None);
        }
        let mut part = Self::new(path, file);
        let hash = part.read_back()?;
        Ok(Some((part, hash)))
    }

    fn new(path: &Path, file: File) -> Self {
        Self { path: path.to_owned(), file, length: 0, unsynced: 0, syncing: None }
    }

    fn read_back(&mut self) -> io::Result<Hash> {
        let (mut hash, mut buffer) = (Hash::new(), vec![0; 256 * 1024]);
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(hash),
                Ok(count) => {
                    hash.update(&buffer[..count]);
                    self.length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, pieces: &[Bytes]) -> io::Result<()> {
        for piece in pieces {
            self.file.write_all(piece)?;
            self.length += piece.len() as u64;
            self.unsynced += piece.len();
        }
        if self.unsynced >= SYNC_AFTER {
            self.sync_meanwhile();
        }
        Ok(())
    }

    /// Has the disk at work while the next bytes come in, instead of at the end alone.
    fn sync_meanwhile(&mut self) {
        if self.syncing.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.unsynced = 0;
        let path = self.path.clone();
        self.syncing = Some(tokio::task::spawn_blocking(move || {
            // Opened anew, for it may outlive the part, and must not hold its lock. If it fails,
            // so does the sync at the end, which is the one that counts.
            let _ = File::open(path).and_then(|file| file.sync_data());
        }));
    }

    /// Begins anew.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        io::Seek::rewind(&mut self.file)?;
        self.file.set_len(0)?;
        self.length = 0;
        Ok(())
    }

    /// Sets the permissions and brings the bytes to the disk.
    pub(super) fn seal(&self, mode: u32) -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            self.file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        #[cfg(not(unix))]
        let _ = mode;
        self.file.sync_all()
    }
}

/// Runs what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Brings a rename to the disk, where the system can.
pub(super) fn sync_folder_of(target: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder_of(target))?.sync_all(),
        false => Ok(()),
    }
}

pub(super) fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::File, format!("cannot {what} {}", path.display())).with_source(error)
}

fn path_for(target: &Path, checksum: Checksum) -> Result<PathBuf, Error> {
    let Some(name) = target.file_name() else {
        let text = format!("the target {:?} has no file name", target.display().to_string());
        return Err(Error::new(ErrorKind::InvalidRequest, text));
    };
    let mut part = std::ffi::OsString::from(".");
    part.push(name);
    part.push(format!(".{}.part", &checksum.to_string()[..16]));
    Ok(folder_of(target).join(part))
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Whether the open file is still the one of that name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECKSUM: Checksum = Checksum([7; 32]);

    #[test]
    fn the_part_lies_beside_its_target_and_is_named_by_its_bytes() {
        let name = ".plexd.0707070707070707.part";
        assert_eq!(path_for(Path::new("/a/plexd"), CHECKSUM).unwrap(), Path::new("/a").join(name));
        assert_eq!(path_for(Path::new("plexd"), CHECKSUM).unwrap(), Path::new(".").join(name));
        for bad in ["", "/", "a/.."] {
            let error = path_for(Path::new(bad), CHECKSUM).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
    }

    #[test]
    fn what_was_written_is_read_back_and_hashed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let (mut first, _) = Part::open(&path).unwrap().unwrap();
        first.append(&[Bytes::from_static(b"left"), Bytes::from_static(b"over")]).unwrap();
        assert!(Part::open(&path).unwrap().is_none(), "locked");
        let length = first.length();
        drop(first);
        let (mut second, hash) = Part::open(&path).unwrap().unwrap();
        assert_eq!((second.length(), length), (8, 8));
        let mut expected = Hash::new();
        expected.update(b"leftover");
        assert!(hash.checksum() == expected.checksum());
        second.clear().unwrap();
        second.append(&[Bytes::from_static(b"new")]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_its_place_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let (victim, path) = (folder.path().join("victim"), folder.path().join("part"));
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(Part::open(&path).is_err());
        assert!(!victim.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_part_that_was_renamed_meanwhile_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("part"), folder.path().join("target"));
        let file = options().open(&path).unwrap();
        assert!(is_at(&file, &path).unwrap());
        fs::rename(&path, &target).unwrap();
        assert!(!is_at(&file, &path).unwrap());
        fs::write(&path, "of somebody else").unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_says_so() {
        let path = Path::new("/dev/full");
        let file = File::options().write(true).open(path).unwrap();
        let mut part = Part::new(path, file);
        let error = part.append(&[Bytes::from_static(b"x")]).unwrap_err();
        let text = failed("write", part.path(), error).to_string();
        assert!(text.starts_with("cannot write /dev/full: No space left on device"), "{text}");
        assert_eq!(part.length(), 0);
    }
}
