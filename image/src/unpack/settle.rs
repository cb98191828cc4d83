//! Completes an unpacked layer with what only the layers below can say.

use super::metadata::{Inode, write_xattr};
use super::tree::{PATH_FLAGS, failed, follow, open_beneath, open_to_change, split};
use super::whiteout::{is_overlay_xattr, is_whiteout};
use super::{Unpacked, whiteout};
use crate::{Error, Result};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, fstat, openat, statat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// As the kernel's own limit on a chain of symbolic links.
const MOST_LINKS: usize = 40;

impl Unpacked {
    /// Completes the layer in `directory`; `below` are the directories of the layers under it, the topmost first.
    ///
    /// A directory that the archive has no entry for, because only something in it changed, takes its mode, owner, times and
    /// attributes from below; where a symbolic link has its name there, its content moves to where the link leads. A hard link
    /// to a file of a layer below gets a copy of that file, as overlay itself would make it.
    ///
    /// # Errors
    /// `Layer` where a hard link's target is in no layer.
    pub fn settle(&self, directory: &Path, below: &[&Path]) -> Result<()> {
        let mut stack = Stack {
            layers: Vec::with_capacity(below.len()),
            opaque: whiteout::opaque_xattr(self.user_xattrs),
        };
        for path in below {
            stack.layers.push(open_root(path)?);
        }
        let root = open_root(directory)?;
        for path in &self.needs.implied {
            stack.complete(&root, path, MOST_LINKS)?;
        }
        for (target, name) in &self.needs.links {
            stack.link(&root, target, name)?;
        }
        Ok(())
    }
}

/// The layers below, the topmost first.
struct Stack {
    layers: Vec<OwnedFd>,
    opaque: &'static str,
}

/// What the layers below, seen as one tree, have at a path.
enum Found {
    Nothing,
    Directory(OwnedFd),
    /// The directory in which it lies, and what it is.
    Other(OwnedFd, Stat),
    /// Its name's beginning is a link: how long that beginning is, and where the link leads.
    Link(usize, Vec<u8>),
}

impl Stack {
    /// Gives an implied directory what it should have.
    fn complete(&self, root: &OwnedFd, path: &[u8], links: usize) -> Result<()> {
        match self.find(path)? {
            Found::Directory(below) => match open_to_change(root, path)? {
                Some(directory) => copy_metadata(&below, &directory, path),
                None => Ok(()),
            },
            Found::Link(length, target) if length == path.len() => {
                self.move_behind_link(root, path, &target, links)
            }
            // Nothing, or an implied directory inside one that has been moved already.
            _ => Ok(()),
        }
    }

    /// In the tree as a whole the name is a link, so what was put into it belongs where the link leads.
    fn move_behind_link(
        &self,
        root: &OwnedFd,
        path: &[u8],
        target: &[u8],
        links: usize,
    ) -> Result<()> {
        let target = follow(split(path).0, target);
        let Some(links) = links.checked_sub(1) else {
            return Err(failed("follow link", path)(Errno::LOOP));
        };
        if target.is_empty() || super::tree::is_beneath(&target, path) {
            return Ok(());
        }
        let Some(from) = open_to_change(root, path)? else {
            return Ok(());
        };
        let to = self.make_path(root, &target, links)?;
        merge(&from, &to, path)?;
        let (above, name) = split(path);
        if let Some(parent) = open_to_change(root, above)? {
            rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)
                .map_err(failed("remove directory", path))?;
            self.complete(root, above, links)?;
        }
        Ok(())
    }

    /// Makes directories in this layer as those below have them.
    fn make_path(&self, root: &OwnedFd, path: &[u8], links: usize) -> Result<OwnedFd> {
        let (above, name) = split(path);
        if path.is_empty() {
            return root.try_clone().map_err(Error::io("open directory", "/"));
        }
        if let Some(there) = open_to_change(root, path)? {
            return Ok(there);
        }
        let parent = self.make_path(root, above, links)?;
        let made = rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755));
        made.map_err(failed("create directory", path))?;
        self.complete(root, path, links)?;
        self.complete(root, above, links)?;
        open_to_change(root, path)?.ok_or_else(|| failed("open directory", path)(Errno::NOENT))
    }

    fn link(&self, root: &OwnedFd, target: &[u8], name: &[u8]) -> Result<()> {
        let missing = || {
            Error::layer(
                OsStr::from_bytes(name),
                format!(
                    "it links to {:?}, which is not there",
                    OsStr::from_bytes(target)
                ),
            )
        };
        let (above, target_name) = split(target);
        let parent = match open_to_change(root, above)? {
            // An earlier link has brought it up, or a later entry of the same layer has made it.
            Some(parent)
                if statat(&parent, target_name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| !is_whiteout(&stat)) =>
            {
                parent
            }
            _ => {
                let Found::Other(below, stat) = self.find(target)? else {
                    return Err(missing());
                };
                let parent = self.make_path(root, above, MOST_LINKS)?;
                copy_up(&below, &parent, target_name, &stat, target)?;
                self.complete(root, above, MOST_LINKS)?;
                parent
            }
        };
        let (above, link_name) = split(name);
        let directory = open_to_change(root, above)?.ok_or_else(missing)?;
        let keep_times = fstat(&directory).map_err(failed("stat", above))?;
        match rustix::fs::unlinkat(&directory, link_name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("remove", name)(errno)),
        }
        let linked = rustix::fs::linkat(
            &parent,
            target_name,
            &directory,
            link_name,
            AtFlags::empty(),
        );
        linked.map_err(failed("link", name))?;
        rustix::fs::futimens(&directory, &times(&keep_times)).map_err(failed("set times of", above))
    }

    /// Looks from the top down, as overlay does: a whiteout, an opaque directory or anything but a directory ends the search.
    fn find(&self, path: &[u8]) -> Result<Found> {
        for layer in &self.layers {
            let mut directory = layer
                .try_clone()
                .map_err(Error::io("open directory", "/"))?;
            let (mut length, mut hides) = (0, self.is_opaque(&directory));
            let mut parts = path
                .split(|byte| *byte == b'/')
                .filter(|part| !part.is_empty())
                .peekable();
            if parts.peek().is_none() {
                return Ok(Found::Directory(directory));
            }
            while let Some(part) = parts.next() {
                length += part.len() + usize::from(length > 0);
                let stat = match statat(&directory, part, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::NOENT) if hides => return Ok(Found::Nothing),
                    Err(Errno::NOENT) => break,
                    Err(errno) => return Err(failed("stat", path)(errno)),
                };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::Directory => {
                        let opened = openat(
                            &directory,
                            part,
                            OFlags::RDONLY | PATH_FLAGS.difference(OFlags::PATH) | OFlags::NOFOLLOW,
                            Mode::empty(),
                        );
                        directory = opened.map_err(failed("open directory", path))?;
                        hides |= self.is_opaque(&directory);
                        if parts.peek().is_none() {
                            return Ok(Found::Directory(directory));
                        }
                    }
                    _ if is_whiteout(&stat) => return Ok(Found::Nothing),
                    FileType::Symlink if parts.peek().is_some() || length == path.len() => {
                        let target = rustix::fs::readlinkat(&directory, part, Vec::new())
                            .map_err(failed("read link", path))?;
                        if parts.peek().is_none() {
                            return Ok(Found::Link(length, target.into_bytes()));
                        }
                        return Ok(Found::Link(length, target.into_bytes()));
                    }
                    _ if parts.peek().is_none() => return Ok(Found::Other(directory, stat)),
                    _ => return Ok(Found::Nothing),
                }
            }
        }
        Ok(Found::Nothing)
    }

    fn is_opaque(&self, directory: &OwnedFd) -> bool {
        let mut value = [0; 8];
        rustix::fs::fgetxattr(directory, self.opaque, &mut value)
            .is_ok_and(|length| value[..length] == *b"y")
    }
}

fn open_root(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io("open directory", path))
}

/// Moves all entries; directories that both have become one.
fn merge(from: &OwnedFd, to: &OwnedFd, path: &[u8]) -> Result<()> {
    let mut listing = rustix::fs::Dir::read_from(from).map_err(failed("list", path))?;
    while let Some(entry) = listing.read() {
        let entry = entry.map_err(failed("list", path))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let both = (
            openat(from, name, flags, Mode::empty()),
            openat(to, name, flags, Mode::empty()),
        );
        if let (Ok(from_child), Ok(to_child)) = both {
            merge(&from_child, &to_child, name)?;
            rustix::fs::unlinkat(from, name, AtFlags::REMOVEDIR)
                .map_err(failed("remove directory", name))?;
        } else {
            rustix::fs::renameat(from, name, to, name).map_err(failed("rename", name))?;
        }
    }
    Ok(())
}

/// As overlay copies up: content, owner, mode, attributes and times.
fn copy_up(below: &OwnedFd, parent: &OwnedFd, name: &[u8], stat: &Stat, path: &[u8]) -> Result<()> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::layer(
            OsStr::from_bytes(path),
            "a hard link leads to it in a layer below, and it is no regular file",
        ));
    }
    let from = open_beneath(
        below,
        name,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
    )
    .map_err(failed("open", path))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to =
        openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed("create", path))?;
    let (mut reader, mut writer) = (std::fs::File::from(from), std::fs::File::from(to));
    // It takes `copy_file_range`, and with it a reflink where the file system has them.
    std::io::copy(&mut reader, &mut writer)
        .map_err(Error::io("copy", Path::new(OsStr::from_bytes(path))))?;
    copy_metadata(&reader.into(), &writer.into(), path)
}

fn copy_metadata(from: &OwnedFd, to: &OwnedFd, path: &[u8]) -> Result<()> {
    let stat = fstat(from).map_err(failed("stat", path))?;
    let here = fstat(to).map_err(failed("stat", path))?;
    if (stat.st_uid, stat.st_gid) != (here.st_uid, here.st_gid) {
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(stat.st_uid),
            rustix::fs::Gid::from_raw(stat.st_gid),
        );
        rustix::fs::fchown(to, Some(uid), Some(gid)).map_err(failed("change owner of", path))?;
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))
        .map_err(failed("change mode of", path))?;
    for (name, value) in xattrs(from).map_err(failed("read extended attributes of", path))? {
        if !is_overlay_xattr(&name) {
            write_xattr(&Inode::Open(to), &name, &value)
                .map_err(failed("set extended attribute of", path))?;
        }
    }
    rustix::fs::futimens(to, &times(&stat)).map_err(failed("set times of", path))
}

fn times(stat: &Stat) -> Timestamps {
    let time = Timespec {
        tv_sec: stat.st_mtime as _,
        tv_nsec: stat.st_mtime_nsec as _,
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Names and values; both have a limit of 64 KiB in the kernel.
pub(crate) fn xattrs(file: &OwnedFd) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut buffer = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(file, &mut buffer) {
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let names: Vec<Vec<u8>> = buffer[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let length = rustix::fs::fgetxattr(file, &name[..], &mut buffer)?;
        found.push((name, buffer[..length].to_vec()));
    }
    found.sort();
    Ok(found)
}
