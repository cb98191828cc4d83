//! A directory of the test's own.

use std::os::unix::fs::{PermissionsExt, symlink};
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
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
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
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A root tree with a static shell and its tools.
    pub fn root(&self, name: &str) -> PathBuf {
        let root = self.dir(name);
        std::fs::create_dir(root.join("bin")).unwrap();
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for tool in TOOLS {
            symlink("busybox", root.join("bin").join(tool)).unwrap();
        }
        root
    }
}

const TOOLS: [&str; 13] = [
    "cat", "dd", "echo", "head", "id", "ls", "mkdir", "mv", "rm", "sh", "stat", "touch", "wc",
];

impl Drop for Scratch {
    fn drop(&mut self) {
        // The kernel's own directories in an overlay's work directory are closed even to their owner.
        for kernels in [
            "work/work",
            "work/work/incompat",
            "work/work/incompat/volatile",
        ] {
            let open = PermissionsExt::from_mode(0o700);
            let _ = std::fs::set_permissions(self.0.join(kernels), open);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A static shell, which needs nothing of the machine's libraries.
pub fn busybox() -> Result<(), String> {
    needs::file("/bin/busybox")
}
