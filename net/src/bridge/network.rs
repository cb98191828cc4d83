//! A bridge network that is there.

use super::Bridge;
use super::overlay::Tunnel;
use super::switch::Switch;
use super::uplink::Uplink;
use crate::dns::{NameServer, Names, Observer, ResolvConf, check_name};
use crate::driver::{Attachment, Birth, Driver, Endpoint, Inside, Ready, Role};
use crate::firewall::{Firewall, Ports};
use crate::ipam::{self, AddressPool, Subnet};
use crate::netlink::Request;
use crate::netlink::route::{self, Device};
use crate::place::Held;
use crate::policy::{Enforcer, Policy};
use crate::ports;
use crate::{Error, ErrorKind, Mac, Namespace, Pool, Result};
use ipnetwork::IpNetwork;
use std::net::IpAddr;
use std::sync::Arc;

/// A bridge network; it lives as long as this value or anything attached to it.
#[derive(Debug)]
pub struct Network {
    config: Bridge,
    pools: Vec<AddressPool>,
    switch: Switch,
    tunnel: Option<Tunnel>,
    names: Names,
    services: Arc<Services>,
}

/// What runs for a network's members: as long as there is one, whoever made the network.
#[derive(Debug)]
pub(crate) struct Services {
    firewall: Option<Arc<Firewall>>,
    enforcer: Option<Arc<Enforcer>>,
    _server: Option<NameServer>,
}

/// A namespace that is attached to a network, as it comes from [`Network::pool`].
///
/// The attachment stands first, so that a member that is dropped leaves its network in order.
#[derive(Debug)]
#[non_exhaustive]
pub struct Member {
    /// Its interface in the network.
    pub attachment: Attachment,
    /// The namespace itself.
    pub namespace: Namespace,
}

impl Network {
    pub(super) fn create(config: &Bridge) -> Result<Network> {
        let directory = config.directory.join(&config.name);
        let pools: Result<Vec<AddressPool>> = config
            .subnets
            .iter()
            .map(|subnet| AddressPool::open(subnet.clone(), &directory))
            .collect();
        let pools = pools?;
        let switch = Switch::create(config)?;
        let tunnel = match &config.overlay {
            Some(overlay) => Some(overlay.create(&switch, config.mtu)?),
            None => None,
        };
        let firewall = match &config.uplink {
            None => None,
            Some(host) => {
                let uplink = Uplink::create(config, host, switch.place().namespace())?;
                Some(Arc::new(Firewall::create(
                    &config.name,
                    &config.subnets,
                    uplink,
                )?))
            }
        };
        let names = Names::new(&config.name);
        let namespace = switch.place().namespace();
        let enforcer = match &config.policy {
            Some(policy) => Some(enforce(policy, namespace)?),
            None => None,
        };
        let observer = enforcer.as_ref().map(Enforcer::observer);
        let server = name_server(config, namespace, &names, observer)?;
        Ok(Network {
            config: config.clone(),
            pools,
            switch,
            tunnel,
            names,
            services: Arc::new(Services {
                firewall,
                enforcer,
                _server: server,
            }),
        })
    }

    /// The network's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The namespace that has the network's bridge, gateway and rules, to look at.
    pub fn namespace(&self) -> &Namespace {
        self.switch.place().namespace()
    }

    /// The names of the network's members. Its gateway answers for them at port 53.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Keeps members ready: namespaces that are attached already, each with an address, but nobody's yet.
    ///
    /// To take one costs some 3 µs; [`Network::assign`] then makes it somebody's.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use ampoule_net::{Bridge, Endpoint, Subnet};
    /// use std::sync::Arc;
    ///
    /// let network = Bridge::new("blue").subnet(Subnet::new("10.5.0.0/24".parse()?)).create()?;
    /// let network = Arc::new(network);
    /// let pool = network.pool(8)?;
    /// let mut member = pool.take()?;
    /// network.assign(&mut member.attachment, Endpoint::new("web-1").name("web"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pool(self: &Arc<Network>, capacity: usize) -> Result<Pool<Member>> {
        let network = Arc::clone(self);
        Pool::start(capacity, move || {
            let namespace = Namespace::create()?;
            let ready = network.plan(&Endpoint::new("the pool"))?;
            let attachment = ready.attach(&namespace)?;
            Ok(Member {
                namespace,
                attachment,
            })
        })
    }

    /// Gives an attached member the names, labels and ports of an endpoint.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the endpoint asks for an address, which the member has already; what else
    /// [`Driver::plan`] refuses.
    pub fn assign(&self, attachment: &mut Attachment, endpoint: &Endpoint) -> Result<()> {
        if !endpoint.addresses.is_empty() || endpoint.mac.is_some() {
            let what = format!(
                "{:?} asks for an address, but has one already",
                endpoint.owner
            );
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        attachment.assume(self.role(endpoint)?)
    }

    /// Lets the network reach over to another host of its overlay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the network has no overlay, or one of another family.
    pub fn add_host(&self, host: IpAddr) -> Result<()> {
        self.tunnel()?.add_host(host)
    }

    /// No longer sends frames for everybody to a host.
    ///
    /// # Errors
    ///
    /// As [`Network::add_host`]; `ENOENT` when it was not there.
    pub fn remove_host(&self, host: IpAddr) -> Result<()> {
        self.tunnel()?.remove_host(host)
    }

    /// Says which member is on another host: its frames go there and nowhere else, and the bridge answers for it.
    ///
    /// # Errors
    ///
    /// As [`Network::add_host`].
    pub fn add_member(&self, mac: Mac, addresses: &[IpNetwork], host: IpAddr) -> Result<()> {
        self.tunnel()?.add_member(mac, addresses, host)
    }

    /// Forgets a member on another host.
    ///
    /// # Errors
    ///
    /// As [`Network::add_host`]; `ENOENT` when it was not there.
    pub fn remove_member(&self, mac: Mac, addresses: &[IpNetwork], host: IpAddr) -> Result<()> {
        self.tunnel()?.remove_member(mac, addresses, host)
    }

    fn tunnel(&self) -> Result<&Tunnel> {
        let what = || format!("the network {:?} is no overlay", self.name());
        self.tunnel
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, what()))
    }

    /// How many packets the network's policy has refused so far; 0 without a policy.
    ///
    /// # Errors
    ///
    /// Those of reading nftables' counters.
    pub fn refused(&self) -> Result<u64> {
        self.services
            .enforcer
            .as_ref()
            .map_or(Ok(0), |enforcer| enforcer.refused())
    }

    /// What a member's `/etc/resolv.conf` should say.
    pub fn resolv_conf(&self) -> ResolvConf {
        ResolvConf {
            servers: self
                .pools
                .iter()
                .map(|pool| pool.subnet().gateway())
                .collect(),
            search: vec![self.name().to_string()],
            // A name without a dot is a member's.
            options: vec!["ndots:0".into()],
        }
    }
}

impl Driver for Network {
    fn plan(&self, endpoint: &Endpoint) -> Result<Ready> {
        endpoint.check()?;
        let leases = ipam::lease_all(&self.pools, self.name(), endpoint)?;
        let (Some(first), Some(pool)) = (leases.first(), self.pools.first()) else {
            let what = format!("the network {:?} has no subnet", self.name());
            return Err(Error::new(ErrorKind::Invalid, what));
        };
        // The first lease names the port too: nobody else can have that name while it is held.
        let name = format!("p{}", pool.offset(first.address()));
        let (bridge, seat) = self.switch.seat()?;
        let mac = endpoint.mac.unwrap_or_else(|| Mac::of(first.address()));
        let gateways = || self.pools.iter().map(|pool| pool.subnet().gateway());
        let inside = Inside {
            interface: endpoint.interface.clone(),
            mac: Some(mac),
            mtu: Some(self.config.mtu),
            addresses: ipam::on_subnets(&leases, &self.pools),
            routed: self.services.enforcer.is_some(),
            neighbours: gateways()
                .map(|gateway| (gateway, self.switch.mac()))
                .collect(),
            gateways: gateways().filter(|_| endpoint.default_route).collect(),
        };
        let port = Device::new(&name).mtu(self.config.mtu).port_of(bridge).up();
        let peer = Device::new(&endpoint.interface)
            .mtu(self.config.mtu)
            .mac(mac);
        Ok(Ready {
            place: self.switch.place().clone(),
            settings: self.port_settings(&name),
            birth: Birth::Pair { name, port, peer },
            inside,
            role: self.role(endpoint)?,
            held: Held {
                _seat: Some(seat),
                _services: Some(Arc::clone(&self.services)),
                ..Held::leases(leases)
            },
        })
    }
}

impl Network {
    fn role(&self, endpoint: &Endpoint) -> Result<Role> {
        endpoint
            .names
            .iter()
            .try_for_each(|name| check_name(name))?;
        let names = (
            self.names.clone(),
            endpoint.names.clone(),
            endpoint.named_ports.clone(),
        );
        Ok(Role {
            membership: self
                .services
                .enforcer
                .as_ref()
                .map(|enforcer| enforcer.admit(endpoint)),
            ports: self.ports(endpoint)?,
            names: Some(names),
        })
    }

    fn ports(&self, endpoint: &Endpoint) -> Result<Option<Ports>> {
        if endpoint.ports.is_empty() {
            return Ok(None);
        }
        let Some(firewall) = &self.services.firewall else {
            let what = format!(
                "ports are published, but the network {:?} has no way out",
                self.name()
            );
            return Err(Error::new(ErrorKind::Invalid, what));
        };
        let v6 = self
            .pools
            .iter()
            .any(|pool| pool.subnet().network().is_ipv6());
        let v4 = self
            .pools
            .iter()
            .any(|pool| pool.subnet().network().is_ipv4());
        let directory = self.config.directory.join("ports");
        let host = &firewall.uplink().host;
        let ports = ports::claim(&endpoint.ports, &endpoint.owner, (v4, v6), host, &directory)?;
        Ok(Some(Ports {
            firewall: Arc::clone(firewall),
            ports,
        }))
    }

    fn port_settings(&self, name: &str) -> Vec<Request> {
        let (isolated, hairpin) = (self.config.separates_ports(), self.config.hairpin);
        if !isolated && !hairpin {
            return Vec::new();
        }
        let words = [("isolated", isolated), ("hairpin", hairpin)];
        let words: Vec<&str> = words
            .iter()
            .filter(|(_, on)| *on)
            .map(|(word, _)| *word)
            .collect();
        let what = format!("make the bridge's port {name} {}", words.join(" and "));
        vec![route::port(what, name, isolated, hairpin)]
    }
}

/// Makes the network's namespace the router between its members, and puts the policy into force there.
fn enforce(policy: &Policy, network: &Namespace) -> Result<Arc<Enforcer>> {
    // First the rules: once it is a router, nothing may pass them by.
    let enforcer = Enforcer::create(policy, network)?;
    network.set("net/ipv4/ip_forward", "1")?;
    network.set("net/ipv6/conf/all/forwarding", "1")?;
    // It sends packets back by where they came from, and the shorter way is closed.
    for interface in ["all", "br0"] {
        network.set(&format!("net/ipv4/conf/{interface}/send_redirects"), "0")?;
    }
    Ok(enforcer)
}

/// The server at the gateway, if the network has one. It asks the host's resolvers if the network has a way out.
fn name_server(
    config: &Bridge,
    network: &Arc<Namespace>,
    names: &Names,
    observer: Option<Observer>,
) -> Result<Option<NameServer>> {
    let gateways: Vec<IpAddr> = config.subnets.iter().map(Subnet::gateway).collect();
    if gateways.is_empty() {
        return Ok(None);
    }
    let (host, resolvers) = match (&config.uplink, &config.resolvers) {
        (None, _) => (network, Vec::new()),
        (Some(host), Some(resolvers)) => (host, resolvers.clone()),
        (Some(host), None) => {
            let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            (host, ResolvConf::parse(&text).resolvers())
        }
    };
    NameServer::start(
        network,
        &gateways,
        Arc::clone(host),
        names.clone(),
        resolvers,
        observer,
    )
    .map(Some)
}
