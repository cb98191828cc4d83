//! A bridge without the kernel's limit of 1,024 ports, and whose ports cost the same however many there are.
//!
//! To attach a port takes time linear in the ports of the bridge, so ports are spread over many small bridges, each joined
//! to the first by a veth pair: one Ethernet, seen from anywhere.

use super::Bridge;
use crate::ipam::Subnet;
use crate::netlink::Request;
use crate::netlink::route::{self, Device};
use crate::place::Place;
use crate::{Error, ErrorKind, Mac, Namespace, Result};
use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ports of one bridge.
const PORTS: u16 = 32;
/// The first bridge has the gateway's addresses and a port for each of the others.
const MAX_BRIDGES: usize = 1024 - PORTS as usize;

/// Stands for the gateway that a network without a subnet does not have.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Debug)]
pub(super) struct Switch {
    place: Arc<Place>,
    mtu: u32,
    isolated: bool,
    mac: Mac,
    leaves: Arc<Mutex<Vec<Leaf>>>,
}

/// One bridge of the switch.
#[derive(Debug)]
struct Leaf {
    index: u32,
    taken: u16,
}

/// A port's place on one of the bridges; free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    leaves: Arc<Mutex<Vec<Leaf>>>,
    number: usize,
}

impl Switch {
    pub(super) fn create(config: &Bridge) -> Result<Switch> {
        let namespace = Arc::new(Namespace::create()?);
        // A port has no use for an IPv6 address, and making one is a third of the work of switching it on.
        namespace.set("net/ipv6/conf/default/disable_ipv6", "1")?;
        // A bridge that was given an address keeps it, whatever ports come and go, and everybody can be told it.
        let mac = Mac::of(config.subnets.first().map_or(NOWHERE, Subnet::gateway));
        let bridge = Device::new(&name(0)).mtu(config.mtu).mac(mac);
        namespace.route(|socket| socket.run(&[bridge.bridge().create("make the bridge")]))?;
        if config
            .subnets
            .iter()
            .any(|subnet| subnet.network().is_ipv6())
        {
            namespace.set(&format!("net/ipv6/conf/{}/disable_ipv6", name(0)), "0")?;
        }
        let root = namespace.route(|socket| {
            let root = socket.device(&name(0))?;
            let mut requests: Vec<Request> =
                config.subnets.iter().map(|s| gateway(root, s)).collect();
            requests.push(route::up("switch the bridge on", root, true));
            let gateways = config.subnets.iter().map(Subnet::gateway);
            requests.extend(
                gateways
                    .filter(IpAddr::is_ipv6)
                    .map(|v6| route::accept("give the gateway its address", root, v6)),
            );
            socket.run(&requests)?;
            Ok(root)
        })?;
        let what = format!("the network {:?}", config.name);
        let place = Place::open(&what, namespace, Some((name(0), root)))?;
        let root = Leaf {
            index: root,
            taken: 0,
        };
        let leaves = Arc::new(Mutex::new(vec![root]));
        Ok(Switch {
            place,
            mtu: config.mtu,
            isolated: config.separates_ports(),
            mac,
            leaves,
        })
    }

    /// The gateway's hardware address.
    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    /// The first bridge's index.
    pub(super) fn root(&self) -> u32 {
        lock(&self.leaves)[0].index
    }

    pub(super) fn place(&self) -> &Arc<Place> {
        &self.place
    }

    /// A free place on a bridge, and that bridge's index; makes another bridge if all are full.
    pub(super) fn seat(&self) -> Result<(u32, Seat)> {
        let mut leaves = lock(&self.leaves);
        let number = match leaves.iter().position(|leaf| leaf.taken < PORTS) {
            Some(number) => number,
            None => {
                let index = self.make_leaf(leaves.len(), leaves[0].index)?;
                leaves.push(Leaf { index, taken: 0 });
                leaves.len() - 1
            }
        };
        leaves[number].taken += 1;
        let seat = Seat {
            leaves: Arc::clone(&self.leaves),
            number,
        };
        Ok((leaves[number].index, seat))
    }

    fn make_leaf(&self, number: usize, root: u32) -> Result<u32> {
        if number >= MAX_BRIDGES {
            let what = format!("{} has no port left on any bridge", self.place.name());
            return Err(Error::new(ErrorKind::Exhausted, what));
        }
        let (bridge, up, down) = (name(number), format!("up{number}"), format!("down{number}"));
        self.place.namespace().route(|socket| {
            let leaf = Device::new(&bridge).mtu(self.mtu).up().bridge();
            socket.run(&[leaf.create(format!("make the bridge {bridge}"))])?;
            let index = socket.device(&bridge)?;
            let upper = Device::new(&down).mtu(self.mtu).port_of(root).up();
            let pair = upper.veth(Device::new(&up).mtu(self.mtu));
            socket.run(&[pair.create(format!("join {bridge} with {}", name(0)))])?;
            let lower = socket.device(&up)?;
            socket.run(&[
                route::join(format!("make {up} a port of {bridge}"), lower, index),
                // Isolated ports on different bridges must not meet on the first one either.
                route::port(format!("isolate {down}"), &down, self.isolated, false),
                route::settle(&up),
                route::settle(&down),
            ])?;
            Ok(index)
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(leaf) = lock(&self.leaves).get_mut(self.number) {
            leaf.taken -= 1;
        }
    }
}

fn name(number: usize) -> String {
    format!("br{number}")
}

fn gateway(bridge: u32, subnet: &Subnet) -> Request {
    let network = subnet.network();
    // Cannot fail: the prefix is that of a network of the same family.
    let gateway = IpNetwork::new(subnet.gateway(), network.prefix()).unwrap_or(network);
    route::address(
        format!("give the gateway the address {gateway}"),
        bridge,
        gateway,
        true,
    )
}

/// Nothing panics half way through a change of the leaves.
fn lock(leaves: &Mutex<Vec<Leaf>>) -> MutexGuard<'_, Vec<Leaf>> {
    leaves.lock().unwrap_or_else(PoisonError::into_inner)
}
