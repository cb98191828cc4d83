//! The kernel's controllers, and sets of them.

use std::fmt;

/// A resource controller of the kernel, under one name for v1 and v2.
///
/// [`CpuAcct`](Self::CpuAcct), [`Devices`](Self::Devices) and [`Freezer`](Self::Freezer) are controllers of v1 only; on
/// v2 every cgroup can count CPU time, filter devices (by an eBPF program) and freeze.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Controller {
    /// CPU bandwidth and weight.
    Cpu,
    /// CPU time used.
    CpuAcct,
    /// Which CPUs and memory nodes may be used.
    #[doc(alias = "cpuset")]
    CpuSet,
    /// Memory and swap.
    Memory,
    /// The number of tasks.
    Pids,
    /// Block I/O; `blkio` on v1.
    #[doc(alias = "blkio")]
    Io,
    /// Huge pages.
    #[doc(alias = "hugetlb")]
    HugeTlb,
    /// Which device nodes may be opened and made.
    Devices,
    /// Stopping and resuming all tasks.
    Freezer,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 9] = [
        Controller::Cpu,
        Controller::CpuAcct,
        Controller::CpuSet,
        Controller::Memory,
        Controller::Pids,
        Controller::Io,
        Controller::HugeTlb,
        Controller::Devices,
        Controller::Freezer,
    ];

    /// Its name in `/proc/cgroups` and in v1's mount options.
    pub fn v1_name(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::CpuAcct => "cpuacct",
            Controller::CpuSet => "cpuset",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Io => "blkio",
            Controller::HugeTlb => "hugetlb",
            Controller::Devices => "devices",
            Controller::Freezer => "freezer",
        }
    }

    /// Its name in v2's `cgroup.controllers`; `None` where v2 has it built into every cgroup.
    pub fn v2_name(self) -> Option<&'static str> {
        match self {
            Controller::CpuAcct | Controller::Devices | Controller::Freezer => None,
            Controller::Io => Some("io"),
            other => Some(other.v1_name()),
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.v2_name().unwrap_or(self.v1_name()))
    }
}

/// A set of controllers.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Controllers(u16);

impl Controllers {
    /// The empty set.
    pub const NONE: Controllers = Controllers(0);

    /// Adds one.
    pub fn insert(&mut self, controller: Controller) {
        self.0 |= controller.bit();
    }

    /// Takes one out.
    pub fn remove(&mut self, controller: Controller) {
        self.0 &= !controller.bit();
    }

    /// Whether it is in the set.
    pub fn contains(self, controller: Controller) -> bool {
        self.0 & controller.bit() != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its members, in the order of [`Controller::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Controller> {
        Controller::ALL
            .into_iter()
            .filter(move |c| self.contains(*c))
    }

    /// The controllers that a `cgroup.controllers` file of v2 names; names that this crate does not know are passed over.
    pub fn parse_v2(text: &str) -> Controllers {
        Controller::ALL
            .into_iter()
            .filter(|c| {
                c.v2_name()
                    .is_some_and(|name| text.split_ascii_whitespace().any(|word| word == name))
            })
            .collect()
    }
}

impl FromIterator<Controller> for Controllers {
    fn from_iter<I: IntoIterator<Item = Controller>>(controllers: I) -> Self {
        let mut set = Controllers::NONE;
        controllers.into_iter().for_each(|c| set.insert(c));
        set
    }
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_lists_are_matched_by_whole_words() {
        let set = Controllers::parse_v2("cpuset io memory misc\n");
        let names: Vec<_> = set.iter().collect();
        assert_eq!(
            names,
            [Controller::CpuSet, Controller::Memory, Controller::Io]
        );
    }
}
