//! How a namespace gets an interface: a driver plans it, and what it planned can be attached.

use crate::dns::{NamedPort, Names};
use crate::firewall::Ports;
use crate::netlink::route::{self, Device};
use crate::netlink::{Request, Socket};
use crate::place::{Counters, Held, Place, Remains};
use crate::policy::Membership;
use crate::ports::{Protocol, Publish};
use crate::{Error, ErrorKind, Mac, Namespace, Result};
use ipnetwork::IpNetwork;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

/// A kind of network that namespaces can be attached to.
pub trait Driver: fmt::Debug + Send + Sync {
    /// Decides how a namespace will be attached, and leases its addresses; nothing is made yet.
    ///
    /// # Errors
    ///
    /// What the endpoint asks for cannot be: an address that is taken or foreign, an interface name that is none.
    fn plan(&self, endpoint: &Endpoint) -> Result<Ready>;
}

/// What one namespace wants from one network.
///
/// # Examples
///
/// ```
/// use ampoule_net::Endpoint;
///
/// let mut endpoint = Endpoint::new("web-1");
/// endpoint.interface("eth1").address("10.5.0.7".parse()?).mac("02:42:0a:05:00:07".parse()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) owner: String,
    pub(crate) interface: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) mac: Option<Mac>,
    pub(crate) default_route: bool,
    pub(crate) ports: Vec<Publish>,
    pub(crate) names: Vec<String>,
    pub(crate) named_ports: Vec<NamedPort>,
    pub(crate) labels: Vec<(String, String)>,
}

impl Endpoint {
    /// An endpoint with an interface `eth0`, any free address of each subnet, and the default route.
    ///
    /// `owner` names who attaches, for people: who wants the same address is told it.
    pub fn new(owner: impl Into<String>) -> Endpoint {
        Endpoint {
            owner: owner.into(),
            interface: "eth0".into(),
            addresses: Vec::new(),
            mac: None,
            default_route: true,
            ports: Vec::new(),
            names: Vec::new(),
            named_ports: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// The interface's name inside of the namespace.
    pub fn interface(&mut self, name: impl Into<String>) -> &mut Endpoint {
        self.interface = name.into();
        self
    }

    /// Asks for this address in the subnet that it belongs to.
    pub fn address(&mut self, address: IpAddr) -> &mut Endpoint {
        self.addresses.push(address);
        self
    }

    /// The interface's hardware address, instead of one that follows from its IP address.
    pub fn mac(&mut self, mac: Mac) -> &mut Endpoint {
        self.mac = Some(mac);
        self
    }

    /// Whether the namespace sends by this network what it has no other route for; a namespace in several networks
    /// has one such network.
    pub fn default_route(&mut self, default: bool) -> &mut Endpoint {
        self.default_route = default;
        self
    }

    /// Leads ports of the host to this endpoint.
    pub fn publish(&mut self, ports: Publish) -> &mut Endpoint {
        self.ports.push(ports);
        self
    }

    /// A name by which the network's other members find this one; the first is also its name for whoever asks by
    /// address. Members with the same name are one service with several addresses.
    pub fn name(&mut self, name: impl Into<String>) -> &mut Endpoint {
        self.names.push(name.into());
        self
    }

    /// A port with a name, which members find by SRV records such as `_http._tcp.web`.
    pub fn named_port(
        &mut self,
        name: impl Into<String>,
        protocol: Protocol,
        port: u16,
    ) -> &mut Endpoint {
        self.named_ports.push((name.into(), protocol, port));
        self
    }

    /// A label by which a [`Policy`](crate::Policy) knows this member.
    pub fn label(&mut self, name: impl Into<String>, value: impl Into<String>) -> &mut Endpoint {
        self.labels.push((name.into(), value.into()));
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        check_interface_name(&self.interface)
    }
}

/// Refuses what the kernel would refuse as a name of an interface (`dev_valid_name`), and in clearer words.
pub(crate) fn check_interface_name(name: &str) -> Result<()> {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    let why = match name {
        "" => "is empty",
        "." | ".." | "lo" => "is reserved",
        _ if name.len() > 15 => "is longer than 15 bytes",
        _ if name.contains(bad) => "has a character that is not allowed",
        // The kernel would take it for a pattern and number the device.
        _ if name.contains('%') => "has a character that is not allowed",
        _ => return Ok(()),
    };
    Err(Error::new(
        ErrorKind::Invalid,
        format!("the interface name {name:?} {why}"),
    ))
}

/// An attachment that is decided but not made; its [`Display`](fmt::Display) says what it will do.
#[derive(Debug)]
#[must_use = "nothing is attached until `attach` is called"]
pub struct Ready {
    pub(crate) place: Arc<Place>,
    pub(crate) birth: Birth,
    /// Requests that follow the device's creation where it is made.
    pub(crate) settings: Vec<Request>,
    pub(crate) inside: Inside,
    pub(crate) role: Role,
    pub(crate) held: Held,
}

/// The device to be made, all but the namespace in which it, or its peer, is born.
#[derive(Debug)]
pub(crate) enum Birth {
    /// A pair, whose peer is the namespace's interface.
    Pair {
        name: String,
        port: Device,
        peer: Device,
    },
    /// A device on a parent interface.
    Child {
        /// What it is called until it is where it belongs: kernels before 6.14 refuse a name that the parent's namespace
        /// has already.
        name: String,
        parent: String,
        driver: &'static str,
        device: Device,
    },
}

impl Birth {
    fn request(&self, what: String, namespace: &Namespace) -> Request {
        match self {
            Birth::Pair { port, peer, .. } => {
                let peer = peer.clone().born_in(namespace.as_fd());
                port.clone().veth(peer).create(what)
            }
            Birth::Child { device, .. } => device.clone().born_in(namespace.as_fd()).create(what),
        }
    }

    /// The port in the place, if there is one.
    fn port(&self) -> Option<&str> {
        match self {
            Birth::Pair { name, .. } => Some(name),
            Birth::Child { .. } => None,
        }
    }

    /// What the interface is called when it is born.
    fn first_name<'a>(&'a self, interface: &'a str) -> &'a str {
        match self {
            Birth::Pair { .. } => interface,
            Birth::Child { name, .. } => name,
        }
    }

    fn remains(&self, namespace: &Namespace, index: u32) -> Result<Remains> {
        Ok(match self {
            Birth::Pair { name, .. } => Remains::Port(name.clone()),
            Birth::Child { .. } => Remains::Inside(namespace.try_clone()?, index),
        })
    }

    /// Names the driver where the kernel lacks it.
    fn explain(&self, error: Error) -> Error {
        match self {
            Birth::Pair { .. } => error.without_driver("veth pairs or bridges", "veth bridge"),
            Birth::Child { driver, .. } => error.without_driver(driver, driver),
        }
    }
}

/// What the interface is to be inside of the namespace.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) interface: String,
    /// `None` where it is the parent's.
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: Option<u32>,
    pub(crate) addresses: Vec<IpNetwork>,
    /// Gateways of the default routes.
    pub(crate) gateways: Vec<IpAddr>,
    /// Whether the subnet's other members, too, are reached by the gateway only.
    pub(crate) routed: bool,
    /// Neighbours whose hardware addresses are known, the gateways among them.
    pub(crate) neighbours: Vec<(IpAddr, Mac)>,
}

impl Inside {
    fn configure(&self, socket: &mut Socket, index: u32, renamed: bool) -> Result<()> {
        let mut requests = Vec::with_capacity(self.addresses.len() + self.gateways.len() + 1);
        if renamed {
            requests.push(route::rename(index, &self.interface));
        }
        // Addresses first: while the device is down, nobody has to be told of them.
        for address in &self.addresses {
            requests.push(route::address(
                self.explain_address(address),
                index,
                *address,
                !self.routed,
            ));
        }
        let ipv6 = self.addresses.iter().any(IpNetwork::is_ipv6);
        requests.push(route::up(self.explain_up(), index, ipv6));
        for address in self.addresses.iter().filter(|address| address.is_ipv6()) {
            requests.push(route::accept(
                self.explain_address(address),
                index,
                address.ip(),
            ));
        }
        for (address, mac) in &self.neighbours {
            requests.push(route::neighbour(
                self.explain_neighbour(address, mac),
                index,
                *address,
                *mac,
            ));
        }
        for (subnet, gateway) in self.routed_subnets() {
            requests.push(route::onlink_route(
                self.explain_subnet(&subnet, &gateway),
                index,
                subnet,
                gateway,
            ));
        }
        let default = if self.routed {
            route::onlink_route
        } else {
            route::route
        };
        for gateway in &self.gateways {
            let what = self.explain_route(gateway);
            requests.push(default(what, index, route::everywhere(*gateway), *gateway));
        }
        requests.push(route::settle(&self.interface));
        socket.run(&requests)
    }

    fn explain_address(&self, address: &IpNetwork) -> String {
        format!("give {} the address {address}", self.interface)
    }

    fn explain_up(&self) -> String {
        format!("switch {} on", self.interface)
    }

    /// The subnets that are reached by a gateway, which is the neighbour of the same family.
    fn routed_subnets(&self) -> impl Iterator<Item = (IpNetwork, IpAddr)> {
        let pairs = self
            .addresses
            .iter()
            .zip(&self.neighbours)
            .filter(|_| self.routed);
        pairs.map(|(address, (gateway, _))| (route::subnet(*address), *gateway))
    }

    fn explain_subnet(&self, subnet: &IpNetwork, gateway: &IpAddr) -> String {
        format!(
            "send what goes to {subnet} by {gateway} on {}",
            self.interface
        )
    }

    fn explain_neighbour(&self, address: &IpAddr, mac: &Mac) -> String {
        format!("know {address} on {} as {mac}", self.interface)
    }

    fn explain_route(&self, gateway: &IpAddr) -> String {
        format!("send everything else by {gateway} on {}", self.interface)
    }
}

impl Ready {
    /// The addresses that the interface will have, each with its subnet's prefix.
    pub fn addresses(&self) -> &[IpNetwork] {
        &self.inside.addresses
    }

    /// Makes the interface in the namespace: two sends to the kernel, and it is there, addressed, up and routed.
    ///
    /// # Errors
    ///
    /// Whatever the kernel refuses; then nothing is left of the attempt, and the addresses are free again.
    pub fn attach(self, namespace: &Namespace) -> Result<Attachment> {
        let mut requests = vec![self.birth.request(self.explain_birth(), namespace)];
        requests.extend(self.settings);
        let made = self.place.make(&requests, self.birth.port());
        made.map_err(|error| self.birth.explain(error))?;
        let first_name = self.birth.first_name(&self.inside.interface);
        let index = namespace.route(|socket| socket.device(first_name))?;
        let remains = self.birth.remains(namespace, index)?;
        let renamed = first_name != self.inside.interface;
        let mut attachment = Attachment {
            addresses: self.inside.addresses.clone(),
            interface: self.inside.interface.clone(),
            mac: self.inside.mac,
            place: self.place,
            held: Some((remains, self.held)),
        };
        // From here on a failure drops the attachment, which takes the device back.
        namespace.route(|socket| self.inside.configure(socket, index, renamed))?;
        if let (Some((remains, _)), Some(mac)) = (&attachment.held, attachment.mac) {
            attachment
                .place
                .settle(remains, &attachment.addresses, mac)?;
        }
        attachment.assume(self.role)?;
        Ok(attachment)
    }

    fn explain_birth(&self) -> String {
        let interface = &self.inside.interface;
        let mac = self
            .inside
            .mac
            .map_or(String::new(), |mac| format!(", {mac}"));
        let mtu = self
            .inside
            .mtu
            .map_or(String::new(), |mtu| format!(", mtu {mtu}"));
        match &self.birth {
            Birth::Pair { name, .. } => {
                let place = self.place.name();
                format!(
                    "make a veth pair: {name} in {place}, {interface} in the namespace{mac}{mtu}"
                )
            }
            Birth::Child { parent, driver, .. } => {
                format!("make the {driver} {interface} on {parent}, in the namespace{mac}{mtu}")
            }
        }
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.explain_birth())?;
        for setting in &self.settings {
            writeln!(f, "{}", setting.what())?;
        }
        for address in &self.inside.addresses {
            writeln!(f, "{}", self.inside.explain_address(address))?;
        }
        writeln!(f, "{}", self.inside.explain_up())?;
        for (address, mac) in &self.inside.neighbours {
            writeln!(f, "{}", self.inside.explain_neighbour(address, mac))?;
        }
        for (subnet, gateway) in self.inside.routed_subnets() {
            writeln!(f, "{}", self.inside.explain_subnet(&subnet, &gateway))?;
        }
        for gateway in &self.inside.gateways {
            writeln!(f, "{}", self.inside.explain_route(gateway))?;
        }
        for port in self.role.ports.iter().flat_map(|ports| &ports.ports.ports) {
            writeln!(
                f,
                "lead {} port {} of the host to port {}",
                port.protocol(),
                port.outer_socket(),
                port.inner()
            )?;
        }
        Ok(())
    }
}

/// What the others know a member by: its place in the policy, its ports, its names.
#[derive(Debug, Default)]
pub(crate) struct Role {
    pub(crate) membership: Option<Membership>,
    pub(crate) ports: Option<Ports>,
    /// Where to register which names and ports.
    pub(crate) names: Option<(Names, Vec<String>, Vec<NamedPort>)>,
}

/// An interface of a namespace in a network, with its leased addresses.
///
/// When it is dropped, the interface is deleted and the addresses become free, both off the caller's path: deleting a
/// device takes the kernel 10-25 ms. When its owner dies instead, the kernel deletes the interface together with the
/// namespace, and the leases end with the process.
#[derive(Debug)]
pub struct Attachment {
    place: Arc<Place>,
    interface: String,
    mac: Option<Mac>,
    addresses: Vec<IpNetwork>,
    held: Option<(Remains, Held)>,
}

impl Attachment {
    /// The interface's name inside of the namespace.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The interface's hardware address; `None` where it shares its parent's.
    pub fn mac(&self) -> Option<Mac> {
        self.mac
    }

    /// The interface's addresses, each with its subnet's prefix.
    pub fn addresses(&self) -> &[IpNetwork] {
        &self.addresses
    }

    /// What has passed the interface so far.
    ///
    /// # Errors
    ///
    /// `ENODEV` when the interface is gone, because its namespace is.
    pub fn counters(&self) -> Result<Counters> {
        match &self.held {
            Some((remains, _)) => self.place.traffic(remains),
            None => Ok(Counters::default()),
        }
    }

    /// Takes a role; from then on the others find this member.
    pub(crate) fn assume(&mut self, role: Role) -> Result<()> {
        let Some((_, held)) = self.held.as_mut() else {
            return Ok(());
        };
        let addresses: Vec<IpAddr> = self.addresses.iter().map(|address| address.ip()).collect();
        if let Some(mut membership) = role.membership {
            membership.begin(&addresses)?;
            held.membership = Some(membership);
        }
        if let Some(ports) = role.ports {
            held.publication = Some(ports.publish(&self.addresses)?);
        }
        // Last, because whoever learns the name may come at once.
        if let Some((names, own, ports)) = role.names {
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            held.registration = Some(names.register(&own, &addresses, &ports)?);
        }
        Ok(())
    }

    /// The ports of the host that lead here: protocol, the host's address and port, the port inside.
    pub fn ports(&self) -> Vec<(Protocol, SocketAddr, u16)> {
        let publication = self
            .held
            .as_ref()
            .and_then(|(_, held)| held.publication.as_ref());
        let ports = publication.map_or(&[][..], |publication| publication.ports());
        ports
            .iter()
            .map(|port| (port.protocol(), port.outer_socket(), port.inner()))
            .collect()
    }

    /// Deletes the interface and waits until it is gone.
    ///
    /// # Errors
    ///
    /// Whatever the kernel refuses; an interface that is gone already is none.
    pub fn detach(mut self) -> Result<()> {
        match self.held.take() {
            Some((remains, held)) => self.place.remove_now(&remains, held),
            None => Ok(()),
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some((remains, held)) = self.held.take() {
            self.place.remove_later(remains, held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_are_those_of_the_kernel() {
        for good in ["eth0", "a", "fifteen-bytes-x", "eth0.20", "été"] {
            check_interface_name(good).unwrap();
        }
        for bad in [
            "",
            ".",
            "..",
            "lo",
            "sixteen-bytes-xx",
            "a b",
            "a/b",
            "a:b",
            "a\0b",
            "eth%d",
        ] {
            assert_eq!(
                check_interface_name(bad).unwrap_err().kind(),
                ErrorKind::Invalid,
                "{bad:?}"
            );
        }
    }
}
