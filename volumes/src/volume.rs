//! One volume: what it shows, and where.

use crate::{Error, ErrorKind, Propagation, Result};
use ampoule_mounts::{Kind, Mount, MountAttributes, Target};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One volume of a container.
#[derive(Debug, Clone)]
pub struct Volume {
    pub(crate) target: PathBuf,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Bind(Bind),
    Tmpfs(Tmpfs),
}

/// A directory or a single file of the machine.
#[derive(Debug, Clone)]
pub struct Bind {
    /// Where it is on the machine: an absolute path.
    pub source: PathBuf,
    /// Whether the container can only read it.
    pub read_only: bool,
    /// Whether what is mounted below the source comes with it.
    pub recursive: bool,
    /// Whether what is mounted below it stays writable when it is read-only itself.
    pub writable_below: bool,
    /// How mounts that are made later pass between the machine and the container, here and below.
    pub propagation: Propagation,
    /// The user namespace by whose map the owners of files are shown.
    pub idmap: Option<Arc<OwnedFd>>,
}

/// A file system in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// The most it takes, in bytes; none is half of the machine's memory: tmpfs(5).
    pub size: Option<u64>,
    /// The mode of its root directory.
    pub mode: u32,
    /// The owner of its root directory.
    pub owner: Option<(u32, u32)>,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether programs on it can be executed.
    pub exec: bool,
}

impl Default for Tmpfs {
    /// As Docker has it: of any size, for everybody, without programs.
    fn default() -> Tmpfs {
        Tmpfs {
            size: None,
            mode: 0o1777,
            owner: None,
            read_only: false,
            exec: false,
        }
    }
}

impl Bind {
    /// A directory with all that is mounted below it, or a file; writable, and mounts do not spread.
    pub fn new(source: impl Into<PathBuf>) -> Bind {
        Bind {
            source: source.into(),
            read_only: false,
            recursive: true,
            writable_below: false,
            propagation: Propagation::Private,
            idmap: None,
        }
    }

    fn kind(&self) -> Result<Kind> {
        let source = &self.source;
        if !source.is_absolute() {
            let what = format!("bind {source:?}");
            return Err(Error::refused(ErrorKind::Invalid, what)
                .hint("the source must be an absolute path"));
        }
        let found = std::fs::metadata(source).map_err(|e| {
            let failed = Error::kernel(format!("bind {source:?}"), e);
            match failed.kind() {
                ErrorKind::Missing => failed.hint("a source is not made: make it first"),
                _ => failed,
            }
        })?;
        Ok(match found.is_dir() {
            true => Kind::Directory,
            false => Kind::File,
        })
    }

    fn mount(&self) -> Mount {
        let mount = match self.recursive {
            true => Mount::copy_all(&self.source),
            false => Mount::copy(&self.source),
        };
        // Devices are opened by `/dev`'s nodes; a volume's own would be a way around the list of devices.
        let mount = mount
            .attributes(MountAttributes::MOUNT_ATTR_NODEV)
            .propagation(self.propagation);
        let mount = match &self.idmap {
            Some(namespace) => mount.idmap(namespace.clone()),
            None => mount,
        };
        match self.read_only {
            true => mount
                .read_only()
                .recursive(self.recursive && !self.writable_below),
            false => mount,
        }
    }
}

impl Tmpfs {
    fn mount(&self) -> Mount {
        let mut mount = Mount::tmpfs().option("mode", format!("{:04o}", self.mode));
        if let Some(size) = self.size {
            mount = mount.option("size", size.to_string());
        }
        if let Some((uid, gid)) = self.owner {
            mount = mount
                .option("uid", uid.to_string())
                .option("gid", gid.to_string());
        }
        if !self.exec {
            mount = mount.attributes(MountAttributes::MOUNT_ATTR_NOEXEC);
        }
        match self.read_only {
            true => mount.read_only(),
            false => mount,
        }
    }
}

impl Volume {
    /// A directory or a single file of the machine, at an absolute path of the container.
    pub fn bind(bind: Bind, target: impl Into<PathBuf>) -> Volume {
        Volume {
            target: target.into(),
            source: Source::Bind(bind),
        }
    }

    /// A file system in memory, at an absolute path of the container.
    pub fn tmpfs(tmpfs: Tmpfs, target: impl Into<PathBuf>) -> Volume {
        Volume {
            target: target.into(),
            source: Source::Tmpfs(tmpfs),
        }
    }

    /// Where it is in the container.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Whether the container can only read it.
    pub fn is_read_only(&self) -> bool {
        match &self.source {
            Source::Bind(bind) => bind.read_only,
            Source::Tmpfs(tmpfs) => tmpfs.read_only,
        }
    }

    pub(crate) fn mount(&self) -> Mount {
        match &self.source {
            Source::Bind(bind) => bind.mount(),
            Source::Tmpfs(tmpfs) => tmpfs.mount(),
        }
    }

    /// The place in the container, with what must stand there.
    pub(crate) fn place(&self) -> Result<Target> {
        let kind = match &self.source {
            Source::Bind(bind) => bind.kind()?,
            Source::Tmpfs(_) => Kind::Directory,
        };
        let target = Target::new(&self.target, kind)?;
        // A false /proc would be told what is meant for the kernel (CVE-2019-16884).
        if target.path().starts_with("/proc") {
            let what = format!("mount at {:?}", self.target);
            return Err(Error::refused(ErrorKind::Invalid, what).hint("/proc is the kernel's"));
        }
        Ok(target)
    }
}
