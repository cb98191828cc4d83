//! What COPY and ADD put into an image, as a small archive.

use super::glob::{Ignore, matches};
use super::view::{Found, View, failed, join};
use crate::tar::{Entry, Kind, Reader, Time, Writer};
use crate::unpack::{Compression, is_overlay_xattr, split};
use crate::{Algorithm, Digest, Error, Hasher, Result};
use rustix::fs::FileType;
use std::io::{self, BufRead, BufReader, Read, Write};

/// What a COPY is made of.
pub(super) struct Plan<'a> {
    pub from: &'a View,
    /// What is already in the image.
    pub image: &'a View,
    /// Files that are not there for it.
    pub ignore: &'a Ignore,
    /// None keeps the owners that the files have.
    pub owner: Option<(u64, u64)>,
    pub mode: Option<u32>,
    /// Whether archives are unpacked.
    pub unpacks: bool,
    /// Whether the destination is a directory by how it is written.
    pub into_directory: bool,
    /// Without slashes at its ends.
    pub destination: Vec<u8>,
    parts: Vec<Part>,
}

/// Something that goes into the archive.
enum Part {
    Entry(Entry, Content),
    /// An archive whose entries go below a directory.
    Archive(Found, Vec<u8>),
}

enum Content {
    None,
    File(Found),
    Text(String),
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        from: &'a View,
        image: &'a View,
        ignore: &'a Ignore,
        destination: &str,
    ) -> Self {
        Self {
            from,
            image,
            ignore,
            owner: Some((0, 0)),
            mode: None,
            unpacks: false,
            into_directory: destination.ends_with('/') || destination.ends_with("/."),
            destination: crate::unpack::follow(b"", destination.as_bytes()),
            parts: Vec::new(),
        }
    }

    /// A file whose text stands in the Dockerfile.
    pub(super) fn add_text(&mut self, name: &str, text: String) -> Result<()> {
        let mut entry = Entry::plain(Kind::File);
        entry.name = self.target(name.as_bytes())?;
        entry.size = text.len() as u64;
        self.decorate(&mut entry);
        self.parts.push(Part::Entry(entry, Content::Text(text)));
        Ok(())
    }

    /// A source as it is written; with wildcards all that match.
    ///
    /// # Errors
    /// `NotFound` where nothing is there.
    pub(super) fn add(&mut self, source: &str) -> Result<()> {
        let normal = crate::unpack::follow(b"", source.as_bytes());
        let missing = || Error::NotFound {
            what: format!("{source:?}"),
            place: "what is copied from (does .dockerignore exclude it?)".into(),
        };
        let is_pattern = source.contains(['*', '?', '[']);
        let names = match is_pattern {
            true => self.expand(&normal)?,
            false => vec![normal],
        };
        if names.is_empty() {
            return Err(missing());
        }
        for name in names {
            let is_ignored = !name.is_empty()
                && self.ignore.excludes(&String::from_utf8_lossy(&name))
                && !self.ignore.has_exceptions();
            let found = self.from.find_followed(&name)?.filter(|_| !is_ignored);
            let (real, found) = found.ok_or_else(missing)?;
            match found.kind() {
                FileType::Directory => self.add_tree(&real)?,
                _ if self.unpacks && is_archive(&found) => {
                    let below = self.destination.clone();
                    self.parts.push(Part::Archive(found, below));
                }
                _ => {
                    let target = self.target(split(&name).1)?;
                    self.add_found(found, target)?;
                }
            }
        }
        Ok(())
    }

    /// What the plan is made of, apart from times: the same content is the same key.
    pub(super) fn key(&self) -> Result<Digest> {
        let mut writer = Writer::new(Hashing(Hasher::new(Algorithm::Sha256)));
        self.write_with(&mut writer, true)?;
        let Hashing(hasher) = writer
            .finish()
            .map_err(Error::io("hash", "what is copied"))?;
        Ok(hasher.finish())
    }

    /// Writes the archive.
    pub(super) fn write(&self, writer: &mut Writer<impl Write>) -> Result<()> {
        self.write_with(writer, false)
    }

    /// A directory keeps its name only below the destination: its content is what is copied.
    fn add_tree(&mut self, directory: &[u8]) -> Result<()> {
        let there = self.image.find_followed(&self.destination)?;
        if there.is_none() && !self.destination.is_empty() {
            let mut entry = Entry::plain(Kind::Directory);
            (entry.name, entry.mode) = (self.destination.clone(), 0o755);
            self.decorate(&mut entry);
            entry.mode = 0o755;
            self.parts.push(Part::Entry(entry, Content::None));
        }
        let target = self.destination.clone();
        self.add_children(directory, &target)
    }

    fn add_children(&mut self, directory: &[u8], target: &[u8]) -> Result<()> {
        for name in self.from.list(directory)? {
            let path = join(directory, &name);
            let excluded = self.ignore.excludes(&String::from_utf8_lossy(&path));
            let Some(found) = self.from.find(&path)? else {
                continue;
            };
            let is_directory = found.kind() == FileType::Directory;
            if excluded && !(is_directory && self.ignore.has_exceptions()) {
                continue;
            }
            let below = join(target, &name);
            if !excluded {
                self.add_found(found, below.clone())?;
            }
            if is_directory {
                self.add_children(&path, &below)?;
            }
        }
        Ok(())
    }

    fn add_found(&mut self, found: Found, target: Vec<u8>) -> Result<()> {
        let kind = match found.kind() {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Fifo,
            FileType::CharacterDevice => Kind::Character,
            FileType::BlockDevice => Kind::Block,
            // An archive cannot hold a socket.
            _ => return Ok(()),
        };
        let stat = &found.stat;
        let mut entry = Entry::plain(kind);
        entry.mode = stat.st_mode & 0o7777;
        (entry.uid, entry.gid) = (stat.st_uid.into(), stat.st_gid.into());
        entry.mtime = Time {
            seconds: stat.st_mtime,
            nanoseconds: stat.st_mtime_nsec as u32,
        };
        if kind == Kind::File {
            entry.size = stat.st_size as u64;
        }
        if kind == Kind::Symlink {
            entry.link = found.target().map_err(failed("read link", &target))?;
        }
        (entry.major, entry.minor) = (
            rustix::fs::major(stat.st_rdev),
            rustix::fs::minor(stat.st_rdev),
        );
        let attributes = found
            .attributes()
            .map_err(failed("read extended attributes of", &target))?;
        entry.xattrs = attributes
            .into_iter()
            .filter(|(name, _)| !is_overlay_xattr(name))
            .collect();
        entry.name = target;
        self.decorate(&mut entry);
        let content = if kind == Kind::File {
            Content::File(found)
        } else {
            Content::None
        };
        self.parts.push(Part::Entry(entry, content));
        Ok(())
    }

    /// What `--chown` and `--chmod` say.
    fn decorate(&self, entry: &mut Entry) {
        if let Some((uid, gid)) = self.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(mode) = self.mode.filter(|_| entry.kind != Kind::Symlink) {
            entry.mode = mode;
        }
    }

    /// Into the destination where that is a directory, else the destination itself.
    fn target(&self, name: &[u8]) -> Result<Vec<u8>> {
        let there = self.image.find_followed(&self.destination)?;
        let is_directory = there.is_some_and(|(_, found)| found.kind() == FileType::Directory);
        match self.into_directory || is_directory || self.destination.is_empty() {
            true => Ok(join(&self.destination, name)),
            false => Ok(self.destination.clone()),
        }
    }

    fn expand(&self, pattern: &[u8]) -> Result<Vec<Vec<u8>>> {
        let pattern = String::from_utf8_lossy(pattern).into_owned();
        let depth = pattern.split('/').count();
        let (mut open, mut found) = (vec![Vec::new()], Vec::new());
        for _ in 0..depth {
            let mut next = Vec::new();
            for directory in open {
                for name in self.from.list(&directory)? {
                    next.push(join(&directory, &name));
                }
            }
            let wanted = |path: &&Vec<u8>| {
                let path = String::from_utf8_lossy(path);
                matches(&pattern, &path) && !self.ignore.excludes(&path)
            };
            found.extend(next.iter().filter(wanted).cloned());
            open = next;
        }
        Ok(found)
    }

    fn write_with(&self, writer: &mut Writer<impl Write>, timeless: bool) -> Result<()> {
        let failed = || Error::io("archive", "what is copied");
        for part in &self.parts {
            match part {
                Part::Entry(entry, content) => {
                    let mut entry = entry.clone();
                    if timeless {
                        entry.mtime = Time::default();
                    }
                    match content {
                        Content::None => writer.entry(&entry, &mut io::empty()),
                        Content::Text(text) => writer.entry(&entry, &mut text.as_bytes()),
                        Content::File(found) => writer.entry(
                            &entry,
                            &mut found
                                .open()
                                .map_err(super::view::failed("open", &entry.name))?,
                        ),
                    }
                    .map_err(failed())?;
                }
                Part::Archive(found, below) => self.write_archive(writer, found, below)?,
            }
        }
        Ok(())
    }

    fn write_archive(
        &self,
        writer: &mut Writer<impl Write>,
        found: &Found,
        below: &[u8],
    ) -> Result<()> {
        let invalid = |error: crate::tar::TarError| Error::document("archive of ADD", error);
        let mut archive = open_archive(found).map_err(Error::io("read", "archive of ADD"))?;
        while let Some(mut entry) = archive.entry().map_err(invalid)? {
            if entry
                .name
                .split(|byte| *byte == b'/')
                .any(|part| part == b"..")
            {
                return Err(Error::document(
                    "archive of ADD",
                    "a name in it holds \"..\"",
                ));
            }
            entry.name = join(below, &entry.name);
            if entry.kind == Kind::HardLink {
                entry.link = join(below, &entry.link);
            }
            if entry.sparse.is_some() {
                return Err(Error::document(
                    "archive of ADD",
                    "it holds a sparse file: pack it without --sparse",
                ));
            }
            if let Some((uid, gid)) = self.owner.filter(|owner| *owner != (0, 0)) {
                (entry.uid, entry.gid) = (uid, gid);
            }
            let mut data = Data(&mut archive);
            writer
                .entry(&entry, &mut data)
                .map_err(Error::io("archive", "what is copied"))?;
        }
        Ok(())
    }
}

fn is_archive(found: &Found) -> bool {
    found.kind() == FileType::RegularFile
        && found.stat.st_size > 0
        && open_archive(found)
            .is_ok_and(|mut archive| archive.entry().is_ok_and(|entry| entry.is_some()))
}

fn open_archive(found: &Found) -> io::Result<Reader<Box<dyn BufRead>>> {
    let mut file = found.open()?;
    let mut start = Vec::new();
    (&mut file).take(4).read_to_end(&mut start)?;
    let compression = Compression::detect(&start);
    let decoder = compression.decoder(BufReader::new(io::Cursor::new(start).chain(file)))?;
    Ok(Reader::new(Box::new(BufReader::new(decoder))))
}

/// The data of an archive's current entry.
struct Data<'a, R>(&'a mut Reader<R>);

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.0.data().map_err(io::Error::other)?;
        let count = part.len().min(buffer.len());
        buffer[..count].copy_from_slice(&part[..count]);
        self.0.consume(count);
        Ok(count)
    }
}

struct Hashing(Hasher);

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.update(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
