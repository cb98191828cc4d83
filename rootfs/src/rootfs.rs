//! The whole root tree of a container, as a part of its plan.

use crate::dev::{Dev, message_queues};
use crate::files::{self, Files};
use crate::mask::{Masks, Places, Prepared};
use crate::pseudo::{Cgroups, Proc, Sys, directories, unified};
use crate::root::{Made, Root};
use crate::templates::empty;
use crate::{Error, ErrorKind, Maker, Mount, Result, Templates};
use ampoule_mounts::{self as mounts, MountAttributes, Place, attach};
use ampoule_plan::{Call, Draft, Errno, Fd, Part, Phase, Slot, path};
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// The whole root tree of a container: a [`Root`], with `/dev`, `/proc`, `/sys` and masks.
///
/// The setters gather; nothing happens before [`prepare`](Rootfs::prepare).
#[derive(Debug, Clone)]
pub struct Rootfs {
    root: Root,
    maker: Maker,
    read_only: bool,
    owner: Option<(u32, u32)>,
    dev: Option<Dev>,
    proc: Option<Proc>,
    sys: Sys,
    cgroups: Cgroups,
    masks: Masks,
    files: Files,
}

/// A root tree that is ready for one container.
///
/// Its part of the plan also makes the tree the child's working directory while mounts are attached, so that parts after it
/// can name places relative to it; and it ends with a umask of 022.
#[derive(Debug)]
pub struct Ready {
    description: Rootfs,
    root: Made,
    dev: Option<Devices>,
    hierarchies: Option<mounts::Ready>,
    masks: Prepared,
    visible: Vec<(&'static str, Arc<OwnedFd>)>,
    files: Option<files::Prepared>,
}

#[derive(Debug)]
struct Devices {
    tree: mounts::Ready,
    pts: Mount,
    /// The same, where the host has made it.
    terminals: Option<Arc<OwnedFd>>,
    shm: Mount,
}

impl Rootfs {
    /// This root, with everything that programs expect: `/dev`, `/proc`, `/sys`, and Docker's masks.
    pub fn new(root: Root) -> Rootfs {
        Rootfs {
            root,
            maker: Maker::Host,
            read_only: false,
            owner: None,
            dev: Some(Dev::default()),
            proc: Some(Proc::default()),
            sys: Sys::default(),
            cgroups: Cgroups::default(),
            masks: Masks::default(),
            files: Files::default(),
        }
    }

    /// Who makes the mounts; by default the host.
    pub fn maker(&mut self, maker: Maker) -> &mut Rootfs {
        self.maker = maker;
        self
    }

    /// Whether the root can be read only. `/dev/shm` and volumes can still be written.
    pub fn read_only(&mut self, read_only: bool) -> &mut Rootfs {
        self.read_only = read_only;
        self
    }

    /// The container's root user as the host counts users and groups, for a container in a user namespace: it owns `/root`,
    /// `/dev/shm` and whatever else the host makes for this container.
    pub fn owner(&mut self, uid: u32, gid: u32) -> &mut Rootfs {
        self.owner = Some((uid, gid));
        self
    }

    /// What `/dev` holds; with none it stays as the root has it.
    pub fn dev(&mut self, dev: Option<Dev>) -> &mut Rootfs {
        self.dev = dev;
        self
    }

    /// How `/proc` is mounted; with none there is none, and none of its masks.
    pub fn proc(&mut self, proc: Option<Proc>) -> &mut Rootfs {
        self.proc = proc;
        self
    }

    /// How `/sys` is mounted.
    pub fn sys(&mut self, sys: Sys) -> &mut Rootfs {
        self.sys = sys;
        self
    }

    /// What is seen at `/sys/fs/cgroup`.
    pub fn cgroups(&mut self, cgroups: Cgroups) -> &mut Rootfs {
        self.cgroups = cgroups;
        self
    }

    /// What is hidden, and what can be read only.
    pub fn masks(&mut self, masks: Masks) -> &mut Rootfs {
        self.masks = masks;
        self
    }

    /// Adds a small file of its own, in memory, over whatever lies at its path: `/etc/hostname`, `/etc/hosts` and their like.
    pub fn file(&mut self, at: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> &mut Rootfs {
        self.files.add(at.into(), content.into());
        self
    }

    /// Makes what the host makes, and looks at everything that can be wrong.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`], [`ErrorKind::WrongType`] or [`ErrorKind::Denied`] for a root that is not there, is no directory,
    /// or cannot be read, and for a root without a place for `/proc`, `/sys` or `/dev` where none can be made.
    pub fn prepare(&self, templates: &Templates) -> Result<Ready> {
        let root = self
            .root
            .make(self.maker, self.read_only, self.owner, templates)?;
        let ready = Ready {
            dev: self.devices(templates)?,
            hierarchies: self.hierarchies(templates)?,
            masks: Prepared::new(&self.masks, self.maker, templates)?,
            visible: self.visible()?,
            files: self.files.prepare(self.maker)?,
            description: self.clone(),
            root,
        };
        if let Some(root) = ready.root() {
            let fill = self.root.may_be_filled(self.read_only);
            self.places().try_for_each(|name| place(root, name, fill))?;
        }
        Ok(ready)
    }

    /// The directories of the root that something is mounted on.
    fn places(&self) -> impl Iterator<Item = &'static str> {
        let dev = self.dev.as_ref().map(|_| "dev");
        let proc = self.proc.map(|_| "proc");
        let sys = (self.sys != Sys::Absent).then_some("sys");
        [dev, proc, sys].into_iter().flatten()
    }

    /// The host's proc and sysfs, for a child in a user namespace that sees no others: the kernel lets it mount its own only
    /// beside one that hides nothing.
    fn visible(&self) -> Result<Vec<(&'static str, Arc<OwnedFd>)>> {
        if self.maker == Maker::Child || self.owner.is_none() {
            return Ok(Vec::new());
        }
        let proc = self.proc.map(|_| ("host's proc", "/proc"));
        let sys = (self.sys == Sys::Own).then_some(("host's sys", "/sys"));
        let mounts = [proc, sys].into_iter().flatten();
        mounts
            .map(|(name, path)| Ok((name, Arc::new(Mount::copy(path).create()?))))
            .collect()
    }

    fn devices(&self, templates: &Templates) -> Result<Option<Devices>> {
        let Some(dev) = &self.dev else {
            return Ok(None);
        };
        let owned = |mount: Mount| match (self.maker, self.owner) {
            (Maker::Host, Some((uid, gid))) => mount
                .option("uid", uid.to_string())
                .option("gid", gid.to_string()),
            _ => mount,
        };
        let made = |mount: Mount| match self.maker {
            Maker::Host => mount.create().map(Mount::handed),
            Maker::Child => Ok(mount),
        };
        let mut pts = dev.pts(self.maker);
        let mut terminals = None;
        if self.maker == Maker::Host {
            let mount = Arc::new(pts.create()?);
            terminals = Some(mount.clone());
            pts = Mount::handed(mount);
        }
        Ok(Some(Devices {
            tree: dev.prepare(self.maker, templates)?,
            pts,
            terminals,
            shm: made(owned(dev.shared_memory()))?,
        }))
    }

    fn hierarchies(&self, templates: &Templates) -> Result<Option<mounts::Ready>> {
        let Cgroups::Hierarchies(list) = &self.cgroups else {
            return Ok(None);
        };
        Ok(Some(match self.maker {
            Maker::Host => {
                mounts::Ready::Planted(templates.hierarchies.copy(|| directories(list).plant())?)
            }
            Maker::Child => directories(list).prepare(Maker::Child)?,
        }))
    }
}

/// Looks for the directory that something is to be mounted on, and makes it where that is right.
///
/// A symbolic link is refused: what is mounted on it would lie elsewhere, and the masks with it (CVE-2019-16884).
fn place(root: BorrowedFd<'_>, name: &str, fill: bool) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let missing = rustix::io::Errno::NOENT;
    match openat2(root, name, flags, Mode::empty(), resolve) {
        Ok(_) => Ok(()),
        Err(error) if error == missing && fill => mkdirat(root, name, Mode::from(0o755))
            .map_err(|e| Error::kernel(format!("make the directory /{name} in the root"), e)),
        Err(error) if error == missing => {
            let what = format!("the root has no directory /{name}, and can be read only");
            Err(Error::refused(ErrorKind::Missing, what).hint("make it there"))
        }
        Err(error) => Err(
            Error::kernel(format!("mount on /{name} in the root"), error)
                .hint("it must be a directory, and no symbolic link"),
        ),
    }
}

impl Ready {
    /// The root tree, where the host can see it: to look for places of other mounts in it.
    pub fn root(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        let seen = self.root.seen.as_deref().map(AsFd::as_fd);
        self.root.tree.root().or(seen)
    }

    /// The container's own terminals, its `/dev/pts`, where the host has made them: one that is opened there has a name inside.
    pub fn terminals(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        Some(self.dev.as_ref()?.terminals.as_deref()?.as_fd())
    }

    /// What a file of the tree holds, where this library writes it: `etc/passwd` and `etc/group` of the host view.
    pub fn written(&self, file: &str) -> Option<&'static str> {
        let mut written = self.root.written.iter();
        written
            .find(|(name, _)| *name == file)
            .map(|(_, text)| *text)
    }

    fn draft(&self, draft: &mut Draft) -> Result<()> {
        let why = "modes are meant as they are given";
        draft.child(Phase::Mounts, Call::Umask { mask: 0 }, why);
        let files = self
            .files
            .as_ref()
            .map(|files| files.attach(draft))
            .transpose()?;
        let root = self.enter(draft)?;
        if let Some(devices) = &self.dev {
            self.devices(draft, devices)?;
        }
        let proc = self.proc(draft)?;
        let sys = self.sys(draft)?;
        if let (Some(prepared), Some(files)) = (&self.files, files) {
            prepared.place(draft, files)?;
        }
        pivot(draft, root, self.beneath())?;
        self.masks
            .contribute(self.description.maker, draft, Places { proc, sys })?;
        if self.description.read_only {
            seal(draft, root)?;
        }
        Ok(())
    }

    /// How many mounts lie between the old root and the new one.
    fn beneath(&self) -> usize {
        let files = usize::from(self.files.is_some());
        self.visible.len() + files + self.root.tree.beneath()
    }

    /// The root tree is attached, and becomes the working directory.
    fn enter(&self, draft: &mut Draft) -> Result<Slot> {
        let mounts = Phase::Mounts;
        for (name, mount) in &self.visible {
            let slot = draft.hold(*name, mount.clone());
            let why = "a user namespace mounts only what it sees; it goes with the old root";
            attach(draft, slot, (Fd::Cwd, "/"), why)?;
        }
        // Over the old root, which stays the one that paths begin at: so it wants no place of its own there.
        let place = (Fd::Cwd, "/");
        let root = self
            .root
            .tree
            .attach(draft, "root", "the container's root tree", place)?;
        for (name, tree, why) in &self.root.parts {
            tree.attach(draft, name, why, (root.into(), name))?;
        }
        draft.child(
            mounts,
            Call::Fchdir { fd: root.into() },
            "places are relative to it",
        );
        if self.root().is_none() {
            for name in self.description.places() {
                let make = Call::Mkdirat {
                    dir: Fd::Cwd,
                    path: path(name)?,
                    mode: 0o755,
                };
                draft
                    .child(mounts, make, "a place to mount it, if there is none")
                    .tolerate(Errno::EEXIST);
            }
        }
        Ok(root)
    }

    fn devices(&self, draft: &mut Draft, devices: &Devices) -> Result<()> {
        let maker = self.description.maker;
        let dev = devices.tree.attach(
            draft,
            "dev",
            "the devices that programs expect",
            (Fd::Cwd, "dev"),
        )?;
        let pts = devices
            .pts
            .slot(maker, draft, "pts", "terminals of its own")?;
        attach(draft, pts, (dev.into(), "pts"), "terminals of its own")?;
        let shm = devices
            .shm
            .slot(maker, draft, "shm", "shared memory of its own")?;
        attach(draft, shm, (dev.into(), "shm"), "shared memory of its own")?;
        if self.description.dev.as_ref().is_some_and(Dev::has_mqueue) {
            let why = "the queues of the child's IPC namespace";
            let queues = message_queues().slot(Maker::Child, draft, "mqueue", why)?;
            attach(
                draft,
                queues,
                (dev.into(), "mqueue"),
                "message queues of its own",
            )?;
        }
        Ok(())
    }

    fn proc(&self, draft: &mut Draft) -> Result<Option<Slot>> {
        let Some(proc) = self.description.proc else {
            return Ok(None);
        };
        let why = "the processes of the child's pid namespace";
        let slot = proc.mount().slot(Maker::Child, draft, "proc", why)?;
        // After all other mounts: whatever lies at the place, links and volumes that they led there, the kernel's own is on top.
        let (from, dir, path) = (slot.into(), Fd::Cwd, path("proc")?);
        let why = "its own processes, and no others";
        draft.child(Phase::Root, Call::MoveMount { from, dir, path }, why);
        Ok(Some(slot))
    }

    fn sys(&self, draft: &mut Draft) -> Result<Option<Slot>> {
        let description = &self.description;
        let Some((maker, mount)) = description.sys.mount(description.maker) else {
            return Ok(None);
        };
        let why = "the devices of the child's network namespace";
        let sys = mount.slot(maker, draft, "sys", why)?;
        let why = "the kernel's devices, to be read only";
        attach(draft, sys, (Fd::Cwd, "sys"), why)?;
        let place = (sys.into(), "fs/cgroup");
        let why = "its own part of the hierarchy";
        let own = |draft: &mut Draft, mount: Mount, place: Place<'_>| -> Result<()> {
            let mount = mount.slot(Maker::Child, draft, "cgroup", why)?;
            attach(draft, mount, place, why)
        };
        match (&description.cgroups, &self.hierarchies) {
            (Cgroups::Hierarchies(list), Some(tree)) => {
                let why = "a directory for each hierarchy";
                let base = tree.attach(draft, "hierarchies", why, place)?;
                for hierarchy in list {
                    own(
                        draft,
                        hierarchy.mount(),
                        (base.into(), &hierarchy.directory),
                    )?;
                }
            }
            (Cgroups::Absent, _) if description.sys == Sys::Host => {
                let cover =
                    empty().slot(Maker::Child, draft, "empty", "covers the host's cgroups")?;
                attach(draft, cover, place, "they say too much of the machine")?;
            }
            (Cgroups::Absent, _) => {}
            _ => own(draft, unified(), place)?,
        }
        Ok(Some(sys))
    }
}

impl Part for Ready {
    fn contribute(&self, draft: &mut Draft) -> Result<(), ampoule_plan::Error> {
        Ok(self.draft(draft)?)
    }
}

/// The root tree becomes `/`, and nothing of the old one can be reached any more.
///
/// A path that ends on a pile of mounts means the topmost, and an unmount takes only that: what lies on the old root goes
/// first, or the old root would stay, and whoever joins the mount namespace would find himself in it.
fn pivot(draft: &mut Draft, root: Slot, beneath: usize) -> Result<()> {
    let here = || path(".");
    let root_phase = Phase::Root;
    let enter = Call::Fchdir { fd: root.into() };
    draft.child(root_phase, enter, "from inside the new root");
    let (new, old) = (here()?, here()?);
    let why = "the tree becomes /, with the old root on top of it";
    draft.child(root_phase, Call::PivotRoot { new, old }, why);
    for _ in 0..beneath {
        let why = "what lies on the old root goes before it";
        draft.child(root_phase, Call::Umount2 { path: here()? }, why);
    }
    let why = "the old root goes, and with it every mount of the host";
    draft.child(root_phase, Call::Umount2 { path: here()? }, why);
    let why = "the working directory is inside";
    draft.child(root_phase, Call::Chdir { path: path("/")? }, why);
    draft.child(root_phase, Call::Umask { mask: 0o022 }, "the usual");
    Ok(())
}

fn seal(draft: &mut Draft, root: Slot) -> Result<()> {
    let seal = Call::MountSetattr {
        dir: root.into(),
        path: path("")?,
        recursive: false,
        set: MountAttributes::MOUNT_ATTR_RDONLY,
        clear: MountAttributes::empty(),
        propagation: None,
    };
    draft.child(
        Phase::Mask,
        seal,
        "every place in it is made: now it can be read only",
    );
    Ok(())
}
