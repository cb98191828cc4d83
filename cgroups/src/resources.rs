//! What a cgroup may use: plain data, checked before the kernel sees it.

use crate::devices::DeviceRule;
use crate::{Controller, Controllers, Error, Result};
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

    /// Finds values that cannot be meant, all of them together.
    ///
    /// Every function that takes `Resources` calls it first.
    ///
    /// # Errors
    /// [`Error::InvalidResources`] with one sentence for each.
    pub fn check(&self) -> Result<()> {
        let mut problems = Vec::new();
        self.check_cpu(&mut problems);
        self.check_memory(&mut problems);
        self.check_others(&mut problems);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::InvalidResources(problems)),
        }
    }

    fn check_cpu(&self, problems: &mut Vec<String>) {
        check_weight("cpu", self.cpu_weight, problems);
        if let Some(shares) = self.cpu_shares {
            if !(2..=262_144).contains(&shares) {
                problems.push(format!("cpu shares {shares}: must be 2 to 262144"));
            }
            if self.cpu_weight.is_some() {
                problems.push(
                    "cpu shares and cpu weight: the same thing in two units, give one".into(),
                );
            }
        }
        if let Some(Quota { time, period }) = self.cpu_quota {
            if !(MILLISECOND..=1000 * MILLISECOND).contains(&period) {
                problems.push(format!("cpu period {period:?}: must be 1 ms to 1 s"));
            }
            if let Some(time) = time {
                if time < MILLISECOND {
                    problems.push(format!("cpu quota {time:?}: must be at least 1 ms"));
                } else if time > MOST_CPUS * period {
                    problems.push(format!("cpu quota {time:?}: more than {MOST_CPUS} CPUs"));
                }
            }
        }
        let quota = self.cpu_quota.and_then(|quota| quota.time);
        if let (Some(burst), Some(quota)) = (self.cpu_burst, quota)
            && burst > quota
        {
            problems.push(format!(
                "cpu burst {burst:?}: more than the quota {quota:?}"
            ));
        }
        for (what, list) in [
            ("cpuset cpus", &self.cpuset_cpus),
            ("cpuset mems", &self.cpuset_mems),
        ] {
            if let Some(list) = list
                && !is_list(list)
            {
                problems.push(format!("{what} {list:?}: must be a list such as \"0-2,7\""));
            }
        }
    }

    fn check_memory(&self, problems: &mut Vec<String>) {
        for (what, limit) in [
            ("memory max", self.memory_max),
            ("memory high", self.memory_high),
        ] {
            if let Some(Limit::Max(bytes)) = limit
                && bytes < LEAST_MEMORY
            {
                problems.push(format!(
                    "{what} {bytes}: nothing can be started in less than {LEAST_MEMORY} bytes"
                ));
            }
        }
        let huge =
            |limit: Option<Limit>| matches!(limit, Some(Limit::Max(bytes)) if bytes > MOST_BYTES);
        for (what, limit) in [
            ("memory max", self.memory_max),
            ("memory high", self.memory_high),
            ("memory low", self.memory_low),
            ("swap", self.memory_swap),
        ] {
            if huge(limit) {
                problems.push(format!(
                    "{what}: more than {MOST_BYTES} bytes; say Limit::Unlimited for no limit"
                ));
            }
        }
        if let (Some(Limit::Max(high)), Some(Limit::Max(max))) = (self.memory_high, self.memory_max)
            && high > max
        {
            problems.push(format!(
                "memory high {high}: more than memory max {max}, so it would never be reached"
            ));
        }
    }

    fn check_others(&self, problems: &mut Vec<String>) {
        match self.pids_max {
            Some(Limit::Max(0)) => problems.push("pids max 0: nothing could run".into()),
            Some(Limit::Max(tasks)) if tasks > MOST_TASKS => problems.push(format!(
                "pids max {tasks}: the kernel has at most {MOST_TASKS}; say Limit::Unlimited for no limit"
            )),
            _ => {}
        }
        check_weight("io", self.io_weight, problems);
        for io in &self.io_max {
            let rates = [io.read_bps, io.write_bps, io.read_iops, io.write_iops];
            if rates.contains(&Some(Limit::Max(0))) {
                problems.push(format!(
                    "io {}:{}: a rate of 0 never ends",
                    io.major, io.minor
                ));
            }
        }
        for (size, _) in &self.hugetlb {
            if !is_page_size(size) {
                problems.push(format!(
                    "hugetlb page size {size:?}: must be such as \"2MB\""
                ));
            }
        }
        for (file, value) in &self.unified {
            if owner_of(file).is_none() && !is_core_file(file) {
                problems.push(format!(
                    "unified {file:?}: not a cgroup v2 file of a known controller"
                ));
            }
            if value.contains('\0') {
                problems.push(format!("unified {file:?}: a NUL in its value"));
            }
        }
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
/// More CPUs than any kernel is built for (CONFIG_NR_CPUS ends at 8,192 on x86-64).
const MOST_CPUS: u32 = 8192;
/// A page for each of the things that a process is made of (stack, page tables, task); execve(2) fails below.
const LEAST_MEMORY: u64 = 512 << 10;
/// The kernel counts pages in a long and rounds larger values to "max" in silence.
const MOST_BYTES: u64 = i64::MAX as u64 - 4096;
/// PID_MAX_LIMIT of 64-bit kernels.
const MOST_TASKS: u64 = 4 << 20;

fn check_weight(what: &str, weight: Option<u64>, problems: &mut Vec<String>) {
    if let Some(weight) = weight
        && !(1..=10_000).contains(&weight)
    {
        problems.push(format!("{what} weight {weight}: must be 1 to 10000"));
    }
}

/// A list of numbers and ranges as cpuset(7) has it.
fn is_list(list: &str) -> bool {
    list.split(',').all(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        match (low.parse::<u16>(), high.parse::<u16>()) {
            (Ok(low), Ok(high)) => low <= high,
            _ => false,
        }
    })
}

fn is_page_size(size: &str) -> bool {
    ["KB", "MB", "GB"].iter().any(|unit| {
        size.strip_suffix(unit)
            .is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0))
    })
}

/// The controller whose v2 file this is: the part before the first dot, of a name that is no path.
pub(crate) fn owner_of(file: &str) -> Option<Controller> {
    let (prefix, rest) = file.split_once('.')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    Controller::ALL
        .into_iter()
        .find(|c| c.v2_name() == Some(prefix) && !rest.is_empty() && rest.chars().all(plain))
}

/// Files that every v2 cgroup has and that limit it. The others (cgroup.procs, cgroup.kill...) are this crate's business.
fn is_core_file(file: &str) -> bool {
    [
        "cgroup.max.depth",
        "cgroup.max.descendants",
        "cgroup.pressure",
    ]
    .contains(&file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(set: impl FnOnce(&mut Resources)) -> String {
        let mut resources = Resources::new();
        set(&mut resources);
        resources
            .check()
            .map_or_else(|e| e.to_string(), |()| String::new())
    }

    #[test]
    fn sensible_limits_pass() {
        let text = problems(|r| {
            r.memory(64 << 20)
                .memory_high(32 << 20)
                .swap(Limit::Unlimited)
                .cpus(0.5)
                .cpu_burst(Duration::from_millis(20))
                .cpuset_cpus("0-1,3")
                .pids(1)
                .hugetlb("2MB", 0)
                .unified("memory.zswap.max", "0")
                .unified("cgroup.max.depth", "3");
        });
        assert_eq!(text, "");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = problems(|r| {
            r.memory(0).cpus(0.0).pids(0).cpu_weight(0);
        });
        assert_eq!(
            text,
            "invalid resources: cpu weight 0: must be 1 to 10000; cpu quota 0ns: must be at least 1 ms; memory max 0: nothing \
             can be started in less than 524288 bytes; pids max 0: nothing could run"
        );
    }

    #[test]
    fn absurd_values_are_refused() {
        for cpus in [-1.0, f64::NAN, f64::INFINITY, 1e30, 1e6] {
            assert!(
                problems(|r| {
                    r.cpus(cpus);
                })
                .contains("cpu quota"),
                "{cpus}"
            );
        }
        for list in ["", "a", "3-1", "0-", "1,,2", "0 1", "-1"] {
            assert!(
                problems(|r| {
                    r.cpuset_cpus(list);
                })
                .contains("cpuset"),
                "{list}"
            );
        }
        for file in [
            "../memory.max",
            "memory.",
            "memory./x",
            "cgroup.procs",
            "cgroup.kill",
            "foo.bar",
            "",
        ] {
            assert!(
                problems(|r| {
                    r.unified(file, "1");
                })
                .contains("unified"),
                "{file}"
            );
        }
        assert!(
            problems(|r| {
                r.memory(u64::MAX);
            })
            .contains("Unlimited")
        );
        assert!(
            problems(|r| {
                r.pids(u64::MAX);
            })
            .contains("Unlimited")
        );
        assert!(
            problems(|r| {
                r.hugetlb("2M", 1);
            })
            .contains("page size")
        );
        assert!(
            problems(|r| {
                r.memory(1 << 20).memory_high(2 << 20);
            })
            .contains("never be reached")
        );
    }

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
