//! Values that cannot be meant, found before the kernel is asked.

use super::{Limit, Quota, Resources, owner_of};
use crate::{Error, Result};
use std::time::Duration;

impl Resources {
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
}
