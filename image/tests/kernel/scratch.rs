//! A directory of a test's own, and the programs that serve as peers.

use ampoule_image::{Algorithm, Descriptor, Digest, Manifest, Store, media_type};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Removed with all its content when it is dropped, also when the test fails.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("ampoule-image-{}-{next}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn store(&self) -> Store {
        Store::open(self.path("store")).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::fs::remove_dir_all(&self.0).is_err() {
            // Hostile trees have directories without permissions.
            let _ = Command::new("chmod")
                .arg("-R")
                .arg("u+rwx")
                .arg(&self.0)
                .status();
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

pub fn skopeo() -> Result<(), String> {
    needs::program("skopeo")
}

pub fn umoci() -> Result<(), String> {
    needs::program("umoci")
}

/// Runs a peer and panics with what it said where it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Stores an image of plain layers under a name.
pub fn store_image(store: &Store, name: &str, layers: &[Vec<u8>]) -> Descriptor {
    let diff_ids: Vec<String> = layers
        .iter()
        .map(|layer| Digest::of(Algorithm::Sha256, layer).to_string())
        .collect();
    let platform = ampoule_image::Platform::host();
    let config = serde_json::json!({
        "architecture": platform.architecture, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media_type::OCI_MANIFEST.into()),
        artifact_type: None,
        config: store
            .write_document(media_type::OCI_CONFIG, config.to_string().as_bytes())
            .unwrap(),
        layers: layers
            .iter()
            .map(|layer| store.write_document(media_type::OCI_LAYER, layer).unwrap())
            .collect(),
        subject: None,
        annotations: Default::default(),
    };
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let descriptor = store
        .write_document(media_type::OCI_MANIFEST, &bytes)
        .unwrap();
    store.tag(&name.parse().unwrap(), &descriptor).unwrap();
    descriptor
}
