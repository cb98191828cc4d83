//! Networks on an interface of the host: members appear on its wire, with no bridge and no translation between.
//!
//! *macvlan* gives each member a hardware address of its own; *ipvlan* lets them share the parent's, for switches and clouds
//! that allow one address a port. With a VLAN the parent is an 802.1Q sub-interface, made on demand in a namespace of the
//! network's own, so that it goes with the network, and several networks trunk over one interface.

use crate::driver::{Birth, Driver, Endpoint, Inside, Ready, Role};
use crate::ipam::{self, AddressPool, Subnet};
use crate::netlink::route::Device;
use crate::place::{Held, Place};
use crate::{Error, ErrorKind, Mac, Namespace, Result};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Whom the members of a macvlan network reach on the same parent
/// ([ip-link(8)](https://man7.org/linux/man-pages/man8/ip-link.8.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum MacvlanMode {
    /// One another, directly.
    #[default]
    Bridge,
    /// Nobody, not even by a switch that sends their frames back.
    Private,
    /// One another by a switch that sends their frames back (802.1Qbg).
    Vepa,
    /// There is one member, who takes the parent over.
    Passthru,
}

/// How the members of an ipvlan network share the parent
/// ([kernel documentation](https://docs.kernel.org/networking/ipvlan.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IpvlanMode {
    /// As stations on its wire, broadcasts included.
    #[default]
    L2,
    /// The host's namespace routes for them; no broadcasts.
    L3,
    /// The same, and the host's netfilter sees their packets.
    L3s,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Macvlan(MacvlanMode),
    Ipvlan(IpvlanMode),
}

/// A network on an interface of the host, as it is asked for.
///
/// # Examples
///
/// ```no_run
/// use ampoule_net::{MacvlanMode, Parent, Subnet};
///
/// let mut yellow = Parent::macvlan("yellow", "eth0", MacvlanMode::Bridge);
/// yellow.vlan(10).subnet(Subnet::new("192.0.2.0/24".parse()?));
/// let yellow = yellow.create()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Parent {
    name: String,
    parent: String,
    kind: Kind,
    vlan: Option<u16>,
    subnets: Vec<Subnet>,
    mtu: Option<u32>,
    host: Option<Arc<Namespace>>,
    directory: PathBuf,
}

impl Parent {
    fn new(name: impl Into<String>, parent: impl Into<String>, kind: Kind) -> Parent {
        Parent {
            name: name.into(),
            parent: parent.into(),
            kind,
            vlan: None,
            subnets: Vec::new(),
            mtu: None,
            host: None,
            directory: PathBuf::from(ipam::DIRECTORY),
        }
    }

    /// A network whose members have hardware addresses of their own on the parent's wire.
    pub fn macvlan(
        name: impl Into<String>,
        parent: impl Into<String>,
        mode: MacvlanMode,
    ) -> Parent {
        Parent::new(name, parent, Kind::Macvlan(mode))
    }

    /// A network whose members share the parent's hardware address.
    pub fn ipvlan(name: impl Into<String>, parent: impl Into<String>, mode: IpvlanMode) -> Parent {
        Parent::new(name, parent, Kind::Ipvlan(mode))
    }

    /// Uses the 802.1Q VLAN of this number (1-4094) on the parent.
    pub fn vlan(&mut self, number: u16) -> &mut Parent {
        self.vlan = Some(number);
        self
    }

    /// Adds a subnet; its gateway is a router on the parent's wire.
    pub fn subnet(&mut self, subnet: Subnet) -> &mut Parent {
        self.subnets.push(subnet);
        self
    }

    /// The largest packet in bytes, instead of the parent's.
    pub fn mtu(&mut self, bytes: u32) -> &mut Parent {
        self.mtu = Some(bytes);
        self
    }

    /// The namespace that has the parent, instead of the caller's.
    pub fn host(&mut self, host: Arc<Namespace>) -> &mut Parent {
        self.host = Some(host);
        self
    }

    /// Where the leases of addresses are kept.
    pub fn directory(&mut self, directory: impl Into<PathBuf>) -> &mut Parent {
        self.directory = directory.into();
        self
    }

    /// Finds the parent, and makes the VLAN's sub-interface if there is to be one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] with everything that is wrong, [`ErrorKind::Missing`] without the parent,
    /// [`ErrorKind::Unsupported`] where the kernel has no VLANs.
    pub fn create(&self) -> Result<ParentNetwork> {
        self.check()?;
        let host = match &self.host {
            Some(host) => Arc::clone(host),
            None => Arc::new(Namespace::current()?),
        };
        let mut parent = host.route(|socket| socket.device(&self.parent))?;
        let mut place = host;
        if let Some(number) = self.vlan {
            let own = Arc::new(Namespace::create()?);
            let name = format!("amvlan{number}");
            let device = Device::new(&name)
                .link(parent)
                .born_in(own.as_fd())
                .up()
                .vlan(number);
            let made = place.route(|socket| {
                socket.run(&[device.create(format!("make VLAN {number} of {}", self.parent))])
            });
            made.map_err(|error| error.without_driver("VLANs", "8021q"))?;
            parent = own.route(|socket| socket.device(&name))?;
            place = own;
        }
        let directory = self.directory.join(&self.name);
        let pools = self
            .subnets
            .iter()
            .map(|subnet| AddressPool::open(subnet.clone(), &directory))
            .collect::<Result<_>>()?;
        let place = Place::open(&format!("the namespace of {}", self.parent), place, None)?;
        Ok(ParentNetwork {
            config: self.clone(),
            parent,
            pools,
            place,
        })
    }

    fn check(&self) -> Result<()> {
        let mut problems: Vec<String> = self.subnets.iter().flat_map(Subnet::problems).collect();
        if self.name.is_empty() || self.name.contains('/') {
            problems.push("the name is empty or has a slash".into());
        }
        if self
            .vlan
            .is_some_and(|number| !(1..=4094).contains(&number))
        {
            problems.push(format!(
                "the VLAN {} is not between 1 and 4094",
                self.vlan.unwrap_or_default()
            ));
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Invalid,
                format!("the network {:?}: {}", self.name, problems.join("; ")),
            )),
        }
    }
}

/// A network on an interface of the host that is there.
#[derive(Debug)]
pub struct ParentNetwork {
    config: Parent,
    parent: u32,
    pools: Vec<AddressPool>,
    place: Arc<Place>,
}

impl Driver for ParentNetwork {
    fn plan(&self, endpoint: &Endpoint) -> Result<Ready> {
        endpoint.check()?;
        if !endpoint.ports.is_empty() {
            let what = "ports are published, but members of this network have addresses on the wire themselves";
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let leases = ipam::lease_all(&self.pools, &self.config.name, endpoint)?;
        let addresses = ipam::on_subnets(&leases, &self.pools);
        let mac = match self.config.kind {
            Kind::Ipvlan(_) if endpoint.mac.is_some() => {
                let what = "members of an ipvlan network have the parent's MAC address";
                return Err(Error::new(ErrorKind::Invalid, what));
            }
            Kind::Ipvlan(_) => None,
            Kind::Macvlan(_) => endpoint
                .mac
                .or_else(|| addresses.first().map(|address| Mac::of(address.ip()))),
        };
        let name = first_name();
        let mut device = Device::new(&name).link(self.parent);
        if let Some(mtu) = self.config.mtu {
            device = device.mtu(mtu);
        }
        if let Some(mac) = mac {
            device = device.mac(mac);
        }
        let (device, driver) = match self.config.kind {
            Kind::Macvlan(mode) => (device.macvlan(mode), "macvlan"),
            Kind::Ipvlan(mode) => (device.ipvlan(mode), "ipvlan"),
        };
        let gateways = self.pools.iter().map(|pool| pool.subnet().gateway());
        Ok(Ready {
            place: Arc::clone(&self.place),
            birth: Birth::Child {
                name,
                parent: self.config.parent.clone(),
                driver,
                device,
            },
            settings: Vec::new(),
            inside: Inside {
                interface: endpoint.interface.clone(),
                mac,
                mtu: self.config.mtu,
                addresses,
                gateways: gateways.filter(|_| endpoint.default_route).collect(),
                routed: false,
                neighbours: Vec::new(),
            },
            role: Role::default(),
            held: Held::leases(leases),
        })
    }
}

/// A name that no interface has.
fn first_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
    format!("am{:x}.{number:x}", std::process::id())
}
