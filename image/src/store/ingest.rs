//! Blobs on their way in: their digest is known before, and what has arrived survives an interruption.

use super::{Store, blob::mismatch, lock::lock_named, name_of_digest};
use crate::{Descriptor, Error, Hasher, Result};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

const REHASH_BUFFER: usize = 256 << 10;

/// What is to be done for a blob.
#[derive(Debug)]
pub enum Ingestion {
    /// Nothing: it is in the store.
    Present,
    /// Its bytes from [`Ingest::length`] on are to be written.
    Wanted(Box<Ingest>),
}

/// A blob on its way in. Dropped before [`commit`](Self::commit), what has arrived stays for the next attempt.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    descriptor: Descriptor,
}

impl Store {
    /// Begins to take in a blob, or goes on where an earlier attempt ended.
    ///
    /// Waits while another thread or process takes in the same blob, so that nothing is fetched twice.
    pub fn ingest(&self, descriptor: &Descriptor) -> Result<Ingestion> {
        if self.has_blob(&descriptor.digest) {
            return Ok(Ingestion::Present);
        }
        let path = self.own("ingest").join(name_of_digest(&descriptor.digest));
        let file = lock_named(&path)?;
        if self.has_blob(&descriptor.digest) {
            // Somebody else was quicker; our file is a new, empty one.
            let _ = fs::remove_file(&path);
            return Ok(Ingestion::Present);
        }
        let mut ingest = Ingest {
            store: self.clone(),
            path,
            file,
            hasher: Hasher::new(descriptor.digest.algorithm()),
            descriptor: descriptor.clone(),
        };
        ingest.rehash()?;
        Ok(Ingestion::Wanted(Box::new(ingest)))
    }
}

impl Ingest {
    /// How many bytes are there already.
    pub fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// What is being taken in.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// Opens what is there already, for a reader that needs all of the blob.
    pub fn reopen(&self) -> Result<impl Read + use<>> {
        let file = File::open(&self.path).map_err(Error::io("open", &self.path))?;
        Ok(file.take(self.length()))
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// `SizeMismatch` where there are more of them than the descriptor says; `Io` where the disk is full.
    pub fn write(&mut self, content: &[u8]) -> Result<()> {
        let length = self.length() + content.len() as u64;
        if length > self.descriptor.size {
            self.start_again()?;
            return Err(self.size_mismatch(length));
        }
        self.file
            .write_all(content)
            .map_err(Error::io("write", &self.path))?;
        self.hasher.update(content);
        Ok(())
    }

    /// Checks length and digest, and puts the blob into the store.
    ///
    /// # Errors
    /// `SizeMismatch` where bytes are missing (they may still come: what is there stays), `DigestMismatch` where the content
    /// is another (nothing of it stays).
    pub fn commit(mut self) -> Result<()> {
        if self.length() < self.descriptor.size {
            return Err(self.size_mismatch(self.length()));
        }
        let (expected, found) = (self.descriptor.digest, self.hasher.clone().finish());
        if found != expected {
            self.start_again()?;
            return Err(mismatch("blob", expected, found));
        }
        self.store.adopt(&self.path, &self.file, &expected)
    }

    /// Forgets what has arrived.
    pub fn start_again(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .map_err(Error::io("truncate", &self.path))?;
        self.file.rewind().map_err(Error::io("seek", &self.path))?;
        self.hasher = Hasher::new(self.descriptor.digest.algorithm());
        Ok(())
    }

    /// The state of the hash died with the process that made it.
    fn rehash(&mut self) -> Result<()> {
        let mut buffer = vec![0; REHASH_BUFFER];
        loop {
            let count = self
                .file
                .read(&mut buffer)
                .map_err(Error::io("read", &self.path))?;
            if count == 0 {
                break;
            }
            self.hasher.update(&buffer[..count]);
        }
        if self.length() > self.descriptor.size {
            self.start_again()?;
        }
        let end = SeekFrom::Start(self.length());
        self.file.seek(end).map_err(Error::io("seek", &self.path))?;
        Ok(())
    }

    fn size_mismatch(&self, found: u64) -> Error {
        Error::SizeMismatch {
            digest: Box::new(self.descriptor.digest),
            expected: self.descriptor.size,
            found,
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // An empty file is of no use to the next attempt; a committed one has lost this name.
        if self.length() == 0 {
            let _ = fs::remove_file(&self.path);
        }
    }
}
