//! What a cgroup with limits of memory, CPU and tasks costs: `cargo bench --manifest-path cgroups/benches/Cargo.toml`, as root.
//!
//! The contenders of one group are measured in one run on one machine: the bare system calls (the floor), this crate, and
//! cgroups-rs where it can be used. Creation and removal are timed apart.

use ampoule_cgroups::{Cgroup, Layout, Options, Parent, Resources, Version};
use cgroups_rs::fs::cgroup_builder::CgroupBuilder;
use cgroups_rs::fs::hierarchies;
use criterion::{BenchmarkGroup, Criterion, measurement::WallTime};
use rustix::fs::{AtFlags, Mode, OFlags};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const MEMORY: u64 = 64 << 20;
const PIDS: u64 = 32;
/// So many are created, then removed, in turns: few enough to be warm, enough to be timed.
const BATCH: u64 = 16;

fn main() {
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    for (name, layout) in layouts() {
        let parent = open(&layout);
        let mut group = criterion.benchmark_group(name);
        bench(&mut group, "bare system calls", &Bare::new(&layout));
        bench(&mut group, "ampoule-cgroups", &parent);
        if name != "v1" {
            bench(&mut group, "cgroups-rs", &CgroupsRs);
        }
        group.bench_function("ampoule-cgroups/entry", |bencher| {
            let cgroup = parent.make(0);
            bencher.iter(|| cgroup.entry().unwrap());
        });
        let live: Vec<Cgroup> = (100_000..101_000)
            .map(|number| parent.make(number))
            .collect();
        bench(&mut group, "ampoule-cgroups, 1000 live", &parent);
        drop(live);
        let other = Options::new(format!("{PARENT}-2"))
            .layout(layout.clone())
            .open()
            .unwrap();
        for (name, parents) in [
            ("one parent", [&parent, &parent]),
            ("two parents", [&parent, &other]),
        ] {
            group.bench_function(
                format!("ampoule-cgroups/two threads, {name}/create and remove"),
                |bencher| {
                    bencher.iter_custom(|rounds| together(parents, rounds));
                },
            );
        }
        group.finish();
        other.remove().unwrap();
        parent.remove().unwrap();
    }
    criterion.final_summary();
}

/// The machine as it is and, where that is hybrid, its v1 hierarchies alone.
fn layouts() -> Vec<(&'static str, Layout)> {
    use ampoule_cgroups::Mode;
    let layout = Layout::discover().unwrap();
    match layout.mode() {
        Mode::V2 => vec![("v2", layout)],
        Mode::V1 => vec![("v1 as it is", layout)],
        Mode::Hybrid => vec![
            ("hybrid", layout.clone()),
            ("v1", layout.without(Version::V2)),
        ],
    }
}

/// A way to make and remove a cgroup.
trait Contender {
    type Cgroup;
    fn make(&self, number: u64) -> Self::Cgroup;
    fn remove(&self, cgroup: Self::Cgroup);
}

fn bench<C: Contender>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, contender: &C) {
    let time = |rounds: u64, created: bool| {
        let (mut creating, mut removing) = (Duration::ZERO, Duration::ZERO);
        let mut left = rounds;
        while left > 0 {
            let batch = left.min(BATCH);
            let begun = Instant::now();
            let cgroups: Vec<_> = (0..batch).map(|number| contender.make(number)).collect();
            creating += begun.elapsed();
            let begun = Instant::now();
            cgroups
                .into_iter()
                .for_each(|cgroup| contender.remove(cgroup));
            removing += begun.elapsed();
            left -= batch;
        }
        if created { creating } else { removing }
    };
    group.bench_function(format!("{name}/create"), |b| {
        b.iter_custom(|rounds| time(rounds, true))
    });
    group.bench_function(format!("{name}/remove"), |b| {
        b.iter_custom(|rounds| time(rounds, false))
    });
}

/// Two threads that create and remove, each so many times: whether they are in each other's way.
fn together(parents: [&Parent; 2], rounds: u64) -> Duration {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (thread, parent) in parents.into_iter().enumerate() {
            scope.spawn(move || {
                for _ in 0..rounds {
                    parent.remove(parent.make(200_000 + thread as u64));
                }
            });
        }
    });
    begun.elapsed()
}

impl Contender for Parent {
    type Cgroup = Cgroup;

    fn make(&self, number: u64) -> Cgroup {
        let mut limits = Resources::new();
        limits.memory(MEMORY).cpus(0.5).pids(PIDS);
        self.create(&format!("bench-{number}"), &limits).unwrap()
    }

    fn remove(&self, cgroup: Cgroup) {
        cgroup.remove().unwrap();
    }
}

struct CgroupsRs;

impl Contender for CgroupsRs {
    type Cgroup = cgroups_rs::fs::Cgroup;

    fn make(&self, number: u64) -> Self::Cgroup {
        CgroupBuilder::new(&format!("ampoule-bench-rs-{number}"))
            .memory()
            .memory_hard_limit(MEMORY as i64)
            .done()
            .cpu()
            .quota(50_000)
            .period(100_000)
            .done()
            .pid()
            .maximum_number_of_processes(cgroups_rs::fs::MaxValue::Value(PIDS as i64))
            .done()
            .build(hierarchies::auto())
            .unwrap()
    }

    fn remove(&self, cgroup: Self::Cgroup) {
        cgroup.delete().unwrap();
    }
}

/// The system calls that cannot be saved: a mkdirat for each hierarchy, an openat and a write for each limit.
struct Bare(Vec<(OwnedFd, Vec<(&'static str, String)>)>);

impl Bare {
    fn new(layout: &Layout) -> Bare {
        use ampoule_cgroups::Controller;
        // Makes the parent's directories.
        drop(open(layout).make(0));
        let memory = ("memory.limit_in_bytes", MEMORY.to_string());
        let period = ("cpu.cfs_period_us", "100000".to_owned());
        let quota = ("cpu.cfs_quota_us", "50000".to_owned());
        let pids = ("pids.max", PIDS.to_string());
        let v2 = layout.hierarchies.iter().any(|h| h.version == Version::V2);
        let directories = layout.hierarchies.iter().filter_map(|hierarchy| {
            let has = |controller| hierarchy.controllers.contains(controller);
            let limits = match hierarchy.version {
                Version::V1 if has(Controller::Memory) => vec![memory.clone()],
                Version::V1 if has(Controller::Cpu) => vec![period.clone(), quota.clone()],
                Version::V1 if has(Controller::Pids) => vec![pids.clone()],
                Version::V1 if has(Controller::Freezer) && !v2 => vec![],
                Version::V1 => return None,
                Version::V2 if has(Controller::Memory) => vec![
                    ("memory.max", MEMORY.to_string()),
                    ("pids.max", PIDS.to_string()),
                    ("cpu.max", "50000 100000".to_owned()),
                ],
                Version::V2 => vec![],
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = rustix::fs::open(hierarchy.mount.join(PARENT), flags, Mode::empty()).unwrap();
            Some((dir, limits))
        });
        Bare(directories.collect())
    }
}

impl Contender for Bare {
    type Cgroup = String;

    fn make(&self, number: u64) -> String {
        let name = format!("bare-{number}");
        for (parent, limits) in &self.0 {
            rustix::fs::mkdirat(parent, &name, Mode::from_raw_mode(0o755)).unwrap();
            for (file, value) in limits {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(parent, format!("{name}/{file}"), flags, Mode::empty())
                    .unwrap();
                rustix::io::write(&fd, value.as_bytes()).unwrap();
            }
        }
        name
    }

    fn remove(&self, name: String) {
        for (parent, _) in &self.0 {
            rustix::fs::unlinkat(parent, &name, AtFlags::REMOVEDIR).unwrap();
        }
    }
}

const PARENT: &str = "ampoule-bench";

fn open(layout: &Layout) -> Parent {
    Options::new(PARENT).layout(layout.clone()).open().unwrap()
}
