//! A network of its own: a bridge, to which namespaces are attached by veth pairs.
//!
//! The bridge lives in a namespace of the network's own, not in that of the machine. So it goes when its last owner dies;
//! its interfaces, neighbours and rules burden nobody else's tables; and it may have as many ports as it likes.

mod network;
mod overlay;
mod switch;
mod uplink;

pub(crate) use network::Services;
pub use network::{Member, Network};
pub use overlay::Overlay;
pub(crate) use switch::Seat;
pub(crate) use uplink::{PREFIX, Uplink};

use crate::driver::check_interface_name;
use crate::ipam::{DIRECTORY, Subnet};
use crate::policy::Policy;
use crate::{Error, ErrorKind, Namespace, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A bridge network, as it is asked for.
///
/// # Examples
///
/// ```no_run
/// use ampoule_net::{Bridge, Driver, Endpoint, Namespace, Subnet};
///
/// let network = Bridge::new("blue").subnet(Subnet::new("10.5.0.0/24".parse()?)).create()?;
/// let namespace = Namespace::create()?;
/// let ready = network.plan(&Endpoint::new("web-1"))?;
/// print!("{ready}");
/// let attachment = ready.attach(&namespace)?;
/// println!("{:?}", attachment.addresses());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bridge {
    pub(crate) name: String,
    pub(crate) subnets: Vec<Subnet>,
    pub(crate) mtu: u32,
    pub(crate) isolated: bool,
    pub(crate) hairpin: bool,
    pub(crate) uplink: Option<Arc<Namespace>>,
    pub(crate) overlay: Option<Overlay>,
    pub(crate) policy: Option<Policy>,
    pub(crate) resolvers: Option<Vec<SocketAddr>>,
    pub(crate) directory: PathBuf,
}

impl Bridge {
    /// A bridge network without a subnet, with an MTU of 1500 bytes.
    pub fn new(name: impl Into<String>) -> Bridge {
        Bridge {
            name: name.into(),
            subnets: Vec::new(),
            mtu: 1500,
            isolated: false,
            hairpin: false,
            uplink: None,
            overlay: None,
            policy: None,
            resolvers: None,
            directory: PathBuf::from(DIRECTORY),
        }
    }

    /// Adds a subnet; each attachment gets an address in every one. At most one of IPv4 and one of IPv6.
    pub fn subnet(&mut self, subnet: Subnet) -> &mut Bridge {
        self.subnets.push(subnet);
        self
    }

    /// The largest packet in bytes, at least 68, with IPv6 1280
    /// ([RFC 791](https://www.rfc-editor.org/rfc/rfc791), [RFC 8200](https://www.rfc-editor.org/rfc/rfc8200#section-5)).
    pub fn mtu(&mut self, bytes: u32) -> &mut Bridge {
        self.mtu = bytes;
        self
    }

    /// Attached namespaces reach the gateway and what lies behind it, but not one another.
    pub fn isolated(&mut self, isolated: bool) -> &mut Bridge {
        self.isolated = isolated;
        self
    }

    /// The bridge may send a frame back by the port that it came from.
    pub fn hairpin(&mut self, hairpin: bool) -> &mut Bridge {
        self.hairpin = hairpin;
        self
    }

    /// Gives the network a way out, by the namespace that has one, usually [`Namespace::current`]. Without, it is
    /// internal: its members reach one another and nothing else.
    ///
    /// That namespace gets one interface, `am-` and the network's name, a route to each subnet, and an nftables table
    /// that translates addresses and ends with its owner. It must pass packets on (`net.ipv4.ip_forward=1`).
    #[doc(alias = "internal")]
    pub fn uplink(&mut self, host: Arc<Namespace>) -> &mut Bridge {
        self.uplink = Some(host);
        self
    }

    /// Joins the network with those of the same tunnel on other hosts.
    pub fn overlay(&mut self, overlay: Overlay) -> &mut Bridge {
        self.overlay = Some(overlay);
        self
    }

    /// Lets members talk to one another and to the world only as the policy says.
    pub fn policy(&mut self, policy: Policy) -> &mut Bridge {
        self.policy = Some(policy);
        self
    }

    /// Whether members reach one another by the gateway, or not at all.
    pub(crate) fn separates_ports(&self) -> bool {
        self.isolated || self.policy.is_some()
    }

    /// The resolvers that know the names of the world, instead of those of the host's `/etc/resolv.conf`. They are asked
    /// from the uplink's namespace; an internal network asks nobody.
    pub fn resolvers(&mut self, resolvers: impl Into<Vec<SocketAddr>>) -> &mut Bridge {
        self.resolvers = Some(resolvers.into());
        self
    }

    /// Where the leases of addresses are kept, `/run/ampoule/net` unless said otherwise. Processes that share a
    /// network share this directory.
    pub fn directory(&mut self, directory: impl Into<PathBuf>) -> &mut Bridge {
        self.directory = directory.into();
        self
    }

    /// Makes the network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] with everything that is wrong; [`ErrorKind::Taken`] when a subnet overlaps a route of the
    /// uplink's namespace, or that has such a network already; [`ErrorKind::Unsupported`] when it passes no packets on;
    /// `EPERM` without `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`.
    pub fn create(&self) -> Result<Network> {
        self.check()?;
        Network::create(self)
    }

    fn check(&self) -> Result<()> {
        let mut problems: Vec<String> = self.subnets.iter().flat_map(Subnet::problems).collect();
        if let Err(error) = check_interface_name(&self.name) {
            problems.push(error.to_string());
        }
        let v6 = self
            .subnets
            .iter()
            .filter(|subnet| subnet.network().is_ipv6())
            .count();
        let v4 = self.subnets.len() - v6;
        if v4 > 1 || v6 > 1 {
            problems.push("more than one subnet of a family".into());
        }
        let least = if v6 > 0 { 1280 } else { 68 };
        if !(least..=65_535).contains(&self.mtu) {
            problems.push(format!(
                "the mtu {} is not between {least} and 65535",
                self.mtu
            ));
        }
        problems.extend(self.overlay.as_ref().and_then(Overlay::problem));
        match problems.is_empty() {
            true => Ok(()),
            false => {
                let what = format!("the network {:?}: {}", self.name, problems.join("; "));
                Err(Error::new(ErrorKind::Invalid, what))
            }
        }
    }
}
