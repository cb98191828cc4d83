//! What a cgroup may use: plain data.

mod check;

use crate::devices::DeviceRule;
use crate::{Controller, Controllers};
use std::collections::BTreeMap;
use std::time::Duration;

/// An upper bound, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// At most this much.
    Max(u64),
    /// No bound; lifts one that was set before.
    Unlimited,
}

impl From<u64> for Limit {
    fn from(value: u64) -> Limit {
        Limit::Max(value)
    }
}

/// CPU time within each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// CPU time that all tasks together may use in one period; `None` lifts the quota.
    pub time: Option<Duration>,
    /// The period, 1 ms to 1 s; 100 ms is the kernel's default.
    pub period: Duration,
}

/// The most that a cgroup may do with one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoLimit {
    /// The device's major number.
    pub major: u32,
    /// The device's minor number; of a whole disk, not a partition.
    pub minor: u32,
    /// Bytes read per second.
    pub read_bps: Option<Limit>,
    /// Bytes written per second.
    pub write_bps: Option<Limit>,
    /// Reads per second.
    pub read_iops: Option<Limit>,
    /// Writes per second.
    pub write_iops: Option<Limit>,
}

/// The limits of a cgroup; what is `None` or empty is left as the kernel has it.
///
/// The fields are plain data; the setters are a shorter way to write them.
///
/// # Examples
/// ```
/// use ampoule_cgroups::Resources;
///
/// let mut resources = Resources::new();
/// resources.memory(64 << 20).swap(0).cpus(0.5).pids(32);
/// resources.check()?;
/// # Ok::<(), ampoule_cgroups::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Resources {
    /// Share of the CPU among siblings, 1 to 10,000; 100 is the default. On v1 it is translated to `cpu.shares`.
    pub cpu_weight: Option<u64>,
    /// The same in v1's unit, 2 to 262,144; 1,024 is the default. On v2 it is translated to `cpu.weight` as runc (from 1.3.2)
    /// and crun (from 1.23) do, so that least, default and most stay what they are. Only one of the two may be given.
    pub cpu_shares: Option<u64>,
    /// Whether tasks run only when nobody else wants the CPU (`SCHED_IDLE` for the group). Kernel 5.15.
    pub cpu_idle: Option<bool>,
    /// CPU time per period.
    pub cpu_quota: Option<Quota>,
    /// Unused quota that may be saved up and used at once; at most the quota. Kernel 5.14.
    pub cpu_burst: Option<Duration>,
    /// The CPUs that may be used, as in "0-2,7".
    pub cpuset_cpus: Option<String>,
    /// The memory nodes that may be used, as in "0-1".
    pub cpuset_mems: Option<String>,
    /// Memory in bytes; above it, the OOM killer comes.
    pub memory_max: Option<Limit>,
    /// Memory in bytes above which tasks are slowed and reclaimed from; v2 only.
    pub memory_high: Option<Limit>,
    /// Memory in bytes that is spared from reclaim while others have more; the soft limit of v1.
    pub memory_low: Option<Limit>,
    /// Swap in bytes, on top of memory. On v1, which limits the sum, `memory_max` must be given with it.
    pub memory_swap: Option<Limit>,
    /// Whether the OOM killer takes all processes of the cgroup together; v2 only.
    pub memory_oom_group: Option<bool>,
    /// How many tasks (threads) there may be.
    pub pids_max: Option<Limit>,
    /// Share of block I/O among siblings, 1 to 10,000; 100 is the default. Needs the bfq scheduler or io.cost.
    pub io_weight: Option<u64>,
    /// Rates of block devices.
    pub io_max: Vec<IoLimit>,
    /// Bytes of huge pages by page size, as in `("2MB", 1 << 30)`.
    pub hugetlb: Vec<(String, Limit)>,
    /// Which devices may be used: all are refused that no rule allows, and the last rule that fits decides. `None`
    /// leaves the devices alone.
    pub devices: Option<Vec<DeviceRule>>,
    /// Values for files of v2 by name, written as they are after everything else.
    pub unified: BTreeMap<String, String>,
    /// Controllers that are wanted for their statistics, or for limits to be set later, without a limit now.
    pub account: Controllers,
}

impl Resources {
    /// No limits.
    pub fn new() -> Resources {
        Resources::default()
    }

    /// Sets [`memory_max`](Self::memory_max), in bytes.
    #[doc(alias = "memory.max")]
    pub fn memory(&mut self, bytes: impl Into<Limit>) -> &mut Self {
        self.memory_max = Some(bytes.into());
        self
    }

    /// Sets [`memory_swap`](Self::memory_swap), in bytes on top of memory.
    #[doc(alias = "memory.swap.max")]
    pub fn swap(&mut self, bytes: impl Into<Limit>) -> &mut Self {
        self.memory_swap = Some(bytes.into());
        self
    }

    /// Sets [`memory_high`](Self::memory_high), in bytes.
    pub fn memory_high(&mut self, bytes: impl Into<Limit>) -> &mut Self {
        self.memory_high = Some(bytes.into());
        self
    }

    /// Sets [`memory_low`](Self::memory_low), in bytes.
    pub fn memory_low(&mut self, bytes: impl Into<Limit>) -> &mut Self {
        self.memory_low = Some(bytes.into());
        self
    }

    /// Sets [`memory_oom_group`](Self::memory_oom_group).
    pub fn oom_group(&mut self, together: bool) -> &mut Self {
        self.memory_oom_group = Some(together);
        self
    }

    /// Sets [`cpu_weight`](Self::cpu_weight).
    pub fn cpu_weight(&mut self, weight: u64) -> &mut Self {
        self.cpu_weight = Some(weight);
        self
    }

    /// Sets [`cpu_shares`](Self::cpu_shares).
    pub fn cpu_shares(&mut self, shares: u64) -> &mut Self {
        self.cpu_shares = Some(shares);
        self
    }

    /// Sets [`cpu_idle`](Self::cpu_idle).
    pub fn cpu_idle(&mut self, idle: bool) -> &mut Self {
        self.cpu_idle = Some(idle);
        self
    }

    /// Sets the quota to that many CPUs, in periods of 100 ms. What is no number, or out of range, is found by
    /// [`check`](Self::check).
    pub fn cpus(&mut self, cpus: f64) -> &mut Self {
        let period = Duration::from_millis(100);
        let time = Duration::try_from_secs_f64(cpus * period.as_secs_f64());
        // Zero is no valid quota, so it stands for what Duration cannot hold.
        self.cpu_quota(time.unwrap_or(Duration::ZERO), period)
    }

    /// Sets [`cpu_quota`](Self::cpu_quota).
    #[doc(alias = "cpu.max")]
    pub fn cpu_quota(&mut self, time: Duration, period: Duration) -> &mut Self {
        self.cpu_quota = Some(Quota {
            time: Some(time),
            period,
        });
        self
    }

    /// Sets [`cpu_burst`](Self::cpu_burst).
    pub fn cpu_burst(&mut self, time: Duration) -> &mut Self {
        self.cpu_burst = Some(time);
        self
    }

    /// Sets [`cpuset_cpus`](Self::cpuset_cpus).
    pub fn cpuset_cpus(&mut self, list: impl Into<String>) -> &mut Self {
        self.cpuset_cpus = Some(list.into());
        self
    }

    /// Sets [`cpuset_mems`](Self::cpuset_mems).
    pub fn cpuset_mems(&mut self, list: impl Into<String>) -> &mut Self {
        self.cpuset_mems = Some(list.into());
        self
    }

    /// Sets [`pids_max`](Self::pids_max).
    pub fn pids(&mut self, tasks: impl Into<Limit>) -> &mut Self {
        self.pids_max = Some(tasks.into());
        self
    }

    /// Sets [`io_weight`](Self::io_weight).
    pub fn io_weight(&mut self, weight: u64) -> &mut Self {
        self.io_weight = Some(weight);
        self
    }

    /// Adds to [`io_max`](Self::io_max).
    pub fn io(&mut self, limit: IoLimit) -> &mut Self {
        self.io_max.push(limit);
        self
    }

    /// Adds to [`hugetlb`](Self::hugetlb).
    pub fn hugetlb(&mut self, page_size: impl Into<String>, bytes: impl Into<Limit>) -> &mut Self {
        self.hugetlb.push((page_size.into(), bytes.into()));
        self
    }

    /// Sets [`devices`](Self::devices).
    pub fn devices(&mut self, rules: impl IntoIterator<Item = DeviceRule>) -> &mut Self {
        self.devices = Some(rules.into_iter().collect());
        self
    }

    /// Adds to [`unified`](Self::unified).
    pub fn unified(&mut self, file: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.unified.insert(file.into(), value.into());
        self
    }

    /// Adds to [`account`](Self::account).
    pub fn account(&mut self, controller: Controller) -> &mut Self {
        self.account.insert(controller);
        self
    }

    /// The controllers that these limits need.
    pub fn controllers(&self) -> Controllers {
        let mut set = self.account;
        for controller in Controller::ALL {
            if self.limits(controller) {
                set.insert(controller);
            }
        }
        set
    }

    /// Whether one of the limits is this controller's.
    pub(crate) fn limits(&self, controller: Controller) -> bool {
        let named = match controller {
            Controller::Cpu => {
                self.cpu_weight.is_some()
                    || self.cpu_shares.is_some()
                    || self.cpu_idle.is_some()
                    || self.cpu_quota.is_some()
                    || self.cpu_burst.is_some()
            }
            Controller::CpuSet => self.cpuset_cpus.is_some() || self.cpuset_mems.is_some(),
            Controller::Memory => {
                self.memory_max.is_some()
                    || self.memory_high.is_some()
                    || self.memory_low.is_some()
                    || self.memory_swap.is_some()
                    || self.memory_oom_group.is_some()
            }
            Controller::Pids => self.pids_max.is_some(),
            Controller::Io => self.io_weight.is_some() || !self.io_max.is_empty(),
            Controller::HugeTlb => !self.hugetlb.is_empty(),
            Controller::Devices => self.devices.is_some(),
            Controller::CpuAcct | Controller::Freezer => false,
        };
        named
            || self
                .unified
                .keys()
                .any(|file| owner_of(file) == Some(controller))
    }
}

/// The controller whose v2 file this is: the part before the first dot, of a name that is no path.
pub(crate) fn owner_of(file: &str) -> Option<Controller> {
    let (prefix, rest) = file.split_once('.')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    Controller::ALL
        .into_iter()
        .find(|c| c.v2_name() == Some(prefix) && !rest.is_empty() && rest.chars().all(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_name_their_controllers() {
        let mut resources = Resources::new();
        resources
            .pids(3)
            .unified("io.max", "8:0 rbps=1")
            .account(Controller::CpuAcct);
        let needed: Vec<_> = resources.controllers().iter().collect();
        assert_eq!(
            needed,
            [Controller::CpuAcct, Controller::Pids, Controller::Io]
        );
    }
}
