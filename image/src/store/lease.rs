//! Leases: what is in use, said in a way that ends with whoever said it.

use super::{Store, lock, name_of_digest, unique_name};
use crate::{Digest, Error, Image, Result};
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// As long as it lives, the collector spares what it names.
///
/// It is a file that lists digests, and a lock upon that file: when the process dies, the kernel releases the lock, and the
/// next collection removes the file.
#[derive(Debug)]
pub struct Lease {
    store: Store,
    file: File,
    path: PathBuf,
}

impl Store {
    /// A lease that names nothing yet: for work that makes blobs and layers before a tag keeps them.
    pub fn lease(&self) -> Result<Lease> {
        let path = self.own("leases").join(unique_name());
        let _held = self.lock_shared()?;
        let file = lock::open_for_lock(&path)?;
        lock::lock(&file, &path, FlockOperation::LockExclusive)?;
        Ok(Lease {
            store: self.clone(),
            file,
            path,
        })
    }

    /// A lease upon an image and its unpacked layers, which all its users share.
    pub(super) fn lease_image(&self, image: &Image) -> Result<Lease> {
        let path = self
            .own("leases")
            .join(name_of_digest(&image.descriptor().digest));
        // The usual case, without the store's lock: the file is there, and was not removed while we locked it.
        if let Ok(file) = File::open(&path)
            && lock::try_lock(&file, &path, FlockOperation::NonBlockingLockShared)?
            && lock::is_linked(&file, &path)?
        {
            return Ok(Lease {
                store: self.clone(),
                file,
                path,
            });
        }
        self.create_image_lease(image, path)
    }

    fn create_image_lease(&self, image: &Image, path: PathBuf) -> Result<Lease> {
        let _held = self.lock_shared()?;
        // No collector runs now, so the file keeps its name; a second creator writes the same lines.
        let mut options = OpenOptions::new();
        let opened = options.read(true).append(true).create(true).open(&path);
        let mut file = opened.map_err(Error::io("open", &path))?;
        lock::lock(&file, &path, FlockOperation::LockShared)?;
        let digests = std::iter::once(&image.descriptor().digest).chain(image.chain_ids());
        let lines: String = digests.map(|digest| format!("{digest}\n")).collect();
        file.write_all(lines.as_bytes())
            .map_err(Error::io("write", &path))?;
        Ok(Lease {
            store: self.clone(),
            file,
            path,
        })
    }

    /// What the living leases name; removes the files of dead ones. Only under the exclusive lock.
    pub(super) fn leased(&self) -> Result<Vec<Digest>> {
        let directory = self.own("leases");
        let mut digests = Vec::new();
        for entry in fs::read_dir(&directory).map_err(Error::io("list", &directory))? {
            let path = entry.map_err(Error::io("list", &directory))?.path();
            // A collector is the only one that removes leases, besides their owners.
            let Ok(mut file) = File::open(&path) else {
                continue;
            };
            if lock::try_lock(&file, &path, FlockOperation::NonBlockingLockExclusive)? {
                let _ = fs::remove_file(&path);
                continue;
            }
            let mut lines = String::new();
            file.read_to_string(&mut lines)
                .map_err(Error::io("read", &path))?;
            digests.extend(lines.lines().filter_map(|line| line.parse::<Digest>().ok()));
        }
        Ok(digests)
    }
}

impl Lease {
    /// Names one more: a manifest (which keeps what it points to), a blob, or a chain id (which keeps an unpacked layer).
    ///
    /// Name it before looking whether it is there: then it cannot vanish between the look and the use.
    pub fn add(&mut self, digest: &Digest) -> Result<()> {
        let _held = self.store.lock_shared()?;
        let written = self.file.write_all(format!("{digest}\n").as_bytes());
        written.map_err(Error::io("write", &self.path))
    }

    /// The file that carries it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
