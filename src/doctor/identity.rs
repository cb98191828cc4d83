//! Who this process is, and what it may give to a container.

use super::{Finding, Level};
use crate::container::Container;
use crate::engine::Engine;
use crate::error::Error;
use ampoule_namespaces::IdMap;
use ampoule_plan::Phase;
use ampoule_privileges::capabilities::{Capability, CapabilitySet};
use ampoule_rootfs::Maker;
use std::fs;

/// Settings that forbid user namespaces: where, the value that does, and the remedy.
const SWITCHES: [(&str, &str, &str); 3] = [
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "sysctl user.max_user_namespaces=10000",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "sysctl kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for this program with `userns,`",
    ),
];

pub(super) fn findings() -> Vec<Finding> {
    let privileged = Engine::shared().maker() == Maker::Host;
    let who = match privileged {
        true => "may mount: containers need no user namespace",
        false => "ordinary: containers live in user namespaces",
    };
    let mut findings = vec![Finding::ok("user", who), user_namespaces(privileged)];
    findings.push(match privileged {
        true => capabilities(),
        false => subordinate_ids(),
    });
    findings
}

/// Starts a container in one, since settings are not all that can forbid it: a security module may let it be made, and then
/// refuse what it is made for.
fn user_namespaces(privileged: bool) -> Finding {
    let ok = Finding::ok("user namespaces", "can be made");
    let started = Container::new("true").id_map(IdMap::single(0, 0)).output();
    let Err(error) = started else { return ok };
    let level = match privileged {
        true => Level::Degraded,
        false => Level::Missing,
    };
    let finding = Finding::new("user namespaces", level, "cannot be made");
    let set = |(path, bad, _): &&(&str, &str, &str)| {
        fs::read_to_string(path).is_ok_and(|value| value.trim() == *bad)
    };
    match SWITCHES.iter().find(set) {
        Some((path, bad, remedy)) => finding.cause(format!("{path} is {bad}")).remedy(*remedy),
        None if in_the_making(&error) => finding.cause(error.to_string()).remedy(
            "in another container: let it have user namespaces, or start it with CAP_SYS_ADMIN",
        ),
        None => ok,
    }
}

/// Whether it failed where the namespace is made; a later failure has nothing to do with it.
fn in_the_making(error: &Error) -> bool {
    use ampoule_namespaces::Error as Start;
    match error {
        Error::Start(Start::Birth { .. }) => true,
        Error::Start(Start::Step { phase, .. } | Start::Host { phase, .. }) => {
            *phase == Phase::Identity
        }
        _ => false,
    }
}

fn subordinate_ids() -> Finding {
    let one = |cause: String, remedy: &str| {
        Finding::new("ids", Level::Degraded, "a container has one user only")
            .cause(cause)
            .remedy(remedy)
    };
    if let Err(error) = IdMap::subordinate() {
        return one(
            error.to_string(),
            "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER",
        );
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = |name: &str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    match ["newuidmap", "newgidmap"]
        .into_iter()
        .find(|name| !installed(name))
    {
        Some(name) => one(format!("{name} is not installed"), "apt install uidmap"),
        None => Finding::ok("ids", "/etc/subuid and /etc/subgid grant more than one"),
    }
}

/// In another container even root may lack some.
fn capabilities() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .map_or(CapabilitySet::EMPTY, CapabilitySet::from_bits);
    let lacking = CapabilitySet::DOCKER - effective;
    if !lacking.is_empty() {
        return Finding::new("capabilities", Level::Degraded, format!("no {lacking}"))
            .cause("this process does not have them, so a container cannot")
            .remedy("start this program with them");
    }
    match effective.contains(Capability::SysResource) {
        true => Finding::ok("capabilities", "all that containers get"),
        false => Finding::new("capabilities", Level::Degraded, "no CAP_SYS_RESOURCE")
            .cause("hard limits (--ulimit) cannot be raised, OOM scores not lowered")
            .remedy("start this program with it"),
    }
}
