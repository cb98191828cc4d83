//! What a container sees as `/`.

use crate::view::{self, View};
use crate::{Error, Maker, Mount, Overlay, Result, Templates};
use ampoule_mounts::{MountAttributes, Tree};
use rustix::fs::OFlags;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a container sees as `/`.
#[derive(Debug, Clone)]
pub struct Root {
    kind: Kind,
    idmap: Option<Arc<OwnedFd>>,
}

#[derive(Debug, Clone)]
enum Kind {
    Host(View),
    Directory(PathBuf),
    Overlay(Overlay),
    Handed(Arc<OwnedFd>),
}

/// A root that is about to be made.
#[derive(Debug)]
pub(crate) struct Made {
    pub tree: ampoule_mounts::Ready,
    /// What lies in the root besides: its place, the tree, why.
    pub parts: Vec<(&'static str, ampoule_mounts::Ready, &'static str)>,
    /// The root as the host sees it, where it does.
    pub seen: Option<Arc<OwnedFd>>,
    /// Files whose content is known without looking.
    pub written: &'static [(&'static str, &'static str)],
}

impl Made {
    fn of(tree: ampoule_mounts::Ready) -> Made {
        let (parts, seen, written) = (Vec::new(), None, &[]);
        Made {
            tree,
            parts,
            seen,
            written,
        }
    }
}

impl Root {
    /// A read-only view of this machine's programs, with private `/tmp`, `/home`, `/root`, `/run` and `/var/tmp`.
    ///
    /// `/usr`, `/bin`, `/sbin`, `/lib*` and `/opt` are those of the machine. `/etc` has only what programs need to run: users
    /// `root` and `nobody`, the linker's cache, certificates, the time zone. All else is in memory and starts empty.
    pub fn host() -> Root {
        Root::from(Kind::Host(View::default()))
    }

    /// A directory with a whole file system in it.
    pub fn dir(path: impl Into<PathBuf>) -> Root {
        Root::from(Kind::Directory(path.into()))
    }

    /// Directories laid over one another.
    pub fn overlay(overlay: Overlay) -> Root {
        Root::from(Kind::Overlay(overlay))
    }

    /// A detached mount that was made elsewhere. It can be used for one container.
    pub fn handed(mount: impl Into<Arc<OwnedFd>>) -> Root {
        Root::from(Kind::Handed(mount.into()))
    }

    fn from(kind: Kind) -> Root {
        Root { kind, idmap: None }
    }

    /// The most that may be written into the host view, in bytes; by default 1 GiB. It counts as memory of whoever writes.
    ///
    /// Other roots have limits of their own: [`Upper::Memory`](crate::Upper::Memory), or those of the disk.
    pub fn size(mut self, bytes: u64) -> Root {
        if let Kind::Host(view) = &mut self.kind {
            view.size = bytes;
        }
        self
    }

    /// Shows the owners of files through the map of a user namespace: a root that is owned by 0 on disk then belongs to the
    /// container's root. For a directory (kernel 5.12) and the
    /// layers of an overlay (kernel 6.15).
    #[doc(alias = "MOUNT_ATTR_IDMAP")]
    pub fn idmap(mut self, user_namespace: impl Into<Arc<OwnedFd>>) -> Root {
        self.idmap = Some(user_namespace.into());
        self
    }

    pub(crate) fn make(
        &self,
        maker: Maker,
        read_only: bool,
        owner: Option<(u32, u32)>,
        templates: &Templates,
    ) -> Result<Made> {
        let idmapped = |mount: Mount| match &self.idmap {
            Some(namespace) => mount.recursive(true).idmap(namespace.clone()),
            None => mount,
        };
        let (mount, seen) = match &self.kind {
            Kind::Host(view) => return view::make(view, maker, owner, templates),
            Kind::Directory(path) => {
                let directory = readable(path)?;
                let mount = Mount::copy_all(path).attributes(MountAttributes::MOUNT_ATTR_NODEV);
                let mount = if read_only { mount.read_only() } else { mount };
                (mount, Some(directory))
            }
            // It is the layers that are mapped: the kernel maps no overlay.
            Kind::Overlay(overlay) => {
                let tree = Tree::new(Mount::overlay(self.mapped(overlay, owner)));
                return Ok(Made::of(tree.prepare(maker)?));
            }
            Kind::Handed(mount) => (Mount::handed(mount.clone()), Some(mount.clone())),
        };
        let tree = Tree::new(idmapped(mount)).prepare(maker)?;
        Ok(Made {
            seen,
            ..Made::of(tree)
        })
    }

    fn mapped(&self, overlay: &Overlay, owner: Option<(u32, u32)>) -> Overlay {
        let mut overlay = overlay.clone();
        if let Some(namespace) = &self.idmap {
            overlay = overlay.idmap(namespace.clone());
        }
        match owner {
            Some((uid, gid)) => overlay.owner(uid, gid),
            None => overlay,
        }
    }

    /// Whether what the container writes to it is kept apart from what others read.
    pub(crate) fn may_be_filled(&self, read_only: bool) -> bool {
        match &self.kind {
            Kind::Directory(_) => !read_only,
            _ => true,
        }
    }
}

fn readable(path: &Path) -> Result<Arc<OwnedFd>> {
    let failed = |e| Error::kernel(format!("use {path:?} as a root"), e);
    // Opened for reading first: a root that cannot be read is a mistake that shows up later and less clearly.
    let mut how = File::options();
    how.read(true)
        .custom_flags(OFlags::DIRECTORY.bits().cast_signed());
    let directory = how.open(path).map_err(failed)?;
    Ok(Arc::new(directory.into()))
}
