//! Verification: every blob is read again and compared with its name.

use super::Store;
use crate::{Digest, Error, Hasher, Result};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Mutex;

const BUFFER: usize = 1 << 20;

/// A blob that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its file.
    pub path: PathBuf,
    /// What it should be.
    pub expected: Digest,
    /// What it is.
    pub found: Digest,
}

impl Store {
    /// Reads all blobs again, on all processors, and returns the damaged ones. It changes nothing.
    pub fn verify(&self) -> Result<Vec<Damage>> {
        let queue = Mutex::new(self.blobs()?);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let check_all = || -> Result<Vec<Damage>> {
            let mut damaged = Vec::new();
            loop {
                let next = queue.lock().ok().and_then(|mut queue| queue.pop());
                let Some(digest) = next else {
                    return Ok(damaged);
                };
                damaged.extend(self.check(&digest)?);
            }
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(check_all)).collect();
            let mut damaged = Vec::new();
            for worker in workers {
                damaged.extend(
                    worker
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?,
                );
            }
            Ok(damaged)
        })
    }

    /// Removes a blob, so that the next pull fetches it again.
    pub fn remove_blob(&self, digest: &Digest) -> Result<()> {
        let path = self.blob_path(digest);
        fs::remove_file(&path).map_err(Error::io("remove", &path))
    }

    /// The digests of all blobs that are present.
    pub fn blobs(&self) -> Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            let directory = self.root.join("blobs").join(algorithm);
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            for entry in entries {
                let name = entry.map_err(Error::io("list", &directory))?.file_name();
                let text = format!("{algorithm}:{}", name.to_string_lossy());
                digests.extend(text.parse::<Digest>().ok());
            }
        }
        Ok(digests)
    }

    fn check(&self, digest: &Digest) -> Result<Option<Damage>> {
        let path = self.blob_path(digest);
        let (mut file, _) = match self.open_blob(digest) {
            // It was collected since it was listed.
            Err(Error::NotFound { .. }) => return Ok(None),
            opened => opened?,
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; BUFFER];
        loop {
            match file.read(&mut buffer).map_err(Error::io("read", &path))? {
                0 => break,
                count => hasher.update(&buffer[..count]),
            }
        }
        let found = hasher.finish();
        let damage = Damage {
            path,
            expected: *digest,
            found,
        };
        Ok((damage.found != damage.expected).then_some(damage))
    }
}
