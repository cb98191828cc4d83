//! Where contestants work: five layers on disk, static programs in them.

use anyhow::{Context, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Removed when it is dropped.
pub struct Place {
    pub base: PathBuf,
    /// The topmost first.
    pub layers: Vec<PathBuf>,
}

/// `true` and `pause`, static and without a C library: what is measured is the start.
const PROGRAM: &str = r#"
#if defined(__x86_64__)
static long call(long n, long a) {
    long r; __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(0), "d"(0), "r"(0) : "rcx", "r11", "memory"); return r;
}
#define EXIT_GROUP 231
#define PAUSE 34
#endif
void _start(void) {
#ifdef WAITS
    for (;;) call(PAUSE, 0);
#endif
    call(EXIT_GROUP, 0);
    for (;;) ;
}
"#;

impl Place {
    pub fn new() -> anyhow::Result<Place> {
        let base = std::env::temp_dir().join(format!("ampoule-bench-{}", std::process::id()));
        let layers: Vec<PathBuf> = (0..5).map(|n| base.join(format!("layer{n}"))).collect();
        let place = Place { base, layers };
        for (number, layer) in place.layers.iter().enumerate() {
            fs::create_dir_all(layer.join(format!("dir{number}")))?;
            fs::write(layer.join(format!("file{number}")), vec![b'x'; 4096])?;
        }
        let bottom = &place.layers[4];
        for dir in ["proc", "sys", "dev", "etc", "tmp", "bin"] {
            fs::create_dir_all(bottom.join(dir))?;
        }
        place.compile(&bottom.join("bin/true"), &[])?;
        place.compile(&bottom.join("bin/pause"), &["-DWAITS"])?;
        Ok(place)
    }

    fn compile(&self, to: &Path, options: &[&str]) -> anyhow::Result<()> {
        let source = self.base.join("program.c");
        fs::write(&source, PROGRAM)?;
        let status = Command::new("cc")
            .args(["-O1", "-static", "-nostdlib", "-fno-stack-protector", "-o"])
            .args([to, &source])
            .args(options)
            .status()
            .context("cc")?;
        ensure!(status.success(), "cc ended with {status}");
        Ok(())
    }

    /// The program `true`, as the host sees it.
    pub fn program(&self) -> PathBuf {
        self.layers[4].join("bin/true")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The root for the peers is mounted in here.
        let root = self.base.join("bundle/rootfs");
        let _ = Command::new("umount").arg("-l").arg(root).status();
        let _ = fs::remove_dir_all(&self.base);
        // Parents of cgroups: ours for the floor, and what the runtimes leave of the path that they were given.
        for hierarchy in fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            for parent in ["ampoule-floor", "ampoule-peers"] {
                let _ = fs::remove_dir(hierarchy.path().join(parent));
            }
        }
    }
}
