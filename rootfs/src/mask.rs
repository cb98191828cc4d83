//! What the kernel shows too much of, and how it is hidden.

use crate::templates::empty;
use crate::{Error, ErrorKind, Maker, Mount, Result, Templates};
use ampoule_mounts::{MountAttributes, Tree};
use ampoule_plan::{Call, Draft, Errno, Fd, OpenTreeFlags, Phase, Slot, path};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, major, minor, openat};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Paths of the container that are covered, and paths that can only be read.
///
/// Nothing is looked for by name in a place that a container could have prepared: what lies in `/proc` and `/sys` is reached
/// from the mounts that the child has just made, and files are covered by a device that the host has looked at
/// (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masks {
    /// Paths that are covered: directories by an empty one, files by `/dev/null`. What is missing on this machine is skipped.
    pub masked: Vec<PathBuf>,
    /// Paths that can only be read.
    pub read_only: Vec<PathBuf>,
}

/// The OCI's default list, as runc and Docker have it.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

impl Default for Masks {
    /// What Docker masks.
    fn default() -> Masks {
        let mut masked: Vec<PathBuf> = MASKED.iter().map(PathBuf::from).collect();
        masked.extend(throttles());
        Masks {
            masked,
            read_only: READ_ONLY.iter().map(PathBuf::from).collect(),
        }
    }
}

/// How often each processor was too hot tells one container of another's load. Looked up once: they do not change.
fn throttles() -> Vec<PathBuf> {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find_throttles).clone()
}

fn find_throttles() -> Vec<PathBuf> {
    let processors = fs::read_dir("/sys/devices/system/cpu")
        .into_iter()
        .flatten();
    let paths = processors
        .flatten()
        .map(|entry| entry.path().join("thermal_throttle"));
    let mut found: Vec<PathBuf> = paths.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// The lists, with what the host has found of them: the container's `/proc` and `/sys` have the same shape.
#[derive(Debug)]
pub(crate) struct Looked {
    masked: Vec<(Within, What)>,
    read_only: Vec<Within>,
}

/// A path, by the mount that it lies in.
#[derive(Debug, Clone)]
enum Within {
    Proc(PathBuf),
    Sys(PathBuf),
    Root(PathBuf),
}

/// What there is to cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Directory,
    File,
    /// Only the container's root could tell.
    Either,
}

impl Masks {
    /// No masks. Right for a container that is trusted as the machine's root is.
    pub fn none() -> Masks {
        Masks {
            masked: Vec::new(),
            read_only: Vec::new(),
        }
    }

    pub(crate) fn look(&self) -> Looked {
        let masked = self.masked.iter().filter_map(|path| {
            let within = Within::of(path);
            let what = match (&within, fs::symlink_metadata(path)) {
                (Within::Root(_), _) => What::Either,
                (_, Ok(found)) if found.is_dir() => What::Directory,
                (_, Ok(_)) => What::File,
                (_, Err(_)) => return None,
            };
            Some((within, what))
        });
        let read_only = self.read_only.iter().map(|path| (Within::of(path), path));
        let read_only = read_only.filter(|(within, path)| match within {
            Within::Root(_) => true,
            _ => fs::symlink_metadata(path).is_ok(),
        });
        Looked {
            masked: masked.collect(),
            read_only: read_only.map(|(within, _)| within).collect(),
        }
    }
}

impl Looked {
    fn has(&self, what: What) -> bool {
        self.masked.iter().any(|(_, found)| *found == what)
    }
}

impl Within {
    fn of(path: &Path) -> Within {
        if let Ok(rest) = path.strip_prefix("/proc") {
            return Within::Proc(rest.into());
        }
        match path.strip_prefix("/sys") {
            Ok(rest) => Within::Sys(rest.into()),
            Err(_) => Within::Root(path.into()),
        }
    }
}

/// The mounts that paths lie in, as the plan calls them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places {
    pub proc: Option<Slot>,
    pub sys: Option<Slot>,
}

impl Places {
    /// The mount that a path lies in, and the path from there; none if the container has no such mount.
    fn find<'a>(&self, within: &'a Within) -> Option<(Fd, &'a Path)> {
        let (slot, path) = match within {
            Within::Proc(path) => (self.proc?, path),
            Within::Sys(path) => (self.sys?, path),
            Within::Root(path) => return Some((Fd::Cwd, path)),
        };
        Some((slot.into(), path))
    }
}

/// The masks of one container.
#[derive(Debug)]
pub(crate) struct Prepared {
    looked: Arc<Looked>,
    directory: Option<Mount>,
    file: Option<Mount>,
}

impl Prepared {
    pub fn new(masks: &Masks, maker: Maker, templates: &Templates) -> Result<Prepared> {
        let looked = templates.looked(masks);
        // Made only where there is something to cover: a mount that is attached nowhere costs more to undo than to make.
        let directory = match (looked.has(What::Directory), maker) {
            (false, _) => None,
            (true, Maker::Child) => Some(empty()),
            (true, Maker::Host) => {
                let copy = templates.mask.copy(|| Tree::new(empty()).seal().plant())?;
                Some(copy.into())
            }
        };
        let file = match looked.has(What::File) {
            false => None,
            true => Some(null(maker)?),
        };
        Ok(Prepared {
            looked,
            directory,
            file,
        })
    }

    /// Covers what is to be covered, once the container's root is `/`.
    pub fn contribute(&self, maker: Maker, draft: &mut Draft, places: Places) -> Result<()> {
        let (mut directory, mut file) = (None, None);
        for (within, what) in &self.looked.masked {
            let Some((dir, at)) = places.find(within) else {
                continue;
            };
            let mount = match what {
                What::Directory => Cover::next(&mut directory, &self.directory, maker, draft)?,
                What::File => Cover::next(&mut file, &self.file, maker, draft)?,
                What::Either => {
                    // Of its own: one of the two is not attached, and kernels before 6.15 copy no detached mount.
                    let directory = empty().slot(maker, draft, "empty", "covers a directory")?;
                    let file = null(maker)?.slot(maker, draft, "null", "covers a file")?;
                    cover_either(draft, directory, file, at)?;
                    continue;
                }
            };
            if let Some(mount) = mount {
                cover(draft, mount, dir, at)?;
            }
        }
        for within in &self.looked.read_only {
            if let Some((dir, at)) = places.find(within) {
                restrict(draft, dir, at)?;
            }
        }
        Ok(())
    }
}

/// A mount that covers many places: itself the first, copies of it the rest.
struct Cover(Slot);

impl Cover {
    fn next(
        cover: &mut Option<Cover>,
        mount: &Option<Mount>,
        maker: Maker,
        draft: &mut Draft,
    ) -> Result<Option<Slot>> {
        match (cover.as_ref(), mount) {
            (_, None) => Ok(None),
            (None, Some(mount)) => {
                let why = "covers what is not to be seen";
                let first = mount.slot(maker, draft, "cover", why)?;
                *cover = Some(Cover(first));
                Ok(Some(first))
            }
            (Some(first), Some(_)) => first.again(draft).map(Some),
        }
    }

    fn again(&self, draft: &mut Draft) -> Result<Slot> {
        // Of the attached one: that is what kernels before 6.15 want.
        let out = draft.slot("cover");
        let copy = Call::OpenTree {
            dir: self.0.into(),
            path: path("")?,
            flags: OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH,
            out,
        };
        draft.child(Phase::Mask, copy, "the same cover again");
        Ok(out)
    }
}

fn cover(draft: &mut Draft, mount: Slot, dir: Fd, at: &Path) -> Result<()> {
    let (from, path) = (mount.into(), path(at)?);
    let attach = Call::MoveMount { from, dir, path };
    draft.child(Phase::Mask, attach, "says too much of the machine");
    Ok(())
}

fn cover_either(draft: &mut Draft, directory: Slot, file: Slot, at: &Path) -> Result<()> {
    let attach = |from: Slot| -> Result<Call> {
        let (from, dir, path) = (from.into(), Fd::Cwd, path(at)?);
        Ok(Call::MoveMount { from, dir, path })
    };
    draft
        .child(Phase::Mask, attach(directory)?, "is hidden, if it is there")
        .tolerate(Errno::ENOENT)
        .or_else(attach(file)?);
    Ok(())
}

fn restrict(draft: &mut Draft, dir: Fd, at: &Path) -> Result<()> {
    let out = draft.slot(at.display().to_string());
    let copy = Call::OpenTree {
        dir,
        path: path(at)?,
        flags: OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW,
        out,
    };
    let change = Call::MountSetattr {
        dir: out.into(),
        path: path("")?,
        recursive: true,
        set: MountAttributes::MOUNT_ATTR_RDONLY,
        clear: MountAttributes::empty(),
        propagation: None,
    };
    let (from, path) = (out.into(), path(at)?);
    let attach = Call::MoveMount { from, dir, path };
    // A path of the container's own root may be missing; the copy is then no mount, and there is nothing to restrict.
    let missing = match dir {
        Fd::Cwd => vec![Errno::ENOENT, Errno::EBADF],
        _ => Vec::new(),
    };
    for (call, why) in [
        (copy, "changes the machine's settings"),
        (change, "so it can be read only"),
        (attach, "in its place"),
    ] {
        let mut step = draft.child(Phase::Mask, call, why);
        missing.iter().for_each(|errno| {
            step.tolerate(*errno);
        });
    }
    Ok(())
}

/// The null device, which the host has looked at.
fn null(maker: Maker) -> Result<Mount> {
    let mount = Mount::copy("/dev/null")
        .attributes(MountAttributes::MOUNT_ATTR_NOSUID | MountAttributes::MOUNT_ATTR_NOEXEC);
    match maker {
        Maker::Host => {
            let made = mount.create()?;
            verify_null(made.as_fd())?;
            Ok(Mount::handed(made))
        }
        Maker::Child => {
            verify_null(open_null()?.as_fd())?;
            Ok(mount)
        }
    }
}

fn open_null() -> Result<rustix::fd::OwnedFd> {
    openat(
        CWD,
        "/dev/null",
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| Error::kernel("open /dev/null", e))
}

/// That it is the real one: else a mask would show what somebody put in its place.
fn verify_null(null: BorrowedFd<'_>) -> Result<()> {
    let stat = fstat(null).map_err(|e| Error::kernel("look at /dev/null", e))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    match (kind, major(stat.st_rdev), minor(stat.st_rdev)) {
        (FileType::CharacterDevice, 1, 3) => Ok(()),
        _ => Err(Error::refused(
            ErrorKind::WrongType,
            "use /dev/null as a mask: it is not the null device",
        )),
    }
}
