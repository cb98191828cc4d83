//! One address, held by a lock on an open file.

use crate::{Error, ErrorKind, Result};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An address that belongs to this process until the lease is dropped or the process dies.
#[derive(Debug)]
pub struct Lease {
    address: IpAddr,
    path: PathBuf,
    /// Open, hence locked.
    _file: File,
}

impl Lease {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Takes an address that nobody has leased; `None` when it is somebody's.
    pub(super) fn take(directory: &Path, address: IpAddr, owner: &str) -> Result<Option<Lease>> {
        let path = directory.join(address.to_string());
        let failed = |e: io::Error| Error::kernel(format!("lease {address} in {directory:?}"), e);
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
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
        Ok(Some(Lease {
            address,
            path,
            _file: file,
        }))
    }

    /// Like [`Lease::take`], but leaves alone what a dead owner left: it looks only once, and cheaply.
    pub(super) fn take_unused(
        directory: &Path,
        address: IpAddr,
        owner: &str,
    ) -> Result<Option<Lease>> {
        match directory.join(address.to_string()).try_exists() {
            Ok(true) => Ok(None),
            _ => Lease::take(directory, address, owner),
        }
    }

    /// The address's owner in words; what it wrote when it took the lease.
    pub(super) fn owner(directory: &Path, address: IpAddr) -> String {
        let mut owner = String::new();
        let file = File::open(directory.join(address.to_string()));
        let read = file.and_then(|file| file.take(200).read_to_string(&mut owner));
        match read {
            Ok(_) if !owner.trim().is_empty() => owner.trim().to_string(),
            _ => "another owner".to_string(),
        }
    }
}

impl Drop for Lease {
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

/// Makes the directory in which the leases of one subnet live.
pub(super) fn directory(path: &Path) -> Result<()> {
    let made = fs::create_dir_all(path);
    made.map_err(|e| Error::kernel(format!("make the directory of leases {path:?}"), e))
}

/// Removes what dead owners left in a directory of leases, and the directory if nothing remains.
pub(super) fn sweep(directory: &Path) {
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

pub(super) fn taken(directory: &Path, address: IpAddr) -> Error {
    let owner = Lease::owner(directory, address);
    Error::new(
        ErrorKind::Taken,
        format!("the address {address} belongs to {owner}"),
    )
}
