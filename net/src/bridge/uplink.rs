//! The way out of a network: a veth pair to a namespace that has one.

use super::Bridge;
use crate::ipam::Subnet;
use crate::netlink::Request;
use crate::netlink::route::{self, Device};
use crate::{Error, ErrorKind, Mac, Namespace, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::Arc;

/// How the names of all uplinks begin in the namespace that has the way out.
pub(crate) const PREFIX: &str = "am-";
/// The uplink's name in the network's own namespace.
const INNER: &str = "uplink";

/// The two ends' addresses. They are the same in every network: each is the only one on its interface, and the routes
/// name the interface. (RFC 3927 leaves them to the link; the IPv6 ones are of a unique local prefix, RFC 4193.)
const OUTER_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 77, 1);
const INNER_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 77, 2);
const OUTER_V6: Ipv6Addr = Ipv6Addr::new(0xfdfe, 0x616d, 0x706f, 0, 0, 0, 0, 1);
const INNER_V6: Ipv6Addr = Ipv6Addr::new(0xfdfe, 0x616d, 0x706f, 0, 0, 0, 0, 2);

#[derive(Debug)]
pub(crate) struct Uplink {
    pub(crate) host: Arc<Namespace>,
    pub(crate) name: String,
    pub(crate) index: u32,
}

impl Uplink {
    /// Joins the network's namespace with the host's; the pair goes when the network's namespace does.
    pub(super) fn create(
        config: &Bridge,
        host: &Arc<Namespace>,
        network: &Namespace,
    ) -> Result<Uplink> {
        refuse_overlaps(config, host)?;
        check_forwarding(config, host)?;
        let name = interface(&config.name);
        // The host's end is born there, and the pair belongs to the network: it is the one that may disappear.
        let outer = Device::new(&name)
            .mtu(config.mtu)
            .mac(Mac::of(outer_end(false)))
            .born_in(host.as_fd());
        let pair = Device::new(INNER)
            .mtu(config.mtu)
            .mac(Mac::of(inner_end(false)))
            .veth(outer);
        let what = format!("join the network {:?} with the host by {name}", config.name);
        let made = network.route(|socket| socket.run(&[pair.create(what)]));
        made.map_err(|error| match error.errno() {
            Some(EEXIST) => Error::new(
                ErrorKind::Taken,
                format!(
                    "the network {:?} exists: there is an interface {name}",
                    config.name
                ),
            ),
            _ => error,
        })?;
        // The network's namespace is a router, which believes no foreign sender.
        network.set("net/ipv4/ip_forward", "1")?;
        network.set("net/ipv4/conf/all/rp_filter", "1")?;
        if families(config).any(|v6| v6) {
            network.set("net/ipv6/conf/all/forwarding", "1")?;
            network.set(&format!("net/ipv6/conf/{INNER}/disable_ipv6"), "0")?;
        }
        let index = host.route(|socket| {
            let index = socket.device(&name)?;
            let mut requests: Vec<_> = families(config)
                .map(|v6| own_address(index, outer_end(v6)))
                .collect();
            requests.push(route::up(format!("switch {name} on"), index, false));
            requests.extend(
                families(config)
                    .filter(|v6| *v6)
                    .map(|v6| route::accept("open the uplink", index, outer_end(v6))),
            );
            requests.extend(
                families(config).map(|v6| other_end(index, inner_end(v6), inner_end(false))),
            );
            requests.extend(config.subnets.iter().map(|subnet| to_subnet(index, subnet)));
            socket.run(&requests)?;
            Ok(index)
        })?;
        network.route(|socket| {
            let index = socket.device(INNER)?;
            let mut requests: Vec<_> = families(config)
                .map(|v6| own_address(index, inner_end(v6)))
                .collect();
            requests.push(route::up(format!("switch {INNER} on"), index, false));
            requests.extend(
                families(config)
                    .filter(|v6| *v6)
                    .map(|v6| route::accept("open the uplink", index, inner_end(v6))),
            );
            requests.extend(
                families(config).map(|v6| other_end(index, outer_end(v6), outer_end(false))),
            );
            requests.extend(families(config).map(|v6| {
                route::onlink_route(
                    "send everything else by the uplink".into(),
                    index,
                    route::everywhere(outer_end(v6)),
                    outer_end(v6),
                )
            }));
            requests.push(route::settle(INNER));
            socket.run(&requests)
        })?;
        host.route(|socket| socket.run(&[route::settle(&name)]))?;
        Ok(Uplink {
            host: Arc::clone(host),
            name,
            index,
        })
    }

    /// Lets packets of the host's own 127.0.0.1 be sent to the network; what comes *from* the network for such an
    /// address must be dropped by then.
    pub(crate) fn route_loopback(&self) -> Result<()> {
        self.host
            .set(&format!("net/ipv4/conf/{}/route_localnet", self.name), "1")
    }
}

/// A name of at most 15 bytes, the same for the same network.
fn interface(network: &str) -> String {
    if network.len() <= 15 - PREFIX.len() {
        return format!("{PREFIX}{network}");
    }
    // FNV-1a, to tell apart what is cut off.
    let hash = network.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let mut head = network.to_string();
    while head.len() > 7 {
        head.pop();
    }
    format!("{PREFIX}{head}-{:04x}", hash & 0xffff)
}

/// Whether each subnet is one of IPv6.
fn families(config: &Bridge) -> impl Iterator<Item = bool> {
    config
        .subnets
        .iter()
        .map(|subnet| subnet.network().is_ipv6())
}

fn outer_end(v6: bool) -> IpAddr {
    if v6 { OUTER_V6.into() } else { OUTER_V4.into() }
}

fn inner_end(v6: bool) -> IpAddr {
    if v6 { INNER_V6.into() } else { INNER_V4.into() }
}

fn own_address(index: u32, address: IpAddr) -> Request {
    route::address(
        format!("give the uplink the address {address}"),
        index,
        address.into(),
        true,
    )
}

/// Both ends know each other's hardware address, which follows from the IPv4 address: they need not ask.
fn other_end(index: u32, address: IpAddr, namesake: IpAddr) -> Request {
    route::neighbour(
        "know the uplink's other end",
        index,
        address,
        Mac::of(namesake),
    )
}

fn to_subnet(index: u32, subnet: &Subnet) -> Request {
    let network = subnet.network();
    let what = format!("send what goes to {network} by the uplink");
    route::onlink_route(what, index, network, inner_end(network.is_ipv6()))
}

fn refuse_overlaps(config: &Bridge, host: &Namespace) -> Result<()> {
    let routes = host.route(|socket| socket.routes())?;
    for subnet in &config.subnets {
        if let Some(route) = routes
            .iter()
            .find(|route| subnet.overlaps(route.destination))
        {
            let what = format!(
                "the subnet {} overlaps the host's route to {} on interface {}",
                subnet.network(),
                route.destination,
                route.device
            );
            return Err(Error::new(ErrorKind::Taken, what));
        }
    }
    Ok(())
}

/// A network with a way out is useless on a host that passes nothing on, and to switch that on is its owner's decision.
fn check_forwarding(config: &Bridge, host: &Namespace) -> Result<()> {
    for v6 in families(config) {
        let name = if v6 {
            "net/ipv6/conf/all/forwarding"
        } else {
            "net/ipv4/ip_forward"
        };
        let value = host.run(|| std::fs::read_to_string(format!("/proc/sys/{name}")))?;
        if value.is_ok_and(|value| value.trim() == "0") {
            let what = format!(
                "the network {:?} has a way out, but the host passes no packets on",
                config.name
            );
            let remedy = format!(
                "sysctl {}=1, or an internal network",
                name.replace('/', ".")
            );
            return Err(Error::new(ErrorKind::Unsupported, what).hint(remedy));
        }
    }
    Ok(())
}

/// From `asm-generic/errno-base.h`.
const EEXIST: i32 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_fit_and_differ() {
        assert_eq!(interface("blue"), "am-blue");
        assert_eq!(interface("exactly-12-b"), "am-exactly-12-b");
        let (a, b) = (
            interface("a-very-long-name-1"),
            interface("a-very-long-name-2"),
        );
        assert!(
            a != b && a.len() <= 15 && a.starts_with("am-a-very-"),
            "{a} {b}"
        );
    }
}
