//! Directories laid over one another: overlayfs.

use crate::host::{Fs, aside, attach_aside, open_directory};
use crate::{Error, ErrorKind, Maker, Mount, Result, attach, kernel};
use ampoule_plan::{Call, Config, Draft, Fd, Phase, Slot, path};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chmodat, chownat, mkdirat, openat};
use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directories laid over one another, the first on top; an upper directory takes what is written.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    lower: Vec<PathBuf>,
    upper: Option<Upper>,
    volatile: bool,
    user_xattr: bool,
    idmap: Option<Arc<OwnedFd>>,
    owner: Option<(u32, u32)>,
}

/// Where an overlay keeps what is written.
#[derive(Debug, Clone)]
pub enum Upper {
    /// In a directory, which outlives the mount.
    Directory {
        /// What was changed.
        upper: PathBuf,
        /// A scratch directory of the kernel, empty and on the same file system.
        work: PathBuf,
    },
    /// In memory; gone with the mount.
    Memory {
        /// The most that may be written, in bytes.
        size: u64,
    },
}

/// One value of `fsconfig` ends at 255 bytes.
const LONGEST_VALUE: usize = 255;

impl Overlay {
    /// Layers from the topmost down, as the kernel's option `lowerdir` has them. Without an upper directory there must be two.
    #[doc(alias = "lowerdir")]
    pub fn new<P: Into<PathBuf>>(lower: impl IntoIterator<Item = P>) -> Overlay {
        Overlay {
            lower: lower.into_iter().map(Into::into).collect(),
            ..Overlay::default()
        }
    }

    /// Where it keeps what is written. Without one it is read-only.
    #[doc(alias = "upperdir")]
    pub fn upper(mut self, upper: Upper) -> Overlay {
        self.upper = Some(upper);
        self
    }

    /// Nothing is synced to the disk, not even at the end: right for what need not survive a crash (kernel 5.10).
    pub fn volatile(mut self, volatile: bool) -> Overlay {
        self.volatile = volatile;
        self
    }

    /// Notes on deleted and replaced directories are kept in `user.overlay.*` and not in `trusted.overlay.*` (kernel 5.11).
    ///
    /// A child that makes its own mounts always does so, for the other kind is root's alone.
    #[doc(alias = "userxattr")]
    pub fn user_xattr(mut self, user_xattr: bool) -> Overlay {
        self.user_xattr = user_xattr;
        self
    }

    /// Shows the owners of the layers' files through the map of a user namespace (kernel 6.15; an overlay itself cannot be mapped).
    #[doc(alias = "MOUNT_ATTR_IDMAP")]
    pub fn idmap(mut self, user_namespace: impl Into<Arc<OwnedFd>>) -> Overlay {
        self.idmap = Some(user_namespace.into());
        self
    }

    /// Who owns the root directory of an upper file system in memory, as the host counts users and groups.
    pub fn owner(mut self, uid: u32, gid: u32) -> Overlay {
        self.owner = Some((uid, gid));
        self
    }

    fn checked(&self) -> Result<()> {
        let least = if self.upper.is_some() { 1 } else { 2 };
        match self.lower.len() {
            count if count >= least => Ok(()),
            count => Err(Error::refused(
                ErrorKind::Invalid,
                format!(
                    "an overlay of {count} layers: the kernel wants {least} without an upper one"
                ),
            )),
        }
    }

    /// Looks at the layers, for one that the child will make.
    pub(crate) fn look(&self) -> Result<()> {
        self.layers()?;
        match &self.upper {
            Some(Upper::Directory { upper, work }) => {
                open_directory(upper)?;
                open_directory(work).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn layers(&self) -> Result<Vec<OwnedFd>> {
        self.checked()?;
        self.lower.iter().map(open_directory).collect()
    }

    fn mapped_layers(&self, namespace: &Arc<OwnedFd>) -> Result<Vec<OwnedFd>> {
        self.checked()?;
        if !kernel::composes_detached() {
            let what = "an overlay of id-mapped layers needs kernel 6.15";
            return Err(Error::refused(ErrorKind::Unsupported, what));
        }
        let mapped = |path| Mount::copy(path).idmap(namespace.clone()).create();
        self.lower.iter().map(mapped).collect()
    }

    /// Makes it, configured but not yet mounted; and the file system in memory that it writes to, if it has one.
    pub(crate) fn open(&self) -> Result<(Fs, Option<OwnedFd>)> {
        match kernel::composes_detached() {
            true => self.configure(),
            // Older kernels take a detached upper file system from nobody, and many layers only by very short names.
            false => aside(|| self.configure()),
        }
    }

    fn configure(&self) -> Result<(Fs, Option<OwnedFd>)> {
        let layers = match &self.idmap {
            Some(namespace) => self.mapped_layers(namespace)?,
            None => self.layers()?,
        };
        let fs = Fs::open("overlay")?;
        if kernel::appends_layers() {
            for layer in &layers {
                fs.string("lowerdir+", through(layer))?;
            }
        } else {
            fs.string("lowerdir", short_names(&layers)?)?;
        }
        match self.user_xattr {
            true => fs.flag("userxattr")?,
            // Some kernels have it on: an upper directory would then be no whole tree, to be read or carried elsewhere.
            false => fs.string("redirect_dir", "off")?,
        }
        let Some(upper) = &self.upper else {
            return Ok((fs.create()?, None));
        };
        if self.volatile {
            fs.flag("volatile")?;
        }
        let place = upper.open(self.owner)?;
        fs.string("upperdir", through(&place.upper))?;
        fs.string("workdir", through(&place.work))?;
        // The names lead through descriptors, which live until the kernel has followed them.
        let fs = fs.create().map_err(|error| match self.volatile {
            true => error.hint("an upper directory that was volatile once cannot be used again: empty its work directory"),
            false => error,
        })?;
        Ok((fs, place.memory))
    }

    /// Lets the child make it. The slot is that of the configured file system.
    ///
    /// The child names its layers by short links in a small file system of its own, because one value ends at 255 bytes.
    pub(crate) fn draft(&self, draft: &mut Draft) -> Result<Slot> {
        self.checked()?;
        if self.idmap.is_some() {
            let what = "id-map the layers of an overlay without privilege";
            return Err(Error::refused(ErrorKind::Denied, what));
        }
        let stage = self.stage(draft)?;
        let enter = Call::Fchdir { fd: stage.into() };
        draft.child(Phase::Mounts, enter, "names of layers begin here");
        let fs = draft.slot("overlay fs");
        let open = Call::Fsopen {
            kind: path("overlay")?,
            out: fs,
        };
        draft.child(Phase::Mounts, open, "directories laid over one another");
        for (config, why) in self.settings()? {
            let fs = fs.into();
            draft.child(Phase::Mounts, Call::Fsconfig { fs, config }, why);
        }
        Ok(fs)
    }

    /// A small file system with names for the layers, and with the upper directory if that is in memory.
    fn stage(&self, draft: &mut Draft) -> Result<Slot> {
        let size = match self.upper {
            Some(Upper::Memory { size }) => size,
            _ => 1 << 20,
        };
        let why = "names for the layers";
        let stage = memory(size).slot(Maker::Child, draft, "layers", why)?;
        let why = "the kernel takes layers from attached mounts only";
        attach(draft, stage, (Fd::Cwd, "/"), why)?;
        for (index, layer) in self.lower.iter().enumerate() {
            link(draft, stage, layer, &index.to_string())?;
        }
        match &self.upper {
            None => {}
            Some(Upper::Directory { upper, work }) => {
                link(draft, stage, upper, "upper")?;
                link(draft, stage, work, "work")?;
            }
            Some(Upper::Memory { .. }) => {
                for name in ["upper", "work"] {
                    let (dir, path, mode) = (stage.into(), path(name)?, 0o755);
                    let make = Call::Mkdirat { dir, path, mode };
                    draft.child(Phase::Mounts, make, "what is written stays in memory");
                }
            }
        }
        Ok(stage)
    }

    /// How the child configures it, by the names of the stage.
    fn settings(&self) -> Result<Vec<(Config, &'static str)>> {
        let names: Vec<String> = (0..self.lower.len()).map(|n| n.to_string()).collect();
        let mut settings = Vec::new();
        if kernel::appends_layers() {
            for name in &names {
                settings.push((string("lowerdir+", name)?, "the next layer below"));
            }
        } else {
            let all = fits(names.join(":"))?;
            settings.push((string("lowerdir", &all)?, "the layers, the first on top"));
        }
        if self.upper.is_some() {
            settings.push((string("upperdir", "upper")?, "takes what is written"));
            settings.push((string("workdir", "work")?, "the kernel's scratch"));
            if self.volatile {
                settings.push((Config::Flag(path("volatile")?), "nothing is synced"));
            }
        }
        settings.push((
            Config::Flag(path("userxattr")?),
            "trusted.* is root's alone",
        ));
        settings.push((Config::Create, "the file system is made"));
        Ok(settings)
    }
}

fn link(draft: &mut Draft, stage: Slot, target: &Path, name: &str) -> Result<()> {
    let link = Call::Symlinkat {
        target: path(target)?,
        dir: stage.into(),
        path: path(name)?,
    };
    draft.child(Phase::Mounts, link, "a short name for a layer");
    Ok(())
}

/// An upper directory that the kernel can be pointed at.
struct Writable {
    upper: OwnedFd,
    work: OwnedFd,
    /// A detached mount is undone with its descriptor.
    memory: Option<OwnedFd>,
}

impl Upper {
    fn open(&self, owner: Option<(u32, u32)>) -> Result<Writable> {
        let (upper, work, memory) = match self {
            Upper::Directory { upper, work } => {
                (open_directory(upper)?, open_directory(work)?, None)
            }
            Upper::Memory { size } => {
                let memory = memory(*size).create()?;
                let upper = subdirectory(&memory, "upper", owner)?;
                let work = subdirectory(&memory, "work", None)?;
                (upper, work, attach_aside(memory)?)
            }
        };
        Ok(Writable {
            upper,
            work,
            memory,
        })
    }
}

fn subdirectory(dir: &OwnedFd, name: &str, owner: Option<(u32, u32)>) -> Result<OwnedFd> {
    let failed = |e| Error::kernel(format!("make the overlay's directory {name}"), e);
    mkdirat(dir, name, Mode::from(0o755)).map_err(failed)?;
    // The upper directory's mode and owner are those of the root, whatever the host's umask.
    chmodat(dir, name, Mode::from(0o755), AtFlags::empty()).map_err(failed)?;
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(dir, name, Some(uid), Some(gid), AtFlags::empty()).map_err(failed)?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty()).map_err(failed)
}

/// All layers in one value: relative to `/proc/thread-self/fd`, because the value ends at 255 bytes.
fn short_names(layers: &[OwnedFd]) -> Result<String> {
    let at = "/proc/thread-self/fd";
    rustix::process::chdir(at).map_err(|e| Error::kernel(format!("enter {at}"), e))?;
    let names: Vec<String> = layers.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    fits(names.join(":"))
}

fn memory(size: u64) -> Mount {
    Mount::tmpfs()
        .option("size", size.to_string())
        .option("mode", "0755")
}

/// A name for what a descriptor stands for: short, and silent about where it lies.
fn through(fd: &OwnedFd) -> String {
    format!("/proc/thread-self/fd/{}", fd.as_raw_fd())
}

fn fits(value: String) -> Result<String> {
    match value.len() <= LONGEST_VALUE {
        true => Ok(value),
        false => Err(Error::refused(
            ErrorKind::Unsupported,
            "an overlay of so many layers needs kernel 6.5",
        )),
    }
}

fn string(key: &str, value: &str) -> Result<Config> {
    let (key, value): (CString, CString) = (path(key)?, path(OsString::from(value))?);
    Ok(Config::String(key, value))
}
