//! Owner locks: a cgroup outlives every process, so a file beside it, locked by its owner, says whether it is wanted.
//!
//! The kernel drops a lock with the last descriptor of its open file, so also when the owner is killed. The lock file is made
//! before the cgroup and removed after it: a lock file whose lock is free names a cgroup that nobody owns.

use crate::{Error, Result};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const SUFFIX: &str = ".lock";
const UNFINISHED: &str = ".new";
const EXCLUSIVE: FlockOperation = FlockOperation::NonBlockingLockExclusive;

/// Each try fails only if another process did something in between.
const TRIES: u32 = 100;

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

/// What became of a lock file that was there.
enum Existing {
    Free(Lock),
    Held,
    Gone,
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
        for _ in 0..TRIES {
            if let Some(lock) = self.make(name)? {
                return Ok(Taken::New(lock));
            }
            match self.take_existing(name)? {
                Existing::Free(lock) => return Ok(Taken::Stale(lock)),
                Existing::Held => return Ok(Taken::Held),
                // Its owner removed it just now.
                Existing::Gone => {}
            }
        }
        Err(self.failed("create", name, Errno::AGAIN))
    }

    /// Takes the lock of a name whose file exists and whose owner is gone.
    pub(crate) fn take_stale(&self, name: &str) -> Result<Option<Lock>> {
        match self.take_existing(name)? {
            Existing::Free(lock) => Ok(Some(lock)),
            Existing::Held | Existing::Gone => Ok(None),
        }
    }

    fn take_existing(&self, name: &str) -> Result<Existing> {
        let file = match self.open_file(&file_name(name), OFlags::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Existing::Gone),
            Err(errno) => return Err(self.failed("open", name, errno)),
        };
        match rustix::fs::flock(&file, EXCLUSIVE) {
            Ok(()) if is_linked(&file).map_err(|e| self.failed("stat", name, e))? => {
                Ok(Existing::Free(Lock(file)))
            }
            Ok(()) => Ok(Existing::Gone),
            Err(Errno::WOULDBLOCK) => Ok(Existing::Held),
            Err(errno) => Err(self.failed("lock", name, errno)),
        }
    }

    /// Makes a lock file that is locked from the moment it can be seen: a sweeper must not find it free. `None` if there is one.
    fn make(&self, name: &str) -> Result<Option<Lock>> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        for _ in 0..TRIES {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let unfinished = format!("{}-{count}{UNFINISHED}", std::process::id());
            let file = match self.open_file(&unfinished, OFlags::CREATE | OFlags::EXCL) {
                Ok(file) => file,
                // Of a process with the same number in another pid namespace.
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(self.failed("create", name, errno)),
            };
            let made = rustix::fs::flock(&file, EXCLUSIVE).and_then(|()| {
                let (from, to) = (unfinished.as_str(), file_name(name));
                rustix::fs::renameat_with(&self.dir, from, &self.dir, to, RenameFlags::NOREPLACE)
            });
            match made {
                Ok(()) => return Ok(Some(Lock(file))),
                // A sweeper took it for a left-over.
                Err(Errno::WOULDBLOCK | Errno::NOENT) => {}
                Err(errno) => {
                    self.unlink(&unfinished)?;
                    return match errno {
                        Errno::EXIST => Ok(None),
                        errno => Err(self.failed("create", name, errno)),
                    };
                }
            }
        }
        Err(self.failed("create", name, Errno::AGAIN))
    }

    /// Removes what makers left that were killed in the middle.
    pub(crate) fn sweep_unfinished(&self) -> Result<()> {
        for file in self.files(UNFINISHED)? {
            let unfinished = format!("{file}{UNFINISHED}");
            if let Ok(fd) = self.open_file(&unfinished, OFlags::empty())
                && rustix::fs::flock(&fd, EXCLUSIVE).is_ok()
            {
                self.unlink(&unfinished)?;
            }
        }
        Ok(())
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
        self.unlink(&file_name(name))
    }

    /// Removes the directory, if it is empty; those above it stay.
    pub(crate) fn remove_dir(&self) -> Result<()> {
        match rustix::fs::rmdir(&self.path) {
            // Another parent's locks may be below.
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY) => Ok(()),
            Err(errno) => Err(Error::kernel("rmdir", &self.path, errno)),
        }
    }

    /// The names that have a lock file.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        self.files(SUFFIX)
    }

    /// The names of the files with that suffix, without it.
    fn files(&self, suffix: &str) -> Result<Vec<String>> {
        let list = || -> rustix::io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.dir)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy();
                names.extend(name.strip_suffix(suffix).map(str::to_owned));
            }
            Ok(names)
        };
        list().map_err(|errno| Error::kernel("list", &self.path, errno))
    }

    fn unlink(&self, file: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.dir, file, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(Error::kernel("unlink", &self.path.join(file), errno)),
        }
    }

    fn open_file(&self, file: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.dir, file, flags, Mode::RUSR | Mode::WUSR)
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
