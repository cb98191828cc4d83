//! Owner locks: a cgroup outlives every process, so a file beside it, locked by its owner, says whether it is wanted.
//!
//! The kernel drops a lock with the last descriptor of its open file, so also when the owner is killed. The lock file is made
//! before the cgroup and removed after it: a lock file whose lock is free names a cgroup that nobody owns.

use crate::{Error, Result};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SUFFIX: &str = ".lock";

/// The directory with the lock files of one parent.
#[derive(Debug)]
pub(crate) struct Locks {
    dir: OwnedFd,
    path: PathBuf,
}

/// What taking a lock found.
#[derive(Debug)]
pub(crate) enum Taken {
    /// There was no such lock file: the name is new.
    New(Lock),
    /// The file was there and its owner gone: the cgroup may be there, too.
    Stale(Lock),
    /// Somebody holds it.
    Held,
}

/// A held lock; it ends with the descriptor.
#[derive(Debug)]
pub(crate) struct Lock(pub(crate) OwnedFd);

impl Locks {
    /// Opens the directory and makes it where it is missing, for this user alone.
    pub(crate) fn open(path: PathBuf) -> Result<Locks> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| Error::kernel("mkdir", &path, error))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| Error::kernel("open", &path, errno))?;
        Ok(Locks { dir, path })
    }

    /// Takes the lock of a name, making the file where it is missing.
    pub(crate) fn take(&self, name: &str) -> Result<Taken> {
        // Another process that sweeps may hold a lock file for a moment before its maker does: 100 tries, 10 ms.
        for _ in 0..100 {
            let (file, new) = self.open_or_make(name)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if !is_linked(&file).map_err(|e| self.failed("stat", name, e))? => continue,
                Ok(()) if new => return Ok(Taken::New(Lock(file))),
                Ok(()) => return Ok(Taken::Stale(Lock(file))),
                Err(Errno::WOULDBLOCK) if !new => return Ok(Taken::Held),
                Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_micros(100)),
                Err(errno) => return Err(self.failed("lock", name, errno)),
            }
        }
        Ok(Taken::Held)
    }

    /// Takes the lock of a name whose file exists and whose owner is gone.
    pub(crate) fn take_stale(&self, name: &str) -> Result<Option<Lock>> {
        let file = match self.open_file(name, OFlags::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.failed("open", name, errno)),
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let linked = is_linked(&file).map_err(|e| self.failed("stat", name, e))?;
                Ok(linked.then_some(Lock(file)))
            }
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(self.failed("lock", name, errno)),
        }
    }

    /// Whether this descriptor is of the name's lock file: one that was handed over may be anything.
    pub(crate) fn is_lock(&self, fd: &impl AsFd, name: &str) -> Result<bool> {
        let failed = |errno| self.failed("stat", name, errno);
        let given = rustix::fs::fstat(fd).map_err(failed)?;
        match rustix::fs::statat(&self.dir, file_name(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(file) => Ok((file.st_dev, file.st_ino) == (given.st_dev, given.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Removes the lock file, by its holder, once the cgroup is gone.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.dir, file_name(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.failed("unlink", name, errno)),
        }
    }

    /// The names that have a lock file.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        let list = || -> rustix::io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.dir)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy();
                names.extend(name.strip_suffix(SUFFIX).map(str::to_owned));
            }
            Ok(names)
        };
        list().map_err(|errno| Error::kernel("list", &self.path, errno))
    }

    fn open_or_make(&self, name: &str) -> Result<(OwnedFd, bool)> {
        // Between the two a sweep may remove the file: then the next round makes it.
        for _ in 0..100 {
            match self.open_file(name, OFlags::CREATE | OFlags::EXCL) {
                Ok(file) => return Ok((file, true)),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(self.failed("create", name, errno)),
            }
            match self.open_file(name, OFlags::empty()) {
                Ok(file) => return Ok((file, false)),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.failed("open", name, errno)),
            }
        }
        Err(self.failed("create", name, Errno::AGAIN))
    }

    fn open_file(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, file_name(name), flags, Mode::RUSR | Mode::WUSR)
    }

    fn failed(&self, action: &str, name: &str, errno: Errno) -> Error {
        Error::kernel(action, &self.path.join(file_name(name)), errno)
    }
}

/// Where a user's lock files go: a place that a reboot empties, as it empties the cgroup file system.
pub(crate) fn default_dir() -> Result<PathBuf> {
    let uid = rustix::process::geteuid();
    if uid.is_root() {
        return Ok("/run/ampoule/cgroups".into());
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime
        .filter(|dir| dir.is_absolute())
        .unwrap_or_else(|| Path::new("/run/user").join(uid.to_string()));
    match runtime.is_dir() {
        true => Ok(runtime.join("ampoule/cgroups")),
        false => Err(Error::Unsupported {
            what: format!("an owner lock below {runtime:?}"),
            reason: "there is no such directory: set XDG_RUNTIME_DIR, or name another by `Options::locks`".into(),
        }),
    }
}

fn file_name(name: &str) -> String {
    format!("{name}{SUFFIX}")
}

fn is_linked(file: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::fstat(file)?.st_nlink > 0)
}
