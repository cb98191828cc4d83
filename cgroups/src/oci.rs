//! [`Resources`] from the OCI runtime specification's `linux.resources` (config-linux.md).
//!
//! What cannot be carried over faithfully is an error, never dropped: real-time scheduling, `disableOOMKiller`, `swappiness`,
//! `kernelTCP`, `checkBeforeUpdate`, weights of single devices, `leafWeight`, network classes and RDMA. `kernel` and
//! `useHierarchy` say nothing on any kernel of today and are passed over, as the specification allows.

use crate::{Access, DeviceKind, DeviceRule, Error, IoLimit, Limit, Quota, Resources, Result};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
    LinuxThrottleDevice,
};
use std::time::Duration;

/// Reads the limits as the specification's runtimes do: 0 means "not set" and -1 "unlimited", but for huge pages, where 0 is
/// none at all. Devices begin with everything allowed, as in a new v1 cgroup.
///
/// # Errors
/// [`Error::Unsupported`] for what has no counterpart here, [`Error::InvalidResources`] for values out of range.
///
/// # Examples
/// ```
/// use ampoule_cgroups::{Limit, Resources};
/// use oci_spec::runtime::{LinuxPidsBuilder, LinuxResourcesBuilder};
///
/// let pids = LinuxPidsBuilder::default().limit(32i64).build()?;
/// let oci = LinuxResourcesBuilder::default().pids(pids).build()?;
/// assert_eq!(Resources::try_from(&oci)?.pids_max, Some(Limit::Max(32)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl TryFrom<&LinuxResources> for Resources {
    type Error = Error;

    fn try_from(oci: &LinuxResources) -> Result<Resources> {
        let mut resources = Resources::new();
        if let Some(memory) = oci.memory() {
            memory_limits(memory, &mut resources)?;
        }
        if let Some(cpu) = oci.cpu() {
            cpu_limits(cpu, &mut resources)?;
        }
        if let Some(pids) = oci.pids() {
            resources.pids_max = limit("pids limit", Some(pids.limit()))?;
        }
        if let Some(io) = oci.block_io() {
            io_limits(io, &mut resources)?;
        }
        for huge in oci.hugepage_limits().iter().flatten() {
            // Zero is a limit here: no huge pages at all.
            let bytes = match huge.limit() {
                -1 => Limit::Unlimited,
                bytes => Limit::Max(unsigned("hugepage limit", bytes)?),
            };
            resources.hugetlb(huge.page_size().clone(), bytes);
        }
        resources.devices = devices(oci.devices().as_deref().unwrap_or_default())?;
        for (file, value) in oci.unified().iter().flatten() {
            resources.unified(file.clone(), value.clone());
        }
        refuse(
            "network classes",
            oci.network().as_ref().is_some_and(|network| {
                network.class_id().is_some_and(|id| id != 0)
                    || network
                        .priorities()
                        .as_ref()
                        .is_some_and(|list| !list.is_empty())
            }),
        )?;
        refuse(
            "rdma limits",
            oci.rdma().as_ref().is_some_and(|map| !map.is_empty()),
        )?;
        resources.check()?;
        Ok(resources)
    }
}

fn memory_limits(memory: &LinuxMemory, resources: &mut Resources) -> Result<()> {
    refuse(
        "disableOOMKiller",
        memory.disable_oom_killer() == Some(true),
    )?;
    refuse("memory swappiness", memory.swappiness().is_some())?;
    refuse(
        "memory kernelTCP",
        memory.kernel_tcp().is_some_and(|bytes| bytes > 0),
    )?;
    refuse(
        "memory checkBeforeUpdate",
        memory.check_before_update() == Some(true),
    )?;
    resources.memory_max = limit("memory limit", memory.limit())?;
    resources.memory_low = limit("memory reservation", memory.reservation())?;
    // The specification's swap is the sum of memory and swap, as v1 counts it.
    resources.memory_swap = match (limit("memory swap", memory.swap())?, resources.memory_max) {
        (None, Some(Limit::Unlimited)) | (Some(Limit::Unlimited), _) => Some(Limit::Unlimited),
        (None, _) => None,
        (Some(Limit::Max(sum)), Some(Limit::Max(max))) if sum >= max => Some(Limit::Max(sum - max)),
        (Some(Limit::Max(sum)), _) => {
            return invalid(format!(
                "memory swap {sum}: is memory and swap together, so it needs a memory limit no larger"
            ));
        }
    };
    Ok(())
}

fn cpu_limits(cpu: &LinuxCpu, resources: &mut Resources) -> Result<()> {
    let realtime = cpu.realtime_runtime().is_some_and(|n| n != 0)
        || cpu.realtime_period().is_some_and(|n| n != 0);
    refuse("real-time scheduling", realtime)?;
    resources.cpu_shares = cpu.shares().filter(|shares| *shares != 0);
    let period = cpu.period().filter(|period| *period != 0);
    let quota = cpu.quota().filter(|quota| *quota != 0);
    if period.is_some() || quota.is_some() {
        resources.cpu_quota = Some(Quota {
            time: quota
                .and_then(|quota| quota.try_into().ok())
                .map(Duration::from_micros),
            period: Duration::from_micros(period.unwrap_or(100_000)),
        });
    }
    resources.cpu_burst = cpu.burst().map(Duration::from_micros);
    resources.cpu_idle = match cpu.idle() {
        None => None,
        Some(idle @ 0..=1) => Some(idle == 1),
        Some(idle) => return invalid(format!("cpu idle {idle}: must be 0 or 1")),
    };
    resources.cpuset_cpus = cpu.cpus().clone().filter(|list| !list.is_empty());
    resources.cpuset_mems = cpu.mems().clone().filter(|list| !list.is_empty());
    Ok(())
}

fn io_limits(io: &LinuxBlockIo, resources: &mut Resources) -> Result<()> {
    refuse(
        "blockIO weights of single devices",
        io.weight_device()
            .as_ref()
            .is_some_and(|list| !list.is_empty()),
    )?;
    refuse(
        "blockIO leafWeight",
        io.leaf_weight().is_some_and(|weight| weight != 0),
    )?;
    resources.io_weight = match io.weight() {
        None | Some(0) => None,
        Some(weight @ 10..=1000) => Some(io_weight(weight.into())),
        Some(weight) => return invalid(format!("blockIO weight {weight}: must be 10 to 1000")),
    };
    type Rate = fn(&mut IoLimit) -> &mut Option<Limit>;
    let lists: [(&Option<Vec<LinuxThrottleDevice>>, Rate); 4] = [
        (io.throttle_read_bps_device(), |limit| &mut limit.read_bps),
        (io.throttle_write_bps_device(), |limit| &mut limit.write_bps),
        (io.throttle_read_iops_device(), |limit| &mut limit.read_iops),
        (io.throttle_write_iops_device(), |limit| {
            &mut limit.write_iops
        }),
    ];
    for (list, rate) in lists {
        for device in list.iter().flatten() {
            let number =
                |n| u32::try_from(n).map_err(|_| problem(format!("blockIO device number {n}")));
            let limit = io_limit_of(resources, number(device.major())?, number(device.minor())?);
            *rate(limit) = Some(match device.rate() {
                0 => Limit::Unlimited,
                rate => Limit::Max(rate),
            });
        }
    }
    Ok(())
}

/// The limits of one device, which the specification spreads over four lists.
fn io_limit_of(resources: &mut Resources, major: u32, minor: u32) -> &mut IoLimit {
    let list = &mut resources.io_max;
    let known = list
        .iter()
        .position(|io| (io.major, io.minor) == (major, minor));
    let at = known.unwrap_or_else(|| {
        list.push(IoLimit {
            major,
            minor,
            ..IoLimit::default()
        });
        list.len() - 1
    });
    &mut list[at]
}

/// 10 to 1,000 (v1, bfq) to 1 to 10,000 (v2), so that the default, 100, stays the default.
fn io_weight(weight: u64) -> u64 {
    match weight {
        0..=100 => weight,
        above => 100 + (above - 100) * 11,
    }
}

/// The list as a runtime would write it to a new v1 cgroup, which begins with everything allowed.
fn devices(list: &[LinuxDeviceCgroup]) -> Result<Option<Vec<DeviceRule>>> {
    if list.is_empty() {
        return Ok(None);
    }
    let everything = DeviceRule::parse("a")?;
    let mut rules = vec![everything];
    for device in list {
        rules.push(device_rule(device)?);
    }
    // What everything allowed or denied before does not matter any more.
    let last = |rule: &DeviceRule| [everything, everything.deny()].contains(rule);
    let begin = rules.iter().rposition(last).unwrap_or(0);
    rules.drain(..begin);
    // Our lists begin with everything denied.
    if rules[0] == everything.deny() {
        rules.remove(0);
    }
    Ok(Some(rules))
}

fn device_rule(device: &LinuxDeviceCgroup) -> Result<DeviceRule> {
    let kind = match device.typ() {
        None | Some(LinuxDeviceType::A) => DeviceKind::All,
        Some(LinuxDeviceType::B) => DeviceKind::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => DeviceKind::Char,
        Some(LinuxDeviceType::P) => {
            return invalid("device rule of type p: a fifo is no device".into());
        }
    };
    let number = |n: Option<i64>, most: i64| match n {
        None | Some(-1) => Ok(None),
        Some(n) if (0..=most).contains(&n) => Ok(Some(n as u32)),
        Some(n) => invalid(format!("device number {n}")),
    };
    let mut access = Access::empty();
    for letter in device.access().as_deref().unwrap_or("rwm").chars() {
        access |= match letter {
            'r' => Access::READ,
            'w' => Access::WRITE,
            'm' => Access::MKNOD,
            other => return invalid(format!("device access {other:?}: must be of r, w and m")),
        };
    }
    Ok(DeviceRule {
        allow: device.allow(),
        kind,
        major: number(device.major(), 4095)?,
        minor: number(device.minor(), (1 << 20) - 1)?,
        access,
    })
}

fn limit(what: &str, value: Option<i64>) -> Result<Option<Limit>> {
    match value {
        None | Some(0) => Ok(None),
        Some(-1) => Ok(Some(Limit::Unlimited)),
        Some(value) => Ok(Some(Limit::Max(unsigned(what, value)?))),
    }
}

fn unsigned(what: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| problem(format!("{what} {value}: only -1 may be negative")))
}

fn refuse(what: &str, asked: bool) -> Result<()> {
    match asked {
        false => Ok(()),
        true => Err(Error::Unsupported {
            what: format!("{what} of linux.resources"),
            reason: "it has no counterpart in this crate: take it out of the configuration".into(),
        }),
    }
}

fn invalid<T>(text: String) -> Result<T> {
    Err(problem(text))
}

fn problem(text: String) -> Error {
    Error::InvalidResources(vec![text])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(json: &str) -> Result<Resources> {
        Resources::try_from(&serde_json::from_str::<LinuxResources>(json).unwrap())
    }

    #[test]
    fn a_docker_like_configuration() {
        let resources = convert(
            r#"{
                "devices": [
                    {"allow": false, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
                    {"allow": true, "type": "c", "major": 136, "minor": -1, "access": "rw"}
                ],
                "memory": {"limit": 67108864, "swap": 134217728, "reservation": 1048576},
                "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0-1", "idle": 0},
                "pids": {"limit": 100},
                "blockIO": {
                    "weight": 500,
                    "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                    "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 0}]
                },
                "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
                "unified": {"memory.high": "50000000"}
            }"#,
        )
        .unwrap();
        let mut expect = Resources::new();
        expect
            .memory(64 << 20)
            .swap(64 << 20)
            .memory_low(1 << 20)
            .cpu_shares(512)
            .cpus(0.5);
        expect
            .cpuset_cpus("0-1")
            .cpu_idle(false)
            .pids(100)
            .io_weight(4500)
            .hugetlb("2MB", 0);
        expect.unified("memory.high", "50000000");
        expect.devices(["c 1:3 rwm", "c 136:* rw"].map(|rule| DeviceRule::parse(rule).unwrap()));
        expect.io(IoLimit {
            major: 8,
            minor: 0,
            read_bps: Some(Limit::Max(600)),
            write_iops: Some(Limit::Unlimited),
            ..IoLimit::default()
        });
        assert_eq!(resources, expect);
    }

    #[test]
    fn minus_one_and_zero() {
        let resources = convert(r#"{"memory": {"limit": -1}, "pids": {"limit": 0}, "cpu": {"quota": -1, "period": 50000, "shares": 0}}"#).unwrap();
        assert_eq!(resources.memory_max, Some(Limit::Unlimited));
        assert_eq!(resources.memory_swap, Some(Limit::Unlimited));
        assert_eq!(resources.pids_max, None);
        assert_eq!(resources.cpu_shares, None);
        let quota = Quota {
            time: None,
            period: Duration::from_millis(50),
        };
        assert_eq!(resources.cpu_quota, Some(quota));
    }

    #[test]
    fn devices_begin_with_everything_allowed() {
        let rules = |json: &str| {
            let list = convert(json).unwrap().devices.unwrap();
            list.iter()
                .map(|rule| format!("{}{rule}", if rule.allow { "" } else { "!" }))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            rules(r#"{"devices": [{"allow": false, "type": "b"}]}"#),
            ["a *:* rwm", "!b *:* rwm"]
        );
        assert_eq!(
            rules(r#"{"devices": [{"allow": false}]}"#),
            Vec::<String>::new()
        );
        assert_eq!(convert(r#"{"devices": []}"#).unwrap().devices, None);
    }

    #[test]
    fn what_is_not_carried_over_is_refused() {
        for json in [
            r#"{"memory": {"disableOOMKiller": true}}"#,
            r#"{"memory": {"swappiness": 60}}"#,
            r#"{"cpu": {"realtimeRuntime": 1000}}"#,
            r#"{"blockIO": {"leafWeight": 10}}"#,
            r#"{"network": {"classID": 7}}"#,
        ] {
            assert!(
                matches!(convert(json), Err(Error::Unsupported { .. })),
                "{json}"
            );
        }
        for json in [
            r#"{"memory": {"limit": -2}}"#,
            r#"{"memory": {"limit": 1000000, "swap": 5}}"#,
            r#"{"memory": {"swap": 1000000}}"#,
            r#"{"cpu": {"idle": 2}}"#,
            r#"{"blockIO": {"weight": 5}}"#,
            r#"{"devices": [{"allow": true, "type": "c", "major": 99999, "access": "r"}]}"#,
            r#"{"devices": [{"allow": true, "access": "x"}]}"#,
            r#"{"unified": {"../x": "1"}}"#,
        ] {
            assert!(
                matches!(convert(json), Err(Error::InvalidResources(_))),
                "{json}"
            );
        }
    }
}
