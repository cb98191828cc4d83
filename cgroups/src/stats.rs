//! What a cgroup has used, in the same units whichever version counted it.

use crate::cgroup::Cgroup;
use crate::dir::Dir;
use crate::{Controller, Result, Version};
use std::time::Duration;

/// What a cgroup and its children have used so far.
///
/// A part is `None` where the cgroup lives without that controller; ask for it at creation with
/// [`Resources::account`](crate::Resources::account). A field is `None` where this kernel does not count it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time.
    pub cpu: Option<CpuStats>,
    /// Memory and swap.
    pub memory: Option<MemoryStats>,
    /// Tasks.
    pub pids: Option<PidsStats>,
    /// Block devices, each with traffic.
    pub io: Vec<IoStats>,
    /// Huge pages by page size, in bytes.
    pub hugetlb: Vec<(String, u64)>,
    /// Time lost to waiting; only on v2, and where the kernel was booted with PSI.
    pub pressure: Pressures,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuStats {
    /// All of it; `None` where only the quota's counters are to be had (v1 without `cpuacct`).
    pub usage: Option<Duration>,
    /// In user mode.
    pub user: Option<Duration>,
    /// In the kernel.
    pub system: Option<Duration>,
    /// Periods of the quota in which something ran.
    pub periods: Option<u64>,
    /// Periods in which the quota was used up.
    pub throttled_periods: Option<u64>,
    /// Time that tasks (v2, summed over CPUs) were held back by the quota.
    pub throttled: Option<Duration>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryStats {
    /// In use now, page cache included.
    pub current: u64,
    /// The most that was in use; kernel 5.19 on v2.
    pub peak: Option<u64>,
    /// Swap in use now.
    pub swap: Option<u64>,
    /// Anonymous memory.
    pub anon: Option<u64>,
    /// Page cache.
    pub file: Option<u64>,
    /// How often the limit was reached and memory reclaimed for it.
    pub max_hits: Option<u64>,
    /// How often the OOM killer was needed, whether or not it found a process to kill.
    pub oom: Option<u64>,
    /// Processes killed by the OOM killer; kernel 4.13 on v1.
    pub oom_kill: Option<u64>,
}

/// What is final when the last process has ended: the few figures that a report wants, and that cost little to read.
///
/// A field is `None` where the cgroup lives without that controller, or this kernel does not count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// CPU time in user mode.
    pub user: Option<Duration>,
    /// CPU time in the kernel.
    pub system: Option<Duration>,
    /// Time that tasks were held back by the quota.
    pub throttled: Option<Duration>,
    /// The most memory that was in use, in bytes.
    pub peak_memory: Option<u64>,
    /// Processes killed by the OOM killer.
    pub oom_kill: Option<u64>,
    /// The most tasks there were.
    pub peak_pids: Option<u64>,
}

/// Tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PidsStats {
    /// Tasks now.
    pub current: u64,
    /// The most there were; kernel 6.1.
    pub peak: Option<u64>,
    /// Forks that failed for the limit.
    pub max_hits: Option<u64>,
}

/// Traffic of one block device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoStats {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// Pressure stall information by resource (Documentation/accounting/psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Pressures {
    /// Waiting for a CPU.
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    pub memory: Option<Pressure>,
    /// Waiting for I/O.
    pub io: Option<Pressure>,
}

/// How much time was lost to waiting for one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Pressure {
    /// While at least one task waited.
    pub some: Stall,
    /// While all tasks waited.
    pub full: Stall,
}

/// Shares of time in per cent, and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stall {
    /// Over the last 10 seconds.
    pub avg10: f64,
    /// Over the last minute.
    pub avg60: f64,
    /// Over the last 5 minutes.
    pub avg300: f64,
    /// Altogether.
    pub total: Duration,
}

impl Cgroup {
    /// What the cgroup has used so far.
    ///
    /// # Errors
    /// [`Error::Kernel`](crate::Error::Kernel) where a file cannot be read: ENODEV once the cgroup was removed.
    ///
    /// # Examples
    /// ```no_run
    /// # use ampoule_cgroups::{Controller, Parent, Resources};
    /// # let parent = Parent::open("demo")?;
    /// let cgroup = parent.create("job", Resources::new().account(Controller::Memory))?;
    /// let peak = cgroup.stats()?.memory.and_then(|memory| memory.peak);
    /// # Ok::<(), ampoule_cgroups::Error>(())
    /// ```
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats {
            cpu: self.cpu_stats()?,
            ..Stats::default()
        };
        if let Some((version, dir)) = self.dir_of(Controller::Memory) {
            stats.memory = memory(version, dir)?;
        }
        if let Some((_, dir)) = self.dir_of(Controller::Pids) {
            stats.pids = pids(dir)?;
        }
        if let Some((version, dir)) = self.dir_of(Controller::Io) {
            stats.io = match version {
                Version::V2 => parse_io_v2(&dir.read_if_any("io.stat")?.unwrap_or_default()),
                Version::V1 => io_v1(dir)?,
            };
        }
        if let Some((version, dir)) = self.dir_of(Controller::HugeTlb) {
            stats.hugetlb = hugetlb(version, dir)?;
        }
        if let Some(member) = self.v2() {
            let read = |file| {
                Ok(member
                    .dir
                    .read_if_any(file)?
                    .map(|text| parse_pressure(&text)))
            };
            stats.pressure = Pressures {
                cpu: read("cpu.pressure")?,
                memory: read("memory.pressure")?,
                io: read("io.pressure")?,
            };
        }
        Ok(stats)
    }

    /// The figures for a report at the end: [`stats`](Self::stats) reads three times as many files, some of which the kernel
    /// computes anew at each read.
    ///
    /// # Errors
    /// As for [`stats`](Self::stats).
    pub fn totals(&self) -> Result<Totals> {
        let cpu = self.cpu_stats()?.unwrap_or_default();
        let mut totals = Totals {
            user: cpu.user,
            system: cpu.system,
            throttled: cpu.throttled,
            ..Totals::default()
        };
        if let Some((version, dir)) = self.dir_of(Controller::Memory) {
            let (peak, events) = match version {
                Version::V2 => ("memory.peak", "memory.events"),
                Version::V1 => ("memory.max_usage_in_bytes", "memory.oom_control"),
            };
            totals.peak_memory = number(dir, peak)?;
            // The root of v2 has no such file.
            let events = dir.read_if_any(events)?.unwrap_or_default();
            totals.oom_kill = field(&events, "oom_kill");
        }
        if let Some((_, dir)) = self.dir_of(Controller::Pids) {
            totals.peak_pids = number(dir, "pids.peak")?;
        }
        Ok(totals)
    }

    fn dir_of(&self, controller: Controller) -> Option<(Version, &Dir)> {
        let member = self.member(controller).ok()?;
        Some((self.node(member).version, &member.dir))
    }

    /// The time from v2's core or v1's `cpuacct`; the quota's counters from wherever the cpu controller is.
    fn cpu_stats(&self) -> Result<Option<CpuStats>> {
        let mut stats = None;
        match self.dir_of(Controller::CpuAcct) {
            Some((Version::V2, dir)) => stats = Some(parse_cpu_v2(&dir.read("cpu.stat")?)),
            Some((Version::V1, dir)) => {
                let mut cpu = CpuStats {
                    usage: number(dir, "cpuacct.usage")?.map(Duration::from_nanos),
                    ..CpuStats::default()
                };
                cpu.user = number(dir, "cpuacct.usage_user")?.map(Duration::from_nanos);
                cpu.system = number(dir, "cpuacct.usage_sys")?.map(Duration::from_nanos);
                stats = Some(cpu);
            }
            None => {}
        }
        if let Some((Version::V1, dir)) = self.dir_of(Controller::Cpu) {
            let text = dir.read("cpu.stat")?;
            let stats = stats.get_or_insert_default();
            stats.periods = field(&text, "nr_periods");
            stats.throttled_periods = field(&text, "nr_throttled");
            stats.throttled = field(&text, "throttled_time").map(Duration::from_nanos);
        }
        Ok(stats)
    }
}

fn parse_cpu_v2(text: &str) -> CpuStats {
    let micros = |key| field(text, key).map(Duration::from_micros);
    CpuStats {
        usage: micros("usage_usec"),
        user: micros("user_usec"),
        system: micros("system_usec"),
        periods: field(text, "nr_periods"),
        throttled_periods: field(text, "nr_throttled"),
        throttled: micros("throttled_usec"),
    }
}

fn memory(version: Version, dir: &Dir) -> Result<Option<MemoryStats>> {
    let stats = match version {
        Version::V2 => {
            let Some(current) = number(dir, "memory.current")? else {
                return Ok(None);
            };
            let events = dir.read("memory.events")?;
            let stat = dir.read("memory.stat")?;
            MemoryStats {
                current,
                peak: number(dir, "memory.peak")?,
                swap: number(dir, "memory.swap.current")?,
                anon: field(&stat, "anon"),
                file: field(&stat, "file"),
                max_hits: field(&events, "max"),
                oom: field(&events, "oom"),
                oom_kill: field(&events, "oom_kill"),
            }
        }
        Version::V1 => {
            let stat = dir.read("memory.stat")?;
            MemoryStats {
                current: number(dir, "memory.usage_in_bytes")?.unwrap_or_default(),
                peak: number(dir, "memory.max_usage_in_bytes")?,
                swap: field(&stat, "total_swap"),
                anon: field(&stat, "total_rss"),
                file: field(&stat, "total_cache"),
                max_hits: number(dir, "memory.failcnt")?,
                oom: None,
                oom_kill: field(&dir.read("memory.oom_control")?, "oom_kill"),
            }
        }
    };
    Ok(Some(stats))
}

fn pids(dir: &Dir) -> Result<Option<PidsStats>> {
    let Some(current) = number(dir, "pids.current")? else {
        return Ok(None);
    };
    Ok(Some(PidsStats {
        current,
        peak: number(dir, "pids.peak")?,
        max_hits: dir
            .read_if_any("pids.events")?
            .and_then(|text| field(&text, "max")),
    }))
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`
fn parse_io_v2(text: &str) -> Vec<IoStats> {
    let parse = |line: &str| {
        let (device, fields) = line.split_once(' ')?;
        let (major, minor) = device_number(device)?;
        let field = |key: &str| {
            fields
                .split_ascii_whitespace()
                .filter_map(|field| field.split_once('='))
                .find_map(|(name, value)| (name == key).then(|| value.parse().ok()).flatten())
                .unwrap_or(0)
        };
        Some(IoStats {
            major,
            minor,
            read_bytes: field("rbytes"),
            write_bytes: field("wbytes"),
            reads: field("rios"),
            writes: field("wios"),
        })
    };
    text.lines().filter_map(parse).collect()
}

fn io_v1(dir: &Dir) -> Result<Vec<IoStats>> {
    let bytes = dir.read_if_any("blkio.throttle.io_service_bytes_recursive")?;
    let counts = dir.read_if_any("blkio.throttle.io_serviced_recursive")?;
    Ok(parse_io_v1(
        &bytes.unwrap_or_default(),
        &counts.unwrap_or_default(),
    ))
}

/// `8:0 Read 4096` and so on, one line for each device and direction.
fn parse_io_v1(bytes: &str, counts: &str) -> Vec<IoStats> {
    let mut devices: Vec<IoStats> = Vec::new();
    for (text, is_bytes) in [(bytes, true), (counts, false)] {
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [device, direction, value] = words[..] else {
                continue;
            };
            let (Some((major, minor)), Ok(value)) = (device_number(device), value.parse()) else {
                continue;
            };
            let known = devices
                .iter()
                .position(|d| (d.major, d.minor) == (major, minor));
            let at = known.unwrap_or_else(|| {
                devices.push(IoStats {
                    major,
                    minor,
                    ..IoStats::default()
                });
                devices.len() - 1
            });
            match (direction, is_bytes) {
                ("Read", true) => devices[at].read_bytes = value,
                ("Write", true) => devices[at].write_bytes = value,
                ("Read", false) => devices[at].reads = value,
                ("Write", false) => devices[at].writes = value,
                _ => {}
            }
        }
    }
    devices
}

/// `hugetlb.2MB.current`; the page sizes are the machine's, so they are looked for.
fn hugetlb(version: Version, dir: &Dir) -> Result<Vec<(String, u64)>> {
    let suffix = match version {
        Version::V2 => ".current",
        Version::V1 => ".usage_in_bytes",
    };
    let mut sizes = Vec::new();
    for file in dir.files()? {
        let size = file
            .strip_prefix("hugetlb.")
            .and_then(|rest| rest.strip_suffix(suffix));
        // `hugetlb.2MB.rsvd.current` counts reservations.
        if let Some(size) = size.filter(|size| !size.contains('.'))
            && let Some(bytes) = number(dir, &file)?
        {
            sizes.push((size.to_owned(), bytes));
        }
    }
    sizes.sort();
    Ok(sizes)
}

/// `some avg10=0.12 avg60=0.00 avg300=0.00 total=123` and the same for `full`.
fn parse_pressure(text: &str) -> Pressure {
    let stall = |kind: &str| {
        let line = text
            .lines()
            .find(|line| line.split(' ').next() == Some(kind))
            .unwrap_or("");
        let value = |key: &str| {
            let field = line.split(' ').filter_map(|field| field.split_once('='));
            field
                .filter(|(name, _)| *name == key)
                .map(|(_, value)| value)
                .next()
        };
        let average = |key| value(key).and_then(|v| v.parse().ok()).unwrap_or(0.0);
        let total = value("total").and_then(|v| v.parse().ok()).unwrap_or(0);
        Stall {
            avg10: average("avg10"),
            avg60: average("avg60"),
            avg300: average("avg300"),
            total: Duration::from_micros(total),
        }
    };
    Pressure {
        some: stall("some"),
        full: stall("full"),
    }
}

fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A file with one number; `None` where there is no such file.
fn number(dir: &Dir, file: &str) -> Result<Option<u64>> {
    Ok(dir
        .read_if_any(file)?
        .and_then(|text| text.trim().parse().ok()))
}

/// The value of a line `key value`.
pub(crate) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn damaged_files_are_read_or_passed_over(
            text in "((usage_usec|8:0|some|full|Total|8:0 Read)( ?(rbytes=|avg10=|total=)?[0-9]{0,22}.?){0,3}\n?){0,4}"
        ) {
            parse_cpu_v2(&text);
            parse_io_v2(&text);
            parse_io_v1(&text, &text);
            parse_pressure(&text);
            device_number(&text);
            field(&text, "some");
        }
    }

    #[test]
    fn cpu_of_v2() {
        let stats = parse_cpu_v2(
            "usage_usec 30\nuser_usec 10\nsystem_usec 20\nnr_periods 5\nnr_throttled 2\nthrottled_usec 7\n",
        );
        assert_eq!(stats.usage, Some(Duration::from_micros(30)));
        assert_eq!((stats.periods, stats.throttled_periods), (Some(5), Some(2)));
        assert_eq!(stats.throttled, Some(Duration::from_micros(7)));
        assert_eq!(parse_cpu_v2("usage_usec 1\n").periods, None);
    }

    #[test]
    fn io_of_both() {
        let expect = IoStats {
            major: 254,
            minor: 0,
            read_bytes: 4096,
            write_bytes: 512,
            reads: 2,
            writes: 1,
        };
        assert_eq!(
            parse_io_v2("254:0 rbytes=4096 wbytes=512 rios=2 wios=1 dbytes=0 dios=0\n7:0 \nbad\n")
                [0],
            expect
        );
        let bytes = "254:0 Read 4096\n254:0 Write 512\n254:0 Total 4608\nTotal 4608\n";
        assert_eq!(
            parse_io_v1(bytes, "254:0 Read 2\n254:0 Write 1\n"),
            [expect]
        );
    }

    #[test]
    fn pressure() {
        let text = "some avg10=1.50 avg60=0.20 avg300=0.00 total=1500\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        let pressure = parse_pressure(text);
        assert_eq!(pressure.some.avg10, 1.5);
        assert_eq!(pressure.some.total, Duration::from_micros(1500));
        assert_eq!(pressure.full.total, Duration::from_micros(3));
        assert_eq!(parse_pressure("nonsense"), Pressure::default());
    }
}
