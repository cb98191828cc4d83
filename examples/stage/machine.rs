//! A virtual machine that boots a kernel and says which one it is.

use crate::stage::{self, missing};
use anyhow::Context;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// What the machine's process 1 does: it says that it is there, and which kernel it has.
const INIT: &str = "#!/bin/busybox sh\n/bin/busybox uname -r\n/bin/busybox sleep 100\n";

/// What it costs to have another `uname -r`.
pub struct Costs {
    /// From the call until it has spoken.
    pub start: Duration,
    /// The most that it has held, in bytes.
    pub memory: u64,
    /// What must lie on disk for it, in bytes.
    pub disk: u64,
    /// The release of the kernel that it sees.
    pub kernel: String,
}

/// Boots a machine whose only program is busybox.
pub fn boot() -> anyhow::Result<Costs> {
    let (kernel, busybox) = (kernel()?, busybox()?);
    if Command::new("qemu-system-x86_64")
        .arg("--version")
        .output()
        .is_err()
    {
        return Err(missing("qemu", "qemu-system-x86_64 is not installed"));
    }
    let place = tempfile::tempdir()?;
    let initramfs = place.path().join("initramfs");
    fs::write(
        &initramfs,
        archive(&[
            ("bin", &[]),
            ("bin/busybox", &busybox),
            ("init", INIT.as_bytes()),
        ]),
    )?;
    let disk = fs::metadata(&kernel)?.len() + fs::metadata(&initramfs)?.len();
    // The processor's own help if it is there and works, else emulation.
    let hardware = File::options().read(true).write(true).open("/dev/kvm");
    let first = hardware
        .ok()
        .and_then(|_| attempt(&kernel, &initramfs, "kvm", 10).ok());
    let (start, memory, release) = match first {
        Some(booted) => booted,
        None => attempt(&kernel, &initramfs, "tcg", 200)?,
    };
    Ok(Costs {
        start,
        memory,
        disk,
        kernel: release,
    })
}

/// Boots until process 1 speaks: the time, the memory that QEMU holds by then, what it said.
fn attempt(
    kernel: &Path,
    initramfs: &Path,
    accelerator: &str,
    seconds: u64,
) -> anyhow::Result<(Duration, u64, String)> {
    let begun = Instant::now();
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-serial",
        "stdio",
        "-m",
        "256",
    ]);
    qemu.args(["-accel", accelerator, "-append", "console=ttyS0 quiet"]);
    qemu.arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initramfs);
    let mut qemu = Killed(
        qemu.stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let console = BufReader::new(qemu.0.stdout.take().context("QEMU's console")?);
    let (to, lines) = channel();
    std::thread::spawn(move || {
        console
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| to.send(line))
    });
    // Firmware and kernel speak before: a release begins with a number.
    while let Some(left) = Duration::from_secs(seconds).checked_sub(begun.elapsed()) {
        let line = lines
            .recv_timeout(left)
            .context("the machine did not boot")?;
        if line.starts_with(|first: char| first.is_ascii_digit()) {
            let memory = memory(qemu.0.id())?;
            return Ok((begun.elapsed(), memory, line.trim().to_string()));
        }
    }
    anyhow::bail!("the machine did not boot in {seconds} seconds")
}

/// A process that does not outlive this value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// The most that a process has held in memory, in bytes.
fn memory(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
}

fn kernel() -> anyhow::Result<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("XDG_CACHE_HOME").unwrap_or(format!("{home}/.cache"));
    let cache = std::env::var("VMTEST_CACHE").unwrap_or(format!("{cache}/vmtest"));
    let fetched = Path::new(&cache).join("linux-image-amd64/vmlinux");
    let installed = stage::names("/boot").unwrap_or_default().into_iter();
    let installed = installed
        .filter(|name| name.starts_with("vmlinuz"))
        .map(|name| Path::new("/boot").join(name));
    let readable = |path: &PathBuf| File::open(path).is_ok();
    let found = std::iter::once(fetched).chain(installed).find(readable);
    found.ok_or_else(|| {
        missing(
            "vm_kernel",
            "no kernel that can be read: tests/vm/vmtest --update fetches one",
        )
    })
}

fn busybox() -> anyhow::Result<Vec<u8>> {
    let places = ["/usr/bin/busybox", "/bin/busybox"];
    let found = places.iter().find_map(|path| fs::read(path).ok());
    found.ok_or_else(|| missing("busybox", "busybox-static is not installed"))
}

/// An initramfs, as the kernel unpacks it: a "newc" cpio archive, its fields in hexadecimal digits. Without content: a directory.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in entries.iter().chain(&[("TRAILER!!!", &[][..])]) {
        let mode = if content.is_empty() {
            0o040_755
        } else {
            0o100_755
        };
        let (size, name_size) = (content.len(), name.len() + 1);
        // Inode, mode, owner, group, links, time, size, four device numbers, name, checksum.
        let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        bytes.extend(b"070701");
        bytes.extend(
            fields
                .iter()
                .flat_map(|field| format!("{field:08x}").into_bytes()),
        );
        bytes.extend(name.bytes().chain([0]));
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}
