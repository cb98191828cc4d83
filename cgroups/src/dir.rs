//! A cgroup directory as a file descriptor: every operation is one or two system calls, none walks a path.

use crate::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// An open directory; the path is for messages only.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl Dir {
    pub(crate) fn open(path: &Path) -> Result<Dir> {
        let fd = rustix::fs::open(path, DIRECTORY, Mode::empty())
            .map_err(|errno| Error::kernel("open", path, errno))?;
        Ok(Dir {
            fd,
            path: path.to_owned(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a child directory; `false` if there was one.
    pub(crate) fn make(&self, name: &str) -> Result<bool> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(Error::kernel("mkdir", &self.path.join(name), errno)),
        }
    }

    /// Opens a child directory.
    pub(crate) fn child(&self, name: &str) -> Result<Dir> {
        self.find(name)?
            .ok_or_else(|| Error::kernel("open", &self.path.join(name), Errno::NOENT))
    }

    /// Opens a child directory, if there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Dir>> {
        let path = self.path.join(name);
        match rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Dir { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::kernel("open", &path, errno)),
        }
    }

    /// The names of the child directories.
    pub(crate) fn children(&self) -> Result<Vec<String>> {
        self.list(|kind| kind.is_dir())
    }

    /// The name of a child directory, if there is any.
    pub(crate) fn first_child(&self) -> Result<Option<String>> {
        Ok(self.children()?.pop())
    }

    /// The same directory, opened once more.
    pub(crate) fn again(&self) -> Result<Dir> {
        self.open_at(".", self.path.clone())
    }

    /// The directory above.
    pub(crate) fn up(&self) -> Result<Dir> {
        self.open_at("..", self.path.parent().unwrap_or(&self.path).to_owned())
    }

    fn open_at(&self, name: &str, path: PathBuf) -> Result<Dir> {
        match rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Dir { fd, path }),
            Err(errno) => Err(Error::kernel("open", &path, errno)),
        }
    }

    pub(crate) fn failed_rmdir(&self, name: &str, errno: Errno) -> Error {
        Error::kernel("rmdir", &self.path.join(name), errno)
    }

    /// The names of the files.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        self.list(|kind| kind.is_file())
    }

    fn list(&self, wanted: fn(FileType) -> bool) -> Result<Vec<String>> {
        let list = || -> rustix::io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in rustix::fs::Dir::read_from(&self.fd)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy();
                if wanted(entry.file_type()) && name != "." && name != ".." {
                    names.push(name.into_owned());
                }
            }
            Ok(names)
        };
        list().map_err(|errno| Error::kernel("list", &self.path, errno))
    }

    /// Removes an empty child directory, with the bare errno: EBUSY and ENOENT mean something to the caller.
    pub(crate) fn remove(&self, name: &str) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
    }

    /// Opens a file of the cgroup, with the bare errno.
    pub(crate) fn file(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(&self.fd, name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// Writes a value in one write(2), as the kernel's parsers want it.
    pub(crate) fn write(&self, name: &str, value: &str) -> Result<()> {
        self.try_write(name, value)
            .map_err(|errno| self.failed_write(name, value, errno))
    }

    /// [`write`](Self::write) with the bare errno.
    pub(crate) fn try_write(&self, name: &str, value: &str) -> rustix::io::Result<()> {
        let file = self.file(name, OFlags::WRONLY)?;
        // Lowering a memory limit reclaims, and a signal interrupts that.
        rustix::io::retry_on_intr(|| rustix::io::write(&file, value.as_bytes())).map(drop)
    }

    pub(crate) fn failed_write(&self, name: &str, value: &str, errno: Errno) -> Error {
        Error::kernel(format!("write {value:?} to"), &self.path.join(name), errno)
    }

    /// Reads a whole file.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        self.read_if_any(name)?
            .ok_or_else(|| Error::kernel("read", &self.path.join(name), Errno::NOENT))
    }

    /// Reads a whole file; `None` where this kernel has no such file, or not for this cgroup.
    pub(crate) fn read_if_any(&self, name: &str) -> Result<Option<String>> {
        let failed = |error: std::io::Error| Error::kernel("read", &self.path.join(name), error);
        let fd = match self.file(name, OFlags::RDONLY) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno.into())),
        };
        // Straight into a buffer that nearly all of them fit: the standard library asks for the size first, which is 0 here.
        let mut text = Vec::with_capacity(4096);
        match File::from(fd).take(u64::MAX).read_to_end(&mut text) {
            Ok(_) => String::from_utf8(text)
                .map(Some)
                .map_err(|_| failed(std::io::ErrorKind::InvalidData.into())),
            // PSI that the kernel was booted without.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
