//! Blobs: whole, verified, found by their digest.

use super::{Store, sync_parent, unique_name};
use crate::{Algorithm, Descriptor, Digest, Error, Hasher, Result};
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

impl Store {
    /// Where a blob lies, whether it is there or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let blobs = self.root.join("blobs").join(digest.algorithm().name());
        blobs.join(digest.hex())
    }

    /// Whether the blob is there.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    /// Opens a blob for reading, and tells its length in bytes.
    ///
    /// # Errors
    /// `NotFound` where it is not in the store.
    pub fn open_blob(&self, digest: &Digest) -> Result<(File, u64)> {
        let path = self.blob_path(digest);
        let file = File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => self.missing(format!("blob {digest}")),
            _ => Error::io("open", &path)(source),
        })?;
        let length = file.metadata().map_err(Error::io("stat", &path))?.len();
        Ok((file, length))
    }

    /// Reads a small blob and checks that it still is what its name says.
    ///
    /// # Errors
    /// `NotFound`; `Limit` where it has more than `limit` bytes; `DigestMismatch` where the disk has changed it.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let (file, length) = self.open_blob(digest)?;
        if length > limit {
            let what = format!("read blob {digest}");
            return Err(Error::Limit { what, limit });
        }
        let mut content = Vec::with_capacity(length as usize);
        let read = file.take(limit).read_to_end(&mut content);
        read.map_err(Error::io("read", self.blob_path(digest)))?;
        let found = Digest::of(digest.algorithm(), &content);
        match found == *digest {
            true => Ok(content),
            false => Err(mismatch("blob", *digest, found)),
        }
    }

    /// Stores bytes, and tells their digest.
    pub fn write_blob(&self, algorithm: Algorithm, content: &[u8]) -> Result<Digest> {
        let digest = Digest::of(algorithm, content);
        if self.has_blob(&digest) {
            return Ok(digest);
        }
        let mut writer = self.blob_writer(algorithm)?;
        writer
            .write_all(content)
            .map_err(Error::io("write", &writer.path))?;
        Ok(writer.commit()?.0)
    }

    /// Stores a document, and tells its descriptor.
    pub fn write_document(&self, media_type: &str, content: &[u8]) -> Result<Descriptor> {
        let digest = self.write_blob(Algorithm::Sha256, content)?;
        Ok(Descriptor::new(media_type, digest, content.len() as u64))
    }

    /// Begins a blob whose digest is known only when it is complete.
    pub fn blob_writer(&self, algorithm: Algorithm) -> Result<BlobWriter> {
        let path = self.own("ingest").join(unique_name());
        let file = File::create_new(&path).map_err(Error::io("create", &path))?;
        // The lock tells the collector that somebody still writes.
        super::lock::lock(&file, &path, FlockOperation::LockExclusive)?;
        Ok(BlobWriter {
            store: self.clone(),
            path,
            file,
            hasher: Hasher::new(algorithm),
            algorithm,
            committed: false,
        })
    }

    /// Puts a complete and verified file under its digest's name.
    pub(super) fn adopt(&self, from: &Path, file: &File, digest: &Digest) -> Result<()> {
        let to = self.blob_path(digest);
        file.sync_data().map_err(Error::io("sync", from))?;
        let parent = to.parent().unwrap_or(&self.root);
        // Only sha256 is there from the beginning.
        fs::create_dir_all(parent).map_err(Error::io("create directory", parent))?;
        fs::rename(from, &to).map_err(Error::io("rename into place", &to))?;
        sync_parent(&to)
    }

    pub(super) fn missing(&self, what: String) -> Error {
        let place = format!("the store {}", self.root.display());
        Error::NotFound { what, place }
    }
}

pub(crate) fn mismatch(what: &'static str, expected: Digest, found: Digest) -> Error {
    Error::DigestMismatch {
        what,
        expected: Box::new(expected),
        found: Box::new(found),
    }
}

/// A blob being written; nothing of it stays unless it is committed.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    algorithm: Algorithm,
    committed: bool,
}

impl BlobWriter {
    /// Puts the blob into the store, and tells its digest and length.
    pub fn commit(mut self) -> Result<(Digest, u64)> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(self.algorithm));
        let (length, digest) = (hasher.length(), hasher.finish());
        // What is there already stays: it may be open elsewhere, and is the same.
        if !self.store.has_blob(&digest) {
            self.store.adopt(&self.path, &self.file, &digest)?;
            self.committed = true;
        }
        Ok((digest, length))
    }
}

impl BlobWriter {
    /// As [`commit`](Self::commit), and named by the lease before a collector can see it.
    pub(crate) fn commit_leased(self, lease: &mut super::Lease) -> Result<(Digest, u64)> {
        lease.add(&self.hasher.clone().finish())?;
        self.commit()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for BlobWriter {
    fn drop(&mut self) {
        if !self.committed {
            let _ = fs::remove_file(&self.path);
        }
    }
}
