//! A cgroup: its directories in all hierarchies under one name.

use crate::dir::Dir;
use crate::lock::Lock;
use crate::node::Node;
use crate::parent::{Inner, KILL_TIMEOUT};
use crate::settings::{Setting, settings};
use crate::{Controller, Error, Resources, Result, Version, devices, freezer, kill};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A cgroup.
///
/// One that [`Parent::create`](crate::Parent::create) made is *owned*: dropping it kills what is inside and removes it, and
/// if its owner is killed, [`Parent::gc`](crate::Parent::gc) does. [`keep`](Self::keep) hands the ownership over. One that
/// [`Parent::find`](crate::Parent::find) opened is only looked at.
#[derive(Debug)]
pub struct Cgroup {
    pub(crate) parent: Arc<Inner>,
    name: String,
    /// One directory for each hierarchy that it lives in, in the order of the hierarchies.
    pub(crate) members: Vec<Member>,
    pub(crate) lock: Option<Lock>,
}

/// A cgroup's directory in one hierarchy.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) node: usize,
    pub(crate) dir: Dir,
}

/// The ways into a cgroup, as descriptors: what a child needs to start inside.
///
/// On v2 the child is born inside (`CLONE_INTO_CGROUP` with [`directory`](Self::directory)). On v1 the child writes `0` to
/// each of [`tasks`](Self::tasks) before it makes threads or execs. On a hybrid machine both are there, and both are needed.
/// Nobody should write another process's pid instead: that waits 8 to 11 ms for an RCU grace period.
#[derive(Debug, Default)]
pub struct Entry {
    /// The cgroup's directory in the v2 hierarchy.
    pub directory: Option<OwnedFd>,
    /// The `tasks` files of the v1 hierarchies, open for writing.
    pub tasks: Vec<OwnedFd>,
}

impl Cgroup {
    pub(crate) fn new(parent: Arc<Inner>, name: &str, lock: Option<Lock>) -> Cgroup {
        Cgroup {
            members: Vec::with_capacity(parent.nodes.len()),
            parent,
            name: name.into(),
            lock,
        }
    }

    /// Its name below the parent.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directories, one for each hierarchy that it lives in.
    pub fn paths(&self) -> impl Iterator<Item = (Version, &Path)> {
        self.members
            .iter()
            .map(|member| (self.node(member).version, member.dir.path()))
    }

    /// Its directory in the v2 hierarchy, for `CLONE_INTO_CGROUP`; `None` where it does not live in one.
    #[doc(alias = "CLONE_INTO_CGROUP")]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2().map(|member| member.dir.as_fd())
    }

    /// The descriptors by which a child starts inside.
    ///
    /// # Errors
    /// [`Error::Kernel`], for instance with too many open files.
    pub fn entry(&self) -> Result<Entry> {
        let mut entry = Entry::default();
        for member in &self.members {
            match self.node(member).version {
                Version::V2 => {
                    let fd = member.dir.as_fd().try_clone_to_owned();
                    entry.directory =
                        Some(fd.map_err(|error| {
                            Error::kernel("duplicate", member.dir.path(), error)
                        })?);
                }
                Version::V1 => {
                    let fd = member.dir.file("tasks", OFlags::WRONLY);
                    entry.tasks.push(fd.map_err(|errno| {
                        Error::kernel("open", &member.dir.path().join("tasks"), errno)
                    })?);
                }
            }
        }
        Ok(entry)
    }

    /// Moves the calling process inside, all its threads. Mind that an owned cgroup kills what is inside when it is dropped:
    /// [`keep`](Self::keep) its lock, or let another process own it.
    ///
    /// # Errors
    /// [`Error::Kernel`]: EACCES where the common ancestor was not delegated, EOPNOTSUPP in a threaded domain.
    pub fn add_self(&self) -> Result<()> {
        self.add_text("0")
    }

    /// Moves another process inside, all its threads. This is slow, 8 to 11 ms, because the kernel waits for an RCU grace
    /// period; a child that enters by [`entry`](Self::entry) does not wait.
    ///
    /// # Errors
    /// As [`add_self`](Self::add_self); ESRCH where there is no such process.
    pub fn add(&self, pid: u32) -> Result<()> {
        if pid == 0 {
            return self.add_text("no process");
        }
        self.add_text(&pid.to_string())
    }

    fn add_text(&self, pid: &str) -> Result<()> {
        self.members
            .iter()
            .try_for_each(|member| member.dir.write("cgroup.procs", pid))
    }

    /// The processes inside, those of child cgroups included, as this process's pid namespace numbers them.
    ///
    /// # Errors
    /// [`Error::Kernel`] where it cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        let pids = match self.tracker() {
            Some(member) => kill::processes(&member.dir)?,
            None => BTreeSet::new(),
        };
        Ok(pids.into_iter().collect())
    }

    /// Sets limits; those that are not named stay as they are.
    ///
    /// # Errors
    /// [`Error::InvalidResources`] before the kernel is asked, [`Error::NotJoined`] for a controller that the cgroup was made
    /// without, [`Error::Unsupported`], and [`Error::Kernel`]: the limits before the failed one are set then.
    pub fn apply(&self, resources: &Resources) -> Result<()> {
        resources.check()?;
        self.apply_but_quota(resources)?;
        self.apply_quota(resources)
    }

    /// Sets the CPU quota and burst alone: the second step after
    /// [`Parent::create_without_quota`](crate::Parent::create_without_quota).
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_quota(&self, resources: &Resources) -> Result<()> {
        resources.check()?;
        match resources.limits(Controller::Cpu) {
            true => self.apply_controller(Controller::Cpu, resources, Setting::is_quota),
            false => Ok(()),
        }
    }

    pub(crate) fn apply_but_quota(&self, resources: &Resources) -> Result<()> {
        for controller in Controller::ALL {
            if resources.limits(controller) {
                self.apply_controller(controller, resources, |setting| !setting.is_quota())?;
            }
        }
        self.apply_core_files(resources)
    }

    fn apply_controller(
        &self,
        controller: Controller,
        resources: &Resources,
        which: impl Fn(&Setting) -> bool,
    ) -> Result<()> {
        let member = self.member(controller)?;
        let version = self.node(member).version;
        if let (Version::V2, Controller::Devices, Some(rules)) =
            (version, controller, &resources.devices)
        {
            return devices::attach(&member.dir, rules);
        }
        let mut refused = Vec::new();
        for setting in settings(version, controller, resources)?
            .into_iter()
            .filter(which)
        {
            match write(&member.dir, &setting) {
                // Some limits bound each other (memory and memory with swap, quota and burst); which must be raised first
                // depends on the old values. What was refused goes a second time after the others.
                Err(Errno::INVAL) => refused.push(setting),
                result => {
                    result.map_err(|errno| self.failed(member, controller, &setting, errno))?
                }
            }
        }
        for setting in refused {
            write(&member.dir, &setting)
                .map_err(|errno| self.failed(member, controller, &setting, errno))?;
        }
        Ok(())
    }

    /// Files that every v2 cgroup has, given by name.
    fn apply_core_files(&self, resources: &Resources) -> Result<()> {
        let core = resources
            .unified
            .iter()
            .filter(|(file, _)| file.starts_with("cgroup."));
        for (file, value) in core {
            let Some(member) = self.v2() else {
                return Err(Error::Unsupported {
                    what: format!("the cgroup v2 file {file:?}"),
                    reason: "there is no v2 hierarchy that this user may use".into(),
                });
            };
            member.dir.write(file, value)?;
        }
        Ok(())
    }

    fn failed(
        &self,
        member: &Member,
        controller: Controller,
        setting: &Setting,
        errno: Errno,
    ) -> Error {
        if errno != Errno::NOENT {
            return member
                .dir
                .failed_write(&setting.file, &setting.value, errno);
        }
        if self.node(member).version == Version::V2 && !self.has(member, controller) {
            return Error::NotJoined {
                name: self.name.clone(),
                controller,
            };
        }
        Error::Unsupported {
            what: format!("{} on this kernel", setting.file),
            reason: format!(
                "there is no such file in {:?}: the kernel is too old, was built or booted without it, or no device needs it",
                member.dir.path()
            ),
        }
    }

    fn has(&self, member: &Member, controller: Controller) -> bool {
        let text = member.dir.read("cgroup.controllers").unwrap_or_default();
        crate::Controllers::parse_v2(&text).contains(controller)
    }

    /// Stops all tasks, until [`thaw`](Self::thaw). It returns when all have stopped.
    ///
    /// # Errors
    /// [`Error::Timeout`] where a task cannot be stopped in that time (uninterruptible sleep; v1: a vfork parent); then the
    /// cgroup is thawed again. [`Error::Unavailable`] without a freezer.
    #[doc(alias = "pause")]
    pub fn freeze(&self, timeout: Duration) -> Result<()> {
        freezer::freeze(&self.member(Controller::Freezer)?.dir, timeout)
    }

    /// Lets all tasks go on.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a freezer, [`Error::Kernel`].
    #[doc(alias = "resume")]
    pub fn thaw(&self) -> Result<()> {
        freezer::thaw(&self.member(Controller::Freezer)?.dir)
    }

    /// Whether all tasks have stopped: what is, not what was asked for.
    ///
    /// # Errors
    /// [`Error::Unavailable`] without a freezer, [`Error::Kernel`].
    pub fn is_frozen(&self) -> Result<bool> {
        freezer::is_frozen(&self.member(Controller::Freezer)?.dir)
    }

    /// Kills all processes inside, however they fork meanwhile, and returns when the last is gone.
    ///
    /// # Errors
    /// [`Error::Timeout`] where one is still there, in uninterruptible sleep for instance; [`Error::Kernel`].
    #[doc(alias = "cgroup.kill")]
    pub fn kill(&self, timeout: Duration) -> Result<()> {
        match self.tracker() {
            Some(member) => kill::kill(&member.dir, timeout),
            None => Ok(()),
        }
    }

    /// Kills all processes inside and removes the cgroup, owned or not.
    ///
    /// # Errors
    /// As [`kill`](Self::kill). What was not removed stays for [`Parent::gc`](crate::Parent::gc).
    pub fn remove(mut self) -> Result<()> {
        self.remove_members(KILL_TIMEOUT)?;
        // Kept until the directories are gone: nobody may take the name before.
        let lock = self.lock.take();
        self.parent.locks.remove(&self.name)?;
        drop(lock);
        Ok(())
    }

    /// Gives the ownership up without ending it: as long as the returned descriptor, or a copy of it in another process, is
    /// open, the cgroup stays. [`Parent::adopt`](crate::Parent::adopt) takes it over.
    ///
    /// `None` if the cgroup was not owned.
    pub fn keep(mut self) -> Option<OwnedFd> {
        self.lock.take().map(|lock| lock.0)
    }

    /// Lets the cgroup stay without an owner, until somebody removes it: what a runtime needs whose `create` and `delete` are
    /// two programs. `gc` leaves it alone.
    ///
    /// # Errors
    /// [`Error::Kernel`] where the lock file cannot be removed.
    pub fn persist(mut self) -> Result<()> {
        self.parent.locks.remove(&self.name)?;
        self.lock = None;
        Ok(())
    }

    fn remove_members(&mut self, timeout: Duration) -> Result<()> {
        // The hierarchy that keeps the processes together first: when it is empty, so are the others.
        let tracker = self.parent.tracker;
        self.members.sort_by_key(|member| member.node != tracker);
        for member in &self.members {
            let parent = self.node(member).dir()?;
            kill::remove(parent, &self.name, &member.dir, timeout)?;
        }
        self.members.clear();
        Ok(())
    }

    pub(crate) fn node(&self, member: &Member) -> &Node {
        &self.parent.nodes[member.node]
    }

    /// The directory where a controller is used.
    pub(crate) fn member(&self, controller: Controller) -> Result<&Member> {
        let home = self.parent.home(controller)?;
        self.members
            .iter()
            .find(|member| member.node == home)
            .ok_or_else(|| Error::NotJoined {
                name: self.name.clone(),
                controller,
            })
    }

    pub(crate) fn v2(&self) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| self.node(member).version == Version::V2)
    }

    fn tracker(&self) -> Option<&Member> {
        let tracker = self
            .members
            .iter()
            .find(|member| member.node == self.parent.tracker);
        tracker.or(self.members.first())
    }
}

impl Drop for Cgroup {
    /// Kills and removes an owned cgroup; what fails is left to `gc`, since the lock ends here.
    fn drop(&mut self) {
        if self.lock.is_some() && self.remove_members(KILL_TIMEOUT).is_ok() {
            let _ = self.parent.locks.remove(&self.name);
        }
    }
}

fn write(dir: &Dir, setting: &Setting) -> rustix::io::Result<()> {
    match (
        dir.try_write(&setting.file, &setting.value),
        &setting.otherwise,
    ) {
        (Err(Errno::NOENT), Some((file, value))) => dir.try_write(file, value),
        (result, _) => result,
    }
}
