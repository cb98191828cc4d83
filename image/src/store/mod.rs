//! The content store: an OCI image layout on disk, with what is unpacked beside it.
//!
//! ```text
//! oci-layout  index.json  blobs/ALGORITHM/HEX     the layout of the specification, which other tools read
//! ampoule/lock          shared by whoever adds a lease, exclusive to the collector
//! ampoule/index.lock    exclusive to whoever replaces index.json
//! ampoule/ingest/       downloads under way, each locked by its writer; partial ones are resumed
//! ampoule/layers/       unpacked layers by chain id: HEX/fs and HEX/layer.json
//! ampoule/leases/       what is in use, each locked by its users
//! ```
//!
//! **Invariant:** nothing under its final name is ever incomplete: blobs, layers and documents are made under another name
//! and renamed. **Invariant:** a lock is an open file description, so the kernel releases it whatever dies.

mod blob;
mod collect;
mod image;
mod ingest;
mod layer;
mod lease;
mod lock;
mod tags;
mod verify;

pub use blob::BlobWriter;
pub(crate) use blob::mismatch;
pub use collect::Collected;
pub use image::{Image, Rootfs};
pub use ingest::{Ingest, Ingestion};
pub use layer::{LayerInfo, PendingLayer};
pub use lease::Lease;
pub(crate) use tags::REF_NAME;
pub use tags::Tag;
pub use verify::Damage;

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// A store of images in a directory.
///
/// It holds no state of its own, so any number of threads and processes may have the same directory open.
///
/// # Examples
/// ```
/// use ampoule_image::{Algorithm, Store};
///
/// let directory = std::env::temp_dir().join(format!("store-{}", std::process::id()));
/// let store = Store::open(&directory)?;
/// let blob = store.write_blob(Algorithm::Sha256, b"content")?;
/// assert_eq!(store.read_blob(&blob, 1024)?, b"content");
/// assert!(store.verify()?.is_empty());
/// # std::fs::remove_dir_all(&directory).unwrap();
/// # Ok::<(), ampoule_image::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the store in `directory`, and makes it where it is not there yet.
    ///
    /// # Errors
    /// `Io` where the directory cannot be made, `Document` where it is a layout of another version.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let root = directory.into();
        let root = std::path::absolute(&root).map_err(Error::io("resolve", &root))?;
        let store = Self { root };
        let layout = store.root.join("oci-layout");
        match fs::read(&layout) {
            Ok(bytes) => check_layout(&bytes)?,
            Err(_) => store.create(&layout)?,
        }
        Ok(store)
    }

    /// A layout that is only read, and may lie where nothing can be written.
    pub(crate) fn foreign(root: PathBuf) -> Self {
        Self { root }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    fn create(&self, layout: &Path) -> Result<()> {
        for name in [
            "blobs/sha256",
            "ampoule/ingest",
            "ampoule/layers",
            "ampoule/leases",
        ] {
            let path = self.root.join(name);
            // Only the owner: unpacked set-uid programs are nobody else's to run.
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path);
            made.map_err(Error::io("create directory", &path))?;
        }
        let _held = self.lock_index()?;
        if !self.index_path().exists() {
            replace_file(&self.index_path(), br#"{"schemaVersion":2,"manifests":[]}"#)?;
        }
        // Last, because it says that the rest is there.
        replace_file(layout, LAYOUT.as_bytes())
    }

    fn own(&self, name: &str) -> PathBuf {
        self.root.join("ampoule").join(name)
    }
}

fn check_layout(bytes: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let layout: Layout =
        serde_json::from_slice(bytes).map_err(|e| Error::document("oci-layout", e))?;
    match layout.image_layout_version.as_str() {
        "1.0.0" => Ok(()),
        other => Err(Error::document(
            "oci-layout",
            format!("version {other:?} is not 1.0.0"),
        )),
    }
}

/// Puts a file in place as a whole and for good: temporary name, fsync, rename, fsync of the directory.
fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = path.with_file_name(format!(".{}", unique_name()));
    let written = File::create_new(&temporary).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if let Err(source) = renamed {
        let _ = fs::remove_file(&temporary);
        return Err(Error::io("write", path)(source));
    }
    sync_parent(path)
}

/// A rename is for good once its directory is on disk.
fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(Error::io("sync directory", parent))
}

/// A name that no other thread or living process takes.
fn unique_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.as_nanos());
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("tmp-{}-{nanos:x}-{next}", std::process::id())
}

/// Foreign directories may hold anything; only what has the form of a digest is ours.
fn digest_of_name(name: &std::ffi::OsStr) -> Option<crate::Digest> {
    name.to_str()?.replacen('-', ":", 1).parse().ok()
}

fn name_of_digest(digest: &crate::Digest) -> String {
    digest.to_string().replacen(':', "-", 1)
}
