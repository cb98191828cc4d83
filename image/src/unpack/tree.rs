//! The directories of a layer, opened beneath its root and kept open while they are in use.

use super::whiteout::is_whiteout;
use crate::{Error, Result};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;
use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// Layers list a directory's files together, so few directories are in use at a time.
const MOST_OPEN: usize = 64;
/// As the kernel's own limit on a chain of symbolic links.
const MOST_LINKS: usize = 40;

/// A tree that only grows beneath its root.
#[derive(Debug)]
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    /// Directories that were made because something lies in them.
    pub(super) implied: BTreeSet<Vec<u8>>,
    /// Directories that hide what the layers below have in them.
    pub(super) opaque: BTreeSet<Vec<u8>>,
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self {
            root: Rc::new(root),
            open: HashMap::new(),
            implied: BTreeSet::from([Vec::new()]),
            opaque: BTreeSet::new(),
        }
    }

    /// Opens a directory, and makes it and those above it where they are missing.
    ///
    /// Symbolic links on the way are followed as a process with this root would follow them.
    pub(super) fn directory(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        self.directory_within(path, MOST_LINKS)
    }

    /// Opens a directory that is there.
    pub(super) fn existing(&mut self, path: &[u8]) -> Result<Option<Rc<OwnedFd>>> {
        if path.is_empty() {
            return Ok(Some(self.root.clone()));
        }
        if let Some(directory) = self.open.get(path) {
            return Ok(Some(directory.clone()));
        }
        match open_beneath(&self.root, path, PATH_FLAGS) {
            Ok(directory) => Ok(Some(self.keep(path, directory))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(failed("open directory", path)(errno)),
        }
    }

    /// Removes whatever has this name, with all that is in it.
    pub(super) fn remove(&mut self, directory: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("stat", path)(errno)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                remove_directory(directory.as_fd(), name)
                    .map_err(failed("remove directory", path))?;
                self.forget(path);
                Ok(())
            }
            kind => {
                if kind == FileType::Symlink {
                    // Open directories may have been found through it.
                    self.open.clear();
                }
                unlinkat(directory, name, AtFlags::empty()).map_err(failed("remove", path))
            }
        }
    }

    /// Makes a directory; what else had the name is replaced. Mode and owner are given to it when all is written.
    pub(super) fn make_directory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<()> {
        let private = Mode::RWXU;
        match rustix::fs::mkdirat(parent, name, private) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("create directory", path)(errno)),
        }
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat", path))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Ok(());
        }
        self.remove(parent, name, path)?;
        rustix::fs::mkdirat(parent, name, private).map_err(failed("create directory", path))?;
        if is_whiteout(&stat) {
            // The name was removed from the layers below and made anew: theirs must not show through.
            self.opaque.insert(path.to_vec());
        }
        Ok(())
    }

    fn directory_within(&mut self, path: &[u8], links: usize) -> Result<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(directory) = self.open.get(path) {
            return Ok(directory.clone());
        }
        match open_beneath(&self.root, path, PATH_FLAGS) {
            Ok(directory) => return Ok(self.keep(path, directory)),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(failed("open directory", path)(errno)),
        }
        let (above, name) = split(path);
        let parent = self.directory_within(above, links)?;
        let stat = match statat(&*parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(failed("stat", path)(errno)),
        };
        if stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink) {
            return self.behind_link(&parent, name, path, links);
        }
        if stat.is_some_and(|stat| !is_whiteout(&stat) && !is_directory(&stat)) {
            return Err(Error::layer(
                OsStr::from_bytes(path),
                "it is no directory, but an entry lies in it",
            ));
        }
        if stat.is_none_or(|stat| !is_directory(&stat)) {
            self.make_directory(&parent, name, path)?;
            self.implied.insert(path.to_vec());
        }
        let opened = openat(&*parent, name, PATH_FLAGS | OFlags::NOFOLLOW, Mode::empty());
        let directory = opened.map_err(failed("open directory", path))?;
        Ok(self.keep(path, directory))
    }

    /// A symbolic link whose target is not here yet: it may lie in a layer below, so it is implied at its real place.
    fn behind_link(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
        links: usize,
    ) -> Result<Rc<OwnedFd>> {
        let Some(links) = links.checked_sub(1) else {
            return Err(failed("open directory", path)(Errno::LOOP));
        };
        let target =
            rustix::fs::readlinkat(parent, name, Vec::new()).map_err(failed("read link", path))?;
        let target = follow(split(path).0, target.as_bytes());
        if target == path {
            return Err(failed("open directory", path)(Errno::LOOP));
        }
        self.directory_within(&target, links)
    }

    fn keep(&mut self, path: &[u8], directory: OwnedFd) -> Rc<OwnedFd> {
        if self.open.len() >= MOST_OPEN {
            self.open.clear();
        }
        let directory = Rc::new(directory);
        self.open.insert(path.to_vec(), directory.clone());
        directory
    }

    /// A directory is gone, with all below it.
    fn forget(&mut self, path: &[u8]) {
        // Links may lead into it by other names.
        self.open.clear();
        let is_gone = |other: &Vec<u8>| is_beneath(other, path);
        self.implied.retain(|other| !is_gone(other));
        self.opaque.retain(|other| !is_gone(other));
    }
}

pub(super) const PATH_FLAGS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a directory whose metadata is to be changed; none where the name is gone or something else.
pub(super) fn open_to_change(root: &OwnedFd, path: &[u8]) -> Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path_or_root = if path.is_empty() { b"." } else { path };
    match open_beneath(root, path_or_root, flags) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(failed("open directory", path)(errno)),
    }
}

/// No link, no `..` and no mount leads out of the root.
pub(crate) fn open_beneath(
    root: &OwnedFd,
    path: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    loop {
        // EAGAIN: somewhere in the system something was renamed while `..` was resolved.
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

fn is_directory(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether `path` is `ancestor` or lies in it.
pub(super) fn is_beneath(path: &[u8], ancestor: &[u8]) -> bool {
    let rest = path.strip_prefix(ancestor);
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || ancestor.is_empty())
}

/// The directory and the last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Where a link in `directory` leads, `..` taken by name; it stays beneath the root whatever it says.
pub(crate) fn follow(directory: &[u8], target: &[u8]) -> Vec<u8> {
    let start: &[u8] = if target.starts_with(b"/") {
        b""
    } else {
        directory
    };
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in start
        .split(|byte| *byte == b'/')
        .chain(target.split(|byte| *byte == b'/'))
    {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

pub(super) fn failed(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::io(action, Path::new(OsStr::from_bytes(path)))(errno)
}

/// Removes a directory with all in it, without following links, however deep it is.
fn remove_directory(parent: impl AsFd, name: &[u8]) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent_fd = parent
        .as_fd()
        .try_clone_to_owned()
        .map_err(|_| Errno::MFILE)?;
    // A stack of open directories; hostile depth ends at EMFILE, with an error.
    let mut stack = vec![(parent_fd, name.to_vec(), None::<Dir>)];
    while let Some((above, name, listing)) = stack.last_mut() {
        if listing.is_none() {
            let directory = openat(&*above, &name[..], flags, Mode::empty())?;
            *listing = Some(Dir::new(directory)?);
        }
        let Some(list) = listing else {
            return Err(Errno::BADF);
        };
        match list.read() {
            None => {
                unlinkat(&*above, &name[..], AtFlags::REMOVEDIR)?;
                stack.pop();
            }
            Some(entry) => {
                let entry = entry?;
                let child = entry.file_name().to_bytes();
                if child == b"." || child == b".." {
                    continue;
                }
                let fd = list.fd()?;
                match unlinkat(fd, child, AtFlags::empty()) {
                    Err(Errno::ISDIR) => {
                        let fd = fd.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
                        let child = child.to_vec();
                        stack.push((fd, child, None));
                    }
                    result => result?,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_beneath_the_root() {
        for (directory, target, expect) in [
            (&b"a/b"[..], &b"c"[..], &b"a/b/c"[..]),
            (b"a/b", b"../c", b"a/c"),
            (b"a", b"../../../etc", b"etc"),
            (b"a", b"/usr/./lib/", b"usr/lib"),
            (b"", b"..", b""),
        ] {
            assert_eq!(follow(directory, target), expect);
        }
        assert!(is_beneath(b"a/b", b"a") && is_beneath(b"a", b"a") && is_beneath(b"a", b""));
        assert!(!is_beneath(b"ab", b"a"));
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }
}
