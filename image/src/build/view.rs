//! A tree to read from: a directory, or a stack of layers seen as one, without mounting anything.

use crate::unpack::{follow, is_opaque_directory, is_whiteout, open_beneath, split, xattrs};
use crate::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, statat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const MOST_LINKS: usize = 40;

/// Directories, the topmost first.
pub(super) struct View {
    layers: Vec<OwnedFd>,
    /// Whether whiteouts mean something: not in a directory that stands for itself.
    is_stack: bool,
}

/// What lies at a path.
pub(super) struct Found {
    parent: OwnedFd,
    name: Vec<u8>,
    pub(super) stat: Stat,
}

impl Found {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn open(&self) -> rustix::io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(
            &self.parent,
            &self.name[..],
            flags,
            Mode::empty(),
        )?))
    }

    pub(super) fn target(&self) -> rustix::io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.parent, &self.name[..], Vec::new())?.into_bytes())
    }

    /// Of files and directories; of anything else they need privilege and mean nothing here.
    pub(super) fn attributes(&self) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        match self.kind() {
            FileType::RegularFile | FileType::Directory => xattrs(&self.open()?.into()),
            _ => Ok(Vec::new()),
        }
    }
}

impl View {
    pub(super) fn of_directory(path: &Path) -> Result<Self> {
        Ok(Self {
            layers: vec![open(path)?],
            is_stack: false,
        })
    }

    pub(super) fn of_layers(lower: &[PathBuf]) -> Result<Self> {
        let layers = lower.iter().map(|path| open(path)).collect::<Result<_>>()?;
        Ok(Self {
            layers,
            is_stack: true,
        })
    }

    /// What lies at a path; links on the way are followed within the tree, the last name is not.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<Found>> {
        let (above, name) = split(path);
        let Some(above) = self.real(above, MOST_LINKS)? else {
            return Ok(None);
        };
        self.find_real(&join(&above, name))
    }

    /// The same, and a link at the end is followed too.
    pub(super) fn find_followed(&self, path: &[u8]) -> Result<Option<(Vec<u8>, Found)>> {
        let Some(real) = self.real(path, MOST_LINKS)? else {
            return Ok(None);
        };
        Ok(self.find_real(&real)?.map(|found| (real, found)))
    }

    /// The names in a directory, sorted.
    pub(super) fn list(&self, path: &[u8]) -> Result<BTreeSet<Vec<u8>>> {
        let (mut names, mut gone) = (BTreeSet::new(), BTreeSet::new());
        for layer in &self.layers {
            let Some(directory) = self.directory(layer, path)? else {
                continue;
            };
            let listing = Dir::read_from(&directory).map_err(failed("list", path))?;
            for entry in listing {
                let entry = entry.map_err(failed("list", path))?;
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." || gone.contains(name) {
                    continue;
                }
                let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(failed("stat", path))?;
                match self.is_stack && is_whiteout(&stat) {
                    true if !names.contains(name) => drop(gone.insert(name.to_vec())),
                    true => {}
                    false => drop(names.insert(name.to_vec())),
                }
            }
            // Nothing of the layers below shows through an opaque directory, or one that took the place of something else.
            if self.ends_here(layer, path)? {
                break;
            }
        }
        Ok(names)
    }

    /// A path without links, or none where something on it is missing.
    fn real(&self, path: &[u8], links: usize) -> Result<Option<Vec<u8>>> {
        let path = follow(b"", path);
        let mut real: Vec<u8> = Vec::new();
        let mut rest = path
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty());
        while let Some(part) = rest.next() {
            let next = join(&real, part);
            let Some(found) = self.find_real(&next)? else {
                return Ok(None);
            };
            if found.kind() != FileType::Symlink {
                real = next;
                continue;
            }
            let Some(links) = links.checked_sub(1) else {
                return Err(failed("follow link", &path)(Errno::LOOP));
            };
            let mut target = follow(&real, &found.target().map_err(failed("read link", &next))?);
            for part in rest {
                target = join(&target, part);
            }
            return self.real(&target, links);
        }
        Ok(Some(real))
    }

    /// No part of the path is a link.
    fn find_real(&self, path: &[u8]) -> Result<Option<Found>> {
        let (above, name) = split(path);
        let name = if path.is_empty() { b"." } else { name };
        for layer in &self.layers {
            if let Some(parent) = self.directory(layer, above)? {
                match statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if self.is_stack && is_whiteout(&stat) => return Ok(None),
                    Ok(stat) => {
                        return Ok(Some(Found {
                            parent,
                            name: name.to_vec(),
                            stat,
                        }));
                    }
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(failed("stat", path)(errno)),
                }
            }
            if self.ends_here(layer, above)? {
                break;
            }
        }
        Ok(None)
    }

    fn directory(&self, layer: &OwnedFd, path: &[u8]) -> Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match open_beneath(layer, if path.is_empty() { b"." } else { path }, flags) {
            Ok(directory) => Ok(Some(directory)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(failed("open directory", path)(errno)),
        }
    }

    /// Whether the layers below have no say about what is in a directory.
    fn ends_here(&self, layer: &OwnedFd, path: &[u8]) -> Result<bool> {
        if !self.is_stack {
            return Ok(false);
        }
        let mut prefix: &[u8] = path;
        loop {
            match self.directory(layer, prefix)? {
                Some(directory) if is_opaque_directory(&directory) => return Ok(true),
                Some(_) => {}
                None => {
                    let (above, name) = split(prefix);
                    let there = match self.directory(layer, above)? {
                        Some(parent) => statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok(),
                        None => false,
                    };
                    if there {
                        return Ok(true);
                    }
                }
            }
            if prefix.is_empty() {
                return Ok(false);
            }
            prefix = split(prefix).0;
        }
    }
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match (directory, name) {
        (b"", name) => name.to_vec(),
        (directory, b"") => directory.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io("open directory", path))
}

pub(super) fn failed(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::io(action, Path::new(OsStr::from_bytes(path)))(errno)
}
