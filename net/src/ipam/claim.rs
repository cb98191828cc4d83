//! Something that only one owner on the machine can have, held by a lock on an open file.

use crate::{Error, Result};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A claim to a name in a directory; it ends when it is dropped, or when its process dies of anything.
///
/// The file says who has it. An unlocked file is what a dead owner left, and means nothing.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    /// Open, hence locked.
    _file: File,
}

impl Claim {
    /// Takes what nobody has; `None` when somebody has it.
    pub(crate) fn take(directory: &Path, name: &str, owner: &str) -> Result<Option<Claim>> {
        let path = directory.join(name);
        let failed = |e: io::Error| Error::kernel(format!("claim {name} in {directory:?}"), e);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // A former owner may have removed the file between our open and our lock; then we hold a lock on nothing.
        if !is_still_at(&file, &path) {
            return Ok(None);
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{owner}").map_err(failed)?;
        Ok(Some(Claim { path, _file: file }))
    }

    /// Like [`Claim::take`], but leaves alone what a dead owner left: it looks only once, and cheaply.
    pub(crate) fn take_unused(directory: &Path, name: &str, owner: &str) -> Result<Option<Claim>> {
        match directory.join(name).try_exists() {
            Ok(true) => Ok(None),
            _ => Claim::take(directory, name, owner),
        }
    }

    /// What its owner wrote, if anybody has it.
    pub(crate) fn read(directory: &Path, name: &str) -> Option<String> {
        let mut file = File::open(directory.join(name)).ok()?;
        if file.try_lock_shared().is_ok() {
            return None;
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        Some(text.trim_end().to_string())
    }

    /// What the owners of all claims in a directory wrote.
    pub(crate) fn all(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let texts =
            entries.map(|entry| Claim::read(directory, &entry.file_name().to_string_lossy()));
        texts.flatten().collect()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // While the lock is still held, so that the file cannot be another owner's. If it can't be removed, an unlocked
        // file stays, which is as good as none.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_still_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(ours), Ok(there)) => ours.ino() == there.ino() && ours.dev() == there.dev(),
        _ => false,
    }
}

/// Makes a directory of claims.
pub(crate) fn open_directory(path: &Path) -> Result<()> {
    let made = fs::create_dir_all(path);
    made.map_err(|e| Error::kernel(format!("make the directory of claims {path:?}"), e))
}

/// Removes what dead owners left in a directory of claims, and the directory if nothing remains.
pub(crate) fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if file.try_lock().is_ok() && is_still_at(&file, &path) {
            let _ = fs::remove_file(&path);
        }
    }
    let _ = fs::remove_dir(directory);
}
