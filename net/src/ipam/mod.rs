//! Which address belongs to whom.
//!
//! An address is a file in the network's directory, and the lease is a lock on that file, held as long as it is open. A
//! dead owner's address is free at once, whatever it died of, and processes that know nothing of one another never get the
//! same one. What is left of a dead owner is an unlocked file, which means nothing.

mod claim;
mod lease;
mod subnet;

use crate::{Endpoint, Error, ErrorKind, Result};
use ipnetwork::IpNetwork;
use std::net::IpAddr;

pub(crate) use claim::{Claim, open_directory};
pub use lease::Lease;
pub use subnet::{AddressPool, Subnet};

/// Where leases and claims are kept unless said otherwise.
pub(crate) const DIRECTORY: &str = "/run/ampoule/net";

/// One lease in every subnet of a network: the address that the endpoint asks for there, or a free one.
pub(crate) fn lease_all(
    pools: &[AddressPool],
    network: &str,
    endpoint: &Endpoint,
) -> Result<Vec<Lease>> {
    let in_pool = |pool: &AddressPool, address: &IpAddr| pool.subnet().network().contains(*address);
    let foreign = |address: &&IpAddr| !pools.iter().any(|pool| in_pool(pool, address));
    if let Some(address) = endpoint.addresses.iter().find(foreign) {
        let what = format!("the address {address} is in no subnet of the network {network:?}");
        return Err(Error::new(ErrorKind::Invalid, what));
    }
    let lease = |pool: &AddressPool| match endpoint
        .addresses
        .iter()
        .find(|address| in_pool(pool, address))
    {
        Some(address) => pool.lease_static(*address, &endpoint.owner),
        None => pool.lease(&endpoint.owner),
    };
    pools.iter().map(lease).collect()
}

/// The leased addresses, each with its subnet's prefix.
pub(crate) fn on_subnets(leases: &[Lease], pools: &[AddressPool]) -> Vec<IpNetwork> {
    let on = |(lease, pool): (&Lease, &AddressPool)| {
        let network = pool.subnet().network();
        // Cannot fail: the prefix is that of a network of the same family.
        IpNetwork::new(lease.address(), network.prefix()).unwrap_or(network)
    };
    leases.iter().zip(pools).map(on).collect()
}
