//! Mounts made by the host: the first of the two players.

use crate::mount::{Mount, Setting, Source};
use crate::setattr::{Change, mount_setattr};
use crate::{Error, ErrorKind, MountAttributes, Result, kernel};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    fspick, move_mount, open_tree,
};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

impl Mount {
    /// Makes it now: a detached mount, which the kernel takes back with its descriptor.
    ///
    /// # Errors
    /// Whatever the kernel refuses, by the name of what was asked; `EPERM` without `CAP_SYS_ADMIN`.
    pub fn create(&self) -> Result<OwnedFd> {
        Ok(self.create_over()?.0)
    }

    /// Makes it, and hands out the file system in memory that it lies over, if it has one.
    ///
    /// To undo a detached mount by itself costs more than to make it: the kernel waits for all processors. So this one is given to
    /// the child, where it goes in one sweep with the old root.
    pub(crate) fn create_over(&self) -> Result<(OwnedFd, Option<OwnedFd>)> {
        let none = MountAttributes::empty();
        let (mount, set, under) = match &self.source {
            Source::New { kind, config } => {
                let fs = Fs::open(kind)?;
                config.iter().try_for_each(|setting| fs.set(setting))?;
                (fs.create()?.mount(self.set)?, none, None)
            }
            Source::Overlay(overlay) => {
                let (fs, under) = overlay.open()?;
                (fs.mount(self.set)?, none, under)
            }
            Source::Copy { path, recursive } => (copy_path(path, *recursive)?, self.set, None),
            Source::Handed(mount) => {
                let mount = mount.try_clone();
                let mount = mount.map_err(|e| Error::kernel("duplicate a descriptor", e))?;
                (mount, self.set, None)
            }
        };
        Ok((self.finish(mount, set)?, under))
    }

    /// Looks at what it is made of, for one that the child will make: the child's own errors come later and say less.
    pub(crate) fn look(&self) -> Result<()> {
        match &self.source {
            Source::Overlay(overlay) => overlay.look(),
            Source::Copy { path, .. } => match std::fs::symlink_metadata(path) {
                Ok(_) => Ok(()),
                Err(error) => Err(Error::kernel(format!("copy the mount at {path:?}"), error)),
            },
            Source::New { .. } | Source::Handed(_) => Ok(()),
        }
    }

    /// Applies what can be said only of a mount that exists.
    fn finish(&self, mount: OwnedFd, set: MountAttributes) -> Result<OwnedFd> {
        let change = Change {
            set,
            propagation: self.propagation,
            idmap: self.idmap.as_deref().map(AsFd::as_fd),
            ..Change::default()
        };
        if set.is_empty() && self.propagation.is_none() && self.idmap.is_none() {
            return Ok(mount);
        }
        match mount_setattr(mount.as_fd(), self.recursive, change) {
            Ok(()) => Ok(mount),
            Err(error) => {
                let failed = Error::kernel(format!("set attributes of {}", self.title()), error);
                Err(match self.idmap {
                    Some(_) => failed.hint("is its file system one that can be id-mapped?"),
                    None => failed,
                })
            }
        }
    }
}

/// A file system that is being configured.
#[derive(Debug)]
pub(crate) struct Fs {
    fd: OwnedFd,
    kind: &'static str,
}

impl Fs {
    pub(crate) fn open(kind: &'static str) -> Result<Fs> {
        let opened = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC);
        let fd = opened.map_err(|e| {
            let failed = Error::kernel(format!("open the file system {kind}"), e);
            match failed.kind() {
                ErrorKind::Denied => failed.hint("the host needs CAP_SYS_ADMIN to make mounts"),
                ErrorKind::Unsupported => failed.hint(format!("modprobe {kind}")),
                _ => failed,
            }
        })?;
        Ok(Fs { fd, kind })
    }

    fn set(&self, setting: &Setting) -> Result<()> {
        match setting {
            Setting::Flag(key) => self.flag(key),
            Setting::String(key, value) => self.string(key, value),
        }
    }

    pub(crate) fn flag(&self, key: impl AsRef<OsStr>) -> Result<()> {
        let key = key.as_ref();
        fsconfig_set_flag(&self.fd, key).map_err(|e| self.failed(key, e))
    }

    pub(crate) fn string(&self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Result<()> {
        let (key, value) = (key.as_ref(), value.as_ref());
        fsconfig_set_string(&self.fd, key, value).map_err(|e| self.failed(key, e))
    }

    fn failed(&self, key: &OsStr, error: rustix::io::Errno) -> Error {
        let what = format!("set {} of {}", key.display(), self.kind);
        self.explain(Error::kernel(what, error))
    }

    /// The kernel's own words, which it keeps with the file system that is being configured.
    fn explain(&self, error: Error) -> Error {
        let mut words = [0; 512];
        match rustix::io::read(&self.fd, &mut words) {
            Ok(length) => error.hint(
                String::from_utf8_lossy(&words[..length])
                    .trim_end()
                    .to_string(),
            ),
            Err(_) => error,
        }
    }

    pub(crate) fn create(self) -> Result<Fs> {
        match fsconfig_create(&self.fd) {
            Ok(()) => Ok(self),
            Err(error) => {
                let failed = Error::kernel(format!("make the file system {}", self.kind), error);
                Err(self.explain(failed))
            }
        }
    }

    pub(crate) fn mount(self, set: MountAttributes) -> Result<OwnedFd> {
        let set = MountAttrFlags::from_bits_retain(set.bits() as u32);
        fsmount(&self.fd, FsMountFlags::FSMOUNT_CLOEXEC, set)
            .map_err(|e| Error::kernel(format!("mount the file system {}", self.kind), e))
    }
}

fn copy_path(path: &Path, recursive: bool) -> Result<OwnedFd> {
    copy(CWD, path, recursive).map_err(|e| {
        let failed = Error::kernel(format!("copy the mount at {path:?}"), e);
        match e {
            rustix::io::Errno::PERM => failed.hint("the host needs CAP_SYS_ADMIN to make mounts"),
            _ => failed,
        }
    })
}

/// A detached copy of a mount: of an attached one, or of a detached one where the kernel can (6.15).
pub(crate) fn copy(
    dir: BorrowedFd<'_>,
    path: &Path,
    recursive: bool,
) -> Result<OwnedFd, rustix::io::Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::OPEN_TREE_CLONE;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.as_os_str().is_empty());
    open_tree(dir, path, flags)
}

/// Attaches a detached mount to a place below a directory.
pub(crate) fn attach(
    mount: &OwnedFd,
    dir: BorrowedFd<'_>,
    path: &Path,
) -> Result<(), rustix::io::Errno> {
    move_mount(
        mount,
        "",
        dir,
        path,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

/// Makes a file system read-only as a whole, not only this mount of it: a mount's flag goes once somebody who may change mounts
/// clears it, and the file system is shared by all containers.
pub(crate) fn freeze(mount: BorrowedFd<'_>) -> Result<(), rustix::io::Errno> {
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let fs = fspick(mount, "", flags)?;
    fsconfig_set_flag(&fs, "ro")?;
    fsconfig_reconfigure(&fs)
}

/// Opens a directory as a place in the tree.
pub(crate) fn open_directory(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|e| Error::kernel(format!("open the directory {path:?}"), e))
}

/// Works in a mount namespace of its own, on a thread of its own: for kernels that do less with detached mounts.
pub(crate) fn aside<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let own = nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS;
            nix::sched::unshare(own)
                .map_err(|e| Error::kernel("make a mount namespace to work in", e))?;
            let root = File::open("/").map_err(|e| Error::kernel("open /", e))?;
            let private = Change {
                propagation: Some(crate::Propagation::Private),
                ..Change::default()
            };
            mount_setattr(root.as_fd(), true, private)
                .map_err(|e| Error::kernel("make mounts private", e))?;
            work()
        });
        match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Attaches a mount where `aside` works, if this kernel takes nothing from detached ones; returns it if it stays detached.
pub(crate) fn attach_aside(mount: OwnedFd) -> Result<Option<OwnedFd>> {
    if kernel::composes_detached() {
        return Ok(Some(mount));
    }
    attach(&mount, CWD, Path::new("/"))
        .map_err(|e| Error::kernel("attach a file system in memory", e))?;
    Ok(None)
}
