//! Garbage collection: removes what neither a tag nor a lease can reach.

use super::{Store, digest_of_name, layer::remove_tree, lock, unique_name};
use crate::{
    Config, Descriptor, Digest, Document, Error, LARGEST_CONFIG, LARGEST_MANIFEST, Result,
};
use rustix::fs::FlockOperation;
use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// What a collection removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// The blobs.
    pub blobs: Vec<Digest>,
    /// The unpacked layers, by chain id.
    pub layers: Vec<Digest>,
    /// Partial downloads and abandoned temporary files.
    pub partial: usize,
    /// The length of the removed blobs and partial downloads, bytes. Unpacked layers are not counted.
    pub bytes: u64,
}

impl Store {
    /// Removes blobs, partial downloads and unpacked layers that neither a tag nor a living lease reaches.
    ///
    /// Waits for those who are just adding a lease; they wait until it has marked, not until it has removed the trees.
    ///
    /// # Errors
    /// `Document` or `DigestMismatch` where a tagged manifest is unreadable: then nothing is removed, since what it needs
    /// cannot be known.
    pub fn collect(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        let doomed = {
            let _held = self.lock_exclusive()?;
            let mut marked = Marked::default();
            for entry in self.index()?.manifests {
                self.mark(&entry, &mut marked, 0)?;
            }
            for digest in self.leased()? {
                marked.layers.insert(digest);
                self.mark_leased(&digest, &mut marked)?;
            }
            self.sweep_blobs(&marked, &mut collected)?;
            self.sweep_partial(&marked, &mut collected)?;
            self.sweep_documents(&mut collected)?;
            self.set_layers_aside(&marked, &mut collected)?
        };
        for path in doomed {
            remove_tree(&path);
        }
        Ok(collected)
    }

    fn mark(&self, descriptor: &Descriptor, marked: &mut Marked, depth: usize) -> Result<()> {
        let digest = descriptor.digest;
        if !marked.blobs.insert(digest) || depth > 8 || !self.has_blob(&digest) {
            return Ok(());
        }
        match self.document(&digest)? {
            None => Ok(()),
            Some(Document::Index(index)) => {
                let mut entries = index.manifests.iter();
                entries.try_for_each(|entry| self.mark(entry, marked, depth + 1))
            }
            Some(Document::Manifest(manifest)) => {
                marked.blobs.insert(manifest.config.digest);
                marked
                    .blobs
                    .extend(manifest.layers.iter().map(|layer| layer.digest));
                if let Ok(bytes) = self.read_blob(&manifest.config.digest, LARGEST_CONFIG)
                    && let Ok(config) = Config::parse(&bytes)
                {
                    marked.layers.extend(config.chain_ids());
                }
                Ok(())
            }
        }
    }

    /// A lease names blobs of every kind, layers too: only small ones are looked into.
    fn mark_leased(&self, digest: &Digest, marked: &mut Marked) -> Result<()> {
        let length = fs::metadata(self.blob_path(digest)).map_or(0, |metadata| metadata.len());
        if length == 0 || length > LARGEST_MANIFEST {
            marked.blobs.insert(*digest);
            return Ok(());
        }
        self.mark(&Descriptor::new("", *digest, length), marked, 0)
    }

    fn document(&self, digest: &Digest) -> Result<Option<Document>> {
        let bytes = match self.read_blob(digest, LARGEST_MANIFEST) {
            Ok(bytes) => bytes,
            Err(Error::Limit { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Another kind of artifact points to nothing that we know.
        Ok(Document::parse(&bytes, None).ok())
    }

    fn sweep_blobs(&self, marked: &Marked, collected: &mut Collected) -> Result<()> {
        for algorithm in ["sha256", "sha512"] {
            for (path, name) in entries(&self.root.join("blobs").join(algorithm))? {
                let Ok(digest) = format!("{algorithm}:{name}").parse::<Digest>() else {
                    continue;
                };
                if !marked.blobs.contains(&digest) {
                    collected.bytes += remove_file(&path)?;
                    collected.blobs.push(digest);
                }
            }
        }
        Ok(())
    }

    /// Whoever writes holds a lock; a marked partial download is about to be resumed.
    fn sweep_partial(&self, marked: &Marked, collected: &mut Collected) -> Result<()> {
        for (path, name) in entries(&self.own("ingest"))? {
            let wanted =
                digest_of_name(name.as_ref()).is_some_and(|digest| marked.blobs.contains(&digest));
            if !wanted && is_abandoned(&path)? {
                collected.bytes += remove_file(&path)?;
                collected.partial += 1;
            }
        }
        Ok(())
    }

    /// What was to become `index.json` when its writer died.
    fn sweep_documents(&self, collected: &mut Collected) -> Result<()> {
        // Its living writers hold this.
        let _held = self.lock_index()?;
        for (path, name) in entries(&self.root)? {
            if name.starts_with(".tmp-") {
                collected.bytes += remove_file(&path)?;
                collected.partial += 1;
            }
        }
        Ok(())
    }

    /// Renames what nobody needs, which is quick; the caller removes it once the lock is released.
    fn set_layers_aside(&self, marked: &Marked, collected: &mut Collected) -> Result<Vec<PathBuf>> {
        let mut doomed = Vec::new();
        for (path, name) in entries(&self.own("layers"))? {
            match digest_of_name(name.as_ref()) {
                Some(digest) if marked.layers.contains(&digest) => continue,
                Some(digest) => collected.layers.push(digest),
                None if is_abandoned(&path)? => collected.partial += 1,
                None => continue,
            }
            let aside = path.with_file_name(unique_name());
            fs::rename(&path, &aside).map_err(Error::io("rename", &path))?;
            doomed.push(aside);
        }
        Ok(doomed)
    }
}

#[derive(Default)]
struct Marked {
    blobs: HashSet<Digest>,
    layers: HashSet<Digest>,
}

fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>> {
    let list = match fs::read_dir(directory) {
        Ok(list) => list,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(Error::io("list", directory)(source)),
    };
    let mut found = Vec::new();
    for entry in list {
        let entry = entry.map_err(Error::io("list", directory))?;
        // What is no UTF-8 is not ours.
        if let Ok(name) = entry.file_name().into_string() {
            found.push((entry.path(), name));
        }
    }
    Ok(found)
}

fn is_abandoned(path: &Path) -> Result<bool> {
    match File::open(path) {
        Ok(file) => lock::try_lock(&file, path, FlockOperation::NonBlockingLockExclusive),
        // Its writer has just finished.
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(Error::io("open", path)(source)),
    }
}

fn remove_file(path: &Path) -> Result<u64> {
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    fs::remove_file(path).map_err(Error::io("remove", path))?;
    Ok(length)
}
