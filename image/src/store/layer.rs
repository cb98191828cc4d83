//! Unpacked layers: directories by chain id, ready to be the lower directories of an overlay.

use super::{Store, lock, name_of_digest, unique_name};
use crate::{Digest, Error, Result};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What is known about an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerInfo {
    /// The digest of the plain archive.
    pub diff_id: Digest,
    /// How many entries the archive had.
    pub entries: u64,
    /// How long the plain archive was, bytes.
    pub bytes: u64,
    /// Whether whiteouts and opaque directories are marked for an overlay mounted with `userxattr`.
    pub user_xattrs: bool,
}

/// A layer that is being unpacked, in a directory that nothing uses yet. Dropped before it is committed, it is removed.
#[derive(Debug)]
pub struct PendingLayer {
    store: Store,
    directory: PathBuf,
    _lock: File,
    committed: bool,
}

impl Store {
    /// Where the files of an unpacked layer lie, whether it is there or not.
    pub fn layer_path(&self, chain_id: &Digest) -> PathBuf {
        self.layer_directory(chain_id).join("fs")
    }

    /// Whether the layer is there, whole.
    pub fn has_layer(&self, chain_id: &Digest) -> bool {
        self.layer_directory(chain_id).exists()
    }

    /// What is known about an unpacked layer.
    pub fn layer_info(&self, chain_id: &Digest) -> Result<LayerInfo> {
        let path = self.layer_directory(chain_id).join("layer.json");
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|e| Error::document(path.display().to_string(), e))
    }

    /// Begins to unpack a layer.
    pub fn new_layer(&self) -> Result<PendingLayer> {
        let directory = self.own("layers").join(unique_name());
        let mut builder = fs::DirBuilder::new();
        builder
            .mode(0o700)
            .create(&directory)
            .map_err(Error::io("create directory", &directory))?;
        let lock = File::open(&directory).map_err(Error::io("open", &directory))?;
        lock::lock(&lock, &directory, FlockOperation::LockExclusive)?;
        let pending = PendingLayer {
            store: self.clone(),
            directory,
            _lock: lock,
            committed: false,
        };
        builder
            .mode(0o755)
            .create(pending.path())
            .map_err(Error::io("create directory", pending.path()))?;
        Ok(pending)
    }

    pub(super) fn layer_directory(&self, chain_id: &Digest) -> PathBuf {
        self.own("layers").join(name_of_digest(chain_id))
    }
}

impl PendingLayer {
    /// The directory into which the layer is unpacked.
    pub fn path(&self) -> PathBuf {
        self.directory.join("fs")
    }

    /// Gives the layer its name. If another process was quicker, its layer stays and this one is removed.
    pub fn commit(mut self, chain_id: &Digest, info: &LayerInfo) -> Result<PathBuf> {
        let path = self.directory.join("layer.json");
        let bytes = serde_json::to_vec(info).map_err(|e| Error::document("layer.json", e))?;
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
        let to = self.store.layer_directory(chain_id);
        match fs::rename(&self.directory, &to) {
            Ok(()) => self.committed = true,
            // ENOTEMPTY or EEXIST: the same layer.
            Err(_) if to.exists() => {}
            Err(source) => return Err(Error::io("rename into place", &to)(source)),
        }
        Ok(to.join("fs"))
    }
}

impl Drop for PendingLayer {
    fn drop(&mut self) {
        if !self.committed {
            remove_tree(&self.directory);
        }
    }
}

/// Removes a tree, also one whose directories its owner may not write.
pub(super) fn remove_tree(path: &Path) {
    if fs::remove_dir_all(path).is_ok() {
        return;
    }
    open_up(path, 0);
    let _ = fs::remove_dir_all(path);
}

fn open_up(directory: &Path, depth: usize) {
    use std::os::unix::fs::PermissionsExt;
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        // `file_type` does not follow links, so this stays inside.
        if depth < 4096 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path(), depth + 1);
        }
    }
}
