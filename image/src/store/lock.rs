//! Locks between threads and processes: `flock` on files of the store.

use super::Store;
use crate::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A lock that is held until it is dropped, or its process dies.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

impl Store {
    /// Held while leases are added, so that a collector sees all of them or waits.
    pub(super) fn lock_shared(&self) -> Result<Held> {
        hold(&self.own("lock"), FlockOperation::LockShared)
    }

    /// For the short time in which blobs are there that nothing names yet.
    pub(crate) fn hold_collector(&self) -> Result<Held> {
        self.lock_shared()
    }

    /// Held by the collector.
    pub(super) fn lock_exclusive(&self) -> Result<Held> {
        hold(&self.own("lock"), FlockOperation::LockExclusive)
    }

    /// Held while `index.json` is read, changed and replaced.
    pub(super) fn lock_index(&self) -> Result<Held> {
        hold(&self.own("index.lock"), FlockOperation::LockExclusive)
    }
}

fn hold(path: &Path, operation: FlockOperation) -> Result<Held> {
    let file = open_for_lock(path)?;
    lock(&file, path, operation)?;
    Ok(Held { _file: file })
}

/// Opens a file that serves as a lock and may carry content; makes it where it is missing.
pub(super) fn open_for_lock(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options.open(path).map_err(Error::io("open", path))
}

pub(super) fn lock(file: &File, path: &Path, operation: FlockOperation) -> Result<()> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            result => return result.map_err(Error::io("lock", path)),
        }
    }
}

/// Takes the lock if nobody has it.
pub(super) fn try_lock(file: &File, path: &Path, operation: FlockOperation) -> Result<bool> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Error::io("lock", path)(errno)),
    }
}

/// Opens and locks a file that its holders remove: what was removed while we waited is opened anew.
pub(super) fn lock_named(path: &Path) -> Result<File> {
    loop {
        let file = open_for_lock(path)?;
        lock(&file, path, FlockOperation::LockExclusive)?;
        if is_linked(&file, path)? {
            return Ok(file);
        }
    }
}

/// Whether the file still has its name.
pub(super) fn is_linked(file: &File, path: &Path) -> Result<bool> {
    let metadata = file.metadata().map_err(Error::io("stat", path))?;
    Ok(metadata.nlink() > 0)
}
