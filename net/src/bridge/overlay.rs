//! One network over several hosts: frames travel between them inside of UDP packets (VXLAN, RFC 7348).
//!
//! Nobody learns from what comes in: which member is on which host is what we are told, so that no packet from outside can
//! redirect a member's traffic.

use super::switch::Switch;
use crate::netlink::Request;
use crate::netlink::route::{self, Device};
use crate::{Error, ErrorKind, Mac, Namespace, Result};
use ipnetwork::IpNetwork;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

/// The tunnel's name in the network's own namespace.
const TUNNEL: &str = "amvxlan";
/// Where frames go whose receiver is not known, or who are for everybody.
const EVERYBODY: [u8; 6] = [0; 6];

/// The way between the hosts of one network, as it is asked for.
///
/// # Examples
///
/// ```no_run
/// use ampoule_net::{Bridge, Namespace, Overlay, Subnet};
/// use std::sync::Arc;
///
/// let mut subnet = Subnet::new("10.5.0.0/16".parse()?);
/// subnet.range("10.5.1.1".parse()?, "10.5.1.254".parse()?);        // this host's part
/// let underlay = Arc::new(Namespace::current()?);
/// let mut bridge = Bridge::new("wide");
/// bridge.mtu(1450).subnet(subnet).overlay(Overlay::new(4711, "192.0.2.1".parse()?, underlay));
/// let network = bridge.create()?;
/// network.add_host("192.0.2.2".parse()?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Overlay {
    pub(super) number: u32,
    local: IpAddr,
    underlay: Arc<Namespace>,
    port: u16,
}

impl Overlay {
    /// A tunnel of this network identifier (1-16777215) from an address of the underlay's namespace.
    ///
    /// The network's MTU must be 50 bytes smaller than the underlay's, over IPv6 70.
    pub fn new(number: u32, local: IpAddr, underlay: Arc<Namespace>) -> Overlay {
        Overlay {
            number,
            local,
            underlay,
            port: 4789,
        }
    }

    /// The UDP port, 4789 unless said otherwise; the same on all hosts.
    pub fn port(mut self, port: u16) -> Overlay {
        self.port = port;
        self
    }

    pub(super) fn problem(&self) -> Option<String> {
        let bad = !(1..1 << 24).contains(&self.number);
        bad.then(|| {
            format!(
                "the VXLAN identifier {} is not between 1 and 16777215",
                self.number
            )
        })
    }

    /// Makes the tunnel in the network's namespace; its packets travel in the underlay's.
    pub(super) fn create(&self, switch: &Switch, mtu: u32) -> Result<Tunnel> {
        let network = switch.place().namespace();
        let device = Device::new(TUNNEL).mtu(mtu).born_in(network.as_fd());
        let device = device.vxlan(self.number, self.local, self.port);
        let what = format!("make the VXLAN tunnel {} from {}", self.number, self.local);
        let made = self
            .underlay
            .route(|socket| socket.run(&[device.create(what)]));
        made.map_err(|error| match error.errno() {
            Some(EEXIST) => {
                let what = format!(
                    "the VXLAN identifier {} is in use on this host",
                    self.number
                );
                Error::new(ErrorKind::Taken, what)
            }
            _ => error.without_driver("VXLAN", "vxlan"),
        })?;
        let index = network.route(|socket| {
            let index = socket.device(TUNNEL)?;
            socket.run(&[
                route::join(
                    format!("make {TUNNEL} a port of the bridge"),
                    index,
                    switch.root(),
                ),
                route::answer_for(TUNNEL),
                route::settle(TUNNEL),
            ])?;
            Ok(index)
        })?;
        Ok(Tunnel {
            network: Arc::clone(network),
            index,
            bridge: switch.root(),
            local: self.local,
        })
    }
}

/// The tunnel of a network that is there.
#[derive(Debug)]
pub(super) struct Tunnel {
    network: Arc<Namespace>,
    index: u32,
    bridge: u32,
    local: IpAddr,
}

impl Tunnel {
    fn run(&self, host: IpAddr, requests: &[Request]) -> Result<()> {
        if host.is_ipv4() != self.local.is_ipv4() {
            let what = format!("the host {host} cannot be reached from {}", self.local);
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        self.network.route(|socket| socket.run(requests))
    }

    pub(super) fn add_host(&self, host: IpAddr) -> Result<()> {
        let what = format!("send frames for everybody to the host {host}");
        self.run(host, &[route::tunnel_to(what, self.index, EVERYBODY, host)])
    }

    pub(super) fn remove_host(&self, host: IpAddr) -> Result<()> {
        let what = format!("send no more frames to the host {host}");
        self.run(
            host,
            &[route::no_tunnel_to(what, self.index, EVERYBODY, host)],
        )
    }

    pub(super) fn add_member(&self, mac: Mac, addresses: &[IpNetwork], host: IpAddr) -> Result<()> {
        let what = || format!("find {mac} on the host {host}");
        let mut requests = vec![
            route::tunnel_to(what(), self.index, mac.octets(), host),
            route::behind(what(), self.index, mac),
        ];
        requests.extend(
            addresses
                .iter()
                .map(|address| route::neighbour(what(), self.bridge, address.ip(), mac)),
        );
        self.run(host, &requests)
    }

    pub(super) fn remove_member(
        &self,
        mac: Mac,
        addresses: &[IpNetwork],
        host: IpAddr,
    ) -> Result<()> {
        let what = || format!("forget {mac} on the host {host}");
        let mut requests = vec![
            route::no_tunnel_to(what(), self.index, mac.octets(), host),
            route::not_behind(what(), self.index, mac),
        ];
        requests.extend(
            addresses
                .iter()
                .map(|address| route::no_neighbour(what(), self.bridge, address.ip())),
        );
        self.run(host, &requests)
    }
}

/// From `asm-generic/errno-base.h`.
const EEXIST: i32 = 17;
