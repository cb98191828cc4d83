//! The files of v1: Documentation/admin-guide/cgroup-v1/.

use super::Setting;
use super::v2::bfq_weight;
use crate::devices;
use crate::resources::owner_of;
use crate::{Controller, Error, Limit, Resources, Result};

pub(super) fn settings(controller: Controller, resources: &Resources) -> Result<Vec<Setting>> {
    if let Some(file) = resources
        .unified
        .keys()
        .find(|file| owner_of(file) == Some(controller))
    {
        return Err(Error::Unsupported {
            what: format!("the cgroup v2 file {file:?}"),
            reason: format!("the {controller} controller is on a v1 hierarchy of this machine"),
        });
    }
    match controller {
        Controller::Cpu => Ok(cpu(resources)),
        Controller::CpuSet => Ok(cpuset(resources)),
        Controller::Memory => memory(resources),
        Controller::Pids => Ok(pids(resources)),
        Controller::Io => Ok(io(resources)),
        Controller::HugeTlb => Ok(hugetlb(resources)),
        Controller::Devices => devices_list(resources),
        Controller::CpuAcct | Controller::Freezer => Ok(Vec::new()),
    }
}

fn cpu(resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(shares) = resources.cpu_shares.or(resources.cpu_weight.map(shares)) {
        settings.push(Setting::new("cpu.shares", shares));
    }
    if let Some(idle) = resources.cpu_idle {
        settings.push(Setting::new("cpu.idle", u8::from(idle)));
    }
    if let Some(quota) = resources.cpu_quota {
        let time = quota
            .time
            .map_or("-1".into(), |time| time.as_micros().to_string());
        settings.push(Setting::new("cpu.cfs_period_us", quota.period.as_micros()));
        settings.push(Setting::new("cpu.cfs_quota_us", time));
    }
    if let Some(burst) = resources.cpu_burst {
        settings.push(Setting::new("cpu.cfs_burst_us", burst.as_micros()));
    }
    settings
}

/// v2's weight as v1's shares: the inverse of v2's `weight`.
fn shares(weight: u64) -> u64 {
    let log10 = (weight.clamp(1, 10_000) as f64).log10();
    let log2 = ((125.0f64 * 125.0 + 4.0 * 612.0 * (log10 + 7.0 / 34.0)).sqrt() - 125.0) / 2.0;
    (log2.exp2().round() as u64).clamp(2, 262_144)
}

fn cpuset(resources: &Resources) -> Vec<Setting> {
    let lists = [
        ("cpuset.cpus", &resources.cpuset_cpus),
        ("cpuset.mems", &resources.cpuset_mems),
    ];
    lists
        .into_iter()
        .filter_map(|(file, list)| Some(Setting::new(file, list.as_ref()?)))
        .collect()
}

fn memory(resources: &Resources) -> Result<Vec<Setting>> {
    let only_v2 = |what: &str| {
        Error::Unsupported {
        what: what.into(),
        reason: "cgroup v1 has no such thing, and the memory controller of this machine is on v1: boot with \
                 systemd.unified_cgroup_hierarchy=1 or cgroup_no_v1=memory"
            .into(),
    }
    };
    if resources.memory_high.is_some() {
        return Err(only_v2("memory high"));
    }
    if resources.memory_oom_group == Some(true) {
        return Err(only_v2("memory oom group"));
    }
    let mut settings = Vec::new();
    if let Some(low) = resources.memory_low {
        settings.push(Setting::new(
            "memory.soft_limit_in_bytes",
            or_minus_one(low),
        ));
    }
    if let Some(max) = resources.memory_max {
        settings.push(Setting::new("memory.limit_in_bytes", or_minus_one(max)));
    }
    if let Some(swap) = resources.memory_swap {
        let sum = match (resources.memory_max, swap) {
            (Some(Limit::Max(max)), Limit::Max(swap)) => Limit::Max(max.saturating_add(swap)),
            (_, Limit::Unlimited) => Limit::Unlimited,
            _ => {
                let problem = "swap: v1 limits the sum of memory and swap, so a memory limit is needed with it";
                return Err(Error::InvalidResources(vec![problem.into()]));
            }
        };
        settings.push(Setting::new(
            "memory.memsw.limit_in_bytes",
            or_minus_one(sum),
        ));
    }
    Ok(settings)
}

fn pids(resources: &Resources) -> Vec<Setting> {
    let limit = resources.pids_max.map(super::or_max);
    limit
        .map(|limit| Setting::new("pids.max", limit))
        .into_iter()
        .collect()
}

fn io(resources: &Resources) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(weight) = resources.io_weight {
        // CFQ's blkio.weight went with kernel 5.0; its range was 10 to 1,000.
        let old = bfq_weight(weight).max(10).to_string();
        settings.push(Setting {
            otherwise: Some(("blkio.weight", old)),
            ..Setting::new("blkio.bfq.weight", bfq_weight(weight))
        });
    }
    for io in &resources.io_max {
        let rates = [
            ("blkio.throttle.read_bps_device", io.read_bps),
            ("blkio.throttle.write_bps_device", io.write_bps),
            ("blkio.throttle.read_iops_device", io.read_iops),
            ("blkio.throttle.write_iops_device", io.write_iops),
        ];
        for (file, limit) in rates {
            if let Some(limit) = limit {
                // Here 0 lifts the limit; a limit of 0 was refused before.
                let rate = if let Limit::Max(rate) = limit {
                    rate
                } else {
                    0
                };
                settings.push(Setting::new(
                    file,
                    format!("{}:{} {rate}", io.major, io.minor),
                ));
            }
        }
    }
    settings
}

fn hugetlb(resources: &Resources) -> Vec<Setting> {
    let limits = resources.hugetlb.iter();
    limits
        .map(|(size, limit)| {
            Setting::new(
                format!("hugetlb.{size}.limit_in_bytes"),
                or_minus_one(*limit),
            )
        })
        .collect()
}

fn devices_list(resources: &Resources) -> Result<Vec<Setting>> {
    let Some(rules) = &resources.devices else {
        return Ok(Vec::new());
    };
    let mut settings = vec![Setting::new("devices.deny", "a")];
    settings.extend(devices::for_v1(rules)?.iter().map(|rule| {
        let file = if rule.allow {
            "devices.allow"
        } else {
            "devices.deny"
        };
        Setting::new(file, rule)
    }));
    Ok(settings)
}

fn or_minus_one(limit: Limit) -> String {
    match limit {
        Limit::Max(value) => value.to_string(),
        Limit::Unlimited => "-1".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeviceRule, IoLimit};

    fn lines(set: impl FnOnce(&mut Resources)) -> Result<Vec<String>> {
        let mut resources = Resources::new();
        set(&mut resources);
        let mut lines = Vec::new();
        for controller in Controller::ALL {
            for setting in settings(controller, &resources)? {
                lines.push(format!("{}={}", setting.file, setting.value));
            }
        }
        Ok(lines)
    }

    #[test]
    fn every_limit_has_its_file() {
        let lines = lines(|r| {
            r.cpu_weight(100)
                .cpus(0.5)
                .memory(1 << 20)
                .swap(1 << 20)
                .memory_low(4096);
            r.pids(7)
                .hugetlb("2MB", Limit::Unlimited)
                .cpuset_cpus("0")
                .io_weight(10_000);
            r.io(IoLimit {
                major: 8,
                write_bps: Some(Limit::Max(5)),
                read_iops: Some(Limit::Unlimited),
                ..IoLimit::default()
            });
            r.devices([DeviceRule::parse("c 1:3 rwm").unwrap()]);
        });
        assert_eq!(
            lines.unwrap(),
            [
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "cpuset.cpus=0",
                "memory.soft_limit_in_bytes=4096",
                "memory.limit_in_bytes=1048576",
                "memory.memsw.limit_in_bytes=2097152",
                "pids.max=7",
                "blkio.bfq.weight=1000",
                "blkio.throttle.write_bps_device=8:0 5",
                "blkio.throttle.read_iops_device=8:0 0",
                "hugetlb.2MB.limit_in_bytes=-1",
                "devices.deny=a",
                "devices.allow=c 1:3 rwm",
            ]
        );
    }

    #[test]
    fn what_v1_cannot_do_is_said() {
        let refused = |set: fn(&mut Resources)| lines(set).unwrap_err().to_string();
        assert!(
            refused(|r| {
                r.memory_high(1 << 20);
            })
            .contains("memory high is not supported")
        );
        assert!(
            refused(|r| {
                r.oom_group(true);
            })
            .contains("oom group is not supported")
        );
        assert!(
            refused(|r| {
                r.swap(1);
            })
            .contains("a memory limit is needed")
        );
        assert!(
            refused(|r| {
                r.unified("memory.max", "1");
            })
            .contains("v1 hierarchy")
        );
    }

    #[test]
    fn weights_become_shares() {
        assert_eq!([1, 100, 10_000].map(shares), [2, 1024, 262_144]);
    }
}
