//! The files of v2: Documentation/admin-guide/cgroup-v2.rst.

use super::{Setting, or_max};
use crate::resources::owner_of;
use crate::{Controller, IoLimit, Resources};

pub(super) fn settings(controller: Controller, resources: &Resources) -> Vec<Setting> {
    let mut settings = match controller {
        Controller::Cpu => cpu(resources),
        Controller::CpuSet => cpuset(resources),
        Controller::Memory => memory(resources),
        Controller::Pids => one("pids.max", resources.pids_max.map(or_max)),
        Controller::Io => io(resources),
        Controller::HugeTlb => hugetlb(resources),
        Controller::CpuAcct | Controller::Devices | Controller::Freezer => Vec::new(),
    };
    for (file, value) in &resources.unified {
        if owner_of(file) == Some(controller) {
            settings.push(Setting::new(file.clone(), value));
        }
    }
    settings
}

fn one(file: &'static str, value: Option<impl ToString>) -> Vec<Setting> {
    value
        .map(|value| Setting::new(file, value))
        .into_iter()
        .collect()
}

fn cpu(resources: &Resources) -> Vec<Setting> {
    let quota = resources.cpu_quota.map(|quota| {
        let time = quota
            .time
            .map_or("max".into(), |time| time.as_micros().to_string());
        format!("{time} {}", quota.period.as_micros())
    });
    let weight = resources.cpu_weight.or(resources.cpu_shares.map(weight));
    let mut settings = one("cpu.weight", weight);
    settings.extend(one("cpu.idle", resources.cpu_idle.map(u8::from)));
    settings.extend(one("cpu.max", quota));
    // After the quota, which bounds it.
    settings.extend(one(
        "cpu.max.burst",
        resources.cpu_burst.map(|burst| burst.as_micros()),
    ));
    settings
}

/// v1's shares as v2's weight: the parabola in the logarithms through least, default and most of both
/// (2, 1; 1,024, 100; 262,144, 10,000).
fn weight(shares: u64) -> u64 {
    let log2 = (shares.clamp(2, 262_144) as f64).log2();
    let log10 = (log2 * log2 + 125.0 * log2) / 612.0 - 7.0 / 34.0;
    // Rounding errors must not lift the three exact points by one.
    (10f64.powf(log10) - 1e-9).ceil() as u64
}

fn cpuset(resources: &Resources) -> Vec<Setting> {
    let mut settings = one("cpuset.cpus", resources.cpuset_cpus.as_ref());
    settings.extend(one("cpuset.mems", resources.cpuset_mems.as_ref()));
    settings
}

fn memory(resources: &Resources) -> Vec<Setting> {
    let mut settings = one("memory.low", resources.memory_low.map(or_max));
    settings.extend(one("memory.high", resources.memory_high.map(or_max)));
    settings.extend(one("memory.max", resources.memory_max.map(or_max)));
    settings.extend(one("memory.swap.max", resources.memory_swap.map(or_max)));
    settings.extend(one(
        "memory.oom.group",
        resources.memory_oom_group.map(u8::from),
    ));
    settings
}

fn io(resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(weight) = resources.io_weight {
        settings.push(Setting {
            otherwise: Some(("io.bfq.weight", bfq_weight(weight).to_string())),
            ..Setting::new("io.weight", format!("default {weight}"))
        });
    }
    settings.extend(
        resources
            .io_max
            .iter()
            .map(|io| Setting::new("io.max", io_max(io))),
    );
    settings
}

fn io_max(io: &IoLimit) -> String {
    let rates = [
        ("rbps", io.read_bps),
        ("wbps", io.write_bps),
        ("riops", io.read_iops),
        ("wiops", io.write_iops),
    ];
    let rates = rates
        .iter()
        .filter_map(|(key, limit)| limit.map(|limit| format!(" {key}={}", or_max(limit))));
    format!("{}:{}{}", io.major, io.minor, rates.collect::<String>())
}

fn hugetlb(resources: &Resources) -> Vec<Setting> {
    let limits = resources.hugetlb.iter();
    limits
        .map(|(size, limit)| Setting::new(format!("hugetlb.{size}.max"), or_max(*limit)))
        .collect()
}

/// bfq's weights end at 1,000 and have the same default, 100.
pub(super) fn bfq_weight(weight: u64) -> u64 {
    match weight {
        0..=100 => weight,
        above => 100 + (above - 100) * 900 / 9900,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limit;
    use std::time::Duration;

    fn check(set: impl FnOnce(&mut Resources), expect: &[&str]) {
        let mut resources = Resources::new();
        set(&mut resources);
        let lines: Vec<String> = Controller::ALL
            .into_iter()
            .flat_map(|controller| settings(controller, &resources))
            .map(|setting| format!("{}={}", setting.file, setting.value))
            .collect();
        assert_eq!(lines, expect);
    }

    #[test]
    fn every_limit_has_its_file() {
        check(
            |r| {
                r.cpu_weight(50)
                    .cpus(1.5)
                    .cpu_burst(Duration::from_millis(10));
                r.cpuset_cpus("0").cpuset_mems("0");
                r.memory(64 << 20)
                    .memory_high(1 << 20)
                    .memory_low(Limit::Unlimited)
                    .swap(0)
                    .oom_group(true);
                r.pids(Limit::Unlimited)
                    .hugetlb("2MB", 4 << 20)
                    .io_weight(200);
            },
            &[
                "cpu.weight=50",
                "cpu.max=150000 100000",
                "cpu.max.burst=10000",
                "cpuset.cpus=0",
                "cpuset.mems=0",
                "memory.low=max",
                "memory.high=1048576",
                "memory.max=67108864",
                "memory.swap.max=0",
                "memory.oom.group=1",
                "pids.max=max",
                "io.weight=default 200",
                "hugetlb.2MB.max=4194304",
            ],
        );
    }

    #[test]
    fn io_rates_name_what_is_limited_only() {
        check(
            |r| {
                r.io(IoLimit {
                    major: 8,
                    minor: 16,
                    read_bps: Some(Limit::Max(1000)),
                    write_iops: Some(Limit::Unlimited),
                    ..IoLimit::default()
                });
            },
            &["io.max=8:16 rbps=1000 wiops=max"],
        );
    }

    #[test]
    fn raw_values_come_last() {
        check(
            |r| {
                r.unified("memory.max", "7").memory(1 << 20);
            },
            &["memory.max=1048576", "memory.max=7"],
        );
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!(
            [2, 256, 512, 1024, 2048, 262_144].map(weight),
            [1, 35, 59, 100, 174, 10_000]
        );
    }

    #[test]
    fn bfq_weights_keep_least_default_and_most() {
        assert_eq!([1, 100, 10_000].map(bfq_weight), [1, 100, 1000]);
    }
}
