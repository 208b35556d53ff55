//! Where to resume, and what was handled already.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::NonceSnapshot;
use crate::error::BoxError;
use crate::values::decode;

/// How many handled event ids are remembered: 4,096.
pub const DEFAULT_HANDLED_WINDOW: usize = 4096;

/// How many bytes their ids may have in all: 1 MiB, however long a server makes them.
const HANDLED_BYTES: usize = 1024 * 1024;

/// The longest id that is sent back: servers refuse longer header lines.
const MAX_ID_BYTES: usize = 4096;

/// What has to survive a restart for the stream to go on where it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The node whose stream it is. One of another node is not used.
    pub node_id: String,
    /// The id of the last event that was settled; it goes out as `Last-Event-ID`.
    #[serde(default)]
    pub last_event_id: Option<String>,
    /// The ids of the events handled last, the oldest first.
    #[serde(default)]
    pub handled: Vec<String>,
    /// The verifier's nonces.
    #[serde(default)]
    pub nonces: NonceSnapshot,
}

/// Keeps a [`Checkpoint`] over restarts.
///
/// Both methods may block: the manager calls them on a thread of tokio's pool for blocking
/// work, one call at a time. Without a store the checkpoint lives in memory and survives
/// reconnects only.
pub trait CursorStore: Send + Sync + 'static {
    /// The checkpoint saved last; `None` when there is none yet.
    ///
    /// # Errors
    /// When there may be one and it cannot be read. The manager logs it, names it in
    /// `Status::last_error`, and begins from now; the state makes up for what it missed.
    fn load(&self) -> Result<Option<Checkpoint>, BoxError>;

    /// Saves a checkpoint in place of the one before, so that a crash at any moment
    /// leaves the one or the other.
    ///
    /// # Errors
    /// When it cannot be saved; the manager logs it and tries again.
    fn save(&self, checkpoint: &Checkpoint) -> Result<(), BoxError>;
}

/// A [`CursorStore`] in one file of JSON.
///
/// It is written beside the file, flushed to the disk and then renamed, so a kill or
/// a power cut at any moment leaves a whole checkpoint, the new one or the old.
///
/// ```no_run
/// use plexsphere_client::events::FileCursorStore;
///
/// let store = FileCursorStore::new("/var/lib/plexd/cursor.json");
/// ```
#[derive(Clone, Debug)]
pub struct FileCursorStore {
    path: PathBuf,
}

impl FileCursorStore {
    /// Keeps the checkpoint in the file `path`; its folder must exist. One file belongs
    /// to one manager of one node at one control plane: delete it when the node moves to
    /// another control plane, whose events may have ids that this one handled.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn named(&self, error: impl std::fmt::Display) -> BoxError {
        format!("{}: {error}", self.path.display()).into()
    }

    fn write(&self, text: &[u8]) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let beside = self.path.with_file_name(name);
        let mut file = private_file(&beside)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        sync_folder(&self.path)
    }
}

impl CursorStore for FileCursorStore {
    fn load(&self) -> Result<Option<Checkpoint>, BoxError> {
        match fs::read(&self.path) {
            // Given the wrong file, it must not quote what may stand there.
            Ok(text) => Ok(Some(decode(&text).map_err(|e| self.named(e))?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.named(e)),
        }
    }

    fn save(&self, checkpoint: &Checkpoint) -> Result<(), BoxError> {
        self.write(&serde_json::to_vec(checkpoint)?).map_err(|e| self.named(e))
    }
}

/// A file that only its owner reads: event ids tell what happens in a mesh.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The rename itself has to reach the disk too.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The position in the stream, and the window of handled ids.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    last_event_id: Option<Arc<str>>,
    handled: VecDeque<Arc<str>>,
    known: HashSet<Arc<str>>,
    /// Of all handled ids together.
    bytes: usize,
    /// Counts the changes, so that a saved state can be told from a newer one.
    version: u64,
}

impl Cursor {
    pub(crate) fn restore(checkpoint: &Checkpoint) -> Self {
        let mut cursor = Self::default();
        for event_id in &checkpoint.handled {
            cursor.note_handled(event_id);
        }
        cursor.move_to(checkpoint.last_event_id.as_deref());
        cursor
    }

    pub(crate) fn last_event_id(&self) -> Option<&Arc<str>> {
        self.last_event_id.as_ref()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn was_handled(&self, event_id: &str) -> bool {
        self.known.contains(event_id)
    }

    pub(crate) fn note_handled(&mut self, event_id: &str) {
        let event_id: Arc<str> = event_id.into();
        if !self.known.insert(Arc::clone(&event_id)) {
            return;
        }
        self.bytes += event_id.len();
        self.handled.push_back(event_id);
        while (self.handled.len() > DEFAULT_HANDLED_WINDOW || self.bytes > HANDLED_BYTES)
            && let Some(oldest) = self.handled.pop_front()
        {
            self.bytes -= oldest.len();
            self.known.remove(&oldest);
        }
        self.version += 1;
    }

    /// Moves to the id that stood in the block of a settled event; an empty one
    /// resets the position, and `None` (the block had no id) leaves it. An id that
    /// could not be sent in a header, or is too long for one, is left out, and `false` says so.
    pub(crate) fn move_to(&mut self, id: Option<&str>) -> bool {
        let Some(id) = id else { return true };
        if id.len() > MAX_ID_BYTES || id.chars().any(char::is_control) {
            return false;
        }
        self.last_event_id = (!id.is_empty()).then(|| id.into());
        self.version += 1;
        true
    }

    /// Forgets the position (the server refused it), not what was handled.
    pub(crate) fn reset(&mut self) {
        self.last_event_id = None;
        self.version += 1;
    }

    /// All of it but the nonces, which are the verifier's.
    pub(crate) fn checkpoint(&self, node_id: &str) -> Checkpoint {
        Checkpoint {
            node_id: node_id.to_owned(),
            last_event_id: self.last_event_id.as_deref().map(str::to_owned),
            handled: self.handled.iter().map(|id| id.to_string()).collect(),
            nonces: NonceSnapshot::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_checkpoint_survives_the_file_and_the_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileCursorStore::new(folder.path().join("cursor.json"));
        assert_eq!(store.load().unwrap(), None);
        let mut cursor = Cursor::default();
        cursor.note_handled("e-1");
        assert!(cursor.move_to(Some("17")));
        let saved = cursor.checkpoint("n-1");
        store.save(&saved).unwrap();
        let loaded = store.load().unwrap().unwrap();
        assert_eq!(loaded, saved);
        let restored = Cursor::restore(&loaded);
        assert_eq!(restored.last_event_id().map(|id| &**id), Some("17"));
        assert!(restored.was_handled("e-1") && !restored.was_handled("e-2"));
    }

    #[test]
    fn a_write_that_was_cut_off_leaves_the_old_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        let store = FileCursorStore::new(&path);
        store.save(&Checkpoint { node_id: "n-1".into(), ..Checkpoint::default() }).unwrap();
        fs::write(folder.path().join("cursor.json.new"), b"{\"node_id\":\"n-").unwrap();
        assert_eq!(store.load().unwrap().unwrap().node_id, "n-1");
        store.save(&Checkpoint { node_id: "n-2".into(), ..Checkpoint::default() }).unwrap();
        assert_eq!(store.load().unwrap().unwrap().node_id, "n-2");
    }

    #[test]
    fn a_damaged_file_is_an_error_not_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        fs::write(&path, b"{").unwrap();
        for bad in [path.as_path(), folder.path()] {
            let error = FileCursorStore::new(bad).load().unwrap_err().to_string();
            assert!(error.starts_with(&bad.display().to_string()), "it names the file: {error}");
        }
        let lost = folder.path().join("no such folder").join("cursor.json");
        let error = FileCursorStore::new(&lost).save(&Checkpoint::default()).unwrap_err();
        assert!(error.to_string().starts_with(&lost.display().to_string()), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor.json");
        FileCursorStore::new(&path).save(&Checkpoint::default()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_window_is_bounded_and_forgets_the_oldest() {
        let mut cursor = Cursor::default();
        for n in 0..=DEFAULT_HANDLED_WINDOW {
            cursor.note_handled(&n.to_string());
            cursor.note_handled(&n.to_string());
        }
        assert!(!cursor.was_handled("0") && cursor.was_handled("1"));
        assert_eq!(cursor.handled.len(), DEFAULT_HANDLED_WINDOW);
        assert_eq!(cursor.known.len(), DEFAULT_HANDLED_WINDOW);
    }

    #[test]
    fn each_change_counts_and_nothing_else_does() {
        let mut cursor = Cursor::default();
        let mut changes = |change: &dyn Fn(&mut Cursor)| {
            let before = cursor.version();
            change(&mut cursor);
            cursor.version().checked_sub(before)
        };
        assert_eq!(changes(&|cursor| cursor.note_handled("e-1")), Some(1));
        assert_eq!(changes(&|cursor| cursor.note_handled("e-1")), Some(0));
        assert_eq!(changes(&|cursor| assert!(cursor.move_to(Some("17")))), Some(1));
        assert_eq!(changes(&|cursor| assert!(cursor.move_to(None))), Some(0));
        assert_eq!(changes(&Cursor::reset), Some(1));
        assert_eq!(cursor.last_event_id(), None);
        assert!(cursor.was_handled("e-1"), "only the position is forgotten");
    }

    #[cfg(unix)]
    #[test]
    fn the_folder_is_flushed_where_the_file_is() {
        sync_folder(Path::new("a bare name: in the working folder")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        sync_folder(&folder.path().join("cursor.json")).unwrap();
        sync_folder(&folder.path().join("none").join("cursor.json")).unwrap_err();
    }

    #[test]
    fn ids_that_fill_the_window_s_bytes_exactly_stay() {
        let mut cursor = Cursor::default();
        assert_eq!(HANDLED_BYTES, 1_048_576);
        for name in ["a", "b"] {
            cursor.note_handled(&name.repeat(HANDLED_BYTES / 2));
        }
        assert_eq!(cursor.handled.len(), 2);
        cursor.note_handled("c");
        assert_eq!(cursor.handled.len(), 2);
    }

    #[test]
    fn the_window_is_bounded_in_bytes_too() {
        let mut cursor = Cursor::default();
        for n in 0..10 {
            cursor.note_handled(&format!("{n}{}", "x".repeat(HANDLED_BYTES / 4)));
        }
        assert_eq!(cursor.handled.len(), 3);
        assert!(cursor.handled.iter().map(|id| id.len()).sum::<usize>() == cursor.bytes);
    }

    #[test]
    fn ids_that_no_header_takes_do_not_block_the_next_connect() {
        let mut cursor = Cursor::default();
        assert!(cursor.move_to(Some("17")));
        for bad in ["a\u{0}", "a\r", "a\u{7f}", &"a".repeat(MAX_ID_BYTES + 1)] {
            assert!(!cursor.move_to(Some(bad)));
        }
        assert!(cursor.move_to(None));
        assert_eq!(cursor.last_event_id().map(|id| &**id), Some("17"));
        let longest = "a".repeat(4096);
        assert!(cursor.move_to(Some(&longest)));
        assert_eq!(cursor.last_event_id().map(|id| &**id), Some(&*longest));
        assert!(cursor.move_to(Some("")));
        assert_eq!(cursor.last_event_id(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// An id by its number, or so many new ones.
        Handled(usize),
        Many(usize),
        Large(usize, usize),
        Moved(Option<String>),
        Reset,
        Restart,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let id = prop_oneof!["[a-z]{0,3}", "\\PC{1,4}", "[\u{0}-\u{1f}\u{7f}-\u{9f}]"];
        prop_oneof![
            8 => (0..40_usize).prop_map(Step::Handled),
            1 => (0..3_000_usize).prop_map(Step::Many),
            1 => (0..9_usize, 0..HANDLED_BYTES).prop_map(|(id, size)| Step::Large(id, size)),
            4 => proptest::option::of(id).prop_map(Step::Moved),
            1 => Just(Step::Moved(Some("i".repeat(MAX_ID_BYTES + 1)))),
            1 => Just(Step::Reset),
            1 => Just(Step::Restart),
        ]
    }

    /// The window as it is described: a list from which the oldest go.
    fn handle(window: &mut Vec<String>, new: Vec<String>) {
        window.extend(new);
        let mut bytes: usize = window.iter().map(String::len).sum();
        while window.len() > DEFAULT_HANDLED_WINDOW || bytes > HANDLED_BYTES {
            bytes -= window.remove(0).len();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn issue5_the_cursor_is_a_position_and_a_list(
            steps in proptest::collection::vec(any_step(), 0..60),
        ) {
            let (mut cursor, mut window, mut position) = (Cursor::default(), Vec::new(), None);
            let mut fresh = 1_000;
            for step in steps {
                let before = cursor.version();
                let mut changed = false;
                match step {
                    Step::Many(count) => {
                        let new: Vec<_> = (fresh..fresh + count).map(|n| n.to_string()).collect();
                        fresh += count;
                        new.iter().for_each(|id| cursor.note_handled(id));
                        handle(&mut window, new);
                        changed = count > 0;
                    }
                    Step::Handled(id) => {
                        let id = id.to_string();
                        cursor.note_handled(&id);
                        changed = !window.contains(&id);
                        if changed {
                            handle(&mut window, vec![id]);
                        }
                    }
                    Step::Large(id, size) => {
                        let id = format!("{id}{}", "x".repeat(size));
                        cursor.note_handled(&id);
                        changed = !window.contains(&id);
                        if changed {
                            handle(&mut window, vec![id]);
                        }
                    }
                    Step::Moved(id) => {
                        let fits = id.as_ref().is_none_or(|id| {
                            id.len() <= MAX_ID_BYTES && !id.chars().any(char::is_control)
                        });
                        prop_assert_eq!(cursor.move_to(id.as_deref()), fits);
                        changed = fits && id.is_some();
                        if changed {
                            position = id.filter(|id| !id.is_empty());
                        }
                    }
                    Step::Reset => {
                        cursor.reset();
                        (position, changed) = (None, true);
                    }
                    Step::Restart => {
                        cursor = Cursor::restore(&cursor.checkpoint("n"));
                        prop_assert_eq!(&cursor.checkpoint("n").handled, &window);
                    }
                }
                prop_assert!(!changed || cursor.version() > before, "a change that is not saved");
                prop_assert_eq!(cursor.last_event_id().map(|id| &**id), position.as_deref());
                prop_assert_eq!(&cursor.checkpoint("n").handled, &window);
                prop_assert_eq!(cursor.known.len(), window.len());
                prop_assert!(window.iter().all(|id| cursor.was_handled(id)));
            }
        }
    }
}
