//! What all containers of a process share: templates of mounts, compiled filters, the cgroups' parent.

use crate::container::Seccomp;
use crate::error::{Error, Result};
use ampoule_cgroups::{Controller, Parent};
use ampoule_privileges::capabilities::CapabilitySet;
use ampoule_privileges::seccomp::{Filter, Host, Template};
use ampoule_rootfs::{Cgroups, Maker, Templates};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Removes the cgroups of containers whose owner was killed, and returns their names.
///
/// All else goes with the process that owns it. The first start of a process does this as well.
///
/// # Errors
/// [`Error::Cgroup`](crate::Error::Cgroup) where this user may make no cgroups, or one cannot be removed; all others have been
/// tried by then.
pub fn gc() -> Result<Vec<String>> {
    Ok(Parent::open(PARENT)?.gc()?)
}

/// What is made once, and used by every start.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) templates: Templates,
    parent: OnceLock<Parent>,
    filters: Mutex<HashMap<u64, Filter>>,
    cgroups: OnceLock<Cgroups>,
    maker: OnceLock<Maker>,
    initial: OnceLock<bool>,
    warm: AtomicBool,
}

/// The directory below which this library's cgroups live.
pub(crate) const PARENT: &str = "ampoule";

impl Engine {
    /// The process's one engine.
    pub(crate) fn shared() -> &'static Engine {
        static ENGINE: OnceLock<Engine> = OnceLock::new();
        ENGINE.get_or_init(|| Engine {
            templates: Templates::new(),
            parent: OnceLock::new(),
            filters: Mutex::default(),
            cgroups: OnceLock::new(),
            maker: OnceLock::new(),
            initial: OnceLock::new(),
            warm: AtomicBool::new(false),
        })
    }

    /// Who makes mounts: the host if it may, which is asked of the kernel once.
    pub(crate) fn maker(&self) -> Maker {
        let privileged = || ampoule_rootfs::Mount::tmpfs().create().is_ok();
        *self.maker.get_or_init(|| {
            if privileged() {
                Maker::Host
            } else {
                Maker::Child
            }
        })
    }

    /// Where cgroups are made.
    pub(crate) fn parent(&self) -> Result<&Parent> {
        if let Some(parent) = self.parent.get() {
            return Ok(parent);
        }
        let parent = Parent::open(PARENT)?;
        // What an earlier owner left when it was killed; the first start takes it away.
        parent.gc()?;
        Ok(self.parent.get_or_init(|| parent))
    }

    /// Whether the devices that a container may use can be told to the kernel. In a user namespace they cannot, and need not:
    /// nobody in there can make one that opens.
    pub(crate) fn filters_devices(&self) -> Result<bool> {
        let initial = *self.initial.get_or_init(|| {
            let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
            map.split_whitespace().eq(["0", "0", "4294967295"])
        });
        match self.parent() {
            Ok(parent) => Ok(initial && parent.controllers().contains(Controller::Devices)),
            Err(Error::Cgroup(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a container may see of cgroups: on a machine with v2 alone its own subtree; else nothing, unless asked for.
    pub(crate) fn cgroups(&self) -> Cgroups {
        let found = || match Cgroups::of_host() {
            Ok(Cgroups::Unified) => Cgroups::Unified,
            _ => Cgroups::Absent,
        };
        self.cgroups.get_or_init(found).clone()
    }

    /// Begins with what the first start of a process needs and no other: threads do it while the caller prepares mounts.
    pub(crate) fn warm_up(&'static self, seccomp: &Seccomp, capabilities: CapabilitySet) {
        if self.warm.swap(true, Ordering::Relaxed) {
            return;
        }
        ampoule_namespaces::warm_up();
        if !matches!(seccomp, Seccomp::Docker) {
            return;
        }
        // Whoever comes first compiles it, and the other finds it. An error is found again by the start itself.
        let compile = move || {
            let kept = CapabilitySet::supported().map(|supported| capabilities & supported);
            let _ = kept.map(|kept| self.docker_filter(kept));
        };
        let thread = std::thread::Builder::new().name("ampoule-filter".into());
        let _ = thread.stack_size(256 << 10).spawn(compile);
    }

    /// Docker's filter for a container with these capabilities, compiled once.
    pub(crate) fn docker_filter(&self, capabilities: CapabilitySet) -> Result<Filter> {
        let mut filters = self.filters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filters.get(&capabilities.bits()) {
            return Ok(filter.clone());
        }
        let filter = Template::docker()
            .resolve(&Host::here(capabilities)?)
            .compile()?;
        filters.insert(capabilities.bits(), filter.clone());
        Ok(filter)
    }
}
