//! The place below which cgroups are made, opened once for a process.

use crate::cgroup::{Cgroup, Member};
use crate::layout::{Layout, Version};
use crate::lock::{self, Lock, Locks, Taken};
use crate::name;
use crate::node::Node;
use crate::{Controller, Controllers, Error, Resources, Result, kill};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a kill may take before it is an error: processes in uninterruptible sleep end when their I/O does.
pub(crate) const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// How to open a [`Parent`].
#[derive(Clone, Debug)]
pub struct Options {
    name: String,
    layout: Option<Layout>,
    locks: Option<PathBuf>,
    step_aside: bool,
}

impl Options {
    /// Options for a parent of that name: one directory, or several divided by `/`.
    pub fn new(name: impl Into<String>) -> Options {
        Options {
            name: name.into(),
            layout: None,
            locks: None,
            step_aside: false,
        }
    }

    /// Uses these hierarchies instead of all that [`Layout::discover`] finds.
    pub fn layout(&mut self, layout: Layout) -> &mut Self {
        self.layout = Some(layout);
        self
    }

    /// Keeps the owner locks in this directory instead of `/run/ampoule/cgroups` (as root) or
    /// `$XDG_RUNTIME_DIR/ampoule/cgroups`. All who share a parent must share it; a reboot should empty it.
    pub fn locks(&mut self, dir: impl Into<PathBuf>) -> &mut Self {
        self.locks = Some(dir.into());
        self
    }

    /// Allows this crate to move the calling process into a child `ampoule.self` of its own v2 cgroup, where limits would
    /// otherwise be forbidden because that cgroup has processes: as in a scope that systemd delegated to this program. Other
    /// processes are never moved. Off by default.
    pub fn step_aside(&mut self, allowed: bool) -> &mut Self {
        self.step_aside = allowed;
        self
    }

    /// Finds and opens the parent. Its directories are made when the first cgroup needs them.
    ///
    /// # Errors
    /// [`Error::NotMounted`] without a cgroup file system, [`Error::NotDelegated`] where this user may make cgroups in no
    /// hierarchy, [`Error::InvalidName`], and [`Error::Kernel`] for the directory of the locks.
    pub fn open(&self) -> Result<Parent> {
        let parts: Vec<String> = self.name.split('/').map(str::to_owned).collect();
        parts.iter().try_for_each(|part| name::check(part))?;
        let layout = match &self.layout {
            Some(layout) => layout.clone(),
            None => Layout::discover()?,
        };
        let nodes: Vec<Node> = layout
            .hierarchies
            .iter()
            .map(|hierarchy| Node::new(hierarchy, parts.clone(), self.step_aside))
            .collect();
        let tracker = tracker(&nodes)?;
        let locks = match &self.locks {
            Some(dir) => dir.clone(),
            None => lock::default_dir()?,
        };
        let inner = Inner {
            locks: Locks::open(locks.join(nodes[tracker].lock_dir()))?,
            name: self.name.clone(),
            nodes,
            tracker,
        };
        Ok(Parent(Arc::new(inner)))
    }
}

/// The hierarchy that keeps a cgroup's processes together, for freezing and killing: v2 where there is one, since it does
/// both at once and tells when the last process is gone; else v1's freezer; else any.
fn tracker(nodes: &[Node]) -> Result<usize> {
    let find = |test: &dyn Fn(&Node) -> bool| nodes.iter().position(|n| n.is_usable() && test(n));
    find(&|node| node.version == Version::V2)
        .or_else(|| find(&|node| node.controllers.contains(Controller::Freezer)))
        .or_else(|| find(&|_| true))
        .ok_or_else(|| match nodes.first() {
            Some(node) => node.not_delegated("a cgroup subtree"),
            None => Error::NotMounted,
        })
}

/// The place below which cgroups are made.
///
/// Open it once and keep it: it holds the parent directory of each hierarchy, so that creating a cgroup is `mkdirat`,
/// `openat` and one `write` a limit. It is cheap to clone, and may be used from any thread.
///
/// Where that place is: as root, `NAME` at the root of each hierarchy; otherwise, below the topmost cgroup above this process
/// that was delegated to this user.
///
/// # Examples
/// ```no_run
/// use ampoule_cgroups::{Parent, Resources};
///
/// let parent = Parent::open("my-judge")?;
/// let cgroup = parent.create("job-1", Resources::new().memory(64 << 20).pids(16))?;
/// # Ok::<(), ampoule_cgroups::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Parent(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    /// The index of the hierarchy that keeps the processes together.
    pub(crate) tracker: usize,
    pub(crate) locks: Locks,
}

impl Parent {
    /// Opens the parent of that name with the default [`Options`].
    ///
    /// # Errors
    /// As [`Options::open`].
    pub fn open(name: impl Into<String>) -> Result<Parent> {
        Options::new(name).open()
    }

    /// The controllers that can be used here.
    pub fn controllers(&self) -> Controllers {
        let usable = |controller: &Controller| self.version_of(*controller).is_ok();
        Controller::ALL.into_iter().filter(usable).collect()
    }

    /// The version of the hierarchy in which a controller is used here.
    ///
    /// # Errors
    /// Why it cannot be used, with the remedy: [`Error::Unavailable`] or [`Error::NotDelegated`].
    pub fn version_of(&self, controller: Controller) -> Result<Version> {
        self.0
            .home(controller)
            .map(|index| self.0.nodes[index].version)
    }

    /// Makes a cgroup with all its limits. It is owned: dropping it kills what is inside and removes it.
    ///
    /// Directories are made only in the hierarchies that the limits need, and in the one that keeps the processes together. A
    /// left-over of the same name whose owner is gone is removed first.
    ///
    /// # Errors
    /// [`Error::InvalidName`] and [`Error::InvalidResources`] before the kernel is asked; [`Error::Exists`] if somebody owns
    /// that name; [`Error::Unavailable`] and [`Error::NotDelegated`] for a controller; [`Error::Unsupported`] for a limit
    /// that this version of cgroups lacks; [`Error::Kernel`]. Nothing is left behind.
    pub fn create(&self, name: &str, resources: &Resources) -> Result<Cgroup> {
        let cgroup = self.create_without_quota(name, resources)?;
        cgroup.apply_quota(resources)?;
        Ok(cgroup)
    }

    /// Makes a cgroup with all its limits but the CPU quota, which [`Cgroup::apply_quota`] sets when the program inside is
    /// ready: a tight quota would throttle the set-up as well, while others wait for it.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_without_quota(&self, name: &str, resources: &Resources) -> Result<Cgroup> {
        name::check(name)?;
        resources.check()?;
        let controllers = self.0.controllers_by_node(resources.controllers())?;
        let lock = match self.0.locks.take(name)? {
            Taken::New(lock) => lock,
            Taken::Stale(lock) => {
                self.0.sweep(name)?;
                lock
            }
            Taken::Held => return Err(Error::Exists { name: name.into() }),
        };
        // From here on, dropping it removes what was made.
        let mut cgroup = Cgroup::new(self.0.clone(), name, Some(lock));
        for (node, controllers) in controllers.into_iter().enumerate() {
            if let Some(controllers) = controllers {
                cgroup.members.push(self.0.make(node, name, controllers)?);
            }
        }
        cgroup.apply_but_quota(resources)?;
        Ok(cgroup)
    }

    /// Opens a cgroup that another owns: to look at it, to enter it, to limit or to kill it. Dropping it changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is none.
    pub fn find(&self, name: &str) -> Result<Cgroup> {
        name::check(name)?;
        let mut cgroup = Cgroup::new(self.0.clone(), name, None);
        for (index, node) in self.0.nodes.iter().enumerate() {
            if let Some(parent) = node.existing()?
                && let Some(dir) = parent.find(name)?
            {
                cgroup.members.push(Member { node: index, dir });
            }
        }
        match cgroup.members.is_empty() {
            false => Ok(cgroup),
            true => Err(Error::NotFound {
                name: name.into(),
                parent: self.0.name.clone(),
            }),
        }
    }

    /// Takes over a cgroup with the lock that its former owner got from [`Cgroup::keep`], perhaps in another process.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such cgroup, or if that descriptor is not its lock.
    pub fn adopt(&self, name: &str, lock: OwnedFd) -> Result<Cgroup> {
        let mut cgroup = self.find(name)?;
        if !self.0.locks.is_lock(&lock, name)? {
            return Err(Error::NotFound {
                name: format!("{name} with that lock"),
                parent: self.0.name.clone(),
            });
        }
        cgroup.lock = Some(Lock(lock));
        Ok(cgroup)
    }

    /// The names of the cgroups below this parent, whoever owns them.
    ///
    /// # Errors
    /// [`Error::Kernel`] where the directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        match self.0.nodes[self.0.tracker].existing()? {
            Some(dir) => dir.children(),
            None => Ok(Vec::new()),
        }
    }

    /// Removes the parent itself, where no cgroup is left below it. Usually it is left standing for the next start, as it is
    /// shared: whoever has it open must open it again.
    ///
    /// # Errors
    /// [`Error::Kernel`], EBUSY where there are cgroups.
    pub fn remove(self) -> Result<()> {
        for node in &self.0.nodes {
            node.remove_chain()?;
        }
        self.0.locks.remove_dir()
    }

    /// Removes all cgroups below this parent whose owner is gone, with the processes in them, and returns their names.
    ///
    /// A cgroup that was [persisted](Cgroup::persist), or made by other programs, has no lock and is left alone.
    ///
    /// # Errors
    /// The first that occurred, after all others have been tried.
    pub fn gc(&self) -> Result<Vec<String>> {
        let mut swept = Vec::new();
        let mut result = self.0.locks.sweep_unfinished();
        for name in self.0.locks.names()? {
            match self.0.collect(&name) {
                Ok(true) => swept.push(name),
                Ok(false) => {}
                Err(error) => result = result.and(Err(error)),
            }
        }
        result.map(|()| swept)
    }
}

impl Inner {
    /// The hierarchy that a controller is used in.
    pub(crate) fn home(&self, controller: Controller) -> Result<usize> {
        let on_v1 = self
            .nodes
            .iter()
            .position(|node| node.version == Version::V1 && node.controllers.contains(controller));
        let v2 = self
            .nodes
            .iter()
            .position(|node| node.version == Version::V2);
        let home = match controller {
            // Every v2 cgroup counts CPU time and freezes, and is made anyway where there is a v2 hierarchy.
            Controller::CpuAcct | Controller::Freezer => v2
                .filter(|index| self.nodes[*index].is_usable())
                .or(on_v1)
                .or(v2),
            Controller::Devices => on_v1.or(v2),
            other => on_v1.or(v2.filter(|index| self.nodes[*index].controllers.contains(other))),
        };
        match home {
            Some(index) if self.nodes[index].is_usable() => Ok(index),
            Some(index) => {
                Err(self.nodes[index].not_delegated(format!("the {controller} controller")))
            }
            None => Err(self.missing(controller, v2)),
        }
    }

    /// Why no hierarchy has this controller.
    fn missing(&self, controller: Controller, v2: Option<usize>) -> Error {
        let known = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let line = known
            .lines()
            .find(|line| line.split_whitespace().next() == Some(controller.v1_name()));
        let bound = line.and_then(|line| line.split_whitespace().nth(1));
        match (line, bound, v2) {
            // In the unified hierarchy (number 0), but not handed down to here.
            (Some(line), Some("0"), Some(v2)) if line.ends_with('1') => {
                self.nodes[v2].not_delegated(format!("the {controller} controller"))
            }
            (Some(line), ..) => Error::Unavailable {
                controller,
                reason: match line.ends_with('0') {
                    true => {
                        "it is disabled: take it out of cgroup_disable= on the kernel command line"
                            .into()
                    }
                    false => format!(
                        "no mounted hierarchy has it: mount -t cgroup -o {0} {0} /sys/fs/cgroup/{0}",
                        controller.v1_name()
                    ),
                },
            },
            (None, ..) => Error::Unavailable {
                controller,
                reason: "this kernel was built without it".into(),
            },
        }
    }

    /// For each hierarchy, the controllers that are wanted in it; `None` where no directory is needed.
    fn controllers_by_node(&self, wanted: Controllers) -> Result<Vec<Option<Controllers>>> {
        let mut by_node = vec![None; self.nodes.len()];
        by_node[self.tracker] = Some(Controllers::NONE);
        for controller in wanted.iter() {
            let set: &mut Option<Controllers> = &mut by_node[self.home(controller)?];
            set.get_or_insert_default().insert(controller);
        }
        Ok(by_node)
    }

    /// Makes a cgroup's directory in one hierarchy.
    fn make(&self, index: usize, name: &str, controllers: Controllers) -> Result<Member> {
        let node = &self.nodes[index];
        if node.version == Version::V2 {
            node.enable(controllers)?;
        }
        let parent = node.dir()?;
        if !parent.make(name)? {
            return Err(Error::Exists { name: name.into() });
        }
        let dir = parent.child(name).inspect_err(|_| {
            // With too many open files, for instance. No sweep would find it: its lock goes as well.
            let _ = parent.remove(name);
        })?;
        Ok(Member { node: index, dir })
    }

    /// Removes a cgroup by name from all hierarchies, if its owner is gone.
    fn collect(&self, name: &str) -> Result<bool> {
        let Some(_lock) = self.locks.take_stale(name)? else {
            return Ok(false);
        };
        self.sweep(name)?;
        self.locks.remove(name)?;
        Ok(true)
    }

    /// Kills and removes whatever has that name in any hierarchy; the caller holds its lock.
    fn sweep(&self, name: &str) -> Result<()> {
        name::check(name)?;
        for node in &self.nodes {
            if let Some(parent) = node.existing()?
                && let Some(dir) = parent.find(name)?
            {
                kill::remove(parent, name, &dir, KILL_TIMEOUT)?;
            }
        }
        Ok(())
    }
}
