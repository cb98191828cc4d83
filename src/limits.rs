//! The cgroup of a container, and the way into it.

use crate::engine::Engine;
use crate::error::{Error, Result};
use ampoule_cgroups::{Cgroup, Controller, Resources};
use ampoule_plan::{Call, Draft, Part, Phase};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The descriptors by which a child starts in its cgroup; none at all where it has no cgroup.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    directory: Option<Arc<OwnedFd>>,
    tasks: Vec<Arc<OwnedFd>>,
}

impl Entry {
    pub(crate) fn of(cgroup: &Cgroup) -> Result<Entry> {
        let entry = cgroup.entry()?;
        Ok(Entry {
            directory: entry.directory.map(Arc::new),
            tasks: entry.tasks.into_iter().map(Arc::new).collect(),
        })
    }
}

impl Part for Entry {
    fn contribute(&self, draft: &mut Draft) -> Result<(), ampoule_plan::Error> {
        if let Some(directory) = &self.directory {
            let slot = draft.hold("cgroup", directory.clone());
            draft.into_cgroup(slot);
        }
        for tasks in &self.tasks {
            let fd = draft.hold("cgroup tasks", tasks.clone()).into();
            let enter = Call::Write {
                fd,
                bytes: b"0".to_vec(),
            };
            draft.child(
                Phase::Limits,
                enter,
                "it enters by itself: for another the kernel would wait 10 ms",
            );
        }
        Ok(())
    }
}

/// The cgroup that a container lives in, if it does.
pub(crate) type Limited = Option<Cgroup>;

/// Makes the cgroup. Where this user may make none, a container without limits goes without.
pub(crate) fn create(
    engine: &Engine,
    name: &str,
    resources: &Resources,
) -> Result<(Limited, Entry)> {
    let limited = resources
        .controllers()
        .iter()
        .any(|controller| controller != Controller::Devices);
    let parent = match engine.parent() {
        Ok(parent) => parent,
        Err(Error::Cgroup(_)) if !limited => return Ok((None, Entry::default())),
        Err(error) => return Err(error),
    };
    let available = parent.controllers();
    let mut accounted = resources.clone();
    for controller in [Controller::Memory, Controller::Cpu, Controller::Pids] {
        if available.contains(controller) {
            accounted.account(controller);
        }
    }
    let cgroup = match parent.create(name, &accounted) {
        Ok(cgroup) => cgroup,
        Err(ampoule_cgroups::Error::NotDelegated { .. }) if !limited => {
            return Ok((None, Entry::default()));
        }
        Err(error) => return Err(error.into()),
    };
    let entry = Entry::of(&cgroup)?;
    Ok((Some(cgroup), entry))
}

/// The way into a cgroup as a plan would show it: made, looked at, and removed again.
pub(crate) fn preview(engine: &Engine, resources: &Resources) -> Result<Entry> {
    // Many threads may ask at once.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("preview-{}-{count}", std::process::id());
    create(engine, &name, resources).map(|(_, entry)| entry)
}
