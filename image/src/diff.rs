//! A directory becomes a layer: the same bytes for the same tree, on any machine and at any time.
//!
//! Entries are sorted by name, times are cut to what the caller allows, owners are numbers only, and overlay's whiteouts and
//! opaque directories become the names that the image specification has for them.

use crate::tar::{Entry, Kind, Time, Writer};
use crate::unpack::{is_overlay_xattr, is_whiteout, xattrs};
use crate::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A layer that is deeper has no honest reason: paths end at 4,096 bytes.
const DEEPEST: usize = 2048;

/// How a directory becomes a layer.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// No entry is younger than this, seconds since 1970: for what should not depend on when it was made.
    pub latest: Option<i64>,
    /// Whiteouts and opaque directories of overlay are spelled as layers spell them. For the upper directory of an overlay;
    /// not for a tree that stands for itself.
    pub whiteouts: bool,
}

impl DiffOptions {
    /// For an upper directory, with times cut to `SOURCE_DATE_EPOCH` where that is set.
    pub fn upper() -> Self {
        let epoch = std::env::var("SOURCE_DATE_EPOCH").ok();
        Self {
            latest: epoch.and_then(|epoch| epoch.parse().ok()),
            whiteouts: true,
        }
    }
}

/// Writes the archive of a directory: of the upper directory of an overlay its layer, of any other its whole tree.
///
/// # Errors
/// `Io` where something cannot be read. Sockets are left out, since an archive cannot hold them.
///
/// # Examples
/// ```
/// use ampoule_image::{DiffOptions, archive_directory};
///
/// let directory = std::env::temp_dir().join(format!("tree-{}", std::process::id()));
/// std::fs::create_dir(&directory)?;
/// std::fs::write(directory.join("file"), "content")?;
/// let options = DiffOptions { latest: Some(0), ..Default::default() };
/// let (mut first, mut second) = (Vec::new(), Vec::new());
/// archive_directory(&directory, &mut first, &options)?;
/// archive_directory(&directory, &mut second, &options)?;
/// assert_eq!(first, second);
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn archive_directory(
    directory: &Path,
    archive: impl Write,
    options: &DiffOptions,
) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(directory, flags, Mode::empty())
        .map_err(Error::io("open directory", directory))?;
    let mut walk = Walk {
        archive: Writer::new(BufWriter::with_capacity(256 << 10, archive)),
        options,
        inodes: HashMap::new(),
    };
    let stat = rustix::fs::fstat(&root).map_err(Error::io("stat", directory))?;
    walk.directory(&root, b"", &stat, 0)?;
    let written = walk.archive.finish().and_then(|mut stream| stream.flush());
    written.map_err(Error::io("write archive of", directory))
}

struct Walk<'a, W: Write> {
    archive: Writer<BufWriter<W>>,
    options: &'a DiffOptions,
    /// The first name of each inode that has more than one.
    inodes: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Walk<'_, W> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        path: &[u8],
        stat: &Stat,
        depth: usize,
    ) -> Result<()> {
        if depth > DEEPEST {
            return Err(failed("enter", path)(Errno::NAMETOOLONG));
        }
        let attributes = xattrs(directory).map_err(failed("read extended attributes of", path))?;
        let name = match path {
            b"" => b"./".to_vec(),
            path => [path, b"/"].concat(),
        };
        let is_opaque = attributes
            .iter()
            .any(|(name, value)| name.ends_with(b".overlay.opaque") && value == b"y");
        let mut entry = self.entry(name, Kind::Directory, stat);
        entry.xattrs = keep(attributes);
        self.write(&entry, &mut io::empty(), path)?;
        if is_opaque && self.options.whiteouts {
            // Before the rest: older programs apply it to what they have just unpacked.
            self.whiteout(join(path, b".wh..wh..opq"))?;
        }
        for name in sorted_names(directory, path)? {
            let child = join(path, &name);
            let stat = statat(directory, &name[..], AtFlags::SYMLINK_NOFOLLOW)
                .map_err(failed("stat", &child))?;
            self.child(directory, &name, child, &stat, depth)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: Vec<u8>,
        stat: &Stat,
        depth: usize,
    ) -> Result<()> {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let directory = openat(parent, name, flags, Mode::empty())
                    .map_err(failed("open directory", &path))?;
                return self.directory(&directory, &path, stat, depth + 1);
            }
            _ if is_whiteout(stat) && self.options.whiteouts => {
                let (directory, name) = crate::unpack::split(&path);
                return self.whiteout(join(directory, &[b".wh.", name].concat()));
            }
            FileType::RegularFile => Kind::File,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(()),
        };
        let mut entry = self.entry(path.clone(), kind, stat);
        if stat.st_nlink > 1 {
            if let Some(first) = self.inodes.get(&(stat.st_dev, stat.st_ino)) {
                entry.link = first.clone();
                entry.kind = Kind::HardLink;
                return self.write(&entry, &mut io::empty(), &path);
            }
            self.inodes.insert((stat.st_dev, stat.st_ino), path.clone());
        }
        match kind {
            Kind::File => self.file(parent, name, entry, &path),
            Kind::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(failed("read link", &path))?;
                entry.link = target.into_bytes();
                self.write(&entry, &mut io::empty(), &path)
            }
            _ => {
                entry.major = rustix::fs::major(stat.st_rdev);
                entry.minor = rustix::fs::minor(stat.st_rdev);
                self.write(&entry, &mut io::empty(), &path)
            }
        }
    }

    fn file(&mut self, parent: &OwnedFd, name: &[u8], mut entry: Entry, path: &[u8]) -> Result<()> {
        // O_NONBLOCK: should a fifo have taken the name since, nobody waits for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(parent, name, flags, Mode::empty()).map_err(failed("open", path))?;
        let attributes = xattrs(&file).map_err(failed("read extended attributes of", path))?;
        let is_mark = attributes
            .iter()
            .any(|(name, _)| name.ends_with(b".overlay.whiteout"));
        if is_mark && entry.size == 0 && self.options.whiteouts {
            let (directory, name) = crate::unpack::split(path);
            return self.whiteout(join(directory, &[b".wh.", name].concat()));
        }
        entry.xattrs = keep(attributes);
        self.write(&entry, &mut File::from(file), path)
    }

    fn whiteout(&mut self, name: Vec<u8>) -> Result<()> {
        let entry = Entry {
            name: name.clone(),
            mode: 0,
            ..Entry::plain(Kind::File)
        };
        self.write(&entry, &mut io::empty(), &name)
    }

    fn entry(&self, name: Vec<u8>, kind: Kind, stat: &Stat) -> Entry {
        let time = Time {
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec as u32,
        };
        let mtime = match self.options.latest {
            Some(latest) if time.seconds >= latest => Time {
                seconds: latest,
                nanoseconds: 0,
            },
            _ => time,
        };
        Entry {
            name,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid.into(),
            gid: stat.st_gid.into(),
            mtime,
            size: if kind == Kind::File {
                stat.st_size as u64
            } else {
                0
            },
            ..Entry::plain(kind)
        }
    }

    fn write(&mut self, entry: &Entry, data: &mut dyn io::Read, path: &[u8]) -> Result<()> {
        let written = self.archive.entry(entry, data);
        written.map_err(Error::io("archive", Path::new(OsStr::from_bytes(path))))
    }
}

/// Overlay's own state, and labels of this machine's policy, are not the layer's.
fn keep(attributes: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let is_ours = |name: &[u8]| !is_overlay_xattr(name) && name != b"security.selinux";
    attributes
        .into_iter()
        .filter(|(name, _)| is_ours(name))
        .collect()
}

fn sorted_names(directory: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>> {
    let listing = Dir::read_from(directory).map_err(failed("list", path))?;
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry.map_err(failed("list", path))?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(name.to_vec()),
        }
    }
    names.sort();
    Ok(names)
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        _ => [directory, b"/", name].concat(),
    }
}

fn failed(action: &'static str, path: &[u8]) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::io(action, Path::new(OsStr::from_bytes(path)))(errno)
}
