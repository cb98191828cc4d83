//! Entry by entry, an archive becomes a tree.

use super::metadata::{Inode, Metadata, Writer, write_xattr};
use super::tree::{Tree, failed, is_beneath, open_to_change, split};
use super::whiteout::{self, Name, is_whiteout};
use super::{Needs, UnpackLimits, UnpackOptions};
use crate::tar::{Entry, Kind, Reader, TarError};
use crate::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::BufRead;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// Applies entries to a tree.
#[derive(Debug)]
pub(super) struct Applier {
    tree: Tree,
    writer: Writer,
    limits: UnpackLimits,
    /// Directories get their metadata last: writing into them changes their times, and a mode may forbid it.
    directories: BTreeMap<Vec<u8>, Metadata>,
    links: Vec<(Vec<u8>, Vec<u8>)>,
    user_xattrs: bool,
    entries: u64,
    bytes: u64,
}

/// What applying all entries left behind.
pub(super) struct Applied {
    pub(super) entries: u64,
    pub(super) user_xattrs: bool,
    pub(super) left_out: Vec<super::LeftOut>,
    pub(super) needs: Needs,
}

/// Where an entry belongs.
struct Place<'a> {
    parent: Rc<OwnedFd>,
    name: &'a [u8],
    path: &'a [u8],
}

impl Applier {
    pub(super) fn new(root: OwnedFd, options: &UnpackOptions) -> Result<Self> {
        Ok(Self {
            user_xattrs: !may_set_trusted(&root),
            tree: Tree::new(root),
            writer: Writer::new(options.ownership.clone()),
            limits: options.limits,
            directories: BTreeMap::new(),
            links: Vec::new(),
            entries: 0,
            bytes: 0,
        })
    }

    pub(super) fn apply_all<R: BufRead>(mut self, mut archive: Reader<R>) -> Result<Applied> {
        let mut last = Vec::new();
        loop {
            let entry = archive
                .entry()
                .map_err(|error| broken(&last, "after it: ", error))?;
            let Some(entry) = entry else { break };
            self.count(&entry)?;
            self.apply(&entry, &mut archive)?;
            last = entry.name;
        }
        archive
            .drain()
            .map_err(|error| broken(&last, "after it: ", error))?;
        self.finish_directories()?;
        Ok(Applied {
            entries: self.entries,
            user_xattrs: self.user_xattrs,
            left_out: self.writer.left_out,
            needs: Needs {
                implied: self.tree.implied,
                links: self.links,
            },
        })
    }

    fn count(&mut self, entry: &Entry) -> Result<()> {
        let limit = |what: &str, limit: u64| Error::Limit {
            what: what.into(),
            limit,
        };
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.size);
        if self.entries > self.limits.entries {
            return Err(limit("count the layer's entries", self.limits.entries));
        }
        if self.bytes > self.limits.bytes {
            return Err(limit(
                "count the bytes of the layer's files",
                self.limits.bytes,
            ));
        }
        Ok(())
    }

    fn apply<R: BufRead>(&mut self, entry: &Entry, archive: &mut Reader<R>) -> Result<()> {
        let path = normal(&entry.name)?;
        if path.is_empty() {
            return self.apply_root(entry);
        }
        let (above, name) = split(&path);
        match whiteout::read(name)
            .map_err(|reason| Error::layer(OsStr::from_bytes(&entry.name), reason))?
        {
            Name::Ignored => Ok(()),
            Name::Opaque => {
                self.tree.directory(above)?;
                self.tree.opaque.insert(above.to_vec());
                Ok(())
            }
            Name::Whiteout(hidden) => self.white_out(above, hidden),
            Name::Plain(name) => {
                let parent = self.tree.directory(above)?;
                let place = Place {
                    parent,
                    name,
                    path: &path,
                };
                self.make(entry, &place, archive)
            }
        }
    }

    fn apply_root(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::layer(
                OsStr::from_bytes(&entry.name),
                "it would replace the root directory",
            ));
        }
        self.tree.implied.remove(&b""[..]);
        self.directories
            .insert(Vec::new(), Metadata::of(entry, self.writer.ownership())?);
        Ok(())
    }

    fn make<R: BufRead>(
        &mut self,
        entry: &Entry,
        place: &Place<'_>,
        archive: &mut Reader<R>,
    ) -> Result<()> {
        match entry.kind {
            Kind::File => self.file(entry, place, archive),
            Kind::Directory => self.directory(entry, place),
            Kind::Symlink => self.symlink(entry, place),
            Kind::HardLink => self.hard_link(entry, place),
            Kind::Character => self.node(entry, place, FileType::CharacterDevice),
            Kind::Block => self.node(entry, place, FileType::BlockDevice),
            Kind::Fifo => self.node(entry, place, FileType::Fifo),
        }
    }

    fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        place: &Place<'_>,
        archive: &mut Reader<R>,
    ) -> Result<()> {
        let metadata = Metadata::of(entry, self.writer.ownership())?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = metadata.create_mode();
        let file = self.replacing(place, "create", |place| {
            openat(&*place.parent, place.name, flags, mode)
        })?;
        match &entry.sparse {
            None => write_data(&file, None, place.path, archive)?,
            Some(segments) => {
                rustix::fs::ftruncate(&file, entry.size).map_err(failed("truncate", place.path))?;
                for segment in segments {
                    write_data(
                        &file,
                        Some((segment.offset, segment.length)),
                        place.path,
                        archive,
                    )?;
                }
            }
        }
        self.writer
            .write(&Inode::Open(&file), place.path, &metadata)
    }

    fn directory(&mut self, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let metadata = Metadata::of(entry, self.writer.ownership())?;
        self.tree
            .make_directory(&place.parent, place.name, place.path)?;
        self.tree.implied.remove(place.path);
        self.directories.insert(place.path.to_vec(), metadata);
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let metadata = Metadata::of(entry, self.writer.ownership())?;
        self.replacing(place, "create symbolic link", |place| {
            rustix::fs::symlinkat(&entry.link[..], &*place.parent, place.name)
        })?;
        let inode = Inode::Named(&place.parent, place.name);
        // A link has no mode of its own.
        self.writer.write(
            &inode,
            place.path,
            &Metadata {
                mode: 0,
                ..metadata
            },
        )
    }

    fn hard_link(&mut self, entry: &Entry, place: &Place<'_>) -> Result<()> {
        let target = normal(&entry.link)?;
        let broken = |reason| Err(Error::layer(OsStr::from_bytes(&entry.name), reason));
        if target == place.path {
            return Ok(());
        }
        let (above, name) = split(&target);
        let found = match self.tree.existing(above)? {
            None => None,
            Some(directory) => match statat(&*directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some((directory, stat)),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(failed("stat", &target)(errno)),
            },
        };
        let Some((directory, stat)) = found else {
            self.links.push((target, place.path.to_vec()));
            return Ok(());
        };
        match FileType::from_raw_mode(stat.st_mode) {
            _ if is_whiteout(&stat) => return broken("it links to what the same layer removes"),
            FileType::Directory => return broken("it is a hard link to a directory"),
            _ => {}
        }
        self.replacing(place, "link", |place| {
            rustix::fs::linkat(
                &*directory,
                name,
                &*place.parent,
                place.name,
                AtFlags::empty(),
            )
        })
    }

    fn node(&mut self, entry: &Entry, place: &Place<'_>, kind: FileType) -> Result<()> {
        let metadata = Metadata::of(entry, self.writer.ownership())?;
        let is_device = kind != FileType::Fifo;
        if kind == FileType::CharacterDevice && (entry.major, entry.minor) == (0, 0) {
            return Err(Error::layer(
                OsStr::from_bytes(&entry.name),
                "a character device 0:0 means a whiteout to overlay",
            ));
        }
        let device = if is_device {
            rustix::fs::makedev(entry.major, entry.minor)
        } else {
            0
        };
        let mode = metadata.create_mode();
        let made = self.replacing(place, "create node", |place| {
            rustix::fs::mknodat(&*place.parent, place.name, kind, mode, device)
        });
        match made {
            Err(Error::Io { source, .. })
                if is_device
                    && self.writer.ownership().is_unprivileged()
                    && source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                self.writer.leave_out(place.path, "device");
                Ok(())
            }
            made => {
                made?;
                let inode = Inode::Named(&place.parent, place.name);
                self.writer.write(&inode, place.path, &metadata)
            }
        }
    }

    /// What the same layer adds stays, in whichever order the two stand.
    fn white_out(&mut self, above: &[u8], hidden: &[u8]) -> Result<()> {
        let parent = self.tree.directory(above)?;
        let path = match above {
            b"" => hidden.to_vec(),
            _ => [above, b"/", hidden].concat(),
        };
        match statat(&*parent, hidden, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                self.tree.opaque.insert(path);
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => {
                // Since Linux 5.8 everyone may make this one device.
                let made = rustix::fs::mknodat(
                    &*parent,
                    hidden,
                    FileType::CharacterDevice,
                    Mode::empty(),
                    0,
                );
                made.map_err(failed("create whiteout", &path))
            }
            Err(errno) => Err(failed("stat", &path)(errno)),
        }
    }

    /// Makes something; what has its name already gives way.
    fn replacing<T>(
        &mut self,
        place: &Place<'_>,
        action: &'static str,
        make: impl Fn(&Place<'_>) -> rustix::io::Result<T>,
    ) -> Result<T> {
        match make(place) {
            Err(Errno::EXIST) => {
                self.tree.remove(&place.parent, place.name, place.path)?;
                self.directories
                    .retain(|path, _| !is_beneath(path, place.path));
                make(place).map_err(failed(action, place.path))
            }
            result => result.map_err(failed(action, place.path)),
        }
    }

    fn finish_directories(&mut self) -> Result<()> {
        let Some(root) = self.tree.existing(b"")? else {
            return Ok(());
        };
        self.mark_opaque(&root)?;
        let implied = Metadata::implied();
        let mut all: BTreeMap<&[u8], &Metadata> = BTreeMap::new();
        all.extend(self.tree.implied.iter().map(|path| (&path[..], &implied)));
        all.extend(
            self.directories
                .iter()
                .map(|(path, metadata)| (&path[..], metadata)),
        );
        // From the deepest up, so that a mode that forbids entering comes after all that is inside.
        for (path, metadata) in all.into_iter().rev() {
            // It may have been replaced through a link.
            if let Some(directory) = open_to_change(&root, path)? {
                self.writer
                    .write_all(&Inode::Open(&directory), path, metadata)?;
            }
        }
        Ok(())
    }

    fn mark_opaque(&self, root: &OwnedFd) -> Result<()> {
        let name = whiteout::opaque_xattr(self.user_xattrs).as_bytes();
        for path in &self.tree.opaque {
            if let Some(directory) = open_to_change(root, path)? {
                let marked = write_xattr(&Inode::Open(&directory), name, b"y");
                marked.map_err(failed("mark as opaque", path))?;
            }
        }
        Ok(())
    }
}

impl Metadata {
    /// Until the layers below are known.
    fn implied() -> Self {
        Self {
            owner: None,
            mode: 0o755,
            mtime: Default::default(),
            xattrs: Vec::new(),
        }
    }
}

/// Strips what means nothing; refuses what would lead up.
fn normal(name: &[u8]) -> Result<Vec<u8>> {
    let broken = |reason: &str| Err(Error::layer(OsStr::from_bytes(name), reason));
    if name.contains(&0) {
        return broken("its name holds a NUL");
    }
    let mut path = Vec::with_capacity(name.len());
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return broken("its name holds \"..\", which would lead out of the layer"),
            part => {
                // Only the last component may be a whiteout.
                if split(&path).1.starts_with(b".wh.") {
                    return broken("a whiteout is no directory");
                }
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Ok(path)
}

/// Copies data of the current entry into the file: all of it, or as much as belongs to one stretch.
fn write_data<R: BufRead>(
    file: &OwnedFd,
    at: Option<(u64, u64)>,
    path: &[u8],
    archive: &mut Reader<R>,
) -> Result<()> {
    let (mut offset, mut left) = at.unwrap_or((0, u64::MAX));
    while left > 0 {
        let data = archive.data().map_err(|error| broken(path, "", error))?;
        if data.is_empty() {
            break;
        }
        let data = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        let written = rustix::io::retry_on_intr(|| match at {
            None => rustix::io::write(file, data),
            Some(_) => rustix::io::pwrite(file, data, offset),
        });
        let written = written.map_err(failed("write", path))?;
        archive.consume(written);
        offset += written as u64;
        left -= written as u64;
    }
    Ok(())
}

fn broken(entry: &[u8], prefix: &str, error: TarError) -> Error {
    Error::layer(OsStr::from_bytes(entry), format!("{prefix}{error}"))
}

/// Attributes that only the administrator sees need `CAP_SYS_ADMIN` in the first user namespace.
fn may_set_trusted(root: &OwnedFd) -> bool {
    let probe = "trusted.overlay.ampoule-probe";
    let set = rustix::fs::fsetxattr(root, probe, b"", rustix::fs::XattrFlags::empty());
    set.is_ok() && rustix::fs::fremovexattr(root, probe).is_ok()
}
