//! A directory of the test's own, and a container that has volumes of it.

use crate::inside::{Outcome, maker, run};
use ampoule_rootfs::{Root, Rootfs, Templates};
use ampoule_volumes::{Volume, Volumes};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that goes with its owner, whatever the test does.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ampoule-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A file in it.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a shell script says in the host view with these volumes.
pub fn shell(volumes: impl IntoIterator<Item = Volume>, script: &str) -> Outcome<String> {
    shell_in(Rootfs::new(Root::host()), volumes, script)
}

pub fn shell_in(
    mut rootfs: Rootfs,
    volumes: impl IntoIterator<Item = Volume>,
    script: &str,
) -> Outcome<String> {
    rootfs.maker(maker());
    let root = rootfs.prepare(&Templates::new())?;
    let volumes = Volumes::new(volumes).prepare(maker(), root.root())?;
    run(&[&root, &volumes], maker(), script)
}
