//! What a container has changed: the upper directory of an overlay, read as a list.

use crate::{Error, ErrorKind, Result};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, openat2, statat,
};
use rustix::io::Errno;
use std::ffi::{CString, OsStr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// One change of a tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What changed, relative to the root.
    pub path: PathBuf,
    /// How.
    pub kind: ChangeKind,
}

/// How something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It was there, and is another now: content, owner, mode, or what lies in it.
    Modified,
    /// It was there, and is no more.
    #[doc(alias = "whiteout")]
    Deleted,
    /// A directory of which nothing is left from before: what it holds now follows as added.
    Opaque,
}

/// Which extended attributes an overlay has kept its notes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notes {
    /// `trusted.overlay.*`, the kind that only root writes.
    Trusted,
    /// `user.overlay.*`, for an overlay with `userxattr`.
    User,
}

/// What the upper directory of an overlay changes in the tree below it, parents before children, names in order of their bytes.
///
/// `lower` is the tree without the changes: the one layer below, or an overlay of several. `notes` must be the kind that the
/// overlay had, for the other kind is for anybody to write. No symbolic link is followed, and no directory is left; what is
/// deleted is noted in either of the kernel's forms, as a device 0:0 or as an attribute.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for an upper directory of an overlay with `redirect_dir` or `metacopy`, which is no whole tree;
/// the kernel's own for what cannot be read.
pub fn diff(upper: BorrowedFd<'_>, lower: BorrowedFd<'_>, notes: Notes) -> Result<Vec<Change>> {
    let mut walk = Walk {
        upper,
        lower,
        notes,
        changes: Vec::new(),
    };
    // Not by recursion: how deep it goes is the container's choice.
    let mut directories = vec![Directory {
        path: PathBuf::new(),
        covers: true,
    }];
    while let Some(directory) = directories.pop() {
        let mut found = walk.directory(&directory)?;
        found.reverse();
        directories.append(&mut found);
    }
    walk.changes.sort();
    Ok(walk.changes)
}

struct Walk<'fd> {
    upper: BorrowedFd<'fd>,
    lower: BorrowedFd<'fd>,
    notes: Notes,
    changes: Vec<Change>,
}

/// A directory that is still to be read.
struct Directory {
    path: PathBuf,
    /// Whether there may be something below it in the lower tree.
    covers: bool,
}

impl Walk<'_> {
    /// Notes what changed in one directory; returns the directories in it.
    fn directory(&mut self, directory: &Directory) -> Result<Vec<Directory>> {
        let fd = open_in(self.upper, &directory.path, OFlags::DIRECTORY)?;
        let mut within = Vec::new();
        for name in names(&fd, &directory.path)? {
            let path = directory.path.join(OsStr::from_bytes(name.as_bytes()));
            let stat = statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| failed("look at", &path, e))?;
            let (kind, inner) = self.entry(&path, &stat, directory.covers)?;
            within.extend(inner);
            self.changes.extend(kind.map(|kind| Change { path, kind }));
        }
        Ok(within)
    }

    /// What one entry of the upper directory means, and the directory to go on with if it is one.
    fn entry(
        &self,
        path: &Path,
        stat: &Stat,
        covers: bool,
    ) -> Result<(Option<ChangeKind>, Option<Directory>)> {
        let before = match covers {
            true => exists(self.lower, path)?,
            false => None,
        };
        if self.is_whiteout(path, stat)? {
            // One that covers nothing says nothing.
            return Ok((before.map(|_| ChangeKind::Deleted), None));
        }
        let kind = match before {
            Some(_) => ChangeKind::Modified,
            None => ChangeKind::Added,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok((Some(kind), None));
        }
        let fd = open_in(self.upper, path, OFlags::DIRECTORY)?;
        self.refuse(&fd, path, "redirect", "redirect_dir")?;
        let opaque = self.note(&fd, path, "opaque")?.as_deref() == Some(b"y");
        let over_directory = before == Some(FileType::Directory);
        let inner = Directory {
            path: path.into(),
            covers: over_directory && !opaque,
        };
        match over_directory && opaque {
            true => Ok((Some(ChangeKind::Opaque), Some(inner))),
            false => Ok((Some(kind), Some(inner))),
        }
    }

    fn is_whiteout(&self, path: &Path, stat: &Stat) -> Result<bool> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => Ok(stat.st_rdev == 0),
            FileType::RegularFile => {
                let fd = open_in(self.upper, path, OFlags::NONBLOCK)?;
                self.refuse(&fd, path, "metacopy", "metacopy")?;
                Ok(stat.st_size == 0 && self.note(&fd, path, "whiteout")?.is_some())
            }
            _ => Ok(false),
        }
    }

    fn refuse(&self, fd: &OwnedFd, path: &Path, note: &str, option: &str) -> Result<()> {
        match self.note(fd, path, note)? {
            None => Ok(()),
            Some(_) => {
                let what = format!("read {path:?} of an overlay that had {option}");
                Err(Error::refused(ErrorKind::Unsupported, what)
                    .hint(format!("mount overlays with {option}=off")))
            }
        }
    }

    fn note(&self, fd: &OwnedFd, path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
        let kind = match self.notes {
            Notes::Trusted => "trusted",
            Notes::User => "user",
        };
        let mut value = [0; 256];
        match fgetxattr(fd, format!("{kind}.overlay.{name}"), &mut value) {
            Ok(length) => Ok(Some(value[..length].to_vec())),
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(failed("read attributes of", path, error)),
        }
    }
}

fn names(fd: &OwnedFd, path: &Path) -> Result<Vec<CString>> {
    let list = || -> rustix::io::Result<Vec<CString>> {
        let entries = Dir::read_from(fd)?.collect::<rustix::io::Result<Vec<_>>>()?;
        let names = entries
            .into_iter()
            .map(|entry| entry.file_name().to_owned());
        Ok(names
            .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
            .collect())
    };
    let mut names = list().map_err(|e| failed("list", path, e))?;
    names.sort();
    Ok(names)
}

const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

fn open_in(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(root, dotted(path), flags, Mode::empty(), INSIDE).map_err(|e| failed("open", path, e))
}

/// What the lower tree has at a path, if anything.
fn exists(lower: BorrowedFd<'_>, path: &Path) -> Result<Option<FileType>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(lower, dotted(path), flags, Mode::empty(), resolve) {
        Ok(found) => {
            let stat = rustix::fs::fstat(&found).map_err(|e| failed("look at", path, e))?;
            Ok(Some(FileType::from_raw_mode(stat.st_mode)))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(failed("look below", path, error)),
    }
}

fn dotted(path: &Path) -> &Path {
    match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    }
}

fn failed(verb: &str, path: &Path, error: Errno) -> Error {
    Error::kernel(format!("{verb} {path:?} of an upper directory"), error)
}
