//! Images in one file: an OCI layout in a tar archive, or what `docker save` writes.

use super::{Source, layout::only};
use crate::tar::{Kind, Reader};
use crate::unpack::Compression;
use crate::{
    Algorithm, Config, Descriptor, Digest, Error, Hasher, Index, LARGEST_CONFIG, LARGEST_MANIFEST,
    Manifest, Reference, Result, media_type,
};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The files inside an archive, by name, and where their bytes lie.
#[derive(Debug)]
struct Members {
    file: File,
    path: PathBuf,
    files: HashMap<String, (u64, u64)>,
    links: HashMap<String, String>,
}

impl Members {
    fn open(path: &Path) -> Result<Self> {
        let file = plain(path)?;
        let stream = file.try_clone().map_err(Error::io("open", path))?;
        let mut members = Self {
            file,
            path: path.to_path_buf(),
            files: HashMap::new(),
            links: HashMap::new(),
        };
        let failed =
            |error: crate::tar::TarError| Error::document(path.display().to_string(), error);
        let mut archive = Reader::new(Counting::new(stream));
        while let Some(entry) = archive.entry().map_err(failed)? {
            let name = member_name(&entry.name);
            match entry.kind {
                Kind::File => {
                    let place = (archive.stream().position, entry.size);
                    members.files.insert(name, place);
                }
                Kind::Symlink => {
                    let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                    let target = crate::unpack::follow(directory.as_bytes(), &entry.link);
                    members.links.insert(name, member_name(&target));
                }
                Kind::HardLink => drop(members.links.insert(name, member_name(&entry.link))),
                _ => {}
            }
        }
        Ok(members)
    }

    /// Docker saves a layer that occurs twice as a link to the first.
    fn find(&self, name: &str) -> Result<(u64, u64)> {
        let mut name = name;
        for _ in 0..8 {
            match (self.files.get(name), self.links.get(name)) {
                (Some(place), _) => return Ok(*place),
                (None, Some(target)) => name = target,
                (None, None) => break,
            }
        }
        Err(Error::NotFound {
            what: name.to_string(),
            place: self.path.display().to_string(),
        })
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let (offset, length) = self.find(name)?;
        if length > limit {
            let what = format!("read {name} of {}", self.path.display());
            return Err(Error::Limit { what, limit });
        }
        let mut content = vec![0; length as usize];
        let read = self.file.read_exact_at(&mut content, offset);
        read.map_err(Error::io("read", &self.path))?;
        Ok(content)
    }

    fn member(&self, name: &str, skip: u64) -> Result<Member<'_>> {
        let (offset, length) = self.find(name)?;
        Ok(Member {
            file: &self.file,
            position: offset.saturating_add(skip),
            end: offset.saturating_add(length),
        })
    }
}

/// `./blobs/x` and `/blobs/x` are `blobs/x`.
fn member_name(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let parts = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

/// A packed archive cannot be entered in its middle, so it is unpacked into a file that has no name.
fn plain(path: &Path) -> Result<File> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut start = [0; 4];
    let length = file
        .read_at(&mut start, 0)
        .map_err(Error::io("read", path))?;
    let compression = Compression::detect(&start[..length]);
    if compression == Compression::None {
        return Ok(file);
    }
    let directory = std::env::temp_dir();
    let flags =
        rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let unpacked = rustix::fs::open(&directory, flags, mode)
        .map_err(Error::io("create file in", &directory))?;
    let mut unpacked = File::from(unpacked);
    let decoder = compression
        .decoder(BufReader::new(&mut file))
        .map_err(Error::io("decompress", path))?;
    let limit = crate::UnpackLimits::default().bytes;
    let copied = io::copy(&mut decoder.take(limit + 1), &mut unpacked)
        .map_err(Error::io("decompress", path))?;
    if copied > limit {
        let what = format!("decompress {}", path.display());
        return Err(Error::Limit { what, limit });
    }
    unpacked.rewind().map_err(Error::io("seek", path))?;
    Ok(unpacked)
}

/// A stretch of the archive; readers do not share a position.
#[derive(Debug)]
struct Member<'a> {
    file: &'a File,
    position: u64,
    end: u64,
}

impl Read for Member<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.position);
        let wanted = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

/// Knows how far it has read.
#[derive(Debug)]
struct Counting {
    inner: BufReader<File>,
    position: u64,
}

impl Counting {
    fn new(file: File) -> Self {
        Self {
            inner: BufReader::with_capacity(64 << 10, file),
            position: 0,
        }
    }
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl BufRead for Counting {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.position += count as u64;
        self.inner.consume(count);
    }
}

/// An OCI layout in a tar archive (`skopeo copy … oci-archive:FILE`), plain or packed.
#[derive(Debug)]
pub struct OciArchive {
    members: Members,
    name: Option<String>,
}

impl OciArchive {
    /// Opens the archive; without a name it must hold one image.
    ///
    /// # Errors
    /// `Invalid` where the file is no archive, `NotFound` where it is not there.
    pub fn open(path: impl AsRef<Path>, name: Option<&str>) -> Result<Self> {
        Ok(Self {
            members: Members::open(path.as_ref())?,
            name: name.map(str::to_string),
        })
    }
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

impl Source for OciArchive {
    fn resolve(&self) -> Result<(Descriptor, Vec<u8>)> {
        let bytes = self.members.read("index.json", LARGEST_MANIFEST)?;
        let index: Index =
            serde_json::from_slice(&bytes).map_err(|e| Error::document("index.json", e))?;
        let mut entries = index.manifests;
        if let Some(name) = &self.name {
            let full = name
                .parse::<Reference>()
                .map(|reference| reference.to_string())
                .ok();
            entries.retain(|entry| {
                let found = entry.annotations.get(crate::store::REF_NAME);
                found.is_some_and(|found| found == name || Some(found) == full.as_ref())
            });
        }
        let descriptor = only(entries, &self.name())?;
        let bytes = self.manifest(&descriptor)?;
        Ok((descriptor, bytes))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.members
            .read(&blob_name(&descriptor.digest), LARGEST_MANIFEST)
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(
            self.members
                .member(&blob_name(&descriptor.digest), offset)?,
        ))
    }

    fn name(&self) -> String {
        format!("oci-archive:{}", self.members.path.display())
    }
}

/// What `docker save` and `podman save` write: layers and a configuration, without a manifest of their own.
#[derive(Debug)]
pub struct DockerArchive {
    members: Members,
    manifest: Vec<u8>,
    /// Where the blobs of the manifest that we put together lie.
    names: HashMap<Digest, String>,
    tags: Vec<String>,
}

/// An entry of the archive's `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl DockerArchive {
    /// Opens the archive; without a name it must hold one image.
    ///
    /// # Errors
    /// `Invalid` where the file is no archive of this kind, `NotFound` where it has no image of that name.
    pub fn open(path: impl AsRef<Path>, name: Option<&str>) -> Result<Self> {
        let members = Members::open(path.as_ref())?;
        let place = format!("docker-archive:{}", path.as_ref().display());
        let bytes = members.read("manifest.json", LARGEST_MANIFEST)?;
        let all: Vec<Saved> =
            serde_json::from_slice(&bytes).map_err(|e| Error::document(&place, e))?;
        let saved = choose(all, name, &place)?;
        let config = members.read(&saved.config, LARGEST_CONFIG)?;
        let mut archive = Self {
            members,
            manifest: Vec::new(),
            names: HashMap::new(),
            tags: saved.repo_tags.unwrap_or_default(),
        };
        archive.put_together(&saved.config, &config, &saved.layers.unwrap_or_default())?;
        Ok(archive)
    }

    /// The names under which the image was saved.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    fn put_together(&mut self, config_name: &str, config: &[u8], layers: &[String]) -> Result<()> {
        let diff_ids = Config::parse(config)?.rootfs.diff_ids;
        if diff_ids.len() != layers.len() {
            let reason = format!(
                "it has {} layers, its configuration {} diff ids",
                layers.len(),
                diff_ids.len()
            );
            return Err(Error::document(self.name(), reason));
        }
        let mut descriptors = Vec::with_capacity(layers.len());
        for (name, diff_id) in layers.iter().zip(diff_ids) {
            let descriptor = self.layer(name, diff_id)?;
            self.names.insert(descriptor.digest, name.clone());
            descriptors.push(descriptor);
        }
        let digest = Digest::of(Algorithm::Sha256, config);
        self.names.insert(digest, config_name.to_string());
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(media_type::OCI_MANIFEST.into()),
            artifact_type: None,
            config: Descriptor::new(media_type::OCI_CONFIG, digest, config.len() as u64),
            layers: descriptors,
            subject: None,
            annotations: Default::default(),
        };
        self.manifest =
            serde_json::to_vec(&manifest).map_err(|e| Error::document(self.name(), e))?;
        Ok(())
    }

    /// A plain layer's digest is its diff id, which whoever takes it in compares; a packed one must be read for it.
    fn layer(&self, name: &str, diff_id: Digest) -> Result<Descriptor> {
        let (_, length) = self.members.find(name)?;
        let mut member = self.members.member(name, 0)?;
        let mut start = Vec::new();
        let failed = || Error::io("read", &self.members.path);
        (&mut member)
            .take(4)
            .read_to_end(&mut start)
            .map_err(failed())?;
        let kind = match Compression::detect(&start) {
            Compression::None => {
                return Ok(Descriptor::new(media_type::OCI_LAYER, diff_id, length));
            }
            Compression::Gzip => media_type::OCI_LAYER_GZIP,
            Compression::Zstd => media_type::OCI_LAYER_ZSTD,
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        hasher.update(&start);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match member.read(&mut buffer).map_err(failed())? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        Ok(Descriptor::new(kind, hasher.finish(), length))
    }
}

fn choose(all: Vec<Saved>, name: Option<&str>, place: &str) -> Result<Saved> {
    let missing = || Error::NotFound {
        what: name.map_or("an image".into(), |name| format!("image {name:?}")),
        place: place.into(),
    };
    let Some(name) = name else {
        let count = all.len();
        return match all.into_iter().next() {
            Some(saved) if count == 1 => Ok(saved),
            None => Err(missing()),
            Some(_) => Err(Error::document(
                place,
                format!("it holds {count} images: say which"),
            )),
        };
    };
    let wanted: Reference = name.parse()?;
    let has_name = |saved: &Saved| {
        let mut tags = saved.repo_tags.iter().flatten();
        tags.any(|tag| tag.parse::<Reference>().is_ok_and(|tag| tag == wanted))
    };
    all.into_iter().find(has_name).ok_or_else(missing)
}

impl Source for DockerArchive {
    fn resolve(&self) -> Result<(Descriptor, Vec<u8>)> {
        let digest = Digest::of(Algorithm::Sha256, &self.manifest);
        let descriptor =
            Descriptor::new(media_type::OCI_MANIFEST, digest, self.manifest.len() as u64);
        Ok((descriptor, self.manifest.clone()))
    }

    fn manifest(&self, _: &Descriptor) -> Result<Vec<u8>> {
        Ok(self.manifest.clone())
    }

    fn open(&self, descriptor: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        let name = self
            .names
            .get(&descriptor.digest)
            .ok_or_else(|| Error::NotFound {
                what: format!("blob {}", descriptor.digest),
                place: self.name(),
            })?;
        Ok(Box::new(self.members.member(name, offset)?))
    }

    fn name(&self) -> String {
        format!("docker-archive:{}", self.members.path.display())
    }
}
