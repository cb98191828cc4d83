//! The requests of rtnetlink(7) that a network is made of.

use super::{Request, Socket};
use crate::parent::{IpvlanMode, MacvlanMode};
use crate::{Error, ErrorKind, Mac, Result};
use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridge, InfoBridgePort, InfoData, InfoIpVlan,
    InfoKind, InfoMacVlan, InfoPortData, InfoPortKind, InfoVeth, InfoVlan, InfoVxlan, IpVlanMode,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// A device to be made: what all kinds have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Device {
    message: LinkMessage,
}

impl Device {
    pub(crate) fn new(name: &str) -> Device {
        let mut device = Device::default();
        device
            .message
            .attributes
            .push(LinkAttribute::IfName(name.into()));
        device
    }

    fn with(mut self, attribute: LinkAttribute) -> Device {
        self.message.attributes.push(attribute);
        self
    }

    /// Switched on as soon as it is there.
    pub(crate) fn up(mut self) -> Device {
        self.message.header.flags |= LinkFlags::Up;
        self.message.header.change_mask |= LinkFlags::Up;
        self
    }

    pub(crate) fn mtu(self, mtu: u32) -> Device {
        self.with(LinkAttribute::Mtu(mtu))
    }

    pub(crate) fn mac(self, mac: Mac) -> Device {
        self.with(LinkAttribute::Address(mac.octets().to_vec()))
    }

    /// A port of this bridge.
    pub(crate) fn port_of(self, bridge: u32) -> Device {
        self.with(LinkAttribute::Controller(bridge))
    }

    /// Born in this namespace instead of that of the socket.
    pub(crate) fn born_in(self, namespace: BorrowedFd<'_>) -> Device {
        self.with(LinkAttribute::NetNsFd(namespace.as_raw_fd()))
    }

    fn of_kind(self, kind: InfoKind, data: Option<InfoData>) -> Device {
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        self.with(LinkAttribute::LinkInfo(info))
    }

    /// One queue each way. A veth has none to speak of, but the kernel would make as many as there are processors,
    /// and show each of them in sysfs.
    fn one_queue(self) -> Device {
        self.with(LinkAttribute::NumTxQueues(1))
            .with(LinkAttribute::NumRxQueues(1))
    }

    /// A pair of Ethernet devices: what enters one comes out of the other.
    ///
    /// The peer must not be switched on by this request: `ENOTCONN`, since it has no other end yet.
    pub(crate) fn veth(self, peer: Device) -> Device {
        let peer = peer.one_queue();
        self.one_queue().of_kind(
            InfoKind::Veth,
            Some(InfoData::Veth(InfoVeth::Peer(peer.message))),
        )
    }

    /// On top of this device, or leading to it, in the namespace of the socket.
    pub(crate) fn link(self, index: u32) -> Device {
        self.with(LinkAttribute::Link(index))
    }

    pub(crate) fn macvlan(self, mode: MacvlanMode) -> Device {
        let mode = match mode {
            MacvlanMode::Bridge => MacVlanMode::Bridge,
            MacvlanMode::Private => MacVlanMode::Private,
            MacvlanMode::Vepa => MacVlanMode::Vepa,
            MacvlanMode::Passthru => MacVlanMode::Passthrough,
        };
        let data = InfoData::MacVlan(vec![InfoMacVlan::Mode(mode)]);
        self.of_kind(InfoKind::MacVlan, Some(data))
    }

    pub(crate) fn ipvlan(self, mode: IpvlanMode) -> Device {
        let mode = match mode {
            IpvlanMode::L2 => IpVlanMode::L2,
            IpvlanMode::L3 => IpVlanMode::L3,
            IpvlanMode::L3s => IpVlanMode::L3S,
        };
        let data = InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)]);
        self.of_kind(InfoKind::IpVlan, Some(data))
    }

    /// The 802.1Q VLAN of this number.
    pub(crate) fn vlan(self, number: u16) -> Device {
        let data = InfoData::Vlan(vec![InfoVlan::Id(number)]);
        self.of_kind(InfoKind::Vlan, Some(data))
    }

    /// A tunnel that learns nothing by itself.
    pub(crate) fn vxlan(self, number: u32, local: IpAddr, port: u16) -> Device {
        let local = match local {
            IpAddr::V4(v4) => InfoVxlan::Local(v4),
            IpAddr::V6(v6) => InfoVxlan::Local6(v6),
        };
        let data = vec![
            InfoVxlan::Id(number),
            local,
            InfoVxlan::Port(port),
            InfoVxlan::Learning(false),
        ];
        self.of_kind(InfoKind::Vxlan, Some(InfoData::Vxlan(data)))
    }

    pub(crate) fn bridge(self) -> Device {
        let data = vec![InfoBridge::MulticastSnooping(false)];
        self.of_kind(InfoKind::Bridge, Some(InfoData::Bridge(data)))
    }

    /// The request that makes it; it fails when there is one of that name.
    pub(crate) fn create(&self, what: impl Into<String>) -> Request {
        request(what, RTM_NEWLINK, &self.message).flags(NLM_F_CREATE | NLM_F_EXCL)
    }
}

/// Switches a device on; without `link_local`, it does not make itself an IPv6 address.
pub(crate) fn up(what: impl Into<String>, device: u32, link_local: bool) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = device;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    if !link_local {
        let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let inet6 = AfSpecUnspec::Inet6(vec![none]);
        message
            .attributes
            .push(LinkAttribute::AfSpecUnspec(vec![inet6]));
    }
    request(what, RTM_NEWLINK, &message)
}

/// Lets a change of a device's carrier take effect now instead of when the kernel's link watch gets to it, until when
/// the device drops what it is given. That is what asking for the device does since Linux 6.9 (`linkwatch_sync_dev`).
pub(crate) fn settle(name: &str) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.into()));
    request(
        format!("let {name} take notice of its other end"),
        RTM_GETLINK,
        &message,
    )
}

/// Makes a device a port of a bridge and switches it on.
pub(crate) fn join(what: impl Into<String>, device: u32, bridge: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = device;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message.attributes.push(LinkAttribute::Controller(bridge));
    request(what, RTM_NEWLINK, &message)
}

/// Settings of a bridge's port, known by name since it may just have been made.
pub(crate) fn port(what: impl Into<String>, name: &str, isolated: bool, hairpin: bool) -> Request {
    let settings = vec![
        InfoBridgePort::Isolated(isolated),
        InfoBridgePort::HairpinMode(hairpin),
    ];
    port_settings(what.into(), name, settings)
}

fn port_settings(what: String, name: &str, settings: Vec<InfoBridgePort>) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.into()));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(settings)),
    ]));
    request(what, RTM_NEWLINK, &message)
}

/// Lets a bridge answer questions for the neighbours behind this port itself, where it knows the answer; and learn
/// nothing from what comes in by it.
pub(crate) fn answer_for(name: &str) -> Request {
    let settings = vec![
        InfoBridgePort::NeighSupress(true),
        InfoBridgePort::Learning(false),
    ];
    port_settings(
        format!("let the bridge answer for what is behind {name}"),
        name,
        settings,
    )
}

/// Puts a device into a group, so that the group can be deleted at once.
pub(crate) fn group(name: &str, group: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.into()));
    message.attributes.push(LinkAttribute::Group(group));
    request(format!("put {name} aside"), RTM_NEWLINK, &message)
}

pub(crate) fn delete(name: &str) -> Request {
    request(format!("delete {name}"), RTM_DELLINK, &by_name(name))
}

pub(crate) fn delete_index(index: u32) -> Request {
    request(
        format!("delete interface {index}"),
        RTM_DELLINK,
        &by_index(index),
    )
}

/// Gives a device that is switched off another name.
pub(crate) fn rename(index: u32, name: &str) -> Request {
    let mut message = by_index(index);
    message.attributes.push(LinkAttribute::IfName(name.into()));
    request(format!("call the interface {name}"), RTM_NEWLINK, &message)
}

pub(crate) fn by_index(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

pub(crate) fn by_name(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.into()));
    message
}

pub(crate) fn delete_group(group: u32) -> Request {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::Group(group));
    request("delete the devices put aside", RTM_DELLINK, &message)
}

/// Gives a device an address; with `subnet`, what else is in its subnet is reached by the device directly.
pub(crate) fn address(
    what: impl Into<String>,
    device: u32,
    address: IpNetwork,
    subnet: bool,
) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address.ip());
    message.header.prefix_len = address.prefix();
    message.header.index = device;
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, !subnet);
    match address {
        IpNetwork::V4(v4) => {
            message
                .attributes
                .push(AddressAttribute::Local(address.ip()));
            message
                .attributes
                .push(AddressAttribute::Broadcast(v4.broadcast()));
        }
        // We gave the address out; asking the neighbours whether it is theirs would only make it useless for a second.
        IpNetwork::V6(_) => flags |= AddressFlags::Nodad,
    }
    message.attributes.push(AddressAttribute::Flags(flags));
    message
        .attributes
        .push(AddressAttribute::Address(address.ip()));
    request(what, RTM_NEWADDR, &message).flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Sends what goes to `destination` by a gateway that the device reaches.
pub(crate) fn route(what: String, device: u32, destination: IpNetwork, gateway: IpAddr) -> Request {
    let message = route_message(device, destination, gateway);
    request(what, RTM_NEWROUTE, &message).flags(NLM_F_CREATE | NLM_F_EXCL)
}

/// Tells a device the hardware address of a neighbour for good, so that it never asks, and believes nobody else.
pub(crate) fn neighbour(
    what: impl Into<String>,
    device: u32,
    address: IpAddr,
    mac: Mac,
) -> Request {
    neighbour_in_state(NeighbourState::Permanent, what.into(), device, address, mac)
}

/// Tells a device the hardware address of a neighbour as if it had just asked.
pub(crate) fn met(what: impl Into<String>, device: u32, address: IpAddr, mac: Mac) -> Request {
    neighbour_in_state(NeighbourState::Reachable, what.into(), device, address, mac)
}

fn neighbour_in_state(
    state: NeighbourState,
    what: String,
    device: u32,
    address: IpAddr,
    mac: Mac,
) -> Request {
    let mut message = neighbour_message(device, address);
    message.header.state = state;
    message.attributes.push(hardware(mac.octets()));
    request(what, RTM_NEWNEIGH, &message).flags(NLM_F_CREATE | NLM_F_REPLACE)
}

/// Forgets what a device was told of a neighbour.
pub(crate) fn no_neighbour(what: String, device: u32, address: IpAddr) -> Request {
    request(what, RTM_DELNEIGH, &neighbour_message(device, address))
}

fn neighbour_message(device: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = device;
    message.attributes.push(destination(address));
    message
}

fn destination(address: IpAddr) -> NeighbourAttribute {
    NeighbourAttribute::Destination(match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    })
}

fn hardware(address: [u8; 6]) -> NeighbourAttribute {
    NeighbourAttribute::LinkLayerAddress(address.to_vec())
}

/// Sends frames for a station through a tunnel to a host; all zeros stand for everybody, who may be on several.
pub(crate) fn tunnel_to(what: String, tunnel: u32, station: [u8; 6], host: IpAddr) -> Request {
    let mut message = forwarding(tunnel, station, NeighbourFlags::Own);
    message.attributes.push(destination(host));
    let several = if station == [0; 6] {
        NLM_F_APPEND
    } else {
        NLM_F_REPLACE
    };
    request(what, RTM_NEWNEIGH, &message).flags(NLM_F_CREATE | several)
}

pub(crate) fn no_tunnel_to(what: String, tunnel: u32, station: [u8; 6], host: IpAddr) -> Request {
    let mut message = forwarding(tunnel, station, NeighbourFlags::Own);
    message.attributes.push(destination(host));
    request(what, RTM_DELNEIGH, &message)
}

/// Tells a bridge that a station is behind this port, for good.
pub(crate) fn behind(what: String, port: u32, station: Mac) -> Request {
    let mut message = forwarding(port, station.octets(), NeighbourFlags::Controller);
    // A permanent one would be the bridge's own.
    message.header.state = NeighbourState::Noarp;
    request(what, RTM_NEWNEIGH, &message).flags(NLM_F_CREATE | NLM_F_REPLACE)
}

pub(crate) fn not_behind(what: String, port: u32, station: Mac) -> Request {
    request(
        what,
        RTM_DELNEIGH,
        &forwarding(port, station.octets(), NeighbourFlags::Controller),
    )
}

fn forwarding(device: u32, station: [u8; 6], whose: NeighbourFlags) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = whose;
    message.attributes.push(hardware(station));
    message
}

/// The subnet of an address.
pub(crate) fn subnet(address: IpNetwork) -> IpNetwork {
    // Cannot fail: the prefix is that of an address of the same family.
    IpNetwork::new(address.network(), address.prefix()).unwrap_or(address)
}

/// The destination of a default route by this gateway.
pub(crate) fn everywhere(gateway: IpAddr) -> IpNetwork {
    match gateway {
        IpAddr::V4(_) => IpNetwork::V4(EVERYWHERE_V4),
        IpAddr::V6(_) => IpNetwork::V6(EVERYWHERE_V6),
    }
}

const EVERYWHERE_V4: Ipv4Network = Ipv4Network::new_checked(Ipv4Addr::UNSPECIFIED, 0).unwrap();
const EVERYWHERE_V6: Ipv6Network = Ipv6Network::new_checked(Ipv6Addr::UNSPECIFIED, 0).unwrap();

fn route_message(device: u32, destination: IpNetwork, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.destination_prefix_length = destination.prefix();
    message.header.table = RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    if destination.prefix() > 0 {
        message
            .attributes
            .push(RouteAttribute::Destination(route_address(
                destination.network(),
            )));
    }
    message
        .attributes
        .push(RouteAttribute::Gateway(route_address(gateway)));
    message.attributes.push(RouteAttribute::Oif(device));
    message
}

/// Lets a device accept what is for its own IPv6 address.
///
/// The kernel does so by itself, but in the background, and until then answers to the first packets are lost.
pub(crate) fn accept(what: impl Into<String>, device: u32, address: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(address);
    message.header.destination_prefix_length = 128;
    message.header.table = RT_TABLE_LOCAL;
    message.header.protocol = RouteProtocol::Kernel;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Local;
    message
        .attributes
        .push(RouteAttribute::Destination(route_address(address)));
    message.attributes.push(RouteAttribute::Oif(device));
    request(what, RTM_NEWROUTE, &message).flags(NLM_F_CREATE | NLM_F_REPLACE)
}

/// The same, by a gateway that is no member of any of the device's subnets.
pub(crate) fn onlink_route(
    what: String,
    device: u32,
    destination: IpNetwork,
    gateway: IpAddr,
) -> Request {
    let mut message = route_message(device, destination, gateway);
    message.header.flags = RouteFlags::Onlink;
    request(what, RTM_NEWROUTE, &message).flags(NLM_F_CREATE | NLM_F_EXCL)
}

fn route_address(address: IpAddr) -> RouteAddress {
    match address {
        IpAddr::V4(v4) => RouteAddress::Inet(v4),
        IpAddr::V6(v6) => RouteAddress::Inet6(v6),
    }
}

impl Socket {
    /// The index of a device of this name.
    pub(crate) fn device(&mut self, name: &str) -> Result<u32> {
        self.find_device(name)?
            .ok_or_else(|| Error::new(ErrorKind::Missing, format!("there is no interface {name}")))
    }

    /// What a device has received and sent: packets, bytes and packets dropped, each way.
    pub(crate) fn counters(&mut self, device: LinkMessage) -> Result<[u64; 6]> {
        let what = "read the counters of an interface";
        let body = self.get(&request(what, RTM_GETLINK, &device))?;
        let unreadable = || {
            Error::new(
                ErrorKind::Kernel,
                format!("{what}: the answer cannot be read"),
            )
        };
        let answer = LinkMessage::parse(&body).map_err(|_| unreadable())?;
        let counters = answer
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::Stats64(s) => Some([
                    s.rx_packets,
                    s.rx_bytes,
                    s.rx_dropped,
                    s.tx_packets,
                    s.tx_bytes,
                    s.tx_dropped,
                ]),
                _ => None,
            });
        counters.ok_or_else(unreadable)
    }

    pub(crate) fn find_device(&mut self, name: &str) -> Result<Option<u32>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.into()));
        let request = request(
            format!("look for the interface {name}"),
            RTM_GETLINK,
            &message,
        );
        match self.get(&request) {
            // The index follows a byte of family, one of padding and two of type in `struct ifinfomsg`.
            Ok(body) => Ok(body
                .get(4..8)
                .and_then(|b| b.first_chunk())
                .map(|b| u32::from_ne_bytes(*b))),
            Err(error) if error.errno() == Some(ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A route that the kernel has: where to, and by which interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: IpNetwork,
    pub(crate) device: u32,
}

impl Socket {
    /// The routes of the main table to anything but everywhere.
    pub(crate) fn routes(&mut self) -> Result<Vec<Route>> {
        let dump = request("read the routes", RTM_GETROUTE, &RouteMessage::default());
        let answers = self.dump(&dump)?;
        Ok(answers.iter().filter_map(|body| read_route(body)).collect())
    }
}

/// What cannot be read is a route of a kind that we do not know, hence none of ours.
fn read_route(body: &[u8]) -> Option<Route> {
    let message = RouteMessage::parse(body).ok()?;
    if message.header.table != RT_TABLE_MAIN {
        return None;
    }
    let mut destination = None;
    let mut device = 0;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(v4)) => {
                destination = Some(IpAddr::from(*v4))
            }
            RouteAttribute::Destination(RouteAddress::Inet6(v6)) => {
                destination = Some(IpAddr::from(*v6))
            }
            RouteAttribute::Oif(index) => device = *index,
            _ => {}
        }
    }
    let destination =
        IpNetwork::new(destination?, message.header.destination_prefix_length).ok()?;
    Some(Route {
        destination,
        device,
    })
}

fn request(what: impl Into<String>, kind: u16, message: &impl Emitable) -> Request {
    let mut body = vec![0; message.buffer_len()];
    message.emit(&mut body);
    Request::new(what.into(), kind).body(body)
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// From `linux/rtnetlink.h`, `linux/netlink.h` and `asm-generic/errno.h`.
const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u8 = 255;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;
const ENODEV: i32 = 19;
