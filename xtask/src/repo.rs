//! The files of a repository: this one, or one that a test makes up.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path from the root with forward slashes, and its text.
#[derive(Clone)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// A repository by its root directory.
pub struct Repo {
    pub root: PathBuf,
}

impl Repo {
    /// The repository that this program was built from.
    pub fn here() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        Self { root: root.unwrap_or(Path::new(".")).to_owned() }
    }

    pub fn read(&self, path: &str) -> Result<String, String> {
        fs::read_to_string(self.root.join(path)).map_err(|e| format!("{path}: {e}"))
    }

    pub fn write(&self, path: &str, text: &str) -> Result<(), String> {
        fs::write(self.root.join(path), text).map_err(|e| format!("{path}: {e}"))
    }

    /// Every Rust file under `directories`, in order; a directory that is missing holds none.
    pub fn rust_files(&self, directories: &[&str]) -> Result<Vec<File>, String> {
        let mut paths = Vec::new();
        for directory in directories {
            collect(&self.root.join(directory), &mut paths)
                .map_err(|e| format!("{directory}: {e}"))?;
        }
        paths.sort();
        paths
            .into_iter()
            .map(|path| {
                let short = path.strip_prefix(&self.root).unwrap_or(&path);
                let short = short.to_string_lossy().replace('\\', "/");
                self.read(&short).map(|text| File { path: short, text })
            })
            .collect()
    }
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let path = entry?.path();
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, found)?;
            }
        }
    } else if path.extension().is_some_and(|e| e == "rs") {
        found.push(path.to_owned());
    }
    Ok(())
}
