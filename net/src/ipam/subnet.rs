//! A subnet: its gateway, what may be given out of it, and to whom it was.

use super::claim::{self, Claim};
use super::lease::{self, Lease, Take};
use crate::{Error, ErrorKind, Result};
use ipnetwork::IpNetwork;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A subnet of a network, as it is asked for.
///
/// By default the gateway is its first address, and every other one is given out, but for the network's and the
/// broadcast address of IPv4.
///
/// # Examples
///
/// ```
/// use ampoule_net::Subnet;
///
/// let mut subnet = Subnet::new("10.5.0.0/24".parse()?);
/// subnet.range("10.5.0.100".parse()?, "10.5.0.199".parse()?).exclude("10.5.0.150".parse()?);
/// assert_eq!(subnet.gateway().to_string(), "10.5.0.1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    network: IpNetwork,
    gateway: Option<IpAddr>,
    range: Option<(IpAddr, IpAddr)>,
    excluded: Vec<IpNetwork>,
}

impl Subnet {
    /// The subnet that an address and a prefix length name; host bits of the address are cleared.
    pub fn new(network: IpNetwork) -> Subnet {
        let prefix = network.prefix();
        // Cannot fail: the prefix was a valid one already.
        let network = IpNetwork::new(network.network(), prefix).unwrap_or(network);
        Subnet {
            network,
            gateway: None,
            range: None,
            excluded: Vec::new(),
        }
    }

    /// The address that the network itself has, instead of the first.
    pub fn set_gateway(&mut self, gateway: IpAddr) -> &mut Subnet {
        self.gateway = Some(gateway);
        self
    }

    /// Gives out addresses from the first to the last only; a static address may lie outside.
    pub fn range(&mut self, first: IpAddr, last: IpAddr) -> &mut Subnet {
        self.range = Some((first, last));
        self
    }

    /// Never gives these addresses out, because something else in the network has them.
    pub fn exclude(&mut self, addresses: IpNetwork) -> &mut Subnet {
        self.excluded.push(addresses);
        self
    }

    /// The subnet itself.
    pub fn network(&self) -> IpNetwork {
        self.network
    }

    /// The gateway's address.
    pub fn gateway(&self) -> IpAddr {
        self.gateway.unwrap_or_else(|| at(self.network, 1))
    }

    /// Whether two subnets have an address in common.
    pub fn overlaps(&self, other: IpNetwork) -> bool {
        self.network.contains(other.network()) || other.contains(self.network.network())
    }

    /// All that is wrong with it, in words.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let network = self.network;
        let room = if network.is_ipv4() { 30 } else { 126 };
        if network.prefix() > room {
            problems.push(format!(
                "the subnet {network} has no room: its prefix is longer than /{room}"
            ));
            return problems;
        }
        if network.ip().is_multicast()
            || network.ip().is_loopback()
            || network.ip().is_unspecified()
        {
            problems.push(format!("{network} is not a subnet for hosts"));
        }
        let gateway = self.gateway();
        if !network.contains(gateway) || reserved(network, gateway) {
            problems.push(format!("the gateway {gateway} is not a host of {network}"));
        }
        if let Some((first, last)) = self.range {
            if !network.contains(first) || !network.contains(last) {
                problems.push(format!(
                    "the range {first}-{last} lies outside of {network}"
                ));
            } else if offset(network, first) > offset(network, last) {
                problems.push(format!("the range {first}-{last} is reversed"));
            }
        }
        problems
    }

    /// Offsets of the addresses that may be given out on their own accord.
    fn offsets(&self) -> RangeInclusive<u64> {
        if let Some((first, last)) = self.range {
            return offset(self.network, first)..=offset(self.network, last);
        }
        match self.network {
            IpNetwork::V4(v4) => 1..=u64::from(v4.size()) - 2,
            // 2^32 are as good as endless, and leave room for a number of a port.
            IpNetwork::V6(v6) => 1..=(v6.size() - 1).min(u128::from(u32::MAX)) as u64,
        }
    }

    fn is_excluded(&self, address: IpAddr) -> bool {
        address == self.gateway()
            || reserved(self.network, address)
            || self
                .excluded
                .iter()
                .any(|excluded| excluded.contains(address))
    }
}

/// The addresses of one subnet, leased one by one to whoever attaches, also by other processes.
#[derive(Debug)]
pub struct AddressPool {
    subnet: Subnet,
    directory: PathBuf,
    /// Where the search for a free address goes on: an address that has just been given back is used again last.
    cursor: AtomicU64,
}

impl AddressPool {
    /// Opens the pool of a subnet, whose leases are files below the directory.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a subnet that cannot be used; when the directory cannot be made.
    pub fn open(subnet: Subnet, directory: &Path) -> Result<AddressPool> {
        if let Some(problem) = subnet.problems().first() {
            return Err(Error::new(ErrorKind::Invalid, problem.clone()));
        }
        let name = subnet.network.to_string().replace('/', "_");
        let directory = directory.join(name);
        claim::open_directory(&directory)?;
        // Processes that start together should not look for the same addresses.
        let cursor = AtomicU64::new(u64::from(std::process::id()).wrapping_mul(0x9e37_79b9) >> 8);
        Ok(AddressPool {
            subnet,
            directory,
            cursor,
        })
    }

    /// The subnet.
    pub fn subnet(&self) -> &Subnet {
        &self.subnet
    }

    /// Leases any free address; `owner` is what a rival is told.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Exhausted`] when all are taken.
    pub fn lease(&self, owner: &str) -> Result<Lease> {
        let offsets = self.subnet.offsets();
        let (first, count) = (*offsets.start(), offsets.end() - offsets.start() + 1);
        // What a dead owner left costs a lock and a look, so the first round passes it by.
        for take in [Claim::take_unused as Take, Claim::take] {
            for _ in 0..count {
                let step = self.cursor.fetch_add(1, Ordering::Relaxed) % count;
                let address = at(self.subnet.network, first + step);
                if self.subnet.is_excluded(address) {
                    continue;
                }
                if let Some(lease) = Lease::take(take, &self.directory, address, owner)? {
                    return Ok(lease);
                }
            }
        }
        let what = format!("every address of {} is taken", self.subnet.network);
        Err(Error::new(ErrorKind::Exhausted, what))
    }

    /// Leases this address.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the subnet has no such host, [`ErrorKind::Taken`], with the owner's name, when it
    /// is somebody's.
    pub fn lease_static(&self, address: IpAddr, owner: &str) -> Result<Lease> {
        let network = self.subnet.network;
        if !network.contains(address) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the address {address} is not in {network}"),
            ));
        }
        if self.subnet.is_excluded(address) {
            let what = format!("the address {address} of {network} is reserved");
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        let lease = Lease::take(Claim::take, &self.directory, address, owner)?;
        lease.ok_or_else(|| lease::taken(&self.directory, address))
    }

    /// Where in the subnet an address stands, from 0.
    pub(crate) fn offset(&self, address: IpAddr) -> u64 {
        offset(self.subnet.network, address)
    }
}

impl Drop for AddressPool {
    fn drop(&mut self) {
        claim::sweep(&self.directory);
    }
}

fn at(network: IpNetwork, offset: u64) -> IpAddr {
    match network.network() {
        IpAddr::V4(base) => Ipv4Addr::from(u32::from(base).wrapping_add(offset as u32)).into(),
        IpAddr::V6(base) => Ipv6Addr::from(u128::from(base).wrapping_add(offset.into())).into(),
    }
}

fn offset(network: IpNetwork, address: IpAddr) -> u64 {
    match (network.network(), address) {
        (IpAddr::V4(base), IpAddr::V4(v4)) => u32::from(v4).wrapping_sub(base.into()).into(),
        (IpAddr::V6(base), IpAddr::V6(v6)) => u128::from(v6).wrapping_sub(base.into()) as u64,
        _ => 0,
    }
}

/// The network's own address and, in IPv4, its broadcast address.
fn reserved(network: IpNetwork, address: IpAddr) -> bool {
    address == network.network() || (network.is_ipv4() && address == network.broadcast())
}
