//! A host with a way into the world, both of them namespaces.

use crate::traffic::{output, wait_until_asked_for};
use ampoule_net::Namespace;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

pub struct Lab {
    /// 203.0.113.2 and 2001:db8::2; it passes packets on.
    pub host: Arc<Namespace>,
    /// 203.0.113.1 and 2001:db8::1; it knows of no other network.
    pub world: Namespace,
}

impl Lab {
    pub fn new() -> Lab {
        let (host, world) = (Namespace::create().unwrap(), Namespace::create().unwrap());
        let there = format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            world.as_fd().as_raw_fd()
        );
        ip(
            &host,
            &format!("link add out type veth peer name in netns {there}"),
        );
        for (namespace, device, number) in [(&host, "out", 2), (&world, "in", 1)] {
            ip(
                namespace,
                &format!("addr add 203.0.113.{number}/24 dev {device}"),
            );
            ip(
                namespace,
                &format!("addr add 2001:db8::{number}/64 dev {device} nodad"),
            );
            ip(namespace, &format!("link set {device} up"));
        }
        // To ask for a device lets its carrier take effect, which else may take a second.
        ip(&host, "link show dev out");
        ip(&world, "link show dev in");
        wait_until_asked_for(&host, "2001:db8::2".parse().unwrap());
        wait_until_asked_for(&world, "2001:db8::1".parse().unwrap());
        for name in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            let path = format!("/proc/sys/net/{name}");
            host.run(|| std::fs::write(path, "1")).unwrap().unwrap();
        }
        Lab {
            host: Arc::new(host),
            world,
        }
    }
}

/// Runs `ip` with these words.
pub fn ip(namespace: &Namespace, words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    output(namespace, "ip", &words)
}
