//! Owners, modes, times and extended attributes, in the only order in which each keeps the others.

use super::tree::failed;
use super::whiteout::is_overlay_xattr;
use super::{LeftOut, Ownership};
use crate::tar::{Entry, Time};
use crate::{Error, Result};
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What an inode carries besides its content.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// None where it stays the caller's.
    pub owner: Option<(u32, u32)>,
    pub mode: u32,
    pub mtime: Time,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Writes metadata, and keeps in mind what could not be written.
#[derive(Debug)]
pub(super) struct Writer {
    ownership: Ownership,
    /// Who owns what this thread creates: a chown to the same is not needed.
    own_ids: (u32, u32),
    pub(super) left_out: Vec<LeftOut>,
}

/// An inode as the calls for metadata want it.
pub(super) enum Inode<'a> {
    /// Open for reading or writing.
    Open(&'a OwnedFd),
    /// A name, not followed where it is a symbolic link.
    Named(&'a OwnedFd, &'a [u8]),
}

impl Metadata {
    pub(super) fn of(entry: &Entry, ownership: &Ownership) -> Result<Self> {
        let owner = ownership.map(entry.uid, entry.gid);
        let owner = owner.map_err(|reason| Error::layer(OsStr::from_bytes(&entry.name), reason))?;
        Ok(Self {
            owner,
            mode: entry.mode,
            mtime: entry.mtime,
            xattrs: entry.xattrs.clone(),
        })
    }

    pub(super) fn timestamps(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.mtime.seconds,
            tv_nsec: self.mtime.nanoseconds.into(),
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }

    /// The bits with which it may be created before it has its owner.
    pub(super) fn create_mode(&self) -> Mode {
        Mode::from_raw_mode(self.mode & 0o777)
    }
}

impl Writer {
    pub(super) fn new(ownership: Ownership) -> Self {
        let own_ids = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        Self {
            ownership,
            own_ids,
            left_out: Vec::new(),
        }
    }

    pub(super) fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// For what was created with [`Metadata::create_mode`] under umask 0. Owner first, since it takes set-uid bits and
    /// capabilities away; times last, since nothing after them may change the inode.
    pub(super) fn write(
        &mut self,
        inode: &Inode<'_>,
        path: &[u8],
        metadata: &Metadata,
    ) -> Result<()> {
        if let Some(owner) = metadata.owner.filter(|owner| *owner != self.own_ids) {
            change_owner(inode, owner).map_err(failed("change owner of", path))?;
        }
        if metadata.mode & 0o7000 != 0 {
            self.change_mode(inode, path, metadata)?;
        }
        self.write_rest(inode, path, metadata)
    }

    /// For directories, which were created for the caller alone.
    pub(super) fn write_all(
        &mut self,
        inode: &Inode<'_>,
        path: &[u8],
        metadata: &Metadata,
    ) -> Result<()> {
        if let Some(owner) = metadata.owner {
            change_owner(inode, owner).map_err(failed("change owner of", path))?;
        }
        self.change_mode(inode, path, metadata)?;
        self.write_rest(inode, path, metadata)
    }

    fn write_rest(&mut self, inode: &Inode<'_>, path: &[u8], metadata: &Metadata) -> Result<()> {
        for (name, value) in &metadata.xattrs {
            self.set_xattr(inode, path, name, value)?;
        }
        let times = metadata.timestamps();
        let written = match inode {
            Inode::Open(file) => rustix::fs::futimens(file, &times),
            Inode::Named(parent, name) => {
                rustix::fs::utimensat(parent, *name, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
        };
        written.map_err(failed("set times of", path))
    }

    fn change_mode(&mut self, inode: &Inode<'_>, path: &[u8], metadata: &Metadata) -> Result<()> {
        let mode = Mode::from_raw_mode(metadata.mode);
        let changed = match inode {
            Inode::Open(file) => rustix::fs::fchmod(file, mode),
            // Only for device nodes and fifos, which this thread has just made: never a link.
            Inode::Named(parent, name) => {
                rustix::fs::chmodat(parent, *name, mode, AtFlags::empty())
            }
        };
        changed.map_err(failed("change mode of", path))
    }

    fn set_xattr(
        &mut self,
        inode: &Inode<'_>,
        path: &[u8],
        name: &[u8],
        value: &[u8],
    ) -> Result<()> {
        if is_overlay_xattr(name) || is_foreign_label(name) {
            return Ok(());
        }
        match write_xattr(inode, name, value) {
            Ok(()) => Ok(()),
            Err(Errno::PERM | Errno::OPNOTSUPP) if self.ownership.is_unprivileged() => {
                self.leave_out(path, &String::from_utf8_lossy(name));
                Ok(())
            }
            Err(errno) => Err(failed("set extended attribute of", path)(errno)),
        }
    }

    pub(super) fn leave_out(&mut self, path: &[u8], what: &str) {
        self.left_out.push(LeftOut {
            path: PathBuf::from(OsStr::from_bytes(path)),
            what: what.to_string(),
        });
    }
}

/// A label belongs to the security policy of the machine on which the archive was made.
fn is_foreign_label(name: &[u8]) -> bool {
    name == b"security.selinux" || name == b"security.ima" || name == b"security.evm"
}

fn change_owner(inode: &Inode<'_>, (uid, gid): (u32, u32)) -> rustix::io::Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    match inode {
        Inode::Open(file) => rustix::fs::fchown(file, uid, gid),
        Inode::Named(parent, name) => {
            rustix::fs::chownat(parent, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        }
    }
}

pub(super) fn write_xattr(inode: &Inode<'_>, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    match inode {
        Inode::Open(file) => rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()),
        // There is no `fsetxattr` for what cannot be opened, and `setxattrat` is younger than the kernels we support.
        Inode::Named(parent, child) => {
            let mut path = format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).into_bytes();
            path.extend_from_slice(child);
            rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
        }
    }
}
