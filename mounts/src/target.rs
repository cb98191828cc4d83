//! Where a mount goes: places inside a root tree that somebody else may have filled.

use crate::{Error, ErrorKind, Result};
use ampoule_plan::{Call, Draft, Errno, Fd, OpenFlags, Phase, Resolve, Slot, path};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// What stands at a place: the kernel puts a directory on a directory, and a file on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory.
    Directory,
    /// Anything that is not a directory.
    File,
}

/// A place inside a root tree. Whatever the tree holds, it cannot lead out of the tree.
///
/// Symbolic links on the way are followed as the container itself would follow them, by `openat2` with `RESOLVE_IN_ROOT`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    names: Vec<OsString>,
    kind: Kind,
}

impl Target {
    /// The place at an absolute path.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a relative path, one with `..` or a NUL byte, and `/` itself.
    pub fn new(at: impl AsRef<Path>, kind: Kind) -> Result<Target> {
        let at = at.as_ref();
        let refuse = |why: &str| {
            let what = format!("mount at {at:?}");
            Err(Error::refused(ErrorKind::Invalid, what).hint(why))
        };
        if !at.is_absolute() {
            return refuse("the target must be an absolute path");
        }
        if at.as_os_str().as_bytes().contains(&0) {
            return refuse("a path has no NUL bytes");
        }
        let mut names = Vec::new();
        for component in at.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => names.push(name.into()),
                Component::ParentDir | Component::Prefix(_) => {
                    return refuse("`..` in a target is refused");
                }
            }
        }
        match names.is_empty() {
            true => refuse("the root itself is mounted by other means"),
            false => Ok(Target { names, kind }),
        }
    }

    /// The absolute path.
    pub fn path(&self) -> PathBuf {
        Path::new("/").join(self.relative(self.names.len()))
    }

    /// Whether it is there, in a tree that the host can see.
    ///
    /// # Errors
    /// [`ErrorKind::WrongType`] if what is there is of the other kind.
    pub fn exists_in(&self, root: BorrowedFd<'_>) -> Result<bool> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = self.relative(self.names.len());
        let failed = |e| Error::kernel(format!("look at the target {:?}", self.path()), e);
        let found = match openat2(root, &path, flags, Mode::empty(), resolve) {
            Ok(found) => found,
            Err(rustix::io::Errno::NOENT) => return Ok(false),
            Err(error) => return Err(failed(error)),
        };
        let mode = fstat(&found).map_err(failed)?.st_mode;
        let directory = FileType::from_raw_mode(mode) == FileType::Directory;
        match (directory, self.kind) {
            (true, Kind::Directory) | (false, Kind::File) => Ok(true),
            (found, _) => {
                let name = |directory| if directory { "directory" } else { "file" };
                let what = format!(
                    "mount a {} at {:?}, which is a {}",
                    name(!found),
                    self.path(),
                    name(found)
                );
                Err(Error::refused(ErrorKind::WrongType, what))
            }
        }
    }

    /// Lets the child open it, relative to its working directory, which is the root tree while mounts are attached.
    ///
    /// With `make`, directories that are missing are made, and a file at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a NUL byte in the path.
    pub fn draft(&self, draft: &mut Draft, make: bool) -> Result<Slot> {
        let last = self.names.len();
        if make {
            let mut parent = Fd::Cwd;
            for depth in 1..last {
                mkdir(draft, parent, &self.names[depth - 1])?;
                let why = "the next directory, inside the root";
                parent = self.open(draft, depth, OpenFlags::O_DIRECTORY, why)?.into();
            }
            match self.kind {
                Kind::Directory => mkdir(draft, parent, &self.names[last - 1])?,
                Kind::File => touch(draft, parent, &self.names[last - 1])?,
            }
        }
        let flags = match self.kind {
            Kind::Directory => OpenFlags::O_DIRECTORY,
            Kind::File => OpenFlags::empty(),
        };
        self.open(
            draft,
            last,
            flags,
            "the place, whatever links say, is inside the root",
        )
    }

    fn open(
        &self,
        draft: &mut Draft,
        depth: usize,
        flags: OpenFlags,
        why: &'static str,
    ) -> Result<Slot> {
        let relative = self.relative(depth);
        let out = draft.slot(Path::new("/").join(&relative).display().to_string());
        let call = Call::Openat2 {
            dir: Fd::Cwd,
            path: path(&relative)?,
            flags: flags | OpenFlags::O_PATH,
            mode: 0,
            resolve: Resolve::RESOLVE_IN_ROOT | Resolve::RESOLVE_NO_MAGICLINKS,
            out,
        };
        draft.child(Phase::Mounts, call, why);
        Ok(out)
    }

    fn relative(&self, depth: usize) -> PathBuf {
        self.names[..depth].iter().collect()
    }
}

fn mkdir(draft: &mut Draft, dir: Fd, name: &OsStr) -> Result<()> {
    let make = Call::Mkdirat {
        dir,
        path: path(name)?,
        mode: 0o755,
    };
    draft
        .child(Phase::Mounts, make, "a place to mount it, if there is none")
        .tolerate(Errno::EEXIST);
    Ok(())
}

fn touch(draft: &mut Draft, dir: Fd, name: &OsStr) -> Result<()> {
    const S_IFREG: u32 = 0o100000;
    let make = Call::Mknodat {
        dir,
        path: path(name)?,
        mode: S_IFREG | 0o644,
        device: 0,
    };
    draft
        .child(Phase::Mounts, make, "a place to mount it, if there is none")
        .tolerate(Errno::EEXIST);
    Ok(())
}
