//! A mount with things in it.

use crate::host;
use crate::setattr::{Change, mount_setattr};
use crate::{Error, Maker, Mount, MountAttributes, Result, kernel};
use ampoule_plan::{Call, Draft, Fd, OpenFlags, Phase, Slot, path};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, makedev, mkdirat, mknodat, openat,
    symlinkat,
};
use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A mount with things in it: directories, files, links, devices, and more mounts.
///
/// Paths are relative to the tree, and whatever a thing lies in was added before it. A tree is for a file system that nobody
/// else has filled: what is there already is not looked at.
#[derive(Debug, Clone)]
pub struct Tree {
    base: Mount,
    nodes: Vec<(PathBuf, Node)>,
    sealed: bool,
    owner: Option<(u32, u32)>,
}

#[derive(Debug, Clone)]
enum Node {
    Directory { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { to: PathBuf },
    Device { mode: u32, major: u32, minor: u32 },
    Mount(Box<Mount>),
}

/// A tree that the host has made: a detached mount, and those mounts that only the child can attach to it.
///
/// It can be attached once; [`copy`](Planted::copy) makes more of it.
#[derive(Debug)]
pub struct Planted {
    root: Arc<OwnedFd>,
    /// Kernels before 6.15 attach nothing to a detached mount.
    rest: Vec<(PathBuf, Arc<OwnedFd>)>,
    /// What its file system writes to: see [`Mount::create_over`].
    under: Option<Arc<OwnedFd>>,
}

/// A tree that is ready for the child: made by the host, or to be made by the child.
#[derive(Debug)]
pub enum Ready {
    /// The host has made it.
    Planted(Planted),
    /// The child makes it.
    Described(Tree),
}

/// Where a tree is attached: a directory of the child, and a path relative to it.
pub type Place<'a> = (Fd, &'a str);

impl Tree {
    /// Nothing yet but this mount.
    pub fn new(base: Mount) -> Tree {
        Tree {
            base,
            nodes: Vec::new(),
            sealed: false,
            owner: None,
        }
    }

    /// Adds a directory.
    pub fn directory(&mut self, at: impl Into<PathBuf>, mode: u32) -> &mut Tree {
        self.node(at, Node::Directory { mode })
    }

    /// Adds a directory and those above it, except those that were added before.
    pub fn directories(&mut self, at: impl AsRef<Path>, mode: u32) -> &mut Tree {
        let above: Vec<&Path> = at.as_ref().ancestors().collect();
        for at in above
            .into_iter()
            .rev()
            .filter(|at| !at.as_os_str().is_empty())
        {
            if !self.nodes.iter().any(|(known, _)| known == at) {
                self.directory(at, mode);
            }
        }
        self
    }

    /// Adds a file.
    pub fn file(
        &mut self,
        at: impl Into<PathBuf>,
        mode: u32,
        content: impl Into<Vec<u8>>,
    ) -> &mut Tree {
        let content = content.into();
        self.node(at, Node::File { mode, content })
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, at: impl Into<PathBuf>, to: impl Into<PathBuf>) -> &mut Tree {
        let to = to.into();
        self.node(at, Node::Link { to })
    }

    /// Adds a character device. Only the host may make one.
    pub fn device(
        &mut self,
        at: impl Into<PathBuf>,
        mode: u32,
        (major, minor): (u32, u32),
    ) -> &mut Tree {
        self.node(at, Node::Device { mode, major, minor })
    }

    /// Mounts something on a directory or file that was added before.
    pub fn mount(&mut self, at: impl Into<PathBuf>, mount: Mount) -> &mut Tree {
        self.node(at, Node::Mount(Box::new(mount)))
    }

    /// Makes it read-only once everything is in it: a new file system as a whole. Mounts in it keep their own attributes.
    pub fn seal(&mut self) -> &mut Tree {
        self.sealed = true;
        self
    }

    /// Who owns what the host makes in it, as the host counts users and groups; without it, the host's own user does.
    pub fn owner(&mut self, uid: u32, gid: u32) -> &mut Tree {
        self.owner = Some((uid, gid));
        self
    }

    fn node(&mut self, at: impl Into<PathBuf>, node: Node) -> &mut Tree {
        self.nodes.push((at.into(), node));
        self
    }

    /// Makes it now, all of it.
    ///
    /// # Errors
    /// See [`Mount::create`]; and whatever the file system refuses, with the path.
    pub fn plant(&self) -> Result<Planted> {
        let (root, under) = self.base.create_over()?;
        let mut rest = Vec::new();
        for (at, node) in &self.nodes {
            let failed = |e: std::io::Error| {
                Error::kernel(format!("make {at:?} in {}", self.base.title()), e)
            };
            match node {
                Node::Mount(mount) => {
                    let mount = mount.create()?;
                    match kernel::composes_detached() {
                        true => {
                            host::attach(&mount, root.as_fd(), at).map_err(|e| failed(e.into()))?
                        }
                        false => rest.push((at.clone(), mount.into())),
                    }
                }
                node => {
                    node.make(root.as_fd(), at).map_err(failed)?;
                    self.own(root.as_fd(), at).map_err(failed)?;
                }
            }
        }
        if self.sealed {
            let failed =
                |e: std::io::Error| Error::kernel(format!("seal {}", self.base.title()), e);
            host::freeze(root.as_fd()).map_err(|e| failed(e.into()))?;
            let change = Change {
                set: MountAttributes::MOUNT_ATTR_RDONLY,
                ..Change::default()
            };
            mount_setattr(root.as_fd(), false, change).map_err(failed)?;
        }
        Ok(Planted {
            root: root.into(),
            rest,
            under: under.map(Arc::new),
        })
    }

    /// Makes it now, or leaves it to the child.
    ///
    /// # Errors
    /// See [`Tree::plant`].
    pub fn prepare(self, maker: Maker) -> Result<Ready> {
        Ok(match maker {
            Maker::Host => Ready::Planted(self.plant()?),
            Maker::Child => {
                self.look()?;
                Ready::Described(self)
            }
        })
    }

    fn look(&self) -> Result<()> {
        self.base.look()?;
        self.nodes.iter().try_for_each(|(_, node)| match node {
            Node::Mount(mount) => mount.look(),
            _ => Ok(()),
        })
    }

    fn own(&self, root: BorrowedFd<'_>, at: &Path) -> std::io::Result<()> {
        let Some((uid, gid)) = self.owner else {
            return Ok(());
        };
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(root, at, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn draft(
        &self,
        draft: &mut Draft,
        name: &'static str,
        why: &'static str,
        place: Place<'_>,
    ) -> Result<Slot> {
        let root = self.base.slot(Maker::Child, draft, name, why)?;
        // Attached first: kernels before 6.15 attach nothing to a detached mount.
        attach(draft, root, place, "in its place")?;
        for (at, node) in &self.nodes {
            match node {
                Node::Mount(mount) => {
                    let name = at.display().to_string();
                    let slot = mount.slot(Maker::Child, draft, name, "part of the tree")?;
                    let at = at.to_string_lossy();
                    attach(draft, slot, (root.into(), &at), "in its place")?;
                }
                node => node.draft(draft, root.into(), at)?,
            }
        }
        if self.sealed {
            let seal = Call::MountSetattr {
                dir: root.into(),
                path: path("")?,
                recursive: false,
                set: MountAttributes::MOUNT_ATTR_RDONLY,
                clear: MountAttributes::empty(),
                propagation: None,
            };
            draft.child(
                Phase::Mounts,
                seal,
                "everything is in it: now it can be read only",
            );
        }
        Ok(root)
    }
}

impl Ready {
    /// The tree's own mount, where the host has made it.
    pub fn root(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Ready::Planted(planted) => Some(planted.root()),
            Ready::Described(_) => None,
        }
    }

    /// How many mounts it leaves on the child's `/` when it is [attached](Ready::attach) elsewhere: they go with the old root,
    /// and each has to be unmounted.
    pub fn beneath(&self) -> usize {
        match self {
            Ready::Planted(planted) => usize::from(planted.under.is_some()),
            Ready::Described(tree) => usize::from(tree.base.is_overlay()),
        }
    }

    /// Lets the child attach it; `name` is how the plan calls it, `why` what it is for.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for what can never be, such as a NUL byte in a path.
    pub fn attach(
        &self,
        draft: &mut Draft,
        name: &'static str,
        why: &'static str,
        place: Place<'_>,
    ) -> Result<Slot> {
        match self {
            Ready::Planted(planted) => planted.attach(draft, name, why, place),
            Ready::Described(tree) => tree.draft(draft, name, why, place),
        }
    }
}

impl Planted {
    /// The tree's own mount.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// One more of the same, of the very same files; none where the kernel copies no detached mounts (before 6.15).
    pub fn copy(&self) -> Option<Planted> {
        if !self.rest.is_empty() || !kernel::composes_detached() {
            return None;
        }
        let root = host::copy(self.root(), Path::new(""), true).ok()?;
        Some(Planted {
            root: root.into(),
            rest: Vec::new(),
            under: None,
        })
    }

    fn attach(
        &self,
        draft: &mut Draft,
        name: &'static str,
        why: &'static str,
        place: Place<'_>,
    ) -> Result<Slot> {
        if let Some(under) = &self.under {
            let slot = draft.hold(format!("{name}'s memory"), under.clone());
            attach(draft, slot, (Fd::Cwd, "/"), "it goes with the old root")?;
        }
        let root = draft.hold(name, self.root.clone());
        attach(draft, root, place, why)?;
        for (at, mount) in &self.rest {
            let at = at.to_string_lossy();
            let slot = draft.hold(format!("{name}/{at}"), mount.clone());
            attach(draft, slot, (root.into(), &at), "part of the tree")?;
        }
        Ok(root)
    }
}

impl From<Planted> for Mount {
    /// The tree's own mount, with whatever is attached to it.
    fn from(planted: Planted) -> Mount {
        Mount::handed(planted.root)
    }
}

/// Lets the child attach a mount to a place; an empty path means the directory of the place itself.
///
/// The last name of the path is not followed if it is a symbolic link; the kernel then refuses it with `ENOTDIR`.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] for a NUL byte in the path.
pub fn attach(
    draft: &mut Draft,
    mount: Slot,
    (dir, at): Place<'_>,
    why: impl Into<Cow<'static, str>>,
) -> Result<()> {
    let (from, path) = (mount.into(), path(at)?);
    draft.child(Phase::Mounts, Call::MoveMount { from, dir, path }, why);
    Ok(())
}

impl Node {
    fn make(&self, root: BorrowedFd<'_>, at: &Path) -> std::io::Result<()> {
        match self {
            Node::Directory { mode } => {
                mkdirat(root, at, Mode::from(*mode))?;
                // The host's umask took bits away.
                chmodat(root, at, Mode::from(*mode), AtFlags::empty())?;
            }
            Node::File { mode, content } => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let file = openat(root, at, flags, Mode::from(*mode))?;
                rustix::fs::fchmod(&file, Mode::from(*mode))?;
                File::from(file).write_all(content)?;
            }
            Node::Link { to } => symlinkat(to, root, at)?,
            Node::Device { mode, major, minor } => {
                let device = makedev(*major, *minor);
                mknodat(
                    root,
                    at,
                    FileType::CharacterDevice,
                    Mode::from(*mode),
                    device,
                )?;
                chmodat(root, at, Mode::from(*mode), AtFlags::empty())?;
            }
            Node::Mount(_) => unreachable!("mounts are attached, not made in place"),
        }
        Ok(())
    }

    fn draft(&self, draft: &mut Draft, dir: Fd, at: &Path) -> Result<()> {
        let at = path(at)?;
        let phase = Phase::Mounts;
        match self {
            Node::Directory { mode } => {
                let make = Call::Mkdirat {
                    dir,
                    path: at,
                    mode: *mode,
                };
                draft.child(phase, make, "part of the tree");
            }
            Node::File { mode, content } => {
                let out = draft.slot(at.to_string_lossy().into_owned());
                let flags = OpenFlags::O_CREAT | OpenFlags::O_EXCL | OpenFlags::O_WRONLY;
                let open = Call::Openat {
                    dir,
                    path: at,
                    flags,
                    mode: *mode,
                    out,
                };
                draft.child(phase, open, "part of the tree");
                let fd = out.into();
                if !content.is_empty() {
                    let bytes = content.clone();
                    draft.child(phase, Call::Write { fd, bytes }, "its content");
                }
                draft.child(phase, Call::Close { fd }, "it is complete");
            }
            Node::Link { to } => {
                let target = path(to)?;
                draft.child(
                    phase,
                    Call::Symlinkat {
                        target,
                        dir,
                        path: at,
                    },
                    "part of the tree",
                );
            }
            Node::Device { mode, major, minor } => {
                const S_IFCHR: u32 = 0o020000;
                let make = Call::Mknodat {
                    dir,
                    path: at,
                    mode: S_IFCHR | mode,
                    device: makedev(*major, *minor),
                };
                draft.child(phase, make, "part of the tree");
            }
            Node::Mount(_) => unreachable!("mounts are attached, not made in place"),
        }
        Ok(())
    }
}
