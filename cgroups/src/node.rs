//! One hierarchy as seen from a parent: where cgroups may be made in it, found and opened once.

use crate::dir::Dir;
use crate::layout::{Hierarchy, Version};
use crate::{Controller, Controllers, Error, Result};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A hierarchy, and the directories from its base down to the parent.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) version: Version,
    /// What can be limited here.
    pub(crate) controllers: Controllers,
    /// The cgroup below which this user may make others; `None` where there is none.
    base: Option<PathBuf>,
    mount: PathBuf,
    /// The parent's name, part by part.
    parts: Vec<String>,
    step_aside: bool,
    chain: OnceLock<Vec<Dir>>,
    /// What `cgroup.subtree_control` of the whole chain has; v2 only.
    enabled: Mutex<Controllers>,
}

impl Node {
    pub(crate) fn new(hierarchy: &Hierarchy, parts: Vec<String>, step_aside: bool) -> Node {
        let base = match hierarchy.version {
            Version::V1 => v1_base(hierarchy),
            Version::V2 => v2_base(hierarchy),
        };
        let controllers = match (&base, hierarchy.version) {
            // A delegated subtree offers what was delegated, which may be less than the root has.
            (Some(base), Version::V2) => {
                let offered = std::fs::read_to_string(base.join("cgroup.controllers"));
                Controllers::parse_v2(&offered.unwrap_or_default())
            }
            _ => hierarchy.controllers,
        };
        Node {
            version: hierarchy.version,
            controllers,
            base,
            mount: hierarchy.mount.clone(),
            parts,
            step_aside,
            chain: OnceLock::new(),
            enabled: Mutex::new(Controllers::NONE),
        }
    }

    /// Whether this user may make cgroups here.
    pub(crate) fn is_usable(&self) -> bool {
        self.base.is_some()
    }

    /// Where the locks of the parent's cgroups go below the directory of all locks. Two programs of one user may have had
    /// different subtrees delegated, so the parent's name alone is not enough.
    pub(crate) fn lock_dir(&self) -> PathBuf {
        let base = self.base.as_deref().unwrap_or(&self.mount);
        let base = base.strip_prefix("/").unwrap_or(base);
        base.join(self.parts.join("/"))
    }

    /// The error where it is not usable.
    pub(crate) fn not_delegated(&self, what: impl Into<String>) -> Error {
        Error::NotDelegated {
            what: what.into(),
            path: self.base.clone().unwrap_or_else(|| self.mount.clone()),
        }
    }

    /// The parent's directory, made at the first call.
    pub(crate) fn dir(&self) -> Result<&Dir> {
        let chain = match self.chain.get() {
            Some(chain) => chain,
            None => {
                let chain = self.make_chain()?;
                // Two threads may both have opened it; one of the two is kept.
                self.chain.get_or_init(|| chain)
            }
        };
        Ok(&chain[chain.len() - 1])
    }

    /// The parent's directory where it exists; nothing is made.
    pub(crate) fn existing(&self) -> Result<Option<&Dir>> {
        if let Some(chain) = self.chain.get() {
            return Ok(chain.last());
        }
        let Some(base) = &self.base else {
            return Ok(None);
        };
        match base.join(self.parts.join("/")).is_dir() {
            true => self.dir().map(Some),
            false => Ok(None),
        }
    }

    /// Removes the parent's directories, the deepest first; those above that others use, too, stay.
    pub(crate) fn remove_chain(&self) -> Result<()> {
        self.existing()?;
        let Some(chain) = self.chain.get() else {
            return Ok(());
        };
        for (depth, part) in self.parts.iter().enumerate().rev() {
            let deepest = depth + 1 == self.parts.len();
            match chain[depth].remove(part) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::BUSY) if !deepest => return Ok(()),
                Err(errno) => return Err(Error::kernel("rmdir", chain[depth + 1].path(), errno)),
            }
        }
        Ok(())
    }

    fn make_chain(&self) -> Result<Vec<Dir>> {
        let Some(base) = &self.base else {
            return Err(self.not_delegated("a cgroup subtree"));
        };
        let mut chain = vec![Dir::open(base)?];
        for part in &self.parts {
            let above = &chain[chain.len() - 1];
            above.make(part)?;
            let dir = above.child(part)?;
            if self.version == Version::V1 {
                prepare_v1(above, &dir, self.controllers)?;
            }
            chain.push(dir);
        }
        Ok(chain)
    }

    /// Hands controllers of v2 down to the children of the parent, level by level; remembered, so that it costs nothing
    /// from the second cgroup on.
    pub(crate) fn enable(&self, wanted: Controllers) -> Result<()> {
        self.dir()?;
        let mut enabled = self.enabled.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Controllers = wanted
            .iter()
            .filter(|c| c.v2_name().is_some() && !enabled.contains(*c))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let words: Vec<_> = missing.iter().filter_map(Controller::v2_name).collect();
        let value = format!("+{}", words.join(" +"));
        for dir in self.chain.get().into_iter().flatten() {
            self.enable_in(dir, &value)?;
        }
        missing.iter().for_each(|c| enabled.insert(c));
        Ok(())
    }

    fn enable_in(&self, dir: &Dir, value: &str) -> Result<()> {
        const FILE: &str = "cgroup.subtree_control";
        // The kernel would not always refuse: cpu, cpuset and pids alone turn the cgroup into a threaded domain, below which
        // no process may live.
        if has_processes(dir)? && self.step_aside {
            step_aside(dir)?;
        }
        if has_processes(dir)? {
            return Err(internal_processes(dir, value));
        }
        dir.try_write(FILE, value).map_err(|errno| match errno {
            Errno::BUSY => internal_processes(dir, value),
            Errno::NOENT | Errno::ACCESS | Errno::PERM => Error::NotDelegated {
                what: format!("{value} in {FILE}"),
                path: dir.path().into(),
            },
            errno => dir.failed_write(FILE, value, errno),
        })
    }
}

fn internal_processes(dir: &Dir, controllers: &str) -> Error {
    Error::InternalProcesses {
        controllers: controllers.into(),
        path: dir.path().into(),
    }
}

/// Whether a v2 cgroup has processes itself; the machine's root may, and has no `cgroup.type`.
fn has_processes(dir: &Dir) -> Result<bool> {
    match dir.read_if_any("cgroup.type")? {
        Some(_) => Ok(dir
            .read_if_any("cgroup.procs")?
            .is_none_or(|pids| !pids.is_empty())),
        None => Ok(false),
    }
}

/// The name of the cgroup into which the calling process goes to make room for others.
const ASIDE: &str = "ampoule.self";

/// Moves the calling process, and nobody else, from `dir` into a child of it.
fn step_aside(dir: &Dir) -> Result<()> {
    dir.make(ASIDE)?;
    dir.child(ASIDE)?.write("cgroup.procs", "0")
}

/// A new v1 directory does not work by itself in two controllers.
fn prepare_v1(above: &Dir, dir: &Dir, controllers: Controllers) -> Result<()> {
    if controllers.contains(Controller::CpuSet) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            // Empty lists let no process in; the kernel copies them to children only with clone_children.
            if dir.read(file)?.trim().is_empty() {
                dir.write(file, above.read(file)?.trim())?;
            }
        }
        dir.write("cgroup.clone_children", "1")?;
    }
    if controllers.contains(Controller::Memory)
        && dir
            .read_if_any("memory.use_hierarchy")?
            .is_some_and(|on| on.trim() == "0")
    {
        // Before 5.11 children were not counted in their parent by default. With children it is too late to change.
        match dir.try_write("memory.use_hierarchy", "1") {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => return Err(dir.failed_write("memory.use_hierarchy", "1", errno)),
        }
    }
    Ok(())
}

/// v1: the hierarchy's root where this user may write there (as root), else the own cgroup if that was handed over.
fn v1_base(hierarchy: &Hierarchy) -> Option<PathBuf> {
    let own = hierarchy.own.as_ref().map(|own| hierarchy.mount.join(own));
    [Some(hierarchy.mount.clone()), own]
        .into_iter()
        .flatten()
        .find(|dir| writable(dir, &["cgroup.procs"]))
}

/// v2: the root of the machine where this user may write there, else the topmost ancestor of the own cgroup that was
/// delegated. A process enters a cgroup only with write access to `cgroup.procs` of the ancestor common to it and its old
/// one, so a directory that merely belongs to this user elsewhere would be of no use.
fn v2_base(hierarchy: &Hierarchy) -> Option<PathBuf> {
    const FILES: [&str; 2] = ["cgroup.procs", "cgroup.subtree_control"];
    let is_root = !hierarchy.mount.join("cgroup.type").exists();
    if is_root && writable(&hierarchy.mount, &FILES) {
        return Some(hierarchy.mount.clone());
    }
    let own = hierarchy.mount.join(hierarchy.own.as_ref()?);
    own.ancestors()
        .take_while(|dir| dir.starts_with(&hierarchy.mount))
        .filter(|dir| writable(dir, &FILES))
        .last()
        .map(Path::to_owned)
}

fn writable(dir: &Path, files: &[&str]) -> bool {
    let may_write =
        |path: &Path| rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
    may_write(dir) && files.iter().all(|file| may_write(&dir.join(file)))
}
